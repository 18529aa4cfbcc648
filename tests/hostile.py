"""Messages that mean no good, drawn from a contract's own fields."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from headwater.contracts.base import FieldSpec, Kind, Stream

T = TypeVar("T")

NUMBERS = [
    "0", "-0", "-0.0", "0.0", "1", "-1", "2.0", "1.5", "1e2", "1E+2", "1e-30", "-1e-30", "1e400", "-1e400", "1e-400",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "123456789012345678901234567890", "0.123456789012345678901234567891", "1.00000000001",
    "99999999", "99999999.0001", "99999999.00001", "1000000", "1000001", "-1000001", "90", "90.0000001", "-90",
    "180.5", "-180", "360", "360.0001", "1e13", "1e14", "0.001", "0.0009", "253402300799", "253402300800", "1e30",
    "9" * 40, "-" + "9" * 40, "0." + "3" * 40, "1" * 1_000, "1" * 1_001, "4.9e-324", "1.7976931348623157e308",
    "1e999999999999",
]  # fmt: skip
"""As they stand in a message."""

NO_JSON = [
    "NaN", "Infinity", "-Infinity", "01", "+1", "0x1F", "1_000", ".5", "1.", "1e", "True", "None", "undefined",
    "'TV'", "",
]  # fmt: skip
"""Values that JSON doesn't have."""

TEXTS = [
    "", " ", "   ", "\t", "\u00a0", "\u3000", "\0", "a\0b", "TV", "unknown", "null", "NaN", "Infinity", "-Infinity",
    "0x1F", "1_000", "\uff11\uff12", "\u0967\u0968", "007", "12.5", "-1", "+5", " 1e3\n", "1e-30", "1e400", "1e-400",
    "1e-2147483648", "1e2147483647", "1e-999999999", "1e999999999", "12d", "1,99", "9" * 40, "0." + "9" * 40,
    "1.00025", "1.000249999999999999999", "\u202egnp.exe", "e\u0301" * 20, "Z\u0351\u036b\u0343\u036a\u0302\u036b",
    "👩‍👩‍👧‍👦", "🎧☕", "ﷺ" * 9, "\ufeffTV", "\ufffd", "\uffff", "\U0010ffff", "../../etc/passwd", "C:\\nul", "a/b",
    "a|b", "a:b", "~", "'; DROP TABLE records; --", "Robert'); DROP TABLE sales;--", "=cmd|' /C calc'!A0", "+1+1",
    "@SUM(1)", "-1+1", 'a"b', "a,b", "a\nb", "a\r\nb", "`", "\\", "%s%n", "{{7*7}}", "${jndi:ldap://x}",
    "<script>window.hacked=1</script>", "<img src=x onerror='window.hacked=1'>", "javascript:alert(1)", "</script>",
    "purchase", "PURCHASE", "productview ", "measured", "true", "[]", "{}", "x" * 300, "é" * 5_000,
    "1e-0000000003", "1e999", "1e-999", "1e1000", "1e-1000", "9" * 1_000, "." + "3" * 1_000,
]  # fmt: skip

TIMES = [
    "2026-05-04T10:00:00Z", "2026-05-04 10:00:00Z", "2026-05-04t10:00:00z", "2026-05-04T10:00Z",
    "2026-05-04T10:00:00", "2026-05-04", "2026-05-04T10:00:00.123456789Z", "2026-05-04T10:00:00.Z",
    "2026-05-04T10:00:00,5Z", "2026-05-04T24:00:00Z", "2026-06-30T23:59:60Z", "2026-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z", "2026-05-04T10:00:00+18:00", "2026-05-04T10:00:00-18:00", "2026-05-04T10:00:00+18:01",
    "2026-05-04T10:00:00-19:00", "2026-05-04T10:00:00+0530", "2026-05-04T10:00:00+05", "2026-05-04T10:00:00-00:00",
    "2026-05-04T10:00:00+05:60", "2026-05-04T10:00:00 Z", "2026-05-04T10:00:00Z ", " 2026-05-04T10:00:00Z",
    "2026-05-04T10:00:00Z\n", "2026-05-04T10:00:00[Europe/Berlin]", "2026-05-04T10:00:00+05:30[Asia/Kolkata]",
    "2026-05-04T10:00:00 UTC", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T23:59:59.999999Z",
    "0001-01-02T00:00:00Z", "0001-01-02T00:00:00+00:01", "1582-10-10T00:00:00Z", "1883-11-18T12:00:00-04:56",
    "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-18:00", "10000-01-01T00:00:00Z", "+2026-05-04T10:00:00Z", "-0001-01-01T00:00:00Z",
    "2026-W19-1T10:00:00Z", "20260504T100000Z", "2026-05-05T12:00:00.123456Z", "2026-05-05T12:00:00.123457Z", "now",
    "1777888800", "\u0968\u0966\u0968\u096c-\u0966\u096b-\u0966\u096aT10:00:00Z",
]  # fmt: skip

ESCAPES = [
    r'"\ud800"', r'"\udc00\ud800"', r'"a\ud83cb"', r'"\ud83c\ud83c\udfa7"', r'"\u0000"', r'"caf\u00e9"',
    r'"\uD83C\uDFA7"',
]  # fmt: skip
"""Half a pair, and other escapes."""

OTHERS = [
    "null", "true", "false", "[]", "{}", "[[]]", '["TV"]', "[1]", "[1, null]", "[null]", "[1.0]",
    "[9223372036854775808]", '[1, "a"]', '{"a": 1}', '{"value": 1.5}', '{"": {"": {}}}',
]  # fmt: skip

NAMES = [
    "", " ", "__proto__", "constructor", "a.b", "a`b", "`", "``", 'a\\"b', "a'b", "a,b", "a\\nb", "\\u0000",
    "\\ud800", "Product", "PRICE", "product ", "topic", "partition", "offset", "reasons", "raw", "flags", "extra",
    "value", "kafka_timestamp", "processed_at", "_corrupt_record", "$", "$.price", "*", "col", "🎧", "pr\\u006fduct",
    "variant_price", "number_price", "stream", "kind", "x" * 300,
]  # fmt: skip
"""Of fields that no contract knows, as they stand between quotes."""


def _is_told_alike(number: float) -> bool:
    """Java before 19 spells some doubles with more digits than they need, which makes other whole numbers of them."""
    return abs(number) < 2**53 or abs(number) >= 2**63


def spelled(text: str) -> str:
    """A text as JSON, raw or escaped."""
    return json.dumps(text, ensure_ascii=len(text) % 2 == 0)


VALUES = [*NUMBERS, *map(spelled, TEXTS), *map(spelled, TIMES), *ESCAPES, *OTHERS]
"""All of these as they stand in a message."""

_ANY = st.one_of(
    st.sampled_from(VALUES),
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).filter(_is_told_alike).map(repr),
    st.text(max_size=8).map(spelled),
    st.integers(2, 60).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(2, 60).map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
)
_MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(2026, 5, 6))
_OFFSETS = st.sampled_from(["Z", "+00:00", "+05:30", "-08:00", "+18:00", "+0100", "-03"])


def fine(spec: FieldSpec) -> SearchStrategy[str]:  # noqa: PLR0911
    """A value that a field takes, or nearly, as it stands in a message."""
    low, high = spec.minimum, spec.maximum
    match spec.kind:
        case Kind.TEXT if spec.choices:
            return st.sampled_from(spec.choices).map(spelled)
        case Kind.TEXT:
            return st.sampled_from(["TV", "Radio", "a-1", "Größe 🎧"]).map(spelled)
        case Kind.WHOLE:
            return st.integers(int(low or -10), int(min(high, 2_000_000_000) if high else 10)).map(str)
        case Kind.NUMBER:
            return st.floats(float(low or 0), float(high or 10)).map(repr)
        case Kind.MONEY:
            return st.decimals(max(low or 0, -1000), min(high or 1000, 10**8), places=4).map(str)
        case Kind.BOOLEAN:
            return st.sampled_from(["true", "false"])
        case Kind.WHOLES:
            return st.lists(st.integers(-5, 5), max_size=3).map(json.dumps)
        case _:
            return st.builds(lambda moment, offset: f'"{moment.isoformat()}{offset}"', _MOMENTS, _OFFSETS)


def _limits(spec: FieldSpec) -> SearchStrategy[str]:
    """At, just within and just beyond a field's limits, as a number and as text."""
    steps = [0, 1, -1, *map(Decimal, ("0.0000001", "-0.0000001", "1e-17", "-1e-17"))]
    edges = [limit + step for limit in (spec.minimum, spec.maximum) if limit is not None for step in steps]
    return st.sampled_from([form % f"{edge:f}" for edge in edges for form in ("%s", '"%s"')]) if edges else _ANY


@st.composite
def objects(draw: st.DrawFn, stream: Stream) -> str:
    """One JSON object: most fields fine, some not, some twice, some unknown."""
    members = []
    for spec in stream.fields:
        how = draw(st.integers(0, 11 if spec.required else 19))
        if how < 8:
            members.append((spec.name, draw(fine(spec))))
        elif how < 9:
            members.append((spec.name, draw(_ANY)))
        elif how < 10:
            members.append((spec.name, draw(_limits(spec))))
        elif how < 11 and draw(st.booleans()):
            members += [(spec.name, draw(_ANY)), (spec.name, draw(fine(spec)))]
    members += draw(st.lists(st.tuples(st.sampled_from(NAMES), _ANY), max_size=2))
    if draw(st.integers(0, 7)) == 0:
        members = draw(st.permutations(members))
    if draw(st.integers(0, 40)) == 0:
        members.append((stream.key, draw(st.sampled_from(NO_JSON))))
    glue, colon = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,\n\t", " : \r\n")]))
    return "{" + glue.join(f'"{name}"{colon}{value}' for name, value in members) + "}"


_MANGLED = {
    "whole": lambda text, place: text.encode(),
    "cut off": lambda text, place: text.encode()[: place % (len(text.encode()) + 1)],
    "a byte changed": lambda text, place: _changed(text.encode(), place),
    "a byte more": lambda text, place: _more(text.encode(), place),
    "byte order mark": lambda text, place: b"\xef\xbb\xbf" + text.encode(),
    "twice": lambda text, place: (text + [" ", "\n", "", ","][place % 4] + text).encode(),
    "trailing": lambda text, place: (
        text + ["junk", "]", "}", "\0", "] , [", ",", "//", "\x1a", " \n\r\t"][place % 9]
    ).encode(),
    "leading": lambda text, place: (
        ["junk", "[", "{", "\0", ",", "\ufeff", "\u00a0", " \n\r\t"][place % 8] + text
    ).encode(),
    "in brackets": lambda text, place: f"[{text}]".encode(),
    "in a text": lambda text, place: json.dumps(text).encode(),
    "in a field": lambda text, place: f'{{"message": {text}}}'.encode(),
    "compressed": lambda text, place: gzip.compress(text.encode(), mtime=0),
    "UTF-16": lambda text, place: text.encode("utf-16"),
    "Latin-1": lambda text, place: text.encode("latin-1", "replace"),
    "single quotes": lambda text, place: text.replace('"', "'").encode(),
}


def _changed(data: bytes, place: int) -> bytes:
    at = place % max(len(data), 1)
    return data[:at] + bytes([place % 256]) + data[at + 1 :]


def _more(data: bytes, place: int) -> bytes:
    at = place % (len(data) + 1)
    return data[:at] + bytes([place // 7 % 256]) + data[at:]


def messages(stream: Stream) -> SearchStrategy[bytes | None]:
    """A message of a stream's raw topic: three of four whole, the others mangled or nothing of the kind."""
    how = st.sampled_from(["whole"] * 45 + list(_MANGLED))
    mangled = st.builds(
        lambda text, how, place: _MANGLED[how](text, place), objects(stream), how, st.integers(0, 10**6)
    )
    return st.one_of(*[mangled] * 12, st.binary(max_size=16), st.sampled_from([None, b"", b" ", b"null", b"{}", b"[]"]))


def drawn(strategy: SearchStrategy[T], count: int) -> list[T]:
    """Many draws at once: what is looked at in one Spark job or sent in one go. The same ones in each run, unless the
    profile of Hypothesis says otherwise."""
    found: list[T] = []

    @hypothesis.settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found
