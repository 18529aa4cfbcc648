"""Rows a second of a job's queries beside Kafka-to-nothing, in one run on one machine.

    make bench                      half a million records of each stream
    python -m benchmarks.throughput --records 1000000 --streams sales

Every query reads the same topic from its beginning to its end (``availableNow``), once to warm up and
then ``--runs`` times; the median counts. The ratio to Kafka-to-nothing is what carries over to another
machine, not the rate.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from headwater import queries
from headwater.aggregate import Aggregate
from headwater.archive import Archive
from headwater.broker import ensure_broker, stop_broker
from headwater.contracts import Stream, chosen_streams
from headwater.jobs import StreamJob, session
from headwater.kafka import client_config, spark_options
from headwater.processed import ProcessedTopic
from headwater.quality import checked, valid
from headwater.settings import Settings, load_settings
from headwater.tally import NoStore, Tally
from headwater.topics import ensure_topics
from jobs.suite import JOBS
from producers.delivery import encode

PARTITIONS = 4


def main() -> None:
    arguments = _parser().parse_args()
    jobs = [JOBS[stream.name] for stream in chosen_streams(" ".join(arguments.streams))]
    with (
        tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder,
        _broker(Path(folder), [job.stream for job in jobs]) as (settings, bootstrap),
    ):
        sizes = [produce(settings, bootstrap, job.stream, arguments.records) for job in jobs]
        spark = session("bench", settings, PARTITIONS)
        try:
            for job, size in zip(jobs, sizes, strict=True):
                bench = Bench(spark, settings, bootstrap, Path(folder) / job.stream.name, job)
                results = {name: measure(run, arguments.runs) for name, run in bench.queries().items()}
                Console().print(report(job.stream.name, results, arguments.records, size))
        finally:
            spark.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--streams", nargs="*", default=[], help="all if none is named")
    return parser


@contextmanager
def _broker(folder: Path, streams: Sequence[Stream]) -> Iterator[tuple[Settings, str]]:
    environ = {"HEADWATER_HOME": str(folder), "HEADWATER_KAFKA_PARTITIONS": f'{{"default": {PARTITIONS}}}'}
    environ |= {key: value for key, value in os.environ.items() if key == "HEADWATER_KAFKA_PORT"}
    settings = load_settings(environ)
    bootstrap = ensure_broker(settings)
    try:
        ensure_topics(settings, bootstrap, streams)
        yield settings, bootstrap
    finally:
        stop_broker(settings)


def produce(settings: Settings, bootstrap: str, stream: Stream, records: int) -> float:
    """Sends what the stream's own producer simulates. Returns the mean number of bytes of a record."""
    producer = Producer({**client_config(settings, bootstrap), "linger.ms": "50", "compression.type": "lz4"})
    simulated = import_module(f"producers.{stream.name}").simulate(seed=1)
    total = 0
    for record in itertools.islice(simulated, records):
        value = encode(record)
        total += len(value)
        while True:
            try:
                producer.produce(stream.raw_topic, value, record[stream.key])
                break
            except BufferError:
                producer.poll(0.5)
    producer.flush()
    return total / records


class Bench:
    """The measured queries, each reading the whole raw topic into a checkpoint of its own."""

    def __init__(self, spark: SparkSession, settings: Settings, bootstrap: str, folder: Path, job: StreamJob) -> None:
        self._spark = spark
        self._settings = settings
        self._bootstrap = bootstrap
        self._folder = folder
        self._job = job
        self._runs = itertools.count()

    def queries(self) -> dict[str, Callable[[], None]]:
        stream = self._job.stream
        return {
            "Kafka to nothing": lambda: self._to(lambda source: source, "noop"),
            "parsed and checked, to nothing": lambda: self._to(lambda source: valid(checked(source, stream)), "noop"),
            "live, to Kafka": lambda: self._to(lambda source: queries.live({stream: checked(source, stream)}), "kafka"),
            "aggregate, to Kafka": self._aggregated,
            "archive, to Delta, CSV and Kafka": self._archived,
        }

    def _to(self, transform: Callable[[DataFrame], DataFrame], sink: str) -> None:
        self._run(
            transform(self._source()).writeStream.format(sink).outputMode("update" if sink == "kafka" else "append")
        )

    def _aggregated(self) -> None:
        job, path = self._job, self._folder / f"fresh-{next(self._runs)}.db"
        publisher = ProcessedTopic(job.stream, client_config(self._settings, self._bootstrap), "aggregate")
        fold = job.fresh_fold_of(self._settings)
        tally = Tally(path, job.stream, job.views, fold, publisher, self._settings.jobs, store=NoStore())
        together = queries.aggregate({job.stream: self._checked()}, {job.stream: job.views}, {job.stream: fold})
        aggregate = Aggregate({job.stream: tally}, together)
        self._run(together.frame.writeStream.foreachBatch(lambda batch, _: aggregate.take(batch.toArrow())))
        aggregate.close()

    def _archived(self) -> None:
        home = self._folder / f"home-{next(self._runs)}"
        settings = self._settings.model_copy(update={"home": home})
        job = self._job
        publisher = ProcessedTopic(job.stream, client_config(settings, self._bootstrap), "archive")
        fold = job.fold_of(settings)
        archive = Archive(self._spark, settings, job.stream, job.views, job.daily_csv, publisher, fold)
        rows = archive.pulled(self._checked())
        self._run(rows.writeStream.foreachBatch(lambda batch, _: archive.take(batch.toArrow())))
        archive.close()

    def _checked(self) -> DataFrame:
        return checked(self._source(), self._job.stream)

    def _source(self) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .options(**spark_options(self._settings, self._bootstrap))
            .option("subscribe", self._job.stream.raw_topic)
            .option("startingOffsets", "earliest")
            .load()
        )

    def _run(self, writer: Any) -> None:
        checkpoint = self._folder / "checkpoints" / str(next(self._runs))
        query = (
            writer.options(**spark_options(self._settings, self._bootstrap))
            .option("checkpointLocation", str(checkpoint))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()


def measure(run: Callable[[], None], runs: int) -> list[float]:
    """Seconds of each run, after one that is not counted."""
    seconds = []
    for i in range(runs + 1):
        begun = time.perf_counter()
        run()
        if i:
            seconds.append(time.perf_counter() - begun)
    return seconds


def report(stream: str, results: dict[str, list[float]], records: int, bytes_a_record: float) -> Table:
    """Each query's rate, and its share of the first one's."""
    table = Table(
        title=f"{stream}: {records:,} records of {bytes_a_record:.0f} bytes, {PARTITIONS} partitions and task slots\n"
        + machine()
    )
    for name, justify in (
        ("query", "left"),
        ("rows/s", "right"),
        ("of Kafka to nothing", "right"),
        ("range, s", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    limit = statistics.median(next(iter(results.values())))
    for name, seconds in results.items():
        median = statistics.median(seconds)
        table.add_row(
            name, f"{records / median:,.0f}", f"{limit / median:.0%}", f"{min(seconds):.2f} - {max(seconds):.2f}"
        )
    return table


def machine() -> str:
    """What was measured on: processor, cores, memory and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
