"""What the jobs say of themselves: the rate, lag and batch time of each query, each stream's account, and how much the
ledgers hold.

A query is told anew every few seconds also while nothing comes (:meth:`Listener.beat`), so that one killed with
``kill -9`` is known by its silence; ``progress_at``, which only a batch's end moves, tells one that hangs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson
import structlog
from confluent_kafka import Producer
from pyspark import SparkContext
from pyspark.sql.streaming.listener import (
    JStreamingQueryListener,
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
    StreamingQueryProgress,
)

from headwater.ledger import Ledger
from headwater.topics import STATUS_TOPIC
from headwater.turns import TurnError

log = structlog.get_logger(__name__)

SLOW_SECONDS = 60.0
"""Between two lines about batches of a query that take longer than its trigger."""
END_SECONDS = 2.0
"""For the last events to come, before the jobs fall silent for good."""
MEASURE_SECONDS = 60.0
MEASURE_SHARE = 200
"""A ledger's rows are counted at most once a minute, and so rarely that it takes a 200th of the time."""

SUMMED = ("input_rows", "input_rows_per_second", "processed_rows_per_second", "lag")


class Status:
    """Writes to the status topic. Losing one of these does no harm: the next one says it again."""

    def __init__(self, client: dict[str, str]) -> None:
        self._producer = Producer({**client, "linger.ms": "50"})
        self._measured: dict[tuple[str, str], float] = {}

    def query(self, name: str, streams: Sequence[str], state: str, **figures: Any) -> None:
        """Queries of several drivers go by the same names, and are told apart by their streams."""
        told = {"query": name, "streams": list(streams), "state": state, **figures}
        self._say(f"query:{name}:{'+'.join(streams)}", told)

    def stream(self, name: str, counters: dict[str, int]) -> None:
        told = {key: counters.get(key, 0) for key in ("records", "rejected", "duplicates", "late", "lost", "owed")}
        self._say(f"stream:{name}", {"stream": name, **told})

    def ledger(self, stream: str, name: str, ledger: Ledger) -> None:
        """How much a ledger holds, now and then; to be called by who writes it, between two batches."""
        begun = time.monotonic()
        if begun < self._measured.get((stream, name), 0.0):
            return
        self._say(f"ledger:{stream}:{name}", {"stream": stream, "ledger": name, **ledger.size()})
        cost = time.monotonic() - begun
        self._measured[stream, name] = begun + max(MEASURE_SECONDS, MEASURE_SHARE * cost)

    def close(self) -> None:
        self._producer.flush(5)

    def _say(self, key: str, value: dict[str, Any]) -> None:
        told = orjson.dumps({**value, "at": datetime.now(UTC)}, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)
        try:
            self._producer.produce(STATUS_TOPIC, told, key)
            self._producer.poll(0)
        except BufferError:  # Kafka has been away for long; what waits already is enough
            self._producer.poll(0)


class _Progress(JStreamingQueryListener):
    """Takes a progress report as the JSON text that it is. PySpark asks the JVM for each of its figures, and looks for
    a class of every name on the way: a twentieth of a core, more than the batch's own work.
    """

    def onQueryProgress(self, jevent: Any) -> None:
        progress = orjson.loads(jevent.progress().json())
        # What has no value is left out there, and asked for here.
        progress["sources"] = [{**_WITHOUT_VALUE, **source} for source in progress["sources"]]
        self.pylistener.onQueryProgress(QueryProgressEvent.fromJson({"progress": progress}))


_WITHOUT_VALUE = dict.fromkeys(
    ("startOffset", "endOffset", "latestOffset", "inputRowsPerSecond", "processedRowsPerSecond")
)


class Listener(StreamingQueryListener):
    """Publishes each query's progress as Spark reports it, and logs its start, its end and batches that take too long.

    ``finite``: the queries end by themselves (``--once``), and then they are not stopped but finished.
    """

    def __init__(
        self, status: Status, streams: Sequence[str], triggers: Mapping[str, float], *, finite: bool = False
    ) -> None:
        """``triggers``: by query, the seconds from one batch's start to the next."""
        self._status = status
        self._streams = streams
        self._triggers = triggers
        self._ended = "finished" if finite else "stopped"
        self._names: dict[str, str] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._slow: dict[str, float] = {}

    @cached_property
    def _jlistener(self) -> Any:
        jvm: Any = SparkContext._jvm
        return jvm.PythonStreamingQueryListenerWrapper(_Progress(self))

    def beat(self, names: Collection[str]) -> None:
        """``names``: Spark's, of queries that still run. Says again what was last said of them."""
        for query in sorted({query_of(name) for name in names if name in self._told}):
            self._tell(query)

    def close(self) -> None:
        """Awaits Spark's word of how the queries ended, which comes a moment later, and goes without it: a job that
        was stopped must not seem to have died.
        """
        deadline = time.monotonic() + END_SECONDS
        while self._told and time.monotonic() < deadline:
            time.sleep(0.05)
        for name in list(self._told):
            self._end(name, "")

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        name = self._names[str(event.runId)] = event.name or ""
        if not self._parts(query_of(name)):
            log.info("query_started", query=query_of(name), streams=self._streams)
        self._say(name, {})

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        progress = event.progress
        name = progress.name or ""
        if name in self._told:
            self._say(name, {**figures(progress), "progress_at": datetime.now(UTC)})
        self._watch(name, progress.batchId, progress.batchDuration / 1000)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        name = self._names.get(str(event.runId), "")
        if (told := self._told.get(name)) is not None:
            self._say(name, {**told, "input_rows_per_second": 0.0, "lag": 0, "progress_at": datetime.now(UTC)})

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        self._end(self._names.pop(str(event.runId), ""), event.exception or "")

    def _end(self, name: str, exception: str) -> None:
        """A query of several parts has failed when the first of them has, and otherwise ended when the last has."""
        query = query_of(name)
        if self._told.pop(name, None) is None:
            return
        if exception and TurnError.__name__ not in exception:
            for other in self._parts(query):
                del self._told[other]
            message = exception.splitlines()[0]
            log.error("query_failed", query=query, streams=self._streams, message=message)
            self._status.query(query, self._streams, "failed", message=message)
        elif not self._parts(query):
            log.info(f"query_{self._ended}", query=query, streams=self._streams)
            self._status.query(query, self._streams, self._ended)

    def _say(self, name: str, told: dict[str, Any]) -> None:
        self._told[name] = told
        self._tell(query_of(name))

    def _tell(self, query: str) -> None:
        told = together([self._told[name] for name in self._parts(query)])
        self._status.query(query, self._streams, "running", **told)

    def _parts(self, query: str) -> list[str]:
        return [name for name in self._told if query_of(name) == query]

    def _watch(self, name: str, batch: int, seconds: float) -> None:
        # A real-time batch lasts as long as the time between two checkpoints, which is no trigger.
        trigger, now = self._triggers.get(name), time.monotonic()
        if trigger and seconds > trigger and now >= self._slow.get(name, 0.0):
            self._slow[name] = now + SLOW_SECONDS
            log.warning("slow_batch", query=name, batch=batch, seconds=round(seconds, 3), trigger_seconds=trigger)


def query_of(name: str) -> str:
    """Which of the queries one is by its name in Spark, ``live:sales`` where each stream has its own."""
    return name.partition(":")[0]


def together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several parts of a query say, as if it were one: sums, and of what can't be summed the newest."""
    known = sorted(filter(None, parts), key=lambda part: part["progress_at"])
    told = {key: value for part in known for key, value in part.items()}
    told |= {key: sum(part.get(key, 0) for part in known) for key in SUMMED if key in told}
    if "reached" in told:
        told["reached"] = {topic: at for part in known for topic, at in part.get("reached", {}).items()}
    return told


def figures(progress: StreamingQueryProgress) -> dict[str, Any]:
    """The part of a progress report that a reader of the dashboard needs."""
    return {
        "batch_id": progress.batchId,
        "batch_ms": progress.batchDuration,
        "phases_ms": dict(progress.durationMs),
        "input_rows": progress.numInputRows,
        "input_rows_per_second": _number(progress.inputRowsPerSecond),
        "processed_rows_per_second": _number(progress.processedRowsPerSecond),
        "lag": sum(lag(source.endOffset, source.latestOffset) for source in progress.sources),
        "reached": {topic: end for source in progress.sources for topic, end in reached(source.endOffset).items()},
    }


def reached(end: str | None) -> dict[str, int]:
    """By topic, how many messages a query has taken, over all partitions, as an offset."""
    try:
        return {topic: sum(partitions.values()) for topic, partitions in (json.loads(end or "{}") or {}).items()}
    except (ValueError, AttributeError):
        return {}


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


def _number(rate: float | None) -> float:
    """Spark says NaN, infinity or nothing where no time has passed."""
    return rate if rate is not None and 0 <= rate < float("inf") else 0.0
