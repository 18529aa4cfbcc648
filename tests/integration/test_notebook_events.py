"""notebooks/events.ipynb runs from top to bottom: on small tables, on none, and with what is nasty in them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from headwater.contracts.events import EVENTS
from tests.notebooks import Notebook

START = datetime(2019, 10, 1, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def event(offset: int, event_type: str, session: str, product: str, price: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}",
        "event_time": START + offset * MINUTE,
        "event_type": event_type,
        "session_id": session,
        "product_id": product,
        "price": price and Decimal(price),
        "quantity": 1,
        "flags": [],
        "topic": EVENTS.raw_topic,
        "partition": 0,
        "offset": offset,
        "kafka_timestamp": START,
        "processed_at": START,
    } | fields


PHONE = {"category": "electronics.smartphone", "product_name": "Phone"}
RECORDS = [
    event(0, "productview", "buys", "1", "10.0000", user_id="ann", **PHONE),
    event(1, "addtobasket", "buys", "1", "10.0000", quantity=2, **PHONE),
    event(2, "purchase", "buys", "1", "10.0000", quantity=2, **PHONE),
    event(3, "purchase", "buys", "2", "5.5000", quantity=None, flags=["quantity"]),  # counts as one unit
    event(4, "purchase", "buys", "3", None, extra='{"category_id": "9"}'),  # brings nothing that is known
    event(5, "purchase", "buys", "1", "10.0000", event_id="e2"),  # a repeat: counts once
    event(6, "productview", "leaves", "1", "10.0000", **PHONE),
    event(7, "addtobasket", "leaves", "1", "10.0000", **PHONE),
]


def session(name: str, first: int, last: int, events: int, step: int, **fields: Any) -> dict[str, Any]:
    return {
        "session_id": name,
        "first_event": START + first * MINUTE,
        "last_event": START + last * MINUTE,
        "events": events,
        "step": step,
        "seconds_to_convert": None,
        "basket_units": 0,
        "basket_value": Decimal(0),
        "revenue": Decimal(0),
    } | fields


SESSIONS = [
    session("buys", 0, 4, 5, 3, seconds_to_convert=120.0, revenue=Decimal("25.5000")),
    session("leaves", 6, 7, 2, 2, basket_units=1, basket_value=Decimal("10.0000")),
]


def left(name: str, value: str | None, withdrawn_at: datetime | None) -> dict[str, Any]:
    value_ = value and Decimal(value)
    return {
        "session_id": name,
        "since": START + 7 * MINUTE,
        "basket_units": 1,
        "basket_value": value_,
        "withdrawn_at": withdrawn_at,
    }


# A value that DECIMAL(18,4) can't hold is empty.
ABANDONED = [left("leaves", "10.0000", None), left("late", "7.2500", START + 60 * MINUTE), left("rich", None, None)]


def product(name: str, views: int, adds: int, purchases: int, revenue: str | None, viewed: int) -> dict[str, Any]:
    return {
        "product_id": name,
        "views": views,
        "adds": adds,
        "removes": 0,
        "purchases": purchases,
        "units": purchases,
        "revenue": revenue and Decimal(revenue),
        "sessions_viewed": viewed,
        "sessions_purchased": min(purchases, 1),
        "conversion": min(purchases, 1) / viewed if viewed else None,
    }


PRODUCTS = [
    product("1", 2, 2, 1, "20.0000", 2),
    product("2", 0, 0, 1, "5.5000", 0),
    product("3", 0, 0, 1, "0.0000", 0),
]
MINUTES = [
    {
        "window_start": START + n * MINUTE,
        "window_end": START + (n + 1) * MINUTE,
        "is_final": n == 0,
        "event_type": kind,
        "count": 1,
    }
    for n, kind in enumerate(["productview", "addtobasket", "purchase"])
]
REJECTED = [
    {
        "stream": "events",
        "reasons": ["missing:session_id", "range:event_type"],
        "raw": "{}",
        "topic": EVENTS.raw_topic,
        "partition": 1,
        "offset": 0,
        "kafka_timestamp": START,
        "rejected_at": START,
    }
]


NOTEBOOK = Notebook(
    EVENTS,
    charts=frozenset(
        {
            "minute",
            "funnel",
            "categories",
            "convert",
            "visits",
            "left-values",
            "left-time",
            "products",
            "reasons",
            "flags",
        }
    ),
    empty=(
        "no data yet",
        "nobody has bought yet",
        "nothing was bought yet",
        "no session of two events yet",
        "no basket was left behind",
        "none was rejected",
        "none was wrong",
    ),
)


def cells_of(output: str, row: str) -> list[str]:
    """The cells of a row of a printed table."""
    text = output.partition("'text/plain': ")[2].partition("'text/html'")[0]
    (line,) = (line for line in text.split("\\n") if line.startswith(row + "  "))
    return line.removeprefix(row).rstrip("', ").split()


def test_it_draws_what_the_tables_hold(tmp_path):
    outputs = NOTEBOOK.run(
        tmp_path,
        records=RECORDS,
        rejected=REJECTED,
        sessions=SESSIONS,
        abandoned=ABANDONED,
        by_product=PRODUCTS,
        per_minute=MINUTES,
        per_window=[],
    )

    assert NOTEBOOK.empty_charts(outputs) == set()
    for table in ("records", "sessions", "by_product"):
        assert cells_of(outputs["check"], table) == ["7", "25.5000"]
    assert cells_of(outputs["events"], "sessions that purchased") == ["1"]
    assert "'x': [2, 2, 1]" in outputs["funnel"]
    assert cells_of(outputs["category-table"], "electronics") == ["2", "2", "1"]
    assert "median 2.0" in outputs["convert"]
    assert cells_of(outputs["left"], "left behind") == ["2", "2", "10.00"]
    assert cells_of(outputs["left"], "withdrawn by a purchase") == ["1", "1", "7.25"]
    assert cells_of(outputs["left"], "open") == ["0", "0", "0.00"]
    assert "50.0 %" in outputs["products"]
    assert "missing:session_id" in outputs["reasons"]


def test_it_copes_with_tables_that_hold_only_views_and_what_was_rejected(tmp_path):
    outputs = NOTEBOOK.run(
        tmp_path,
        records=[event(0, "productview", "looks", "1", None)],
        rejected=REJECTED,
        sessions=[session("looks", 0, 0, 1, 1)],
        abandoned=[],
        by_product=[product("1", 1, 0, 0, "0.0000", 1)],
        per_minute=[],
    )

    assert NOTEBOOK.empty_charts(outputs) == NOTEBOOK.charts - {"funnel", "categories", "reasons"}
