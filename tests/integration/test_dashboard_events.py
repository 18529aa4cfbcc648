"""The page about events whole: a real broker, the app's own process, a real Chromium; no Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from headwater.contracts.events import EVENTS
from headwater.settings import Settings
from tests.events_messages import Visitors
from tests.stage import Stage, column, staged, text, until, visit

VIEW, ADD, REMOVE, BUY = "productview", "addtobasket", "removefrombasket", "purchase"
LAMP = {"product_name": "Lamp", "category": "Home", "price": "30.0000"}
HALF_AN_HOUR = timedelta(minutes=30)


class EventsStage(Stage):
    """A stage on which visitors come by."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.visitors = Visitors()

    def happen(self, event_type: str, session: str, product: str = "radio", **given: Any) -> None:
        """An event with its figures, as the live and aggregate queries would write them."""
        now = datetime.now(UTC)
        at = given.pop("at", now)
        self.send(self.visitors.event(at, event_type, session, product, **given))
        self.send(*self.visitors.processed(now))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventsStage]:
    with staged(EventsStage, tmp_path_factory.mktemp("events")) as stage:
        stage.start_broker()
        stage.create_topics([EVENTS])
        stage.start_app()
        yield stage


def panels(page: Page) -> int:
    """Types that are drawn: each is a finished and an unfinished line."""
    return page.locator("#events-counts .scatterlayer .trace").count() // 2


def funnel(page: Page) -> list[str]:
    """The counts at the bars."""
    return page.locator("#events-funnel .hw-funnel-bar strong").all_inner_texts()


def chip(page: Page, name: str) -> None:
    page.locator(".hw-chips").get_by_text(name, exact=True).click()


def test_1_an_empty_page_says_what_to_do(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/events") as page:
        until(lambda: "no event has come yet" in text(page, "#events-banner"))
        until(lambda: "No visits yet" in text(page, "#events-funnel"))
        until(lambda: "make run-producers STREAMS=events" in text(page, "#events-counts"))
        until(lambda: "0 open" in text(page, "#events-baskets-open"))
        assert "Nothing rejected" in text(page, "#events-rejected")


def test_2_events_fill_the_page(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/events") as page:
        stage.happen(VIEW, "s1", "lamp", **LAMP)
        stage.happen(ADD, "s1", "lamp", **LAMP)
        stage.happen(VIEW, "s2")
        until(lambda: funnel(page) == ["2", "1", "0"])
        stage.happen(BUY, "s1", "lamp", **LAMP, quantity=2)
        until(lambda: funnel(page) == ["2", "1", "1"])
        until(lambda: "50.0 %" in text(page, "#events-tiles") and "60.00" in text(page, "#events-tiles"))
        assert "Active visits, last 5 min\n2" in text(page, "#events-tiles")
        until(lambda: panels(page) == 4)
        until(lambda: column(page, "events-products", "product") == ["Lamp", "Product radio"])
        until(lambda: column(page, "events-products", "conversion") == ["100.0%", "0.0%"])
        assert column(page, "events-live", "type") == ["purchase", "view", "add", "view"]
        until(lambda: "Lamp" in text(page, "#events-trending"))
        assert text(page, "#events-banner") == ""


def test_3_filters_by_type_and_category(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/events") as page:
        until(lambda: panels(page) == 4)
        chip(page, "Purchases")
        until(lambda: column(page, "events-live", "type") == ["purchase"])
        until(lambda: panels(page) == 1)
        assert text(page, "#events-live-filter") == "only purchases"
        chip(page, "Views")
        until(lambda: column(page, "events-live", "type") == ["purchase", "view", "view"])
        page.locator("#events-category").click()
        page.get_by_role("option", name="Audio").click()
        until(lambda: column(page, "events-live", "product") == ["Product radio"])
        until(lambda: column(page, "events-products", "product") == ["Product radio"])
        until(lambda: "Lamp" not in text(page, "#events-trending"))
        assert funnel(page) == ["2", "1", "1"]
        assert panels(page) == 2


def test_4_a_paused_page_stands_still(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/events") as page:
        until(lambda: funnel(page) == ["2", "1", "1"])
        page.locator("#events-pause").click()
        until(lambda: "paused" in text(page, "#events-state"))
        stage.happen(VIEW, "s3")
        until(lambda: "1 new since" in text(page, "#events-state"))
        assert funnel(page) == ["2", "1", "1"]
        assert len(column(page, "events-live", "type")) == 4
        page.locator("#events-pause").click()
        until(lambda: funnel(page) == ["3", "1", "1"])


def test_5_records_open_as_they_came(stage: EventsStage, browser: Browser) -> None:
    raw = '{"event_type": "productview", "session_id": "typed", "product_id": "by hand"}'
    partition, offset = stage.type_in(EVENTS.raw_topic, raw)
    with visit(stage, browser, "/events") as page:
        stage.happen(VIEW, "typed", "by hand", partition=partition, offset=offset)
        until(lambda: column(page, "events-live", "session")[:1] == ["typed"])
        page.locator("#events-live .ag-row[row-index='0'] [col-id='product']").click()
        until(lambda: json.loads(text(page, "#events-detail-raw") or "0") == json.loads(raw))
        page.keyboard.press("Escape")
        wrong = '{"event_type": "wish"}'
        stage.send(stage.visitors.reject(datetime.now(UTC), wrong, "missing:session_id"))
        until(lambda: column(page, "events-rejected", "reasons") == ["missing:session_id"])
        page.locator("#events-rejected .ag-row[row-index='0'] [col-id='reasons']").click()
        until(lambda: json.loads(text(page, "#events-detail-raw") or "0") == json.loads(wrong))


def test_6_a_basket_is_left_behind_without_any_news_and_withdrawn(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/events") as page:
        until(lambda: funnel(page))
        soon = datetime.now(UTC) - HALF_AN_HOUR + timedelta(seconds=5)
        stage.happen(ADD, "leaves", at=soon, quantity=3)
        until(lambda: "leaves" in column(page, "events-live", "session"))
        assert column(page, "events-baskets", "session") == []
        until(lambda: column(page, "events-baskets", "session") == ["leaves"])
        assert datetime.now(UTC) >= soon + HALF_AN_HOUR
        assert column(page, "events-baskets", "value") == ["30.00"]
        assert column(page, "events-baskets", "withdrawn") == ["open"]
        until(lambda: text(page, "#events-baskets-open") == "1 open · 30.00")
        bought = datetime.now(UTC)
        stage.happen(BUY, "leaves", at=bought)
        until(lambda: column(page, "events-baskets", "withdrawn") == [f"{bought:%H:%M:%S}"])
        until(lambda: text(page, "#events-baskets-open") == "0 open · 0.00")


def test_7_dark_and_on_a_phone(stage: EventsStage, browser: Browser) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with visit(stage, browser, "/events", **phone) as page:
        until(lambda: panels(page) == 4)
        until(lambda: column(page, "events-live", "type") and column(page, "events-rejected", "reasons"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
        page.locator("#scheme").click()
        until(lambda: page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)")


def test_8_the_start_page_leads_here(stage: EventsStage, browser: Browser) -> None:
    with visit(stage, browser, "/") as page:
        until(lambda: "live" in text(page, "#home-events") or "stopped" in text(page, "#home-events"))
        page.locator(".hw-card-title", has_text="Events").click()
        until(lambda: funnel(page))
        assert page.url.endswith("/events")
        page.get_by_role("link", name="Sales").click()
        until(lambda: "no sale has come yet" in text(page, "#sales-banner"))


def test_9_a_restarted_dashboard_shows_the_same(stage: EventsStage, browser: Browser) -> None:
    # More than the last hundred of a partition, all of one visit, which is no more than that.
    now = datetime.now(UTC)
    stage.send(*(stage.visitors.event(now, VIEW, "often", "radio") for _ in range(400)))
    shown = ("funnel", "open_baskets", "revenue", "newest")

    def now_is() -> dict[str, Any]:
        found = stage.ask("events/now?minutes=60") or {}
        return {name: found.get(name) for name in shown}

    until(lambda: (now_is()["funnel"] or {}).get("viewed") == 5)  # s1, s2, s3, typed, often
    before = now_is()
    assert before["revenue"] == "70.0000"
    assert before["funnel"]["purchased"] == 1  # who left the basket had not looked at anything
    stage.stop_app()
    stage.start_app()
    until(lambda: now_is() == before)
    with visit(stage, browser, "/events") as page:
        until(lambda: funnel(page) == ["5", "1", "1"])
