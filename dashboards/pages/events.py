"""`/events`: what visitors of the shop do this second, how far they come, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, html

from dashboards.figures import events as figures
from dashboards.figures.theme import theme_of
from dashboards.grid import grid, number, words
from dashboards.pages import common
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.state import Row, Snapshot
from dashboards.text import clock, money, points, rate, share, whole
from dashboards.untyped import clientside, register_page
from dashboards.visits import ACTIVE_MINUTES, Basket, Period, VisitTracker
from headwater.contracts.events import EVENT_TYPES

PATH = "/events"
STREAM = "events"
ONE = "event"
LIVE_ROWS = 30
TOP_PRODUCTS = 100
PER_MINUTE_FROM = 60
"""Minutes from which on counts are drawn by the minute: 10 s windows would be too many to see."""

NO_EVENTS = "No event that fits yet."
NO_PRODUCTS = "No product that fits yet."
NO_BASKETS = "No basket left behind."

NOTES = (
    (
        "Periods",
        "count back from the newest event in the data, in windows of 10 s. Values include the unfinished window, "
        "changes don't. A visit is in a period while its last event is. Times are UTC; money is as it was sent.",
    ),
    (
        "Filters",
        "Types go for events over time and latest events; the category for products, trending and latest events. Key "
        "figures, funnel and baskets are always of everything.",
    ),
    (
        "Provisional",
        "Key figures, funnel, trending and baskets are worked out here, within a second, from the live records of the "
        "last two hours. Events over time and top products come from the aggregate query; the archive confirms "
        "them within a minute or so.",
    ),
    (
        "Abandoned",
        "Nothing came for half an hour (setting abandoned_minutes), by the wall clock, while units were in the "
        "basket; withdrawn when a purchase follows.",
    ),
    (
        "Trending",
        "Views, adds and purchases, last 5 minutes against the 5 before; what rises most clearly comes first, so that "
        "30 to 60 is before 1 to 3.",
    ),
)


def register(app: Dash) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("events", PATH, "Events · Headwater", layout)
    common.callbacks(app, STREAM)
    for name in ("types", "category"):
        chosen = [Input(f"events-{name}", "value"), Input(f"events-{name}", "id")]
        ignored = [Output("ignored", "data", allow_duplicate=True)]
        clientside(app, "filter", ignored, chosen, prevent_initial_call="initial_duplicate")
    return parts()


def parts() -> tuple[Part, ...]:
    """What is pushed to the page."""
    return (
        *common.parts(STREAM, ONE),
        Part("events-category", "data", categories, every=1.0, while_paused=True),
        Part("events-live", "rowData", live_rows),
        Part("events-tiles", "children", tiles, every=0.5),
        Part("events-funnel", "children", funnel, every=1.0),
        Part("events-funnel-about", "children", period_name),
        Part("events-counts", "figure", counts, every=1.0, key=_counts_version),
        Part("events-trending", "children", trending, every=1.0),
        Part("events-products", "rowData", product_rows, every=1.0),
        Part("events-baskets", "rowData", basket_rows, every=0.5),
        Part("events-baskets-open", "children", open_baskets, every=0.5),
        *(
            Part(f"events-{place}-filter", "children", partial(filtered, names))
            for place, names in (
                ("counts", ("types",)),
                ("trending", ("category",)),
                ("products", ("category",)),
                ("live", ("types", "category")),
            )
        ),
    )


def layout() -> Any:
    """The page before its first push."""
    return page(
        PATH,
        [
            title("Events", controls()),
            *common.head(STREAM),
            html.Div(id="events-tiles", className="hw-tiles"),
            html.Div(
                [
                    card(
                        graph("events-counts", 520, "Events over time by type"),
                        heading="Events over time",
                        beside=_filter("counts"),
                    ),
                    html.Div(
                        [
                            card(
                                html.Div(id="events-funnel", className="hw-funnel"),
                                heading="Funnel",
                                beside=html.Span(id="events-funnel-about", className="hw-muted"),
                            ),
                            card(
                                grid("events-baskets", basket_columns(), "params.data.session", 236, NO_BASKETS),
                                heading="Abandoned baskets",
                                beside=html.Span(id="events-baskets-open", className="hw-muted hw-number"),
                            ),
                        ],
                        className="hw-stack",
                    ),
                ],
                className="hw-columns",
            ),
            html.Div(
                [
                    card(
                        grid("events-products", product_columns(), "params.data.product_id", 464, NO_PRODUCTS),
                        heading="Top products, all time",
                        beside=_filter("products"),
                    ),
                    card(
                        html.Div(id="events-trending"),
                        heading="Trending",
                        beside=_filter("trending"),
                    ),
                ],
                className="hw-columns",
            ),
            html.Div(
                [
                    card(
                        grid("events-live", live_columns(), "params.data.id", 400, NO_EVENTS, rowBuffer=0),
                        heading="Latest events",
                        beside=html.Span(["click a row for the raw record", _filter("live")], className="hw-muted"),
                    ),
                    common.rejected_card(STREAM),
                ],
                className="hw-columns",
            ),
            html.Dl([cell for name, text in NOTES for cell in (html.Dt(name), html.Dd(text))], className="hw-notes"),
            common.drawer(STREAM),
        ],
    )


def controls() -> Any:
    """What is shown: types, category, period; and pause."""
    chips = [dmc.Chip(figures.LABELS[kind], value=kind, size="xs", variant="outline") for kind in EVENT_TYPES]
    return html.Div(
        [
            html.Div(
                dmc.ChipGroup(chips, id="events-types", multiple=True, value=[]), className="hw-chips", role="group",
                **aria("Only these types"),
            ),
            dmc.Select(
                id="events-category", placeholder="All categories", data=[], clearable=True, searchable=True,
                size="xs", w=170, **aria("Only this category"),
            ),
            common.period(STREAM),
            common.pause(STREAM),
        ],
        className="hw-controls",
    )  # fmt: skip


def _filter(place: str) -> Any:
    return html.Span(id=f"events-{place}-filter", className="hw-filter")


def product_columns() -> list[dict[str, Any]]:
    """Sorted by revenue at first; the reader's own sort stays."""
    formatter = {"function": "params.value == null ? '-' : d3.format('.1%')(params.value)"}
    return [
        words("product", "Product", flex=3, minWidth=124, tooltipField="product_id"),
        number("revenue", "Revenue", ",.2f", flex=1, minWidth=100, sort="desc"),
        number("purchases", "Bought", flex=1, minWidth=76),
        number("conversion", "Conversion", flex=1, minWidth=104, valueFormatter=formatter),
        number("views", "Views", flex=1, minWidth=70),
        number("adds", "Adds", flex=1, minWidth=64),
        words("category", "Category", flex=2, minWidth=96),
    ]


def basket_columns() -> list[dict[str, Any]]:
    """Newest on top."""
    return [
        words("since", "Since", width=84, minWidth=76, filter=False, cellClass="hw-number"),
        number("units", "Units", width=62, minWidth=58, filter=False),
        number("value", "Value", ",.2f", width=92, minWidth=84, filter=False),
        words(
            "withdrawn", "Withdrawn", width=96, minWidth=92, filter=False, cellClass="hw-number",
            cellClassRules={"hw-open": "params.value === 'open'"},
        ),
        words("session", "Session", flex=2, minWidth=90),
    ]  # fmt: skip


def live_columns() -> list[dict[str, Any]]:
    """Newest on top; a click opens the record."""
    return [
        words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
        words("type", "Type", width=112, minWidth=104, filter=False, cellRenderer="EventType"),
        words("product", "Product", flex=3, minWidth=120),
        words("category", "Category", flex=2, minWidth=96),
        number("quantity", "Qty", width=64, minWidth=56, filter=False),
        number("price", "Price", ",.2f", width=92, filter=False),
        words("session", "Session", flex=1, minWidth=90),
    ]


def tracker(snapshot: Snapshot) -> VisitTracker:
    """What knows the visits."""
    found = snapshot.streams[STREAM].tracker
    assert isinstance(found, VisitTracker)
    return found


def _period(snapshot: Snapshot, view: View) -> Period:
    periods = tracker(snapshot).view(snapshot.at).periods
    return periods.get(view.minutes, periods[common.PERIODS[0]])


def _category(view: View) -> str:
    return view.filters.get("category", "")


def categories(snapshot: Snapshot, view: View) -> list[str]:
    """Those to choose from."""
    return tracker(snapshot).categories()


def filtered(names: tuple[str, ...], snapshot: Snapshot, view: View) -> str:
    """Which filters a card obeys now."""
    chosen = []
    if "types" in names:
        chosen += [figures.LABELS[kind].lower() for kind in EVENT_TYPES if kind in view.chosen("types")]
    if "category" in names and _category(view):
        chosen.append(_category(view))
    return "only " + ", ".join(chosen) if chosen else ""


def period_name(snapshot: Snapshot, view: View) -> str:
    """What the funnel covers."""
    return f"visits of the last {view.minutes} min"


def tiles(snapshot: Snapshot, view: View) -> list[Any]:
    """Key figures and their change."""
    visits, period, minutes = tracker(snapshot).view(snapshot.at), _period(snapshot, view), view.minutes
    has = visits.newest is not None

    def of_period(name: str, value: str, change: float | None, spell: Callable[..., str] | None = None) -> Any:
        below = common.compared(change, minutes, spell) if spell else common.compared(change, minutes)
        return common.tile(f"{name}, last {minutes} min", value if has else "-", below)

    return [
        of_period("Events a second", rate(period.per_second), period.per_second_change),
        common.tile(
            f"Active visits, last {ACTIVE_MINUTES} min",
            whole(visits.active) if has else "-",
            common.compared(visits.active_change, ACTIVE_MINUTES),
        ),
        of_period("Conversion", share(period.funnel.conversion), period.conversion_change, points),
        of_period("Revenue", money(period.revenue), period.revenue_change),
    ]


def funnel(snapshot: Snapshot, view: View) -> Any:
    """How far the visits of the period came."""
    return figures.funnel(_period(snapshot, view))


def counts(snapshot: Snapshot, view: View) -> Any:
    """Events over time by type."""
    by_minute = view.minutes >= PER_MINUTE_FROM
    table = snapshot.streams[STREAM].table("per_minute" if by_minute else "per_window")
    size = timedelta(minutes=1) if by_minute else timedelta(seconds=10)
    theme = theme_of(view.theme)
    return figures.counts(table, size, view.minutes, view.chosen("types"), theme, common.today(snapshot))


def _counts_version(snapshot: Snapshot) -> tuple[int, int]:
    return common.version(STREAM, "per_window", snapshot), common.version(STREAM, "per_minute", snapshot)


def trending(snapshot: Snapshot, view: View) -> Any:
    """What rises."""
    visits = tracker(snapshot)
    return figures.trending(visits.trending(_category(view)), visits.product)


def product_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The products with the most revenue, those of the category where one is chosen."""
    product, category = tracker(snapshot).product, _category(view)
    rows = [
        row
        for row in snapshot.streams[STREAM].table("by_product").values()
        if not category or product(row["product_id"]).category == category
    ]
    rows.sort(key=lambda row: (-float(row["revenue"] or 0), -int(row["views"]), row["product_id"]))
    return [
        {
            "product_id": row["product_id"],
            "product": product(row["product_id"]).name or row["product_id"],
            "category": product(row["product_id"]).category or "",
            "views": int(row["views"]),
            "adds": int(row["adds"]),
            "purchases": int(row["purchases"]),
            "revenue": None if row["revenue"] is None else float(row["revenue"]),
            "conversion": row.get("conversion"),
        }
        for row in rows[:TOP_PRODUCTS]
    ]


def basket_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """Baskets left behind, newest first."""
    return [_basket(basket, snapshot) for basket in tracker(snapshot).view(snapshot.at).baskets]


def _basket(basket: Basket, snapshot: Snapshot) -> dict[str, Any]:
    today = common.today(snapshot)
    withdrawn = basket.withdrawn_at
    return {
        "session": basket.session_id,
        "since": clock(basket.since.isoformat(), today),
        "units": basket.units,
        "value": None if basket.value is None else float(basket.value),
        "withdrawn": clock(withdrawn.isoformat(), today) if withdrawn else "open",
    }


def open_baskets(snapshot: Snapshot, view: View) -> str:
    """How many still lie there, and what they are worth."""
    visits = tracker(snapshot).view(snapshot.at)
    return f"{whole(visits.open_baskets)} open · {money(visits.open_value)}"


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest events that fit, newest first."""
    types, category = view.chosen("types"), _category(view)
    if types or category:
        rows = tracker(snapshot).latest(types, category, LIVE_ROWS)
    else:
        rows = list(snapshot.streams[STREAM].live[:LIVE_ROWS])
    return common.live_rows(rows, snapshot, _cells)


def _cells(row: Row) -> dict[str, Any]:
    return {
        "type": row["event_type"],
        "product": row.get("product_name") or row["product_id"],
        "category": row.get("category") or "",
        "quantity": row.get("quantity"),
        "price": None if row.get("price") is None else float(row["price"]),
        "session": row["session_id"],
    }
