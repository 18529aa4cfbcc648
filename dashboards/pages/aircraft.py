"""`/aircraft`: every aircraft on a map of the world, what is known of each, and who calls for help.

Map, filters and table live in the browser (`assets/map*.js`, `assets/aircraft*.js`) and get their states over a socket
of their own; what the job has worked out is pushed as on the other pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import dash_mantine_components as dmc
import orjson
from dash import Dash, html

from dashboards import maps
from dashboards.figures import aircraft as figures
from dashboards.figures.theme import theme_of
from dashboards.grid import grid, number, words
from dashboards.pages import aircraft_detail as one
from dashboards.pages import common
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.sky import ALARMS, sky_of
from dashboards.state import Health, Row, Snapshot, StreamView
from dashboards.text import age, clock, duration, whole
from dashboards.units import UNITS, units_of
from dashboards.untyped import register_page
from headwater.contracts.aircraft import LIVE, PHASES, REPLAY, SIMULATE, STEEP_DESCENT
from headwater.settings import Settings

PATH = "/aircraft"
STREAM = "aircraft"
SOCKET = f"{maps.PREFIX}/aircraft"
TRAILS = f"{maps.PREFIX}/aircraft/trails"
MOST_TRAIL = 120
TABLE_ROWS = 200
LIVE_ROWS = 30
ALERT_ROWS = 60
CREDIT = "Land: Natural Earth · Towns: GeoNames · Airports: airportsdata"

NO_ALERTS = "No emergency, no steep descent yet."
NO_ROWS = "No aircraft fits."
NO_STATES = "No aircraft yet."
SOURCES = {
    LIVE: ("teal", "live", "from the OpenSky Network"),
    REPLAY: ("orange", "replay, not live", "of recorded answers of the OpenSky Network"),
    SIMULATE: ("grape", "simulated, not real", "flights between real airports that nobody flies"),
}
NOTES = (
    (
        "Triangles",
        "point where the aircraft flies and have the colour of its barometric altitude (where it has none, of the "
        "geometric one). Between two positions they move on by speed and track. A hollow one is estimated: its last "
        "position is more than {fade} old. A diamond doesn't say where it is heading; what has no position is in the "
        "table alone.",
    ),
    (
        "Age",
        "goes by the last position. What is overdue, counting from when the source is next asked (live), or else from "
        "that position, turns pale after {fade}, paler after {pale}, and is gone after {gone}.",
    ),
    (
        "Emergencies",
        "have a red rim and their name at once: transponder codes 7500, 7600 and 7700, and descents steeper than "
        "25 m/s (some 5,000 ft/min). The list is the job's, a second or two behind.",
    ),
    (
        "Recorded and simulated",
        "aircraft move as they did, at the time it is now; where a time is shown in full, it is the record's own.",
    ),
    ("Keys", "F follows the selected aircraft, A shows all, U changes units, Esc lets go. Times are UTC."),
)


def register(app: Dash, settings: Settings) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("aircraft", PATH, "Aircraft · Headwater", partial(layout, settings))
    common.drawer_callback(app, STREAM)
    return parts(settings)


def parts(settings: Settings) -> tuple[Part, ...]:
    """What is pushed to the page."""
    gone = settings.dashboard.aircraft_gone_seconds
    return (
        Part("aircraft-state", "children", state, every=0.5),
        *(part for part in common.parts(STREAM, "state") if part.component != "aircraft-state"),
        Part("aircraft-source", "children", source, every=1.0),
        Part("aircraft-tiles", "children", partial(tiles, gone), every=1.0),
        Part("aircraft-alerts", "children", alerts, every=0.5, key=_alerts_key),
        Part("aircraft-alerts-open", "children", open_alerts, every=0.5, key=_alerts_key),
        Part("aircraft-countries", "figure", countries, every=2.0),
        Part("aircraft-altitudes", "figure", partial(altitudes, gone), every=3.0),
        Part("aircraft-minutes", "figure", minutes, every=2.0),
        Part("aircraft-live", "rowData", live_rows, every=1.0),
        Part("aircraft-about", "children", one.about, every=0.5),
        Part("aircraft-history", "figure", one.history, every=2.0),
    )


def layout(settings: Settings) -> Any:
    """The page before its first push."""
    dashboard = settings.dashboard
    fade, gone = dashboard.aircraft_fade_seconds, dashboard.aircraft_gone_seconds
    given = {"fade": duration(fade), "pale": duration((fade + gone) / 2), "gone": duration(gone)}
    known = {**aria("Map of the aircraft"), "data-config": orjson.dumps(map_config(settings)).decode()}
    sky = html.Div(
        [
            html.Div(
                [
                    html.Div(id="aircraft-map", className="hm-map", tabIndex="0", role="application", **known),
                    one.panel(),
                ],
                className="hm-wrap",
            ),
            card(
                html.Div(id="aircraft-filters"),
                html.Div(
                    grid(
                        "aircraft-table", table_columns(), "params.data.id", 200, NO_ROWS,
                        rowBuffer=0, suppressColumnVirtualisation=True,
                    ),
                    className="hm-table",
                ),
                heading="Aircraft",
                beside=html.Span(id="aircraft-summary", className="hw-muted hw-number", role="status"),
            ),
        ],
        className="hm-fleet hm-sky",
    )  # fmt: skip
    return page(
        PATH,
        [
            title("Aircraft", html.Div(id="aircraft-source", className="hm-source")),
            *common.head(STREAM),
            sky,
            html.Div(id="aircraft-tiles", className="hw-tiles"),
            html.Div(
                [
                    card(
                        html.Div(id="aircraft-alerts", className="hm-alerts"),
                        heading="Emergencies and steep descents",
                        beside=html.Span(id="aircraft-alerts-open", className="hw-muted hw-number"),
                    ),
                    card(graph("aircraft-minutes", 330, "Aircraft by minute"), heading="Last hour"),
                ],
                className="hw-columns even",
            ),
            html.Div(
                [
                    card(graph("aircraft-countries", 360, "Aircraft by country"), heading="Where they are registered"),
                    card(graph("aircraft-altitudes", 360, "Aircraft by altitude"), heading="How high they are"),
                ],
                className="hw-columns even",
            ),
            html.Div(
                [
                    card(
                        grid("aircraft-live", live_columns(), "params.data.id", 400, NO_STATES, rowBuffer=0),
                        heading="Latest records",
                        beside=html.Span("click a row for the raw record", className="hw-muted"),
                    ),
                    common.rejected_card(STREAM),
                ],
                className="hw-columns",
            ),
            html.Dl(
                [cell for name, text in NOTES for cell in (html.Dt(name), html.Dd(text.format(**given)))],
                className="hw-notes",
            ),
            common.drawer(STREAM),
        ],
    )


def map_config(settings: Settings) -> dict[str, Any]:
    """What the browser needs to know, as its `data-config`."""
    return {
        "files": {name: maps.address(name) for name in maps.FILES},
        "socket": SOCKET,
        "trails": TRAILS,
        "tiles": settings.dashboard.tiles,
        "credit": CREDIT,
        "fade_seconds": settings.dashboard.aircraft_fade_seconds,
        "gone_seconds": settings.dashboard.aircraft_gone_seconds,
        "scale": figures.SCALE,
        "scale_top_m": figures.SCALE_TOP_M,
        "phases": PHASES,
        "alarms": [one.KINDS.get(alarm, "") for alarm in ALARMS],
        "categories": one.CATEGORIES,
        "units": {name: {kind: tuple(unit) for kind, unit in vars(units).items()} for name, units in UNITS.items()},
        "most_trail": MOST_TRAIL,
        "table_rows": TABLE_ROWS,
    }


def table_columns() -> list[dict[str, Any]]:
    """Filled, sorted and cut by the browser, which knows what is in view; headers say the units."""

    def column(field: str, header: str, width: int, **options: Any) -> dict[str, Any]:
        return {
            "field": field, "headerName": header, "width": width, "minWidth": 60,
            "comparator": {"function": "aircraftOrder"}, **options,
        }  # fmt: skip

    def measure(field: str, header: str, width: int) -> dict[str, Any]:
        return column(
            field, header, width,
            headerValueGetter={"function": f"aircraftHeader('{field}', '{header}')"},
            valueFormatter={"function": "params.value == null ? '' : d3.format(',.0f')(params.value)"},
            headerClass="ag-right-aligned-header", cellClass="ag-right-aligned-cell hw-number",
            sortingOrder=["desc", "asc", None],
        )  # fmt: skip

    return [
        column("name", "Callsign", 104, cellClass="hm-strong"),
        measure("altitude", "Altitude", 92),
        measure("speed", "Speed", 76),
        measure("rate", "Climb", 82),
        measure("heard", "Heard, s", 78),
        column("country", "Country", 130),
        column("id", "ICAO24", 84),
        column("squawk", "Squawk", 84),
        column("phase", "Phase", 84),
        column("category", "Category", 150),
    ]


def live_columns() -> list[dict[str, Any]]:
    """Newest on top, as they came, in OpenSky's units; a click opens the record."""
    return [
        words("time", "Last contact", width=110, minWidth=84, filter=False, cellClass="hw-number"),
        words("aircraft", "ICAO24", width=84, minWidth=70),
        words("callsign", "Callsign", flex=1, minWidth=90),
        number("altitude", "m", ",.0f", width=82, minWidth=70, filter=False),
        number("velocity", "m/s", ",.0f", width=72, minWidth=62, filter=False),
        words("place", "Position", flex=2, minWidth=140, filter=False, cellClass="hw-number"),
        words("country", "Country", flex=2, minWidth=100),
    ]


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest records, newest first."""
    return common.live_rows(snapshot.streams[STREAM].live[:LIVE_ROWS], snapshot, _cells)


def _cells(row: Row) -> dict[str, Any]:
    place = [row.get(name) for name in ("latitude", "longitude")]
    return {
        "aircraft": row["icao24"],
        "callsign": (row.get("callsign") or "").strip(),
        "altitude": row.get("baro_altitude"),
        "velocity": row.get("velocity"),
        "place": "" if None in place else ", ".join(f"{float(value):.4f}" for value in place if value is not None),
        "country": row.get("origin_country") or "",
    }


def interval(stream: StreamView) -> float:
    """Seconds from poll to poll; 0 where nobody polls."""
    status = stream.producer or {}
    return float(status.get("interval_s") or 0.0) if status.get("source") == LIVE else 0.0


def state(snapshot: Snapshot, view: View) -> list[Any]:
    """As on the other pages; but what is replayed or simulated is not called live."""
    found = common.state(STREAM, snapshot, view)
    stream = snapshot.streams[STREAM]
    is_moving = stream.health is Health.LIVE
    return found[1:] if is_moving and (stream.producer or {}).get("source") in (REPLAY, SIMULATE) else found


def source(snapshot: Snapshot, view: View) -> Any:
    """Where the aircraft come from, what is left of the quota, and what went wrong."""
    stream = snapshot.streams[STREAM]
    status = stream.producer
    # The browser goes by it, for how long an aircraft may be silent.
    seconds: dict[str, Any] = {"data-seconds": f"{interval(stream):g}"}
    polls = html.Span(id="aircraft-interval", hidden=True, **seconds)
    if status is None or status.get("source") not in SOURCES:
        return [html.Span("source: not said yet", className="hw-muted"), polls]
    colour, name, about = SOURCES[status["source"]]
    told = [about, *([status["reason"]] if status.get("reason") else []), *_quota(status, snapshot)]
    if status["source"] != LIVE and status.get("at"):
        told.append(f"said {age(max(snapshot.at - _seconds(status['at']), 0))}")
    error = status.get("last_error")
    return [
        dmc.Badge(name, color=colour, variant="light", className="hw-badge"),
        html.Span(" · ".join(told), className="hw-muted hw-number"),
        html.Span(f"last poll failed: {error}", className="hw-error", role="status") if error else None,
        polls,
    ]


def _quota(status: Row, snapshot: Snapshot) -> list[str]:
    if status["source"] != LIVE:
        return []
    told = ["with an account" if status.get("has_account") else "anonymous"]
    if status.get("credits_left") is not None:
        of = f" of {whole(status['credits_a_day'])}" if status.get("credits_a_day") else ""
        told.append(f"{whole(status['credits_left'])}{of} credits left today")
    if status.get("interval_s"):
        told.append(f"a poll every {duration(float(status['interval_s']))}")
    if status.get("next_poll"):
        ahead = _seconds(status["next_poll"]) - snapshot.at
        told.append(f"next in {duration(ahead)}" if ahead >= 1 else "next now")
    return told


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def tiles(gone: float, snapshot: Snapshot, view: View) -> list[Any]:
    """Key figures of this second."""
    stream, units = snapshot.streams[STREAM], units_of(view.filters.get("units", ""))
    sky = sky_of(stream).view(snapshot.at, gone + interval(stream))
    minute = figures.newest_minute(stream.table("per_minute").values())
    mean = minute[0] if minute else {}
    opened = [row for row in stream.table("alerts").values() if row.get("is_open")]
    urgent = sum(row["kind"] != STEEP_DESCENT for row in opened)
    return [
        common.tile("Aircraft", whole(sky.aircraft), f"{whole(sky.without_position)} without a position"),
        common.tile("In the air", whole(sky.airborne), f"{whole(sky.on_ground)} on the ground"),
        common.tile("Mean altitude", units.altitude.text(mean.get("mean_altitude")), _day(mean, snapshot)),
        common.tile("Mean speed", units.speed.text(_kmh(mean.get("mean_velocity"))),
                    f"at most {units.speed.text(_kmh(mean.get('max_velocity')))}"),
        common.tile(
            "Open alerts",
            whole(len(opened)),
            html.Span(f"{urgent} with an emergency code", className="hw-open") if urgent else "no emergency code",
        ),
    ]  # fmt: skip


def _kmh(velocity: float | None) -> float | None:
    return None if velocity is None else velocity * 3.6


def _day(minute: Row, snapshot: Snapshot) -> str:
    return f"in the minute of {clock(minute['window_start'], common.today(snapshot))}" if minute else "no minute yet"


def _alerts_key(snapshot: Snapshot) -> tuple[int, str]:
    # By the minute too: an alert under way says for how long.
    return common.version(STREAM, "alerts", snapshot), f"{common.today(snapshot):%H%M}"


def alerts(snapshot: Snapshot, view: View) -> Any:
    """What is under way first, then the newest."""
    rows = snapshot.streams[STREAM].table("alerts").values()
    if not rows:
        return html.Div(NO_ALERTS, className="hw-empty")
    ordered = sorted(rows, key=lambda row: (bool(row.get("is_open")), str(row["began_at"])), reverse=True)
    return [_alert(row, snapshot, units_of(view.filters.get("units", ""))) for row in ordered[:ALERT_ROWS]]


def open_alerts(snapshot: Snapshot, view: View) -> str:
    """How many go on."""
    rows = snapshot.streams[STREAM].table("alerts").values()
    return f"{whole(sum(bool(row.get('is_open')) for row in rows))} open of {whole(len(rows))}"


def _alert(row: Mapping[str, Any], snapshot: Snapshot, units: Any) -> Any:
    kind = row["kind"]
    name = (row.get("callsign") or "").strip() or row["icao24"]
    where = {f"data-{part}": row[part] for part in ("latitude", "longitude") if row.get(part) is not None}
    facts = [row.get("origin_country"), _height(row, units)]
    if row.get("steepest") is not None:
        facts.append(f"{units.rate.text(row['steepest'])} at the steepest")
    lasted = max(_seconds(row["ended_at"]) - _seconds(row["began_at"]), 0)
    state = html.Span("open", className="hm-open") if row.get("is_open") else None
    return html.Button(
        [
            html.Span(className=f"hm-kind hm-kind-{'steep' if kind == STEEP_DESCENT else 'emergency'}"),
            html.Span(
                [html.Strong(name), f" {one.KINDS.get(kind, kind)}", html.Br(),
                 html.Span(" · ".join(filter(None, facts)), className="hw-muted")],
                className="hm-alert-text",
            ),
            html.Span(
                [f"{clock(row['began_at'], common.today(snapshot))} · {duration(lasted)} ", state],
                className="hw-muted hw-number",
            ),
        ],
        type="button",
        className="hm-alert-row",
        title=f"Show {name} on the map",
        **{"data-aircraft": row["icao24"], **where},
    )  # fmt: skip


def _height(row: Mapping[str, Any], units: Any) -> str | None:
    altitude = row.get("baro_altitude")
    return None if altitude is None else f"from {units.altitude.text(altitude)}"


def countries(snapshot: Snapshot, view: View) -> Any:
    """Aircraft by country."""
    return figures.countries(snapshot.streams[STREAM].table("by_country").values(), theme_of(view.theme))


def altitudes(gone: float, snapshot: Snapshot, view: View) -> Any:
    """Aircraft by altitude."""
    stream = snapshot.streams[STREAM]
    sky = sky_of(stream).view(snapshot.at, gone + interval(stream))
    return figures.altitudes(sky.altitudes, units_of(view.filters.get("units", "")), theme_of(view.theme))


def minutes(snapshot: Snapshot, view: View) -> Any:
    """Aircraft by minute."""
    return figures.minutes(snapshot.streams[STREAM].table("per_minute").values(), theme_of(view.theme))
