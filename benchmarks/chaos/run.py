"""A run from its first process to its report."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from benchmarks.chaos.faults import ChaosError, Strike, strike
from benchmarks.chaos.pages import Pages
from benchmarks.chaos.plan import Fault, Group
from benchmarks.chaos.proof import prove
from benchmarks.chaos.report import Happened, Report
from benchmarks.chaos.signs import Signs, taken
from benchmarks.chaos.stage import ARCHIVE_SECONDS, Stage, producer_name

PATIENCE_SECONDS = 300.0
"""How long anything may take that is only awaited; generous, since machines are shared."""
POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""From one look at everything to the next: each costs the browser a layout of every page."""
TELL_SECONDS = 30.0
STILL_SECONDS = 2 * ARCHIVE_SECONDS + 4.0
"""At rest: nothing has changed for so long."""


@dataclass
class Run:
    """Strikes a stage group by group, and proves what became of it."""

    stage: Stage
    report: Report
    console: Console

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    def start(self) -> None:
        """Everything up, before anything goes wrong."""
        self.stage.start()
        self._await(self.stage.answers, "Kafka answers")
        self.stage.start_jobs()
        self.stage.start_producers()
        signs = Signs(self.stage, None)
        self._await(signs.look, "everything grows", lambda: self._state(signs))

    def strike(self, groups: Sequence[Group], pages: Pages) -> None:
        signs = Signs(self.stage, pages)
        self._await(signs.look, "every page moves", lambda: self._state(signs))
        for number, group in enumerate(groups, 1):
            self._strike(number, group, signs)

    def _strike(self, number: int, group: Group, signs: Signs) -> None:
        """A group's faults strike and are mended each at its time; then all must be well again."""
        begun = time.monotonic()
        waiting, lasting = list(group), list[_Lasting]()
        while waiting or lasting:
            now = time.monotonic() - begun
            while waiting and waiting[0].after <= now:
                fault = waiting.pop(0)
                lasting.append(self._begin(number, fault))
            lasting = [one for one in lasting if not self._is_ended(one)]
            self._pages_pump(signs)
        signs.begin()
        happened = [one for one in self.report.faults if one.group == number]
        if self._holds_within(signs.look, lambda: self._state(signs)):
            seconds = time.monotonic() - signs.began
            for one in happened:
                one.recovered_after, one.last_to_recover = round(seconds, 1), signs.last()
            self._say(f"all well again after {seconds:.0f} s, last {signs.last()}")
        else:
            self._fail(f"group {number} ({', '.join(one.kind for one in happened)}): {self._state(signs)}")

    def _begin(self, number: int, fault: Fault) -> _Lasting:
        carried_out = strike(fault, self.stage)
        since = time.monotonic()
        happened = Happened(number, fault.kind, carried_out.told, round(since - self._began, 1))
        self.report.faults.append(happened)
        self._say(
            f"[{number}] {fault.kind}: {carried_out.told}" + (f", for {fault.lasts:.0f} s" if fault.lasts else "")
        )
        return _Lasting(carried_out, happened, since)

    def _is_ended(self, one: _Lasting) -> bool:
        passed = time.monotonic() - one.since
        lasts = one.strike.fault.lasts
        if not one.is_mended:
            if passed < lasts:
                one.strike.keep(passed / lasts)
                return False
            one.strike.mend()
            one.is_mended = True
        if not one.strike.is_over():
            if passed > lasts + PATIENCE_SECONDS:
                self._fail(f"{one.happened.kind}: {one.happened.what} isn't over after {passed:.0f} s")
                return True
            return False
        one.happened.lasted = round(passed, 1)
        return True

    # -- the end

    def finish(self, pages: Pages) -> None:
        """No more records; everything drains; the pages are looked at for the last time."""
        for stream in self.stage.streams:
            if self.stage.keeper.stop(producer_name(stream)) != 0:
                self._fail(f"the producer of {stream.name} did not end in order")
        for seen in pages.pages:
            what = "it was reloaded" if seen.was_reloaded else "; ".join(seen.trouble)
            self.report.pages[seen.path] = what
        self._await(self._is_drained, "everything that was sent is in the tables", lambda: str(self._behind()))
        self._await(self._is_still(), "nothing changes any more")

    def prove(self) -> None:
        stopped = datetime.now(UTC)
        for name in self.stage.drivers:
            if self.stage.keeper.stop(name) != 0:
                self._fail(f"{name} did not end in order")
        for stream in self.stage.streams:
            self.report.proofs[stream.name] = prove(self.stage, stream, stopped)
            self._say(f"{stream.name}: {'proven' if self.report.proofs[stream.name].holds else 'NOT PROVEN'}")

    def close(self) -> None:
        self.report.restarts = {name: starts - 1 for name, starts in self.stage.keeper.starts().items() if starts > 1}
        self.report.seconds = round(time.monotonic() - self._began, 1)

    def _behind(self) -> dict[str, tuple[int | None, int | None]]:
        ends = self.stage.ends([stream.raw_topic for stream in self.stage.streams]) or {}
        return {s.name: (taken(self.stage, s), ends.get(s.raw_topic)) for s in self.stage.streams}

    def _is_drained(self) -> bool:
        return all(held is not None and held == end for held, end in self._behind().values()) and not self._owed()

    def _owed(self) -> int:
        """Rows that the SQL database is owed, by the ledgers."""
        found = 0
        for stream in self.stage.streams:
            if any(table.in_sql for table in stream.tables):
                ledger = f"file:{self.stage.settings.ledger(stream.name)}?mode=ro"
                with closing(sqlite3.connect(ledger, uri=True)) as held:
                    found += int(held.execute("SELECT count(*) FROM owed").fetchone()[0])
        return found

    def _is_still(self) -> Callable[[], bool]:
        """Whether nothing has been written for a while."""
        last, since = None, time.monotonic()

        def look() -> bool:
            nonlocal last, since
            if (now := self._written()) != last:
                last, since = now, time.monotonic()
            return last is not None and time.monotonic() - since >= STILL_SECONDS

        return look

    def _written(self) -> tuple[object, ...] | None:
        """What was brought anywhere. A row of a table goes to Delta and then to the processed topic; commits of Delta
        go on for long after that, as tables are compacted one by one.
        """
        topics = [topic for s in self.stage.streams for topic in (s.live_topic, s.rejected_topic, s.processed_topic)]
        ends = self.stage.ends(topics)
        return None if ends is None else (tuple(ends.items()), self._owed())

    # -- waiting

    def _await(self, condition: Callable[[], bool], what: str, state: Callable[[], str] = lambda: "") -> None:
        begun = time.monotonic()
        if not self._holds_within(condition, state):
            raise ChaosError(f"not within {PATIENCE_SECONDS:.0f} s: {what}. {state()}")
        self._say(f"{what}, after {time.monotonic() - begun:.0f} s")

    def _holds_within(self, condition: Callable[[], bool], state: Callable[[], str]) -> bool:
        """Whether a condition comes true before patience ends; now and then it says what is missing."""
        begun = told = time.monotonic()
        while not condition():
            now = time.monotonic()
            if now - begun > PATIENCE_SECONDS:
                return False
            if now - told > TELL_SECONDS:
                told = now
                self._say(f"  waiting: {state()}")
            time.sleep(LOOK_SECONDS)
        return True

    def _pages_pump(self, signs: Signs) -> None:
        """Playwright hears its browser only while it is asked something."""
        if signs.pages:
            signs.pages.pages[0].page.wait_for_timeout(POLL_SECONDS * 1_000)

    def _state(self, signs: Signs) -> str:
        """What is missing, in a line or two."""
        missing: dict[str, list[str]] = {}
        for what, whose in sorted(signs.missing):
            missing.setdefault(what, []).append(whose)
        still = [f"{what} of {', '.join(whose)}" for what, whose in missing.items()]
        troubled = signs.pages.troubled() if signs.pages else {}
        return "; ".join([*still, *(f"{path} says {said[0][:60]!r}" for path, said in troubled.items())])

    def _fail(self, what: str) -> None:
        self.report.failures.append(what)
        self._say(f"FAILED: {what}")

    def _say(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self._began:6.0f} s  {text}", highlight=False, markup=False)


@dataclass
class _Lasting:
    strike: Strike
    happened: Happened
    since: float
    is_mended: bool = False
