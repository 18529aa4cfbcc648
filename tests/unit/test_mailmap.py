"""The fleet's map in one file: what it holds, what it never asks for, and that records' words stay words."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import shapely
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from dashboards.app import build
from dashboards.hub import Hub
from dashboards.mailmap import base, page
from dashboards.mailmap.base import Box
from dashboards.mailmap.route import PATH, fleet
from dashboards.raw import RawReader
from dashboards.state import FeedState, Message
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.trucks import TRUCKS, LatestFix
from headwater.geofences import Geofence
from headwater.settings import Settings
from tests.browser import Watch
from tests.unit.test_api import no_broker

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NASTY = "</script><script>alert(1)</script>"
YARD = Geofence("Yard <b>& more", "depot", shapely.box(4.4, 51.8, 4.6, 52.0))


def truck(number: int, state: str = "moving", **fields: Any) -> dict[str, Any]:
    return {
        "truck_id": f"T{number}", "event_id": f"e{number}", "event_time": NOW, "latitude": 51.9 + number / 10,
        "longitude": 4.5 + number / 10, "speed_kmh": 71.6, "heading_deg": 90.0, "driver": "Ann", "state": state,
        "is_implausible": False,
    } | fields  # fmt: skip


def document(*rows: dict[str, Any], fences: tuple[Geofence, ...] = (YARD,)) -> str:
    return page.document([LatestFix(**row) for row in rows], fences, NOW)


class Parsed(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in self.inline:
            self.inline[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in self.inline:
            self.inline[self._tag][-1] += data
        else:
            self.text += data


def features(html: str) -> list[dict[str, Any]]:
    """Every feature that the page gives to Leaflet."""
    layers = re.findall(r"^\s*\w+_add\((\{.*\})\);$", html, re.MULTILINE)
    return [feature for layer in layers for feature in orjson.loads(layer)["features"]]


def test_every_truck_stands_where_it_is_with_its_words_as_text() -> None:
    html = document(truck(0, driver=NASTY, route="<img src=x>"), truck(1, "stopped", heading_deg=None, speed_kmh=None))
    first, second = (found for found in features(html) if found["geometry"]["type"] == "Point")
    assert first["geometry"]["coordinates"] == [4.5, 51.9]
    assert (first["properties"]["heading_deg"], second["properties"]["heading_deg"]) == (90.0, None)
    assert first["properties"]["rows"] == [
        ["Truck", "T0"], ["Driver", NASTY], ["Route", "<img src=x>"], ["State", "moving"], ["Speed", "72 km/h"],
        ["Fix", "2026-11-22 12:00:00 UTC"],
    ]  # fmt: skip
    assert [name for name, _ in second["properties"]["rows"]] == ["Truck", "Driver", "State", "Fix"]
    parsed = Parsed(html)
    assert "Fleet at 2026-11-22 12:00:00 UTC" in parsed.text
    assert "2 trucks: 1 moving, 1 stopped, 0 offline" in parsed.text
    assert "<script>alert" not in html
    assert "<img" not in html


def test_the_page_names_no_file_and_no_host_to_load() -> None:
    parsed = Parsed(document(truck(0)))
    assert [name for _, name, _ in parsed.attributes if name in ("src", "href", "srcset", "style")] == []
    addresses = [url for text in parsed.inline["style"] for url in re.findall(r"url\(([^)]*)\)", text)]
    assert {url.partition(",")[0] for url in addresses} == {"data:image/png;base64", "#default#VML"}
    assert "sourceMappingURL" not in "".join(parsed.inline["script"])
    for name in ("jquery", "bootstrap", "awesome", "cdn"):
        assert name not in " ".join(parsed.inline["script"]).lower()


def test_the_page_allows_its_own_scripts_and_styles_and_nothing_else() -> None:
    parsed = Parsed(document(truck(0)))
    (policy,) = (
        value for tag, name, value in parsed.attributes if (tag, name) == ("meta", "content") and "src" in value
    )
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["img-src"] == "data:"
    for tag in ("script", "style"):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parsed.inline[tag]]
        assert parts[f"{tag}-src"].split() == [f"'sha256-{digest}'" for digest in hashes]
    assert len(parsed.inline["script"]) >= 3


def test_areas_are_drawn_with_their_names() -> None:
    html = document(truck(0))
    (area,) = (found for found in features(html) if found["properties"].get("name"))
    assert area["properties"] == {"name": "Yard <b>& more", "kind": "depot"}
    assert shapely.geometry.shape(area["geometry"]).bounds == (4.4, 51.8, 4.6, 52.0)
    assert "<b>& more" not in html


def test_without_a_truck_the_map_says_so_and_shows_the_areas() -> None:
    html = document()
    assert "No truck has sent a position yet." in Parsed(html).text
    assert [found["properties"]["name"] for found in features(html) if "name" in found["properties"]] == [YARD.name]
    assert not [found for found in features(html) if found["geometry"]["type"] == "Point"]
    assert "No truck" not in document(truck(0))


def test_land_and_towns_around_the_fleet() -> None:
    low_countries = Box(2.0, 50.0, 8.0, 54.0)
    land, borders = (shapely.geometry.shape(found["geometry"]) for found in base.land(low_countries)["features"])
    assert land.contains(shapely.Point(5.12, 52.09))  # Utrecht
    assert not land.intersects(shapely.Point(3.0, 53.5))  # the North Sea
    assert shapely.box(*low_countries).covers(land)
    assert borders.distance(shapely.Point(6.02, 50.75)) < 0.1  # where three countries meet
    names = [town.name for town in base.towns(low_countries, Box(5.5, 50.9, 5.8, 51.1))]
    assert {"Amsterdam", "Brussels"} <= set(names[:10])
    assert "Berlin" not in names
    assert "Maasmechelen" in names  # 37,000 people, and close by
    assert "Maasmechelen" not in [town.name for town in base.towns(low_countries, low_countries)]
    assert base.land(Box(-40.0, 30.0, -35.0, 35.0))["features"] == []  # the Atlantic


def test_a_box_grows_by_its_size_and_stays_on_the_map() -> None:
    assert Box.around([(4.0, 51.0), (6.0, 50.0)]) == (4.0, 50.0, 6.0, 51.0)
    assert Box(4.25, 50.0, 6.25, 51.0).grown(1.5) == (2.0, 48.0, 9.0, 53.0)
    assert Box(-170.0, -80.0, 170.0, 80.0).grown(1.0) == (-180.0, -85.05, 180.0, 85.05)


def told(*rows: dict[str, Any], as_of: datetime = NOW) -> Hub:
    """A hub whose feed has read rows of `latest` from the processed topic."""
    feed, hub = FeedState(STREAMS), Hub()
    for number, row in enumerate(rows):
        value = orjson.dumps({"kind": "latest", "as_of": as_of, "updated_at": as_of, "source": "aggregate"} | row)
        key = f"latest:{row['truck_id']}".encode()
        feed.apply(Message(TRUCKS.processed_topic, 0, number, key, value, as_of.timestamp()))
    hub.publish(feed.snapshot(as_of.timestamp()))
    return hub


def test_the_fleet_is_what_the_feed_knows_and_else_what_is_in_delta(settings: Settings) -> None:
    delta.create_tables(TRUCKS, settings.delta(TRUCKS.name, "records").parent)
    assert fleet(settings, Hub(), NOW) == []
    rows = [truck(2), truck(1, "stopped")]
    delta.correct(settings.delta(TRUCKS.name, "latest"), TRUCKS.table("latest"), rows, [])
    for hub in (Hub(), told()):
        assert fleet(settings, hub, NOW) == [LatestFix(**truck(1, "stopped")), LatestFix(**truck(2))]
    assert fleet(settings, told(truck(7)), NOW) == [LatestFix(**truck(7))]


def test_a_truck_nothing_came_of_for_ten_minutes_is_offline_whatever_its_row_says(settings: Settings) -> None:
    ten = timedelta(minutes=10)
    old = truck(1, event_time=NOW - timedelta(days=900))
    assert [found.state for found in fleet(settings, told(old), NOW + ten)] == ["moving"]  # recorded, sent just now
    assert [found.state for found in fleet(settings, told(old), NOW + ten + timedelta(seconds=1))] == ["offline"]
    assert [found.state for found in fleet(settings, told(truck(1), as_of=NOW - ten), NOW + ten)] == ["moving"]


def test_the_route_wins_over_the_pages_and_has_a_policy_of_its_own(settings: Settings) -> None:
    hub = told(truck(1, driver=NASTY))
    with TestClient(build(settings, hub, RawReader(no_broker, lambda bootstrap: {}))) as client:
        answer = client.get(PATH)
        other = client.get("/sales")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r'inline; filename="fleet-\d{8}T\d{6}Z\.html"', answer.headers["content-disposition"])
    policy = answer.headers["content-security-policy"]
    assert policy == f"{page.policy(answer.text)}; frame-ancestors 'self'"
    assert "unsafe" not in policy
    assert "'self'" not in policy.removesuffix("; frame-ancestors 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in other.headers["content-security-policy"]
    assert [found["properties"]["truck_id"] for found in features(answer.text)
            if found["geometry"]["type"] == "Point"] == ["T1"]  # fmt: skip


def test_it_opens_from_a_file_without_a_network(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "fleet.html"
    file.write_text(document(truck(0, driver=NASTY), truck(1, "stopped"), truck(2, "offline")))
    with browser.new_context(offline=True) as context:
        tab, watch, dialogs = context.new_page(), Watch(), []
        watch.attach(context, tab)
        tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        tab.goto(file.as_uri())
        tab.locator('.truck[title="T0"]').click()
        popup = tab.locator(".leaflet-popup-content")
        popup.wait_for()
        assert NASTY in popup.inner_text()
        assert tab.locator(".truck svg").count() == 3
        layers = [text.strip() for text in tab.locator(".leaflet-control-layers label").all_inner_texts()]
        assert layers == ["Geofences", "moving (1)", "stopped (1)", "offline (1)"]
        assert tab.get_by_text("Yard <b>& more").first.is_visible()
        assert tab.locator("path.leaflet-interactive").count() == 1
    assert watch.requests == [file.as_uri()]
    assert watch.errors == dialogs == []
