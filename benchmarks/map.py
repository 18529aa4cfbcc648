"""Milliseconds from a fix in the live topic to its moved marker in a real Chromium, and what an update costs it.

    python -m benchmarks.map
    python -m benchmarks.map --trucks --aircraft 10000 --readers 20

Aircraft come as from a poll: all of them at once, at every full second. Readers are further WebSocket clients, which
take every frame; how long after its poll a frame is with them is told, and what the dashboard's process needs.

A broker and a dashboard of its own; fixes are written straight to the live topic, each truck one a second, spread over
the second. Chromium draws without a graphics card, as on this project's machines. A marker has moved when the map
draws from the new fix: looked up once a frame of the screen, for some of the trucks. Of an update (a binary frame)
what counts is how long the page cannot answer: the browser's own long tasks, which include its wait for a core, the
CPU time of its tasks, and the update's own script.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import os
import random
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

import orjson
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page
from rich.console import Console
from websockets.asyncio.client import connect

from benchmarks import figures
from dashboards.maps.frames import HEAD
from dashboards.pages.aircraft import SOCKET
from headwater.contracts import Stream
from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.trucks import TRUCKS
from headwater.kafka import client_config
from tests.aircraft_messages import Pilots
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


class Sender:
    """Markers on the move, written to the live topic until told to stop."""

    stream: Stream

    def __init__(self, stage: Stage, count: int) -> None:
        self.sent: dict[tuple[str, int], float] = {}
        """When the watched were sent, by name and their own time, both in ms."""
        self._stage = stage
        self._count = count
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def names(self) -> list[str]:
        """The watched ones."""
        return [self.name(number) for number in range(min(WATCHED, self._count))]

    def name(self, number: int) -> str:
        raise NotImplementedError

    def _run(self) -> None:
        raise NotImplementedError

    def _producer(self) -> Producer:
        return Producer(client_config(self._stage.settings, self._stage.bootstrap))


class Sky(Sender):
    """A poll a second over the whole world, and what an aircraft says is heard when the poll begins."""

    stream = AIRCRAFT

    def name(self, number: int) -> str:
        return f"{number:06x}"

    def _run(self) -> None:
        producer, pilots, rng = self._producer(), Pilots(), random.Random(1)
        places = [(120 * rng.random() - 55, 360 * rng.random() - 180) for _ in range(self._count)]
        while not self._stopping.wait(1 - time.time() % 1):
            begun, moment = time.time() * 1e3, int(time.time())
            for number, (latitude, longitude) in enumerate(places):
                place = (longitude + 200 / 111_195 + 180) % 360 - 180
                places[number] = (latitude, place)
                topic, key, value = encode(pilots.state(self.name(number), latitude, place, last_contact=moment))
                producer.produce(topic, key=key, value=value)
                producer.poll(0)
            for name in self.names():
                self.sent[name, moment * 1000] = begun
        producer.flush()


class Fleet(Sender):
    """Trucks, each with a fix a second, spread over it."""

    stream = TRUCKS

    def name(self, number: int) -> str:
        return f"truck-{number:04d}"

    def _run(self) -> None:
        producer = self._producer()
        drivers, rng = Drivers(), random.Random(1)
        places = [(51 + 2 * rng.random(), 4 + 3 * rng.random(), 360 * rng.random()) for _ in range(self._count)]
        due = time.monotonic()
        while True:
            for number, place in enumerate(places):
                latitude, longitude, heading = place
                due += 1 / self._count
                if self._stopping.wait(max(due - time.monotonic(), 0)):
                    producer.flush()
                    return
                north, east = (STEP_DEG * turn(math.radians(heading)) for turn in (math.cos, math.sin))
                latitude, longitude = latitude + north, longitude + east / math.cos(math.radians(latitude))
                places[number] = (latitude, longitude, heading)
                name = self.name(number)
                topic, key, value = encode(drivers.fix(name, latitude, longitude, heading_deg=heading))
                if number < WATCHED:
                    self.sent[name, _moment(value)] = time.time() * 1e3
                producer.produce(topic, key=key, value=value)
                producer.poll(0)


def _moment(value: bytes) -> int:
    return round(datetime.fromisoformat(orjson.loads(value)["event_time"]).timestamp() * 1e3)


async def _read(address: str, seconds: float) -> list[tuple[float, int]]:
    """Of every frame: the ms since the newest poll in it began, and its bytes."""
    found = []
    begun = time.monotonic()
    async with connect(f"ws{address.removeprefix('http')}{SOCKET}", origin=address, max_size=None) as socket:  # type: ignore[arg-type]
        while time.monotonic() - begun < seconds:
            message = await socket.recv()
            if isinstance(message, bytes):
                _, count, _ = HEAD.unpack_from(message)
                heard = struct.unpack_from(f"<{count}d", message, HEAD.size + 8 * count)
                found.append((time.time() * 1e3 - max(heard), len(message)))
    return found[1:]  # the first holds all there is


def _readers(address: str, readers: int, seconds: float, answer: Any) -> None:
    async def all_of_them() -> list[list[tuple[float, int]]]:
        return await asyncio.gather(*(_read(address, seconds) for _ in range(readers)))

    answer.put(asyncio.run(all_of_them()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trucks", type=int, nargs="*", default=[12, 2_000])
    parser.add_argument("--aircraft", type=int, nargs="*", default=[])
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    console = Console()
    runs: list[tuple[type[Sender], int]] = [(Fleet, count) for count in options.trucks]
    runs += [(Sky, count) for count in options.aircraft]
    for kind, count in runs:
        with moving(kind, count) as (stage, browser, sender):
            found = measured(stage, browser, sender, count, options.seconds)
            report(console, sender, count, options.seconds, found)
            if kind is Sky and options.readers:
                browser.close()
                report_readers(console, stage, options.readers, options.seconds)


@contextmanager
def moving(kind: type[Sender], count: int) -> Iterator[tuple[Stage, Browser, Sender]]:
    """A dashboard, so many markers on the move, and a browser that has opened nothing yet."""
    with tempfile.TemporaryDirectory() as home, staged(Stage, Path(home)) as stage, chromium(GRAPHICS) as browser:
        stage.start_broker()
        stage.create_topics([kind.stream])
        stage.start_app()
        with kind(stage, count) as sender:
            yield stage, browser, sender


def tables(runs: Sequence[tuple[type[Sender], int]], seconds: float, tell: Callable[[figures.Table], None]) -> None:
    """What an update costs the page, as a table: for each kind of marker and their number."""
    table = figures.Table(
        f"markers in Chromium without a graphics card, {seconds:.0f} s, p50 / p99",
        ("markers", "number", "fix to moved marker", "script of an update", "tasks over 50 ms", "main thread, CPU",
         "frames/s", "KB a frame"),
    )  # fmt: skip
    for kind, count in runs:
        with moving(kind, count) as (stage, browser, sender):
            found = measured(stage, browser, sender, count, seconds)
        table.add(
            kind.stream.name,
            f"{count:,}",
            figures.spread(taken(sender, found)),
            figures.spread(found["scripts"], digits=1),
            f"{len(found['tasks'])} of {len(found['scripts'])} updates",
            f"{sum(found['cpu']) / 1e3 / seconds:.0%}",
            f"{found['drawn'] / seconds:.0f}",
            f"{max(found['sizes'], default=0) / 1e3:,.0f}",
        )
    tell(table)


def measured(stage: Stage, browser: Browser, sender: Sender, count: int, seconds: float) -> dict[str, Any]:
    page: Page = browser.new_page(viewport={"width": 1360, "height": 900})
    sizes: list[int] = []
    page.on(
        "websocket",
        lambda socket: SOCKET in socket.url and socket.on("framereceived", lambda data: sizes.append(len(data))),
    )
    page.goto(f"{stage.address}/{sender.stream.name}")
    until(lambda: page.evaluate("(window.headwaterMap?.rows ?? []).filter(row => row?.shown).length") == count, 60)
    page.wait_for_timeout(SETTLE_MS)
    page.evaluate(WATCH, sender.names())
    drawn, come = page.evaluate("headwaterMap.counts.drawn"), len(sizes)
    cpu = task_cpu(page, seconds)
    found: dict[str, Any] = page.evaluate("({moved, tasks, scripts, drawn: headwaterMap.counts.drawn})")
    found["drawn"] -= drawn
    return found | {"cpu": cpu, "sizes": sizes[come:]}


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


def taken(sender: Sender, found: dict[str, Any]) -> list[float]:
    """Milliseconds from each watched fix to its moved marker."""
    return [
        moved - sender.sent[name, round(float(at))]
        for name, moments in found["moved"].items()
        for at, moved in list(moments.items())[1:]
        if (name, round(float(at))) in sender.sent
    ]


def report(console: Console, sender: Sender, count: int, seconds: float, found: dict[str, Any]) -> None:
    took = taken(sender, found)
    console.print(f"{count} {sender.stream.name}, {seconds:.0f} s, {found['drawn'] / seconds:.0f} frames/s drawn")
    console.print(f"  fix to moved marker: {_spread(took)} ({len(took)} fixes)")
    console.print(f"  script of an update: {_spread(found['scripts'])} ({len(found['scripts'])} updates)")
    if found["sizes"]:
        console.print(
            f"  a frame has at most {max(found['sizes']) / 1e3:.0f} KB, {sum(found['sizes']) / seconds / 1e3:.0f} KB/s"
        )
    longest = sorted(found["tasks"])[-5:]
    console.print(f"  tasks over 50 ms: {len(found['tasks'])}, the longest {[round(task) for task in longest]} ms")
    busy = sum(found["cpu"]) / 1e3 / seconds
    console.print(f"  main thread, CPU: {100 * busy:.0f} % of a core, the longest task {max(found['cpu']):.0f} ms")


def report_readers(console: Console, stage: Stage, readers: int, seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    reading = context.Process(target=_readers, args=(stage.address, readers, seconds, answer))
    reading.start()
    time.sleep(seconds / 4)
    before, begun = _cpu_seconds(stage), time.monotonic()
    time.sleep(seconds / 2)
    share = (_cpu_seconds(stage) - before) / (time.monotonic() - begun)
    frames: list[list[tuple[float, int]]] = answer.get(timeout=seconds + 60)
    reading.join()
    delays = [[delay for delay, _ in own] for own in frames]
    console.print(f"  {readers} readers: poll to frame {_spread([delay for own in delays for delay in own])}")
    first, second = (
        mean(delay for own in delays for delay in own[half * len(own) // 2 : (half + 1) * len(own) // 2])
        for half in (0, 1)
    )
    console.print(
        f"  mean delay of the first half {first:.0f} ms, of the second {second:.0f} ms; {100 * share:.0f} % of a core"
    )


def _cpu_seconds(stage: Stage) -> float:
    """What the dashboard's process has used."""
    assert stage.app is not None
    fields = Path(f"/proc/{stage.app.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spread(values: list[float]) -> str:
    if not values:
        return "nothing seen"
    ordered = sorted(values)
    p50, p99 = (ordered[round((len(ordered) - 1) * share)] for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


if __name__ == "__main__":
    main()
