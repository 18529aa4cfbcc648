"""How one simulated truck drives, stands and goes on; its state is moved by the time that passes.

A truck goes from site to site along a `Path`: it accelerates to what limit, habit and traffic allow, brakes for turns,
slower roads and halts, stands to load, rest and refuel, and plans its next leg. What it plans depends on its seed and
the leg's number alone, so that the same seed means the same legs at any pace.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, inf, pi, sin, sqrt
from random import Random
from zoneinfo import ZoneInfo

from producers.trucks_roads import COMFORTABLE_BRAKING_MS2, KMH, MOTORWAY, SITES, Path, Place, Site, path

STEP_S = 1.0
"""The longest time within which a truck's acceleration is taken as constant."""
LONGEST_DRIVE_S = 3_600.0
"""When nobody asked for longer (the machine slept), the fleet slept too."""

ACCELERATION_MS2 = 0.4
HARDEST_BRAKING_MS2 = 2.5
ARRIVED_M = 0.5

MINUTE_S, HOUR_S = 60.0, 3_600.0
BREAK_S = 45 * MINUTE_S
"""After 4.5 h at the wheel at the latest: Regulation (EC) 561/2006, article 7."""
BREAK_DUE_S = 4 * HOUR_S
"""Leaves half an hour to find a service area."""
BREAK_ON_ARRIVAL_S = 3.5 * HOUR_S
"""At a site the break is taken early rather than on the next leg's first kilometres."""
DAY_AT_THE_WHEEL_S = 9 * HOUR_S
DAILY_REST_S = 9 * HOUR_S
"""The reduced one: articles 4 and 8."""
USUAL_MS = 65 * KMH
"""To foresee whether a leg still fits into the day."""

LOADING_MIN = (8, 30)
AT_THE_DEPOT_MIN = (20, 60)
REFUELLING_S = 15 * MINUTE_S
RANGE_M = (700_000.0, 1_100_000.0)
LEG_KM = (30, 160)
LEGS_FROM_HOME = 3
EMPTY_SHARE = 0.15
CARGO = (
    "containers", "steel coils", "car parts", "furniture", "beverages", "fresh fruit", "flowers", "paper",
    "machine parts", "electronics", "building materials", "chemicals", "parcels", "animal feed", "textiles",
)  # fmt: skip

SPEEDING_KMH = (104.0, 114.0)
SPEEDING_S = (80.0, 140.0)
"""Of it some 20 s go into getting that fast."""
SPEEDING_EVERY_S = 40 * MINUTE_S
"""Mean time at the wheel from one lapse to the next, of those who have any."""

WAVE_M, WAVE_S, WAVE_SHARE = 4_000, 240, 0.25
"""Stop-and-go in dense traffic: how long such a wave is, how long it lasts, and how much of the delay comes in it."""
LOCAL = ZoneInfo("Europe/Brussels")
NIGHT, DAY, WEEKEND = 0.05, 0.35, 0.5
PEAKS = ((8.0, 1.0, 0.6), (17.0, 1.3, 0.65))
"""Hour, width in hours, height."""

BAY_RAMP_M = 1_200.0
"""Over the last of its way a truck turns off to its own bay, so that not all stand on one spot."""
GPS_DRIFT_DEG = 3e-5
"""Standard deviation, about 3 m."""
GPS_MEMORY_S = 60.0
"""A receiver's error wanders; were it new at each fix, a truck at one fix a second would dart about."""


@dataclass(frozen=True)
class Leg:
    """A drive from one site to another, and how long the truck then stands there."""

    origin: Site
    destination: Site
    path: Path
    cargo: str
    stay_s: float

    @property
    def route(self) -> str:
        return f"{self.origin.town} - {self.destination.town}"


@dataclass(slots=True)
class Truck:
    """A truck under way, with its tracker. `clock` is when it was last looked at, in seconds since 1970.

    `halt_m` is where on its path it stops next. `bay` is where it stands at a site, from the site's own place, and
    `drift` the receiver's error, both in degrees. Its tracker has made `fixes` and says nothing for `silent_s` more.
    """

    truck_id: str
    seed: str
    driver: str
    home: Site
    habit: float
    bay: Place
    rng: Random
    leg: Leg
    legs: int = 0
    along_m: float = 0.0
    halt_m: float = 0.0
    segment: int = 0
    speed_ms: float = 0.0
    waiting_s: float = 0.0
    clock: float | None = None
    at_the_wheel_s: float = 0.0
    today_s: float = 0.0
    range_m: float = RANGE_M[1]
    until_speeding_s: float = inf
    speeding_s: float = 0.0
    speeding_ms: float = 0.0
    drift: Place = (0.0, 0.0)
    fixes: int = 0
    until_silence_s: float = inf
    silent_s: float = 0.0

    @property
    def position(self) -> Place:
        """Latitude and longitude as its receiver gives them."""
        way, i = self.leg.path, self.segment
        share = (self.along_m - way.along_m[i]) / (way.along_m[i + 1] - way.along_m[i])
        (latitude, longitude), (to_latitude, to_longitude) = way.points[i], way.points[i + 1]
        aside = max(0.0, 1 - min(self.along_m, way.length_m - self.along_m) / BAY_RAMP_M)
        return (
            latitude + (to_latitude - latitude) * share + self.bay[0] * aside + self.drift[0],
            longitude + (to_longitude - longitude) * share + self.bay[1] * aside + self.drift[1],
        )

    @property
    def heading_deg(self) -> float:
        return self.leg.path.bearing[self.segment]


def planned(seed: str, number: int, home: Site, origin: Site) -> Leg:
    """A truck's leg by its number, which with the seed decides all of it; every few legs it goes home."""
    rng = Random(f"{seed}-{number}")
    destination = home
    if number % LEGS_FROM_HOME != 0 or origin == home:
        destination = rng.choice(_within_reach(origin))
    stay_min = AT_THE_DEPOT_MIN if destination.is_depot else LOADING_MIN
    cargo = "empty" if rng.random() < EMPTY_SHARE else rng.choice(CARGO)
    return Leg(origin, destination, path(origin.node, destination.node), cargo, rng.uniform(*stay_min) * MINUTE_S)


def place(truck: Truck, along_m: float, *, waiting_s: float = 0.0) -> None:
    """Put a truck on its path: rolling, or standing there for a while."""
    way = truck.leg.path
    truck.along_m = along_m
    truck.segment = min(max(bisect_left(way.along_m, along_m) - 1, 0), len(way.points) - 2)
    truck.halt_m = way.length_m
    truck.waiting_s = waiting_s
    truck.speed_ms = 0.0 if waiting_s else 0.7 * way.limit_ms[truck.segment]


def drive(truck: Truck, clock: float, rush: float) -> float:
    """Move a truck on to `clock` and give the seconds that passed; `rush` is how dense traffic is, from 0 to 1."""
    passed = 0.0 if truck.clock is None else clock - truck.clock
    truck.clock = clock
    left = min(passed, LONGEST_DRIVE_S)
    while left > 0:
        if truck.waiting_s > 0:
            stood = min(left, truck.waiting_s)
            truck.waiting_s -= stood
            left -= stood
            if truck.waiting_s <= 0:
                _go_on(truck)
        else:
            step = min(left, STEP_S)
            left -= step
            _roll(truck, step, clock - left, rush)
    return passed


def rush_at(now: datetime) -> float:
    """How dense traffic is on the fleet's roads, from 0 to 1, by the local hour."""
    local = now.astimezone(LOCAL)
    hour = local.hour + local.minute / 60
    dense = DAY if 6 <= hour < 20 else NIGHT
    dense += sum(height * exp(-(((hour - peak) / width) ** 2) / 2) for peak, width, height in PEAKS)
    return min(1.0, dense * (WEEKEND if local.weekday() >= 5 else 1))


def _within_reach(origin: Site) -> Sequence[Site]:
    least, most = LEG_KM
    return [s for s in SITES if s != origin and least <= path(origin.node, s.node).length_m / 1000 <= most]


def _roll(truck: Truck, step: float, clock: float, rush: float) -> None:
    way, i, speed = truck.leg.path, truck.segment, truck.speed_ms
    # Where it will be at the step's end decides, lest it takes each bend a little too fast.
    ahead = max(0.0, way.along_m[i + 1] - truck.along_m - speed * step)
    to_halt = max(0.0, truck.halt_m - truck.along_m - speed * step)
    target = min(
        _cruising(truck, step, clock, rush),
        sqrt(way.ceiling_ms[i + 1] ** 2 + 2 * COMFORTABLE_BRAKING_MS2 * ahead),
        sqrt(2 * COMFORTABLE_BRAKING_MS2 * to_halt),
    )
    if target >= speed:
        truck.speed_ms = min(target, speed + ACCELERATION_MS2 * step)
    else:
        truck.speed_ms = max(target, speed - HARDEST_BRAKING_MS2 * step)
    rolled = (speed + truck.speed_ms) / 2 * step
    truck.along_m = min(truck.along_m + rolled, truck.halt_m)
    truck.range_m -= rolled
    truck.at_the_wheel_s += step
    truck.today_s += step
    last = len(way.points) - 2
    while truck.segment < last and truck.along_m >= way.along_m[truck.segment + 1]:
        truck.segment += 1
    _drift(truck, step)
    if truck.halt_m - truck.along_m < ARRIVED_M:
        _halt(truck)
    elif truck.halt_m == way.length_m and (truck.at_the_wheel_s > BREAK_DUE_S or truck.range_m < 0):
        _look_for_services(truck)


def _cruising(truck: Truck, step: float, clock: float, rush: float) -> float:
    """The speed (m/s) that limit, habit and traffic allow; for a while and on a motorway, one beyond the limit."""
    way, i = truck.leg.path, truck.segment
    limit = way.limit_ms[i]
    if limit >= MOTORWAY.limit_kmh * KMH:
        truck.until_speeding_s -= step
        if truck.until_speeding_s <= 0:
            truck.speeding_s = truck.rng.uniform(*SPEEDING_S)
            truck.speeding_ms = truck.rng.uniform(*SPEEDING_KMH) * KMH
            truck.until_speeding_s = truck.speeding_s + truck.rng.expovariate(1 / SPEEDING_EVERY_S)
        if truck.speeding_s > 0:
            truck.speeding_s -= step
            return truck.speeding_ms
    wave = 1 - WAVE_SHARE + WAVE_SHARE * sin(2 * pi * (truck.along_m / WAVE_M + clock / WAVE_S))
    return limit * truck.habit * (1 - way.busy[i] * rush * wave)


def _drift(truck: Truck, step: float) -> None:
    """An Ornstein-Uhlenbeck process, so that the error's size does not depend on the pace of the fixes."""
    kept = 1 - step / GPS_MEMORY_S
    new = GPS_DRIFT_DEG * sqrt(1 - kept * kept)
    gauss = truck.rng.gauss
    truck.drift = (truck.drift[0] * kept + gauss(0, new), truck.drift[1] * kept + gauss(0, new))


def _look_for_services(truck: Truck) -> None:
    services = truck.leg.path.services_m
    found = bisect_left(services, truck.along_m + truck.speed_ms**2 / COMFORTABLE_BRAKING_MS2)
    if found < len(services):
        truck.halt_m = services[found]


def _halt(truck: Truck) -> None:
    """Stand at a service area, or at the leg's end."""
    truck.along_m, truck.speed_ms = truck.halt_m, 0.0
    is_arrived = truck.halt_m == truck.leg.path.length_m
    wheel_s = BREAK_ON_ARRIVAL_S if is_arrived else BREAK_DUE_S
    stay_s = BREAK_S if truck.at_the_wheel_s > wheel_s else 0.0
    if truck.range_m < 0:
        stay_s = max(stay_s, REFUELLING_S)
        truck.range_m = truck.rng.uniform(*RANGE_M)
    if is_arrived:
        stay_s = max(stay_s, truck.leg.stay_s)
        if truck.today_s + _next_leg(truck).path.length_m / USUAL_MS > DAY_AT_THE_WHEEL_S:
            stay_s = DAILY_REST_S
            truck.today_s = 0.0
    if stay_s >= BREAK_S:
        truck.at_the_wheel_s = 0.0
    truck.waiting_s = stay_s


def _next_leg(truck: Truck) -> Leg:
    return planned(truck.seed, truck.legs + 1, truck.home, truck.leg.destination)


def _go_on(truck: Truck) -> None:
    """Leave a service area, or the site with a new leg."""
    if truck.along_m == truck.leg.path.length_m:
        truck.leg = _next_leg(truck)
        truck.legs += 1
        truck.along_m, truck.segment = 0.0, 0
    truck.halt_m = truck.leg.path.length_m
