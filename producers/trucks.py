"""A simulated fleet of trucks, and replay of recorded vehicles.

`python -m producers.trucks` has the fleet drive until it is stopped. It moves by the time that passes, so `--rate` is
how often it is looked at: each truck in turn gives a fix, of the place where it is just then.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import heappop, heappush
from math import inf
from random import Random

from faker import Faker

from headwater.contracts.trucks import TRUCKS
from headwater.errors import run_main
from headwater.settings import TruckSettings, load_settings
from producers.replay import RawRecord
from producers.run import StreamProducer, run
from producers.trucks_driving import (
    HOUR_S,
    MINUTE_S,
    RANGE_M,
    SPEEDING_EVERY_S,
    Leg,
    Truck,
    drive,
    place,
    planned,
    rush_at,
)
from producers.trucks_replay import CAPMETRO, VEHICLES
from producers.trucks_roads import SITES, path

REPEATED_SHARE = 0.004
"""Fixes that are sent twice, as a tracker does that missed the answer."""
SWAPPED_SHARE = 0.004
"""Fixes that the truck's next one overtakes."""
LATE_SHARE = 0.002
LATE_S = (5.0, 300.0)
JUMP_SHARE = 1 / 20_000
JUMP_DEG = (0.05, 0.2)
"""A fix some 5 to 25 km off, as from a reflected signal."""

SILENT_EVERY_S = 6 * HOUR_S
FIRST_SILENCE_FROM_S = 15 * MINUTE_S
"""But for the truck whose opening has one: the first minutes are to show what they promise."""
SILENT_S = (11 * MINUTE_S, 15 * MINUTE_S)
"""Long enough to count as offline."""
MOST_SILENT_SHARE = 0.25

SPEEDERS = 4
"""One driver in so many is at times faster than allowed."""
BAY_DEG = 1.2e-3
"""How far from a site's own place its trucks stand at most: 130 m to the north, 80 m to the east."""
HABIT = (0.92, 0.99)
"""What share of the limit drivers keep to when nothing slows them."""

DRIVING_SHARE = 0.7
"""Trucks of a large fleet that are on the road when it starts; the others stand at a site."""
STANDING_MIN = (1.0, 180.0)

SITE_OF = {site.node: site for site in SITES}
DEPOTS = [site for site in SITES if site.is_depot]


@dataclass(frozen=True)
class Opening:
    """Where one of the first trucks starts, so that there is something to see at once.

    `km` counts from the origin, back from the destination where it is below 0, and is None at the destination itself.
    With `standing_min` the truck stands there for a while.
    """

    origin: str
    destination: str
    km: float | None
    standing_min: float = 0.0
    until_speeding_s: float | None = None
    until_silence_s: float | None = None


OPENINGS = (
    Opening("waalhaven", "logport", 60),
    Opening("noorderlaan", "tradeport", 40, until_speeding_s=45),
    Opening("waalhaven", "maasvlakte", -3.5),  # soon at its customer
    Opening("tradeport", "waalhaven", None, standing_min=2),  # soon leaves its depot
    Opening("logport", "niehl", -9),  # soon on the bridge that it must not pass
    Opening("dortmund harbour", "schiphol", 80, until_silence_s=150),
    Opening("waalhaven", "vossenberg", None, standing_min=14),
    Opening("ghent harbour", "brucargo", 30),
    Opening("trilogiport", "waalhaven", 75, standing_min=20),
    Opening("niehl", "logport", None, standing_min=300),
    Opening("ijsseloord", "logport", -5),
    Opening("brucargo", "dortmund harbour", 110),
)


@dataclass
class Fleet:
    """The simulation's whole state; with the clock's readings it decides every record.

    `turns` counts looks at a truck; `held` are fixes that go out later, by when; `rush` is that of the last minute.
    """

    run_id: str
    trucks: list[Truck]
    turns: int = 0
    silent: int = 0
    held: list[tuple[float, int, RawRecord]] = field(default_factory=list)
    rush: tuple[datetime | None, float] = (None, 0.0)


def open_fleet(seed: int | None, settings: TruckSettings) -> Fleet:
    """A fleet at the moment before its first fix.

    The same seed has the same trucks with the same legs one after another, and the same ids, so a second run with it
    is a repeat and counts once; where a truck is at a fix depends on the clock. Without a seed each run is its own.
    """
    run_id = f"{secrets.randbits(64):016x}" if seed is None else f"seed{seed}"
    names = Faker(["nl_NL", "de_DE", "nl_BE"])
    names.seed_instance(0)  # the same drivers in every run, as a company has them
    drivers = (f"{names.first_name()} {names.last_name()}" for _ in range(settings.fleet))
    return Fleet(run_id, [_truck(run_id, number, driver) for number, driver in enumerate(drivers)])


def next_record(fleet: Fleet, now: datetime) -> RawRecord:
    """The next fix that reaches us at `now` (aware): mostly the place of the truck whose turn it is, just then."""
    clock = now.timestamp()
    if fleet.held and fleet.held[0][0] <= clock:
        return heappop(fleet.held)[2]
    rush = _rush(fleet, now)
    while True:
        truck = fleet.trucks[fleet.turns % len(fleet.trucks)]
        fleet.turns += 1
        passed = drive(truck, clock, rush)
        if _is_silent(fleet, truck, passed):
            continue
        record = _fix(fleet, truck, now)
        chance = truck.rng.random()
        if chance < REPEATED_SHARE:
            truck.fixes += 1
            _hold(fleet, clock, {**record, "event_id": _event_id(fleet, truck)})
        elif chance < REPEATED_SHARE + SWAPPED_SHARE:
            _hold(fleet, clock + 1.5 * passed, record)
            continue
        elif chance < REPEATED_SHARE + SWAPPED_SHARE + LATE_SHARE:
            _hold(fleet, clock + truck.rng.uniform(*LATE_S), record)
            continue
        elif chance > 1 - JUMP_SHARE:
            record["latitude"] = round(record["latitude"] + truck.rng.uniform(*JUMP_DEG), 6)
            record["longitude"] = round(record["longitude"] - truck.rng.uniform(*JUMP_DEG), 6)
        return record


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """Endless fixes, each at the time it is asked for."""
    fleet = open_fleet(seed, load_settings().trucks)
    while True:
        yield next_record(fleet, datetime.now(UTC))


def _fix(fleet: Fleet, truck: Truck, now: datetime) -> RawRecord:
    truck.fixes += 1
    latitude, longitude = truck.position
    return {
        "event_id": _event_id(fleet, truck),
        "event_time": now,
        "truck_id": truck.truck_id,
        "latitude": round(latitude, 6),
        "longitude": round(longitude, 6),
        "speed_kmh": round(truck.speed_ms * 3.6, 1),
        "heading_deg": round(truck.heading_deg, 1),
        "driver": truck.driver,
        "route": truck.leg.route,
        "cargo": truck.leg.cargo,
    }


def _event_id(fleet: Fleet, truck: Truck) -> str:
    return f"{fleet.run_id}-{truck.truck_id}.{truck.fixes}"


def _hold(fleet: Fleet, until: float, record: RawRecord) -> None:
    heappush(fleet.held, (until, fleet.turns, record))


def _is_silent(fleet: Fleet, truck: Truck, passed: float) -> bool:
    """Whether a truck's tracker has no signal; never those of too many trucks at once."""
    if truck.silent_s > 0:
        truck.silent_s -= passed
        fleet.silent -= truck.silent_s <= 0
        return truck.silent_s > 0
    truck.until_silence_s -= passed
    if truck.until_silence_s > 0 or fleet.silent + 1 > MOST_SILENT_SHARE * len(fleet.trucks):
        return False
    truck.silent_s = truck.rng.uniform(*SILENT_S)
    truck.until_silence_s = truck.rng.expovariate(1 / SILENT_EVERY_S)
    fleet.silent += 1
    return True


def _rush(fleet: Fleet, now: datetime) -> float:
    """How dense traffic is, found once a minute, as it changes no faster."""
    minute = now.replace(second=0, microsecond=0)
    if fleet.rush[0] != minute:
        fleet.rush = (minute, rush_at(now))
    return fleet.rush[1]


def _truck(run_id: str, number: int, driver: str) -> Truck:
    """A truck by its number, where its day begins."""
    seed = f"{run_id}-{number}"
    rng = Random(seed)
    home = DEPOTS[number % len(DEPOTS)]
    leg = planned(seed, 1, home, rng.choice(SITES))
    opening = OPENINGS[number] if number < len(OPENINGS) else _drawn(rng, leg)
    origin, destination = SITE_OF[opening.origin], SITE_OF[opening.destination]
    leg = replace(leg, origin=origin, destination=destination, path=path(origin.node, destination.node))
    speeding_s = rng.expovariate(1 / SPEEDING_EVERY_S) if number % SPEEDERS == 0 else inf
    silence_s = FIRST_SILENCE_FROM_S + rng.expovariate(1 / SILENT_EVERY_S)
    truck = Truck(
        truck_id=f"T{number + 1:04d}",
        seed=seed,
        driver=driver,
        home=home,
        habit=rng.uniform(*HABIT),
        bay=(rng.uniform(-BAY_DEG, BAY_DEG), rng.uniform(-BAY_DEG, BAY_DEG)),
        rng=rng,
        leg=leg,
        legs=1,
        at_the_wheel_s=rng.uniform(0, 3 * HOUR_S),
        today_s=rng.uniform(0, 6 * HOUR_S),
        range_m=rng.uniform(0.3, 1) * RANGE_M[1],
        until_speeding_s=speeding_s if opening.until_speeding_s is None else opening.until_speeding_s,
        until_silence_s=silence_s if opening.until_silence_s is None else opening.until_silence_s,
    )
    length_m = leg.path.length_m
    along_m = length_m if opening.km is None else opening.km * 1000 % length_m
    place(truck, along_m, waiting_s=opening.standing_min * MINUTE_S)
    return truck


def _drawn(rng: Random, leg: Leg) -> Opening:
    """Somewhere along a leg, or standing at its end."""
    between = leg.origin.node, leg.destination.node
    if rng.random() < DRIVING_SHARE:
        return Opening(*between, rng.uniform(0, leg.path.length_m / 1000))
    return Opening(*between, None, standing_min=rng.uniform(*STANDING_MIN))


PRODUCER = StreamProducer(stream=TRUCKS, simulate=simulate, formats=(CAPMETRO, VEHICLES))

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
