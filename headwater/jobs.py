"""The frame that runs declared streams: session, sources, three shared queries, and a clean end.

A job declares its stream (:class:`StreamJob`) and calls :func:`main`. One stream or all of them, the
queries are the same three:

- **live**: real-time mode, to the live and rejected topics;
- **aggregate**: micro-batches a second apart, counted in the driver, to the processed topics;
- **archive**: slow micro-batches, to the tables (``headwater.archive``).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from headwater import logs, queries
from headwater.acknowledgements import Acknowledgements
from headwater.aggregate import Aggregate
from headwater.archive import Archive
from headwater.broker import find_broker
from headwater.checkpoints import require_sound
from headwater.contracts.base import Stream
from headwater.counting import brought_columns
from headwater.errors import HeadwaterError, run_main
from headwater.folds import Fold
from headwater.kafka import client_config, spark_options
from headwater.keeping import Keeper
from headwater.processed import ProcessedTopic
from headwater.quality import checked
from headwater.queries import Together
from headwater.settings import Settings, load_settings
from headwater.status import Listener, Status, query_of
from headwater.tally import NoStore, Tally
from headwater.topics import ensure_topics, partition_count
from headwater.turns import Turns
from headwater.unread import Offsets, Reader, require_read
from headwater.views import View

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
QUERIES = ("live", "aggregate", "archive")
MICRO_BATCH_SLOTS = 4
"""Slots kept for micro-batches beside the ones that real-time tasks hold for good: two for the aggregate's and two for
the archive's, whose tasks take seconds each."""

FETCH_WAIT_MS = 10
"""A micro-batch's consumer asks for where a partition ends as soon as it has read, and by then has sent the next fetch
ahead: the broker answers that one first, and after half a second if nothing new comes."""

LINGER_MS = 40
"""The live query's producer waits so long for more: at hundreds of records a second each request is of several."""

SWITCH_SECONDS = 0.0001
"""The longest that a thread of the driver keeps the others waiting. At Python's 5 ms one that comes back from SQLite or
a socket waits as long for another that counts: the aggregate for the archive, statement after statement.
"""

EXCLUDED_RULES = "spark.sql.optimizer.excludedRules"
NEEDLESS_RULES = (
    "org.apache.spark.sql.catalyst.optimizer.FoldablePropagation",
    "org.apache.spark.sql.catalyst.optimizer.OptimizeOneRowRelationSubquery",
    "org.apache.spark.sql.catalyst.optimizer.RemoveRedundantAliases",
    "org.apache.spark.sql.delta.metric.OptimizeConditionalIncrementMetric",
    "org.apache.spark.sql.delta.optimizer.RangePartitionIdRewrite",
    "org.apache.spark.sql.delta.stats.PrepareDeltaScan",
    "org.apache.spark.sql.execution.datasources.PruneFileSourcePartitions",
    "org.apache.spark.sql.execution.datasources.PushVariantIntoScan",
    "org.apache.spark.sql.execution.datasources.SchemaPruning",
)
"""Of the optimizer: they look at every expression of a batch's plan, anew for each batch, and have nothing to find in
one that reads Kafka alone (``docs/decisions/0062-what-a-second-of-a-batch-was.md``).
"""

DATA_LOSS = "not available in Kafka any more"
"""What Spark says of messages that are gone, whether it notices when it plans a batch or when it reads it."""

POLL_SECONDS = 0.5
"""Between two looks at whether the queries still run; each asks the JVM once a query."""
BEAT_SECONDS = 5.0
"""A query that runs says so this often."""


@dataclass(frozen=True)
class StreamJob:
    """A stream as its job declares it."""

    stream: Stream
    views: tuple[View, ...]
    daily_csv: View | None = None
    fold: Callable[[Settings], Fold[Any]] | None = None
    """Tables that follow from a key's records in their order."""

    def fold_of(self, settings: Settings) -> Fold[Any] | None:
        """The fold that the archive keeps."""
        return self.fold(settings) if self.fold else None

    def fresh_fold_of(self, settings: Settings) -> Fold[Any] | None:
        """The same where the aggregate keeps it as well, which writes no files and need not gather their rows."""
        fold = self.fold_of(settings)
        return replace(fold, daily_csv=None, day_files=None) if fold and fold.is_fresh else None


class JobError(HeadwaterError):
    """A job can't start, or one of its queries ended."""


def main(jobs: Sequence[StreamJob]) -> None:
    """The command line of every job."""
    run_main(lambda: run_jobs(jobs))


def run_jobs(jobs: Sequence[StreamJob]) -> int:
    """Runs the queries that the command line asks for; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.accept_loss and not arguments.once:
        parser.error("--accept-loss goes with --once: what is lost later is to be told again")
    settings = load_settings()
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.set_up(settings, "jobs")
    bootstrap = find_broker(settings)
    ensure_topics(settings, bootstrap, [job.stream for job in jobs])
    with Run(jobs, settings, bootstrap, once=arguments.once, accept_loss=arguments.accept_loss) as run:
        return run.until_stopped(arguments.queries)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run the queries of Headwater's streams.")
    parser.add_argument("--once", action="store_true", help="take what the topics hold now, then exit")
    parser.add_argument(
        "--accept-loss", action="store_true", help="with --once: go on without what Kafka deleted before it was read"
    )
    parser.add_argument(
        "--queries", type=_query_names, default=QUERIES, metavar="LIST", help=f"some of {','.join(QUERIES)}"
    )
    return parser


def _query_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in QUERIES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"unknown query {', '.join(unknown) or '(none)'}; there are {', '.join(QUERIES)}"
        )
    return tuple(name for name in QUERIES if name in names)


class Run:
    """One run of some streams' queries in one Spark driver."""

    def __init__(
        self, jobs: Sequence[StreamJob], settings: Settings, bootstrap: str, *, once: bool, accept_loss: bool = False
    ) -> None:
        self._jobs = sorted(jobs, key=lambda job: job.stream.name)
        self._settings = settings
        self._bootstrap = bootstrap
        self._once = once
        self._accept_loss = accept_loss
        self._name = "+".join(job.stream.name for job in self._jobs)
        self._stop = threading.Event()
        self._queries: list[StreamingQuery] = []
        self._archives: dict[Stream, Archive] = {}
        self._at_archives = threading.Lock()
        self._elapsed = time.monotonic()
        self._keeper: Keeper | None = None
        self._closing: list[Callable[[], None]] = []

    def __enter__(self) -> Run:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: self._stop.set())
        topics = [job.stream.raw_topic for job in self._jobs]
        self._needed = sum(partition_count(self._settings, self._bootstrap, topic) for topic in topics)
        self._spark = session(self._name, self._settings, self._needed + MICRO_BATCH_SLOTS)
        _tell_python(self._stop)
        client = client_config(self._settings, self._bootstrap)
        self._status = Status(client)
        pace = self._settings.jobs
        triggers = {"aggregate": pace.aggregate_trigger_seconds, "archive": pace.archive_trigger_seconds}
        names = [job.stream.name for job in self._jobs]
        self._listener = Listener(self._status, names, {} if self._once else triggers, finite=self._once)
        self._spark.streams.addListener(self._listener)
        self._beaten = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()  # whatever ended us: a batch that waits for its turn would wait for a query that is gone
        with suppress(Py4JError, OSError):  # the same signal may have ended the JVM already
            for query in self._queries:
                query.stop()
        for close in self._closing:
            close()
        self._listener.close()
        self._status.close()
        with suppress(Py4JError, OSError):
            self._spark.stop()

    def until_stopped(self, names: Sequence[str]) -> int:
        """Runs the queries until a signal, the end of ``--once``, or a query's failure; returns the exit code."""
        start: dict[str, Callable[[], list[StreamingQuery]]] = {
            "live": self._live,
            "aggregate": self._aggregate,
            "archive": self._archive,
        }
        for checkpoint in sorted({self._checkpoint(name, job) for name in names for job in self._jobs}):
            require_sound(checkpoint)
        self._require_read(names)
        if "live" in names and not self._once:
            require_slots(self._spark, self._needed + (len(names) > 1))
        for name in names:
            if self._stop.is_set():
                break
            self._queries += start[name]()
            # One after the other: the exact rows of the archive are to be the last ones written.
            if self._once:
                self._await(lambda: not any(query.isActive for query in self._queries))
        if not self._once:
            self._await(lambda: any(not query.isActive for query in self._queries))
        elif self._keeper and not self._stop.is_set():
            self._keeper.round()
        return 0

    def _await(self, condition: Callable[[], bool]) -> None:
        """Python hears signals between two waits only, so the waits are short."""
        while not condition() and not self._stop.wait(POLL_SECONDS):
            self._elapse()
            self._beat()
        self._raise_failure()

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            self._listener.beat([query.name for query in self._queries if query.isActive])

    def _elapse(self) -> None:
        """What is done between two batches: silence ends things too, and Spark calls nobody while nothing comes; and
        the tables are kept level, one at a time, so that a batch never waits for long.
        """
        if self._once or not self._at_archives.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._elapsed >= self._settings.jobs.archive_trigger_seconds:
                for stream, archive in self._archives.items():
                    archive.elapse()
                    self._tell(stream, archive)
                self._elapsed = time.monotonic()
            elif self._keeper and self._keeper.is_due():
                self._keeper.turn()
        finally:
            self._at_archives.release()

    def _raise_failure(self) -> None:
        for query in self._queries:
            failure = None if query.isActive else query.exception()
            if failure and not self._stop.is_set():
                if DATA_LOSS in str(failure):
                    self._require_read([query_of(query.name)])
                raise JobError(f"the {query_of(query.name)} query of {self._name} failed: {cause(str(failure))}")

    def _require_read(self, queries: Sequence[str]) -> dict[str, Offsets]:
        """Nothing that some queries are to read next is gone from Kafka, unless that is accepted. Returns where the
        topics begin.
        """
        ledgers = {"aggregate": self._settings.fresh_ledger, "archive": self._settings.ledger}
        readers = [
            Reader(
                query,
                job.stream.raw_topic,
                self._checkpoint(query, job),
                ledgers[query](job.stream.name) if query in ledgers else None,
            )
            for query in queries
            for job in self._jobs
        ]
        return require_read(client_config(self._settings, self._bootstrap), readers, accept_loss=self._accept_loss)

    # -- the three queries

    def _live(self) -> list[StreamingQuery]:
        """One for each stream: nothing passes while a query plans its next batch, and a plan of all takes seconds."""
        messages, begun = self._messages({}), []
        for number, job in enumerate(self._jobs):
            out = self._to_kafka(queries.live(checked(messages[job.stream], job.stream), job.stream))
            # Each a little longer than the one before, so that they don't all plan at the same time.
            seconds = self._settings.jobs.realtime_checkpoint_seconds + number
            begun.append(self._start("live", out, job, realTime=f"{seconds} seconds"))
        return begun

    def _aggregate(self) -> list[StreamingQuery]:
        folds = {job.stream: job.fresh_fold_of(self._settings) for job in self._jobs}
        columns = {job.stream: brought_columns(job.views, folds[job.stream]) for job in self._jobs}
        together = Together(self._batches, columns, rejects=False, tasks=tasks_at_once(self._spark))
        client = client_config(self._settings, self._bootstrap)
        tallies = {
            job.stream: Tally(
                self._settings.fresh_ledger(job.stream.name),
                job.stream,
                job.views,
                folds[job.stream],
                ProcessedTopic(job.stream, client, "aggregate"),
                self._settings.jobs,
                store=NoStore(),
                acknowledgements=self._acknowledgements_of(job),
                now=None if self._once else _wall_clock,
            )
            for job in self._jobs
        }
        begins = self._require_read(["aggregate"])
        for stream, tally in tallies.items():
            tally.ledger.start_from(begins[stream.raw_topic])
        aggregate = Aggregate(tallies, together)
        self._closing.append(aggregate.close)
        pace = self._settings.jobs.aggregate_trigger_seconds

        def take(rows: pa.Table) -> None:
            aggregate.take(rows)
            for stream, tally in tallies.items():
                self._status.ledger(stream.name, "fresh", tally.ledger)

        writer = together.frame.writeStream.foreachBatch(lambda batch, _: take(batch.toArrow()))
        return [self._start("aggregate", writer, processingTime=f"{pace} seconds")]

    def _archive(self) -> list[StreamingQuery]:
        for job in self._jobs:
            self._archives[job.stream] = self._archive_of(job)
            self._closing.append(self._archives[job.stream].close)
        begins = self._require_read(["archive"])  # again: a ledger may have been built anew
        for stream, archive in self._archives.items():
            archive.start_from(begins[stream.raw_topic])
        tables = [table for archive in self._archives.values() for table in archive.tables()]
        self._keeper = Keeper(tables, self._settings.keeping)
        columns = {stream: archive.pulled_columns() for stream, archive in self._archives.items()}
        together = Together(self._batches, columns, rejects=True, tasks=tasks_at_once(self._spark))
        first, then = (self._settings.checkpoint(self._name, name) for name in ("aggregate", "archive"))
        turns = Turns(first, then, self._stop)
        # With --once it has ended by now, and may have taken less.
        is_second = any(query.name == "aggregate" for query in self._queries) and not self._once

        def take(rows: pa.Table, number: int) -> None:
            if is_second:
                turns.wait(number)
            self._take(together, rows)

        writer = together.frame.writeStream.foreachBatch(lambda batch, number: take(batch.toArrow(), number))
        pace = self._settings.jobs.archive_trigger_seconds
        return [self._start("archive", writer, processingTime=f"{pace} seconds")]

    def _archive_of(self, job: StreamJob) -> Archive:
        archive = Archive(
            self._spark,
            self._settings,
            job.stream,
            job.views,
            job.daily_csv,
            ProcessedTopic(job.stream, client_config(self._settings, self._bootstrap), "archive"),
            job.fold_of(self._settings),
            None if self._once else _wall_clock,
            self._acknowledgements_of(job),
        )
        archive.recover(self._read)
        return archive

    def _acknowledgements_of(self, job: StreamJob) -> Acknowledgements | None:
        client = client_config(self._settings, self._bootstrap)
        return Acknowledgements(job.stream, client) if job.stream.acknowledged else None

    def _take(self, together: Together, rows: pa.Table) -> None:
        with self._at_archives:
            for stream, archive in self._archives.items():
                archive.take(together.rows_of(stream, rows))
                self._tell(stream, archive)
            self._elapsed = time.monotonic()

    def _tell(self, stream: Stream, archive: Archive) -> None:
        self._status.stream(stream.name, archive.counters())
        self._status.ledger(stream.name, "archive", archive.ledger)

    # -- sources and sinks

    @cached_property
    def _batches(self) -> dict[Stream, DataFrame]:
        """What both queries of micro-batches read."""
        limit = {"maxOffsetsPerTrigger": self._settings.jobs.max_offsets_per_trigger}
        return self._messages(limit | {"kafka.fetch.max.wait.ms": FETCH_WAIT_MS})

    def _messages(self, options: Mapping[str, int]) -> dict[Stream, DataFrame]:
        """Each stream's messages as they come. Real-time mode takes no limit of a batch."""
        found = {}
        for job in self._jobs:
            source = (
                self._spark.readStream.format("kafka")
                .options(**spark_options(self._settings, self._bootstrap))
                .option("subscribe", job.stream.raw_topic)
                .option("startingOffsets", "earliest")
                .option("failOnDataLoss", str(not self._accept_loss).lower())
                .options(**options)
            )
            found[job.stream] = source.load()
        return found

    def _read(self, stream: Stream, starts: dict[int, int], ends: dict[int, int]) -> DataFrame:
        """Some of a stream's messages as a batch; a partition without a start is read from its beginning."""
        first = ", ".join(f'"{partition}": {starts.get(partition, -2)}' for partition in ends)
        last = ", ".join(f'"{partition}": {end}' for partition, end in ends.items())
        assigned = ", ".join(map(str, ends))
        return (
            self._spark.read.format("kafka")
            .options(**spark_options(self._settings, self._bootstrap))
            .option("assign", f'{{"{stream.raw_topic}": [{assigned}]}}')
            .option("startingOffsets", f'{{"{stream.raw_topic}": {{{first}}}}}')
            .option("endingOffsets", f'{{"{stream.raw_topic}": {{{last}}}}}')
            .load()
        )

    def _to_kafka(self, out: DataFrame) -> DataStreamWriter:
        return (
            out.writeStream.format("kafka")
            .option("kafka.linger.ms", LINGER_MS)
            .options(**spark_options(self._settings, self._bootstrap))
            .outputMode("update")
        )

    def _checkpoint(self, query: str, job: StreamJob) -> Path:
        """Where a query notes how far it is with a job's stream."""
        return self._settings.checkpoint(job.stream.name if query == "live" else self._name, query)

    def _start(
        self, name: str, writer: DataStreamWriter, job: StreamJob | None = None, **trigger: str
    ) -> StreamingQuery:
        """``job``: whose stream the query is of, where it is not of all."""
        # A pool for each query: the archive's long tasks leave slots to the aggregate's short ones, and free ones go to
        # the live query's first (conf/spark/fairscheduler.xml).
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", name)
        timed = writer.trigger(availableNow=True) if self._once else writer.trigger(**trigger)
        named = timed.queryName(f"{name}:{job.stream.name}" if job else name)
        checkpoint = self._checkpoint(name, job or self._jobs[0])
        # A query keeps the session's settings of its start; what else is asked of the session goes by all rules.
        others = self._spark.conf.get(EXCLUDED_RULES, "") or ""
        self._spark.conf.set(EXCLUDED_RULES, ",".join([*NEEDLESS_RULES, others]))
        try:
            return named.option("checkpointLocation", str(checkpoint)).start()
        finally:
            self._spark.conf.set(EXCLUDED_RULES, others)


def _wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def session(name: str, settings: Settings, slots: int) -> SparkSession:
    """The Spark session. On one machine ``local[N]`` counts task slots, not cores."""
    builder = SparkSession.builder.appName(f"headwater-{name}")
    for key, value in settings.spark.properties.items():
        builder = builder.config(key, value)
    master = settings.spark.master or _submitted_master() or f"local[{slots}]"
    spark = builder.master(master).getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def tasks_at_once(spark: SparkSession) -> int | None:
    """How many tasks a micro-batch is worth: on one machine as many as it has cores, whatever its slots, since each
    unpacks the plan of all streams first. On a cluster one for each partition.
    """
    return os.cpu_count() if is_one_machine(spark) else None


def is_one_machine(spark: SparkSession) -> bool:
    """Whether driver and tasks are one process."""
    return str(spark.sparkContext.master).startswith("local")


def _submitted_master() -> str | None:
    """What ``spark-submit --master`` was given; ``local[*]`` is its word for nothing."""
    SparkContext._ensure_initialized()
    master = SparkConf().get("spark.master")
    return None if master == "local[*]" else master


def cause(failure: str) -> str:
    """The part of a query's failure that says what is wrong: of a Python traceback, its last line that is not where
    Java stood.
    """
    text = failure.split("=== Streaming Query ===", maxsplit=1)[0].strip()
    if "Traceback (most recent call last)" not in text:
        return text
    return [line for line in text.splitlines() if not line.startswith(("\tat ", "\t... "))][-1]


class _Stopper:
    """A Java signal handler, called over py4j."""

    class Java:
        """What py4j asks a Python object that stands for a Java one."""

        implements: ClassVar = ["sun.misc.SignalHandler"]

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def handle(self, _: object) -> None:
        self._stop.set()


def _tell_python(stop: threading.Event) -> None:
    """Under spark-submit the JVM is the process that is signalled; left alone, it ends amid a batch."""
    gateway: Any = SparkContext._gateway
    ensure_callback_server_started(gateway)
    stopper = _Stopper(stop)
    for number in STOP_SIGNALS:
        name = number.name.removeprefix("SIG")
        gateway.jvm.sun.misc.Signal.handle(gateway.jvm.sun.misc.Signal(name), stopper)


def require_slots(spark: SparkSession, needed: int, timeout_seconds: float = 60) -> None:
    """Real-time mode with fewer slots than partitions delivers a part of the records, and says nothing."""
    context = spark.sparkContext
    deadline = time.monotonic() + (0 if is_one_machine(spark) else timeout_seconds)
    while context.defaultParallelism < needed:
        if time.monotonic() >= deadline:
            raise JobError(
                f"{needed} task slots are needed (one for each partition of the raw topics, one more for the other "
                f"queries), and {context.master} has {context.defaultParallelism}: with too few, real-time mode loses "
                f"records silently. Give it `--master local[{needed}]` or more, leave --master out, or on a cluster "
                f"raise spark.cores.max or the number of executors."
            )
        time.sleep(1)
