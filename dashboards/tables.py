"""Reads a page of a Delta table, newest rows first, at a cost that follows the page and not the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# Loaded with the app though a first request would do: a dataset brings pandas along, and Plotly, at work in
# another thread, stumbles over a pandas that is half loaded.
import pandas as pd  # noqa: F401
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError


@dataclass(frozen=True)
class Page:
    """`limit` rows after the first `offset`, in descending `order`, within two times where they are given.

    ``equal``: what some of the columns are to be, by their names.
    """

    columns: tuple[str, ...]
    order: tuple[str, ...]
    limit: int
    offset: int = 0
    time_column: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    equal: Mapping[str, str] = field(default_factory=dict)


def read_page(path: Path, page: Page) -> list[dict[str, Any]]:
    """The rows of a page; none where there is no table yet.

    Files are opened by their greatest first order column, as the Delta log knows it, and no further once the
    page is full with rows greater than anything in the files left: of a big `records` a few files are read.
    """
    try:
        table = DeltaTable(str(path))
    except TableNotFoundError:
        return []
    dataset = table.to_pyarrow_dataset()
    present = [column for column in page.columns if column in dataset.schema.names]
    order = [column for column in page.order if column in dataset.schema.names]
    wanted = page.offset + page.limit
    bounds = _wanted(page)
    held: pa.Table | None = None
    for fragment, greatest in _by_greatest(table, dataset, order[0], bounds):
        if held is not None and held.num_rows >= wanted and greatest is not None:
            least = held.column(order[0])[wanted - 1].as_py()
            if least is not None and greatest < least:
                break
        found = fragment.to_table(
            schema=dataset.schema,
            columns=list(dict.fromkeys([*present, *order])),
            filter=bounds,
        )
        joined = found if held is None else pa.concat_tables([held, found])
        held = joined.sort_by([(column, "descending") for column in order]).slice(0, wanted)
    return [] if held is None else held.slice(page.offset).select(present).to_pylist()


def read_columns(
    path: Path, columns: tuple[str, ...], time_column: str, since: datetime | None, until: datetime | None
) -> pa.Table | None:
    """Some columns of all rows within two times; none where there is no table yet."""
    try:
        dataset = DeltaTable(str(path)).to_pyarrow_dataset()
    except TableNotFoundError:
        return None
    return dataset.to_table(columns=list(columns), filter=_between(time_column, since, until))


def _wanted(page: Page) -> ds.Expression | None:
    """The condition that a page sets, if any."""
    times = _between(page.time_column, page.since, page.until) if page.time_column else None
    # Files that delta-rs merged hold views of text, which Arrow compares with no text unless they are cast.
    terms = [pc.field(column).cast(pa.string()) == value for column, value in page.equal.items()]
    terms += [] if times is None else [times]
    return reduce(and_, terms) if terms else None


def batches(
    path: Path, columns: tuple[str, ...], time_column: str, since: datetime, until: datetime
) -> Iterator[pa.RecordBatch]:
    """Some columns of all rows within two times, a piece after the other; none where there is no table yet."""
    try:
        dataset = DeltaTable(str(path)).to_pyarrow_dataset()
    except TableNotFoundError:
        return
    yield from dataset.to_batches(columns=list(columns), filter=_between(time_column, since, until))


def _between(column: str, since: datetime | None, until: datetime | None) -> ds.Expression | None:
    """From `since`, up to and not including `until`."""
    expression: ds.Expression | None = None
    if since is not None:
        expression = pc.field(column) >= pa.scalar(since, pa.timestamp("us", "UTC"))
    if until is not None:
        before = pc.field(column) < pa.scalar(until, pa.timestamp("us", "UTC"))
        expression = before if expression is None else expression & before
    return expression


def _by_greatest(
    table: DeltaTable, dataset: ds.Dataset, column: str, bounds: ds.Expression | None
) -> Iterator[tuple[ds.Fragment, Any]]:
    """The table's files, those with the greatest values first; files without statistics before all others."""
    actions = pa.table(table.get_add_actions(flatten=True))
    name = f"max.{column}"
    greatest: dict[str, Any] = {}
    if name in actions.schema.names:
        greatest = dict(
            zip(map(unquote, actions.column("path").to_pylist()), actions.column(name).to_pylist(), strict=True)
        )
    fragments = [(fragment, _value(greatest, fragment.path)) for fragment in dataset.get_fragments(filter=bounds)]
    known = [pair for pair in fragments if pair[1] is not None]
    yield from (pair for pair in fragments if pair[1] is None)
    yield from sorted(known, key=lambda pair: pair[1], reverse=True)


def _value(greatest: dict[str, Any], path: str) -> Any:
    """A fragment's path may be absolute or escaped where the log's is relative."""
    path = unquote(path)
    return greatest.get(path, greatest.get(Path(path).name))
