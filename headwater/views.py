"""Tables that are sums and distinct counts over keys, declared once and computed three ways.

A :class:`View` says which columns group its rows and what is summed or counted in them. From it follow
- :func:`exact`: the table as a plain batch computation over ``records``, the definition of the figure;
- :func:`provisional`: the aggregate query's running figures, for all views of all streams at once;
- what a batch adds, for the archive's ledger (``headwater.counting``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from headwater.contracts.base import FieldSpec, Kind, Table
from headwater.money import MONEY_UNITS

SQL_TYPES = {
    Kind.TEXT: "STRING",
    Kind.WHOLE: "BIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.MONEY: "DECIMAL(18,4)",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIME: "TIMESTAMP",
    Kind.TEXTS: "ARRAY<STRING>",
}
"""A contract's kinds as Spark's types."""

Expression = Callable[[], Column]
"""A column made when it is asked for: a declaration at import time needs no session."""


@dataclass(frozen=True)
class View:
    """A table whose rows are sums and distinct counts of the records that share a key."""

    table: Table
    keys: Mapping[str, Expression]
    """The key's columns beside ``window_start``; each is text and never null."""
    sums: Mapping[str, Expression]
    """Whole or money columns of the table: what a record adds to them."""
    distinct: Mapping[str, Expression] = field(default_factory=dict)
    """Counts of different texts: a record's text, null where it doesn't count."""
    window: str | None = None
    """The length of a window, in Spark's words (``1 minute``), where the table is windowed."""
    ratios: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Columns that are one of the row's columns over another; null where the other is 0."""

    @cached_property
    def columns(self) -> tuple[FieldSpec, ...]:
        return self.table.fields

    def is_money(self, column: str) -> bool:
        return any(c.name == column and c.kind is Kind.MONEY for c in self.columns)

    def key_columns(self) -> list[Column]:
        start = [window_start(self.window).alias("window_start")] if self.window else []
        return [*start, *(make().alias(name) for name, make in self.keys.items())]

    def key_names(self) -> list[str]:
        return (["window_start"] if self.window else []) + list(self.keys)


def window_start(length: str) -> Column:
    """The start of the tumbling window, aligned to the epoch, that an event falls into.

    By arithmetic: of ``F.window`` a query can have one length only.
    """
    micros = F.unix_micros("event_time")
    width = window_length(length) // timedelta(microseconds=1)
    return F.timestamp_micros(micros - F.pmod(micros, F.lit(width)))


def window_length(words: str) -> timedelta:
    """``10 seconds`` as a length of time."""
    number, unit = words.split()
    return timedelta(**{unit if unit.endswith("s") else unit + "s": int(number)})


def once(records: DataFrame) -> DataFrame:
    """Records -> the first of each ``event_id`` in Kafka's order: by partition, then offset."""
    first = Window.partitionBy("event_id").orderBy("partition", "offset")
    return records.withColumn("nth", F.row_number().over(first)).where("nth = 1").drop("nth")


def exact(records: DataFrame, view: View) -> DataFrame:
    """Records (repeats and all) -> the view's table, less ``is_final``: its definition, in one batch."""
    return _finished(
        once(records)
        .groupBy(*view.key_columns())
        .agg(
            *[F.sum(make()).alias(name) for name, make in view.sums.items()],
            *[F.count_distinct(make()).alias(name) for name, make in view.distinct.items()],
        ),
        view,
    )


def shared(rows: DataFrame, views: Sequence[View], slots: Slots, lateness: str) -> DataFrame:
    """Rows -> each with ``shares``, its part in every view, all of one shape.

    That shape is what lets the views of all streams share one aggregation: ``kind``, ``window_start``
    and ``expires`` (null without a window), ``keys`` (array of text), ``sum_0`` ... (whole units) and
    ``text_0`` ... (to be counted once).
    """
    return rows.withColumn("shares", F.array(*[_share(view, slots, lateness) for view in views]))


@dataclass(frozen=True)
class Slots:
    """How many sums and distinct counts the widest of several views has."""

    sums: int
    texts: int

    @classmethod
    def of(cls, views: Sequence[View]) -> Slots:
        return cls(max(len(view.sums) for view in views), max(len(view.distinct) for view in views))

    def sum_names(self) -> list[str]:
        return [f"sum_{i}" for i in range(self.sums)]

    def text_names(self) -> list[str]:
        return [f"text_{i}" for i in range(self.texts)]


def provisional(shares: DataFrame, slots: Slots) -> DataFrame:
    """Exploded shares -> a row for each kind and key, distinct counts approximate (5 % standard error).

    More exact ones are dear: at 2 % a row of the state has 410 columns instead of 52, and Spark generates
    code for each of them in every task.
    """
    return shares.groupBy("stream", "kind", "window_start", "expires", "keys").agg(
        *[F.try_sum(name).alias(name) for name in slots.sum_names()],
        *[F.approx_count_distinct(name).alias(name) for name in slots.text_names()],
        F.max("kafka_timestamp").alias("as_of"),
    )


def named(view: View) -> dict[str, Column]:
    """The columns of a provisional row under the view's own names, in the contract's types."""
    values: dict[str, Column] = {name: F.col("keys")[i] for i, name in enumerate(view.keys)}
    for i, name in enumerate(view.sums):
        values[name] = F.col(f"sum_{i}") / F.lit(MONEY_UNITS) if view.is_money(name) else F.col(f"sum_{i}")
    values |= {name: F.col(f"text_{i}") for i, name in enumerate(view.distinct)}
    kinds = {c.name: c.kind for c in view.columns}
    return {name: value.try_cast(SQL_TYPES[kinds[name]]) for name, value in values.items()}


def _present(view: View, rows: DataFrame) -> list[FieldSpec]:
    return [column for column in view.columns if column.name in rows.columns]


def ratio(over: Column, under: Column) -> Column:
    """One column over another, null where that is 0."""
    return F.when(under != 0, over / under)


def units(view: View, name: str) -> Column:
    """What a record adds to a sum, in whole units (money: ten-thousandths), so that adding is exact and cheap."""
    amount = view.sums[name]()
    return (amount * MONEY_UNITS if view.is_money(name) else amount).try_cast("BIGINT")


def _finished(rows: DataFrame, view: View) -> DataFrame:
    """Adds the window's end and the derived columns, in the contract's types and order."""
    if view.window:
        rows = rows.withColumn("window_end", F.col("window_start") + F.expr(f"INTERVAL {view.window}"))
    # Sums in their own types first: of wider ones Spark rounds the ratio before we do.
    rows = rows.withColumns({c.name: F.col(c.name).try_cast(SQL_TYPES[c.kind]) for c in _present(view, rows)})
    rows = rows.withColumns({name: ratio(F.col(a), F.col(b)) for name, (a, b) in view.ratios.items()})
    return rows.select(*[F.col(c.name).try_cast(SQL_TYPES[c.kind]).alias(c.name) for c in _present(view, rows)])


def _share(view: View, slots: Slots, lateness: str) -> Column:
    never = F.lit(None).cast("timestamp")
    start = window_start(view.window) if view.window else never
    sums = [units(view, name) for name in view.sums]
    texts = [make() for make in view.distinct.values()]
    return F.struct(
        F.lit(view.table.name).alias("kind"),
        start.alias("window_start"),
        (_expiry(start, view.window, lateness) if view.window else never).alias("expires"),
        F.array(*[make() for make in view.keys.values()]).cast("array<string>").alias("keys"),
        *[_slot(sums, i).cast("BIGINT").alias(f"sum_{i}") for i in range(slots.sums)],
        *[_slot(texts, i).cast("STRING").alias(f"text_{i}") for i in range(slots.texts)],
    )


def _slot(values: list[Column], i: int) -> Column:
    return values[i] if i < len(values) else F.lit(None)


def _expiry(start: Column, length: str, lateness: str) -> Column:
    """When, by Kafka's clock, a window's state may go: a fixed time, so that its rows stay one group.

    A row that is later than that (recorded data, mostly) joins a group of its window that lasts to the
    end of the day in which it came.
    """
    end = start + F.expr(f"INTERVAL {length}") + F.expr(f"INTERVAL {lateness}")
    day_of_arrival = F.date_trunc("day", "kafka_timestamp") + F.expr("INTERVAL 1 DAY")
    return F.when(F.col("kafka_timestamp") <= end, end).otherwise(day_of_arrival)
