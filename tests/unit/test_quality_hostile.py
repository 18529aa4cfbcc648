"""Hostile messages of every contract, against its rules in plain Python (``tests/contract_rules.py``).

Alone: ``pytest tests/unit/test_quality_hostile.py``, some 50 seconds of CPU. Other messages at each run, and as many of
them as wanted: ``HOSTILE_MESSAGES=20000 pytest tests/unit/test_quality_hostile.py --hypothesis-profile=explore``. What
is found so becomes a literal case in ``tests/unit/test_quality.py`` or here.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from pyspark.sql import SparkSession

from headwater.contracts import STREAMS
from headwater.contracts.base import Kind, Stream
from headwater.contracts.sales import SALES
from tests.contract_rules import MAX_DEPTH, MAX_DIGITS, MAX_NAME, Verdict, judged, nesting_allowed
from tests.hostile import VALUES, drawn, messages, spelled
from tests.unit.test_quality import ARRIVED, Split, split

COUNT = int(os.environ.get("HOSTILE_MESSAGES", "400"))
"""Drawn messages a stream."""
GOOD_VALUES = {Kind.TEXT: '"TV"', Kind.WHOLE: "1", Kind.NUMBER: "1.5", Kind.MONEY: "1.5"}
"""Of required fields."""


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_hostile_messages_are_judged_by_the_contract(spark: SparkSession, stream: Stream) -> None:
    """Each odd value in each field, and drawn messages."""
    values: list[bytes | None] = [*odd_values(stream), *drawn(messages(stream), COUNT)]
    assert_judged(split(spark, values, stream), stream)


def odd_values(stream: Stream) -> Iterator[bytes]:
    good = {f.name: spelled(f.choices[0]) if f.choices else GOOD_VALUES[f.kind] for f in stream.fields if f.required}
    for field in stream.fields:
        for odd in VALUES:
            members = (good | {field.name: odd}).items()
            yield ("{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}").encode()


def test_what_is_long_or_deep_is_judged_at_its_limits(spark: SparkSession) -> None:
    """Of arrays, objects, numbers and names the longest that the JSON parser reads, and one beyond it."""
    good = '{"product": "TV", "quantity": 1, "price": 499.0, %s}'
    values = [
        good % f'"deep": {opening * n}1{closing * n}'
        for n in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 10 * MAX_DEPTH)
        for opening, closing in (("[", "]"), ('{"a":', "}"))
    ]
    values += [good % f'"long": {"9" * n}' for n in (MAX_DIGITS, MAX_DIGITS + 1)]
    values += [good % f'"quantity": 1.{"0" * n}' for n in (MAX_DIGITS - 1, MAX_DIGITS)]
    values += [good % f'"{"x" * n}": 1' for n in (MAX_NAME, MAX_NAME + 1)]
    values += [good % f'"{"x" * (MAX_NAME + 1)}": 1, "{"x" * (MAX_NAME + 1)}": 2']
    values += [good % f'"wide": [{"0, " * 100_000}0]']
    values += [good % ", ".join(f'"name {n}": {n}' for n in range(20_000))]
    assert_judged(split(spark, [value.encode() for value in values]), SALES)


def assert_judged(out: Split, stream: Stream) -> None:
    """Each message once, valid or rejected as the rules say, with the values, flags and unknown fields they give."""
    out.assert_account_closes()
    out.assert_raw_is_kept()
    wrong = []
    with nesting_allowed():
        for offset, value in enumerate(out.values):
            expected = judged(stream, value, ARRIVED, f"{stream.raw_topic}-1-{offset}")
            found = _found(out, offset, stream)
            if found != expected:
                wrong.append(((value or b"")[:500], _unlike(found, expected)))
    assert not wrong, f"{len(wrong)} of {len(out.values)}: {wrong[:20]}"


def _found(out: Split, offset: int, stream: Stream) -> Verdict:
    row = out.valid.get(offset)
    if row is None:
        return Verdict(sorted(out.rejected[offset]["reasons"]))
    values = {f.name: row[f.name] for f in stream.fields}
    values["event_time"] = values["event_time"].astimezone(UTC)
    extra = row["extra"] and json.loads(row["extra"], parse_int=float)
    return Verdict([], values, sorted(row["flags"]), extra)


def _unlike(found: Verdict, expected: Verdict) -> dict[str, Any]:
    """What differs: found and expected."""
    unlike: dict[str, Any] = {
        name: (getattr(found, name), getattr(expected, name))
        for name in ("reasons", "flags", "extra")
        if getattr(found, name) != getattr(expected, name)
    }
    for name in found.values.keys() & expected.values.keys():
        if found.values[name] != expected.values[name]:
            unlike[name] = (found.values[name], expected.values[name])
    return unlike
