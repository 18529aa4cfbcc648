"""What the jobs say of themselves: the rate, lag and batch time of each query, and each stream's account."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from confluent_kafka import Producer
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from headwater.topics import STATUS_TOPIC


class Status:
    """Writes to the status topic. Losing one of these does no harm: the next one says it again."""

    def __init__(self, client: dict[str, str]) -> None:
        self._producer = Producer({**client, "linger.ms": "50"})

    def query(self, name: str, streams: Sequence[str], state: str, **figures: Any) -> None:
        self._say(f"query:{name}", {"query": name, "streams": list(streams), "state": state, **figures})

    def stream(self, name: str, counters: dict[str, int]) -> None:
        told = {key: counters.get(key, 0) for key in ("records", "rejected", "duplicates", "late", "owed")}
        self._say(f"stream:{name}", {"stream": name, **told})

    def close(self) -> None:
        self._producer.flush(5)

    def _say(self, key: str, value: dict[str, Any]) -> None:
        told = orjson.dumps({**value, "at": datetime.now(UTC)}, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)
        try:
            self._producer.produce(STATUS_TOPIC, told, key)
            self._producer.poll(0)
        except BufferError:  # Kafka has been away for long; what waits already is enough
            self._producer.poll(0)


class Listener(StreamingQueryListener):
    """Publishes each query's progress as Spark reports it."""

    def __init__(self, status: Status, streams: Sequence[str]) -> None:
        self._status = status
        self._streams = streams
        self._names: dict[str, str] = {}

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        self._names[str(event.runId)] = event.name or ""
        self._status.query(event.name or "", self._streams, "running")

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        progress = event.progress
        self._status.query(progress.name or "", self._streams, "running", **figures(progress))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        if name := self._names.get(str(event.runId)):
            self._status.query(name, self._streams, "running", input_rows_per_second=0.0, lag=0)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        name = self._names.pop(str(event.runId), "")
        if event.exception:
            self._status.query(name, self._streams, "failed", message=event.exception.splitlines()[0])
        else:
            self._status.query(name, self._streams, "stopped")


def figures(progress: StreamingQueryProgress) -> dict[str, Any]:
    """The part of a progress report that a reader of the dashboard needs."""
    return {
        "batch_id": progress.batchId,
        "batch_ms": progress.batchDuration,
        "input_rows": progress.numInputRows,
        "input_rows_per_second": _number(progress.inputRowsPerSecond),
        "processed_rows_per_second": _number(progress.processedRowsPerSecond),
        "lag": sum(lag(source.endOffset, source.latestOffset) for source in progress.sources),
    }


def lag(end: str | None, latest: str | None) -> int:
    """Messages between two offsets as Spark's Kafka source spells them: ``{"topic": {"0": 7}}``."""
    try:
        reached, available = json.loads(end or "{}") or {}, json.loads(latest or "{}") or {}
        return sum(
            max(0, offset - reached.get(topic, {}).get(partition, 0))
            for topic, partitions in available.items()
            for partition, offset in partitions.items()
        )
    except (ValueError, AttributeError):
        return 0


def _number(rate: float) -> float:
    """Spark says NaN or infinity where no time has passed."""
    return rate if 0 <= rate < float("inf") else 0.0
