"""What each figure of shop events means, worked out the long way from plain rows.

Written from the definitions alone and knowing nothing of the code under test: every chain is tried, every basket
is walked through from its beginning.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

HALF_AN_HOUR = timedelta(minutes=30)
VIEW, ADD, REMOVE, PURCHASE = "productview", "addtobasket", "removefrombasket", "purchase"


@dataclass(frozen=True)
class Step:
    """An event in its session; ``place`` is (partition, offset)."""

    at: datetime
    place: tuple[int, int]
    kind: str
    product: str
    units: int = 1
    price: Decimal | None = None


def steps_of(records: Iterable[dict[str, Any]]) -> dict[str, list[Step]]:
    """Rows of ``records`` -> each session's events in their order; an event_id counts once, first in Kafka's order."""
    seen: set[str] = set()
    sessions: dict[str, list[Step]] = {}
    for row in sorted(records, key=lambda row: (row["partition"], row["offset"])):
        if row["event_id"] in seen:
            continue
        seen.add(row["event_id"])
        units = 1 if row["quantity"] is None else row["quantity"]
        step = Step(
            row["event_time"],
            (row["partition"], row["offset"]),
            row["event_type"],
            row["product_id"],
            units,
            row["price"],
        )
        sessions.setdefault(row["session_id"], []).append(step)
    return {name: sorted(steps, key=lambda s: (s.at, s.place)) for name, steps in sessions.items()}


def funnel(steps: list[Step]) -> tuple[int, float | None]:
    """The greatest step of any chain, and the least seconds of a whole one."""
    views = [s.at for s in steps if s.kind == VIEW]
    adds = [s.at for s in steps if s.kind == ADD]
    purchases = [s.at for s in steps if s.kind == PURCHASE]
    reached = 1 if views else 0
    seconds = []
    for view in views:
        for add in adds:
            if view <= add <= view + HALF_AN_HOUR:
                reached = max(reached, 2)
                seconds += [(p - view).total_seconds() for p in purchases if add <= p <= view + HALF_AN_HOUR]
    return (3, min(seconds)) if seconds else (reached, None)


Basket = dict[str, int]


def value(basket: Basket, prices: dict[str, Decimal]) -> Decimal:
    return sum((units * prices.get(product, Decimal(0)) for product, units in basket.items()), Decimal(0))


def baskets(
    steps: list[Step], clock: datetime, patience: timedelta = HALF_AN_HOUR
) -> tuple[Basket, Decimal, Decimal, tuple[Any, ...] | None]:
    """The basket at the end, its value, what was paid, and the basket left behind: since, units, value, withdrawn."""
    basket: Basket = {}
    prices: dict[str, Decimal] = {}
    paid = Decimal(0)
    left: tuple[Any, ...] | None = None
    for n, step in enumerate(steps):
        before = steps[n - 1].at if n else step.at
        if step.at - before >= patience and any(basket.values()):
            left = (before, sum(basket.values()), value(basket, prices), None)
        if step.price is not None:
            prices[step.product] = step.price
        held = basket.get(step.product, 0)
        if step.kind == ADD:
            basket[step.product] = held + step.units
        elif step.kind in (REMOVE, PURCHASE):
            basket[step.product] = max(held - step.units, 0)
        if step.kind == PURCHASE:
            paid += step.units * (step.price or Decimal(0))
            if left and left[3] is None:
                left = (*left[:3], step.at)
    if any(basket.values()) and clock - steps[-1].at >= patience:
        left = (steps[-1].at, sum(basket.values()), value(basket, prices), None)
    return basket, value(basket, prices), paid, left


Rows = dict[Any, tuple[Any, ...]]


def expected_tables(
    records: list[dict[str, Any]], clock: datetime | None = None, patience: timedelta = HALF_AN_HOUR
) -> dict[str, Rows]:
    """Each table's rows by key. ``clock``: the greatest event time if not given; ``patience``: of silence, until a
    basket counts as left behind.
    """
    if not records:
        return {name: {} for name in ("sessions", "abandoned", "per_window", "per_minute", "by_product")}
    now = clock or max(row["event_time"] for row in records)
    sessions = steps_of(records)
    tables: dict[str, Rows] = {"sessions": {}, "abandoned": {}}
    for name, steps in sessions.items():
        step, seconds = funnel(steps)
        basket, worth, paid, left = baskets(steps, now, patience)
        tables["sessions"][name] = (
            steps[0].at, steps[-1].at, len(steps), step, seconds, sum(basket.values()), worth, paid,
        )  # fmt: skip
        if left:
            tables["abandoned"][name] = left
    return tables | counts(sessions)


def counts(sessions: dict[str, list[Step]]) -> dict[str, Rows]:
    """The tables that don't care for order."""
    frame = pd.DataFrame(
        [
            (name, s.at, s.kind, s.product, s.units, s.units * (s.price or Decimal(0)))
            for name, steps in sessions.items()
            for s in steps
        ],
        columns=["session", "at", "kind", "product", "units", "money"],
    )
    tables: dict[str, Rows] = {}
    for table, length in (("per_window", "10s"), ("per_minute", "1min")):
        sizes = frame.groupby([frame["at"].dt.floor(length), "kind"]).size()
        tables[table] = {(start.to_pydatetime(), kind): (int(n),) for (start, kind), n in sizes.items()}
    tables["by_product"] = {}
    for product, rows in frame.groupby("product"):
        of = {kind: rows[rows["kind"] == kind] for kind in (VIEW, ADD, REMOVE, PURCHASE)}
        viewed, bought = of[VIEW]["session"].nunique(), of[PURCHASE]["session"].nunique()
        tables["by_product"][product] = (
            *(len(of[kind]) for kind in (VIEW, ADD, REMOVE, PURCHASE)),
            int(of[PURCHASE]["units"].sum()), sum(of[PURCHASE]["money"], Decimal(0)), viewed, bought,
            bought / viewed if viewed else None,
        )  # fmt: skip
    return tables


COLUMNS = {
    "sessions": [
        "first_event", "last_event", "events", "step", "seconds_to_convert", "basket_units", "basket_value", "revenue",
    ],
    "abandoned": ["since", "basket_units", "basket_value", "withdrawn_at"],
    "per_window": ["count"],
    "per_minute": ["count"],
    "by_product": [
        "views", "adds", "removes", "purchases", "units", "revenue", "sessions_viewed", "sessions_purchased",
        "conversion",
    ],
}  # fmt: skip
KEYS = {"sessions": "session_id", "abandoned": "session_id", "by_product": "product_id"}


def keyed(table: str, rows: Iterable[dict[str, Any]]) -> Rows:
    """A table's rows, from Delta or from JSON, as :func:`expected_tables` has them."""
    found: Rows = {}
    for row in rows:
        key = row[KEYS[table]] if table in KEYS else (_read("window_start", row["window_start"]), row["event_type"])
        assert key not in found, f"{table}: {key} twice"
        found[key] = tuple(_read(column, row[column]) for column in COLUMNS[table])
    return found


def _read(column: str, cell: Any) -> Any:
    if isinstance(cell, str) and column in ("revenue", "basket_value"):
        return Decimal(cell)
    return datetime.fromisoformat(cell) if isinstance(cell, str) else cell
