"""Milliseconds from a sale's sending to its row in a real Chromium, while ``make demo`` runs.

    HEADWATER_SALES_RATE=100 make demo
    python -m benchmarks.latency

Sends sales of products of its own, one by one, and notes when each shows up in the feed of latest sales
(live) and in the table of products (aggregates). They stay in the demo's figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
import uuid

from confluent_kafka import Producer
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from headwater.broker import find_broker
from headwater.contracts.sales import MAX_PRICE, SALES
from headwater.kafka import client_config
from headwater.settings import load_settings

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
GIVEN_UP_AFTER_S = 30.0
WATCH = """() => {
    window.seen = {};
    const look = (where, name) => new MutationObserver(mutations => {
        for (const mutation of mutations) {
            for (const node of [mutation.target, ...mutation.addedNodes]) {
                for (const [mark] of (node.textContent || "").matchAll(/bench-[0-9a-f]+-[0-9]+/g)) {
                    window.seen[name + " " + mark] ??= Date.now();
                }
            }
        }
    }).observe(document.getElementById(where), {subtree: true, childList: true, characterData: true});
    look("sales-live", "live");
    look("sales-products", "aggregate");
}"""


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=f"http://127.0.0.1:{settings.dashboard.port}")
    parser.add_argument("--samples", type=int, default=40)
    options = parser.parse_args()
    producer = Producer({**client_config(settings, find_broker(settings)), "linger.ms": "0"})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{options.address}/sales")
        page.wait_for_selector("#sales-live .ag-row")
        page.evaluate(WATCH)
        took = [sample(page, producer, n) for n in range(options.samples)]
        browser.close()
    for name in ("live", "aggregate"):
        seen = sorted(figures[name] for figures in took if name in figures)
        p50, worst = statistics.median(seen), seen[-1]
        Console().print(f"{name}: {len(seen)} of {options.samples} seen, p50 {p50:.0f} ms, greatest {worst:.0f} ms")


def sample(page: Page, producer: Producer, number: int, run: str = uuid.uuid4().hex[:8]) -> dict[str, float]:
    """One sale: milliseconds until it is in the live feed, and in the table of products."""
    mark = f"bench-{run}-{number}"
    sale = {"product": mark, "quantity": 1, "price": str(MAX_PRICE)}  # dear, so that it stands on top
    sent = time.time() * 1000
    producer.produce(SALES.raw_topic, json.dumps(sale), mark)
    producer.flush()
    took: dict[str, float] = {}
    while len(took) < 2 and time.time() * 1000 < sent + GIVEN_UP_AFTER_S * 1000:
        seen = page.evaluate("window.seen")
        took = {name: seen[f"{name} {mark}"] - sent for name in ("live", "aggregate") if f"{name} {mark}" in seen}
        time.sleep(0.1)
    return took


if __name__ == "__main__":
    main()
