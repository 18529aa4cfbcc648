"""REES46's shop events (the multi-category shop, the cosmetics shop, ...) as ours.

The columns, in any order: `event_time` (`2019-10-01 00:00:00 UTC`), `event_type` (`view`, `cart`, `remove_from_cart`,
`purchase`), `product_id`, `category_id`, `category_code`, `brand`, `price`, `user_id`, `user_session`. Others go out
under their own names, and so does `category_id`, which is unknown to the contract. A row is of one unit.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from headwater.contracts.events import ADD, PURCHASE, REMOVE, VIEW
from producers.replay import Cells, Format, RawRecord, instant, money

FIELDS = {"category_code": "category", "user_session": "session_id"}
EVENT_TYPES = {"view": VIEW, "cart": ADD, "remove_from_cart": REMOVE, "purchase": PURCHASE}
REQUIRED = ("event_time", "event_type", "product_id", "user_session")


def matches(header: Collection[str]) -> bool:
    """Whether a header holds the columns that every REES46 file has, and none that would be two of our fields."""
    return set(REQUIRED) <= set(header) and set(FIELDS.values()).isdisjoint(header)


def convert(cells: Cells, _path: Path) -> list[RawRecord]:
    """One event of a row; an unknown type goes out as it is written."""
    event: RawRecord = {FIELDS.get(name, name): text for name, text in cells.items() if text != ""}
    if "event_type" in event:
        event["event_type"] = EVENT_TYPES.get(event["event_type"], event["event_type"])
    if "price" in event:
        event["price"] = money(event["price"])
    if "event_time" in event:
        event["event_time"] = utc(event["event_time"])
    return [event]


@lru_cache(maxsize=4096)
def utc(text: str) -> datetime | str:
    """`2019-10-01 00:00:00 UTC`, or ISO 8601; else the text."""
    when = instant(text.strip().removesuffix(" UTC"))
    return when.astimezone(UTC) if isinstance(when, datetime) else text


REES46 = Format(
    name="REES46 shop events",
    columns="event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session",
    matches=matches,
    convert=convert,
)
