"""100,000 hostile and good records of all streams through a real broker and ``jobs/suite.py --once``, at full speed."""

import csv
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message, Producer
from deltalake import DeltaTable
from playwright.sync_api import Browser
from sqlalchemy import create_engine, text

from headwater.contracts import STREAMS
from headwater.contracts.base import Stream
from tests.browser import opened
from tests.contract_rules import judged, nesting_allowed
from tests.hostile import drawn, messages
from tests.integration.test_jobs_sales import positions
from tests.ports import free_port
from tests.sales_reference import TABLES as SALES_TABLES
from tests.sales_reference import expected_tables as sales_tables
from tests.sales_reference import keyed as sales_keyed
from tests.suite import SUBMIT, Position, Suite
from tests.unit.test_quality import original

RECORDS = 100_000
DRAWN = 500
"""Hostile messages a stream; each is sent several times, among good ones."""
LARGEST = 2 * 1024 * 1024 - 11_000
"""Of a message's value, whose key and envelope count too."""
NAMES = [
    "TV", "Größe 🎧", "<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "=cmd|' /C calc'!A0",
    "'; DROP TABLE records; --", "../../etc/passwd", "\u202egnp.exe", "e\u0301" * 40, "x" * 5_000, "a\0b", "{{7*7}}",
    "__proto__",
]  # fmt: skip
"""Keys: they reach tables, topics, files and pages."""
MOMENTS = ["0001-01-02T00:00:00Z", "1582-10-10T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2026-05-04T10:00:00+18:00"]
SEEN = "() => ({hacked: window.hacked, wide: document.body.scrollWidth, text: document.body.innerText})"
MOST = {"price": "999999.9999", "quantity": 1_000}
"""As large as all of them together can be and still be held by DECIMAL(18,4)."""


def record(stream: str, n: int, name: str) -> dict[str, Any]:
    match stream:
        case "aircraft":
            second = n * 9_973 % 1_700_000_000
            return {"icao24": name, "last_contact": second, "on_ground": False, "velocity": n % 300, "squawk": "7700"}
        case "co2":
            return {"source_id": name, "emission_kg": n % 50 + 1e12 * (n % 97 == 0)}
        case "events":
            return {"event_type": "purchase", "session_id": f"{name}{n % 7}", "product_id": name, **MOST}
        case "sales":
            return {"product": name, "category": name, "country": name, **MOST}
        case _:
            return {"truck_id": name, "latitude": n % 90, "longitude": -(n % 180), "speed_kmh": n % 130, "driver": name}


def good(stream: Stream, rng: random.Random) -> Iterator[bytes]:
    """Good records with hostile keys, at the ends of the calendar too; every tenth has a key of its own."""
    for n in itertools.count():
        name = f"own {n}" if n % 10 == 0 else rng.choice(NAMES)
        fields = record(stream.name, n, name)
        if n % 3 == 0:
            fields["event_time"] = rng.choice(MOMENTS)
        elif n % 3 == 1:
            fields["event_time"] = datetime.fromtimestamp(1_777_888_800 + n % 600, UTC).isoformat()
        yield json.dumps(fields).encode()


def large(stream: Stream) -> list[bytes]:
    """As large as a topic takes, in each way that makes what leaves the job larger."""
    base = next(good(stream, random.Random(0))).decode()[:-1] + ', "'
    fills = [('big": "%s"}', "x"), ('big": "%s"}', "\\u0001"), ('big": [%s0]}', "0,"), ('big": [%s{}]}', "{},")]
    found = [base + form % (fill * ((LARGEST - len(base) - len(form)) // len(fill))) for form, fill in fills]
    key = f'{{"{stream.key}": "{"k" * (LARGEST - len(base))}", ' + base[1:-2].split(", ", 1)[1] + "}"
    return [text.encode() for text in (*found, key)] + [b"\xff" * LARGEST, b"\x01" * LARGEST, b"[" * LARGEST]


def values(stream: Stream, count: int) -> list[bytes | None]:
    rng = random.Random(stream.name)
    hostile, fine = drawn(messages(stream), DRAWN), good(stream, rng)
    mixed = [rng.choice(hostile) if rng.random() < 0.4 else next(fine) for _ in range(count)]
    mixed[count // 2 : count // 2] = large(stream)
    return mixed


def send(bootstrap: str) -> dict[str, dict[Position, tuple[bytes | None, datetime]]]:
    """Sends all at full speed; what stands where, and when it came by Kafka's clock."""
    limits = {"message.max.bytes": 2_097_152, "queue.buffering.max.messages": 200_000, "linger.ms": 20}
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, **limits})
    sent: dict[str, dict[Position, tuple[bytes | None, datetime]]] = {name: {} for name in STREAMS}
    streams = {stream.raw_topic: name for name, stream in STREAMS.items()}

    def delivered(error: object, message: Message) -> None:
        assert error is None, error
        kind, milliseconds = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        when = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
        sent[streams[message.topic()]][message.partition(), message.offset()] = message.value(), when

    for stream in STREAMS.values():
        keys = itertools.cycle([b"a", b"\xff\x00", b"", None, b"k" * 10_000, b"b", b"c", b"d"])
        for value in values(stream, RECORDS // len(STREAMS)):
            while True:
                try:
                    producer.produce(stream.raw_topic, value, next(keys), on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    assert producer.flush(60) == 0
    return sent


@pytest.mark.timeout(1_800)
def test_100_000_hostile_records(suite: Suite, browser: Browser) -> None:
    suite.job = "jobs/suite.py"
    sent = send(suite.bootstrap)
    assert sum(map(len, sent.values())) > RECORDS

    begun = time.monotonic()
    job = suite.start(*SUBMIT, suite.job, "--once")
    assert job.wait(1_200) == 0, suite.log(job)[-5000:]
    print(f"{RECORDS} records in {time.monotonic() - begun:.0f} s")

    for name, stream in STREAMS.items():
        assert_account(suite, stream, sent[name])
        assert_csv(suite, name)
    assert_same_tables(suite)
    assert_sql(suite)
    assert_served(suite, browser)


def assert_account(suite: Suite, stream: Stream, sent: dict[Position, tuple[bytes | None, datetime]]) -> None:
    """Each message once, in the table and on the topic that the contract's rules say, as it came."""
    records, rejected = (suite.table(table, stream.name) for table in ("records", "rejected"))
    assert positions(records + rejected) == sorted(sent)
    expected = {}
    with nesting_allowed():
        for (partition, offset), (value, when) in sent.items():
            verdict = judged(stream, value, when, "")
            expected[partition, offset] = verdict.reasons
    found = {(row["partition"], row["offset"]): sorted(row["reasons"]) for row in rejected}
    assert found == {place: reasons for place, reasons in expected.items() if reasons}
    for row in rejected:
        value = sent[row["partition"], row["offset"]][0]
        assert original(row["raw"], value) == value
    assert positions(suite.values(stream.live_topic)) == positions(records)
    assert positions(suite.values(stream.rejected_topic)) == positions(rejected)


def assert_csv(suite: Suite, stream: str) -> None:
    """One header a file, complete lines of as many cells only, in its own folder."""
    folder = suite.settings().csv(stream)
    for path in folder.iterdir() if folder.exists() else []:
        assert path.suffix == ".csv"
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file)
        assert lines
        assert {len(line) for line in lines} == {len(header)}
        assert path.read_bytes().endswith(b"\n")


def assert_same_tables(suite: Suite) -> None:
    """The tables of sales equal the tests' own computation over ``records``; that of the other streams is by pandas'
    nanoseconds, which know no year 1.
    """
    expected = sales_tables(suite.table("records"))
    for name in SALES_TABLES:
        assert sales_keyed(name, suite.table(name)) == expected[name], name


def assert_sql(suite: Suite) -> None:
    """The SQL tables hold as many rows as Delta's."""
    engine = create_engine(suite.settings().sql_url)
    try:
        with engine.connect() as connection:
            for stream in STREAMS.values():
                for table in (table for table in stream.tables if table.in_sql):
                    (rows,) = connection.execute(text(f"SELECT count(*) FROM {stream.name}_{table.name}")).one()
                    assert rows == DeltaTable(str(suite.settings().delta(stream.name, table.name))).count()
    finally:
        engine.dispose()


def assert_served(suite: Suite, browser: Browser) -> None:
    """The API answers with such rows, and each page shows them and runs nothing of them."""
    port = str(free_port())
    app = suite.start(sys.executable, "-m", "dashboards.app", DASH_PORT=port)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/api/v1/health").status_code in (200, 503)
        except httpx.HTTPError:
            return False

    def is_live() -> bool:
        return all(httpx.get(f"{address}/api/v1/{name}/live", timeout=60).json() for name in STREAMS)

    suite.eventually(answers, 90, app)
    suite.eventually(is_live, 90, app)
    for name, stream in STREAMS.items():
        for table in ("live", "records", "rejected", *(table.name for table in stream.tables)):
            answer = httpx.get(f"{address}/api/v1/{name}/{table}", params={"limit": 500}, timeout=60)
            assert answer.status_code == 200, (name, table, answer.text[:500])
            assert answer.json() or table not in ("live", "records", "rejected"), (name, table)
    for path in ("/", "/trucks", "/co2", "/events", "/sales", "/sales/graph", "/aircraft"):
        with opened(browser, address + path, viewport={"width": 1360, "height": 900}) as (page, watch):
            page.wait_for_timeout(3_000)
            seen: dict[str, Any] = page.evaluate(SEEN)
            assert seen.get("hacked") is None, path
            assert seen["wide"] <= 1360, path
            assert len(seen["text"]) > 200, path
            assert watch.strangers() == [], path
            assert watch.errors == [], path
    assert "Traceback" not in suite.log(app)
