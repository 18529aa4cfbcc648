"""The tracker of visits: live records in, figures out; times and expected values are written down, not worked out."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, permutations
from statistics import median
from typing import Any

import pytest

from dashboards import visits as module
from dashboards.visits import Basket, Funnel, Product, Rising, VisitTracker, surplus
from tests.events_reference import expected_tables

T0 = datetime(2026, 11, 22, 6, 0, tzinfo=UTC).timestamp()
MINUTE = 60.0
numbers = count()

VIEW, ADD, REMOVE, BUY = "productview", "addtobasket", "removefrombasket", "purchase"


def record(kind: str, at: float, session: str = "s1", product: str = "p1", **given: Any) -> dict[str, Any]:
    """A live record; `at` is seconds after six."""
    number = next(numbers)
    return {
        "event_id": f"e{number}", "event_time": datetime.fromtimestamp(T0 + at, UTC).isoformat(), "event_type": kind,
        "session_id": session, "product_id": product, "product_name": None, "category": None, "brand": None,
        "price": "10.0000", "quantity": 1, "topic": "events_topic", "partition": 0, "offset": number,
        "kafka_timestamp": datetime.fromtimestamp(T0 + at, UTC).isoformat(), **given,
    }  # fmt: skip


def tracked(records: Iterable[dict[str, Any]], received: float | None = None, **options: Any) -> VisitTracker:
    """A tracker that got these, each when it happened or all at once `received` seconds after six."""
    tracker = VisitTracker(**options)
    for row in records:
        at = datetime.fromisoformat(row["event_time"]).timestamp() if received is None else T0 + received
        tracker.apply(row, at)
    return tracker


def funnel(tracker: VisitTracker, now: float, minutes: int = 5) -> Funnel:
    return tracker.view(T0 + now).periods[minutes].funnel


def time(at: float) -> datetime:
    return datetime.fromtimestamp(T0 + at, UTC)


def test_nothing_yet() -> None:
    view = VisitTracker().view(T0)
    assert (view.newest, view.active, view.open_baskets, view.baskets) == (None, 0, 0, ())
    assert view.periods[15].funnel == Funnel()
    assert view.periods[15].funnel.conversion is None
    assert VisitTracker().trending() == []


def test_one_visit_by_hand() -> None:
    tracker = tracked([record(VIEW, 0), record(ADD, 60), record(BUY, 90, quantity=3, price="2.5000")])
    view = tracker.view(T0 + 90)
    assert view.newest == time(90)
    assert view.active == 1
    assert view.periods[5].funnel == Funnel(sessions=1, viewed=1, added=1, purchased=1)
    assert view.periods[5].funnel.conversion == 1
    assert view.periods[5].median_seconds == 90
    assert view.periods[5].revenue == Decimal("7.5000")
    assert view.periods[5].per_second == pytest.approx(3 / 90)
    assert view.periods[5].revenue_change is None


def test_four_visits_by_hand() -> None:
    tracker = tracked(
        [
            *(record(VIEW, 0, name) for name in "abcd"),
            *(record(ADD, 10, name) for name in "abc"),
            record(BUY, 30, "a"), record(BUY, 50, "b"),
            record(ADD, 60, "e"),  # without a view
        ]
    )  # fmt: skip
    period = tracker.view(T0 + 60).periods[5]
    assert period.funnel == Funnel(sessions=5, viewed=4, added=3, purchased=2)
    assert period.funnel.conversion == 0.5
    assert period.median_seconds == 40


FOUR = [(VIEW, 0.0), (ADD, 60.0), (BUY, 120.0), (VIEW, 400.0)]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_every_order_of_four_events_gives_the_same(order: tuple[int, ...]) -> None:
    four = [record(kind, at, offset=1_000 + number) for number, (kind, at) in enumerate(FOUR)]
    tracker = tracked([four[i] for i in order], received=400)
    period = tracker.view(T0 + 400).periods[15]
    assert period.funnel == Funnel(1, 1, 1, 1)
    assert period.median_seconds == 120
    assert period.revenue == Decimal(10)
    assert tracker.view(T0 + 400).open_baskets == 0
    # Five minutes ago, at 100 s, it was active with the first two events; the visit of now is the one of then.
    assert tracker.view(T0 + 400).active == 1
    standing = tracker._standing[15]
    first = int(T0) // 10
    assert [standing.as_of(first + at) for at in (-1, 0, 6, 12, 40)] == [
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 1],
    ]


def test_the_same_time_goes_by_kafka_s_order() -> None:
    remove, add = record(REMOVE, 60, offset=7), record(ADD, 60, offset=6)
    tracker = tracked([record(VIEW, 0, offset=5), remove, add], received=60)
    assert tracker.view(T0 + 60 + 30 * MINUTE).open_baskets == 0


def test_a_repeat_counts_once() -> None:
    view, buy = record(VIEW, 0), record(BUY, 20)
    again = {**buy, "offset": buy["offset"] + 500, "partition": 1}
    period = tracked([view, buy, buy, again]).view(T0 + 20).periods[5]
    assert period.revenue == Decimal(10)
    assert period.per_second == pytest.approx(2 / 20)


def test_repeats_are_known_for_as_many_ids_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IDS", 10)
    rows = [record(BUY, 0, f"s{i}") for i in range(25)]
    tracker = tracked([*rows, *rows[-10:]])
    assert tracker.view(T0).periods[5].revenue == Decimal(250)


def test_a_basket_is_left_behind_by_the_wall_clock_alone() -> None:
    tracker = tracked([record(VIEW, 0), record(ADD, 60, quantity=2, price="499.5000")])
    assert tracker.view(T0 + 60 + 30 * MINUTE - 1).baskets == ()
    view = tracker.view(T0 + 60 + 30 * MINUTE)
    assert view.baskets == (Basket("s1", time(60), 2, Decimal("999.0000"), None),)
    assert (view.open_baskets, view.open_value) == (1, Decimal("999.0000"))


def test_a_purchase_withdraws_it() -> None:
    tracker = tracked([record(VIEW, 0), record(ADD, 60)])
    assert tracker.view(T0 + 40 * MINUTE).open_baskets == 1
    tracker.apply(record(BUY, 41 * MINUTE), T0 + 41 * MINUTE)
    view = tracker.view(T0 + 41 * MINUTE)
    assert view.baskets == (Basket("s1", time(60), 1, Decimal(10), time(41 * MINUTE)),)
    assert (view.open_baskets, view.open_value) == (0, Decimal(0))


def test_who_comes_back_and_does_not_buy_leaves_it_open_and_leaves_it_again() -> None:
    tracker = tracked([record(ADD, 0), record(VIEW, 40 * MINUTE)])
    assert [basket.since for basket in tracker.view(T0 + 41 * MINUTE).baskets] == [time(0)]
    assert [basket.since for basket in tracker.view(T0 + 70 * MINUTE).baskets] == [time(40 * MINUTE)]
    assert tracker.view(T0 + 70 * MINUTE).open_baskets == 1


def test_a_late_event_unsays_the_silence() -> None:
    tracker = tracked([record(ADD, 0)])
    assert tracker.view(T0 + 31 * MINUTE).open_baskets == 1
    tracker.apply(record(VIEW, 20 * MINUTE), T0 + 32 * MINUTE)
    assert tracker.view(T0 + 32 * MINUTE).baskets == ()
    assert tracker.view(T0 + 50 * MINUTE).open_baskets == 1


def test_an_empty_basket_is_not_left_behind() -> None:
    tracker = tracked([record(ADD, 0), record(REMOVE, 10), record(ADD, 20, "s2"), record(BUY, 30, "s2")])
    assert tracker.view(T0 + 60 * MINUTE).baskets == ()


def test_baskets_come_newest_first() -> None:
    tracker = tracked([record(ADD, at * MINUTE, name) for at, name in ((3, "c"), (1, "a"), (2, "b"))], received=180)
    assert [basket.session_id for basket in tracker.view(T0 + 60 * MINUTE).baskets] == ["c", "b", "a"]


def test_the_past_reads_like_today() -> None:
    years_later = 7 * 365 * 86_400.0
    period = tracked([record(VIEW, 0), record(VIEW, 100, "s2")], received=years_later)
    assert funnel(period, years_later) == Funnel(sessions=2, viewed=2)
    assert period.view(T0 + years_later).active == 2


def test_a_clock_that_is_ahead_moves_nobody_s_period() -> None:
    tracker = tracked([record(VIEW, 0)])
    tracker.apply(record(VIEW, 20 * 3_600, "ahead"), T0 + 5)
    view = tracker.view(T0 + 6)
    assert view.newest == time(5)
    assert view.periods[5].funnel.sessions == 1


def test_active_is_of_the_last_five_minutes_and_compared_with_five_minutes_ago() -> None:
    early = [record(VIEW, 0, f"early{i}") for i in range(4)]
    middle = [record(VIEW, 400, name) for name in ("early0", "m1", "m2")]
    tracker = tracked([*early, *middle, record(VIEW, 690, "late")])
    # The open window is that of 690 s. Before it, 390-689: three. The five minutes before that, 90-389: none.
    assert tracker.view(T0 + 690).active == 4
    assert tracker.view(T0 + 690).active_change is None
    tracker = tracked([*(record(VIEW, at, f"v{at}") for at in (0, 290, 300, 310)), record(VIEW, 600, "now")])
    # Before the open window of 600 s: 300 and 310; five minutes earlier: 0 and 290.
    assert tracker.view(T0 + 600).active == 2
    assert tracker.view(T0 + 600).active_change == 0


def test_changes_compare_whole_periods() -> None:
    before = [record(BUY, 10.0 * i, f"b{i}") for i in range(10)]  # 0-90 s
    after = [record(VIEW, 300 + 10.0 * i, f"a{i}") for i in range(20)]  # 300-490 s
    bought = [record(BUY, 300 + 10.0 * i, f"c{i}", price="15.0000") for i in range(10)]
    tracker = tracked([*before, *after, *bought, record(BUY, 600, "open", price="1000.0000")])
    period = tracker.view(T0 + 600).periods[5]
    assert period.revenue == Decimal(1000 + 9 * 15)  # 310-609 s: one of 15.00 has left
    assert period.revenue_change == 0.5  # 150.00 after 100.00, without the open window
    assert period.per_second_change == 2  # 30 events after 10


def test_conversion_is_compared_as_it_stood_then() -> None:
    first = [record(VIEW, 0, "a"), record(VIEW, 0, "b"), record(ADD, 10, "a"), record(BUY, 20, "a")]
    # b buys much later: five minutes ago it had not, and one of two had.
    second = [record(VIEW, 300, name) for name in "cd"]
    third = [record(ADD, 310, "b"), record(BUY, 320, "b"), record(VIEW, 600, "e")]
    period = tracked([*first, *second, *third]).view(T0 + 600).periods[5]
    assert period.conversion_change == pytest.approx(1 / 3 - 1 / 2)


def test_what_is_older_than_two_hours_is_forgotten() -> None:
    tracker = tracked([record(ADD, 0, "old"), record(VIEW, 130 * MINUTE, "new")])
    assert len(tracker._sessions) == 1
    assert tracker.view(T0 + 130 * MINUTE).baskets == ()
    tracker.apply(record(BUY, 0, "older"), T0 + 130 * MINUTE)
    assert tracker.view(T0 + 131 * MINUTE).periods[60].revenue == 0


def test_sessions_are_bounded_and_those_forgotten_still_count() -> None:
    tracker = tracked([record(VIEW, i, f"s{i}") for i in range(10)], most_sessions=3)
    assert list(tracker._sessions) == ["s7", "s8", "s9"]
    assert funnel(tracker, 10).sessions == 10


def test_a_robot_is_not_kept_but_folded() -> None:
    robot = [record(VIEW, i, "robot") for i in range(module.MOST_EVENTS + 50)]
    tracker = tracked([*robot, record(ADD, 5, "robot"), record(BUY, 300, "robot")])
    assert tracker._sessions["robot"].kept is None
    assert funnel(tracker, 300) == Funnel(1, 1, 1, 1)


def test_products_and_categories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PRODUCTS", 3)
    monkeypatch.setattr(module, "MOST_CATEGORIES", 2)
    rows = [record(VIEW, 0, product=f"p{i}", product_name=f"name {i}", category=f"c{i}") for i in range(5)]
    tracker = tracked(rows)
    assert tracker.product("p0") == Product(None, None, None)
    assert tracker.product("p4") == Product("name 4", "c4", None)
    assert tracker.categories() == ["c0", "c1"]


def test_a_product_keeps_what_later_records_leave_out() -> None:
    tracker = tracked([record(VIEW, 0, product_name="Lamp", category="Home"), record(VIEW, 1, brand="Lux")])
    assert tracker.product("p1") == Product("Lamp", "Home", "Lux")


def times(number: int, product: str, at: float, kind: str = VIEW, **given: Any) -> list[dict[str, Any]]:
    return [record(kind, at, f"{product}-{at}-{i}", product, **given) for i in range(number)]


def test_the_clearest_rise_comes_first() -> None:
    rows = [
        record(VIEW, 0, "first", "first"),
        *times(30, "big", 10), *times(60, "big", 400),
        *times(1, "small", 10), *times(3, "small", 400),
        *times(4, "new", 400), *times(9, "new", 400, REMOVE),
        *times(50, "chance", 10), *times(52, "chance", 400),
        *times(9, "falls", 10), *times(3, "falls", 400),
        record(VIEW, 599, "end", "end"),
    ]  # fmt: skip
    found = tracked(rows).trending()
    assert found == [Rising("big", 60, 30), Rising("new", 4, 0), Rising("small", 3, 1), Rising("end", 1, 0)]
    assert tracked(rows).trending(most=1) == [Rising("big", 60, 30)]
    assert surplus(Rising("new", 4, 0)) == 2


def test_without_five_minutes_before_there_is_only_a_rank() -> None:
    rows = [*times(2, "a", 10, category="x"), *times(5, "b", 20, category="y"), *times(1, "c", 20, category="x")]
    assert tracked(rows).trending() == [Rising("b", 5, None), Rising("a", 2, None), Rising("c", 1, None)]
    assert tracked(rows).trending("x") == [Rising("a", 2, None), Rising("c", 1, None)]


def test_the_latest_by_type_and_category() -> None:
    rows = [
        record(VIEW, 0, category="x"), record(BUY, 1, product="p2", category="y"),
        *times(500, "p3", 2, category="x"), record(ADD, 3, category="x"),
    ]  # fmt: skip
    tracker = tracked(rows)
    assert [row["event_type"] for row in tracker.latest((BUY, ADD), "", 10)] == [ADD, BUY]
    assert [row["event_type"] for row in tracker.latest((), "y", 10)] == [BUY]
    assert [row["event_type"] for row in tracker.latest((), "", 2)] == [ADD, VIEW]
    assert tracker.latest((REMOVE,), "", 10) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_time": "noon"}, {"event_type": "wish"}, {"product_id": None, "event_time": None}, {"price": "cheap"},
        {"offset": None}, {"quantity": "x"},
    ],
)  # fmt: skip
def test_somebody_else_s_messages_are_passed_over(wrong: dict[str, Any]) -> None:
    tracker = tracked([record(VIEW, 0)])
    tracker.apply(record(VIEW, 1, "s2") | wrong, T0 + 1)
    tracker.apply({"a": 1}, T0 + 1)
    assert funnel(tracker, 1).sessions == 1


def test_a_missing_quantity_is_one_and_a_missing_price_brings_nothing() -> None:
    rows = [record(BUY, 0, quantity=None), record(BUY, 1, price=None), record(ADD, 2, "s2", price=None, quantity=None)]
    tracker = tracked(rows)
    assert tracker.view(T0 + 3).periods[5].revenue == Decimal(10)
    view = tracker.view(T0 + 40 * MINUTE)
    assert (view.baskets[0].units, view.baskets[0].value) == (1, 0)


def test_a_partition_after_the_other_gives_what_their_mixture_gives() -> None:
    left = [record((VIEW, ADD, BUY)[i % 3], 20.0 * i, f"l{i // 4}", offset=i) for i in range(200)]
    right = [record((VIEW, ADD)[i % 2], 20.0 * i + 7, f"r{i // 5}", partition=1, offset=i) for i in range(200)]
    mixed = [row for pair in zip(left, right, strict=True) for row in pair]
    end = 20.0 * 199 + 7
    one, other = tracked([*left, *right], received=end), tracked(mixed, received=end)
    assert one.view(T0 + end) == other.view(T0 + end)
    assert one.trending() == other.trending()
    assert other.view(T0 + end).periods[60].funnel.sessions == 45 + 36  # from 390 s on: l5 to l49, r4 to r39


def test_a_view_is_kept_for_half_a_second() -> None:
    tracker = tracked([record(VIEW, 0)])
    first = tracker.view(T0 + 1)
    tracker.apply(record(VIEW, 1, "s2"), T0 + 1)
    assert tracker.view(T0 + 1.4) is first
    assert tracker.view(T0 + 1.6).active == 2


# --- at random, against the definitions worked out the long way ---


def some_records(seed: int) -> list[dict[str, Any]]:
    """Two hours of forty visits; a fifth of the events arrive late, some twice."""
    rng = random.Random(seed)
    happened = []
    for number in range(40):
        at = rng.uniform(0, 60 * MINUTE)
        for _ in range(rng.randint(1, 12)):
            kind = rng.choices((VIEW, ADD, REMOVE, BUY), weights=(5, 4, 1, 2))[0]
            price = rng.choice((None, "10.0000", "12.5000"))
            given = {"quantity": rng.randint(1, 3), "price": price, "partition": number % 2}
            happened.append(record(kind, round(at, 3), f"s{number}", rng.choice("xyz"), **given))
            at += rng.choice((0, 1, 20, 300, 1_500, 2_000)) * rng.random()
    arrived = sorted(happened, key=lambda row: (row["event_time"], rng.random()))
    arrived = [row for row in arrived if datetime.fromisoformat(row["event_time"]) < time(118 * MINUTE)]
    for _ in range(len(arrived) // 5):
        row = arrived.pop(rng.randrange(len(arrived)))
        arrived.insert(min(len(arrived), rng.randrange(len(arrived)) + 30), row)
    for offset, row in enumerate(arrived):
        row["offset"] = offset
    return arrived + rng.sample(arrived, 10)


def known(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the tables hold them."""
    return [
        {
            **row,
            "event_time": datetime.fromisoformat(row["event_time"]),
            "price": row["price"] and Decimal(row["price"]),
        }
        for row in rows
    ]


def funnel_by_hand(rows: list[dict[str, Any]], until: datetime, minutes: int) -> tuple[Funnel, float | None]:
    """Of the visits, as they stood at the end of a window, whose last event was in the minutes before."""
    past = [row for row in known(rows) if row["event_time"] < until]
    sessions = [
        row for row in expected_tables(past)["sessions"].values() if row[1] >= until - timedelta(minutes=minutes)
    ]
    took = [row[4] for row in sessions if row[4] is not None]
    reached = [sum(row[3] >= step for row in sessions) for step in (0, 1, 2, 3)]
    return Funnel(*reached), median(took) if took else None


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_in_whatever_order(seed: int) -> None:
    rows = some_records(seed)
    newest = max(datetime.fromisoformat(row["event_time"]) for row in rows)
    received = newest.timestamp() - T0
    tracker = tracked(rows, received=received)
    open_window = datetime.fromtimestamp(newest.timestamp() // 10 * 10, UTC)
    periods = tracker.view(T0 + received).periods
    for minutes in (5, 15, 60):
        expected, seconds = funnel_by_hand(rows, open_window + timedelta(seconds=10), minutes)
        assert periods[minutes].funnel == expected
        assert periods[minutes].median_seconds == pytest.approx(seconds)
        now, _ = funnel_by_hand(rows, open_window, minutes)
        before, _ = funnel_by_hand(rows, open_window - timedelta(minutes=minutes), minutes)
        change = periods[minutes].conversion_change
        if minutes == 60:
            assert change is None  # there are not two whole hours
        elif now.conversion is not None and before.conversion is not None:
            assert change == pytest.approx(now.conversion - before.conversion)
    left = expected_tables(known(rows), newest)["abandoned"]
    assert {basket.session_id: tuple(basket[1:]) for basket in tracker.view(T0 + received).baskets} == left
