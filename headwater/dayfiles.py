"""CSV files of a fold's records, by day and key: what the archive counted, each once, in the order of event time.

The ledger's log of records is the source; SQLite triggers note which of them came or went, and :meth:`DayFiles.write`
puts the files that these lie in into place again, whole, by renaming. A kill before the notes are struck out has them
written once more. A long day has several parts, so that a batch rewrites a bounded piece; a row stays in the part it
was first written to, so no reader meets it twice (``docs/decisions/0048-readings-by-day.md``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.csvfiles import day_file, write_rows
from headwater.folds import Fold, Place
from headwater.ledger import DAY_US, Ledger, moment

PART_ROWS = 2_000
"""Rows of a part before the next one begins: some 250 kB."""
DAYS_AT_ONCE = 50
"""Days of a key whose rows are held in memory together."""


Logged = tuple[Any, ...]
"""A record in the log: the key's number, event time, position, and the fold's columns."""


@dataclass(frozen=True)
class Part:
    """A part of a day: its records stand from ``first`` on; ``last`` is the furthest that was ever written to it."""

    number: int
    first: Place
    last: Place


@dataclass(frozen=True)
class File:
    """A part with its rows."""

    key: str
    day: int
    part: Part
    rows: Sequence[Logged]


class DayFiles:
    """The files of one fold."""

    def __init__(self, ledger: Ledger, fold: Fold[Any], key_column: str, folder: Path) -> None:
        """``key_column``: what the fold's key is called in the files."""
        self._ledger, self._db, self._folder = ledger, ledger.db, folder
        assert fold.day_files is not None
        self._name = fold.day_files
        self._header = ["event_time", key_column, *fold.columns]
        self._log, self._states = f"{fold.name}_log", f"{fold.name}_states"
        self._unfiled, self._parts = f"{fold.name}_unfiled", f"{fold.name}_files"
        self._db.executescript(self._schema())

    def _schema(self) -> str:
        noted = "INSERT OR IGNORE INTO {} SELECT key, {}.at, {}.position FROM {} WHERE number = {}.number"
        came, went = (noted.format(self._unfiled, row, row, self._states, row) for row in ("new", "old"))
        place = "at INTEGER NOT NULL, position INTEGER NOT NULL"
        return f"""
        CREATE TABLE IF NOT EXISTS {self._unfiled} (key TEXT NOT NULL, {place}, PRIMARY KEY (key, at, position))
            WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS {self._parts} (key TEXT NOT NULL, day INTEGER NOT NULL, part INTEGER NOT NULL,
            {place}, last_at INTEGER NOT NULL, last_position INTEGER NOT NULL, PRIMARY KEY (key, day, part))
            WITHOUT ROWID;
        CREATE TRIGGER IF NOT EXISTS {self._unfiled}_came AFTER INSERT ON {self._log} BEGIN {came}; END;
        CREATE TRIGGER IF NOT EXISTS {self._unfiled}_went AFTER DELETE ON {self._log} BEGIN {went}; END;
        """

    def write(self) -> None:
        """Brings the files up to what the ledger holds."""
        day_of = f"at - ((at % {DAY_US}) + {DAY_US}) % {DAY_US}"
        waiting = self._db.execute(f"SELECT DISTINCT key, {day_of} FROM {self._unfiled}").fetchall()
        for start in range(0, len(waiting), DAYS_AT_ONCE):
            self._write_days(waiting[start : start + DAYS_AT_ONCE])

    def _write_days(self, days: Sequence[tuple[str, int]]) -> None:
        # Which row is in which file is kept before a reader can see it, so that not even a kill has it move.
        with self._ledger.transaction():
            files = [file for key, day in days for file in self._files(key, day)]
            self._db.executemany(
                f"INSERT OR REPLACE INTO {self._parts} VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((f.key, f.day, f.part.number, *f.part.first, *f.part.last) for f in files),
            )
        for file in files:
            path = self._folder / day_file(self._name, moment(file.day).date().isoformat(), file.key, file.part.number)
            write_rows(path, self._header, ((_spelled(at), file.key, *values) for _, at, _, *values in file.rows))
        with self._ledger.transaction():
            self._db.executemany(
                f"DELETE FROM {self._unfiled} WHERE key = ? AND at >= ? AND at < ?",
                ((key, day, day + DAY_US) for key, day in days),
            )

    def _files(self, key: str, day: int) -> Iterator[File]:
        """The files of a day that have rows to gain or to lose, with all of their rows."""
        unfiled = self._db.execute(
            f"SELECT at, position FROM {self._unfiled} WHERE key = ? AND at >= ? AND at < ?", (key, day, day + DAY_US)
        )
        parts = self._parts_of(key, day)
        beginnings = [part.first for part in parts]
        for index in sorted({bisect_right(beginnings, Place(*place)) - 1 for place in unfiled.fetchall()}):
            part, is_last = parts[index], index + 1 == len(parts)
            rows = self._rows(key, part.first, Place(day + DAY_US, -1) if is_last else beginnings[index + 1])
            for own, its in _cut(part, rows) if is_last else [(part, rows)]:
                last = max(own.last, Place(*its[-1][1:3])) if its else own.last
                yield File(key, day, replace(own, last=last), its)

    def _parts_of(self, key: str, day: int) -> list[Part]:
        """In the order of their first records; a new one where there is none."""
        found = self._db.execute(
            f"SELECT part, at, position, last_at, last_position FROM {self._parts} WHERE key = ? AND day = ?"
            " ORDER BY part",
            (key, day),
        )
        parts = [Part(number, Place(*places[:2]), Place(*places[2:])) for number, *places in found]
        beginning = Place(day, -1)
        return parts or [Part(1, beginning, beginning)]

    def _rows(self, key: str, first: Place, end: Place) -> list[Logged]:
        """A key's records from one place to another (exclusive), in their order."""
        return self._db.execute(
            f"SELECT log.* FROM {self._log} AS log JOIN {self._states} USING (number) WHERE key = ?"
            " AND (log.at, log.position) >= (?, ?) AND (log.at, log.position) < (?, ?) ORDER BY log.at, log.position",
            (key, *first, *end),
        ).fetchall()


def _cut(part: Part, rows: Sequence[Logged]) -> Iterator[tuple[Part, Sequence[Logged]]]:
    """The last part's rows -> the part, and further ones for rows that no file has had yet."""
    places = [Place(*row[1:3]) for row in rows]
    size = max(PART_ROWS, bisect_right(places, part.last))
    yield part, rows[:size]
    for number, start in enumerate(range(size, len(rows), PART_ROWS), part.number + 1):
        yield Part(number, places[start], places[start]), rows[start : start + PART_ROWS]


def _spelled(at: int) -> str:
    return moment(at).isoformat().replace("+00:00", "Z")
