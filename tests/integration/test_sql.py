"""The SQL sink on SQLite and on a PostgreSQL server: whatever happens on the way, it holds the rows of the archive.

What is read back comes through pandas, as a reader would have it.
"""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
import structlog
from deltalake import DeltaTable
from pydantic import AwareDatetime
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headwater import outbox as outbox_module
from headwater import sql
from headwater.contracts.base import Record, Row, Stream, Table, Window
from headwater.folds import Fold, FoldBook, Rollup
from headwater.ledger import Ledger
from headwater.outbox import Outbox
from headwater.settings import Settings
from headwater.sql import Database, SqlError
from jobs.aircraft import JOB
from tests.archives import Killed, Killer, Setup, set_up
from tests.postgres import Server, server

START = datetime(2026, 5, 4, 23, 59, 58, 123_456, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = 60_000_000


class Reading(Row):
    """A key's newest record, with every kind of column."""

    name: str
    happened: AwareDatetime
    text: str | None
    weight: float | None
    number: int | None
    is_odd: bool | None


class Minute(Window):
    """How many keys' newest records lie in it, by their text."""

    text: str
    keys: int


READINGS = Table("readings", Reading, key=("name",), description="", time="happened", in_sql=True)
MINUTES = Table("minutes", Minute, key=("window_start", "text"), description="", in_sql=True)
UNSEEN = Table("unseen", Reading, key=("name",), description="")
WALK = Stream("walk", "walk_topic", "name", Record, (READINGS, MINUTES, UNSEEN), "")


def by_text(parts: Any) -> list[dict[str, Any]]:
    texts = [part["text"] for part in parts]
    return [{"text": text, "keys": texts.count(text)} for text in sorted(set(texts))]


def fold() -> Fold[dict[str, Any]]:
    def rows(key: str, state: dict[str, Any], _: int) -> Iterator[Any]:
        at, text, number = state["newest"]
        row = {
            "name": key, "happened": at, "text": text, "number": number,
            "weight": None if number is None else number / 3, "is_odd": None if number is None else number % 2 == 1,
        }  # fmt: skip
        yield "readings", row
        yield "unseen", row
        yield "part", {"window_start": at - at % MINUTE, "text": text or "-"}

    return Fold(
        name="walk",
        key=lambda: F.col("key"),
        columns={"text": lambda: F.col("text"), "amount": lambda: F.col("amount")},
        tables=(READINGS, UNSEEN),
        rollups=(Rollup(MINUTES, "part", "1 minute", by_text),),
        version="1",
        start=dict,
        step=lambda state, key, at, values: state.update(newest=[at, *values]) or (),
        dump=lambda state: json.dumps(state).encode(),
        load=json.loads,
        due=lambda state: (),
        rows=rows,
    )


@dataclass
class Walk:
    """An archive's ledger without the archive, the records that it took, and the database."""

    ledger_path: Path
    url: str
    records: list[tuple[str, int, int, str | None, int | None]] = field(default_factory=list)
    now: float = 0.0
    ledger: Ledger | None = None

    def open(self) -> None:
        self.close()
        self.ledger = Ledger(self.ledger_path, [])
        self.book = FoldBook(self.ledger.db, fold())
        self.outbox = Outbox(self.ledger, self.book, Database(self.url, WALK), lambda: self.now)

    def close(self) -> None:
        if self.ledger:
            self.outbox.close()
            self.ledger.close()
            self.ledger = None

    def send(self, key: str, seconds: float, text: str | None = "a", number: int | None = 1) -> None:
        at = (START + timedelta(seconds=seconds) - EPOCH) // MICROSECOND
        self.records.append((key, at, len(self.records), text, number))
        self._take([self.records[-1]], 1)

    def take_back(self, index: int) -> None:
        self._take([self.records.pop(index)], -1)

    def _take(self, records: list[Any], sign: int) -> None:
        assert self.ledger
        columns = zip(*records, strict=True)
        taken = dict(zip(["key", "at", "position", "text", "amount"], map(list, columns), strict=True))
        with self.ledger.transaction():
            self.book.take(pa.table({**taken, "as_of": taken["at"], "sign": [sign] * len(records)}))

    def publish(self) -> None:
        """As the archive does, with Delta and the topic left out."""
        assert self.ledger
        changed = self.book.unpublished(10_000)
        with self.ledger.transaction():
            self.book.published(changed, 0)
            self.outbox.add(changed)
        self.outbox.bring()

    def expected(self) -> dict[str, list[Any]]:
        """Both tables, worked out from all records at once."""
        newest = {
            key: (key, at, text, number) for key, at, _, text, number in sorted(self.records, key=lambda r: r[1:3])
        }
        readings = [
            (key, EPOCH + at * MICROSECOND, text, number and number / 3, number, number and number % 2 == 1)
            for key, at, text, number in newest.values()
        ]
        minutes: dict[Any, int] = {}
        for _, at, text, _ in newest.values():
            place = ((EPOCH + at * MICROSECOND).replace(second=0, microsecond=0), text or "-")
            minutes[place] = minutes.get(place, 0) + 1
        windows = [(at, text, at + timedelta(minutes=1), False, count) for (at, text), count in minutes.items()]
        return {"walk_readings": sorted(readings), "walk_minutes": sorted(windows)}

    def held(self) -> dict[str, list[Any]]:
        return {name: sorted(rows(self.url, name)) for name in ("walk_readings", "walk_minutes")}

    def statements(self, *texts: str) -> None:
        """What somebody else does to the database."""
        with connected(self.url) as connection:
            for text in texts:
                connection.execute(sa.text(text))


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def rows(url: str, table: str) -> list[Any]:
    with connected(url) as connection:
        frame = pd.read_sql_table(table, connection)
    times = [name for name in frame if name in ("happened", "window_start", "window_end")]
    assert frame.empty or {str(frame[name].dtype) for name in times} == {"datetime64[ns, UTC]"}
    whole = frame.astype(object).where(frame.notna(), None)
    return [tuple(row) for row in whole.itertuples(index=False)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@dataclass
class Backend:
    """A kind of database: where new ones are, and how one goes away for a while."""

    new: Callable[[str], str]
    away: Callable[[str], AbstractContextManager[None]]


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return Backend(lambda name: f"sqlite:///{tmp_path / name}.db", locked)
    running: Server = request.getfixturevalue("postgres")

    def new(name: str) -> str:
        with running.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
            connection.execute(f'CREATE DATABASE "{name}"')
        return running.url(name)

    @contextmanager
    def stopped(_: str) -> Iterator[None]:
        running.stop()
        try:
            yield
        finally:
            running.start()

    return Backend(new, stopped)


@contextmanager
def locked(url: str) -> Iterator[None]:
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sql.CONNECT_ARGUMENTS, "pysqlite", {"timeout": 0.05})
    monkeypatch.setitem(sql.LIMITS, "postgresql", ("SET LOCAL lock_timeout = '50ms'",))
    monkeypatch.setattr(outbox_module, "AT_ONCE", 3)


@pytest.fixture
def walk(backend: Backend, tmp_path: Path) -> Iterator[Walk]:
    made = Walk(tmp_path / "ledger.db", backend.new("first"))
    made.open()
    yield made
    made.close()


def some(walk: Walk) -> None:
    """Nulls, texts that a database may trip over, and a minute with two texts."""
    for n, text in enumerate(["a", "a", None, "it's; -- %s :x", "Ж𝄞", "A", "a "]):
        walk.send(f"k{n}", n * 0.9, text, None if n == 2 else n)
    walk.send("K0", 1, "B", -(2**62))


def test_rows_as_the_archive_has_them(walk: Walk) -> None:
    some(walk)
    walk.publish()
    assert walk.held() == walk.expected()
    assert walk.outbox.owed() == 0
    walk.send("k0", 3_600, "moved")
    walk.send("k1", 0.5, "late: changes nothing")
    walk.take_back(5)
    walk.publish()
    walk.publish()
    assert walk.held() == walk.expected()
    with connected(walk.url) as connection:
        names = sa.inspect(connection).get_table_names()
        indexes = sa.inspect(connection).get_indexes("walk_readings")
    assert sorted(names) == ["headwater_marks", "walk_minutes", "walk_readings"]
    assert [index["column_names"] for index in indexes] == [["happened"]]


def test_killed_between_any_two_writes(walk: Walk, killer: Killer) -> None:
    some(walk)
    walk.publish()
    draw = random.Random(1)
    for after in range(1, 12):
        for n in range(3):
            walk.send(draw.choice("abc"), after * 40 + n, draw.choice("xy"), n)
        killer.arm(after)
        try:
            if after % 3 == 0:  # as where the database is another one
                with connected(walk.url) as connection:
                    connection.execute(sa.text("UPDATE headwater_marks SET token = 'other'"))
                walk.open()
            walk.publish()
        except Killed:
            killer.arm(None)
            walk.open()
            walk.publish()
        else:
            assert after > 6, killer.seen
        killer.arm(None)
        assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0), f"killed after write {after}"


def test_a_kill_around_the_two_commits_fills_nothing_anew(walk: Walk, killer: Killer) -> None:
    walk.send("k1", 5)
    walk.publish()
    walk.send("k1", 6)
    for point in ("write", "write", "write", "paid"):
        killer.arm_at(point)
        with pytest.raises(Killed):
            walk.publish()
        assert "clear" not in killer.seen
        walk.open()
    killer.arm(None)
    walk.publish()
    assert "clear" not in killer.seen
    assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0)


def test_a_database_that_is_away_delays_and_loses_nothing(walk: Walk, backend: Backend) -> None:
    some(walk)
    walk.publish()
    with structlog.testing.capture_logs() as told, backend.away(walk.url):
        walk.send("k1", 90, "while it was away", 7)
        walk.take_back(3)
        walk.publish()
        waiting = walk.outbox.owed()
        assert waiting > 0
        walk.now += 4
        walk.publish()  # not tried yet
        walk.now += 2
        walk.publish()
        walk.open()
        walk.send("k9", 91)
        walk.publish()
        assert walk.outbox.owed() > waiting
    walk.now += 60
    with structlog.testing.capture_logs() as told_then:
        walk.publish()
    assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0)
    away, away_again = told
    assert (away["event"], away["owed"], away_again["event"]) == ("database_away", waiting, "database_away")
    assert [line["event"] for line in told_then] == ["database_answers_again"]


def test_a_database_that_was_away_from_the_start(walk: Walk, backend: Backend) -> None:
    with backend.away(walk.url):
        some(walk)
        walk.publish()
    walk.now += 5
    walk.publish()
    assert walk.held() == walk.expected()


def test_a_database_that_comes_back_empty(walk: Walk, backend: Backend) -> None:
    some(walk)
    walk.publish()
    walk.send("k1", 90)
    with backend.away(walk.url):
        walk.publish()
    walk.statements("DROP TABLE walk_readings", "DROP TABLE walk_minutes", "DROP TABLE headwater_marks")
    walk.now += 5
    walk.publish()
    assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0)


def test_a_table_that_somebody_locks(postgres: Server, tmp_path: Path) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE locked")
    walk = Walk(tmp_path / "ledger.db", postgres.url("locked"))
    walk.open()
    some(walk)
    walk.publish()
    with postgres.connect("locked") as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE walk_minutes")
        walk.send("k1", 90)
        walk.publish()
        assert walk.outbox.owed() > 0
        other.execute("ROLLBACK")
    walk.now += 5
    walk.publish()
    assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0)
    walk.close()


def test_a_server_that_answers_nothing(postgres: Server, tmp_path: Path) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE frozen")
    walk = Walk(tmp_path / "ledger.db", postgres.url("frozen") + "?connect_timeout=2")
    walk.open()
    some(walk)
    with postgres.frozen():
        walk.publish()
    assert walk.outbox.owed() > 0
    walk.now += 5
    walk.publish()
    assert (walk.held(), walk.outbox.owed()) == (walk.expected(), 0)
    walk.close()


def test_another_database_and_back_again(walk: Walk, backend: Backend) -> None:
    first = walk.url
    some(walk)
    walk.publish()
    walk.url = backend.new("second")
    walk.open()
    walk.send("k1", 200)
    walk.take_back(0)
    walk.publish()
    assert walk.held() == walk.expected()
    walk.url = first
    walk.open()
    walk.publish()
    assert walk.held() == walk.expected()


def test_a_ledger_that_was_lost(walk: Walk, tmp_path: Path) -> None:
    some(walk)
    walk.publish()
    walk.close()
    (tmp_path / "ledger.db").unlink()
    walk.records.clear()
    walk.open()
    walk.send("k1", 5)
    walk.publish()
    assert walk.held() == walk.expected()


def test_a_database_put_back_from_a_copy(tmp_path: Path) -> None:
    walk = Walk(tmp_path / "ledger.db", f"sqlite:///{tmp_path / 'first.db'}")
    walk.open()
    walk.send("k1", 5)
    walk.publish()
    shutil.copy(tmp_path / "first.db", tmp_path / "copy.db")
    walk.send("k2", 6)
    walk.publish()
    shutil.copy(tmp_path / "copy.db", tmp_path / "first.db")
    walk.send("k3", 7)
    walk.publish()
    assert walk.held() == walk.expected()
    walk.close()


def test_a_column_and_a_table_that_were_not_there(walk: Walk) -> None:
    some(walk)
    walk.publish()
    walk.statements(
        "ALTER TABLE walk_readings DROP COLUMN weight", "ALTER TABLE walk_readings DROP COLUMN is_odd",
        "ALTER TABLE walk_readings ADD theirs INTEGER", "DROP TABLE walk_minutes",
        "DROP INDEX ix_walk_readings_happened",
    )  # fmt: skip
    walk.open()
    walk.publish()
    held, expected = walk.held(), walk.expected()
    assert held["walk_minutes"] == expected["walk_minutes"]
    # Where columns were added, they stand last.
    order = [
        (name, at, text, number, None, weight, is_odd)
        for name, at, text, weight, number, is_odd in expected["walk_readings"]
    ]
    assert held["walk_readings"] == order
    with connected(walk.url) as connection:
        assert sa.inspect(connection).get_indexes("walk_readings")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("name VARCHAR(200) PRIMARY KEY, happened TEXT", "walk_readings.happened is TEXT"),
        ("name VARCHAR(200), text TEXT", r"the key of walk_readings is \[\] and would have to be \['name'\]"),
    ],
)
def test_a_table_that_can_not_be_used_says_so(walk: Walk, table: str, says: str) -> None:
    walk.statements(f"CREATE TABLE walk_readings ({table})")
    walk.send("k1", 5)
    with pytest.raises(SqlError, match=says + ".*Rename or drop walk_readings"):
        walk.publish()
    walk.statements("DROP TABLE walk_readings")
    walk.publish()
    assert walk.held() == walk.expected()


def test_a_table_that_somebody_takes_away(walk: Walk) -> None:
    some(walk)
    walk.publish()
    walk.statements("DROP TABLE walk_readings")
    walk.send("k1", 90)
    with pytest.raises(SqlError, match=r"walk_readings.* start the job again"):
        walk.publish()
    walk.open()
    walk.publish()
    assert walk.held() == walk.expected()


def test_two_that_fill_the_same_tables(walk: Walk, tmp_path: Path) -> None:
    walk.send("k1", 5)
    walk.publish()
    other = Walk(tmp_path / "other.db", walk.url)
    other.open()
    other.send("k2", 6)
    other.publish()
    assert other.held() == other.expected()
    walk.send("k3", 7)
    with pytest.raises(SqlError, match="another job fills the tables of walk"):
        walk.publish()
    assert other.held() == other.expected()
    other.close()


def test_texts_that_no_key_holds(walk: Walk) -> None:
    long = "Ж" * 5_000
    for key, text in ((long + "a", "\0"), (long + "b", long), ("nul\0", long + "b")):
        walk.send(key, 1, text)
    walk.publish()
    held = walk.held()
    keys = [row[0] for row in held["walk_readings"]]
    assert (len(set(keys)), "nul\N{REPLACEMENT CHARACTER}" in keys) == (3, True)
    assert sum(key.startswith("Ж" * 50 + "...") for key in keys) == 2
    assert {row[2] for row in held["walk_readings"]} == {"\N{REPLACEMENT CHARACTER}", long, long + "b"}
    assert [row[-1] for row in held["walk_minutes"]] == [1, 1, 1]
    walk.records[:] = [*walk.records[1:], walk.records[0]]
    for _ in range(3):
        walk.take_back(0)
    walk.publish()
    assert walk.held() == {"walk_readings": [], "walk_minutes": []}


# -- the archive


class Sky:
    """Aircraft that climb, dive, call for help and change their country; some repeated, displaced and late."""

    def __init__(self, setup: Setup) -> None:
        self.topic, self.random, self.sent = setup.topic, random.Random(7), 0

    def send(self, count: int) -> None:
        draw = self.random
        for _ in range(count):
            self.sent += 1
            number = draw.randrange(max(1, self.sent - 9), self.sent + 1) if draw.random() < 0.1 else self.sent
            value = {
                "event_id": f"e{number}",
                "icao24": draw.choice(["3c6444", "a835af", "000000"]),
                "last_contact": 1_777_900_000 + self.sent * 20 - draw.choice([0, 0, 0, 20, 140, 4_000]),
                "origin_country": draw.choice(["Germany", "United States", None]),
                "on_ground": draw.choice([True, False, False, None]),
                "baro_altitude": draw.choice([None, 10_972.8, 304.8]),
                "velocity": draw.choice([None, 231.5]),
                "vertical_rate": draw.choice([None, 0, -30.0, 5.2]),
                "squawk": draw.choice([None, "1000", "7700"]),
            }
            self.topic.send(draw.randrange(2), json.dumps(value))


def assert_as_in_delta(setup: Setup, url: str) -> None:
    for table in JOB.stream.tables:
        if table.in_sql:
            delta = DeltaTable(str(setup.path(table.name))).to_pandas()
            with connected(url) as connection:
                found = pd.read_sql_table(f"aircraft_{table.name}", connection)
            assert list(found) == [column.name for column in table.fields]
            both = [frame.sort_values(list(table.key), ignore_index=True) for frame in (delta[list(found)], found)]
            assert len(both[0]) > 0
            pd.testing.assert_frame_equal(*both, check_dtype=False, check_exact=True)


def test_the_aircraft_in_delta_and_in_sql(
    spark: SparkSession, settings: Settings, postgres: Server, killer: Killer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "AT_ONCE", 40)
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE aircraft")
    url = postgres.url("aircraft")
    settings = settings.model_copy(update={"sql": settings.sql.model_copy(update={"url": url})})
    with set_up(spark, settings, JOB) as setup:
        sky = Sky(setup)
        sky.send(100)
        setup.take()
        assert_as_in_delta(setup, url)
        for n, point in enumerate(["write", "paid"]):
            start = setup.topic.ends()
            sky.send(20)
            killer.arm_at(point)
            with pytest.raises(Killed):
                setup.take(start)
            killer.arm(None)
            setup.open()
            setup.take(start if n % 2 else None)
            assert_as_in_delta(setup, url)

        postgres.stop()
        start = setup.topic.ends()
        sky.send(30)
        setup.take(start)
        assert setup.archive and setup.archive.counters()["owed"] > 0
        setup.open()
        postgres.start()
        setup.open()
        assert setup.archive.counters()["owed"] == 0
        assert_as_in_delta(setup, url)

        setup.lose_ledger()
        setup.open()
        assert_as_in_delta(setup, url)
