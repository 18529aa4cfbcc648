"""Sales of a simulated electronics shop, and replay of recorded ones.

`python -m producers.sales` sells until it is stopped. The pace is `--rate`, day and night; the day's rhythm shows
in who sells and how much: each store by its own clock, with fuller baskets in the evening.
"""

from __future__ import annotations

import itertools
import random
import secrets
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from headwater.contracts.sales import SALES
from headwater.errors import run_main
from producers.replay import RawRecord
from producers.run import StreamProducer, run
from producers.sales_catalogue import Product, Store, products, stores
from producers.sales_replay import UCI_ONLINE_RETAIL

CURRENCY = "EUR"
CUSTOMERS = 5_000
RETURN_SHARE = 0.03
"""Orders that bring one earlier line back, in part or whole."""
KNOWN_CUSTOMER_SHARE = 0.8
DISCOUNTS = ("1", "0.95", "0.9", "0.8")
DISCOUNT_WEIGHTS = (88, 6, 4, 2)
REMEMBERED_LINES = 5_000
"""Lines that can still come back."""

BUSY = (2, 1, 1, 1, 1, 2, 4, 8, 18, 40, 60, 70, 78, 72, 66, 66, 72, 86, 100, 92, 70, 44, 20, 8)
"""How busy a store is in each hour of its own day; the website never sleeps."""
BASKET_SIZES = (1, 2, 3, 4, 5, 6)
DAY_BASKETS = (52, 24, 12, 7, 3, 2)
EVENING_BASKETS = (38, 26, 16, 10, 6, 4)
EVENING = range(17, 22)


@dataclass
class Shop:
    """The simulation's whole state; with the clock's readings it decides every record.

    `prices` holds each product's price by discount; `returnable` the lines that may still come back.
    """

    run_id: str
    rng: random.Random
    products: list[Product]
    popularity: list[float]
    prices: list[tuple[Decimal, ...]]
    stores: list[Store]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    open_order: deque[RawRecord] = field(default_factory=deque)
    returnable: list[RawRecord] = field(default_factory=list)
    hour: datetime | None = None
    activity: list[float] = field(default_factory=list)


def open_shop(seed: int | None) -> Shop:
    """A shop at its first sale.

    The same seed sells the same things in the same orders under the same `event_id`s, so a second run with it is
    a repeat and counts once. Without a seed each run is its own.
    """
    seed, run_id = (secrets.randbits(64), "") if seed is None else (seed, f"seed{seed}")
    range_ = products()
    return Shop(
        run_id=run_id or f"{seed:016x}",
        rng=random.Random(seed),
        products=range_,
        popularity=list(itertools.accumulate(p.popularity for p in range_)),
        prices=[tuple((p.price * Decimal(d)).quantize(Decimal("0.01")) for d in DISCOUNTS) for p in range_],
        stores=stores(),
    )


def next_record(shop: Shop, now: datetime) -> RawRecord:
    """The next line sold or brought back, at `now` (aware); a whole order's lines come one after another."""
    if not shop.open_order:
        if shop.returnable and shop.rng.random() < RETURN_SHARE:
            shop.open_order.append(_returned(shop))
        else:
            shop.open_order.extend(_ordered(shop, now))
    line = shop.open_order.popleft()
    return {"event_id": f"{shop.run_id}-{next(shop.numbers)}", "event_time": now, **line}


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """Endless sales, each at the time it is asked for."""
    shop = open_shop(seed)
    while True:
        yield next_record(shop, datetime.now(UTC))


def _ordered(shop: Shop, now: datetime) -> list[RawRecord]:
    """The lines of a new order, each of another product."""
    rng = shop.rng
    store = _busy_store(shop, now)
    is_evening = now.astimezone(store.zone).hour in EVENING
    (size,) = rng.choices(BASKET_SIZES, EVENING_BASKETS if is_evening else DAY_BASKETS)
    (discount,) = rng.choices(range(len(DISCOUNTS)), DISCOUNT_WEIGHTS)
    common: RawRecord = {
        "order_id": _order_id(rng),
        "store": store.name,
        "country": store.country,
        "currency": CURRENCY,
    }
    if rng.random() < KNOWN_CUSTOMER_SHARE:
        # Squared, so that few customers buy often and many seldom.
        common["customer_id"] = f"C{int(rng.random() ** 2 * CUSTOMERS):05d}"
    chosen = dict.fromkeys(rng.choices(range(len(shop.products)), cum_weights=shop.popularity, k=size))
    lines = [_line(shop, common, position, discount) for position in chosen]
    for line in lines:
        _remember(shop, line)
    return lines


def _line(shop: Shop, common: RawRecord, position: int, discount: int) -> RawRecord:
    product = shop.products[position]
    # Cubed, so that most lines are of one unit.
    units = 1 + int(shop.rng.random() ** 3 * product.most_units)
    return {
        "product": product.name,
        "quantity": units,
        "price": shop.prices[position][discount],
        "product_id": product.product_id,
        "category": product.category,
        **common,
    }


def _returned(shop: Shop) -> RawRecord:
    """A line brought back to where it was bought, at the price paid, never more units than were sold."""
    rng = shop.rng
    position = rng.randrange(len(shop.returnable))
    shop.returnable[position], shop.returnable[-1] = shop.returnable[-1], shop.returnable[position]
    sold = shop.returnable.pop()
    return {**sold, "order_id": _order_id(rng), "quantity": -rng.randint(1, sold["quantity"])}


def _remember(shop: Shop, line: RawRecord) -> None:
    if len(shop.returnable) < REMEMBERED_LINES:
        shop.returnable.append(line)
    else:
        shop.returnable[shop.rng.randrange(REMEMBERED_LINES)] = line


def _busy_store(shop: Shop, now: datetime) -> Store:
    """A store drawn by size and by its local hour; the shares are worked out once an hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    if hour != shop.hour:
        shop.hour = hour
        shop.activity = list(itertools.accumulate(s.size * BUSY[hour.astimezone(s.zone).hour] for s in shop.stores))
    return shop.rng.choices(shop.stores, cum_weights=shop.activity)[0]


def _order_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


PRODUCER = StreamProducer(stream=SALES, simulate=simulate, formats=(UCI_ONLINE_RETAIL,))

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
