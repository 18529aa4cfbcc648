"""Money is DECIMAL(18,4) in every table; sums of it run over whole units, so that adding is exact and cheap."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from headwater.contracts.base import MONEY_DECIMALS, MONEY_DIGITS

MONEY_UNITS = 10**MONEY_DECIMALS
"""Whole units in one of money."""

SATURATION = 4 * 10**18
"""Where a sum stops growing, beyond any money that can be shown: two of them still fit an integer of 64 bits."""


def saturated(units: int) -> int:
    """A sum that stops where it can't be held any more."""
    return max(-SATURATION, min(SATURATION, units))


def money(units: int) -> Decimal | None:
    """Whole units as money; none where DECIMAL(18,4) can't hold it."""
    return rounded(Decimal(units) / MONEY_UNITS)


def rounded(value: Decimal) -> Decimal | None:
    """To the decimals of money, as Spark rounds; none where DECIMAL(18,4) can't hold it."""
    value = value.quantize(Decimal(1).scaleb(-MONEY_DECIMALS), ROUND_HALF_UP)
    return value if abs(value) < Decimal(10) ** (MONEY_DIGITS - MONEY_DECIMALS) else None
