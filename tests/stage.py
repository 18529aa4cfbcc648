"""A broker of its own, the dashboard's own process and what a test sees of its pages in a browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page

from headwater.broker import ensure_broker, stop_broker
from headwater.contracts import Stream
from headwater.kafka import client_config
from headwater.settings import REPOSITORY, Settings, load_settings
from headwater.topics import ensure_topics
from tests.browser import Watch, opened
from tests.ports import free_port
from tests.sales_messages import Produced, encode

STALE_AFTER = 4
PATIENCE = 20.0


def until(what: Callable[[], Any], patience: float = PATIENCE, why: str = "what is awaited") -> Any:
    """The first true answer. Playwright's own waiting evaluates text, which the pages' policy forbids."""
    deadline = time.monotonic() + patience
    while not (answer := what()):
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {why}"
        time.sleep(0.02)
    return answer


class Stage:
    """A broker of its own, since the topics' names are fixed and the broker may be stopped here, and the app."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bootstrap = ""
        self.app: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings.dashboard.port}"

    def start_broker(self) -> None:
        self.bootstrap = ensure_broker(self.settings)

    def stop_broker(self) -> None:
        stop_broker(self.settings)

    def create_topics(self, streams: Iterable[Stream]) -> None:
        ensure_topics(self.settings, self.bootstrap, streams)

    def start_app(self) -> None:
        self.app = subprocess.Popen(
            [sys.executable, "-m", "dashboards.app", "--stale-after", str(STALE_AFTER)],
            cwd=REPOSITORY, env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        until(self.health, 60)

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HEADWATER_HOME": str(self.settings.home),
            "HEADWATER_KAFKA_PORT": str(self.settings.kafka.port),
            "DASH_PORT": str(self.settings.dashboard.port),
        }

    def health(self) -> dict[str, Any] | None:
        return self.ask("health")

    def ask(self, path: str) -> dict[str, Any] | None:
        """What the API answers, if it does."""
        try:
            answer: dict[str, Any] = httpx.get(f"{self.address}/api/v1/{path}").json()
        except httpx.HTTPError:
            return None
        return answer

    def stop_app(self) -> float:
        """Seconds it took to end."""
        assert self.app is not None
        begun = time.monotonic()
        self.app.send_signal(signal.SIGTERM)
        self.app.communicate(timeout=15)
        return time.monotonic() - begun

    def send(self, *messages: Produced) -> None:
        producer = Producer(client_config(self.settings, self.bootstrap))
        for produced in messages:
            topic, key, value = encode(produced)
            producer.produce(topic, key=key, value=value)
        assert producer.flush(10) == 0

    def type_in(self, topic: str, raw: str) -> tuple[int, int]:
        """A message as a person would send it; its partition and offset."""
        producer = Producer(client_config(self.settings, self.bootstrap))
        positions: list[tuple[int, int]] = []
        producer.produce(topic, value=raw, on_delivery=lambda _, m: positions.append((m.partition(), m.offset())))
        producer.flush(10)
        return positions[0]


StageType = TypeVar("StageType", bound=Stage)


@contextmanager
def staged(make: Callable[[Settings], StageType], home: Path, **environment: str) -> Iterator[StageType]:
    """A stage with free ports; at the end nothing of it runs any more."""
    ports = {"HEADWATER_KAFKA_PORT": str(free_port()), "DASH_PORT": str(free_port())}
    stage = make(load_settings({"HEADWATER_HOME": str(home), **ports, **environment}))
    try:
        yield stage
    finally:
        if stage.app is not None and stage.app.poll() is None:
            stage.stop_app()
        stage.stop_broker()


@contextmanager
def visit(stage: Stage, browser: Browser, path: str, **context: Any) -> Iterator[Page]:
    """A page of the dashboard; at its end nothing has left this machine and nothing was complained about."""
    with opened(browser, stage.address + path, **{"viewport": {"width": 1360, "height": 900}, **context}) as seen:
        page, watch = seen
        yield page
        _nothing_strange(watch)


def _nothing_strange(watch: Watch) -> None:
    assert watch.strangers() == []
    assert watch.errors == []


def text(page: Page, selector: str) -> str:
    return " ".join(page.locator(selector).all_inner_texts())


def column(page: Page, grid: str, name: str) -> list[str]:
    """A column's cells in the order they are seen."""
    rows = page.evaluate(
        """([grid, name]) => [...document.querySelectorAll(`#${grid} .ag-center-cols-container .ag-row`)]
            .map(row => [Number(row.getAttribute("row-index")), row.querySelector(`[col-id="${name}"]`)?.innerText])""",
        [grid, name],
    )
    return [cell for _, cell in sorted(rows) if cell is not None]
