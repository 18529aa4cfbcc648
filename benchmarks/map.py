"""Milliseconds from a fix in the live topic to its moved marker in a real Chromium, and what an update costs it.

    python -m benchmarks.map

A broker and a dashboard of its own; fixes are written straight to the live topic, each truck one a second, spread over
the second. Chromium draws without a graphics card, as on this project's machines. A marker has moved when the map
draws from the new fix: looked up once a frame of the screen, for some of the trucks. Of an update (a binary frame)
what counts is how long the page cannot answer: the browser's own long tasks, which include its wait for a core, the
CPU time of its tasks, and the update's own script.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page
from rich.console import Console

from headwater.contracts.trucks import TRUCKS
from headwater.kafka import client_config
from tests.browser import GRAPHICS, chromium
from tests.sales_messages import encode
from tests.stage import Stage, staged, until
from tests.trucks_messages import Drivers

WATCHED = 12
STEP_DEG = 20 / 111_195
SETTLE_MS = 6_000
WATCH = """trucks => {
    window.moved = {}; window.tasks = []; window.scripts = [];
    const look = () => {
        for (const truck of trucks) {
            const row = headwaterMap.row(truck);
            if (row?.time !== undefined) (window.moved[truck] ??= {})[row.time] ??= Date.now();
        }
        requestAnimationFrame(look);
    };
    look();
    new PerformanceObserver(list => list.getEntries().forEach(task => window.tasks.push(task.duration)))
        .observe({entryTypes: ["longtask"]});
    const own = headwaterMap.frameCame.bind(headwaterMap);
    headwaterMap.frameCame = frame => {
        const begun = performance.now();
        own(frame);
        window.scripts.push(performance.now() - begun);
    };
}"""


class Fleet:
    """Trucks on the move, written to the live topic until told to stop."""

    def __init__(self, stage: Stage, trucks: int) -> None:
        self.sent: dict[tuple[str, int], float] = {}
        self._stage = stage
        self._trucks = trucks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Fleet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        producer = Producer(client_config(self._stage.settings, self._stage.bootstrap))
        drivers, rng = Drivers(), random.Random(1)
        places = [(51 + 2 * rng.random(), 4 + 3 * rng.random(), 360 * rng.random()) for _ in range(self._trucks)]
        due = time.monotonic()
        while True:
            for number, place in enumerate(places):
                latitude, longitude, heading = place
                due += 1 / self._trucks
                if self._stopping.wait(max(due - time.monotonic(), 0)):
                    producer.flush()
                    return
                north, east = (STEP_DEG * turn(math.radians(heading)) for turn in (math.cos, math.sin))
                latitude, longitude = latitude + north, longitude + east / math.cos(math.radians(latitude))
                places[number] = (latitude, longitude, heading)
                name = f"truck-{number:04d}"
                topic, key, value = encode(drivers.fix(name, latitude, longitude, heading_deg=heading))
                if number < WATCHED:
                    self.sent[name, _moment(value)] = time.time() * 1e3
                producer.produce(topic, key=key, value=value)
                producer.poll(0)


def _moment(value: bytes) -> int:
    return round(datetime.fromisoformat(orjson.loads(value)["event_time"]).timestamp() * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trucks", type=int, nargs="*", default=[12, 2_000])
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    console = Console()
    for trucks in options.trucks:
        with tempfile.TemporaryDirectory() as home, staged(Stage, Path(home)) as stage, chromium(GRAPHICS) as browser:
            stage.start_broker()
            stage.create_topics([TRUCKS])
            stage.start_app()
            with Fleet(stage, trucks) as fleet:
                found = measured(stage, browser, trucks, options.seconds)
            report(console, trucks, options.seconds, fleet, found)


def measured(stage: Stage, browser: Browser, trucks: int, seconds: float) -> dict[str, Any]:
    page: Page = browser.new_page(viewport={"width": 1360, "height": 900})
    page.goto(f"{stage.address}/trucks")
    until(lambda: page.evaluate("(window.headwaterMap?.rows ?? []).filter(row => row?.shown).length") == trucks, 60)
    page.wait_for_timeout(SETTLE_MS)
    names = [f"truck-{number:04d}" for number in range(min(WATCHED, trucks))]
    page.evaluate(WATCH, names)
    drawn = page.evaluate("headwaterMap.counts.drawn")
    cpu = task_cpu(page, seconds)
    found: dict[str, Any] = page.evaluate("({moved, tasks, scripts, drawn: headwaterMap.counts.drawn})")
    found["drawn"] -= drawn
    return found | {"cpu": cpu}


def task_cpu(page: Page, seconds: float) -> list[float]:
    """The CPU time of each task of the page's main thread in ms: what it takes without the wait for a core."""
    session = page.context.new_cdp_session(page)
    events: list[dict[str, Any]] = []
    done = threading.Event()
    session.on("Tracing.dataCollected", lambda data: events.extend(data["value"]))
    session.on("Tracing.tracingComplete", lambda _: done.set())
    session.send("Tracing.start", {"transferMode": "ReportEvents", "categories": "toplevel,devtools.timeline"})
    page.wait_for_timeout(seconds * 1e3)
    session.send("Tracing.end")
    while not done.is_set():
        page.wait_for_timeout(100)
    calls = Counter((event["pid"], event["tid"]) for event in events if event.get("name") == "FunctionCall")
    ((main_thread, _),) = calls.most_common(1)
    return [
        event["tdur"] / 1e3
        for event in events
        if (event["pid"], event["tid"]) == main_thread and event.get("name", "").endswith("RunTask") and "tdur" in event
    ]


def report(console: Console, trucks: int, seconds: float, fleet: Fleet, found: dict[str, Any]) -> None:
    took = [
        moved - fleet.sent[truck, round(float(at))]
        for truck, moments in found["moved"].items()
        for at, moved in list(moments.items())[1:]
        if (truck, round(float(at))) in fleet.sent
    ]
    console.print(f"{trucks} trucks, {seconds:.0f} s, {found['drawn'] / seconds:.0f} frames/s drawn")
    console.print(f"  fix to moved marker: {_spread(took)} ({len(took)} fixes)")
    console.print(f"  script of an update: {_spread(found['scripts'])} ({len(found['scripts'])} updates)")
    longest = sorted(found["tasks"])[-5:]
    console.print(f"  tasks over 50 ms: {len(found['tasks'])}, the longest {[round(task) for task in longest]} ms")
    busy = sum(found["cpu"]) / 1e3 / seconds
    console.print(f"  main thread, CPU: {100 * busy:.0f} % of a core, the longest task {max(found['cpu']):.0f} ms")


def _spread(values: list[float]) -> str:
    if not values:
        return "nothing seen"
    ordered = sorted(values)
    p50, p99 = (ordered[round((len(ordered) - 1) * share)] for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


if __name__ == "__main__":
    main()
