"""The API over small Delta tables and a hub without Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from fastapi.testclient import TestClient

from dashboards import tables
from dashboards.app import build
from dashboards.hub import Hub
from dashboards.raw import RawReader
from dashboards.state import FeedState, Health, Link
from dashboards.tables import Page, read_page
from headwater.contracts import STREAMS
from headwater.errors import BrokerError
from headwater.settings import Settings
from tests.unit.test_feed import NOW, live

MONEY = pa.decimal128(18, 4)
TIME = pa.timestamp("us", "UTC")
START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)

RECORDS = pa.schema(
    [
        ("event_id", pa.string()), ("event_time", TIME), ("product", pa.string()), ("quantity", pa.int64()),
        ("price", MONEY), ("country", pa.string()), ("flags", pa.list_(pa.string())), ("extra", pa.string()),
        ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("kafka_timestamp", TIME),
        ("processed_at", TIME), ("a_column_of_the_job_s_own", pa.string()),
    ]
)  # fmt: skip


def record(offset: int) -> dict[str, Any]:
    at = START + timedelta(seconds=offset)
    return {
        "event_id": f"e{offset}", "event_time": at - timedelta(minutes=5), "product": "TV", "quantity": 1,
        "price": Decimal("499.0000"), "country": "Italy", "flags": None if offset % 2 else ["store"], "extra": None,
        "topic": "sales_topic_electronics", "partition": 0, "offset": offset, "kafka_timestamp": at,
        "processed_at": at,
    }  # fmt: skip


def no_broker() -> str:
    raise BrokerError("there is none")


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    feed = FeedState(STREAMS)
    feed.link = Link(Health.LIVE)
    for offset in range(5):
        feed.apply(live(offset))
    hub.publish(feed.snapshot(NOW))
    return hub


@pytest.fixture
def client(settings: Settings, hub: Hub) -> Iterator[TestClient]:
    raw = RawReader(no_broker, lambda bootstrap: {})
    with TestClient(build(settings, hub, raw)) as client:
        yield client


def write_records(settings: Settings, files: int = 4, rows: int = 25) -> None:
    for file in range(files):
        table = pa.Table.from_pylist([record(file * rows + i) for i in range(rows)], RECORDS)
        write_deltalake(str(settings.delta("sales", "records")), table, mode="append")


def write_minutes(settings: Settings, count: int = 10) -> None:
    rows = [
        {
            "window_start": START + timedelta(minutes=i), "window_end": START + timedelta(minutes=i + 1),
            "is_final": i < 5, "orders": i, "units": 2 * i, "revenue": Decimal(i),
            "average_order_value": Decimal(1) if i else None,
        }
        for i in range(count)
    ]  # fmt: skip
    schema = pa.schema(
        [
            ("window_start", TIME), ("window_end", TIME), ("is_final", pa.bool_()), ("orders", pa.int64()),
            ("units", pa.int64()), ("revenue", MONEY), ("average_order_value", MONEY),
        ]
    )  # fmt: skip
    write_deltalake(str(settings.delta("sales", "per_minute")), pa.Table.from_pylist(rows, schema))


def test_records_come_newest_first_with_money_as_text(client: TestClient, settings: Settings) -> None:
    write_records(settings)
    rows = client.get("/api/v1/sales/records", params={"limit": 3}).json()
    assert [row["offset"] for row in rows] == [99, 98, 97]
    assert rows[0]["price"] == "499.0000"
    assert rows[0]["kafka_timestamp"] == "2026-11-22T06:01:39Z"
    assert rows[0]["flags"] == []
    assert rows[1]["flags"] == ["store"]
    assert "a_column_of_the_job_s_own" not in rows[0]
    assert rows[0]["store"] is None


def test_offset_goes_on_where_limit_ended(client: TestClient, settings: Settings) -> None:
    write_records(settings)
    pages = [client.get("/api/v1/sales/records", params={"limit": 40, "offset": start}).json() for start in (0, 40, 80)]
    assert [row["offset"] for page in pages for row in page] == list(range(99, -1, -1))


def test_since_and_until_go_by_event_time(client: TestClient, settings: Settings) -> None:
    write_records(settings)
    times = {"since": "2026-11-22T05:55:10Z", "until": "2026-11-22T06:55:13+01:00"}
    rows = client.get("/api/v1/sales/records", params=times).json()
    assert [row["offset"] for row in rows] == [12, 11, 10]


def test_rows_can_be_chosen_by_the_text_of_their_key(client: TestClient, settings: Settings) -> None:
    records = [record(offset) | {"product": "TV" if offset % 3 else "phone"} for offset in range(9)]
    write_deltalake(str(settings.delta("sales", "records")), pa.Table.from_pylist(records, RECORDS))
    rows = client.get("/api/v1/sales/records", params={"product": "phone", "limit": 2}).json()
    assert [row["offset"] for row in rows] == [6, 3]
    times = {"product": "phone", "since": "2026-11-22T05:55:04Z"}
    assert [row["offset"] for row in client.get("/api/v1/sales/records", params=times).json()] == [6]
    countries = [{"country": name, "quantity": 1, "orders": 1, "returns": 0} for name in ("Italy", "Malta")]
    write_deltalake(str(settings.delta("sales", "by_country")), pa.Table.from_pylist(countries))
    assert client.get("/api/v1/sales/by_country?country=Narnia").json() == []


def test_which_columns_rows_can_be_chosen_by(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    paging = {"limit", "offset", "since", "until"}

    def filters(path: str) -> set[str]:
        return {parameter["name"] for parameter in paths[f"/api/v1/{path}"]["get"]["parameters"]} - paging

    assert filters("sales/by_country") == {"country"}
    assert filters("sales/per_minute") == set()
    assert filters("events/per_minute") == {"event_type"}
    assert filters("events/records") == {"session_id"}
    assert filters("trucks/trips") == {"truck_id"}
    assert filters("trucks/alerts") == {"alert_id", "truck_id"}
    assert filters("trucks/rejected") == set()


def test_of_a_big_table_only_the_newest_files_are_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(settings, files=12)
    opened = []
    original = tables._by_greatest

    def counting(*arguments: Any) -> Iterator[Any]:
        for pair in original(*arguments):
            opened.append(pair[1])
            yield pair

    monkeypatch.setattr(tables, "_by_greatest", counting)
    page = Page(("offset",), ("kafka_timestamp", "offset"), limit=30)
    rows = read_page(settings.delta("sales", "records"), page)
    assert [row["offset"] for row in rows] == list(range(299, 269, -1))
    assert len(opened) == 3  # two are read; the third ends it
    assert opened == sorted(opened, reverse=True)


def test_windows_newest_first_within_times(client: TestClient, settings: Settings) -> None:
    write_minutes(settings)
    rows = client.get("/api/v1/sales/per_minute", params={"since": "2026-11-22T06:07:00Z", "limit": 2}).json()
    assert [row["window_start"] for row in rows] == ["2026-11-22T06:09:00Z", "2026-11-22T06:08:00Z"]
    assert rows[0]["revenue"] == "9.0000"
    assert rows[0]["is_final"] is False
    assert (
        client.get("/api/v1/sales/per_minute", params={"until": "2026-11-22T06:01:00Z"}).json()[0][
            "average_order_value"
        ]
        is None
    )


@pytest.mark.parametrize("table", ["records", "rejected", "totals", "per_minute", "per_minute_category", "by_country"])
def test_a_table_that_is_not_there_yet_has_no_rows(client: TestClient, table: str) -> None:
    answer = client.get(f"/api/v1/sales/{table}")
    assert (answer.status_code, answer.json()) == (200, [])


def test_live_comes_from_memory(client: TestClient) -> None:
    rows = client.get("/api/v1/sales/live", params={"limit": 2}).json()
    assert [row["offset"] for row in rows] == [4, 3]
    assert rows[0]["price"] == "499.0000"


@pytest.mark.parametrize("path", ["/api/v1/nothing/live", "/api/v1/sales/nothing", "/api/v1/", "/api/v1/sales/live/x"])
def test_what_is_unknown_is_404_with_what_is_known(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]["known"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=10001", "limit=x", "offset=-1", "since=yesterday", "since=2026-11-22T06:00:00"],
)
def test_wrong_parameters_are_422(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/sales/records?{query}").status_code == 422


def test_a_raw_record_nobody_can_be_asked_for_is_404(client: TestClient) -> None:
    assert client.get("/api/v1/sales/raw/0/12").status_code == 404


def test_health_is_200_only_when_all_is_well(client: TestClient, hub: Hub) -> None:
    answer = client.get("/api/v1/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["streams"]["sales"]["state"] == "live"
    feed = FeedState(STREAMS)
    feed.link = Link(Health.CANNOT_CONNECT, "connection refused")
    hub.publish(feed.snapshot(NOW))
    answer = client.get("/api/v1/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    assert "connection refused" in answer.json()["reasons"][0]


def test_openapi_names_every_table_and_needs_no_network(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for stream in STREAMS.values():
        for table in ("live", "records", "rejected", *(table.name for table in stream.tables)):
            assert f"/api/v1/{stream.name}/{table}" in paths
    page = client.get("/docs")
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")


def test_pages_forbid_strange_scripts(client: TestClient) -> None:
    for path in ("/sales", "/"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert "headwater.js" in answer.text
