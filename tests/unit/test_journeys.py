"""A truck's journey from its fixes: worked out by hand, and against whole columns in pandas."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from headwater.contracts.journeys import (
    MINUTE,
    SECOND,
    Fix,
    Journey,
    Rules,
    fleet_minute,
)
from headwater.contracts.trucks import TRUCKS
from headwater.geofences import Geofence
from headwater.settings import load_settings
from jobs.trucks import JOB
from tests.trucks_reference import Box, assert_same, expected_tables

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON_US = (NOON - EPOCH) // timedelta(microseconds=1)
A_KILOMETRE = 360 / (2 * 3.141592653589793 * 6371.0088)
"""Degrees along a meridian."""

NO_AREAS = Rules()
YARD = Box("yard", "depot", -0.001, -0.001, 0.001, 0.001)
Rows = dict[Any, list[dict[str, Any]]]


def rules(*boxes: Box) -> Rules:
    return Rules(geofences=tuple(Geofence(box.name, box.kind, shape(box.geojson()["geometry"])) for box in boxes))


def fix(second: float, kilometre: float, kmh: float | None, **more: Any) -> Fix:
    """Due north of where the equator meets Greenwich, so many seconds after noon."""
    return Fix(NOON_US + round(second * SECOND), f"e{second}", kilometre * A_KILOMETRE, 0.0, kmh, **more)


def journey(fixes: Sequence[Fix], by: Rules = NO_AREAS, silences: int = 0) -> Rows:
    """All rows by table; each step from the state's bytes, as the ledger does it."""
    found: Rows = {name: [] for name in ("latest", "trips", "stops", "alerts", "minute")}
    state = Journey()
    for taken in fixes:
        state = Journey.load(orjson.dumps(state))
        for table, row in state.take("t", taken, by):
            found[table].append(row)
    for table, row in state.open_rows("t", by, silences):
        found[table].append(row)
    return found


def seconds(row: dict[str, Any], *names: str) -> tuple[float | None, ...]:
    return tuple(None if row[name] is None else (row[name] - NOON_US) / SECOND for name in names)


def test_a_trip_between_two_stops_worked_out_by_hand() -> None:
    """Ten minutes standing, 10 km in 10 minutes with half a minute at a light, then parked."""
    fixes = [
        fix(0, 0, 0), fix(300, 0, 0), fix(600, 0, 2),
        fix(660, 1, 60), fix(900, 5, 72), fix(930, 5, 0), fix(960, 5.1, 20), fix(1200, 10, 50),
        fix(1260, 10, 0), fix(1500, 10.02, 4), fix(1560, 10.02, 0),
    ]  # fmt: skip
    rows = journey(fixes)
    first, second = rows["stops"]
    assert (*seconds(first, "start_time", "end_time"), first["duration_s"], first["is_open"]) == (0, 660, 660, False)
    assert (*seconds(second, "start_time", "end_time"), second["duration_s"], second["is_open"]) == (
        1260, 1560, 300, True,
    )  # fmt: skip
    assert second["latitude"] == pytest.approx((10 + 10.02 + 10.02) / 3 * A_KILOMETRE)
    (trip,) = rows["trips"]
    assert seconds(trip, "start_time", "end_time") == (600, 1260)
    assert (trip["distance_km"], trip["duration_s"], trip["top_kmh"], trip["fixes"]) == (10.0, 660, 72, 7)
    assert trip["average_kmh"] == pytest.approx(10 / 660 * 3600)
    assert trip["idle_s"] == 60 + 30  # from the stop's last fix to the first that moves, and at the light
    assert (trip["is_open"], trip["implausible"]) == (False, 0)
    (latest,) = rows["latest"]
    assert (latest["state"], latest["event_id"]) == ("stopped", "e1560")


@pytest.mark.parametrize(
    ("last", "trips", "stops"),
    [
        (299.999, [(0, 600 + 299.999, True)], []),
        (300, [(0, 600, False)], [(600, 900, True)]),
    ],
)
def test_a_stop_is_one_from_five_minutes_on(last: float, trips: list[Any], stops: list[Any]) -> None:
    rows = journey([fix(0, 0, 60), fix(300, 5, 60), fix(600, 10, 4.99), fix(600 + last, 10, 0)])
    assert [(*seconds(row, "start_time", "end_time"), row["is_open"]) for row in rows["trips"]] == trips
    assert [(*seconds(row, "start_time", "end_time"), row["is_open"]) for row in rows["stops"]] == stops


@pytest.mark.parametrize(
    ("seconds_", "metres", "is_trip"), [(300, 500.001, True), (299, 5000, False), (3000, 499.99, False)]
)
def test_what_is_too_short_is_no_trip(seconds_: float, metres: float, is_trip: bool) -> None:
    rows = journey([fix(0, 0, 50), fix(seconds_, metres / 1000, 50)])
    assert len(rows["trips"]) == is_trip


def test_speed_is_taken_from_the_way_where_it_is_missing() -> None:
    """1 km in 12 minutes is 5 km/h and moves; 0.99 km doesn't. The first fix knows no speed."""
    assert journey([fix(0, 0, None)])["latest"][0]["state"] == "stopped"
    assert journey([fix(0, 0, None), fix(720, 1.0001, None)])["latest"][0]["state"] == "moving"
    assert journey([fix(0, 0, None), fix(720, 0.99, None)])["latest"][0]["state"] == "stopped"


def test_a_repeat_is_the_newest_record_and_nothing_else() -> None:
    rows = journey([fix(0, 0, 60), fix(600, 10, 60), Fix(NOON_US + 600 * SECOND, "again", 9.0, 9.0, 0.0)])
    assert (rows["latest"][0]["event_id"], rows["latest"][0]["latitude"]) == ("again", 9.0)
    assert rows["latest"][0]["state"] == "moving"
    assert [(row["distance_km"], row["fixes"]) for row in rows["trips"]] == [(10.0, 2)]


@pytest.mark.parametrize(("gap", "trips"), [(3600, [(0, 4200)]), (3600.001, [(0, 600)])])
def test_a_pause_ends_what_is_open(gap: float, trips: list[Any]) -> None:
    by = rules(YARD)
    fixes = [fix(0, 5, 110), fix(300, 2, 120), fix(600, 0, 110), fix(600 + gap, 0, 10)]
    rows = journey(fixes, by)
    assert [seconds(row, "start_time", "end_time") for row in rows["trips"]] == trips
    passages = [row for row in rows["alerts"] if row["kind"] == "geofence"]
    fast = [row for row in rows["alerts"] if row["kind"] == "overspeed"]
    if gap == 3600:
        assert [seconds(row, "began_at", "ended_at") for row in passages] == [(600, None)]
        assert [seconds(row, "began_at", "ended_at") for row in fast] == [(0, 4200)]
    else:
        assert [seconds(row, "began_at", "ended_at") for row in passages] == [(600, 600), (600 + gap, None)]
        assert [seconds(row, "began_at", "ended_at") for row in fast] == [(0, 600)]
    assert fast[0]["top_kmh"] == 120


def test_an_implausible_step_is_flagged_and_has_no_length() -> None:
    """7 km in two minutes are 210 km/h; 6.6 km are 198."""
    rows = journey([fix(0, 0, 90), fix(120, 6.6, 90), fix(240, 13.6, 90), fix(600, 20, 90)])
    (trip,) = rows["trips"]
    assert (trip["implausible"], trip["distance_km"]) == (1, pytest.approx(6.6 + 6.4, abs=1e-6))
    assert journey([fix(0, 0, 90), fix(120, 7, 90)])["latest"][0]["is_implausible"] is True
    jump = journey([fix(0, 0, None), fix(120, 6, None), fix(240, 600, None), fix(360, 606, None)])["trips"]
    assert jump[0]["top_kmh"] == pytest.approx(180)  # not the jump's 17,820


@pytest.mark.parametrize(
    ("fixes", "alerts"),
    [
        ([(0, 101), (29.9, 101), (40, 90)], []),
        ([(0, 101), (30, 140), (40, 90)], [(0, 40, 140)]),
        ([(0, 100), (10, 100.1), (30, 100.1), (39.9, 100), (50, 101)], []),
        ([(0, 101), (30, 101)], [(0, None, 101)]),
        ([(0, 101), (30, 101), (60, 101), (61, 50), (62, 101), (92, 130), (93, 0)], [(0, 61, 101), (62, 93, 130)]),
    ],
)
def test_overspeed_is_one_alert_from_begin_to_end(fixes: list[Any], alerts: list[Any]) -> None:
    found = journey([fix(at, at / 60, kmh) for at, kmh in fixes])["alerts"]
    assert [(*seconds(row, "began_at", "ended_at"), row["top_kmh"]) for row in found] == alerts
    assert len({row["alert_id"] for row in found}) == len(found)


def test_geofences_are_entered_and_left_once_and_their_edge_is_inside() -> None:
    shed = Box("shed", "no_go", 0.0, -1.0, 0.0005, 1.0)
    north = 0.001 / A_KILOMETRE
    rows = journey(
        [fix(0, 1, 30), fix(10, north, 30), fix(20, 0, 5), fix(30, 0.01, 5), fix(40, 1, 30)], rules(YARD, shed)
    )
    found = {(row["geofence"], row["geofence_kind"]): seconds(row, "began_at", "ended_at") for row in rows["alerts"]}
    assert found == {("yard", "depot"): (10, 40), ("shed", "no_go"): (20, 40)}
    first_inside = journey([fix(0, 0, 0)], rules(YARD))["alerts"]
    assert [seconds(row, "began_at", "ended_at") for row in first_inside] == [(0, None)]


def test_silence_makes_a_truck_offline_and_then_ends_what_is_open() -> None:
    fixes = [fix(0, 5, 60), fix(600, 0, 60)]
    by = rules(YARD)
    state = Journey()
    for taken in fixes:
        list(state.take("t", taken, by))
    assert [due - NOON_US for due in state.silences(by)] == [1_200 * SECOND + 1, 4_200 * SECOND + 1]
    for silences, state_, is_open, kinds in (
        (0, "moving", True, {"geofence": None}),
        (1, "offline", True, {"geofence": None, "offline": None}),
        (2, "offline", False, {"geofence": 600.0, "offline": None}),
    ):
        rows = journey(fixes, by, silences)
        assert (rows["latest"][0]["state"], rows["trips"][0]["is_open"]) == (state_, is_open)
        assert {row["kind"]: seconds(row, "ended_at")[0] for row in rows["alerts"]} == kinds


@pytest.mark.parametrize(("gap", "alerts"), [(600, []), (600.001, [(0, 600.001)])])
def test_ten_minutes_of_silence_between_two_fixes_are_an_alert(gap: float, alerts: list[Any]) -> None:
    found = journey([fix(0, 0, 60), fix(gap, 10, 60)])["alerts"]
    assert [seconds(row, "began_at", "ended_at") for row in found if row["kind"] == "offline"] == alerts


def test_a_minute_over_all_trucks() -> None:
    """A truck at 60 and 90 km/h, one that stands, one without a speed."""
    parts = []
    for fixes in (
        [fix(0, 0, 60), fix(30, 0.5, 90)],
        [fix(10, 3, 0)],
        [Fix(NOON_US + 20 * SECOND, "x", 1.0, 1.0)],
    ):
        parts += journey(fixes)["minute"]
    assert all(part["window_start"] % MINUTE == 0 for part in parts)
    assert fleet_minute(parts) == {"trucks": 3, "moving": 1, "distance_km": 0.5, "mean_kmh": 50.0}
    assert fleet_minute(parts[2:])["mean_kmh"] is None


def test_the_aggregate_keeps_the_fold_without_its_files() -> None:
    everything = load_settings({})
    kept, fresh = JOB.fold_of(everything), JOB.fresh_fold_of(everything)
    assert kept and kept.daily_csv is TRUCKS.table("trips")
    assert fresh and fresh.daily_csv is None
    assert fresh.tables == kept.tables


def records(fixes: Sequence[Fix]) -> list[dict[str, Any]]:
    return [
        {
            **found._asdict(), "truck_id": "t", "event_time": EPOCH + timedelta(microseconds=found.at),
            "partition": 0, "offset": n,
        }
        for n, found in enumerate(fixes)
    ]  # fmt: skip


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 10, 29, 30, 31, 60, 299, 300, 301, 600, 601, 3600, 3601]),
            # No way and time that make exactly a threshold's speed: rounding would decide.
            st.sampled_from([0, 0, 0.01, 0.3, 1.007, 5.003, 30, -1.007, -5.003]),
            st.sampled_from([None, 0, 0, 3, 5, 50, 101, 120]),
        ),
        min_size=1,
        max_size=40,
    ),
    silence=st.sampled_from([0, 600, 601, 3600, 3601]),
)
def test_any_journey_is_what_whole_columns_say(steps: list[tuple[int, float, float | None]], silence: int) -> None:
    at, place = 0, 0.0
    fixes: list[Fix] = []
    for gap, way, kmh in steps:
        at, place = at + gap, place + way
        fixes.append(fix(at, place, kmh)._replace(event_id=f"e{len(fixes)}"))
    rows = journey(fixes, rules(YARD), sum(silence > limit for limit in (600, 3600)))
    expected = expected_tables(records(fixes), NOON + timedelta(seconds=at + silence), [YARD])
    in_minutes: Rows = {part["window_start"]: [] for part in rows["minute"]}
    for part in rows.pop("minute"):
        in_minutes[part["window_start"]].append(part)
    rows["per_minute"] = [{"window_start": start, **fleet_minute(parts)} for start, parts in in_minutes.items()]
    times = ("event_time", "start_time", "end_time", "began_at", "ended_at", "window_start")
    for name, wanted in expected.items():
        typed = [
            {k: EPOCH + timedelta(microseconds=v) if k in times and v is not None else v for k, v in row.items()}
            for row in rows[name]
        ]
        assert_same(name, typed, wanted)
