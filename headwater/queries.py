"""The queries as pure functions of what came in."""

from __future__ import annotations

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
    is_valid = F.size("reasons") == 0
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
) -> DataFrame:
    """Each stream's checked messages -> what its valid records bring, in one table."""
    return together({stream: brought(valid(own), views[stream], folds[stream]) for stream, own in rows.items()})


def together(rows: Mapping[Stream, DataFrame]) -> DataFrame:
    """The rows of several streams in one table, so that one Spark job gives all of them: ``stream``, and each one's own
    columns as ``<stream>/<column>``, null in the others' rows. :func:`rows_of` takes them apart.
    """
    parts = []
    for stream, own in rows.items():
        named = [F.col(f"`{name}`").alias(_prefix(stream) + name) for name in own.columns]
        parts.append(own.select(F.lit(stream.name).alias("stream"), *named))
    return reduce(lambda some, more: some.unionByName(more, allowMissingColumns=True), parts)


def rows_of(stream: Stream, rows: pa.Table) -> pa.Table:
    """A stream's rows out of :func:`together`'s, pulled out of Spark."""
    mine, prefix = rows.filter(pc.equal(rows["stream"], stream.name)), _prefix(stream)
    names = [name for name in rows.column_names if name.startswith(prefix)]
    return mine.select(names).rename_columns([name.removeprefix(prefix) for name in names])


def _prefix(stream: Stream) -> str:
    return f"{stream.name}/"
