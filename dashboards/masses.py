"""Masses of CO2 as a person reads them: one rule for the unit, everywhere."""

from __future__ import annotations

from typing import NamedTuple

from dashboards.text import NOTHING

THIN = "\u202f"
"""Between number and unit, and between thousands: narrow, and no line breaks there."""


class Unit(NamedTuple):
    """A unit's name, and how many kg it is."""

    name: str
    kg: float


UNITS = tuple(
    Unit(name, kg) for name, kg in (("Gt", 1e12), ("Mt", 1e9), ("kt", 1e6), ("t", 1e3), ("kg", 1.0), ("g", 1e-3))
)
KG, GRAM = UNITS[-2:]


def unit_of(kg: float) -> Unit:
    """The greatest unit of which a mass is one or more, as its three digits say it; 0 is in kg."""
    shown = abs(float(f"{kg:.3g}"))
    return next((unit for unit in UNITS if shown >= unit.kg), GRAM) if shown else KG


def mass(kg: float | None) -> str:
    """Three digits and a unit: ``12.3 t``; of 0.1 g less than that, ``0.05 g``."""
    if kg is None:
        return NOTHING
    unit = unit_of(kg)
    return f"{_digits(float(f'{kg:.3g}') / unit.kg)}{THIN}{unit.name}"


def mass_rate(kg_h: float | None) -> str:
    """As a mass, an hour: ``12.3 t/h``."""
    return NOTHING if kg_h is None else f"{mass(kg_h)}/h"


def intensity(kg_mwh: float | None) -> str:
    """CO2 for each MWh, which is as many g for each kWh."""
    return NOTHING if kg_mwh is None else f"{_digits(float(f'{kg_mwh:.3g}'))}{THIN}kg/MWh"


def _digits(value: float) -> str:
    """Three digits, zeros at the end included, so that a figure doesn't change its width as it moves."""
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.1g}"
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{decimals}f}".replace(",", THIN)
