"""Kafka to bounded memory: one background thread, a consumer with assigned partitions, no group.

Every dashboard process needs the whole of every topic, so there is nothing for a group to share out, and
nothing is committed: a start reads the processed and status topics from their beginning (they are compacted)
and the live and rejected ones from a little before their end; as much of a live one as the stream's tracker
remembers, so that a restarted dashboard shows what it showed before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from dashboards.alarms import Alarms
from dashboards.health import Limits, findings
from dashboards.hub import Hub
from dashboards.state import KEEP_HISTORY, FeedState, Health, Link, Message, Snapshot, Tracker
from headwater.contracts import Stream
from headwater.errors import HeadwaterError
from headwater.settings import Settings
from headwater.topics import STATUS_TOPIC

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.05
DRAIN = 1_000
"""Messages taken in one go, before anybody is told: bounds what a reload of a big topic holds up."""
PUBLISH_SECONDS = 0.1
IDLE_PUBLISH_SECONDS = 1.0
"""Also without news: ages and rates move on."""
CHECK_SECONDS = 2.0
"""How often the broker is asked which topics there are, which is also how its loss is noticed."""
MOST_HISTORY = 100_000
"""Records of a partition that are read back for a tracker, whatever time they cover: some seconds' work."""
RETRY_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0

CONSUMER = {
    "group.id": "headwater-dashboard",  # asked for by the client; never joined, since partitions are assigned
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 2,  # its own lines about a broker that is down would fill the log; ours say it once
}


class Feed:
    """Reads into a :class:`FeedState` and publishes snapshots of it to a :class:`Hub`."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        hub: Hub,
        find: Callable[[], str],
        config: Callable[[str], Mapping[str, str]],
        stale_after: float = 30.0,
        trackers: Mapping[str, Tracker] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._hub = hub
        self._find = find
        self._config = config
        self._limits = limits or Limits.of(Settings())
        self._state = FeedState(streams, stale_after, trackers or {}, self._limits.health.query_silence_seconds)
        self._alarms = Alarms(self._limits.health.end_share, self._limits.health.end_seconds)
        self._standing: set[tuple[str, str]] = set()
        self._memory = {streams[name].live_topic: t.memory_seconds for name, t in (trackers or {}).items()}
        self._from_start = {s.processed_topic for s in streams.values()} | {STATUS_TOPIC}
        self._topics = self._from_start | {
            topic for s in streams.values() for topic in (s.live_topic, s.rejected_topic)
        }
        self._raw_topics = {s.raw_topic for s in streams.values()}
        self._positions: dict[tuple[str, int], int] = {}
        self._known_end: dict[tuple[str, int], int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._published = 0.0
        self._pending = False

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        self._stopping.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look_for_broker()
            except (HeadwaterError, KafkaException, OSError, ValueError) as error:
                self._lost(_first_line(error))
            except Exception as error:
                # The thread must outlive its bugs: a page that stands still without a word is worse.
                log.exception("feed_failed")
                self._lost(f"{type(error).__name__}: {_first_line(error)}")
            self._stopping.wait(RETRY_SECONDS)

    def _look_for_broker(self) -> None:
        bootstrap = self._find()
        consumer = Consumer({**self._config(bootstrap), **CONSUMER})
        try:
            self._consume(consumer, bootstrap)
        finally:
            consumer.close()

    def _consume(self, consumer: Consumer, bootstrap: str) -> None:
        """Until told to stop, or until the broker is gone and may come back under another address."""
        assigned: set[tuple[str, int]] = set()
        checked = float("-inf")
        ends = Ends(AdminClient({**self._config(bootstrap), "log_level": "2"}))
        while not self._stopping.is_set():
            now = time.time()
            if now - checked >= CHECK_SECONDS:
                checked = now
                raw = self._assign(consumer, assigned)
                self._connected(bootstrap)
                ends.ask(now, assigned | raw)
            dirty = False
            if (found := ends.answer()) is not None:
                own = {place: end for place, end in found.items() if place in assigned}
                reached = sum(min(self._positions.get(place, end), end) for place, end in own.items())
                self._state.ended(ends.asked, found, reached, sum(own.values()))
            if (message := consumer.poll(POLL_SECONDS)) is not None:
                dirty = self._apply([message, *consumer.consume(DRAIN, timeout=0)])
            self._publish(dirty)

    def _assign(self, consumer: Consumer, assigned: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Take up partitions that have appeared; gives those of the raw topics, which are not read. Raises when the
        broker does not answer.
        """
        topics = consumer.list_topics(timeout=TIMEOUT_SECONDS).topics
        places, raw = (
            {(name, partition) for name in names & topics.keys() for partition in topics[name].partitions}
            for names in (self._topics, self._raw_topics)
        )
        fresh = [self._start(consumer, *place) for place in sorted(places - assigned)]
        if fresh:
            consumer.incremental_assign(fresh)
            assigned |= places
        return raw

    def _start(self, consumer: Consumer, topic: str, partition: int) -> TopicPartition:
        """Where to begin: where we were, or at the topic's beginning, or some way before its end."""
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_SECONDS)
        place = (topic, partition)
        position = self._positions.get(place)
        if position is None or not low <= position <= high:
            self._known_end[place] = high
            position = max(low, self._history(consumer, topic, partition, high))
        self._positions[place] = position
        return TopicPartition(topic, partition, position)

    def _history(self, consumer: Consumer, topic: str, partition: int, high: int) -> int:
        """Where what we want of a partition begins."""
        if topic in self._from_start:
            return 0
        if topic not in self._memory:
            return high - KEEP_HISTORY
        since = TopicPartition(topic, partition, int((time.time() - self._memory[topic]) * 1000))
        (found,) = consumer.offsets_for_times([since], timeout=TIMEOUT_SECONDS)
        # Without a record since then Kafka names no offset; the last few are of use to the page all the same.
        begin = min(found.offset, high - KEEP_HISTORY) if found.offset >= 0 else high - KEEP_HISTORY
        return max(begin, high - MOST_HISTORY)

    def _apply(self, messages: Iterable[KafkaMessage]) -> bool:
        now = time.time()
        applied = False
        for raw in messages:
            if (error := raw.error()) is not None:
                if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART or error.fatal():
                    raise KafkaException(error)
                continue
            message = _message(raw, now, self._known_end)
            self._positions[message.topic, message.partition] = message.offset + 1
            self._state.apply(message)
            applied = True
        return applied

    def _connected(self, bootstrap: str) -> None:
        if self._state.link.health is not Health.LIVE:
            log.info("connected", bootstrap=bootstrap)
        self._state.link = Link(Health.LIVE, "", bootstrap)

    def _lost(self, error: str) -> None:
        if self._stopping.is_set():
            return
        if error != self._state.link.error:
            log.warning("cannot_connect", error=error)
        self._state.link = Link(Health.CANNOT_CONNECT, error)
        self._publish(True)

    def _publish(self, dirty: bool) -> None:
        now = time.time()
        since = now - self._published
        if since >= (PUBLISH_SECONDS if dirty or self._pending else IDLE_PUBLISH_SECONDS):
            self._published, self._pending = now, False
            self._hub.publish(self._watched(self._state.snapshot(now)))
        else:
            self._pending = self._pending or dirty

    def _watched(self, snapshot: Snapshot) -> Snapshot:
        """With the alarms that stand; those of before the loss of Kafka are forgotten, as nothing can be known then."""
        alarms = self._alarms.update(snapshot.at, findings(snapshot, self._limits))
        standing = {(alarm.kind, alarm.subject) for alarm in alarms}
        for alarm in alarms:
            if (alarm.kind, alarm.subject) not in self._standing:
                log.warning("alarm_raised", kind=alarm.kind, subject=alarm.subject, reason=alarm.text)
        for kind, subject in self._standing - standing:
            log.info("alarm_ended", kind=kind, subject=subject)
        self._standing = standing
        return replace(snapshot, alarms=alarms)


class Ends:
    """Where partitions end, asked for without waiting: an answer that is late must hold up no message."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._asked: dict[tuple[str, int], Future[ListOffsetsResultInfo]] = {}
        self.asked = 0.0

    def ask(self, now: float, places: Iterable[tuple[str, int]]) -> None:
        """Ask, and forget what was asked before."""
        wanted = {TopicPartition(*place): OffsetSpec.latest() for place in places}
        if wanted:
            answers = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_SECONDS)
            self._asked = {(partition.topic, partition.partition): answer for partition, answer in answers.items()}
            self.asked = now

    def answer(self) -> dict[tuple[str, int], int] | None:
        """Once, when all are there. A partition without a leader has no end for now."""
        if not self._asked or not all(answer.done() for answer in self._asked.values()):
            return None
        asked, self._asked = self._asked, {}
        return {place: answer.result().offset for place, answer in asked.items() if answer.exception() is None}


def _message(raw: KafkaMessage, now: float, known_end: Mapping[tuple[str, int], int]) -> Message:
    # The client types all three as optional, as they are in a message that was not sent yet.
    topic, partition, offset = raw.topic() or "", raw.partition() or 0, raw.offset() or 0
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        key=raw.key(),
        value=raw.value(),
        received_at=now,
        history=offset < known_end.get((topic, partition), 0),
    )


def _first_line(error: BaseException) -> str:
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return str(error.args[0].str())
    return (str(error) or type(error).__name__).splitlines()[0]
