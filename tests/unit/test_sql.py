"""The SQL sink without a server: its tables in each dialect's words, what keys can hold, and what an error means."""

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime
from sqlalchemy.dialects import mssql, postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.base import Money, Record, Row, Stream, Table
from headwater.sql import Change, Database, Mark, SqlError, UnreachableError, is_away, metadata_of, shortened, sql_name


class Everything(Row):
    """Every kind of column."""

    key: str
    at: AwareDatetime
    text: str | None
    number: int | None
    share: float | None
    is_it: bool | None
    price: Money | None


EVERYTHING = Table("everything", Everything, key=("key", "at"), description="", in_sql=True)
SHOP = Stream("shop", "shop_topic", "key", Record, (EVERYTHING,), "")
NOON = datetime(2026, 5, 4, 12, 0, 0, 1, tzinfo=UTC)


def test_the_aircrafts_tables() -> None:
    tables = metadata_of(AIRCRAFT).tables
    assert set(tables) == {"headwater_marks", "aircraft_per_minute", "aircraft_by_country", "aircraft_alerts"}
    assert [sql_name(AIRCRAFT, table) for table in AIRCRAFT.tables][1:] == [*tables][1:]
    by_country = tables["aircraft_by_country"]
    assert [column.name for column in by_country.primary_key] == ["window_start", "origin_country"]
    names = {"window_start", "origin_country", "window_end", "is_final", "aircraft", "airborne"}
    assert {column.name for column in by_country.columns} == names | {"mean_altitude", "mean_velocity"}


@pytest.mark.parametrize(
    ("dialect", "types"),
    [
        (
            postgresql.dialect(),
            "VARCHAR(200) NOT NULL, TIMESTAMP WITH TIME ZONE NOT NULL, TEXT, BIGINT, DOUBLE PRECISION, BOOLEAN,"
            " NUMERIC(18, 4)",
        ),
        (
            mssql.dialect(),
            "NVARCHAR(200) COLLATE Latin1_General_100_BIN2 NOT NULL, DATETIMEOFFSET(6) NOT NULL, NVARCHAR(max) NULL,"
            " BIGINT NULL, FLOAT(53) NULL, BIT NULL, NUMERIC(18, 4) NULL",
        ),
    ],
)
def test_the_same_table_in_other_dialects(dialect: Any, types: str) -> None:
    made = " ".join(str(CreateTable(metadata_of(SHOP).tables["shop_everything"]).compile(dialect=dialect)).split())
    names = ("key", "at", "text", "number", "share", "is_it", "price")
    for name in names:
        made = made.replace(f" [{name}] ", f" {name} ")
    wanted = types.replace("(18, 4)", "(18; 4)").split(", ")
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, wanted, strict=True)).replace(";", ",")
    assert made.replace('"', "") == f"CREATE TABLE shop_everything ( {columns}, PRIMARY KEY (key, at) )".replace(
        "key, at", "[key], at" if dialect.name == "mssql" else "key, at"
    )


def test_sql_server_gives_back_the_types_it_was_given() -> None:
    """As its reflection names them; one taken for another would be refused at every start."""
    columns = metadata_of(SHOP).tables["shop_everything"].columns
    reflected = [
        mssql.NVARCHAR(200, collation="Latin1_General_100_BIN2"), mssql.DATETIMEOFFSET(precision=6), mssql.NVARCHAR(),
        mssql.BIGINT(), mssql.FLOAT(53), mssql.BIT(), mssql.NUMERIC(18, 4),
    ]  # fmt: skip
    compare = MigrationContext.configure(dialect_name="mssql").impl.compare_type
    changed = [compare(sa.Column("x", kind), wanted) for kind, wanted in zip(reflected, columns, strict=True)]
    assert not any(changed)
    assert compare(sa.Column("x", mssql.NVARCHAR()), columns["at"])


@given(st.text(max_size=500), st.text(max_size=500))
def test_every_text_has_a_key_of_its_own(one: str, other: str) -> None:
    short = shortened(one * 50)
    assert len(short.encode("utf-16-le")) // 2 <= 200
    assert (short == shortened(other * 50)) == (one * 50 == other * 50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


def test_what_pandas_reads_from_sqlite(path: Path) -> None:
    database = Database(f"sqlite:///{path}", SHOP)
    database.prepare()
    assert database.mark() is None
    database.clear(Mark("t", 0))
    key = {"key": "k", "at": NOON.astimezone(timezone(timedelta(hours=-9, minutes=-30)))}
    row = {**key, "text": "x", "number": 2**62, "share": 0.1, "is_it": False}
    for number in (1, 2):
        database.write([Change(EVERYTHING, key, row)], Mark("t", number))
    assert database.mark() == Mark("t", 2)
    with sqlite3.connect(path) as own:
        plain = pd.read_sql("SELECT * FROM shop_everything", own, parse_dates=["at"])
        assert own.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert own.execute("SELECT at, unixepoch(at) FROM shop_everything").fetchall() == [
            ("2026-05-04 12:00:00.000001+00:00", 1_777_896_000)
        ]
    own.close()
    assert list(plain.itertuples(index=False, name=None)) == [("k", pd.Timestamp(NOON), "x", 2**62, 0.1, 0, None)]
    database.write([Change(EVERYTHING, key, None)], Mark("t", 3))
    with pytest.raises(SqlError, match="another job"):
        database.write([Change(EVERYTHING, key, row)], Mark("other", 4))
    with sqlite3.connect(path) as own:
        assert own.execute("SELECT count(*) FROM shop_everything").fetchone() == (0,)
    own.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "HEADWATER_SQL_URL"),
        ("nosuch://localhost/db", "nosuch"),
        ("mssql+pymssql://localhost/db", "pymssql"),
    ],
)
def test_a_url_that_means_nothing(url: str, says: str) -> None:
    with pytest.raises(SqlError, match=says):
        Database(url, SHOP)


def test_what_is_said_of_a_database_keeps_its_password() -> None:
    database = Database("postgresql://me:secret@127.0.0.1:1/db?connect_timeout=1", SHOP)
    assert str(database) == "postgresql://me:***@127.0.0.1:1/db?connect_timeout=1"
    with pytest.raises(UnreachableError, match="refused") as raised:
        database.mark()
    assert "secret" not in str(raised.value)


def test_a_file_that_can_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="unable to open"):
        Database(f"sqlite:///{tmp_path / 'nowhere' / 'shop.db'}", SHOP).prepare()


def test_a_file_that_is_something_else(path: Path) -> None:
    path.write_text("not a database\n" * 100)
    with pytest.raises(SqlError, match="not a database"):
        Database(f"sqlite:///{path}", SHOP).prepare()


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.QueryCanceled(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.errors.InsufficientPrivilege(), False),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.NumericValueOutOfRange(), False),
        (psycopg.errors.NotNullViolation(), False),
    ],
)
def test_what_waiting_can_help(error: psycopg.Error, passes: bool) -> None:
    """As SQLAlchemy wraps them; of these there are more than a server would show in a test."""
    wrapped = DBAPIError.instance("", None, error, psycopg.Error, dialect=postgresql.dialect())
    assert isinstance(wrapped, DBAPIError)
    assert is_away(wrapped) == passes
