"""The archive: every valid record once, and tables that equal a batch computation over them.

A batch of a stream goes through four steps, each of which may be repeated without harm:

1. ``begin``: the ledger notes the batch's number and where it ends.
2. ``append``: Spark appends the batch to ``records`` and ``rejected`` under that number; Delta drops a
   number it has seen.
3. ``count``: one ledger transaction says which records count, adds what they bring to the sums, and
   moves the position. Messages before that position are never looked at again.
4. ``publish``: rows that changed go to Delta, to the processed topic and to the CSV files, and are then
   marked as published. What was not marked is published again.

A kill between any two of them, or within one, is made good by the next batch or the next start
(``docs/decisions/0002-the-archive.md``). What a batch costs depends on what it holds and on the rows it
touches, not on history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headwater import delta
from headwater.contracts.base import Stream
from headwater.counting import brought, change, sheet_of, steps, without
from headwater.csvfiles import write_csv
from headwater.errors import HeadwaterError
from headwater.folds import Fold, FoldBook, Kept
from headwater.ledger import Batch, Ledger, moment, partition_and_offset
from headwater.money import money, rounded
from headwater.processed import Publisher
from headwater.quality import POSITION, checked, rejected, valid
from headwater.settings import Settings
from headwater.views import SQL_TYPES, Slots, View, window_length

APPLICATION = "headwater-archive"
"""Under this name Delta remembers the last batch that was appended to a table."""

PUBLISHED_AT_ONCE = 20_000
"""Rows of a table that are published in one step: enough for any live batch, few enough to hold."""


COUNTED_AT_ONCE = 100_000
"""Messages of each partition that are counted in one step when a lost ledger is built again."""

Read = Callable[[Stream, dict[int, int], dict[int, int]], DataFrame]
"""A stream's messages from some offsets to others (exclusive), by partition, read as a batch."""


class Archive:
    """Keeps one stream's tables. ``take`` is given each micro-batch of the raw topic."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        stream: Stream,
        tables: Sequence[View],
        daily: View | None,
        publisher: Publisher,
        fold: Fold[Any] | None = None,
        now: Callable[[], int] | None = None,
    ) -> None:
        """``now``: the wall clock in microseconds, where silence counts; None: the greatest event time is the clock."""
        self._spark = spark
        self._settings = settings
        self._stream = stream
        self._tables = tuple(tables)
        self._daily = daily
        self._views = (*tables, *([daily] if daily else []))
        self._slots = Slots.of(self._views)
        self._publisher = publisher
        self._fold = fold
        self._now = now
        self._heard = now() if now else 0
        self._ledger = Ledger(settings.ledger(stream.name), [sheet_of(view) for view in self._views])
        self._book = FoldBook(self._ledger.db, fold) if fold else None
        delta.create_tables(stream, settings.delta(stream.name, "records").parent)

    def close(self) -> None:
        self._ledger.close()

    def take(self, messages: DataFrame) -> None:
        """Appends, counts and publishes a micro-batch: the Kafka source's rows of this stream's topic."""
        self._take(messages, None)
        self.elapse()

    def elapse(self) -> None:
        """Ends what ends by the clock, and publishes. To be called now and then also when nothing comes.

        Windows go by event time, which moves on with the wall clock while the input is silent; keys go by the wall
        clock. Without one (``--once``) both go by the greatest event time, and what is open stays open.
        """
        clock = self._ledger.counters().get("clock")
        if clock is not None:
            now = self._now() if self._now else None
            silence = now - self._heard if now is not None else 0
            with self._ledger.transaction():
                self._ledger.close_windows(clock + silence - self._patience())
                if self._book:
                    self._book.elapse(clock if now is None else now)
        self.publish()

    def recover(self, read: Read) -> None:
        """Before the first batch: ends what a kill cut off, whatever became of Spark's checkpoint."""
        if self._book:
            with self._ledger.transaction():
                self._book.renew()
        appended = self._last_appended()
        if appended and not self._ledger.counters():
            self._count_again(appended)
        pending = self._ledger.pending()
        if appended > self._ledger.counters().get("batch", 0) + (pending is not None):
            raise ArchiveError(
                f"{self._stream.name}: the tables hold batch {appended}, the ledger "
                f"{self._settings.ledger(self._stream.name)} is older. Delete the ledger, and it is built again from "
                f"`records`, or put the right one back."
            )
        if pending:
            self._take(read(self._stream, self._ledger.consumed(), pending.ends), pending)
        self.elapse()

    def counters(self) -> dict[str, int]:
        return self._ledger.counters()

    def _last_appended(self) -> int:
        return max(delta.last_batch(self._path(name), APPLICATION) for name in ("records", "rejected"))

    def _path(self, table: str) -> Path:
        return self._settings.delta(self._stream.name, table)

    def _take(self, messages: DataFrame, batch: Batch | None) -> None:
        # Only a rejected record needs its value as it came, and the others' would double what is kept.
        raw = F.when(F.size("reasons") > 0, F.col("raw"))
        everything = checked(messages, self._stream).withColumn("raw", raw).persist()
        try:
            # On the cached rows: a filter that changes with each batch has Spark compile what it is fused with anew.
            rows = everything.where(_from(self._ledger.consumed()))
            figures = self._figures(rows)
            if figures.ends:
                self._heard = self._now() if self._now else 0
                batch = batch or self._ledger.begin(figures.ends)
                self._append(rows, figures, batch)
                self._count(valid(rows), figures, batch)
        finally:
            everything.unpersist()

    # -- 2: append

    def _append(self, rows: DataFrame, figures: Figures, batch: Batch) -> None:
        """``records`` last, and even when there are none: with its number there, the batch is whole."""
        if figures.rejected:
            self._append_to("rejected", rejected(rows, self._stream), batch)
        self._append_to("records", valid(rows).withColumn("processed_at", F.current_timestamp()), batch)

    def _append_to(self, table: str, rows: DataFrame, batch: Batch) -> None:
        (
            rows.select(
                *[
                    F.col(f.name).cast(SQL_TYPES[f.kind]).alias(f.name)
                    for f in delta.fields_of_table(self._stream, table)
                ]
            )
            .coalesce(1)
            .write.format("delta")
            .mode("append")
            .option("mergeSchema", "true")
            .option("txnAppId", APPLICATION)
            .option("txnVersion", batch.number)
            .save(str(self._path(table)))
        )

    # -- 3: count

    def _count(self, good: DataFrame, figures: Figures, batch: Batch) -> None:
        rows = brought(good, self._views, self._fold)
        with self._ledger.transaction():
            duplicates = self._counted(rows)
            counts = {
                "records": figures.records,
                "rejected": figures.rejected,
                "late": figures.late,
                "duplicates": duplicates,
            }
            self._ledger.finish(batch, counts, figures.clock)

    def _counted(self, rows: pa.Table) -> int:
        """Within the batch's transaction: adds what the records bring. Returns how many of them count for nothing."""
        verdict = self._ledger.judge(rows)
        self._add(without(rows, verdict.repeats), 1)
        if verdict.displaced:
            self._add(brought(self._records_at(verdict.displaced), self._views, self._fold), -1)
        return len(verdict.repeats) + len(verdict.displaced)

    def _add(self, rows: pa.Table, sign: int) -> None:
        for view in self._views:
            self._ledger.add(change(view, rows, sign))
        if self._book:
            self._book.take(steps(self._book.fold, rows, sign))

    def _count_again(self, appended: int) -> None:
        """Builds a lost ledger from the tables; only how many records were late can't be told any more."""
        if delta.last_batch(self._path("records"), APPLICATION) < appended:  # a kill between the two appends
            delta.undo_last_append(self._path("rejected"))
        good = self._spark.read.format("delta").load(str(self._path("records"))).drop("processed_at")
        bad = self._spark.read.format("delta").load(str(self._path("rejected")))
        everything = good.withColumn("reasons", F.array().cast("array<string>")).unionByName(
            bad.select("reasons", *POSITION), allowMissingColumns=True
        )
        figures = self._figures(everything)
        with self._ledger.transaction():
            duplicates = sum(
                self._counted(brought(part, self._views, self._fold)) for part in _parts(good, figures.ends)
            )
            counts = {"records": figures.records, "rejected": figures.rejected, "late": 0, "duplicates": duplicates}
            self._ledger.finish(Batch(appended, figures.ends), counts, figures.clock)

    def _patience(self) -> int:
        """How long a window waits for late events, in microseconds."""
        return self._settings.jobs.watermark_seconds * 1_000_000

    def _figures(self, rows: DataFrame) -> Figures:
        """What checked rows hold: one pass over them."""
        is_valid = F.size("reasons") == 0
        by_partition = rows.groupBy("partition").agg(
            (F.max("offset") + 1).alias("end"),
            F.count_if(is_valid).alias("records"),
            F.count_if(~is_valid).alias("rejected"),
            F.count_if(is_valid & self._late(self._ledger.counters().get("clock"))).alias("late"),
            F.max(F.when(is_valid, F.unix_micros("event_time"))).alias("clock"),
        )
        parts = by_partition.collect()
        return Figures(
            ends={part["partition"]: part["end"] for part in parts},
            records=sum(part["records"] for part in parts),
            rejected=sum(part["rejected"] for part in parts),
            late=sum(part["late"] for part in parts),
            clock=max((part["clock"] for part in parts if part["clock"] is not None), default=None),
        )

    def _late(self, clock: int | None) -> Column:
        """A record is late where its event lies before the watermark that stood when it was taken."""
        if clock is None:
            return F.lit(False)
        return F.unix_micros("event_time") < clock - self._patience()

    def _records_at(self, positions: list[int]) -> DataFrame:
        """Records counted earlier. Rare: the same event in two partitions, the earlier one read later."""
        spans: dict[int, list[int]] = {}
        for partition, offset in map(partition_and_offset, positions):
            spans.setdefault(partition, []).append(offset)
        here = [(F.col("partition") == p) & F.col("offset").isin(offsets) for p, offsets in spans.items()]
        records = self._spark.read.format("delta").load(str(self._path("records")))
        return records.where(reduce(Column.__or__, here)).drop("processed_at")

    # -- 4: publish

    def publish(self) -> None:
        """Brings every sink up to what the ledger holds."""
        for view in self._views:
            sheet = sheet_of(view)
            while rows := self._ledger.unpublished(sheet, PUBLISHED_AT_ONCE):
                if view is self._daily:
                    self._publish_csv(view, rows)
                else:
                    self._publish_table(view, rows)
                self._ledger.published(sheet, rows)
        self._retire_windows()
        if self._book:
            while kept := self._book.unpublished(PUBLISHED_AT_ONCE):
                self._publish_keys(self._book, kept)
            self._retire_keys(self._book)

    def _publish_table(self, view: View, rows: list[dict[str, Any]]) -> None:
        shown = [(row, published_row(view, row)) for row in rows]
        kept = [published for row, published in shown if row["rows"]]
        gone = [published for row, published in shown if not row["rows"]]
        delta.correct(self._path(view.table.name), view.table, kept, gone)
        horizon = self._horizon()
        for row, published in shown:
            if not row["rows"] or (view.window and row["window_start"] < horizon):
                self._publisher.forget(view.table, published)
            else:
                self._publisher.correct(view.table, published, as_of=moment(row["as_of"]))
        self._publisher.flush()

    def _publish_keys(self, book: FoldBook[Any], kept: list[Kept[Any]]) -> None:
        tables, horizon = book.fold.tables, self._horizon()
        rows = {key.number: book.rows(key) for key in kept}
        bits = {
            n: sum(1 << i for i, table in enumerate(tables) if table.name in by_table) for n, by_table in rows.items()
        }
        with self._ledger.transaction():  # before a sink has them, so that none is forgotten after a kill
            book.showing(bits.items())
        since = min((key.shown_since for key in kept if key.shown_since is not None), default=None)
        for i, table in enumerate(tables):
            stand = [(key, rows[key.number][table.name]) for key in kept if table.name in rows[key.number]]
            gone = [key for key in kept if table.name not in rows[key.number] and key.shown & (1 << i)]
            if stand or gone:
                named = [{table.key[0]: key.key} for key in gone]
                lower = moment(since) if since is not None else None
                delta.correct(self._path(table.name), table, [row for _, row in stand], named, lower)
            for key, row in stand:
                if key.last < horizon:
                    self._publisher.forget(table, row)
                else:
                    self._publisher.correct(table, row, as_of=moment(key.as_of))
            for key in gone:
                self._publisher.forget(table, {table.key[0]: key.key})
        self._publisher.flush()
        with self._ledger.transaction():
            book.published(list(bits.items()), horizon)

    def _retire_keys(self, book: FoldBook[Any]) -> None:
        while old := book.retired(self._horizon(), PUBLISHED_AT_ONCE):
            for key in old:
                for table, row in book.rows(key).items():
                    self._publisher.forget(self._stream.table(table), row)
            self._publisher.flush()
            with self._ledger.transaction():
                book.retire([key.number for key in old])

    def _publish_csv(self, view: View, rows: list[dict[str, Any]]) -> None:
        for day in sorted({row["date"] for row in rows}):
            held = self._ledger.select(sheet_of(view), "date = ?", (day,))
            path = self._settings.csv(self._stream.name) / f"totals-{day}.csv"
            write_csv(path, view.table, [published_row(view, row) for row in held])

    def _horizon(self) -> int:
        """Windows that start before this are no longer kept in the processed topic."""
        kept = self._settings.jobs.processed_window_hours * 3_600_000_000
        return self._ledger.counters().get("clock", 0) - kept

    def _retire_windows(self) -> None:
        for view in self._tables:
            if view.window:
                sheet = sheet_of(view)
                old = self._ledger.retired(sheet, self._horizon())
                for row in old:
                    self._publisher.forget(view.table, published_row(view, row))
                if old:
                    self._publisher.flush()
                    self._ledger.retire(sheet, self._horizon())


@dataclass(frozen=True)
class Figures:
    """What a batch holds: its ends (exclusive, by partition), counts, and the greatest event time in microseconds."""

    ends: dict[int, int]
    records: int
    rejected: int
    late: int
    clock: int | None


class ArchiveError(HeadwaterError):
    """A stream's tables and its ledger don't belong together."""


def published_row(view: View, row: dict[str, Any]) -> dict[str, Any]:
    """A ledger's row -> the table's row, in the contract's types."""
    out: dict[str, Any] = {name: row[name] for name in view.keys}
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


def _from(consumed: dict[int, int]) -> Column:
    """Messages at or after the position that was counted."""
    seen = [(F.col("partition") == partition) & (F.col("offset") < end) for partition, end in consumed.items()]
    return ~reduce(Column.__or__, seen, F.lit(False))


def _parts(records: DataFrame, ends: dict[int, int]) -> Iterator[DataFrame]:
    """Records in parts that one driver can hold."""
    for start in range(0, max(ends.values(), default=0), COUNTED_AT_ONCE):
        yield records.where((F.col("offset") >= start) & (F.col("offset") < start + COUNTED_AT_ONCE))
