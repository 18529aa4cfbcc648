"""How far a reader is behind a topic: in messages, and in the time that the oldest of them has waited.

Measured here, from where the topic ends and where the reader has got to, so that a reader which hangs, or which is
wrong about itself, can't hide it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MOST_MARKS = 1_800
"""An hour of answers at one every 2 s; beyond it they thin out, and with them the precision of a lag of hours."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Messages that wait, and seconds since the oldest of them was seen to be there."""

    records: int = 0
    seconds: float = 0.0


class Backlog:
    """What waits for one reader. Positions are sums of offsets over the topic's partitions."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._end: int | None = None
        self._reached: int | None = None

    def ended(self, at: float, end: int) -> None:
        """The topic ended there at that time. A reader that has not said where it is counts as up to date at first."""
        if self._end is not None and end < self._end:  # made anew
            self._marks.clear()
            self._reached = None
        if self._reached is None:
            self._reached = end
        if end > self._reached and (not self._marks or self._end is None or end > self._end):
            self._marks.append((at, end))
            if len(self._marks) > MOST_MARKS:
                self._marks = deque(list(self._marks)[::2])
        self._end = end

    def reached(self, position: int) -> None:
        """The reader has taken what lies before."""
        self._reached = position
        while self._marks and self._marks[0][1] <= position:
            self._marks.popleft()

    def lag(self, now: float) -> Lag | None:
        """None where nothing is known of the topic."""
        if self._end is None or self._reached is None:
            return None
        waiting = max(self._end - self._reached, 0)
        return Lag(waiting, max(now - self._marks[0][0], 0.0) if waiting and self._marks else 0.0)
