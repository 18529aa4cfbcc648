"""`make demo` as a newcomer sees it: every part real, and a sale sent by hand that shows up on the page."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from kafka import KafkaProducer
from playwright.sync_api import Page

from headwater.contracts.sales import SALES
from headwater.settings import REPOSITORY
from tests.browser import chromium, opened
from tests.ports import free_port
from tests.screenshots import take

STARTS_WITHIN_S = 240
SHOWS_WITHIN_S = 60
ARCHIVED_WITHIN_S = 120


def until(what: Callable[[], Any], patience: float, why: str) -> Any:
    """The first true answer of a condition that is to come about."""
    deadline = time.monotonic() + patience
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {why}"
        time.sleep(0.1)
    return answer


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
            take(browser, demo.address, Path(folder))
