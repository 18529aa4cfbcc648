"""A day's traffic in minutes through the whole suite: is what grows the data alone?

    python -m benchmarks.day --minutes 10 --records 600000

The streams' own simulators live through 24 hours of event time, sent as much faster as the minutes ask for, to a
broker, jobs and a dashboard of their own in a folder that is deleted afterwards, unless ``--home`` names one. What
tidies by the clock is hastened with it: retention, compaction, vacuum. Every half minute is noted what lies on disk, by
what it is, and how much memory each process has; in the end the last quarter is compared with the one before. Data may
grow as records do; all else is to be level.
"""

from __future__ import annotations

import argparse
import heapq
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import orjson
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Producer
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from headwater.broker import find_broker
from headwater.contracts import STREAMS
from headwater.demo import BIN, broker_part, dashboard_part, jobs_part
from headwater.display import Display
from headwater.java import find_java
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from headwater.supervisor import Supervisor
from headwater.topics import ensure_topics
from producers import aircraft_fleet, co2, events, sales, trucks
from producers.delivery import encode
from producers.replay import RawRecord

DAY_S = 86_400
SAMPLE_S = 30
MB = 1024 * 1024
LEVEL = 0.1
"""More than this share may nothing but data have grown between the last two quarters..."""
LEVEL_MB = 2.0
"""...unless it is less than this."""

HASTENED = {
    # Longer than the archive takes to start: what it hasn't read yet must stay.
    "HEADWATER_KAFKA_RETENTION_HOURS": "0.08",
    "HEADWATER_KEEPING_EVERY_MINUTES": "1",
    "HEADWATER_KEEPING_VERSIONS_HOURS": "0.02",
    # By event time, which is a whole day's.
    "HEADWATER_JOBS_PROCESSED_WINDOW_HOURS": "4",
    "HEADWATER_AIRCRAFT_FLEET": "200",
}

DATA = ("delta: rows", "ledgers", "sql", "csv")
"""What is to grow with the records; of it a record's share is compared."""

KINDS_OF_TOPICS = {
    topic: f"kafka: {what}"
    for stream in STREAMS.values()
    for topic, what in (
        (stream.raw_topic, "raw"),
        (stream.live_topic, "live and rejected"),
        (stream.rejected_topic, "live and rejected"),
        (stream.processed_topic, "processed"),
    )
}

Sample = dict[str, float]
"""By what it is: MB, or a number of files."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--home", type=Path, help="an empty folder; what is written there stays")
    options = parser.parse_args()
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="headwater-day-", ignore_cleanup_errors=True) as temporary:
        folder = str(options.home or temporary)
        os.environ |= HASTENED | {"HEADWATER_HOME": folder, "SPARK_LOCAL_DIRS": f"{folder}/spark"}
        samples = run(load_settings(), options.minutes * 60, options.records)
    Console(width=140).print(report(samples))


def run(settings: Settings, seconds: float, records: int) -> list[Sample]:
    """Sends a day's records in so many seconds. Returns what was noted meanwhile."""
    display, streams = Display(Console()), list(STREAMS.values())
    samples: list[Sample] = []
    noted = 0.0
    with Supervisor(display) as supervisor:
        broker, jobs, dashboard = broker_part(settings), jobs_part(settings, streams), dashboard_part(settings)
        supervisor.start(broker)
        supervisor.await_ready(broker)
        bootstrap = find_broker(settings)
        ensure_topics(settings, bootstrap, streams)
        supervisor.start(jobs, dashboard)
        sender = Day(settings, bootstrap, seconds, records)
        sender.start()
        supervisor.await_ready(jobs, dashboard)
        while sender.is_alive():
            if sender.seconds() >= noted + SAMPLE_S:
                noted, found = sender.seconds(), sample(settings)
                if found["records"]:
                    samples.append(found)
                display.message(f"{noted:5.0f} s: {found['records']:,.0f} of {records:,} records kept")
                (settings.home / "samples.json").write_bytes(orjson.dumps(samples))
            supervisor.pause()
    return samples


class Day(threading.Thread):
    """Sends 24 hours of every stream, each record when its time has come in the shorter day."""

    def __init__(self, settings: Settings, bootstrap: str, seconds: float, records: int) -> None:
        super().__init__(daemon=True)
        begin = datetime.now(UTC) - timedelta(seconds=DAY_S)
        share = records / DAY_S / sum(getattr(settings, name).rate for name in STREAMS)
        self._streams = [
            due(name, begin, getattr(settings, name).rate * share, simulator(name, settings, begin)) for name in STREAMS
        ]
        self._producer = Producer({**client_config(settings, bootstrap), "linger.ms": "50", "log_level": "0"})
        self._begin, self._speed = begin, DAY_S / seconds
        self._since = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._since

    def run(self) -> None:
        self._since = time.monotonic()
        for at, name, record in heapq.merge(*self._streams, key=lambda each: each[0]):
            while (ahead := (at - self._begin).total_seconds() / self._speed - self.seconds()) > 0:
                self._producer.poll(0)
                time.sleep(min(max(ahead, 0.01), 1))
            made = record()
            self._producer.produce(STREAMS[name].raw_topic, encode(made), made[STREAMS[name].key])
        self._producer.flush()


def due(
    name: str, begin: datetime, rate: float, next_record: Callable[[datetime], RawRecord]
) -> Iterator[tuple[datetime, str, Callable[[], RawRecord]]]:
    """When each record of a day is due, and what makes it."""
    for number in range(int(DAY_S * rate)):
        at = begin + timedelta(seconds=number / rate)
        yield at, name, partial(next_record, at)


def simulator(name: str, settings: Settings, begin: datetime) -> Callable[[datetime], RawRecord]:
    """What a stream's producer gives at a time, from ``begin`` on."""
    match name:
        case "sales":
            return partial(sales.next_record, sales.open_shop(1))
        case "events":
            return partial(events.next_record, events.open_shop(1, settings.events))
        case "trucks":
            return partial(trucks.next_record, trucks.open_fleet(1, settings.trucks))
        case "co2":
            return partial(co2.next_record, co2.open_park(1, settings.co2, begin))
        case _:
            return partial(aircraft_fleet.next_record, aircraft_fleet.open_fleet(1, settings.aircraft, begin))


# --- what is noted


def sample(settings: Settings) -> Sample:
    """What lies on disk and in memory now."""
    rows, records, versions = tables(settings)
    found: Sample = {"records": records, "delta: rows": rows, "delta: older versions and log": -rows}
    files = 0
    for path in settings.home.rglob("*"):
        try:
            size = path.stat().st_blocks * 512 / MB if path.is_file() else 0.0
        except OSError:  # gone meanwhile
            continue
        files += bool(size)
        what = kind(path.relative_to(settings.home))
        found[what] = found.get(what, 0.0) + size
    return found | {"files": files, "files of current tables": versions} | memory()


def tables(settings: Settings) -> tuple[float, int, int]:
    """Of the tables as they are now: MB, records and rejected rows, files."""
    size, rows, files = 0.0, 0, 0
    for stream in STREAMS.values():
        for name in ("records", "rejected", *(table.name for table in stream.tables)):
            path = settings.delta(stream.name, name)
            if (path / "_delta_log").exists():
                actions = pa.table(DeltaTable(str(path)).get_add_actions())
                size += (pc.sum(actions["size_bytes"]).as_py() or 0) / MB
                files += len(actions)
                if name in ("records", "rejected"):
                    rows += pc.sum(actions["num_records"]).as_py() or 0
    return size, rows, files


def kind(path: Path) -> str:
    """What a file under home is."""
    match path.parts:
        case ("kafka", "data", folder, *_):
            return KINDS_OF_TOPICS.get(folder.rpartition("-")[0], "kafka: its own")
        case ("delta", *_):
            return "delta: older versions and log"
        case ("ledger", *_):
            return "ledgers"
        case (first, *_):
            return "sql" if first.startswith("headwater.db") else first
        case _:
            return "else"


def memory() -> Sample:
    """Resident MB of the processes that this one started, and what a full collection leaves in the jobs' JVM."""
    found: Sample = {}
    for process in psutil.Process().children(recursive=True):
        try:
            line, rss = " ".join(process.cmdline()), process.memory_info().rss / MB
        except psutil.Error:
            continue
        if "headwater.guard" in line:
            continue
        if "kafka.Kafka" in line:
            found["memory: broker"] = rss
        elif "dashboards.app" in line:
            found["memory: dashboard"] = rss
        elif "jobs/suite.py" in line and "java" in process.name():
            found |= {"memory: jobs, JVM": rss} | heap(process.pid)
        elif "jobs/suite.py" in line and "python" in process.name():
            found["memory: jobs, Python"] = rss
    return found


def heap(pid: int) -> Sample:
    """Of a JVM with SerialGC, after a full collection; nothing where there is no ``jcmd``."""
    java = find_java()
    jcmd = java.parent / "jcmd" if java else None
    if jcmd is None or not jcmd.exists():
        return {}
    subprocess.run([jcmd, str(pid), "GC.run"], capture_output=True, check=False)
    told = subprocess.run([jcmd, str(pid), "GC.heap_info"], capture_output=True, text=True, check=False).stdout
    used = {what: int(size) / 1024 for what, size in re.findall(r"(generation|Metaspace)\s.*?used (\d+)K", told)}
    return {f"memory: {name}": used[what] for what, name in NAMED.items() if what in used}


NAMED = {"generation": "JVM's heap after collection", "Metaspace": "JVM's metaspace"}
"""Of the two generations the tenured one is told last: after a collection it holds what is left."""


# --- what it says


def report(samples: list[Sample]) -> Table:
    """A row for each thing noted: its mean by quarter of the day, and whether it is level."""
    table = Table(title="a day in quarters; MB but for numbers of files; of data, bytes a record")
    for column in ("what", "1st", "2nd", "3rd", "4th", "3rd to 4th", ""):
        table.add_column(column, justify="left" if column in ("what", "") else "right")
    size = len(samples) // 4
    quarters = [samples[number * size : (number + 1) * size] for number in range(4)]
    for what in sorted({name for each in samples for name in each}):
        per_record = what in DATA
        means = [
            statistics.fmean(each.get(what, 0) / (each["records"] / MB if per_record else 1) for each in quarter)
            for quarter in quarters
        ]
        grown, share = means[3] - means[2], means[3] / means[2] - 1 if means[2] else 0.0
        verdict = "" if what == "records" else "level" if share <= LEVEL or grown < LEVEL_MB else "GROWS"
        table.add_row(what, *(f"{mean:,.1f}" for mean in means), f"{share:+.0%}", verdict)
    return table


if __name__ == "__main__":
    main()
