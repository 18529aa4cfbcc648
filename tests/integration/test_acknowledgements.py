"""Acknowledgements as the jobs read them, over a real broker."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headwater.acknowledgements import Acknowledgements
from headwater.contracts.co2 import CO2
from headwater.kafka import client_config
from headwater.settings import Settings
from headwater.topics import ensure_topics

SEEN_AT = datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=UTC)
SEEN_AT_US = 1_777_896_000_250_000


def said(alarm_id: str, by: str) -> bytes:
    return orjson.dumps({"alarm_id": alarm_id, "acknowledged_at": SEEN_AT, "acknowledged_by": by})


def test_all_there_are_at_a_start_then_what_is_new(
    broker: str, broker_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is none is left out, and a row's last word comes last."""
    ensure_topics(broker_settings, broker, [CO2])
    client = client_config(broker_settings, broker)
    producer = Producer(client)

    def send(key: str, value: bytes) -> None:
        producer.produce(CO2.acknowledged_topic, value, key)
        producer.flush()

    def news(reader: Acknowledgements) -> list[tuple[Any, ...]]:
        remarks = [remark for remark in reader.read() if remark.key["alarm_id"].startswith("test|")]
        return [(remark.key["alarm_id"], *remark.columns.values()) for remark in remarks]

    send("test|1", said("test|1", "Ada"))
    send("test|1", b"{")
    send("test|1", said("test|1", ""))
    first = Acknowledgements(CO2, client)
    assert news(first) == [("test|1", SEEN_AT_US, "Ada")]
    assert news(first) == []
    send("test|2", said("test|2", "Grace"))
    send("test|1", said("test|1", "Edsger"))
    assert sorted(news(first)) == [("test|1", SEEN_AT_US, "Edsger"), ("test|2", SEEN_AT_US, "Grace")]
    second = Acknowledgements(CO2, client)
    found = news(second)
    assert {alarm_id: by for alarm_id, _, by in found} == {"test|1": "Edsger", "test|2": "Grace"}

    # What had been taken when the broker went away comes again.
    send("test|3", said("test|3", "Barbara"))
    taken = second._arrived

    def lost(messages: list[Message]) -> list[Message]:
        taken(messages)
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    with monkeypatch.context() as away:
        away.setattr(second, "_arrived", lost)
        assert news(second) == []
    found = news(second)
    assert {alarm_id: by for alarm_id, _, by in found} == {"test|1": "Edsger", "test|2": "Grace", "test|3": "Barbara"}
    for reader in (first, second):
        reader.close()
