"""Believable messages of the events jobs' topics, without a job: what the dashboard's tests feed it with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from headwater.contracts.events import EVENTS
from tests.sales_messages import Produced, iso

SIZES = {"per_window": 10, "per_minute": 60}


def second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def figures() -> dict[str, Any]:
    return {
        "views": 0, "adds": 0, "removes": 0, "purchases": 0, "units": 0, "revenue": Decimal(0),
        "viewed": set(), "purchased": set(),
    }  # fmt: skip


@dataclass
class Visitors:
    """Writes what happens, and keeps the figures the aggregate query would."""

    offset: int = 0
    counts: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    products: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(figures))
    touched: set[tuple[str, ...]] = field(default_factory=set)

    def event(self, at: datetime, event_type: str, session_id: str, product_id: str = "P1", **given: Any) -> Produced:
        """A live record at this moment."""
        self.offset += 1
        record = {
            "event_id": f"v-{self.offset}", "event_time": iso(at), "event_type": event_type, "session_id": session_id,
            "product_id": product_id, "user_id": None, "product_name": f"Product {product_id}", "category": "Audio",
            "brand": None, "price": "10.0000", "quantity": 1, "flags": [], "extra": None,
            "topic": EVENTS.raw_topic, "partition": 0, "offset": self.offset,
            "kafka_timestamp": iso(datetime.now(UTC)),
        } | given  # fmt: skip
        self._count(record, at)
        return EVENTS.live_topic, session_id, record

    def reject(self, at: datetime, raw: str, reason: str) -> Produced:
        self.offset += 1
        value = {
            "stream": "events", "reasons": [reason], "raw": raw, "topic": EVENTS.raw_topic, "partition": 0,
            "offset": self.offset, "kafka_timestamp": iso(at), "rejected_at": iso(at),
        }  # fmt: skip
        return EVENTS.rejected_topic, f"{EVENTS.raw_topic}-0-{self.offset}", value

    def _count(self, record: dict[str, Any], at: datetime) -> None:
        for table, size in SIZES.items():
            start = datetime.fromtimestamp(at.timestamp() // size * size, UTC)
            key = (table, second(start), record["event_type"])
            self.counts[key] += 1
            self.touched.add(key)
        product = self.products[record["product_id"]]
        kind = record["event_type"]
        column = {"productview": "views", "addtobasket": "adds", "removefrombasket": "removes"}.get(kind, "purchases")
        product[column] += 1
        if kind == "productview":
            product["viewed"].add(record["session_id"])
        if kind == "purchase":
            product["purchased"].add(record["session_id"])
            product["units"] += record["quantity"]
            product["revenue"] += record["quantity"] * Decimal(record["price"])
        self.touched.add(("by_product", record["product_id"]))

    def processed(self, now: datetime, source: str = "aggregate") -> Iterator[Produced]:
        """The rows that have changed since the last call."""
        for key in sorted(self.touched):
            kind, *names = key
            value: dict[str, Any] = {"kind": kind, "updated_at": iso(now), "as_of": iso(now), "source": source}
            if kind == "by_product":
                row = self.products[names[0]]
                viewed, purchased = len(row["viewed"]), len(row["purchased"])
                value |= {name: row[name] for name in ("views", "adds", "removes", "purchases", "units")}
                value |= {
                    "product_id": names[0], "revenue": f"{row['revenue']:.4f}", "sessions_viewed": viewed,
                    "sessions_purchased": purchased, "conversion": purchased / viewed if viewed else None,
                }  # fmt: skip
            else:
                start = datetime.fromisoformat(names[0])
                value |= {
                    "window_start": iso(start), "window_end": iso(start + timedelta(seconds=SIZES[kind])),
                    "is_final": False, "event_type": names[1], "count": self.counts[kind, names[0], names[1]],
                }  # fmt: skip
            yield EVENTS.processed_topic, f"{kind}:{'|'.join(names)}", value
        self.touched.clear()
