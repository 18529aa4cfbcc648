"""One stream's archive with real Spark and Delta, its topics in memory, and a way to kill it between two writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from headwater import archive as archive_module
from headwater import dayfiles, delta, keeping
from headwater.acknowledgements import Remark
from headwater.archive import Archive
from headwater.contracts.base import Stream, Table
from headwater.folds import FoldBook
from headwater.jobs import StreamJob
from headwater.ledger import Ledger
from headwater.outbox import Outbox
from headwater.processed import own_kind, spelled
from headwater.quality import checked
from headwater.settings import Settings
from headwater.sql import Database

ARRIVED = datetime(2026, 5, 4, 12, tzinfo=UTC)


@dataclass
class Topic:
    """A raw topic in memory: messages by partition."""

    spark: SparkSession
    stream: Stream
    partitions: list[list[bytes | None]] = field(default_factory=lambda: [[], []])

    def send(self, partition: int, *values: str | bytes | None) -> None:
        self.partitions[partition] += [v.encode() if isinstance(v, str) else v for v in values]

    def ends(self) -> dict[int, int]:
        return {partition: len(values) for partition, values in enumerate(self.partitions)}

    def frame(self, starts: dict[int, int] | None = None, ends: dict[int, int] | None = None) -> DataFrame:
        """The Kafka source's rows between some offsets."""
        rows = [
            (value, self.stream.raw_topic, partition, offset, ARRIVED + timedelta(seconds=offset))
            for partition, values in enumerate(self.partitions)
            for offset, value in enumerate(values)
            if (starts or {}).get(partition, 0) <= offset < (ends or self.ends()).get(partition, 0)
        ]
        types = [pa.binary(), pa.string(), pa.int32(), pa.int64(), pa.timestamp("us", "UTC")]
        names = ["value", "topic", "partition", "offset", "timestamp"]
        columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(types)]
        return self.spark.createDataFrame(pa.table(dict(zip(names, columns, strict=True))))

    def read(self, _: Stream, starts: dict[int, int], ends: dict[int, int]) -> DataFrame:
        return self.frame(starts, ends)

    def positions(self) -> list[tuple[int, int]]:
        return [(p, offset) for p, values in enumerate(self.partitions) for offset in range(len(values))]


@dataclass
class Processed:
    """A processed topic in memory: what is not flushed is lost with its writer."""

    rows: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _waiting: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)

    def correct(self, table: Table, row: dict[str, Any], as_of: datetime) -> None:
        self._waiting.append((f"{table.name}:{table.id_of(row)}", spelled(table, row)))

    def forget(self, table: Table, row: dict[str, Any]) -> None:
        self._waiting.append((f"{table.name}:{table.id_of(row)}", None))

    def flush(self) -> None:
        self.rows |= dict(self._waiting)
        self._waiting.clear()

    def lose_what_waits(self) -> None:
        self._waiting.clear()

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The rows of a table as readers take them."""
        return {key: own_kind(dict(value)) for key, value in self.rows.items() if value and value["kind"] == kind}


class Said:
    """Acknowledgements without a topic: all of them, at each call."""

    def __init__(self, stream: Stream, said: Callable[[], list[Remark]]) -> None:
        self.table, self.read = stream.table(stream.acknowledged or ""), said

    def close(self) -> None: ...


@dataclass
class Setup:
    """One archive's home, its topic and what it published."""

    spark: SparkSession
    settings: Settings
    job: StreamJob
    topic: Topic
    processed: Processed = field(default_factory=Processed)
    archive: Archive | None = None
    now: Callable[[], int] | None = None
    said: Callable[[], list[Remark]] | None = None
    """What people have acknowledged."""

    @classmethod
    def of(cls, spark: SparkSession, settings: Settings, job: StreamJob) -> Setup:
        return cls(spark, settings, job, Topic(spark, job.stream))

    def open(self) -> Archive:
        """A new start: whatever the one before held in memory is gone."""
        if self.archive:
            self.archive.close()
        self.processed.lose_what_waits()
        job, fold = self.job, self.job.fold_of(self.settings)
        self.archive = Archive(
            self.spark, self.settings, job.stream, job.views, job.daily_csv, self.processed, fold, self.now,
            Said(job.stream, self.said) if self.said else None,
        )  # fmt: skip
        self.archive.recover(self.topic.read)
        return self.archive

    def take(self, starts: dict[int, int] | None = None, ends: dict[int, int] | None = None) -> None:
        assert self.archive
        rows = checked(self.topic.frame(starts, ends), self.job.stream)
        self.archive.take(self.archive.pulled(rows).toArrow())

    def lose_ledger(self) -> None:
        assert self.archive
        self.archive.close()
        path = self.settings.ledger(self.job.stream.name)
        for file in path.parent.glob(path.name + "*"):
            file.unlink()

    def path(self, table: str) -> Path:
        return self.settings.delta(self.job.stream.name, table)

    def table(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = DeltaTable(str(self.path(name))).to_pyarrow_table().to_pylist()
        return rows

    def versions(self) -> dict[str, int]:
        names = ("records", "rejected", *(table.name for table in self.job.stream.tables))
        return {name: DeltaTable(str(self.path(name))).version() for name in names}


@contextmanager
def set_up(spark: SparkSession, settings: Settings, job: StreamJob) -> Iterator[Setup]:
    """An open archive; closed in the end, whatever became of it."""
    made = Setup.of(spark, settings, job)
    made.open()
    yield made
    if made.archive:
        made.archive.close()
    spark.catalog.clearCache()


class Killed(BaseException):
    """Nothing in the project catches this."""


class Killer:
    """Counts the writes of an archive and ends it after the n-th of them (0: before the first)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.kill_after: int | None = None
        self.kill_at: tuple[str, int] | None = None
        for owner, names in {
            Ledger: ("begin", "judge", "finish", "close_windows", "published", "retire"),
            FoldBook: ("take", "elapse", "showing", "published"),
            delta: ("append", "correct"),
            keeping: ("declare", "compact", "vacuum"),
            archive_module: ("write_csv",),
            dayfiles: ("write_rows",),
            Processed: ("flush",),
            Outbox: ("add", "paid"),
            Database: ("prepare", "clear", "write"),
        }.items():
            for name in names:
                monkeypatch.setattr(owner, name, self._watched(name, getattr(owner, name)))

    def arm(self, after: int | None) -> None:
        self.seen, self.kill_after, self.kill_at = [], after, None

    def arm_at(self, name: str, nth: int = 1) -> None:
        """Ends it after the n-th write of a name."""
        self.seen, self.kill_after, self.kill_at = [], None, (name, nth)

    def _watched(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            if self.kill_after == 0 and not self.seen:
                raise Killed
            done = write(*arguments, **named)
            self.seen.append(name)
            if len(self.seen) == self.kill_after or self.kill_at == (name, self.seen.count(name)):
                raise Killed
            return done

        return watched


def killed_at_each(
    setup: Setup, killer: Killer, points: Sequence[str], send: Callable[[], None], check: Callable[[], Any]
) -> None:
    """Ends the archive after each of some writes amid a batch, starts it anew and checks; the batch comes again as it
    was or, every second time, with all before it. Last it does without its ledger.
    """
    for n, point in enumerate(points):
        start = setup.topic.ends()
        send()
        killer.arm_at(point, nth=3 if point == "correct" else 1)
        with pytest.raises(Killed):
            setup.take(start)
        killer.arm(None)
        setup.open()
        setup.take(start if n % 2 else None)
        try:
            check()
        except AssertionError as error:
            error.add_note(f"killed after {point}")
            raise
    setup.lose_ledger()
    setup.open()


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)
