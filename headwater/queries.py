"""The queries as pure functions of what came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import Kind, Stream
from headwater.counting import brought
from headwater.folds import Fold
from headwater.quality import POSITION, rejected_columns, valid
from headwater.views import View

_JSON = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "ignoreNullFields": "true"}


def live(rows: Mapping[Stream, DataFrame]) -> DataFrame:
    """Each stream's checked messages -> ``topic``, ``key``, ``value``: valid records go to its live topic.

    Stateless, and of built-in expressions only, so that it runs in real-time mode.
    """
    parts = [_live_of(stream, own) for stream, own in rows.items()]
    return reduce(DataFrame.unionByName, parts)


def _live_of(stream: Stream, rows: DataFrame) -> DataFrame:
    """One pass over the rows: each goes to one of two topics."""
    is_valid = F.col("is_valid")
    good = F.to_json(F.struct(*_spelled(stream), "flags", F.parse_json("extra").alias("extra"), *POSITION), _JSON)
    rejects = {**rejected_columns(stream), "rejected_at": now()}
    bad = F.to_json(F.struct(*[column.alias(name) for name, column in rejects.items()]), _JSON)
    return rows.select(
        F.when(is_valid, stream.live_topic).otherwise(stream.rejected_topic).alias("topic"),
        F.when(is_valid, F.col(stream.key)).otherwise(F.concat_ws("-", "topic", "partition", "offset")).alias("key"),
        F.when(is_valid, good).otherwise(bad).alias("value"),
    )


def now() -> Column:
    """The time at which a row is written.

    ``current_timestamp()`` stands still in real-time mode, and as a constant of each batch it has Spark
    compile the whole projection anew for each.
    """
    millis = F.reflect(F.lit("java.lang.System"), F.lit("currentTimeMillis"))
    return F.timestamp_millis(millis.cast("BIGINT"))


def _spelled(stream: Stream) -> list[Column]:
    """The record's fields as JSON spells them: money as text."""
    return [
        F.col(field.name).cast("string").alias(field.name) if field.kind is Kind.MONEY else F.col(field.name)
        for field in stream.fields
    ]


def aggregate(
    rows: Mapping[Stream, DataFrame],
    views: Mapping[Stream, Sequence[View]],
    folds: Mapping[Stream, Fold[Any] | None],
) -> Together:
    """Each stream's checked messages -> what its valid records bring, in one table."""
    return Together({stream: brought(valid(own), views[stream], folds[stream]) for stream, own in rows.items()})


class Together:
    """The rows of several streams in one table, so that one Spark job gives all of them.

    Its columns are ``stream`` and as many of each type as the stream has that has most of it; each stream fills some.
    Columns of their own for each stream would be four times as many, nearly all of them null in a row, and what a
    small batch costs goes by their number (``docs/decisions/0060-fewer-columns.md``).
    """

    def __init__(self, rows: Mapping[Stream, DataFrame]) -> None:
        self._slots = {stream: _slots(own) for stream, own in rows.items()}
        types = {slot: kind for slots in self._slots.values() for slot, kind in slots.values()}
        parts = []
        for stream, own in rows.items():
            filled = {slot: F.col(f"`{name}`") for name, (slot, _) in self._slots[stream].items()}
            columns = [filled.get(slot, F.lit(None).cast(kind)).alias(slot) for slot, kind in sorted(types.items())]
            parts.append(own.select(F.lit(stream.name).alias("stream"), *columns))
        self.frame = reduce(DataFrame.union, parts)

    def rows_of(self, stream: Stream, rows: pa.Table) -> pa.Table:
        """A stream's rows out of :attr:`frame`'s, pulled out of Spark, under the names that they came with."""
        mine = rows.filter(pc.equal(rows["stream"], stream.name))
        return pa.table({name: mine[slot] for name, (slot, _) in self._slots[stream].items()})


def _slots(rows: DataFrame) -> dict[str, tuple[str, str]]:
    """By column, which of its type's it is, and the type."""
    counts: Counter[str] = Counter()
    slots = {}
    for name, kind in rows.dtypes:
        slots[name] = (f"{kind}:{counts[kind]:02d}", kind)
        counts[kind] += 1
    return slots
