"""Acknowledging an alarm over a real broker; what is in the topic is read by another client than the project's."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest
from kafka import KafkaConsumer, TopicPartition

from dashboards.acknowledge import PRODUCER, Asked, acknowledge
from dashboards.hub import Hub
from dashboards.state import FeedState, Message
from headwater import acknowledgements
from headwater.contracts import STREAMS
from headwater.contracts.co2 import CO2
from headwater.errors import BrokerError
from headwater.settings import Settings, load_settings
from headwater.topics import ensure_topics
from tests.ports import free_port


def hub_with(alarm_id: str) -> Hub:
    """A dashboard that has heard of an alarm, which Delta hasn't yet."""
    value = {"kind": "alarms", "alarm_id": alarm_id, "began_at": "2026-05-04T12:00:00Z", "acknowledged_at": None}
    feed, hub = FeedState(STREAMS), Hub()
    feed.apply(Message(CO2.processed_topic, 0, 0, f"alarms:{alarm_id}".encode(), orjson.dumps(value), 0.0))
    hub.publish(feed.snapshot(0.0))
    return hub


def messages(broker: str, alarm_id: str) -> list[dict[str, str]]:
    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", consumer_timeout_ms=2_000)
    partitions = consumer.partitions_for_topic(CO2.acknowledged_topic) or set()
    consumer.assign([TopicPartition(CO2.acknowledged_topic, number) for number in partitions])
    found = [orjson.loads(message.value) for message in consumer if message.key == alarm_id.encode()]
    consumer.close()
    return found


def test_the_first_to_acknowledge_stays_the_one_who_did(broker: str, broker_settings: Settings) -> None:
    ensure_topics(broker_settings, broker, [CO2])
    alarm_id = f"stack 1|{uuid4()}"
    hub = hub_with(alarm_id)
    before = datetime.now(UTC)
    first = acknowledge(broker_settings, hub, Asked(alarm_id=alarm_id, acknowledged_by="  Ada "))
    assert first.is_new
    assert before <= first.acknowledgement.acknowledged_at <= datetime.now(UTC)
    # The row doesn't say so yet, and a dashboard that has just been started remembers nothing.
    second = acknowledge(broker_settings, hub_with(alarm_id), Asked(alarm_id=alarm_id, acknowledged_by="Grace"))
    assert not second.is_new
    assert second.acknowledgement == first.acknowledgement
    (message,) = messages(broker, alarm_id)
    assert (message["alarm_id"], message["acknowledged_by"]) == (alarm_id, "Ada")
    assert datetime.fromisoformat(message["acknowledged_at"]) == first.acknowledgement.acknowledged_at


def test_a_broker_that_is_named_and_away_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setitem(PRODUCER, "message.timeout.ms", 500)
    gone = load_settings({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"})
    with pytest.raises(BrokerError, match="try again"):
        acknowledge(gone, hub_with("stack 1|1"), Asked(alarm_id="stack 1|1", acknowledged_by="Ada"))
