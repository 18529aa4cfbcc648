"""The page about aircraft whole: a real broker, the app's own process, a real Chromium with WebGL; no Spark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from headwater.contracts.aircraft import AIRCRAFT
from headwater.settings import Settings
from tests.aircraft_messages import Pilots
from tests.browser import GRAPHICS, chromium
from tests.stage import Stage, column, staged, text, until, visit

EAST_DEG_A_SECOND = 200 / 111_195
"""Of longitude, at the equator, at 200 m/s."""
ALL = ["a1", "b2", "c3", "d4"]


class SkyStage(Stage):
    """A stage over which aircraft fly."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pilots = Pilots()

    def environment(self) -> dict[str, str]:
        return super().environment() | {"HEADWATER_DASHBOARD_AIRCRAFT_GONE_SECONDS": "600"}

    def fly(self) -> None:
        """Four in the air or on the ground, over the Atlantic, and one nobody knows where."""
        state = self.pilots.state
        self.send(
            state("a1", 0.0, -20.0, callsign="DLH4AB  ", origin_country="Germany", category=6),
            state("b2", 10.0, -10.0, baro_altitude=3_048.0, velocity=100.0, true_track=0.0, vertical_rate=5.0),
            state("c3", -10.0, -30.0, on_ground=True, baro_altitude=None, geo_altitude=None, velocity=0.0),
            state("d4", 5.0, 0.0, baro_altitude=None, geo_altitude=None, true_track=None, squawk="7700", category=8),
            state("e5", None, None, callsign="LOST01  "),
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(GRAPHICS) as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkyStage]:
    with staged(SkyStage, tmp_path_factory.mktemp("aircraft")) as stage:
        stage.start_broker()
        stage.create_topics([AIRCRAFT])
        stage.start_app()
        yield stage


@pytest.fixture(scope="module")
def page(stage: SkyStage, browser: Browser) -> Iterator[Page]:
    """One page for what happens one after the other: to open one takes longer than most of that."""
    with visit(stage, browser, "/aircraft") as page:
        yield page


def where(page: Page, aircraft: str) -> dict[str, Any]:
    """A triangle as it is drawn now; empty where there is none."""
    found: dict[str, Any] = page.evaluate("id => window.headwaterMap?.where(id) ?? {}", aircraft)
    return found


def on_map(page: Page) -> list[str]:
    found: list[str] = page.evaluate("(window.headwaterMap?.rows ?? []).filter(row => row?.shown).map(row => row.id)")
    return sorted(found)


def listed(page: Page) -> list[str]:
    return column(page, "aircraft-table", "id")


def both(page: Page, aircraft: list[str]) -> bool:
    """Whether map and table show these and no others."""
    return on_map(page) == aircraft and sorted(listed(page)) == aircraft


def test_1_an_empty_page_says_what_to_do(page: Page) -> None:
    until(lambda: "no state has come yet" in text(page, "#aircraft-banner"))
    until(lambda: "make run-producers STREAMS=aircraft" in text(page, ".hm-note"))
    until(lambda: "No emergency, no steep descent yet" in text(page, "#aircraft-alerts"))
    until(lambda: "source: not said yet" in text(page, "#aircraft-source"))
    until(lambda: "No aircraft fits" in text(page, "#aircraft-table"))


def test_2_triangles_come_turn_and_move_between_polls(stage: SkyStage, page: Page) -> None:
    until(lambda: page.evaluate("window.headwaterMap?.base !== undefined"))
    stage.fly()
    until(lambda: both(page, ALL))
    assert where(page, "a1")["angle"] == pytest.approx(math.pi / 2)
    assert where(page, "b2")["angle"] == 0
    assert [where(page, name)["alarm"] for name in ALL] == [False, False, False, True]
    begun = page.evaluate("[headwaterMap.where('a1'), headwaterMap.now()]")
    until(lambda: where(page, "a1")["longitude"] > begun[0]["longitude"] + 1.5 * EAST_DEG_A_SECOND)
    at, now = page.evaluate("[headwaterMap.where('a1'), headwaterMap.now()]")
    assert at["longitude"] == pytest.approx(-20 + (now - at["time"] / 1e3) * EAST_DEG_A_SECOND, abs=2e-5)
    assert at["latitude"] == pytest.approx(0, abs=1e-9)
    assert where(page, "c3")["longitude"] == pytest.approx(-30)
    until(lambda: "4 of 5 in view · 1 without a position" in text(page, "#aircraft-summary"))
    until(lambda: "Aircraft\n5" in text(page, "#aircraft-tiles"))


def test_3_a_late_state_moves_nothing_and_a_new_one_at_once(stage: SkyStage, page: Page) -> None:
    before = where(page, "c3")
    later = datetime.now(UTC).timestamp() + 2
    stage.send(
        stage.pilots.state("c3", 40.0, 40.0, last_contact=int(later) - 300),
        stage.pilots.state(
            "b2", 11.0, -10.0, last_contact=int(later), time_position=int(later), true_track=270.0, velocity=100.0,
            baro_altitude=3_048.0,
        ),
    )  # fmt: skip
    until(lambda: abs(where(page, "b2")["latitude"] - 11) < 1e-6)
    assert (where(page, "c3")["longitude"], where(page, "c3")["time"]) == (before["longitude"], before["time"])
    until(lambda: where(page, "b2")["angle"] == pytest.approx(3 * math.pi / 2))


def test_4_a_click_opens_the_panel_and_units_switch(stage: SkyStage, page: Page) -> None:
    box, at = page.locator("#aircraft-map").bounding_box(), where(page, "a1")
    assert box is not None
    page.mouse.click(box["x"] + at["left"], box["y"] + at["top"])
    until(lambda: "DLH4AB" in text(page, "#aircraft-now"))
    until(lambda: {"Germany", "heavy (above 300,000 lb)", "ADS-B"} <= set(text(page, "#aircraft-about").splitlines()))
    assert {"32,808 ft", "389 kt", "90° E"} <= {line.strip() for line in text(page, "#aircraft-now").splitlines()}
    assert "(estimated)" in text(page, "#aircraft-now")
    until(lambda: page.locator("#aircraft-history .scatterlayer .trace").count() == 2)
    page.get_by_label("Units").select_option("metric")
    until(lambda: "720 km/h" in text(page, "#aircraft-now"))
    until(lambda: "10,000 m" in text(page, "#aircraft-about"))
    until(lambda: "Altitude, m" in text(page, "#aircraft-table .ag-header").replace("\n", " "))
    until(lambda: "10,000" in column(page, "aircraft-table", "altitude"))
    page.locator("#aircraft-map").focus()
    page.keyboard.press("u")
    until(lambda: "389 kt" in text(page, "#aircraft-now"))
    page.keyboard.press("Escape")
    until(lambda: not page.locator("#aircraft-panel").is_visible())


def test_5_filters_go_for_map_and_table_alike(page: Page) -> None:
    search = page.get_by_label("Callsign, ICAO24 or squawk")
    search.fill("dlh")
    until(lambda: both(page, ["a1"]))
    page.get_by_role("button", name="As a regular expression").click()
    search.fill("^(DLH|b2)")
    until(lambda: both(page, ["a1", "b2"]))
    search.fill("^(DLH")
    until(lambda: "Not a regular expression" in text(page, "#aircraft-wrong"))
    assert both(page, ["a1", "b2"]), "the last good one stays"
    page.get_by_role("button", name="Reset").click()
    until(lambda: both(page, ALL))
    assert text(page, "#aircraft-wrong") == ""
    page.get_by_label("Altitude from").fill("5000")
    until(lambda: both(page, ["a1", "b2"]))
    page.get_by_label("Speed to").fill("390")
    page.get_by_label("Altitude to").fill("33000")
    until(lambda: both(page, ["a1", "b2"]))
    page.get_by_label("Altitude from").fill("32900")
    until(lambda: both(page, []))
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Country", exact=True).select_option("Germany")
    until(lambda: both(page, ["a1"]))
    page.get_by_label("Country", exact=True).select_option("")
    page.get_by_label("Category", exact=True).select_option("rotorcraft")
    until(lambda: both(page, ["d4"]))
    page.get_by_label("Category", exact=True).select_option("")
    page.locator(".hm-phase-ground").click()
    until(lambda: both(page, ["c3"]))
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("In view only").uncheck()
    until(lambda: sorted(listed(page)) == [*ALL, "e5"], why="who has no position is in the table")
    page.get_by_role("button", name="Reset").click()
    until(lambda: both(page, ALL))


def test_6_the_table_sorts_and_leads_to_the_map(page: Page) -> None:
    page.locator("#aircraft-table .ag-header-cell[col-id='altitude']").click()
    until(lambda: listed(page)[-1] == "d4", why="whose height is not known comes last")
    assert (listed(page)[0], listed(page)[-2]) == ("a1", "c3")
    page.locator("#aircraft-table .ag-header-cell[col-id='altitude']").click()
    until(lambda: (listed(page)[0], listed(page)[-1]) == ("c3", "d4"))
    page.locator("#aircraft-table [row-id='d4']").click()
    until(lambda: "7700, emergency" in text(page, "#aircraft-now"))
    until(lambda: page.evaluate("headwaterMap.view.zoom") == 7)
    until(lambda: listed(page) == ["d4"])
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show all aircraft (A)").click()
    until(lambda: both(page, ALL))


def test_7_emergencies_sources_and_charts(stage: SkyStage, page: Page) -> None:
    now, pilots = datetime.now(UTC), stage.pilots
    start = now.replace(second=0, microsecond=0)
    stage.send(
        pilots.alert("d4", "7700", now - timedelta(minutes=2)),
        pilots.alert("b2", "steep_descent", now - timedelta(minutes=1), is_open=False, steepest=-30.0),
        pilots.minute(start),
        pilots.country(start, "Germany", 2),
        pilots.producer(
            "live", credits_left=312, credits_a_day=400, interval_s=864.0, last_error="HTTP 503",
            next_poll=(now + timedelta(minutes=5)).isoformat(),
        ),
    )  # fmt: skip
    until(lambda: "1 open of 2" in text(page, "#aircraft-alerts-open"))
    first, second = page.locator("#aircraft-alerts .hm-alert-row").all_inner_texts()
    assert "7700, emergency" in first
    assert "from 10,000 ft" in first
    assert "open" in first
    assert "-5,906 ft/min at the steepest" in second
    until(lambda: "1 with an emergency code" in text(page, "#aircraft-tiles"))
    until(lambda: "30,000 ft" in text(page, "#aircraft-tiles"))
    said = until(lambda: "312 of 400" in text(page, "#aircraft-source") and text(page, "#aircraft-source"))
    for words in ("anonymous", "a poll every 14 min", "next in 5 min", "last poll failed: HTTP 503"):
        assert words in said
    for chart in ("countries", "altitudes"):
        until(lambda chart=chart: page.locator(f"#aircraft-{chart} .barlayer .point").count() > 0)  # type: ignore[misc]
    page.locator("#aircraft-alerts .hm-alert-row").first.click()
    until(lambda: page.evaluate("[headwaterMap.selected, headwaterMap.view.zoom]") == ["d4", 7])
    assert page.evaluate("headwaterMap.view.x") == pytest.approx(180 / 360, abs=1e-9)
    stage.send(pilots.producer("simulate", reason="OpenSky does not answer"))
    until(lambda: "simulated, not real" in text(page, "#aircraft-source").lower())
    assert "OpenSky does not answer" in text(page, "#aircraft-source")
    until(lambda: "live" not in text(page, "#aircraft-state").lower().split())


def test_8_age_in_stages_and_the_date_line(stage: SkyStage, page: Page) -> None:
    """Fades after 30 s, is gone after 600 s here; 30 s old: hollow."""
    now, state = int(datetime.now(UTC).timestamp()), stage.pilots.state
    ages = {"f0": 5, "f1": 60, "f2": 400, "f3": 601}
    stage.send(
        *(state(name, -40.0, -90.0, last_contact=now - age, time_position=now - age) for name, age in ages.items()),
        state("g1", 0.0, 179.9, time_position=now - 12, last_contact=now - 12),
    )
    until(lambda: "f2" in on_map(page))
    until(lambda: page.evaluate("headwaterMap.row('f3')?.id") == "f3")
    looks = (
        "['f0', 'f1', 'f2', 'f3'].map(id => headwaterMap.row(id).number * 16).map(at => "
        "[13, 14, 15].map(part => Math.round(100 * headwaterMap.markers.facts[at + part])))"
    )
    triangle, hollow, size = 300, 700, page.evaluate(looks)[0][2]
    expected = [[triangle, 100, size], [hollow, 65, size], [hollow, 35, size], [hollow, 0, 0]]
    until(lambda: page.evaluate(looks) == expected, why="the map looks at all of them every two seconds")
    # The next place, on the other side: 0.2 degrees in 12 s. It is drawn there, and its trail doesn't cross the world.
    stage.send(state("g1", 0.0, -179.9, true_track=90.0, last_contact=now, time_position=now))
    until(lambda: page.evaluate("headwaterMap.row('g1')?.trail.length") == 2)
    page.evaluate("location.hash = '#at=0,180,6&aircraft=g1'")
    trail = "(headwaterMap.trails[0]?.path ?? []).map(place => place[0])"
    path = until(lambda: len(found := page.evaluate(trail)) == 3 and found, why="up to where it is drawn")
    assert path[:2] == [pytest.approx(179.9, abs=1e-4), pytest.approx(180.1, abs=1e-4)]
    assert 180.1 < path[-1] < 180.5
    width, left = page.evaluate("[headwaterMap.view.width, headwaterMap.where('g1').left]")
    assert 0 < left < width


def test_9_the_address_holds_it_all(stage: SkyStage, browser: Browser) -> None:
    given = "at=20.0000,-15.0000,3.00&aircraft=a1&q=^[a-d]&regex=1&alt=~11000&country=Iceland&sort=-speed&trail=all"
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with visit(stage, browser, f"/aircraft#{given}&units=metric", **phone) as page:
        until(lambda: on_map(page) == ["b2", "c3"], 40)
        until(lambda: "DLH4AB" in text(page, "#aircraft-now"))
        assert text(page, ".hm-filters summary") == "Filters (3 set)"
        page.locator(".hm-filters summary").click()
        assert page.get_by_label("Altitude to").input_value() == "11000"
        page.get_by_label("Units").select_option("aeronautical")
        until(lambda: page.get_by_label("Altitude to").input_value() == "36089")
        said = until(lambda: "units" not in (found := page.evaluate("location.hash")) and found)
        parts = dict(part.split("=", 1) for part in said[1:].split("&"))
        assert parts["aircraft"] == "a1"
        assert parts["at"] == "20.0000,-15.0000,3.00"
        assert (parts["alt"], parts["sort"], parts["trail"], parts["country"]) == ("~11000", "-speed", "all", "Iceland")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("link", name="Trucks").click()
        until(lambda: page.evaluate("headwaterMap.container.id") == "trucks-map")
        page.get_by_role("link", name="Aircraft").click()
        until(lambda: "a1" in on_map(page))
        assert page.evaluate("document.querySelectorAll('#aircraft-map canvas').length") == 4
