"""What a simulated visitor does, from the first look at a product to the last step.

A visit is planned whole when it begins, as a list of steps with the pauses between them, by its own random numbers:
so it is the same visit however many others go on beside it, and however fast.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from headwater.contracts.events import ADD, PURCHASE, REMOVE, VIEW
from producers.sales_catalogue import Product

LOOK_S = 5.0
"""Mean time between two steps of a person, beyond the first second."""
BOT_PAUSE_S = 0.5
"""Mean time between two views of a bot."""
BOT_VIEWS = range(200, 501)

LOOKERS_VIEWS, BUYERS_VIEWS = 6.0, 9.0
"""Mean number of products looked at, beyond the first."""
TASTE = 0.7
"""How often the next product is of the category that the visitor came for."""
FILLS = 0.3
"""Visitors who fill a basket and don't buy then."""
KEEPS = 0.7
"""Of those, who leave it behind full; the others empty it."""
RETURNS = 0.3
"""Of those, who come back for it."""
ADDS, REMOVES = 0.3, 0.1
"""How often a view is followed by a step with the basket, where there is an intention to fill one."""

BRANDS = {
    "Televisions": ("Lumora", "Vantix", "Halden"),
    "Phones": ("Vantix", "Nuvo", "Halden"),
    "Computers": ("Kestrel", "Nuvo", "Tarn"),
    "Components": ("Tarn", "Ferrox", "Kestrel"),
    "Audio": ("Ondes", "Halden", "Lumora"),
    "Gaming": ("Rook", "Ferrox"),
    "Photo": ("Oculi", "Vantix"),
    "Smart home": ("Hearth", "Nuvo"),
    "Accessories": ("Clip", "Ondes", "Hearth"),
}
"""Invented ones, by the categories of the sales catalogue."""


class Step(NamedTuple):
    """What comes next in a visit: after a pause in seconds, an event with a product by its place in the range."""

    pause_s: float
    event_type: str
    product: int
    units: int


@dataclass(frozen=True)
class Range:
    """What the shop sells: each product's fields in a record, and cumulated popularity, over all and by category."""

    products: Sequence[Product]
    fields: Sequence[dict[str, Any]]
    popularity: Sequence[float]
    by_category: dict[str, tuple[Sequence[int], Sequence[float]]]

    def drawn(self, rng: random.Random, category: str | None = None) -> int:
        """A product by its popularity, of a category or of all."""
        if category is None:
            return rng.choices(range(len(self.products)), cum_weights=self.popularity)[0]
        places, popularity = self.by_category[category]
        return rng.choices(places, cum_weights=popularity)[0]


def range_of(products: Sequence[Product]) -> Range:
    """The range as visits and records need it."""
    places: dict[str, list[int]] = {}
    for place, product in enumerate(products):
        places.setdefault(product.category, []).append(place)
    return Range(
        products=products,
        fields=[
            {
                "product_id": product.product_id,
                "product_name": product.name,
                "category": product.category,
                "brand": BRANDS[product.category][place % len(BRANDS[product.category])],
                "price": product.price,
            }
            for place, product in enumerate(products)
        ],
        popularity=_cumulated(products),
        by_category={name: (found, _cumulated([products[p] for p in found])) for name, found in places.items()},
    )


def person(
    rng: random.Random, range_: Range, conversion: float, patience_s: float, first: int | None = None
) -> Iterator[Step]:
    """A visitor who looks around and may fill a basket, who buys, leaves it behind, or comes back for it.

    `conversion` is the chance to buy at once. Who comes back does so after the `patience_s` in which the shop takes
    the basket for left behind. `first` is the product that is looked at first, otherwise any.
    """
    buys = rng.random() < conversion
    fills = buys or rng.random() < FILLS
    product = range_.drawn(rng) if first is None else first
    taste = range_.products[product].category
    basket: dict[int, int] = {}
    views = 1 + int(rng.expovariate(1 / (BUYERS_VIEWS if fills else LOOKERS_VIEWS)))
    for left in reversed(range(views)):
        yield Step(_pause(rng), VIEW, product, 1)
        if fills and (rng.random() < ADDS or not (left or basket)):
            # Cubed, so that most are of one unit.
            units = 1 + int(rng.random() ** 3 * range_.products[product].most_units)
            basket[product] = basket.get(product, 0) + units
            yield Step(_pause(rng), ADD, product, units)
        elif len(basket) > 1 and rng.random() < REMOVES:
            yield _taken_out(rng, basket)
        product = range_.drawn(rng, taste if rng.random() < TASTE else None)
    if not buys and rng.random() >= KEEPS:
        while basket:
            yield _taken_out(rng, basket)
    elif not buys and basket and rng.random() < RETURNS:
        yield Step(patience_s * rng.uniform(1.1, 2), VIEW, next(iter(basket)), 1)
        buys = True
    if buys:
        yield from (Step(0 if n else _pause(rng), PURCHASE, *line) for n, line in enumerate(basket.items()))


def bot(rng: random.Random, range_: Range) -> Iterator[Step]:
    """Something that looks at the range again and again, product by product, and puts nothing into a basket."""
    start = rng.randrange(len(range_.products))
    for n in range(rng.choice(BOT_VIEWS)):
        yield Step(BOT_PAUSE_S * rng.uniform(0.5, 1.5), VIEW, (start + n) % len(range_.products), 1)


def _pause(rng: random.Random) -> float:
    return 1 + rng.expovariate(1 / LOOK_S)


def _taken_out(rng: random.Random, basket: dict[int, int]) -> Step:
    """Some or all units of a product, out of the basket."""
    product = rng.choice(list(basket))
    units = rng.randint(1, basket[product])
    basket[product] -= units
    if basket[product] == 0:
        del basket[product]
    return Step(_pause(rng), REMOVE, product, units)


def _cumulated(products: Sequence[Product]) -> list[float]:
    return list(itertools.accumulate(product.popularity for product in products))
