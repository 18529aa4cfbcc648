"""Milliseconds for a day of one source from the API of readings, while the day's last part is written anew.

    python -m benchmarks.readings

The day has one reading a second in parts as the job cuts them. The whole dashboard serves them over loopback, from a
process of its own; a writer in another one replaces the last part every 100 ms. Asked are a first page, the whole day
in one answer, in pages, and as CSV, by one client that reads each answer to its end and parses none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from dashboards.readings import COLUMNS, NAME
from headwater.csvfiles import day_file, write_rows
from headwater.dayfiles import PART_ROWS
from headwater.settings import Settings, load_settings
from tests.ports import free_port
from tests.stage import until

DAY = datetime(2026, 5, 4, tzinfo=UTC)
SOURCE = "Boxberg, unit R"
SECONDS = 86_400
WRITE_SECONDS = 0.1


def parts() -> list[list[list[Any]]]:
    """A day of readings, by file."""
    chance = random.Random(1)
    known = {
        "source_id": SOURCE, "interval_s": 1.0, "facility": "Boxberg", "sector": "power", "fuel": "coal",
        "country": "DE", "latitude": 51.4159, "longitude": 14.5647, "method": "measured",
    }  # fmt: skip
    rows = [
        {"event_time": (DAY + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")}
        | known
        | {"emission_kg": chance.uniform(100, 200), "energy_mwh": chance.uniform(0.1, 0.2)}
        for second in range(SECONDS)
    ]
    spelled = [[row[name] for name in COLUMNS] for row in rows]
    return [spelled[begin : begin + PART_ROWS] for begin in range(0, SECONDS, PART_ROWS)]


def write(folder: Path, number: int, rows: list[list[Any]]) -> None:
    write_rows(folder / day_file(NAME, DAY.date().isoformat(), SOURCE, number), COLUMNS, rows)


def keep_writing(folder: Path, number: int, rows: list[list[Any]]) -> None:
    while True:
        write(folder, number, rows)
        time.sleep(WRITE_SECONDS)


def serve(home: Path, port: int) -> None:
    import uvicorn  # noqa: PLC0415

    from dashboards.app import build  # noqa: PLC0415
    from dashboards.hub import Hub  # noqa: PLC0415
    from dashboards.raw import RawReader  # noqa: PLC0415

    app = build(_settings(home), Hub(), RawReader(lambda: "127.0.0.1:1", lambda bootstrap: {}))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def _settings(home: Path) -> Settings:
    return load_settings({"HEADWATER_HOME": str(home)})


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/v1/co2/readings?limit=1").is_success
    except httpx.TransportError:
        return False


def paged(client: httpx.Client, limit: int) -> int:
    """Bytes of all pages."""
    bounds = {"since": DAY.isoformat(), "until": (DAY + timedelta(days=1)).isoformat()}
    url = client.build_request(
        "GET", "/api/v1/co2/readings", params={"source_id": SOURCE, "limit": limit, **bounds}
    ).url
    size = 0
    while True:
        answer = client.get(url).raise_for_status()
        size += len(answer.content)
        if "next" not in answer.links:
            return size
        url = httpx.URL(answer.links["next"]["url"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readings", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=50, help="of each kind (default: %(default)s)")
    options = parser.parse_args()
    day = {"source_id": SOURCE, "since": DAY.isoformat(), "until": (DAY + timedelta(days=1)).isoformat()}
    files = parts()
    with tempfile.TemporaryDirectory() as home, httpx.Client(base_url=f"http://127.0.0.1:{free_port()}") as client:
        folder = _settings(Path(home)).csv("co2")
        for number, rows in enumerate(files, 1):
            write(folder, number, rows)
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=serve, args=(Path(home), client.base_url.port), daemon=True)
        writer = context.Process(target=keep_writing, args=(folder, len(files), files[-1]), daemon=True)
        server.start()
        writer.start()
        until(lambda: answers(client), 60)
        kinds: dict[str, Callable[[], int]] = {
            "first page of 1,000": lambda: len(client.get("/api/v1/co2/readings", params=day).content),
            "first page of 10,000": lambda: len(
                client.get("/api/v1/co2/readings", params=day | {"limit": 10_000}).content
            ),
            "the day in one answer": lambda: paged(client, SECONDS),
            "the day in pages of 10,000": lambda: paged(client, 10_000),
            "the day as CSV": lambda: len(client.get("/api/v1/co2/readings.csv", params=day).content),
        }
        table = Table("a day of one source, while it is written", "p50, ms", "p95, ms", "MB")
        for name, ask in kinds.items():
            size = ask()
            took = sorted(_milliseconds(ask) for _ in range(options.requests))
            p50, p95 = (took[min(int(share * len(took)), len(took) - 1)] for share in (0.5, 0.95))
            table.add_row(name, f"{p50:.0f}", f"{p95:.0f}", f"{size / 1e6:.1f}")
        for process in (writer, server):
            process.terminate()
            process.join()
    Console().print(table)


def _milliseconds(ask: Callable[[], int]) -> float:
    begun = time.perf_counter()
    ask()
    return (time.perf_counter() - begun) * 1_000


if __name__ == "__main__":
    main()
