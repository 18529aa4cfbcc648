"""Numbers, money, times and ages as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NOTHING = "-"
CENT = Decimal("0.01")


def money(value: Decimal | str | None) -> str:
    """To the cent, half up as tills do, and without a currency: records may mix them."""
    if value is None:
        return NOTHING
    return f"{Decimal(value).quantize(CENT, ROUND_HALF_UP):,}"


def whole(value: int | float | None) -> str:
    """With thousands separators."""
    return NOTHING if value is None else f"{value:,.0f}"


def rate(per_second: float | None) -> str:
    """Records a second, without decimals that flicker."""
    if per_second is None:
        return NOTHING
    return f"{per_second:,.1f}/s" if per_second < 100 else f"{per_second:,.0f}/s"


def duration(seconds: float | None) -> str:
    """In the unit that fits: ``45 ms``, ``1.3 s``, ``4 min``, ``2 h``, ``3 days``."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


def age(seconds: float | None) -> str:
    """How old the newest data is. Below a second nobody wants to see digits flicker."""
    if seconds is None:
        return "no data yet"
    if seconds < 2:
        return "now"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{duration(seconds)} ago"


def change(now: Decimal | int, before: Decimal | int) -> float | None:
    """Relative change; none where there is nothing to compare with."""
    return float((now - before) / abs(Decimal(before))) if before else None


def percent(share: float | None) -> str:
    """With an arrow, so that colour is never the only sign."""
    if share is None:
        return NOTHING
    if abs(share) < 0.0005:
        return "= 0.0 %"
    return f"{'▲' if share > 0 else '▼'} {abs(share) * 100:,.1f} %"


def points(difference: float | None) -> str:
    """A difference of two shares, with an arrow: a change of a percentage in percent is read as both."""
    if difference is None:
        return NOTHING
    if abs(difference) < 0.0005:
        return "= 0.0 points"
    return f"{'▲' if difference > 0 else '▼'} {abs(difference) * 100:.1f} points"


def share(part: float | None) -> str:
    """A part of a whole in percent."""
    return NOTHING if part is None else f"{part * 100:.1f} %"


def clock(iso: Any, today: datetime | None = None) -> str:
    """The time of day in UTC, and the date where it is not today's."""
    try:
        at = datetime.fromisoformat(iso).astimezone(UTC)
    except (TypeError, ValueError):
        return NOTHING
    same_day = at.date() == (today or datetime.now(UTC)).date()
    return f"{at:%H:%M:%S}" if same_day else f"{at:%Y-%m-%d %H:%M:%S}"
