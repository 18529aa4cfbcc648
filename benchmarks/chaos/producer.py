"""A stream's own simulation with numbered records: ``python -m benchmarks.chaos.producer STREAM JOURNAL RATE``.

Some in a hundred are damaged so that they must be rejected, some are sent twice. What was killed goes on with the next
number; what ends in order has waited for its last acknowledgement.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import KafkaError, Message

from benchmarks.chaos.journal import Journal, event_id_in
from headwater.broker import find_broker
from headwater.contracts.base import Stream
from headwater.errors import run_main
from headwater.kafka import client_config
from headwater.settings import load_settings
from producers.delivery import Delivery, encode
from producers.pacing import at_rate, keep_pace
from producers.replay import RawRecord
from producers.run import STOP_PATIENCE_S, Stop, StreamProducer

DAMAGED_SHARE = 0.03
REPEATED_SHARE = 0.03
BAD = "-bad"
"""How the ``event_id`` of a damaged record ends."""

TIMEOUT_MS = "20000"
"""Less than a broker may be away here: a record that isn't acknowledged in time is given up, and not claimed."""

Numbered = tuple[int, str | None, bytes]
"""Number, key and value of a message."""


def messages(stream: Stream, records: Iterator[RawRecord], first: int, rng: random.Random) -> Iterator[Numbered]:
    """Simulated records under running numbers from ``first`` on."""
    before: Numbered | None = None
    number = first
    while True:
        if before and rng.random() < REPEATED_SHARE:
            yield before
            continue
        is_bad = rng.random() < DAMAGED_SHARE
        # First, so that it is still there in a record that is cut short.
        record = {**{"event_id": ""}, **next(records), "event_id": f"{stream.name}-{number:07d}{BAD if is_bad else ''}"}
        key = str(record[stream.key])
        before = (number, key, damaged(stream, record, rng) if is_bad else encode(record))
        yield before
        number += 1


def damaged(stream: Stream, record: RawRecord, rng: random.Random) -> bytes:
    """A record that nobody may count: its key is missing or of the wrong type, or it isn't JSON."""
    match rng.randrange(3):
        case 0:
            return encode({**record, stream.key: None})
        case 1:
            return encode({**record, stream.key: ["no", "text"]})
        case _:
            return encode(record)[:-1]


class Numbers(Delivery):
    """A delivery that writes down what becomes of each record."""

    def __init__(self, topic: str, config: dict[str, str], journal: Journal) -> None:
        super().__init__(topic, config)
        self._journal = journal

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        name = event_id_in((message.value() or b"").decode())
        if error is None:
            self._journal.acknowledged(message.partition() or 0, message.offset() or 0, name)
        else:
            self._journal.refused(error.name(), name)
        super()._on_delivery(error, message)


def run(name: str, path: str, rate: str) -> int:
    settings = load_settings()
    producer: StreamProducer = importlib.import_module(f"producers.{name}").PRODUCER
    journal = Journal(Path(path))
    config = {**client_config(settings, find_broker(settings)), "message.timeout.ms": TIMEOUT_MS}
    delivery = Numbers(producer.stream.raw_topic, config, journal)
    stop = Stop()

    def send(message: Numbered) -> None:
        number, key, value = message
        journal.sent(number)
        delivery.send(key, value)

    def sleep(seconds: float) -> None:
        delivery.poll()
        time.sleep(seconds)

    with stop.listening():
        keep_pace(
            at_rate(float(rate)),
            messages(producer.stream, producer.simulate(None), journal.next_number, random.Random()),
            send,
            clock=time.monotonic,
            sleep=sleep,
            stopped=lambda: stop() or delivery.is_dead,
        )
        delivery.flush(2 * STOP_PATIENCE_S)
    journal.close()
    return 1 if delivery.is_dead else 0


if __name__ == "__main__":
    run_main(lambda: run(*sys.argv[1:4]))
