"""What the page about CO2 reads of Delta: hours and days older than what the processed topic still holds.

A page is built in the server's event loop, which must not wait for files. So whoever asks gets the answer of before,
at once, and a thread reads anew what is older than half a minute: the archive commits no more often.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import structlog

from dashboards.tables import Page, read_columns, read_page
from headwater.contracts.co2 import CO2
from headwater.settings import Settings

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 30.0
MOST_ANSWERS = 64
MOST_WINDOWS = 1_000
"""Of a source: 14 days of hours, 6 hours of minutes."""


class Window(NamedTuple):
    """A source within a minute or hour: seconds since 1970, kg/h, kg, kg/MWh."""

    start: float
    rate_kg_h: float | None
    emission_kg: float
    intensity_kg_mwh: float | None


@dataclass
class Years:
    """A year by hour (seconds since 1970 -> kg), and the one before up to the same hour; none: nothing is known."""

    hours: dict[float, float] = field(default_factory=dict)
    before_kg: float | None = None


@dataclass
class _Answer:
    value: Any = None
    read_at: float = float("-inf")
    is_asked: bool = False


class History:
    """Answers that are read in the background; see the module."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.version = 0
        """Changes whenever something has been read for the first time."""
        self._settings = settings
        self._clock = clock
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._reader = ThreadPoolExecutor(1, "co2-history")

    def source(self, table: str, source_id: str, since: float) -> list[Window]:
        """A source's windows (``per_minute``, ``per_hour``), newest first."""
        path = self._path(table)
        return self._ask((table, source_id), lambda: source_windows(path, source_id, since)) or []

    def groups(self, table: str, since: float) -> dict[tuple[float, str], float]:
        """Mass in kg by hour and sector or fuel (``by_sector``, ``by_fuel``)."""
        path = self._path(table)
        return self._ask(table, lambda: group_hours(path, CO2.table(table).key[1], since)) or {}

    def days(self, since: float) -> dict[tuple[float, str], float]:
        """Mass in kg by day and budget."""
        path = self._path("budget_days")
        return self._ask("budget_days", lambda: group_hours(path, "budget", since)) or {}

    def years(self, newest: float) -> Years:
        """What all sources emitted in the year of the newest data, and in the one before up to the same hour."""
        path = self._path("by_sector")
        return self._ask("years", lambda: years(path, newest)) or Years()

    def _path(self, table: str) -> Path:
        return self._settings.delta(CO2.name, table)

    def _ask(self, key: Hashable, read: Callable[[], Any]) -> Any:
        answer = self._answers.setdefault(key, _Answer())
        self._answers.move_to_end(key)
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        if not answer.is_asked and self._clock() - answer.read_at >= REFRESH_SECONDS:
            answer.is_asked = True
            self._reader.submit(self._read, answer, read)
        return answer.value

    def _read(self, answer: _Answer, read: Callable[[], Any]) -> None:
        try:
            found = read()
            self.version += answer.value is None
            answer.value = found
        except Exception:
            # The page then shows what it has; the thread has to outlive a table that is being made anew.
            log.exception("history_failed")
        answer.read_at, answer.is_asked = self._clock(), False


def source_windows(path: Path, source_id: str, since: float) -> list[Window]:
    """A source's windows from a time on, the newest first."""
    columns = ("window_start", "mean_rate_kg_h", "emission_kg", "intensity_kg_mwh")
    page = Page(columns, columns[:1], MOST_WINDOWS, 0, columns[0], _moment(since), equal={CO2.key: source_id})
    return [Window(row[columns[0]].timestamp(), *(row[name] for name in columns[1:])) for row in read_page(path, page)]


def group_hours(path: Path, column: str, since: float) -> dict[tuple[float, str], float]:
    """Mass in kg by window and a second key, from a time on."""
    found = read_columns(path, ("window_start", column, "emission_kg"), "window_start", _moment(since), None)
    if found is None:
        return {}
    starts = _seconds(found, "window_start")
    names, masses = found[column].to_pylist(), found["emission_kg"].to_pylist()
    return {(start, name): kg for start, name, kg in zip(starts, names, masses, strict=True)}


def years(path: Path, newest: float) -> Years:
    """Of `by_sector`; see :class:`Years`."""
    at = _moment(newest)
    first, before = at.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0), _year_before(at)
    found = read_columns(path, ("window_start", "emission_kg"), "window_start", first.replace(year=at.year - 1), None)
    if found is None:
        return Years()
    sums = found.group_by("window_start").aggregate([("emission_kg", "sum")])
    hours = dict(zip(_seconds(sums, "window_start"), sums["emission_kg_sum"].to_pylist(), strict=True))
    limit = before.timestamp()
    earlier = [kg for start, kg in hours.items() if start < limit]
    return Years({start: kg for start, kg in hours.items() if start >= first.timestamp()}, sum(earlier) or None)


def _year_before(at: datetime) -> datetime:
    """The hour's beginning a year before; of 29 February it is that of 28 February."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    is_leap_day = (hour.month, hour.day) == (2, 29)
    return hour.replace(year=hour.year - 1, day=28 if is_leap_day else hour.day)


def _seconds(table: pa.Table, column: str) -> list[float]:
    return [start / 1e6 for start in table[column].cast(pa.int64()).to_pylist()]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
