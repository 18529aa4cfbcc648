"""What a batch's records bring to the ledger: pulled out of Spark once, added up in Arrow.

Spark works out each record's keys, sums and texts; adding up a batch's worth of them takes Arrow milliseconds
where a shuffled Spark job takes tenths of a second, and every view and fold would need its own
(``docs/decisions/0008-counting-in-arrow.md``).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.folds import Fold
from headwater.ledger import PARTITION_SHIFT, Change, Sheet, partition_and_offset
from headwater.ledger import position as position_of
from headwater.money import saturated
from headwater.views import Expression, View, units, window_length, window_start

LARGEST_SUM = 2**63 - 1


def position() -> Column:
    """Where a record stood, as one integer in Kafka's order."""
    return F.shiftleft(F.col("partition").cast("BIGINT"), PARTITION_SHIFT) + F.col("offset")


def brought(records: DataFrame, views: Sequence[View], fold: Fold[Any] | None) -> DataFrame:
    """Valid records -> a row each: ``id`` (16 bytes for the event_id), ``position``, ``at`` and ``as_of`` (event time
    and Kafka's, in microseconds), and what they bring to the views and to the fold; :func:`named` tells it apart.
    """
    return records.select(*[column.alias(name) for name, column in brought_columns(views, fold).items()])


def brought_columns(views: Sequence[View], fold: Fold[Any] | None) -> dict[str, Column]:
    """The columns of :func:`brought` by name, from a valid record's."""
    columns = {
        "id": F.unhex(F.md5("event_id")),
        "position": position(),
        "at": F.unix_micros("event_time"),
        "as_of": F.unix_micros("kafka_timestamp"),
    }
    asked = _asked(views, fold)
    return columns | {name: asked[name].make() for name in _stands_under(asked).values()}


def named(rows: pa.Table, views: Sequence[View], fold: Fold[Any] | None) -> pa.Table:
    """Rows of :func:`brought` with a column for each view's and the fold's own, ``<view>:<column>``; none is copied."""
    own = {name: rows[name] for name in ("id", "position", "at", "as_of")}
    return pa.table(own | {name: rows[under] for name, under in _stands_under(_asked(views, fold)).items()})


class _Asked(NamedTuple):
    """A column that a view or the fold asks for."""

    same: Hashable
    """Columns of which this is equal are one: a plan is worked out anew for each batch, at a price for each column."""
    make: Expression


def _asked(views: Sequence[View], fold: Fold[Any] | None) -> dict[str, _Asked]:
    asked = {}
    for view in views:
        name = view.table.name
        if view.window:
            asked[f"{name}:window_start"] = _Asked(view.window, partial(_start, view.window))
        asked |= {f"{name}:{key}": _Asked(make, make) for key, make in view.keys.items()}
        for summed, make in view.sums.items():
            asked[f"{name}:{summed}"] = _Asked((make, view.is_money(summed)), partial(units, view, summed))
        asked |= {
            f"{name}:{counted}": _Asked((make,), partial(_digest, make)) for counted, make in view.distinct.items()
        }
    if fold:
        asked[f"{fold.name}:key"] = _Asked(fold.key, fold.key)
        asked |= {f"{fold.name}:{column}": _Asked(make, make) for column, make in fold.columns.items()}
    return asked


def _stands_under(asked: Mapping[str, _Asked]) -> dict[str, str]:
    """By a column's name, that of the first of those that are the same."""
    first: dict[Hashable, str] = {}
    return {name: first.setdefault(column.same, name) for name, column in asked.items()}


def _start(window: str) -> Column:
    return F.unix_micros(window_start(window))


def _digest(make: Expression) -> Column:
    """16 bytes that stand for a text."""
    return F.unhex(F.md5(make().cast("string")))


def ends_of(positions: pa.ChunkedArray) -> dict[int, int]:
    """By partition, the offset after the last of some positions."""
    stood = pa.table({"partition": pc.shift_right(positions, PARTITION_SHIFT), "position": positions})
    last = stood.group_by("partition").aggregate([("position", "max")])
    places = map(partition_and_offset, last["position_max"].to_pylist())
    return {partition: offset + 1 for partition, offset in places}


def fresh(rows: pa.Table, consumed: Mapping[int, int]) -> pa.Table:
    """The rows that stand at or after the position that was counted, by partition."""
    for partition, end in consumed.items():
        before = pc.and_(
            pc.equal(pc.shift_right(rows["position"], PARTITION_SHIFT), partition),
            pc.less(rows["position"], position_of(partition, end)),
        )
        rows = rows.filter(pc.invert(before))
    return rows


def without(rows: pa.Table, positions: Sequence[int]) -> pa.Table:
    """The rows that stood elsewhere."""
    return rows.filter(pc.invert(pc.is_in(rows["position"], pa.array(positions, pa.int64()))))


def sheet_of(view: View) -> Sheet:
    """A view as the ledger keeps it."""
    return Sheet(
        name=view.table.name,
        keys=tuple(view.key_names()),
        sums=tuple(view.sums),
        counts=tuple(view.distinct),
        window=window_length(view.window) if view.window else None,
    )


def change(view: View, rows: pa.Table, sign: int) -> Change:
    """What rows that are :func:`named` add to a view; with sign -1, what they take back."""
    sheet = sheet_of(view)
    own = rows.select([f"{sheet.name}:{c}" for c in (*sheet.keys, *sheet.sums, *sheet.counts)])
    own = own.rename_columns([*sheet.keys, *sheet.sums, *sheet.counts]).append_column("as_of", rows["as_of"])
    keys = list(sheet.keys)
    sums = own.select([*keys, *sheet.sums, "as_of"])
    for name in sheet.sums:
        sums = sums.set_column(sums.column_names.index(name), name, _summable(sums[name]))
    totals = sums.group_by(keys).aggregate(
        [*((name, "sum") for name in sheet.sums), ([], "count_all"), ("as_of", "max")]
    )
    partials = {key: totals[key] for key in keys}
    for name in sheet.sums:
        partials[name] = pa.array(
            [saturated(sign * int(total or 0)) for total in totals[f"{name}_sum"].to_pylist()], pa.int64()
        )
    partials["rows"] = pc.multiply(totals["count_all"], sign)
    partials["as_of"] = totals["as_of_max"]
    return Change(sheet, pa.table(partials), {name: _members(own, keys, name, sign) for name in sheet.counts})


def steps(fold: Fold[Any], rows: pa.Table, sign: int) -> pa.Table:
    """What rows that are :func:`named` are to the fold, as :meth:`headwater.folds.FoldBook.take` wants them."""
    named = {"key": rows[f"{fold.name}:key"], "at": rows["at"], "position": rows["position"], "as_of": rows["as_of"]}
    signs = pa.array([sign] * rows.num_rows, pa.int8())
    return pa.table({**named, "sign": signs, **{name: rows[f"{fold.name}:{name}"] for name in fold.columns}})


def _members(own: pa.Table, keys: list[str], name: str, sign: int) -> pa.Table:
    """Key, ``member`` (16 bytes for a text), ``n`` rows of it."""
    known = own.filter(pc.is_valid(own[name])).select([*keys, name])
    counted = known.group_by([*keys, name]).aggregate([([], "count_all")])
    columns = {key: counted[key] for key in keys}
    return pa.table({**columns, "member": counted[name], "n": pc.multiply(counted["count_all"], sign)})


def _summable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As it is where no sum of it can leave 64 bits; in wide decimals otherwise, which are slower."""
    ends = pc.min_max(values).as_py()
    largest = max(abs(ends["min"] or 0), abs(ends["max"] or 0))
    return values if largest * len(values) <= LARGEST_SUM else values.cast(pa.decimal128(38, 0))
