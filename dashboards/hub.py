"""From the feed's thread to the pages' coroutines: the newest snapshot only."""

from __future__ import annotations

import asyncio
import contextlib

from dashboards.state import Snapshot


class Hub:
    """Conflates: a reader that is slow misses what came in between, never queues it.

    `publish` may be called from any thread, also before a loop runs and after it is gone.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._latest: Snapshot | None = None

    def attach(self) -> None:
        """Take up the running loop, whose coroutines will wait here."""
        self._loop = asyncio.get_running_loop()

    def detach(self) -> None:
        self._loop = None

    @property
    def latest(self) -> Snapshot | None:
        return self._latest

    def publish(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        if (loop := self._loop) is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.wake)

    def wake(self) -> None:
        """Let every waiter look again; from the loop's own thread."""
        # Every waiter holds the old event, so setting it wakes all of them exactly once.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def next(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """A snapshot other than the one seen; when woken, or after `timeout`, whatever there is."""
        if self._latest is None or self._latest is seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout)
        return self._latest
