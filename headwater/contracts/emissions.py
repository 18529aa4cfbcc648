"""What a source's records mean, one after another: its windows, its alarms, and whether its meter can be believed.

Pure and free of Spark. Times are microseconds since 1970. Definitions, word for word from those of the tables:

- a record's rate is its emission over the time it covers: its `interval_s`, or the time since the record before;
- an alarm is raised by three records running above the limit, and ended by three running below 95 % of it;
- a meter is stuck that says the same, and not 0, twelve times running;
- a source is silent when nothing came for three times its usual interval; a record that comes after that, and doesn't
  cover the time, ends a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from math import fsum
from statistics import median
from typing import Any, NamedTuple

import orjson

from headwater.contracts.co2 import GAP, OK, SILENT, STUCK, SUBSTITUTE, UNKNOWN
from headwater.ledger import micros, moment

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
MEAN_DAYS = 30
"""A budget's rate is taken over so many days of data."""
STEPS = 11
"""Intervals whose median is the usual one."""
FEWEST_STEPS = 3
ATTO = 10**18
LAST_DAY = micros(datetime(9999, 12, 31, tzinfo=UTC))

Out = tuple[str, dict[str, Any]]


class Reading(NamedTuple):
    """A record of a source."""

    at: int
    emission_kg: float
    interval_s: float | None = None
    facility: str | None = None
    sector: str | None = None
    fuel: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    energy_mwh: float | None = None
    method: str | None = None


PLACE = ("facility", "sector", "fuel", "country", "latitude", "longitude")
"""What is known of a source rather than of a moment."""


@dataclass(frozen=True)
class Rules:
    """Limits, allowances and thresholds. Masses in kg, a limit in kg/h."""

    limits: Mapping[str, float] = field(default_factory=dict)
    source_allowances: Mapping[str, float] = field(default_factory=dict)
    sector_allowances: Mapping[str, float] = field(default_factory=dict)
    alarm_records: int = 3
    alarm_end_share: float = 0.95
    stuck_records: int = 12
    silent_intervals: float = 3.0


class Sum:
    """Numbers that add up to the same in any order, as whole multiples of 10^-18; none worth a name is finer."""

    def __init__(self, atto: int = 0) -> None:
        self.atto = atto

    def add(self, value: float) -> None:
        over, under = value.as_integer_ratio()
        self.atto += over * ATTO // under

    def value(self, divisor: int = 1) -> float:
        """The nearest double."""
        return self.atto / (ATTO * divisor)

    def spelled(self) -> str:
        """As text: it outgrows 64 bits."""
        return str(self.atto)


@dataclass
class Span:
    """A source's records within one window."""

    start: int
    records: int = 0
    substitute: int = 0
    emission: Sum = field(default_factory=Sum)
    with_energy: int = 0
    energy: Sum = field(default_factory=Sum)
    energy_emission: Sum = field(default_factory=Sum)
    with_rate: int = 0
    rates: Sum = field(default_factory=Sum)
    top: float | None = None

    def add(self, reading: Reading, rate: float | None) -> None:
        """One more record."""
        self.records += 1
        self.substitute += reading.method == SUBSTITUTE
        self.emission.add(reading.emission_kg)
        if reading.energy_mwh is not None:
            self.with_energy += 1
            self.energy.add(reading.energy_mwh)
            self.energy_emission.add(reading.emission_kg)
        if rate is not None:
            self.with_rate += 1
            self.rates.add(rate)
            self.top = rate if self.top is None else max(self.top, rate)

    def row(self, source_id: str, length: int) -> dict[str, Any]:
        """The row of a windowed table."""
        energy = self.energy.value() if self.with_energy else None
        return {
            "window_start": self.start,
            "window_end": self.start + length,
            "source_id": source_id,
            "emission_kg": self.emission.value(),
            "energy_mwh": energy,
            "intensity_kg_mwh": self.energy_emission.value() / energy if energy else None,
            "mean_rate_kg_h": self.rates.value(self.with_rate) if self.with_rate else None,
            "max_rate_kg_h": self.top,
            "records": self.records,
            "substitute": self.substitute,
        }


@dataclass
class Share:
    """Some of a source's records; ``since``: where the time begins that the first of them covers."""

    since: int
    last: int
    emission: Sum = field(default_factory=Sum)


@dataclass
class Group:
    """A source's records of an hour or a day, by sector, fuel or budget."""

    start: int
    shares: dict[str, dict[str, Share]] = field(default_factory=dict)

    def add(self, of: str, name: str, reading: Reading, covers: int) -> None:
        """A record under one of the names of ``of``."""
        share = self.shares.setdefault(of, {}).setdefault(name, Share(reading.at - covers, reading.at))
        share.last = reading.at
        share.emission.add(reading.emission_kg)

    def part(self, name: str) -> Out:
        """What the source brings to the window: under each name kg, since and last."""
        shares = {
            of: {name: [share.emission.value(), share.since, share.last] for name, share in named.items()}
            for of, named in self.shares.items()
        }
        return name, {"window_start": self.start, **shares}


@dataclass
class Excess:
    """Records above the limit, or an alarm that they raised; ``below``: how many running might end it."""

    began: int
    records: int
    peak: float
    raised: int | None = None
    below: int = 0
    below_since: int = 0


@dataclass
class Meter:
    """The state of a source."""

    first: int | None = None
    last: int = 0
    records: int = 0
    emission: Sum = field(default_factory=Sum)
    rate: float | None = None
    place: dict[str, Any] = field(default_factory=dict)
    minute: Span | None = None
    hour: Span | None = None
    shares: Group | None = None
    """Of the hour, by sector and fuel."""
    day: Group | None = None
    """By budget, where there is one."""
    excess: Excess | None = None
    steps: list[int] = field(default_factory=list)
    same: float | None = None
    same_records: int = 0
    same_since: int = 0
    gap_since: int | None = None
    gaps: int = 0
    well_since: int = 0
    was_well: bool = False

    # -- records

    def take(self, source_id: str, reading: Reading, by: Rules) -> Iterator[Out]:
        """The next record, none earlier than those before; what it ends."""
        step = reading.at - self.last if self.first is not None else 0
        seconds = reading.interval_s or step / SECOND
        rate = reading.emission_kg / seconds * 3_600 if seconds else None
        yield from self._count(source_id, reading, rate, round(seconds * SECOND), by)
        yield from self._judge(source_id, reading.at, rate, by)
        self._believe(reading, step, by)
        self.first = reading.at if self.first is None else self.first
        self.last = reading.at
        self.records += 1
        self.emission.add(reading.emission_kg)
        self.rate = self.rate if rate is None else rate
        self.place |= {name: value for name in PLACE if (value := getattr(reading, name)) is not None}

    def _count(self, source_id: str, reading: Reading, rate: float | None, covers: int, by: Rules) -> Iterator[Out]:
        """Into its minute, its hour and its day."""
        at = reading.at
        if self.minute is None or self.minute.start != at - at % MINUTE:
            if self.minute:
                yield "per_minute", self.minute.row(source_id, MINUTE)
            self.minute = Span(at - at % MINUTE)
        if self.hour is None or self.shares is None or self.hour.start != at - at % HOUR:
            if self.hour and self.shares:
                yield "per_hour", self.hour.row(source_id, HOUR)
                yield self.shares.part("hour")
            self.hour, self.shares = Span(at - at % HOUR), Group(at - at % HOUR)
        self.minute.add(reading, rate)
        self.hour.add(reading, rate)
        self.shares.add("sectors", reading.sector or UNKNOWN, reading, covers)
        self.shares.add("fuels", reading.fuel or UNKNOWN, reading, covers)
        if self.day and self.day.start != at - at % DAY:
            yield self.day.part("day")
            self.day = None
        for budget in budgets_of(source_id, reading.sector, by):
            self.day = self.day or Group(at - at % DAY)
            self.day.add("budgets", budget, reading, covers)

    def _judge(self, source_id: str, at: int, rate: float | None, by: Rules) -> Iterator[Out]:
        """Against the limit. A record without a rate says nothing."""
        limit = by.limits.get(source_id)
        if rate is None or limit is None:
            return
        excess = self.excess
        if excess is None or excess.raised is None:
            if rate <= limit:
                self.excess = None
                return
            if excess is None:
                excess = self.excess = Excess(at, 0, rate)
            excess.records += 1
            excess.peak = max(excess.peak, rate)
            excess.raised = at if excess.records >= by.alarm_records else None
        elif rate < by.alarm_end_share * limit:
            excess.below_since = excess.below_since if excess.below else at
            excess.below += 1
            if excess.below >= by.alarm_records:
                yield alarm(source_id, excess, excess.below_since, limit)
                self.excess = None
        else:
            excess.below = 0
            excess.peak = max(excess.peak, rate)

    def _believe(self, reading: Reading, step: int, by: Rules) -> None:
        """Whether the meter can be believed."""
        if reading.emission_kg and reading.emission_kg == self.same:
            self.same_records += 1
        else:
            self.same, self.same_records, self.same_since = reading.emission_kg, 1, reading.at
        usual = self.usual_interval()
        covered = reading.interval_s is not None and reading.interval_s * SECOND >= step
        if usual and step > by.silent_intervals * usual and not covered:
            self.gap_since = self.last
            self.gaps += 1
        else:
            self.gap_since = None
        if step:
            self.steps = [*self.steps[1 - STEPS :], step]
        is_well = self.gap_since is None and not self._is_stuck(by)
        if is_well and not self.was_well:
            self.well_since = reading.at
        self.was_well = is_well

    def _is_stuck(self, by: Rules) -> bool:
        return bool(self.same) and self.same_records >= by.stuck_records

    def usual_interval(self) -> float | None:
        """Median of the last intervals, microseconds."""
        return median(self.steps) if len(self.steps) >= FEWEST_STEPS else None

    # -- rows

    def silent_at(self, by: Rules) -> list[int]:
        """When it is silent, unless something comes."""
        usual = self.usual_interval()
        return [self.last + round(by.silent_intervals * usual)] if usual else []

    def rows(self, source_id: str, by: Rules, *, is_silent: bool) -> Iterator[Out]:
        """The rows that no later record has made final yet."""
        if self.minute is None or self.hour is None or self.shares is None:
            return
        yield "per_minute", self.minute.row(source_id, MINUTE)
        yield "per_hour", self.hour.row(source_id, HOUR)
        yield self.shares.part("hour")
        if self.day:
            yield self.day.part("day")
        limit = by.limits.get(source_id)
        if self.excess and self.excess.raised is not None and limit is not None:
            yield alarm(source_id, self.excess, None, limit)
        yield (
            "totals",
            {
                "source_id": source_id,
                "emission_kg": self.emission.value(),
                "records": self.records,
                "first_event": self.first,
                "last_event": self.last,
                "rate_kg_h": self.rate,
                "limit_kg_h": limit,
                **{name: self.place.get(name) for name in PLACE},
            },
        )
        yield "health", self._health(source_id, by, is_silent=is_silent)

    def _health(self, source_id: str, by: Rules, *, is_silent: bool) -> dict[str, Any]:
        usual = self.usual_interval()
        if is_silent:
            state, since = SILENT, self.last
        elif self._is_stuck(by):
            state, since = STUCK, self.same_since
        elif self.gap_since is not None:
            state, since = GAP, self.gap_since
        else:
            state, since = OK, self.well_since
        return {
            "source_id": source_id,
            "state": state,
            "since": since,
            "last_event": self.last,
            "usual_interval_s": usual / SECOND if usual else None,
            "gaps": self.gaps,
        }

    # -- keeping

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self, default=Sum.spelled)

    @classmethod
    def load(cls, text: bytes) -> Meter:
        """From its JSON."""
        found = orjson.loads(text)
        found["emission"] = Sum(int(found["emission"]))
        for name in ("minute", "hour"):
            found[name] = found[name] and _span(found[name])
        for name in ("shares", "day"):
            found[name] = found[name] and _group(found[name])
        found["excess"] = found["excess"] and Excess(**found["excess"])
        return cls(**found)


def _span(found: dict[str, Any]) -> Span:
    sums = {name: Sum(int(value)) for name, value in found.items() if isinstance(value, str)}
    return Span(**{**found, **sums})


def _group(found: dict[str, Any]) -> Group:
    def share(kept: dict[str, Any]) -> Share:
        return Share(**{**kept, "emission": Sum(int(kept["emission"]))})

    shares = {of: {name: share(kept) for name, kept in named.items()} for of, named in found["shares"].items()}
    return Group(found["start"], shares)


def budgets_of(source_id: str, sector: str | None, by: Rules) -> list[str]:
    """The budgets that a record counts for."""
    own = [f"source:{source_id}"] if source_id in by.source_allowances else []
    return [*own, *([f"sector:{sector}"] if sector in by.sector_allowances else [])]


def alarm(source_id: str, excess: Excess, ended: int | None, limit: float) -> Out:
    """The row of an alarm."""
    return "alarms", {
        "alarm_id": f"{source_id}|{excess.began}",
        "source_id": source_id,
        "limit_kg_h": limit,
        "began_at": excess.began,
        "raised_at": excess.raised,
        "ended_at": ended,
        "peak_kg_h": excess.peak,
        "acknowledged_at": None,
        "acknowledged_by": None,
    }


# -- all sources together


def by_group(of: str, column: str, parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What some sources brought to an hour -> a row for each sector or fuel."""
    masses: dict[str, list[float]] = {}
    for part in parts:
        for name, (kg, *_) in part[of].items():
            masses.setdefault(name, []).append(kg)
    return [{column: name, "emission_kg": fsum(kg), "sources": len(kg)} for name, kg in sorted(masses.items())]


def budget_days(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What some sources brought to a day -> a row for each budget."""
    found: dict[str, list[tuple[float, int, int]]] = {}
    for part in parts:
        for name, share in part["budgets"].items():
            found.setdefault(name, []).append(share)
    rows = []
    for name, own in sorted(found.items()):
        kg, since, last = zip(*own, strict=True)
        rows.append({"budget": name, "emission_kg": fsum(kg), "since": min(since), "last_event": max(last)})
    return rows


def years_of(day: int) -> list[tuple[int, int]]:
    """The years (first day, first day of the next) whose budgets a day's emission moves: its own, and by the mean rate
    the one that has begun 30 days later.
    """
    years = sorted({moment(day).year, moment(day + (MEAN_DAYS - 1) * DAY).year})
    return [(new_year(year), new_year(year + 1)) for year in years]


def budgets(first: int, days: Sequence[dict[str, Any]], by: Rules) -> Iterator[dict[str, Any]]:
    """The days of a year, which begins at ``first``, and the 30 before -> a row for each budget of the year."""
    named: dict[str, list[dict[str, Any]]] = {}
    for day in sorted(days, key=lambda day: int(day["window_start"])):
        named.setdefault(day["budget"], []).append(day)
    for name, own in sorted(named.items()):
        scope, _, subject = name.partition(":")
        allowance = (by.source_allowances if scope == "source" else by.sector_allowances)[subject]
        year = [day for day in own if day["window_start"] >= first]
        if not year:
            continue
        used = fsum(day["emission_kg"] for day in year)
        rate = mean_rate(own)
        yield {
            "budget": name,
            "year": moment(first).year,
            "source_id": subject if scope == "source" else None,
            "sector": subject if scope == "sector" else None,
            "allowance_kg": allowance,
            "used_kg": used,
            "used_share": used / allowance,
            "mean_rate_kg_h": rate,
            "exhausted_on": exhausted_on(year, allowance, rate),
            "last_event": max(day["last_event"] for day in year),
        }


def mean_rate(days: Sequence[dict[str, Any]]) -> float | None:
    """kg/h over the last 30 days of data, from where the first record's time begins to the last record."""
    newest = days[-1]["window_start"]
    recent = [day for day in days if day["window_start"] > newest - MEAN_DAYS * DAY]
    covered = max(day["last_event"] for day in recent) - min(day["since"] for day in recent)
    return fsum(day["emission_kg"] for day in recent) / (covered / HOUR) if covered > 0 else None


def exhausted_on(year: Sequence[dict[str, Any]], allowance: float, rate: float | None) -> str | None:
    """The day on which an allowance was used up, or will be; none where it never is."""
    used = list(accumulate(day["emission_kg"] for day in year))
    for day, so_far in zip(year, used, strict=True):
        if so_far >= allowance:
            return moment(day["window_start"]).date().isoformat()
    if not rate:
        return None
    end = max(day["last_event"] for day in year) + (allowance - used[-1]) / rate * HOUR
    return moment(int(end)).date().isoformat() if end < LAST_DAY else None


def new_year(year: int) -> int:
    """When a year begins in UTC."""
    return micros(datetime(year, 1, 1, tzinfo=UTC))
