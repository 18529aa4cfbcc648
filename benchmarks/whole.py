"""The whole suite in a home of its own: broker, jobs, dashboard, and producers whose rate can be changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from headwater.contracts import STREAMS
from headwater.demo import BIN
from headwater.settings import REPOSITORY, Settings
from tests.stage import Stage, staged, until

JOBS_WITHIN_S = 300
ENDS_WITHIN_S = 60
SHARE = 1 / len(STREAMS)
"""Of a rate, for each stream."""
REPORTS_EVERY_S = 10
"""An aircraft is heard so often; a truck and a CO2 source report once a second."""


class Whole(Stage):
    """Everything but the producers' pace, which :meth:`produce` sets."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.jobs: subprocess.Popen[bytes] | None = None
        self.dashboard: subprocess.Popen[bytes] | None = None
        self.producers: list[subprocess.Popen[bytes]] = []
        self.probes: list[float] = []
        """When each sale of the benchmark's own was sent, ms since 1970: the product's figures count all of them."""

    def start(self, rate: float) -> None:
        """Up to the first records on the screen of every stream."""
        self.start_broker()
        self.create_topics(STREAMS.values())
        self.jobs = self._launch("jobs", [str(BIN / "spark-submit"), "jobs/suite.py"])
        self.dashboard = self._launch("dashboard", [sys.executable, "-m", "dashboards.app"])
        self.produce(rate)
        until(self.is_up, JOBS_WITHIN_S, "every stream is live")

    def is_up(self) -> bool:
        """Whether something of each stream has come to the dashboard, and all queries have said that they run."""
        assert self.jobs is not None and self.jobs.poll() is None, self.log("jobs")
        health = self.health()
        if not health or len(health.get("queries", {})) < 3:
            return False
        return all(stream["live_latency"]["samples"] for stream in health["streams"].values())

    def produce(self, rate: float) -> None:
        """Five producers at a fifth of this many records a second each, in the place of those before."""
        self.stop_producers()
        for name in STREAMS:
            command = [sys.executable, "-m", f"producers.{name}", "--source", "simulate", "--rate", f"{rate * SHARE:g}"]
            self.producers.append(self._launch(f"producer-{name}", command, populations(rate * SHARE)))

    def stop_producers(self) -> None:
        for process in self.producers:
            end(process)
        self.producers.clear()

    def stop(self) -> None:
        """All but the broker, which the stage ends."""
        self.stop_producers()
        for part in (self.jobs, self.dashboard):
            if part:
                end(part)

    def parts(self) -> dict[str, int]:
        """The process that leads each part."""
        assert self.jobs is not None and self.dashboard is not None
        producers = {f"producer {name}": p.pid for name, p in zip(STREAMS, self.producers, strict=True)}
        return {"jobs": self.jobs.pid, "dashboard": self.dashboard.pid, **producers}

    def log(self, name: str) -> str:
        """The last that a part said."""
        return (self.settings.home / f"{name}.log").read_text(errors="replace")[-3_000:]

    def _launch(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        guarded = [sys.executable, "-m", "headwater.guard", str(ENDS_WITHIN_S), *command]
        with (self.settings.home / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                guarded, cwd=REPOSITORY, env={**self.environment(), **path, **(environment or {})},
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip


def populations(rate: float) -> dict[str, str]:
    """As many trucks, sources and aircraft as give this many records a second of each by themselves."""
    return {
        "HEADWATER_TRUCKS_FLEET": f"{max(round(rate), 12)}",
        "HEADWATER_CO2_HISTORY_DAYS": "0",
        "HEADWATER_CO2_SOURCES": f"{max(round(rate), 25)}",
        "HEADWATER_AIRCRAFT_FLEET": f"{max(round(rate * REPORTS_EVERY_S), 100)}",
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """Its guard stops a part when our end of the pipe is closed, also where we are killed."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(2 * ENDS_WITHIN_S)


@contextmanager
def whole(**environment: str) -> Iterator[Whole]:
    """A suite that is not started yet; at the end nothing of it runs, and its folder is gone."""
    temporary = TemporaryDirectory(prefix="headwater-bench-", ignore_cleanup_errors=True)
    with temporary as folder, staged(Whole, Path(folder), **environment) as suite:
        try:
            yield suite
        finally:
            suite.stop()


def ask(suite: Whole) -> dict[str, Any]:
    """The dashboard's health."""
    answer: dict[str, Any] = until(suite.health, 30, "the dashboard answers")
    return answer
