"""The page about trucks whole: a real broker, the app's own process, a real Chromium with WebGL; no Spark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page

from headwater import delta
from headwater.contracts.trucks import TRUCKS
from headwater.settings import Settings
from tests.browser import GRAPHICS, chromium
from tests.stage import Stage, column, staged, text, until, visit
from tests.trucks_messages import Drivers

MOVING, STOPPED, OFFLINE = range(3)
SHOWN = "() => [...document.querySelectorAll('.hm-row:not([hidden]) .hm-row-name')].map(row => row.textContent)"


class TrucksStage(Stage):
    """A stage on which trucks drive by."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.drivers = Drivers()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(GRAPHICS) as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrucksStage]:
    with staged(TrucksStage, tmp_path_factory.mktemp("trucks")) as stage:
        stage.start_broker()
        stage.create_topics([TRUCKS])
        stage.start_app()
        yield stage


@pytest.fixture(scope="module")
def page(stage: TrucksStage, browser: Browser) -> Iterator[Page]:
    """One page for what happens one after the other: to open one takes longer than most of that."""
    with visit(stage, browser, "/trucks") as page:
        yield page


def where(page: Page, truck: str) -> dict[str, Any] | None:
    """A marker as it is drawn now."""
    found: dict[str, Any] | None = page.evaluate("id => window.headwaterMap?.where(id) ?? null", truck)
    return found


def shown(page: Page) -> list[str]:
    """The trucks of the list, and that the map shows the same."""
    listed: list[str] = page.evaluate(SHOWN)
    on_map = page.evaluate("(window.headwaterMap?.rows ?? []).filter(row => row?.shown).map(row => row.id)")
    return sorted(listed) if sorted(listed) == sorted(on_map) else []


def click_marker(page: Page, truck: str) -> None:
    box, at = page.locator("#trucks-map").bounding_box(), where(page, truck)
    assert box is not None
    assert at is not None
    page.mouse.click(box["x"] + at["left"], box["y"] + at["top"])


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_1_an_empty_page_says_what_to_do(page: Page) -> None:
    until(lambda: "no fix has come yet" in text(page, "#trucks-banner"))
    until(lambda: "make run-producers STREAMS=trucks" in text(page, ".hm-note"))
    until(lambda: "No alert yet" in text(page, "#trucks-alerts"))
    assert "No truck fits" in text(page, "#trucks-list")
    button(page, "Play back what has been recorded")
    until(lambda: "Nothing was recorded" in text(page, ".hm-about"))
    button(page, "End the replay")


def test_2_markers_come_and_glide_as_long_as_the_setting_says(stage: TrucksStage, page: Page) -> None:
    """72 km/h are 20 m/s, eastwards: at 52 degrees north 0.000292 degrees of longitude."""
    until(lambda: page.evaluate("window.headwaterMap?.base !== undefined"))
    stage.send(
        stage.drivers.fix("A1", 52.0, 5.0, driver="Ada", cargo="flowers"),
        stage.drivers.fix("B2", 52.5, 6.0, speed_kmh=0.0, driver="Bob"),
        stage.drivers.fix("C3", 51.5, 4.5, driver="Cem", route="R7"),
    )
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    begun = where(page, "A1")
    assert begun is not None
    assert begun["state"] == MOVING
    until(lambda: (where(page, "A1") or begun)["longitude"] > 5.0003)
    until(lambda: (where(page, "A1") or begun)["longitude"] > 5.0 + 2.99 * 0.000292)
    page.wait_for_timeout(300)  # it would go on in this time, if it did
    at = where(page, "A1")
    assert at is not None
    assert at["longitude"] == pytest.approx(5.0 + 3 * 0.000292, abs=2e-6)
    assert at["latitude"] == pytest.approx(52.0)
    still = where(page, "B2")
    assert still is not None
    assert (still["longitude"], still["state"]) == (pytest.approx(6.0), STOPPED)
    assert text(page, "#trucks-tiles").startswith("Trucks 3") or "Trucks\n3" in text(page, "#trucks-tiles")
    assert sorted(column(page, "trucks-live", "truck")) == ["A1", "B2", "C3"]


def test_3_a_late_fix_moves_nothing_and_a_new_one_at_once(stage: TrucksStage, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    before = where(page, "B2")
    assert before is not None
    past = datetime.now(UTC) - timedelta(minutes=5)
    stage.send(stage.drivers.fix("B2", 40.0, 0.0, at=past), stage.drivers.fix("A1", 52.01, 5.02))
    until(lambda: abs((where(page, "A1") or before)["latitude"] - 52.01) < 1e-6)
    assert {**(where(page, "B2") or {}), "left": 0, "top": 0} == {**before, "left": 0, "top": 0}


def test_4_a_click_opens_the_panel_and_its_figures(stage: TrucksStage, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    started = datetime.now(UTC) - timedelta(minutes=40)
    stage.send(stage.drivers.trip("A1", started), stage.drivers.fix("A1", 52.02, 5.04, driver="Ada", cargo="flowers"))
    assert not page.locator("#trucks-panel").is_visible()
    until(lambda: abs((where(page, "A1") or {"latitude": 0})["latitude"] - 52.02) < 1e-6)
    click_marker(page, "A1")
    until(lambda: "41.2 km" in text(page, "#trucks-about"))
    assert "A1" in text(page, "#trucks-now")
    assert re.search(rf"Trip since ({started:%Y-%m-%d} )?{started:%H:%M:%S}", text(page, "#trucks-about"))
    assert {"Ada", "flowers", "3 min", "62, 88 km/h"} <= set(text(page, "#trucks-about").splitlines())
    until(lambda: page.locator("#trucks-fixes tbody tr").count() == 3)
    until(lambda: page.locator("#trucks-speed .scatterlayer .trace").count() == 1)
    until(lambda: page.evaluate("headwaterMap.trails.map(trail => trail.path.length)") == [3])
    page.keyboard.press("Escape")
    until(lambda: not page.locator("#trucks-panel").is_visible())


def test_5_filter_and_search_go_for_list_and_map_alike(stage: TrucksStage, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    page.locator(".hm-chip.hm-stopped").click()
    until(lambda: shown(page) == ["B2"])
    page.locator(".hm-chip.hm-moving").click()
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    page.get_by_label("Search trucks").fill("r7")
    until(lambda: shown(page) == ["C3"])
    assert text(page, ".hm-summary") == "1 of 3 trucks"
    page.get_by_label("Search trucks").fill("nobody")
    until(lambda: "No truck fits" in text(page, "#trucks-list"))
    page.get_by_label("Search trucks").fill("")
    for state in ("stopped", "moving"):
        page.locator(f".hm-chip.hm-{state}").click()
    until(lambda: shown(page) == ["A1", "B2", "C3"])


def test_6_the_address_holds_the_view(stage: TrucksStage, browser: Browser, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    page.locator(".hm-row", has_text="B2").click()
    page.get_by_label("Trails").select_option("all")
    page.locator(".hm-chip.hm-stopped").click()
    page.get_by_label("Sort by").select_option("speed")
    until(lambda: not page.evaluate("headwaterMap.flight"))
    page.locator("#trucks-map canvas").first.hover(position={"x": 300, "y": 300})
    zoom = page.evaluate("headwaterMap.view.zoom")
    page.mouse.wheel(0, -300)
    until(lambda: page.evaluate("headwaterMap.view.zoom") > zoom + 0.3)
    until(lambda: f"{page.evaluate('headwaterMap.view.zoom'):.2f}" in page.url, why="the zoom in the address")
    address, view = page.url, page.evaluate("headwaterMap.view")
    page.locator(".hm-chip.hm-stopped").click()
    page.get_by_label("Trails").select_option("selected")
    assert all(part in address for part in ("truck=B2", "trail=all", "state=stopped", "sort=speed"))
    with visit(stage, browser, address.removeprefix(stage.address)) as another:
        until(lambda: shown(another) == ["B2"])
        until(lambda: "B2" in text(another, "#trucks-now"))
        seen = another.evaluate("headwaterMap.view")
        for name in ("x", "y", "zoom"):
            assert seen[name] == pytest.approx(view[name], abs=0.006 if name == "zoom" else 1e-7)
        until(lambda: "Bob" in text(another, "#trucks-about"))


def test_7_alerts_are_told_marked_and_flown_to(stage: TrucksStage, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    now = datetime.now(UTC)
    stage.send(
        stage.drivers.alert("A1", "overspeed", now - timedelta(minutes=2), top_kmh=112.4),
        stage.drivers.alert(
            "C3", "geofence", now - timedelta(minutes=9), now - timedelta(minutes=4),
            geofence="Waalhaven", geofence_kind="depot",
        ),
        stage.drivers.minute(now.replace(second=0, microsecond=0)),
    )  # fmt: skip
    until(lambda: "1 open of 2" in text(page, "#trucks-alerts-open"))
    feed = page.locator(".hm-alert-row").all_inner_texts()
    assert "drives too fast, 112 km/h at most" in feed[0]
    assert "open" in feed[0]
    assert "was in Waalhaven (depot)" in feed[1]
    until(lambda: (where(page, "A1") or {}).get("alarm"))
    assert not (where(page, "C3") or {})["alarm"]
    until(lambda: "1 too fast or in a no-go zone" in text(page, "#trucks-tiles"))
    until(lambda: "2 km" in text(page, "#trucks-tiles"))
    page.locator(".hm-alert-row").first.click()
    until(lambda: "A1" in text(page, "#trucks-now"))
    until(lambda: page.evaluate("headwaterMap.view.zoom") == 11)
    assert page.evaluate("headwaterMap.view.x") == pytest.approx((6.0 + 180) / 360)


def test_8_the_job_turns_a_truck_offline(stage: TrucksStage, page: Page) -> None:
    until(lambda: shown(page) == ["A1", "B2", "C3"])
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    _, _, record = stage.drivers.fix("D4", 50.0, 4.0, at=long_ago)
    kept = {name: record[name] for name in ("event_id", "event_time", "truck_id", "latitude", "longitude")}
    stage.send(stage.drivers.row("latest", "D4", **kept, state="offline", is_implausible=False))
    stage.send(stage.drivers.fix("B2", 52.5, 6.0, speed_kmh=0.0, driver="Bob"))
    until(lambda: shown(page) == ["A1", "B2", "C3", "D4"])
    assert (where(page, "D4") or {})["state"] == OFFLINE
    until(lambda: "1 offline" in text(page, "#trucks-tiles"))


def test_9_replay_plays_and_leads_back(stage: TrucksStage, page: Page) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=30)
    schema = delta.arrow_schema(delta.fields_of_table(TRUCKS, "records"))
    delta.create_tables(TRUCKS, stage.settings.delta(TRUCKS.name, "records").parent)
    rows = [
        {
            "event_id": f"r{i}", "event_time": begun + timedelta(seconds=60 * i), "truck_id": "R9", "latitude": 48.0,
            "longitude": 11.0 + 0.01 * i, "flags": [], "topic": TRUCKS.raw_topic, "partition": 0, "offset": i,
            "kafka_timestamp": begun, "processed_at": begun,
        }
        for i in (1, 0, 2)
    ]  # fmt: skip
    delta.append(stage.settings.delta(TRUCKS.name, "records"), pa.Table.from_pylist(rows, schema), "test", 1)
    until(lambda: len(shown(page)) == 4)
    button(page, "Play back what has been recorded")
    until(lambda: shown(page) == ["R9"])
    assert "1 trucks, 3 fixes" in text(page, ".hm-about")
    assert "not live" in text(page, ".hm-replay")
    page.locator(".hm-replay").get_by_label("Speed").select_option("5")
    until(lambda: (where(page, "R9") or {"longitude": 0})["longitude"] > 11.0005)
    button(page, "Play or pause")
    page.get_by_role("slider", name="Time").fill("90")
    at = where(page, "R9")
    assert at is not None
    assert at["longitude"] == pytest.approx(11.015, abs=1e-6)
    stage.send(stage.drivers.fix("A1", 52.03, 5.06))
    assert shown(page) == ["R9"]
    button(page, "End the replay")
    until(lambda: len(shown(page)) == 4)
    until(lambda: abs((where(page, "A1") or {"latitude": 0})["latitude"] - 52.03) < 1e-6)


def test_91_dark_and_on_a_phone_and_left_and_come_back(stage: TrucksStage, browser: Browser) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with visit(stage, browser, "/trucks", **phone) as page:
        until(lambda: len(shown(page)) == 4)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("link", name="Sales").click()
        until(lambda: "no sale has come yet" in text(page, "#sales-banner"))
        until(lambda: page.evaluate("headwaterMap.running") is False)
        page.get_by_role("link", name="Trucks").click()
        until(lambda: len(shown(page)) == 4)
        assert page.evaluate("document.querySelectorAll('#trucks-map canvas').length") == 4
