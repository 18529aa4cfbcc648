"""Rows a second of the sales job's queries beside Kafka-to-nothing, in one run on one machine.

    make bench            half a million records
    python -m benchmarks.throughput --records 1000000

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.table import Table

from headwater import queries
from headwater.archive import Archive
from headwater.broker import ensure_broker, stop_broker
from headwater.jobs import session
from headwater.kafka import client_config, spark_options
from headwater.processed import ProcessedTopic
from headwater.quality import checked, valid
from headwater.settings import Settings, load_settings
from headwater.topics import ensure_topics
from jobs.sales import JOB

PARTITIONS = 4
STREAM = JOB.stream


def main() -> None:
    arguments = _parser().parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder,
        _broker(Path(folder)) as (settings, bootstrap),
    ):
        bytes_a_record = produce(settings, bootstrap, arguments.records)
        spark = session("bench", settings, PARTITIONS)
        try:
            bench = Bench(spark, settings, bootstrap, Path(folder))
            results = {name: measure(run, arguments.runs) for name, run in bench.queries().items()}
        finally:
            spark.stop()
    Console().print(report(results, arguments.records, bytes_a_record))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    return parser


@contextmanager
def _broker(folder: Path) -> Iterator[tuple[Settings, str]]:
    environ = {"HEADWATER_HOME": str(folder), "HEADWATER_KAFKA_PARTITIONS": f'{{"default": {PARTITIONS}}}'}
    environ |= {key: value for key, value in os.environ.items() if key == "HEADWATER_KAFKA_PORT"}
    settings = load_settings(environ)
    bootstrap = ensure_broker(settings)
    try:
        ensure_topics(settings, bootstrap, [STREAM])
        yield settings, bootstrap
    finally:
        stop_broker(settings)


def produce(settings: Settings, bootstrap: str, records: int) -> float:
    """Sends small, valid sales: 200 products, 7 lines an order, 100 orders a second of event time.

    Returns the mean number of bytes of a record.
    """
    producer = Producer({**client_config(settings, bootstrap), "linger.ms": "50", "compression.type": "lz4"})
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    total = 0
    for i in range(records):
        order = i // 7
        value = orjson.dumps(
            {
                "event_id": f"bench-{i}",
                "event_time": datetime.fromtimestamp(start + order / 100, UTC).isoformat(),
                "product": f"Product {i % 200}",
                "quantity": i % 5 + 1,
                "price": "19.9900",
                "order_id": f"o{order}",
                "category": f"Category {i % 12}",
                "country": f"Country {i % 9}",
            }
        )
        total += len(value)
        while True:
            try:
                producer.produce(STREAM.raw_topic, value, f"Product {i % 200}")
                break
            except BufferError:
                producer.poll(0.5)
    producer.flush()
    return total / records


class Bench:
    """The measured queries, each reading the whole raw topic into a checkpoint of its own."""

    def __init__(self, spark: SparkSession, settings: Settings, bootstrap: str, folder: Path) -> None:
        self._spark = spark
        self._settings = settings
        self._bootstrap = bootstrap
        self._folder = folder
        self._runs = itertools.count()

    def queries(self) -> dict[str, Callable[[], None]]:
        jobs = self._settings.jobs

        def aggregated(source: DataFrame) -> DataFrame:
            return queries.aggregate(
                {STREAM: source},
                {STREAM: JOB.views},
                watermark_seconds=jobs.watermark_seconds,
                dedupe_seconds=jobs.dedupe_seconds,
            )

        return {
            "Kafka to nothing": lambda: self._to(lambda source: source, "noop"),
            "parsed and checked, to nothing": lambda: self._to(lambda source: valid(checked(source, STREAM)), "noop"),
            "live, to Kafka": lambda: self._to(lambda source: queries.live({STREAM: source}), "kafka"),
            "aggregate, to Kafka": lambda: self._to(aggregated, "kafka"),
            "archive, to Delta, CSV and Kafka": self._archived,
        }

    def _to(self, transform: Callable[[DataFrame], DataFrame], sink: str) -> None:
        self._run(
            transform(self._source()).writeStream.format(sink).outputMode("update" if sink == "kafka" else "append")
        )

    def _archived(self) -> None:
        home = self._folder / f"home-{next(self._runs)}"
        settings = self._settings.model_copy(update={"home": home})
        publisher = ProcessedTopic(STREAM, client_config(settings, self._bootstrap))
        archive = Archive(self._spark, settings, STREAM, JOB.views, JOB.daily_csv, publisher)
        self._run(self._source().writeStream.foreachBatch(lambda messages, _: archive.take(messages)))
        archive.close()

    def _source(self) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .options(**spark_options(self._settings, self._bootstrap))
            .option("subscribe", STREAM.raw_topic)
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


def report(results: dict[str, list[float]], records: int, bytes_a_record: float) -> Table:
    table = Table(
        title=f"{records:,} records of {bytes_a_record:.0f} bytes, {PARTITIONS} partitions and task slots\n{machine()}"
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
