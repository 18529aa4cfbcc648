"""Visits to a simulated shop, and replay of recorded ones.

`python -m producers.events` has visitors until it is stopped. The shop is that of the sales stream: the same products
under the same ids. The pace is `--rate`; how many visitors are in the shop follows from it, since each takes their
time: some 100 at 20 records a second, and never more than MOST_INSIDE.
"""

from __future__ import annotations

import random
import secrets
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush

from faker import Faker

from headwater.contracts.events import EVENTS
from headwater.errors import run_main
from headwater.settings import EventsSettings, load_settings
from producers.events_replay import REES46
from producers.events_visits import Range, Step, bot, person, range_of
from producers.replay import RawRecord
from producers.run import StreamProducer, run
from producers.sales_catalogue import products

MOST_INSIDE = 2_000
"""Visitors in the shop at once. From some 400 records a second on it is full, and time in it goes faster."""
MOST_AWAY = 10_000
"""Visitors who may still come back for their basket; when more leave one behind, those don't."""

USERS = 1_000
KNOWN_SHARE = 0.7
"""Visits, other than bots', whose user is known."""

CAMPAIGN_VISITS = 150
BEFORE_FIRST_CAMPAIGN = 100
"""Visits; at 20 records a second a minute or so."""
CAMPAIGN_EVERY = 4
"""Records from one visitor that a campaign brings to the next; at other times there are about ten."""


@dataclass
class Visit:
    """A visit under way; `steps` are those to come."""

    number: int
    session_id: str
    user_id: str | None
    steps: deque[Step]
    events: int = 0


Due = tuple[float, int, Visit]
"""When a visit's next step is due, in seconds since 1970, and its number to decide between equals."""


@dataclass
class Shop:
    """The simulation's whole state; with the clock's readings it decides every record.

    `ahead_s` is how far time inside is ahead of the clock, by which those who are `away` come back.
    """

    run_id: str
    settings: EventsSettings
    range: Range
    users: list[str]
    inside: list[Due] = field(default_factory=list)
    away: list[Due] = field(default_factory=list)
    ahead_s: float = 0.0
    opened: int = 0
    records_since_opened: int = 0


def open_shop(seed: int | None, settings: EventsSettings) -> Shop:
    """A shop without visitors.

    The same seed has the same visits, step for step under the same ids, so a second run with it is a repeat and
    counts once; only how they overlap depends on the clock. Without a seed each run is its own.
    """
    names = Faker()
    names.seed_instance(0)  # the same users in every run, as a shop has them
    return Shop(
        run_id=f"{secrets.randbits(64):016x}" if seed is None else f"seed{seed}",
        settings=settings,
        range=range_of(products()),
        users=[names.user_name() for _ in range(USERS)],
    )


def next_record(shop: Shop, now: datetime) -> RawRecord:
    """What happens in the shop at `now` (aware)."""
    clock = now.timestamp()
    visit = _next_visit(shop, clock)
    step = visit.steps.popleft()
    visit.events += 1
    if visit.steps:
        _await(shop, visit, clock)
    record: RawRecord = {
        "event_id": f"{shop.run_id}-{visit.number}.{visit.events}",
        "event_time": now,
        "event_type": step.event_type,
        "session_id": visit.session_id,
        **shop.range.fields[step.product],
        "quantity": step.units,
    }
    if visit.user_id is not None:
        record["user_id"] = visit.user_id
    return record


def simulate(seed: int | None) -> Iterator[RawRecord]:
    """Endless events, each at the time it is asked for."""
    shop = open_shop(seed, load_settings().events)
    while True:
        yield next_record(shop, datetime.now(UTC))


def planned(shop: Shop, number: int) -> Visit:
    """A visit by its number in the run, which alone decides what it will be."""
    rng = random.Random(f"{shop.run_id}-{number}")
    session_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    if rng.random() < shop.settings.bot_share:
        return Visit(number, session_id, None, deque(bot(rng, shop.range)))
    # Squared, so that few users come often and many seldom.
    user = shop.users[int(rng.random() ** 2 * USERS)] if rng.random() < KNOWN_SHARE else None
    patience_s = shop.settings.abandoned_minutes * 60
    steps = person(rng, shop.range, shop.settings.conversion, patience_s, _campaigned(shop, number))
    return Visit(number, session_id, user, deque(steps))


def _next_visit(shop: Shop, clock: float) -> Visit:
    """Whose step is next: who comes back, whoever is due longest, else somebody new."""
    shop.records_since_opened += 1
    if shop.away and shop.away[0][0] <= clock:
        return heappop(shop.away)[2]
    is_full = len(shop.inside) >= MOST_INSIDE
    is_rush = shop.records_since_opened >= CAMPAIGN_EVERY and _campaign(shop, shop.opened + 1) is not None
    is_due = bool(shop.inside) and shop.inside[0][0] <= clock + shop.ahead_s
    if not is_full and (is_rush or not is_due):
        shop.opened += 1
        shop.records_since_opened = 0
        return planned(shop, shop.opened)
    due, _, visit = heappop(shop.inside)
    # A full shop at a high rate: nobody is due yet, so time inside moves on to the first who will be.
    shop.ahead_s = max(shop.ahead_s, due - clock)
    return visit


def _await(shop: Shop, visit: Visit, clock: float) -> None:
    """Put a visit where its next step will be found; a pause as long as the shop's patience is spent outside."""
    pause_s = visit.steps[0].pause_s
    if pause_s < shop.settings.abandoned_minutes * 60:
        heappush(shop.inside, (clock + shop.ahead_s + pause_s, visit.number, visit))
    elif len(shop.away) < MOST_AWAY:
        heappush(shop.away, (clock + pause_s, visit.number, visit))


def _campaign(shop: Shop, number: int) -> int | None:
    """Which campaign, counted from 0, brings a visit; none for most."""
    if shop.settings.campaign_share == 0:
        return None
    period = round(CAMPAIGN_VISITS / shop.settings.campaign_share)
    campaign, position = divmod(number - 1 - BEFORE_FIRST_CAMPAIGN, period)
    return campaign if campaign >= 0 and position < CAMPAIGN_VISITS else None


def _campaigned(shop: Shop, number: int) -> int | None:
    """The product that a visit comes to see because of a campaign."""
    campaign = _campaign(shop, number)
    return None if campaign is None else shop.range.drawn(random.Random(f"{shop.run_id}-campaign-{campaign}"))


PRODUCER = StreamProducer(stream=EVENTS, simulate=simulate, formats=(REES46,))

if __name__ == "__main__":
    run_main(lambda: run(PRODUCER))
