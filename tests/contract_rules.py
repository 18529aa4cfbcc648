"""What the contracts say of a message, in plain Python: the judge of ``headwater.quality.checked``.

Written from ARCHITECTURE's rules and decision 0001, not from the Spark expressions. What JSON leaves to the reader is
decided here as it is there: a name that stands twice means its last value, half a surrogate pair is no text, a number
with an exponent is a double, numbers count to their 18th decimal, and one that 20 digits before the point can't hold is
of its kind and out of range.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from headwater.contracts.base import FieldSpec, Kind, Stream

MAX_DEPTH = 999
"""Levels of arrays and objects in a message, its own among them. Its JSON parser reads no deeper."""
MAX_DIGITS, MAX_NAME = 1_000, 50_000
"""Digits of a number and characters of a name. Its JSON parser reads no longer ones."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MOMENT = datetime(1, 1, 2, tzinfo=UTC)
_WIDE = Context(prec=5_000, rounding=ROUND_HALF_UP)
_SPELLED = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[t ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(z|([+-])(\d\d)(?::?(\d\d))?)",
    re.ASCII | re.IGNORECASE,
)
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING_OR_TEXT = re.compile(_TEXT.pattern + r"|[\[\]{}]", re.DOTALL)
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


@dataclass
class Verdict:
    """What becomes of a message: reasons, or the record's values, flags and unknown fields."""

    reasons: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    extra: dict[str, Any] | None = None


@dataclass(frozen=True)
class Number:
    """A JSON number as it is spelled."""

    text: str

    @property
    def exact(self) -> Decimal:
        """To the 18th decimal."""
        if "e" not in self.text.lower():
            return _to_18(Decimal(self.text))
        value = float(self.text)
        return _to_18(Decimal(repr(value))) if math.isfinite(value) else Decimal(value)

    @property
    def is_long(self) -> bool:
        return re.fullmatch(r"-?\d+", self.text) is not None and -(2**63) <= int(self.text) < 2**63


@dataclass(frozen=True)
class Found:
    """What a field of a message was taken for."""

    value: Any = None
    wrong: str | None = None
    """`missing`, `type` or `range`."""


def judged(stream: Stream, message: bytes | None, arrived: datetime, position_id: str) -> Verdict:
    """What the contract says of a message that came at `arrived`, Kafka's timestamp; within :func:`nesting_allowed`."""
    record = _object(message)
    if record is None:
        return Verdict(["not_json"])
    found = {f.name: _found(f, record.get(f.name)) for f in stream.fields}
    if stream.event_seconds:
        seconds = found[stream.event_seconds].value
        found["event_time"] = Found(None if seconds is None else EPOCH + timedelta(seconds=seconds))
    reasons = [f"{found[f.name].wrong}:{f.name}" for f in stream.fields if f.required and found[f.name].wrong]
    happened = found["event_time"].value
    if happened and happened > arrived + timedelta(days=1):
        reasons.append("future:event_time")
    values = {f.name: found[f.name].value for f in stream.fields}
    for f in stream.fields:
        if f.default is not None and found[f.name].wrong == "missing":
            values[f.name] = f.default
    values["event_id"] = values["event_id"] or position_id
    values["event_time"] = happened or arrived
    flags = [f.name for f in stream.fields if not f.required and found[f.name].wrong in ("type", "range")]
    unknown = {name: value for name, value in record.items() if name not in found}
    if reasons:
        return Verdict(sorted(reasons))
    return Verdict([], values, sorted(flags), plain(unknown) if unknown else None)


def plain(value: Any) -> Any:
    """A JSON value with floats for numbers; one beyond a double is the text `Infinity`, as JSON has no word for it."""
    if isinstance(value, Number):
        number = float(value.text)
        return number if math.isfinite(number) else "-Infinity"[number > 0 :]
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    return [plain(member) for member in value] if isinstance(value, list) else value


def parsed(text: str) -> Any:
    """JSON with its numbers as they are spelled, however deep. ValueError where it isn't JSON as we read it."""

    def no_constant(name: str) -> None:
        raise ValueError(name)

    return json.loads(
        text, parse_float=_number_of, parse_int=_number_of, parse_constant=no_constant, object_pairs_hook=_members
    )


@contextmanager
def nesting_allowed() -> Iterator[None]:
    """Python's recursion limit raised to what is as deep as a message may be."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 4 * MAX_DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _object(message: bytes | None) -> dict[str, Any] | None:
    """A message that is one JSON object, else None."""
    if message is None:
        return None
    try:
        text = message.decode()
        value = parsed(text) if _depth(text) <= MAX_DEPTH else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and not _HALF_A_PAIR.search(_texts(text)) else None


def _depth(text: str) -> int:
    depth = deepest = 0
    for token in _OPENING_OR_TEXT.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token.group(), 0)
        deepest = max(deepest, depth)
    return deepest


def _texts(text: str) -> str:
    """All texts of a JSON value, names among them, one after the other."""
    return "".join(json.loads(token) for token in _TEXT.findall(text))


def _number_of(text: str) -> Number:
    if sum(map(str.isdigit, text)) > MAX_DIGITS:
        raise ValueError("a number too long")
    return Number(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(len(name) > MAX_NAME for name, _ in pairs):
        raise ValueError("a name too long")
    return dict(pairs)


def _found(spec: FieldSpec, value: Any) -> Found:
    if value is None:
        return Found(wrong="missing")
    if spec.kind in (Kind.TEXT, Kind.TIME, Kind.MONEY) and isinstance(value, str) and not value.strip(" "):
        return Found(wrong="missing")
    taken = _TAKEN[spec.kind](value)
    if taken is None:
        return Found(wrong="type")
    held, compared = taken
    if held is None or not _in_range(spec, compared):
        return Found(wrong="range")
    return Found(held)


def _in_range(spec: FieldSpec, value: Any) -> bool:
    if spec.choices and value not in spec.choices:
        return False
    if spec.not_zero and value == 0:
        return False
    if spec.minimum is not None and value < type(value)(spec.minimum):
        return False
    return spec.maximum is None or value <= type(value)(spec.maximum)


Taken = tuple[Any, Any] | None
"""What a value is held as, None where nothing can hold it, and what is compared with the limits; None: another type."""


def _text(value: Any) -> Taken:
    return (value, value) if isinstance(value, str) else None


def _whole(value: Any) -> Taken:
    if not isinstance(value, Number):
        return None
    exact = value.exact
    if not _is_held(exact):
        return None, None
    if exact % 1:
        return None
    return (int(exact) if -(2**63) <= exact < 2**63 else None), exact


def _number(value: Any) -> Taken:
    if not isinstance(value, Number):
        return None
    held = float(value.text)
    return (held if math.isfinite(held) else None), held


def _money(value: Any) -> Taken:
    if isinstance(value, Number):
        exact = value.exact
        written = exact if "e" in value.text.lower() else Decimal(value.text)
    elif isinstance(value, str) and _SPELLED.fullmatch(value):
        written = _spelled(value.strip())
        exact = _to_18(written)
    else:
        return None
    if not _is_held(exact):
        return None, None
    held = written.quantize(Decimal("0.0001"), ROUND_HALF_UP, _WIDE)
    return (held if abs(held) < 10**14 else None), exact


def _spelled(text: str) -> Decimal:
    """Money as text; NaN where its digits before or behind the point, or its exponent, are 1,000 or more."""
    digits, _, exponent = text.lower().partition("e")
    if abs(int(exponent or 0)) >= 1_000 or any(len(part) >= 1_000 for part in digits.lstrip("+-").split(".")):
        return Decimal("NaN")
    return Decimal(digits).scaleb(int(exponent or 0), _WIDE)


def _to_18(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-18), ROUND_HALF_UP, _WIDE)


def _is_held(value: Decimal) -> bool:
    return value.is_finite() and abs(value) < 10**20


def _boolean(value: Any) -> Taken:
    return (value, value) if isinstance(value, bool) else None


def _wholes(value: Any) -> Taken:
    if not isinstance(value, list) or not all(v is None or (isinstance(v, Number) and v.is_long) for v in value):
        return None
    held = [None if v is None else int(v.text) for v in value]
    return held, held


def _time(value: Any) -> Taken:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    second, fraction, _, sign, off_hours, off_minutes = match.groups()[5:]
    ahead = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0)) * (-1 if sign == "-" else 1)
    if abs(ahead) > timedelta(hours=18) or int(off_minutes or 0) > 59:
        return None
    try:
        local = datetime(
            year, month, day, hour, minute, int(second or 0), int((fraction or "0")[:6].ljust(6, "0")), tzinfo=UTC
        )
    except ValueError:
        return None
    try:
        moment = local - ahead
    except OverflowError:
        return (None, None) if year == 1 else (datetime.max.replace(tzinfo=UTC),) * 2
    return (moment, moment) if moment >= FIRST_MOMENT else None


_TAKEN: Any = {
    Kind.TEXT: _text,
    Kind.WHOLE: _whole,
    Kind.NUMBER: _number,
    Kind.MONEY: _money,
    Kind.BOOLEAN: _boolean,
    Kind.WHOLES: _wholes,
    Kind.TIME: _time,
}
