"""A simulated sky: what OpenSky would say of each of its aircraft, whenever it is asked.

An aircraft is heard or isn't: its transponder is off at the stand, receivers lose it for a while, and what they report
is up to tens of seconds old. How often values are missing is taken from recorded answers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import NamedTuple

from headwater.contracts.aircraft import EMERGENCIES, EMERGENCY, RADIO_FAILURE
from headwater.icao24 import block_of
from headwater.settings import AircraftSettings
from producers.aircraft_airlines import HEAVY, LARGE, LIGHT, Airport, Flown, callsign, drawn, next_airport
from producers.aircraft_flying import Fix, Incident, Leg, Place, fix, incident, planned
from producers.opensky import identified
from producers.replay import RawRecord

INCIDENT_SHARE = 1 / 300
"""Legs on which something goes wrong."""
OPENINGS = (
    # Seconds until it goes wrong, the code, and whether it descends steeply: so that there is something to see soon.
    (45, EMERGENCY, True),
    (120, RADIO_FAILURE, False),
    (240, None, True),
)
OPENING_LASTS_S = 900.0

FRESH_SHARE = 0.85
FRESH_S = (0.0, 2.0)
"""How old most reports are, and all others."""
OLD_S = (2.0, 40.0)
SILENT_EVERY_S = 5_400.0
SILENT_S = (30.0, 300.0)

NO_SQUAWK_SHARE = 0.41
NO_CALLSIGN_SHARE = 0.02
NO_CATEGORY_SHARE = 0.4
MLAT_SHARE = 0.01
"""All four of aircraft, for life."""
NO_POSITION_SHARE = 0.011
OLD_POSITION_SHARE = 0.05
NO_ALTITUDE_SHARE = 0.008
NO_GEO_ALTITUDE_SHARE = 0.008
NO_RATE_SHARE = 0.003
NO_VELOCITY_SHARE = 0.0002
IDENT_SHARE = 0.005
"""The pilot has pressed the button."""

ALTITUDE_STEP_M = 7.62
RATE_STEP_MS = 0.32512
"""What ADS-B resolves: 25 ft, and 64 ft a minute."""
GEO_OFFSET_M = (-120.0, 420.0)

VFR_SQUAWK = "7000"
VFR_SQUAWK_OF = {"United States": "1200", "Canada": "1200", "Australia": "1200"}


class Flight(NamedTuple):
    """A leg, and what the transponder says on it."""

    leg: Leg
    callsign: str
    squawk: str


@dataclass
class Aircraft:
    """An airframe and what it does: its flight, since when (s since 1970), and what was last heard of it."""

    icao24: str
    seed: str
    flown: Flown
    rng: Random
    category: int
    position_source: int
    has_squawk: bool
    has_callsign: bool
    geo_offset_m: float
    flight: Flight
    flights: int = 1
    left_at: float = 0.0
    last_contact: int = 0
    silent_from: float = 0.0
    silent_until: float = 0.0


@dataclass
class Fleet:
    """The simulation's whole state; with the clock's readings it decides every record.

    `turns` counts looks at an aircraft, `in_vain` those since the last record. `ahead_s` is how far time in the sky is
    ahead of the clock.
    """

    run_id: str
    aircraft: list[Aircraft] = field(default_factory=list)
    turns: int = 0
    in_vain: int = 0
    ahead_s: float = 0.0


def open_fleet(seed: int | None, settings: AircraftSettings, now: datetime) -> Fleet:
    """A sky at `now` (aware), with aircraft all along their legs.

    Airframes are the same in every run. The same seed has them fly the same legs one after another; where they are at
    a report depends on the clock. Without a seed each run is its own.
    """
    fleet = Fleet(f"{secrets.randbits(64):016x}" if seed is None else f"seed{seed}")
    taken: set[str] = set()
    for number in range(settings.fleet):
        fleet.aircraft.append(_aircraft(fleet.run_id, number, taken, now.timestamp()))
    return fleet


def next_record(fleet: Fleet, now: datetime) -> RawRecord:
    """What is heard next at `now` (aware), of the aircraft whose turn it is.

    Of an aircraft there is something new once a second at most. Where that is asked for more often, of all of them,
    time in the sky goes faster.
    """
    while True:
        if fleet.in_vain >= len(fleet.aircraft):
            fleet.in_vain, fleet.ahead_s = 0, fleet.ahead_s + 1
        aircraft = fleet.aircraft[fleet.turns % len(fleet.aircraft)]
        fleet.turns += 1
        fleet.in_vain += 1
        record = heard(aircraft, now.timestamp() + fleet.ahead_s)
        if record is not None:
            fleet.in_vain = 0
            return record


def heard(aircraft: Aircraft, clock: float) -> RawRecord | None:
    """What is new of an aircraft (`clock` in s since 1970); none where nothing was heard since it was last asked."""
    _fly(aircraft, clock)
    rng = aircraft.rng
    at = clock - (rng.uniform(*FRESH_S) if rng.random() < FRESH_SHARE else rng.uniform(*OLD_S))
    if _is_silent(aircraft, at) or at < aircraft.left_at or not aircraft.flight.leg.is_heard(at - aircraft.left_at):
        return None
    if int(at) <= aircraft.last_contact:
        return None
    aircraft.last_contact = int(at)
    return identified(_record(aircraft, int(at), int(clock)))


def _record(aircraft: Aircraft, at: int, snapshot_time: int) -> RawRecord:
    rng, leg, since = aircraft.rng, aircraft.flight.leg, max(0.0, at - aircraft.left_at)
    here = fix(leg, since)
    record: RawRecord = {
        "icao24": aircraft.icao24,
        "callsign": aircraft.flight.callsign if aircraft.has_callsign else "",
        "origin_country": aircraft.flown.country,
        "last_contact": at,
        "on_ground": here.on_ground,
        "true_track": round(here.track_deg, 2),
        "spi": rng.random() < IDENT_SHARE,
        "position_source": aircraft.position_source,
        "category": aircraft.category,
        "snapshot_time": snapshot_time,
    }
    if rng.random() >= NO_POSITION_SHARE:
        record |= _position(aircraft, at, here)
    if rng.random() >= NO_VELOCITY_SHARE:
        wobble = 0.0 if here.on_ground else rng.uniform(-1.5, 1.5)
        record["velocity"] = round(max(0.0, here.speed_ms + wobble), 2)
    squawk = leg.squawk(since) or (aircraft.flight.squawk if aircraft.has_squawk else None)
    if squawk is not None:
        record["squawk"] = squawk
    if not here.on_ground:
        record |= _vertical(aircraft, here)
    return record


def _position(aircraft: Aircraft, at: int, here: Fix) -> RawRecord:
    """Where it is, now and then where it was some seconds before."""
    if aircraft.rng.random() < OLD_POSITION_SHARE:
        at = max(int(aircraft.left_at) + 1, at - aircraft.rng.randrange(1, 15))
        here = fix(aircraft.flight.leg, at - aircraft.left_at)
    return {
        "time_position": at,
        "longitude": round((here.longitude + 180) % 360 - 180, 4),
        "latitude": round(here.latitude, 4),
    }


def _vertical(aircraft: Aircraft, here: Fix) -> RawRecord:
    """Altitudes and vertical rate in the steps that transponders send; on the ground they send none."""
    rng, told = aircraft.rng, {}
    wobble = rng.choice((0, 0, 0, 0, 1, -1))
    if rng.random() >= NO_ALTITUDE_SHARE:
        told["baro_altitude"] = round((round(here.altitude_m / ALTITUDE_STEP_M) + wobble) * ALTITUDE_STEP_M, 2)
        if rng.random() >= NO_GEO_ALTITUDE_SHARE:
            steps = round((here.altitude_m + aircraft.geo_offset_m) / ALTITUDE_STEP_M)
            told["geo_altitude"] = round(steps * ALTITUDE_STEP_M, 2)
    if rng.random() >= NO_RATE_SHARE:
        told["vertical_rate"] = round((round(here.rate_ms / RATE_STEP_MS) + wobble) * RATE_STEP_MS, 2)
    return told


def _fly(aircraft: Aircraft, clock: float) -> None:
    """On to the leg that the clock's reading belongs to."""
    while clock >= aircraft.left_at + aircraft.flight.leg.ends_s:
        aircraft.left_at += aircraft.flight.leg.ends_s
        _take_next(aircraft)


def _take_next(aircraft: Aircraft) -> None:
    before = aircraft.flight.leg
    aircraft.flights += 1
    aircraft.flight = flight(aircraft.seed, aircraft.flights, aircraft.flown, before.destination, before.next_stand)


def flight(seed: str, number: int, flown: Flown, here: Airport, stand: Place | None = None) -> Flight:
    """An airframe's flight by its number in the run, from where it is."""
    rng = Random(f"{seed}-{number}")
    leg = planned(rng, flown.kind, here, next_airport(rng, flown, here), stand)
    if rng.random() < INCIDENT_SHARE:
        leg = replace(leg, incident=incident(rng, leg))
    return Flight(leg, callsign(rng, flown), _squawk(rng, flown))


def _is_silent(aircraft: Aircraft, at: float) -> bool:
    """Whether no receiver hears an aircraft just then."""
    if at >= aircraft.silent_until:
        aircraft.silent_from = max(at, aircraft.silent_until) + aircraft.rng.expovariate(1 / SILENT_EVERY_S)
        aircraft.silent_until = aircraft.silent_from + aircraft.rng.uniform(*SILENT_S)
    return at >= aircraft.silent_from


def _squawk(rng: Random, flown: Flown) -> str:
    """A transponder code that says nothing special."""
    if flown.kind is LIGHT:
        return VFR_SQUAWK_OF.get(flown.country, VFR_SQUAWK)
    code = f"{rng.randrange(0o10, 0o7777):04o}"
    return "1000" if code in EMERGENCIES else code


def _aircraft(run_id: str, number: int, taken: set[str], clock: float) -> Aircraft:
    """An aircraft by its number, somewhere on its way."""
    frame, seed = Random(f"airframe-{number}"), f"{run_id}-{number}"
    flown = drawn(frame)
    while number < len(OPENINGS) and flown.kind not in (HEAVY, LARGE):
        flown = drawn(frame)
    block = block_of(flown.country)
    icao24 = f"{frame.choice(block[1:]):06x}"
    while icao24 in taken:
        icao24 = f"{frame.choice(block[1:]):06x}"
    taken.add(icao24)
    rng = Random(seed)
    aircraft = Aircraft(
        icao24=icao24,
        seed=seed,
        flown=flown,
        rng=rng,
        category=0 if frame.random() < NO_CATEGORY_SHARE else flown.kind.category,
        position_source=2 if frame.random() < MLAT_SHARE else 0,
        has_squawk=frame.random() >= NO_SQUAWK_SHARE,
        has_callsign=frame.random() >= NO_CALLSIGN_SHARE,
        geo_offset_m=frame.uniform(*GEO_OFFSET_M),
        flight=flight(seed, 1, flown, flown.home),
    )
    if number < len(OPENINGS):
        _open(aircraft, clock, *OPENINGS[number])
    else:
        aircraft.left_at = clock - rng.uniform(0, aircraft.flight.leg.ends_s)
    return aircraft


def _open(aircraft: Aircraft, clock: float, until_s: float, squawk: str | None, is_steep: bool) -> None:
    """Put an aircraft where something is about to go wrong: the middle of a cruise that is long and high enough."""
    while incident(Random(0), aircraft.flight.leg) is None:
        _take_next(aircraft)
    leg = aircraft.flight.leg
    at_s = leg.top_s + leg.cruise_s / 3
    leg = replace(leg, incident=Incident(at_s, OPENING_LASTS_S, squawk, is_steep))
    aircraft.flight = aircraft.flight._replace(leg=leg)
    aircraft.left_at = clock + until_s - at_s
