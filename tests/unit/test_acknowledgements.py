"""Acknowledgements from anybody: those that mean nothing are left out, and stop nothing."""

from typing import Any

import pytest

from headwater.acknowledgements import Acknowledgements
from headwater.contracts.co2 import CO2
from headwater.ledger import moment

GOOD = '{"alarm_id": "a", "acknowledged_at": "2026-05-04T10:00:00+02:00", "acknowledged_by": "Ada"}'


class Said:
    """A message as the client gives it."""

    def __init__(self, value: bytes | None) -> None:
        self.value = lambda: value
        self.timestamp = lambda: (1, 1_777_888_800_000)
        self.partition = self.offset = lambda: 0


def understood(value: str | bytes | None) -> Any:
    acknowledgements = Acknowledgements(CO2, {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"})
    try:
        return acknowledgements._understood(Said(value.encode() if isinstance(value, str) else value))  # type: ignore[arg-type]
    finally:
        acknowledgements.close()


def test_a_good_one() -> None:
    remark = understood(GOOD)
    assert remark.key == {"alarm_id": "a"}
    assert moment(remark.columns["acknowledged_at"]).isoformat() == "2026-05-04T08:00:00+00:00"


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"\xff", "null", "[]", "{}", "[" * 5_000, '{"a":' * 5_000, GOOD[:-1], GOOD + GOOD,
        GOOD.replace("Ada", ""), GOOD.replace('"Ada"', "5"), GOOD.replace("+02:00", ""),
        GOOD.replace('"a"', r'"\ud800"'),
        # years 0 and 10000 in UTC, which no row could show
        GOOD.replace("2026-05-04T10", "0001-01-01T00"),
        GOOD.replace("2026-05-04T10:00:00+02", "9999-12-31T23:59:59-05"),
    ],
)  # fmt: skip
def test_what_is_none_is_left_out(value: str | bytes | None) -> None:
    assert understood(value) is None
