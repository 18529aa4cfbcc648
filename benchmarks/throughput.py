"""Records a second of each job's queries beside Kafka-to-nothing, Quix Streams and a plain kafka-python loop.

    python -m benchmarks throughput --streams sales --records 1000000

All read the same topic of the same broker from its beginning to its end, in turn (A B C, A B C), once to warm up and
then some times more; medians count. The jobs' queries run as ``spark-submit jobs/<stream>.py --once --queries ...``
runs them, each time from nothing: new checkpoint, new ledger, new tables. Kafka-to-nothing is Spark's own source, with
the jobs' options, written to Spark's noop sink: what no job can exceed. The shares of it carry over to another machine,
the rates don't.

The rivals (``benchmarks.rivals``) keep the same tables by hand and take the first part of the topic, since their rate
does not change with its length. What they do less is told there and in docs/decisions/0059-benchmarks.md.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamWriter

from benchmarks.figures import MINUS, Table, percent, ratio, say
from benchmarks.ground import broker_process, ground, in_process, produce
from benchmarks.processes import cpu_of, own_cpu
from benchmarks.rivals.environment import quix_python
from headwater.contracts import Stream
from headwater.errors import HeadwaterError
from headwater.jobs import FETCH_WAIT_MS, MICRO_BATCH_SLOTS, STOP_SIGNALS, Run, StreamJob, session
from headwater.kafka import spark_options
from headwater.quality import checked, valid
from headwater.settings import REPOSITORY, Settings, load_settings
from jobs.suite import JOBS

LIMIT, ONE_BATCH, PARSED = "Kafka to nothing, the limit", "the same in one batch", "parsed and checked, to nothing"
LIVE, AGGREGATE, ARCHIVE = "live, to Kafka", "aggregate, to Kafka", "archive, to Delta, CSV, SQL and Kafka"
QUIX, LOOP = "Quix Streams, the aggregate's tables", "plain kafka-python loop, the same"
SPARK_SUM, QUIX_SUM, LOOP_SUM = "Spark, one keyed sum", "Quix Streams, one keyed sum", "plain loop, one keyed sum"
RIVAL_LIMIT_S = 600

GOALS = {
    **dict.fromkeys(("sales", "events"), "60 %, 3.00"),
    **dict.fromkeys(("trucks", "aircraft", "co2"), "-, 2.00"),
}
"""Of Kafka-to-nothing and of Quix Streams: of sums and counts, and of tables that depend on a key's order."""

SUMS = {"sales": ("product", "quantity"), "co2": ("source_id", "emission_kg")}
"""What the keyed sum adds up by the topic's key; a stream that is not named here counts records."""


@dataclass
class Sizes:
    """How much is measured."""

    records: int = 300_000
    rival_records: int = 30_000
    runs: int = 3
    partitions: int = 4
    only: tuple[str, ...] = ()
    """Words of the contenders' names; the limit is always measured. All if empty."""


@dataclass
class Outcome:
    """A run: what it took for how many records. CPU is user and system of its own processes; the broker's apart."""

    records: int
    seconds: float
    cpu_seconds: float
    broker_seconds: float
    batches: list[float] = field(default_factory=list)
    """Of a query: the seconds of each of its batches."""

    @property
    def rate(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_a_million(self) -> float:
        return (self.cpu_seconds + self.broker_seconds) / self.records * 1_000_000


Results = dict[str, list[Outcome]]
Contender = Callable[[], Outcome]


def measured(streams: Sequence[Stream], sizes: Sizes, tell: Callable[[Table], None]) -> None:
    """Tells each stream's table as soon as it is there, then the summary.

    Each stream has a process of its own, and so a JVM of its own, which ends before the broker does.
    """
    found = {}
    with ground(streams, sizes.partitions) as (settings, bootstrap):
        for stream in streams:
            say(f"{stream.name}: {sizes.records:,} records are sent, then read {sizes.runs + 1} times by each")
            size = produce(settings, bootstrap, stream, sizes.records)
            found[stream.name] = in_process(measured_stream, bootstrap, stream.name, sizes)
            tell(report(stream.name, found[stream.name], sizes, size))
    tell(summary(found))


def measured_stream(bootstrap: str, name: str, sizes: Sizes) -> Results:
    """What each contender took, run by run."""
    try:
        return in_turn(chosen(Bench(load_settings(), bootstrap, JOBS[name], sizes).contenders(), sizes), sizes.runs)
    finally:
        if spark := SparkSession.getActiveSession():
            spark.stop()


def chosen(contenders: dict[str, Contender], sizes: Sizes) -> dict[str, Contender]:
    """The limit, and those that are asked for."""
    return {
        name: run
        for name, run in contenders.items()
        if name == LIMIT or not sizes.only or any(word in name for word in sizes.only)
    }


def in_turn(contenders: dict[str, Contender], runs: int) -> Results:
    """All of them once, which does not count, then again and again in the same order."""
    results: Results = {name: [] for name in contenders}
    for number in range(runs + 1):
        for name, run in contenders.items():
            outcome = run()
            if number:
                results[name].append(outcome)
    return results


class Bench:
    """What is measured of one stream, each reading the raw topic from its beginning."""

    def __init__(self, settings: Settings, bootstrap: str, job: StreamJob, sizes: Sizes) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._job = job
        self._sizes = sizes
        self._numbers = count(1)
        self._broker = broker_process(settings)

    def contenders(self) -> dict[str, Contender]:
        stream = self._job.stream
        return {
            LIMIT: lambda: self._to_nothing(lambda source: source),
            ONE_BATCH: lambda: self._to_nothing(lambda source: source, self._sizes.records),
            PARSED: lambda: self._to_nothing(lambda source: valid(checked(source, stream))),
            LIVE: lambda: self._job_run("live"),
            AGGREGATE: lambda: self._job_run("aggregate"),
            ARCHIVE: lambda: self._job_run("archive"),
            QUIX: lambda: self._rival("quix", "tables"),
            LOOP: lambda: self._rival("loop", "tables"),
            SPARK_SUM: lambda: self._to_nothing(lambda source: summed(source, stream), mode="update"),
            QUIX_SUM: lambda: self._rival("quix", "sum"),
            LOOP_SUM: lambda: self._rival("loop", "sum"),
        }

    def _job_run(self, query: str) -> Outcome:
        """A query as its job runs it with ``--once``."""
        home = self._new_folder()
        settings = self._settings.model_copy(update={"home": home})
        with kept_signals(), Run([self._job], settings, self._bootstrap, once=True) as run:
            outcome = self._timed(lambda: run.until_stopped((query,)))
        checkpoint = settings.checkpoint(self._job.stream.name, query)
        self._require(query, consumed(checkpoint))
        outcome.batches = batch_seconds(checkpoint)
        return outcome

    def _to_nothing(
        self, transform: Callable[[DataFrame], DataFrame], batch: int | None = None, mode: str = "append"
    ) -> Outcome:
        spark = session("bench", self._settings, self._sizes.partitions + MICRO_BATCH_SLOTS)
        checkpoint = self._new_folder() / "checkpoint"
        batch = batch or self._settings.jobs.max_offsets_per_trigger
        writer = transform(self._source(spark, batch)).writeStream.format("noop").outputMode(mode)
        outcome = self._timed(lambda: run_out(writer, checkpoint))
        self._require("to nothing", consumed(checkpoint))
        return outcome

    def _source(self, spark: SparkSession, batch: int) -> DataFrame:
        return (
            spark.readStream.format("kafka")
            .options(**spark_options(self._settings, self._bootstrap))
            .option("subscribe", self._job.stream.raw_topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", batch)
            .option("kafka.fetch.max.wait.ms", FETCH_WAIT_MS)
            .load()
        )

    def _rival(self, name: str, kind: str) -> Outcome:
        """One in a process of its own; its seconds count from its first record on."""
        folder = self._new_folder()
        records = min(self._sizes.rival_records, self._sizes.records)
        arguments = {
            "stream": self._job.stream.name, "bootstrap": self._bootstrap, "run": folder.name, "folder": str(folder),
            "records": str(records), "kind": kind,
        }  # fmt: skip
        python = quix_python() if name == "quix" else sys.executable
        program = [str(python), "-W", "ignore", "-m", f"benchmarks.rivals.{name}"]
        command = [*program, *(word for name, value in arguments.items() for word in (f"--{name}", value))]
        before = cpu_of(self._broker)
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=RIVAL_LIMIT_S, check=False
        )
        if done.returncode:
            raise HeadwaterError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        if told["records"] < records:
            raise HeadwaterError(f"{' '.join(command)} took {told['records']} of {records} records")
        return Outcome(told["records"], told["seconds"], told["cpu_seconds"], cpu_of(self._broker) - before)

    def _timed(self, run: Callable[[], object]) -> Outcome:
        cpu, broker, begun = own_cpu(), cpu_of(self._broker), time.perf_counter()
        run()
        took = time.perf_counter() - begun
        return Outcome(self._sizes.records, took, own_cpu() - cpu, cpu_of(self._broker) - broker)

    def _require(self, what: str, found: int) -> None:
        """A query that was stopped or took a part only has measured nothing."""
        if found != self._sizes.records:
            raise HeadwaterError(f"{self._job.stream.name}, {what}: {found} of {self._sizes.records} records")

    def _new_folder(self) -> Path:
        folder = self._settings.home / "bench" / f"{self._job.stream.name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder


def summed(source: DataFrame, stream: Stream) -> DataFrame:
    """Messages -> one number by key, as a plain streaming aggregation: parsed, unchecked, repeats and all."""
    key, value = SUMS.get(stream.name, (stream.key, None))
    fields = f"{key} STRING" + (f", {value} DOUBLE" if value else "")
    parsed = source.select(F.from_json(F.col("value").cast("string"), fields).alias("record")).select("record.*")
    return parsed.groupBy(key).agg(F.sum(value) if value else F.count(F.lit(1)))


def run_out(writer: DataStreamWriter, checkpoint: Path) -> None:
    """Takes what is there, then ends."""
    query = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    query.awaitTermination()


def consumed(checkpoint: Path) -> int:
    """How many offsets a query's last whole batch has left behind, of a topic read from its beginning."""
    done = batch_numbers(checkpoint)[-1]
    _, _, *sources = (checkpoint / "offsets" / str(done)).read_text().splitlines()
    return sum(end for source in sources for ends in json.loads(source).values() for end in ends.values())


def batch_numbers(checkpoint: Path) -> list[int]:
    """Of the batches that a query has ended."""
    return sorted(int(path.name) for path in (checkpoint / "commits").iterdir() if path.name.isdigit())


def batch_seconds(checkpoint: Path) -> list[float]:
    """From the note of what a batch is to hold to the note that it is done."""
    return [
        (checkpoint / "commits" / str(number)).stat().st_mtime - (checkpoint / "offsets" / str(number)).stat().st_mtime
        for number in batch_numbers(checkpoint)
    ]


@contextmanager
def kept_signals() -> Iterator[None]:
    """A run of jobs listens to signals; afterwards Ctrl-C means the benchmark again."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- what is told


def report(stream: str, results: Results, sizes: Sizes, bytes_a_record: float) -> Table:
    """A stream's contenders, each beside the limit and beside Quix Streams doing the same."""
    table = Table(
        f"{stream}: {sizes.records:,} records of {bytes_a_record:.0f} bytes (Quix Streams and the plain loop: "
        f"{sizes.rival_records:,}), {sizes.partitions} partitions, median of {sizes.runs}",
        ("query", "records/s", "range", "of the limit", "of Quix Streams", "CPU s a million", "of it the broker"),
    )
    limit = rate(results, LIMIT)
    for name, outcomes in results.items():
        rates = [outcome.rate for outcome in outcomes]
        quix = QUIX_SUM if name in (SPARK_SUM, QUIX_SUM, LOOP_SUM) else QUIX
        table.add(
            name,
            f"{median(rates):,.0f}",
            f"{min(rates):,.0f} - {max(rates):,.0f}",
            percent(median(rates), limit),
            MINUS if name in (LIMIT, ONE_BATCH, PARSED) else ratio(median(rates), rate(results, quix)),
            f"{_cpu(results, name):,.1f}",
            percent(sum(o.broker_seconds for o in outcomes), sum(o.cpu_seconds + o.broker_seconds for o in outcomes)),
        )
    return table


def summary(results: dict[str, Results]) -> Table:
    """The aggregates in one table, beside what the project set out to reach."""
    table = Table(
        "aggregates of all streams",
        ("stream", "records/s", "of Kafka to nothing", "of Quix Streams", "goal", "of a plain loop", "CPU of Quix's"),
    )
    for stream, own in results.items():
        if (aggregate := rate(own, AGGREGATE)) is None:
            continue
        table.add(
            stream,
            f"{aggregate:,.0f}",
            percent(aggregate, rate(own, LIMIT)),
            ratio(aggregate, rate(own, QUIX)),
            GOALS[stream],
            ratio(aggregate, rate(own, LOOP)),
            percent(_cpu(own, AGGREGATE), _cpu(own, QUIX)),
        )
    return table


def rate(results: Results, name: str) -> float | None:
    """The median; none where it was not measured."""
    return median([outcome.rate for outcome in results[name]]) if name in results else None


def _cpu(results: Results, name: str) -> float | None:
    return median([outcome.cpu_a_million for outcome in results[name]]) if name in results else None
