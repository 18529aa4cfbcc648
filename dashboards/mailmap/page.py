"""The fleet's map as one HTML document: a pure function of trucks, areas and a time.

Folium makes the map and its layers. What its templates would load from CDNs (Leaflet, and jQuery, Bootstrap and icon
fonts, which nothing here needs) is left out, and Leaflet put in from the installed package. The page carries a content
policy of its own that allows its own scripts and nothing else, so it keeps it also as a mail's attachment.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import folium
from branca.element import Element, Figure, MacroElement
from folium.template import Template
from folium.utilities import JsCode

from dashboards import geojson
from dashboards.geojson import Json, collection, feature
from dashboards.mailmap import base, leaflet
from dashboards.mailmap.base import Box
from headwater.contracts.trucks import STATES, LatestFix
from headwater.geofences import Geofence

HERE = Path(__file__).parent
OWN_SCRIPT = (HERE / "fleet.js").read_text(encoding="utf-8")
OWN_STYLES = (HERE / "fleet.css").read_text(encoding="utf-8")

AROUND_DEGREES = 10.0
"""At least so much land is drawn on every side of what is shown."""
NEAR_DEGREES = 0.5
"""So close by, smaller towns are named too."""
CLOSEST_ZOOM = 13
WORLD = Box(-180.0, -60.0, 180.0, base.MERCATOR_LATITUDE)


def document(trucks: Sequence[LatestFix], fences: Sequence[Geofence], made_at: datetime) -> str:
    """The page. `made_at` is the time that it says it was made at."""
    shown = _shown(trucks, fences)
    around = shown.grown(AROUND_DEGREES)
    fleet = _Map(
        tiles=None, max_bounds=True, control_scale=True,
        min_lat=around.south, max_lat=around.north, min_lon=around.west, max_lon=around.east,
    )  # fmt: skip
    _layer(base.land(around), control=False, smooth_factor=0.5).add_to(fleet)
    _layer(geojson.geofences(fences), name="Geofences", on_each_feature=JsCode("fleetMap.name")).add_to(fleet)
    for state in STATES:
        _trucks([truck for truck in trucks if truck.state == state], state).add_to(fleet)
    folium.LayerControl(collapsed=False).add_to(fleet)
    fleet.fit_bounds([(shown.south, shown.west), (shown.north, shown.east)], padding=(40, 40), max_zoom=CLOSEST_ZOOM)
    _Labels(_labels(around, shown.grown(NEAR_DEGREES), fences)).add_to(fleet)
    return _page(fleet, trucks, made_at)


def policy(html: str) -> str:
    """A content policy under which a page's own scripts and styles work, and nothing else."""
    scripts, styles = (
        " ".join(f"'sha256-{_hash(text)}'" for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL))
        for tag in ("script", "style")
    )
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _Map(folium.Map):
    """Without the addresses of CDNs."""

    default_js: list[tuple[str, str]] = []  # noqa: RUF012  # Folium's own way
    default_css: list[tuple[str, str]] = []  # noqa: RUF012


class _Inline(Element):
    """Text that stands as it is: Folium would take the braces of scripts for a template's."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def render(self, **_: Any) -> str:
        return self._text


class _Labels(MacroElement):
    """Names on the map: text, longitude, latitude, kind."""

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            fleetMap.start({{ this._parent.get_name() }}, {{ this.labels|tojson }});
        {% endmacro %}
        """
    )

    def __init__(self, labels: list[tuple[str, float, float, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels = labels


def _layer(data: Json, **options: Any) -> folium.GeoJson:
    return folium.GeoJson(data, style=JsCode("fleetMap.style"), **options)


def _trucks(trucks: Sequence[LatestFix], state: str) -> folium.GeoJson:
    name = f'<span class="swatch {state}"></span>{state} ({len(trucks)})'
    return folium.GeoJson(
        collection(_truck(truck) for truck in trucks),
        name=name,
        point_to_layer=JsCode("fleetMap.truck"),
        on_each_feature=JsCode("fleetMap.describe"),
    )


def _truck(truck: LatestFix) -> Json:
    speed = None if truck.speed_kmh is None else f"{truck.speed_kmh:.0f} km/h"
    rows = [
        ("Truck", truck.truck_id),
        ("Driver", truck.driver),
        ("Route", truck.route),
        ("Cargo", truck.cargo),
        ("State", truck.state),
        ("Speed", speed),
        ("Fix", _utc(truck.event_time)),
    ]
    properties = {
        "truck_id": truck.truck_id,
        "state": truck.state,
        "heading_deg": truck.heading_deg,
        "rows": [row for row in rows if row[1] is not None],
    }
    return feature({"type": "Point", "coordinates": [truck.longitude, truck.latitude]}, properties)


def _labels(around: Box, near: Box, fences: Sequence[Geofence]) -> list[tuple[str, float, float, str]]:
    areas = [(fence.name, fence.geometry.representative_point()) for fence in fences]
    return [
        *((name, place.x, place.y, "area") for name, place in areas),
        *((*town, "town") for town in base.towns(around, near)),
    ]


def _shown(trucks: Sequence[LatestFix], fences: Sequence[Geofence]) -> Box:
    """The fleet; without one the areas; without any the world."""
    if trucks:
        return Box.around((truck.longitude, truck.latitude) for truck in trucks)
    corners = [fence.geometry.bounds for fence in fences]
    places = [place for west, south, east, north in corners for place in ((west, south), (east, north))]
    return Box.around(places) if places else WORLD


def _page(fleet: _Map, trucks: Sequence[LatestFix], made_at: datetime) -> str:
    counts = ", ".join(f"{sum(truck.state == state for truck in trucks)} {state}" for state in STATES)
    figure = fleet.get_root()
    assert isinstance(figure, Figure)
    figure.title = f"Fleet at {_utc(made_at)}"
    figure.header.add_child(_Inline(f"<style>{leaflet.styles()}</style>"), name="leaflet_css", index=0)
    figure.header.add_child(
        _Inline(f"<script>{leaflet.script()}</script><script>{OWN_SCRIPT}</script>"), name="leaflet"
    )
    figure.html.add_child(_Inline(f"<header><b>{figure.title}</b>{len(trucks)} trucks: {counts}</header>"), index=0)
    if not trucks:
        figure.html.add_child(_Inline('<p class="nobody"><span>No truck has sent a position yet.</span></p>'))
    html: str = figure.render()
    # Last of the head, after Folium's own styles, which would have the map fill the page.
    html = html.replace("</head>", f"<style>{OWN_STYLES}</style>\n</head>", 1)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(html)}">'
    return html.replace("<head>", f"<head>\n{meta}", 1)


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
