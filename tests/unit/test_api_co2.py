"""The API of CO2 over Delta tables and CSV files as the job leaves them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards import api
from dashboards.hub import Hub
from dashboards.raw import RawReader
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.co2 import CO2
from headwater.settings import Settings
from tests.unit.test_api import no_broker

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    delta.create_tables(CO2, settings.delta(CO2.name, "records").parent)
    app = FastAPI()
    app.include_router(api.routes(STREAMS, settings, Hub(), RawReader(no_broker, lambda bootstrap: {})))
    with TestClient(app) as client:
        yield client


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def put(settings: Settings, table: str, *rows: dict[str, Any]) -> None:
    delta.correct(settings.delta(CO2.name, table), CO2.table(table), list(rows), [])


def alarm(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "alarm_id": f"stack 1|{number}", "source_id": "stack 1", "limit_kg_h": 100.0, "began_at": at(number),
        "raised_at": at(number + 2), "ended_at": None, "peak_kg_h": 120.0, "acknowledged_at": None,
        "acknowledged_by": None,
    } | fields  # fmt: skip


# -- acknowledging


def test_an_alarm_that_is_acknowledged_keeps_who_was_first(client: TestClient, settings: Settings) -> None:
    put(settings, "alarms", alarm(0, acknowledged_at=at(60), acknowledged_by="Ada"))
    answer = client.post("/api/v1/co2/alarms/acknowledge", json={"alarm_id": "stack 1|0", "acknowledged_by": "Grace"})
    assert (answer.status_code, answer.json()) == (
        200, {"alarm_id": "stack 1|0", "acknowledged_at": "2026-05-04T12:01:00Z", "acknowledged_by": "Ada"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"alarm_id": "stack 1|0", "acknowledged_by": "Ada"}, 503),  # there is no broker
        ({"alarm_id": "stack 1|0", "acknowledged_by": "A" * 200}, 503),
        ({"alarm_id": "stack 1|0", "acknowledged_by": "A" * 201}, 422),
        ({"alarm_id": "stack 1|0", "acknowledged_by": " \t"}, 422),
        ({"alarm_id": "stack 1|0", "acknowledged_by": None}, 422),
        ({"alarm_id": "stack 1|0"}, 422),
        ({"alarm_id": "stack 1|0", "acknowledged_by": "Ada", "at": "2020-01-01T00:00:00Z"}, 422),
        (["stack 1|0"], 422),
        ({"alarm_id": "stack 1|9", "acknowledged_by": "Ada"}, 404),
    ],
)
def test_what_acknowledging_refuses(client: TestClient, settings: Settings, body: Any, status: int) -> None:
    put(settings, "alarms", alarm(0))
    answer = client.post("/api/v1/co2/alarms/acknowledge", json=body)
    assert answer.status_code == status
    if status == 503:
        assert "make kafka-up" in answer.json()["detail"]["error"]
    if status == 404:
        assert "'stack 1|9'" in answer.json()["detail"]["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, 404),
        ({"Content-Type": "application/json", "Origin": "http://testserver"}, 404),
        ({"Content-Type": "application/json", "Origin": "http://elsewhere"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ],
)
def test_another_site_s_page_acknowledges_nothing(client: TestClient, headers: dict[str, str], status: int) -> None:
    body = b'{"alarm_id": "nobody", "acknowledged_by": "Ada"}'
    assert client.post("/api/v1/co2/alarms/acknowledge", content=body, headers=headers).status_code == status
