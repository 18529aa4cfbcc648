"""Tables that are sums and distinct counts over keys, declared once.

A :class:`View` says which columns group its rows and what is summed or counted in them. From it follow
- :func:`exact`: the table as a plain batch computation over ``records``, the definition of the figure;
- what a batch brings, for the aggregate's and the archive's ledgers (``headwater.counting``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    Kind.WHOLES: "ARRAY<BIGINT>",
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
