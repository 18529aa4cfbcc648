"""The topics of a stream, created with their partitions and configuration.

An existing topic of the embedded broker follows the settings, but for its partitions. On somebody's cluster it is left
as it is: its configuration is theirs.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from headwater.errors import BrokerError
from headwater.kafka import ENVELOPE, client_config
from headwater.settings import KafkaSettings, Settings

STATUS_TOPIC = "headwater_status"
TIMEOUT_SECONDS = 30.0
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
GB = 1024**3
# A broker allows no smaller segments; of larger ones the last would hold a good part of what should be gone.
SMALLEST_SEGMENT_BYTES, LARGEST_SEGMENT_BYTES = 1024 * 1024, 128 * 1024 * 1024
COMPACTED_SEGMENT_BYTES = 4 * 1024 * 1024
# Only closed segments are deleted: this is how much more than it should a topic may hold, as a share.
SEGMENTS = 8


class StreamTopics(Protocol):
    """What is asked of a stream here: the names of its topics."""

    @property
    def raw_topic(self) -> str: ...
    @property
    def live_topic(self) -> str: ...
    @property
    def processed_topic(self) -> str: ...
    @property
    def rejected_topic(self) -> str: ...
    @property
    def acknowledged(self) -> str | None: ...
    @property
    def acknowledged_topic(self) -> str: ...


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is created."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def stream_topics(settings: Settings, stream: StreamTopics) -> list[TopicSpec]:
    """A stream's raw, live, rejected and processed topics, and that of acknowledgements where it has some."""
    kafka = settings.kafka
    derived = {"max.message.bytes": str(kafka.max_message_bytes * ENVELOPE)}
    raw = {
        "max.message.bytes": str(kafka.max_message_bytes),
        # A producer can set its own time; watermarks and lag need one that nobody can.
        "message.timestamp.type": "LogAppendTime",
    }
    # Only closed segments are compacted, so they are small and short: who starts late reads little.
    compacted = {
        "cleanup.policy": "compact",
        "segment.bytes": str(COMPACTED_SEGMENT_BYTES),
        "segment.ms": str(5 * MINUTE_MS),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": str(HOUR_MS),
    }
    configs = {
        stream.raw_topic: raw | _kept(kafka, stream.raw_topic, kafka.retention_gb, raw),
        stream.live_topic: derived | _kept(kafka, stream.live_topic, kafka.derived_gb, derived),
        stream.rejected_topic: derived | _kept(kafka, stream.rejected_topic, kafka.derived_gb, derived),
        stream.processed_topic: derived | compacted,
    }
    if stream.acknowledged:
        configs[stream.acknowledged_topic] = compacted
    return [TopicSpec(name, kafka.partitions_of(name), config) for name, config in configs.items()]


def _kept(kafka: KafkaSettings, topic: str, gb: float, limits: dict[str, str]) -> dict[str, str]:
    """Retention by time and by size, and segments that are closed often enough for it.

    A segment stays open for a week by default, and what it holds is kept as long.
    """
    hours_ms, size = kafka.retention_hours * HOUR_MS, gb * GB / kafka.partitions_of(topic)
    segment = max(min(size / SEGMENTS, LARGEST_SEGMENT_BYTES), SMALLEST_SEGMENT_BYTES, int(limits["max.message.bytes"]))
    return {
        "retention.ms": f"{hours_ms:.0f}",
        "retention.bytes": f"{size:.0f}",
        "segment.ms": f"{max(hours_ms / SEGMENTS, MINUTE_MS):.0f}",
        "segment.bytes": f"{segment:.0f}",
    }


def status_topic() -> TopicSpec:
    """What the jobs say of themselves; only the last of it matters."""
    return TopicSpec(STATUS_TOPIC, 1, {"retention.ms": str(HOUR_MS), "segment.ms": str(10 * MINUTE_MS)})


def ensure_topics(settings: Settings, bootstrap: str, streams: Iterable[StreamTopics]) -> list[str]:
    """Create what is missing of the streams' topics and the status topic; return the names of the new ones.

    Returns when every topic has a leader for each partition, so that a job which starts now sees
    all partitions.
    """
    specs = [status_topic(), *(spec for stream in streams for spec in stream_topics(settings, stream))]
    admin = AdminClient({**client_config(settings, bootstrap), "log_level": "0"})
    try:
        existing = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
        missing = [spec for spec in specs if spec.name not in existing]
        if missing:
            _create(admin, missing)
            _await_leaders(admin, {spec.name for spec in missing})
        there = [spec for spec in specs if spec not in missing]
        if there and not settings.kafka.bootstrap_servers:
            _configure(admin, there)
    except KafkaException as error:
        raise BrokerError(f"the broker at {bootstrap} refused to create topics: {_text(error)}") from error
    return [spec.name for spec in missing]


def partition_count(settings: Settings, bootstrap: str, topic: str) -> int:
    """How many partitions an existing topic has. BrokerError: nobody says; a guess would cost records."""
    admin = AdminClient({**client_config(settings, bootstrap), "log_level": "0"})
    try:
        found = len(admin.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions)
    except KafkaException as error:
        raise BrokerError(f"the broker at {bootstrap} doesn't say what {topic} is: {_text(error)}") from error
    if not found:
        raise BrokerError(
            f"the broker at {bootstrap} doesn't know {topic} yet: it is starting, or the topic was deleted"
        )
    return found


def _create(admin: AdminClient, specs: list[TopicSpec]) -> None:
    # Replication is the broker's default: one on a laptop, what the operators chose on a cluster.
    topics = [NewTopic(spec.name, spec.partitions, replication_factor=-1, config=spec.config) for spec in specs]
    for future in admin.create_topics(topics, request_timeout=TIMEOUT_SECONDS).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
                raise


def _configure(admin: AdminClient, specs: list[TopicSpec]) -> None:
    """Has topics that are there already follow the settings."""
    held = admin.describe_configs([ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs])
    configs = {resource.name: future.result() for resource, future in held.items()}
    changed = []
    for spec in specs:
        differing = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in spec.config.items()
            if configs[spec.name][name].value != value
        ]
        if differing:
            changed.append(ConfigResource(ResourceType.TOPIC, spec.name, incremental_configs=differing))
    if changed:
        for future in admin.incremental_alter_configs(changed).values():
            future.result()


def _await_leaders(admin: AdminClient, names: set[str]) -> None:
    """Metadata names a leader before it has taken over, so only an answer from it counts."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException, KeyError):
            end_offsets(admin, names)
            return
        time.sleep(0.05)
    raise BrokerError(f"the broker created {', '.join(sorted(names))} but does not serve them")


def end_offsets(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Where each topic ends, over all its partitions; only ever grows when records come."""
    found = partition_offsets(admin, topics, OffsetSpec.latest())
    return {topic: sum(offsets.values()) for topic, offsets in found.items()}


def partition_offsets(admin: AdminClient, topics: Iterable[str], which: OffsetSpec) -> dict[str, dict[int, int]]:
    """By topic and partition, where it begins (``OffsetSpec.earliest()``) or ends (``OffsetSpec.latest()``)."""
    known = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    partitions = [TopicPartition(topic, number) for topic in topics for number in known[topic].partitions]
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    asked = admin.list_offsets(dict.fromkeys(partitions, which), request_timeout=TIMEOUT_SECONDS)
    for partition, future in asked.items():
        found[partition.topic][partition.partition] = future.result().offset
    return found


def _text(error: KafkaException) -> str:
    detail = error.args[0]
    return detail.str() if isinstance(detail, KafkaError) else str(detail)
