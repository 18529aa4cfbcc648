"""What the jobs say of themselves, without Spark: its events are stood in for by their fields."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog

from headwater.ledger import Ledger
from headwater.status import Listener, Status, reached
from headwater.turns import TurnError

OFFSETS = '{"sales_topic_electronics": {"0": 7, "1": 4}, "TruckLocations": {"0": 5}}'


class Topic:
    """Stands in for a producer to the status topic."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def produce(self, topic: str, value: bytes, key: str) -> None:
        assert topic == "headwater_status"
        self.said.append((key, orjson.loads(value)))

    def poll(self, timeout: float) -> None: ...


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def status(topic: Topic) -> Status:
    status = Status({"bootstrap.servers": "127.0.0.1:1"})
    status._producer = topic  # type: ignore[assignment]
    return status


LATEST = '{"sales_topic_electronics": {"0": 9, "1": 4}}'


def progress(
    batch: int = 3, batch_ms: int = 700, name: str = "aggregate", end: str = OFFSETS, latest: str = LATEST
) -> Any:
    source = SimpleNamespace(endOffset=end, latestOffset=latest)
    return SimpleNamespace(
        progress=SimpleNamespace(
            name=name, batchId=batch, batchDuration=batch_ms, durationMs={"addBatch": 500}, numInputRows=8,
            inputRowsPerSecond=float("nan"), processedRowsPerSecond=9.5, sources=[source],
        )
    )  # fmt: skip


def raised_in_a_batch(error: Exception) -> str:
    """As Spark tells it of a query whose Python function raised."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return (
        "org.apache.spark.sql.streaming.StreamingQueryException: [STREAM_FAILED] Query [id = 1, runId = r] terminated "
        "with exception: An exception was raised by the Python Proxy. Return Message: Traceback (most recent call "
        f'last):\n  File "clientserver.py", line 647, in _call_proxy\n{name}: {error}\n SQLSTATE: XXKST'
    )


def started(listener: Listener, name: str = "aggregate", run: str = "r") -> None:
    listener.onQueryStarted(SimpleNamespace(name=name, runId=run))  # type: ignore[arg-type]


def terminated(listener: Listener, exception: str | None = None, run: str = "r") -> None:
    listener.onQueryTerminated(SimpleNamespace(runId=run, exception=exception))  # type: ignore[arg-type]


@pytest.fixture
def both_live(status: Status) -> Listener:
    """Two streams' live queries run, and each has ended a batch: sales is 2 behind, trucks 4."""
    listener = Listener(status, ["sales", "trucks"], {})
    started(listener, "live:sales", "s")
    started(listener, "live:trucks", "t")
    sales, trucks = '{"sales_topic_electronics": {"0": 7, "1": 4}}', '{"TruckLocations": {"0": 5}}'
    listener.onQueryProgress(progress(3, 30_100, "live:sales", sales, LATEST))
    listener.onQueryProgress(progress(8, 31_200, "live:trucks", trucks, '{"TruckLocations": {"0": 9}}'))
    return listener


def test_the_streams_live_queries_are_told_as_one(topic: Topic, both_live: Listener) -> None:
    key, told = topic.said[-1]
    assert (key, told["query"], told["state"]) == ("query:live:sales+trucks", "live", "running")
    assert told["reached"] == {"sales_topic_electronics": 11, "TruckLocations": 5}
    assert (told["lag"], told["input_rows"], told["processed_rows_per_second"]) == (6, 16, 19.0)
    assert (told["batch_id"], told["batch_ms"]) == (8, 31_200)  # the newest
    both_live.beat(["live:sales", "live:trucks"])
    again = topic.said[-1][1]
    assert again.pop("at") > told.pop("at")
    assert again == told
    both_live.onQueryProgress(progress(9, 31_000, "live:trucks", '{"TruckLocations": {"0": 9}}', "{}"))
    assert topic.said[-1][1]["reached"] == {"sales_topic_electronics": 11, "TruckLocations": 9}


def test_the_live_queries_have_ended_when_the_last_has(topic: Topic, both_live: Listener) -> None:
    said = len(topic.said)
    terminated(both_live, run="s")
    assert len(topic.said) == said
    terminated(both_live, run="t")
    assert [told["state"] for _, told in topic.said[said:]] == ["stopped"]


def test_live_queries_have_failed_when_one_has_whatever_the_others_say_later(topic: Topic, both_live: Listener) -> None:
    said = len(topic.said)
    terminated(both_live, "boom", "s")
    both_live.onQueryProgress(progress(9, 31_000, "live:trucks"))
    both_live.onQueryIdle(SimpleNamespace(runId="t"))  # type: ignore[arg-type]
    both_live.beat(["live:trucks"])
    terminated(both_live, run="t")
    both_live.close()
    assert [(told["state"], told["message"]) for _, told in topic.said[said:]] == [("failed", "boom")]


def test_a_query_says_how_far_it_has_come_and_what_its_batch_took(topic: Topic, status: Status) -> None:
    listener = Listener(status, ["sales", "trucks"], {})
    started(listener)
    listener.onQueryProgress(progress())
    key, told = topic.said[-1]
    assert key == "query:aggregate:sales+trucks"
    assert told["reached"] == {"sales_topic_electronics": 11, "TruckLocations": 5}
    assert (told["lag"], told["batch_ms"], told["phases_ms"]) == (2, 700, {"addBatch": 500})
    assert told["input_rows_per_second"] == 0
    assert told["progress_at"] <= told["at"]


def test_a_beat_says_it_again_and_does_not_feign_progress(topic: Topic, status: Status) -> None:
    listener = Listener(status, ["sales"], {})
    listener.beat(["aggregate"])
    assert topic.said == []  # nothing is known of it yet
    started(listener)
    listener.onQueryProgress(progress())
    before = topic.said[-1][1]
    listener.beat(["aggregate"])
    after = topic.said[-1][1]
    assert after.pop("at") > before.pop("at")
    assert after == before


def test_an_idle_query_makes_progress_and_keeps_what_it_has_reached(topic: Topic, status: Status) -> None:
    listener = Listener(status, ["sales"], {})
    started(listener)
    listener.onQueryProgress(progress())
    before = topic.said[-1][1]
    listener.onQueryIdle(SimpleNamespace(runId="r"))  # type: ignore[arg-type]
    after = topic.said[-1][1]
    assert after["progress_at"] > before["progress_at"]
    assert (after["lag"], after["reached"], after["batch_ms"]) == (0, before["reached"], 700)


@pytest.mark.parametrize(
    ("finite", "exception", "state"),
    [
        (False, None, "stopped"),
        (True, None, "finished"),
        (False, "boom\n at Java", "failed"),
        (True, "boom", "failed"),
    ],
)
def test_how_a_query_ended(topic: Topic, status: Status, finite: bool, exception: str | None, state: str) -> None:
    listener = Listener(status, ["sales"], {}, finite=finite)
    with structlog.testing.capture_logs() as lines:
        started(listener)
        terminated(listener, exception)
    assert topic.said[-1][1]["state"] == state
    assert topic.said[-1][1].get("message") == ("boom" if exception else None)
    assert [line["event"] for line in lines] == ["query_started", f"query_{state}"]
    said = len(topic.said)
    listener.beat(["aggregate"])
    assert len(topic.said) == said


def test_a_batch_that_is_left_to_the_next_start_is_no_failure(topic: Topic, status: Status) -> None:
    listener = Listener(status, ["sales"], {})
    started(listener)
    terminated(listener, raised_in_a_batch(TurnError("batch 4 waits for what aggregate has not reached yet")))
    assert topic.said[-1][1]["state"] == "stopped"


def test_a_job_that_was_stopped_says_so_though_spark_is_gone(
    topic: Topic, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.status.END_SECONDS", 0.0)
    listener = Listener(status, ["sales"], {})
    started(listener)
    listener.close()
    assert topic.said[-1][1]["state"] == "stopped"
    said = len(topic.said)
    listener.close()
    assert len(topic.said) == said


def test_slow_batches_are_logged_and_not_each_of_them(status: Status) -> None:
    listener = Listener(status, ["sales"], {"aggregate": 1.0})
    with structlog.testing.capture_logs() as lines:
        for batch, batch_ms in enumerate((900, 1_200, 1_300)):
            listener.onQueryProgress(progress(batch, batch_ms))
    (line,) = lines
    assert (line["event"], line["query"], line["batch"], line["seconds"]) == ("slow_batch", "aggregate", 1, 1.2)


def test_a_ledger_is_measured_now_and_then(topic: Topic, status: Status) -> None:
    ledger = Ledger(":memory:", [])
    with ledger.transaction():
        ledger.db.execute("INSERT INTO consumed VALUES (0, 5), (1, 6)")
        ledger.db.execute("INSERT INTO counters VALUES ('batch', 1)")
    status.ledger("sales", "archive", ledger)
    status.ledger("sales", "archive", ledger)
    status.ledger("sales", "fresh", ledger)
    assert [key for key, _ in topic.said] == ["ledger:sales:archive", "ledger:sales:fresh"]
    told = topic.said[0][1]
    assert told["rows"] == 3
    assert told["bytes"] > 0 and told["bytes"] % 4096 == 0
    ledger.close()


@pytest.mark.parametrize("offsets", [None, "", "null", "[]", "7", "not json"])
def test_offsets_that_are_none(offsets: str | None) -> None:
    assert reached(offsets) == {}
