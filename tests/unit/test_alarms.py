"""Alarms that don't flap, and what waits for a reader."""

from __future__ import annotations

import pytest

from dashboards.alarms import Alarms, Finding
from dashboards.backlog import MOST_MARKS, Backlog, Lag
from dashboards.counts import BUCKETS, Histogram, Share


def lag(seconds: float) -> Finding:
    return Finding("lag", "live", ("sales",), f"{seconds} s", value=seconds, limit=15)


def test_a_measure_that_swings_about_its_limit_is_one_alarm() -> None:
    """Limit 15, over below 7.5 for ten seconds. Above at 1, near it for a minute, low at 60 s, once more above half at
    65 s: only from 66 s on it stays low, and at 76 s it is over.
    """
    alarms = Alarms(end_share=0.5, end_seconds=10)
    course = {0: 15, 1: 16, 2: 14, 3: 16, 30: 8, 60: 1, 65: 8, 66: 7.5, 75: 0}
    since = {}
    for at, value in course.items():
        since[at] = [alarm.since for alarm in alarms.update(at, [lag(value)])]
    assert since == {0: [], **{at: [1] for at in list(course)[1:]}}
    assert alarms.update(75.9, [lag(0)])
    assert alarms.update(76, [lag(0)]) == ()
    assert alarms.update(77, [lag(15.1)])[0].since == 77


def test_what_has_no_measure_ends_with_it_and_keeps_its_newest_words() -> None:
    alarms = Alarms(0.5, 10)
    alarms.update(1, [Finding("failed", "live", (), "first")])
    (alarm,) = alarms.update(2, [Finding("failed", "live", (), "second")])
    assert (alarm.since, alarm.text) == (1, "second")
    assert alarms.update(3, []) == ()


def test_the_oldest_alarm_comes_first() -> None:
    alarms = Alarms(0.5, 10)
    alarms.update(1, [Finding("silent", "z", (), "")])
    found = alarms.update(2, [Finding("failed", "a", (), ""), Finding("silent", "z", (), "")])
    assert [(alarm.subject, alarm.since) for alarm in found] == [("z", 1), ("a", 2)]


def test_a_record_waits_from_when_it_was_seen_until_the_reader_has_it() -> None:
    backlog = Backlog()
    assert backlog.lag(0) is None
    backlog.reached(100)
    for at, end in ((10, 100), (12, 130), (14, 130), (16, 150)):
        backlog.ended(at, end)
    assert backlog.lag(20) == Lag(50, 8)  # the 30 that came at 12
    backlog.reached(129)
    assert backlog.lag(20) == Lag(21, 8)
    backlog.reached(130)
    assert backlog.lag(20) == Lag(20, 4)
    backlog.reached(160)  # it knows of more than the last answer said
    assert backlog.lag(20) == Lag(0, 0)


def test_a_reader_that_says_nothing_is_up_to_date_at_first_and_then_falls_behind() -> None:
    backlog = Backlog()
    backlog.ended(10, 1_000)
    assert backlog.lag(60) == Lag(0, 0)
    backlog.ended(12, 1_010)
    assert backlog.lag(60) == Lag(10, 48)


def test_a_reader_that_goes_back_waits_anew_though_nothing_comes() -> None:
    backlog = Backlog()
    backlog.reached(50)
    backlog.ended(10, 50)
    backlog.reached(20)
    backlog.ended(12, 50)
    assert backlog.lag(100) == Lag(30, 88)


def test_a_topic_made_anew_begins_anew() -> None:
    backlog = Backlog()
    backlog.reached(500)
    backlog.ended(10, 500)
    backlog.ended(12, 3)
    assert backlog.lag(20) == Lag(0, 0)


def test_a_day_of_standing_still_is_remembered_in_bounds() -> None:
    backlog = Backlog()
    backlog.reached(0)
    for step in range(1, 43_200):
        backlog.ended(2 * step, step)
    assert len(backlog._marks) <= MOST_MARKS
    assert backlog.lag(86_400) == Lag(43_199, 86_398)


def test_a_share_is_of_the_last_minutes_and_of_enough_records() -> None:
    share = Share(300)
    share.add(0, 19, 19)
    assert share.of(0) is None
    share.add(5, 1, 0)
    assert share.of(5) == 0.95
    share.add(290, 60, 1)
    assert share.of(290) == pytest.approx(20 / 80)
    assert share.of(311) == pytest.approx(1 / 60)
    assert share.of(700) is None


def test_a_sample_falls_into_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 60.0, 60.1):
        histogram.add(seconds)
    counts = histogram.view().counts
    assert (counts[0], counts[1], counts[len(BUCKETS) - 1], counts[-1]) == (2, 1, 1, 1)
    assert histogram.view().total == pytest.approx(120.1021)
