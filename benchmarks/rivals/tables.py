"""The streams' tables as one keeps them by hand: a key, what is remembered of it, and what a record does to that.

The plain loop and Quix Streams run the same functions: what is measured is the engine around them. A memory is a dict
in the one, and a key's state in RocksDB in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from benchmarks.rivals.contracts import Record

WINDOW_US, MINUTE_US, HOUR_US = 10_000_000, 60_000_000, 3_600_000_000
MONEY_UNITS = 10_000

Row = dict[str, Any]


class Memory(Protocol):
    """What is remembered under a key, by name; its values are JSON's."""

    def get(self, name: str, default: Any = None) -> Any: ...
    def set(self, name: str, value: Any) -> None: ...


class InMemory(dict[str, Any]):
    """A memory that ends with its process."""

    set = dict.__setitem__


@dataclass(frozen=True)
class Table:
    """``key``: what the table is kept by; None where that is the topic's own key."""

    name: str
    key: Callable[[Record], str] | None
    step: Callable[[Memory, Record], Sequence[Row]]
    """Takes a record; gives the rows that changed, each with its ``kind`` and ``id``."""
    columns: tuple[str, ...] = ()
    """What it needs of a record, where it has a key of its own."""


def is_new(memory: Memory, name: str) -> bool:
    """Whether something is told for the first time."""
    if memory.get(name):
        return False
    memory.set(name, 1)
    return True


def units_of_money(price: Any) -> int:
    """Whole ten-thousandths."""
    return round(float(price) * MONEY_UNITS)


def spelled(units: int) -> str:
    return f"{units / MONEY_UNITS:.4f}"


def moment(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat()


def window(at: int, length: int) -> str:
    return moment(at - at % length)


# -- sales


def _order(memory: Memory, sale: Record) -> int:
    """1 for a line that is the first of its order."""
    return int(sale["quantity"] > 0 and is_new(memory, f"order:{sale.get('order_id') or sale['event_id']}"))


def _sold(kind: str, id_of: Callable[[Record], str]) -> Callable[[Memory, Record], Sequence[Row]]:
    def step(memory: Memory, sale: Record) -> Sequence[Row]:
        row = memory.get("row") or {"quantity": 0, "revenue": 0, "orders": 0, "returns": 0}
        quantity = sale["quantity"]
        row["quantity"] += quantity
        row["revenue"] += quantity * units_of_money(sale["price"])
        row["orders"] += _order(memory, sale)
        row["returns"] += max(-quantity, 0)
        memory.set("row", row)
        return [{"kind": kind, "id": id_of(sale), **row, "revenue": spelled(row["revenue"])}]

    return step


def _minute(kind: str, id_of: Callable[[Record], str]) -> Callable[[Memory, Record], Sequence[Row]]:
    def step(memory: Memory, sale: Record) -> Sequence[Row]:
        row = memory.get("row") or {"units": 0, "revenue": 0, "orders": 0}
        row["units"] += sale["quantity"]
        row["revenue"] += sale["quantity"] * units_of_money(sale["price"])
        row["orders"] += _order(memory, sale)
        memory.set("row", row)
        average = spelled(round(row["revenue"] / row["orders"])) if row["orders"] else None
        revenue = spelled(row["revenue"])
        return [{"kind": kind, "id": id_of(sale), **row, "revenue": revenue, "average_order_value": average}]

    return step


def _country(sale: Record) -> str:
    return sale.get("country") or "unknown"


def _sale_minute(sale: Record) -> str:
    return window(sale["at"], MINUTE_US)


def _category_minute(sale: Record) -> str:
    return f"{_sale_minute(sale)}|{sale.get('category') or 'unknown'}"


LINE = ("event_id", "order_id", "at", "quantity", "price")

SALES = (
    Table("totals", None, _sold("totals", lambda sale: str(sale["product"]))),
    Table("per_minute", _sale_minute, _minute("per_minute", _sale_minute), LINE),
    Table(
        "per_minute_category",
        _category_minute,
        _minute("per_minute_category", _category_minute),
        (*LINE, "category"),
    ),
    Table("by_country", _country, _sold("by_country", _country), (*LINE, "country")),
)


# -- shop events


def _counted(kind: str, key: Callable[[Record], str]) -> Table:
    def step(memory: Memory, event: Record) -> Sequence[Row]:
        count = memory.get("count", 0) + 1
        memory.set("count", count)
        return [{"kind": kind, "id": key(event), "count": count}]

    return Table(kind, key, step, ("at", "event_type"))


COUNTED = {"productview": "views", "addtobasket": "adds", "removefrombasket": "removes", "purchase": "purchases"}
SESSIONS = {"productview": "sessions_viewed", "purchase": "sessions_purchased"}


def _by_product(memory: Memory, event: Record) -> Sequence[Row]:
    zeros = dict.fromkeys((*COUNTED.values(), *SESSIONS.values(), "units", "revenue"), 0)
    row, kind = memory.get("row") or zeros, event["event_type"]
    row[COUNTED[kind]] += 1
    if kind in SESSIONS:
        row[SESSIONS[kind]] += is_new(memory, f"{kind}:{event['session_id']}")
    if kind == "purchase":
        units = event.get("quantity") or 1
        row["units"] += units
        row["revenue"] += units * units_of_money(event.get("price") or 0)
    memory.set("row", row)
    conversion = row["sessions_purchased"] / row["sessions_viewed"] if row["sessions_viewed"] else None
    figures = {**row, "revenue": spelled(row["revenue"]), "conversion": conversion}
    return [{"kind": "by_product", "id": event["product_id"], **figures}]


EVENTS = (
    _counted("per_window", lambda event: f"{window(event['at'], WINDOW_US)}|{event['event_type']}"),
    _counted("per_minute", lambda event: f"{window(event['at'], MINUTE_US)}|{event['event_type']}"),
    Table(
        "by_product",
        lambda event: str(event["product_id"]),
        _by_product,
        ("event_type", "session_id", "product_id", "price", "quantity"),
    ),
)
