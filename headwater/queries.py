"""The live and the aggregate query: what goes out to Kafka, as pure functions of what came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import Kind, Stream
from headwater.quality import POSITION, checked, rejected_columns, valid
from headwater.views import Slots, View, named, provisional, ratio, shared

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
    bad = F.to_json(F.struct(*rejected_columns(stream, now())), _JSON)
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
    *,
    watermark_seconds: int,
    dedupe_seconds: int,
) -> DataFrame:
    """Each stream's messages -> ``topic``, ``key``, ``value`` of the rows that changed, for its processed topic.

    One aggregation for all views of all streams. Its watermark runs on Kafka's own clock: on event time,
    ``dropDuplicatesWithinWatermark`` would lose late events silently. A repeat of an event is known
    again for ``dedupe_seconds``; the archive knows it for ever.
    """
    slots = Slots.of([view for of_stream in views.values() for view in of_stream])
    parts = [
        shared(valid(checked(source, stream)), views[stream], slots, f"{watermark_seconds} SECONDS").select(
            F.lit(stream.name).alias("stream"), "event_id", "kafka_timestamp", "shares"
        )
        for stream, source in messages.items()
    ]
    watermark = f"{dedupe_seconds} seconds"
    shares = (
        reduce(DataFrame.unionByName, parts)
        .withWatermark("kafka_timestamp", watermark)
        .dropDuplicatesWithinWatermark(["stream", "event_id"])
        .select("stream", "kafka_timestamp", F.explode("shares").alias("share"))
        .select("stream", "kafka_timestamp", "share.*")
        .withColumn("expires", _on_watermark("expires", dedupe_seconds))
    )
    totals = provisional(shares, slots)
    return totals.select(
        _choose(views, lambda stream, _: F.lit(stream.processed_topic)).alias("topic"),
        _choose(views, lambda _, view: _key(view)).alias("key"),
        _choose(views, lambda _, view: _value(view)).alias("value"),
    )


def _on_watermark(column: str, delay_seconds: int) -> Column:
    """Lets the watermark, which runs on ``kafka_timestamp``, end the groups that ``column`` is part of.

    Spark knows the column whose state it may drop by this metadata alone, and ``expires`` is set on
    the same clock (``docs/decisions/0004-one-watermark.md``).
    """
    return F.col(column).alias(column, metadata={"spark.watermarkDelayMs": delay_seconds * 1000})


def _choose(views: Mapping[Stream, Sequence[View]], make: Callable[[Stream, View], Column]) -> Column:
    """One expression a stream and kind."""
    choice: Column | None = None
    for stream, of_stream in views.items():
        for view in of_stream:
            here = (F.col("stream") == stream.name) & (F.col("kind") == view.table.name)
            choice = F.when(here, make(stream, view)) if choice is None else choice.when(here, make(stream, view))
    assert choice is not None
    return choice


def _key(view: View) -> Column:
    """``<kind>:<id>``, spelled as :meth:`headwater.contracts.base.Table.id_of` spells it."""
    start = F.date_format("window_start", "yyyy-MM-dd'T'HH:mm:ss'Z'")
    parts = {name: F.col("keys")[i] for i, name in enumerate(view.keys)} | {"window_start": start}
    return F.concat(F.lit(f"{view.table.name}:"), F.concat_ws("|", *[parts[name] for name in view.table.key]))


def _value(view: View) -> Column:
    columns = named(view)
    if view.window:
        end = F.col("window_start") + F.expr(f"INTERVAL {view.window}")
        columns |= {"window_start": F.col("window_start"), "window_end": end, "is_final": F.lit(False)}
    for name, (over, under) in view.ratios.items():
        columns[name] = ratio(columns[over], columns[under]).try_cast(
            "DECIMAL(18,4)" if view.is_money(name) else "DOUBLE"
        )
    spelled = [
        (columns[c.name].cast("string") if c.kind is Kind.MONEY else columns[c.name]).alias(c.name)
        for c in view.columns
    ]
    return F.to_json(
        F.struct(
            F.lit(view.table.name).alias("kind"),
            now().alias("updated_at"),
            "as_of",
            F.lit("aggregate").alias("source"),
            *spelled,
        ),
        {**_JSON, "ignoreNullFields": "false"},
    )
