"""Milliseconds from a record's arrival in Kafka to its row in a real Chromium, while ``make demo`` runs.

    HEADWATER_SALES_RATE=100 make demo
    python -m benchmarks.latency --stream sales

Notes when each row of the live feed is drawn, and compares that with Kafka's own timestamp of the record.
The feed shows the newest only, so not every record of a fast stream is drawn. What the aggregates take
to the dashboard stands on its first page.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from datetime import datetime

import httpx
from playwright.sync_api import sync_playwright
from rich.console import Console

from headwater.settings import load_settings

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WATCH = """grid => {
    window.drawn = {};
    new MutationObserver(mutations => {
        const now = Date.now();
        for (const mutation of mutations) {
            for (const node of mutation.addedNodes) {
                const row = node.closest ? node.closest("[row-id]") : null;
                if (row) window.drawn[row.getAttribute("row-id")] ??= now;
            }
        }
    }).observe(document.getElementById(grid), {subtree: true, childList: true});
}"""


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=f"http://127.0.0.1:{settings.dashboard.port}")
    parser.add_argument("--stream", default="sales")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    arrived: dict[str, float] = {}
    with sync_playwright() as playwright, httpx.Client(base_url=options.address) as api:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{options.address}/{options.stream}")
        page.wait_for_selector(f"#{options.stream}-live .ag-row")
        page.evaluate(WATCH, f"{options.stream}-live")
        for _ in range(int(options.seconds)):
            page.wait_for_timeout(1000)
            for record in api.get(f"/api/v1/{options.stream}/live", params={"limit": 500}).json():
                moment = datetime.fromisoformat(record["kafka_timestamp"])
                arrived[f"{record['topic']}-{record['partition']}-{record['offset']}"] = moment.timestamp() * 1000
        drawn: dict[str, float] = page.evaluate("window.drawn")
        health = api.get("/api/v1/health").json()["streams"][options.stream]
        browser.close()
    took = sorted(drawn[row] - arrived[row] for row in drawn.keys() & arrived.keys())
    console = Console()
    p50, p99 = statistics.median(took), took[-len(took) // 100 - 1]
    console.print(f"live, to a drawn row: {len(took)} rows, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    for name in ("live_latency", "aggregate_latency"):
        figures = health[name]
        console.print(
            f"{name}, to the dashboard: p50 {figures['p50'] * 1000:.0f} ms, p99 {figures['p99'] * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
