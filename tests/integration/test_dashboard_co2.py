"""The page about CO2 whole: a real broker, the app's own process, a real Chromium; no Spark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from playwright.sync_api import Browser, Page

from headwater.contracts.co2 import CO2
from headwater.kafka import client_config
from headwater.settings import Settings
from tests.browser import chromium
from tests.co2_messages import Plants
from tests.stage import Stage, column, staged, text, until, visit

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "N" * 300
CHART = """() => {
    const chart = document.querySelector("#co2-rate .js-plotly-plot");
    return chart?.data ? { x: chart.data.map((trace) => trace.x), y: chart.data.map((trace) => trace.y),
        names: chart.data.map((trace) => trace.name), range: chart.layout.xaxis?.range,
        shapes: (chart.layout.shapes ?? []).map(({ name, type, x1 }) => ({ name, type, x1 })),
        unit: chart.layout.yaxis?.title?.text, isSame: chart === window.sameChart } : null;
}"""


class PlantsStage(Stage):
    """A stage on which plants report."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.plants = Plants()
        self.begun = datetime.now(UTC) - timedelta(minutes=3)

    def report(self, source: str, second: float, kg: float, **given: Any) -> None:
        """A reading of the second after the test's begin."""
        self.send(self.plants.reading(source, kg, self.begun + timedelta(seconds=second), **given))

    def said(self) -> list[dict[str, Any]]:
        """Who has acknowledged what, as the topic has it."""
        consumer = Consumer({**client_config(self.settings, self.bootstrap), "group.id": "looks"})
        topic = CO2.acknowledged_topic
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        messages = consumer.consume(10, timeout=1.5)
        consumer.close()
        return [orjson.loads(value) for message in messages if (value := message.value())]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantsStage]:
    with staged(PlantsStage, tmp_path_factory.mktemp("co2")) as stage:
        stage.start_broker()
        stage.create_topics([CO2])
        stage.start_app()
        yield stage


@pytest.fixture(scope="module")
def page(stage: PlantsStage, browser: Browser) -> Iterator[Page]:
    """One page for what happens one after the other: to open one takes longer than most of that.

    All of it is in view: a grid that never was has no rows yet.
    """
    with visit(stage, browser, "/co2", viewport={"width": 1360, "height": 2600}) as page:
        yield page


def chart(page: Page) -> dict[str, Any]:
    """What the chart of rates draws now."""
    return page.evaluate(CHART) or {"x": [], "y": [], "names": []}


def legend(page: Page, selector: str) -> list[str]:
    return page.locator(f"{selector} .legendtext").all_text_contents()


def tiles(page: Page) -> str:
    return " ".join(text(page, "#co2-tiles").replace("\u202f", " ").split())


def test_1_an_empty_page_says_what_to_do(page: Page) -> None:
    until(lambda: "no reading has come yet" in text(page, "#co2-banner"))
    until(lambda: "make run-producers STREAMS=co2" in text(page, "#co2-rate"))
    assert "No alarm" in text(page, "#co2-alarms")
    assert "no data yet" in tiles(page)


def test_2_figures_change_within_a_moment(stage: PlantsStage, page: Page) -> None:
    """0.5 kg in a second are 1.80 t/h; another source adds 360 kg/h."""
    stage.report("stack-1", 0, 0.5)
    until(lambda: "Rate now 1.80 t/h" in tiles(page), patience=2)
    stage.report(HOSTILE, 1, 0.1)
    until(lambda: "Rate now 2.16 t/h" in tiles(page), patience=2)
    until(lambda: column(page, "co2-live", "source") == [HOSTILE, "stack-1"])
    assert column(page, "co2-live", "kg") == ["100\u202fg", "500\u202fg"]


def test_3_the_chart_is_extended_and_a_gap_stays_a_gap(stage: PlantsStage, page: Page) -> None:
    stage.send(stage.plants.total("stack-1", 50.0, stage.begun, limit_kg_h=3_000.0))
    for second in range(1, 6):
        stage.report("stack-1", second, 0.5)
    until(lambda: "stack-1 (limit 3.00\u202ft/h)" in chart(page)["names"] and len(chart(page)["x"][0]) == 6)
    page.evaluate("window.sameChart = document.querySelector('#co2-rate .js-plotly-plot')")
    page.evaluate("window.sameLine = document.querySelector('#co2-rate .scatterlayer .trace path.js-line')")
    drawn = chart(page)
    assert drawn["y"][0] == [1.8] * 6
    assert drawn["unit"] == "t/h"
    stage.report("stack-1", 6, 0.75)
    stage.report("stack-1", 60, 0.25)
    until(lambda: len(chart(page)["x"][0]) == 9)
    after = chart(page)
    assert after["y"][0] == [*[1.8] * 6, 2.7, None, 0.9]
    assert after["x"][0][:6] == drawn["x"][0]
    assert after["isSame"]


def test_4_zoom_stays_while_points_come(stage: PlantsStage, page: Page) -> None:
    box = page.locator("#co2-rate .nsewdrag").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 20, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, middle, steps=4)
    page.mouse.up()
    until(lambda: chart(page)["range"][1] < datetime.fromtimestamp(stage.begun.timestamp() + 59, UTC).isoformat(" "))
    zoomed = chart(page)["range"]
    stage.report("stack-1", 61, 0.25)
    until(lambda: len(chart(page)["x"][0]) == 10)
    # An alarm has the whole figure drawn anew.
    began = stage.begun + timedelta(seconds=2)
    stage.send(stage.plants.alarm("stack-1", began, limit_kg_h=3_000.0, peak_kg_h=4_200.0))
    until(lambda: [shape["name"] for shape in chart(page)["shapes"] if shape["type"] == "rect"] == ["open"])
    assert chart(page)["range"] == zoomed
    assert chart(page)["isSame"]
    end = max(shape["x1"] for shape in chart(page)["shapes"] if shape["name"] == "open")
    stage.report("stack-1", 62, 0.25)
    until(lambda: max(shape["x1"] for shape in chart(page)["shapes"] if shape["name"] == "open") == end + 1000)


def test_5_an_alarm_is_acknowledged(stage: PlantsStage, page: Page) -> None:
    until(lambda: "1 not acknowledged" in tiles(page))
    assert column(page, "co2-alarms", "peak") == ["4.20\u202ft/h"]
    button = page.locator("#co2-alarms").get_by_role("button", name="Acknowledge")
    button.click()
    until(lambda: "your name first" in text(page, "#co2-alarms"))
    page.get_by_label("Your name, to acknowledge alarms").fill("Ada <b>")
    button.click()
    until(lambda: "acknowledging" in text(page, "#co2-alarms"))
    (said,) = until(stage.said)
    began = stage.begun + timedelta(seconds=2)
    assert said["alarm_id"] == f"stack-1|{round(began.timestamp() * 1e6)}"
    assert said["acknowledged_by"] == "Ada <b>"
    row = {"acknowledged_by": said["acknowledged_by"], "acknowledged_at": said["acknowledged_at"]}
    stage.send(stage.plants.alarm("stack-1", began, limit_kg_h=3_000.0, peak_kg_h=4_200.0, **row))
    until(lambda: column(page, "co2-alarms", "acknowledged")[0].startswith("✓ Ada <b>, "))
    until(lambda: "not acknowledged" not in tiles(page))


def test_6_sources_are_chosen_and_meters_filtered(stage: PlantsStage, page: Page) -> None:
    now = stage.begun
    stage.send(
        *(stage.plants.total(name, 1.0, now) for name in (HOSTILE, "a,b", LONG)),
        stage.plants.health("stack-1", "ok", now, now),
        stage.plants.health(HOSTILE, "stuck", now, now),
        stage.plants.health(LONG, "silent", now, now),
    )
    until(lambda: column(page, "co2-meters", "source") == [LONG, HOSTILE, "stack-1"])
    until(lambda: "2 of 3" in tiles(page))
    page.locator("#co2-meters .ag-floating-filter-input input").nth(1).fill("stuck")
    until(lambda: column(page, "co2-meters", "source") == [HOSTILE])
    page.locator("#co2-sources").click()
    page.get_by_role("option", name=HOSTILE).click()
    until(lambda: [name for name in chart(page)["names"] if name] == ["&lt;img src=x onerror=alert(…"])
    page.keyboard.press("Escape")
    assert legend(page, "#co2-rate") == ["<img src=x onerror=alert(…"]
    hour = stage.begun.replace(minute=0, second=0, microsecond=0)
    known = {"energy_mwh": 0.1, "intensity_kg_mwh": 50.0}
    hours = [hour - timedelta(hours=back) for back in (1, 2, 5)]
    stage.send(*(stage.plants.window("per_hour", HOSTILE, start, 5.0, 50.0, **known) for start in hours))
    until(lambda: page.locator("#co2-intensity .point").count() == 3)
    page.locator("#co2-span").get_by_text("14 days").click()
    until(lambda: chart(page)["y"][:1] == [[50, None, 50, 50]])


def test_7_budgets_sectors_and_export(stage: PlantsStage, page: Page) -> None:
    day = stage.begun.replace(hour=0, minute=0, second=0, microsecond=0)
    stage.send(
        stage.plants.group("by_sector", "steel", stage.begun.replace(minute=0, second=0, microsecond=0), 7_000.0),
        stage.plants.budget_day("sector:power", day, 400.0),
        stage.plants.budget("sector:power", stage.begun, 1_000.0, 400.0, mean_rate_kg_h=1.0,
                            exhausted_on=f"{stage.begun.year}-12-30"),
    )  # fmt: skip
    until(lambda: f"power (sector) runs out on 30 December {stage.begun.year}" in text(page, "#co2-outlook"))
    until(lambda: "Allowance used 40.0 %" in tiles(page))
    until(lambda: legend(page, "#co2-stacked") == ["steel"])
    page.locator("#co2-export").click()
    page.get_by_role("option", name="a,b").click()
    link = page.locator("#co2-links a").first
    until(lambda: "source_id=a%2Cb&" in (link.get_attribute("href") or ""))
    assert (link.get_attribute("href") or "").startswith("/api/v1/co2/readings.csv?")


def test_8_pause_holds_still_and_counts(stage: PlantsStage, page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    until(lambda: "0 new since" in text(page, "#co2-state"))
    before = tiles(page)
    stage.report("stack-1", 63, 9.0)
    until(lambda: "1 new since" in text(page, "#co2-state"))
    assert tiles(page) == before
    page.get_by_role("button", name="Resume").click()
    until(lambda: tiles(page) != before)
    until(lambda: "No new data for" in text(page, "#co2-banner"))


def test_9_dark_on_a_phone(stage: PlantsStage, browser: Browser) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with visit(stage, browser, "/co2", **phone) as page:
        until(lambda: "Rate now 3" in tiles(page))
        until(lambda: "✓ Ada" in text(page, "#co2-alarms"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
