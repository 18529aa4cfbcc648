"""What the dashboard remembers of a stream: reducers over Kafka messages, without Kafka.

Everything is bounded: records by number, windows by number, latencies by age. A message is applied by
:meth:`FeedState.apply`; :meth:`FeedState.snapshot` gives an immutable picture for the pages and the API.
Time always comes in as an argument (seconds since 1970), so that a test can move it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

import orjson
import structlog

from dashboards.alarms import Alarm
from dashboards.backlog import Backlog, Lag
from dashboards.counts import Distribution, Histogram, Latencies, Latency, Share
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
SPARK_SECONDS = 120
STATUS_SILENCE_SECONDS = 90.0
"""A producer that says its status and names no interval of polls is believed for so long."""
SHARE_SECONDS = 300.0
MOST_REASONS = 64
"""Reasons of rejects that are counted apart; what comes beyond them, from somebody else's job, is `other`."""
RUNNING = "running"

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
class Link:
    """The feed's connection to the broker."""

    health: Health = Health.CONNECTING
    error: str = ""
    bootstrap: str = ""


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """What a query last said of itself, and how far behind it was found to be. Times by this machine's clock."""

    query: str
    streams: tuple[str, ...]
    state: str
    at: float
    progress_at: float | None
    """When a batch of it ended, or it had nothing to do."""
    input_rows_per_second: float | None
    batch_ms: float | None
    batch_id: int | None
    lag: int | None
    message: str
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    reached: Mapping[str, int] = field(default_factory=dict)
    """By raw topic, the sum of the offsets it has taken all before."""
    told_at: float = 0.0
    """When it said so, by its own clock."""
    clock_ahead: float = 0.0
    """Seconds by which its clock is ahead of this one; the way here, some tens of milliseconds, counts against it."""
    behind: Mapping[str, Lag] = field(default_factory=dict)
    """By stream, measured here."""
    silent: bool = False
    """It says it runs, and has not said so for too long: killed, most likely."""

    @property
    def runs(self) -> bool:
        return self.state == RUNNING and not self.silent

    @property
    def run(self) -> str:
        """Which driver it belongs to: queries of several go by the same names."""
        return "+".join(self.streams)

    def worst(self) -> Lag | None:
        """Over its streams: all that waits, and the longest wait."""
        lags = self.behind.values()
        return Lag(sum(lag.records for lag in lags), max(lag.seconds for lag in lags)) if lags else None


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
    to_screen: Mapping[str, Distribution]
    """Seconds from Kafka to here since the start, by ``live`` and ``aggregate``."""
    rejected_share: float | None
    late_share: float | None
    """Of the last minutes' records; None of too few."""
    reasons: Mapping[str, int]
    """Of rejects since the start of this process."""
    account: Row
    """What the archive last said: ``records``, ``rejected``, ``duplicates``, ``late``, ``lost``, ``owed``."""
    ledgers: Mapping[str, Row]
    """What each query remembers: ``bytes`` and ``rows``."""
    raw_age: float | None
    """Seconds since the raw topic was last seen to grow; None where it was not yet."""
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
    feed_lag: Lag
    """Of this process itself, over all topics it reads."""
    alarms: tuple[Alarm, ...] | None = None
    """Those that stand, where somebody keeps them."""

    def lag(self, stream: str) -> int | None:
        """How far the query that feeds the screen is behind; the live one where there is one. Measured, or its word."""
        lags = {
            q.query: q.behind[stream].records if stream in q.behind else q.lag
            for q in self.queries
            if stream in q.streams and (q.lag is not None or stream in q.behind)
        }
        live = [lag for name, lag in lags.items() if name.startswith("live") and lag is not None]
        return max(live or [lag for lag in lags.values() if lag is not None], default=None)


def seconds_of(text: Any) -> float | None:
    """An ISO 8601 time as seconds since 1970; none where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


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
        self._live_latency = Latencies()
        self._aggregate_latency = Latencies()
        self._to_screen = {"live": Histogram(), "aggregate": Histogram()}
        self._live_count = 0
        self._rejected_count = 0
        self._rejected_share = Share(SHARE_SECONDS)
        self._late_share = Share(SHARE_SECONDS)
        self._reasons: Counter[str] = Counter()
        self._archive: Row = {}
        self.ledgers: dict[str, Row] = {}
        self._seen_up_to: dict[int, int] = {}
        self._raw_first: dict[int, int] = {}
        self._raw_ends: dict[int, int] = {}
        self._raw_grew: float | None = None
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
        self._has_seen(row)
        if not message.history:
            self._rate.add(message.received_at)
            self._rejected_share.add(message.received_at, 1, 0)
            if arrived:
                self._took("live", self._live_latency, message.received_at, arrived)

    def apply_rejected(self, message: Message) -> None:
        row = _parse(message)
        if row is None or self._is_repeat(("rejected", *_position(row, message))):
            return
        self._rejected.add(row, in_order=not message.history)
        self._rejected_count += 1
        self._has_seen(row)
        if not message.history:
            self._rejected_share.add(message.received_at, 1, 1)
            for reason in row.get("reasons") or ():
                known = reason in self._reasons or len(self._reasons) < MOST_REASONS
                self._reasons[str(reason) if known else "other"] += 1

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
                self._took("aggregate", self._aggregate_latency, message.received_at, as_of)

    def apply_status(self, row: Row, received_at: float, history: bool) -> None:
        """Counts that only the archive knows."""
        if not history and self._archive:
            records, late = (int(row.get(n) or 0) - int(self._archive.get(n) or 0) for n in ("records", "late"))
            if records > 0 <= late:  # fewer than before: it was reset
                self._late_share.add(received_at, records, late)
        self._archive = row

    def raw_ended(self, at: float, ends: Mapping[int, int]) -> None:
        """The raw topic's partitions ended there at that time."""
        if self._raw_ends and sum(ends.values()) > sum(self._raw_ends.values()):
            self._raw_grew = at
        self._raw_ends = dict(ends)
        self._raw_first = {**ends, **self._raw_first}

    @property
    def has_raw(self) -> bool:
        """Whether it is known where the raw topic ends."""
        return bool(self._raw_ends)

    @property
    def raw_end(self) -> int:
        """Where the raw topic ends, over all partitions."""
        return sum(self._raw_ends.values())

    @property
    def seen(self) -> int:
        """How much of the raw topic has come here, valid or rejected, counted as :attr:`raw_end`. A partition of which
        nothing came yet counts as seen up to where it ended first: what lies before may be gone from the live topic.
        """
        return sum(self._seen_up_to.get(partition, self._raw_first[partition]) for partition in self._raw_ends)

    def _has_seen(self, row: Row) -> None:
        partition, offset = row.get("partition"), row.get("offset")
        if isinstance(partition, int) and isinstance(offset, int) and row.get("topic") == self.stream.raw_topic:
            self._seen_up_to[partition] = max(self._seen_up_to.get(partition, 0), offset + 1)

    def _took(self, path: str, latencies: Latencies, now: float, since: float) -> None:
        latencies.add(now, now - since)
        self._to_screen[path].add(max(now - since, 0.0))

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
            to_screen={path: histogram.view() for path, histogram in self._to_screen.items()},
            rejected_share=self._rejected_share.of(now),
            late_share=self._late_share.of(now),
            reasons=dict(self._reasons),
            account=self._archive,
            ledgers=dict(self.ledgers),
            raw_age=None if self._raw_grew is None else max(now - self._raw_grew, 0.0),
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
        silence_seconds: float = 30.0,
    ) -> None:
        self.streams = {name: StreamState(stream, trackers.get(name)) for name, stream in streams.items()}
        self.queries: dict[str, QueryStatus] = {}
        self._backlogs: dict[tuple[str, str], Backlog] = {}
        self._own = Backlog()
        self.link = Link()
        self._stale_after = stale_after
        self._silence_seconds = silence_seconds
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
            self.streams[name].apply_status(row, message.received_at, message.history)
        elif kind == "producer" and name in self.streams:
            self.streams[name].producer = row
        elif kind == "ledger" and row is not None and (stream := self.streams.get(name.partition(":")[0])):
            stream.ledgers[name.partition(":")[2]] = row
        elif kind == "query" and row is not None:
            self.queries[name] = _query(name, row, message, self.queries.get(name))
            self._reached(name)
        elif kind == "query":
            self.queries.pop(name, None)

    def _reached(self, name: str) -> None:
        """Tells each of a query's backlogs how far the query has come."""
        query = self.queries[name]
        for state in self._streams_of(query):
            # What the live queries have done is seen here as it comes; their word, every 30 s, is for what leaves gaps.
            seen = state.seen if query.query == "live" and state.has_raw else None
            positions = [at for at in (query.reached.get(state.stream.raw_topic), seen) if at is not None]
            if positions:
                self._backlogs.setdefault((name, state.stream.name), Backlog()).reached(max(positions))

    def _streams_of(self, query: QueryStatus) -> Iterable[StreamState]:
        return (self.streams[name] for name in query.streams if name in self.streams)

    def ended(self, at: float, ends: Mapping[tuple[str, int], int], own: int, own_end: int) -> None:
        """Where topics ended at that time, by topic and partition; how far this process has come with its own topics,
        and where those end.
        """
        for state in self.streams.values():
            raw = {partition: end for (topic, partition), end in ends.items() if topic == state.stream.raw_topic}
            if raw:
                state.raw_ended(at, raw)
        for name, query in self.queries.items():
            self._reached(name)
            for state in self._streams_of(query):
                if state.has_raw:
                    backlog = self._backlogs.setdefault((name, state.stream.name), Backlog())
                    backlog.ended(at, state.raw_end)
        self._own.reached(own)
        self._own.ended(at, own_end)

    def snapshot(self, now: float) -> Snapshot:
        return Snapshot(
            at=now,
            link=self.link,
            streams={name: state.view(now, self.link, self._stale_after) for name, state in self.streams.items()},
            queries=tuple(sorted(self._judged(now), key=lambda query: (query.query, query.streams))),
            feed_lag=self._own.lag(now) or Lag(),
        )

    def _judged(self, now: float) -> Iterable[QueryStatus]:
        for name, query in self.queries.items():
            lags = {s: backlog.lag(now) for s in query.streams if (backlog := self._backlogs.get((name, s)))}
            yield replace(
                query,
                behind={stream: lag for stream, lag in lags.items() if lag is not None},
                silent=query.state == RUNNING and now - query.at > self._silence_seconds,
            )


def _query(name: str, row: Row, message: Message, before: QueryStatus | None) -> QueryStatus:
    """What a query says, with its times by this machine's clock: its own may be wrong, and hide or feign a silence."""
    told = seconds_of(row.get("at")) or 0.0
    at = min(told, message.received_at) if message.history else message.received_at
    progress = seconds_of(row.get("progress_at"))
    # A query that has just started has none of these yet; the last ones still tell something.
    batch_ms = row.get("batch_ms") if "batch_ms" in row or before is None else before.batch_ms
    return QueryStatus(
        query=str(row.get("query") or name),
        streams=tuple(row.get("streams") or ()),
        state=str(row.get("state", "")),
        at=at,
        progress_at=None if progress is None else at - max(told - progress, 0.0),
        input_rows_per_second=row.get("input_rows_per_second"),
        batch_ms=batch_ms,
        batch_id=row.get("batch_id"),
        lag=row.get("lag"),
        message=str(row.get("message") or ""),
        phases_ms=row.get("phases_ms") or {},
        reached=row.get("reached") or (before.reached if before else {}),
        told_at=told,
        clock_ahead=told - at if _is_steady(told, at, message, before) else 0.0,
    )


def _is_steady(told: float, at: float, message: Message, before: QueryStatus | None) -> bool:
    """Whether it came as long after the one before as it was sent; what Kafka or we held up says nothing of clocks."""
    return not message.history and before is not None and abs((told - before.told_at) - (at - before.at)) < 1.0


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
