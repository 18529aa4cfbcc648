"""Flights from their records: worked out by hand, and against whole columns in pandas."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contracts.flights import Flight, Rules, State, countries, phase, rules, sky
from headwater.settings import AircraftSettings
from tests.aircraft_reference import FIELDS, TIMES, assert_same, expected_tables

START = 1_714_312_020
"""A whole minute."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Rows = dict[str, list[dict[str, Any]]]


def state(second: int, **known: Any) -> State:
    return State((START + second) * 1_000_000, f"e{second}", START + second, **known)


def flight(states: Sequence[State], icao24: str = "3c6444") -> Rows:
    """All rows by table; each step from the state's bytes, as the ledger does it."""
    found: Rows = {"latest": [], "minute": [], "alerts": []}
    made = Flight()
    for taken in states:
        made = Flight.load(orjson.dumps(made))
        for table, row in made.take(icao24, taken, Rules()):
            found[table].append(row)
    for table, row in made.rows(icao24, Rules()):
        found[table].append(row)
    return found


@pytest.mark.parametrize(
    ("known", "is_in"),
    [
        ({"on_ground": True, "vertical_rate": 9.0}, "ground"),
        ({"on_ground": False, "vertical_rate": 1.5}, "cruise"),
        ({"on_ground": False, "vertical_rate": 1.51}, "climb"),
        ({"on_ground": False, "vertical_rate": -1.5}, "cruise"),
        ({"on_ground": None, "vertical_rate": -1.51}, "descent"),
        ({"on_ground": False, "vertical_rate": None}, "cruise"),
        ({"on_ground": False, "vertical_rate": 0.0}, "cruise"),
    ],
)
def test_phases(known: dict[str, Any], is_in: str) -> None:
    assert phase(state(0, **known), Rules()) == is_in


def test_a_minute_counts_each_aircraft_by_its_last_record_in_it() -> None:
    """Zero is a value, and nothing is none; on the ground no altitude counts."""
    parts = [
        *flight(
            [
                state(0, on_ground=True, velocity=5.0, origin_country="Germany"),
                state(59, on_ground=False, baro_altitude=0.0, velocity=80.0, origin_country="Germany"),
                state(60, on_ground=False, baro_altitude=900.0, velocity=100.0, origin_country="Germany"),
            ]
        )["minute"],
        *flight([state(30, on_ground=False, baro_altitude=1000.0, origin_country="  ")], "zz0000")["minute"],
        *flight([state(31, on_ground=True, baro_altitude=9000.0, velocity=300.0, origin_country="Malta")])["minute"],
        *flight([state(32, origin_country="Malta")])["minute"],
    ]
    first = [part for part in parts if part["window_start"] == START * 1_000_000]
    assert sky(first) == {
        "aircraft": 4, "airborne": 2, "on_ground": 1, "mean_altitude": 500.0, "max_altitude": 1000.0,
        "mean_velocity": 80.0, "max_velocity": 80.0,
    }  # fmt: skip
    assert countries(first) == [
        {"origin_country": "Germany", "aircraft": 1, "airborne": 1, "mean_altitude": 0.0, "mean_velocity": 80.0},
        {"origin_country": "Malta", "aircraft": 2, "airborne": 0, "mean_altitude": None, "mean_velocity": None},
        {"origin_country": "unknown", "aircraft": 1, "airborne": 1, "mean_altitude": 1000.0, "mean_velocity": None},
    ]


@pytest.mark.parametrize(
    ("squawks", "cases"),
    [
        ([(0, "7700")], [(0, 0, True)]),
        ([(0, "1000"), (10, "7700"), (20, None), (30, "7700"), (40, "1000")], [(10, 30, False)]),
        ([(0, "7700"), (10, "1000"), (20, "7700"), (30, None)], [(0, 0, False), (20, 20, True)]),
        ([(0, "7700"), (3600, "7700"), (7201, "7700")], [(0, 3600, False), (7201, 7201, True)]),
        ([(0, "7600"), (10, "7700")], [(0, 0, False), (10, 10, True)]),
    ],
)
def test_an_emergency_is_one_alert_from_its_first_record_to_its_last(squawks: list[Any], cases: list[Any]) -> None:
    rows = flight([state(at, squawk=code, latitude=float(at)) for at, code in squawks])["alerts"]
    assert [
        (row["began_at"] // 1_000_000 - START, row["ended_at"] // 1_000_000 - START, row["is_open"]) for row in rows
    ] == cases
    assert [row["latitude"] for row in rows] == [began for began, _, _ in cases]


def test_a_descent_is_steep_beyond_25_metres_a_second() -> None:
    rates = [-25.0, -25.1, None, -40.0, -30.0, -25.0]
    (row,) = flight([state(n, vertical_rate=rate) for n, rate in enumerate(rates)])["alerts"]
    assert (row["kind"], row["began_at"], row["ended_at"]) == (
        "steep_descent", (START + 1) * 1_000_000, (START + 4) * 1_000_000,
    )  # fmt: skip
    assert (row["steepest"], row["is_open"]) == (-40.0, False)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 20, 59, 60, 61, 3600, 3601]),
            st.sampled_from([None, "1000", "7500", "7700", "7700"]),
            st.sampled_from([None, 0.0, 1.5, 2.0, -25.0, -26.0, -50.0]),
            st.sampled_from([None, True, False, False]),
            st.sampled_from([None, 0.0, 1234.5]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_flight_is_what_whole_columns_say(steps: list[tuple[Any, ...]]) -> None:
    second, states = 0, []
    for n, (gap, squawk, rate, ground, altitude) in enumerate(steps):
        second += gap
        known = {"squawk": squawk, "vertical_rate": rate, "on_ground": ground, "baro_altitude": altitude}
        states.append(state(second, **known, origin_country="Norway")._replace(event_id=f"e{n}"))
    records = [
        {**dict.fromkeys(FIELDS), **taken._asdict(), "icao24": "3c6444", "partition": 0, "offset": n}
        for n, taken in enumerate(states)
    ]
    rows = flight(states)
    minutes = {part["window_start"]: part for part in rows.pop("minute")}
    rows["per_minute"] = [{"window_start": at, **sky([part])} for at, part in minutes.items()]
    rows["by_country"] = [{"window_start": at, **row} for at, part in minutes.items() for row in countries([part])]
    for name, wanted in expected_tables(records).items():
        typed = [
            {k: EPOCH + timedelta(microseconds=v) if k in TIMES else v for k, v in row.items()} for row in rows[name]
        ]
        assert_same(name, typed, wanted)


def test_other_thresholds_of_the_settings() -> None:
    by = rules(AircraftSettings(level_mps=3, steep_mps=10, silence_seconds=60))
    assert [phase(state(0, vertical_rate=rate), by) for rate in (2.9, 3.1)] == ["cruise", "climb"]
    made, rows = Flight(), []
    for second in (0, 50, 120):
        rows += made.take("3c6444", state(second, vertical_rate=-11.0), by)
    (ended,) = (row for table, row in rows if table == "alerts")
    assert [(ended[name] // 1_000_000 - START) for name in ("began_at", "ended_at")] == [0, 50]
