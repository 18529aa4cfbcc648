"""The fleet's replay: in order of event time, each moment once, thinned evenly, byte by byte."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from dashboards.pages.trucks_replay import COLUMNS, add_routes, gathered
from headwater import delta
from headwater.contracts.trucks import TRUCKS
from headwater.settings import Settings

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCHEMA = delta.arrow_schema(delta.fields_of_table(TRUCKS, "records"))


def row(offset: int, seconds: float, truck: str = "a", **given: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}", "event_time": NOON + timedelta(seconds=seconds), "truck_id": truck,
        "latitude": 52.0, "longitude": 5.0 + seconds / 1000, "speed_kmh": 50.0, "heading_deg": 90.0, "flags": [],
        "topic": TRUCKS.raw_topic, "partition": 0, "offset": offset, "kafka_timestamp": NOON, "processed_at": NOON,
    } | given  # fmt: skip


def read(content: bytes) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
    (size,) = struct.unpack_from("<I", content)
    head = orjson.loads(content[4 : 4 + size])
    offset, columns = 4 + size, {}
    assert offset % 8 == 0
    for name, kind in (("time", "d"), ("longitude", "i"), ("latitude", "i"), ("speed", "f"), ("heading", "f")):
        columns[name] = struct.unpack_from(f"<{head['count']}{kind}", content, offset)
        offset += struct.calcsize(f"<{head['count']}{kind}")
    assert offset == len(content)
    return head, columns


@pytest.fixture
def client(settings: Settings) -> TestClient:
    delta.create_tables(TRUCKS, settings.delta(TRUCKS.name, "records").parent)
    app, router = FastAPI(), APIRouter()
    add_routes(router, settings)
    app.include_router(router)
    return TestClient(app)


def ask(
    client: TestClient, since: float = 0, until: float = 100
) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
    span = {
        "since": (NOON + timedelta(seconds=since)).isoformat(),
        "until": (NOON + timedelta(seconds=until)).isoformat(),
    }
    answer = client.get("/api/v1/trucks/replay", params=span)
    assert answer.status_code == 200
    return read(answer.content)


def test_in_order_of_event_time_and_each_moment_once(client: TestClient, settings: Settings) -> None:
    path = settings.delta(TRUCKS.name, "records")
    first = [row(5, 30, "b"), row(6, 20), row(7, 10), row(8, 20, latitude=99.0), row(9, 100)]
    then = [row(10, 5, "b", speed_kmh=None, heading_deg=None), row(11, -1), row(2, 10, partition=1, latitude=99.0)]
    for number, rows in enumerate((first, then), 1):
        delta.append(path, pa.Table.from_pylist(rows, SCHEMA), "test", number)
    head, columns = ask(client)
    assert (head["trucks"], head["starts"], head["count"], head["recorded"], head["step_s"]) == (
        ["a", "b"],
        [0, 2],
        4,
        6,
        0,
    )
    noon = NOON.timestamp() * 1e3
    assert columns["time"] == (noon + 10_000, noon + 20_000, noon + 5_000, noon + 30_000)
    assert columns["longitude"] == (50_100_000, 50_200_000, 50_050_000, 50_300_000)
    assert columns["latitude"] == (520_000_000,) * 4
    assert columns["speed"][0] == 50.0
    assert columns["speed"][2] != columns["speed"][2]
    assert columns["heading"][2] != columns["heading"][2]


def test_an_empty_span(client: TestClient) -> None:
    head, columns = ask(client)
    assert (head["trucks"], head["count"], columns["time"]) == ([], 0, ())


@pytest.mark.parametrize(
    "span", [{"since": "noon", "until": "later"}, {}, {"since": NOON.isoformat(), "until": NOON.isoformat()}]
)
def test_a_wrong_span_is_refused(client: TestClient, span: dict[str, str]) -> None:
    assert client.get("/api/v1/trucks/replay", params=span).status_code == 422


def test_too_many_fixes_are_thinned_evenly() -> None:
    """Two trucks, a fix a second for 1,000 s; at most 500 fixes: one in 4 s is 500, one in 2 s would be 1,000."""
    rows = [row(i, i % 1000, "ab"[i // 1000]) for i in range(2000)]
    table = pa.Table.from_pylist(rows, SCHEMA).select(list(COLUMNS))
    fixes, recorded, step = gathered(iter(table.to_batches(max_chunksize=300)), most=500)
    assert (recorded, step) == (2000, 4)
    seconds = (fixes["event_time"] - pd.Timestamp(NOON)).dt.total_seconds()
    for truck in "ab":
        assert seconds[fixes["truck_id"] == truck].tolist() == list(range(0, 1000, 4))
