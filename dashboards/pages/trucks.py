"""`/trucks`: the fleet on a map that glides, what it does, and what asks for somebody.

The map, the list and the replay live in the browser (`assets/map*.js`, `assets/trucks.js`) and get their positions over
a socket of their own; what the job has worked out is pushed as on the other pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
from dash import Dash, html

from dashboards import maps
from dashboards.figures import trucks as figures
from dashboards.figures.theme import theme_of
from dashboards.fleet import Fix, FleetTracker, alarming, fleet_of
from dashboards.grid import grid, number, words
from dashboards.pages import common, trucks_replay
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.state import Row, Snapshot
from dashboards.text import NOTHING, clock, duration, whole
from dashboards.untyped import register_page
from headwater.contracts.trucks import GEOFENCE, OVERSPEED, SILENT
from headwater.geofences import CUSTOMER, DEPOT, NO_GO
from headwater.settings import Settings

PATH = "/trucks"
STREAM = "trucks"
ONE = "fix"
SOCKET = f"{maps.PREFIX}/trucks"
TRAILS = f"{maps.PREFIX}/trucks/trails"
AREAS = f"{maps.PREFIX}/trucks/areas"
LIVE_ROWS = 30
ALERT_ROWS = 60
LAST_FIXES = 8
MOST_TRAIL = 300
CREDIT = "Land: Natural Earth · Towns: GeoNames"

NO_FIXES = "No fix yet."
NO_ALERTS = "No alert yet."
ALERT_NAMES = {OVERSPEED: "Overspeed", GEOFENCE: "Geofence", SILENT: "Offline"}
AREA_NAMES = {DEPOT: "depot", CUSTOMER: "customer", NO_GO: "no-go zone"}

NOTES = (
    (
        "Markers",
        "show the newest fix by its own time: an arrow moves, a square stands, a diamond is offline; the red rim means "
        "too fast, or inside a no-go zone. Between fixes they move on by speed and heading, for {coast:g} s at most, "
        "and they grow pale as they age.",
    ),
    ("Offline", "Nothing for {offline} by the wall clock."),
    (
        "Trips, stops, alerts",
        "and figures by minute come from the aggregate query within a second or two; the archive confirms them within "
        "a minute or so. What is under way has no end yet.",
    ),
    ("Keys", "F follows the selected truck, A shows all, Esc lets go; in the list arrows choose. Times are UTC."),
)


def register(app: Dash, settings: Settings) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("trucks", PATH, "Trucks · Headwater", partial(layout, settings))
    common.drawer_callback(app, STREAM)
    return parts(settings)


def parts(settings: Settings) -> tuple[Part, ...]:
    """What is pushed to the page."""
    return (
        *common.parts(STREAM, ONE),
        Part("trucks-tiles", "children", tiles, every=0.5),
        Part("trucks-alerts", "children", alerts, every=0.5, key=_alerts_key),
        Part("trucks-alerts-open", "children", open_alerts, every=0.5, key=_alerts_key),
        Part("trucks-activity", "figure", activity, every=2.0, key=partial(common.version, STREAM, "per_minute")),
        Part("trucks-about", "children", detail, every=0.5),
        Part("trucks-fixes", "children", last_fixes, every=0.5),
        Part("trucks-speed", "figure", partial(speed, settings.trucks.overspeed_kmh), every=2.0),
        Part("trucks-live", "rowData", live_rows, every=1.0),
    )


def layout(settings: Settings) -> Any:
    """The page before its first push."""
    given = {"coast": settings.dashboard.coast_seconds, "offline": duration(settings.trucks.offline_seconds)}
    known = {**aria("Map of the fleet"), "data-config": orjson.dumps(map_config(settings)).decode()}
    fleet = html.Div(
        [
            html.Div(
                [
                    html.Div(id="trucks-map", className="hm-map", tabIndex="0", role="application", **known),
                    panel(),
                ],
                className="hm-wrap",
            ),
            card(html.Div(id="trucks-list", className="hm-side"), heading="Fleet"),
        ],
        className="hm-fleet",
    )
    return page(
        PATH,
        [
            title("Trucks"),
            *common.head(STREAM),
            html.Div(id="trucks-tiles", className="hw-tiles"),
            fleet,
            html.Div(
                [
                    card(
                        html.Div(id="trucks-alerts", className="hm-alerts"),
                        heading="Alerts",
                        beside=html.Span(id="trucks-alerts-open", className="hw-muted hw-number"),
                    ),
                    card(graph("trucks-activity", 330, "Moving trucks and mean speed by minute"), heading="Last hour"),
                ],
                className="hw-columns even",
            ),
            html.Div(
                [
                    card(
                        grid("trucks-live", live_columns(), "params.data.id", 400, NO_FIXES, rowBuffer=0),
                        heading="Latest fixes",
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
        "areas": AREAS,
        "replay": trucks_replay.PATH,
        "tiles": settings.dashboard.tiles,
        "credit": CREDIT,
        "coast_seconds": settings.dashboard.coast_seconds,
        "offline_seconds": settings.trucks.offline_seconds,
        "pause_seconds": settings.trucks.pause_seconds,
        "moving_kmh": settings.trucks.moving_kmh,
        "most_trail": MOST_TRAIL,
    }


def panel() -> Any:
    """What is selected: the browser's own figures of this second, then the job's."""
    return html.Div(
        [
            html.Div(id="trucks-now"),
            html.Div(
                [
                    html.Div(id="trucks-about"),
                    graph("trucks-speed", 150, "Speed over time"),
                    html.H3("Last fixes", className="hw-h2"),
                    html.Div(id="trucks-fixes"),
                ],
                className="hm-live-only",
            ),
        ],
        id="trucks-panel",
        className="hm-panel hm-detail",
        role="region",
        hidden=True,
        **aria("Selected truck"),
    )


def live_columns() -> list[dict[str, Any]]:
    """Newest on top; a click opens the record."""
    return [
        words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
        words("truck", "Truck", flex=2, minWidth=90),
        number("speed", "km/h", ",.0f", width=76, minWidth=66, filter=False),
        number("heading", "Heading", ",.0f", width=92, minWidth=84, filter=False),
        words("place", "Position", flex=2, minWidth=140, filter=False, cellClass="hw-number"),
        words("driver", "Driver", flex=2, minWidth=100),
    ]


def tracker(snapshot: Snapshot) -> FleetTracker:
    """What knows the trucks, with the job's word on them."""
    stream = snapshot.streams[STREAM]
    found = fleet_of(stream)
    found.absorb(stream)
    return found


def tiles(snapshot: Snapshot, view: View) -> list[Any]:
    """Key figures."""
    fleet = tracker(snapshot).view(snapshot.at)
    table = snapshot.streams[STREAM].table
    minutes = {datetime.fromisoformat(row["window_start"]): row for row in table("per_minute").values()}
    newest = max(minutes, default=None)
    opened = [row for row in table("alerts").values() if row.get("ended_at") is None]
    urgent = sum(map(alarming, opened))
    return [
        common.tile("Trucks", whole(fleet.trucks), f"{whole(fleet.offline)} offline"),
        common.tile("Moving", whole(fleet.moving), _share(fleet.moving, fleet.trucks)),
        common.tile("Stopped", whole(fleet.stopped), _share(fleet.stopped, fleet.trucks)),
        _kilometres(minutes, newest, snapshot),
        common.tile(
            "Open alerts",
            whole(len(opened)),
            html.Span(f"{urgent} too fast or in a no-go zone", className="hw-open") if urgent else "none is urgent",
        ),
    ]


def _share(part: int, trucks: int) -> str:
    return f"{100 * part / trucks:.0f} % of the fleet" if trucks else NOTHING


def _kilometres(minutes: Mapping[datetime, Row], newest: datetime | None, snapshot: Snapshot) -> Any:
    if newest is None:
        return common.tile("Distance, today", NOTHING, "nothing driven yet")
    day = newest.astimezone(UTC).date()
    name = "today" if day == common.today(snapshot).date() else str(day)
    of_day = sum(float(row["distance_km"]) for start, row in minutes.items() if start.astimezone(UTC).date() == day)
    begin = newest - timedelta(minutes=59)
    hour = sum(float(row["distance_km"]) for start, row in minutes.items() if start >= begin)
    return common.tile(f"Distance, {name}", f"{of_day:,.0f} km", f"{hour:,.0f} km in the last hour")


def _alerts_key(snapshot: Snapshot) -> tuple[int, str]:
    # By the minute too: an alert under way says for how long.
    return common.version(STREAM, "alerts", snapshot), f"{common.today(snapshot):%H%M}"


def alerts(snapshot: Snapshot, view: View) -> Any:
    """The feed, newest first."""
    rows = sorted(snapshot.streams[STREAM].table("alerts").values(), key=lambda row: str(row["began_at"]), reverse=True)
    if not rows:
        return html.Div(NO_ALERTS, className="hw-empty")
    return [_alert(row, snapshot) for row in rows[:ALERT_ROWS]]


def open_alerts(snapshot: Snapshot, view: View) -> str:
    """How many have no end yet."""
    rows = snapshot.streams[STREAM].table("alerts").values()
    return f"{whole(sum(row.get('ended_at') is None for row in rows))} open of {whole(len(rows))}"


def _alert(row: Row, snapshot: Snapshot) -> Any:
    today = common.today(snapshot)
    began, ended = row["began_at"], row.get("ended_at")
    seconds = (snapshot.at if ended is None else datetime.fromisoformat(ended).timestamp()) - datetime.fromisoformat(
        began
    ).timestamp()
    state = html.Span("open", className="hm-open") if ended is None else None
    return html.Button(
        [
            html.Span(className=f"hm-kind hm-kind-{NO_GO if row.get('geofence_kind') == NO_GO else row['kind']}"),
            html.Span([html.Strong(row["truck_id"]), f" {_story(row)}"], className="hm-alert-text"),
            html.Span([clock(began, today), f" · {duration(max(seconds, 0))} ", state], className="hw-muted hw-number"),
        ],
        type="button",
        className="hm-alert-row",
        title=f"Show {row['truck_id']} on the map",
        **{"data-truck": row["truck_id"], "data-latitude": row["latitude"], "data-longitude": row["longitude"]},
    )


def _story(row: Row) -> str:
    """What happened, in words."""
    has_ended = row.get("ended_at") is not None
    if row["kind"] == OVERSPEED:
        return f"{'drove' if has_ended else 'drives'} too fast, {float(row.get('top_kmh') or 0):.0f} km/h at most"
    if row["kind"] == GEOFENCE:
        kind = AREA_NAMES.get(row.get("geofence_kind") or "", "area")
        return f"{'was in' if has_ended else 'is in'} {row.get('geofence')} ({kind})"
    return "was silent" if has_ended else "is offline"


def activity(snapshot: Snapshot, view: View) -> Any:
    """Moving trucks and mean speed by minute."""
    return figures.activity(snapshot.streams[STREAM].table("per_minute").values(), theme_of(view.theme))


def selected(view: View) -> str:
    """The truck whose panel is open."""
    return view.filters.get("truck", "")


def detail(snapshot: Snapshot, view: View) -> Any:
    """Words and trip so far of the selected truck."""
    if not (truck_id := selected(view)):
        return None
    truck, table = tracker(snapshot).truck(truck_id), snapshot.streams[STREAM].table
    about = [] if truck is None else [("Driver", truck.driver), ("Route", truck.route), ("Cargo", truck.cargo)]
    trip, stop = (_newest(table(name), truck_id) for name in ("trips", "stops"))
    return html.Div(
        [
            _facts([(name, value or NOTHING) for name, value in about]),
            html.H3(_since(trip, stop, snapshot), className="hw-h2"),
            _facts(_trip(trip, snapshot)) if trip else html.Div("No trip yet.", className="hw-empty"),
        ]
    )


def last_fixes(snapshot: Snapshot, view: View) -> Any:
    """The selected truck's, newest first."""
    if not (truck_id := selected(view)):
        return None
    return _fixes(tracker(snapshot).fixes(truck_id)[-LAST_FIXES:][::-1], snapshot)


def _newest(rows: Mapping[str, Row], truck_id: str) -> Row | None:
    """A truck's newest row. Keys begin with the truck, and go on with the start in ISO 8601, which sorts as text."""
    begin = f"{truck_id}|"
    key = max((key for key in rows if key.startswith(begin)), default=None)
    return None if key is None else rows[key]


def _since(trip: Row | None, stop: Row | None, snapshot: Snapshot) -> str:
    """What it is in the middle of."""
    today = common.today(snapshot)
    if stop is not None and stop.get("is_open"):
        return f"Standing since {clock(stop['start_time'], today)}"
    if trip is not None and trip.get("is_open"):
        return f"Trip since {clock(trip['start_time'], today)}"
    return "Last trip"


def _trip(trip: Row, snapshot: Snapshot) -> list[tuple[str, str]]:
    today = common.today(snapshot)
    top = trip.get("top_kmh")
    ended = "so far" if trip.get("is_open") else clock(trip["end_time"], today)
    return [
        ("From, to", f"{clock(trip['start_time'], today)}, {ended}"),
        ("Distance", f"{float(trip['distance_km']):,.1f} km"),
        ("Duration", duration(float(trip["duration_s"]))),
        ("Average, top", f"{float(trip['average_kmh']):.0f}, {NOTHING if top is None else f'{float(top):.0f}'} km/h"),
        ("Idle", duration(float(trip["idle_s"]))),
    ]


def _facts(rows: list[tuple[str, str]]) -> Any:
    return html.Dl([cell for name, value in rows for cell in (html.Dt(name), html.Dd(value))], className="hw-facts")


def _fixes(fixes: list[Fix], snapshot: Snapshot) -> Any:
    head = html.Tr([html.Th("Time"), html.Th("km/h", className="r"), html.Th("Position", className="r")])
    today = common.today(snapshot)
    rows = [
        html.Tr(
            [
                html.Td(clock(datetime.fromtimestamp(fix.time, UTC).isoformat(), today)),
                html.Td(NOTHING if fix.speed_kmh != fix.speed_kmh else f"{fix.speed_kmh:.0f}", className="r"),
                html.Td(f"{fix.latitude:.4f}, {fix.longitude:.4f}", className="r"),
            ]
        )
        for fix in fixes
    ]
    return html.Table([html.Thead(head), html.Tbody(rows)], className="hw-table")


def speed(limit_kmh: float, snapshot: Snapshot, view: View) -> Any:
    """The selected truck's speed over its last fixes."""
    truck_id = selected(view)
    return figures.speed(tracker(snapshot).fixes(truck_id) if truck_id else (), limit_kmh, theme_of(view.theme))


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest fixes, newest first."""
    return common.live_rows(snapshot.streams[STREAM].live[:LIVE_ROWS], snapshot, _cells)


def _cells(row: Row) -> dict[str, Any]:
    return {
        "truck": row["truck_id"],
        "speed": row.get("speed_kmh"),
        "heading": row.get("heading_deg"),
        "place": f"{float(row['latitude']):.4f}, {float(row['longitude']):.4f}",
        "driver": row.get("driver") or "",
    }
