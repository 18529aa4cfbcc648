"""notebooks/co2.ipynb runs from top to bottom: on small tables and files, and where the CSV is not what counts."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headwater.contracts.co2 import CO2
from headwater.csvfiles import day_file, write_rows
from headwater.settings import Settings
from tests.notebooks import Notebook

START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)  # a Monday
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

NOTEBOOK = Notebook(
    CO2,
    charts=frozenset({"calendar", "load", "factor", "alarms-chart", "health-chart", "burn", "check"}),
    empty=("no data yet", "no source says its energy", "no alarm yet", "no allowance is set"),
)


def record(offset: int, at: datetime, kg: float, source_id: str = "=a", **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}", "event_time": at, "source_id": source_id, "emission_kg": kg, "flags": [],
        "topic": CO2.raw_topic, "partition": 0, "offset": offset, "kafka_timestamp": START, "processed_at": START,
    } | fields  # fmt: skip


RECORDS = [
    record(0, START, 900.0, energy_mwh=1.0, fuel="coal"),
    record(1, START + 90 * MINUTE, 300.0, energy_mwh=0.5, fuel="coal", method="substitute"),
    record(2, START + 30 * MINUTE, 200.5),  # came late, and says neither energy nor fuel
    record(3, START - DAY, 50.0, "b", energy_mwh=0.25, fuel="gas"),
    record(4, START + 5 * MINUTE, 7.0, "b"),
    record(5, START + HOUR, 999.0, event_id="e0"),  # a repeat of an event
]


def hour(start: datetime, source_id: str, kg: float, energy: float | None, of_energy: float, records: int) -> Any:
    return {
        "window_start": start, "window_end": start + HOUR, "is_final": True, "source_id": source_id, "emission_kg": kg,
        "energy_mwh": energy, "intensity_kg_mwh": of_energy / energy if energy else None, "mean_rate_kg_h": None,
        "max_rate_kg_h": None, "records": records, "substitute": 0,
    }  # fmt: skip


HOURS = [
    hour(START, "=a", 1_100.5, 1.0, 900.0, 2),
    hour(START + HOUR, "=a", 300.0, 0.5, 300.0, 1),
    hour(START - DAY, "b", 50.0, 0.25, 50.0, 1),
    hour(START, "b", 7.0, None, 0.0, 1),
]
TOTALS = [
    {
        "source_id": source_id, "emission_kg": kg, "records": 3, "first_event": START,
        "last_event": START + 90 * MINUTE, "fuel": fuel,
    }
    for source_id, kg, fuel in (("=a", 1_400.5, "coal"), ("b", 57.0, None))
]  # fmt: skip
ALARM = {
    "alarm_id": "=a|1", "source_id": "=a", "limit_kg_h": 100.0, "began_at": START, "raised_at": START + 2 * MINUTE,
    "ended_at": None, "peak_kg_h": 125.0, "acknowledged_at": None, "acknowledged_by": None,
}  # fmt: skip
HEALTH = {"source_id": "b", "state": "silent", "since": START, "last_event": START, "usual_interval_s": 60.0, "gaps": 1}
BUDGETS = [
    {
        "budget": "source:=a", "year": 2026, "source_id": "=a", "sector": None, "allowance_kg": 5_602.0,
        "used_kg": 1_400.5, "used_share": 0.25, "mean_rate_kg_h": 1.0, "exhausted_on": None, "last_event": START,
    }
]  # fmt: skip
BUDGET_DAYS = [
    {
        "window_start": START.replace(hour=0), "window_end": START.replace(hour=0) + DAY, "is_final": True,
        "budget": "source:=a", "emission_kg": 1_400.5, "since": START, "last_event": START,
    }
]  # fmt: skip


def write_csv(home: Path, masses: tuple[float, ...], energies: tuple[float | None, ...]) -> None:
    """The day's files of the source, in two parts."""
    times = (START, START + 30 * MINUTE, START + 90 * MINUTE)
    rows = [
        [at.isoformat().replace("+00:00", "Z"), "=a", kg, energy, "NA"]
        for at, kg, energy in zip(times, masses, energies, strict=True)
    ]
    header = ["event_time", "source_id", "emission_kg", "energy_mwh", "country"]
    for part, some in enumerate((rows[:2], rows[2:]), 1):
        write_rows(Settings(home=home).csv("co2") / day_file("readings", "2026-05-04", "=a", part), header, some)


def test_it_draws_what_the_tables_hold_and_finds_a_day_in_its_files(tmp_path: Path) -> None:
    write_csv(tmp_path, (900.0, 200.5, 300.0), (1.0, None, 0.5))
    outputs = NOTEBOOK.run(
        tmp_path, records=RECORDS, per_hour=HOURS, totals=TOTALS, alarms=[ALARM], health=[HEALTH], budgets=BUDGETS,
        budget_days=BUDGET_DAYS,
    )  # fmt: skip
    assert NOTEBOOK.empty_charts(outputs) == set()
    for line, count in (("repeats of an event_id  ", "1"), ("substitute values  ", "1"), ("without energy  ", "2")):
        assert outputs["readings"].split(line)[1].split("\\n")[0].split() == [count]
    for fuel, figures in (("coal", [1, 2, 1_200, 1.5, 800]), ("gas", [1, 1, 50, 0.25, 200])):
        line = outputs["fuel"].split(f"\\n{fuel} ")[1].split("\\n")[0]
        assert [float(cell) for cell in re.findall(r"[\d.]+", line)] == figures
    assert "0.25" in outputs["alarms"]  # a quarter above the limit
    assert "1.5 " in outputs["alarms"]  # hours, up to the last reading
    assert "=a on 2026-05-04:" in outputs["check"]
    assert re.search(r"emission_kg +1400.5 +1400.5 +1400.5", outputs["check"])
    assert "they agree" in outputs["check"]


def test_it_finds_a_file_that_the_records_do_not_bear_out(tmp_path: Path) -> None:
    write_csv(tmp_path, (900.0, 300.0, 200.5), (None, None, None))  # the sum is right
    hours = [row | {"energy_mwh": None, "intensity_kg_mwh": None} for row in HOURS]
    outputs = NOTEBOOK.run(tmp_path, records=[row | {"energy_mwh": None} for row in RECORDS], per_hour=hours)
    assert NOTEBOOK.empty_charts(outputs) == {"load", "factor", "alarms-chart", "health-chart", "burn"}
    assert "they differ in single rows" in outputs["check"]
