"""The queries as pure functions of what came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from headwater.contracts.base import FieldSpec, Kind, Stream
from headwater.counting import brought
from headwater.folds import Fold
from headwater.limits import Sql
from headwater.quality import POSITION, rejected_columns, valid
from headwater.views import View

_JSON = """map('timestampFormat', "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", 'ignoreNullFields', 'true')"""

_NOW = "timestamp_millis(CAST(reflect('java.lang.System', 'currentTimeMillis') AS BIGINT))"
"""The time at which a row is written. ``current_timestamp()`` stands still in real-time mode, and as a constant of each
batch it has Spark compile the whole projection anew for each.
"""


def live(rows: Mapping[Stream, DataFrame]) -> DataFrame:
    """Each stream's checked messages -> ``topic``, ``key``, ``value``: valid records go to its live topic.

    Stateless, and of built-in expressions only, so that it runs in real-time mode.
    """
    parts = [_live_of(stream, own) for stream, own in rows.items()]
    return reduce(DataFrame.unionByName, parts)


def _live_of(stream: Stream, rows: DataFrame) -> DataFrame:
    """One pass over the rows: each goes to one of two topics."""
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
            filled = {slot: f"`{name}`" for name, (slot, _) in self._slots[stream].items()}
            columns = [
                f"{filled.get(slot, f'CAST(NULL AS {kind})')} AS `{slot}`" for slot, kind in sorted(types.items())
            ]
            parts.append(own.selectExpr(f"'{stream.name}' AS stream", *columns))
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
