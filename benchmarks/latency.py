"""Milliseconds from a producer to a real browser, with all five streams at once, at one rate after another.

    python -m benchmarks latency --rates 100 1000 5000

Each stream has a fifth of the rate, and as many trucks, meters and aircraft as give that by themselves: one record a
second of each truck and meter, one in ten seconds of each aircraft. The suite is started once and has a minute for
compilation that doesn't count; at each rate it is then watched without a browser, and with Chromium on ``/sales``,
which draws without a graphics card on the same cores.

- *live*, *aggregate*: from a record's arrival in Kafka to the dashboard's process, as its API says of the last minute.
- *row drawn*: from the record's creation in the producer (its ``event_time``), and from Kafka, to its row in the page.
  The page shows the newest rows only, so not every record of a fast stream is drawn.
- *figure drawn*: of a sale of our own, sent twice a second, from just before it is sent to the product's new quantity
  in the page's table of products: through the producer's client, Kafka, the aggregate query, Kafka, the dashboard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from playwright.sync_api import Page

from benchmarks.figures import MINUS, Table, say, spread
from benchmarks.ground import broker_process
from benchmarks.processes import Usage, browser_processes, total, usage
from benchmarks.whole import Whole, ask, whole
from headwater.contracts import STREAMS
from headwater.contracts.sales import SALES
from headwater.kafka import client_config
from producers.delivery import Delivery
from tests.browser import chromium

PROBE = "a sale by the benchmark"
PROBE_EVERY_S = 0.5
MINUTE_S = 60.0
"""The dashboard's latencies are of the last minute."""
WATCH = """([live, table, product]) => {
    window.drawn = {}; window.told = [];
    new MutationObserver(mutations => {
        const now = Date.now();
        for (const mutation of mutations) {
            for (const node of mutation.addedNodes) {
                const row = node.closest ? node.closest("[row-id]") : null;
                if (row) window.drawn[row.getAttribute("row-id")] ??= now;
            }
        }
    }).observe(document.getElementById(live), {subtree: true, childList: true});
    const look = () => {
        const text = document.querySelector(`#${table} [row-id="${product}"] [col-id="quantity"]`)?.innerText;
        const quantity = Number((text ?? "").replaceAll(",", ""));
        if (quantity && quantity !== window.told.at(-1)?.[0]) window.told.push([quantity, Date.now()]);
    };
    new MutationObserver(look)
        .observe(document.getElementById(table), {subtree: true, childList: true, characterData: true});
    look();
}"""


@dataclass
class Pace:
    """How long each part takes, in seconds."""

    warm_up: float = 60
    settle: float = 20
    watch: float = 60


@dataclass
class Seen:
    """One rate, with or without a browser."""

    rate: float
    with_browser: bool
    seconds: float
    health: dict[str, Any]
    cost: dict[str, Usage]
    """CPU seconds within the time; memory at its end."""
    created_to_row: list[float] = field(default_factory=list)
    kafka_to_row: list[float] = field(default_factory=list)
    sent_to_figure: list[float] = field(default_factory=list)


def measured(rates: Sequence[float], pace: Pace, tell: Callable[[Table], None]) -> None:
    """Tells the tables when the last rate has been watched."""
    found = []
    with whole() as suite:
        say("the suite starts")
        suite.start(rates[0])
        say("the suite is up, and warms up")
        time.sleep(pace.warm_up)
        for rate in rates:
            say(f"{rate:,.0f} events/s, without a browser and with one")
            suite.produce(rate)
            time.sleep(pace.settle)
            found += [watched(suite, rate, pace), watched_in_browser(suite, rate, pace)]
    for table in (feed_table(found), drawn_table(found), cost_table(found), query_table(found)):
        tell(table)


def watched(suite: Whole, rate: float, pace: Pace, watch: Callable[[float], None] = time.sleep) -> Seen:
    before, begun = cost(suite), time.monotonic()
    watch(pace.watch)
    seconds, after = time.monotonic() - begun, cost(suite)
    spent = {
        name: Usage(after[name].cpu_seconds - before[name].cpu_seconds, after[name].rss_mb, after[name].pss_mb)
        for name in after
    }
    return Seen(rate, False, seconds, ask(suite), spent)


def watched_in_browser(suite: Whole, rate: float, pace: Pace) -> Seen:
    """The same, and what the page draws meanwhile."""
    with chromium() as browser, Probe(suite) as probe:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{suite.address}/sales")
        row = f'#sales-products [row-id="{PROBE}"]'
        await_shown(page, "#sales-live .ag-row")
        await_shown(page, row)
        page.wait_for_timeout(pace.settle * 1e3)
        page.evaluate(WATCH, ["sales-live", "sales-products", PROBE])
        seen = watched(suite, rate, pace, lambda seconds: page.wait_for_timeout(seconds * 1e3))
        seen.with_browser = True
        seen.sent_to_figure = figures_drawn(probe, page)
        drawn: dict[str, float] = page.evaluate("window.drawn")
    for created, arrived, shown in rows_drawn(suite, drawn):
        seen.created_to_row.append(shown - created)
        seen.kafka_to_row.append(shown - arrived)
    return seen


def await_shown(page: Page, selector: str) -> None:
    """Until something stands in the page; a minute at most, since what lags far behind is to be told, not to fail."""
    deadline = time.monotonic() + MINUTE_S
    while page.query_selector(selector) is None and time.monotonic() < deadline:
        page.wait_for_timeout(200)


def cost(suite: Whole) -> dict[str, Usage]:
    parts = usage({"broker": broker_process(suite.settings).pid, **suite.parts()})
    producers = [parts.pop(name) for name in list(parts) if name.startswith("producer")]
    return parts | {"producers": sum(producers, Usage()), "browser": total(browser_processes())}


class Probe:
    """Sells one piece of one product again and again. ``sent``: when each was, in ms since 1970."""

    def __init__(self, suite: Whole) -> None:
        self.sent = suite.probes
        self._delivery = Delivery(SALES.raw_topic, client_config(suite.settings, suite.bootstrap))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._delivery.flush(10)

    def _run(self) -> None:
        while not self._stopping.wait(PROBE_EVERY_S):
            self.sent.append(time.time() * 1e3)
            # The dearest by far, so that it stands on top of the table.
            self._delivery.send(PROBE, orjson.dumps({"product": PROBE, "quantity": 1, "price": 99_000_000}))
            self._delivery.poll()


def figures_drawn(probe: Probe, page: Page) -> list[float]:
    """From the sale of each probe to the first quantity in the page that counts it."""
    told: list[tuple[int, float]] = page.evaluate("window.told")
    return delays(probe.sent, told)


def delays(sent: Sequence[float], told: Sequence[tuple[int, float]]) -> list[float]:
    """``sent``: when the first, the second ... was; ``told``: a count and when it was seen. Only what was sent after
    the first count seen has a delay that is known.
    """
    found = []
    if told:
        counts = list(told)
        for number in range(counts[0][0] + 1, len(sent) + 1):
            at = next((moment for count, moment in counts if count >= number), None)
            if at is not None:
                found.append(at - sent[number - 1])
    return found


def rows_drawn(suite: Whole, drawn: dict[str, float]) -> list[tuple[float, float, float]]:
    """Of each sale whose row was drawn: when it was made, when it came to Kafka, when it was drawn; ms since 1970."""
    places = {}
    for name, moment in drawn.items():
        topic, _, place = name.partition(f"{SALES.raw_topic}-")
        if not topic and place.count("-") == 1:
            partition, offset = place.split("-")
            places[int(partition), int(offset)] = moment
    return [
        (datetime.fromisoformat(orjson.loads(value)["event_time"]).timestamp() * 1e3, arrived, places[place])
        for place, (arrived, value) in raw_sales(suite, places).items()
        if b"event_time" in value  # our own have none
    ]


def raw_sales(suite: Whole, places: dict[tuple[int, int], float]) -> dict[tuple[int, int], tuple[float, bytes]]:
    """Kafka's timestamp and the value of the messages at some places."""
    found: dict[tuple[int, int], tuple[float, bytes]] = {}
    if not places:
        return found
    config = {**client_config(suite.settings, suite.bootstrap), "group.id": "bench", "enable.auto.commit": "false"}
    consumer = Consumer(config)
    starts = {partition: min(o for p, o in places if p == partition) for partition, _ in places}
    consumer.assign([TopicPartition(SALES.raw_topic, p, offset or OFFSET_BEGINNING) for p, offset in starts.items()])
    deadline = time.monotonic() + MINUTE_S
    while len(found) < len(places) and time.monotonic() < deadline:
        for message in consumer.consume(10_000, timeout=1):
            place = (message.partition(), message.offset())
            if not message.error() and place in places:
                found[place] = (float(message.timestamp()[1]), message.value() or b"")
    consumer.close()
    return found


# -- what is told


def _name(seen: Seen) -> tuple[str, str]:
    return f"{seen.rate:,.0f}", "Chromium on /sales" if seen.with_browser else "none"


def feed_table(found: Sequence[Seen]) -> Table:
    table = Table(
        "from Kafka to the dashboard, all five streams at once; the last minute",
        ("events/s", "browser", "stream", "seen/s", "live p50 / p99", "aggregate p50 / p99", "lag"),
    )
    for seen in found:
        for name in STREAMS:
            stream = seen.health["streams"][name]
            latencies = [_ms(stream[kind]) for kind in ("live_latency", "aggregate_latency")]
            lag = MINUS if stream["lag"] is None else f"{stream['lag']:,}"
            table.add(*_name(seen), name, f"{stream['rate_per_s']:,.0f}", *latencies, lag)
    return table


def _ms(latency: dict[str, Any]) -> str:
    if not latency["samples"]:
        return MINUS
    return f"{latency['p50'] * 1e3:,.0f} / {latency['p99'] * 1e3:,.0f} ms"


def drawn_table(found: Sequence[Seen]) -> Table:
    table = Table(
        "from the producer to Chromium on /sales, p50 / p99",
        ("events/s", "created to row drawn", "Kafka to row drawn", "rows", "sent to figure drawn", "figures"),
    )
    for seen in found:
        if seen.with_browser:
            rows, figures = seen.created_to_row, seen.sent_to_figure
            table.add(
                _name(seen)[0],
                spread(rows),
                spread(seen.kafka_to_row),
                f"{len(rows):,}",
                spread(figures),
                f"{len(figures)}",
            )
    return table


def cost_table(found: Sequence[Seen]) -> Table:
    parts = list(found[0].cost)
    table = Table(
        "what it costs: CPU in % of a core; memory (PSS, which counts a shared page once) in MB",
        ("events/s", "browser", *parts, "all without the browser"),
    )
    for seen in found:
        rest = sum((used for part, used in seen.cost.items() if part != "browser"), Usage())
        cells = [_cost(seen.cost[part], seen.seconds) for part in parts]
        table.add(*_name(seen), *cells, _cost(rest, seen.seconds))
    return table


def _cost(used: Usage, seconds: float) -> str:
    memory = used.rss_mb if used.pss_mb is None else used.pss_mb
    return f"{used.cpu_seconds / seconds:.0%}, {memory:,.0f}" if memory else MINUS


def query_table(found: Sequence[Seen]) -> Table:
    names = sorted({name for seen in found for name in seen.health["queries"]})
    table = Table(
        "the queries' last batch in ms, and records behind (the live query's batch is its checkpoint interval)",
        ("events/s", "browser", *names),
    )
    for seen in found:
        queries = [seen.health["queries"].get(name, {}) for name in names]
        table.add(*_name(seen), *(f"{q.get('batch_ms') or 0:,.0f}, {q.get('lag') or 0:,}" for q in queries))
    return table
