"""The aircraft's producer against a stand-in for OpenSky on a socket, into a real broker."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pandas as pd
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from headwater.contracts.aircraft import AIRCRAFT, STATUS_KEY, ProducerStatus
from headwater.settings import OpenSkySettings, Settings
from headwater.topics import STATUS_TOPIC, ensure_topics
from producers.delivery import Delivery, encode
from producers.opensky import FIELDS
from producers.opensky_client import AnswerError, Client
from producers.opensky_live import OpenSky
from producers.opensky_skies import recorded_sky
from producers.opensky_standin import TOKENS, Fault, StandIn, serve
from tests.opensky import ACCOUNTS, Clock
from tests.recorded import FOLDER, recorded

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60
TEXT = {"HEADWATER_LOG_FORMAT": "text"}
STATES = [
    ["4b1815", "SWR123  ", "Switzerland", 90, 100, 8.5, 47.4, 9_000.0, False, 230.5, 91.2, 0.0, None, 9_100.0, "1000",
     False, 0, 4],
    ["3c6444", None, "Germany", None, 50, *[None] * 13],
]  # fmt: skip


class Server:
    """A stand-in that serves, and where."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.server = serve(stand_in, 0)
        self.at = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def settings(self, **more) -> OpenSkySettings:
        return OpenSkySettings(base_url=f"{self.at}/api", token_url=self.at + TOKENS, **more)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def served() -> Iterator:
    """Serve a stand-in until the end of the test."""
    servers: list[Server] = []

    def start(stand_in: StandIn) -> Server:
        servers.append(Server(stand_in))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ends(consumer: Consumer, topic: str) -> dict[int, int]:
    partitions = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=PATIENCE_S)[1] for p in partitions}


class Topics:
    """What has come into the aircraft's topic and the status topic since the test began."""

    def __init__(self, bootstrap: str) -> None:
        ensure_topics(Settings(), bootstrap, [AIRCRAFT])
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False, "log_level": 0}
        )
        self._starts = {topic: ends(self._consumer, topic) for topic in (AIRCRAFT.raw_topic, STATUS_TOPIC)}

    def __len__(self) -> int:
        """Records of aircraft."""
        starts = self._starts[AIRCRAFT.raw_topic]
        return sum(ends(self._consumer, AIRCRAFT.raw_topic).values()) - sum(starts.values())

    def messages(self, topic: str) -> list[Message]:
        starts = self._starts[topic]
        expected = sum(ends(self._consumer, topic).values()) - sum(starts.values())
        self._consumer.assign([TopicPartition(topic, p, start) for p, start in starts.items()])
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < expected and time.monotonic() < deadline:
            found += [m for m in self._consumer.consume(10_000, timeout=0.5) if m.error() is None]
        return found

    def told(self) -> list[ProducerStatus]:
        """What the producer said of itself."""
        messages = self.messages(STATUS_TOPIC)
        return [ProducerStatus.model_validate_json(m.value()) for m in messages if m.key() == STATUS_KEY.encode()]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def topics(broker: str) -> Iterator[Topics]:
    topics = Topics(broker)
    yield topics
    topics.close()


@pytest.fixture
def start(broker: str, tmp_path: Path):
    """Start `python -m producers.aircraft` as its own process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environ: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "OPENSKY_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "producers.aircraft", *map(str, arguments)],
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


def environ(server: Server) -> dict[str, str]:
    settings = server.settings()
    return {"HEADWATER_OPENSKY_BASE_URL": settings.base_url, "HEADWATER_OPENSKY_TOKEN_URL": settings.token_url}


def test_of_twelve_recorded_polls_every_state_arrives_or_is_counted_as_unchanged(topics, broker, served):
    recorded("aircraft")
    answers = [orjson.loads(gzip.decompress(path.read_bytes())) for path in sorted((FOLDER / "aircraft").glob("*.gz"))]
    columns = [*FIELDS, "snapshot_time"]
    raw = pd.DataFrame([(*s, a["time"]) for a in answers for s in a["states"]], columns=columns, dtype=object)
    first_heard = raw.drop_duplicates(["icao24", "last_contact"])
    # Answers are of whole steps of five seconds, so the clock stands at the first one that has the recording.
    clock = Clock()
    server = served(StandIn(recorded_sky(FOLDER / "aircraft"), clock, ACCOUNTS))
    source = OpenSky(server.settings(client_id="id", client_secret="secret"), clock=clock)
    delivery = Delivery(AIRCRAFT.raw_topic, {"bootstrap.servers": broker, "log_level": 0})

    for answer in answers:
        clock.now = answer["time"] + 4.0
        for record in source.poll():
            delivery.send(record["icao24"], encode(record))
    delivery.flush(PATIENCE_S)

    assert (source.received, source.malformed) == (len(raw), 0)
    assert (source.sent, source.unchanged) == (len(first_heard), len(raw) - len(first_heard)) == (93_893, 8_707)
    messages = topics.messages(AIRCRAFT.raw_topic)
    records = [json.loads(message.value()) for message in messages]
    assert all(message.key().decode() == record["icao24"] for message, record in zip(messages, records, strict=True))
    arrived = Counter(tuple(record.get(name) for name in columns) for record in records)
    assert arrived == Counter(first_heard.itertuples(index=False, name=None))
    assert source.status(None).credits_left == 4_000 - 12 * 4


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.SLOW, "no answer within 0.3 s"), (Fault.CUT_OFF, "one that broke")]
)
def test_a_socket_that_is_slow_or_breaks(served, fault, error):
    stand_in = StandIn(lambda now: (int(now), STATES), slow_s=0.8)
    client = Client(served(stand_in).settings(timeout_seconds=0.3))
    stand_in.faults.append(fault)

    with pytest.raises(AnswerError, match=error):
        client.states(None)
    assert len(client.states(None).states) == 2


def test_the_producer_asks_opensky_where_it_can_be_reached_and_ends_when_told_to(topics, start, served):
    stand_in = StandIn(lambda now: (int(now), STATES))
    process = start(**environ(served(stand_in)))
    deadline = time.monotonic() + PATIENCE_S
    while len(topics) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, output
    assert "source=live" in output
    assert {json.loads(m.value())["event_id"] for m in topics.messages(AIRCRAFT.raw_topic)} == {
        "4b1815-100",
        "3c6444-50",
    }
    assert Counter(path for path, _ in stand_in.log) == {"/api/states/own": 1, "/api/states/all": 1}
    *_, last = topics.told()
    assert (last.source, last.reason) == ("live", "the live source can be reached")
    assert (last.credits_left, last.credits_a_day, last.has_account) == (396, 400, False)
    # A hundred calls a day of whose 99 are left.
    assert last.interval_s == pytest.approx(86_400 / 100, abs=1)
    assert (last.received, last.sent, last.unchanged, last.malformed, last.last_error) == (2, 2, 0, 0, None)
    assert 0 < (last.next_poll - last.at).total_seconds() <= 864


def test_where_opensky_cannot_be_reached_a_sky_is_simulated_and_said_to_be(topics, start):
    process = start("--count", 300, "--rate", "max", "--seed", 1, HEADWATER_OPENSKY_BASE_URL="http://127.0.0.1:1/api")
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, output
    assert "source=simulate" in output
    assert "the live source can't be reached: no connection" in output
    assert len(topics) == 300
    *_, last = topics.told()
    assert (last.source, last.sent) == ("simulate", 300)
    assert last.reason.startswith("the live source can't be reached: no connection")
