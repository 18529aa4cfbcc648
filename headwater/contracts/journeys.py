"""What a truck's fixes mean, one after another: trips, stops, alerts, and what each minute holds of them.

Pure and free of Spark. Definitions, word for word from those of the tables:

- a fix moves where its speed is at least 5 km/h; its speed is its own, or distance over time from the fix before;
- a fix at the time of the one before it is a repeat, and nothing follows from it;
- more than an hour between two fixes is a pause, and ends whatever is open;
- fixes that don't move make a stop where they last, up to the next that moves, five minutes;
- a trip is what lies between stops, pauses and the ends, from the last fix of a stop to the first of the next.

Times are microseconds since 1970, distances whole millimetres, and speeds that are added up millionths of a km/h, so
that sums come out the same in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from headwater.contracts.trucks import GEOFENCE, MOVING, OFFLINE, OVERSPEED, SILENT, STOPPED
from headwater.geofences import Geofence
from headwater.geometry import distance_km

SECOND = 1_000_000
MINUTE = 60 * SECOND
MM_A_KM = 1_000_000
MICRO = 1_000_000

SILENT_STAGE, PAUSED_STAGE = 1, 2
"""How far a silence has gone by the clock: the truck is offline; whatever was open has ended."""


@dataclass(frozen=True)
class Rules:
    """The thresholds, and the areas."""

    moving_kmh: float = 5
    pause_us: int = 3_600 * SECOND
    stop_us: int = 300 * SECOND
    trip_us: int = 300 * SECOND
    trip_mm: int = MM_A_KM // 2
    implausible_kmh: float = 200
    overspeed_kmh: float = 100
    overspeed_us: int = 30 * SECOND
    offline_us: int = 600 * SECOND
    geofences: tuple[Geofence, ...] = ()


class Fix(NamedTuple):
    """A record of a truck, as far as anything follows from it."""

    at: int
    event_id: str
    latitude: float
    longitude: float
    speed_kmh: float | None = None
    heading_deg: float | None = None
    driver: str | None = None
    route: str | None = None
    cargo: str | None = None


class Out(NamedTuple):
    """A row that a table holds for good, or what a truck brings to a minute; in the ledger's units."""

    table: str
    row: dict[str, Any]


@dataclass
class Place:
    """Where a truck was at a time, and whether it moved."""

    at: int
    latitude: float
    longitude: float
    moves: bool


@dataclass
class Way:
    """Fixes in a row: how far, how fast, how long without moving."""

    start: Place
    end: Place
    fixes: int
    millimetres: int = 0
    top_kmh: float | None = None
    idle_us: int = 0
    implausible: int = 0

    @classmethod
    def begun(cls, place: Place, speed_kmh: float | None) -> Way:
        return cls(place, place, 1, top_kmh=speed_kmh)

    def go(self, step: Step) -> None:
        """One fix on."""
        self.idle_us += 0 if self.end.moves else step.place.at - self.end.at
        self.end = step.place
        self.fixes += 1
        self.millimetres += step.millimetres
        self.top_kmh = greater(self.top_kmh, step.speed_kmh)
        self.implausible += step.is_implausible

    def joined(self, further: Way) -> Way:
        """The way on along one that begins where it ends."""
        return Way(
            self.start,
            further.end,
            self.fixes + further.fixes - 1,
            self.millimetres + further.millimetres,
            greater(self.top_kmh, further.top_kmh),
            self.idle_us + further.idle_us,
            self.implausible + further.implausible,
        )


@dataclass
class Step:
    """From one fix to the next. An implausible one has no length, and no speed but the fix's own."""

    place: Place
    millimetres: int
    speed_kmh: float | None
    is_implausible: bool


@dataclass
class Halt:
    """A run of fixes that don't move: the way through them, and the sums of their positions."""

    way: Way
    latitudes: float
    longitudes: float


@dataclass
class Fast:
    """A run of fixes above the limit."""

    began: Place
    last: int
    top_kmh: float


@dataclass
class Minute:
    """What a truck has brought to a minute so far."""

    start: int
    moves: bool = False
    millimetres: int = 0
    speeds: int = 0
    fixes_with_speed: int = 0


@dataclass
class Journey:
    """The state of a truck: its newest record, its last fix, and what is open."""

    newest: tuple[Any, ...] | None = None
    is_implausible: bool = False
    last: Place | None = None
    trip: Way | None = None
    """Up to the first fix of the halt, where there is one."""
    halt: Halt | None = None
    fast: Fast | None = None
    inside: dict[str, Place] = field(default_factory=dict)
    minute: Minute | None = None

    @classmethod
    def load(cls, text: bytes) -> Journey:
        """From its JSON."""
        found = orjson.loads(text)
        return cls(
            newest=found["newest"] and tuple(found["newest"]),
            is_implausible=found["is_implausible"],
            last=found["last"] and Place(**found["last"]),
            trip=found["trip"] and _way(found["trip"]),
            halt=found["halt"] and Halt(**{**found["halt"], "way": _way(found["halt"]["way"])}),
            fast=found["fast"] and Fast(**{**found["fast"], "began": Place(**found["fast"]["began"])}),
            inside={name: Place(**place) for name, place in found["inside"].items()},
            minute=found["minute"] and Minute(**found["minute"]),
        )

    def take(self, truck_id: str, fix: Fix, rules: Rules) -> Iterator[Out]:
        """The next record, none earlier than those before; what it ends."""
        self.newest = tuple(fix)
        if self.last and fix.at == self.last.at:
            return
        step = self._step(fix, rules)
        self.is_implausible = step.is_implausible
        pause = self.last is not None and fix.at - self.last.at > rules.pause_us
        if self.last and fix.at - self.last.at > rules.offline_us:
            yield alert(truck_id, SILENT, self.last, fix.at)
        if pause:
            yield from self.ended(truck_id, rules)
            self.trip, self.halt, self.fast, self.inside = None, None, None, {}
        yield from self._drive(truck_id, step, rules)
        yield from self._speed(truck_id, step, rules)
        yield from self._cross(truck_id, step.place, rules)
        yield from self._count(step)
        self.last = step.place

    def silences(self, rules: Rules) -> tuple[int, int]:
        """When it counts as offline, and when whatever is open ends, if nothing comes; a microsecond beyond each."""
        last = self.last.at if self.last else 0
        return last + rules.offline_us + 1, last + rules.pause_us + 1

    def open_rows(self, truck_id: str, rules: Rules, stage: int) -> Iterator[Out]:
        """The rows that stand for what is not ended by a later record, as of a stage of its silence."""
        if self.newest is None or self.last is None:
            return
        state = OFFLINE if stage >= SILENT_STAGE else MOVING if self.last.moves else STOPPED
        newest = Fix(*self.newest)
        names = ("latitude", "longitude", "speed_kmh", "heading_deg", "driver", "route", "cargo", "event_id")
        yield Out(
            "latest",
            {
                "truck_id": truck_id,
                "event_time": newest.at,
                **{name: getattr(newest, name) for name in names},
                "state": state,
                "is_implausible": self.is_implausible,
            },
        )
        if stage >= PAUSED_STAGE:
            yield from self.ended(truck_id, rules)
        else:
            yield from self._so_far(truck_id, rules)
        if stage >= SILENT_STAGE:
            yield alert(truck_id, SILENT, self.last, None)
        if self.minute:
            yield _part(self.minute)

    def ended(self, truck_id: str, rules: Rules) -> Iterator[Out]:
        """What a pause after the last fix ends."""
        last = self.last.at if self.last else 0
        yield from self._way_rows(truck_id, rules, is_open=False)
        if self.fast and is_overspeed(self.fast, rules):
            yield overspeed(truck_id, self.fast, last)
        for name, began in self.inside.items():
            yield passage(truck_id, name, began, last, rules)

    def _so_far(self, truck_id: str, rules: Rules) -> Iterator[Out]:
        yield from self._way_rows(truck_id, rules, is_open=True)
        if self.fast and is_overspeed(self.fast, rules):
            yield overspeed(truck_id, self.fast, None)
        for name, began in self.inside.items():
            yield passage(truck_id, name, began, None, rules)

    def _way_rows(self, truck_id: str, rules: Rules, *, is_open: bool) -> Iterator[Out]:
        """Trip and stop up to the last fix. A stop has ended the trip before it, open or not."""
        trip, halt = self.trip, self.halt
        if halt and halt.way.end.at - halt.way.start.at >= rules.stop_us:
            yield from trips(truck_id, trip, rules, is_open=False)
            yield stop(truck_id, halt, halt.way.end.at, is_open=is_open)
        elif trip and halt:
            yield from trips(truck_id, trip.joined(halt.way), rules, is_open=is_open)
        else:
            yield from trips(truck_id, trip, rules, is_open=is_open)

    def _step(self, fix: Fix, rules: Rules) -> Step:
        """To a fix from the one before."""
        speed, millimetres, is_implausible = fix.speed_kmh, 0, False
        moves = speed is not None and speed >= rules.moving_kmh
        if self.last:
            kilometres = distance_km(self.last.latitude, self.last.longitude, fix.latitude, fix.longitude)
            kmh = kilometres / ((fix.at - self.last.at) / (3_600 * SECOND))
            is_implausible = kmh > rules.implausible_kmh
            millimetres = 0 if is_implausible else round(kilometres * MM_A_KM)
            if speed is None:
                moves = kmh >= rules.moving_kmh
                speed = None if is_implausible else kmh
        return Step(Place(fix.at, fix.latitude, fix.longitude, moves), millimetres, speed, is_implausible)

    def _drive(self, truck_id: str, step: Step, rules: Rules) -> Iterator[Out]:
        """Trips and stops. Whether fixes that don't move make a stop shows only when one moves again."""
        place, halt = step.place, self.halt
        if self.trip is None:
            self.trip = Way.begun(place, step.speed_kmh)
        elif halt is None:
            self.trip.go(step)
        elif not place.moves:
            halt.way.go(step)
        elif place.at - halt.way.start.at >= rules.stop_us:
            yield from trips(truck_id, self.trip, rules, is_open=False)
            yield stop(truck_id, halt, place.at, is_open=False)
            self.trip = Way.begun(halt.way.end, None)
            self.trip.go(step)
        else:
            self.trip = self.trip.joined(halt.way)
            self.trip.go(step)
        if place.moves:
            self.halt = None
        elif halt is None:
            self.halt = Halt(Way.begun(place, step.speed_kmh), place.latitude, place.longitude)
        else:
            halt.latitudes += place.latitude
            halt.longitudes += place.longitude

    def _speed(self, truck_id: str, step: Step, rules: Rules) -> Iterator[Out]:
        """Overspeed: the first and the last of some fixes above the limit are half a minute apart."""
        speed, at = step.speed_kmh, step.place.at
        if speed is not None and speed > rules.overspeed_kmh:
            if self.fast:
                self.fast.last, self.fast.top_kmh = at, max(self.fast.top_kmh, speed)
            else:
                self.fast = Fast(step.place, at, speed)
        elif self.fast:
            if is_overspeed(self.fast, rules):
                yield overspeed(truck_id, self.fast, at)
            self.fast = None

    def _cross(self, truck_id: str, place: Place, rules: Rules) -> Iterator[Out]:
        """Passages of geofences."""
        for fence in rules.geofences:
            holds, began = fence.holds(place.latitude, place.longitude), self.inside.get(fence.name)
            if holds and began is None:
                self.inside[fence.name] = place
            elif began is not None and not holds:
                yield passage(truck_id, fence.name, began, place.at, rules)
                del self.inside[fence.name]

    def _count(self, step: Step) -> Iterator[Out]:
        """What the minute of a fix holds of this truck."""
        start = step.place.at - step.place.at % MINUTE
        if self.minute is None or self.minute.start != start:
            if self.minute:
                yield _part(self.minute)
            self.minute = Minute(start)
        self.minute.moves = self.minute.moves or step.place.moves
        self.minute.millimetres += step.millimetres
        if step.speed_kmh is not None:
            self.minute.speeds += round(step.speed_kmh * MICRO)
            self.minute.fixes_with_speed += 1


def greater(a: float | None, b: float | None) -> float | None:
    """The greater of two speeds, of which none may be known."""
    return b if a is None else a if b is None else max(a, b)


def is_overspeed(fast: Fast, rules: Rules) -> bool:
    """Whether it has lasted."""
    return fast.last - fast.began.at >= rules.overspeed_us


def trips(truck_id: str, way: Way | None, rules: Rules, *, is_open: bool) -> Iterator[Out]:
    """The row of a trip, where it is long enough to be one."""
    if way is None or way.millimetres < rules.trip_mm or way.end.at - way.start.at < rules.trip_us:
        return
    duration, kilometres = way.end.at - way.start.at, way.millimetres / MM_A_KM
    yield Out(
        "trips",
        {
            "truck_id": truck_id,
            "start_time": way.start.at,
            "end_time": way.end.at,
            "is_open": is_open,
            "distance_km": kilometres,
            "duration_s": duration / SECOND,
            "average_kmh": kilometres / (duration / SECOND / 3_600) if duration else 0.0,
            "top_kmh": way.top_kmh,
            "idle_s": way.idle_us / SECOND,
            "fixes": way.fixes,
            "implausible": way.implausible,
            "start_latitude": way.start.latitude,
            "start_longitude": way.start.longitude,
            "end_latitude": way.end.latitude,
            "end_longitude": way.end.longitude,
        },
    )


def stop(truck_id: str, halt: Halt, end: int, *, is_open: bool) -> Out:
    """The row of a stop."""
    fixes = halt.way.fixes
    return Out(
        "stops",
        {
            "truck_id": truck_id,
            "start_time": halt.way.start.at,
            "end_time": end,
            "is_open": is_open,
            "duration_s": (end - halt.way.start.at) / SECOND,
            "latitude": halt.latitudes / fixes,
            "longitude": halt.longitudes / fixes,
        },
    )


def alert(truck_id: str, kind: str, began: Place, ended: int | None, **details: Any) -> Out:
    """The row of an alert."""
    identity = "|".join([truck_id, kind, str(began.at), *filter(None, [details.get("geofence")])])
    row = {"alert_id": identity, "truck_id": truck_id, "kind": kind, "began_at": began.at, "ended_at": ended}
    empty = {"geofence": None, "geofence_kind": None, "top_kmh": None}
    return Out("alerts", {**row, "latitude": began.latitude, "longitude": began.longitude, **empty, **details})


def overspeed(truck_id: str, fast: Fast, ended: int | None) -> Out:
    """The row of an overspeed."""
    return alert(truck_id, OVERSPEED, fast.began, ended, top_kmh=fast.top_kmh)


def passage(truck_id: str, name: str, began: Place, ended: int | None, rules: Rules) -> Out:
    """The row of a passage of a geofence."""
    kind = next(fence.kind for fence in rules.geofences if fence.name == name)
    return alert(truck_id, GEOFENCE, began, ended, geofence=name, geofence_kind=kind)


def fleet_minute(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What some trucks brought to a minute -> the minute's figures."""
    speeds, count = (sum(part[name] for part in parts) for name in ("speeds", "fixes_with_speed"))
    return {
        "trucks": len(parts),
        "moving": sum(part["moves"] for part in parts),
        "distance_km": sum(part["millimetres"] for part in parts) / MM_A_KM,
        "mean_kmh": speeds / count / MICRO if count else None,
    }


def _part(minute: Minute) -> Out:
    return Out(
        "minute",
        {
            "window_start": minute.start,
            "moves": minute.moves,
            "millimetres": minute.millimetres,
            "speeds": minute.speeds,
            "fixes_with_speed": minute.fixes_with_speed,
        },
    )


def _way(found: dict[str, Any]) -> Way:
    return Way(**{**found, "start": Place(**found["start"]), "end": Place(**found["end"])})
