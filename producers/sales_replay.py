"""UCI Online Retail (I and II) as sales.

The columns, in any order: `InvoiceNo` or `Invoice`, `StockCode`, `Description`, `Quantity`, `InvoiceDate`,
`UnitPrice` or `Price`, `CustomerID` or `Customer ID`, `Country`. Others go out under their own names.

`InvoiceDate` names no zone. It is taken as UTC, though the shop is British, so that each figure equals a plain
reading of the file (see docs/decisions/0021-replay.md).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from producers.replay import Cells, Format, RawRecord, instant, money, whole

FIELDS = {
    "InvoiceNo": "order_id",
    "Invoice": "order_id",
    "StockCode": "product_id",
    "Description": "product",
    "Quantity": "quantity",
    "InvoiceDate": "event_time",
    "UnitPrice": "price",
    "Price": "price",
    "CustomerID": "customer_id",
    "Customer ID": "customer_id",
    "Country": "country",
}
REQUIRED = ("order_id", "product", "quantity", "event_time", "price")

_AMERICAN = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}(:\d{2})?", re.ASCII)
_WHOLE_AS_FLOAT = re.compile(r"\d+\.0+", re.ASCII)


def matches(header: Collection[str]) -> bool:
    """Whether a header holds, under either name, the columns that every UCI file has."""
    return set(REQUIRED) <= {FIELDS[name] for name in header if name in FIELDS}


def convert(cells: Cells, _path: Path) -> list[RawRecord]:
    """One sale of a row; an invoice that begins with C is a cancellation, its quantity negative."""
    sale: RawRecord = {FIELDS.get(name, name): text for name, text in cells.items() if text != ""}
    if "quantity" in sale:
        sale["quantity"] = whole(sale["quantity"])
        is_cancelled = sale.get("order_id", "").strip().upper().startswith("C")
        if is_cancelled and isinstance(sale["quantity"], int):
            sale["quantity"] = -abs(sale["quantity"])
    if "price" in sale:
        sale["price"] = money(sale["price"])
    if "event_time" in sale:
        sale["event_time"] = invoice_time(sale["event_time"])
    if _WHOLE_AS_FLOAT.fullmatch(sale.get("customer_id", "")):
        sale["customer_id"] = sale["customer_id"].partition(".")[0]
    return [sale]


@lru_cache(maxsize=4096)
def invoice_time(text: str) -> datetime | str:
    """`2010-12-01 08:26:00`, or month first as in `12/1/2010 8:26`, as UTC; else the text."""
    text_ = text.strip()
    if not _AMERICAN.fullmatch(text_):
        return instant(text)
    try:
        pattern = "%m/%d/%Y %H:%M:%S" if text_.count(":") == 2 else "%m/%d/%Y %H:%M"
        return datetime.strptime(text_, pattern).replace(tzinfo=UTC)
    except ValueError:
        return text


UCI_ONLINE_RETAIL = Format(
    name="UCI Online Retail",
    columns="InvoiceNo (or Invoice), StockCode, Description, Quantity, InvoiceDate, UnitPrice (or Price), "
    "CustomerID (or Customer ID), Country",
    matches=matches,
    convert=convert,
)
