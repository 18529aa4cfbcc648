"""How long it takes until something moves, and what each process then weighs: ``make demo`` as a newcomer starts it.

    python -m benchmarks startup

*Address*: until the demo prints where it runs. *First row of all streams*: until ``/api/v1/<stream>/live`` of each has
one; the first of them is the first moving number. *In Chromium*: until a browser, open from the moment at which the
dashboard answers, has drawn a row of a sale. Set-up is measured in a clone of its own, from the download caches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from benchmarks.figures import MINUS, Table
from benchmarks.processes import Usage, family, total
from headwater.contracts import STREAMS
from headwater.settings import REPOSITORY
from tests.browser import chromium
from tests.ports import free_port
from tests.stage import until

STARTS_WITHIN_S = 300
ENDS_WITHIN_S = 120
NAMES = {
    "headwater.guard": "guards",
    "kafka.Kafka": "broker",
    "headwater.broker": "broker's holder",
    "jobs/suite.py": "jobs",
    "dashboards.app": "dashboard",
    "headwater.demo": "demo",
    **{f"producers.{name}": f"producer {name}" for name in STREAMS},
}
"""What a command line holds -> the part that the process belongs to; the first that fits."""


class Demo:
    """A running ``python -m headwater.demo`` and what it says."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.output = home / "demo.out"
        environment = os.environ | {
            "HEADWATER_HOME": str(home / "var"),
            "HEADWATER_KAFKA_PORT": str(free_port()),
            "DASH_PORT": str(self.port),
            "HEADWATER_OPENSKY_BASE_URL": "http://127.0.0.1:9/api",  # nobody is there, so the sky is simulated
        }
        self.begun = time.monotonic()
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headwater.demo"], cwd=REPOSITORY, env=environment, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def seconds(self, what: Callable[[], bool]) -> float:
        """Since its start, until something holds."""
        until(what, STARTS_WITHIN_S, "the demo starts")
        return time.monotonic() - self.begun

    def is_announced(self) -> bool:
        assert self.process.poll() is None, self.output.read_text(errors="replace")
        return f"Headwater runs at {self.address}" in self.output.read_text(errors="replace")

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/api/v1/health", timeout=5).status_code in (200, 503)
        return False

    def shows(self, stream: str) -> bool:
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.address}/api/v1/{stream}/live", params={"limit": 1}, timeout=5)
            return answer.status_code == 200 and bool(answer.json())
        return False


@contextmanager
def demo() -> Iterator[Demo]:
    """Started; stopped with Ctrl-C."""
    with TemporaryDirectory(prefix="headwater-bench-", ignore_cleanup_errors=True) as folder:
        running = Demo(Path(folder))
        try:
            yield running
        finally:
            running.process.send_signal(signal.SIGINT)
            running.process.wait(ENDS_WITHIN_S)


def measured(runs: int, settle_s: float, with_setup: bool, tell: Callable[[Table], None]) -> None:
    """Tells the times of each start, and what the last one's processes weigh some time after."""
    times = Table("from the start, in seconds", ("", "first row", "rows of all streams", "address", "row in Chromium"))
    for number in range(runs):
        with demo() as running:
            times.add(f"make demo, start {number + 1}", *started(running))
            if number == runs - 1:
                tell(times)
                time.sleep(settle_s)
                tell(memory_table(family(running.process.pid), settle_s))
    if with_setup:
        tell(setup_table())


def started(running: Demo) -> list[str]:
    """The first runs' seconds, as text."""
    running.seconds(running.answers)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{running.address}/sales")
        found: dict[str, float] = {}
        wanted: dict[str, Callable[[], bool]] = {
            "address": running.is_announced,
            "drawn": lambda: page.query_selector("#sales-live .ag-row") is not None,
            **{name: lambda name=name: running.shows(name) for name in STREAMS},  # type: ignore[misc]
        }

        def all_there() -> bool:
            for name in [name for name in wanted if name not in found and wanted[name]()]:
                found[name] = time.monotonic() - running.begun
            return len(found) == len(wanted)

        running.seconds(all_there)
    rows = [found[name] for name in STREAMS]
    return [f"{seconds:.1f}" for seconds in (min(rows), max(rows), found["address"], found["drawn"])]


def memory_table(processes: list[psutil.Process], settle_s: float) -> Table:
    table = Table(f"memory in MB, {settle_s:.0f} s after the start", ("process", "PSS", "RSS"))
    parts: dict[str, Usage] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            name = part_of(process)
            parts[name] = parts.get(name, Usage()) + total([process])
    for name, used in sorted(parts.items(), key=lambda part: -part[1].rss_mb):
        table.add(name, *_megabytes(used))
    table.add("all", *_megabytes(sum(parts.values(), Usage())))
    return table


def part_of(process: psutil.Process) -> str:
    """Which part a process belongs to, by its command line; the jobs are a JVM and a Python driver."""
    line = " ".join(process.cmdline())
    name = next((part for mark, part in NAMES.items() if mark in line), process.name())
    return f"jobs, {'JVM' if 'java' in process.name() else 'Python'}" if name == "jobs" else name


def _megabytes(used: Usage) -> list[str]:
    return [MINUS if used.pss_mb is None else f"{used.pss_mb:,.0f}", f"{used.rss_mb:,.0f}"]


def setup_table() -> Table:
    """A clone's ``make setup``, once from the caches and once when all is there."""
    table = Table("set-up in a fresh clone, in seconds", ("", "seconds"))
    with TemporaryDirectory(prefix="headwater-bench-", ignore_cleanup_errors=True) as folder:
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
        for name in ("packages and jars from the download caches", "all there already"):
            begun = time.monotonic()
            subprocess.run(["make", "--silent", "setup"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            table.add(f"make setup, {name}", f"{time.monotonic() - begun:.1f}")
    return table
