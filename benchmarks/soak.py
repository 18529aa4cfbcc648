"""What ``make demo`` costs over minutes: rates, latencies, memory, processor time and disk, once a minute.

    STREAMS=events HEADWATER_EVENTS_RATE=5000 make demo
    python -m benchmarks.soak --minutes 10

Latencies are the dashboard's own, over the last minute: from a record's arrival in Kafka to its arrival in the
dashboard.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from headwater.settings import load_settings

PARTS = {
    "jobs": "jobs/suite.py",
    "broker": "kafka.Kafka",
    "dashboard": "dashboards.app",
    "producers": "producers.",
    "browser": "chromium",
}


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=f"http://127.0.0.1:{settings.dashboard.port}")
    parser.add_argument("--minutes", type=int, default=10)
    options = parser.parse_args()
    console, table = Console(width=200), Table(title="once a minute; CPU in % of a core, memory in MB")
    for name in ("minute", "stream", "records/s", "live p50 / p99 ms", "aggregate p50 / p99 s", "lag"):
        table.add_column(name, justify="right")
    for part in (*PARTS, "disk MB"):
        table.add_column(part, justify="right")
    with httpx.Client(base_url=options.address, timeout=30) as api:
        before, begun = cpu_seconds(), time.monotonic()
        for minute in range(1, options.minutes + 1):
            time.sleep(max(0.0, begun + 60 * minute - time.monotonic()))
            health = api.get("/api/v1/health").json()
            now = cpu_seconds()
            used = {part: (now[part][0] - before[part][0]) / 60 for part in PARTS}
            memory = {part: now[part][1] for part in PARTS}
            costs = [f"{used[part]:.0%} {memory[part]:.0f}" for part in PARTS]
            for name, stream in health["streams"].items():
                if stream["rate_per_s"]:
                    table.add_row(str(minute), name, *figures(stream), *costs, f"{disk_mb(settings.home):.0f}")
            before = now
            console.print(table)
    for name, query in health["queries"].items():
        console.print(name, query)


def figures(stream: dict[str, Any]) -> list[str]:
    """A stream's health as text."""
    live, aggregate = stream["live_latency"], stream["aggregate_latency"]
    return [
        f"{stream['rate_per_s']:,.0f}",
        f"{1000 * (live['p50'] or 0):,.0f} / {1000 * (live['p99'] or 0):,.0f}",
        f"{aggregate['p50'] or 0:.2f} / {aggregate['p99'] or 0:.2f}",
        f"{stream['lag']}",
    ]


def cpu_seconds() -> dict[str, tuple[float, float]]:
    """By part: processor seconds so far and resident MB, of all its processes."""
    found = dict.fromkeys(PARTS, (0.0, 0.0))
    for process, line in _processes():
        for part, mark in PARTS.items():
            if mark in line:
                try:
                    times, rss = process.cpu_times(), process.memory_info().rss
                except psutil.Error:
                    break
                seconds, megabytes = found[part]
                found[part] = (seconds + times.user + times.system, megabytes + rss / 2**20)
                break
    return found


def _processes() -> Iterable[tuple[psutil.Process, str]]:
    for process in psutil.process_iter(["cmdline"]):
        yield process, " ".join(process.info["cmdline"] or [])


def disk_mb(home: Path) -> float:
    """What lies under HEADWATER_HOME."""
    total = 0
    for path in home.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # gone meanwhile
            continue
    return total / 2**20


if __name__ == "__main__":
    main()
