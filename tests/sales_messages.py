"""Believable messages of the jobs' topics, without a job: what the dashboard's tests feed it with."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from headwater.contracts.sales import SALES

PRODUCTS = {
    "OLED TV 55": ("TV & Video", "1099.00"),
    "LED TV 43": ("TV & Video", "379.00"),
    "Soundbar 3.1": ("Audio", "249.90"),
    "Wireless Headphones": ("Audio", "179.00"),
    "Bluetooth Speaker": ("Audio", "69.95"),
    "Laptop 14": ("Computers", "899.00"),
    "Gaming Laptop 16": ("Computers", "1749.00"),
    "Mechanical Keyboard": ("Computers", "119.00"),
    "USB-C Hub 7-in-1": ("Accessories", "44.90"),
    "Smartphone 6.1": ("Phones", "729.00"),
    "Smartphone 6.7 Pro": ("Phones", "1199.00"),
    "Power Bank 20,000 mAh": ("Accessories", "39.90"),
    "Smartwatch": ("Wearables", "299.00"),
    "Fitness Band": ("Wearables", "59.00"),
    "Robot Vacuum": ("Home", "449.00"),
    "Coffee Machine": ("Home", "329.00"),
    "Mirrorless Camera": ("Photo", "1349.00"),
    "Action Camera": ("Photo", "279.00"),
    "4K Monitor 27": ("Computers", "419.00"),
    "Wi-Fi 7 Router": ("Network", "189.00"),
    "Mesh System (3 pack)": ("Network", "349.00"),
    "E-Reader": ("Tablets", "139.00"),
    "Tablet 11": ("Tablets", "499.00"),
    "NVMe SSD 2 TB": ("Computers", "149.00"),
}
COUNTRIES = ("Germany", "France", "Italy", "Spain", "Netherlands", "Poland", "Austria", "Sweden")
BAD = (
    ("not_json", '{"product": "TV", "quantity": 1, "pri'),
    ("missing:product", '{"quantity": 2, "price": 19.9}'),
    ("type:quantity", '{"product": "Soundbar 3.1", "quantity": "two", "price": 249.9}'),
    ("range:price", '{"product": "LED TV 43", "quantity": 1, "price": -379.0}'),
)

Produced = tuple[str, str | None, dict[str, Any]]
"""Topic, key, value."""


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


@dataclass
class Shop:
    """Sells at random, seeded, and keeps the figures the jobs would."""

    seed: int = 1
    offset: int = 0
    random: random.Random = field(init=False)
    totals: dict[tuple[str, ...], dict[str, Any]] = field(init=False)
    touched: set[tuple[str, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.totals = defaultdict(lambda: {"quantity": 0, "units": 0, "revenue": Decimal(0), "orders": 0, "returns": 0})

    def sale(self, at: datetime, **given: Any) -> Produced:
        """A live record at this moment."""
        product = (
            given.pop("product", None)
            or self.random.choices(list(PRODUCTS), weights=[len(PRODUCTS) - i for i in range(len(PRODUCTS))])[0]
        )
        category, price = PRODUCTS.get(product, ("Other", "10.00"))
        quantity = -1 if self.random.random() < 0.04 else self.random.choice((1, 1, 1, 2, 3))
        country = self.random.choices(COUNTRIES, weights=range(len(COUNTRIES), 0, -1))[0]
        self.offset += 1
        record = {
            "event_id": f"e-{self.seed}-{self.offset}", "event_time": iso(at), "product": product,
            "product_id": f"P{abs(hash(product)) % 9000 + 1000}", "quantity": quantity,
            "price": f"{Decimal(price):.4f}", "order_id": f"o-{self.offset // 2}", "category": category,
            "store": f"{country[:2].upper()}-0{self.random.randint(1, 4)}", "country": country,
            "customer_id": f"c-{self.random.randint(1, 900)}", "currency": "EUR", "flags": [], "extra": None,
            "topic": SALES.raw_topic, "partition": self.offset % 2, "offset": self.offset,
            "kafka_timestamp": iso(at),
        } | given  # fmt: skip
        self._count(record, at)
        return SALES.live_topic, record["product"], record

    def reject(self, at: datetime) -> Produced:
        reason, raw = self.random.choice(BAD)
        self.offset += 1
        value = {
            "stream": "sales", "reasons": [reason], "raw": raw, "topic": SALES.raw_topic,
            "partition": self.offset % 2, "offset": self.offset, "kafka_timestamp": iso(at), "rejected_at": iso(at),
        }  # fmt: skip
        return SALES.rejected_topic, f"{SALES.raw_topic}-{value['partition']}-{value['offset']}", value

    def _count(self, record: dict[str, Any], at: datetime) -> None:
        minute = iso(minute_of(at)).replace(".000", "")
        for key in (
            ("totals", record["product"]),
            ("by_country", record["country"]),
            ("per_minute", minute),
            ("per_minute_category", minute, record["category"]),
        ):
            row = self.totals[key]
            quantity = record["quantity"]
            row["quantity"] += quantity
            row["units"] += quantity
            row["revenue"] += quantity * Decimal(record["price"])
            row["orders"] += quantity > 0
            row["returns"] += -quantity if quantity < 0 else 0
            self.touched.add(key)

    def processed(self, now: datetime, source: str = "aggregate") -> Iterator[Produced]:
        """The rows that have changed since the last call."""
        for key in sorted(self.touched):
            kind, *names = key
            value: dict[str, Any] = {"kind": kind, "updated_at": iso(now), "as_of": iso(now), "source": source}
            row = self.totals[key]
            revenue = f"{row['revenue']:.4f}"
            if kind in ("totals", "by_country"):
                value |= {"quantity": row["quantity"], "returns": row["returns"]}
                value["product" if kind == "totals" else "country"] = names[0]
            else:
                start = datetime.fromisoformat(names[0])
                average = f"{row['revenue'] / row['orders']:.4f}" if row["orders"] else None
                value |= {
                    "window_start": iso(start), "window_end": iso(start + timedelta(minutes=1)),
                    "is_final": False, "units": row["units"], "average_order_value": average,
                }  # fmt: skip
                value |= {"category": names[1]} if len(names) > 1 else {}
            value |= {"revenue": revenue, "orders": row["orders"]}
            yield SALES.processed_topic, f"{kind}:{'|'.join(names)}", value
        self.touched.clear()

    def status(self, now: datetime, rate: float) -> Iterator[Produced]:
        for query, batch_ms, lag in (("live", 30_000, 3), ("aggregate", 690, 41), ("archive", 4_100, 600)):
            yield "headwater_status", f"query:{query}", {
                "query": query, "streams": ["sales"], "state": "running", "at": iso(now),
                "input_rows_per_second": rate, "processed_rows_per_second": rate * 1.7, "batch_ms": batch_ms,
                "batch_id": 12, "lag": lag,
            }  # fmt: skip
        yield "headwater_status", "stream:sales", {
            "stream": "sales", "at": iso(now), "records": self.offset, "rejected": self.offset // 60,
            "duplicates": 4, "late": 17,
        }  # fmt: skip


def encode(produced: Produced) -> tuple[str, bytes | None, bytes]:
    topic, key, value = produced
    return topic, key.encode() if key else None, json.dumps(value).encode()
