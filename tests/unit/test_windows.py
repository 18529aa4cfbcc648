"""Counts in sliding windows, against counting anew."""

from __future__ import annotations

import random

import pytest

from dashboards.windows import Place, Standing, Sums, Trend


def standing_by_hand(visits: list[list[Place]], window: int, span: int) -> list[int]:
    """A visit stands where its latest event up to the window put it, if that is recent enough."""
    steps = [0, 0, 0, 0]
    for visit in visits:
        past = [place for place in visit if place[0] <= window]
        if past and past[-1][0] > window - span:
            steps[past[-1][1]] += 1
    return steps


def some_visits(seed: int) -> list[list[Place]]:
    """Windows ascend within a visit, and so do the steps."""
    rng = random.Random(seed)
    visits = []
    for _ in range(30):
        length = rng.randint(1, 6)
        windows = sorted(rng.randint(0, 60) for _ in range(length))
        visits.append(list(zip(windows, sorted(rng.randint(0, 3) for _ in range(length)), strict=True)))
    return visits


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("span", [1, 4, 30])
def test_the_past_can_be_asked_as_well_as_the_present(seed: int, span: int) -> None:
    visits = some_visits(seed)
    standing = Standing(span, steps=4)
    for visit in visits:
        for before, here in zip([None, *visit], visit, strict=False):
            standing.count(before, here)
    for window in range(100):
        assert standing.as_of(window) == standing_by_hand(visits, window, span)


def test_what_is_taken_back_leaves_nothing() -> None:
    standing = Standing(6, steps=4)
    standing.count(None, (5, 1))
    standing.count((5, 1), (7, 2))
    standing.count((5, 1), (7, 2), -1)
    standing.count(None, (5, 1), -1)
    assert all(standing.as_of(window) == [0, 0, 0, 0] for window in range(20))


def test_what_is_forgotten_still_counts_later() -> None:
    visits = some_visits(9)
    standing = Standing(30, steps=4)
    for visit in visits:
        for before, here in zip([None, *visit], visit, strict=False):
            standing.count(before, here)
    standing.forget(40)
    standing.count(None, (3, 1))  # comes late, and is over before anybody can ask
    for window in range(40, 100):
        assert standing.as_of(window) == standing_by_hand(visits, window, 30)


def test_sums_by_window() -> None:
    sums = Sums(columns=2)
    sums.add(1, 1, 100)
    sums.add(2, 1, 50)
    sums.add(2, 1, 25)
    assert sums.total(range(1, 3)) == [3, 175]
    assert sums.total(range(2, 9)) == [2, 75]
    sums.forget(2)
    assert sums.total(range(9)) == [2, 75]


def test_names_move_from_now_to_before_to_nowhere() -> None:
    trend = Trend(span=3, most_names=10)
    trend.advance(100)
    for window, name in ((100, "a"), (100, "a"), (98, "b"), (97, "a"), (95, "c"), (94, "d")):
        trend.add(window, name)
    assert (trend.now, trend.before) == ({"a": 2, "b": 1}, {"a": 1, "c": 1})  # 98-100 and 95-97
    trend.advance(101)
    assert (trend.now, trend.before) == ({"a": 2}, {"b": 1, "a": 1})  # 99-101 and 96-98
    trend.advance(103)
    assert (trend.now, trend.before) == ({}, {"a": 2, "b": 1})  # 101-103 and 98-100
    trend.advance(500)
    assert (trend.now, trend.before) == ({}, {})


def test_what_lies_ahead_counts_when_its_time_comes() -> None:
    trend = Trend(span=3, most_names=10)
    trend.advance(100)
    trend.add(102, "a")
    assert trend.now == {}
    trend.advance(102)
    assert trend.now == {"a": 1}
    trend.add(900, "b")
    trend.advance(900)
    assert trend.now == {"b": 1}


def test_names_in_a_window_are_bounded() -> None:
    trend = Trend(span=3, most_names=2)
    trend.advance(100)
    for name in "abca":
        trend.add(100, name)
    assert trend.now == {"a": 2, "b": 1}
