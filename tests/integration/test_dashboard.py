"""The dashboard whole: a real broker, the app's own process, a real Chromium."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from playwright.sync_api import Browser, Page

from headwater.broker import ensure_broker, stop_broker
from headwater.contracts.sales import SALES
from headwater.kafka import client_config
from headwater.settings import REPOSITORY, Settings, load_settings
from headwater.topics import ensure_topics
from tests.browser import Watch, chromium, opened
from tests.ports import free_port
from tests.sales_messages import Produced, Shop, encode
from tests.screenshots import take

STALE_AFTER = 4
PATIENCE = 20.0


def until(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true answer. Playwright's own waiting evaluates text, which the pages' policy forbids."""
    deadline = time.monotonic() + patience
    while not (answer := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return answer


class Stage:
    """A broker of its own, since the topics' names are fixed and the broker is stopped here, and the app."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bootstrap = ""
        self.app: subprocess.Popen[str] | None = None
        self.shop = Shop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings.dashboard.port}"

    def start_broker(self) -> None:
        self.bootstrap = ensure_broker(self.settings)

    def stop_broker(self) -> None:
        stop_broker(self.settings)

    def create_topics(self) -> None:
        ensure_topics(self.settings, self.bootstrap, [SALES])

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
        try:
            answer: dict[str, Any] = httpx.get(f"{self.address}/api/v1/health").json()
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

    def sell(self, count: int = 1, **given: Any) -> None:
        """Sales with their figures, as the live and aggregate queries would write them."""
        now = datetime.now(UTC)
        self.send(*(self.shop.sale(now, **given) for _ in range(count)))
        self.send(*self.shop.processed(now))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    environment = {
        "HEADWATER_HOME": str(tmp_path_factory.mktemp("dashboard")),
        "HEADWATER_KAFKA_PORT": str(free_port()),
        "DASH_PORT": str(free_port()),
    }
    stage = Stage(load_settings(environment))
    stage.start_app()
    yield stage
    if stage.app is not None and stage.app.poll() is None:
        stage.stop_app()
    stage.stop_broker()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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


def test_1_without_a_broker_it_says_so_and_waits(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        until(lambda: "Cannot connect to Kafka" in text(page, "#sales-banner"))
        assert "make demo" in text(page, "#sales-banner")
        health = stage.health()
        assert health is not None
        assert health["status"] == "down"
        stage.start_broker()
        until(lambda: "no sale has come yet" in text(page, "#sales-banner"), 40)
        until(lambda: "connected, no data yet" in text(page, "#sales-state"))


def test_2_topics_that_appear_later_are_taken_up_and_sales_move_the_page(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.create_topics()
        stage.sell(3, product="OLED TV 55", quantity=2)
        until(lambda: "OLED TV 55" in column(page, "sales-products", "product"))
        until(lambda: text(page, "#sales-banner") == "")
        assert column(page, "sales-products", "quantity") == ["6"]
        assert column(page, "sales-products", "revenue") == ["6,594.00"]
        assert column(page, "sales-products", "orders") == ["≈ 3"]
        until(lambda: "6,594.00" in text(page, "#sales-tiles"))
        assert len(column(page, "sales-live", "product")) == 3
        stage.sell(1, product="OLED TV 55", quantity=1)
        until(lambda: column(page, "sales-products", "revenue") == ["7,693.00"])
        until(lambda: "7,693.00" in text(page, "#sales-tiles"))


def test_3_a_hand_typed_record_shows_up_and_opens_as_it_came(stage: Stage, browser: Browser) -> None:
    raw = '{"product": "TV", "quantity": 1, "price": 499.0}'
    producer = Producer(client_config(stage.settings, stage.bootstrap))
    positions: list[tuple[int, int]] = []
    producer.produce(SALES.raw_topic, value=raw, on_delivery=lambda _, m: positions.append((m.partition(), m.offset())))
    producer.flush(10)
    partition, offset = positions[0]
    with visit(stage, browser, "/sales") as page:
        stage.sell(1, product="TV", quantity=1, price="499.0000", partition=partition, offset=offset)
        until(lambda: column(page, "sales-live", "product")[:1] == ["TV"])
        page.locator("#sales-live .ag-row[row-index='0'] [col-id='product']").click()
        until(lambda: json.loads(text(page, "#sales-detail-raw") or "0") == json.loads(raw))
        where = json.loads(text(page, "#sales-detail-where"))
        assert (where["partition"], where["offset"]) == (partition, offset)


def test_4_rejected_records_show_their_reasons_and_value(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        rejected = stage.shop.reject(datetime.now(UTC))
        stage.send(rejected)
        until(lambda: column(page, "sales-rejected", "reasons")[:1] == [rejected[2]["reasons"][0]])
        page.locator("#sales-rejected .ag-row[row-index='0'] [col-id='reasons']").click()
        until(lambda: rejected[2]["raw"].split()[-1] in text(page, "#sales-detail-raw"))


def test_5_sort_and_filter_survive_updates(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.sell(40)
        until(lambda: len(column(page, "sales-products", "product")) > 8)
        page.locator("#sales-products .ag-header-cell[col-id='product'] .ag-header-cell-text").click()
        page.locator("#sales-products .ag-floating-filter input:visible").first.fill("s")
        until(lambda: all("s" in name.lower() for name in column(page, "sales-products", "product")))
        before = column(page, "sales-products", "revenue")
        stage.sell(40)
        until(lambda: column(page, "sales-products", "revenue") != before)
        names = column(page, "sales-products", "product")
        assert names == sorted(names, key=str.lower)
        assert all("s" in name.lower() for name in names)


def test_6_a_paused_page_stands_still_and_says_how_many_came(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.sell(1, product="Before")
        until(lambda: "Before" in column(page, "sales-live", "product"))
        page.locator("#sales-pause").click()
        until(lambda: "paused" in text(page, "#sales-state"))
        tiles, products = text(page, "#sales-tiles"), column(page, "sales-products", "revenue")
        stage.sell(5, product="After")
        until(lambda: "5 new since" in text(page, "#sales-state"))
        assert "After" not in column(page, "sales-live", "product")
        assert (text(page, "#sales-tiles"), column(page, "sales-products", "revenue")) == (tiles, products)
        page.locator("#sales-pause").click()
        until(lambda: column(page, "sales-live", "product")[:5] == ["After"] * 5)
        until(lambda: text(page, "#sales-tiles") != tiles)


def test_7_data_that_stops_raises_a_banner_and_lowers_it_again(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.sell(1)
        until(lambda: "live" in text(page, "#sales-state"))
        until(lambda: "No new data for" in text(page, "#sales-banner"), STALE_AFTER + 5)
        until(lambda: "stopped" in text(page, "#sales-state"))
        stage.sell(1)
        until(lambda: text(page, "#sales-banner") == "")


def test_8_start_page_graphs_navigation_and_theme(stage: Stage, browser: Browser) -> None:
    stage.send(*stage.shop.status(datetime.now(UTC), 20))
    with visit(stage, browser, "/", color_scheme="dark") as page:
        stage.sell(5)
        until(lambda: "live" in text(page, "#home-sales"))
        until(lambda: "aggregate" in text(page, "#home-queries"))
        until(lambda: "ms" in text(page, "#home-sales"))
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
        page.get_by_role("link", name="Sales").first.click()
        until(lambda: column(page, "sales-products", "product"))
        page.get_by_role("link", name="Graphs").click()
        until(lambda: page.locator("#sales-by-minute .scatterlayer .trace").count() >= 4)
        until(lambda: page.locator("#sales-by-category .legend .traces").count() > 2)
        page.locator("#scheme").click()
        until(lambda: page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)")
        page.reload()
        until(lambda: page.locator("#sales-by-minute .scatterlayer .trace").count() >= 4)
        assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "light"


@pytest.mark.parametrize("path", ["/", "/sales", "/sales/graph"])
def test_9_a_phone_s_width_is_enough(stage: Stage, browser: Browser, path: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with visit(stage, browser, path, **phone) as page:
        page.wait_for_timeout(1_500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_broker_that_goes_and_comes_back_is_found_again(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.sell(1, product="Earlier")
        until(lambda: column(page, "sales-live", "product")[:1] == ["Earlier"])
        before = len(column(page, "sales-live", "product"))
        stage.stop_broker()
        until(lambda: "Cannot connect to Kafka" in text(page, "#sales-banner"), 30)
        stage.start_broker()
        until(lambda: "Cannot connect" not in text(page, "#sales-banner"), 30)
        stage.sell(1, product="Later")
        until(lambda: column(page, "sales-live", "product")[:2] == ["Later", "Earlier"])
        assert len(column(page, "sales-live", "product")) >= before


def test_b_docs_work_without_a_network(stage: Stage, browser: Browser) -> None:
    with visit(stage, browser, "/docs") as page:
        until(lambda: "/api/v1/sales/per_minute_category" in text(page, "#swagger-ui"))


def test_c_a_taken_port_is_explained(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.app"], cwd=REPOSITORY, env=stage.environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"port {stage.settings.dashboard.port} on 127.0.0.1 is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_d_a_page_outlives_the_dashboard_and_the_dashboard_ends_in_time(stage: Stage, browser: Browser) -> None:
    with opened(browser, f"{stage.address}/sales") as (page, watch):
        stage.sell(1)
        until(lambda: column(page, "sales-live", "product"))
        assert stage.stop_app() < 6
        until(lambda: page.locator("#lost.shown").count() == 1)
        stage.start_app()
        stage.sell(1, product="Back again")
        until(lambda: "Back again" in column(page, "sales-live", "product"), 40)
        until(lambda: page.locator("#lost.shown").count() == 0)
        assert watch.strangers() == []


def test_e_pictures_can_be_taken(stage: Stage, browser: Browser, tmp_path: Path) -> None:
    stage.sell(30)
    taken = take(browser, stage.address, tmp_path, pages={"sales": "/sales"}, looks=("dark", "phone"))
    assert [file.name for file in taken] == ["sales-dark.png", "sales-phone.png"]
    assert all(file.stat().st_size > 20_000 for file in taken)
