"""``spark-submit jobs/sales.py`` against a real broker: garbage, a recorded day, ``kill -9``, and clear refusals."""

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from headwater.broker import ensure_broker, stop_broker
from headwater.contracts.sales import SALES
from headwater.settings import REPOSITORY, Settings, load_settings
from headwater.topics import STATUS_TOPIC, ensure_topics
from tests.integration.test_archive import DAY, TABLES, Rows, expected_tables, keyed, sale
from tests.ports import free_port
from tests.recorded import recorded
from tests.unit.test_quality import CASES, original

START_S = 180
END_S = 240
BIN = Path(sys.prefix) / "bin"
csv.field_size_limit(2**24)  # there is a product of 1 MB
SUBMIT = [str(BIN / "spark-submit")]
Position = tuple[int, int]


@dataclass
class Suite:
    """A broker and a home of their own, and the processes of a test against them."""

    home: Path
    bootstrap: str = ""
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """As in a shell where the environment is activated."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "SPARK_"))}
        return clean | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HEADWATER_HOME": str(self.home),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "SPARK_LOCAL_DIRS": str(self.home / "spark"),
            **more,
        }

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        log = (self.home / f"{len(self.running)}.log").open("w")
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment(**environment), stdout=log, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        log.close()
        self.running.append(process)
        return process

    def log(self, process: subprocess.Popen[str]) -> str:
        return (self.home / f"{self.running.index(process)}.log").read_text()

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        process = self.start(*command, **environment)
        code = process.wait(END_S)
        return code, self.log(process)

    def once(self) -> None:
        code, said = self.run(*SUBMIT, "jobs/sales.py", "--once")
        assert code == 0, said[-3000:]

    def kill(self, process: subprocess.Popen[str]) -> None:
        """The whole session at once: the launcher, the JVM and the Python driver."""
        for member in self.session_of(process):
            with suppress(psutil.Error):
                member.kill()
        process.wait(30)

    @staticmethod
    def session_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
        members = []
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if os.getsid(pid) == process.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    members.append(psutil.Process(pid))
        return members

    def settings(self) -> Settings:
        return load_settings({"HEADWATER_HOME": str(self.home), "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap})

    def table(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (
            DeltaTable(str(self.settings().delta("sales", name))).to_pyarrow_table().to_pylist()
        )
        return rows

    def count(self, name: str) -> int:
        """Rows of a table, by its log alone; none while it isn't there."""
        with suppress(TableNotFoundError):
            return DeltaTable(str(self.settings().delta("sales", name))).count()
        return 0

    def versions(self) -> dict[str, int]:
        names = ("records", "rejected", *TABLES)
        return {name: DeltaTable(str(self.settings().delta("sales", name))).version() for name in names}

    def csv_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for path in sorted(self.settings().csv("sales").iterdir()):
            assert path.suffix == ".csv"
            with path.open(newline="", encoding="utf-8") as file:
                rows += csv.DictReader(file)
        return rows

    # -- Kafka

    def consumer(self) -> Consumer:
        quiet = {"enable.auto.commit": False, "log_level": 0}
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test", **quiet})

    def ends(self, topic: str) -> dict[int, int]:
        consumer = self.consumer()
        try:
            partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in partitions}
        finally:
            consumer.close()

    def messages(self, topic: str) -> list[Message]:
        """All that a topic holds, in the order of its partitions."""
        ends, consumer, found = self.ends(topic), self.consumer(), []
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in ends])
        deadline = time.monotonic() + 60
        try:
            while any(position.offset < ends[position.partition] for position in _reached(consumer, ends, topic)):
                assert time.monotonic() < deadline, f"{topic} can't be read to its end"
                found += [m for m in consumer.consume(5_000, timeout=0.5) if not m.error()]
        finally:
            consumer.close()
        return sorted(found, key=lambda m: (m.partition(), m.offset()))

    def values(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(m.value()) for m in self.messages(topic)]

    def is_running(self, query: str, since: datetime) -> bool:
        """Whether a query has said of itself that it runs."""
        said = self.values(STATUS_TOPIC)
        return any(
            value.get("query") == query and value["state"] == "running" and datetime.fromisoformat(value["at"]) >= since
            for value in said
        )

    def start_job(self, **environment: str) -> subprocess.Popen[str]:
        since = datetime.now(UTC)
        job = self.start(*SUBMIT, "jobs/sales.py", HEADWATER_JOBS_ARCHIVE_TRIGGER_SECONDS="3", **environment)
        self.eventually(lambda: self.is_running("archive", since), START_S, job)
        return job

    def eventually(self, holds: Callable[[], bool], seconds: float, process: subprocess.Popen[str]) -> None:
        """Waits for a condition while a process lives."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert process.poll() is None, self.log(process)[-3000:]
            assert time.monotonic() < deadline, self.log(process)[-3000:]
            time.sleep(0.1)


def _reached(consumer: Consumer, ends: dict[int, int], topic: str) -> list[TopicPartition]:
    """Where a consumer stands; before its first message of a partition, at 0."""
    positions = consumer.position([TopicPartition(topic, p) for p in ends])
    return [TopicPartition(topic, p.partition, max(p.offset, 0)) for p in positions]


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    made = Suite(tmp_path / "home")
    made.home.mkdir()
    broker = load_settings({"HEADWATER_HOME": str(tmp_path / "broker"), "HEADWATER_KAFKA_PORT": str(free_port())})
    made.bootstrap = ensure_broker(broker)
    try:
        ensure_topics(broker, made.bootstrap, [SALES])
        yield made
    finally:
        for process in made.running:
            made.kill(process)
        stop_broker(broker)


def positions(rows: list[dict[str, Any]]) -> list[Position]:
    return sorted((row["partition"], row["offset"]) for row in rows)


def assert_tables(suite: Suite) -> dict[str, Rows]:
    """The tables and the CSV equal pandas over ``records``, and the processed topic holds the tables' rows."""
    expected = expected_tables(suite.table("records"))
    for name in TABLES:
        assert keyed(name, suite.table(name)) == expected[name], name
    assert keyed("daily", suite.csv_rows()) == expected["daily"]
    return expected


def assert_processed(suite: Suite, expected: dict[str, Rows]) -> None:
    """The last value of each key. Windows of long ago are tombstones; the newest day's are there."""
    messages = suite.messages(SALES.processed_topic)
    partitions: dict[bytes, set[int]] = {}
    for message in messages:
        partitions.setdefault(message.key(), set()).add(message.partition())
    split = {key: where for key, where in partitions.items() if len(where) > 1}
    assert not split, f"{len(split)} of {len(partitions)} keys lie in two partitions: {list(split.items())[:3]}"

    last = {message.key().decode(): message.value() for message in messages}
    rows = {key: json.loads(value) for key, value in last.items() if value is not None}
    for key, row in rows.items():
        assert key.startswith(row["kind"] + ":")
        assert datetime.fromisoformat(row["updated_at"]).tzinfo
        assert isinstance(row["revenue"], str)
    newest = max(start for (start,) in expected["per_minute"])
    for name in TABLES:
        wanted = expected[name]
        found = keyed(name, [row for row in rows.values() if row["kind"] == name])
        if name.startswith("per_minute"):
            wanted = {key: figures for key, figures in wanted.items() if key[0][:10] == newest[:10]}
            found = {key: figures for key, figures in found.items() if key[0][:10] == newest[:10]}
        assert found == wanted, name


@pytest.mark.timeout(900)
def test_once_takes_all_there_is_and_a_second_time_nothing(suite: Suite) -> None:
    producer = Producer({"bootstrap.servers": suite.bootstrap, "message.max.bytes": 4_000_000, "log_level": 0})
    values = [value for _, value in CASES]
    for n in range(100):
        repeated = n % 7 == 0
        values.append(
            sale(
                f"e{n - 3 if repeated else n}", DAY.replace(minute=n % 10, second=n % 60), f"product {n % 5}",
                -1 if n % 9 == 0 else 1 + n % 3, "0.10", order_id=f"o{n // 3}", country=["France", None][n % 2],
                category=["Audio", "Video", None][n % 3],
            ).encode()
        )  # fmt: skip
    sent: dict[Position, bytes | None] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        sent[message.partition(), message.offset()] = message.value()

    for n, value in enumerate(values):
        producer.produce(SALES.raw_topic, value, str(n), on_delivery=delivered)
    producer.flush()
    assert len(sent) == len(values)

    suite.once()

    records, rejected = suite.table("records"), suite.table("rejected")
    assert positions(records + rejected) == sorted(sent)
    assert len(rejected) > 50
    assert len(records) > 100
    for row in rejected:
        value = sent[row["partition"], row["offset"]]
        assert original(row["raw"], value) == value
        assert row["topic"] == SALES.raw_topic
    expected = assert_tables(suite)

    live = suite.values(SALES.live_topic)
    assert positions(live) == positions(records)
    by_place = {(row["partition"], row["offset"]): row for row in records}
    for value in live:
        row = by_place[value["partition"], value["offset"]]
        assert isinstance(value["price"], str)
        assert Decimal(value["price"]) == row["price"]
        assert (value["product"], value["quantity"]) == (row["product"], row["quantity"])
        assert datetime.fromisoformat(value["event_time"]) == row["event_time"]
        assert value.get("extra") == (json.loads(row["extra"]) if row["extra"] else None)
    dead = suite.values(SALES.rejected_topic)
    assert positions(dead) == positions(rejected)
    reasons = {(row["partition"], row["offset"]): row["reasons"] for row in rejected}
    assert {(v["partition"], v["offset"]): v["reasons"] for v in dead} == reasons

    topics = (SALES.live_topic, SALES.rejected_topic, SALES.processed_topic)
    before = suite.versions(), {topic: suite.ends(topic) for topic in topics}, suite.csv_rows()
    suite.once()
    assert (suite.versions(), {topic: suite.ends(topic) for topic in topics}, suite.csv_rows()) == before

    assert_processed(suite, expected)


@pytest.mark.timeout(1200)
def test_a_recorded_day_killed_twice_in_mid_replay(suite: Suite) -> None:
    """3,108 rows of the UCI shop's first day; then SIGTERM, which ends the job cleanly."""
    path = recorded("sales/online_retail_2010-12-01.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    valid = [row for row in rows if row["Description"].strip() and Decimal(row["UnitPrice"]) >= 0]
    revenue = sum((int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in valid), Decimal(0))
    assert (len(rows), revenue) == (3108, Decimal("58635.56"))

    points = [random.randrange(1, 1000), random.randrange(1100, 2400)]

    def taken() -> int:
        return suite.count("records") + suite.count("rejected")

    # Small batches: wherever it is killed, it is amid the day.
    job = suite.start_job(HEADWATER_JOBS_MAX_OFFSETS_PER_TRIGGER="300")
    replay = suite.start(sys.executable, "-m", "producers.sales", "--source", "replay", str(path), "--rate", "300")
    try:
        for point in points:
            suite.eventually(lambda point=point: taken() >= point, START_S, job)  # type: ignore[misc]
            suite.kill(job)
            assert taken() < 3108
            job = suite.start_job(HEADWATER_JOBS_MAX_OFFSETS_PER_TRIGGER="300")
        assert replay.wait(START_S) == 0, suite.log(replay)
        suite.eventually(lambda: taken() >= 3108, START_S, job)
    except BaseException as error:
        error.add_note(f"killed when {points} rows were taken")
        raise

    job.send_signal(signal.SIGTERM)
    assert job.wait(90) == 0, suite.log(job)[-3000:]
    assert suite.session_of(job) == []
    assert "Traceback" not in suite.log(job)

    suite.once()

    records, rejected = suite.table("records"), suite.table("rejected")
    everything = [(p, offset) for p, end in suite.ends(SALES.raw_topic).items() for offset in range(end)]
    assert len(everything) == 3108
    assert positions(records + rejected) == sorted(everything)
    assert len(records) == len(valid)
    assert len({row["event_id"] for row in records}) == len(valid)
    expected = assert_tables(suite)
    assert sum((figures[1] for figures in expected["totals"].values()), Decimal(0)) == revenue
    assert set(positions(suite.values(SALES.live_topic))) == set(positions(records))
    assert set(positions(suite.values(SALES.rejected_topic))) == set(positions(rejected))
    assert_processed(suite, expected)


@pytest.mark.timeout(600)
def test_too_few_slots_and_wrong_arguments_are_refused(suite: Suite) -> None:
    code, said = suite.run(*SUBMIT, "--master", "local[1]", "jobs/sales.py")
    assert code != 0
    assert "error:" in said
    assert "local[1] has 1" in said
    assert "local[3]" in said
    assert "Traceback" not in said
    assert sum(suite.ends(SALES.live_topic).values()) == 0

    code, said = suite.run(*SUBMIT, "jobs/sales.py", "--queries", "live,archve")
    assert code == 2
    assert "archve" in said
    assert "live, aggregate, archive" in said
    assert "Traceback" not in said

    nobody = f"127.0.0.1:{free_port()}"
    code, said = suite.run(sys.executable, "jobs/sales.py", "--once", KAFKA_BOOTSTRAP_SERVERS=nobody)
    assert code == 1
    assert nobody in said
    assert "error:" in said
    assert "Traceback" not in said

    code, said = suite.run(sys.executable, "jobs/sales.py", "--once", KAFKA_BOOTSTRAP_SERVERS="")
    assert code == 1
    assert "no Kafka broker" in said
    assert "make kafka-up" in said
    assert "Traceback" not in said
