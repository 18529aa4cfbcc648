"""What the SQL database is still owed, kept in the ledger until it has committed it.

A row that was published is owed, a row that went is, too: its key is noted, in the transaction that marks it as
published. What is brought is the row as the ledger holds it then, so that a row which changed ten times while the
database was away is written once, and doing it again after a kill changes nothing.

Ledger and database agree by a mark (:class:`headwater.sql.Mark`). Where they don't, the tables are emptied and all rows
are owed again: the database is new, another one than before, put back from a copy, or lacked a column until now; or the
ledger was lost (``docs/decisions/0041-sql.md``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import structlog

from headwater.folds import FoldBook, Stored, key_of
from headwater.ledger import Ledger
from headwater.sql import Change, Database, Mark, UnreachableError

AT_ONCE = 5_000
"""Rows in one transaction of the database."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 60.0
"""After a failure; doubled with each. An attempt may hold the archive up for as long as a connection takes to fail."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owed (of TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (of, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sql_mark (one INTEGER PRIMARY KEY CHECK (one = 1), token TEXT NOT NULL,
    number INTEGER NOT NULL);
"""

log = structlog.get_logger(__name__)


class Outbox:
    """The part of a ledger that keeps what the database is owed, and brings it."""

    def __init__(
        self, ledger: Ledger, book: FoldBook[Any], database: Database, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock``: in seconds, for the waits after a failure."""
        self._ledger, self._book, self._database, self._clock = ledger, book, database, clock
        self._is_prepared = self._has_met = False
        self._wait = 0.0
        self._next_try = 0.0
        ledger.db.executescript(_SCHEMA)

    def owed(self) -> int:
        """How many rows."""
        (found,) = self._ledger.db.execute("SELECT count(*) FROM owed").fetchone()
        return int(found)

    def close(self) -> None:
        self._database.close()

    def add(self, rows: Iterable[Stored]) -> None:
        """Within a transaction of the ledger: those rows have changed, or are gone."""
        self._owe((stored.table.name, stored.id) for stored in rows if stored.table.in_sql)

    def bring(self) -> None:
        """Brings the database what it is owed; one that is away is told once and tried again later."""
        if (self._has_met and not self.owed()) or self._clock() < self._next_try:
            return
        try:
            brought = self._bring()
        except UnreachableError as reason:
            self._put_off(reason)
            return
        if self._wait:
            log.warning("database_answers_again", database=str(self._database), brought=brought)
        self._wait = self._next_try = 0.0

    def _put_off(self, reason: UnreachableError) -> None:
        self._is_prepared = False  # what comes back may be another one
        if not self._wait:
            # The rows wait in the ledger and are brought when it answers; everything else goes on.
            log.warning("database_away", database=str(self._database), owed=self.owed(), reason=str(reason))
        self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS) or FIRST_WAIT_SECONDS
        self._next_try = self._clock() + self._wait

    def _bring(self) -> int:
        if not self._is_prepared:
            self._database.prepare()
            self._is_prepared = True
        mark = self._agree()
        self._has_met = True
        brought = 0
        while changes := self._changes():
            mark = mark.next()
            self._database.write(list(changes.values()), mark)
            self.paid(changes, mark)
            brought += len(changes)
        return brought

    # -- the mark

    def _agree(self) -> Mark:
        """The mark that both go on from."""
        own, held = self._mark(), self._database.mark()
        # A kill between the two commits of a transaction leaves the database one ahead.
        if own and held and held.token == own.token and own.number <= held.number <= own.number + 1:
            # Noted first: a second kill in the same place would leave the ledger two behind.
            with self._ledger.transaction():
                self._note(held)
            return held
        if self._has_met and own and held and held.token != own.token:
            raise self._database.taken_over()
        mark = Mark(uuid4().hex, 0)
        with self._ledger.transaction():
            for table in self._book.tables:
                if table.in_sql:
                    self._owe((table.name, name) for name in self._book.standing(table))
            self._note(mark)
        self._database.clear(mark)
        return mark

    def _mark(self) -> Mark | None:
        held = self._ledger.db.execute("SELECT token, number FROM sql_mark").fetchone()
        return Mark(*held) if held else None

    def _note(self, mark: Mark) -> None:
        self._ledger.db.execute("INSERT OR REPLACE INTO sql_mark VALUES (1, ?, ?)", mark)

    # -- what is owed

    def _owe(self, rows: Iterable[tuple[str, str]]) -> None:
        self._ledger.db.executemany("INSERT OR IGNORE INTO owed VALUES (?, ?)", rows)

    def _changes(self) -> dict[tuple[str, str], Change]:
        tables = {table.name: table for table in self._book.tables}
        owed = self._ledger.db.execute("SELECT of, id FROM owed LIMIT ?", (AT_ONCE,)).fetchall()
        return {
            (of, name): Change(tables[of], key_of(tables[of], name), self._book.row(tables[of], name))
            for of, name in owed
        }

    def paid(self, rows: Iterable[tuple[str, str]], mark: Mark) -> None:
        """The database has committed those."""
        with self._ledger.transaction():
            self._ledger.db.executemany("DELETE FROM owed WHERE of = ? AND id = ?", rows)
            self._note(mark)
