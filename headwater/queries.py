"""The queries as pure functions of what came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import FieldSpec, Kind, Stream
from headwater.limits import Sql
from headwater.quality import POSITION, checked, plain, rejected_columns, valid

_JSON = """map('timestampFormat', "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", 'ignoreNullFields', 'true')"""

_NOW = "timestamp_millis(CAST(reflect('java.lang.System', 'currentTimeMillis') AS BIGINT))"
"""The time at which a row is written. ``current_timestamp()`` stands still in real-time mode, and as a constant of each
batch it has Spark compile the whole projection anew for each.
"""


def live(rows: DataFrame, stream: Stream) -> DataFrame:
    """A stream's checked messages -> ``topic``, ``key``, ``value``: valid records go to its live topic, others to that
    of rejected ones. One pass over the rows.

    Stateless, and of built-in expressions only, so that it runs in real-time mode.
    """
    good = _object([*map(_spelled, stream.fields), "flags", "parse_json(extra) AS extra", *POSITION])
    rejects = {**rejected_columns(stream), "rejected_at": _NOW}
    bad = _object([f"{value} AS {name}" for name, value in rejects.items()])
    return rows.selectExpr(
        f"IF(is_valid, '{stream.live_topic}', '{stream.rejected_topic}') AS topic",
        f"IF(is_valid, `{stream.key}`, concat_ws('-', topic, partition, offset)) AS key",
        f"IF(is_valid, {good}, {bad}) AS value",
    )


def _object(columns: Sequence[Sql]) -> Sql:
    """Columns as a JSON object, without those that are null."""
    return f"to_json(struct({', '.join(columns)}), {_JSON})"


def _spelled(field: FieldSpec) -> Sql:
    """A field as JSON spells it: money as text."""
    value = f"CAST(`{field.name}` AS STRING)" if field.kind is Kind.MONEY else f"`{field.name}`"
    return f"{value} AS `{field.name}`"


class Together:
    """What several streams' messages come to, in one table, so that one Spark job gives all of them.

    Its columns are ``stream`` and as many of each type as the stream has that has most of it; each stream fills some.
    Columns of their own for each stream would be four times as many, nearly all of them null in a row, and what a
    small batch costs goes by their number (``docs/decisions/0060-fewer-columns.md``).

    For the same reason its plan holds the short way through the check alone. What is not plainly good comes along as
    it is, and is judged by a small job of its own, where there is any
    (``docs/decisions/0061-a-short-way-for-good-records.md``).
    """

    def __init__(
        self,
        messages: Mapping[Stream, DataFrame],
        columns: Mapping[Stream, Mapping[str, Column]],
        *,
        rejects: bool,
        tasks: int | None = None,
    ) -> None:
        """``columns``: what is asked of each checked record, by stream and name; ``rejects``: of rejected ones too;
        ``tasks``: how many share the topics' partitions, one each where it is None.
        """
        self._columns = columns
        self._rejects = rejects
        rows = {stream: _plain_or_odd(own, stream, columns[stream]) for stream, own in messages.items()}
        self._slots = {stream: _slots(own) for stream, own in rows.items()}
        types = {slot: kind for slots in self._slots.values() for slot, kind in slots.values()}
        parts = []
        for stream, own in rows.items():
            filled = {slot: f"`{name}`" for name, (slot, _) in self._slots[stream].items()}
            columns_of_all = [
                f"{filled.get(slot, f'CAST(NULL AS {kind})')} AS `{slot}`" for slot, kind in sorted(types.items())
            ]
            parts.append(own.selectExpr(f"'{stream.name}' AS stream", *columns_of_all))
        frame = reduce(DataFrame.union, parts)
        self.frame = frame.coalesce(tasks) if tasks else frame

    def rows_of(self, stream: Stream, rows: pa.Table) -> pa.Table:
        """A stream's rows out of :attr:`frame`'s, pulled out of Spark, under the names that were asked for."""
        mine = rows.filter(pc.equal(rows["stream"], stream.name))
        own = pa.table({name: mine[slot] for name, (slot, _) in self._slots[stream].items()})
        odd = own["odd"].drop_null()
        if not len(odd):
            return own.drop_columns("odd")
        good = own.filter(pc.is_null(own["odd"])).drop_columns("odd")
        return pa.concat_tables([good, self._judged(stream, odd)])

    def _judged(self, stream: Stream, odd: pa.ChunkedArray) -> pa.Table:
        messages = pa.Table.from_struct_array(odd).append_column("topic", pa.array([stream.raw_topic] * len(odd)))
        spark = self.frame.sparkSession
        rows = checked(spark.createDataFrame(messages).coalesce(1), stream)
        judged = (rows if self._rejects else valid(rows)).select(*_named(self._columns[stream])).toArrow()
        return pa.table(
            {name: judged[name] for name in judged.column_names}
        )  # as if all could be null, like the others


_ODD = """IF(is_valid, NULL,
    struct(raw AS value, `partition`, `offset`, kafka_timestamp AS `timestamp`)) AS odd"""
"""A message that is not plainly good, as it came."""


def _plain_or_odd(messages: DataFrame, stream: Stream, columns: Mapping[str, Column]) -> DataFrame:
    return plain(messages, stream).select(*_named(columns), F.expr(_ODD))


def _named(columns: Mapping[str, Column]) -> list[Column]:
    return [column.alias(name) for name, column in columns.items()]


def _slots(rows: DataFrame) -> dict[str, tuple[str, str]]:
    """By column, which of its type's it is, and the type."""
    counts: Counter[str] = Counter()
    slots = {}
    for name, kind in rows.dtypes:
        slots[name] = (f"{kind}:{counts[kind]:02d}", kind)
        counts[kind] += 1
    return slots
