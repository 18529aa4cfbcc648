"""What people have acknowledged: a compacted topic, read from its beginning at every start.

An acknowledgement is one message, keyed as the row that it acknowledges; of several the last one stands. There are
few of them, so nobody keeps an offset, and whatever else is lost they are found again
(``docs/decisions/0047-acknowledging.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pydantic import ValidationError

from headwater.contracts.base import Row, Stream, Table
from headwater.ledger import micros

TIMEOUT_SECONDS = 5.0
AT_ONCE = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Remark:
    """What is said of a row from outside: the row's key, and columns of it in the ledger's units."""

    key: dict[str, Any]
    columns: dict[str, Any]
    as_of: int
    """When it came, by Kafka's clock, microseconds since 1970."""


class Remarks(Protocol):
    """What a tally asks of acknowledgements."""

    table: Table

    def read(self) -> list[Remark]: ...
    def close(self) -> None: ...


class Acknowledgements:
    """Reads a stream's acknowledgements."""

    def __init__(self, stream: Stream, client: Mapping[str, str]) -> None:
        assert stream.acknowledged is not None
        self.table = stream.table(stream.acknowledged)
        self._model = stream.acknowledgement
        self._topic = stream.acknowledged_topic
        # A consumer must name a group; this one never joins it, since its partitions are assigned.
        self._consumer = Consumer({**client, "group.id": "headwater-jobs", "enable.auto.commit": False})
        # Asked over a connection of its own: the consumer's answers one question after the other, and has a fetch open
        # that the broker answers after half a second where nothing comes.
        self._admin = AdminClient({**client, "log_level": "0"})
        self._reached: dict[int, int] = {}

    def close(self) -> None:
        self._consumer.close()

    def read(self) -> list[Remark]:
        """All that came since the last call; the first one gives all there are. A broker that is away: none for now."""
        try:
            if not self._reached:
                self._begin()
            return [remark for message in self._messages() if (remark := self._understood(message))]
        except KafkaException as error:
            log.warning("acknowledgements_unread", topic=self._topic, error=str(error))
            self._reached.clear()  # what came before the error is read again, from the beginning
            return []

    def _begin(self) -> None:
        partitions = self._consumer.list_topics(self._topic, timeout=TIMEOUT_SECONDS).topics[self._topic].partitions
        self._consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in partitions])
        self._reached = dict.fromkeys(partitions, 0)

    def _messages(self) -> list[Message]:
        """Up to where the partitions end now."""
        found = self._arrived(self._consumer.consume(AT_ONCE, timeout=0))
        ends = self._ends()
        while any(self._reached[number] < end for number, end in ends.items()):
            # `consume` would wait for as many as it is asked for.
            if (first := self._consumer.poll(TIMEOUT_SECONDS)) is None:
                self._reached |= ends  # a compacted topic need not have a message before its end
                break
            found += self._arrived([first, *self._consumer.consume(AT_ONCE, timeout=0)])
        return found

    def _ends(self) -> dict[int, int]:
        asked = {TopicPartition(self._topic, number): OffsetSpec.latest() for number in self._reached}
        answers = self._admin.list_offsets(asked, request_timeout=TIMEOUT_SECONDS)
        return {at.partition: answer.result().offset for at, answer in answers.items()}

    def _arrived(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            self._reached[message.partition() or 0] = (message.offset() or 0) + 1
        return messages

    def _understood(self, message: Message) -> Remark | None:
        try:
            row = self._model.model_validate_json(message.value() or b"")
            return _remark(self.table, row, message.timestamp()[1])
        except (ValidationError, OverflowError) as error:
            place = {"topic": self._topic, "partition": message.partition(), "offset": message.offset()}
            log.warning("not_an_acknowledgement", **place, error=str(error))
            return None


def _remark(table: Table, row: Row, arrived_ms: int) -> Remark:
    values = {name: _units(value) for name, value in row}
    return Remark({name: values.pop(name) for name in table.key}, values, arrived_ms * 1_000)


def _units(value: Any) -> Any:
    """In UTC some times are of year 0 or 10000: OverflowError, now rather than with each row that is shown."""
    return micros(value.astimezone(UTC)) if isinstance(value, datetime) else value
