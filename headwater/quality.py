"""Parse a stream's raw messages and split them by its contract's rules.

One parsing function serves the live, aggregate and archive queries. What is plainly a good record goes a short
way (``headwater.shortcut``). Any other message is opened once, as a
VARIANT, because a VARIANT remembers which JSON type each value had: ``"quantity": "2"`` is text, and text
is not a whole number. Casting that VARIANT to a struct costs one pass, whatever the number of fields; the
fields are then cast one by one, and a field that fails says why without taking the rest of the record with
it (``docs/decisions/0001-parse-through-variant.md``).

Expressions are written in SQL: one call into the JVM takes a whole step, where a Column takes one for each
operator, thousands of them before a job's first record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import FieldSpec, Kind, Stream
from headwater.limits import IS_FUTURE, OWN_ID, Sql, in_range, literal, plainly, words
from headwater.shortcut import with_plain
from headwater.views import SQL_TYPES

_ISO_8601_WITH_OFFSET = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d(:?\d\d)?)\z"
_UP_TO_MINUTES = 16
"""Characters of ``2026-05-04T10:00``."""

_WIDE = "DECIMAL(38,18)"
"""Wide enough to compare any number that could be in range."""

_MONEY = SQL_TYPES[Kind.MONEY]
_DECIMAL_TEXT = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_SHORT_DECIMAL_TEXT = r"^\s*[+-]?(\d{1,999}(\.\d{0,999})?|\.\d{1,999})([eE][+-]?0*\d{1,3})?\s*$"
"""Spark's cast fails the job on ``1e-999999999``, and takes minutes over a million digits."""

POSITION = ("topic", "partition", "offset", "kafka_timestamp")
"""What the account is kept by, and Kafka's clock."""

_KEPT = ("raw", "plain", *POSITION)
_NONE = "CAST(array() AS ARRAY<STRING>)"


def checked(messages: DataFrame, stream: Stream) -> DataFrame:
    """A Kafka source's rows of one stream -> the contract's fields, and what is wrong with them.

    In: ``value`` (binary), ``topic``, ``partition``, ``offset``, ``timestamp``.
    Out: the contract's fields in its types, ``flags`` (optional fields that were wrong and are null
    now), ``extra`` (unknown fields, a JSON object or null), ``is_valid``, ``reasons`` (why the record is
    rejected; empty where it is valid), ``raw`` (the value as it came) and :data:`POSITION`.
    """
    return (
        _quickly(messages, stream)
        .transform(_opened, stream)
        .transform(_typed, stream)
        .transform(_judged, stream)
        .transform(_merged, stream)
    )


def plain(messages: DataFrame, stream: Stream) -> DataFrame:
    """Like :func:`checked`, by the short way alone: a fraction of its plan. Where ``is_valid`` is false there are no
    fields and no reasons, and :func:`checked` has to look at the message.
    """
    return _quickly(messages, stream).selectExpr(
        *[f"plain.`{field.name}` AS `{field.name}`" for field in stream.fields],
        *(f"{_NONE} AS flags", "CAST(NULL AS STRING) AS extra", "plain IS NOT NULL AS is_valid", f"{_NONE} AS reasons"),
        *("raw", *POSITION),
    )


def _quickly(messages: DataFrame, stream: Stream) -> DataFrame:
    named = messages.selectExpr("value AS raw", "topic", "partition", "offset", "timestamp AS kafka_timestamp")
    return with_plain(named, stream)


def valid(rows: DataFrame) -> DataFrame:
    """Checked rows -> the valid ones, without what only a rejected one needs."""
    return rows.where("is_valid").drop("is_valid", "reasons", "raw")


def rejected_columns(stream: Stream) -> dict[str, Sql]:
    """The columns of :class:`headwater.contracts.base.Rejected` but ``rejected_at`` by name, from a checked row."""
    return {
        "stream": f"'{stream.name}'",
        "reasons": "reasons",
        "raw": _RAW_TEXT,
        **{name: name for name in POSITION},
    }


_RAW_TEXT = r"IF(is_valid_utf8(CAST(raw AS STRING)), CAST(raw AS STRING), translate(base64(raw), '\r\n', ''))"
"""A message's value as text; where it is not UTF-8 in base64, which Spark breaks into lines of 76."""


def _opened(messages: DataFrame, stream: Stream) -> DataFrame:
    """Each message that isn't plain as an object, null where it isn't one JSON object: ``object``, a struct of
    variants; ``texts``, a struct of bytes, since of JSON's types only a string casts to BINARY; and what stands where
    texts should, as variants again, which only the reasons and flags of a record ask for.

    The parser stops after the first value. The brackets make it read to the message's end: without them
    ``{...} junk`` and ``{...}{...}`` pass for their first object and the rest is lost.
    """
    texts = list(filter(_is_text, stream.fields))
    others = [field for field in stream.fields if field not in texts]
    known = words(field.name for field in stream.fields)
    unknown = f"map_filter(try_cast(parsed AS ARRAY<MAP<STRING, VARIANT>>)[0], (k, v) -> k NOT IN ({known}))"
    # A message that closes our bracket itself (`{...}] junk`) has a brace close too early.
    ends = r"""IF(contains(text, ']') AND text RLIKE r'\}\s*\]',
        try_parse_json(concat('{"message":', text, '}')) IS NOT NULL, true)"""
    return (
        messages.selectExpr(*_KEPT, "IF(plain IS NULL, CAST(raw AS STRING), NULL) AS text")
        .selectExpr(*_KEPT, f"IF(is_valid_utf8(text) AND {ends}, try_parse_json(concat('[', text, ']')), NULL) parsed")
        .selectExpr(
            *(*_KEPT, "parsed"),
            f"try_cast(parsed AS ARRAY<STRUCT<{_shape(others, 'VARIANT')}>>) objects",
            f"get(try_cast(parsed AS ARRAY<STRUCT<{_shape(texts, 'BINARY')}>>), 0) texts",
            f"get(try_cast(parsed AS ARRAY<STRUCT<{_shape(texts, 'VARIANT')}>>), 0) instead_of_texts",
        )
        .selectExpr(
            *(*_KEPT, "texts", "instead_of_texts", "IF(size(objects) = 1, objects[0], NULL) object"),
            f"IF(size(objects) = 1, {unknown}, NULL) unknown",
        )
        .selectExpr(
            *(*_KEPT, "texts", "instead_of_texts", "object"),
            "IF(cardinality(unknown) > 0, to_json(unknown), NULL) extra",
        )
    )


def _shape(fields: Iterable[FieldSpec], kind: str) -> Sql:
    return ", ".join(f"`{field.name}`: {kind}" for field in fields)


def _is_text(field: FieldSpec) -> bool:
    return field.kind in (Kind.TEXT, Kind.TIME)


def _typed(rows: DataFrame, stream: Stream) -> DataFrame:
    """Each field cast to its kind: null where it is missing, of another type or too large to hold.

    In two steps, because Spark computes an expression that stands twice in a condition twice: first the
    text that a value is or the type of a number, then what the contract makes of it.
    """
    variants = [
        f"{'instead_of_texts' if _is_text(field) else 'object'}.`{field.name}` AS {_variant(field)}"
        for field in stream.fields
    ]
    plain = [column for field in stream.fields for column in _plain(field)]
    values = [f"{_cast(field)} AS `{field.name}`" for field in stream.fields]
    return (
        rows.selectExpr(*_KEPT, "extra", "texts", "object IS NOT NULL AS is_object", *variants)
        .selectExpr("*", *plain)
        .selectExpr("*", *values)
    )


def _judged(rows: DataFrame, stream: Stream) -> DataFrame:
    """The reasons and flags of each record, its own defaults filled in, and out-of-range options nulled."""
    if stream.event_seconds:
        (seconds,) = (field for field in stream.fields if field.name == stream.event_seconds)
        moment = f"IF({_within(seconds)}, timestamp_seconds(`{seconds.name}`), NULL)"
        rows = rows.withColumn("event_time", F.expr(moment))
    required = [field for field in stream.fields if field.required]
    optional = [field for field in stream.fields if not field.required]
    is_valid = " AND ".join(["is_object", *map(_within, required), f"NOT {IS_FUTURE}"])
    why = _listed([*map(_reason, required), f"IF({IS_FUTURE}, 'future:event_time', NULL)"])
    is_wrong = " OR ".join(map(_is_wrong, optional))
    wrong = _listed([f"IF({_is_wrong(field)}, '{field.name}', NULL)" for field in optional])
    values = {
        **{field.name: _option(field) for field in optional},
        "event_id": f"coalesce(event_id, {OWN_ID})",
        "event_time": f"IF({_within(_spec(stream, 'event_time'))}, event_time, kafka_timestamp)",
    }
    return rows.selectExpr(
        *[f"{values.get(field.name, f'`{field.name}`')} AS `{field.name}`" for field in stream.fields],
        f"IF({is_wrong}, {wrong}, {_NONE}) AS flags",
        "extra",
        f"{is_valid} AS is_valid",
        f"CASE WHEN {is_valid} THEN {_NONE} WHEN NOT is_object THEN array('not_json') ELSE {why} END AS reasons",
        *_KEPT,
    )


def _merged(rows: DataFrame, stream: Stream) -> DataFrame:
    """What is plain as it is, and the others as they were judged."""
    return rows.selectExpr(
        *[f"IF(plain IS NULL, `{field.name}`, plain.`{field.name}`) AS `{field.name}`" for field in stream.fields],
        f"IF(plain IS NULL, flags, {_NONE}) AS flags",
        "extra",
        "plain IS NOT NULL OR is_valid AS is_valid",
        f"IF(plain IS NULL, reasons, {_NONE}) AS reasons",
        *("raw", *POSITION),
    )


def _spec(stream: Stream, name: str) -> FieldSpec:
    (field,) = (field for field in stream.fields if field.name == name)
    return field


def _listed(words: Sequence[Sql]) -> Sql:
    """Those of some words that are not null; there is one. What removes nulls from an array is not compiled, and has
    all that stands beside it interpreted.
    """
    return f"split(concat_ws(',', {', '.join(words)}), ',')"


def _variant(field: FieldSpec) -> Sql:
    return f"`variant_{field.name}`"


def _text(field: FieldSpec) -> Sql:
    return f"`text_{field.name}`"


def _type(field: FieldSpec) -> Sql:
    return f"`type_{field.name}`"


def _plain(field: FieldSpec) -> list[Sql]:
    """What its value is worked out from: the text that it is, null for any other JSON type; and of numbers the type, of
    which a VARIANT has many.
    """
    if _is_text(field):
        return [f"CAST(texts.`{field.name}` AS STRING) AS {_text(field)}"]
    if field.kind in (Kind.WHOLE, Kind.NUMBER, Kind.MONEY):
        return [f"left(schema_of_variant({_variant(field)}), 2) AS {_type(field)}"]
    return []


def _is_number(field: FieldSpec) -> Sql:
    """BIGINT, DECIMAL(...) or DOUBLE is how a VARIANT holds a JSON number."""
    return f"{_type(field)} IN ('BI', 'DE', 'DO')"


def _is_amount(field: FieldSpec, spelled: str) -> Sql:
    """A number, or text that spells one as a pattern has it."""
    return f"({_is_number(field)} OR ({_type(field)} = 'ST' AND {_spelled(field)} RLIKE r'{spelled}'))"


def _spelled(field: FieldSpec) -> Sql:
    return f"try_cast({_variant(field)} AS STRING)"


def _exact(field: FieldSpec) -> Sql:
    """A number as it was written; null where it is none, or too large to hold."""
    if field.kind is Kind.MONEY:
        return f"IF({_is_amount(field, _SHORT_DECIMAL_TEXT)}, try_cast({_spelled(field)} AS {_WIDE}), NULL)"
    return f"IF({_is_number(field)}, try_cast({_variant(field)} AS {_WIDE}), NULL)"


def _cast(field: FieldSpec) -> Sql:
    variant, text, exact = _variant(field), _text(field), _exact(field)
    casts = {
        Kind.TEXT: f"IF(trim({text}) != '', {text}, NULL)",
        Kind.TIME: f"IF({text} RLIKE r'{_ISO_8601_WITH_OFFSET}', try_cast({_with_seconds(text)} AS TIMESTAMP), NULL)",
        # Most are written as whole numbers; the others take longer.
        Kind.WHOLE: f"CASE WHEN {_type(field)} = 'BI' THEN try_cast({variant} AS BIGINT)"
        f" WHEN {exact} = floor({exact}) THEN try_cast(floor({exact}) AS BIGINT) END",
        Kind.NUMBER: f"IF({_is_number(field)}, try_cast({variant} AS DOUBLE), NULL)",
        # From what was written, not from the exact number, which would be rounded twice.
        Kind.MONEY: f"CASE WHEN {_is_number(field)} THEN try_cast({variant} AS {_MONEY})"
        f" WHEN {_is_amount(field, _SHORT_DECIMAL_TEXT)} THEN try_cast({_spelled(field)} AS {_MONEY}) END",
        Kind.BOOLEAN: f"IF(schema_of_variant({variant}) = 'BOOLEAN', try_cast({variant} AS BOOLEAN), NULL)",
        # An empty list has no type.
        Kind.WHOLES: f"IF(schema_of_variant({variant}) IN ('ARRAY<BIGINT>', 'ARRAY<VOID>'),"
        f" try_cast({variant} AS ARRAY<BIGINT>), NULL)",
    }
    if field.kind not in casts:
        raise TypeError(f"{field.name}: a raw record can't carry {field.kind}")
    return casts[field.kind]


def _with_seconds(time: Sql) -> Sql:
    """Spark's cast knows no lower case, and no offset right after the minutes."""
    rest = f"substr({time}, {_UP_TO_MINUTES + 1})"
    return f"upper(IF(startswith({rest}, ':'), {time}, concat(left({time}, {_UP_TO_MINUTES}), ':00', {rest})))"


def _is_missing(field: FieldSpec) -> Sql:
    """Absent, null, or text of nothing but blanks."""
    missing = f"{_variant(field)} IS NULL OR is_variant_null({_variant(field)})"
    if _is_text(field):
        missing += f" OR coalesce(trim({_text(field)}) = '', false)"
    if field.kind is Kind.MONEY:
        missing += f" OR ({_type(field)} = 'ST' AND trim({_spelled(field)}) = '')"
    return f"({missing})"


def _is_of_other_type(field: FieldSpec) -> Sql:
    """There, but not of the kind that the contract asks for. A number too large to hold is of its kind."""
    match field.kind:
        case Kind.WHOLE:
            return f"NOT {_is_number(field)} OR coalesce({_exact(field)} != floor({_exact(field)}), false)"
        case Kind.NUMBER:
            return f"NOT {_is_number(field)}"
        case Kind.MONEY:
            return f"NOT {_is_amount(field, _DECIMAL_TEXT)}"
        case _:
            return f"`{field.name}` IS NULL"


def _within(field: FieldSpec) -> Sql:
    return in_range(field, _compared)


def _compared(field: FieldSpec, sign: str, limit: Decimal) -> Sql:
    """A value against a limit. Money has been rounded: where that made it the limit, its exact number decides."""
    if field.kind is not Kind.MONEY:
        return plainly(field, sign, limit)
    value = f"`{field.name}`"
    return f"{value} {sign} {limit} AND ({value} != {limit} OR coalesce({_exact(field)} {sign} {limit}, false))"


def _option(field: FieldSpec) -> Sql:
    """An optional field within its limits; its default where it is missing, null where it is wrong."""
    value = f"IF({_within(field)}, `{field.name}`, NULL)"
    if field.default is None:
        return value
    return f"IF({_is_missing(field)}, {literal(field.default)}, {value})"


def _reason(field: FieldSpec) -> Sql:
    """Why a required field rejects its record; null where it doesn't. Looks closer only at what fails."""
    return (
        f"CASE WHEN {_within(field)} THEN NULL"
        f" WHEN {_is_missing(field)} THEN 'missing:{field.name}'"
        f" WHEN {_is_of_other_type(field)} THEN 'type:{field.name}'"
        f" ELSE 'range:{field.name}' END"
    )


def _is_wrong(field: FieldSpec) -> Sql:
    return f"(NOT {_within(field)} AND NOT {_is_missing(field)})"
