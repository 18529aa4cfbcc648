"""Topics as they are created: how much of them is kept."""

import pytest

from headwater.contracts import STREAMS
from headwater.settings import KafkaSettings, Settings
from headwater.topics import stream_topics

MB, HOUR_MS = 1024 * 1024, 3_600_000


def configs(**kafka: object) -> dict[str, dict[str, str]]:
    settings = Settings(kafka=KafkaSettings(**kafka))  # type: ignore[arg-type]
    return {spec.name: spec.config for spec in stream_topics(settings, STREAMS["trucks"])}


def test_a_topic_is_kept_by_time_and_by_size_of_all_its_partitions() -> None:
    found = configs(retention_hours=16, retention_gb=2, derived_gb=1)
    raw, live = found["TruckLocations"], found["live_trucks_topic"]
    assert (raw["retention.ms"], live["retention.ms"]) == (str(16 * HOUR_MS), str(16 * HOUR_MS))
    assert raw["retention.bytes"] == str(512 * MB), "of each of four"
    assert live["retention.bytes"] == str(512 * MB), "of each of two"
    assert found["rejected_trucks_topic"] == live
    assert "retention.bytes" not in found["processed_trucks_topic"]


@pytest.mark.parametrize(
    ("retention_hours", "retention_gb", "segment_ms", "segment_bytes"),
    [
        (168, 16, 21 * HOUR_MS, 128 * MB),
        (8, 2, HOUR_MS, 64 * MB),
        (0.05, 0.001, 60_000, 2 * MB),  # no shorter than a minute, no smaller than the largest message
    ],
)
def test_segments_close_in_time(
    retention_hours: float, retention_gb: float, segment_ms: int, segment_bytes: int
) -> None:
    raw = configs(retention_hours=retention_hours, retention_gb=retention_gb)["TruckLocations"]
    assert (raw["segment.ms"], raw["segment.bytes"]) == (str(segment_ms), str(segment_bytes))


def test_a_segment_holds_the_largest_message_of_any_topic() -> None:
    for config in configs(max_message_bytes=40 * MB, retention_gb=0.01, derived_gb=0.01).values():
        if "retention.bytes" in config:
            assert int(config["segment.bytes"]) >= int(config["max.message.bytes"])
