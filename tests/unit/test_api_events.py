"""The API's own answers about shop events: over small Delta tables, and from memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from fastapi.testclient import TestClient

from dashboards.app import build
from dashboards.hub import Hub
from dashboards.raw import RawReader
from dashboards.state import FeedState
from headwater.contracts import STREAMS
from headwater.contracts.events import EVENTS
from headwater.delta import arrow_schema
from headwater.errors import BrokerError
from headwater.settings import Settings
from tests.unit.test_figures_events import NOW, shop, snapshot_of

START = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def no_broker() -> str:
    raise BrokerError("there is none")


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def client(settings: Settings, hub: Hub) -> Iterator[TestClient]:
    with TestClient(build(settings, hub, RawReader(no_broker, lambda bootstrap: {}))) as client:
        yield client


def write(settings: Settings, table: str, rows: list[dict[str, Any]]) -> None:
    schema = arrow_schema(EVENTS.table(table).fields)
    filled = [dict.fromkeys(schema.names) | row for row in rows]
    write_deltalake(str(settings.delta("events", table)), pa.Table.from_pylist(filled, schema), mode="append")


def session(name: str, minute: int, step: int, seconds: float | None = None) -> dict[str, Any]:
    at = START + timedelta(minutes=minute)
    return {
        "session_id": name, "first_event": at, "last_event": at, "events": 1, "step": step, "basket_units": 0,
        "basket_value": Decimal(0), "seconds_to_convert": seconds, "revenue": Decimal(0),
    }  # fmt: skip


SESSIONS = [
    session("a", 0, 3, 40.0), session("b", 5, 1), session("c", 10, 2), session("d", 15, 3, 60.0),
    session("e", 20, 0), session("f", 25, 3, 200.0), session("g", 30, 1),
]  # fmt: skip


def test_the_funnel_by_hand(client: TestClient, settings: Settings) -> None:
    write(settings, "sessions", SESSIONS[:4])
    write(settings, "sessions", SESSIONS[4:])
    assert client.get("/api/v1/events/funnel").json() == {
        "sessions": 7, "viewed": 6, "added": 4, "purchased": 3, "added_of_viewed": pytest.approx(4 / 6),
        "purchased_of_added": 0.75, "conversion": 0.5, "median_seconds": 60.0,
    }  # fmt: skip


def test_the_funnel_goes_by_the_last_event(client: TestClient, settings: Settings) -> None:
    write(settings, "sessions", SESSIONS)
    times = {"since": "2026-11-22T06:05:00Z", "until": "2026-11-22T07:20:00+01:00"}
    found = client.get("/api/v1/events/funnel", params=times).json()
    assert [found[name] for name in ("sessions", "viewed", "added", "purchased")] == [3, 3, 2, 1]
    assert found["median_seconds"] == 60.0
    assert client.get("/api/v1/events/funnel?since=2026-11-22T06:00:00").status_code == 422


NOBODY = {
    "sessions": 0, "viewed": 0, "added": 0, "purchased": 0, "added_of_viewed": None, "purchased_of_added": None,
    "conversion": None, "median_seconds": None,
}  # fmt: skip


def test_a_funnel_of_nothing_has_no_shares(client: TestClient, settings: Settings) -> None:
    assert client.get("/api/v1/events/funnel").json() == NOBODY
    write(settings, "sessions", SESSIONS)
    assert client.get("/api/v1/events/funnel?since=2027-01-01T00:00:00Z").json() == NOBODY


def test_sessions_and_baskets_come_newest_first_within_times(client: TestClient, settings: Settings) -> None:
    write(settings, "sessions", SESSIONS)
    rows = client.get("/api/v1/events/sessions", params={"until": "2026-11-22T06:25:00Z", "limit": 2}).json()
    assert [row["session_id"] for row in rows] == ["e", "d"]
    since = [{"session_id": name, "since": START + timedelta(minutes=m), "basket_units": 1} for name, m in
             (("x", 3), ("z", 1), ("y", 2))]  # fmt: skip
    write(settings, "abandoned", since)
    assert [row["session_id"] for row in client.get("/api/v1/events/abandoned").json()] == ["x", "y", "z"]


def test_now_comes_from_memory(client: TestClient, hub: Hub) -> None:
    assert client.get("/api/v1/events/now").status_code == 503
    hub.publish(snapshot_of(*shop()))
    found = client.get("/api/v1/events/now?minutes=60").json()
    assert found["newest"] == "2026-11-22T06:09:30Z"
    assert (found["active_sessions"], found["open_baskets"], found["open_value"]) == (1, 1, "30.0000")
    assert found["revenue"] == "60.0000"
    assert [found["funnel"][name] for name in ("sessions", "viewed", "added", "purchased")] == [2, 2, 2, 1]
    assert found["funnel"]["median_seconds"] == 20.0
    assert found["trending"] == [
        {"product_id": "lamp", "product_name": "Lamp", "category": "Home", "last_5_min": 3, "before": 0}
    ]
    assert client.get("/api/v1/events/now?category=Audio").json()["trending"] == []
    assert client.get("/api/v1/events/now?minutes=7").status_code == 422


def test_a_feed_without_data_answers(client: TestClient, hub: Hub) -> None:
    hub.publish(snapshot_of())
    found = client.get("/api/v1/events/now").json()
    assert (found["newest"], found["active_sessions"], found["trending"]) == (None, 0, [])
    hub.publish(FeedState(STREAMS).snapshot(NOW.timestamp()))
    assert client.get("/api/v1/events/now").status_code == 503


def test_what_is_unknown_is_told_of_these_too(client: TestClient) -> None:
    assert {"funnel", "now", "sessions"} <= set(client.get("/api/v1/events/nothing").json()["detail"]["known"])
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/v1/events/funnel", "/api/v1/events/now"} <= paths.keys()
