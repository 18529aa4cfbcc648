"""What the page about CO2 says in figures: sums and comparisons over the rows of the tables. Pure.

Times are seconds since 1970. Days, hours and years are UTC and count back from the newest record in the data; what lies
ahead of the wall clock is a meter's wrong clock and must not push all else off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from math import fsum
from typing import Any

from dashboards.meters import Point
from dashboards.pages.co2_history import Window
from headwater.contracts.co2 import HEALTH, OK, SILENT, UNKNOWN

Row = Mapping[str, Any]
Rows = Mapping[str, Row]

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
AHEAD_SECONDS = 60.0
"""So much ahead of the wall clock a record may be."""


@dataclass(frozen=True)
class Rate:
    """All sources together, kg/h; the change is over those that were there in the hour before as well."""

    kg_h: float
    sources: int
    silent: int
    change: float | None


@dataclass(frozen=True)
class Mass:
    """A day's or a year's, kg; the change is over whole hours against as many of the period before."""

    kg: float
    change: float | None


@lru_cache(maxsize=65_536)
def seconds(text: str) -> float:
    """An ISO 8601 time; the same few come again and again."""
    return datetime.fromisoformat(text).timestamp()


def newest(totals: Rows, meters: Mapping[str, Point], now: float) -> float | None:
    """The newest record's time."""
    times = [*(seconds(row["last_event"]) for row in totals.values()), *(point.at for point in meters.values())]
    return max((at for at in times if at <= now + AHEAD_SECONDS), default=None)


def rates(totals: Rows, health: Rows, meters: Mapping[str, Point]) -> dict[str, float]:
    """Each source's newest rate, kg/h, but of those that are silent."""
    found = {row["source_id"]: row["rate_kg_h"] for row in totals.values() if row.get("rate_kg_h") is not None}
    last = {row["source_id"]: seconds(row["last_event"]) for row in totals.values()}
    found |= {name: point.rate_kg_h for name, point in meters.items() if point.at >= last.get(name, 0.0)}
    quiet = silent(health, meters)
    return {name: rate for name, rate in found.items() if name not in quiet}


def silent(health: Rows, meters: Mapping[str, Point]) -> set[str]:
    """Those that the job calls silent and that have not been heard of since."""
    return {
        row["source_id"]
        for row in health.values()
        if row["state"] == SILENT
        and (row["source_id"] not in meters or meters[row["source_id"]].at <= seconds(row["last_event"]))
    }


def rate_now(totals: Rows, health: Rows, per_hour: Rows, meters: Mapping[str, Point], at: float) -> Rate:
    """The sum of the newest rates, against the mean rates of the last whole hour."""
    now = rates(totals, health, meters)
    then = {name: window.rate_kg_h for name in now if (window := window_of(per_hour, name, at // HOUR * HOUR - HOUR))}
    both = {name: rate for name, rate in then.items() if rate is not None}
    return Rate(fsum(now.values()), len(now), len(silent(health, meters)),
                relative(fsum(now[name] for name in both), fsum(both.values())))  # fmt: skip


def window_of(rows: Rows, source_id: str, start: float) -> Window | None:
    """A source's window by its start, as the processed topic names it."""
    row = rows.get(f"{key_time(start)}|{source_id}")
    if row is None:
        return None
    return Window(start, row.get("mean_rate_kg_h"), row["emission_kg"], row.get("intensity_kg_mwh"))


@lru_cache(maxsize=4_096)
def key_time(start: float) -> str:
    """A window's start as a key spells it."""
    return datetime.fromtimestamp(start, UTC).isoformat().replace("+00:00", "Z")


def masses(rows: Rows, column: str, until: float) -> dict[tuple[float, str], float]:
    """Mass in kg by window and sector, fuel or budget, of the windows up to a time."""
    found = ((seconds(row["window_start"]), row[column], row["emission_kg"]) for row in rows.values())
    return {(start, name): kg for start, name, kg in found if start <= until}


def by_hour(groups: Mapping[tuple[float, str], float]) -> dict[float, float]:
    """Mass in kg by hour, of all groups together."""
    hours: dict[float, float] = {}
    for (start, _), kg in groups.items():
        hours[start] = hours.get(start, 0.0) + kg
    return hours


def today(hours: Mapping[float, float], at: float) -> Mass:
    """The day of a time, against the day before up to the same hour."""
    begin, hour = at // DAY * DAY, at // HOUR * HOUR
    done = fsum(kg for start, kg in hours.items() if begin <= start < hour)
    before = fsum(kg for start, kg in hours.items() if begin - DAY <= start < hour - DAY)
    return Mass(fsum(kg for start, kg in hours.items() if begin <= start <= hour), relative(done, before))


def this_year(hours: Mapping[float, float], before_kg: float | None, at: float) -> Mass:
    """The year of a time, against the year before up to the same hour."""
    begin, hour = datetime(day_of(at).year, 1, 1, tzinfo=UTC).timestamp(), at // HOUR * HOUR
    done = fsum(kg for start, kg in hours.items() if begin <= start < hour)
    kg = fsum(kg for start, kg in hours.items() if begin <= start <= hour)
    return Mass(kg, relative(done, before_kg))


def relative(now: float, before: float | None) -> float | None:
    """Relative change; none where there is nothing to compare with."""
    return (now - before) / before if before else None


def day_of(at: float) -> date:
    """UTC."""
    return datetime.fromtimestamp(at, UTC).date()


def budgets_now(budgets: Rows) -> list[Row]:
    """Each budget's newest year, the most strained first."""
    latest: dict[str, Row] = {}
    for row in budgets.values():
        if row["budget"] not in latest or row["year"] > latest[row["budget"]]["year"]:
            latest[row["budget"]] = row
    return sorted(latest.values(), key=lambda row: (-row["used_share"], row["budget"]))


def budget_name(budget: str) -> str:
    """`sector:power` is the power sector's."""
    scope, _, subject = budget.partition(":")
    return f"{subject} (sector)" if scope == "sector" else subject


def outlook(row: Row) -> str:
    """When a budget runs out, in words."""
    text = row.get("exhausted_on")
    if text is None:
        return "lasts: nothing was emitted in the last 30 days of data"
    day = date.fromisoformat(text)
    if row["used_share"] >= 1:
        return f"was used up on {spelled(day)}"
    if day.year > row["year"]:
        return f"lasts beyond the year; at the rate of the last 30 days until {spelled(day)}"
    return f"runs out on {spelled(day)} at the rate of the last 30 days"


def spelled(day: date) -> str:
    """``12 December 2026``."""
    return f"{day.day} {day:%B %Y}"


def troubled(health: Rows) -> dict[str, int]:
    """How many meters are in each state but ok."""
    states = [row["state"] for row in health.values()]
    return {state: states.count(state) for state in HEALTH if state != OK and state in states}


def top_sources(totals: Rows, most: int) -> list[str]:
    """Those that emitted most."""
    rows = sorted(totals.values(), key=lambda row: (-row["emission_kg"], row["source_id"]))
    return [row["source_id"] for row in rows[:most]]


def last_day(per_hour: Rows, sources: Iterable[str], at: float) -> dict[str, float]:
    """Mass in kg of each source in the last 24 whole hours and the one under way."""
    hour = at // HOUR * HOUR
    starts = [hour - i * HOUR for i in range(25)]
    sums = {
        name: fsum(window.emission_kg for start in starts if (window := window_of(per_hour, name, start)))
        for name in sources
    }
    return {name: kg for name, kg in sums.items() if kg}


def weekdays(hours: Mapping[float, float], at: float) -> list[list[float | None]]:
    """Means by weekday (Monday first) and hour of the day; the hour under way is left out."""
    found: list[list[list[float]]] = [[[] for _ in range(24)] for _ in range(7)]
    for start, value in hours.items():
        if start < at // HOUR * HOUR:
            moment = datetime.fromtimestamp(start, UTC)
            found[moment.weekday()][moment.hour].append(value)
    return [[fsum(values) / len(values) if values else None for values in row] for row in found]


def sector_of(row: Row | None) -> str:
    """A source's, as its records say."""
    return (row.get("sector") if row else None) or UNKNOWN
