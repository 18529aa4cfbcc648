"""The proof at the end of a run, by means that the suite doesn't use: kafka-python, ``deltalake``, pandas, psycopg."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import psycopg
from deltalake import DeltaTable
from kafka import KafkaConsumer, TopicPartition
from psycopg.rows import dict_row

from benchmarks.chaos.account import Account, Place, account
from benchmarks.chaos.journal import event_id_in, told
from benchmarks.chaos.producer import BAD
from benchmarks.chaos.stage import Stage
from benchmarks.chaos.tables import checks
from headwater.contracts import Stream
from headwater.contracts.base import Kind, Table
from headwater.processed import OWN_KIND
from headwater.sql import sql_name

EDGE = timedelta(seconds=25)
"""What ends by silence just before the jobs stopped may not have ended in the tables yet: either is right."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A table in one of its sinks against a batch computation; ``wrong`` says what differs."""

    table: str
    sink: str
    rows: int
    wrong: str = ""


@dataclass
class StreamProof:
    """What is known of one stream."""

    sent: int
    acknowledged: int
    refused: dict[str, int]
    account: Account
    repeated_events: int
    live_missing: list[Place]
    """Valid records that the live topic doesn't have."""
    live_repeats: int
    rejected_missing: list[Place]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def lost(self) -> int:
        found = self.account
        return (
            len(found.lost)
            + len(found.unread)
            + len(found.missing)
            + len(self.live_missing)
            + len(self.rejected_missing)
        )

    @property
    def doubled(self) -> int:
        return len(self.account.doubled) + len(self.account.invented)

    @property
    def wrong(self) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if comparison.wrong]

    @property
    def holds(self) -> bool:
        return self.account.is_closed and not (self.lost or self.doubled or self.wrong)


@dataclass(frozen=True)
class Message:
    """Of a topic, as kafka-python reads it."""

    place: Place
    key: bytes | None
    value: bytes | None


def prove(stage: Stage, stream: Stream, stopped: datetime) -> StreamProof:
    """``stopped``: when the jobs were told to end, at rest."""
    journal = told(stage.journal(stream))
    records, rejected = (_delta(stage, stream, name) for name in ("records", "rejected"))
    raw = {m.place: event_id_in((m.value or b"").decode()) for m in _messages(stage, stream.raw_topic)}
    live = Counter(_origin(m) for m in _messages(stage, stream.live_topic))
    dead = {_origin(m) for m in _messages(stage, stream.rejected_topic)}
    proof = StreamProof(
        sent=journal.sent,
        acknowledged=len(journal.acknowledged),
        refused=dict(journal.refused),
        account=account(
            journal.acknowledged,
            raw,
            [(_place(row), row["event_id"]) for row in records],
            [(_place(row), event_id_in(row["raw"])) for row in rejected],
            BAD,
        ),
        repeated_events=len(records) - len({row["event_id"] for row in records}),
        live_missing=sorted({_place(row) for row in records} - live.keys()),
        live_repeats=live.total() - len(live),
        rejected_missing=sorted({_place(row) for row in rejected} - dead),
    )
    proof.comparisons += _compared(stage, stream, records, stopped)
    return proof


def _compared(stage: Stage, stream: Stream, records: list[Row], stopped: datetime) -> Iterator[Comparison]:
    expected = [checks(stream.name, records, clock, stage.settings) for clock in (stopped, stopped - EDGE)]
    processed = _latest(_messages(stage, stream.processed_topic))
    for table in stream.tables:
        rows = _delta(stage, stream, table.name)
        wrong = [_wrong(of_clock[table.name], rows) for of_clock in expected] if table.name in expected[0] else []
        yield Comparison(table.name, "delta", len(rows), "" if "" in wrong else (wrong or ["no reference"])[0])
        published = [row for key, row in processed.items() if key.startswith(f"{table.name}:")]
        yield Comparison(table.name, "processed topic", len(published), _differs(table, published, rows))
        if table.in_sql:
            in_database = _sql(stage, stream, table)
            yield Comparison(table.name, "SQL", len(in_database), _differs(table, in_database, rows))
    yield from _files(stage, stream, records, expected[0])


def _wrong(check: Any, rows: Sequence[Row]) -> str:
    try:
        check(rows)
    except AssertionError as error:
        return str(error) or "differs"
    return ""


def _files(stage: Stage, stream: Stream, records: list[Row], expected: dict[str, Any]) -> Iterator[Comparison]:
    """The CSV files of the streams that have some."""
    rows = []
    for path in sorted(stage.settings.csv(stream.name).glob("*")):
        with path.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    match stream.name:
        case "sales":
            yield Comparison("daily_totals", "CSV", len(rows), _wrong(expected["daily"], rows))
        case "trucks":
            trips = _delta(stage, stream, "trips")
            yield Comparison("trips", "CSV", len(rows), "" if len(rows) == len(trips) else f"{len(trips)} in Delta")
        case "co2":
            first = {row["event_id"]: row for row in sorted(records, key=_place, reverse=True)}
            wanted = sorted((row["source_id"], row["emission_kg"]) for row in first.values())
            found = sorted((row["source_id"], float(row["emission_kg"])) for row in rows)
            yield Comparison("readings", "CSV", len(rows), "" if found == wanted else f"{len(wanted)} in records")


# --- reading


def _delta(stage: Stage, stream: Stream, name: str) -> list[Row]:
    rows: list[Row] = DeltaTable(str(stage.settings.delta(stream.name, name))).to_pyarrow_table().to_pylist()
    return rows


def _sql(stage: Stage, stream: Stream, table: Table) -> list[Row]:
    url = stage.server.url("postgres")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM {sql_name(stream, table)}".encode()).fetchall()


def _messages(stage: Stage, topic: str) -> Iterator[Message]:
    """All that a topic holds, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=stage.bootstrap, enable_auto_commit=False, consumer_timeout_ms=20_000)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=1_000, max_records=10_000).values():
                for record in records:
                    yield Message((record.partition, record.offset), record.key, record.value)
    finally:
        consumer.close()


def _latest(messages: Iterator[Message]) -> dict[str, Row]:
    """The last value of each key, as a plain reader of a compacted topic takes it."""
    last = {(m.key or b"").decode(): m.value for m in messages}
    rows = {key: orjson.loads(value) for key, value in last.items() if value is not None}
    for row in rows.values():
        row.pop("kind")
        if OWN_KIND in row:
            row["kind"] = row.pop(OWN_KIND)
    return rows


def _origin(message: Message) -> Place:
    value = orjson.loads(message.value or b"{}")
    return value["partition"], value["offset"]


def _place(row: Row) -> Place:
    return row["partition"], row["offset"]


# --- comparing rows of two sinks


def _differs(table: Table, found: Sequence[Row], wanted: Sequence[Row]) -> str:
    """What is first seen to differ; empty where nothing does."""
    held, right = (
        {tuple(_typed(table, row)[name] for name in table.key): row for row in rows} for rows in (found, wanted)
    )
    if len(held) != len(found):
        return "a key twice"
    if held.keys() != right.keys():
        return f"{len(held.keys() - right.keys())} rows too many, {len(right.keys() - held.keys())} missing"
    for key, row in right.items():
        own, other = _typed(table, held[key]), _typed(table, row)
        for name, value in other.items():
            if own[name] != value:
                return f"{key} {name}: {own[name]!r} instead of {value!r}"
    return ""


def _typed(table: Table, row: Row) -> Row:
    """A row however its sink spells it: times and money as text, or as such."""
    reads: dict[Kind, Callable[[str], Any]] = {Kind.TIME: datetime.fromisoformat, Kind.MONEY: Decimal}
    return {
        spec.name: reads[spec.kind](value) if spec.kind in reads and isinstance(value, str) else value
        for spec in table.fields
        for value in [row.get(spec.name)]
    }
