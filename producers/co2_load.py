"""How busy sectors are: by hour of the local day, working day or weekend, and month.

Shares of the most that the sector is ever asked for. They are drawn by hand after what is commonly seen (decision
0029): they have the right peaks at the right times, and are no statistics.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR_S = 3_600
SATURDAY = 5

POWER, CEMENT, STEEL, ROAD, SHIPPING, BUILDINGS = "power", "cement", "steel", "road", "shipping", "buildings"

Curve = tuple[int, ...]
"""Percent, by hour of the day or by month."""


class Shape(NamedTuple):
    """A sector's curves."""

    workday: Curve
    weekend: Curve
    months: Curve


FLAT = (99,) * 24
FERRIES = (30, 22, 20, 20, 26, 55, 88, 95, 86, 80, 84, 90, 88, 85, 86, 90, 96, 94, 86, 76, 66, 56, 46, 38)

SHAPES = {
    POWER: Shape(  # a morning's plateau and an evening's peak
        (62, 58, 56, 55, 57, 63, 74, 86, 92, 94, 95, 96, 95, 93, 91, 90, 91, 95, 100, 99, 94, 86, 76, 68),
        (60, 56, 53, 52, 52, 54, 58, 64, 71, 77, 80, 82, 81, 78, 75, 74, 76, 82, 88, 88, 84, 78, 71, 64),
        (100, 99, 95, 90, 87, 86, 87, 87, 89, 93, 98, 100),
    ),
    CEMENT: Shape(FLAT, FLAT, (92, 94, 98, 100, 100, 100, 100, 100, 100, 100, 98, 94)),
    STEEL: Shape(FLAT, (96,) * 24, (100,) * 12),
    ROAD: Shape(  # two rush hours; at the weekend one long afternoon
        (6, 4, 3, 4, 10, 30, 70, 100, 92, 68, 60, 62, 66, 66, 70, 84, 98, 100, 82, 58, 40, 28, 18, 10),
        (9, 6, 4, 3, 4, 7, 13, 24, 40, 56, 66, 70, 70, 69, 69, 70, 71, 68, 58, 45, 34, 27, 20, 13),
        (92, 94, 97, 99, 100, 100, 98, 96, 100, 99, 97, 94),
    ),
    SHIPPING: Shape(FERRIES, FERRIES, (76, 76, 80, 88, 94, 98, 100, 100, 94, 88, 80, 78)),
    BUILDINGS: Shape(  # heat, down at night; in summer hot water alone
        (35, 33, 32, 33, 40, 65, 95, 100, 92, 80, 72, 66, 63, 62, 63, 66, 72, 78, 80, 76, 68, 58, 46, 38),
        (35, 33, 32, 32, 34, 40, 52, 62, 66, 64, 60, 57, 55, 54, 54, 56, 60, 64, 66, 64, 60, 52, 44, 38),
        (100, 96, 80, 55, 28, 12, 9, 9, 20, 48, 74, 92),
    ),
}


def demand(sector: str, zone: str, at_s: float) -> float:
    """What share of its most a sector is asked for at a moment (s since 1970), 0 to 1; continuous in time."""
    hour, within = divmod(at_s, HOUR_S)
    before, after = _at_hour(sector, zone, int(hour)), _at_hour(sector, zone, int(hour) + 1)
    return before + (after - before) * within / HOUR_S


@lru_cache(maxsize=65_536)
def _at_hour(sector: str, zone: str, hour: int) -> float:
    shape = SHAPES[sector]
    local = datetime.fromtimestamp(hour * HOUR_S, UTC).astimezone(ZoneInfo(zone))
    day = shape.weekend if local.weekday() >= SATURDAY else shape.workday
    return day[local.hour] * _month(shape.months, local) / 10_000


def _month(months: Curve, local: datetime) -> float:
    """Between the middles of two months, in percent."""
    earlier, later = local - timedelta(days=15), local + timedelta(days=15)
    if earlier.month == later.month:
        return months[local.month - 1]
    share = later.day / 30 if later.day <= 30 else 1.0
    return months[earlier.month - 1] * (1 - share) + months[later.month - 1] * share
