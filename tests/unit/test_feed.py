"""The feed's reducers: messages in, snapshots out, no Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from dashboards import push
from dashboards.health import Status, report
from dashboards.hub import Hub
from dashboards.push import Part, Pusher, Sessions, View
from dashboards.state import (
    KEEP_LIVE,
    FeedState,
    Health,
    Link,
    Message,
    Snapshot,
    StreamView,
    TableState,
    replaces,
)
from headwater.contracts import STREAMS
from headwater.contracts.sales import SALES
from headwater.topics import STATUS_TOPIC

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC).timestamp()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def message(
    topic: str, value: Any, *, key: str = "", at: float = NOW, history: bool = False, offset: int = 0
) -> Message:
    raw = value if isinstance(value, bytes) else None if value is None else json.dumps(value).encode()
    return Message(topic, 0, offset, key.encode(), raw, at, history)


def live(offset: int, at: float = NOW, behind: float = 0.05, **message_options: Any) -> Message:
    value = {
        "product": "TV", "quantity": 1, "price": "499.0000", "topic": SALES.raw_topic, "partition": 0,
        "offset": offset, "kafka_timestamp": iso(at - behind), "event_time": iso(at), "event_id": f"e{offset}",
    }  # fmt: skip
    return message(SALES.live_topic, value, at=at, **message_options)


def total(revenue: str, as_of: float, source: str = "aggregate", at: float = NOW, **options: Any) -> Message:
    value = {"kind": "totals", "product": "TV", "revenue": revenue, "as_of": iso(as_of), "source": source}
    return message(SALES.processed_topic, value, key="totals:TV", at=at, **options)


@pytest.fixture
def feed() -> FeedState:
    state = FeedState(STREAMS, stale_after=30)
    state.link = Link(Health.LIVE)
    return state


def sales(feed: FeedState, now: float = NOW) -> StreamView:
    return feed.snapshot(now).streams["sales"]


def test_live_records_come_newest_first_and_a_repeat_counts_once(feed: FeedState) -> None:
    for offset in (1, 2, 1, 3):
        feed.apply(live(offset))
    view = sales(feed)
    assert [row["offset"] for row in view.live] == [3, 2, 1]
    assert view.live_count == 3


def test_memory_is_bounded(feed: FeedState) -> None:
    for offset in range(KEEP_LIVE + 50):
        feed.apply(live(offset))
    assert len(sales(feed).live) == KEEP_LIVE
    assert sales(feed).live_count == KEEP_LIVE + 50


def test_rate_is_of_whole_seconds(feed: FeedState) -> None:
    for offset in range(100):
        feed.apply(live(offset, at=NOW + offset / 10))
    assert sales(feed, NOW + 10).rate_10 == 10.0
    assert sales(feed, NOW + 10).rate_60 == pytest.approx(100 / 60)
    assert sales(feed, NOW + 10).spark == (10,) * 10
    assert sales(feed, NOW + 300).rate_60 == 0


def test_history_gives_rows_but_neither_rate_nor_latency(feed: FeedState) -> None:
    feed.apply(live(1, behind=5000, history=True))
    view = sales(feed, NOW + 5)
    assert view.live_count == 1
    assert view.rate_10 == 0
    assert view.live_latency.samples == 0
    assert view.age == pytest.approx(5005)
    assert view.health is Health.STOPPED


def test_history_of_several_partitions_is_put_in_order(feed: FeedState) -> None:
    for offset in (1, 3, 5, 2, 4):
        feed.apply(live(offset, behind=100 - offset, history=True))
    assert [row["offset"] for row in sales(feed).live] == [5, 4, 3, 2, 1]


def test_latency_is_receipt_less_kafka_s_timestamp(feed: FeedState) -> None:
    for offset in range(100):
        feed.apply(live(offset, behind=0.01 * (offset + 1)))
    latency = sales(feed).live_latency
    assert (latency.p50, latency.p99) == (pytest.approx(0.51, abs=0.02), pytest.approx(0.99, abs=0.011))
    assert sales(feed, NOW + 120).live_latency.samples == 0


def test_aggregate_latency_is_receipt_less_as_of_and_leaves_the_archive_out(feed: FeedState) -> None:
    feed.apply(total("1.0000", as_of=NOW - 0.8))
    feed.apply(total("2.0000", as_of=NOW - 0.1, source="archive"))
    latency = sales(feed).aggregate_latency
    assert (latency.p50, latency.samples) == (pytest.approx(0.8, abs=0.001), 1)


@pytest.mark.parametrize(
    ("new", "held", "expected"),
    [
        ((2, "aggregate"), (1, "archive"), True),  # includes more
        ((1, "archive"), (2, "aggregate"), False),  # includes less
        ((1, "archive"), (1, "aggregate"), True),  # the archive confirms
        ((1, "aggregate"), (1, "archive"), False),  # and is not unsaid
        ((1, "aggregate"), (1, "aggregate"), True),
        ((1, "archive"), (1, "archive"), True),
    ],
)
def test_the_row_that_includes_more_wins(new: tuple[int, str], held: tuple[int, str], expected: bool) -> None:
    def row(spec: tuple[int, str]) -> dict[str, Any]:
        return {"as_of": iso(NOW + spec[0]), "source": spec[1]}

    assert replaces(row(new), row(held)) is expected
    assert replaces(row(new), None)


def test_a_tombstone_takes_a_row_away_and_pictures_taken_before_keep_it(feed: FeedState) -> None:
    feed.apply(total("1.0000", as_of=NOW))
    before = feed.snapshot(NOW)
    feed.apply(message(SALES.processed_topic, None, key="totals:TV"))
    assert sales(feed).table("totals") == {}
    assert before.streams["sales"].table("totals")["TV"]["revenue"] == "1.0000"


def test_old_rows_make_room() -> None:
    """By their own time: a trip's key begins with its truck."""
    table = TableState(time="start_time", limit=100)
    for minute in range(150):
        time = f"2026-11-22T{minute // 60:02}:{minute % 60:02}:00Z"
        table.put(f"truck {999 - minute}|{time}", {"as_of": iso(NOW), "start_time": time})
    assert len(table.rows) <= 110
    assert "truck 850|2026-11-22T02:29:00Z" in table.rows
    assert "truck 999|2026-11-22T00:00:00Z" not in table.rows


def test_states_from_first_to_last(feed: FeedState) -> None:
    feed.link = Link()
    assert sales(feed).health is Health.CONNECTING
    feed.link = Link(Health.CANNOT_CONNECT, "refused")
    assert sales(feed).health is Health.CANNOT_CONNECT
    feed.link = Link(Health.LIVE)
    assert sales(feed).health is Health.NO_DATA
    feed.apply(live(1))
    assert sales(feed, NOW + 29).health is Health.LIVE
    assert sales(feed, NOW + 31).health is Health.STOPPED


def test_garbage_and_strangers_are_passed_over(feed: FeedState) -> None:
    feed.apply(message(SALES.live_topic, b"\xff not json"))
    feed.apply(message(SALES.live_topic, [1, 2]))
    feed.apply(message(SALES.processed_topic, {"a": 1}, key="who:knows"))
    feed.apply(message(SALES.processed_topic, {"a": 1}, key="totals"))
    feed.apply(message(STATUS_TOPIC, {"a": 1}, key="what"))
    assert sales(feed).live == ()
    assert sales(feed).health is Health.NO_DATA


def test_rejects_and_what_only_the_archive_knows(feed: FeedState) -> None:
    for offset in (1, 1, 2):
        feed.apply(message(SALES.rejected_topic, {"topic": "t", "partition": 0, "offset": offset, "reasons": ["x"]}))
    assert sales(feed).rejected_count == 2
    assert sales(feed).late is None
    status = {"stream": "sales", "rejected": 70, "duplicates": 5, "late": 9}
    feed.apply(message(STATUS_TOPIC, status, key="stream:sales"))
    assert (sales(feed).rejected_count, sales(feed).duplicates, sales(feed).late) == (70, 5, 9)


def query(state: str = "running", at: float = NOW, **more: Any) -> Message:
    value = {"query": "live", "streams": ["sales"], "state": state, "at": iso(at), "lag": 7, **more}
    return message(STATUS_TOPIC, value, key="query:live", at=at)


def test_health_names_every_reason(feed: FeedState) -> None:
    assert report(None).status is Status.DOWN
    assert report(feed.snapshot(NOW)).status is Status.DEGRADED
    feed.apply(live(1))
    assert report(feed.snapshot(NOW)).status is Status.OK
    feed.apply(query())
    assert report(feed.snapshot(NOW)).status is Status.OK
    assert feed.snapshot(NOW).lag("sales") == 7
    feed.apply(query(at=NOW + 40))
    assert "no data for 40 s" in report(feed.snapshot(NOW + 40)).reasons[0]
    feed.apply(live(2, at=NOW + 140))
    assert "has not reported for 100 s" in report(feed.snapshot(NOW + 140)).reasons[0]
    feed.apply(query("failed", NOW + 140, message="boom"))
    assert "query live of sales failed: boom" in report(feed.snapshot(NOW + 140)).reasons[0]
    feed.link = Link(Health.CANNOT_CONNECT, "refused")
    assert report(feed.snapshot(NOW)).status is Status.DOWN


def test_the_hub_hands_on_the_newest_only(feed: FeedState) -> None:
    async def scene() -> None:
        hub = Hub()
        hub.attach()
        first, second, third = (feed.snapshot(NOW + i) for i in range(3))
        hub.publish(first)
        assert await hub.next(None, 1) is first
        waiting = [asyncio.create_task(hub.next(first, 5)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.to_thread(hub.publish, second)
        assert await asyncio.gather(*waiting) == [second] * 3
        hub.publish(third)
        hub.publish(second)
        assert await hub.next(first, 1) is second
        assert await hub.next(second, 0.01) is second

    asyncio.run(scene())


def parts() -> tuple[Part, ...]:
    return (
        Part("count", "children", lambda snapshot, view: snapshot.streams["sales"].live_count),
        Part("slow", "children", lambda snapshot, view: snapshot.at, every=10),
        Part("keyed", "children", lambda snapshot, view: snapshot.at, key=lambda snapshot: 1),
        Part("age", "children", lambda snapshot, view: snapshot.at, while_paused=True),
    )


def names(pusher: Pusher, snapshot: Snapshot, view: View, now: float) -> list[str]:
    return [component for component, _, _ in pusher.round(snapshot, view, now)]


def test_only_what_is_due_and_changed_is_sent(feed: FeedState) -> None:
    pusher, view = Pusher({"/": parts()}, ()), View("/")
    assert names(pusher, feed.snapshot(NOW), view, 0) == ["count", "slow", "keyed", "age"]
    assert names(pusher, feed.snapshot(NOW + 1), view, 1) == ["age"]
    feed.apply(live(1))
    assert names(pusher, feed.snapshot(NOW + 2), view, 2) == ["count", "age"]
    assert names(pusher, feed.snapshot(NOW + 11), view, 11) == ["slow", "age"]
    assert names(pusher, feed.snapshot(NOW + 11), View("/other"), 11) == []
    assert names(pusher, feed.snapshot(NOW + 11), view, 11) == ["count", "slow", "keyed", "age"]
    assert names(pusher, feed.snapshot(NOW + 12), View("/", hidden=True), 12) == []


def test_a_part_that_fails_stops_nothing_else(feed: FeedState) -> None:
    def fails(snapshot: Snapshot, view: View) -> None:
        raise ValueError("a row nobody thought of")

    pusher = Pusher({"/": (Part("broken", "children", fails), *parts())}, ())
    assert names(pusher, feed.snapshot(NOW), View("/"), 0) == ["count", "slow", "keyed", "age"]


def test_a_paused_page_stands_still_and_counts(feed: FeedState) -> None:
    feed.apply(live(1))
    sessions, pusher = Sessions(), Pusher({"/": parts()}, ())
    session = sessions.open("tab")
    sessions.show("tab", View("/"), feed.snapshot(NOW))
    assert session.view is not None
    pusher.round(feed.snapshot(NOW), session.view, 0)
    sessions.show("tab", View("/", paused=True), feed.snapshot(NOW))
    feed.apply(live(2))
    assert names(pusher, feed.snapshot(NOW + 1), session.view, 1) == ["age"]
    assert session.view.held["sales"] == 1
    sessions.show("tab", View("/"), feed.snapshot(NOW))
    assert "count" in names(pusher, feed.snapshot(NOW + 2), session.view, 2)


def test_a_tab_has_one_push_loop(feed: FeedState) -> None:
    sessions = Sessions()
    first = sessions.open("tab")
    second = sessions.open("tab")
    assert first.closed and not second.closed
    sessions.close("tab", first)
    assert len(sessions) == 1
    sessions.close("tab", second)
    assert len(sessions) == 0


class Tab:
    """A browser's tab at the other end of a socket; asleep it answers nothing, as one that is frozen or starved."""

    _renderer_id = "tab"
    _outbound_queue = SimpleNamespace(sync_q=SimpleNamespace(qsize=lambda: 0))

    def __init__(self) -> None:
        self.is_shutdown = self.is_asleep = False
        self.sent: list[str] = []

    async def get_prop(self, *_: object, **__: object) -> dict[str, str]:
        if self.is_asleep:
            raise TimeoutError
        return {"path": "/"}

    def set_prop_sync(self, component: str, *_: object) -> None:
        self.sent.append(component)


class Callbacks(dict[str, Any]):
    """What an app is given, by name."""

    def callback(self, *_: object, **__: object) -> Callable[[Any], Any]:
        return lambda function: self.setdefault(function.__name__, function)


def test_a_tab_that_was_asleep_for_too_long_is_served_again(feed: FeedState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket stands, so nothing but its own nudge tells that it is back."""
    tab, app, hub, sessions = Tab(), Callbacks(), Hub(), Sessions()
    monkeypatch.setattr(push, "ctx", SimpleNamespace(websocket=tab))
    monkeypatch.setattr(push, "LEASE_SECONDS", 0.0)
    monkeypatch.setattr(push, "WAIT_SECONDS", 0.01)
    push.register(app, hub, sessions, {"/": parts()}, ())  # type: ignore[arg-type]
    hub.publish(feed.snapshot(NOW))

    async def is_true(holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.005)

    async def sleeps_and_wakes() -> None:
        loop = asyncio.create_task(app["push"]())
        await app["show"]({"path": "/"})
        await is_true(lambda: "count" in tab.sent)
        tab.is_asleep = True
        await loop
        assert len(sessions) == 0

        tab.is_asleep = False
        tab.sent.clear()
        await app["show"]({"path": "/", "nudge": 1})
        await is_true(lambda: "count" in tab.sent)
        assert len(sessions) == 1

        tab.is_shutdown = True
        await is_true(lambda: len(sessions) == 0)

    asyncio.run(asyncio.wait_for(sleeps_and_wakes(), 20))


def test_a_view_takes_only_what_it_knows() -> None:
    assert View.of(None) is None
    assert View.of({"path": 5}) is None
    assert View.of({"path": "/x", "minutes": "15", "paused": 1, "theme": "dark", "more": 1}) == View("/x", "dark")
