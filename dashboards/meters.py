"""What the meters say this second: each source's newest rate, and its rates of the last minutes, in bounded memory.

The job's rows follow a second or two later and are the better word; this is for the eye. Of each second of event time
the highest rate is kept: a chart of a quarter of an hour has no room for more, and a peak is what an alarm is about.
A rate is the emission over the record's `interval_s`, or where it has none over the time since the record before.

Records come in from the feed's thread, the questions from the server's: a lock keeps them apart.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import structlog

from dashboards.state import Row

log = structlog.get_logger(__name__)

MEMORY_SECONDS = 900.0
KEEP_POINTS = 900
"""Of a source: 14 KB."""
MOST_SOURCES = 5_000


class Point(NamedTuple):
    """A rate and when it was: seconds since 1970, kg/h."""

    at: float
    rate_kg_h: float


@dataclass(slots=True)
class _Meter:
    """A source: its newest record, its newest rate, and the points before; in order of time."""

    at: float
    newest: Point | None = None
    times: array[float] = field(default_factory=lambda: array("d"))
    rates: array[float] = field(default_factory=lambda: array("d"))

    def keep(self, point: Point) -> None:
        """The highest of its second; where there is no room the oldest goes."""
        second = point.at // 1
        place = bisect_left(self.times, second)
        if place < len(self.times) and self.times[place] < second + 1:
            if point.rate_kg_h > self.rates[place]:
                self.times[place], self.rates[place] = point
            return
        self.times.insert(place, point.at)
        self.rates.insert(place, point.rate_kg_h)
        if len(self.times) > 1.1 * KEEP_POINTS:
            del self.times[:-KEEP_POINTS], self.rates[:-KEEP_POINTS]

    def before(self, at: float) -> float | None:
        """When the record before came, as far as it is known; two at one time tell no rate."""
        if at >= self.at:
            return self.at
        place = bisect_left(self.times, at)
        return self.times[place - 1] if place else None


class MeterTracker:
    """Holds the newest rates of each source; see the module."""

    memory_seconds = MEMORY_SECONDS
    stands_for: frozenset[str] = frozenset()

    def __init__(self, most_sources: int = MOST_SOURCES) -> None:
        self._most = most_sources
        self._lock = threading.Lock()
        self._meters: OrderedDict[str, _Meter] = OrderedDict()

    def apply(self, row: Row, received_at: float) -> None:
        """A live record. Whoever writes something else to the topic is passed over."""
        try:
            source_id, at = str(row["source_id"]), datetime.fromisoformat(row["event_time"]).timestamp()
            kg, seconds = float(row["emission_kg"]), float(row.get("interval_s") or 0)
        except (KeyError, TypeError, ValueError):
            log.warning("not_a_reading", topic=row.get("topic"), offset=row.get("offset"))
            return
        with self._lock:
            self._take(source_id, at, kg, seconds)

    def _take(self, source_id: str, at: float, kg: float, seconds: float) -> None:
        meter = self._meters.get(source_id)
        before = meter.before(at) if meter else None
        if meter is None:
            meter = self._meters[source_id] = _Meter(at)
            if len(self._meters) > self._most:
                # The one that was heard of longest ago makes room.
                self._meters.popitem(last=False)
        self._meters.move_to_end(source_id)
        seconds = seconds or (at - before if before is not None else 0)
        if seconds > 0:
            point = Point(at, kg / seconds * 3_600)
            meter.keep(point)
            if meter.newest is None or at >= meter.newest.at:
                meter.newest = point
        meter.at = max(meter.at, at)

    def view(self, now: float) -> Mapping[str, Point]:
        """The newest rate of each source that has one."""
        with self._lock:
            return {name: meter.newest for name, meter in self._meters.items() if meter.newest}

    def points(self, source_id: str, since: float, until: float) -> list[Point]:
        """A source's points between two times, in order; none where it is not known."""
        with self._lock:
            if (meter := self._meters.get(source_id)) is None:
                return []
            first, last = bisect_left(meter.times, since), bisect_left(meter.times, until)
            return list(map(Point, meter.times[first:last], meter.rates[first:last]))
