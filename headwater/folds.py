"""Tables whose rows follow from a key's records one after another: visits, trips, alarms.

Sums don't care for order; a funnel does. A :class:`Fold` declares how a key's state moves with each record, and
which rows the state stands for. :class:`FoldBook` keeps the states in the ledger, so that a batch costs what its
records bring: records in order move the last state on; one that comes late, or is taken back, has its key's records
stepped through again from the state last noted before it (``docs/decisions/0007-folds.md``).

Order within a key is event time, then Kafka's partition and offset. Times are microseconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from headwater.contracts.base import Table
from headwater.views import Expression

S = TypeVar("S")

NOTED_EVERY = 512
"""Records of a key between two states that are kept: what a late record steps through again, at most, before its own
place. Most keys never have as many."""

Values = tuple[Any, ...]
"""What a record brings to its key's state: the fold's columns in their order."""


@dataclass(frozen=True)
class Fold(Generic[S]):
    """How a key's state moves, and the rows that it stands for."""

    name: str
    key: Expression
    """Text, never null."""
    columns: Mapping[str, Expression]
    """What a record brings: texts and whole numbers; may be null."""
    tables: tuple[Table, ...]
    """Each has at most one row a key, whose ``time`` column is never before the key's first record."""
    version: str
    """Changes whenever the same records would give another state; all keys are then folded anew."""
    start: Callable[[], S]
    step: Callable[[S, int, Values], None]
    """Takes the next record, its event time first."""
    dump: Callable[[S], bytes]
    load: Callable[[bytes], S]
    due: Callable[[S], int | None]
    """When the rows change without any record, because nothing came until then."""
    rows: Callable[[str, S, bool], Mapping[str, dict[str, Any]]]
    """Key, state, and whether it is due -> by table, the row that stands there now."""


@dataclass(frozen=True)
class Kept(Generic[S]):
    """A key whose rows are to be published."""

    number: int
    key: str
    state: S | None
    """None: its last record was taken back."""
    is_due: bool
    last: int
    as_of: int
    shown: int
    """Bits by table: those that may hold a row of this key already."""
    shown_since: int | None
    """No row that is published already has a time before this."""


class FoldBook(Generic[S]):
    """The part of a ledger that keeps one fold. Writes belong into the ledger's transaction."""

    def __init__(self, db: sqlite3.Connection, fold: Fold[S]) -> None:
        self._db, self._fold = db, fold
        self._log, self._states, self._notes = (f"{fold.name}_{part}" for part in ("log", "states", "notes"))
        self._db.executescript(self._schema())

    @property
    def fold(self) -> Fold[S]:
        return self._fold

    def _schema(self) -> str:
        columns = ", ".join(f'"{name}"' for name in self._fold.columns)
        return f"""
        CREATE TABLE IF NOT EXISTS {self._log} (
            number INTEGER NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL, {columns},
            PRIMARY KEY (number, at, position)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS {self._notes} (
            number INTEGER NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL, count INTEGER NOT NULL,
            state BLOB NOT NULL, PRIMARY KEY (number, at, position)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS {self._states} (
            number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, count INTEGER NOT NULL DEFAULT 0,
            first INTEGER, at INTEGER, position INTEGER, state BLOB, due INTEGER, is_due INTEGER NOT NULL DEFAULT 0,
            as_of INTEGER, dirty INTEGER NOT NULL DEFAULT 1, shown INTEGER NOT NULL DEFAULT 0, shown_since INTEGER,
            retired INTEGER NOT NULL DEFAULT 0);
        CREATE INDEX IF NOT EXISTS {self._states}_dirty ON {self._states} (number) WHERE dirty = 1;
        CREATE INDEX IF NOT EXISTS {self._states}_waiting ON {self._states} (due) WHERE is_due = 0;
        CREATE INDEX IF NOT EXISTS {self._states}_due ON {self._states} (due) WHERE is_due = 1;
        CREATE INDEX IF NOT EXISTS {self._states}_kept ON {self._states} (at) WHERE retired = 0;
        CREATE TABLE IF NOT EXISTS fold_versions (name TEXT PRIMARY KEY, version TEXT NOT NULL);
        """

    # -- records

    def take(self, records: pa.Table) -> None:
        """Records that count, or no longer do: ``key``, ``at``, ``position``, ``as_of``, ``sign`` and the columns."""
        arrived: dict[str, list[Values]] = {}
        names = ["key", "at", "position", "as_of", "sign", *self._fold.columns]
        for key, *rest in zip(*(records[name].to_pylist() for name in names), strict=True):
            arrived.setdefault(key, []).append(tuple(rest))
        held = self._held(arrived)
        marks = ", ".join("?" * (3 + len(self._fold.columns)))
        self._db.executemany(
            f"INSERT INTO {self._log} VALUES ({marks})",
            (
                (held[key]["number"], at, position, *values)
                for key, rows in arrived.items()
                for at, position, _, sign, *values in rows
                if sign > 0
            ),
        )
        self._db.executemany(
            f"DELETE FROM {self._log} WHERE (number, at, position) = (?, ?, ?)",
            ((held[key]["number"], *row[:2]) for key, rows in arrived.items() for row in rows if row[3] < 0),
        )
        self._save([self._taken(held[key], rows) for key, rows in arrived.items()])

    def _held(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The states of some keys; keys that are new get a number."""
        self._db.execute("CREATE TEMP TABLE touched (key TEXT PRIMARY KEY)")
        self._db.executemany("INSERT INTO touched VALUES (?)", ((key,) for key in keys))
        self._db.execute(f"INSERT INTO {self._states} (key) SELECT key FROM touched WHERE true ON CONFLICT DO NOTHING")
        cursor = self._db.execute(
            f"SELECT number, key, count, first, at, position, state, as_of FROM {self._states} JOIN touched USING (key)"
        )
        names = [column[0] for column in cursor.description]
        found = {row[1]: dict(zip(names, row, strict=True)) for row in cursor}
        self._db.execute("DROP TABLE touched")
        return found

    def _taken(self, held: Mapping[str, Any], rows: list[Values]) -> dict[str, Any]:
        """A key's state after some records of its own, which are in the log already."""
        as_of = max(row[2] for row in rows)
        begun = {**held, "as_of": max(as_of, held["as_of"] or as_of)}
        earliest = min(row[:2] for row in rows)
        is_next = not held["count"] or (held["at"], held["position"]) < earliest
        if is_next and all(row[3] > 0 for row in rows):
            return self._moved(begun, sorted((at, position, *values) for at, position, _, _, *values in rows))
        return self._again(begun, earliest)

    def _again(self, held: Mapping[str, Any], since: tuple[int, int]) -> dict[str, Any]:
        """From the last state noted before a place in the key's order."""
        number, here = held["number"], (held["number"], *since)
        self._db.execute(f"DELETE FROM {self._notes} WHERE number = ? AND (at, position) >= (?, ?)", here)
        note = self._db.execute(
            f"SELECT count, at, position, state FROM {self._notes} WHERE number = ? ORDER BY at DESC, position DESC",
            (number,),
        ).fetchone()
        count, at, position, state = note or (0, None, None, None)
        after = "AND (at, position) > (?, ?)" if note else ""
        rows = self._db.execute(
            f"SELECT at, position, {', '.join(map(_quoted, self._fold.columns))} FROM {self._log}"
            f" WHERE number = ? {after} ORDER BY at, position",
            (number, at, position) if note else (number,),
        )
        first = self._db.execute(f"SELECT min(at) FROM {self._log} WHERE number = ?", (number,)).fetchone()[0]
        begun = {**held, "count": count, "at": at, "position": position, "state": state, "first": first}
        return self._moved(begun, rows)

    def _moved(self, held: Mapping[str, Any], rows: Iterable[Values]) -> dict[str, Any]:
        """A state moved on by records in their order."""
        fold, count, at, position, first = self._fold, held["count"], held["at"], held["position"], held["first"]
        state = fold.load(held["state"]) if count else fold.start()
        for at, position, *values in rows:
            fold.step(state, at, tuple(values))
            count += 1
            first = at if first is None else first
            if count % NOTED_EVERY == 0:
                note = (held["number"], at, position, count, fold.dump(state))
                self._db.execute(f"INSERT INTO {self._notes} VALUES (?, ?, ?, ?, ?)", note)
        dumped, due = (fold.dump(state), fold.due(state)) if count else (None, None)
        moved = {"count": count, "first": first, "at": at, "position": position, "state": dumped, "due": due}
        return {**held, **moved}

    def _save(self, changed: Iterable[Mapping[str, Any]]) -> None:
        self._db.executemany(
            f"UPDATE {self._states} SET count = :count, first = :first, at = :at, position = :position, state = :state,"
            " due = :due, is_due = 0, as_of = :as_of, dirty = 1 WHERE number = :number",
            changed,
        )

    def renew(self) -> None:
        """Folds every key anew where the fold is not the one that the states were made by."""
        fold = self._fold
        row = self._db.execute("SELECT version FROM fold_versions WHERE name = ?", (fold.name,)).fetchone()
        if row and row[0] != fold.version:
            self._db.execute(f"DELETE FROM {self._notes}")
            keys = [key for (key,) in self._db.execute(f"SELECT key FROM {self._states}")]
            self._save(self._again(held, (0, 0)) for held in self._held(keys).values())
        self._db.execute("INSERT OR REPLACE INTO fold_versions VALUES (?, ?)", (fold.name, fold.version))

    def elapse(self, clock: int) -> None:
        """It is so late: what is due by now changes its rows, and what was by a later clock changes them back."""
        self._db.execute(f"UPDATE {self._states} SET is_due = 1, dirty = 1 WHERE is_due = 0 AND due <= ?", (clock,))
        self._db.execute(f"UPDATE {self._states} SET is_due = 0, dirty = 1 WHERE is_due = 1 AND due > ?", (clock,))

    # -- publishing

    def unpublished(self, limit: int) -> list[Kept[S]]:
        """Keys whose rows changed since they were published."""
        return self._kept("dirty = 1 LIMIT ?", (limit,))

    def rows(self, kept: Kept[S]) -> Mapping[str, dict[str, Any]]:
        """By table, the rows of a key; none of one whose records were all taken back."""
        return {} if kept.state is None else self._fold.rows(kept.key, kept.state, kept.is_due)

    def showing(self, shown: Iterable[tuple[int, int]]) -> None:
        """Number and bits: those rows are about to stand in the sinks, whatever happens next."""
        self._db.executemany(
            f"UPDATE {self._states} SET shown = shown | ?2, shown_since = min(first, coalesce(shown_since, first))"
            " WHERE number = ?1 AND count > 0",
            shown,
        )

    def published(self, shown: Sequence[tuple[int, int]], before: int) -> None:
        """Number and bits: exactly those rows stand in the sinks; of keys that ended before a time, in Delta only."""
        self._db.executemany(
            f"UPDATE {self._states} SET shown = ?2, shown_since = first, dirty = 0, retired = coalesce(at < ?3, 0)"
            " WHERE number = ?1",
            ((number, bits, before) for number, bits in shown),
        )
        self._db.executemany(
            f"DELETE FROM {self._states} WHERE number = ? AND count = 0", ((number,) for number, _ in shown)
        )

    def retired(self, before: int, limit: int) -> list[Kept[S]]:
        """Keys whose last record is before a time and whose rows are still in the processed topic."""
        return self._kept("retired = 0 AND dirty = 0 AND at < ? LIMIT ?", (before, limit))

    def retire(self, numbers: Iterable[int]) -> None:
        """Those keys have left the processed topic."""
        self._db.executemany(f"UPDATE {self._states} SET retired = 1 WHERE number = ?", ((n,) for n in numbers))

    def _kept(self, where: str, values: Sequence[Any]) -> list[Kept[S]]:
        cursor = self._db.execute(
            f"SELECT number, key, state, is_due, at, as_of, shown, shown_since FROM {self._states} WHERE {where}",
            values,
        )
        return [
            Kept(number, key, None if state is None else self._fold.load(state), bool(is_due), at or 0, *rest)
            for number, key, state, is_due, at, *rest in cursor
        ]


def _quoted(name: str) -> str:
    return f'"{name}"'
