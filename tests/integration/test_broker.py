"""The embedded broker, started, found, killed and stopped for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from headwater.broker import Running, ensure_broker, find_broker, read_running, stop_broker
from headwater.contracts import STREAMS
from headwater.errors import BrokerError
from headwater.settings import REPOSITORY, Settings
from headwater.topics import STATUS_TOPIC, ensure_topics, partition_count
from tests.ports import free_port

TOPIC = "kept"


@pytest.fixture
def own(settings: Settings) -> Iterator[Settings]:
    """Settings whose broker is stopped when the test ends, however it ends."""
    yield settings
    stop_broker(settings)


def running(settings: Settings) -> Running:
    found = read_running(settings)
    assert found is not None
    return found


def start_command(settings: Settings) -> dict[str, object]:
    environment = os.environ | {
        "HEADWATER_HOME": str(settings.home),
        "HEADWATER_KAFKA_PORT": str(settings.kafka.port),
    }
    return {
        "args": [sys.executable, "-m", "headwater.broker", "start"],
        "env": environment,
        "cwd": REPOSITORY,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def send(bootstrap: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "allow.auto.create.topics": False})
    producer.produce(TOPIC, value)
    assert producer.flush(20) == 0


def received(bootstrap: str) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        values = []
        while (message := consumer.poll(20)) is not None and not message.error():
            values.append(message.value())
        return values
    finally:
        consumer.close()


def test_start_find_and_stop(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a cluster id that begins with a hyphen, as one in 64 does."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    with pytest.raises(BrokerError, match="make kafka-up"):
        find_broker(own)

    address = ensure_broker(own)
    assert address == f"127.0.0.1:{own.kafka.port}"
    assert find_broker(own) == address
    first = running(own)
    assert ensure_broker(own) == address
    assert running(own) == first
    listening = psutil.Process(first.pid).net_connections("tcp")
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} <= {"127.0.0.1", "::ffff:127.0.0.1"}

    assert stop_broker(own)
    assert not psutil.pid_exists(first.pid)
    assert not stop_broker(own)


def test_kill_9_keeps_the_data(own: Settings) -> None:
    address = ensure_broker(own)
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result()
    send(address, b"before")
    before = running(own)
    os.kill(before.pid, signal.SIGKILL)
    psutil.Process(before.pid).wait(10)

    assert ensure_broker(own) == address
    after = running(own)
    assert (after.pid, after.cluster_id) != (before.pid, "")
    assert after.cluster_id == before.cluster_id
    send(address, b"after")
    assert received(address) == [b"before", b"after"]


def test_a_listener_that_is_not_kafka_is_named(own: Settings) -> None:
    with socket.create_server(("127.0.0.1", own.kafka.port)), pytest.raises(BrokerError) as error:
        ensure_broker(own)
    assert f"port {own.kafka.port} of 127.0.0.1 is taken by a program that is not Kafka" in str(error.value)
    assert f"process {os.getpid()}" in str(error.value)
    assert "HEADWATER_KAFKA_PORT" in str(error.value)


def test_a_foreign_broker_is_named_and_not_taken(broker: str, broker_settings: Settings, own: Settings) -> None:
    taken = own.model_copy(update={"kafka": broker_settings.kafka})
    with pytest.raises(BrokerError) as error:
        ensure_broker(taken)
    assert f"another Kafka broker (cluster {running(broker_settings).cluster_id})" in str(error.value)
    assert f"KAFKA_BOOTSTRAP_SERVERS={broker}" in str(error.value)


@pytest.mark.parametrize("process", [os.getpid(), 2**22 - 1])
def test_a_state_file_of_another_process_is_not_believed(own: Settings, process: int) -> None:
    """A recycled process id is alive, a stale one is not; neither is our broker."""
    own.kafka_dir.mkdir(parents=True)
    started = psutil.Process().create_time()
    state = {"pid": process, "started": started, "port": own.kafka.port, "cluster_id": "x"}
    (own.kafka_dir / "broker.json").write_text(json.dumps(state))

    assert read_running(own) is None
    with pytest.raises(BrokerError, match="not running"):
        find_broker(own)
    assert not stop_broker(own)
    assert psutil.pid_exists(os.getpid())


def test_a_damaged_state_file_is_not_believed(own: Settings) -> None:
    own.kafka_dir.mkdir(parents=True)
    (own.kafka_dir / "broker.json").write_text('{"pid": ')
    assert read_running(own) is None


def test_two_starts_at_once_are_one_broker_and_keep_no_descriptor(own: Settings) -> None:
    reader, writer = os.pipe()
    starts = [subprocess.Popen(**start_command(own), pass_fds=[writer]) for _ in range(2)]
    os.close(writer)
    # communicate() too returns only when nobody holds the output any more.
    said = [start.communicate(timeout=120)[0] for start in starts]

    assert said == [f"Kafka answers at 127.0.0.1:{own.kafka.port}\n"] * 2
    assert os.read(reader, 1) == b"", "the broker kept a descriptor of its caller"
    os.close(reader)
    # Read up front: processes of other programs end while this looks, and have no command line any more.
    seen = psutil.process_iter(["cmdline"])
    brokers = [p for p in seen if str(own.kafka_dir / "server.properties") in (p.info["cmdline"] or [])]
    assert [p.pid for p in brokers] == [running(own).pid]


def test_a_named_broker_starts_none(own: Settings) -> None:
    named = own.model_copy(update={"kafka": own.kafka.model_copy(update={"bootstrap_servers": "far:9092"})})
    assert ensure_broker(named) == find_broker(named) == "far:9092"
    assert not own.home.exists()


def test_a_broker_that_dies_at_the_start_shows_its_log(own: Settings) -> None:
    broken = own.model_copy(update={"kafka": own.kafka.model_copy(update={"heap": "1m"})})
    with pytest.raises(BrokerError, match=r"(?s)Kafka.*heap"):
        ensure_broker(broken)
    assert read_running(own) is None


def test_an_unwritable_home_is_explained(own: Settings) -> None:
    own.home.parent.mkdir(exist_ok=True)
    own.home.write_text("a file where a folder should be")
    with pytest.raises(BrokerError, match="HEADWATER_HOME"):
        ensure_broker(own)
    own.home.unlink()


def test_a_full_disk_is_explained(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.broker.FREE_BYTES", 2**62)
    with pytest.raises(BrokerError, match="MB left"):
        ensure_broker(own)


def test_missing_java_is_explained(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(BrokerError, match="Java 17"):
        ensure_broker(own)


def test_topics_are_created_as_configured_and_follow_the_settings(broker: str, broker_settings: Settings) -> None:
    sales = STREAMS["sales"]
    created = ensure_topics(broker_settings, broker, [sales])
    assert set(created) <= {
        STATUS_TOPIC,
        sales.raw_topic,
        sales.live_topic,
        sales.rejected_topic,
        sales.processed_topic,
    }

    admin = AdminClient({"bootstrap.servers": broker})
    topics = admin.list_topics(timeout=10).topics
    assert len(topics[sales.raw_topic].partitions) == 2
    assert config_of(admin, sales.raw_topic)["message.timestamp.type"] == "LogAppendTime"
    assert config_of(admin, sales.processed_topic)["cleanup.policy"] == "compact"

    def again(**changed: Any) -> dict[str, str]:
        kafka = broker_settings.kafka.model_copy(update=changed)
        assert ensure_topics(broker_settings.model_copy(update={"kafka": kafka}), broker, [sales]) == []
        return config_of(admin, sales.raw_topic)

    try:
        assert again(bootstrap_servers=broker, retention_hours=2)["retention.ms"] == str(168 * 3_600_000), "theirs"
        changed = again(partitions={"default": 5}, retention_hours=2, retention_gb=10)
        assert len(admin.list_topics(timeout=10).topics[sales.raw_topic].partitions) == 2
        assert (changed["retention.ms"], changed["segment.ms"]) == (str(2 * 3_600_000), str(15 * 60_000))
        assert changed["retention.bytes"] == str(2 * 2**30), "of each of five, as many as the settings say"
    finally:
        back = again()
    assert (back["retention.bytes"], back["segment.bytes"]) == (str(8 * 2**30), str(128 * 2**20))


def test_a_topic_that_the_broker_does_not_know_has_no_count_of_partitions(
    broker: str, broker_settings: Settings
) -> None:
    """Slots are counted from it, and real-time mode with too few of them loses records without a word."""
    with pytest.raises(BrokerError, match="doesn't know nowhere"):
        partition_count(broker_settings, broker, "nowhere")


def test_the_broker_names_the_address_that_it_is_told_to_advertise(own: Settings) -> None:
    """Clients then reach it through a proxy, or not at all."""
    elsewhere = f"127.0.0.1:{free_port()}"
    advertised = own.kafka.model_copy(update={"advertised": elsewhere})
    address = ensure_broker(own.model_copy(update={"kafka": advertised}))
    (named,) = AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).brokers.values()
    assert f"{named.host}:{named.port}" == elsewhere != address


def config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(10)
    return {name: entry.value for name, entry in entries.items()}
