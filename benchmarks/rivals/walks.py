"""The tables of trucks, aircraft and CO2 by hand: what one record means often depends on the one before it.

Simpler than Headwater's, and said where: records are taken in the order in which they come, open trips and stops and
silences are not told, areas and budgets are left out, and the sky's maxima are over all records of a minute.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any

from benchmarks.rivals.contracts import Record
from benchmarks.rivals.tables import HOUR_US, MINUTE_US, Memory, Row, Table, is_new, moment, window

SECOND_US = 1_000_000
EARTH_KM = 6371.0088
MOVING_KMH, IMPLAUSIBLE_KMH, OVERSPEED_KMH = 5, 200, 100
PAUSE_US, STOP_US, TRIP_US, OVERSPEED_US = (seconds * SECOND_US for seconds in (3_600, 300, 300, 30))
TRIP_KM = 0.5

# -- trucks


def distance_km(a: Sequence[float], b: Sequence[float]) -> float:
    """Haversine; latitude and longitude in degrees."""
    (south, west), (north, east) = map(radians, a), map(radians, b)
    half = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin((east - west) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(half))


def _drive(memory: Memory, fix: Record) -> Sequence[Row]:
    truck, at, place = fix["truck_id"], fix["at"], [fix["latitude"], fix["longitude"]]
    state = memory.get("state")
    if state and at <= state["at"]:
        return []
    rows: list[Row] = []
    if state and at - state["at"] > PAUSE_US:
        rows += _ended(truck, state)
        state = None
    km, speed, idle = _step(state, fix, at, place)
    moves = (speed or 0) >= MOVING_KMH
    fix["moves"], fix["km"], fix["kmh"] = moves, km, speed
    if state is None:
        state = {"trip": _way(at, place, speed), "halt": None, "fast": None}
    elif state["halt"] is None:
        _go(state["trip"], km, speed, idle)
    elif not moves:
        _go(state["halt"], km, speed, idle)
    elif at - state["halt"]["began"] >= STOP_US:
        rows += [*_trip(truck, state["trip"], state["halt"]["began"]), _stop(truck, state["halt"], at)]
        state["trip"] = _way(state["at"], state["place"], None)
        _go(state["trip"], km, speed, idle)
    else:
        halt = state["halt"]
        _go(state["trip"], halt["km"] + km, _greater(halt["top"], speed), halt["idle"] + idle, halt["fixes"])
    if moves:
        state["halt"] = None
    else:
        state["halt"] = state["halt"] or _way(at, place, speed)
    rows += _speeding(truck, state, at, speed or 0)
    state |= {"at": at, "place": place, "moves": moves}
    memory.set("state", state)
    latest = {name: fix.get(name) for name in ("driver", "route", "cargo", "heading_deg")}
    latest |= {"event_time": moment(at), "speed_kmh": speed, "latitude": place[0], "longitude": place[1]}
    return [*rows, {"kind": "latest", "id": truck, **latest, "state": "moving" if moves else "stopped"}]


def _step(state: dict[str, Any] | None, fix: Record, at: int, place: list[float]) -> tuple[float, float | None, int]:
    """From the fix before: how far (km), how fast (km/h), how long without moving."""
    speed = fix.get("speed_kmh")
    if state is None:
        return 0.0, speed, 0
    km = distance_km(state["place"], place)
    kmh = km / ((at - state["at"]) / HOUR_US)
    idle = 0 if state["moves"] else at - state["at"]
    return 0.0 if kmh > IMPLAUSIBLE_KMH else km, kmh if speed is None else speed, idle


def _way(at: int, place: list[float], speed: float | None) -> dict[str, Any]:
    return {"began": at, "place": place, "km": 0.0, "fixes": 1, "idle": 0, "top": speed}


def _go(way: dict[str, Any], km: float, speed: float | None, idle: int, fixes: int = 1) -> None:
    way["km"] += km
    way["fixes"] += fixes
    way["idle"] += idle
    way["top"] = _greater(way["top"], speed)


def _greater(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def _ended(truck: str, state: dict[str, Any]) -> list[Row]:
    """What a pause after the last fix ends."""
    trip, halt = state["trip"], state["halt"]
    if halt and state["at"] - halt["began"] >= STOP_US:
        return [*_trip(truck, trip, halt["began"]), _stop(truck, halt, state["at"])]
    if halt:
        _go(trip, halt["km"], halt["top"], halt["idle"], halt["fixes"] - 1)
    return _trip(truck, trip, state["at"])


def _trip(truck: str, trip: dict[str, Any], end: int) -> list[Row]:
    """Where it is long enough to be one."""
    took = end - trip["began"]
    if trip["km"] < TRIP_KM or took < TRIP_US:
        return []
    row = {"start_time": moment(trip["began"]), "end_time": moment(end), "duration_s": took / SECOND_US}
    row |= {"distance_km": trip["km"], "average_kmh": trip["km"] / (took / HOUR_US), "top_kmh": trip["top"]}
    row |= {"idle_s": trip["idle"] / SECOND_US, "fixes": trip["fixes"], "start": trip["place"]}
    return [{"kind": "trips", "id": f"{truck}|{row['start_time']}", "truck_id": truck, **row}]


def _stop(truck: str, halt: dict[str, Any], at: int) -> Row:
    start, (latitude, longitude) = moment(halt["began"]), halt["place"]
    row = {"start_time": start, "end_time": moment(at), "duration_s": (at - halt["began"]) / SECOND_US}
    return {"kind": "stops", "id": f"{truck}|{start}", **row, "latitude": latitude, "longitude": longitude}


def _speeding(truck: str, state: dict[str, Any], at: int, speed: float) -> list[Row]:
    fast = state["fast"]
    if speed > OVERSPEED_KMH:
        fast = state["fast"] = fast or {"began": at, "top": 0}
        fast["last"], fast["top"] = at, max(fast["top"], speed)
        return []
    state["fast"] = None
    if fast is None or fast["last"] - fast["began"] < OVERSPEED_US:
        return []
    alert = {"began_at": moment(fast["began"]), "ended_at": moment(at), "top_kmh": fast["top"]}
    return [{"kind": "alerts", "id": f"{truck}|overspeed|{alert['began_at']}", **alert}]


def _fix_minute(fix: Record) -> str:
    return window(fix["at"], MINUTE_US)


def _fleet_minute(memory: Memory, fix: Record) -> Sequence[Row]:
    row = memory.get("row") or {"trucks": 0, "moving": 0, "distance_km": 0.0, "speeds": 0.0, "fixes": 0}
    row["trucks"] += is_new(memory, f"truck:{fix['truck_id']}")
    if fix.get("moves"):
        row["moving"] += is_new(memory, f"moving:{fix['truck_id']}")
    row["distance_km"] += fix.get("km") or 0
    if fix.get("kmh") is not None:
        row["speeds"], row["fixes"] = row["speeds"] + fix["kmh"], row["fixes"] + 1
    memory.set("row", row)
    figures = {name: row[name] for name in ("trucks", "moving", "distance_km")}
    mean = row["speeds"] / row["fixes"] if row["fixes"] else None
    return [{"kind": "per_minute", "id": _fix_minute(fix), **figures, "mean_kmh": mean}]


TRUCKS = (
    Table("journeys", None, _drive),
    Table("per_minute", _fix_minute, _fleet_minute, ("truck_id", "at", "moves", "km", "kmh")),
)


# -- aircraft

LEVEL_MPS, STEEP_MPS = 1.5, 25.0
EMERGENCIES = ("7500", "7600", "7700")
STATE = (
    "callsign", "origin_country", "last_contact", "time_position", "longitude", "latitude", "baro_altitude",
    "on_ground", "velocity", "true_track", "vertical_rate", "geo_altitude", "squawk",
)  # fmt: skip


def _fly(memory: Memory, state: Record) -> Sequence[Row]:
    icao24, at, rate = state["icao24"], state["at"], state.get("vertical_rate")
    if at < memory.get("at", 0):
        return []
    memory.set("at", at)
    open_before = memory.get("open") or {}
    kinds = [state["squawk"]] if state.get("squawk") in EMERGENCIES else []
    kinds += ["steep_descent"] if rate is not None and rate < -STEEP_MPS else []
    open_now = {kind: open_before.get(kind, at) for kind in kinds}
    if open_now or open_before:
        memory.set("open", open_now)
    rows = [
        {"kind": "alerts", "id": f"{icao24}|{kind}|{began}", "began_at": moment(began), "ended_at": moment(at),
         "is_open": kind in open_now}
        for kind, began in {**open_before, **open_now}.items()
    ]  # fmt: skip
    climbs = "climb" if (rate or 0) > LEVEL_MPS else "descent" if (rate or 0) < -LEVEL_MPS else "cruise"
    phase = "ground" if state.get("on_ground") else climbs
    latest = {name: state.get(name) for name in STATE}
    return [*rows, {"kind": "latest", "id": icao24, **latest, "phase": phase}]


def _state_minute(state: Record) -> str:
    return window(state["at"], MINUTE_US)


def _country_minute(state: Record) -> str:
    return f"{_state_minute(state)}|{(state.get('origin_country') or '').strip() or 'unknown'}"


def _sky(kind: str, key: Any) -> Table:
    """A minute's figures over each aircraft's last record in it: the one before is taken out again."""

    def step(memory: Memory, state: Record) -> Sequence[Row]:
        zeros = dict.fromkeys(
            ("aircraft", "airborne", "on_ground", "altitude", "altitudes", "velocity", "velocities"), 0
        )
        row = memory.get("row") or {**zeros, "max_altitude": None, "max_velocity": None}
        airborne = state.get("on_ground") is False
        now = [state.get("on_ground"), *(state.get(n) if airborne else None for n in ("baro_altitude", "velocity"))]
        before = memory.get(state["icao24"])
        for signed, told in ((-1, before), (1, now)):
            if told is None:
                continue
            on_ground, altitude, velocity = told
            row["aircraft"] += signed
            row["airborne"] += signed * (on_ground is False)
            row["on_ground"] += signed * (on_ground is True)
            row["altitude"] += signed * (altitude or 0)
            row["altitudes"] += signed * (altitude is not None)
            row["velocity"] += signed * (velocity or 0)
            row["velocities"] += signed * (velocity is not None)
        for name, value in (("max_altitude", now[1]), ("max_velocity", now[2])):
            row[name] = value if row[name] is None else max(row[name], value or row[name])
        memory.set(state["icao24"], now)
        memory.set("row", row)
        means = {
            "mean_altitude": row["altitude"] / row["altitudes"] if row["altitudes"] else None,
            "mean_velocity": row["velocity"] / row["velocities"] if row["velocities"] else None,
        }
        counts = {name: row[name] for name in ("aircraft", "airborne", "on_ground", "max_altitude", "max_velocity")}
        return [{"kind": kind, "id": key(state), **counts, **means}]

    columns = ("icao24", "at", "origin_country", "on_ground", "baro_altitude", "velocity")
    return Table(kind, key, step, columns)


AIRCRAFT = (
    Table("flights", None, _fly),
    _sky("per_minute", _state_minute),
    _sky("by_country", _country_minute),
)


# -- CO2

ALARM_RECORDS, ALARM_END_SHARE, STUCK_RECORDS = 3, 0.95, 12
SETTINGS = Path(__file__).resolve().parents[2] / "conf" / "headwater.toml"


@cache
def limits() -> dict[str, float]:
    """kg/h by source, of the settings."""
    found: dict[str, float] = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["co2"]["limits_kg_h"]
    return found


def _meter(memory: Memory, reading: Record) -> Sequence[Row]:
    source, at, emission = reading["source_id"], reading["at"], reading["emission_kg"]
    state = memory.get("state") or {
        "emission_kg": 0.0, "records": 0, "first": at, "last": None, "above": 0, "below": 0, "alarm": None,
        "same": 0, "emission": None,
    }  # fmt: skip
    since = (at - state["last"]) / SECOND_US if state["last"] else None
    seconds = reading.get("interval_s") or since
    rate = emission / seconds * 3_600 if seconds and seconds > 0 else None
    rows = [
        _interval(memory, kind, source, reading, rate, length)
        for kind, length in (("per_minute", MINUTE_US), ("per_hour", HOUR_US))
    ]
    state["emission_kg"] += emission
    state["records"] += 1
    state["first"] = min(state["first"], at)
    state["last"] = max(state["last"] or at, at)
    state["same"] = state["same"] + 1 if emission and emission == state["emission"] else 1
    state["emission"] = emission
    rows += _alarm(source, state, at, rate)
    memory.set("state", state)
    total = {"emission_kg": state["emission_kg"], "records": state["records"], "rate_kg_h": rate}
    total |= {"first_event": moment(state["first"]), "last_event": moment(state["last"])}
    health = "stuck" if state["same"] >= STUCK_RECORDS else "ok"
    return [*rows, {"kind": "totals", "id": source, **total}, {"kind": "health", "id": source, "state": health}]


def _interval(memory: Memory, kind: str, source: str, reading: Record, rate: float | None, length: int) -> Row:
    start = window(reading["at"], length)
    row = memory.get(f"{kind}:{start}") or {
        "emission_kg": 0.0, "energy_mwh": None, "rates": 0.0, "rated": 0, "max": None, "records": 0, "substitute": 0,
    }  # fmt: skip
    row["emission_kg"] += reading["emission_kg"]
    row["records"] += 1
    row["substitute"] += reading.get("method") == "substitute"
    if (energy := reading.get("energy_mwh")) is not None:
        row["energy_mwh"] = (row["energy_mwh"] or 0.0) + energy
    if rate is not None:
        row["rates"], row["rated"] = row["rates"] + rate, row["rated"] + 1
        row["max"] = max(row["max"] or rate, rate)
    memory.set(f"{kind}:{start}", row)
    figures = {name: row[name] for name in ("emission_kg", "energy_mwh", "records", "substitute")}
    figures |= {"mean_rate_kg_h": row["rates"] / row["rated"] if row["rated"] else None, "max_rate_kg_h": row["max"]}
    return {"kind": kind, "id": f"{start}|{source}", **figures}


def _alarm(source: str, state: dict[str, Any], at: int, rate: float | None) -> list[Row]:
    limit = limits().get(source)
    if limit is None or rate is None:
        return []
    state["above"] = state["above"] + 1 if rate > limit else 0
    state["below"] = state["below"] + 1 if rate < ALARM_END_SHARE * limit else 0
    if state["above"] == 1:
        state["began"] = at
    if state["alarm"] is None:
        if state["above"] < ALARM_RECORDS:
            return []
        state["alarm"] = {"began_at": moment(state["began"]), "limit_kg_h": limit, "peak_kg_h": rate}
    alarm = state["alarm"]
    alarm["peak_kg_h"] = max(alarm["peak_kg_h"], rate)
    ended = state["below"] >= ALARM_RECORDS
    state["alarm"] = None if ended else alarm
    row = {**alarm, "ended_at": moment(at) if ended else None}
    return [{"kind": "alarms", "id": f"{source}|{alarm['began_at']}", **row}]


def _group(kind: str, column: str) -> Table:
    def key(reading: Record) -> str:
        return f"{window(reading['at'], HOUR_US)}|{reading.get(column) or 'unknown'}"

    def step(memory: Memory, reading: Record) -> Sequence[Row]:
        row = memory.get("row") or {"emission_kg": 0.0, "sources": 0}
        row["emission_kg"] += reading["emission_kg"]
        row["sources"] += is_new(memory, f"source:{reading['source_id']}")
        memory.set("row", row)
        return [{"kind": kind, "id": key(reading), **row}]

    return Table(kind, key, step, ("source_id", "at", "emission_kg", column))


CO2 = (Table("meters", None, _meter), _group("by_sector", "sector"), _group("by_fuel", "fuel"))
