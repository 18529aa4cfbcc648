"""What the archive remembers of a stream, so that a batch costs the same whatever came before it.

The tables are functions of ``records``; the ledger holds just enough to bring them up to date by what a
batch adds: which ``event_id`` was counted and where it stood, the sums of every row of every table, and
which texts a distinct count has seen. It is one SQLite file, and a batch is one transaction in it: a kill
at any moment leaves a batch counted whole or not at all (``docs/decisions/0002-the-archive.md``).

It is an index, not a source: lost, it is built again from ``records``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from headwater.money import SATURATION

PARTITION_SHIFT = 48
"""A position is partition x 2^48 + offset: one integer, in Kafka's order."""

DAY_US = 86_400_000_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def position(partition: int, offset: int) -> int:
    """Where a message stands in its topic, as one integer."""
    return (partition << PARTITION_SHIFT) + offset


def partition_and_offset(position: int) -> tuple[int, int]:
    """What :func:`position` put together."""
    return position >> PARTITION_SHIFT, position & ((1 << PARTITION_SHIFT) - 1)


def moment(micros: int) -> datetime:
    """Microseconds since 1970 -> an aware time."""
    return EPOCH + timedelta(microseconds=micros)


def micros(time: datetime) -> int:
    """An aware time -> microseconds since 1970; unlike ``timestamp`` it is exact."""
    return (time - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Sheet:
    """A table as the ledger keeps it. Times are microseconds since 1970, sums whole units."""

    name: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    counts: tuple[str, ...]
    window: timedelta | None = None


@dataclass(frozen=True)
class Batch:
    """Messages to be counted as one: up to ``ends`` (exclusive, by partition), under a number of their own."""

    number: int
    ends: dict[int, int]


@dataclass(frozen=True)
class Verdict:
    """What the ``event_id`` of a batch's records say of them."""

    repeats: list[int]
    """Positions in the batch that count for nothing: their event was counted elsewhere."""
    displaced: list[int]
    """Positions counted earlier that the batch's own, earlier in Kafka's order, take back."""


@dataclass(frozen=True)
class Change:
    """What a batch adds to a sheet. Key columns come first in both, named and ordered as in the sheet."""

    sheet: Sheet
    partials: pa.Table
    members: dict[str, pa.Table]


_WAL_BYTES = 16 * 1024 * 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS consumed (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pending (partition INTEGER PRIMARY KEY, end INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (id BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS arrived (id BLOB NOT NULL, position INTEGER NOT NULL);
"""


class Ledger:
    """The ledger of one stream. One process writes it, one batch at a time."""

    def __init__(self, path: Path | str, sheets: Sequence[Sheet]) -> None:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._sheets = {sheet.name: sheet for sheet in sheets}
        # FULL: a batch that was told to be counted stays so through a power cut, not only a kill.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;" + _SCHEMA)
        # Of the WAL: it would stay as large as the largest transaction that ever was.
        self._db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}").fetchone()
        for sheet in sheets:
            self._db.executescript(_sheet_schema(sheet))

    @property
    def db(self) -> sqlite3.Connection:
        """For what else belongs into the ledger's transactions."""
        return self._db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or, whatever stops it, nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def size(self) -> dict[str, int]:
        """``bytes`` on the disk, and ``rows`` of all tables. It reads the whole of them: for now and then."""
        pages, page_bytes = (self._db.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "page_size"))
        tables = self._db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        rows = sum(self._db.execute(f'SELECT count(*) FROM main."{name}"').fetchone()[0] for (name,) in tables)
        return {"bytes": pages * page_bytes, "rows": rows}

    # -- batches

    def consumed(self) -> dict[int, int]:
        """By partition, the offset after the last message that was counted."""
        return dict(self._db.execute("SELECT partition, next FROM consumed"))

    def counters(self) -> dict[str, int]:
        """``batch`` (the last one's number), ``records``, ``rejected``, ``duplicates``, ``late``, ``clock``."""
        return dict(self._db.execute("SELECT name, value FROM counters"))

    def pending(self) -> Batch | None:
        """The batch that was begun and not counted: its tables may have been written already."""
        ends = dict(self._db.execute("SELECT partition, end FROM pending"))
        return self.next_batch(ends) if ends else None

    def begin(self, ends: dict[int, int]) -> Batch:
        """Notes what the next batch will hold, before any of it is written."""
        with self.transaction():
            self._db.executemany("INSERT INTO pending VALUES (?, ?)", ends.items())
        return self.next_batch(ends)

    def next_batch(self, ends: dict[int, int]) -> Batch:
        """Messages up to ``ends`` under the number after the last one counted."""
        return Batch(self.counters().get("batch", 0) + 1, ends)

    def start_from(self, begins: dict[int, int]) -> None:
        """Partitions of which nothing was counted yet begin there: what the topic held before was never ours."""
        with self.transaction():
            self._db.executemany("INSERT OR IGNORE INTO consumed VALUES (?, ?)", begins.items())

    def skip(self, begins: dict[int, int]) -> None:
        """Moves on to where some partitions begin now; what lay before and was not counted is ``lost``."""
        with self.transaction():
            for partition, begin in begins.items():
                self._db.execute(
                    "INSERT INTO counters SELECT 'lost', ? - next FROM consumed WHERE partition = ?"
                    " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                    (begin, partition),
                )
                self._db.execute("UPDATE consumed SET next = ? WHERE partition = ?", (begin, partition))

    def finish(self, batch: Batch, counts: dict[str, int], clock: int | None) -> None:
        """Within the batch's transaction: its messages are counted. ``clock``: its greatest event time."""
        self._db.executemany(
            "INSERT INTO consumed VALUES (?, ?) ON CONFLICT (partition) DO UPDATE SET next = excluded.next",
            batch.ends.items(),
        )
        self._db.execute("DELETE FROM pending")
        self._db.execute("INSERT OR REPLACE INTO counters VALUES ('batch', ?)", (batch.number,))
        self._db.executemany(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            counts.items(),
        )
        if clock is not None:
            self._db.execute(
                "INSERT INTO counters VALUES ('clock', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (clock,),
            )

    # -- events

    def judge(self, arrived: pa.Table, *, displaces: bool = True) -> Verdict:
        """Which records of a batch count. In: ``id`` (16 bytes that stand for the event_id), ``position``.

        Of an event's records the first in Kafka's order counts; unless ``displaces``, the first that came.
        """
        self._db.execute("DELETE FROM arrived")
        self._db.executemany("INSERT INTO arrived VALUES (?, ?)", _rows(arrived, ("id", "position")))
        self._db.execute("CREATE TEMP TABLE first AS SELECT id, min(position) AS position FROM arrived GROUP BY id")
        repeats = self._db.execute(
            "SELECT a.position FROM arrived a JOIN first f USING (id) LEFT JOIN events e USING (id)"
            f" WHERE a.position > f.position OR {'a.position > e.position' if displaces else 'e.position IS NOT NULL'}"
        )
        displaced = self._db.execute(
            "SELECT e.position FROM first f JOIN events e USING (id) WHERE f.position < e.position"
        )
        verdict = Verdict([p for (p,) in repeats], [p for (p,) in displaced])
        self._db.execute(
            "INSERT INTO events SELECT id, position FROM first WHERE true"
            " ON CONFLICT (id) DO UPDATE SET position = min(position, excluded.position)"
        )
        self._db.execute("DROP TABLE first")
        return verdict

    # -- sheets

    def add(self, change: Change) -> None:
        """Adds to the sums and distinct counts of a sheet's rows. What changes is marked as unpublished."""
        sheet, keys = change.sheet, ", ".join(change.sheet.keys)
        added = [*sheet.sums, "rows"]
        columns = (*sheet.keys, *added, "as_of")
        self._db.executemany(
            f"INSERT INTO {sheet.name} ({', '.join(columns)}) VALUES ({_marks(columns)})"
            f" ON CONFLICT ({keys}) DO UPDATE SET"
            f" {', '.join(f'{c} = {_sum(c)}' for c in added)},"
            " as_of = max(as_of, excluded.as_of), dirty = 1",
            _rows(change.partials, columns),
        )
        for name, members in change.members.items():
            self._add_members(sheet, name, members)

    def _add_members(self, sheet: Sheet, name: str, members: pa.Table) -> None:
        """A text counts while at least one row has it: only its first and its last move the count."""
        table, columns = f"{sheet.name}_{name}", (*sheet.keys, "member", "n")
        keys, whole = ", ".join(sheet.keys), ", ".join((*sheet.keys, "member"))
        here = " AND ".join(f"{sheet.name}.{key} = step.{key}" for key in sheet.keys)
        self._db.execute(f"CREATE TEMP TABLE added AS SELECT * FROM {table} WHERE false")
        self._db.executemany(f"INSERT INTO added VALUES ({_marks(columns)})", _rows(members, columns))
        self._db.execute(
            f"UPDATE {sheet.name} SET {name} = {name} + step.total, dirty = 1 FROM ("
            f" SELECT {keys}, sum((coalesce(held.n, 0) + added.n > 0) - (coalesce(held.n, 0) > 0)) AS total"
            f" FROM added LEFT JOIN {table} AS held USING ({whole}) GROUP BY {keys}"
            f") AS step WHERE {here} AND step.total <> 0"
        )
        self._db.execute(
            f"INSERT INTO {table} SELECT * FROM added WHERE true ON CONFLICT ({whole}) DO UPDATE SET n = n + excluded.n"
        )
        self._db.execute(f"DELETE FROM {table} WHERE n = 0 AND ({whole}) IN (SELECT {whole} FROM added WHERE n < 0)")
        self._db.execute("DROP TABLE added")

    def close_windows(self, watermark: int) -> None:
        """Marks as final the windows that end at or before the watermark."""
        for sheet in self._sheets.values():
            if sheet.window:
                end = watermark - sheet.window // timedelta(microseconds=1)
                self._db.execute(
                    f"UPDATE {sheet.name} SET is_final = 1, dirty = 1 WHERE is_final = 0 AND window_start <= ?", (end,)
                )

    def unpublished(self, sheet: Sheet, limit: int) -> list[dict[str, Any]]:
        """Rows that changed since they were published; ``rows`` is 0 where nothing is left of one."""
        return _dicts(self._db.execute(f"SELECT * FROM {sheet.name} WHERE dirty = 1 LIMIT ?", (limit,)))

    def published(self, sheet: Sheet, rows: Iterable[dict[str, Any]]) -> None:
        """Within a transaction: those rows stand in every sink; the empty ones may go."""
        here = " AND ".join(f"{key} = ?" for key in sheet.keys)
        keys = [tuple(row[key] for key in sheet.keys) for row in rows]
        self._db.executemany(f"UPDATE {sheet.name} SET dirty = 0 WHERE {here}", keys)
        self._db.executemany(f"DELETE FROM {sheet.name} WHERE rows = 0 AND {here}", keys)

    def retired(self, sheet: Sheet, before: int) -> list[dict[str, Any]]:
        """Final windows that start before a time and are still in the processed topic."""
        return self.select(sheet, "is_final = 1 AND window_start < ?", (before,))

    def retire(self, sheet: Sheet, before: int) -> None:
        """Those windows have left the processed topic."""
        self._db.execute(f"UPDATE {sheet.name} SET is_final = 2 WHERE is_final = 1 AND window_start < ?", (before,))

    def select(self, sheet: Sheet, where: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """The rows of a sheet that a condition on its columns holds for, in the order of its key."""
        cursor = self._db.execute(
            f"SELECT * FROM {sheet.name} WHERE rows > 0 AND {where} ORDER BY {', '.join(sheet.keys)}", values
        )
        return _dicts(cursor)


def _sheet_schema(sheet: Sheet) -> str:
    keys = ", ".join(sheet.keys)
    columns = [f"{key} NOT NULL" for key in sheet.keys]
    columns += [f"{name} INTEGER NOT NULL DEFAULT 0" for name in (*sheet.sums, *sheet.counts, "rows")]
    columns += ["is_final INTEGER NOT NULL DEFAULT 0"] if sheet.window else []
    columns += ["as_of INTEGER NOT NULL", "dirty INTEGER NOT NULL DEFAULT 1"]
    script = f"CREATE TABLE IF NOT EXISTS {sheet.name} ({', '.join(columns)}, PRIMARY KEY ({keys})) WITHOUT ROWID;"
    script += f"CREATE INDEX IF NOT EXISTS {sheet.name}_dirty ON {sheet.name} (dirty) WHERE dirty = 1;"
    if sheet.window:
        for state, name in enumerate(("open", "final")):
            script += (
                f"CREATE INDEX IF NOT EXISTS {sheet.name}_{name} ON {sheet.name} (window_start)"
                f" WHERE is_final = {state};"
            )
    for name in sheet.counts:
        script += (
            f"CREATE TABLE IF NOT EXISTS {sheet.name}_{name}"
            f" ({', '.join(f'{key} NOT NULL' for key in sheet.keys)}, member BLOB NOT NULL, n INTEGER NOT NULL,"
            f" PRIMARY KEY ({keys}, member)) WITHOUT ROWID;"
        )
    return script


def _sum(column: str) -> str:
    """A sum that stops at SATURATION, short of where SQLite's integers would turn into doubles."""
    return f"max(-{SATURATION}, min({SATURATION}, {column} + excluded.{column}))"


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)
