"""A plain kafka-python loop: one process, dictionaries, offsets committed by hand once a second.

    python -m benchmarks.rivals.loop --stream sales --records 100000 --bootstrap ... --run 1 --folder ...

It keeps no state: after a restart it would go on from where it stood with empty figures. Rows that changed are
published once a second, as Headwater does.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from benchmarks.rivals.contracts import checked
from benchmarks.rivals.tables import InMemory, Row, Table
from benchmarks.rivals.work import SUMMED, Tally, Work, asked, own_rows

COMMIT_S = 1.0
POLL_MS = 1_000


def main() -> None:
    work = asked()
    consumer = KafkaConsumer(
        bootstrap_servers=work.bootstrap, group_id=f"loop-{work.run}", enable_auto_commit=False,
        auto_offset_reset="earliest", max_poll_records=5_000,
    )  # fmt: skip
    topic = work.contract.raw_topic
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    tally = Tally()
    (_tables if work.kind == "tables" else _sum)(work, consumer, tally)
    tally.tell()
    consumer.close()


def _sum(work: Work, consumer: KafkaConsumer, tally: Tally) -> None:
    totals: dict[str, float] = defaultdict(float)
    key, summed = work.contract.key, SUMMED[work.contract.name]
    while tally.records < work.records:
        for messages in consumer.poll(POLL_MS).values():
            tally.begin()
            for message in messages:
                record = orjson.loads(message.value)
                totals[record[key]] += summed(record)
            tally.records += len(messages)
    tally.rows = len(totals)


def _tables(work: Work, consumer: KafkaConsumer, tally: Tally) -> None:
    producer = KafkaProducer(bootstrap_servers=work.bootstrap, linger_ms=50)
    counting = Counting(work, tally, lambda row: producer.send(work.contract.rejected_topic, orjson.dumps(row)))
    published = time.monotonic()
    while tally.records < work.records:
        found = consumer.poll(POLL_MS)
        for messages in found.values():
            tally.begin()
            for message in messages:
                place = f"{message.topic}-{message.partition}-{message.offset}"
                counting.take(message.key, message.value, place, message.timestamp * 1_000)
        if time.monotonic() - published >= COMMIT_S or tally.records >= work.records:
            updated_at = datetime.now(UTC).isoformat()
            for name, row in counting.changed.items():
                value = orjson.dumps({**row, "updated_at": updated_at})
                producer.send(work.contract.processed_topic, value, name.encode())
            producer.flush()
            tally.rows += len(counting.changed)
            counting.changed.clear()
            consumer.commit({p: OffsetAndMetadata(consumer.position(p), "", -1) for p in consumer.assignment()})
            published = time.monotonic()
    producer.close()


class Counting:
    """All tables of a stream in dictionaries. ``changed``: the rows to be published, by their key."""

    def __init__(self, work: Work, tally: Tally, reject: Callable[[Row], object]) -> None:
        self.changed: dict[str, Row] = {}
        self._work, self._tally, self._reject = work, tally, reject
        self._seen: set[str] = set()
        self._own: dict[bytes | None, InMemory] = defaultdict(InMemory)
        self._grouped: list[tuple[Table, dict[str, InMemory]]] = [
            (table, defaultdict(InMemory)) for table in work.tables if table.key is not None
        ]

    def take(self, key: bytes | None, raw: bytes, place: str, arrived_us: int) -> None:
        self._tally.records += 1
        record, reasons = checked(self._work.contract, raw, place, arrived_us)
        if reasons:
            self._tally.rejected += 1
            text = raw.decode(errors="replace")
            self._reject({"stream": self._work.contract.name, "reasons": reasons, "raw": text, "place": place})
            return
        if record["event_id"] in self._seen:
            self._tally.repeats += 1
            return
        self._seen.add(record["event_id"])
        rows = own_rows(self._work.tables, self._own[key], record)
        for table, memories in self._grouped:
            assert table.key is not None
            rows += table.step(memories[table.key(record)], record)
        for row in rows:
            self.changed[f"{row['kind']}:{row['id']}"] = row


if __name__ == "__main__":
    main()
