"""``spark-submit jobs/sales.py`` against a real broker: garbage, a recorded day, ``kill -9``, and clear refusals."""

import csv
import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Message, Producer

from headwater.contracts.sales import SALES
from headwater.topics import STATUS_TOPIC
from tests.integration.test_archive import DAY, sale
from tests.ports import free_port
from tests.sales_reference import TABLES, Rows, expected_tables, keyed
from tests.suite import SUBMIT, Position, Suite
from tests.unit.test_quality import CASES, original

csv.field_size_limit(2**24)  # there is a product of 1 MB


def positions(rows: list[dict[str, Any]]) -> list[Position]:
    return sorted((row["partition"], row["offset"]) for row in rows)


def assert_tables(suite: Suite) -> dict[str, Rows]:
    """The tables and the CSV equal pandas over ``records``, and the processed topic holds the tables' rows."""
    expected = expected_tables(suite.table("records"))
    for name in TABLES:
        assert keyed(name, suite.table(name)) == expected[name], name
    assert keyed("daily", suite.csv_rows()) == expected["daily"]
    return expected


def assert_processed(suite: Suite, expected: dict[str, Rows]) -> None:
    """The last value of each key. Windows of long ago are tombstones; the newest day's are there."""
    messages = suite.messages(SALES.processed_topic)
    partitions: dict[bytes, set[int]] = {}
    for message in messages:
        partitions.setdefault(message.key(), set()).add(message.partition())
    split = {key: where for key, where in partitions.items() if len(where) > 1}
    assert not split, f"{len(split)} of {len(partitions)} keys lie in two partitions: {list(split.items())[:3]}"

    last = {message.key().decode(): message.value() for message in messages}
    rows = {key: json.loads(value) for key, value in last.items() if value is not None}
    for key, row in rows.items():
        assert key.startswith(row["kind"] + ":")
        assert datetime.fromisoformat(row["updated_at"]).tzinfo
        assert isinstance(row["revenue"], str)
    newest = max(start for (start,) in expected["per_minute"])
    for name in TABLES:
        wanted = expected[name]
        found = keyed(name, [row for row in rows.values() if row["kind"] == name])
        if name.startswith("per_minute"):
            wanted = {key: figures for key, figures in wanted.items() if key[0][:10] == newest[:10]}
            found = {key: figures for key, figures in found.items() if key[0][:10] == newest[:10]}
        assert found == wanted, name


@pytest.mark.timeout(900)
def test_once_takes_all_there_is_and_a_second_time_nothing(suite: Suite) -> None:
    producer = Producer({"bootstrap.servers": suite.bootstrap, "message.max.bytes": 2_000_000, "log_level": 0})
    values = [value for _, value in CASES]
    for n in range(100):
        repeated = n % 7 == 0
        values.append(
            sale(
                f"e{n - 3 if repeated else n}", DAY.replace(minute=n % 10, second=n % 60), f"product {n % 5}",
                -1 if n % 9 == 0 else 1 + n % 3, "0.10", order_id=f"o{n // 3}", country=["France", None][n % 2],
                category=["Audio", "Video", None][n % 3],
            ).encode()
        )  # fmt: skip
    sent: dict[Position, bytes | None] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        sent[message.partition(), message.offset()] = message.value()

    for n, value in enumerate(values):
        producer.produce(SALES.raw_topic, value, str(n), on_delivery=delivered)
    producer.flush()
    assert len(sent) == len(values)

    suite.once()

    records, rejected = suite.table("records"), suite.table("rejected")
    assert positions(records + rejected) == sorted(sent)
    assert len(rejected) > 50
    assert len(records) > 100
    for row in rejected:
        value = sent[row["partition"], row["offset"]]
        assert original(row["raw"], value) == value
        assert row["topic"] == SALES.raw_topic
    expected = assert_tables(suite)

    told = {m.key().decode(): json.loads(m.value()) for m in suite.messages(STATUS_TOPIC)}
    account = told["stream:sales"]
    assert (account["records"], account["rejected"]) == (len(records), len(rejected))
    # Each event once, and rows of the tables beside them.
    events = {row["event_id"] for row in records}
    assert told["ledger:sales:archive"]["rows"] > len(events)
    assert told["ledger:sales:fresh"]["bytes"] > 16 * len(events)

    live = suite.values(SALES.live_topic)
    assert positions(live) == positions(records)
    by_place = {(row["partition"], row["offset"]): row for row in records}
    for value in live:
        row = by_place[value["partition"], value["offset"]]
        assert isinstance(value["price"], str)
        assert Decimal(value["price"]) == row["price"]
        assert (value["product"], value["quantity"]) == (row["product"], row["quantity"])
        assert datetime.fromisoformat(value["event_time"]) == row["event_time"]
        assert value.get("extra") == (json.loads(row["extra"]) if row["extra"] else None)
    dead = suite.values(SALES.rejected_topic)
    assert positions(dead) == positions(rejected)
    reasons = {(row["partition"], row["offset"]): row["reasons"] for row in rejected}
    assert {(v["partition"], v["offset"]): v["reasons"] for v in dead} == reasons

    topics = (SALES.live_topic, SALES.rejected_topic, SALES.processed_topic)
    before = suite.versions(), {topic: suite.ends(topic) for topic in topics}, suite.csv_rows()
    suite.once()
    assert (suite.versions(), {topic: suite.ends(topic) for topic in topics}, suite.csv_rows()) == before

    assert_processed(suite, expected)
    assert_mended_and_sent_again(suite)


def assert_mended_and_sent_again(suite: Suite) -> None:
    """What has no price gets one and is sent, twice: it is in ``records`` for each time, and in every table once."""
    priceless = [row for row in suite.table("rejected") if row["reasons"] == ["missing:price"]]
    assert len(priceless) > 2
    resend = (sys.executable, "-m", "producers.resend", "sales", "--reason", "missing:price", "--set", "price=9.99")
    code, said = suite.run(*resend)
    # Some of those without a price lack a product, too; they are named and stay rejected.
    assert (code, f"{len(priceless)} sent to {SALES.raw_topic}; 3 left out" in said) == (1, True), said
    suite.run(*resend)

    suite.once()

    ids = {f"{row['topic']}-{row['partition']}-{row['offset']}" for row in priceless}
    mended = [row for row in suite.table("records") if row["event_id"] in ids]
    assert {row["event_id"] for row in mended} == ids
    assert len(mended) == 2 * len(ids)
    assert {row["price"] for row in mended} == {Decimal("9.9900")}
    assert_tables(suite)
    code, said = suite.run(*resend)
    assert f"0 sent to {SALES.raw_topic}; 3 left out" in said


@pytest.mark.timeout(600)
def test_too_few_slots_and_wrong_arguments_are_refused(suite: Suite) -> None:
    code, said = suite.run(*SUBMIT, "--master", "local[1]", "jobs/sales.py")
    assert code != 0
    assert "error:" in said
    assert "local[1] has 1" in said
    assert "local[3]" in said
    assert "Traceback" not in said
    assert sum(suite.ends(SALES.live_topic).values()) == 0

    code, said = suite.run(*SUBMIT, "jobs/sales.py", "--queries", "live,archve")
    assert code == 2
    assert "archve" in said
    assert "live, aggregate, archive" in said
    assert "Traceback" not in said

    nobody = f"127.0.0.1:{free_port()}"
    code, said = suite.run(sys.executable, "jobs/sales.py", "--once", KAFKA_BOOTSTRAP_SERVERS=nobody)
    assert code == 1
    assert nobody in said
    assert "error:" in said
    assert "Traceback" not in said

    code, said = suite.run(sys.executable, "jobs/sales.py", "--once", KAFKA_BOOTSTRAP_SERVERS="")
    assert code == 1
    assert "no Kafka broker" in said
    assert "make kafka-up" in said
    assert "Traceback" not in said
