"""A simulated flight from gate to gate, and where the aircraft is at any moment of it.

Nothing is integrated: a leg is planned whole, and every moment follows from it alone. Distances are metres along the
great circle from the origin, times seconds since the aircraft left its stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, atan2, cos, degrees, radians, sin, sqrt
from random import Random

from headwater.contracts.aircraft import EMERGENCY, HIJACK, RADIO_FAILURE
from headwater.geometry import EARTH_RADIUS_KM, distance_km
from producers.aircraft_airlines import FEET_M, Airport, Kind

RADIUS_M = EARTH_RADIUS_KM * 1000
LEVEL_M = 1_000 * FEET_M
"""Between two cruising levels."""
MOST_VERTICAL_SHARE = 0.8
"""Of a leg, that climb and descent may take; on short legs they end lower for it."""

ROLL_S, ROLLOUT_S = 35.0, 30.0
TAXI_MS = 8.0
HOLD_S = (0.0, 240.0)
"""Waiting before the runway."""
STAND_M = (600.0, 1_800.0)
"""From an airport's middle to a stand."""
TRANSPONDER_ON_S, TRANSPONDER_OFF_S = 240.0, 300.0
"""Before the aircraft leaves its stand, and after it has come to one."""

STEEP_MS = 30.0
"""Steeper than what is an alert."""
SAFE_M = 10_000 * FEET_M
"""Where one can breathe: an emergency descent ends there."""
INCIDENT_FROM_M = 7_000.0

# How often, the transponder code, and whether it descends steeply.
INCIDENTS = (
    (6, EMERGENCY, True),
    (6, EMERGENCY, False),
    (10, RADIO_FAILURE, False),
    (5, None, True),
    (0.2, HIJACK, False),
)
INCIDENT_S = (480.0, 1_500.0)

Vector = tuple[float, float, float]
Place = tuple[float, float]


@dataclass(frozen=True)
class Incident:
    """Something goes wrong: from when, how long the transponder says so, and whether the aircraft descends steeply."""

    at_s: float
    lasts_s: float
    squawk: str | None
    is_steep: bool


@dataclass(frozen=True)
class Fix:
    """Where an aircraft is: degrees, m, m/s; `rate_ms` is vertical."""

    latitude: float
    longitude: float
    altitude_m: float
    on_ground: bool
    speed_ms: float
    track_deg: float
    rate_ms: float


@dataclass(frozen=True)
class Leg:
    """A flight. `stand` and `next_stand` are where it leaves and where it ends, in degrees.

    `start` and `side` are unit vectors from the earth's centre: the origin, and the direction it is left in.
    """

    kind: Kind
    origin: Airport
    destination: Airport
    stand: Place
    next_stand: Place
    start: Vector
    side: Vector
    length_m: float
    cruise_m: float
    cruise_ms: float
    taxi_out_s: float
    hold_s: float
    climb_s: float
    cruise_s: float
    descent_s: float
    taxi_in_s: float
    stay_s: float
    incident: Incident | None = None

    @property
    def airborne_s(self) -> float:
        """When it lifts off."""
        return TRANSPONDER_ON_S + self.taxi_out_s + self.hold_s + ROLL_S

    @property
    def top_s(self) -> float:
        """When it has reached its level."""
        return self.airborne_s + self.climb_s

    @property
    def landed_s(self) -> float:
        return self.top_s + self.cruise_s + self.descent_s

    @property
    def parked_s(self) -> float:
        return self.landed_s + ROLLOUT_S + self.taxi_in_s

    @property
    def ends_s(self) -> float:
        """When the next leg begins."""
        return self.parked_s + self.stay_s

    def is_heard(self, at_s: float) -> bool:
        """Whether the transponder is on."""
        return at_s < self.parked_s + TRANSPONDER_OFF_S

    def squawk(self, at_s: float) -> str | None:
        """An emergency's code while it lasts."""
        case = self.incident
        return case.squawk if case and case.at_s <= at_s < case.at_s + case.lasts_s else None


def planned(rng: Random, kind: Kind, origin: Airport, destination: Airport, stand: Place | None = None) -> Leg:
    """A leg between two airports, from a stand or from one that is drawn."""
    start = unit(origin.latitude, origin.longitude)
    side = toward(start, unit(destination.latitude, destination.longitude))
    length = distance_km(origin.latitude, origin.longitude, destination.latitude, destination.longitude) * 1000
    speed = rng.uniform(*kind.cruise_ms)
    level = LEVEL_M * round(rng.uniform(*kind.cruise_m) / LEVEL_M)
    ground = max(origin.elevation_m, destination.elevation_m)
    level = max(level, ground + 2 * LEVEL_M)
    climb_s, descent_s = (
        (level - origin.elevation_m) / kind.climb_ms,
        (level - destination.elevation_m) / kind.descent_ms,
    )
    vertical_m = (climb_s + descent_s) * (kind.lift_off_ms + speed) / 2
    if vertical_m > MOST_VERTICAL_SHARE * length:
        share = MOST_VERTICAL_SHARE * length / vertical_m
        level, climb_s, descent_s = ground + (level - ground) * share, climb_s * share, descent_s * share
        vertical_m *= share
    stand = stand or stand_at(rng, origin)
    next_stand = stand_at(rng, destination)
    runway_m = kind.lift_off_ms * ROLL_S / 2
    return Leg(
        kind=kind,
        origin=origin,
        destination=destination,
        stand=stand,
        next_stand=next_stand,
        start=start,
        side=side,
        length_m=length,
        cruise_m=level,
        cruise_ms=speed,
        taxi_out_s=apart_m(stand, along(start, side, -runway_m)[0]) / TAXI_MS,
        hold_s=rng.uniform(*HOLD_S),
        climb_s=climb_s,
        cruise_s=(length - vertical_m) / speed,
        descent_s=descent_s,
        taxi_in_s=apart_m(along(start, side, length + rollout_m(kind))[0], next_stand) / TAXI_MS,
        stay_s=rng.uniform(*kind.ground_min) * 60,
    )


def incident(rng: Random, leg: Leg) -> Incident | None:
    """Something that goes wrong while a leg cruises; none where it does so too low or too briefly."""
    lasts_s = rng.uniform(*INCIDENT_S)
    if leg.cruise_m < INCIDENT_FROM_M or leg.cruise_s < lasts_s:
        return None
    _, squawk, is_steep = rng.choices(INCIDENTS, [weight for weight, *_ in INCIDENTS])[0]
    return Incident(leg.top_s + rng.uniform(0, leg.cruise_s - lasts_s), lasts_s, squawk, is_steep)


def fix(leg: Leg, at_s: float) -> Fix:
    """Where an aircraft is at a moment of its leg."""
    runway_s = leg.airborne_s - ROLL_S
    if at_s < runway_s:
        return _taxiing(leg, at_s - TRANSPONDER_ON_S)
    if at_s >= leg.landed_s + ROLLOUT_S:
        return _taxiing_in(leg, at_s - leg.landed_s - ROLLOUT_S)
    if at_s < leg.airborne_s:
        x = (at_s - runway_s) / ROLL_S
        return _rolling(leg, leg.kind.lift_off_ms * ROLL_S / 2 * (x * x - 1), leg.kind.lift_off_ms * x, leg.origin)
    if at_s >= leg.landed_s:
        x = (at_s - leg.landed_s) / ROLLOUT_S
        speed = leg.kind.lift_off_ms + (TAXI_MS - leg.kind.lift_off_ms) * x
        way = leg.length_m + (leg.kind.lift_off_ms + speed) / 2 * x * ROLLOUT_S
        return _rolling(leg, way, speed, leg.destination)
    return _flying(leg, at_s)


def _flying(leg: Leg, at_s: float) -> Fix:
    lift_off, cruise, level = leg.kind.lift_off_ms, leg.cruise_ms, leg.cruise_m
    since = at_s - leg.airborne_s
    left = leg.landed_s - at_s
    if since < leg.climb_s:
        x, height = since / leg.climb_s, level - leg.origin.elevation_m
        speed = lift_off + (cruise - lift_off) * x
        way = (lift_off + speed) / 2 * since
        # Climbing gets slower with altitude: the exponent makes the first half of the height quick.
        altitude, rate = level - height * (1 - x) ** 1.5, 1.5 * height / leg.climb_s * sqrt(1 - x)
    elif left < leg.descent_s:
        x, height = left / leg.descent_s, level - leg.destination.elevation_m
        speed = lift_off + (cruise - lift_off) * x
        way = leg.length_m - (lift_off + speed) / 2 * left
        altitude, rate = leg.destination.elevation_m + height * x**1.2, -1.2 * height / leg.descent_s * x**0.2
    else:
        speed = cruise
        way = (lift_off + cruise) / 2 * leg.climb_s + cruise * (since - leg.climb_s)
        altitude, rate = level, 0.0
    if leg.incident and leg.incident.is_steep and at_s >= leg.incident.at_s:
        escape = max(level - STEEP_MS * (at_s - leg.incident.at_s), min(SAFE_M, level))
        if escape < altitude:
            altitude, rate = escape, -STEEP_MS if escape > SAFE_M else 0.0
    (latitude, longitude), track = along(leg.start, leg.side, way)
    return Fix(latitude, longitude, altitude, False, speed, track, rate)


def _rolling(leg: Leg, way_m: float, speed_ms: float, airport: Airport) -> Fix:
    (latitude, longitude), track = along(leg.start, leg.side, way_m)
    return Fix(latitude, longitude, airport.elevation_m, True, speed_ms, track, 0.0)


def _taxiing(leg: Leg, since_s: float) -> Fix:
    """At the stand, on the way to the runway, and waiting before it."""
    runway, _ = along(leg.start, leg.side, -leg.kind.lift_off_ms * ROLL_S / 2)
    share = min(1.0, max(0.0, since_s / leg.taxi_out_s))
    return _between(leg.stand, runway, share, leg.origin)


def _taxiing_in(leg: Leg, since_s: float) -> Fix:
    runway, _ = along(leg.start, leg.side, leg.length_m + rollout_m(leg.kind))
    return _between(runway, leg.next_stand, min(1.0, since_s / leg.taxi_in_s), leg.destination)


def _between(a: Place, b: Place, share: float, airport: Airport) -> Fix:
    """On the ground, on the straight way from one place to another."""
    latitude, longitude = a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
    track = degrees(atan2((b[1] - a[1]) * cos(radians(a[0])), b[0] - a[0])) % 360
    speed = TAXI_MS if 0 < share < 1 else 0.0
    return Fix(latitude, longitude, airport.elevation_m, True, speed, track, 0.0)


def rollout_m(kind: Kind) -> float:
    """From touching down to the end of braking."""
    return (kind.lift_off_ms + TAXI_MS) / 2 * ROLLOUT_S


def stand_at(rng: Random, airport: Airport) -> Place:
    """Somewhere about an airport's middle."""
    bearing, away = radians(rng.uniform(0, 360)), rng.uniform(*STAND_M)
    north, east = away * cos(bearing) / RADIUS_M, away * sin(bearing) / RADIUS_M
    return airport.latitude + degrees(north), airport.longitude + degrees(east / cos(radians(airport.latitude)))


def apart_m(a: Place, b: Place) -> float:
    """Between two places."""
    return distance_km(*a, *b) * 1000


def unit(latitude: float, longitude: float) -> Vector:
    """A place as a vector from the earth's centre, of length 1."""
    phi, lam = radians(latitude), radians(longitude)
    return cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)


def toward(a: Vector, b: Vector) -> Vector:
    """The direction, at right angles to `a` and of length 1, in which the great circle from `a` goes to `b`.

    Undefined where both are one place or opposite ends of the earth, which no leg's are.
    """
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    rest = [y - dot * x for x, y in zip(a, b, strict=True)]
    length = sqrt(sum(x * x for x in rest))
    x, y, z = (value / length for value in rest)
    return x, y, z


def along(start: Vector, side: Vector, way_m: float) -> tuple[Place, float]:
    """The place on a great circle after a way (m), in degrees, and the track there."""
    c, s = cos(way_m / RADIUS_M), sin(way_m / RADIUS_M)
    x, y, z = (c * a + s * b for a, b in zip(start, side, strict=True))
    dx, dy, dz = (c * b - s * a for a, b in zip(start, side, strict=True))
    longitude = atan2(y, x)
    east, north = dy * cos(longitude) - dx * sin(longitude), dz / max(sqrt(1 - z * z), 1e-9)
    return (degrees(asin(max(-1.0, min(1.0, z)))), degrees(longitude)), degrees(atan2(east, north)) % 360
