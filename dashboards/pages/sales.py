"""`/sales`: key figures, the table of products, the latest orders and the rejected records, live."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from dash import Dash, dcc, html

from dashboards.figures.sales import top_bars
from dashboards.figures.theme import theme_of
from dashboards.grid import grid, number, words
from dashboards.kpis import Kpis, kpis
from dashboards.pages import common
from dashboards.push import Part, View
from dashboards.shell import aria, card, graph, page, title
from dashboards.state import Row, Snapshot, StreamView
from dashboards.text import money, share, whole
from dashboards.untyped import register_page

PATH = "/sales"
STREAM = "sales"
ONE = "sale"
LIVE_ROWS = 30
NO_SALES = "No sales yet: make run-producers STREAMS=sales sends some."


def register(app: Dash) -> tuple[Part, ...]:
    """Register the page and its callbacks; gives the parts that are pushed to it."""
    register_page("sales", PATH, "Sales · Headwater", layout)
    common.callbacks(app, STREAM)
    versions = {name: partial(common.version, STREAM, name) for name in ("totals", "by_country", "per_minute")}
    return (
        *common.parts(STREAM, ONE),
        Part("sales-live", "rowData", live_rows),
        Part("sales-tiles", "children", tiles, every=0.5),
        Part("sales-products", "rowData", product_rows, every=1.0, key=versions["totals"]),
        Part("sales-top", "figure", partial(_bars, "totals", "product", 0), every=2.0, key=versions["totals"]),
        Part("sales-countries", "figure", partial(_bars, "by_country", "country", 2), every=2.0,
             key=versions["by_country"]),
    )  # fmt: skip


def layout() -> Any:
    """The page before its first push."""
    return page(
        PATH,
        [
            title("Sales", controls(), nav=subnav(PATH)),
            *common.head(STREAM),
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
                    common.rejected_card(STREAM),
                ],
                className="hw-columns",
            ),
            html.P(
                "Figures come within a second or two and are provisional until the archive confirms them, within a "
                "minute or so. Times are UTC. Money is as it was sent, whatever its currency.",
                className="hw-note",
            ),
            common.drawer(STREAM),
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
    return html.Div([common.period(STREAM), common.pause(STREAM)], className="hw-controls")


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
            number("orders", "Orders", flex=1, minWidth=90),
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


def tiles(snapshot: Snapshot, view: View) -> list[Any]:
    """Key figures of the period and their change."""
    stream = snapshot.streams[STREAM]
    figures = kpis(stream.table("per_minute").values(), view.minutes)
    current = figures.current
    has = figures.newest is not None
    return [
        _tile("Revenue", money(current.revenue) if has else "-", figures, "revenue", view.minutes),
        _tile("Orders", whole(current.orders) if has else "-", figures, "orders", view.minutes),
        _tile("Units", whole(current.units) if has else "-", figures, "units", view.minutes),
        _tile(
            "Average order",
            money(current.average_order_value) if current.orders else "-",
            figures, "average_order_value", view.minutes,
        ),
        _returns(stream),
    ]  # fmt: skip


def _tile(name: str, value: str, figures: Kpis, key: str, minutes: int) -> Any:
    return common.tile(f"{name}, last {minutes} min", value, common.compared(figures.changes[key], minutes))


def _returns(stream: StreamView) -> Any:
    totals = stream.table("totals").values()
    returned = sum(int(row["returns"]) for row in totals)
    sold = sum(int(row["quantity"]) for row in totals) + returned
    return common.tile(
        "Returned units, all time",
        whole(returned) if totals else "-",
        f"{share(returned / sold)} of {whole(sold)} sold" if sold else "none sold yet",
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
        }
        for row in snapshot.streams[STREAM].table("totals").values()
    ]


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest sales, newest first."""
    return common.live_rows(snapshot.streams[STREAM].live[:LIVE_ROWS], snapshot, _cells)


def _cells(row: Row) -> dict[str, Any]:
    price, quantity = Decimal(row["price"]), int(row["quantity"])
    return {
        "product": row["product"],
        "quantity": quantity,
        "price": float(price),
        "total": float(price * quantity),
        "country": row.get("country") or "",
        "store": row.get("store") or "",
    }


def _bars(table: str, key: str, shift: int, snapshot: Snapshot, view: View) -> Any:
    return top_bars(snapshot.streams[STREAM].table(table).values(), key, theme_of(view.theme), shift=shift)
