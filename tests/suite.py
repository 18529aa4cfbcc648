"""A broker and a home of their own, and the processes of a test against them, started as users start them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from headwater.broker import ensure_broker, stop_broker
from headwater.contracts import STREAMS
from headwater.settings import REPOSITORY, Settings, load_settings
from headwater.topics import STATUS_TOPIC, ensure_topics
from tests.ports import free_port

START_S = 180
END_S = 240
BIN = Path(sys.prefix) / "bin"
SUBMIT = [str(BIN / "spark-submit")]
Position = tuple[int, int]


@dataclass
class Suite:
    """A broker and a home of their own, and the processes of a test against them."""

    home: Path
    bootstrap: str = ""
    job: str = "jobs/sales.py"
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """As in a shell where the environment is activated."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "SPARK_"))}
        return clean | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HEADWATER_HOME": str(self.home),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "SPARK_LOCAL_DIRS": str(self.home / "spark"),
            # A JVM that is killed leaves its temporary files behind.
            "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={self.home}",
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
        code, said = self.run(*SUBMIT, self.job, "--once")
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

    def table(self, name: str, stream: str = "sales") -> list[dict[str, Any]]:
        path = self.settings().delta(stream, name)
        rows: list[dict[str, Any]] = DeltaTable(str(path)).to_pyarrow_table().to_pylist()
        return rows

    def taken(self, stream: str) -> int:
        """Rows of `records` and `rejected`, by their logs alone; none while they aren't there."""
        found = 0
        for name in ("records", "rejected"):
            with suppress(TableNotFoundError):
                found += DeltaTable(str(self.settings().delta(stream, name))).count()
        return found

    def versions(self) -> dict[str, int]:
        names = ("records", "rejected", *(table.name for table in STREAMS["sales"].tables))
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
        job = self.start(*SUBMIT, self.job, HEADWATER_JOBS_ARCHIVE_TRIGGER_SECONDS="3", **environment)
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
        ensure_topics(broker, made.bootstrap, list(STREAMS.values()))
        yield made
    finally:
        for process in made.running:
            made.kill(process)
        stop_broker(broker)
