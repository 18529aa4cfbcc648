"""Simulated meters of plants, fleets and buildings, and replay of recorded emissions.

`python -m producers.co2` first sends the past days by hour, then has its meters report until it is stopped: each source
in turn says what it has emitted since it last did. So `--rate` is how often it is looked at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import heappop, heappush
from math import exp, sqrt
from pathlib import Path
from random import Random
from typing import NamedTuple

from headwater.contracts.co2 import CO2, SUBSTITUTE
from headwater.errors import run_main
from headwater.settings import Co2Settings, Settings, load_settings
from producers.co2_replay import FORMATS
from producers.co2_sources import Source, sources
from producers.replay import RawRecord
from producers.run import StreamProducer, run

HOUR = timedelta(hours=1)
BEFORE_THE_HOUR = timedelta(seconds=1)
"""A past hour's record is of its last second, so that it counts in the hour and the day that it is about."""
SHORTEST = timedelta(milliseconds=10)
"""Between a source's records. Where they are asked for faster, its time goes faster."""

WANDER, WANDER_S = 0.02, 600.0
"""By how much load drifts about what the hour asks for (standard deviation), and over what time."""
NOISE = 0.005
"""Of a meter (standard deviation)."""
PAST_NOISE = 0.03
PAST_SUBSTITUTE_SHARE = 0.01
PAST_EXCESS = {3: range(150, 155)}
"""Hours before the start in which one source was above its limit: an alarm that has ended."""

REPEATED_SHARE = 0.004
"""Records that are sent twice, as by a logger that missed the answer."""
LATE_SHARE = 0.002
LATE_S = (5.0, 120.0)


class Scenario(StrEnum):
    """What goes wrong."""

    STUCK = "stuck"  # the meter says the same again and again
    GAP = "gap"  # nothing comes, and no record will cover that time
    SILENCE = "silence"  # nothing comes; the next record covers it all
    SUBSTITUTED = "substituted"  # a conservative constant instead of the meter
    SPIKE = "spike"
    EXCESS = "excess"
    JUMP = "clock jump"


QUIET = (Scenario.SILENCE, Scenario.GAP)


class Fault(NamedTuple):
    """How often a scenario is drawn among others, and for how many of a source's turns it lasts."""

    weight: int
    turns: tuple[int, int]


FAULTS = {
    Scenario.STUCK: Fault(2, (16, 30)),
    Scenario.GAP: Fault(2, (5, 12)),
    Scenario.SILENCE: Fault(2, (12, 40)),
    # The values are alike: so few that nobody takes the meter for stuck.
    Scenario.SUBSTITUTED: Fault(3, (5, 10)),
    Scenario.SPIKE: Fault(3, (1, 2)),
    Scenario.EXCESS: Fault(1, (30, 60)),
    Scenario.JUMP: Fault(1, (4, 8)),
}
FAULT_EVERY = 1_500
"""Turns of a source from the end of one to the begin of the next, in the mean."""
OPENINGS = {
    # By the source's number: what happens, and after how many turns. At five seconds a turn: an alarm after 70 s.
    0: (Scenario.EXCESS, 12),
    10: (Scenario.STUCK, 8),
    8: (Scenario.SUBSTITUTED, 20),
    13: (Scenario.GAP, 24),
    2: (Scenario.SPIKE, 30),
    21: (Scenario.SILENCE, 36),
    17: (Scenario.JUMP, 50),
}
MOST_SILENT_SHARE = 0.25

EXCESS_OF_FULL = 1.3
SPIKE_OF_FULL = 1.6
SUBSTITUTE_OF_FULL = 1.05
"""What a substitute value is of what the source emits at full load: more than likely, as the rules want it."""
CLOCK_OFF = timedelta(hours=1)


@dataclass
class Meter:
    """A source's meter.

    `reaches` is the end of the time that its records cover, `left` turns until the fault or its end, `said` the mass of
    its last record in kg, `wander` what load is off by.
    """

    source: Source
    rng: Random
    reaches: datetime
    next_fault: Scenario
    left: int
    fault: Scenario | None = None
    records: int = 0
    said: float = 0.0
    wander: float = 0.0


@dataclass
class Park:
    """The simulation's whole state; with the clock's readings it decides every record.

    `held` are records that go out later, by when.
    """

    run_id: str
    meters: list[Meter]
    turns: int = 0
    silent: int = 0
    held: list[tuple[float, int, RawRecord]] = field(default_factory=list)


def open_park(seed: int | None, settings: Co2Settings, reaches: datetime) -> Park:
    """Meters at the moment before their first records, which cover the time from `reaches` (aware) on.

    The same seed has the same faults after as many turns, and the same ids, so a second run with it is a repeat and
    counts once; masses depend on the clock. Without a seed each run is its own.
    """
    run_id = f"{secrets.randbits(64):016x}" if seed is None else f"seed{seed}"
    return Park(run_id, [_meter(run_id, n, source, reaches) for n, source in enumerate(sources(settings.sources))])


def next_record(park: Park, now: datetime) -> RawRecord:
    """The next record that reaches us at `now` (aware): mostly that of the source whose turn it is."""
    clock = now.timestamp()
    if park.held and park.held[0][0] <= clock:
        return heappop(park.held)[2]
    while True:
        meter = park.meters[park.turns % len(park.meters)]
        park.turns += 1
        record = _turn(park, meter, now)
        if record is None:
            continue
        chance = meter.rng.random()
        if chance < REPEATED_SHARE:
            heappush(park.held, (clock, park.turns, record))
        elif chance < REPEATED_SHARE + LATE_SHARE:
            heappush(park.held, (clock + meter.rng.uniform(*LATE_S), park.turns, record))
            continue
        return record


def history(settings: Co2Settings, since: datetime) -> Iterator[RawRecord]:
    """The days before the hour of `since` (aware), hour by hour for each source, oldest first.

    A record and its id follow from source and hour alone: there is one past, and a second run repeats the first.
    """
    end = _hour_of(since)
    for before in range(24 * settings.history_days, 0, -1):
        for number, source in enumerate(sources(settings.sources)):
            is_over = before in PAST_EXCESS.get(number, ())
            yield _past_hour(source, end - before * HOUR, is_over=is_over)


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """The past as it was before the first run, then endless records, each at the time it is asked for."""
    settings = load_settings()
    since, is_first = first_start(settings, datetime.now(UTC))
    yield from history(settings.co2, since)
    follows = is_first and settings.co2.history_days > 0
    park = open_park(seed, settings.co2, _hour_of(since) - BEFORE_THE_HOUR if follows else datetime.now(UTC))
    while True:
        yield next_record(park, datetime.now(UTC))


def first_start(settings: Settings, now: datetime) -> tuple[datetime, bool]:
    """When the simulation was first started under this home, and whether that is now.

    Were the past counted back from each start, a restart would send hours again that live records cover already.
    """
    file: Path = settings.home / "producers" / "co2-since"
    if file.exists():
        return datetime.fromisoformat(file.read_text().strip()), False
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".tmp")
    unfinished.write_text(f"{now.isoformat()}\n")
    unfinished.replace(file)
    return now, True


def backlog(settings: Settings) -> int:
    """How many records of the past a run begins with."""
    return 24 * settings.co2.history_days * settings.co2.sources


def _meter(run_id: str, number: int, source: Source, reaches: datetime) -> Meter:
    rng = Random(f"{run_id}-{source.source_id}")
    fault, after = OPENINGS.get(number) or (_drawn(rng), _turns_between(rng))
    return Meter(source, rng, reaches, next_fault=fault, left=after, wander=rng.gauss(0, WANDER))


def _turn(park: Park, meter: Meter, now: datetime) -> RawRecord | None:
    """What a meter says when it is its turn; None where it is silent."""
    at = max(now, meter.reaches + SHORTEST)
    fault = _fault(park, meter)
    if fault == Scenario.SILENCE:
        return None
    seconds = (at - meter.reaches).total_seconds()
    meter.reaches = at
    if fault == Scenario.GAP:
        return None
    load = _load(meter, at.timestamp() - seconds / 2, seconds)
    meter.said = _mass(meter, fault, load, seconds)
    meter.records += 1
    return {
        "event_id": f"{park.run_id}-{meter.source.source_id}.{meter.records}",
        "event_time": at - CLOCK_OFF if fault == Scenario.JUMP else at,
        **_reading(meter.source, meter.said, seconds, load, is_substitute=fault == Scenario.SUBSTITUTED),
    }


def _mass(meter: Meter, fault: Scenario | None, load: float, seconds: float) -> float:
    """What the meter says, kg."""
    if fault == Scenario.STUCK and meter.records:
        return meter.said
    full_kg_h = meter.source.full_kg_h
    noisy = 1 + meter.rng.gauss(0, NOISE)
    match fault:
        case Scenario.EXCESS:
            kg_h = EXCESS_OF_FULL * full_kg_h * noisy
        case Scenario.SPIKE:
            kg_h = SPIKE_OF_FULL * full_kg_h * noisy
        case Scenario.SUBSTITUTED:
            kg_h = SUBSTITUTE_OF_FULL * full_kg_h
        case _:
            kg_h = meter.source.kg_h(load) * noisy
    return _in(seconds, kg_h)


def _past_hour(source: Source, begin: datetime, *, is_over: bool) -> RawRecord:
    """What a source said of the hour that began at `begin`."""
    event_id = f"past-{source.source_id}-{begin:%Y%m%dT%H}"
    rng = Random(event_id)
    load = source.load(begin.timestamp() + HOUR.total_seconds() / 2) * (1 + rng.gauss(0, PAST_NOISE))
    is_substitute = not is_over and rng.random() < PAST_SUBSTITUTE_SHARE
    factor = EXCESS_OF_FULL if is_over else SUBSTITUTE_OF_FULL
    kg_h = factor * source.full_kg_h if is_over or is_substitute else source.kg_h(load)
    seconds = HOUR.total_seconds()
    return {
        "event_id": event_id,
        "event_time": begin + HOUR - BEFORE_THE_HOUR,
        **_reading(source, _in(seconds, kg_h), seconds, load, is_substitute=is_substitute),
    }


def _reading(source: Source, mass: float, seconds: float, load: float, *, is_substitute: bool) -> RawRecord:
    """A record's fields but its identity; energy is what it is, whatever the meter of the mass says."""
    mw = source.mw(load)
    energy = {} if mw is None else {"energy_mwh": _in(seconds, mw)}
    method = SUBSTITUTE if is_substitute else source.kind.method
    mass_of = {"source_id": source.source_id, "emission_kg": mass, "interval_s": seconds}
    return {**mass_of, **source.fixed, **energy, "method": method}


def _in(seconds: float, an_hour: float) -> float:
    """What comes together in some time, to nine decimals."""
    return round(an_hour * seconds / 3_600, 9)


def _load(meter: Meter, at_s: float, seconds: float) -> float:
    """What the hour asks for, and what load has drifted off it."""
    kept = exp(-seconds / WANDER_S)
    meter.wander = meter.wander * kept + meter.rng.gauss(0, WANDER * sqrt(1 - kept * kept))
    return meter.source.load(at_s) * (1 + meter.wander)


def _fault(park: Park, meter: Meter) -> Scenario | None:
    """The scenario that a turn belongs to; never too many meters are quiet at once."""
    if meter.left == 0:
        park.silent -= meter.fault in QUIET
        begins = None if meter.fault else meter.next_fault
        if begins in QUIET and park.silent + 1 > MOST_SILENT_SHARE * len(park.meters):
            begins = None
        if begins is None:
            meter.next_fault, meter.left = _drawn(meter.rng), _turns_between(meter.rng)
        else:
            meter.left = meter.rng.randint(*FAULTS[begins].turns)
        park.silent += begins in QUIET
        meter.fault = begins
    meter.left -= 1
    return meter.fault


def _drawn(rng: Random) -> Scenario:
    return rng.choices(list(FAULTS), [fault.weight for fault in FAULTS.values()])[0]


def _turns_between(rng: Random) -> int:
    return 1 + int(rng.expovariate(1 / FAULT_EVERY))


def _hour_of(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


PRODUCER = StreamProducer(stream=CO2, simulate=simulate, formats=FORMATS, backlog=backlog)

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
