"""Counts over time, bounded: shares over the last minutes, latencies over the last, a histogram since the start."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate

STEP_SECONDS = 10
FEWEST = 20
"""Of fewer records no share is told: one in three is no alarm."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds, from what a real-time query takes to what nobody would wait for."""

LATENCY_SECONDS = 60
WIDTH = 1.02
_LOG_WIDTH = math.log(WIDTH)
FINEST_SECONDS = 0.0001
"""Less, or less than nothing where clocks differ, is told as nothing; Kafka counts milliseconds."""


class Share:
    """How many of the last minutes' records were of some kind."""

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._steps: deque[tuple[int, int, int]] = deque()

    def add(self, now: float, total: int, of_kind: int) -> None:
        step = int(now // STEP_SECONDS)
        if self._steps and self._steps[-1][0] == step:
            _, before, before_of_kind = self._steps.pop()
            total, of_kind = total + before, of_kind + before_of_kind
        self._steps.append((step, total, of_kind))
        while self._steps[0][0] < step - self._window / STEP_SECONDS:
            self._steps.popleft()

    def of(self, now: float) -> float | None:
        """None where there were too few."""
        since = now // STEP_SECONDS - self._window / STEP_SECONDS
        recent = [(total, of_kind) for step, total, of_kind in self._steps if step >= since]
        total, of_kind = (sum(counts) for counts in zip(*recent, strict=True)) if recent else (0, 0)
        return of_kind / total if total >= FEWEST else None


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the record's arrival in Kafka to its arrival here, over the last minute."""

    p50: float | None = None
    p99: float | None = None
    samples: int = 0
    least: float | None = None
    """The least, below zero where the clocks of broker and dashboard differ."""


class Latencies:
    """Every latency of the last minute, by whole second and in classes 2 % wide: at 1,000 records a second 60,000 of
    them in some hundred counts. A quantile is told as its class's middle, and so within 1 %, and never beyond the least
    and the greatest that were seen.

    Classes that grow by a factor bound the relative error: C. Masson et al., DDSketch, VLDB 2019.
    """

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque()
        self._told = (0, Latency())

    def add(self, now: float, seconds: float) -> None:
        if not self._seconds or self._seconds[-1].second < int(now):
            self._forget(now)
            self._seconds.append(_Second(int(now)))
        self._seconds[-1].add(seconds)

    def latency(self, now: float) -> Latency:
        """Worked out once a second at most: a snapshot is taken ten times as often."""
        if int(now) != self._told[0]:
            self._forget(now)
            self._told = (int(now), self._worked_out())
        return self._told[1]

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].second < int(now) - LATENCY_SECONDS:
            self._seconds.popleft()

    def _worked_out(self) -> Latency:
        if not self._seconds:
            return Latency()
        counts = sum((second.counts for second in self._seconds), Counter[int]())
        least = min(second.least for second in self._seconds)
        greatest = max(second.greatest for second in self._seconds)
        p50, p99 = (max(min(_quantile(counts, share), greatest), least, 0.0) for share in (0.5, 0.99))
        return Latency(p50, p99, counts.total(), least)


@dataclass(slots=True)
class _Second:
    second: int
    counts: Counter[int] = field(default_factory=Counter)
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, seconds: float) -> None:
        self.counts[_class_of(seconds)] += 1
        self.least = min(self.least, seconds)
        self.greatest = max(self.greatest, seconds)


def _class_of(seconds: float) -> int:
    return math.ceil(math.log(max(seconds, FINEST_SECONDS)) / _LOG_WIDTH)


def _quantile(counts: Counter[int], share: float) -> float:
    """The least class that so many of the samples lie in or below."""
    classes = sorted(counts)
    below = list(accumulate(counts[index] for index in classes))
    index = classes[bisect_left(below, math.ceil(share * below[-1]))]
    return 2 * WIDTH**index / (1 + WIDTH) if index > _class_of(0) else 0.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many samples lay at or below each of :data:`BUCKETS` (not cumulated; the last is what lay above all), and
    their sum.
    """

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    total: float = 0.0


class Histogram:
    """Counts samples for as long as the process runs."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._total += seconds

    def view(self) -> Distribution:
        return Distribution(tuple(self._counts), self._total)
