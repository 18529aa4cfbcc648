"""`/co2`: what is emitted now, today and this year, alarms, budgets, and whether the meters can be believed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import Dash, Input, Output, dcc, html

from dashboards.figures import co2 as figures
from dashboards.figures.theme import empty, theme_of
from dashboards.grid import grid
from dashboards.masses import mass, mass_rate
from dashboards.pages import co2_facts as facts
from dashboards.pages import co2_rate as rates
from dashboards.pages import co2_tables as tables
from dashboards.pages import common
from dashboards.pages.co2_facts import DAY, HOUR, seconds
from dashboards.pages.co2_history import History
from dashboards.pages.co2_rate import SPANS, name_of, stream_of, token, tracker
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.state import Row, Snapshot
from dashboards.text import NOTHING, percent, share, whole
from dashboards.untyped import clientside, register_page
from headwater.contracts.co2 import CO2
from headwater.settings import Settings

PATH = "/co2"
STREAM = CO2.name
ONE = "reading"
HISTORY_DAYS = 14
ALL = "all"
READINGS = "/api/v1/co2/readings"

FILTERS = ("sources", "group", "top", "budget", "heat", "export", "days")
"""What a reader chooses beside the span."""
SPAN_NAMES = {15: "15 min", 360: "6 h", 20_160: "14 days"}
GROUPS = {"by_sector": ("Sector", "sector", figures.SECTORS), "by_fuel": ("Fuel", "fuel", figures.FUELS)}
EXPORT_DAYS = ("1", "7", "30", "366")

NOTES = (
    (
        "Rate",
        "is a record's emission over the time it covers. Rate now adds up the newest rate of each source but the "
        "silent ones; its change is over those that also reported in the last whole hour, against their mean.",
    ),
    (
        "Today, this year",
        "are UTC and count from the newest record in the data. The value includes the hour under way, the change "
        "doesn't. What was emitted before the first record is not known, and counts nowhere.",
    ),
    (
        "Rate over time",
        "Live: the highest of each second. By minute and hour: the mean of the records' rates; a ring is the window "
        "under way. A line breaks after three usual intervals without a record. A shade and a triangle mark an alarm.",
    ),
    ("Weekdays", "Of one source the mean of its rates, of all together what they emitted in the hour. UTC, not local."),
    (
        "Provisional",
        "The newest figures come from live records and from the aggregate query; the archive confirms them within a "
        "minute or so. What is older than two days comes from the archive.",
    ),
)


def register(app: Dash, settings: Settings) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("co2", PATH, "CO2 · Headwater", layout)
    clientside(app, "pause", [Output("co2-pause", "children"), Output("co2-pause", "variant")],
               [Input("co2-pause", "n_clicks")])  # fmt: skip
    clientside(app, "control", [Output("co2-span", "name")], [Input("co2-span", "value"), Input("co2-span", "id")])
    ignored = Output("ignored", "data", allow_duplicate=True)
    for name in FILTERS:
        inputs = [Input(f"co2-{name}", "value"), Input(f"co2-{name}", "id")]
        clientside(app, "filter", [ignored], inputs, prevent_initial_call="initial_duplicate")
    clientside(app, "extend", [ignored], [Input("co2-tail", "data")], "initial_duplicate", namespace="co2")
    common.drawer_callback(app, STREAM)
    return parts(History(settings))


def parts(history: History) -> tuple[Part, ...]:
    """What is pushed to the page."""
    return (
        *common.parts(STREAM, ONE),
        Part("co2-tiles", "children", partial(tiles, history), every=0.5),
        Part("co2-rate", "figure", partial(rates.figure, history), every=1.0, key=partial(rates.figure_key, history)),
        Part("co2-tail", "data", partial(rates.tail, history), every=0.5),
        Part("co2-alarms", "rowData", tables.alarm_rows, every=0.5),
        Part("co2-alarms-about", "children", tables.alarms_about, every=0.5),
        Part("co2-stacked", "figure", partial(stacked, history), every=5.0),
        Part("co2-emitters", "figure", emitters, every=5.0),
        Part("co2-burn", "figure", partial(burn_down, history), every=5.0),
        Part("co2-outlook", "children", partial(outlook, history), every=1.0),
        Part("co2-meters", "rowData", tables.meter_rows, every=2.0),
        Part("co2-meters-about", "children", tables.meters_about, every=1.0),
        Part("co2-weekdays", "figure", partial(weekdays, history), every=10.0),
        Part("co2-intensity", "figure", partial(intensity, history), every=5.0),
        Part("co2-live", "rowData", tables.live_rows, every=0.2),
        Part("co2-links", "children", links, every=1.0),
        *(Part(f"co2-{name}", "data", options, every=2.0, key=_sources_key, while_paused=True)
          for name, options in (("sources", sources), ("heat", sources), ("export", sources))),
        Part("co2-budget", "data", budget_options, every=2.0, while_paused=True),
    )  # fmt: skip


def layout() -> Any:
    """The page before its first push."""
    return page(
        PATH,
        [
            title("CO2", _controls()),
            *common.head(STREAM),
            html.Div(id="co2-tiles", className="hw-tiles"),
            _tail(),
            html.Div(
                card(
                    graph("co2-rate", 400, "Rate over time, with limits, gaps and alarms"),
                    heading="Rate over time",
                    beside=dmc.MultiSelect(
                        id="co2-sources", placeholder="The greatest sources", data=[], value=[], searchable=True,
                        clearable=True, maxValues=rates.MOST_LINES, limit=100, size="xs", className="co2-wide",
                        **aria("Sources of the chart"),
                    ),
                ),
                className="co2-row",
            ),
            _columns(
                card(
                    grid("co2-alarms", tables.alarm_columns(), "params.data.id", 330, tables.NO_ALARMS),
                    heading="Alarms",
                    beside=html.Div(
                        [html.Span(id="co2-alarms-about", className="hw-muted hw-number"), tables.name_input()],
                        className="hw-controls",
                    ),
                ),
                card(
                    grid("co2-meters", tables.meter_columns(), "params.data.source", 330, tables.NO_METERS),
                    heading="Meters",
                    beside=html.Span(id="co2-meters-about", className="hw-muted hw-number"),
                ),
                "even",
            ),
            _columns(
                card(
                    graph("co2-stacked", 320, "Emissions by hour, stacked by sector or fuel"),
                    heading=f"Emitted by hour, last {HISTORY_DAYS} days",
                    beside=_segments("group", "by_sector", {name: label for name, (label, *_) in GROUPS.items()}),
                ),
                card(
                    graph("co2-emitters", 320, "Sources by emissions"),
                    heading="Top emitters",
                    beside=_segments("top", ALL, {ALL: "All time", "day": "24 h"}),
                ),
            ),
            _columns(
                card(
                    html.Div(id="co2-outlook", className="co2-outlook"),
                    graph("co2-burn", 300, "What is left of a yearly allowance, by day"),
                    heading="Budget",
                    beside=_select("budget", "The most strained", "Budget"),
                ),
                card(
                    graph("co2-weekdays", 340, "Mean rate by weekday and hour"),
                    heading="Hours of the week, UTC",
                    beside=_select("heat", "All sources", "Source of the hours of the week"),
                ),
                "even",
            ),
            _columns(
                card(
                    graph("co2-intensity", 300, "CO2 for each MWh, by hour"),
                    heading=f"Intensity, last {HISTORY_DAYS} days",
                    beside=html.Span("of the sources chosen above", className="hw-muted"),
                ),
                card(
                    html.Div(
                        [
                            _select("export", "All sources", "Source to export"),
                            _segments("days", "7", {days: _days(days) for days in EXPORT_DAYS}),
                        ],
                        className="hw-controls",
                    ),
                    html.Div(id="co2-links", className="co2-links"),
                    heading="Export",
                ),
            ),
            _columns(
                card(
                    grid("co2-live", tables.live_columns(), "params.data.id", 400, tables.NO_READINGS, rowBuffer=0),
                    heading="Latest readings",
                    beside=html.Span("click a row for the raw record", className="hw-muted"),
                ),
                common.rejected_card(STREAM),
            ),
            html.Dl([cell for name, text in NOTES for cell in (html.Dt(name), html.Dd(text))], className="hw-notes"),
            common.drawer(STREAM),
        ],
    )  # fmt: skip


def _columns(left: Any, right: Any, how: str = "") -> Any:
    return html.Div([left, right], className=f"hw-columns {how}")


def _controls() -> Any:
    """How far the chart of rates looks back, and pause."""
    return html.Div([_segments("span", "15", SPAN_NAMES), common.pause(STREAM)], className="hw-controls")


def _tail() -> Any:
    """Through it the chart of rates gets its newest points."""
    return dcc.Store(id="co2-tail")


def _segments(name: str, value: str, labels: Mapping[Any, str]) -> Any:
    data = [{"value": str(key), "label": label} for key, label in labels.items()]
    return dmc.SegmentedControl(id=f"co2-{name}", value=value, data=data, size="xs")


def _select(name: str, nothing: str, label: str) -> Any:
    return dmc.Select(
        id=f"co2-{name}", placeholder=nothing, data=[], clearable=True, searchable=True, limit=100, size="xs", w=190,
        **aria(label),
    )  # fmt: skip


def _days(days: str) -> str:
    return {"1": "24 h", "366": "A year"}.get(days, f"{days} days")


# --- what a reader can choose ---


def _sources_key(snapshot: Snapshot) -> Hashable:
    return tuple(rates.source_ids(snapshot))


def sources(snapshot: Snapshot, view: View) -> list[dict[str, str]]:
    """All sources."""
    return [{"value": token(name), "label": name} for name in rates.source_ids(snapshot)]


def budget_options(snapshot: Snapshot, view: View) -> list[dict[str, str]]:
    """All budgets, the most strained first."""
    rows = facts.budgets_now(stream_of(snapshot).table("budgets"))
    return [{"value": token(row["budget"]), "label": facts.budget_name(row["budget"])} for row in rows]


def _picked(view: View, name: str) -> str | None:
    text = view.filters.get(name)
    return name_of(text) if text else None


# --- key figures ---


def tiles(history: History, snapshot: Snapshot, view: View) -> list[Any]:
    """Now, today, this year, the allowance, alarms, meters."""
    table = stream_of(snapshot).table
    at, live = rates.newest(snapshot), tracker(snapshot).view(snapshot.at)
    if at is None:
        names = ("Rate now", "Today", "This year", "Allowance used", "Open alarms", "Meters in trouble")
        return [common.tile(name, NOTHING, "no data yet") for name in names]
    now = facts.rate_now(table("totals"), table("health"), table("per_hour"), live, at)
    hours = facts.by_hour(facts.masses(table("by_sector"), "sector", at))
    years = history.years(at)
    today, year = facts.today(hours, at), facts.this_year(years.hours | hours, years.before_kg, at)
    day = facts.day_of(at)
    day_name = "today" if day == common.today(snapshot).date() else facts.spelled(day)
    return [
        common.tile("Rate now", mass_rate(now.kg_h), _change(now.change, f"vs {_last_hour(at)}")),
        common.tile(f"Emitted {day_name}", mass(today.kg), _change(today.change, "vs the day before, same hours")),
        common.tile(f"Emitted in {day.year}", mass(year.kg), _change(year.change, f"vs {day.year - 1}, same time")),
        _allowance(snapshot, at),
        _alarms(snapshot, at),
        _meters(snapshot, now),
    ]


def _change(change: float | None, against: str) -> Any:
    return f"{percent(change)} {against}" if change is not None else "no earlier time to compare"


def _last_hour(at: float) -> str:
    begin = datetime.fromtimestamp(at // HOUR * HOUR - HOUR, UTC)
    return f"{begin:%H:%M} to {begin + timedelta(hours=1):%H:%M}"


def _allowance(snapshot: Snapshot, at: float) -> Any:
    """Of the budget that is nearest to its end: a mean over all would hide it."""
    budgets = facts.budgets_now(stream_of(snapshot).table("budgets"))
    if not budgets:
        return common.tile("Allowance used", NOTHING, "none is set")
    row = budgets[0]
    name = facts.budget_name(row["budget"])
    days = facts.masses(stream_of(snapshot).table("budget_days"), "budget", at)
    day = days.get((at // DAY * DAY, row["budget"]), 0.0) / row["allowance_kg"]
    below = html.Span(f"▲ {share(day)} today · {name}", title=f"{name} {facts.outlook(row)}")
    return common.tile("Allowance used", share(row["used_share"]), below)


def _alarms(snapshot: Snapshot, at: float) -> Any:
    rows = stream_of(snapshot).table("alarms").values()
    opened = [row for row in rows if row.get("ended_at") is None]
    unseen = sum(row.get("acknowledged_at") is None for row in opened)
    fresh = sum(seconds(row["began_at"]) > at - DAY for row in rows)
    below = f"{whole(fresh)} began in 24 h"
    return common.tile(
        "Open alarms", whole(len(opened)),
        [html.Span(f"{whole(unseen)} not acknowledged", className="hw-open"), f" · {below}"] if unseen else below,
    )  # fmt: skip


def _meters(snapshot: Snapshot, now: facts.Rate) -> Any:
    health = stream_of(snapshot).table("health")
    counts = facts.troubled(health)
    words = tables.trouble_words(counts)
    below = html.Span(words, className="hw-open") if words else "all well"
    return common.tile("Meters in trouble", f"{whole(sum(counts.values()))} of {whole(len(health))}", below)


# --- figures ---


def stacked(history: History, snapshot: Snapshot, view: View) -> Any:
    """Mass by hour and sector or fuel."""
    theme, at = theme_of(view.theme), rates.newest(snapshot)
    if at is None:
        return empty(theme, figures.NO_DATA)
    table = view.filters.get("group", "")
    table = table if table in GROUPS else "by_sector"
    found = _groups(history, snapshot, table, at)
    names = figures.ordered({name for _, name in found}, GROUPS[table][2])
    return figures.stacked(found, names, at, theme)


def _groups(history: History, snapshot: Snapshot, table: str, at: float) -> dict[tuple[float, str], float]:
    """Delta's hours, and over them what the processed topic still holds."""
    since = at // HOUR * HOUR - HISTORY_DAYS * DAY + HOUR
    rows = facts.masses(stream_of(snapshot).table(table), GROUPS[table][1], at)
    found = history.groups(table, since) | rows
    return {(start, name): kg for (start, name), kg in found.items() if since <= start <= at}


def emitters(snapshot: Snapshot, view: View) -> Any:
    """The greatest sources."""
    theme, at = theme_of(view.theme), rates.newest(snapshot)
    totals, per_hour = stream_of(snapshot).table("totals"), stream_of(snapshot).table("per_hour")
    sectors = {row["source_id"]: facts.sector_of(row) for row in totals.values()}
    masses = {row["source_id"]: row["emission_kg"] for row in totals.values()}
    if view.filters.get("top") == "day" and at is not None:
        masses = facts.last_day(per_hour, sectors, at)
    return figures.emitters(masses, sectors, theme)


def _budget(snapshot: Snapshot, view: View) -> Row | None:
    """The one that is chosen, or the most strained."""
    budgets = facts.budgets_now(stream_of(snapshot).table("budgets"))
    wanted = _picked(view, "budget")
    return next((row for row in budgets if row["budget"] == wanted), budgets[0] if budgets else None)


def _days_of(history: History, snapshot: Snapshot, row: Row) -> dict[float, float]:
    """What a budget's sources emitted on each day of its year, kg."""
    begin, last = datetime(row["year"], 1, 1, tzinfo=UTC).timestamp(), seconds(row["last_event"])
    found = history.days(begin) | facts.masses(stream_of(snapshot).table("budget_days"), "budget", last)
    return {start: kg for (start, name), kg in found.items() if name == row["budget"] and begin <= start <= last}


def burn_down(history: History, snapshot: Snapshot, view: View) -> Any:
    """What is left of a budget by day."""
    row = _budget(snapshot, view)
    return figures.burn_down(row, _days_of(history, snapshot, row) if row else {}, theme_of(view.theme))


def outlook(history: History, snapshot: Snapshot, view: View) -> Any:
    """When it runs out."""
    row = _budget(snapshot, view)
    if row is None:
        return None
    used = f"{mass(row['used_kg'])} of {mass(row['allowance_kg'])} used in {row['year']} ({share(row['used_share'])})"
    days = _days_of(history, snapshot, row)
    first = facts.day_of(min(days)) if days else None
    since = "" if first is None or (first.month, first.day) == (1, 1) else f", counted since {facts.spelled(first)}"
    return [html.Strong(facts.budget_name(row["budget"])), f" {facts.outlook(row)}. {used}{since}."]


def weekdays(history: History, snapshot: Snapshot, view: View) -> Any:
    """Means by hour of the week."""
    theme, at, source_id = theme_of(view.theme), rates.newest(snapshot), _picked(view, "heat")
    if at is None:
        return empty(theme, figures.NO_DATA)
    if source_id is None:
        hours = facts.by_hour(_groups(history, snapshot, "by_sector", at))
    else:
        found = rates.windows(history, stream_of(snapshot), SPANS[20_160], source_id, at).values()
        hours = {window.start: window.rate_kg_h for window in found if window.rate_kg_h is not None}
    return figures.heat(facts.weekdays(hours, at), theme)


def intensity(history: History, snapshot: Snapshot, view: View) -> Any:
    """kg/MWh by hour of the chosen sources."""
    theme, at = theme_of(view.theme), rates.newest(snapshot)
    if at is None:
        return empty(theme, figures.NO_DATA)
    span = SPANS[20_160]
    found = []
    for name in rates.chosen(snapshot, view):
        windows = rates.windows(history, stream_of(snapshot), span, name, at)
        points = [(start, windows[start].intensity_kg_mwh) for start in sorted(windows)]
        found.append(figures.Line(name, [point for point in points if point[1] is not None], span.window_s))
    return figures.intensity(found, theme)


# --- export ---


def links(snapshot: Snapshot, view: View) -> Any:
    """Downloads of the chosen source and time."""
    at = rates.newest(snapshot)
    if at is None:
        return "nothing to export yet"
    days = view.filters.get("days", "")
    until = datetime.fromtimestamp(at // 60 * 60 + 60, UTC)
    since = until - timedelta(days=int(days) if days in EXPORT_DAYS else 7)
    source_id = _picked(view, "export")
    query = urlencode({
        **({} if source_id is None else {"source_id": source_id}),
        "since": _iso(since), "until": _iso(until),
    })  # fmt: skip
    return [
        html.A("Readings as CSV", href=f"{READINGS}.csv?{query}", download="", className="hw-filter"),
        html.A("as JSON", href=f"{READINGS}?{query}", target="_blank", className="hw-filter"),
        html.Div(f"{_iso(since)} to {_iso(until)}", className="hw-muted hw-number"),
    ]


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
