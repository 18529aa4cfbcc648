"""What the dashboard remembers of a stream: reducers over Kafka messages, without Kafka.

Everything is bounded: records by number, windows by number, samples by age. A message is applied by
:meth:`FeedState.apply`; :meth:`FeedState.snapshot` gives an immutable picture for the pages and the API.
Time always comes in as an argument (seconds since 1970), so that a test can move it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

import orjson
import structlog

from headwater.contracts import Stream
from headwater.processed import own_kind
from headwater.topics import STATUS_TOPIC

log = structlog.get_logger(__name__)

KEEP_LIVE = 500
KEEP_REJECTED = 500
KEEP_HISTORY = 100
"""Records of each partition that are read from before the start, where no tracker asks for more."""
KEEP_WINDOWS = 20_000
"""Rows of one table with a time: two weeks of minutes, ten categories over a day and a half."""
KEEP_POSITIONS = 50_000
"""Positions remembered to tell a repeat after a crash: 50 s at 1,000 records/s beyond the checkpoint's 30 s."""
SAMPLE_SECONDS = 60.0
SAMPLE_LIMIT = 5_000
SPARK_SECONDS = 120
STATUS_SILENCE_SECONDS = 90.0
"""A query that has not reported for this long is not believed to be running."""

Row = Mapping[str, Any]


class Health(StrEnum):
    """What can be said of a stream, or of the feed as a whole."""

    CONNECTING = "connecting"
    CANNOT_CONNECT = "cannot connect"
    NO_DATA = "connected, no data yet"
    LIVE = "live"
    STOPPED = "stopped"


class Tracker(Protocol):
    """What a stream's live records add up to in memory, beyond rows: visits, trips. Asked by its stream's page alone.

    It may be asked from another thread than the feed's, and keeps its own bounds.
    """

    @property
    def memory_seconds(self) -> float:
        """So much of the live topic is read back at a start, by Kafka's time."""

    @property
    def stands_for(self) -> frozenset[str]:
        """Tables that it works out itself; their rows from the processed topic are not kept."""

    def apply(self, row: Row, received_at: float) -> None:
        """A live record, each only once by its position in Kafka."""

    def view(self, now: float) -> Any:
        """All of it at one moment."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Kafka message as the feed hands it on; ``history`` was in the topic before the feed came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    received_at: float
    history: bool = False


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the record's arrival in Kafka to its arrival here, over the last minute."""

    p50: float | None = None
    p99: float | None = None
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """The feed's connection to the broker."""

    health: Health = Health.CONNECTING
    error: str = ""
    bootstrap: str = ""


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """What a query last said of itself."""

    query: str
    streams: tuple[str, ...]
    state: str
    at: float
    input_rows_per_second: float | None
    batch_ms: float | None
    batch_id: int | None
    lag: int | None
    message: str


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream at one moment. Records and rejects come newest first."""

    name: str
    health: Health
    age: float | None
    rate_10: float
    rate_60: float
    spark: tuple[int, ...]
    live: tuple[Row, ...]
    live_count: int
    rejected: tuple[Row, ...]
    rejected_count: int
    duplicates: int | None
    late: int | None
    live_latency: Latency
    aggregate_latency: Latency
    tables: Mapping[str, Mapping[str, Row]]
    versions: Mapping[str, int]
    tracker: Tracker | None = None
    """Not a picture but the thing itself: it is worked out only when somebody looks."""
    producer: Row | None = None
    """What the stream's producer last said of itself; most say nothing."""

    def table(self, kind: str) -> Mapping[str, Row]:
        return self.tables.get(kind, {})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it at one moment."""

    at: float
    link: Link
    streams: Mapping[str, StreamView]
    queries: tuple[QueryStatus, ...]

    def lag(self, stream: str) -> int | None:
        """How far the query that feeds the screen is behind; the live one where there is one."""
        lags = {q.query: q.lag for q in self.queries if stream in q.streams and q.lag is not None}
        live = [lag for name, lag in lags.items() if name.startswith("live")]
        return max(live or lags.values(), default=None)


def seconds_of(text: Any) -> float | None:
    """An ISO 8601 time as seconds since 1970; none where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


class Samples:
    """Latencies of the last minute, bounded in number."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLE_LIMIT)
        self._computed = (0.0, Latency())

    def add(self, now: float, latency: float) -> None:
        self._samples.append((now, max(latency, 0.0)))

    def latency(self, now: float) -> Latency:
        """Sorted once a second at most: a snapshot is taken ten times as often."""
        if now - self._computed[0] >= 1.0:
            self._computed = (now, self._compute(now))
        return self._computed[1]

    def _compute(self, now: float) -> Latency:
        while self._samples and self._samples[0][0] < now - SAMPLE_SECONDS:
            self._samples.popleft()
        ordered = sorted(latency for _, latency in self._samples)
        if not ordered:
            return Latency()
        last = len(ordered) - 1
        return Latency(p50=ordered[round(last * 0.5)], p99=ordered[round(last * 0.99)], samples=len(ordered))


class Rate:
    """Records by whole second, over the last two minutes."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque(maxlen=SPARK_SECONDS + 2)
        self._since: int | None = None

    def add(self, now: float) -> None:
        second = int(now)
        if self._since is None:
            self._since = second
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))

    def per_second(self, now: float, span: int) -> float:
        """Mean over the last whole seconds; the unfinished second is left out."""
        end = int(now)
        return sum(count for second, count in self._seconds if end - span <= second < end) / span

    def spark(self, now: float) -> tuple[int, ...]:
        counts = dict(self._seconds)
        end = int(now)
        # Not further back than the first record: before it this process knows nothing, which is not zero.
        begin = max(end - SPARK_SECONDS, self._since if self._since is not None else end)
        return tuple(counts.get(second, 0) for second in range(begin, end))


class Latest:
    """The newest rows by Kafka's time, bounded. What is read back at a start comes a partition after the other."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: list[Row] = []
        self._disordered = False

    def add(self, row: Row, in_order: bool) -> None:
        self._rows.append(row)
        self._disordered = self._disordered or not in_order
        if len(self._rows) >= 2 * self._most:
            self._tidy()

    def newest_first(self) -> tuple[Row, ...]:
        self._tidy()
        return tuple(reversed(self._rows))

    def _tidy(self) -> None:
        if self._disordered:
            self._rows.sort(key=lambda row: str(row.get("kafka_timestamp")))
            self._disordered = False
        del self._rows[: -self._most]


def replaces(new: Row, held: Row | None) -> bool:
    """The reader's rule: the row that includes more wins; between equals the archive's word is final."""
    if held is None:
        return True
    new_as_of, held_as_of = seconds_of(new.get("as_of")) or 0.0, seconds_of(held.get("as_of")) or 0.0
    if new_as_of != held_as_of:
        return new_as_of > held_as_of
    return new.get("source") == "archive" or held.get("source") != "archive"


@dataclass
class TableState:
    """The newest row of each key; of a table with a time only the rows of the latest."""

    time: str | None
    limit: int = KEEP_WINDOWS
    rows: dict[str, Row] = field(default_factory=dict)
    version: int = 0
    _frozen: tuple[int, Mapping[str, Row]] = (-1, MappingProxyType({}))

    def put(self, key: str, row: Row) -> bool:
        if not replaces(row, self.rows.get(key)):
            return False
        self.rows[key] = row
        self.version += 1
        if (time := self.time) and len(self.rows) > self.limit * 1.1:
            # Times in ISO 8601 sort as text; trimmed a tenth at a time.
            newest = sorted(self.rows, key=lambda name: (str(self.rows[name].get(time)), name))[-self.limit :]
            self.rows = {name: self.rows[name] for name in newest}
        return True

    def drop(self, key: str) -> None:
        if self.rows.pop(key, None) is not None:
            self.version += 1

    def freeze(self) -> Mapping[str, Row]:
        """A picture of the rows that later changes leave alone; copied only when there were any."""
        if self._frozen[0] != self.version:
            self._frozen = (self.version, MappingProxyType(dict(self.rows)))
        return self._frozen[1]


class StreamState:
    """What is remembered of one stream."""

    def __init__(self, stream: Stream, tracker: Tracker | None = None) -> None:
        self.stream = stream
        self.tracker = tracker
        self._live = Latest(KEEP_LIVE)
        self._rejected = Latest(KEEP_REJECTED)
        self._seen: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        elsewhere = tracker.stands_for if tracker else frozenset()
        self._tables = {
            t.name: TableState("window_start" if t.windowed else t.time)
            for t in stream.tables
            if t.name not in elsewhere
        }
        self._rate = Rate()
        self._live_latency = Samples()
        self._aggregate_latency = Samples()
        self._live_count = 0
        self._rejected_count = 0
        self._archive: Row = {}
        self._last_data: float | None = None
        self.producer: Row | None = None

    def apply_live(self, message: Message) -> None:
        row = _parse(message)
        if row is None or self._is_repeat(_position(row, message)):
            return
        arrived = seconds_of(row.get("kafka_timestamp"))
        self._live.add(row, in_order=not message.history)
        self._live_count += 1
        if self.tracker is not None:
            self.tracker.apply(row, message.received_at)
        self._moved(arrived if message.history and arrived else message.received_at)
        if not message.history:
            self._rate.add(message.received_at)
            if arrived:
                self._live_latency.add(message.received_at, message.received_at - arrived)

    def apply_rejected(self, message: Message) -> None:
        row = _parse(message)
        if row is None or self._is_repeat(("rejected", *_position(row, message))):
            return
        self._rejected.add(row, in_order=not message.history)
        self._rejected_count += 1

    def apply_processed(self, message: Message) -> None:
        kind, separator, key = (message.key or b"").decode(errors="replace").partition(":")
        table = self._tables.get(kind)
        if table is None or not separator:
            return
        if not message.value:
            table.drop(key)
            return
        row = _parse(message)
        if row is None or not table.put(key, own_kind(row)):
            return
        as_of = seconds_of(row.get("as_of"))
        if message.history:
            self._moved(as_of)
        elif row.get("source") == "aggregate":
            self._moved(message.received_at)
            if as_of:
                self._aggregate_latency.add(message.received_at, message.received_at - as_of)

    def apply_status(self, row: Row) -> None:
        """Counts that only the archive knows."""
        self._archive = row

    def _is_repeat(self, position: tuple[Any, ...]) -> bool:
        if position in self._seen:
            return True
        self._seen[position] = None
        if len(self._seen) > KEEP_POSITIONS:
            self._seen.popitem(last=False)
        return False

    def _moved(self, at: float | None) -> None:
        if at is not None:
            self._last_data = max(at, self._last_data or 0.0)

    def _patience(self) -> float:
        """Seconds more without data before the stream counts as stopped: a producer that polls is silent in between.

        One that speaks of itself and names no interval (a replay of polls) is believed as long as a query is.
        """
        if self.producer is None:
            return 0.0
        return _positive(self.producer.get("interval_s")) or STATUS_SILENCE_SECONDS

    def view(self, now: float, link: Link, stale_after: float) -> StreamView:
        age = None if self._last_data is None else max(now - self._last_data, 0.0)
        return StreamView(
            name=self.stream.name,
            health=_health(link, age, stale_after + self._patience()),
            age=age,
            rate_10=self._rate.per_second(now, 10),
            rate_60=self._rate.per_second(now, 60),
            spark=self._rate.spark(now),
            live=self._live.newest_first(),
            live_count=self._live_count,
            rejected=self._rejected.newest_first(),
            rejected_count=max(self._rejected_count, int(_positive(self._archive.get("rejected")))),
            duplicates=self._archive.get("duplicates"),
            late=self._archive.get("late"),
            live_latency=self._live_latency.latency(now),
            aggregate_latency=self._aggregate_latency.latency(now),
            tables={name: table.freeze() for name, table in self._tables.items()},
            versions={name: table.version for name, table in self._tables.items()},
            tracker=self.tracker,
            producer=self.producer,
        )


class FeedState:
    """All streams and the queries that feed them."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        stale_after: float = 30.0,
        trackers: Mapping[str, Tracker] = MappingProxyType({}),
    ) -> None:
        self.streams = {name: StreamState(stream, trackers.get(name)) for name, stream in streams.items()}
        self.queries: dict[str, QueryStatus] = {}
        self.link = Link()
        self._stale_after = stale_after
        self._reducers = {
            topic: reducer
            for state in self.streams.values()
            for topic, reducer in (
                (state.stream.live_topic, state.apply_live),
                (state.stream.processed_topic, state.apply_processed),
                (state.stream.rejected_topic, state.apply_rejected),
            )
        } | {STATUS_TOPIC: self._apply_status}

    def apply(self, message: Message) -> None:
        """Anybody may write to a topic: what can't be made sense of is logged, and what follows it is read."""
        reduce = self._reducers[message.topic]
        try:
            reduce(message)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            place = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.warning("not_understood", **place, exc_info=True)

    def _apply_status(self, message: Message) -> None:
        kind, _, name = (message.key or b"").decode(errors="replace").partition(":")
        row = _parse(message) if message.value else None
        if kind == "stream" and row is not None and name in self.streams:
            self.streams[name].apply_status(row)
        elif kind == "producer" and name in self.streams:
            self.streams[name].producer = row
        elif kind == "query" and row is not None:
            before = self.queries.get(name)
            # A query that idles says no batch time; the last one still tells something.
            batch_ms = row.get("batch_ms") if "batch_ms" in row or before is None else before.batch_ms
            self.queries[name] = QueryStatus(
                query=name,
                streams=tuple(row.get("streams") or ()),
                state=str(row.get("state", "")),
                at=seconds_of(row.get("at")) or 0.0,
                input_rows_per_second=row.get("input_rows_per_second"),
                batch_ms=batch_ms,
                batch_id=row.get("batch_id"),
                lag=row.get("lag"),
                message=str(row.get("message") or ""),
            )
        elif kind == "query":
            self.queries.pop(name, None)

    def snapshot(self, now: float) -> Snapshot:
        return Snapshot(
            at=now,
            link=self.link,
            streams={name: state.view(now, self.link, self._stale_after) for name, state in self.streams.items()},
            queries=tuple(sorted(self.queries.values(), key=lambda query: query.query)),
        )


def silent(query: QueryStatus, now: float) -> bool:
    """It says it runs, and has not said so for too long: killed, most likely."""
    return query.state == "running" and now - query.at > STATUS_SILENCE_SECONDS


def _health(link: Link, age: float | None, stale_after: float) -> Health:
    if link.health in (Health.CONNECTING, Health.CANNOT_CONNECT):
        return link.health
    if age is None:
        return Health.NO_DATA
    return Health.LIVE if age <= stale_after else Health.STOPPED


def _positive(value: Any) -> float:
    """A number above 0; 0 where it is none."""
    return value if isinstance(value, int | float) and 0 < value < float("inf") else 0.0


def _position(row: Row, message: Message) -> tuple[Any, ...]:
    """Where the raw record stood; of a message that does not say, where the message itself stands."""
    if row.get("offset") is None:
        return message.topic, message.partition, message.offset
    return row.get("topic"), row.get("partition"), row.get("offset")


def _parse(message: Message) -> dict[str, Any] | None:
    """The value as an object. Ours are always one, so anything else is somebody else's and only logged."""
    try:
        row = orjson.loads(message.value or b"")
    except orjson.JSONDecodeError:
        row = None
    if isinstance(row, dict):
        return row
    log.warning("not_an_object", topic=message.topic, partition=message.partition, offset=message.offset)
    return None
