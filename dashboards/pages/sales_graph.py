"""`/sales/graph`: revenue and orders over time, by category and by country."""

from __future__ import annotations

from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, html

from dashboards.figures.sales import by_category, by_minute, top_bars
from dashboards.figures.theme import theme_of
from dashboards.pages import common
from dashboards.pages.sales import ONE, STREAM, subnav
from dashboards.push import Part, View
from dashboards.shell import card, graph, page, title
from dashboards.state import Snapshot
from dashboards.untyped import clientside, register_page

PATH = "/sales/graph"
SPANS = (("15", "15 min"), ("60", "1 h"), ("360", "6 h"), ("0", "All"))


def register(app: Dash) -> tuple[Part, ...]:
    """Register the page and its control; gives the parts that are pushed to it."""
    register_page("sales_graph", PATH, "Sales graphs · Headwater", layout)
    clientside(
        app, "control", [Output("sales-span", "name")], [Input("sales-span", "value"), Input("sales-span", "id")]
    )
    return (
        *common.head_parts("sales-graph", STREAM, ONE),
        _part("sales-by-minute", "per_minute", _by_minute),
        _part("sales-by-category", "per_minute_category", _by_category),
        _part("sales-by-country", "by_country", _by_country),
    )


def layout() -> Any:
    """The page before its first push."""
    span = dmc.SegmentedControl(
        id="sales-span", value="60", data=[{"value": value, "label": label} for value, label in SPANS], size="xs"
    )
    return page(
        PATH,
        [
            title("Sales", html.Div(span, className="hw-controls"), nav=subnav(PATH)),
            *common.head("sales-graph"),
            html.Div(
                card(graph("sales-by-minute", 420, "Revenue and orders by minute"), heading="Revenue and orders"),
                style={"marginBottom": "1rem"},
            ),
            html.Div(
                [
                    card(graph("sales-by-category", 380, "Revenue by category"), heading="Revenue by category"),
                    card(
                        graph("sales-by-country", 380, "Revenue by country"),
                        heading="Revenue by country",
                        beside=html.Span("all time", className="hw-muted"),
                    ),
                ],
                className="hw-columns",
            ),
            html.P(
                "The range counts back from the newest minute in the data. The dotted end is unfinished. "
                "Figures are provisional until the archive has confirmed a minute. Times are UTC.",
                className="hw-note",
            ),
        ],
    )


def _part(component: str, table: str, build: Any) -> Part:
    return Part(component, "figure", build, every=1.0, key=partial(common.version, STREAM, table))


def _by_minute(snapshot: Snapshot, view: View) -> Any:
    return by_minute(snapshot.streams[STREAM].table("per_minute").values(), theme_of(view.theme), view.span)


def _by_category(snapshot: Snapshot, view: View) -> Any:
    return by_category(snapshot.streams[STREAM].table("per_minute_category").values(), theme_of(view.theme), view.span)


def _by_country(snapshot: Snapshot, view: View) -> Any:
    rows = snapshot.streams[STREAM].table("by_country").values()
    return top_bars(rows, "country", theme_of(view.theme), most=15, shift=2)
