"""The tracker of meters: live readings in, rates out; expected values are written down, not worked out."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from dashboards.meters import KEEP_POINTS, MeterTracker, Point

T0 = datetime(2026, 11, 22, 6, 0, tzinfo=UTC).timestamp()


def reading(at: float, kg: float, source: str = "a", **given: Any) -> dict[str, Any]:
    """A live record; `at` is seconds after six."""
    time = datetime.fromtimestamp(T0 + at, UTC).isoformat()
    return {"source_id": source, "event_time": time, "emission_kg": kg, "interval_s": None, **given}


def tracked(*rows: dict[str, Any], **options: Any) -> MeterTracker:
    tracker = MeterTracker(**options)
    for row in rows:
        tracker.apply(row, T0)
    return tracker


def points(tracker: MeterTracker, source: str = "a", since: float = 0, until: float = 1e6) -> list[tuple[float, float]]:
    return [(point.at - T0, point.rate_kg_h) for point in tracker.points(source, T0 + since, T0 + until)]


def test_nothing_yet() -> None:
    assert MeterTracker().view(T0) == {}
    assert MeterTracker().points("a", T0, T0 + 1) == []


def test_a_rate_is_over_the_interval_or_since_the_record_before() -> None:
    """2 kg in 10 s are 720 kg/h; 1 kg in the 30 s since are 120 kg/h; the first without an interval tells none."""
    tracker = tracked(reading(0, 5), reading(10, 2, interval_s=10.0), reading(40, 1))
    assert points(tracker) == [(10, 720), (40, 120)]
    assert tracker.view(T0) == {"a": Point(T0 + 40, 120)}


def test_two_records_at_one_time_tell_no_rate() -> None:
    assert points(tracked(reading(0, 1), reading(10, 1), reading(10, 9))) == [(10, 360)]


def test_a_late_record_finds_its_place_and_is_not_the_newest() -> None:
    tracker = tracked(
        *(reading(at, 1, interval_s=10.0) for at in (10, 30)), reading(20, 3), reading(5, 2, interval_s=1.0)
    )
    assert points(tracker) == [(5, 7200), (10, 360), (20, 1080), (30, 360)]
    assert tracker.view(T0)["a"] == Point(T0 + 30, 360)
    assert points(tracker, since=10, until=30) == [(10, 360), (20, 1080)]


def test_the_highest_of_a_second_is_kept_whatever_the_order() -> None:
    rows = [reading(0.1, 1, interval_s=1.0), reading(0.5, 9, interval_s=1.0), reading(0.9, 2, interval_s=1.0),
            reading(1.0, 3, interval_s=1.0)]  # fmt: skip
    assert points(tracked(*rows)) == [(0.5, 32_400), (1, 10_800)]
    assert points(tracked(*reversed(rows))) == [(0.5, 32_400), (1, 10_800)]
    assert tracked(*rows[:3]).view(T0)["a"].rate_kg_h == 7_200, "now is now, also below the peak"


def test_memory_is_bounded() -> None:
    tracker = tracked(*(reading(at, at, interval_s=3600.0) for at in range(3 * KEEP_POINTS)))
    kept = points(tracker)
    assert KEEP_POINTS <= len(kept) <= 1.1 * KEEP_POINTS
    assert kept[-1] == (3 * KEEP_POINTS - 1, 3 * KEEP_POINTS - 1)
    assert all(after[0] - before[0] == 1 for before, after in pairwise(kept))


def test_of_too_many_sources_the_one_that_was_silent_longest_goes() -> None:
    rows = [reading(at, 1, source, interval_s=1.0) for at, source in enumerate("abac")]
    assert sorted(tracked(*rows, most_sources=2).view(T0)) == ["a", "c"]


@pytest.mark.parametrize(
    "row",
    [
        {},
        reading(0, 1) | {"event_time": "yesterday"},
        reading(0, 1) | {"emission_kg": None},
        reading(0, 1) | {"interval_s": "x"},
    ],
)
def test_what_is_no_reading_is_passed_over(row: dict[str, Any]) -> None:
    assert tracked(row, reading(5, 1, interval_s=1.0)).view(T0) == {"a": Point(T0 + 5, 3600)}


def test_any_order_gives_the_same_points() -> None:
    rows = [reading(at, at % 7 + 1, interval_s=2.0) for at in range(200)]
    shuffled = rows[:]
    random.Random(1).shuffle(shuffled)
    assert points(tracked(*shuffled)) == points(tracked(*rows)) == [(at, (at % 7 + 1) * 1800) for at in range(200)]
