"""Records into Kafka: nothing is dropped on the way, and what the broker refuses is counted and named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headwater.errors import BrokerError

PRODUCER_DEFAULTS: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    # Every client reads gzip, and it costs little at a producer's rate (docs/decisions/0020-producers.md).
    "compression.type": "gzip",
    # Long enough for a batch at hundreds of records a second, too short to see: every request costs the broker.
    "linger.ms": 50,
    # What Java clients do, so that a key lands on the same partition whoever writes it.
    "partitioner": "murmur2_random",
}
FULL_QUEUE_WAIT_S = 0.1
POLL_EVERY = 64
"""Messages between two looks at what was acknowledged: a look at each one would halve the throughput."""


class Delivery:
    """A topic's producer. `send` waits where the local queue is full; `flush` waits for the last acknowledgement."""

    def __init__(self, topic: str, config: Mapping[str, Any]) -> None:
        self.topic = topic
        self.sent = 0
        self.acknowledged = 0
        self.errors: Counter[str] = Counter()
        self.is_dead = False
        try:
            self._producer = Producer({**PRODUCER_DEFAULTS, **config, "error_cb": self._on_error})
        except (KafkaException, ValueError, TypeError) as error:
            raise BrokerError(f"the Kafka client refuses its settings: {error}") from error

    def send(self, key: str | None, value: bytes) -> None:
        """Queue a message; where the queue is full, wait until there is room."""
        self.sent += 1
        if self.sent % POLL_EVERY == 0:
            self._producer.poll(0)
        while True:
            try:
                self._producer.produce(self.topic, value, key, on_delivery=self._on_delivery)
            except BufferError:
                self._producer.poll(FULL_QUEUE_WAIT_S)
            except KafkaException as error:
                self._count(error.args[0])
                return
            else:
                return

    def poll(self) -> None:
        """Take note of what was acknowledged since."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> None:
        """Wait for what is queued, `timeout_s` at most; what is still open then counts as an error."""
        left = self._producer.flush(timeout_s)
        if left:
            self.errors["no answer"] += left

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self._count(error)

    def _on_error(self, error: KafkaError) -> None:
        """Single connection errors mend themselves and end in a delivery report; a fatal one ends the producer."""
        self.is_dead = self.is_dead or error.fatal()

    def _count(self, error: KafkaError) -> None:
        self.errors[error.name()] += 1


def encode(record: Mapping[str, Any]) -> bytes:
    """A raw record as JSON: times in ISO 8601 with offset, money as text."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_spelled).encode()


def _spelled(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
    raise TypeError(f"a raw record holds no {type(value).__name__}")
