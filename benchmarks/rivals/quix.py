"""The same in Quix Streams, with what it has for each part; it runs in an environment of its own.

    .venv-quix/bin/python -m benchmarks.rivals.quix --stream sales --records 100000 --bootstrap ... --run 1 --folder ...

State is kept by message key in RocksDB; a table with another key needs ``group_by``, which sends its records through
a topic. Each record publishes the rows that it changes. Changelog topics, which keep a copy of the state in Kafka, are
left off, since Headwater keeps its state on the machine's disk alone; with them it is slower still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from quixstreams import Application, State, message_context
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.models import Topic

from benchmarks.rivals.contracts import Record, checked
from benchmarks.rivals.tables import Row, Table, is_new
from benchmarks.rivals.work import SUMMED, Tally, Work, asked, own_rows

QUIET = "WARNING"


def main() -> None:
    work, tally = asked(), Tally()
    progress = Progress(work, tally)
    app = Application(
        broker_address=work.bootstrap, consumer_group=f"quix-{work.run}", auto_offset_reset="earliest",
        state_dir=work.folder, use_changelog_topics=False, on_message_processed=progress, loglevel=QUIET,
    )  # fmt: skip
    progress.app = app
    frame = app.dataframe(app.topic(work.contract.raw_topic, value_deserializer="bytes"))
    if work.kind == "tables":
        declare(app, frame, work, progress)
    else:
        add_up(frame, work, progress)
    app.run()
    tally.tell()


class Progress:
    """Counts messages, and ends the application when the last one has been through."""

    def __init__(self, work: Work, tally: Tally) -> None:
        self.app: Application | None = None
        self.tally = tally
        self.awaited = 0
        """Messages that `group_by` has sent and that haven't come back yet."""
        self._work = work

    def __call__(self, topic: str, partition: int, offset: int) -> None:
        if topic == self._work.contract.raw_topic:
            self.tally.records += 1
        else:
            self.awaited -= 1
        if self.tally.records >= self._work.records and not self.awaited and self.app:
            self.app.stop()


def add_up(frame: StreamingDataFrame, work: Work, progress: Progress) -> None:
    """Parse, and one number by key."""
    summed, tally = SUMMED[work.contract.name], progress.tally

    def total(raw: bytes, state: State) -> float:
        tally.begin()
        found: float = state.get("total", 0.0) + summed(orjson.loads(raw))
        state.set("total", found)
        return found

    frame.apply(total, stateful=True)


def declare(app: Application, frame: StreamingDataFrame, work: Work, progress: Progress) -> None:
    """All tables of a stream."""
    contract, tally = work.contract, progress.tally
    processed, rejected = (
        app.topic(name, value_serializer="json", key_serializer="str")
        for name in (contract.processed_topic, contract.rejected_topic)
    )
    grouped = [table for table in work.tables if table.key is not None]

    def judged(raw: bytes, key: Any, timestamp: int, headers: Any) -> Record:
        tally.begin()
        context = message_context()
        place = f"{context.topic}-{context.partition}-{context.offset}"
        record, reasons = checked(contract, raw, place, timestamp * 1_000)
        if reasons:
            tally.rejected += 1
            text = raw.decode(errors="replace")
            return {"stream": contract.name, "reasons": reasons, "raw": text, "place": place}
        return record

    def counted_once(record: Record, state: State) -> bool:
        if is_new(state, f"event:{record['event_id']}"):
            progress.awaited += len(grouped)
            return True
        tally.repeats += 1
        return False

    def own(record: Record, state: State) -> Record:
        return {**record, "rows": own_rows(work.tables, state, record)}

    frame = frame.apply(judged, metadata=True)
    frame[frame.contains("reasons")].to_topic(rejected, key=lambda row: row["place"])
    frame = frame[~frame.contains("reasons")].filter(counted_once, stateful=True).apply(own, stateful=True)
    _published(frame.apply(lambda record: record["rows"], expand=True), processed, tally)
    for table in grouped:
        parts = frame.apply(_columns(table)).group_by(table.key, name=table.name)
        _published(parts.apply(_stepped(table), stateful=True, expand=True), processed, tally)


def _columns(table: Table) -> Callable[[Record], Record]:
    return lambda record: {name: record.get(name) for name in table.columns}


def _stepped(table: Table) -> Callable[[Record, State], Sequence[Row]]:
    return lambda record, state: table.step(state, record)


def _published(rows: StreamingDataFrame, processed: Topic, tally: Tally) -> None:
    def stamped(row: Row) -> Row:
        tally.rows += 1
        return {**row, "updated_at": datetime.now(UTC).isoformat()}

    rows.apply(stamped).to_topic(processed, key=lambda row: f"{row['kind']}:{row['id']}")


if __name__ == "__main__":
    main()
