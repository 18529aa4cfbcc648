"""The example of docs/reading-co2.md: what stands there is what the job's fold says of its table."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headwater.contracts.emissions import HOUR, MINUTE, SECOND, Meter, Reading, Rules, budget_days, budgets

PAGE = (Path(__file__).parents[2] / "docs" / "reading-co2.md").read_text(encoding="utf-8")
RECORD = re.compile(r"^\| (1\d):(\d\d) \|(.*)\|$", re.MULTILINE)
NOON = int(datetime(2026, 5, 4, 12, tzinfo=UTC).timestamp()) * SECOND
NEW_YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND


def number(cell: str) -> float | None:
    return float(cell.replace(",", "")) if cell else None


def readings() -> list[tuple[Reading, float | None]]:
    """The page's records, each with the rate that the page gives it."""
    found = []
    for hour, minute, rest in RECORD.findall(PAGE):
        kg, interval_s, energy_mwh, method, rate, _ = (cell.strip() for cell in rest.split("|"))
        at = NOON + (int(hour) - 12) * HOUR + int(minute) * MINUTE
        reading = Reading(
            at, float(kg), interval_s=number(interval_s), energy_mwh=number(energy_mwh), method=method or None
        )
        found.append((reading, number(rate)))
    return found


def told(allowance: float) -> tuple[dict[str, list[dict[str, Any]]], Meter, list[float | None]]:
    """What the fold says: rows by table, the meter's state at the end, the rate after each record."""
    by = Rules(limits={"stack-1": 1_000.0}, source_allowances={"stack-1": allowance})
    meter, out, rates = Meter(), [], []
    for reading, _ in readings():
        out += meter.take("stack-1", reading, by)
        rates.append(meter.rate)
    out += meter.rows("stack-1", by, is_silent=False)
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, row in out:
        rows.setdefault(table, []).append(row)
    days = [row | {"window_start": NOON - 12 * HOUR} for row in budget_days(rows["day"])]
    rows["budgets"] = list(budgets(NEW_YEAR, days, by))
    return rows, meter, rates


def test_the_rates_are_those_of_the_page() -> None:
    _, _, rates = told(1e7)
    assert len(rates) == 8
    assert rates == pytest.approx([rate for _, rate in readings()])


def test_the_hours_the_alarm_and_the_meter_are_those_of_the_page() -> None:
    rows, meter, _ = told(1e7)
    first, second = rows["per_hour"]
    assert (first["window_start"], first["emission_kg"], first["energy_mwh"]) == (NOON, 880.0, pytest.approx(0.85))
    assert (first["mean_rate_kg_h"], first["max_rate_kg_h"]) == (pytest.approx(1_056), pytest.approx(1_200))
    assert first["intensity_kg_mwh"] == pytest.approx(811.76, abs=0.005)
    assert (first["records"], first["substitute"]) == (5, 1)
    assert (second["emission_kg"], second["mean_rate_kg_h"]) == (300.0, pytest.approx(700))
    (alarm,) = rows["alarms"]
    assert [(alarm[name] - NOON) // MINUTE for name in ("began_at", "raised_at", "ended_at")] == [20, 40, 60]
    assert alarm["peak_kg_h"] == pytest.approx(1_200)
    (health,) = rows["health"]
    assert (health["state"], health["usual_interval_s"]) == ("ok", 600.0)
    assert meter.silent_at(Rules()) == [NOON + 110 * MINUTE]


def test_the_budgets_are_those_of_the_page() -> None:
    (large,), (small,) = (told(allowance)[0]["budgets"] for allowance in (1e7, 20_000.0))
    assert (large["used_kg"], large["used_share"]) == (1_180.0, pytest.approx(0.000118))
    assert large["mean_rate_kg_h"] == pytest.approx(885)
    assert (large["exhausted_on"], small["exhausted_on"]) == ("2027-08-18", "2026-05-05")
