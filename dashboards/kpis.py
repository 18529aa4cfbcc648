"""Key figures over the last minutes of the data, against the equal period before. Pure.

Periods are counted back from the newest minute in the data, not from the wall clock, so that recorded data of
2010 reads like today's. The newest minute is unfinished: the value shown includes it, the change does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from dashboards.text import change

Row = Mapping[str, Any]
ZERO = Decimal(0)


@dataclass(frozen=True)
class Sum:
    """Sales of a period."""

    revenue: Decimal = ZERO
    orders: int = 0
    units: int = 0

    @property
    def average_order_value(self) -> Decimal:
        return self.revenue / self.orders if self.orders else ZERO

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.revenue + other.revenue, self.orders + other.orders, self.units + other.units)


@dataclass(frozen=True)
class Kpis:
    """Figures of the last minutes, and their changes; a change is none without an earlier period."""

    current: Sum
    changes: Mapping[str, float | None]
    newest: datetime | None


def window_start(row: Row) -> datetime:
    """When a row's window begins."""
    return datetime.fromisoformat(row["window_start"])


def sum_of(row: Row) -> Sum:
    """A minute's row as numbers. A sum too large for its type comes as null and adds nothing here."""
    return Sum(Decimal(row["revenue"] or 0), int(row["orders"]), int(row["units"]))


def kpis(per_minute: Iterable[Row], minutes: int) -> Kpis:
    """The last `minutes` minutes; `per_minute` in any order."""
    by_start = {window_start(row): row for row in per_minute}
    if not by_start:
        return Kpis(Sum(), dict.fromkeys(("revenue", "orders", "units", "average_order_value")), None)
    newest, oldest = max(by_start), min(by_start)

    def period(first: datetime) -> list[Row]:
        starts = (first + timedelta(minutes=i) for i in range(minutes))
        return [by_start[start] for start in starts if start in by_start]

    shown = period(newest - timedelta(minutes=minutes - 1))
    complete = sum(map(sum_of, period(newest - timedelta(minutes=minutes))), Sum())
    begin = newest - timedelta(minutes=2 * minutes)
    before = sum(map(sum_of, period(begin)), Sum()) if oldest <= begin else Sum()
    return Kpis(
        current=sum(map(sum_of, shown), Sum()),
        changes={
            "revenue": change(complete.revenue, before.revenue),
            "orders": change(complete.orders, before.orders),
            "units": change(complete.units, before.units),
            "average_order_value": change(complete.average_order_value, before.average_order_value),
        },
        newest=newest,
    )
