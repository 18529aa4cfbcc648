"""Counts in windows of event time that slide as the data goes on: small, additive, and cheap to ask.

A window is its number: event time over the window's length. Everything here can be counted in any order, and
what lies before the oldest window that is remembered is added up, not kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

Place = tuple[int, int]
"""The window of a visit's event, and the step it had reached with it."""


class Standing:
    """How many visits stand at each step, as of any window: a visit counts while its last event is recent.

    An event counts from its window on, for `span` windows or until the visit's next event. Only the ends of these
    stretches are noted, each as one more or one less, so that the past can be asked as well as the present.
    """

    def __init__(self, span: int, steps: int) -> None:
        self.span = span
        self._steps = steps
        self._changes: defaultdict[int, list[int]] = defaultdict(lambda: [0] * steps)

    def count(self, before: Place | None, here: Place, times: int = 1) -> None:
        """An event of a visit, after the one `before` it; with `times=-1` it is taken back."""
        window, step = here
        changes = self._changes
        changes[window][step] += times
        changes[window + self.span][step] -= times
        if before is not None and before[0] + self.span > window:
            changes[window][before[1]] -= times
            changes[before[0] + self.span][before[1]] += times

    def as_of(self, window: int) -> list[int]:
        """Visits by step with an event in the `span` windows up to this one."""
        past = [changes for at, changes in self._changes.items() if at <= window]
        return [sum(changes[step] for changes in past) for step in range(self._steps)]

    def forget(self, floor: int) -> None:
        """Nothing before this window will be asked for."""
        self._changes[floor] = self.as_of(floor)
        for window in [window for window in self._changes if window < floor]:
            del self._changes[window]


class Sums:
    """Some numbers a window."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._windows: defaultdict[int, list[int]] = defaultdict(lambda: [0] * columns)

    def add(self, window: int, *numbers: int) -> None:
        row = self._windows[window]
        for column, number in enumerate(numbers):
            row[column] += number

    def total(self, windows: Iterable[int]) -> list[int]:
        """Each column over these windows."""
        rows = [self._windows[window] for window in windows if window in self._windows]
        return [sum(row[column] for row in rows) for column in range(self._columns)]

    def forget(self, floor: int) -> None:
        for window in [window for window in self._windows if window < floor]:
            del self._windows[window]


class Trend:
    """Counts by name over the last `span` windows and over the `span` before them, kept up as the head moves on."""

    def __init__(self, span: int, most_names: int) -> None:
        self.now: dict[str, int] = {}
        self.before: dict[str, int] = {}
        self._span = span
        self._most = most_names
        self._windows: dict[int, dict[str, int]] = {}
        self._head = 0

    def add(self, window: int, name: str) -> None:
        """Count a name; in one window no more than `most_names` of them are told apart."""
        if window <= self._head - 2 * self._span:
            return
        counts = self._windows.setdefault(window, {})
        if name not in counts and len(counts) >= self._most:
            return
        counts[name] = counts.get(name, 0) + 1
        if window <= self._head:
            sums = self.now if window > self._head - self._span else self.before
            sums[name] = sums.get(name, 0) + 1

    def advance(self, head: int) -> None:
        """The newest window is this one now."""
        if head - self._head > 2 * self._span:
            self._restart(head)
        while self._head < head:
            self._head += 1
            _shift(self._windows.get(self._head, {}), None, self.now)
            _shift(self._windows.get(self._head - self._span, {}), self.now, self.before)
            _shift(self._windows.pop(self._head - 2 * self._span, {}), self.before, None)

    def _restart(self, head: int) -> None:
        """So far ahead that all of it is past."""
        self._windows = {window: counts for window, counts in self._windows.items() if window > head - 2 * self._span}
        self._head = head - 2 * self._span
        self.now, self.before = {}, {}


def _shift(counts: dict[str, int], source: dict[str, int] | None, target: dict[str, int] | None) -> None:
    for name, count in counts.items():
        if source is not None:
            if source[name] > count:
                source[name] -= count
            else:
                del source[name]
        if target is not None:
            target[name] = target.get(name, 0) + count
