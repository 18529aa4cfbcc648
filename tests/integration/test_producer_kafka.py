"""`python -m producers.sales` into a real broker, read back by an independent client."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from headwater.contracts.sales import SALES, Sale
from headwater.settings import Settings
from headwater.topics import ensure_topics
from producers.delivery import Delivery
from tests.recorded import recorded as recorded_day

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60
TEXT = {"HEADWATER_LOG_FORMAT": "text"}
UCI = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536366,22633,HAND WARMER,6,2010-12-01 08:28:00,1.85,17850.0,United Kingdom
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
C36379,D,Discount,-1,2010-12-01 09:41:00,27.50,14527.0,United Kingdom
536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom
"""


class Topic:
    """The raw topic from where it ended when the test began."""

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        ensure_topics(Settings(), bootstrap, [SALES])
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False, "log_level": 0}
        )
        partitions = self._consumer.list_topics(SALES.raw_topic, timeout=PATIENCE_S).topics[SALES.raw_topic].partitions
        self._start = {p: self._end(p) for p in partitions}

    def __len__(self) -> int:
        return sum(self._end(p) - start for p, start in self._start.items())

    def messages(self) -> list[Message]:
        """All that has come since, by partition."""
        expected = len(self)
        self._consumer.assign([TopicPartition(SALES.raw_topic, p, start) for p, start in self._start.items()])
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < expected and time.monotonic() < deadline:
            found += [m for m in self._consumer.consume(1_000, timeout=0.5) if m.error() is None]
        return sorted(found, key=lambda m: (m.partition(), m.offset()))

    def records(self) -> list[dict]:
        return [json.loads(m.value()) for m in self.messages()]

    def close(self) -> None:
        self._consumer.close()

    def _end(self, partition: int) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                at = TopicPartition(SALES.raw_topic, partition)
                return self._consumer.get_watermark_offsets(at, timeout=PATIENCE_S)[1]
            except KafkaException:  # a topic just made has its leaders named before they lead
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@pytest.fixture
def topic(broker: str) -> Iterator[Topic]:
    topic = Topic(broker)
    yield topic
    topic.close()


@pytest.fixture
def start(broker: str, tmp_path: Path):
    """Start `python -m producers.sales` as its own process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environ: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "producers.sales", *map(str, arguments)],
            cwd=REPOSITORY,
            env=inherited | {"KAFKA_BOOTSTRAP_SERVERS": broker, "HEADWATER_HOME": str(tmp_path)} | TEXT | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def produce(start):
    """Run it to its end; gives its exit code and what it printed."""

    def produce(*arguments: object, **environ: str) -> tuple[int, str]:
        process = start(*arguments, **environ)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    return produce


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.csv"
    path.write_text(UCI)
    return path


def test_a_count_of_simulated_sales_arrives_keyed_by_product(topic, produce):
    before = datetime.now(UTC)

    code, output = produce("--rate", "max", "--count", 300)

    assert code == 0, output
    assert "acknowledged=300" in output
    messages = topic.messages()
    assert len(messages) == 300
    partitions: dict[bytes, set[int]] = {}
    for message in messages:
        sale = Sale.model_validate_json(message.value())
        assert message.key().decode() == sale.product
        assert before <= sale.event_time <= datetime.now(UTC)
        partitions.setdefault(message.key(), set()).add(message.partition())
    assert all(len(used) == 1 for used in partitions.values())
    assert len({json.loads(m.value())["event_id"] for m in messages}) == 300


def test_every_row_of_a_file_arrives_in_order_of_event_time(topic, produce, recorded):
    code, output = produce("--source", "replay", recorded)

    assert code == 0, output
    records = topic.records()
    assert len(records) == 5
    lanterns = [r for r in records if r.get("product") == "WHITE METAL LANTERN"]
    assert len({r["event_id"] for r in lanterns}) == 2
    assert {r["event_time"] for r in lanterns} == {"2010-12-01T08:26:00+00:00"}
    assert [r["quantity"] for r in records if "product" not in r] == [56]
    assert sum(r["quantity"] * Decimal(r["price"]) for r in records) == Decimal("24.28")
    for partition in {m.partition() for m in topic.messages()}:
        times = [json.loads(m.value())["event_time"] for m in topic.messages() if m.partition() == partition]
        assert times == sorted(times)


def test_the_same_file_twice_is_the_same_events_and_with_now_it_is_not(topic, produce, recorded):
    packed = recorded.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(UCI.encode()))

    for arguments in ([recorded], [packed], [recorded, "--now"]):
        assert produce(*arguments)[0] == 0

    records = topic.records()
    assert len(records) == 15
    assert len({r["event_id"] for r in records}) == 10
    last = max(datetime.fromisoformat(r["event_time"]) for r in records)
    assert timedelta(0) < datetime.now(UTC) - last < timedelta(seconds=PATIENCE_S)


def test_a_header_alone_is_no_error(topic, produce, tmp_path):
    path = tmp_path / "none.csv"
    path.write_text(UCI.partition("\n")[0])

    code, output = produce(path)

    assert (code, len(topic)) == (0, 0)
    assert "nothing to send" in output


@pytest.mark.parametrize(("content", "message"), [("", "not even a header"), ("a,b\n1,2\n", "known formats")])
def test_a_file_that_cannot_be_replayed_is_one_message(produce, tmp_path, content, message):
    path = tmp_path / "wrong.csv"
    path.write_text(content)

    code, output = produce(path)

    assert code == 2
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_everything_delivered(topic, start, number):
    process = start("--rate", 500)
    deadline = time.monotonic() + PATIENCE_S
    while len(topic) < 200 and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, output
    arrived = len(topic.messages())
    assert arrived >= 200
    assert f"sent={arrived} " in output.replace("\n", " ")
    assert f"acknowledged={arrived} " in output
    assert "undelivered=0" in output


def test_what_cannot_be_delivered_is_named_and_fails_the_command(topic, produce, tmp_path):
    path = tmp_path / "large.csv"
    path.write_text(f"product,quantity,price,note\nTV,1,1,{'x' * 5_000}\nTV,1,1,\n")

    code, output = produce(path, HEADWATER_KAFKA_MAX_MESSAGE_BYTES="2000")

    assert code == 1
    assert "MSG_SIZE_TOO_LARGE=1" in output
    assert "acknowledged=1" in output
    assert len(topic.messages()) == 1


def test_a_full_local_queue_is_waited_for(topic, broker):
    delivery = Delivery(SALES.raw_topic, {"bootstrap.servers": broker, "queue.buffering.max.messages": 10})

    for number in range(1_000):
        delivery.send("TV", b"%d" % number)
    delivery.flush(PATIENCE_S)

    assert (delivery.sent, delivery.acknowledged, delivery.errors) == (1_000, 1_000, {})
    assert sorted(int(m.value()) for m in topic.messages()) == list(range(1_000))


def test_what_was_never_answered_is_counted():
    delivery = Delivery("anywhere", {"bootstrap.servers": "127.0.0.1:1", "log_level": 0})

    delivery.send(None, b"{}")
    delivery.flush(0.1)

    assert delivery.errors == {"no answer": 1}


def test_the_recorded_day_arrives_whole_and_is_worth_the_same(topic, produce):
    path = recorded_day("sales/online_retail_2010-12-01.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    revenue = sum(Decimal(q) * Decimal(p) for q, p in zip(raw["Quantity"], raw["UnitPrice"], strict=True))

    code, output = produce("--source", "replay", path)

    assert code == 0, output
    records = topic.records()
    assert len(records) == len(raw) == 3108
    assert len({r["event_id"] for r in records}) == 3108
    assert sum(r["quantity"] * Decimal(r["price"]) for r in records) == revenue == Decimal("58635.56")
