"""Each way in which health could lie, by what the feed was told and what it measured itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dashboards.health import Limits, Status, report
from dashboards.state import FeedState, Health, Link
from headwater.contracts import STREAMS
from headwater.contracts.sales import SALES
from headwater.contracts.trucks import TRUCKS
from headwater.settings import Settings
from headwater.topics import STATUS_TOPIC
from tests.unit.test_feed import NOW, iso, live, message

RECORDED = Path(__file__).parent / "status_until_kill.jsonl"
"""What a job of sales said in the 36 s before `kill -9`, its producer having stopped before: seconds to the kill."""


@pytest.fixture
def feed() -> FeedState:
    state = FeedState(STREAMS, stale_after=30)
    state.link = Link(Health.LIVE)
    return state


def say(
    feed: FeedState, query: str, *, at: float = NOW, streams: Iterable[str] = ("sales",), state: str = "running",
    told_at: float | None = None, **figures: Any,
) -> None:  # fmt: skip
    """A query's status, received at a time, said at that time unless its clock is wrong."""
    names = list(streams)
    value = {"query": query, "streams": names, "state": state, "at": iso(at if told_at is None else told_at), **figures}
    feed.apply(message(STATUS_TOPIC, value, key=f"query:{query}:{'+'.join(names)}", at=at))


def account(feed: FeedState, at: float, **counts: int) -> None:
    value = {"stream": "sales", "records": 0, "rejected": 0, "duplicates": 0, "late": 0, "owed": 0} | counts
    feed.apply(message(STATUS_TOPIC, value, key="stream:sales", at=at))


def ended(feed: FeedState, at: float, sales: int, trucks: int = 0, *, own: int = 0, own_end: int = 0) -> None:
    """Where the raw topics end, in partition 0."""
    ends = {(SALES.raw_topic, 0): sales} | ({(TRUCKS.raw_topic, 0): trucks} if trucks else {})
    feed.ended(at, ends, own, own_end)


def sell(feed: FeedState, upto: int, at: float) -> None:
    """A live record of sales, at the offset before `upto`."""
    feed.apply(live(upto - 1, at=at))


def reasons(feed: FeedState, at: float) -> tuple[str, ...]:
    return report(feed.snapshot(at)).reasons


def test_all_that_should_run_does(feed: FeedState) -> None:
    sell(feed, 100, NOW)
    for query in ("live", "aggregate", "archive"):
        say(feed, query, reached={SALES.raw_topic: 100})
    ended(feed, NOW, 100)
    assert report(feed.snapshot(NOW + 5)).status is Status.OK


def test_a_job_that_was_killed_is_known_by_its_silence_though_nothing_comes(feed: FeedState) -> None:
    """The heartbeat of a real job; after its last one nothing is said any more, and nothing comes either."""
    killed = datetime(2026, 11, 28, 21, 25, 4, 525_520, UTC).timestamp()
    for line in RECORDED.read_text().splitlines():
        told = json.loads(line)
        at = killed + told["received_at"]
        feed.apply(message(STATUS_TOPIC, told["value"], key=told["key"], at=at))
        sell(feed, 1489, at)
        ended(feed, at, 1489)
        assert not any(reason.startswith("query") for reason in reasons(feed, at))
    assert not any(reason.startswith("query") for reason in reasons(feed, killed + 25))
    silent, _ = reasons(feed, killed + 32)
    assert silent.startswith("the job of sales has not reported for 35 s (its queries aggregate, archive, live)")
    assert silent.endswith("spark-submit jobs/sales.py")


def test_a_query_that_failed_says_why_until_it_runs_again(feed: FeedState) -> None:
    sell(feed, 1, NOW)
    say(feed, "archive", state="failed", message="no space left")
    say(feed, "live", state="stopped")
    (reason,) = reasons(feed, NOW + 1)
    assert reason.startswith("query archive of sales failed: no space left. Start its job again")
    say(feed, "archive", at=NOW + 2)
    assert reasons(feed, NOW + 3) == ()


def test_another_job_of_the_same_streams_takes_the_place_of_a_dead_one_for_those_alone(feed: FeedState) -> None:
    """The suite died; sales goes on in a job of its own. Two jobs have a query of the same name each."""
    say(feed, "live", streams=["sales", "trucks"])
    sell(feed, 1, NOW + 39)
    say(feed, "live", at=NOW + 39)
    (reason,) = [r for r in reasons(feed, NOW + 40) if "job" in r]
    assert reason.startswith("the job of trucks has not reported for 40 s")
    assert reason.endswith("spark-submit jobs/trucks.py")


def test_a_job_that_lives_cannot_hide_another_one_that_died(feed: FeedState) -> None:
    sell(feed, 1, NOW + 39)
    say(feed, "live", streams=["trucks"])
    say(feed, "live", at=NOW + 39)
    assert any(reason.startswith("the job of trucks has not reported") for reason in reasons(feed, NOW + 40))


def test_lag_is_measured_and_not_the_query_s_own_word(feed: FeedState) -> None:
    """It says that nothing waits, and ends batches; what it has reached says something else."""
    sell(feed, 100, NOW)
    for at, end in ((0, 100), (2, 200), (34, 1_300)):
        ended(feed, NOW + at, end)
        sell(feed, end, NOW + at)
        say(feed, "aggregate", at=NOW + at, lag=0, reached={SALES.raw_topic: 100 + at}, progress_at=iso(NOW + at))
    assert reasons(feed, NOW + 33) == ()  # 30 s beyond its trigger of 1 s; the first of them was seen at 2 s
    (reason,) = reasons(feed, NOW + 34)
    assert reason.startswith("query aggregate is behind: 1,166 records of sales wait for it, the oldest for 32 s")
    worst = feed.snapshot(NOW + 34).queries[0].worst()
    assert worst is not None and worst.records == 1_166


def test_a_query_starves_when_records_come_and_no_batch_ends(feed: FeedState) -> None:
    """It reports all the time: its driver lives."""
    say(feed, "archive", reached={SALES.raw_topic: 100}, progress_at=iso(NOW))
    ended(feed, NOW, 100)
    for at in range(2, 156, 2):
        ended(feed, NOW + at, 100 + at)
        sell(feed, 100 + at, NOW + at)
        say(feed, "archive", at=NOW + at, reached={SALES.raw_topic: 100}, progress_at=iso(NOW))
        assert bool(reasons(feed, NOW + at)) == (at > 152), at
    (reason,) = reasons(feed, NOW + 154)
    assert reason.startswith("query archive starves: its last batch ended 3 min ago, and 154 records of sales wait")


def test_the_live_query_is_judged_by_what_has_come_here(feed: FeedState) -> None:
    """It runs, says it reads all, and nothing arrives: valid or rejected, both count as arrived."""
    sell(feed, 10, NOW)
    say(feed, "live")
    ended(feed, NOW, 10)
    for at in (4, 8, 12, 16, 20):
        ended(feed, NOW + at, 10 + at)
        say(feed, "live", at=NOW + at)
    (reason,) = reasons(feed, NOW + 20)
    assert reason.startswith("query live is behind: 20 records of sales wait for it, the oldest for 16 s")
    rejected = {"topic": SALES.raw_topic, "partition": 0, "offset": 29, "reasons": ["not_json"]}
    feed.apply(message(SALES.rejected_topic, rejected, at=NOW + 20))
    ended(feed, NOW + 20, 30)
    assert reasons(feed, NOW + 20) == ()
    assert feed.snapshot(NOW + 20).lag("sales") == 0


def test_a_live_query_that_leaves_gaps_is_believed_when_it_says_it_is_beyond(feed: FeedState) -> None:
    """Markers of transactions take offsets and are no records."""
    sell(feed, 10, NOW)
    say(feed, "live", reached={SALES.raw_topic: 12})
    ended(feed, NOW, 12)
    assert feed.snapshot(NOW + 60).queries[0].worst().records == 0


def test_a_producer_that_died_is_named(feed: FeedState) -> None:
    sell(feed, 10, NOW)
    say(feed, "live", at=NOW + 30)
    for at in (0, 2, 34):
        ended(feed, NOW + at, 10)
    (reason,) = reasons(feed, NOW + 40)
    assert reason == (
        "sales: no data for 40 s, and nothing comes into sales_topic_electronics: its producer is silent. "
        "Start it: python -m producers.sales"
    )


def test_a_stream_that_no_job_was_started_for_is_switched_off(feed: FeedState) -> None:
    """A bare `spark-submit jobs/sales.py`: trucks has rows of yesterday, and even a producer; nobody reads it."""
    truck = {"truck_id": "t", "topic": TRUCKS.raw_topic, "partition": 0, "offset": 5, "kafka_timestamp": iso(NOW)}
    feed.apply(message(TRUCKS.live_topic, truck, at=NOW - 86_400, history=True))
    sell(feed, 10, NOW)
    say(feed, "live")
    ended(feed, NOW, 10, 6)
    assert reasons(feed, NOW + 5) == ()


def test_records_that_nobody_reads_any_more_are_no_good_news(feed: FeedState) -> None:
    """trucks was stopped on purpose while sales goes on, and its producer writes on."""
    truck = {"truck_id": "t", "topic": TRUCKS.raw_topic, "partition": 0, "offset": 5, "kafka_timestamp": iso(NOW)}
    feed.apply(message(TRUCKS.live_topic, truck, at=NOW))
    say(feed, "live", streams=["trucks"], state="stopped")
    say(feed, "live")
    sell(feed, 10, NOW)
    ended(feed, NOW, 10, 6)
    assert reasons(feed, NOW + 1) == ()
    ended(feed, NOW + 2, 10, 7)
    (reason,) = reasons(feed, NOW + 3)
    assert reason.startswith("trucks: records come into TruckLocations, and no query reads them any more")


def test_all_jobs_stopped_is_not_ok(feed: FeedState) -> None:
    """Whether or not records go on coming."""
    sell(feed, 10, NOW)
    say(feed, "live", state="stopped")
    ended(feed, NOW, 10)
    assert reasons(feed, NOW + 31) == ("sales: no data for 31 s, and no query runs. `make demo` starts all there is",)
    ended(feed, NOW + 30, 12)
    assert "and no query reads them any more" in reasons(feed, NOW + 31)[0]


def test_a_job_that_was_to_end_is_missed_by_nobody(feed: FeedState) -> None:
    """`--once`, while another job goes on."""
    sell(feed, 10, NOW)
    say(feed, "live")
    say(feed, "aggregate", streams=["co2"], state="finished")
    assert reasons(feed, NOW + 1) == ()


def test_rows_that_the_database_is_owed(feed: FeedState) -> None:
    sell(feed, 10, NOW)
    say(feed, "archive")
    account(feed, NOW, records=10, owed=1_234)
    (reason,) = reasons(feed, NOW)
    assert reason.startswith("sales: 1,234 rows wait for the SQL database")
    account(feed, NOW + 1, records=10)
    assert reasons(feed, NOW + 1) == ()


def test_many_rejected_records_are_a_fault_and_name_their_reason(feed: FeedState) -> None:
    for offset in range(80):
        feed.apply(live(offset))
    for offset in range(20):
        value = {"topic": SALES.raw_topic, "partition": 1, "offset": offset, "reasons": ["missing:price"]}
        feed.apply(message(SALES.rejected_topic, value))
    assert reasons(feed, NOW) == ()  # 20 %, the limit
    more = {"topic": SALES.raw_topic, "partition": 1, "offset": 20, "reasons": ["not_json"]}
    feed.apply(message(SALES.rejected_topic, more))
    (reason,) = reasons(feed, NOW)
    assert reason.startswith("sales: 20.8 % of the last 5 min's records were rejected, most for missing:price")


def test_many_late_records_are_a_warning_and_health_stays_ok(feed: FeedState) -> None:
    """250 of 1,000 since the status before; what the account held before that is of another day."""
    sell(feed, 10, NOW)
    account(feed, NOW - 60, records=1_000_000, late=900_000)
    account(feed, NOW, records=1_001_000, late=900_250)
    judged = report(feed.snapshot(NOW))
    assert (judged.status, judged.reasons) == (Status.OK, ())
    assert judged.warnings[0].startswith("sales: 25.0 % of the last 5 min's records came late")


def test_a_dashboard_that_is_behind_says_so_of_itself(feed: FeedState) -> None:
    sell(feed, 10, NOW)
    ended(feed, NOW, 10, own=500, own_end=500)
    ended(feed, NOW + 2, 10, own=500, own_end=90_000)
    assert reasons(feed, NOW + 12) == ()
    (reason,) = reasons(feed, NOW + 13)
    assert reason.startswith("the dashboard itself is behind: 89,500 messages wait for it, the oldest for 11 s")


@pytest.mark.parametrize(("ahead", "words"), [(-7.0, "7.0 s behind"), (60.0, "60 s ahead of")])
def test_a_job_s_clock_that_is_wrong_is_told_and_hides_no_silence(feed: FeedState, ahead: float, words: str) -> None:
    sell(feed, 10, NOW + 5)
    for at in (0, 5):
        say(feed, "live", at=NOW + at, told_at=NOW + at + ahead)
    (reason,) = reasons(feed, NOW + 5)
    assert reason.startswith(f"the clock of the job of sales is {words} this machine's")
    sell(feed, 11, NOW + 40)
    assert any("has not reported for 35 s" in reason for reason in reasons(feed, NOW + 40))


def test_what_was_held_up_on_its_way_is_no_clock_that_is_wrong(feed: FeedState) -> None:
    """Kafka was away: four beats come at once, and then one in time."""
    sell(feed, 10, NOW + 20)
    for said, came in ((0, 0), (5, 20), (10, 20), (15, 20), (20, 20.1)):
        say(feed, "live", at=NOW + came, told_at=NOW + said)
        assert not any("clock" in reason for reason in reasons(feed, NOW + came))


@pytest.mark.parametrize(("behind", "words"), [(-9.0, "9.0 s ahead of"), (20.0, "20 s behind")])
def test_kafka_s_clock_that_is_wrong_is_told(feed: FeedState, behind: float, words: str) -> None:
    """Records arrive at once as far as was measured, and yet seem to come from the future or to be old."""
    say(feed, "live")
    for offset in range(10):
        feed.apply(live(offset, at=NOW + offset / 10, behind=behind))
    ended(feed, NOW + 1, 10)
    ended(feed, NOW + 1, 10)
    (reason,) = reasons(feed, NOW + 2)
    assert reason.startswith(f"Kafka's clock is {words} this machine's")
    assert feed.snapshot(NOW + 2).streams["sales"].live_latency.p50 == max(behind, 0)


def test_without_kafka_it_is_down_and_guesses_at_nothing(feed: FeedState) -> None:
    say(feed, "live", state="failed", message="boom")
    feed.link = Link(Health.CANNOT_CONNECT, "refused")
    assert report(feed.snapshot(NOW)) == report(feed.snapshot(NOW + 500))
    assert reasons(feed, NOW) == ("Kafka: cannot connect: refused",)


def test_a_slower_trigger_gives_a_query_more_time() -> None:
    settings = Settings.model_validate({"jobs": {"archive_trigger_seconds": 600}})
    assert Limits.of(settings).lag_seconds == {"live": 15, "aggregate": 31, "archive": 720}
