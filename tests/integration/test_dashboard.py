"""The dashboard whole: a real broker, the app's own process, a real Chromium."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from headwater.contracts.sales import SALES
from headwater.settings import REPOSITORY, Settings
from headwater.topics import STATUS_TOPIC
from tests.browser import opened
from tests.sales_messages import Produced, Shop
from tests.screenshots import take
from tests.stage import STALE_AFTER, Stage, column, staged, text, until, visit

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


class SalesStage(Stage):
    """A stage on which sales are made."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.shop = Shop()

    def sell(self, count: int = 1, **given: Any) -> None:
        """Sales with their figures, as the live and aggregate queries would write them."""
        now = datetime.now(UTC)
        self.send(*(self.shop.sale(now, **given) for _ in range(count)))
        self.send(*self.shop.processed(now))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SalesStage]:
    with staged(SalesStage, tmp_path_factory.mktemp("dashboard")) as stage:
        stage.start_app()
        yield stage


def test_1_without_a_broker_it_says_so_and_waits(stage: SalesStage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        until(lambda: "Cannot connect to Kafka" in text(page, "#sales-banner"))
        assert "make demo" in text(page, "#sales-banner")
        health = stage.health()
        assert health is not None
        assert health["status"] == "down"
        stage.start_broker()
        until(lambda: "no sale has come yet" in text(page, "#sales-banner"), 40)
        until(lambda: "connected, no data yet" in text(page, "#sales-state"))


def test_2_topics_that_appear_later_are_taken_up_and_sales_move_the_page(stage: SalesStage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.create_topics([SALES])
        stage.sell(3, product="OLED TV 55", quantity=2)
        until(lambda: "OLED TV 55" in column(page, "sales-products", "product"))
        until(lambda: text(page, "#sales-banner") == "")
        assert column(page, "sales-products", "quantity") == ["6"]
        assert column(page, "sales-products", "revenue") == ["6,594.00"]
        assert column(page, "sales-products", "orders") == ["3"]
        until(lambda: "6,594.00" in text(page, "#sales-tiles"))
        assert len(column(page, "sales-live", "product")) == 3
        stage.sell(1, product="OLED TV 55", quantity=1)
        until(lambda: column(page, "sales-products", "revenue") == ["7,693.00"])
        until(lambda: "7,693.00" in text(page, "#sales-tiles"))


def test_3_a_hand_typed_record_shows_up_and_opens_as_it_came(stage: SalesStage, browser: Browser) -> None:
    raw = '{"product": "TV", "quantity": 1, "price": 499.0}'
    partition, offset = stage.type_in(SALES.raw_topic, raw)
    with visit(stage, browser, "/sales") as page:
        stage.sell(1, product="TV", quantity=1, price="499.0000", partition=partition, offset=offset)
        until(lambda: column(page, "sales-live", "product")[:1] == ["TV"])
        page.locator("#sales-live .ag-row[row-index='0'] [col-id='product']").click()
        until(lambda: json.loads(text(page, "#sales-detail-raw") or "0") == json.loads(raw))
        where = json.loads(text(page, "#sales-detail-where"))
        assert (where["partition"], where["offset"]) == (partition, offset)


def test_4_rejected_records_show_their_reasons_and_value(stage: SalesStage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        rejected = stage.shop.reject(datetime.now(UTC))
        stage.send(rejected)
        until(lambda: column(page, "sales-rejected", "reasons")[:1] == [rejected[2]["reasons"][0]])
        page.locator("#sales-rejected .ag-row[row-index='0'] [col-id='reasons']").click()
        until(lambda: rejected[2]["raw"].split()[-1] in text(page, "#sales-detail-raw"))


def test_5_sort_and_filter_survive_updates(stage: SalesStage, browser: Browser) -> None:
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


def test_6_a_paused_page_stands_still_and_says_how_many_came(stage: SalesStage, browser: Browser) -> None:
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


def test_7_data_that_stops_raises_a_banner_and_lowers_it_again(stage: SalesStage, browser: Browser) -> None:
    with visit(stage, browser, "/sales") as page:
        stage.sell(1)
        until(lambda: "live" in text(page, "#sales-state"))
        until(lambda: "No new data for" in text(page, "#sales-banner"), STALE_AFTER + 5)
        until(lambda: "stopped" in text(page, "#sales-state"))
        stage.sell(1)
        until(lambda: text(page, "#sales-banner") == "")


def told(kind: str, **figures: Any) -> Produced:
    """What the archive of sales says of itself."""
    value = {
        "streams": ["sales"],
        "stream": "sales",
        "query": "archive",
        "at": datetime.now(UTC).isoformat(),
        **figures,
    }
    return STATUS_TOPIC, {"query": "query:archive:sales", "stream": "stream:sales"}[kind], value


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}, PHONE])
def test_7a_an_alarm_says_what_since_when_and_what_to_do_and_goes_when_it_is_over(
    stage: SalesStage, browser: Browser, look: dict[str, Any]
) -> None:
    counts = {"records": 1_000, "rejected": 0, "duplicates": 0, "late": 0}
    stage.send(told("stream", **counts, owed=0), told("query", state="running", reached={SALES.raw_topic: 0}, lag=0))
    stage.type_in(SALES.raw_topic, "whatever")
    with visit(stage, browser, "/", **look) as page:
        until(lambda: "running" in text(page, "#home-queries"))
        # It says that nothing waits; the raw topic's end, asked for at the broker, says otherwise.
        until(lambda: (stage.health() or {})["queries"]["archive"]["lag"] >= 1)
        stage.send(told("stream", **counts, owed=1_234), told("query", state="failed", message="no space left"))
        until(lambda: "query archive of sales failed: no space left" in text(page, "#home-status"))
        until(lambda: "1,234 rows wait for the SQL database" in text(page, "#home-status"))
        assert re.search(r"since \d\d:\d\d:\d\d UTC, for \d", text(page, "#home-status"))
        assert "spark-submit jobs/sales.py" in text(page, "#home-status")
        until(lambda: "▲ archive failed" in text(page, "#home-sales") and "▲ SQL waits" in text(page, "#home-sales"))
        assert "failed" not in text(page, "#home-trucks")
        # What is read out names the alarms and changes only with them; the list itself is not read out each second.
        until(lambda: "archive failed" in text(page, "#home-announced"))
        assert page.locator("#home-announced").get_attribute("role") == "status"
        assert page.locator("#home-status [role='alert']").count() == 0
        health = stage.health()
        assert health is not None
        assert {alarm["kind"] for alarm in health["alarms"]} >= {"failed", "owed"}
        metrics = httpx.get(f"{stage.address}/metrics")
        assert 'headwater_alarm{kind="failed",level="fault",subject="archive:sales"} 1.0' in metrics.text
        assert "default-src 'self'" in metrics.headers["content-security-policy"]
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
        stage.send(told("stream", **counts, owed=0), told("query", state="running"))
        until(lambda: "failed" not in text(page, "#home-status") and "SQL" not in text(page, "#home-sales"))


def test_8_start_page_graphs_navigation_and_theme(stage: SalesStage, browser: Browser) -> None:
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
def test_9_a_phone_s_width_is_enough(stage: SalesStage, browser: Browser, path: str) -> None:
    with visit(stage, browser, path, **PHONE) as page:
        page.wait_for_timeout(1_500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_broker_that_goes_and_comes_back_is_found_again(stage: SalesStage, browser: Browser) -> None:
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


def test_b_docs_work_without_a_network(stage: SalesStage, browser: Browser) -> None:
    with visit(stage, browser, "/docs") as page:
        until(lambda: "/api/v1/sales/per_minute_category" in text(page, "#swagger-ui"))


def test_c_a_taken_port_is_explained(stage: SalesStage) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dashboards.app"], cwd=REPOSITORY, env=stage.environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"port {stage.settings.dashboard.port} on 127.0.0.1 is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_d_a_page_outlives_the_dashboard_and_the_dashboard_ends_in_time(stage: SalesStage, browser: Browser) -> None:
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


def test_e_pictures_can_be_taken(stage: SalesStage, browser: Browser, tmp_path: Path) -> None:
    stage.sell(30)
    taken = take(browser, stage.address, tmp_path, pages={"sales": "/sales"}, looks=("dark", "phone"))
    assert [file.name for file in taken] == ["sales-dark.png", "sales-phone.png"]
    assert all(file.stat().st_size > 20_000 for file in taken)
