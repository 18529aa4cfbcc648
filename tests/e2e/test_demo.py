"""`make demo` as a newcomer sees it: every part real, and records sent by hand that show up on the pages."""

import contextlib
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from kafka import KafkaProducer
from playwright.sync_api import Page

from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.co2 import CO2
from headwater.contracts.events import EVENTS
from headwater.contracts.sales import SALES
from headwater.contracts.trucks import TRUCKS
from headwater.settings import REPOSITORY
from tests.browser import GRAPHICS, chromium, opened
from tests.ports import free_port
from tests.screenshots import take
from tests.stage import until

STARTS_WITHIN_S = 240
SHOWS_WITHIN_S = 60
ARCHIVED_WITHIN_S = 120


class Demo:
    """The demo's own process, its address and what it said."""

    def __init__(self, home: Path) -> None:
        self.kafka_port, self.port = free_port(), free_port()
        self.output = home / "demo.out"
        environ = os.environ | {
            "HEADWATER_HOME": str(home / "var"),
            "HEADWATER_KAFKA_PORT": str(self.kafka_port),
            "DASH_PORT": str(self.port),
            "HEADWATER_JOBS_ARCHIVE_TRIGGER_SECONDS": "5",
            "HEADWATER_OPENSKY_BASE_URL": "http://127.0.0.1:9/api",  # nobody is there, so the sky is simulated
            "HEADWATER_CO2_LIMITS_KG_H": '{"hand-typed": 100}',
        }
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headwater.demo"],
                cwd=REPOSITORY,
                env=environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.said()
        return f"Headwater runs at {self.address}" in self.said()

    def sql(self, query: str) -> list[Any]:
        """What the SQL sink's own database says; nothing while it isn't there."""
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(self._database()) as database:
            return database.execute(query).fetchall()
        return []

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.output.parent / 'var' / 'headwater.db'}?mode=ro", uri=True)

    def api(self, path: str) -> Any:
        return httpx.get(f"{self.address}/api/v1/{path}", timeout=20).json()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        until(demo.is_up, STARTS_WITHIN_S, "the demo is up")
        yield demo
    finally:
        family = psutil.Process(demo.process.pid).children(recursive=True) if demo.process.poll() is None else []
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGINT)
        code = demo.process.wait(120)
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
    assert code == 0, demo.said()
    assert not alive, "the demo left processes behind"


def text_of(page: Page) -> str:
    return page.evaluate("document.body.innerText")


def test_a_visit_typed_by_hand_goes_through_the_funnel_and_a_basket_is_left_and_withdrawn(demo: Demo) -> None:
    now = datetime.now(UTC)
    producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{demo.kafka_port}")

    def send(session: str, kind: str, minutes_ago: float, **fields: Any) -> None:
        at = (now - timedelta(minutes=minutes_ago)).isoformat()
        event = {"session_id": session, "event_type": kind, "product_id": "lamp-1", "event_time": at, **fields}
        producer.send(EVENTS.raw_topic, json.dumps(event).encode(), session.encode()).get(30)

    def rows(table: str, session: str) -> list[dict[str, Any]]:
        return [row for row in demo.api(f"events/{table}?limit=10000") if row["session_id"] == session]

    with (
        chromium() as browser,
        opened(browser, f"{demo.address}/events", viewport={"width": 1360, "height": 2400}) as (
            page,
            watch,
        ),
    ):
        until(lambda: "Conversion" in text_of(page), SHOWS_WITHIN_S, "the page")
        send("buyer", "productview", 3, product_name="Hand-typed lamp", price="12.50")
        send("buyer", "addtobasket", 2, price="12.50", quantity=2)
        send("buyer", "purchase", 1, price="12.50", quantity=2)
        send("forgetful", "addtobasket", 31, product_name="Forgotten lamp", price="77.75", quantity=3)
        until(lambda: "233.25" in text_of(page), SHOWS_WITHIN_S, "the basket of 3 x 77.75 among those left behind")

        (left,) = until(lambda: rows("abandoned", "forgetful"), ARCHIVED_WITHIN_S, "the basket in the table")
        assert (left["basket_units"], left["basket_value"], left["withdrawn_at"]) == (3, "233.2500", None)
        (bought,) = until(lambda: rows("sessions", "buyer"), ARCHIVED_WITHIN_S, "the visit in the table")
        assert (bought["step"], bought["seconds_to_convert"], bought["revenue"]) == (3, 120.0, "25.0000")
        assert bought["basket_units"] == 0

        send("forgetful", "purchase", 0, price="77.75", quantity=3)
        until(lambda: rows("abandoned", "forgetful")[0]["withdrawn_at"], ARCHIVED_WITHIN_S, "that it is withdrawn")
        assert watch.strangers() == []
        assert watch.errors == []
    producer.close()


def test_a_truck_typed_by_hand_is_on_the_map_and_its_trip_in_the_table(demo: Demo) -> None:
    """A tenth of a degree due north, 11.1195 km, in six minutes, sent in the wrong order."""
    now = datetime.now(UTC)
    fixes = [
        {"truck_id": "hand-typed", "latitude": 45 + part / 60, "longitude": 3.0, "speed_kmh": 110 if part == 3 else 90,
         "event_time": (now - timedelta(minutes=8 - part)).isoformat(), "driver": "Ada"}
        for part in (0, 2, 4, 6, 5, 1, 3)
    ]  # fmt: skip
    with (
        chromium() as browser,
        opened(browser, f"{demo.address}/trucks", viewport={"width": 1360, "height": 900}) as (page, watch),
    ):
        until(lambda: "T0001" in text_of(page), SHOWS_WITHIN_S, "the simulated fleet in the list")
        producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{demo.kafka_port}")
        for fix in fixes:
            producer.send(TRUCKS.raw_topic, json.dumps(fix).encode(), b"hand-typed").get(30)
        producer.close()
        until(lambda: "hand-typed" in text_of(page), SHOWS_WITHIN_S, "the truck in the list")

        def trips() -> Any:
            return [row for row in demo.api("trucks/trips?truck_id=hand-typed") if row["fixes"] == len(fixes)]

        (trip,) = until(trips, ARCHIVED_WITHIN_S, "its trip in the table")
        assert trip["distance_km"] == pytest.approx(6371.0088 * math.radians(0.1), abs=1e-5)
        assert (trip["duration_s"], trip["top_kmh"], trip["idle_s"], trip["is_open"]) == (360, 110, 0, True)
        (latest,) = demo.api("trucks/latest?truck_id=hand-typed")
        assert (latest["driver"], latest["state"], latest["latitude"]) == ("Ada", "moving", 45.1)
        assert watch.strangers() == []
        assert watch.errors == []


def test_an_emergency_typed_by_hand_is_on_the_page_and_in_the_database(demo: Demo) -> None:
    second = int(datetime.now(UTC).timestamp())
    states = [
        {"icao24": "abcdef", "last_contact": second - 20 + n, "callsign": "HAND1   ", "origin_country": "Atlantis",
         "latitude": 50.0 + n / 100, "longitude": 6.0, "baro_altitude": 9000.0 - 30 * n, "on_ground": False,
         "velocity": 220.0, "true_track": 0.0, "vertical_rate": -30.0, "squawk": "7700" if n > 4 else "1000"}
        for n in range(10)
    ]  # fmt: skip
    with (
        chromium() as browser,
        opened(browser, f"{demo.address}/aircraft", viewport={"width": 1360, "height": 2400}) as (page, watch),
    ):
        producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{demo.kafka_port}")
        for state in states:
            producer.send(AIRCRAFT.raw_topic, json.dumps(state).encode(), b"abcdef").get(30)
        producer.close()
        until(lambda: "HAND1" in text_of(page), SHOWS_WITHIN_S, "the emergency on the page")
        rows = until(
            lambda: demo.sql(
                "SELECT kind, steepest, is_open FROM aircraft_alerts WHERE icao24 = 'abcdef' ORDER BY kind"
            ),
            ARCHIVED_WITHIN_S,
            "its alerts in the database",
        )
        assert rows == [("7700", None, 1), ("steep_descent", -30.0, 1)]
        alerts = [row for row in demo.api("aircraft/alerts?limit=1000") if row["icao24"] == "abcdef"]
        assert {row["kind"]: row["latitude"] for row in alerts} == {"7700": 50.05, "steep_descent": 50.0}
        (latest,) = demo.api("aircraft/latest?icao24=abcdef")
        assert (latest["phase"], latest["last_contact"]) == ("descent", second - 11)
        assert watch.strangers() == []
        assert watch.errors == []


def test_a_meter_typed_by_hand_raises_an_alarm_that_is_acknowledged(demo: Demo) -> None:
    """2 kg a minute are 120 kg/h, of 100 allowed."""
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=5 - n) for n in range(4)]
    with (
        chromium() as browser,
        opened(browser, f"{demo.address}/co2", viewport={"width": 1360, "height": 3200}) as (page, watch),
    ):
        until(lambda: "kg/MWh" in text_of(page), SHOWS_WITHIN_S, "the page")
        producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{demo.kafka_port}")
        for at in times:
            record = {"source_id": "hand-typed", "emission_kg": 2, "interval_s": 60, "event_time": at.isoformat()}
            producer.send(CO2.raw_topic, json.dumps(record).encode(), b"hand-typed").get(30)
        producer.close()
        until(lambda: "hand-typed" in text_of(page), SHOWS_WITHIN_S, "the source on the page")

        def alarms() -> Any:
            return [row for row in demo.api("co2/alarms?limit=1000") if row["source_id"] == "hand-typed"]

        (alarm,) = until(alarms, ARCHIVED_WITHIN_S, "its alarm in the table")
        assert (alarm["limit_kg_h"], alarm["peak_kg_h"], alarm["ended_at"]) == (100, 120, None)
        assert [datetime.fromisoformat(alarm[name]) for name in ("began_at", "raised_at")] == [times[0], times[2]]
        said = {"alarm_id": alarm["alarm_id"], "acknowledged_by": "Ada"}
        assert httpx.post(f"{demo.address}/api/v1/co2/alarms/acknowledge", json=said, timeout=20).status_code == 202
        until(lambda: alarms()[0]["acknowledged_by"] == "Ada", ARCHIVED_WITHIN_S, "who acknowledged it")
        readings = until(lambda: demo.api("co2/readings?source_id=hand-typed"), ARCHIVED_WITHIN_S, "its readings")
        assert [datetime.fromisoformat(row["event_time"]) for row in readings] == times
        assert {row["emission_kg"] for row in readings} == {2.0}
        assert watch.strangers() == []
        assert watch.errors == []


def test_a_sale_typed_by_hand_shows_up_and_is_archived(demo: Demo, request: pytest.FixtureRequest) -> None:
    with (
        chromium() as browser,
        opened(browser, f"{demo.address}/sales", viewport={"width": 1360, "height": 900}) as (
            page,
            watch,
        ),
    ):
        until(lambda: re.search(r"\d[\d,]*\.\d\d", text_of(page)), SHOWS_WITHIN_S, "an amount on the page")
        before = text_of(page)
        until(lambda: text_of(page) != before, SHOWS_WITHIN_S, "the numbers move")

        producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{demo.kafka_port}")
        producer.send(SALES.raw_topic, b'{"product": "Hand-typed TV", "quantity": 1, "price": 499.0}').get(30)
        producer.send(SALES.raw_topic, b'{"product": "Hand-typed TV", "quantity": "one", "price": 499.0}').get(30)
        producer.close()
        until(lambda: "Hand-typed TV" in text_of(page), SHOWS_WITHIN_S, "the sale in the live feed")

        rows = until(
            lambda: [row for row in demo.api("sales/totals?limit=10000") if row["product"] == "Hand-typed TV"],
            ARCHIVED_WITHIN_S,
            "the sale among the archived totals",
        )
        assert rows == [{"product": "Hand-typed TV", "quantity": 1, "revenue": "499.0000", "orders": 1, "returns": 0}]
        wrong = [row for row in demo.api("sales/rejected?limit=1000") if "Hand-typed" in (row["raw"] or "")]
        assert [row["reasons"] for row in wrong] == [["type:quantity"]]
        assert json.loads(wrong[0]["raw"])["quantity"] == "one"

        page.goto(demo.address)
        until(lambda: "sales" in text_of(page).lower(), SHOWS_WITHIN_S, "the overview")
        assert watch.strangers() == []
        assert watch.errors == []

    if folder := request.config.getoption("--screenshots"):
        with chromium(GRAPHICS) as browser:
            take(browser, demo.address, Path(folder))
