"""A visit folded from its events: the funnel, the basket, and the basket left behind, against every chain tried."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contracts.sessions import MINUTE_US, Event, Left, Patience, Visit
from tests.events_reference import ADD, PURCHASE, REMOVE, VIEW, Step, baskets, funnel

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PATIENCE = Patience()
S = 1_000_000


def visit(*events: tuple[Any, ...]) -> Visit:
    """Second, type, then product, quantity and price where they matter."""
    made = Visit()
    for at, kind, *rest in events:
        product, quantity, price = (*rest, *("p", 1, None)[len(rest) :])
        made.take(Event(at * S, kind, product, quantity, price), PATIENCE)
    return made


@pytest.mark.parametrize(
    ("order", "step"),
    [
        ((VIEW, ADD, REMOVE, PURCHASE), 3),
        ((VIEW, ADD, PURCHASE, REMOVE), 3),
        ((VIEW, REMOVE, ADD, PURCHASE), 3),
        ((REMOVE, VIEW, ADD, PURCHASE), 3),
        ((VIEW, PURCHASE, ADD, REMOVE), 2),
        ((VIEW, PURCHASE, REMOVE, ADD), 2),
        ((PURCHASE, VIEW, ADD, REMOVE), 2),
        ((PURCHASE, VIEW, REMOVE, ADD), 2),
        ((VIEW, REMOVE, PURCHASE, ADD), 2),
        ((REMOVE, VIEW, PURCHASE, ADD), 2),
        ((PURCHASE, REMOVE, VIEW, ADD), 2),
        ((REMOVE, PURCHASE, VIEW, ADD), 2),
        ((ADD, VIEW, PURCHASE, REMOVE), 1),
        ((ADD, VIEW, REMOVE, PURCHASE), 1),
        ((ADD, PURCHASE, VIEW, REMOVE), 1),
        ((ADD, PURCHASE, REMOVE, VIEW), 1),
        ((ADD, REMOVE, VIEW, PURCHASE), 1),
        ((ADD, REMOVE, PURCHASE, VIEW), 1),
        ((PURCHASE, ADD, VIEW, REMOVE), 1),
        ((PURCHASE, ADD, REMOVE, VIEW), 1),
        ((PURCHASE, REMOVE, ADD, VIEW), 1),
        ((REMOVE, ADD, VIEW, PURCHASE), 1),
        ((REMOVE, ADD, PURCHASE, VIEW), 1),
        ((REMOVE, PURCHASE, ADD, VIEW), 1),
    ],
)
def test_every_order_of_the_four_events(order: tuple[str, ...], step: int) -> None:
    made = visit(*((10 * n, kind) for n, kind in enumerate(order)))
    assert made.step == step
    assert (made.convert_us is not None) == (step == 3)


def test_without_a_view_there_is_no_step() -> None:
    assert visit((0, ADD), (1, PURCHASE)).step == 0
    assert visit((0, PURCHASE)).step == 0


def test_events_of_one_second_count_in_any_order() -> None:
    for order in itertools.permutations((VIEW, ADD, PURCHASE)):
        made = visit(*((5, kind) for kind in order))
        assert (made.step, made.convert_us) == (3, 0), order


def test_the_chain_ends_half_an_hour_after_its_view() -> None:
    assert visit((0, VIEW), (1800, ADD)).step == 2
    assert visit((0, VIEW), (1801, ADD)).step == 1
    assert visit((0, VIEW), (10, ADD), (1800, PURCHASE)).convert_us == 1800 * S
    assert visit((0, VIEW), (10, ADD), (1801, PURCHASE)).step == 2
    # A later view begins a chain of its own; the add before it is not part of that one.
    assert visit((0, VIEW), (10, ADD), (1700, VIEW), (1900, PURCHASE)).step == 2
    assert visit((0, VIEW), (10, ADD), (1700, VIEW), (1710, ADD), (1900, PURCHASE)).convert_us == 200 * S


def test_the_quickest_of_several_purchases_counts() -> None:
    made = visit((0, VIEW), (60, ADD), (100, PURCHASE), (200, VIEW), (210, ADD), (230, PURCHASE))
    assert (made.step, made.convert_us) == (3, 30 * S)


def test_a_basket_is_never_below_nothing_and_worth_the_last_price() -> None:
    made = visit(
        (0, REMOVE, "a"), (1, ADD, "a", 2, 500), (2, REMOVE, "a", 5), (3, ADD, "a", 1), (4, ADD, "b", 3, 70),
        (5, PURCHASE, "b", 1, 80), (6, VIEW, "a", 1, 600), (7, ADD, "unknown price"),
    )  # fmt: skip
    assert made.basket == {"a": 1, "b": 2, "unknown price": 1}
    assert (made.units, made.value, made.revenue) == (4, 600 + 2 * 80, 80)


def test_a_basket_left_behind_and_withdrawn() -> None:
    left = visit((0, ADD, "a", 2, 100))
    assert left.silent_at(PATIENCE) == 1800 * S
    assert left.left_behind(1800 * S - 1, PATIENCE) is None
    assert left.left_behind(1800 * S, PATIENCE) == Left(since=0, units=2, value=200)

    returned = visit((0, ADD, "a", 2, 100), (1800, VIEW, "a", 1, 90))
    assert returned.left_behind(1800 * S, PATIENCE) == Left(0, 2, 200)
    assert returned.left_behind(3600 * S, PATIENCE) == Left(1800 * S, 2, 180)

    bought = visit((0, ADD, "a", 2, 100), (4000, VIEW), (4010, PURCHASE, "a", 2, 100), (4020, PURCHASE, "b"))
    assert bought.left_behind(99_999 * S, PATIENCE) == Left(0, 2, 200, withdrawn_at=4010 * S)
    assert bought.silent_at(PATIENCE) is None

    assert visit((0, ADD, "a"), (10, REMOVE, "a"), (5000, VIEW)).left is None
    assert visit((0, ADD, "a"), (1799, VIEW)).left is None


def test_a_state_lives_on_as_json() -> None:
    events = [(0, VIEW, "a"), (5, ADD, "a", 2, 100), (4000, VIEW), (4010, PURCHASE, "a", 1, 100), (9000, ADD, "b")]
    whole, halves = visit(*events), visit(*events[:3])
    halves = Visit.load(orjson.dumps(halves))
    for event in events[3:]:
        at, kind, product, quantity, price = (*event, *("p", 1, None)[len(event) - 2 :])
        halves.take(Event(at * S, kind, product, quantity, price), PATIENCE)
    assert halves == whole


def test_the_dearest_baskets_can_still_be_kept() -> None:
    made = visit(*((n, kind, "gold", 10**6, 10**12) for n in range(40) for kind in (ADD, ADD, PURCHASE)))
    assert Visit.load(orjson.dumps(made)) == made
    assert made.left_behind(10**10 * S, PATIENCE) == Left(39 * S, 40 * 10**6, 4 * 10**18)


KINDS = st.sampled_from([VIEW, ADD, REMOVE, PURCHASE])
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60).map(lambda n: n * 150),  # up to two and a half hours, many at the same moment
        KINDS,
        st.sampled_from("ab"),
        st.integers(1, 3),
        st.one_of(st.none(), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=14,
)


@given(events=EVENTS, wait=st.integers(0, 3600))
def test_any_visit_is_as_the_definition_says(events: list[tuple[Any, ...]], wait: int) -> None:
    ordered = sorted(events, key=lambda e: e[0])
    steps = [
        Step(NOON + timedelta(seconds=at), (0, n), kind, product, units, None if price is None else Decimal(price))
        for n, (at, kind, product, units, price) in enumerate(ordered)
    ]
    made = visit(*ordered)
    clock = ordered[-1][0] + wait

    step, seconds = funnel(steps)
    basket, worth, paid, left = baskets(steps, NOON + timedelta(seconds=clock))
    assert (made.step, made.convert_us) == (step, None if seconds is None else seconds * S)
    assert made.basket == {product: units for product, units in basket.items() if units}
    assert (made.value, made.revenue) == (worth, paid)
    found = made.left_behind(clock * S, PATIENCE)
    moments = (
        None
        if found is None
        else tuple(None if t is None else NOON + timedelta(microseconds=t) for t in (found.since, found.withdrawn_at))
    )
    assert (left and (left[0], left[3])) == moments
    assert (left and left[1:3]) == (found and (found.units, found.value))


@given(events=EVENTS.filter(lambda found: len({(e[0], e[2]) for e in found}) == len(found)), random=st.randoms())
def test_the_funnel_does_not_depend_on_the_order_within_a_moment(events: list[tuple[Any, ...]], random: Any) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)
    first, second = (visit(*sorted(some, key=lambda e: e[0])) for some in (events, shuffled))
    assert (first.step, first.convert_us, first.revenue) == (second.step, second.convert_us, second.revenue)
    assert first.basket == second.basket


def test_patience_is_a_setting() -> None:
    made, short = Visit(), Patience(funnel_us=MINUTE_US, abandoned_us=2 * MINUTE_US)
    for at, kind in ((0, VIEW), (10, ADD), (70, PURCHASE), (80, ADD), (200, VIEW)):
        made.take(Event(at * S, kind, "p"), short)
    assert made.step == 2
    assert made.left == Left(since=80 * S, units=1, value=0)
