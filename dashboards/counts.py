"""Counts over time, bounded: shares over the last minutes, and a histogram since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

STEP_SECONDS = 10
FEWEST = 20
"""Of fewer records no share is told: one in three is no alarm."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds, from what a real-time query takes to what nobody would wait for."""


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
