"""A shop visit, folded from its events one by one: the funnel, the basket, and when it was left behind.

Pure and small: the archive folds with it what lies in `records`, the dashboard what comes by. Events are taken in
their order (`event_time`, then Kafka's partition and offset). Times are microseconds since 1970, money is in whole
units (:mod:`headwater.money`), so that a state is plain JSON and adding is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from headwater.contracts.events import ADD, PURCHASE, REMOVE, VIEW
from headwater.money import saturated

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """What a visit needs to know of an event. `price` is a unit's, in whole units of money."""

    at: int
    event_type: str
    product_id: str
    quantity: int = 1
    price: int | None = None


@dataclass(frozen=True)
class Patience:
    """How long a chain from view to purchase may take, and how long a silence leaves a basket behind."""

    funnel_us: int = 30 * MINUTE_US
    abandoned_us: int = 30 * MINUTE_US

    @classmethod
    def of_minutes(cls, funnel: float, abandoned: float) -> Patience:
        """As the settings spell it."""
        return cls(round(funnel * MINUTE_US), round(abandoned * MINUTE_US))


@dataclass
class Left:
    """A basket left behind."""

    since: int
    units: int
    value: int
    withdrawn_at: int | None = None


@dataclass
class Visit:
    """The state of a session; `basket` and `prices` are by product."""

    first: int = 0
    last: int = 0
    events: int = 0
    step: int = 0
    convert_us: int | None = None
    revenue: int = 0
    basket: dict[str, int] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)
    left: Left | None = None
    # The latest of each, and the latest view that an add followed. A later view leaves its chain more time, so of
    # all chains the one from the latest view reaches as far as any and is the quickest.
    last_view: int | None = None
    last_add: int | None = None
    last_purchase: int | None = None
    added_view: int | None = None

    @classmethod
    def load(cls, text: bytes) -> Visit:
        """From its JSON."""
        fields = orjson.loads(text)
        left = fields.pop("left")
        return cls(**fields, left=left and Left(**left))

    @property
    def units(self) -> int:
        """Units in the basket."""
        return sum(self.basket.values())

    @property
    def value(self) -> int:
        """The basket at the last known prices; a product without one adds nothing."""
        return saturated(sum(units * self.prices.get(product, 0) for product, units in self.basket.items()))

    def take(self, event: Event, patience: Patience) -> None:
        """The next event, none earlier than those before."""
        if self.events == 0:
            self.first = event.at
        elif self._is_silent(event.at, patience):
            self.left = self.leaving()
        self.last = event.at
        self.events += 1
        self._walk(event, patience)
        self._fill(event)

    def left_behind(self, clock: int, patience: Patience) -> Left | None:
        """The basket it left behind, as it is known at a time: the latest silence over an unpaid basket."""
        return self.leaving() if self._is_silent(clock, patience) else self.left

    def leaving(self) -> Left:
        """The basket as it is left behind if nothing comes any more."""
        return Left(self.last, self.units, self.value)

    def silent_at(self, patience: Patience) -> int | None:
        """When its basket counts as left behind unless something comes; none while the basket is empty."""
        return self.last + patience.abandoned_us if self.basket else None

    def _is_silent(self, clock: int, patience: Patience) -> bool:
        return bool(self.basket) and clock - self.last >= patience.abandoned_us

    def _walk(self, event: Event, patience: Patience) -> None:
        """The funnel. Events of the same time count in any order, as "at or after" says."""
        at = event.at
        if event.event_type == VIEW:
            self.last_view = at
            self.step = max(self.step, 1)
            if self.last_add == at:
                self._reach_added(patience)
        elif event.event_type == ADD:
            self.last_add = at
            self._reach_added(patience)
        elif event.event_type == PURCHASE:
            self.last_purchase = at
            self._reach_purchased(patience)

    def _reach_added(self, patience: Patience) -> None:
        if self.last_view is None or self.last_add is None or self.last_add - self.last_view > patience.funnel_us:
            return
        self.added_view = self.last_view
        self.step = max(self.step, 2)
        if self.last_purchase == self.last_add:
            self._reach_purchased(patience)

    def _reach_purchased(self, patience: Patience) -> None:
        if self.added_view is None or self.last_purchase is None:
            return
        took = self.last_purchase - self.added_view
        if took <= patience.funnel_us:
            self.step = 3
            self.convert_us = took if self.convert_us is None else min(self.convert_us, took)

    def _fill(self, event: Event) -> None:
        """The basket, what was paid, and what is withdrawn by it."""
        product, units = event.product_id, event.quantity
        if event.price is not None:
            self.prices[product] = event.price
        if event.event_type == ADD:
            self.basket[product] = self.basket.get(product, 0) + units
        elif event.event_type in (REMOVE, PURCHASE):
            rest = self.basket.get(product, 0) - units
            if rest > 0:
                self.basket[product] = rest
            else:
                self.basket.pop(product, None)
        if event.event_type == PURCHASE:
            self.revenue = saturated(self.revenue + units * (event.price or 0))
            if self.left is not None and self.left.withdrawn_at is None:
                self.left.withdrawn_at = event.at
