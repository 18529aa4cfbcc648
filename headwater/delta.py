"""The Delta tables: created, appended to, corrected row by row, and read without Spark.

A MERGE of some hundred rows costs Spark seconds and delta-rs some 30 ms, an append seconds against some 50 ms; and
the two share their tables (``docs/decisions/0003-delta-rs.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError

from headwater.contracts.base import (
    MONEY_DECIMALS,
    MONEY_DIGITS,
    FieldSpec,
    Kind,
    Rejected,
    Row,
    Stream,
    Table,
    fields_of,
    records_row,
)

_MERGED_FILE_BYTES = 1024 * 1024
"""A merge rewrites the files that it touches: small ones keep its cost from growing with the table."""

ARROW_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.WHOLE: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.MONEY: pa.decimal128(MONEY_DIGITS, MONEY_DECIMALS),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIME: pa.timestamp("us", "UTC"),
    Kind.TEXTS: pa.list_(pa.string()),
    Kind.WHOLES: pa.list_(pa.int64()),
}


def arrow_schema(fields: Sequence[FieldSpec]) -> pa.Schema:
    """A contract's fields as Arrow's columns."""
    return pa.schema([(field.name, ARROW_TYPES[field.kind]) for field in fields])


def row_of(stream: Stream, table: str) -> type[Row]:
    """The model of a row of any of a stream's tables, ``records`` and ``rejected`` included."""
    match table:
        case "records":
            return records_row(stream)
        case "rejected":
            return Rejected
        case _:
            return stream.table(table).row


def fields_of_table(stream: Stream, table: str) -> tuple[FieldSpec, ...]:
    """The columns of any of a stream's tables, in their order."""
    return fields_of(row_of(stream, table)) if table in ("records", "rejected") else stream.table(table).fields


def create_tables(stream: Stream, folder: Path) -> None:
    """Makes those of a stream's tables that aren't there, empty, so that whoever reads early finds them."""
    for name in ("records", "rejected"):
        _create(folder / name, arrow_schema(fields_of_table(stream, name)), {})
    for table in stream.tables:
        _create(folder / table.name, arrow_schema(table.fields), {"delta.targetFileSize": str(_MERGED_FILE_BYTES)})


def _create(path: Path, schema: pa.Schema, configuration: dict[str, str | None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    DeltaTable.create(str(path), schema, mode="ignore", configuration=configuration)


def last_batch(path: Path, application: str) -> int:
    """The number of the last batch that was appended to a table; 0 where there is none."""
    try:
        return DeltaTable(str(path)).transaction_version(application) or 0
    except TableNotFoundError:
        return 0


def append(path: Path, rows: pa.Table, application: str, number: int) -> None:
    """Appends a batch under its number, unless it has been appended already. Columns that are new are added."""
    table = DeltaTable(str(path))
    if (table.transaction_version(application) or 0) < number:
        properties = CommitProperties(app_transactions=[Transaction(application, number)])
        write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=properties)


def columns(path: Path, names: list[str]) -> pa.Table:
    """Some columns of a whole table."""
    return DeltaTable(str(path)).to_pyarrow_table(columns=names)


def undo_last_append(path: Path) -> None:
    """Takes back a table's last commit."""
    table = DeltaTable(str(path))
    table.restore(table.version() - 1)


def correct(
    path: Path,
    table: Table,
    rows: list[dict[str, Any]],
    gone: list[dict[str, Any]],
    since: datetime | None = None,
) -> None:
    """Puts rows in the place of those with the same key, or beside them; takes away the ``gone`` ones.

    Doing it again changes nothing. ``gone`` needs the key's columns only. None of the rows that are to be replaced
    has a ``table.time`` before ``since``: files of older rows aren't even opened.
    """
    schema = arrow_schema(table.fields)
    source = pa.concat_tables(
        [
            pa.Table.from_pylist(part, schema).append_column("is_gone", pa.array([flag] * len(part), pa.bool_()))
            for part, flag in ((rows, False), (gone, True))
        ]
    )
    everything = {field.name: f"source.{field.name}" for field in table.fields}
    (
        DeltaTable(str(path))
        .merge(source, predicate=_same_row(table, rows + gone, since), source_alias="source", target_alias="target")
        .when_matched_delete("source.is_gone")
        .when_matched_update(everything, "NOT source.is_gone")
        .when_not_matched_insert(everything, "NOT source.is_gone")
        .execute()
    )


def _same_row(table: Table, rows: list[dict[str, Any]], since: datetime | None) -> str:
    """The key's equality, and the range of time that the rows lie in, so that other files aren't even opened."""
    equal = [f"target.{key} = source.{key}" for key in table.key]
    if table.windowed:
        starts = [row["window_start"] for row in rows]
        equal += [
            f"target.window_start >= '{min(starts).isoformat()}'",
            f"target.window_start <= '{max(starts).isoformat()}'",
        ]
    if table.time and since:
        equal.append(f"target.{table.time} >= '{since.isoformat()}'")
    return " AND ".join(equal)
