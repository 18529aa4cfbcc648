"""What aviation measures, in the units a reader has chosen: metric, or aeronautical as on a flight deck."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

from dashboards.text import NOTHING


class Unit(NamedTuple):
    """A unit's name, and how many of it make one of what the records have."""

    name: str
    factor: float

    def text(self, value: float | None) -> str:
        """A value of the records, in whole units."""
        return NOTHING if value is None or isnan(value) else f"{value * self.factor:,.0f} {self.name}"


@dataclass(frozen=True)
class Units:
    """Of altitudes (from m), speeds (from km/h), vertical rates (from m/s) and ways (from km)."""

    altitude: Unit
    speed: Unit
    rate: Unit
    way: Unit


METRIC, AERONAUTICAL = "metric", "aeronautical"
UNITS = {
    AERONAUTICAL: Units(
        Unit("ft", 1 / 0.3048), Unit("kt", 1 / 1.852), Unit("ft/min", 60 / 0.3048), Unit("NM", 1 / 1.852)
    ),
    METRIC: Units(Unit("m", 1.0), Unit("km/h", 1.0), Unit("m/s", 1.0), Unit("km", 1.0)),
}


def units_of(name: str) -> Units:
    """By their name; aeronautical unless metric ones are asked for."""
    return UNITS.get(name, UNITS[AERONAUTICAL])
