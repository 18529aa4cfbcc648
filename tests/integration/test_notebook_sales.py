"""notebooks/sales.ipynb runs from top to bottom: on small tables, on none, and with what is nasty in them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from headwater.contracts.sales import SALES
from tests.notebooks import Notebook

START = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def sale(offset: int, product: str, quantity: int, price: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}",
        "event_time": START + offset * MINUTE,
        "product": product,
        "quantity": quantity,
        "price": Decimal(price),
        "flags": [],
        "topic": SALES.raw_topic,
        "partition": 0,
        "offset": offset,
        "kafka_timestamp": START,
        "processed_at": START,
    } | fields


RECORDS = [
    sale(0, "TV", 1, "499.0000", order_id="a", category="Televisions", country="France"),
    sale(1, "cable", 3, "9.9000", order_id="a", category="Accessories", country="France"),
    sale(2, "cable", -1, "9.9000", order_id="b", category="Accessories"),
    sale(3, "sample", 1, "0.0000", flags=["event_time", "country"], extra='{"loyalty": 12}'),
    sale(4, "TV", 1, "499.0000", event_id="e0"),  # a repeat: counts once
]
REJECTED = [
    {
        "stream": "sales",
        "reasons": ["missing:product", "type:quantity"],
        "raw": "{}",
        "topic": SALES.raw_topic,
        "partition": 1,
        "offset": 0,
        "kafka_timestamp": START,
        "rejected_at": START,
    }
]
TOTALS = [
    {"product": "TV", "quantity": 1, "revenue": Decimal("499.0000"), "orders": 1, "returns": 0},
    {"product": "cable", "quantity": 2, "revenue": Decimal("19.8000"), "orders": 1, "returns": 1},
    {"product": "sample", "quantity": 1, "revenue": Decimal("0.0000"), "orders": 1, "returns": 0},
]
MINUTES = [
    {
        "window_start": START + n * MINUTE,
        "window_end": START + (n + 1) * MINUTE,
        "is_final": n == 0,
        "orders": 1,
        "units": 1,
        "revenue": Decimal(10 + n),
        "average_order_value": Decimal(10 + n),
    }
    for n in range(2)
]
COUNTRIES = [
    {"country": name, "quantity": 2, "revenue": Decimal("259.4000"), "orders": 1, "returns": 0}
    for name in ("France", "unknown")
]


NOTEBOOK = Notebook(
    SALES,
    charts=frozenset({"minute", "top", "countries", "basket", "returns", "price", "rhythm", "reasons", "flags"}),
    empty=("no data yet", "none came back", "none was rejected", "none was wrong"),
)


def test_it_draws_what_the_tables_hold(tmp_path):
    outputs = NOTEBOOK.run(
        tmp_path,
        records=RECORDS,
        rejected=REJECTED,
        totals=TOTALS,
        per_minute=MINUTES,
        by_country=COUNTRIES,
        per_minute_category=[],
    )

    assert "records 518.8000   totals 518.8000   difference 0.0000" in outputs["check"]
    assert NOTEBOOK.empty_charts(outputs) == set()
    assert "missing:product" in outputs["reasons"]
    assert "1 of 3 lines sold are free of charge" in outputs["free"]


def test_it_copes_with_tables_that_hold_only_what_was_rejected(tmp_path):
    outputs = NOTEBOOK.run(tmp_path, records=[], rejected=REJECTED)

    assert NOTEBOOK.empty_charts(outputs) == NOTEBOOK.charts - {"reasons"}
