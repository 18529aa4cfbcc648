"""notebooks/aircraft.ipynb runs from top to bottom: on small tables, and where SQL, Delta and the records disagree."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headwater.contracts.aircraft import AIRCRAFT, LatestState
from tests.notebooks import Notebook, write_sql

START = datetime(2024, 4, 28, 13, 47, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

NOTEBOOK = Notebook(
    AIRCRAFT,
    charts=frozenset({"minute", "means", "country", "altitude", "speed", "map", "alerts", "same", "check"}),
    empty=("no data yet", "no alert yet"),
)


def state(offset: int, icao24: str, second: int, altitude: float | None, **fields: Any) -> dict[str, Any]:
    at = START + timedelta(seconds=second)
    return {
        "event_id": f"e{offset}", "event_time": at, "last_contact": int(at.timestamp()), "icao24": icao24,
        "longitude": 10.0, "latitude": 50.0, "baro_altitude": altitude, "velocity": 200.0, "on_ground": False,
        "flags": [], "topic": AIRCRAFT.raw_topic, "partition": 0, "offset": offset, "kafka_timestamp": START,
        "processed_at": START,
    } | fields  # fmt: skip


RECORDS = [
    state(0, "a", 30, 9_000.0),
    state(1, "a", 10, 99.0),  # came late; of the minute the record before counts
    state(2, "b", 59, 10_000.0, velocity=250.0),
    state(3, "c", 0, None, velocity=240.0),  # no altitude: in the means of velocity alone
    state(4, "d", 5, 80.0, on_ground=True, velocity=3.0),
    state(5, "e", 5, 70.0, on_ground=None),  # on the ground, or not
    state(6, "a", 60, 11_000.0),  # of the next minute
    state(7, "b", 58, 5.0, event_id="e3"),  # a repeat of an event
]


def minute(number: int, **fields: Any) -> dict[str, Any]:
    start = START + number * MINUTE
    return {"window_start": start, "window_end": start + MINUTE, "is_final": number == 0} | fields


MINUTES = [
    minute(
        0, aircraft=5, airborne=3, on_ground=1, mean_altitude=9_500.0, max_altitude=10_000.0, mean_velocity=230.0,
        max_velocity=250.0,
    ),
    minute(
        1, aircraft=1, airborne=1, on_ground=0, mean_altitude=11_000.0, max_altitude=11_000.0, mean_velocity=200.0,
        max_velocity=200.0,
    ),
]  # fmt: skip
COUNTRIES = [
    minute(0, origin_country="Germany", aircraft=4, airborne=3, mean_altitude=9_500.0, mean_velocity=230.0),
    minute(0, origin_country="unknown", aircraft=1, airborne=0, mean_altitude=None, mean_velocity=None),
]
LATEST = [
    {name: row.get(name) for name in LatestState.model_fields} | {"phase": phase}
    for row, phase in zip([RECORDS[6], *RECORDS[2:5]], ("climb", "cruise", "descent", "ground"), strict=True)
]
ALERTS = [
    {
        "alert_id": "b|7700|1", "icao24": "b", "kind": "7700", "began_at": START, "ended_at": START + 1.5 * MINUTE,
        "is_open": True, "callsign": "DLH4AB  ", "origin_country": "Germany", "latitude": 50.0, "longitude": 10.0,
        "baro_altitude": None, "steepest": None,
    }
]  # fmt: skip


def test_it_draws_what_the_tables_hold_and_finds_them_equal(tmp_path: Path) -> None:
    write_sql(tmp_path, AIRCRAFT, per_minute=MINUTES, by_country=COUNTRIES, alerts=ALERTS)
    outputs = NOTEBOOK.run(
        tmp_path, records=RECORDS, latest=LATEST, per_minute=MINUTES, by_country=COUNTRIES, alerts=ALERTS
    )
    assert NOTEBOOK.empty_charts(outputs) == set()
    assert outputs["records"].split("repeats of an event_id  ")[1].split("\\n")[0].split() == ["1"]
    assert "Aircraft by country, 2024-04-28 13:47 UTC" in outputs["country"]
    assert "90.0" in outputs["emergencies"]  # seconds
    assert "image/png" in outputs["map"]
    for name, rows in (("per_minute", 2), ("by_country", 2), ("alerts", 1)):
        assert f"aircraft_{name}: {rows} rows, as in Delta" in outputs["same"]
    assert "minute 2024-04-28 13:47:" in outputs["check"]
    assert "they agree" in outputs["check"]


def test_it_finds_what_sql_and_the_records_do_not_bear_out(tmp_path: Path) -> None:
    write_sql(
        tmp_path, AIRCRAFT,
        per_minute=[MINUTES[0] | {"max_altitude": None, "is_final": False}],
        by_country=[*COUNTRIES, COUNTRIES[0] | {"origin_country": "France"}],
    )  # fmt: skip
    minutes = [MINUTES[0] | {"mean_velocity": 230.1, "on_ground": 2}, MINUTES[1]]
    outputs = NOTEBOOK.run(tmp_path, records=RECORDS, per_minute=minutes, by_country=COUNTRIES, alerts=ALERTS)

    assert NOTEBOOK.empty_charts(outputs) == {"altitude", "speed", "map", "alerts"}
    assert (
        "aircraft_per_minute: 1 rows, 1 rows are in Delta alone; 1 values of is_final differ; "
        "1 values of on_ground differ; 1 values of max_altitude differ; 1 values of mean_velocity differ"
    ) in outputs["same"]
    assert "aircraft_by_country: 3 rows, 1 rows are in SQL alone\\n" in outputs["same"]
    assert "aircraft_alerts: 0 rows, 1 rows are in Delta alone" in outputs["same"]
    assert "they differ in on_ground, mean_velocity" in outputs["check"]
