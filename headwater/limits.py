"""A contract's limits as conditions in SQL, over columns that are named like its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from headwater.contracts.base import FieldSpec, Kind

Sql = str
"""An expression in Spark's SQL."""

_FIRST_MOMENT = "TIMESTAMP'0001-01-02 00:00:00+00:00'"
"""Python and Arrow have no year 0; a day later no window or offset leads there."""

_AHEAD_ALLOWED = "INTERVAL 1 DAY"
"""An ``event_time`` further ahead of Kafka's timestamp than this rejects its record."""

IS_FUTURE: Sql = f"coalesce(event_time > kafka_timestamp + {_AHEAD_ALLOWED}, false)"

OWN_ID: Sql = "concat_ws('-', topic, partition, offset)"
"""The identity of a record that brings none."""

Compared = Callable[[FieldSpec, str, Decimal], Sql]
"""A field's value against a limit, by a sign (``>=`` or ``<=``)."""


def plainly(field: FieldSpec, sign: str, limit: Decimal) -> Sql:
    """The comparison of a value that nothing was rounded from."""
    return f"`{field.name}` {sign} {limit}"


def in_range(field: FieldSpec, compared: Compared = plainly) -> Sql:
    """Within the contract's limits; never null, so that an unheld number counts as out of range."""
    value = f"`{field.name}`"
    limits = [f"{value} IS NOT NULL"]
    if field.kind is Kind.TIME:
        limits.append(f"{value} >= {_FIRST_MOMENT}")
    if field.kind is Kind.NUMBER:
        limits.append(f"abs({value}) < double('Infinity')")
    if field.minimum is not None:
        limits.append(compared(field, ">=", field.minimum))
    if field.maximum is not None:
        limits.append(compared(field, "<=", field.maximum))
    if field.not_zero:
        limits.append(f"{value} != 0")
    if field.choices:
        limits.append(f"{value} IN ({words(field.choices)})")
    return f"({' AND '.join(limits)})"


def literal(value: str | int) -> Sql:
    """A default as it is written in SQL."""
    return f"'{value}'" if isinstance(value, str) else f"{value}"


def words(some: Iterable[str]) -> Sql:
    """Texts of the contract's own, as the members of a list."""
    return ", ".join(f"'{word}'" for word in some)
