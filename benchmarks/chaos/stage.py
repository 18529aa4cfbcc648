"""What a run consists of: a broker behind a proxy, an SQL server, producers, a job, the suite and the dashboard.

The first of the streams has a driver of its own (a job), the others share one (the suite): both ways of running them,
and a kill of one must leave the other alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.chaos.parts import Keeper, Part
from benchmarks.chaos.proxy import HOST, Proxy
from headwater.broker import read_running
from headwater.contracts import STREAMS, Stream
from headwater.settings import Settings, load_settings
from headwater.topics import end_offsets, ensure_topics
from tests.ports import free_port
from tests.postgres import Server
from tests.trucks_reference import Box

BIN = Path(sys.executable).parent

STALE_AFTER_SECONDS = 15
"""A page says that its data stands still after so long."""

AGGREGATE_SECONDS, ARCHIVE_SECONDS = 2, 20
"""From one batch to the next: many, so that many are hit, and not so many that two cores have no time for a browser."""

WATERMARK_SECONDS = 60
"""So soon are windows final: at the end of a run each that becomes so is a change that is waited for."""

ABANDONED_MINUTES = 1
"""So soon does a basket count as left behind. After thirty, those of a run's first minutes would do so at its end, and
those of each later minute a minute later.
"""

AREAS = (
    Box("Waalhaven", "depot", 51.87, 4.42, 51.90, 4.45),
    Box("Logport", "depot", 51.38, 6.70, 51.41, 6.73),
    Box("Noorderlaan", "no_go", 51.26, 4.38, 51.28, 4.41),
)
"""Geofences that are boxes, so that a plain comparison says who is within."""

BROKER, SQL, JOB, SUITE, DASHBOARD = "broker", "sql", "job", "suite", "dashboard"


def producer_name(stream: Stream) -> str:
    return f"producer-{stream.name}"


@dataclass
class Stage:
    """The parts of a run and where each keeps its things. ``home``: tables and checkpoints; ``work``: all else."""

    streams: Sequence[Stream]
    rate: float
    home: Path
    work: Path
    keeper: Keeper
    server: Server

    def __post_init__(self) -> None:
        self.kafka_port, self.proxy_port, self.dash_port = free_port(), free_port(), free_port()
        self.proxy = Proxy(self.proxy_port, self.kafka_port)
        areas = {"type": "FeatureCollection", "features": [area.geojson() for area in AREAS]}
        (self.work / "areas.geojson").write_text(json.dumps(areas))

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.proxy_port}"

    @property
    def address(self) -> str:
        """The dashboard's."""
        return f"http://{HOST}:{self.dash_port}"

    @property
    def drivers(self) -> dict[str, Sequence[Stream]]:
        """The streams of each part that runs jobs."""
        own = {JOB: self.streams[:1], SUITE: self.streams[1:]}
        return {name: streams for name, streams in own.items() if streams}

    @cached_property
    def settings(self) -> Settings:
        """What jobs, producers and dashboard see."""
        return load_settings(self._own(self.home, KAFKA_BOOTSTRAP_SERVERS=self.bootstrap))

    @cached_property
    def broker_settings(self) -> Settings:
        return load_settings(self._broker())

    def journal(self, stream: Stream) -> Path:
        return self.work / "journals" / f"{stream.name}.csv"

    # -- the parts

    def start(self) -> None:
        self.proxy.start()
        self.keeper.start(Part(SQL, self.server.command, os.environ))
        self.keeper.start(self._python(BROKER, "headwater.broker", "hold", environment=self._broker(), stop_seconds=40))
        self.keeper.start(
            self._python(
                DASHBOARD, "dashboards.app", "--stale-after", str(STALE_AFTER_SECONDS), environment=self._suite()
            )
        )

    def start_jobs(self) -> None:
        """When Kafka answers."""
        ensure_topics(self.settings, self.bootstrap, self.streams)
        for name, streams in self.drivers.items():
            alone = name == JOB
            script = f"jobs/{streams[0].name}.py" if alone else "jobs/suite.py"
            environment = self._suite(
                STREAMS=" ".join(stream.name for stream in streams),
                SPARK_LOCAL_DIRS=str(self.work / "spark" / name),
                # A JVM that is killed leaves its temporary files behind.
                SPARK_SUBMIT_OPTS=f"-Djava.io.tmpdir={self.work}",
            )
            self.keeper.start(Part(name, ["spark-submit", script], environment, stop_seconds=60))

    def start_producers(self) -> None:
        for stream in self.streams:
            about = (stream.name, str(self.journal(stream)), str(self.rate))
            self.keeper.start(
                self._python(
                    producer_name(stream),
                    "benchmarks.chaos.producer",
                    *about,
                    environment=self._suite(),
                    stop_seconds=40,
                )
            )

    def processes(self, name: str) -> list[psutil.Process]:
        """Those of a part: with the broker that is held, and what of the SQL server has left its session."""
        members = self.keeper.members(name)
        if name == SQL:
            members += [process for member in members for process in children(member)]
        if name == BROKER and (running := read_running(self.broker_settings)):
            members.append(psutil.Process(running.pid))
        return members

    def halves(self, name: str) -> dict[str, list[psutil.Process]]:
        """The processes of a job by what they are: the JVM, and Python with its workers."""
        found: dict[str, list[psutil.Process]] = {"jvm": [], "python": []}
        for process in self.processes(name):
            try:
                found["jvm" if "java" in process.name() else "python"].append(process)
            except psutil.Error:
                continue
        return {**found, "all": found["jvm"] + found["python"]}

    def names(self) -> list[str]:
        """Every part's."""
        return [SQL, BROKER, DASHBOARD, *self.drivers, *map(producer_name, self.streams)]

    # -- Kafka, as everybody sees it

    def answers(self) -> bool:
        try:
            self.admin.list_topics(timeout=2)
        except KafkaException:
            return False
        return True

    def ends(self, topics: Sequence[str]) -> dict[str, int] | None:
        """Where topics end; None while Kafka doesn't say."""
        try:
            return end_offsets(self.admin, topics)
        except (KafkaException, KeyError):
            return None

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": "0", "reconnect.backoff.max.ms": "1000"})

    # -- environments

    def _python(
        self, name: str, module: str, *arguments: str, environment: Mapping[str, str], stop_seconds: float = 10
    ) -> Part:
        return Part(name, [sys.executable, "-m", module, *arguments], environment, stop_seconds)

    def _own(self, home: Path, **more: str) -> dict[str, str]:
        """As in a shell where the environment is activated, and none of the caller's settings."""
        strangers = ("HEADWATER_", "SPARK_", "KAFKA_", "DASH_", "STREAMS", "OPENSKY_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(strangers)}
        return clean | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HEADWATER_HOME": str(home), **more}

    def _broker(self) -> dict[str, str]:
        ports = {"HEADWATER_KAFKA_PORT": str(self.kafka_port), "HEADWATER_KAFKA_ADVERTISED": self.bootstrap}
        return self._own(self.work / "broker", **ports)

    def _suite(self, **more: str) -> dict[str, str]:
        return self._own(
            self.home,
            KAFKA_BOOTSTRAP_SERVERS=self.bootstrap,
            HEADWATER_SQL_URL=self.server.url("postgres").replace("postgresql", "postgresql+psycopg", 1),
            HEADWATER_JOBS_AGGREGATE_TRIGGER_SECONDS=str(AGGREGATE_SECONDS),
            HEADWATER_JOBS_ARCHIVE_TRIGGER_SECONDS=str(ARCHIVE_SECONDS),
            HEADWATER_JOBS_WATERMARK_SECONDS=str(WATERMARK_SECONDS),
            HEADWATER_CO2_HISTORY_DAYS="0",
            HEADWATER_EVENTS_ABANDONED_MINUTES=str(ABANDONED_MINUTES),
            HEADWATER_TRUCKS_GEOFENCES=str(self.work / "areas.geojson"),
            DASH_HOST=HOST,
            DASH_PORT=str(self.dash_port),
            **more,
        )


def children(process: psutil.Process) -> list[psutil.Process]:
    """All below a process; none of one that is gone."""
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def chosen(names: Sequence[str]) -> list[Stream]:
    """Streams by name; sales first, since its job is the one that has a driver of its own."""
    return sorted(
        (STREAMS[name] for name in names or STREAMS), key=lambda stream: (stream.name != "sales", stream.name)
    )


@contextmanager
def staged(streams: Sequence[Stream], rate: float, home: Path, work: Path, server: Server) -> Iterator[Stage]:
    """A stage whose parts are ended in the end, whatever becomes of the run."""
    keeper = Keeper(work / "log")
    stage = Stage(streams, rate, home, work, keeper, server)
    try:
        yield stage
    finally:
        for name in stage.names():
            _thaw_all(stage, name)
        keeper.close()
        stage.proxy.close()


def _thaw_all(stage: Stage, name: str) -> None:
    """What is frozen hears nobody."""
    for process in stage.processes(name):
        try:
            process.resume()
        except psutil.Error:
            continue
