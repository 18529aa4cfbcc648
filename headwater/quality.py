"""Parse a stream's raw messages and split them by its contract's rules.

One parsing function serves the live, aggregate and archive queries. A message is opened once, as a
VARIANT, because a VARIANT remembers which JSON type each value had: ``"quantity": "2"`` is text, and text
is not a whole number. Casting that VARIANT to a struct of variants costs one pass, whatever the number
of fields; the fields are then cast one by one, and a field that fails says why without taking the rest
of the record with it (``docs/decisions/0001-parse-through-variant.md``).
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headwater.contracts.base import MONEY_DECIMALS, MONEY_DIGITS, FieldSpec, Kind, Stream

AHEAD_ALLOWED = "INTERVAL 1 DAY"
"""An ``event_time`` further ahead of Kafka's timestamp than this rejects its record."""

_ISO_8601_WITH_OFFSET = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d(:?\d\d)?)\z"
_UP_TO_MINUTES = 16
"""Characters of ``2026-05-04T10:00``."""
_FIRST_MOMENT = "0001-01-02T00:00:00Z"
"""Python and Arrow have no year 0; a day later no window or offset leads there."""

_WIDE = "DECIMAL(38,18)"
"""Wide enough to compare any number that could be in range."""

_MONEY = f"DECIMAL({MONEY_DIGITS},{MONEY_DECIMALS})"
_DECIMAL_TEXT = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_SHORT_DECIMAL_TEXT = r"^\s*[+-]?(\d{1,999}(\.\d{0,999})?|\.\d{1,999})([eE][+-]?0*\d{1,3})?\s*$"
"""Spark's cast fails the job on ``1e-999999999``, and takes minutes over a million digits."""

_WHOLES = ("ARRAY<BIGINT>", "ARRAY<BIGINT>", "ARRAY<VOID>")
"""What a list of whole numbers is cast to, and how a VARIANT holds one, the empty one too."""

POSITION = ("topic", "partition", "offset", "kafka_timestamp")
"""What the account is kept by, and Kafka's clock."""


def checked(messages: DataFrame, stream: Stream) -> DataFrame:
    """A Kafka source's rows of one stream -> the contract's fields, and what is wrong with them.

    In: ``value`` (binary), ``topic``, ``partition``, ``offset``, ``timestamp``.
    Out: the contract's fields in its types, ``flags`` (optional fields that were wrong and are null
    now), ``extra`` (unknown fields, a JSON object or null), ``reasons`` (why the record is rejected;
    empty where it is valid), ``raw`` (the value as it came) and :data:`POSITION`.
    """
    return messages.transform(_opened, stream).transform(_typed, stream).transform(_judged, stream)


def valid(rows: DataFrame) -> DataFrame:
    """Checked rows -> the valid ones, without what only a rejected one needs."""
    return rows.where(F.size("reasons") == 0).drop("reasons", "raw")


def rejected_columns(stream: Stream) -> dict[str, Column]:
    """The columns of :class:`headwater.contracts.base.Rejected` but ``rejected_at`` by name, from a checked row."""
    return {
        "stream": F.lit(stream.name),
        "reasons": F.col("reasons"),
        "raw": _raw_text(),
        **{name: F.col(name) for name in POSITION},
    }


def _raw_text() -> Column:
    """A message's value as text, in base64 where it is not UTF-8."""
    text = F.col("raw").cast("string")
    unbroken = F.translate(F.base64("raw"), "\r\n", "")  # Spark breaks it into lines of 76
    return F.when(F.is_valid_utf8(text), text).otherwise(unbroken)


def _opened(messages: DataFrame, stream: Stream) -> DataFrame:
    """Each message as an object of variants, null where it isn't one JSON object.

    The parser stops after the first value. The brackets make it read to the message's end: without them
    ``{...} junk`` and ``{...}{...}`` pass for their first object and the rest is lost.
    """
    text = F.col("value").cast("string")
    shape = ", ".join(f"`{field.name}`: VARIANT" for field in stream.fields)
    parsed = F.when(F.is_valid_utf8(text) & _ends_where_it_should(text), _parse("[", text, "]"))
    return (
        messages.select(
            F.col("value").alias("raw"),
            "topic",
            "partition",
            "offset",
            F.col("timestamp").alias("kafka_timestamp"),
            parsed.alias("parsed"),
        )
        .withColumn("objects", F.expr(f"try_cast(parsed AS ARRAY<STRUCT<{shape}>>)"))
        .withColumn("object", F.when(F.size("objects") == 1, F.col("objects")[0]))
        .withColumn("unknown", _unknown_fields(stream))
        .withColumn("extra", F.when(F.cardinality("unknown") > 0, F.to_json("unknown")))
        .drop("objects", "parsed", "unknown")
    )


def _parse(before: str, text: Column, after: str) -> Column:
    return F.try_parse_json(F.concat(F.lit(before), text, F.lit(after)))


def _ends_where_it_should(text: Column) -> Column:
    """False where a message closes our bracket itself (``{...}] junk``): a brace then closes too early."""
    closes_bracket = text.contains("]") & text.rlike(r"\}\s*\]")
    return F.when(closes_bracket, _parse('{"message":', text, "}").isNotNull()).otherwise(True)


def _unknown_fields(stream: Stream) -> Column:
    """What the contract doesn't know of an object, as a map; null where it isn't one object."""
    known = ", ".join(f"'{field.name}'" for field in stream.fields)
    members = f"map_filter(try_cast(parsed AS ARRAY<MAP<STRING, VARIANT>>)[0], (k, v) -> k NOT IN ({known}))"
    return F.expr(f"CASE WHEN size(objects) = 1 THEN {members} END")


def _typed(rows: DataFrame, stream: Stream) -> DataFrame:
    """Each field cast to its kind: null where it is missing, of another type or too large to hold.

    In two steps, because Spark computes an expression that stands twice in a condition twice: first the
    text or number that a value is, then what the contract makes of it.
    """
    variants = [F.col("object")[field.name].alias(_variant(field)) for field in stream.fields]
    plain = [column for field in stream.fields for column in _plain(field)]
    kept: list[Column | str] = ["raw", "extra", *POSITION, F.col("object").isNotNull().alias("is_object")]
    values = [_cast(field).alias(field.name) for field in stream.fields]
    return rows.select(*kept, *variants).select("*", *plain).select("*", *values)


def _judged(rows: DataFrame, stream: Stream) -> DataFrame:
    """The reasons and flags of each record, its own defaults filled in, and out-of-range options nulled."""
    if stream.event_seconds:
        (seconds,) = (field for field in stream.fields if field.name == stream.event_seconds)
        rows = rows.withColumn("event_time", F.when(_in_range(seconds), F.timestamp_seconds(seconds.name)))
    required = [field for field in stream.fields if field.required]
    optional = [field for field in stream.fields if not field.required]
    future = F.when(F.col("event_time") > F.col("kafka_timestamp") + F.expr(AHEAD_ALLOWED), F.lit("future:event_time"))
    # array_compact is not compiled and has all that stands within it interpreted, so only what needs it gets there.
    none = F.array().cast("array<string>")
    is_good = F.col("is_object") & reduce(Column.__and__, map(_in_range, required)) & future.isNull()
    reasons = (
        F.when(is_good, none)
        .when(~F.col("is_object"), F.array(F.lit("not_json")))
        .otherwise(F.array_compact(F.array(*[_reason(field) for field in required], future)))
    )
    names = F.array_compact(F.array(*[F.when(_is_wrong(field), F.lit(field.name)) for field in optional]))
    flags = F.when(reduce(Column.__or__, map(_is_wrong, optional)), names).otherwise(none)
    position_id = F.concat_ws("-", "topic", "partition", "offset")
    values = {
        **{field.name: _option(field) for field in optional if _is_limited(field) or field.default is not None},
        "event_id": F.coalesce("event_id", position_id),
        "event_time": F.coalesce("event_time", "kafka_timestamp"),
    }
    return rows.select(
        *[values.get(field.name, F.col(field.name)).alias(field.name) for field in stream.fields],
        flags.alias("flags"),
        "extra",
        reasons.alias("reasons"),
        "raw",
        *POSITION,
    )


def _variant(field: FieldSpec) -> str:
    return f"variant_{field.name}"


def _text(field: FieldSpec) -> Column:
    return F.col(f"text_{field.name}")


def _number(field: FieldSpec) -> Column:
    return F.col(f"number_{field.name}")


def _plain(field: FieldSpec) -> list[Column]:
    """The text or the number that a value is, null for any other JSON type: only a string casts to BINARY."""
    variant = f"`{_variant(field)}`"
    text = F.expr(f"CAST(try_cast({variant} AS BINARY) AS STRING)").alias(f"text_{field.name}")
    as_number = "DOUBLE" if field.kind is Kind.NUMBER else _WIDE
    number = F.when(_is_number(field), F.expr(f"try_cast({variant} AS {as_number})"))
    spelled = F.expr(f"try_cast({variant} AS STRING)")
    amount = F.when(_is_number(field) | spelled.rlike(_SHORT_DECIMAL_TEXT), spelled.try_cast(_WIDE))
    match field.kind:
        case Kind.TEXT | Kind.TIME:
            return [text]
        case Kind.WHOLE | Kind.NUMBER:
            return [number.alias(f"number_{field.name}")]
        case Kind.MONEY:
            return [text, amount.alias(f"number_{field.name}")]
        case _:
            return []


def _is_number(field: FieldSpec) -> Column:
    """BIGINT, DECIMAL(...) or DOUBLE is how a VARIANT holds a JSON number."""
    return F.substring(F.schema_of_variant(_variant(field)), 1, 2).isin("BI", "DE", "DO")


def _cast(field: FieldSpec) -> Column:
    match field.kind:
        case Kind.TEXT:
            return F.when(F.trim(_text(field)) != "", _text(field))
        case Kind.WHOLE:
            return F.when(_number(field) == F.floor(_number(field)), _number(field).try_cast("BIGINT"))
        case Kind.MONEY:  # from what was written, not from the number, which would be rounded twice
            written = F.coalesce(_text(field).try_cast(_MONEY), F.expr(f"try_cast(`{_variant(field)}` AS {_MONEY})"))
            return F.when(_number(field).isNotNull(), written)
        case Kind.NUMBER:
            return F.when(F.abs(_number(field)) < float("inf"), _number(field))
        case Kind.BOOLEAN | Kind.WHOLES:
            name = _variant(field)
            as_type, *json_types = ("BOOLEAN", "BOOLEAN") if field.kind is Kind.BOOLEAN else _WHOLES
            is_one = F.schema_of_variant(name).isin(*json_types)
            return F.when(is_one, F.expr(f"try_cast(`{name}` AS {as_type})"))
        case Kind.TIME:
            moment = F.when(
                _text(field).rlike(_ISO_8601_WITH_OFFSET), _with_seconds(_text(field)).try_cast("TIMESTAMP")
            )
            return F.when(moment >= F.lit(_FIRST_MOMENT).cast("TIMESTAMP"), moment)
        case _:
            raise TypeError(f"{field.name}: a raw record can't carry {field.kind}")


def _with_seconds(time: Column) -> Column:
    """Spark's cast knows no lower case, and no offset right after the minutes."""
    minutes, rest = time.substr(1, _UP_TO_MINUTES), time.substr(_UP_TO_MINUTES + 1, 32)
    return F.upper(F.when(rest.startswith(":"), time).otherwise(F.concat(minutes, F.lit(":00"), rest)))


def _is_missing(field: FieldSpec) -> Column:
    """Absent, null, or text of nothing but blanks."""
    variant = F.col(_variant(field))
    missing = variant.isNull() | F.is_variant_null(variant)
    if field.kind in (Kind.TEXT, Kind.TIME, Kind.MONEY):
        missing |= F.coalesce(F.trim(_text(field)) == "", F.lit(False))
    return missing


def _is_of_other_type(field: FieldSpec) -> Column:
    """There, but not of the kind that the contract asks for. A number too large to hold is of its kind."""
    match field.kind:
        case Kind.WHOLE:
            return ~_is_number(field) | F.coalesce(_number(field) != F.floor(_number(field)), F.lit(False))
        case Kind.NUMBER:
            return ~_is_number(field)
        case Kind.MONEY:
            return ~_is_number(field) & ~F.coalesce(_text(field).rlike(_DECIMAL_TEXT), F.lit(False))
        case _:
            return F.col(field.name).isNull()


def _is_limited(field: FieldSpec) -> bool:
    return bool(field.choices) or field.not_zero or field.minimum is not None or field.maximum is not None


def _in_range(field: FieldSpec) -> Column:
    """Within the contract's limits; never null, so that an unheld number counts as out of range."""
    value = _number(field) if field.kind is Kind.MONEY else F.col(field.name)
    limits = [F.col(field.name).isNotNull()]
    if field.minimum is not None:
        limits.append(value >= F.lit(field.minimum))
    if field.maximum is not None:
        limits.append(value <= F.lit(field.maximum))
    if field.not_zero:
        limits.append(value != 0)
    if field.choices:
        limits.append(value.isin(*field.choices))
    return reduce(Column.__and__, limits)


def _option(field: FieldSpec) -> Column:
    """An optional field within its limits; its default where it is missing, null where it is wrong."""
    value = F.when(_in_range(field), F.col(field.name))
    return value if field.default is None else F.when(_is_missing(field), F.lit(field.default)).otherwise(value)


def _reason(field: FieldSpec) -> Column:
    """Why a required field rejects its record; null where it doesn't. Looks closer only at what fails."""
    why = (
        F.when(_is_missing(field), F.lit(f"missing:{field.name}"))
        .when(_is_of_other_type(field), F.lit(f"type:{field.name}"))
        .otherwise(F.lit(f"range:{field.name}"))
    )
    return F.when(~_in_range(field), why)


def _is_wrong(field: FieldSpec) -> Column:
    return ~_in_range(field) & ~_is_missing(field)
