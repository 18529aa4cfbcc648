"""`/metrics` as Prometheus reads it: through the client library's own parsers, and by the rules of promtool."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from dashboards import metrics
from dashboards.app import build
from dashboards.hub import Hub
from dashboards.raw import RawReader
from dashboards.state import FeedState, Health, Link
from headwater.contracts import STREAMS
from headwater.contracts.sales import SALES
from headwater.settings import Settings
from headwater.topics import STATUS_TOPIC
from tests.unit.test_api import no_broker
from tests.unit.test_feed import NOW, iso, live, message, total

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
UNITS = ("seconds", "bytes", "records", "rows")


@pytest.fixture
def feed() -> FeedState:
    feed = FeedState(STREAMS)
    feed.link = Link(Health.LIVE)
    return feed


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def client(hub: Hub) -> TestClient:
    """The route alone, and a socket; building the whole application takes seconds."""
    server = FastAPI()
    told = metrics.add_route(server, hub)
    server.add_middleware(metrics.Sockets, opened=told.opened)

    @server.websocket("/socket")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    return TestClient(server)


def tell(feed: FeedState) -> None:
    """Three sales after 2 ms, 30 ms and 90 s, a total after 0.8 s, two rejects; what two queries and a ledger say."""
    for offset, behind in enumerate((0.002, 0.03, 90.0)):
        feed.apply(live(offset, behind=behind))
    feed.apply(total("1.0000", as_of=NOW - 0.8))
    for offset, reasons in enumerate((["missing:price", "type:quantity"], ["missing:price"])):
        value = {"topic": SALES.raw_topic, "partition": 1, "offset": offset, "reasons": reasons}
        feed.apply(message(SALES.rejected_topic, value))
    counts = {"records": 3, "rejected": 2, "duplicates": 1, "late": 0, "lost": 14, "owed": 7}
    account = {"stream": "sales", **counts, "at": iso(NOW)}
    feed.apply(message(STATUS_TOPIC, account, key="stream:sales"))
    ledger = {"stream": "sales", "ledger": "archive", "bytes": 4096, "rows": 12, "at": iso(NOW)}
    feed.apply(message(STATUS_TOPIC, ledger, key="ledger:sales:archive"))
    for run in ("sales", "trucks"):
        query = {
            "query": "aggregate", "streams": [run], "state": "running", "at": iso(NOW), "progress_at": iso(NOW),
            "batch_ms": 690, "batch_id": 4, "phases_ms": {"addBatch": 500}, "input_rows_per_second": 20.0, "lag": 0,
            "reached": {STREAMS[run].raw_topic: 90},
        }  # fmt: skip
        feed.apply(message(STATUS_TOPIC, query, key=f"query:aggregate:{run}"))
    feed.ended(NOW, {(SALES.raw_topic, 0): 100}, 5, 5)


def scraped(client: TestClient, accept: str = "") -> dict[str, Metric]:
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    parse = openmetrics if accept == OPENMETRICS else prometheus
    return {family.name: family for family in parse(answer.text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    (found,) = [s.value for f in families.values() for s in f.samples if s.name == sample and s.labels == labels]
    return found


def test_the_figures_are_those_of_the_snapshot(client: TestClient, hub: Hub, feed: FeedState) -> None:
    tell(feed)
    hub.publish(feed.snapshot(NOW + 3))
    seen = scraped(client)
    sales = {"stream": "sales"}
    assert value(seen, "headwater_records_total", **sales) == 3
    assert value(seen, "headwater_rejected_total", **sales) == 2
    assert value(seen, "headwater_duplicates_total", **sales) == 1
    assert value(seen, "headwater_late_records_total", **sales) == 0
    assert value(seen, "headwater_lost_records_total", **sales) == 14
    assert value(seen, "headwater_live_records_total", **sales) == 3
    assert value(seen, "headwater_rejected_reasons_total", reason="missing:price", **sales) == 2
    assert value(seen, "headwater_rejected_reasons_total", reason="type:quantity", **sales) == 1
    assert value(seen, "headwater_sql_owed_rows", **sales) == 7
    assert value(seen, "headwater_state_bytes", ledger="archive", **sales) == 4096
    assert value(seen, "headwater_state_rows", ledger="archive", **sales) == 12
    of = {"query": "aggregate", "run": "sales"}
    assert value(seen, "headwater_query_up", **of) == 1
    assert value(seen, "headwater_query_lag_records", **of, **sales) == 10
    assert value(seen, "headwater_query_lag_seconds", **of, **sales) == 3
    assert value(seen, "headwater_batch_duration_seconds", **of) == 0.69
    assert value(seen, "headwater_batch_phase_duration_seconds", phase="addBatch", **of) == 0.5
    assert value(seen, "headwater_query_input_rows_per_second", **of) == 20
    assert value(seen, "headwater_query_up", query="aggregate", run="trucks") == 1
    assert value(seen, "headwater_alarm", kind="owed", level="fault", subject="sales") == 1
    assert value(seen, "headwater_health_status", status="degraded") == 1
    assert value(seen, "headwater_health_status", status="ok") == 0


def test_event_to_screen_is_a_histogram(client: TestClient, hub: Hub, feed: FeedState) -> None:
    tell(feed)
    hub.publish(feed.snapshot(NOW))
    name, seen = "headwater_event_to_screen_seconds", scraped(client)
    for bound, live_count, fresh_count in (
        ("0.001", 0, 0),
        ("0.0025", 1, 0),
        ("0.05", 2, 0),
        ("1.0", 2, 1),
        ("60.0", 2, 1),
    ):
        assert value(seen, f"{name}_bucket", stream="sales", path="live", le=bound) == live_count
        assert value(seen, f"{name}_bucket", stream="sales", path="aggregate", le=bound) == fresh_count
    assert value(seen, f"{name}_bucket", stream="sales", path="live", le="+Inf") == 3
    assert value(seen, f"{name}_count", stream="sales", path="live") == 3
    assert value(seen, f"{name}_sum", stream="sales", path="live") == pytest.approx(90.032)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_names_units_and_labels_keep_to_the_conventions(
    client: TestClient, hub: Hub, feed: FeedState, accept: str
) -> None:
    """What `promtool check metrics` asks for."""
    tell(feed)
    hub.publish(feed.snapshot(NOW))
    for name, family in scraped(client, accept).items():
        if not name.startswith("headwater_"):
            continue
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_info")) and family.type not in name
        assert not re.search(r"_(ms|milliseconds|minutes|kilobytes|megabytes|percent)(_|$)", name)
        for sample in family.samples:
            assert not set(sample.labels) & {"job", "instance", "quantile"}, "Prometheus' own"
            assert sample.name.endswith("_total") == (family.type == "counter"), name
            if sample.name.endswith("_bucket"):
                assert "le" in sample.labels


def test_it_is_no_page_and_its_type_is_the_one_that_was_asked_for(settings: Settings, hub: Hub) -> None:
    """Dash's catch-all would answer with HTML and 200. Before the feed has started, too."""
    client = TestClient(build(settings, hub, RawReader(no_broker, lambda bootstrap: {})))
    with client:
        plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert client.get("/metrics", headers={"accept": OPENMETRICS}).headers["content-type"].startswith(OPENMETRICS[:28])
    assert "# EOF" not in plain.text
    seen = scraped(client)
    assert value(seen, "headwater_health_status", status="down") == 1
    assert "headwater_records" not in seen
    assert value(seen, "headwater_websockets") == 0
    assert value(seen, "process_resident_memory_bytes") > 10_000_000
    assert {"process_cpu_seconds", "process_start_time_seconds", "python_info"} <= seen.keys()


def test_without_kafka_nothing_is_said_of_queries(client: TestClient, hub: Hub, feed: FeedState) -> None:
    tell(feed)
    feed.link = Link(Health.CANNOT_CONNECT, "refused")
    hub.publish(feed.snapshot(NOW + 600))
    seen = scraped(client)
    assert value(seen, "headwater_kafka_connected") == 0
    assert value(seen, "headwater_health_status", status="down") == 1
    assert not {name for name in seen if name.startswith(("headwater_query", "headwater_batch"))}
    assert value(seen, "headwater_records_total", stream="sales") == 3  # a counter stands, and does not fall


def test_what_is_not_known_is_left_out(client: TestClient, hub: Hub, feed: FeedState) -> None:
    """Zero would be a claim, and a counter that falls to it a restart."""
    hub.publish(feed.snapshot(NOW))
    seen = scraped(client)
    assert not seen["headwater_records"].samples
    assert not seen["headwater_query_lag_records"].samples
    assert value(seen, "headwater_live_records_total", stream="sales") == 0


def test_reasons_that_somebody_else_makes_up_are_bounded(client: TestClient, hub: Hub, feed: FeedState) -> None:
    for offset in range(500):
        value_ = {"topic": SALES.raw_topic, "partition": 0, "offset": offset, "reasons": [f'made "up" {offset}']}
        feed.apply(message(SALES.rejected_topic, value_))
    hub.publish(feed.snapshot(NOW))
    samples = scraped(client)["headwater_rejected_reasons"].samples
    assert len(samples) == 65
    assert sum(sample.value for sample in samples) == 500


def test_counters_do_not_fall_while_the_feed_runs(client: TestClient, hub: Hub, feed: FeedState) -> None:
    tell(feed)
    hub.publish(feed.snapshot(NOW))
    first = scraped(client)
    for offset in range(3, 700):
        feed.apply(live(offset))
    hub.publish(feed.snapshot(NOW + 600))
    then = scraped(client)
    for name, family in first.items():
        if family.type in ("counter", "histogram") and name.startswith("headwater_"):
            after = {(s.name, *sorted(s.labels.items())): s.value for s in then[name].samples}
            assert all(after[s.name, *sorted(s.labels.items())] >= s.value for s in family.samples), name


def test_open_sockets_are_counted(client: TestClient) -> None:
    with client.websocket_connect("/socket"):
        assert value(scraped(client), "headwater_websockets") == 1
    assert value(scraped(client), "headwater_websockets") == 0
