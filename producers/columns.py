"""Columns by their usual names, and units and times as files spell them: what replay of any CSV shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from producers.replay import EPOCH, ReplayError, aware, number

Aliases = Mapping[str, tuple[tuple[str, ...], ...]]
"""A field's names without case, spaces and signs, in steps: the first counts of which a header has one."""

MILLISECONDS_FROM = 100_000_000_000
"""Seconds since 1970 reach it in the year 5138, milliseconds reached it in 1973."""
_EPOCH_TIME = re.compile(r"\d{9,13}(\.\d{1,9})?", re.ASCII)


def understood(header: Sequence[str], aliases: Aliases) -> dict[str, str]:
    """Which column is which field. Raises ReplayError where two columns mean one field.

    A column that is not taken although its name is known, since a better one is there, is no field.
    """
    fields: dict[str, str] = {}
    for field, steps in aliases.items():
        for step in steps:
            named = [name for name in header if plain(name) in step]
            if len(named) > 1:
                raise ReplayError(f"columns {' and '.join(named)} would both be {field}: rename or remove all but one")
            if named:
                fields[named[0]] = field
                break
    return fields


def plain(name: str) -> str:
    """A column's name without case, spaces and signs: `Speed (km/h)` is `speedkmh`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def scaled(text: str, factor: Fraction) -> float | str:
    """The float nearest to a number in another unit; the text where it is no number."""
    if not isinstance(number(text), float):
        return text
    try:
        return float(Fraction(text.strip()) * factor)
    except OverflowError:
        return text


def timestamp(text: str) -> datetime | str:
    """ISO 8601, naive where it names no offset, or seconds or milliseconds since 1970; else the text."""
    bare = text.strip()
    if _EPOCH_TIME.fullmatch(bare):
        value = Decimal(bare)
        microseconds = value * (1_000 if value >= MILLISECONDS_FROM else 1_000_000)
        return EPOCH + timedelta(microseconds=round(microseconds))
    try:
        return datetime.fromisoformat(bare)
    except ValueError:
        return text


def utc(text: str) -> datetime | str:
    """The same, UTC where it names no offset."""
    when = timestamp(text)
    try:
        return aware(when) if isinstance(when, datetime) else when
    except OverflowError:
        return text
