"""notebooks/trucks.ipynb runs from top to bottom: on small tables, and on a trip that is not what its fixes say.

A hundredth of a degree of a meridian is 1.1119508 km; in a minute that is 66.717 km/h.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.contracts.trucks import TRUCKS
from tests.notebooks import Notebook

START = datetime(2016, 12, 17, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

NOTEBOOK = Notebook(
    TRUCKS,
    charts=frozenset({"trips", "stops", "distance", "overspeeds", "alerts", "minute", "map", "check"}),
    empty=("no data yet", "nobody has stopped yet", "nobody was too fast", "no alert yet"),
)


def fix(offset: int, minute: float, latitude: float, speed_kmh: float | None = 60.0, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}",
        "event_time": START + minute * MINUTE,
        "truck_id": "T1",
        "latitude": latitude,
        "longitude": 10.0,
        "speed_kmh": speed_kmh,
        "flags": [],
        "topic": TRUCKS.raw_topic,
        "partition": 0,
        "offset": offset,
        "kafka_timestamp": START,
        "processed_at": START,
    } | fields


RECORDS = [
    fix(0, 0, 50.00),
    fix(2, 2, 50.02),  # before the one that came late
    fix(1, 1, 50.01),
    fix(3, 3, 50.03, None),  # its speed follows from the way
    fix(4, 4, 50.04),
    fix(5, 5, 50.04, 0.0),  # idles for a minute
    fix(6, 6, 50.05),
    fix(7, 7, 50.60),  # not there: two steps are implausible
    fix(8, 8, 50.07),
    fix(9, 9, 50.08),
    fix(20, 4, 51.00),  # at a time that is taken
    fix(21, 30, 52.00, event_id="e0"),  # a repeat of an event
    fix(22, 3, 50.50, truck_id="T2"),
]


def trip(truck_id: str, minute: float, **fields: Any) -> dict[str, Any]:
    return {
        "truck_id": truck_id,
        "start_time": START + minute * MINUTE,
        "end_time": START + (minute + 9) * MINUTE,
        "is_open": False,
        "distance_km": 6 * 1.1119508,
        "duration_s": 540.0,
        "average_kmh": 44.5,
        "top_kmh": 66.71705,
        "idle_s": 60.0,
        "fixes": 10,
        "implausible": 2,
        "start_latitude": 50.0,
        "start_longitude": 10.0,
        "end_latitude": 50.08,
        "end_longitude": 10.0,
    } | fields


TRIPS = [
    trip("T1", 0),
    trip("T1", -1440, distance_km=500.0, duration_s=5_400.0, idle_s=0.0),  # the day before
    trip("T2", 0, is_open=True, distance_km=90.0),
]
STOPS = [
    {
        "truck_id": "T1",
        "start_time": START,
        "end_time": START + 20 * MINUTE,
        "is_open": False,
        "duration_s": 1_200.0,
        "latitude": 50.08,
        "longitude": 10.0,
    }
]
ALERTS = [
    {
        "alert_id": "a1",
        "truck_id": "T1",
        "kind": "overspeed",
        "began_at": START,
        "ended_at": START + 1.5 * MINUTE,
        "latitude": 50.0,
        "longitude": 10.0,
        "top_kmh": 117.0,
    }
]
MINUTES = [
    {
        "window_start": START + n * MINUTE,
        "window_end": START + (n + 1) * MINUTE,
        "is_final": n == 0,
        "trucks": 2,
        "moving": 1,
        "distance_km": 1.1,
        "mean_kmh": None,
    }
    for n in range(2)
]


def test_it_draws_what_the_tables_hold_and_finds_a_trip_in_its_fixes(tmp_path):
    outputs = NOTEBOOK.run(tmp_path, records=RECORDS, trips=TRIPS, stops=STOPS, alerts=ALERTS, per_minute=MINUTES)

    assert NOTEBOOK.empty_charts(outputs) == set()
    for line in ("repeats of an event_id  ", "repeats of a time  "):
        assert outputs["fixes"].split(line)[1].split("\\n")[0].split() == ["1"]
    assert "Trips of 2016-12-17" in outputs["trips"]
    distance, hours, idle = "506.67", "1.65", "0.02"
    assert f"T1            2  {distance}   {hours}        {idle}" in outputs["by-truck"]
    assert "90.0" in outputs["overspeed"]  # seconds
    assert "117.0" in outputs["overspeed"]
    assert "image/png" in outputs["map"]
    assert "trip of T1 from 08:00:00 to 08:09:00:" in outputs["check"]
    assert "they agree" in outputs["check"]


def test_it_finds_a_trip_that_its_fixes_do_not_bear_out(tmp_path):
    trips = [trip("T1", 0, distance_km=6.8, idle_s=120.0)]
    outputs = NOTEBOOK.run(tmp_path, records=RECORDS, trips=trips, stops=[], alerts=[])

    assert NOTEBOOK.empty_charts(outputs) == {"stops", "overspeeds", "alerts", "minute"}
    assert "they differ in distance_km, idle_s" in outputs["check"]
