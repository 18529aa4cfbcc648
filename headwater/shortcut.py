r"""The short way through the check, for records that are plainly good: nearly all of them.

``from_json`` into the contract's types costs a twentieth of what the casts out of a VARIANT do, but it is no
judge: it takes the last of two equal names, makes text of a number, and says neither which fields it did not
know nor which it could not read. So it is believed only where none of that can have happened, and every other
record goes the long way (``headwater.quality``), which finds the same for a good record and says why one is not
(``docs/decisions/0061-a-short-way-for-good-records.md``). That is where

- the message holds no ``]``, and no blank stands before a colon: it can't end the array that we put it in, and
  each name of its object is followed by ``":``, which stands nowhere else but in texts with escapes;
- ``":`` is counted as often as known fields were read: so no name comes twice, is unknown, is another object's,
  or has a value that is null or of another type;
- a quote follows that ``":`` as often as texts were read: so they were texts;
- every value is within the contract's limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pyspark.sql import DataFrame

from headwater.contracts.base import FieldSpec, Kind, Stream
from headwater.limits import IS_FUTURE, OWN_ID, Sql, in_range, literal, plainly
from headwater.views import SQL_TYPES

_TYPES = {
    Kind.TEXT: "STRING",
    Kind.TIME: "STRING",
    # As it is written. A number is read as a double first: fewer digits than it holds are left as they were.
    Kind.MONEY: "STRING",
    Kind.WHOLE: "BIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
}
"""What ``from_json`` reads. It has no list: its bracket sends a message the long way."""

_OPTIONS = "map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false')"
_NOT_PLAIN = ("]", " :", r"\t:", r"\n:", r"\r:", r"\\ud", r"\\uD")
"""What a plain message doesn't hold, as SQL writes it; found faster than a pattern. The last two begin a half of a
character beyond Unicode's first 65,536, or half of none.
"""
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\z"
_MONEY = r"^\d{1,8}(\.\d{1,4})?\z"


def with_plain(messages: DataFrame, stream: Stream) -> DataFrame:
    """Adds ``plain`` to raw messages: the contract's fields in its types, as a struct, where the message is
    plainly a good record; null where that takes a closer look.

    In: ``raw`` (a message's value), ``topic``, ``partition``, ``offset``, ``kafka_timestamp``.
    """
    kept = messages.columns
    fields = [field for field in stream.fields if field.kind in _TYPES]
    shape = ", ".join(f"`{field.name}`: {_TYPES[field.kind]}" for field in fields)
    is_plain = " AND ".join(
        [_is_whole(fields), _has_texts(fields), *[_is_good(field, stream) for field in fields], f"NOT {IS_FUTURE}"]
    )
    odd = " OR ".join(f"contains(text, '{part}')" for part in _NOT_PLAIN)
    plain = ", ".join(f"{_filled(field)} AS `{field.name}`" for field in stream.fields)
    return (
        messages.selectExpr(*kept, "CAST(raw AS STRING) AS text")
        .selectExpr(*kept, f"IF(is_valid_utf8(text) AND NOT ({odd}), text, NULL) AS text")
        .selectExpr(
            *kept, "text", f"from_json(concat('[', text, ']'), 'ARRAY<STRUCT<{shape}>>', {_OPTIONS}) AS objects"
        )
        .selectExpr(*kept, "text", "IF(size(objects) = 1, objects[0], NULL) AS object")
        .selectExpr(*kept, "text", "object", *[f"{_value(field, stream)} AS `{field.name}`" for field in fields])
        .selectExpr(*kept, f"IF({is_plain}, struct({plain}), NULL) AS plain")
    )


def _value(field: FieldSpec, stream: Stream) -> Sql:
    read = _read(field)
    match field.kind:
        case Kind.TIME if _is_from_seconds(field, stream):
            (seconds,) = (field for field in stream.fields if field.name == stream.event_seconds)
            held = f"{_read(seconds)} BETWEEN {seconds.minimum} AND {seconds.maximum}"
            return f"IF({held}, timestamp_seconds({_read(seconds)}), NULL)"
        case Kind.TIME:
            return f"IF({read} RLIKE r'{_TIME}', try_cast({read} AS TIMESTAMP), NULL)"
        case Kind.MONEY:
            return f"IF({read} RLIKE r'{_MONEY}', try_cast({read} AS {SQL_TYPES[Kind.MONEY]}), NULL)"
        case Kind.TEXT:
            return f"IF(trim({read}) != '', {read}, NULL)"
        case Kind.NUMBER:
            # As a VARIANT has it: -0.0 is 0.0.
            return f"{read} + 0D"
        case _:
            return read


def _read(field: FieldSpec) -> Sql:
    return f"object.`{field.name}`"


def _is_from_seconds(field: FieldSpec, stream: Stream) -> bool:
    return field.name == "event_time" and stream.event_seconds is not None


def _is_whole(fields: Sequence[FieldSpec]) -> Sql:
    """Each name of the object was read into a field of its own."""
    names = _times('":')
    return f"{names} = {_read_of(fields)}"


def _has_texts(fields: Sequence[FieldSpec]) -> Sql:
    """What should be text is: money may be, and of the other kinds no text was read."""
    texts = [field for field in fields if field.kind in (Kind.TEXT, Kind.TIME)]
    money = [field for field in fields if field.kind is Kind.MONEY]
    spelled = [f"""int(contains(text, '"{m.name}":"') OR contains(text, '"{m.name}": "'))""" for m in money]
    counted = " + ".join([_times('":"'), _times('": "')])
    return f"{counted} = {' + '.join([_read_of(texts), *spelled])}"


def _times(part: str) -> Sql:
    """How often the text holds a part."""
    return f"(octet_length(text) - octet_length(replace(text, '{part}', ''))) div {len(part)}"


def _read_of(fields: Sequence[FieldSpec]) -> Sql:
    """How many of some fields were read."""
    return " + ".join(f"int({_read(field)} IS NOT NULL)" for field in fields)


def _is_good(field: FieldSpec, stream: Stream) -> Sql:
    good = in_range(field, _clearly)
    if field.required or _is_from_seconds(field, stream):
        return good
    # A blank text counts as missing.
    missing = f"`{field.name}`" if field.kind is Kind.TEXT else _read(field)
    return f"({missing} IS NULL OR {good})"


def _clearly(field: FieldSpec, sign: str, limit: Decimal) -> Sql:
    """Money may have been rounded to its limit: which side of it it was on is for the long way to say."""
    return plainly(field, sign.rstrip("=") if field.kind is Kind.MONEY else sign, limit)


def _filled(field: FieldSpec) -> Sql:
    """A field, or what stands for it where it is missing."""
    value = f"`{field.name}`" if field.kind in _TYPES else f"CAST(NULL AS {SQL_TYPES[field.kind]})"
    default = {"event_id": OWN_ID, "event_time": "kafka_timestamp"}.get(field.name)
    if field.default is not None:
        default = literal(field.default)
    return f"coalesce({value}, {default})" if default else value
