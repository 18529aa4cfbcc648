"""A stream's figures: counted in a ledger, and brought to the sinks row by row as they change.

The aggregate query and the archive each keep one. What a :class:`Tally` is given (``headwater.counting.brought``) it
counts exactly: an event once, sums and distinct texts by key, and each key's records in their order. A kill at any
moment leaves a batch counted whole or not at all, and what changed stays marked until it stands in every sink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from headwater.acknowledgements import Remarks
from headwater.contracts.base import Stream, Table
from headwater.counting import change, named, sheet_of, steps, without
from headwater.dayfiles import DayFiles
from headwater.folds import Fold, FoldBook, Stored
from headwater.ledger import DAY_US, Ledger, moment
from headwater.money import money, rounded
from headwater.outbox import Outbox
from headwater.processed import Publisher
from headwater.settings import JobSettings
from headwater.sql import Database
from headwater.views import View, window_length

PUBLISHED_AT_ONCE = 20_000
"""Rows of a table that are published in one step: enough for any live batch, few enough to hold."""

Row = dict[str, Any]


class Store(Protocol):
    """Where a tally's rows are kept beside the processed topic."""

    def correct(self, table: Table, rows: list[Row], gone: list[Row], since: datetime | None) -> None:
        """Puts rows in the place of those with the same key, and takes away the ``gone`` ones."""

    def replace(self, table: Table, date: str, rows: list[Row]) -> None:
        """Puts a day's rows in the place of its file."""


class NoStore:
    """The processed topic alone."""

    def correct(self, table: Table, rows: list[Row], gone: list[Row], since: datetime | None) -> None: ...
    def replace(self, table: Table, date: str, rows: list[Row]) -> None: ...


@dataclass(frozen=True)
class Offered:
    """Rows that were handed to the sinks and are not yet known to stand there."""

    views: list[tuple[View, list[Row]]]
    stored: list[Stored]


def publish_all(tallies: Sequence[Tally]) -> None:
    """Brings the sinks of some streams up to their ledgers. Kafka is waited for after all have been offered theirs: a
    wait for each table, some milliseconds, was most of what a small batch took.
    """
    for tally in tallies:
        tally.hear()
    changed = list(tallies)
    while changed := [tally for tally in changed if tally.offer()]:
        for tally in changed:
            tally.settle()
    for tally in tallies:
        tally.tidy()


class Tally:
    """Counts one stream. ``in_files``: a view with a ``date`` that goes to files, one a day, not to the topic.
    ``database``: where the fold's tables that are ``in_sql`` go as well; ``folder``: its files by day and key.
    """

    def __init__(
        self,
        path: Path,
        stream: Stream,
        views: Sequence[View],
        fold: Fold[Any] | None,
        publisher: Publisher,
        settings: JobSettings,
        *,
        store: Store,
        in_files: View | None = None,
        database: Database | None = None,
        folder: Path | None = None,
        acknowledgements: Remarks | None = None,
        now: Callable[[], int] | None = None,
    ) -> None:
        """``now``: the wall clock in microseconds, where silence counts; None: the greatest event time is the clock."""
        self.views = (*views, *([in_files] if in_files else []))
        self.fold = fold
        self._stream = stream
        self._in_files = in_files
        self._publisher = publisher
        self._settings = settings
        self._store = store
        self._now = now
        self._heard = now() if now else 0
        self.ledger = Ledger(path, [sheet_of(view) for view in self.views])
        self._book = FoldBook(self.ledger.db, fold) if fold else None
        if self._book:
            with self.ledger.transaction():
                self._book.renew()
        self.outbox = Outbox(self.ledger, self._book, database) if database and self._book else None
        self._day_files = (
            DayFiles(self.ledger, fold, stream.key, folder) if fold and fold.day_files and folder else None
        )
        self._acknowledgements = acknowledgements

    def close(self) -> None:
        if self.outbox:
            self.outbox.close()
        if self._acknowledgements:
            self._acknowledgements.close()
        self.ledger.close()

    # -- counting

    def add(self, rows: pa.Table, records_at: Callable[[list[int]], pa.Table] | None) -> int:
        """Within a transaction of the ledger: adds what records bring. Returns how many of them count for nothing.

        ``records_at`` gives again what was counted at some positions; without it the first to come stays counted,
        also where one that stands before it comes later.
        """
        self._heard = self._now() if self._now else 0
        verdict = self.ledger.judge(rows, displaces=records_at is not None)
        self._count(without(rows, verdict.repeats), 1)
        if records_at and verdict.displaced:
            self._count(records_at(verdict.displaced), -1)
        return len(verdict.repeats) + len(verdict.displaced)

    def _count(self, rows: pa.Table, sign: int) -> None:
        rows = named(rows, self.views, self.fold)
        for view in self.views:
            self.ledger.add(change(view, rows, sign))
        if self._book:
            self._book.take(steps(self._book.fold, rows, sign))

    # -- the clock

    def end_windows(self) -> None:
        """Windows end by event time, which moves on with the wall clock while the input is silent; without a wall
        clock (``--once``) by the greatest event time alone.
        """
        if (clock := self.ledger.counters().get("clock")) is None:
            return
        silence = self._now() - self._heard if self._now else 0
        watermark = clock + silence - self._settings.watermark_seconds * 1_000_000
        with self.ledger.transaction():
            self.ledger.close_windows(watermark)
            if self._book:
                self._book.close_windows(watermark)

    def end_keys(self) -> None:
        """What ends by silence ends by the wall clock; without one by the greatest event time, and what is open then
        stays open.
        """
        if self._book is None or (clock := self.ledger.counters().get("clock")) is None:
            return
        with self.ledger.transaction():
            self._book.elapse(self._now() if self._now else clock)

    # -- publishing

    def publish(self) -> None:
        """Brings every sink up to what the ledger holds."""
        publish_all([self])

    def offer(self) -> bool:
        """Hands rows that changed to every sink, a part of each table; whether there were any."""
        views = [(view, self.ledger.unpublished(sheet_of(view), PUBLISHED_AT_ONCE)) for view in self.views]
        stored = self._book.unpublished(PUBLISHED_AT_ONCE) if self._book else []
        self._offered = Offered([(view, rows) for view, rows in views if rows], stored)
        for view, rows in self._offered.views:
            if view is self._in_files:
                self._offer_days(view, {row["date"] for row in rows})
            else:
                self._offer_rows(view, rows)
        if self._book and stored:
            self._offer_stored(self._book, stored)
        return bool(self._offered.views or stored)

    def settle(self) -> None:
        """Waits until the sinks have what was offered, and notes that they do."""
        self._publisher.flush()
        with self.ledger.transaction():
            for view, rows in self._offered.views:
                self.ledger.published(sheet_of(view), rows)
            if self._book:
                self._book.published(self._offered.stored, self._horizon())
            if self.outbox:
                self.outbox.add(self._offered.stored)

    def tidy(self) -> None:
        """Takes what is old out of the processed topic, and brings what waits for its turn."""
        self._retire_windows()
        if self._book:
            self._retire_stored(self._book)
        if self._day_files:
            self._day_files.write()
        # Last: a database that is away or slow holds up nothing else.
        if self.outbox:
            self.outbox.bring()

    def hear(self) -> None:
        """What people have acknowledged since the last time."""
        if self._book and self._acknowledgements and (heard := self._acknowledgements.read()):
            with self.ledger.transaction():
                for remark in heard:
                    self._book.remark(self._acknowledgements.table, remark.key, remark.columns, remark.as_of)

    def _offer_rows(self, view: View, rows: list[Row]) -> None:
        shown = [(row, published_row(view, row)) for row in rows]
        kept = [published for row, published in shown if row["rows"]]
        gone = [published for row, published in shown if not row["rows"]]
        self._store.correct(view.table, kept, gone, None)
        horizon = self._horizon()
        for row, published in shown:
            if not row["rows"] or (view.window and row["window_start"] < horizon):
                self._publisher.forget(view.table, published)
            else:
                self._publisher.correct(view.table, published, as_of=moment(row["as_of"]))

    def _offer_days(self, view: View, dates: set[str]) -> None:
        for date in sorted(dates):
            held = self.ledger.select(sheet_of(view), "date = ?", (date,))
            self._store.replace(view.table, date, [published_row(view, row) for row in held])

    def _offer_stored(self, book: FoldBook[Any], changed: list[Stored]) -> None:
        with self.ledger.transaction():  # before a sink has them, so that none is forgotten after a kill
            book.showing(changed)
        # What never stood anywhere need not be taken away.
        seen = [stored for stored in changed if not stored.is_gone or stored.shown is not None]
        for table in {stored.table.name: stored.table for stored in seen}.values():
            self._correct(table, [stored for stored in seen if stored.table.name == table.name])
        if (daily := book.fold.daily_csv) is not None:
            days = {stored.time // DAY_US * DAY_US for stored in changed if stored.table.name == daily.name}
            for day in sorted(days):
                self._store.replace(daily, f"{moment(day):%Y-%m-%d}", book.between(daily, day, day + DAY_US))
        horizon = self._horizon()
        for stored in seen:
            if stored.is_gone or stored.time < horizon:
                self._publisher.forget(stored.table, stored.row)
            else:
                self._publisher.correct(stored.table, stored.row, as_of=moment(stored.as_of))

    def _correct(self, table: Table, changed: list[Stored]) -> None:
        since = min(min(stored.time, stored.time if stored.shown is None else stored.shown) for stored in changed)
        self._store.correct(
            table,
            [stored.row for stored in changed if not stored.is_gone],
            [stored.row for stored in changed if stored.is_gone],
            moment(since) if table.time else None,
        )

    def _horizon(self) -> int:
        """What ended before this is no longer kept in the processed topic."""
        kept = self._settings.processed_window_hours * 3_600_000_000
        return self.ledger.counters().get("clock", 0) - kept

    def _retire_windows(self) -> None:
        for view in self.views:
            if view.window:
                sheet = sheet_of(view)
                old = self.ledger.retired(sheet, self._horizon())
                for row in old:
                    self._publisher.forget(view.table, published_row(view, row))
                if old:
                    self._publisher.flush()
                    self.ledger.retire(sheet, self._horizon())

    def _retire_stored(self, book: FoldBook[Any]) -> None:
        while old := book.retired(self._horizon(), PUBLISHED_AT_ONCE):
            for stored in old:
                self._publisher.forget(stored.table, stored.row)
            self._publisher.flush()
            with self.ledger.transaction():
                book.retire(old)


def published_row(view: View, row: Row) -> Row:
    """A ledger's row -> the table's row, in the contract's types."""
    out: Row = {name: row[name] for name in view.keys}
    if view.window:
        start = moment(row["window_start"])
        end = start + window_length(view.window)
        out |= {"window_start": start, "window_end": end, "is_final": bool(row["is_final"])}
    for name in view.sums:
        out[name] = money(row[name]) if view.is_money(name) else row[name]
    out |= {name: row[name] for name in view.distinct}
    for name, (over, under) in view.ratios.items():
        out[name] = _ratio(view, name, out[over], out[under])
    return out


def _ratio(view: View, name: str, over: Any, under: Any) -> Any:
    if over is None or not under:
        return None
    with localcontext(prec=50):
        value = Decimal(over) / Decimal(under)
    return rounded(value) if view.is_money(name) else float(value)
