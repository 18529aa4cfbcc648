"""What the dashboard reads from Kafka: hostile records that are good by contract, and what is no record of ours."""

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from dashboards.app import trackers
from dashboards.state import FeedState, Message
from headwater.contracts import STREAMS
from headwater.contracts.base import Stream
from headwater.settings import Settings
from headwater.topics import STATUS_TOPIC
from tests.contract_rules import judged, nesting_allowed
from tests.hostile import VALUES, drawn, messages
from tests.unit.test_quality_hostile import odd_values


def spelled(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else value.isoformat()


def message(topic: str, value: bytes | None, offset: int, key: bytes | None = b"k") -> Message:
    return Message(topic, 0, offset, key, value, time.time(), offset % 2 == 0)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_every_good_record_is_shown(settings: Settings, stream: Stream) -> None:
    """However odd its values: it is counted, and neither the feed nor the stream's tracker stumbles."""
    state = FeedState(STREAMS, trackers=trackers(settings))
    now, good = datetime.now(UTC), 0
    for offset, value in enumerate([*odd_values(stream), *drawn(messages(stream), 150)]):
        with nesting_allowed():
            verdict = judged(stream, value, now, f"{stream.raw_topic}-0-{offset}")
            if verdict.reasons:
                continue
            place = {"topic": stream.raw_topic, "partition": 0, "offset": offset, "kafka_timestamp": now.isoformat()}
            row = {**verdict.values, "flags": verdict.flags, "extra": verdict.extra, **place}
            row = {name: value for name, value in row.items() if value is not None}
            text = json.dumps(row, default=spelled).encode()
        state.apply(message(stream.live_topic, text, offset))
        good += 1
    assert good > 500
    assert state.snapshot(time.time()).streams[stream.name].live_count == good


def test_what_is_no_record_of_ours_stops_nothing(settings: Settings) -> None:
    """Anybody may write to a topic."""
    state = FeedState(STREAMS, trackers=trackers(settings))
    topics = [t for s in STREAMS.values() for t in (s.live_topic, s.processed_topic, s.rejected_topic)]
    names = [
        "topic", "offset", "kafka_timestamp", "event_time", "kind", "as_of", "window_start", "state", "streams", "at",
        "rejected", "interval_s", "reasons", "raw", "source",
    ]  # fmt: skip
    values = [*(value for value in VALUES if len(value) < 1_000), "1e999", "[[[]]]"]
    for number, topic in enumerate([*topics, STATUS_TOPIC] * 12):
        stream = next((s for s in STREAMS.values() if topic.endswith(f"_{s.name}_topic")), STREAMS["sales"])
        fields = [*names, *(f.name for f in stream.fields)]
        pairs = (f'"{name}": {values[(7 * number + 31 * n) % len(values)]}' for n, name in enumerate(fields))
        keys = [None, b"", b"\xff", b"stream:sales", b"query:live", b"producer:aircraft",
                *(f"{table.name}:x".encode() for table in stream.tables)]  # fmt: skip
        for value in (("{" + ", ".join(pairs) + "}").encode(), b"\xff", b"[]", None, b"{}"):
            state.apply(message(topic, value, number, keys[number % len(keys)]))
    good = {"product": "TV", "quantity": 1, "price": "1", "event_time": "2026-05-04T10:00:00Z"}
    before = state.snapshot(time.time()).streams["sales"].live_count
    state.apply(message(STREAMS["sales"].live_topic, orjson.dumps(good), 10**6))
    assert state.snapshot(time.time()).streams["sales"].live_count == before + 1
