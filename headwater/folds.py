"""Tables whose rows follow from a key's records one after another: visits, trips, alarms.

Sums don't care for order; a funnel does. A :class:`Fold` declares how a key's state moves with each record, which rows
a record ends for good, and which rows stand for the state. :class:`FoldBook` keeps the states in the ledger, so that a
batch costs what its records bring: records in order move the last state on; one that comes late, or is taken back, has
its key's records stepped through again from the state last noted before it, to where the states are as they were
(``docs/decisions/0007-folds.md``).

Order within a key is event time, then Kafka's partition and offset. Times are microseconds since 1970 and money whole
units, in states and rows alike; :meth:`FoldBook.unpublished` gives rows in the contract's types.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
import pyarrow as pa

from headwater.contracts.base import Kind, Table
from headwater.ledger import moment
from headwater.money import money
from headwater.views import Expression, window_length

S = TypeVar("S")

NOTED_EVERY = 512
"""Records of a key between two states that are kept: what a late record steps through again, at most, before its own
place. Most keys never have as many."""

FOLLOWING = 2**62
"""As the time of the record that ended a row: none did, the row stands for the last state."""

NEVER = FOLLOWING
"""As a row's time: it has none, and the row doesn't grow old."""

MICROSECOND = timedelta(microseconds=1)

Values = tuple[Any, ...]
"""What a record brings to its key's state: the fold's columns in their order."""

Row = dict[str, Any]

Out = tuple[str, Row]
"""A table's name and a row of it; or a part's name and what the key brings to its ``window_start``."""


@dataclass(frozen=True)
class Rollup:
    """A windowed table over all keys: each brings a part to a window, and a row is made of all its parts."""

    table: Table
    part: str
    """What the parts are called among the rows that a fold gives; several roll-ups may be made of the same ones."""
    window: str
    """The length, in the words of a view (``1 minute``)."""
    rows: Callable[[Sequence[Row]], Iterable[Row]]
    """The parts of one window -> its rows, less the window's own columns."""


@dataclass(frozen=True)
class Summary:
    """A table made of a roll-up's rows over spans that no window has, such as years."""

    table: Table
    of: Table
    """The roll-up's."""
    spans: Callable[[int], Iterable[tuple[int, int]]]
    """A window's start -> the spans (to the second time exclusive) whose rows it takes part in."""
    before: timedelta
    """So much earlier begin the windows that a span's rows are made of."""
    rows: Callable[[int, Sequence[Row]], Iterable[Row]]
    """A span's first time and the roll-up's rows, none of them before the span alone -> the table's rows."""


@dataclass(frozen=True)
class Fold(Generic[S]):
    """How a key's state moves, and the rows that follow from it."""

    name: str
    key: Expression
    """Text, never null."""
    columns: Mapping[str, Expression]
    """What a record brings: texts and numbers, no booleans, which SQLite doesn't know; may be null."""
    tables: tuple[Table, ...]
    """No row's time is before the window of the key's first record."""
    version: str
    """Changes whenever the same records would give another state or other rows; all keys are then folded anew."""
    start: Callable[[], S]
    step: Callable[[S, str, int, Values], Iterable[Out]]
    """Takes a key's next record, its event time first; gives the rows that it ends, which nothing later changes."""
    dump: Callable[[S], bytes]
    """Equal states give equal bytes."""
    load: Callable[[bytes], S]
    due: Callable[[S], Sequence[int]]
    """When rows change without any record, because nothing came until then; in order."""
    rows: Callable[[str, S, int], Iterable[Out]]
    """Key, state, and how many of the times that it is due are past -> the rows that stand for it."""
    windows: Mapping[str, str] = field(default_factory=dict)
    """The windowed ones among the tables, with their length in the words of a view."""
    rollups: tuple[Rollup, ...] = ()
    summaries: tuple[Summary, ...] = ()
    daily_csv: Table | None = None
    """One of the tables: it also goes to CSV files, one a day of its ``time``."""
    day_files: str | None = None
    """Under this name the records that count go to CSV files by day and key (``headwater.dayfiles``)."""
    is_fresh: bool = False
    """The aggregate query keeps it too, for those who can't wait for the archive."""


class Place(NamedTuple):
    """Where a record stands in its key's order."""

    at: int
    position: int


BEGINNING = Place(-FOLLOWING, -1)
LAST = Place(FOLLOWING - 1, 0)
END = Place(FOLLOWING, 0)

Windows = dict[tuple[str, int], int]
"""Windows (a part's name and the start) of which a part has changed, and what they are as of."""

WITHIN = """spans CROSS JOIN {} AS held ON held.number = spans.number
    AND (held.at, held.position) > (spans.after_at, spans.after_position)
    AND (held.at, held.position) <= (spans.until_at, spans.until_position)"""
"""A table's rows within the spans. CROSS has SQLite go through the spans, never through the table, which is long."""


@dataclass
class Key(Generic[S]):
    """A key at work. ``until`` is the place of its last record."""

    number: int
    name: str
    state: S
    until: Place
    since_note: int
    as_of: int
    out: list[tuple[Place, Out]] = field(default_factory=list)
    """The rows that its records ended on the way, and where."""


class Span(NamedTuple, Generic[S]):
    """A key's records beyond a place, up to another."""

    key: Key[S]
    after: Place
    until: Place


@dataclass(frozen=True)
class Stored:
    """A row that is to be brought to the sinks, in the contract's types."""

    table: Table
    id: str
    row: Row
    is_gone: bool
    as_of: int
    time: int
    """Of the table's ``time`` or the window's start; NEVER where it has neither."""
    shown: int | None
    """The earliest time under which it may stand in a sink already; none where it never did."""


class FoldBook(Generic[S]):
    """The part of a ledger that keeps one fold. Writes belong into the ledger's transaction."""

    def __init__(self, db: sqlite3.Connection, fold: Fold[S]) -> None:
        self._db, self._fold = db, fold
        self._part_names = {rollup.part for rollup in fold.rollups}
        over_all = (*(rollup.table for rollup in fold.rollups), *(summary.table for summary in fold.summaries))
        self._tables = {table.name: table for table in (*fold.tables, *over_all)}
        self._lengths = {name: window_length(words) // MICROSECOND for name, words in fold.windows.items()}
        self._lengths |= {rollup.table.name: window_length(rollup.window) // MICROSECOND for rollup in fold.rollups}
        parts = ("log", "states", "notes", "rows", "parts", "remarks")
        names = (f"{fold.name}_{part}" for part in parts)
        self._log, self._states, self._notes, self._rows, self._parts, self._remarks = names
        self._db.executescript(self._schema())

    @property
    def fold(self) -> Fold[S]:
        return self._fold

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(self._tables.values())

    def _schema(self) -> str:
        columns = ", ".join(f'"{name}"' for name in self._fold.columns)
        return f"""
        CREATE TABLE IF NOT EXISTS {self._log} (
            number INTEGER NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL, {columns},
            PRIMARY KEY (number, at, position)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS {self._notes} (
            number INTEGER NOT NULL, at INTEGER NOT NULL, position INTEGER NOT NULL, state BLOB NOT NULL,
            PRIMARY KEY (number, at, position)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS {self._states} (
            number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, at INTEGER, position INTEGER, since_note INTEGER,
            state BLOB, as_of INTEGER, reached INTEGER, due INTEGER);
        CREATE INDEX IF NOT EXISTS {self._states}_waiting ON {self._states} (due) WHERE due IS NOT NULL;
        CREATE INDEX IF NOT EXISTS {self._states}_reached ON {self._states} (reached) WHERE reached IS NOT NULL;
        CREATE TABLE IF NOT EXISTS {self._rows} (
            of TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL,
            position INTEGER NOT NULL, time INTEGER NOT NULL, row BLOB NOT NULL,
            as_of INTEGER NOT NULL, shown INTEGER, gone INTEGER NOT NULL DEFAULT 0,
            dirty INTEGER NOT NULL DEFAULT 1, is_final INTEGER NOT NULL DEFAULT 0, retired INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (of, id)) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS {self._rows}_place ON {self._rows} (number, at, position);
        CREATE INDEX IF NOT EXISTS {self._rows}_time ON {self._rows} (of, time);
        CREATE INDEX IF NOT EXISTS {self._rows}_dirty ON {self._rows} (of) WHERE dirty = 1;
        CREATE INDEX IF NOT EXISTS {self._rows}_kept ON {self._rows} (time) WHERE retired = 0;
        CREATE INDEX IF NOT EXISTS {self._rows}_open ON {self._rows} (of, time) WHERE is_final = 0;
        CREATE TABLE IF NOT EXISTS {self._parts} (
            of TEXT NOT NULL, time INTEGER NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL,
            position INTEGER NOT NULL, row BLOB NOT NULL, PRIMARY KEY (of, time, number)) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS {self._parts}_place ON {self._parts} (number, at, position);
        CREATE TABLE IF NOT EXISTS {self._remarks} (
            of TEXT NOT NULL, id TEXT NOT NULL, row BLOB NOT NULL, PRIMARY KEY (of, id)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS fold_versions (name TEXT PRIMARY KEY, version TEXT NOT NULL);
        CREATE TEMP TABLE IF NOT EXISTS touched (key TEXT PRIMARY KEY);
        CREATE TEMP TABLE IF NOT EXISTS spans (
            number INTEGER NOT NULL, after_at INTEGER NOT NULL, after_position INTEGER NOT NULL,
            until_at INTEGER NOT NULL, until_position INTEGER NOT NULL);
        """

    # -- records

    def take(self, records: pa.Table) -> None:
        """Records that count, or no longer do: ``key``, ``at``, ``position``, ``as_of``, ``sign`` and the columns."""
        arrived: dict[str, list[Values]] = {}
        names = ["key", "at", "position", "as_of", "sign", *self._fold.columns]
        for key, *rest in zip(*(records[name].to_pylist() for name in names), strict=True):
            arrived.setdefault(key, []).append(tuple(rest))
        windows: Windows = {}
        keys = self._held(arrived)
        self._log_records([(key.number, row) for key in keys for row in arrived[key.name]])
        self._conclude([span for key in keys if (span := self._take(key, arrived[key.name], windows))], windows)
        self._roll_up(windows)

    def _held(self, names: Iterable[str]) -> list[Key[S]]:
        """Some keys as they were left; those that are new get a number."""
        self._db.execute("DELETE FROM touched")
        self._db.executemany("INSERT INTO touched VALUES (?)", ((name,) for name in names))
        self._db.execute(f"INSERT INTO {self._states} (key) SELECT key FROM touched WHERE true ON CONFLICT DO NOTHING")
        return self._keys("WHERE key IN (SELECT key FROM touched)")

    def _keys(self, which: str, values: Values = ()) -> list[Key[S]]:
        cursor = self._db.execute(
            f"SELECT number, key, state, at, position, since_note, as_of FROM {self._states} {which}", values
        )
        return [
            Key(number, name, self._fold.start(), BEGINNING, 0, 0)
            if state is None
            else Key(number, name, self._fold.load(state), Place(at, position), since_note, as_of)
            for number, name, state, at, position, since_note, as_of in cursor.fetchall()
        ]

    def _take(self, key: Key[S], rows: Sequence[Values], windows: Windows) -> Span[S] | None:
        """Moves a key's state on by some records of its own, that are in its log already. Returns what is to be
        concluded; nothing where its state is the same in the end.
        """
        key.as_of = max(key.as_of, *(row[2] for row in rows))
        known = key.until
        # A record is only ever taken back from where it stood, so what lies beyond is new.
        fresh = sorted((Place(*row[:2]), row[4:]) for row in rows if Place(*row[:2]) > known)
        if (changed := sorted(Place(*row[:2]) for row in rows if Place(*row[:2]) <= known)) and self._again(
            key, changed, windows
        ):
            self._db.execute(f"UPDATE {self._states} SET as_of = ? WHERE number = ?", (key.as_of, key.number))
            if not fresh:
                return None
        for place, values in fresh:
            self._step(key, place, values)
            if key.since_note >= NOTED_EVERY:
                self._note(key)
        return Span(key, known, END)

    def _log_records(self, rows: Sequence[tuple[int, Values]]) -> None:
        """Puts records under their keys' numbers into the log, or takes them out."""
        marks = ", ".join("?" * (3 + len(self._fold.columns)))
        self._db.executemany(
            f"INSERT INTO {self._log} VALUES ({marks})",
            ((number, at, position, *values) for number, (at, position, _, sign, *values) in rows if sign > 0),
        )
        gone = [(number, *row[:2]) for number, row in rows if row[3] < 0]
        for table in (self._log, self._notes):
            self._db.executemany(f"DELETE FROM {table} WHERE (number, at, position) = (?, ?, ?)", gone)

    def _step(self, key: Key[S], place: Place, values: Values) -> None:
        key.out += [(place, out) for out in self._fold.step(key.state, key.name, place.at, values)]
        key.until = place
        key.since_note += 1

    def _note(self, key: Key[S]) -> None:
        note = (key.number, *key.until, self._fold.dump(key.state))
        self._db.execute(f"INSERT OR REPLACE INTO {self._notes} VALUES (?, ?, ?, ?)", note)
        key.since_note = 0

    def _again(self, key: Key[S], changed: Sequence[Place], windows: Windows) -> bool:
        """Steps anew through the records around some places up to the key's last. Whether that left its state alone.

        Each time from the last note before a place, and to the first one after it at which the state is what it was:
        from there on every step would be what it has been, up to the next place.
        """
        state, until, since_note = key.state, key.until, key.since_note
        while changed:
            begun = self._rewind(key, changed[0])
            is_as_it_was = self._walk(key, until)
            self._replace([Span(key, begun, key.until if is_as_it_was else until)], windows)
            if not is_as_it_was:
                return False
            changed = [place for place in changed if place > key.until]
        key.state, key.until, key.since_note = state, until, since_note
        return True

    def _rewind(self, key: Key[S], before: Place) -> Place:
        """Puts a key back to its last note before a place, and gives the note's."""
        note = self._db.execute(
            f"SELECT at, position, state FROM {self._notes} WHERE number = ? AND (at, position) < (?, ?)"
            " ORDER BY at DESC, position DESC LIMIT 1",
            (key.number, *before),
        ).fetchone()
        key.state = self._fold.load(note[2]) if note else self._fold.start()
        key.until, key.since_note = Place(*note[:2]) if note else BEGINNING, 0
        return key.until

    def _walk(self, key: Key[S], until: Place) -> bool:
        """Steps on to the first note at which the state is what it was: true; or to a place, noting anew: false."""
        span = (key.number, *key.until, *until)
        between = "WHERE number = ? AND (at, position) > (?, ?) AND (at, position) <= (?, ?) ORDER BY at, position"
        noted = {
            Place(at, position): state
            for at, position, state in self._db.execute(
                f"SELECT at, position, state FROM {self._notes} {between}", span
            )
        }
        columns = ", ".join(f'"{name}"' for name in self._fold.columns)
        for at, position, *values in self._db.execute(
            f"SELECT at, position, {columns} FROM {self._log} {between}", span
        ):
            place = Place(at, position)
            self._step(key, place, tuple(values))
            if place in noted and noted[place] == self._fold.dump(key.state):
                return True
            if place in noted or key.since_note >= NOTED_EVERY:
                self._note(key)
        return False

    def _conclude(self, spans: Sequence[Span[S]], windows: Windows) -> None:
        """Keeps keys' states, and the rows that their records beyond a place ended or that stand for them."""
        kept = [span.key for span in spans if span.key.until != BEGINNING]
        for key in kept:
            key.out += [(END, out) for out in self._fold.rows(key.name, key.state, 0)]
        self._replace(spans, windows)
        self._db.executemany(
            f"UPDATE {self._states} SET at = ?, position = ?, since_note = ?, state = ?, as_of = ?, reached = NULL,"
            " due = ? WHERE number = ?",
            (
                (
                    *key.until,
                    key.since_note,
                    self._fold.dump(key.state),
                    key.as_of,
                    next(iter(self._fold.due(key.state)), None),
                    key.number,
                )
                for key in kept
            ),
        )
        empty = ((span.key.number,) for span in spans if span.key.until == BEGINNING)
        self._db.executemany(f"DELETE FROM {self._states} WHERE number = ?", empty)

    def renew(self) -> None:
        """Folds every key anew where the fold is not the one that the states were made by."""
        fold = self._fold
        row = self._db.execute("SELECT version FROM fold_versions WHERE name = ?", (fold.name,)).fetchone()
        if row and row[0] != fold.version:
            self._db.execute(f"DELETE FROM {self._notes}")
            # Where each key ends is still to be known; its state may be of another make.
            self._db.execute(f"UPDATE {self._states} SET state = ?", (fold.dump(fold.start()),))
            windows: Windows = {}
            for key in self._keys(""):
                known = key.until
                self._again(key, [known], windows)
                self._conclude([Span(key, known, END)], windows)
            # The same parts may make other rows now.
            standing = self._db.execute(f"SELECT of, time, 0 FROM {self._parts}")
            self._roll_up({(of, time): as_of for of, time, as_of in standing} | windows)
        self._db.execute("INSERT OR REPLACE INTO fold_versions VALUES (?, ?)", (fold.name, fold.version))

    # -- rows

    def _replace(self, spans: Sequence[Span[S]], windows: Windows) -> None:
        """Puts what keys' records ended within some spans into the place of what stood for them. Of all keys at once:
        most of what a key costs is the number of SQL's statements.
        """
        if not spans:  # as with most looks at the clock
            return
        self._db.execute("DELETE FROM spans")
        numbered = ((span.key.number, *span.after, *span.until) for span in spans)
        self._db.executemany("INSERT INTO spans VALUES (?, ?, ?, ?, ?)", numbered)
        old_rows = {
            (of, name): kept
            for of, name, *kept in self._db.execute(
                f"SELECT of, id, held.number, at, position, row FROM {WITHIN.format(self._rows)} WHERE gone = 0"
            )
        }
        old_parts = {
            (of, time, number): kept
            for of, time, number, *kept in self._db.execute(
                f"SELECT of, time, held.number, at, position, row FROM {WITHIN.format(self._parts)}"
            )
        }
        rows, parts = [], []
        for key, *_ in spans:
            for place, (of, row) in key.out:
                text = orjson.dumps(row)
                if of in self._part_names:
                    if old_parts.pop((of, row["window_start"], key.number), None) != [*place, text]:
                        parts.append((of, row["window_start"], key.number, *place, text))
                else:
                    table = self._tables[of]
                    name = _id(table, row)
                    if old_rows.pop((of, name), None) != [key.number, *place, text]:
                        rows.append((of, name, key.number, *place, _time_of(table, row), text, key.as_of))
            key.out.clear()
        as_of = {span.key.number: span.key.as_of for span in spans}
        self._put(rows)
        self._remove([(as_of[number], *gone) for gone, (number, *_) in old_rows.items()])
        self._db.executemany(f"DELETE FROM {self._parts} WHERE of = ? AND time = ? AND number = ?", old_parts)
        self._db.executemany(f"INSERT OR REPLACE INTO {self._parts} VALUES (?, ?, ?, ?, ?, ?)", parts)
        for of, time, number in [*old_parts, *(part[:3] for part in parts)]:
            windows[of, time] = max(windows.get((of, time), 0), as_of[number])

    def _put(self, rows: Iterable[Values]) -> None:
        """Rows that stand now; one that is as it was stays published."""
        self._db.executemany(
            f"INSERT INTO {self._rows} (of, id, number, at, position, time, row, as_of) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (of, id) DO UPDATE SET number = excluded.number, at = excluded.at,"
            " position = excluded.position, time = excluded.time, row = excluded.row, gone = 0,"
            " dirty = dirty OR gone OR row IS NOT excluded.row,"
            " as_of = iif(gone OR row IS NOT excluded.row, max(as_of, excluded.as_of), as_of)",
            rows,
        )

    def _remove(self, rows: Iterable[Values]) -> None:
        """Rows that stand no more: what they are as of, the table and the id."""
        self._db.executemany(
            f"UPDATE {self._rows} SET gone = 1, dirty = 1, as_of = max(as_of, ?) WHERE of = ? AND id = ?", rows
        )

    def _roll_up(self, windows: Windows) -> None:
        """Makes the rows of windows that have changed from all their parts."""
        for (part, start), as_of in windows.items():
            found = self._db.execute(
                f"SELECT row FROM {self._parts} WHERE of = ? AND time = ? ORDER BY number", (part, start)
            )
            parts = [orjson.loads(text) for (text,) in found]
            for rollup in self._fold.rollups:
                if rollup.part == part:
                    self._roll_up_window(rollup, start, parts, as_of)
        for summary in self._fold.summaries:
            parts_of = {rollup.part for rollup in self._fold.rollups if rollup.table == summary.of}
            spans: dict[tuple[int, int], int] = {}
            for (part, start), as_of in windows.items():
                if part in parts_of:
                    spans |= {span: max(spans.get(span, 0), as_of) for span in summary.spans(start)}
            for span, as_of in spans.items():
                self._summarize(summary, span, as_of)

    def _roll_up_window(self, rollup: Rollup, start: int, parts: Sequence[Row], as_of: int) -> None:
        end = start + self._lengths[rollup.table.name]
        rows = [{"window_start": start, "window_end": end, **row} for row in rollup.rows(parts)] if parts else []
        self._put_all(rollup.table, start, rows, as_of)

    def _summarize(self, summary: Summary, span: tuple[int, int], as_of: int) -> None:
        """Makes the rows of a span anew."""
        start, end = span
        found = self._db.execute(
            f"SELECT row FROM {self._rows} WHERE of = ? AND time >= ? AND time < ? AND gone = 0 ORDER BY time, id",
            (summary.of.name, start - summary.before // MICROSECOND, end),
        )
        rows = [orjson.loads(text) for (text,) in found]
        self._put_all(summary.table, start, summary.rows(start, rows), as_of)

    def _put_all(self, table: Table, start: int, rows: Iterable[Row], as_of: int) -> None:
        """Puts rows that all keys together make in the place of those that did so from the same start."""
        made = {_id(table, row): (_time_of(table, row), orjson.dumps(row)) for row in rows}
        held = self._db.execute(
            f"SELECT id FROM {self._rows} WHERE number = 0 AND at = ? AND of = ? AND gone = 0", (start, table.name)
        )
        self._remove([(as_of, table.name, name) for (name,) in held.fetchall() if name not in made])
        self._put((table.name, name, 0, start, 0, time, text, as_of) for name, (time, text) in made.items())

    # -- the clock

    def elapse(self, clock: int) -> None:
        """It is so late: what is due by now changes its rows, and what was by a later clock changes them back."""
        windows: Windows = {}
        keys = self._keys("WHERE due <= ? OR reached > ?", (clock, clock))
        times = []
        for key in keys:
            due = self._fold.due(key.state)
            past = [time for time in due if time <= clock]
            key.out += [(END, out) for out in self._fold.rows(key.name, key.state, len(past))]
            times.append((past[-1] if past else None, due[len(past)] if len(past) < len(due) else None, key.number))
        self._replace([Span(key, LAST, END) for key in keys], windows)
        self._db.executemany(f"UPDATE {self._states} SET reached = ?, due = ? WHERE number = ?", times)
        self._roll_up(windows)

    def close_windows(self, watermark: int) -> None:
        """Marks as final the windows that end at or before the watermark."""
        for name, length in self._lengths.items():
            self._db.execute(
                f"UPDATE {self._rows} SET is_final = 1, dirty = 1 WHERE is_final = 0 AND of = ? AND time <= ?",
                (name, watermark - length),
            )

    # -- what is said of rows from outside

    def remark(self, table: Table, key: Row, columns: Row, as_of: int) -> None:
        """Columns of a row that no record brings. They stand whether the row is there or not; the last word counts."""
        name, text = _id(table, key), orjson.dumps(columns)
        held = self._db.execute(f"SELECT row FROM {self._remarks} WHERE of = ? AND id = ?", (table.name, name))
        if held.fetchone() != (text,):
            self._db.execute(f"INSERT OR REPLACE INTO {self._remarks} VALUES (?, ?, ?)", (table.name, name, text))
            self._db.execute(
                f"UPDATE {self._rows} SET dirty = 1, as_of = max(as_of, ?) WHERE of = ? AND id = ?",
                (as_of, table.name, name),
            )

    # -- publishing

    def unpublished(self, limit: int) -> list[Stored]:
        """Rows that changed since they were published."""
        return self._stored("dirty = 1 LIMIT ?", (limit,))

    def between(self, table: Table, start: int, end: int) -> list[Row]:
        """A table's rows from one time to another (exclusive), in the order of their key."""
        found = self._stored("of = ? AND time >= ? AND time < ? AND gone = 0", (table.name, start, end))
        return [stored.row for stored in sorted(found, key=lambda stored: [stored.row[name] for name in table.key])]

    def showing(self, rows: Iterable[Stored]) -> None:
        """Those rows are about to stand in the sinks, whatever happens next."""
        self._db.executemany(
            f"UPDATE {self._rows} SET shown = min(time, coalesce(shown, time)) WHERE of = ? AND id = ?",
            (
                (stored.table.name, stored.id)
                for stored in rows
                if not stored.is_gone and (stored.shown is None or stored.time < stored.shown)
            ),
        )

    def published(self, rows: Sequence[Stored], before: int) -> None:
        """Exactly those rows stand in the sinks; those before a time in the tables only."""
        ids = [(stored.table.name, stored.id) for stored in rows]
        self._db.executemany(
            f"UPDATE {self._rows} SET shown = time, dirty = 0, retired = time < ? WHERE of = ? AND id = ?",
            ((before, *stored) for stored in ids),
        )
        gone = ((stored.table.name, stored.id) for stored in rows if stored.is_gone)
        self._db.executemany(f"DELETE FROM {self._rows} WHERE gone = 1 AND of = ? AND id = ?", gone)

    def retired(self, before: int, limit: int) -> list[Stored]:
        """Rows from before a time that are still in the processed topic."""
        return self._stored("retired = 0 AND dirty = 0 AND time < ? LIMIT ?", (before, limit))

    def retire(self, rows: Iterable[Stored]) -> None:
        """Those rows have left the processed topic."""
        ids = ((stored.table.name, stored.id) for stored in rows)
        self._db.executemany(f"UPDATE {self._rows} SET retired = 1 WHERE of = ? AND id = ?", ids)

    def standing(self, table: Table) -> list[str]:
        """The ids of a table's rows."""
        found = self._db.execute(f"SELECT id FROM {self._rows} WHERE of = ? AND gone = 0", (table.name,))
        return [name for (name,) in found]

    def row(self, table: Table, name: str) -> Row | None:
        """The row of an id as it stands now."""
        found = self._stored("of = ? AND id = ? AND gone = 0", (table.name, name))
        return found[0].row if found else None

    def _stored(self, where: str, values: Values) -> list[Stored]:
        cursor = self._db.execute(
            f"SELECT of, id, row, (SELECT row FROM {self._remarks} AS said WHERE said.of = {self._rows}.of"
            f" AND said.id = {self._rows}.id), is_final, gone, as_of, time, shown FROM {self._rows} WHERE {where}",
            values,
        )
        found = []
        for of, name, text, remark, is_final, is_gone, *rest in cursor.fetchall():
            table = self._tables[of]
            row = in_types(table, orjson.loads(text) | (orjson.loads(remark) if remark else {}))
            if table.windowed:
                row["is_final"] = bool(is_final)
            found.append(Stored(table, name, row, bool(is_gone), *rest))
        return found


def in_types(table: Table, row: Row) -> Row:
    """A row in the ledger's units -> the same in the contract's types."""
    out = dict(row)
    for name, kind in table.scaled:
        if (value := row.get(name)) is not None:
            out[name] = moment(value) if kind is Kind.TIME else money(value)
    return out


def _time_of(table: Table, row: Row) -> int:
    """When a row was, NEVER where that is not said of it."""
    column = "window_start" if table.windowed else table.time
    return int(row[column]) if column else NEVER


def _id(table: Table, row: Row) -> str:
    """A row's key in one text."""
    return orjson.dumps([row[column] for column in table.key]).decode()


def key_of(table: Table, name: str) -> Row:
    """The key that an id was made of, in the contract's types."""
    return in_types(table, dict(zip(table.key, orjson.loads(name), strict=True)))
