"""Parse and split, in batch: literal messages of sales and what becomes of each of them."""

import base64
import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headwater.contracts.base import Stream
from headwater.contracts.sales import SALES
from headwater.quality import checked, rejected_columns, valid

TOPIC = "sales_topic_electronics"
ARRIVED = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
"""Kafka's timestamp of every message here."""
A_DAY_AHEAD = "2026-05-05T12:00:00.123456Z"
OPTIONAL_TEXTS = ["product_id", "order_id", "category", "store", "country", "customer_id", "currency"]
GOOD = '{"product": "TV", "quantity": 1, "price": 499.0}'


def sale(**fields: str) -> str:
    """A good sale as text, with these fields in it, each spelled as it is to stand in the message."""
    members = {"product": '"TV"', "quantity": "1", "price": "499.0"} | fields
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"


def without(name: str) -> str:
    return json.dumps({key: value for key, value in json.loads(GOOD).items() if key != name})


NOT_JSON: dict[str, str | bytes | None] = {
    "no JSON": "not json",
    "cut off": '{"product": "TV", "quantity": 1, "pri',
    "cut off before the last brace": GOOD[:-1],
    "empty": b"",
    "blanks": "   ",
    "tombstone": None,
    "null": "null",
    "true": "true",
    "a number": "1",
    "a text": '"TV"',
    "a text that holds a sale": json.dumps(GOOD),
    "an empty array": "[]",
    "an array of one sale": f"[{GOOD}]",
    "an array of two sales": f"[{GOOD}, {GOOD}]",
    "two objects": GOOD + GOOD,
    "two objects with a blank between": f"{GOOD} {GOOD}",
    "two lines": f"{GOOD}\n{GOOD}\n",
    "two objects with a comma between": f"{GOOD}, {GOOD}",
    "trailing junk": f"{GOOD} junk",
    "trailing brace": GOOD + "}",
    "trailing bracket": GOOD + "]",
    "trailing bracket and junk": GOOD + "] junk",
    "brackets that close and open": f"{GOOD}], [{GOOD}",
    "trailing comma": GOOD + ",",
    "leading comma": "," + GOOD,
    "comma before the brace": GOOD[:-1] + ",}",
    "trailing NUL": GOOD + "\0",
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "comment": "/* a sale */ " + GOOD,
    "single quotes": GOOD.replace('"', "'"),
    "names without quotes": '{product: "TV", quantity: 1, price: 499.0}',
    "NaN": sale(price="NaN"),
    "Infinity": sale(price="Infinity"),
    "-Infinity": sale(quantity="-Infinity"),
    "NaN in an unknown field": sale(humidity="NaN"),
    "leading zero": sale(quantity="01"),
    "leading plus": sale(quantity="+1"),
    "line break in a text": sale(product='"T\nV"'),
    "Latin-1": '{"product": "Kühlschrank", "quantity": 1, "price": 499.0}'.encode("latin-1"),
    "overlong UTF-8": GOOD.replace("TV", "#").encode().replace(b"#", b"\xc0\x80"),
    "UTF-8 of a surrogate": GOOD.replace("TV", "#").encode().replace(b"#", b"\xed\xa0\x80"),
    "bytes": bytes(range(256)),
    "UTF-16": GOOD.encode("utf-16"),
    "compressed": gzip.compress(GOOD.encode(), mtime=0),
    "1 MB that is no JSON": "x" * 2**20,
    "1 MB of bytes": b"\xff" * 2**20,
    "100,000 brackets": "[" * 100_000,
    "100,000 objects deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "field of 100,000 arrays": sale(deep="[" * 100_000 + "]" * 100_000),
}

REJECTED: dict[str, tuple[str, list[str]]] = {
    "an empty object": ("{}", ["missing:product", "missing:quantity", "missing:price"]),
    "nothing known": ('{"temperature": 21.5}', ["missing:product", "missing:quantity", "missing:price"]),
    "everything null": (
        '{"product": null, "quantity": null, "price": null}',
        ["missing:product", "missing:quantity", "missing:price"],
    ),
    "everything wrong": (
        '{"product": 5, "quantity": "one", "price": -1, "event_time": "2099-01-01T00:00:00Z"}',
        ["type:product", "type:quantity", "range:price", "future:event_time"],
    ),
    "other case": (GOOD.replace("product", "Product"), ["missing:product"]),
    "no product": (without("product"), ["missing:product"]),
    "no quantity": (without("quantity"), ["missing:quantity"]),
    "no price": (without("price"), ["missing:price"]),
    "product null": (sale(product="null"), ["missing:product"]),
    "product empty": (sale(product='""'), ["missing:product"]),
    "product blank": (sale(product='"  "'), ["missing:product"]),
    "product a number": (sale(product="5"), ["type:product"]),
    "product true": (sale(product="true"), ["type:product"]),
    "product an array": (sale(product='["TV"]'), ["type:product"]),
    "product an object": (sale(product='{"name": "TV"}'), ["type:product"]),
    "quantity null": (sale(quantity="null"), ["missing:quantity"]),
    "quantity text": (sale(quantity='"1"'), ["type:quantity"]),
    "quantity a word": (sale(quantity='"two"'), ["type:quantity"]),
    "quantity true": (sale(quantity="true"), ["type:quantity"]),
    "quantity a fraction": (sale(quantity="1.5"), ["type:quantity"]),
    "quantity a small fraction": (sale(quantity="1.00000000001"), ["type:quantity"]),
    "quantity an array": (sale(quantity="[1]"), ["type:quantity"]),
    "quantity an object": (sale(quantity="{}"), ["type:quantity"]),
    "quantity 0": (sale(quantity="0"), ["range:quantity"]),
    "quantity 0.0": (sale(quantity="0.0"), ["range:quantity"]),
    "quantity -0": (sale(quantity="-0"), ["range:quantity"]),
    "quantity beyond a million": (sale(quantity="1000001"), ["range:quantity"]),
    "quantity below minus a million": (sale(quantity="-1000001"), ["range:quantity"]),
    "quantity beyond 64 bits": (sale(quantity="9223372036854775808"), ["range:quantity"]),
    "quantity of 40 digits": (sale(quantity="1" * 40), ["range:quantity"]),
    "quantity 1e30": (sale(quantity="1e30"), ["range:quantity"]),
    "quantity 1e400": (sale(quantity="1e400"), ["range:quantity"]),
    "quantity -1e400": (sale(quantity="-1e400"), ["range:quantity"]),
    "price null": (sale(price="null"), ["missing:price"]),
    "price empty": (sale(price='""'), ["missing:price"]),
    "price a word": (sale(price='"free"'), ["type:price"]),
    "price with a comma": (sale(price='"1,99"'), ["type:price"]),
    "price with a currency": (sale(price='"499 EUR"'), ["type:price"]),
    "price as Java spells a double": (sale(price='"12d"'), ["type:price"]),
    "price in hexadecimal": (sale(price='"0x1p3"'), ["type:price"]),
    "price text NaN": (sale(price='"NaN"'), ["type:price"]),
    "price text Infinity": (sale(price='"Infinity"'), ["type:price"]),
    "price true": (sale(price="true"), ["type:price"]),
    "price an array": (sale(price="[499.0]"), ["type:price"]),
    "price an object": (sale(price='{"amount": 499.0}'), ["type:price"]),
    "price negative": (sale(price="-0.01"), ["range:price"]),
    "price negative text": (sale(price='"-0.01"'), ["range:price"]),
    "price negative, less than is kept": (sale(price="-0.00001"), ["range:price"]),
    "price above the limit": (sale(price="99999999.0001"), ["range:price"]),
    "price above the limit, text": (sale(price='"99999999.0001"'), ["range:price"]),
    "price of 40 digits": (sale(price="9" * 40), ["range:price"]),
    "price 1e400": (sale(price="1e400"), ["range:price"]),
    "price text 1e400": (sale(price='"1e400"'), ["range:price"]),
    # Spark fails the job where it casts this to a decimal
    "price text 1e-999999999": (sale(price='"1e-999999999"'), ["range:price"]),
    "price text 1e-2147483648": (sale(price='"1e-2147483648"'), ["range:price"]),
    "price text 1e9999": (sale(price='"1e9999"'), ["range:price"]),
    "price of a million digits, text": (sale(price='"' + "9" * 2**20 + '"'), ["range:price"]),
    "a microsecond more than a day ahead": (sale(event_time='"2026-05-05T12:00:00.123457Z"'), ["future:event_time"]),
    "the same with an offset": (sale(event_time='"2026-05-05T17:30:00.123457+05:30"'), ["future:event_time"]),
    "far future": (sale(event_time='"9999-12-31T23:59:59Z"'), ["future:event_time"]),
    "1 MB of a wrong quantity": (sale(quantity='"' + "9" * 2**20 + '"'), ["type:quantity"]),
    "deep nesting as quantity": (sale(quantity="[" * 200 + "]" * 200), ["type:quantity"]),
}

VALID: dict[str, tuple[str, dict[str, Any]]] = {
    "typed by hand": (
        GOOD,
        {
            "event_id": f"{TOPIC}-1-{{offset}}", "event_time": ARRIVED, "product": "TV", "quantity": 1,
            "price": Decimal("499.0000"), **dict.fromkeys(OPTIONAL_TEXTS), "flags": [], "extra": None,
            "topic": TOPIC, "partition": 1, "kafka_timestamp": ARRIVED,
        },
    ),
    "complete": (
        sale(
            event_id='"e-1"', event_time='"2026-05-04T11:59:58.5Z"', product_id='"P1"', order_id='"o-1"',
            category='"TV & Video"', store='"DE-01"', country='"Germany"', customer_id='"c-1"', currency='"EUR"',
        ),
        {
            "event_id": "e-1", "event_time": datetime(2026, 5, 4, 11, 59, 58, 500000, UTC), "product_id": "P1",
            "order_id": "o-1", "category": "TV & Video", "store": "DE-01", "country": "Germany", "customer_id": "c-1",
            "currency": "EUR", "flags": [], "extra": None,
        },
    ),
    "blanks around": (f" \r\n\t{GOOD} \r\n", {"product": "TV", "flags": []}),
    "same key twice": (sale(product='"TV", "product": "Radio"'), {"product": "Radio"}),
    "key in two cases": (sale(PRODUCT='"Radio"'), {"product": "TV", "extra": '{"PRODUCT":"Radio"}'}),
    "texts of the world": (sale(product='"Größe ☕ 🎧"'), {"product": "Größe ☕ 🎧"}),
    "escapes": (sale(product=r'"caf\u00e9 \ud83c\udfa7 \"\\\/"'), {"product": 'café 🎧 "\\/'}),
    "1 MB of product": (sale(product='"' + "x" * 2**20 + '"'), {"product": "x" * 2**20}),
    "1 MB of an unknown field": (sale(note='"' + "y" * 2**20 + '"'), {"extra": '{"note":"' + "y" * 2**20 + '"}'}),
    # optional fields
    "optional null": (sale(order_id="null", event_id="null", event_time="null"), {"order_id": None, "flags": []}),
    "optional wrong": (
        sale(product_id="1", order_id="[]", category="{}", store="true", country="1.5", customer_id="17850.0",
             currency='["EUR"]'),
        {**dict.fromkeys(OPTIONAL_TEXTS), "flags": sorted(OPTIONAL_TEXTS)},
    ),
    "event_id a number": (sale(event_id="7"), {"event_id": f"{TOPIC}-1-{{offset}}", "flags": ["event_id"]}),
    "event_id empty": (sale(event_id='""'), {"event_id": f"{TOPIC}-1-{{offset}}"}),
    # quantity
    "quantity 2.0": (sale(quantity="2.0"), {"quantity": 2}),
    "quantity 1e2": (sale(quantity="1e2"), {"quantity": 100}),
    "quantity a return": (sale(quantity="-3"), {"quantity": -3}),
    "quantity a million": (sale(quantity="1000000"), {"quantity": 1_000_000}),
    "quantity minus a million": (sale(quantity="-1000000"), {"quantity": -1_000_000}),
    # price
    "price text": (sale(price='"499.0"'), {"price": Decimal("499.0000")}),
    "price whole": (sale(price="499"), {"price": Decimal("499.0000")}),
    "price 0": (sale(price="0"), {"price": Decimal("0.0000")}),
    "price at the limit": (sale(price="99999999"), {"price": Decimal("99999999.0000")}),
    "price exact": (sale(price="87654321.4321"), {"price": Decimal("87654321.4321")}),
    "price 0.1 + 0.2": (sale(price="0.30000000000000004"), {"price": Decimal("0.3000")}),
    # as a double, 1.00025 is 1.000249999999999861 and would round down; half to even would give 1.0002 too
    "price half up": (sale(price="1.00025"), {"price": Decimal("1.0003")}),
    "price half up, text": (sale(price='"1.00025"'), {"price": Decimal("1.0003")}),
    "price half up, exponent": (sale(price="1.00025e0"), {"price": Decimal("1.0003")}),
    "price below half": (sale(price="1.00024999"), {"price": Decimal("1.0002")}),
    "price a little below half": (sale(price="1.0002499999999999"), {"price": Decimal("1.0002")}),
    "price a little below half, text": (sale(price='"1.0002499999999999"'), {"price": Decimal("1.0002")}),
    "price with an exponent": (sale(price="1.5e2"), {"price": Decimal("150.0000")}),
    "price with an exponent, text": (sale(price='"1.5e2"'), {"price": Decimal("150.0000")}),
    "price with a small exponent": (sale(price="5e-5"), {"price": Decimal("0.0001")}),
    # event_time
    "exactly a day ahead": (
        sale(event_time=f'"{A_DAY_AHEAD}"'), {"event_time": ARRIVED + timedelta(days=1), "flags": []},
    ),
    "offset east": (
        sale(event_time='"2026-05-04T17:00:00+05:30"'), {"event_time": datetime(2026, 5, 4, 11, 30, tzinfo=UTC)},
    ),
    "offset west": (
        sale(event_time='"2026-05-03T23:00:00-08:00"'), {"event_time": datetime(2026, 5, 4, 7, 0, tzinfo=UTC)},
    ),
    "lower case": (
        sale(event_time='"2026-05-04t10:00:00z"'),
        {"event_time": datetime(2026, 5, 4, 10, 0, tzinfo=UTC), "flags": []},
    ),
    "no seconds": (
        sale(event_time='"2026-05-04T10:00Z"'), {"event_time": datetime(2026, 5, 4, 10, 0, tzinfo=UTC), "flags": []},
    ),
    "no seconds, offset": (
        sale(event_time='"2026-05-04t10:00-0530"'), {"event_time": datetime(2026, 5, 4, 15, 30, tzinfo=UTC)},
    ),
    "microseconds": (
        sale(event_time='"2026-05-04T10:00:00.000001Z"'), {"event_time": datetime(2026, 5, 4, 10, 0, 0, 1, UTC)},
    ),
    "1900": (
        sale(event_time='"1899-12-31T23:59:59.999999Z"'),
        {"event_time": datetime(1899, 12, 31, 23, 59, 59, 999999, UTC), "flags": []},
    ),
    "in the gap of the calendars": (
        sale(event_time='"1582-10-10T00:00:00Z"'), {"event_time": datetime(1582, 10, 10, tzinfo=UTC), "flags": []},
    ),
    "1500": (
        sale(event_time='"1500-02-28T01:02:03Z"'), {"event_time": datetime(1500, 2, 28, 1, 2, 3, tzinfo=UTC)},
    ),
    "year 1": (
        sale(event_time='"0001-06-01T00:00:00Z"'), {"event_time": datetime(1, 6, 1, tzinfo=UTC), "flags": []},
    ),
    **{
        f"event_time {text}": (sale(event_time=text), {"event_time": ARRIVED, "flags": ["event_time"]})
        for text in (
            '"2026-05-04T10:00:00"', '"2026-05-04"', '"2026-13-04T10:00:00Z"', '"2026-02-30T10:00:00Z"',
            '"2026-05-04T25:00:00Z"', '"2026-05-04T23:59:60Z"', '"2026-05-04T10:00:00+25:00"', '"0000-01-01T00:00:00Z"',
            '"0001-01-01T00:00:00+05:00"', '"12026-05-04T10:00:00Z"', '"-2026-05-04T10:00:00Z"', '"yesterday"', '"now"',
            r'"2026-05-04T10:00:00Z\n"', '"2026-05-04T10:00:00Z "', '"2026-05-04T10Z"', '"2026-05-04T10:00:00+18:01"',
            '"epoch"', '"T10:00:00Z"', "1777888800", "1777888800.5", "true", "[]", "{}",
        )
    },
}  # fmt: skip

UNKNOWN: dict[str, Any] = {
    "flag": True, "whole": 7, "fraction": 1.5, "text": "7", "nothing": None, "list": [1, "2", None, [], {}],
    "object": {"a": {"b": [False]}}, "": "no name", "a.b": 1, "quote\"d": "\\ \" \n é 🎧",
    "big": 12345678901234567890123,
}  # fmt: skip


def encoded(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def messages(spark: SparkSession, values: list[bytes | None], topic: str = TOPIC) -> DataFrame:
    """The Kafka source's columns; a message's offset is its place in the list."""
    table = pa.table(
        {
            "key": pa.nulls(len(values), pa.binary()),
            "value": pa.array(values, pa.binary()),
            "topic": pa.array([topic] * len(values)),
            "partition": pa.array([1] * len(values), pa.int32()),
            "offset": pa.array(range(len(values)), pa.int64()),
            "timestamp": pa.array([ARRIVED] * len(values), pa.timestamp("us", "UTC")),
        }
    )
    return spark.createDataFrame(table).repartition(4)


@dataclass
class Split:
    """What became of some messages, by offset."""

    values: list[bytes | None]
    topic: str = TOPIC
    valid: dict[int, dict[str, Any]] = field(default_factory=dict)
    rejected: dict[int, dict[str, Any]] = field(default_factory=dict)
    positions: list[tuple[str, int, int]] = field(default_factory=list)

    def assert_account_closes(self) -> None:
        assert sorted(self.positions) == [(self.topic, 1, offset) for offset in range(len(self.values))]

    def assert_raw_is_kept(self) -> None:
        for offset, row in self.rejected.items():
            assert original(row["raw"], self.values[offset]) == self.values[offset]


def original(raw: str | None, value: bytes | None) -> bytes | None:
    """The message that a rejected record's ``raw`` stands for: text, or base64 where the message is not UTF-8."""
    if raw is None or value is None:
        return raw and raw.encode()
    try:
        value.decode()
    except UnicodeDecodeError:
        return base64.b64decode(raw, validate=True)
    return raw.encode()


def split(spark: SparkSession, values: list[bytes | None], stream: Stream = SALES) -> Split:
    rows = checked(messages(spark, values, stream.raw_topic), stream).persist()
    out = Split(values, stream.raw_topic)
    try:
        columns = [f"{value} AS {name}" for name, value in rejected_columns(stream).items()]
        bad = rows.where(F.size("reasons") > 0).selectExpr(*columns)
        for kept, part in ((out.valid, valid(rows)), (out.rejected, bad)):
            for row in part.toArrow().to_pylist():
                kept[row["offset"]] = row
                out.positions.append((row["topic"], row["partition"], row["offset"]))
    finally:
        rows.unpersist()
    return out


CASES = [
    *[(f"not_json: {name}", encoded(value)) for name, value in NOT_JSON.items()],
    *[(f"rejected: {name}", encoded(value)) for name, (value, _) in REJECTED.items()],
    *[(f"valid: {name}", encoded(value)) for name, (value, _) in VALID.items()],
    ("unknown fields", json.dumps(json.loads(GOOD) | UNKNOWN).encode()),
    ("nested 200 deep", sale(deep="[" * 200 + "1" + "]" * 200).encode()),
    ("half a surrogate pair", sale(product=r'"\ud83c"').encode()),
]
OFFSETS = {name: offset for offset, (name, _) in enumerate(CASES)}


@pytest.fixture(scope="module")
def cases(spark: SparkSession) -> Split:
    return split(spark, [value for _, value in CASES])


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_json_object_is_rejected_whole(cases: Split, name: str) -> None:
    offset = OFFSETS[f"not_json: {name}"]
    assert offset not in cases.valid
    assert cases.rejected[offset]["reasons"] == ["not_json"]


@pytest.mark.parametrize("name", REJECTED)
def test_rejected_with_all_its_reasons(cases: Split, name: str) -> None:
    offset = OFFSETS[f"rejected: {name}"]
    assert offset not in cases.valid
    assert sorted(cases.rejected[offset]["reasons"]) == sorted(REJECTED[name][1])


@pytest.mark.parametrize("name", VALID)
def test_valid_with_its_values(cases: Split, name: str) -> None:
    offset = OFFSETS[f"valid: {name}"]
    assert offset not in cases.rejected, cases.rejected[offset]["reasons"]
    row = cases.valid[offset]
    row["flags"] = sorted(row["flags"])
    expected = {
        column: value.format(offset=offset) if column == "event_id" else value
        for column, value in VALID[name][1].items()
    }
    assert {column: row[column] for column in expected} == expected


def test_money_is_a_decimal_of_18_digits(spark: SparkSession) -> None:
    types = dict(valid(checked(messages(spark, []), SALES)).dtypes)
    assert types["price"] == "decimal(18,4)"
    assert types["quantity"] == "bigint"
    assert types["event_time"] == "timestamp"


def test_unknown_fields_keep_their_types(cases: Split) -> None:
    extra = cases.valid[OFFSETS["unknown fields"]]["extra"]
    assert json.dumps(json.loads(extra), sort_keys=True) == json.dumps(UNKNOWN, sort_keys=True)


def test_nesting_is_kept(cases: Split) -> None:
    value: Any = json.loads(cases.valid[OFFSETS["nested 200 deep"]]["extra"])["deep"]
    for _ in range(200):
        (value,) = value
    assert value == 1


def test_a_rejected_record_keeps_what_it_was(cases: Split) -> None:
    offset = OFFSETS["not_json: Latin-1"]
    assert cases.rejected[offset] == {
        "stream": "sales", "reasons": ["not_json"],
        "raw": base64.b64encode('{"product": "Kühlschrank", "quantity": 1, "price": 499.0}'.encode("latin-1")).decode(),
        "topic": TOPIC, "partition": 1, "offset": offset, "kafka_timestamp": ARRIVED,
    }  # fmt: skip
    assert cases.rejected[OFFSETS["not_json: tombstone"]]["raw"] is None
    assert cases.rejected[OFFSETS["not_json: empty"]]["raw"] == ""


def test_raw_gives_the_message_back(cases: Split) -> None:
    cases.assert_raw_is_kept()


def test_the_account_of_all_cases_closes(cases: Split) -> None:
    cases.assert_account_closes()
