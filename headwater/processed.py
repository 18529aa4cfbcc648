"""The processed topic: the latest value of every row of every table, keyed and compacted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from confluent_kafka import KafkaError, Message, Producer
from pydantic import BaseModel

from headwater.contracts.base import Stream, Table
from headwater.errors import HeadwaterError
from headwater.kafka import ENVELOPE


class Publisher(Protocol):
    """What the archive needs of the processed topic."""

    def correct(self, table: Table, row: dict[str, Any], as_of: datetime) -> None: ...
    def forget(self, table: Table, row: dict[str, Any]) -> None: ...
    def flush(self) -> None: ...


class PublishError(HeadwaterError):
    """Kafka did not take a row; the ledger still holds it as unpublished."""


KAFKAS_MOST = 1_000_000
"""Bytes of a message, where the client's properties don't say."""

OWN_KIND = "row_kind"
"""Every value's ``kind`` is its table's name; a column ``kind`` of the table itself goes by this name."""


def spelled(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the topic spells it: JSON's types, and which table it is of."""
    model: BaseModel = table.row(**row)
    value = model.model_dump(mode="json")
    if "kind" in value:
        value[OWN_KIND] = value["kind"]
    return {**value, "kind": table.name}


def own_kind(value: dict[str, Any]) -> dict[str, Any]:
    """A value of the topic as its table's row has it."""
    if OWN_KIND in value:
        value["kind"] = value.pop(OWN_KIND)
    return value


class ProcessedTopic:
    """Writes rows to a stream's processed topic. ``flush`` returns when Kafka has them all."""

    def __init__(self, stream: Stream, client: dict[str, str], source: str) -> None:
        """``source``: the query that writes, ``aggregate`` or ``archive``."""
        self._topic = stream.processed_topic
        self._source = source
        # A long name stands in a row's key and several times in its value: longer than the record that it came with.
        most = int(client.get("message.max.bytes", KAFKAS_MOST)) * ENVELOPE
        # As Spark's sink chooses a partition: in two of them, a key would have two last values.
        # Idempotent: a request that was thought lost and sent again must not put an old row after a new one.
        own = {"partitioner": "murmur2_random", "message.max.bytes": most, "enable.idempotence": True}
        self._producer = Producer({**client, **own})
        self._failed: KafkaError | None = None

    def correct(self, table: Table, row: dict[str, Any], as_of: datetime) -> None:
        value = {"updated_at": datetime.now(UTC), "as_of": as_of, "source": self._source, **spelled(table, row)}
        self._send(table, row, orjson.dumps(value, option=orjson.OPT_UTC_Z))

    def forget(self, table: Table, row: dict[str, Any]) -> None:
        self._send(table, row, None)

    def flush(self) -> None:
        self._producer.flush()
        if self._failed:
            failed, self._failed = self._failed, None
            raise PublishError(f"{self._topic}: Kafka did not take a row: {failed}")

    def _send(self, table: Table, row: dict[str, Any], value: bytes | None) -> None:
        key = f"{table.name}:{table.id_of(row)}"
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(1)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failed = error or self._failed
