"""The archive: every valid record once, and tables that equal a batch computation over them.

A batch of a stream goes through four steps, each of which may be repeated without harm:

1. ``begin``: the ledger notes the batch's number and where it ends.
2. ``append``: the batch is appended to ``records`` and ``rejected`` under that number; a table that holds
   the number already is left alone.
3. ``count``: one ledger transaction says which records count, adds what they bring to the sums, and
   moves the position. Messages before that position are never looked at again.
4. ``publish``: rows that changed go to Delta, to the processed topic and to the CSV files, and are then
   marked as published. What was not marked is published again. Rows that also belong into the SQL database are then
   owed to it until it has them (``headwater.outbox``).

A kill between any two of them, or within one, is made good by the next batch or the next start
(``docs/decisions/0002-the-archive.md``). What a batch costs depends on what it holds and on the rows it
touches, not on history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headwater import delta
from headwater.acknowledgements import Remarks
from headwater.contracts.base import Stream, Table
from headwater.counting import brought, brought_columns, ends_of, fresh, position
from headwater.csvfiles import write_csv
from headwater.errors import HeadwaterError
from headwater.folds import Fold
from headwater.ledger import PARTITION_SHIFT, Batch, Ledger, partition_and_offset
from headwater.processed import Publisher
from headwater.quality import checked, rejected_columns
from headwater.settings import Settings
from headwater.sql import Database
from headwater.tally import Row, Tally
from headwater.views import SQL_TYPES, View

APPLICATION = "headwater-archive"
"""Under this name a table remembers the last batch that was appended to it."""

STAMP = {"records": "processed_at", "rejected": "rejected_at"}
"""When a row was written."""

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
        acknowledgements: Remarks | None = None,
    ) -> None:
        """``now``: the wall clock in microseconds, where silence counts; None: the greatest event time is the clock."""
        self._spark = spark
        self._settings = settings
        self._stream = stream
        self._tally = Tally(
            settings.ledger(stream.name),
            stream,
            tables,
            fold,
            publisher,
            settings.jobs,
            store=Tables(settings, stream),
            in_files=daily,
            folder=settings.csv(stream.name),
            acknowledgements=acknowledgements,
            database=Database(settings.sql_url, stream) if any(table.in_sql for table in stream.tables) else None,
            now=now,
        )
        self._ledger = self._tally.ledger
        delta.create_tables(stream, settings.delta(stream.name, "records").parent)

    def close(self) -> None:
        self._tally.close()

    def tables(self) -> list[Path]:
        """The folders of all its tables."""
        return [self._path(name) for name in ("records", "rejected", *(table.name for table in self._stream.tables))]

    def pulled(self, rows: DataFrame) -> DataFrame:
        """The stream's checked messages -> what :meth:`take` wants of them."""
        return rows.select(*[column.alias(name) for name, column in self.pulled_columns().items()])

    def pulled_columns(self) -> dict[str, Column]:
        """What :meth:`take` wants of checked messages, by name: ``position``, ``is_valid``, the columns of
        both tables as ``table/<column>``, one for both where both have it, and what a valid record brings to the tally.
        """
        is_valid = F.col("is_valid")
        columns = {"is_valid": is_valid, "position": position()}
        values = rejected_columns(self._stream)
        values["raw"] = f"IF(is_valid, NULL, {values['raw']})"
        for table, stamp in STAMP.items():
            for field in delta.fields_of_table(self._stream, table):
                if field.name != stamp:
                    value = values.get(field.name, f"`{field.name}`")
                    columns[_of_table(field.name)] = F.expr(f"CAST({value} AS {SQL_TYPES[field.kind]})")
        own = brought_columns(self._tally.views, self._tally.fold)
        return columns | {n: F.when(is_valid, c) for n, c in own.items() if n not in columns}

    def take(self, rows: pa.Table) -> None:
        """Appends, counts and publishes a micro-batch that was :meth:`pulled`."""
        self._take(rows, None)
        self.elapse()

    def elapse(self) -> None:
        """Ends what ends by the clock, and publishes. To be called now and then also when nothing comes."""
        self._tally.end_windows()
        self._tally.end_keys()
        self._tally.publish()

    def recover(self, read: Read) -> None:
        """Before the first batch: ends what a kill cut off, whatever became of Spark's checkpoint."""
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
            missing = read(self._stream, self._ledger.consumed(), pending.ends)
            self._take(self.pulled(checked(missing, self._stream)).toArrow(), pending)
        self.elapse()

    def start_from(self, begins: dict[int, int]) -> None:
        """Where the topic begins by now, of partitions that nothing was counted of."""
        self._ledger.start_from(begins)

    def counters(self) -> dict[str, int]:
        """The ledger's, and how many rows the SQL database is ``owed``."""
        outbox = self._tally.outbox
        return self._ledger.counters() | ({"owed": outbox.owed()} if outbox else {})

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    def _last_appended(self) -> int:
        return max(delta.last_batch(self._path(name), APPLICATION) for name in ("records", "rejected"))

    def _path(self, table: str) -> Path:
        return self._settings.delta(self._stream.name, table)

    def _take(self, pulled: pa.Table, batch: Batch | None) -> None:
        rows = fresh(pulled, self._ledger.consumed())
        if rows.num_rows:
            batch = batch or self._ledger.begin(ends_of(rows["position"]))
            good = rows.filter(rows["is_valid"])
            self._append(rows, good, batch)
            self._count(rows, good, batch)

    # -- 2: append

    def _append(self, rows: pa.Table, good: pa.Table, batch: Batch) -> None:
        """``records`` last, and even when there are none: with its number there, the batch is whole."""
        if good.num_rows < rows.num_rows:
            self._append_to("rejected", rows.filter(pc.invert(rows["is_valid"])), batch)
        self._append_to("records", good, batch)

    def _append_to(self, table: str, rows: pa.Table, batch: Batch) -> None:
        schema = delta.arrow_schema(delta.fields_of_table(self._stream, table))
        # Stamped here: as a constant of each batch, the time would have Spark compile the whole projection anew.
        stamp = pa.array([datetime.now(UTC)] * rows.num_rows, pa.timestamp("us", "UTC"))
        columns = {n: stamp if n == STAMP[table] else rows[_of_table(n)] for n in schema.names}
        delta.append(self._path(table), pa.table(columns).cast(schema), APPLICATION, batch.number)

    # -- 3: count

    def _count(self, rows: pa.Table, good: pa.Table, batch: Batch) -> None:
        late = self._late(good)
        with self._ledger.transaction():
            counts = {
                "records": good.num_rows,
                "rejected": rows.num_rows - good.num_rows,
                "late": late,
                "duplicates": self._tally.add(good, self._brought_at),
            }
            self._ledger.finish(batch, counts, pc.max(good["at"]).as_py())

    def _late(self, good: pa.Table) -> int:
        """How many records' events lie before the watermark that stands before they are counted."""
        clock = self._ledger.counters().get("clock")
        if clock is None:
            return 0
        watermark = clock - self._settings.jobs.watermark_seconds * 1_000_000
        return pc.sum(pc.less(good["at"], watermark)).as_py() or 0

    def _brought_at(self, positions: list[int]) -> pa.Table:
        """What was counted at some positions."""
        return self._brought(self._records_at(positions))

    def _brought(self, records: DataFrame) -> pa.Table:
        return brought(records, self._tally.views, self._tally.fold).toArrow()

    def _count_again(self, appended: int) -> None:
        """Builds a lost ledger from the tables; only how many records were late can't be told any more."""
        if delta.last_batch(self._path("records"), APPLICATION) < appended:  # a kill between the two appends
            delta.undo_last_append(self._path("rejected"))
        good, bad = (delta.columns(self._path(name), ["partition", "offset"]) for name in ("records", "rejected"))
        both = pa.concat_tables([good, bad])
        ends = ends_of(pc.add(pc.shift_left(both["partition"], PARTITION_SHIFT), both["offset"]))
        records = self._spark.read.format("delta").load(str(self._path("records")))
        counts = {"records": good.num_rows, "rejected": bad.num_rows, "late": 0, "duplicates": 0}
        clocks = []
        with self._ledger.transaction():
            for part in map(self._brought, _parts(records, ends)):
                counts["duplicates"] += self._tally.add(part, self._brought_at)
                clocks += [pc.max(part["at"]).as_py()] if part.num_rows else []
            self._ledger.finish(Batch(appended, ends), counts, max(clocks, default=None))

    def _records_at(self, positions: list[int]) -> DataFrame:
        """Records counted earlier. Rare: the same event in two partitions, the earlier one read later."""
        spans: dict[int, list[int]] = {}
        for partition, offset in map(partition_and_offset, positions):
            spans.setdefault(partition, []).append(offset)
        here = [(F.col("partition") == p) & F.col("offset").isin(offsets) for p, offsets in spans.items()]
        records = self._spark.read.format("delta").load(str(self._path("records")))
        return records.where(reduce(Column.__or__, here))


class Tables:
    """A stream's Delta tables and its CSV files by day."""

    def __init__(self, settings: Settings, stream: Stream) -> None:
        self._settings = settings
        self._stream = stream

    def correct(self, table: Table, rows: list[Row], gone: list[Row], since: datetime | None) -> None:
        delta.correct(self._settings.delta(self._stream.name, table.name), table, rows, gone, since)

    def replace(self, table: Table, date: str, rows: list[Row]) -> None:
        write_csv(
            self._settings.csv(self._stream.name) / f"{table.name.removeprefix('daily_')}-{date}.csv", table, rows
        )


class ArchiveError(HeadwaterError):
    """A stream's tables and its ledger don't belong together."""


def _of_table(column: str) -> str:
    """A column of `records` or `rejected` among those of a batch."""
    return f"table/{column}"


def _parts(records: DataFrame, ends: dict[int, int]) -> Iterator[DataFrame]:
    """Records in parts that one driver can hold."""
    for start in range(0, max(ends.values(), default=0), COUNTED_AT_ONCE):
        yield records.where((F.col("offset") >= start) & (F.col("offset") < start + COUNTED_AT_ONCE))
