"""The live and the aggregate query as pure functions of what came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import Kind, Stream
from headwater.counting import MARK, OWN, brought
from headwater.folds import Fold
from headwater.quality import POSITION, checked, rejected_columns, valid
from headwater.views import View

_JSON = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "ignoreNullFields": "true"}


def live(messages: Mapping[Stream, DataFrame]) -> DataFrame:
    """Each stream's messages -> ``topic``, ``key``, ``value``: valid records go to its live topic.

    Stateless, and of built-in expressions only, so that it runs in real-time mode.
    """
    parts = [_live_of(stream, source) for stream, source in messages.items()]
    return reduce(DataFrame.unionByName, parts)


def _live_of(stream: Stream, messages: DataFrame) -> DataFrame:
    """One pass over the messages: a row goes to one of two topics."""
    rows = checked(messages, stream)
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
    messages: Mapping[Stream, DataFrame],
    views: Mapping[Stream, Sequence[View]],
    folds: Mapping[Stream, Fold[Any] | None],
) -> DataFrame:
    """Each stream's messages -> what its valid records bring, side by side in one table: ``stream``, what every row has
    (:data:`headwater.counting.OWN`), and each stream's own columns as ``<stream>/<column>``, null in the others' rows.
    """
    parts = []
    for stream, source in messages.items():
        rows = brought(valid(checked(source, stream)), views[stream], folds[stream])
        named = [F.col(f"`{n}`").alias(n if n in OWN else f"{stream.name}{MARK}{n}") for n in rows.columns]
        parts.append(rows.select(F.lit(stream.name).alias("stream"), *named))
    return reduce(lambda some, more: some.unionByName(more, allowMissingColumns=True), parts)
