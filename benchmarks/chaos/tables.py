"""What every table of a stream is to hold, by the independent references of the tests, and whether it does.

The references know nothing of the code that they judge: pandas and plain Python over the rows of ``records``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from benchmarks.chaos.stage import ABANDONED_MINUTES, AREAS
from headwater.settings import Settings
from tests import aircraft_reference, co2_reference, events_reference, sales_reference, trucks_reference

Row = dict[str, Any]
Tables = Mapping[str, Any]
STEPS = 1_000
"""Of the fleet in a minute, or of a truck in a trip: each is kept to the millimetre."""

Check = Callable[[Sequence[Row]], None]
"""Raises AssertionError where rows aren't the expected ones."""


def checks(stream: str, records: Sequence[Row], clock: datetime, settings: Settings) -> dict[str, Check]:
    """By table, what tells whether some rows are right at a time."""
    match stream:
        case "sales":
            return _by_key(sales_reference.expected_tables(list(records)), sales_reference.keyed)
        case "events":
            expected = events_reference.expected_tables(list(records), clock, timedelta(minutes=ABANDONED_MINUTES))
            return _by_key(expected, events_reference.keyed)
        case "trucks":
            same = partial(trucks_reference.assert_same, steps=STEPS)
            return _by_row(trucks_reference.expected_tables(records, clock, AREAS), same)
        case "aircraft":
            return _by_row(aircraft_reference.expected_tables(records), aircraft_reference.assert_same)
        case "co2":
            limits = co2_reference.Limits(
                settings.co2.limits_kg_h, settings.co2.source_allowances_kg, settings.co2.sector_allowances_kg
            )
            return _by_row(co2_reference.expected_tables(records, limits, clock), co2_reference.assert_same)
    raise ValueError(f"no reference of {stream}")


def _by_key(expected: Tables, keyed: Callable[[str, list[Row]], Any]) -> dict[str, Check]:
    def check(name: str, rows: Sequence[Row]) -> None:
        found, wanted = keyed(name, list(rows)), expected[name]
        wrong = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        assert not wrong, (
            f"{len(wrong)} of {len(wanted)} rows differ, among them {wrong[0]}: "
            f"{found.get(wrong[0])} instead of {wanted.get(wrong[0])}"
        )

    return {name: (lambda rows, name=name: check(name, rows)) for name in expected}  # type: ignore[misc]


def _by_row(expected: Tables, assert_same: Callable[[str, Sequence[Row], Any], None]) -> dict[str, Check]:
    return {
        name: (lambda rows, name=name: assert_same(name, rows, expected[name]))  # type: ignore[misc]
        for name in expected
    }
