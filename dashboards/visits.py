"""Visits as they stand this second: live shop events folded one by one, in bounded memory.

The archive folds the same events with the same :class:`Visit`, exactly and for ever, but only every half minute;
this is for the eye. Figures count back from the newest event in the data (a replay of 2019 reads like today), in
windows of 10 s, so that each can be asked as of now and as of a period ago. Only a basket left behind goes by the
wall clock: nothing else tells that nothing came.

Records come in from the feed's thread, the questions from the server's: a lock keeps them apart, and the answer to
:meth:`VisitTracker.view` is kept for half a second however many ask.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import NamedTuple

import structlog

from dashboards.state import Latest, Row
from dashboards.text import change
from dashboards.windows import Place, Standing, Sums, Trend
from headwater.contracts.events import EVENT_TYPES, PURCHASE, REMOVE
from headwater.contracts.sessions import Event, Left, Patience, Visit
from headwater.ledger import moment
from headwater.money import MONEY_UNITS, money

log = structlog.get_logger(__name__)

PERIODS = (5, 15, 60)
"""Minutes a page can look back."""
TREND_MINUTES = ACTIVE_MINUTES = 5
MEMORY_MINUTES = 125
"""Two of the longest period, and a little: what is older is forgotten, and not read back at a start."""
WINDOW_SECONDS = 10
PER_MINUTE = 60 // WINDOW_SECONDS
WINDOW_US = WINDOW_SECONDS * 1_000_000
FORGET_EVERY = 60
"""Windows between two clearings: each looks at every window there is."""

MOST_SESSIONS = 50_000
MOST_EVENTS = 200
"""Of a session; one with more is a robot's. Its events are then folded as they come, whatever their order."""
MOST_IDS = 200_000
"""Event ids known again: 40 s at 5,000/s, more than the live query says twice after a crash."""
MOST_PRODUCTS = 20_000
MOST_CATEGORIES = 200
MOST_TRENDING = 10_000
KEEP_LATEST = 200
"""Records of each type that a filter chooses from."""
LEAST_SURPLUS = 1.0
"""What rises by less is as likely to be chance."""
SHOWN_BASKETS = 60
SHOWN_TRENDING = 8
VIEW_SECONDS = 0.5


class Product(NamedTuple):
    """What the records said of a product last."""

    name: str | None
    category: str | None
    brand: str | None


class Rising(NamedTuple):
    """A product's events (but removals) in the last five minutes and the five before; none: not known."""

    product_id: str
    now: int
    before: int | None


class Basket(NamedTuple):
    """A basket left behind. Money is none where DECIMAL(18,4) cannot hold it."""

    session_id: str
    since: datetime
    units: int
    value: Decimal | None
    withdrawn_at: datetime | None


@dataclass(frozen=True)
class Funnel:
    """Visits by how far they went; each of these includes the next."""

    sessions: int = 0
    viewed: int = 0
    added: int = 0
    purchased: int = 0

    @property
    def conversion(self) -> float | None:
        """Purchased of viewed."""
        return self.purchased / self.viewed if self.viewed else None


@dataclass(frozen=True)
class Period:
    """The last minutes. Values include the unfinished window, changes don't; none without an earlier period."""

    funnel: Funnel = Funnel()
    conversion_change: float | None = None
    """Difference of two shares."""
    median_seconds: float | None = None
    """To convert, of the visits that did."""
    per_second: float | None = None
    per_second_change: float | None = None
    revenue: Decimal | None = Decimal(0)
    revenue_change: float | None = None


@dataclass(frozen=True)
class Visits:
    """All of it at one moment; baskets newest first."""

    newest: datetime | None = None
    active: int = 0
    active_change: float | None = None
    periods: Mapping[int, Period] = field(default_factory=lambda: dict.fromkeys(PERIODS, Period()))
    baskets: tuple[Basket, ...] = ()
    open_baskets: int = 0
    open_value: Decimal | None = Decimal(0)


class _Seen(NamedTuple):
    """A live record as far as a visit needs it."""

    event_id: str
    session_id: str
    event: Event
    partition: int
    offset: int


_Kept = tuple[int, int, int, Event]
"""In their order: event time, partition, offset."""


@dataclass(slots=True)
class _Session:
    """A visit, the events it was folded from (none once there are too many), and where it is counted."""

    visit: Visit = field(default_factory=Visit)
    kept: list[_Kept] | None = field(default_factory=list)
    place: Place | None = None
    converted: int | None = None
    """The window under which its time to convert is noted."""
    waits: bool = False
    """For its silence, in the heap."""


class _Ids:
    """The last ids, between `most` and twice as many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: set[int] = set()
        self._old: set[int] = set()

    def is_repeat(self, event_id: str) -> bool:
        mark = hash(event_id)  # a quarter of the memory; at 5,000/s two that differ meet once in 300 years
        if mark in self._new or mark in self._old:
            return True
        self._new.add(mark)
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
        return False


class VisitTracker:
    """Holds the visits of the last two hours; see the module."""

    memory_seconds = MEMORY_MINUTES * 60
    stands_for = frozenset({"sessions", "abandoned"})

    def __init__(self, patience: Patience | None = None, most_sessions: int = MOST_SESSIONS) -> None:
        self._patience = patience or Patience()
        self._most_sessions = most_sessions
        self._lock = threading.Lock()
        self._clock = self._window = self._floor = 0
        """The newest event time; its window, which is still open; the oldest window remembered."""
        self._first: int | None = None
        self._forgotten = 0
        self._ids = _Ids(MOST_IDS)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._standing = {minutes: Standing(minutes * PER_MINUTE, steps=4) for minutes in PERIODS}
        self._converted: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._sums = Sums(columns=2)
        self._trend = Trend(TREND_MINUTES * PER_MINUTE, MOST_TRENDING)
        self._waiting: list[tuple[int, str]] = []
        self._left: dict[str, Left] = {}
        self._products: dict[str, Product] = {}
        self._categories: dict[str, None] = {}
        self._latest = {kind: Latest(KEEP_LATEST) for kind in EVENT_TYPES}
        self._viewed: tuple[float, Visits] = (float("-inf"), Visits())

    # --- records come in ---

    def apply(self, row: Row, received_at: float) -> None:
        """A live record, in the order of arrival. Whoever writes something else to the topic is passed over."""
        try:
            seen = _read(row)
        except (KeyError, TypeError, ValueError, ArithmeticError):
            log.warning("not_a_shop_event", topic=row.get("topic"), offset=row.get("offset"))
            return
        with self._lock:
            if not self._ids.is_repeat(seen.event_id):
                self._latest[seen.event.event_type].add(row, in_order=False)
                self._learn(seen.event.product_id, row)
                self._take(seen, int(received_at * 1e6))

    def _learn(self, product_id: str, row: Row) -> None:
        held = self._products.get(product_id)
        name, category, brand = row.get("product_name"), row.get("category"), row.get("brand")
        if held is not None:
            name, category, brand = name or held.name, category or held.category, brand or held.brand
        if (found := Product(name, category, brand)) == held:
            return
        if held is None and len(self._products) >= MOST_PRODUCTS:
            del self._products[next(iter(self._products))]
        self._products[product_id] = found
        if category and len(self._categories) < MOST_CATEGORIES:
            self._categories[category] = None

    def _take(self, seen: _Seen, received: int) -> None:
        event = seen.event
        window = event.at // WINDOW_US
        # A sender whose clock is ahead must not move everybody's period into the future.
        self._advance(min(event.at, received))
        if window < self._floor and seen.session_id not in self._sessions:
            return
        self._first = window if self._first is None else min(self._first, window)
        revenue = event.quantity * (event.price or 0) if event.event_type == PURCHASE else 0
        self._sums.add(window, 1, revenue)
        if event.event_type != REMOVE:
            self._trend.add(window, event.product_id)
        self._fold(seen)
        if self._waiting and self._waiting[0][0] <= received:
            self._settle(received)

    def _advance(self, clock: int) -> None:
        if clock <= self._clock:
            return
        self._clock = clock
        if (window := clock // WINDOW_US) == self._window:
            return
        self._window, self._floor = window, window - MEMORY_MINUTES * PER_MINUTE
        self._trend.advance(window)
        if window >= self._forgotten + FORGET_EVERY:
            self._forgotten = window
            self._sums.forget(self._floor)
            for standing in self._standing.values():
                standing.forget(self._floor)
            for gone in [at for at in self._converted if at < self._floor]:
                del self._converted[gone]
            self._first = None if self._first is None else max(self._first, self._floor)

    def _fold(self, seen: _Seen) -> None:
        session = self._sessions.get(seen.session_id)
        if session is None:
            self._make_room()
            session = self._sessions[seen.session_id] = _Session()
        else:
            self._sessions.move_to_end(seen.session_id)
        entry = (seen.event.at, seen.partition, seen.offset, seen.event)
        if session.kept and entry[:3] < session.kept[-1][:3]:
            self._refold(session, entry)
        else:
            self._append(session, entry)
        if session.visit.convert_us is not None or session.converted is not None:
            self._note_conversion(seen.session_id, session)
        self._note_basket(seen.session_id, session)

    def _append(self, session: _Session, entry: _Kept) -> None:
        event = entry[3]
        if event.at < session.visit.last:  # only where its events are no longer kept
            event = replace(event, at=session.visit.last)
        session.visit.take(event, self._patience)
        if session.kept is not None:
            session.kept.append(entry)
            if len(session.kept) > MOST_EVENTS:
                session.kept = None
        here = (event.at // WINDOW_US, session.visit.step)
        if here != session.place:
            for standing in self._standing.values():
                standing.count(session.place, here)
            session.place = here

    def _refold(self, session: _Session, entry: _Kept) -> None:
        """An event that belongs before others: all of them anew."""
        assert session.kept is not None
        self._count(self._trace(session.kept, Visit()), -1)
        session.kept.insert(bisect_right(session.kept, entry[:3], key=lambda kept: kept[:3]), entry)
        session.visit = Visit()
        session.place = self._count(self._trace(session.kept, session.visit), 1)

    def _trace(self, kept: list[_Kept], visit: Visit) -> Iterator[Place]:
        for at, _, _, event in kept:
            visit.take(event, self._patience)
            yield at // WINDOW_US, visit.step

    def _count(self, places: Iterator[Place], times: int) -> Place | None:
        before: Place | None = None
        for here in places:
            for standing in self._standing.values():
                standing.count(before, here, times)
            before = here
        return before

    def _note_conversion(self, session_id: str, session: _Session) -> None:
        """Its time to convert, under the window of its last event."""
        if session.converted is not None:
            self._converted[session.converted].pop(session_id, None)
            session.converted = None
        if session.visit.convert_us is not None and session.place is not None:
            session.converted = session.place[0]
            self._converted[session.converted][session_id] = session.visit.convert_us

    def _note_basket(self, session_id: str, session: _Session) -> None:
        """What it left behind before this event, and when the silence after it will be too long."""
        if session.visit.left is not None:
            self._left[session_id] = session.visit.left
        elif session_id in self._left:
            del self._left[session_id]
        if not session.waits and (due := session.visit.silent_at(self._patience)) is not None:
            heapq.heappush(self._waiting, (due, session_id))
            session.waits = True

    def _settle(self, clock: int) -> None:
        """The silences that have become too long by now. A session waits once, for the earliest it may be due."""
        while self._waiting and self._waiting[0][0] <= clock:
            _, session_id = heapq.heappop(self._waiting)
            if (session := self._sessions.get(session_id)) is None:
                continue
            due = session.visit.silent_at(self._patience)
            session.waits = due is not None and due > clock
            if session.waits:
                heapq.heappush(self._waiting, (due or 0, session_id))
            elif due is not None and (left := session.visit.left_behind(clock, self._patience)) is not None:
                self._left[session_id] = left

    def _make_room(self) -> None:
        """Forget visits that are over, or the one that was silent for longest. What they counted for stays counted."""
        while self._sessions:
            session_id, oldest = next(iter(self._sessions.items()))
            if len(self._sessions) < self._most_sessions and oldest.visit.last // WINDOW_US >= self._floor:
                break
            del self._sessions[session_id]
            self._left.pop(session_id, None)

    # --- questions ---

    def view(self, now: float) -> Visits:
        """Everything that needs no filter, at most half a second old."""
        with self._lock:
            if not self._viewed[0] <= now < self._viewed[0] + VIEW_SECONDS:
                self._viewed = (now, self._view(now))
            return self._viewed[1]

    def _view(self, now: float) -> Visits:
        if not self._clock:
            return Visits()
        self._settle(int(now * 1e6))
        still = [left for left in self._left.values() if left.withdrawn_at is None]
        newest = heapq.nlargest(SHOWN_BASKETS, self._left.items(), key=lambda item: item[1].since)
        active = self._standing[ACTIVE_MINUTES]
        return Visits(
            newest=moment(self._clock),
            active=sum(active.as_of(self._window)),
            active_change=self._active_change(active),
            periods={minutes: self._period(minutes) for minutes in PERIODS},
            baskets=tuple(_basket(*item) for item in newest),
            open_baskets=len(still),
            open_value=money(sum(left.value for left in still)),
        )

    def _knows(self, windows: int) -> bool:
        """Whether there was data so many windows before the open one."""
        return self._first is not None and self._first <= self._window - windows

    def _active_change(self, active: Standing) -> float | None:
        if not self._knows(2 * active.span):
            return None
        last = self._window - 1
        return change(sum(active.as_of(last)), sum(active.as_of(last - active.span)))

    def _period(self, minutes: int) -> Period:
        span, window = minutes * PER_MINUTE, self._window
        standing = self._standing[minutes]
        shown = range(window - span + 1, window + 1)
        events, revenue = self._sums.total(shown)
        took = [us for at in shown if at in self._converted for us in self._converted[at].values()]
        begin = max(shown[0], self._first or 0) * WINDOW_US
        figures = Period(
            funnel=_funnel(standing.as_of(window)),
            median_seconds=median(took) / 1e6 if took else None,
            per_second=events / max((self._clock - begin) / 1e6, 1.0),
            revenue=money(revenue),
        )
        if not self._knows(2 * span):
            return figures
        events, revenue = self._sums.total(range(window - span, window))
        events_before, revenue_before = self._sums.total(range(window - 2 * span, window - span))
        now, before = (_funnel(standing.as_of(at)).conversion for at in (window - 1, window - 1 - span))
        return replace(
            figures,
            per_second_change=change(events, events_before),
            revenue_change=change(revenue, revenue_before),
            conversion_change=None if now is None or before is None else now - before,
        )

    def trending(self, category: str = "", most: int = SHOWN_TRENDING) -> list[Rising]:
        """Products that rise, the clearest first: the increase over what chance alone would do to such counts."""
        with self._lock:
            names = self._trend.now
            if category:
                names = {name: count for name, count in names.items() if self._category(name) == category}
            if not self._knows(2 * TREND_MINUTES * PER_MINUTE - 1):
                greatest = heapq.nlargest(most, names.items(), key=lambda item: (item[1], item[0]))
                return [Rising(name, count, None) for name, count in greatest]
            before = self._trend.before
            both = (Rising(name, now, before.get(name, 0)) for name, now in names.items())
            rising = (one for one in both if surplus(one) >= LEAST_SURPLUS)
            return heapq.nlargest(most, rising, key=lambda one: (surplus(one), one))

    def latest(self, types: Collection[str], category: str, most: int) -> list[Row]:
        """The latest records of these types (none: all) and category (empty: all), newest first."""
        with self._lock:
            rows = [
                row
                for kind, kept in self._latest.items()
                if not types or kind in types
                for row in kept.newest_first()
                if not category or self._category(row["product_id"]) == category
            ]
        return sorted(rows, key=lambda row: str(row.get("kafka_timestamp")), reverse=True)[:most]

    def product(self, product_id: str) -> Product:
        """What is known of it; nothing of one that was not seen lately."""
        return self._products.get(product_id) or Product(None, None, None)

    def categories(self) -> list[str]:
        """Those seen, sorted."""
        return sorted(self._categories.copy())

    def _category(self, product_id: str) -> str | None:
        return self.product(product_id).category


def surplus(rising: Rising) -> float:
    """The increase in standard deviations of the difference of two counts: 3 after 0 is less than 60 after 30."""
    before = rising.before or 0
    return float((rising.now - before) / (rising.now + before) ** 0.5) if rising.now + before else 0.0


_TYPES = {kind: kind for kind in EVENT_TYPES}
"""One text for all events of a type: what is parsed is a new one each time."""


def _read(row: Row) -> _Seen:
    price = row.get("price")
    event = Event(
        at=round(datetime.fromisoformat(row["event_time"]).timestamp() * 1e6),
        event_type=_TYPES[row["event_type"]],
        product_id=str(row["product_id"]),
        quantity=int(row.get("quantity") or 1),
        price=None if price is None else int(Decimal(price) * MONEY_UNITS),
    )
    return _Seen(str(row["event_id"]), str(row["session_id"]), event, int(row["partition"]), int(row["offset"]))


def _funnel(by_step: list[int]) -> Funnel:
    return Funnel(sum(by_step), sum(by_step[1:]), sum(by_step[2:]), by_step[3])


def _basket(session_id: str, left: Left) -> Basket:
    withdrawn = None if left.withdrawn_at is None else moment(left.withdrawn_at)
    return Basket(session_id, moment(left.since), left.units, money(left.value), withdrawn)
