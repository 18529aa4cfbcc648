"""What each figure of the sales means, worked out with pandas from plain rows and the definitions alone."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pandas as pd

CENT_OF_A_CENT = Decimal("0.0001")
TABLES = ("totals", "per_minute", "per_minute_category", "by_country")


def counted(records: list[dict[str, Any]]) -> pd.DataFrame:
    """The first record of each event by partition and offset, with what DEFINITIONS counts of it."""
    frame = pd.DataFrame(records, dtype=object).sort_values(["partition", "offset"]).drop_duplicates("event_id")
    figures = pd.DataFrame(
        {
            "minute": [t.replace(second=0, microsecond=0).isoformat() for t in frame["event_time"]],
            "date": [t.date().isoformat() for t in frame["event_time"]],
            "product": frame["product"].tolist(),
            "category": [c or "unknown" for c in frame["category"]],
            "country": [c or "unknown" for c in frame["country"]],
            "quantity": frame["quantity"].astype(int).tolist(),
            "returns": [max(-q, 0) for q in frame["quantity"]],
            "order": [
                (order or event) if q > 0 else None
                for q, order, event in zip(frame["quantity"], frame["order_id"], frame["event_id"], strict=True)
            ],
        }
    )
    figures["revenue"] = [q * p for q, p in zip(frame["quantity"], frame["price"], strict=True)]
    return figures


def grouped(figures: pd.DataFrame, *keys: str) -> dict[tuple[str, ...], tuple[int, Decimal | None, int, int]]:
    """By key: quantity, revenue, orders, returns."""
    return {
        key: (
            int(rows["quantity"].sum()), held(sum(rows["revenue"], Decimal(0))), rows["order"].nunique(),
            int(rows["returns"].sum()),
        )
        for key, rows in figures.groupby(list(keys))
    }  # fmt: skip


def held(money: Decimal) -> Decimal | None:
    """None where DECIMAL(18,4) can't hold a sum: fourteen digits before the point."""
    return money if abs(money) < 10**14 else None


def average(revenue: Decimal | None, orders: int) -> Decimal | None:
    return (revenue / orders).quantize(CENT_OF_A_CENT, ROUND_HALF_UP) if orders and revenue is not None else None


Rows = dict[tuple[str, ...], tuple[Any, ...]]


def expected_tables(records: list[dict[str, Any]]) -> dict[str, Rows]:
    if not records:
        return {name: {} for name in (*TABLES, "daily")}
    figures = counted(records)
    minutes = {
        name: {
            key: (quantity, revenue, orders, average(revenue, orders))
            for key, (quantity, revenue, orders, _) in grouped(figures, *keys).items()
        }
        for name, keys in {"per_minute": ["minute"], "per_minute_category": ["minute", "category"]}.items()
    }
    return {
        "totals": grouped(figures, "product"),
        "by_country": grouped(figures, "country"),
        "daily": grouped(figures, "date", "product"),
        **minutes,
    }


KEYS = {
    "totals": ["product"],
    "by_country": ["country"],
    "daily": ["date", "product"],
    "per_minute": ["window_start"],
    "per_minute_category": ["window_start", "category"],
}


def keyed(name: str, rows: list[dict[str, Any]]) -> Rows:
    """A table's rows as ``expected_tables`` has them; times, numbers and money from whatever they are spelled in."""
    figures = ["quantity", "revenue", "orders", "returns"]
    if name.startswith("per_minute"):
        figures = ["units", "revenue", "orders", "average_order_value"]
    keys = [tuple(moment(row[k]) if k == "window_start" else row[k] for k in KEYS[name]) for row in rows]
    assert len(set(keys)) == len(keys), f"{name}: the same row twice"
    return {key: tuple(number(f, row[f]) for f in figures) for key, row in zip(keys, rows, strict=True)}


def moment(value: Any) -> str:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).isoformat()


def number(column: str, value: Any) -> Any:
    if value is None:
        return None
    return Decimal(value) if column in ("revenue", "average_order_value") else int(value)
