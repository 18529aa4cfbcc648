"""What goes the short way through the check: all that producers send, and nothing that takes a closer look. That both
ways agree is for ``test_quality_hostile.py``, whose messages take either.
"""

import itertools
import json
from importlib import import_module

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headwater.contracts import STREAMS
from headwater.contracts.base import Stream
from headwater.contracts.sales import SALES
from headwater.quality import plain
from producers.delivery import encode
from tests.unit.test_quality import messages

SIMULATED = 500
GOOD = '{"product": "TV", "quantity": 1, "price": 499.0}'
ODD = {
    "a text for a number": '{"product": "TV", "quantity": "1", "price": 499.0}',
    "a number for a text": '{"product": 7, "quantity": 1, "price": 499.0}',
    "one of each, as many as there should be": '{"product": 7, "quantity": 1, "price": "499.0"}',
    "the same name twice": '{"product": "TV", "product": "Radio", "quantity": 1, "price": 499.0}',
    "the same name twice, a blank behind one": '{"product": "TV", "product" : "Radio", "quantity": 1, "price": 499.0}',
    "an unknown field": '{"product": "TV", "quantity": 1, "price": 499.0, "colour": "red"}',
    "a field in another's object": '{"product": {"product": "TV"}, "quantity": 1, "price": 499.0}',
    "null": '{"product": "TV", "quantity": 1, "price": 499.0, "store": null}',
    "more after it": GOOD + "] junk",
    "another after it": GOOD + ", " + GOOD,
    "half a character": r'{"product": "\ud83c", "quantity": 1, "price": 499.0}',
    "no UTF-8": b'{"product": "\xff", "quantity": 1, "price": 499.0}',
    "out of range": '{"product": "TV", "quantity": 0, "price": 499.0}',
    "money at its limit": '{"product": "TV", "quantity": 1, "price": 99999999}',
    "money with five decimals": '{"product": "TV", "quantity": 1, "price": 0.00005}',
    "a time without offset": '{"product": "TV", "quantity": 1, "price": 499.0, "event_time": "2026-05-04T10:00:00"}',
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_what_producers_send_goes_the_short_way(spark: SparkSession, stream: Stream) -> None:
    simulated = import_module(f"producers.{stream.name}").simulate(seed=1)
    records = list(itertools.islice(simulated, SIMULATED))
    values = [encode(record) for record in records] + [spaced(encode(record)) for record in records]
    assert short(spark, values, stream) == [True] * 2 * SIMULATED


def test_escapes_go_the_short_way(spark: SparkSession) -> None:
    names = ['55" TV', "back\\slash", "Größe 🎧", "a: b", "{}", "tab\t", "\u2028"]
    values = [json.dumps({"product": name, "quantity": 1, "price": "9.90"}, ensure_ascii=False) for name in names]
    values += [r'{"product": "Gr\u00f6\u00dfe", "quantity": -2, "price": 9}']
    assert short(spark, [value.encode() for value in values], SALES) == [True] * len(values)


def test_what_is_odd_does_not(spark: SparkSession) -> None:
    values = [value if isinstance(value, bytes) else value.encode() for value in (GOOD, *ODD.values())]
    found = short(spark, [*values, None], SALES)
    assert found[0]
    assert dict(zip([*ODD, "no value"], found[1:], strict=True)) == dict.fromkeys([*ODD, "no value"], False)


def spaced(value: bytes) -> bytes:
    """The same as Python's ``json`` writes it, with a blank behind each colon and comma."""
    return json.dumps(json.loads(value)).encode()


def short(spark: SparkSession, values: list[bytes | None], stream: Stream) -> list[bool]:
    # They come now: what producers simulate is of now.
    arrived = messages(spark, values, stream.raw_topic).withColumn("timestamp", F.current_timestamp())
    rows = plain(arrived, stream).select("offset", "is_valid").collect()
    return [row["is_valid"] for row in sorted(rows, key=lambda row: row["offset"])]
