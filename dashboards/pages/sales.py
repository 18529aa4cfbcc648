"""`/sales`: key figures, the table of products, the latest orders and the rejected records, live."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import dash_mantine_components as dmc
import orjson
from dash import Dash, Input, Output, dcc, html

from dashboards.figures.sales import top_bars
from dashboards.figures.theme import theme_of
from dashboards.grid import grid, number, words
from dashboards.kpis import Kpis, kpis
from dashboards.pages.home import badge
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.state import Health, Row, Snapshot, StreamView
from dashboards.text import age, clock, duration, money, percent, rate, whole
from dashboards.untyped import clientside, register_page

PATH = "/sales"
STREAM = "sales"
LIVE_ROWS = 30
REJECTED_ROWS = 60
PERIODS = (5, 15, 60)
RAW_SHOWN = 2_000
"""Characters of a rejected value that go to the browser: sixty of a megabyte each would choke it."""

NO_SALES = "No sales yet: make run-producers STREAMS=sales sends some."
NO_REJECTS = "Nothing rejected. Good."


def register(app: Dash) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("sales", PATH, "Sales · Headwater", layout)
    _callbacks(app)
    versions = {name: partial(_version, name) for name in ("totals", "by_country", "per_minute")}
    return (
        Part("sales-state", "children", state, every=1.0, while_paused=True),
        Part("sales-banner", "children", banner, every=1.0, while_paused=True),
        Part("sales-live", "rowData", live_rows),
        Part("sales-tiles", "children", tiles, every=0.5),
        Part("sales-products", "rowData", product_rows, every=1.0, key=versions["totals"]),
        Part("sales-top", "figure", partial(_bars, "totals", "product", 0), every=2.0, key=versions["totals"]),
        Part("sales-countries", "figure", partial(_bars, "by_country", "country", 2), every=2.0,
             key=versions["by_country"]),
        Part("sales-rejected", "rowData", rejected_rows, every=0.5),
        Part("sales-rejected-count", "children", rejected_count, every=1.0),
    )  # fmt: skip


def layout() -> Any:
    """The page before its first push."""
    return page(
        PATH,
        [
            title("Sales", controls(), nav=subnav(PATH)),
            html.Div(id="sales-state", className="hw-state"),
            html.Div(id="sales-banner"),
            html.Div(id="sales-tiles", className="hw-tiles"),
            html.Div(
                [
                    card(products_grid(), heading="Products"),
                    html.Div(
                        [
                            card(graph("sales-top", 300, "Products by revenue"), heading="Top products"),
                            card(graph("sales-countries", 260, "Countries by revenue"), heading="Top countries"),
                        ],
                        className="hw-stack",
                    ),
                ],
                className="hw-columns",
            ),
            html.Div(
                [
                    card(
                        live_grid(),
                        heading="Latest sales",
                        beside=html.Span("click a row for the raw record", className="hw-muted"),
                    ),
                    card(
                        rejected_grid(),
                        heading="Rejected records",
                        beside=html.Span(id="sales-rejected-count", className="hw-muted"),
                    ),
                ],
                className="hw-columns",
            ),
            html.P(
                "≈ marks what is provisional: orders are counted approximately within a second, and confirmed "
                "by the archive within a minute or so. Times are UTC. Money is as it was sent, whatever its currency.",
                className="hw-note",
            ),
            drawer(),
        ],
    )


def subnav(path: str) -> Any:
    """Between the two pages about sales."""
    return html.Nav(
        [
            dcc.Link(label, href=href, className="hw-sublink" + (" here" if href == path else ""))
            for label, href in (("Now", "/sales"), ("Graphs", "/sales/graph"))
        ],
        className="hw-subnav",
        **aria("Sales pages"),
    )


def controls() -> Any:
    """Period of the key figures, and pause."""
    return html.Div(
        [
            dmc.SegmentedControl(
                id="sales-minutes",
                value="15",
                data=[{"value": str(n), "label": f"{n} min"} for n in PERIODS],
                size="xs",
            ),
            dmc.Button("❚❚ Pause", id="sales-pause", variant="default", size="xs", w=96),
        ],
        className="hw-controls",
    )


def products_grid() -> Any:
    """Sorted by revenue at first; the reader's own sort and filter stay."""
    return grid(
        "sales-products",
        [
            words(
                "product", "Product", flex=3, minWidth=112,
                floatingFilter=True, filterParams={"filterPlaceholder": "filter"},
            ),
            number("quantity", "Total quantity", flex=1, minWidth=88),
            number("revenue", "Total price", ",.2f", flex=1, minWidth=112, sort="desc"),
            number(
                "orders", "Orders", flex=1, minWidth=90,
                valueFormatter={"function": "(params.data.provisional ? '≈ ' : '') + d3.format(',d')(params.value)"},
            ),
            number("returns", "Returned", flex=1, minWidth=90),
        ],
        "params.data.product",
        644,
        NO_SALES,
    )  # fmt: skip


def live_grid() -> Any:
    """Newest on top; a click opens the record."""
    return grid(
        "sales-live",
        [
            words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
            words("product", "Product", flex=3, minWidth=120),
            number(
                "quantity",
                "Qty",
                width=74,
                minWidth=64,
                filter=False,
                cellClassRules={"hw-negative": "params.value < 0"},
            ),
            number("price", "Price", ",.2f", width=96, filter=False),
            number(
                "total", "Total", ",.2f", width=106, filter=False, cellClassRules={"hw-negative": "params.value < 0"}
            ),
            words("country", "Country", flex=2, minWidth=100),
            words("store", "Store", flex=2, minWidth=100),
        ],
        "params.data.id",
        400,
        NO_SALES,
        rowBuffer=0,
    )


def rejected_grid() -> Any:
    """Why, and what it was."""
    return grid(
        "sales-rejected",
        [
            words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
            words("reasons", "Reasons", flex=2, minWidth=120, tooltipField="reasons"),
            words("raw", "As it came", flex=3, minWidth=140),
        ],
        "params.data.id",
        400,
        NO_REJECTS,
    )


def drawer() -> Any:
    """A record in full."""
    return dmc.Drawer(
        id="sales-detail",
        title="Record",
        position="right",
        size="lg",
        children=[
            html.H3("As it came", className="hw-h2"),
            html.Pre(id="sales-detail-raw", className="hw-json"),
            html.H3("As it was read", className="hw-h2"),
            html.Pre(id="sales-detail-record", className="hw-json"),
            html.H3("Position in Kafka", className="hw-h2"),
            html.Pre(id="sales-detail-where", className="hw-json"),
        ],
    )


def _callbacks(app: Dash) -> None:
    button = [Output("sales-pause", "children"), Output("sales-pause", "variant")]
    clientside(app, "pause", button, [Input("sales-pause", "n_clicks")])
    minutes = [Input("sales-minutes", "value"), Input("sales-minutes", "id")]
    clientside(app, "control", [Output("sales-minutes", "name")], minutes)
    detail = [Output("sales-detail", "opened")]
    detail += [Output(f"sales-detail-{part}", "children") for part in ("raw", "record", "where")]
    clicks = [Input("sales-live", "cellClicked"), Input("sales-rejected", "cellClicked")]
    clientside(app, "detail", detail, clicks, prevent_initial_call=True)


def _version(table: str, snapshot: Snapshot) -> int:
    return snapshot.streams[STREAM].versions[table]


def state(snapshot: Snapshot, view: View) -> list[Any]:
    """State, age, rate and counts in a line; when paused, how many came since."""
    stream = snapshot.streams[STREAM]
    words_ = [f"data: {age(stream.age)}", f"{rate(stream.rate_10)}"]
    if stream.live_latency.samples:
        words_.append(f"latency {duration(stream.live_latency.p50)}")
    words_ += [f"late {whole(stream.late)}", f"doubled {whole(stream.duplicates)}"]
    paused = []
    if view.paused:
        since = stream.live_count - view.held.get(STREAM, stream.live_count)
        paused = [
            dmc.Badge(
                f"paused · {whole(since)} new since", color="yellow", variant="filled", className="hw-badge hw-paused"
            )
        ]
    return [badge(stream.health), *paused, *(html.Span(word, className="hw-muted hw-number") for word in words_)]


def banner(snapshot: Snapshot, view: View) -> Any:
    """Only where something is wrong: what, and what to do."""
    stream = snapshot.streams[STREAM]
    texts = {
        Health.CONNECTING: ("gray", "Connecting to Kafka …", ""),
        Health.CANNOT_CONNECT: ("red", f"Cannot connect to Kafka: {snapshot.link.error}", "make demo"),
        Health.NO_DATA: ("blue", "Connected to Kafka, but no sale has come yet.", "make demo"),
        Health.STOPPED: (
            "orange",
            f"No new data for {duration(stream.age)}. What is shown is the last that came.",
            "make run-producers STREAMS=sales",
        ),
    }
    if stream.health not in texts:
        return None
    colour, text, command = texts[stream.health]
    hint = [" ", html.Code(command), " starts what is missing."] if command else []
    return dmc.Alert([text, *hint], color=colour, variant="light", className="hw-alert")


def tiles(snapshot: Snapshot, view: View) -> list[Any]:
    """Key figures of the period and their change."""
    stream = snapshot.streams[STREAM]
    figures = kpis(stream.table("per_minute").values(), view.minutes)
    about = "≈ " if figures.provisional else ""
    current = figures.current
    has = figures.newest is not None
    return [
        _tile("Revenue", money(current.revenue) if has else "-", figures, "revenue", view.minutes),
        _tile("Orders", about + whole(current.orders) if has else "-", figures, "orders", view.minutes),
        _tile("Units", whole(current.units) if has else "-", figures, "units", view.minutes),
        _tile(
            "Average order",
            about + money(current.average_order_value) if current.orders else "-",
            figures, "average_order_value", view.minutes,
        ),
        _returns(stream),
    ]  # fmt: skip


def _tile(name: str, value: str, figures: Kpis, key: str, minutes: int) -> Any:
    change = figures.changes[key]
    if change is None:
        below: Any = "no earlier period to compare"
    else:
        side = "hw-up" if change >= 0.0005 else "hw-down" if change <= -0.0005 else ""
        below = [html.Span(percent(change), className=side), f" vs {minutes} min before"]
    return card(
        html.Div(f"{name}, last {minutes} min", className="hw-tile-name"),
        html.Div(value, className="hw-tile-value"),
        html.Div(below, className="hw-tile-change"),
    )


def _returns(stream: StreamView) -> Any:
    totals = stream.table("totals").values()
    returned = sum(int(row["returns"]) for row in totals)
    sold = sum(int(row["quantity"]) for row in totals) + returned
    return card(
        html.Div("Returned units, all time", className="hw-tile-name"),
        html.Div(whole(returned) if totals else "-", className="hw-tile-value"),
        html.Div(
            f"{returned / sold:.1%} of {whole(sold)} sold" if sold else "none sold yet", className="hw-tile-change"
        ),
    )


def product_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """A row a product."""
    return [
        {
            "product": row["product"],
            "quantity": int(row["quantity"]),
            "revenue": None if row["revenue"] is None else float(row["revenue"]),
            "orders": int(row["orders"]),
            "returns": int(row["returns"]),
            "provisional": row.get("source") == "aggregate",
        }
        for row in snapshot.streams[STREAM].table("totals").values()
    ]


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest sales, newest first, each with the record it came from.

    The record is text: only a click needs its fields, and the browser gets all of this ten times a second.
    """
    today = datetime.fromtimestamp(snapshot.at, UTC)
    return [_live_row(row, today) for row in snapshot.streams[STREAM].live[:LIVE_ROWS]]


def _live_row(row: Row, today: datetime) -> dict[str, Any]:
    price, quantity = Decimal(row["price"]), int(row["quantity"])
    return {
        "id": f"{row.get('topic')}-{row.get('partition')}-{row.get('offset')}",
        "time": clock(row.get("event_time"), today),
        "product": row["product"],
        "quantity": quantity,
        "price": float(price),
        "total": float(price * quantity),
        "country": row.get("country") or "",
        "store": row.get("store") or "",
        "record": orjson.dumps(row).decode(),
    }


def rejected_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest rejected records, newest first."""
    today = datetime.fromtimestamp(snapshot.at, UTC)
    return [
        {
            "id": f"{row.get('topic')}-{row.get('partition')}-{row.get('offset')}",
            "time": clock(row.get("kafka_timestamp"), today),
            "reasons": ", ".join(row.get("reasons") or ()),
            "raw": (row.get("raw") or "")[:200],
            "record": orjson.dumps({**row, "raw": _short(row.get("raw") or "")}).decode(),
        }
        for row in snapshot.streams[STREAM].rejected[:REJECTED_ROWS]
    ]


def _short(raw: str) -> str:
    return raw if len(raw) <= RAW_SHOWN else raw[:RAW_SHOWN] + " …"


def rejected_count(snapshot: Snapshot, view: View) -> str:
    """How many in all, as far as is known."""
    return f"{whole(snapshot.streams[STREAM].rejected_count)} in all"


def _bars(table: str, key: str, shift: int, snapshot: Snapshot, view: View) -> Any:
    return top_bars(snapshot.streams[STREAM].table(table).values(), key, theme_of(view.theme), shift=shift)
