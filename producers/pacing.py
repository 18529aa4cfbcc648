"""When each record is due, and a loop that keeps to it.

Due times are seconds since the loop's start on a monotonic clock, computed from the record's number or its
event time and never from the record before it, so that nothing drifts: a late wake-up is made good at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

TICK_S = 0.005
"""The shortest sleep. Above 200 records/s several are due at each wake-up, which costs far less than one sleep each."""

SLICE_S = 0.1
"""The longest sleep at a stretch, so that a signal to stop is obeyed at once."""


def at_rate(rate: float) -> Iterator[float]:
    """Due times at `rate` records a second; all at once where it is infinite."""
    return (number / rate for number in itertools.count())


def at_event_time(times_us: Iterable[int | None], speed: float) -> Iterator[float]:
    """Due times that follow the gaps of event time (microseconds), `speed` times as fast.

    A record of unknown time (None), and one older than what went before it, is due with the one before it.
    """
    first: int | None = None
    due = 0.0
    for time_us in times_us:
        if time_us is not None:
            first = time_us if first is None else first
            due = max(due, (time_us - first) / 1e6 / speed)
        yield due


def keep_pace(
    dues: Iterable[float | None],
    items: Iterator[T],
    send: Callable[[T], None],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    stopped: Callable[[], bool],
) -> int:
    """Send each item when it is due, until the items end or `stopped` says so; returns how many were sent.

    An item is taken only when it is due, so that a simulated record's event time is the time it is sent. One whose due
    time is None is due at once, and those of the items after it count from then.
    """
    start = clock()
    sent = 0
    for due in dues:
        if due is None:
            start = clock()
        while not stopped() and (ahead := start + (due or 0) - clock()) > 0:
            sleep(min(max(ahead, TICK_S), SLICE_S))
        if stopped():
            break
        try:
            item = next(items)
        except StopIteration:
            break
        send(item)
        sent += 1
    return sent
