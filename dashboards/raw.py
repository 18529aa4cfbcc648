"""One raw record by its position in Kafka, for the page's detail."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition
from pydantic import BaseModel, Field

from headwater.errors import HeadwaterError

TIMEOUT_SECONDS = 5.0


class RawRecord(BaseModel):
    """A raw record as it stands in Kafka."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None = Field(description="As text; in base64 where it is not UTF-8.")


class RawReader:
    """Opens a client for each record: they are asked for by hand, one now and then."""

    def __init__(self, find: Callable[[], str], config: Callable[[str], Mapping[str, object]]) -> None:
        self._find = find
        self._config = config

    def read(self, topic: str, partition: int, offset: int) -> RawRecord | None:
        """The record; none where retention has taken it, or nobody can be asked."""
        try:
            bootstrap = self._find()
            consumer = Consumer(
                {
                    **self._config(bootstrap),
                    "group.id": "headwater-dashboard-detail",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "log_level": 2,
                }
            )
        except HeadwaterError:
            return None
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(TIMEOUT_SECONDS)
        except KafkaException:
            return None
        finally:
            consumer.close()
        if message is None or message.error() is not None or message.offset() != offset:
            return None
        return RawRecord(
            topic=topic, partition=partition, offset=offset, key=_text(message.key()), value=_text(message.value())
        )


def _text(value: bytes | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
