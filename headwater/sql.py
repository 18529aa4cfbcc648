"""Some of a stream's tables once more in an SQL database: the same columns, as many rows.

SQLite, PostgreSQL and SQL Server, in words that all of them know; the few that one alone knows stand beside its name.
Tables are made, and what the contract has gained since is added to them; a column of another type or another key is an
error that says the way out. What is written when, and what becomes of a database that is away, is
:mod:`headwater.outbox`'s.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mssql, sqlite
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator, TypeEngine

from headwater.contracts.base import MONEY_DECIMALS, MONEY_DIGITS, FieldSpec, Kind, Stream, Table
from headwater.errors import HeadwaterError

KEY_LENGTH = 200
"""Of a text in a key, in UTF-16 units: SQL Server's keys have 900 bytes, and an index of PostgreSQL 2,704."""

READABLE = KEY_LENGTH // 4
"""Characters of a longer one that stay, before its digest."""

MARKS = "headwater_marks"
"""The table in which a database notes how far it is."""

CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": 5, "tcp_user_timeout": 30_000, "application_name": "headwater"},
    "pysqlite": {"timeout": 5},
    "pyodbc": {"timeout": 5},
}
"""By driver: how long it waits for a database that doesn't answer, in its own units. The URL's own values win."""

LIMITS = {
    "postgresql": ("SET LOCAL lock_timeout = '5s'", "SET LOCAL statement_timeout = '120s'"),
    "mssql": ("SET LOCK_TIMEOUT 5000",),
}
"""By dialect: how long a transaction waits for others, and a statement may take. SQLite goes by its driver's."""

READ_ONLY = "25006"
"""PostgreSQL's code where it writes nothing for now: a standby that may take over."""

SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}
"""What is no mistake in a statement; SQLite's driver calls both operational errors."""

Row = dict[str, Any]


class SqlError(HeadwaterError):
    """The database can't be used as it is."""


class UnreachableError(Exception):
    """The database is away, full, locked or writes nothing for now: to be tried again. Its text is the reason."""


class Mark(NamedTuple):
    """What a database and the ledger that fills it agree by: who fills it, and the number of the last transaction."""

    token: str
    number: int

    def next(self) -> Mark:
        """Of the transaction after this one."""
        return Mark(self.token, self.number + 1)


@dataclass(frozen=True)
class Change:
    """A row as it is to stand in the database, or a key of which none is to."""

    table: Table
    key: Row
    row: Row | None


class Instant(TypeDecorator[datetime]):
    """A time with its zone, UTC, to the microsecond. SQLite keeps text: ``2026-05-04 12:00:00.000000+00:00``."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            text = "%(year)04d-%(month)02d-%(day)02d %(hour)02d:%(minute)02d:%(second)02d.%(microsecond)06d+00:00"
            return dialect.type_descriptor(sqlite.DATETIME(storage_format=text))  # type: ignore[no-untyped-call]
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIMEOFFSET(6))  # type: ignore[no-untyped-call]
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Any text but a NUL."""

    impl = sa.UnicodeText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.NVARCHAR())
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and without_nul(value)


class KeyWords(TypeDecorator[str]):
    """Text in a key: short enough for every index, and told apart by its case everywhere."""

    impl = sa.Unicode(KEY_LENGTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.NVARCHAR(KEY_LENGTH, collation="Latin1_General_100_BIN2"))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and shortened(without_nul(value))


def without_nul(text: str) -> str:
    """A text that PostgreSQL takes."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def shortened(text: str) -> str:
    """A text that a key can hold; two long ones that begin alike stay two."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * KEY_LENGTH:
        return text
    return f"{text[:READABLE]}...{hashlib.sha256(units).hexdigest()}"


COLUMN_TYPES: dict[Kind, type[TypeEngine[Any]] | TypeEngine[Any]] = {
    Kind.TEXT: Words,
    Kind.WHOLE: sa.BigInteger,
    # The same in SQL Server, under the name by which it is given back.
    Kind.NUMBER: sa.Double().with_variant(sa.FLOAT(53), "mssql"),
    Kind.MONEY: sa.Numeric(MONEY_DIGITS, MONEY_DECIMALS),
    Kind.BOOLEAN: sa.Boolean,
    Kind.TIME: Instant,
}


def sql_name(stream: Stream, table: Table) -> str:
    """What a stream's table is called in the database."""
    return f"{stream.name}_{table.name}"


def metadata_of(stream: Stream) -> sa.MetaData:
    """The tables that a stream keeps in the database, and the one of the marks."""
    metadata = sa.MetaData()
    sa.Table(
        MARKS,
        metadata,
        sa.Column("stream", KeyWords, primary_key=True),
        sa.Column("token", Words),
        sa.Column("number", sa.BigInteger),
    )
    for table in stream.tables:
        if table.in_sql:
            name = sql_name(stream, table)
            made = sa.Table(name, metadata, *(_column(spec, is_key=spec.name in table.key) for spec in table.fields))
            if table.time and table.time not in table.key:
                sa.Index(f"ix_{name}_{table.time}", made.c[table.time])
    return metadata


def _column(spec: FieldSpec, *, is_key: bool) -> sa.Column[Any]:
    """Beyond the key everything may be null: a column that is added later has no other value in the rows there are."""
    if spec.kind not in COLUMN_TYPES:
        raise TypeError(f"{spec.name}: no column of an SQL table holds {spec.kind}")
    kind = KeyWords if is_key and spec.kind is Kind.TEXT else COLUMN_TYPES[spec.kind]
    return sa.Column(spec.name, kind, primary_key=is_key, autoincrement=False, nullable=not is_key)


class Database:
    """A stream's part of the database. Every call opens a connection of its own and ends it.

    Every method raises :class:`UnreachableError` where waiting can help, and :class:`SqlError` where it can't.
    """

    def __init__(self, url: str, stream: Stream) -> None:
        """Connects to nothing yet."""
        self._stream = stream
        self._metadata = metadata_of(stream)
        self._marks = self._metadata.tables[MARKS]
        try:
            parsed = make_url(url)
            driver = parsed.get_dialect().driver
            arguments = {k: v for k, v in CONNECT_ARGUMENTS.get(driver, {}).items() if k not in parsed.query}
            self._engine = sa.create_engine(parsed, poolclass=NullPool, connect_args=arguments)
        except (ArgumentError, ImportError) as error:
            raise SqlError(f"HEADWATER_SQL_URL (sql.url) can't be used: {error}") from error

    def __str__(self) -> str:
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        self._engine.dispose()

    # -- the tables

    def prepare(self) -> None:
        """Makes what isn't there. What then holds too little has no mark any more."""
        with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                # Readers then don't hold up the writer, nor it them.
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        with self._transaction() as connection:
            missing = self._missing(connection)
            if missing and sa.inspect(connection).has_table(MARKS):
                self._forget_mark(connection)
        # In a transaction of its own: not every database takes changes of tables back, and with them the mark.
        with self._transaction() as connection:
            operations = Operations(self._migration(connection))
            for what, *about in missing:
                match what:
                    case "add_column":
                        operations.add_column(about[1], about[2])
                    case "add_table" | "add_index":
                        about[0].create(connection)

    def _migration(self, connection: Connection) -> MigrationContext:
        tables = self._metadata.tables
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name in tables,
        }
        return MigrationContext.configure(connection, opts=options)

    def _missing(self, connection: Connection) -> list[tuple[Any, ...]]:
        """What the tables lack, in Alembic's words. What is there beyond the contract stays as it is."""
        found: list[tuple[Any, ...]] = []
        for difference in compare_metadata(self._migration(connection), self._metadata):
            # Changes of a column come as a list of their own.
            for what, *about in difference if isinstance(difference, list) else [difference]:
                if what == "modify_type":
                    _, table, column, _, is_type, wanted = about
                    raise self._unfit(f"{table}.{column} is {is_type!r} and would have to be {wanted!r}", table)
                if what in ("add_table", "add_column", "add_index"):
                    found.append((what, *about))
        new = {about[0].name for what, *about in found if what == "add_table"}
        inspector = sa.inspect(connection)
        for name, table in self._metadata.tables.items():
            if name not in new:
                wanted_key = [column.name for column in table.primary_key]
                key = inspector.get_pk_constraint(name)["constrained_columns"]
                if key != wanted_key:
                    raise self._unfit(f"the key of {name} is {key} and would have to be {wanted_key}", name)
        return found

    def _unfit(self, what: str, table: str) -> SqlError:
        return SqlError(
            f"{self}: {what}, which Headwater doesn't change by itself. Rename or drop {table}: at its next start the "
            f"job makes it anew and fills it from what it keeps."
        )

    # -- rows

    def mark(self) -> Mark | None:
        """How far the database is."""
        with self._transaction() as connection:
            held = connection.execute(
                sa.select(self._marks.c.token, self._marks.c.number).where(self._marks.c.stream == self._stream.name)
            ).one_or_none()
        return Mark(*held) if held else None

    def clear(self, mark: Mark) -> None:
        """Takes away every row: from here on the database is filled under another mark."""
        with self._transaction() as connection:
            for name, table in self._metadata.tables.items():
                if name != MARKS:
                    connection.execute(sa.delete(table))
            self._forget_mark(connection)
            connection.execute(sa.insert(self._marks).values(stream=self._stream.name, **mark._asdict()))

    def write(self, changes: Sequence[Change], mark: Mark) -> None:
        """Brings some rows and notes the mark, all of it or nothing. Doing it again changes nothing.

        Taken away and inserted anew: of the words for both at once no two databases share any.
        """
        with self._transaction() as connection:
            for name in dict.fromkeys(change.table.name for change in changes):
                own = [change for change in changes if change.table.name == name]
                self._write(connection, own[0].table, own)
            noted = connection.execute(
                sa.update(self._marks)
                .where(self._marks.c.stream == self._stream.name, self._marks.c.token == mark.token)
                .values(number=mark.number)
            )
            if noted.rowcount != 1:
                raise self.taken_over()

    def taken_over(self) -> SqlError:
        """Somebody else fills the same tables."""
        return SqlError(
            f"{self}: another job fills the tables of {self._stream.name}. Give each its own database, by "
            f"HEADWATER_SQL_URL."
        )

    def _write(self, connection: Connection, contract: Table, changes: Sequence[Change]) -> None:
        table = self._metadata.tables[sql_name(self._stream, contract)]
        # A parameter under a column's own name would be taken for a value to set.
        here = [table.c[name] == sa.bindparam(f"key_{name}", type_=table.c[name].type) for name in contract.key]
        keys = [{f"key_{name}": change.key[name] for name in contract.key} for change in changes]
        connection.execute(sa.delete(table).where(*here), keys)
        rows = [{name: change.row.get(name) for name in table.c.keys()} for change in changes if change.row is not None]  # noqa: SIM118
        if rows:
            connection.execute(sa.insert(table), rows)

    def _forget_mark(self, connection: Connection) -> None:
        connection.execute(sa.delete(self._marks).where(self._marks.c.stream == self._stream.name))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                for statement in LIMITS.get(connection.dialect.name, ()):
                    connection.exec_driver_sql(statement)
                yield connection
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            if is_away(error):
                raise UnreachableError(reason) from error
            raise SqlError(
                f"{self} refuses what the job writes: {reason}. If its tables were changed, start "
                f"the job again: it adds what they lack."
            ) from error


def is_away(error: DBAPIError) -> bool:
    """Whether the database may take the same statement later."""
    if isinstance(error.orig, sqlite3.Error):
        # The primary code; what it stands beside are details.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY
    if getattr(error.orig, "sqlstate", None) == READ_ONLY:
        return True
    return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
