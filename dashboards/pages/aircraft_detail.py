"""What is known of the selected aircraft: every field of its newest record, in the reader's units."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dash import html

from dashboards.figures import aircraft as figures
from dashboards.figures.theme import theme_of
from dashboards.push import View
from dashboards.shell import aria, graph
from dashboards.sky import sky_of
from dashboards.state import Row, Snapshot
from dashboards.text import NOTHING, clock
from dashboards.units import Units, units_of
from headwater.contracts.aircraft import EMERGENCY, HIJACK, RADIO_FAILURE, STEEP_DESCENT

KINDS = {
    HIJACK: "7500, hijack", RADIO_FAILURE: "7600, radio failure", EMERGENCY: "7700, emergency",
    STEEP_DESCENT: "steep descent",
}  # fmt: skip

POSITION_SOURCES = ("ADS-B", "ASTERIX", "MLAT", "FLARM")
"""By OpenSky's number."""

CATEGORIES = (
    "no information", "no category sent", "light (below 15,500 lb)", "small (to 75,000 lb)", "large (to 300,000 lb)",
    "high vortex large (as a B-757)", "heavy (above 300,000 lb)", "high performance (above 5 g, 400 kt)", "rotorcraft",
    "glider, sailplane", "lighter than air", "parachutist", "ultralight, hang-glider, paraglider", "reserved",
    "unmanned", "space vehicle", "surface vehicle, emergency", "surface vehicle, service",
    "point obstacle (as a tethered balloon)", "cluster obstacle", "line obstacle",
)  # fmt: skip
"""By OpenSky's number (https://openskynetwork.github.io/opensky-api/rest.html, "category")."""


def panel() -> Any:
    """The browser's own figures of this second, then the newest record."""
    return html.Div(
        [
            html.Div(id="aircraft-now"),
            graph("aircraft-history", 210, "Altitude and speed over time"),
            html.Div(id="aircraft-about"),
        ],
        id="aircraft-panel",
        className="hm-panel hm-detail",
        role="region",
        hidden=True,
        **aria("Selected aircraft"),
    )


def about(snapshot: Snapshot, view: View) -> Any:
    """Every field of the newest record."""
    row = sky_of(snapshot.streams["aircraft"]).aircraft(view.filters.get("selected", ""))
    if row is None:
        return None
    facts = fields(row, units_of(view.filters.get("units", "")))
    cells = [cell for name, value in facts for cell in (html.Dt(name), html.Dd(value))]
    return html.Dl(cells, className="hw-facts")


def history(snapshot: Snapshot, view: View) -> Any:
    """Altitude and speed of the last minutes."""
    places = sky_of(snapshot.streams["aircraft"]).places(view.filters.get("selected", ""))
    return figures.history(places, units_of(view.filters.get("units", "")), theme_of(view.theme))


def fields(row: Row, units: Units) -> list[tuple[str, str]]:
    """A state vector as a person reads it."""
    velocity = row.get("velocity")
    source, category = row.get("position_source"), row.get("category")
    return [
        ("ICAO24", row.get("icao24") or NOTHING),
        ("Callsign", (row.get("callsign") or "").strip() or NOTHING),
        ("Country", row.get("origin_country") or NOTHING),
        ("Category", _named(category, CATEGORIES)),
        ("Squawk", row.get("squawk") or NOTHING),
        ("Ident (SPI)", _yes(row.get("spi"))),
        ("Barometric altitude", units.altitude.text(row.get("baro_altitude"))),
        ("Geometric altitude", units.altitude.text(row.get("geo_altitude"))),
        ("Ground speed", units.speed.text(None if velocity is None else velocity * 3.6)),
        ("Vertical rate", units.rate.text(row.get("vertical_rate"))),
        ("True track", _degrees(row.get("true_track"), 1)),
        ("On the ground", _yes(row.get("on_ground"))),
        ("Last position", ", ".join(_degrees(row.get(name), 4) for name in ("latitude", "longitude"))),
        ("Position by", _named(source, POSITION_SOURCES)),
        ("Position's time", _time(row.get("time_position"))),
        ("Last contact", _time(row.get("last_contact"))),
        ("Answer's time", _time(row.get("snapshot_time"))),
        ("Receivers", ", ".join(map(str, row.get("sensors") or ())) or NOTHING),
    ]


def _yes(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"


def _degrees(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}°"


def _named(number: int | None, names: tuple[str, ...]) -> str:
    if number is None:
        return NOTHING
    return names[number] if 0 <= number < len(names) else str(number)


def _time(seconds: int | None) -> str:
    """In UTC, with the date where it is not today's."""
    return NOTHING if seconds is None else clock(datetime.fromtimestamp(seconds, UTC).isoformat())
