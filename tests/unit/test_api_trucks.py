"""The API of trucks over Delta tables as the job leaves them. Distances: a degree of a meridian is 111.195080 km."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards import api
from dashboards.hub import Hub
from dashboards.raw import RawReader
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.trucks import TRUCKS
from headwater.settings import Settings
from tests.unit.test_api import no_broker

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DEGREE_KM = 111.195080


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    delta.create_tables(TRUCKS, settings.delta(TRUCKS.name, "records").parent)
    app = FastAPI()
    app.include_router(api.routes(STREAMS, settings, Hub(), RawReader(no_broker, lambda bootstrap: {})))
    with TestClient(app) as client:
        yield client


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def fix(offset: int, seconds: float, latitude: float, longitude: float = 10.0, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{offset}", "event_time": at(seconds), "truck_id": "T1", "latitude": latitude,
        "longitude": longitude, "flags": [], "topic": TRUCKS.raw_topic, "partition": 0, "offset": offset,
        "kafka_timestamp": at(offset), "processed_at": NOON,
    } | fields  # fmt: skip


def latest(truck: str, seconds: float) -> dict[str, Any]:
    return {
        "truck_id": truck, "event_id": "e", "event_time": at(seconds), "latitude": 1.0, "longitude": 10.0,
        "state": "moving", "is_implausible": False,
    }  # fmt: skip


def put(settings: Settings, table: str, *rows: dict[str, Any]) -> None:
    delta.correct(settings.delta(TRUCKS.name, table), TRUCKS.table(table), list(rows), [])


def put_records(settings: Settings, *rows: dict[str, Any]) -> None:
    """Records, and the newest of them in `latest`, as the archive does."""
    schema = delta.arrow_schema(delta.fields_of_table(TRUCKS, "records"))
    delta.append(settings.delta(TRUCKS.name, "records"), pa.Table.from_pylist(list(rows), schema), "test", 1)
    newest = {row["truck_id"]: row["event_time"] for row in sorted(rows, key=lambda row: row["event_time"])}
    put(settings, "latest", *(latest(truck, (time - NOON).total_seconds()) for truck, time in newest.items()))


def track(client: TestClient, truck: str = "T1", **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/trucks/track/{truck}", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    found: dict[str, Any] = answer.json()
    assert found["type"] == "FeatureCollection"
    return found


def geometries(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [feature["geometry"] for feature in found["features"]]


def test_trips_and_stops_of_a_truck_newest_first(client: TestClient, settings: Settings) -> None:
    where = {"start_latitude": 1.0, "start_longitude": 2.0, "end_latitude": 3.0, "end_longitude": 4.0}
    figures = {"distance_km": 12.5, "duration_s": 900.0, "average_kmh": 50.0, "idle_s": 0.0, "fixes": 9}
    trips = [
        {"truck_id": truck, "start_time": at(start), "end_time": at(start + 900), "is_open": False, "implausible": 0}
        | where | figures
        for truck, start in (("T1", 0), ("T2", 1_800), ("T1", 3_600))
    ]  # fmt: skip
    put(settings, "trips", *trips)
    put(settings, "stops", *(
        {"truck_id": truck, "start_time": at(0), "end_time": at(600), "is_open": True, "duration_s": 600.0,
         "latitude": 1.0, "longitude": 2.0} for truck in ("T1", "T2")
    ))  # fmt: skip

    everyone = client.get("/api/v1/trucks/trips").json()
    assert [(row["truck_id"], row["start_time"][11:16]) for row in everyone] == [
        ("T1", "13:00"), ("T2", "12:30"), ("T1", "12:00"),
    ]  # fmt: skip
    one = client.get("/api/v1/trucks/trips", params={"truck_id": "T1", "limit": 1, "offset": 1}).json()
    assert [(row["truck_id"], row["start_time"], row["distance_km"]) for row in one] == [
        ("T1", "2026-11-22T12:00:00Z", 12.5)
    ]
    late = client.get("/api/v1/trucks/trips", params={"truck_id": "T1", "since": at(60).isoformat()}).json()
    assert [row["start_time"] for row in late] == ["2026-11-22T13:00:00Z"]
    assert [row["truck_id"] for row in client.get("/api/v1/trucks/stops?truck_id=T2").json()] == ["T2"]
    assert client.get("/api/v1/trucks/stops?truck_id=nobody").json() == []


def test_alerts_by_truck_and_by_id(client: TestClient, settings: Settings) -> None:
    alerts = [
        {"alert_id": f"a{n}", "truck_id": f"T{n % 2}", "kind": "geofence", "began_at": at(n), "ended_at": None,
         "latitude": 1.0, "longitude": 2.0, "geofence": "Depot & yard", "geofence_kind": "depot"}
        for n in range(4)
    ]  # fmt: skip
    put(settings, "alerts", *alerts)
    assert [row["alert_id"] for row in client.get("/api/v1/trucks/alerts?truck_id=T1").json()] == ["a3", "a1"]
    (row,) = client.get("/api/v1/trucks/alerts?alert_id=a2").json()
    assert (row["geofence"], row["ended_at"]) == ("Depot & yard", None)
    assert client.get("/api/v1/trucks/alerts?alert_id=a2&truck_id=T1").json() == []


def test_latest_minutes_and_records(client: TestClient, settings: Settings) -> None:
    put_records(settings, fix(0, 0, 1.0), fix(1, 5, 1.5, truck_id="T2"), fix(2, 10, 2.0, driver="Ann"))
    put(settings, "per_minute", {
        "window_start": NOON, "window_end": at(60), "is_final": True, "trucks": 2, "moving": 1, "distance_km": 3.5,
        "mean_kmh": None,
    })  # fmt: skip
    assert [row["truck_id"] for row in client.get("/api/v1/trucks/latest").json()] == ["T2", "T1"]
    (row,) = client.get("/api/v1/trucks/latest?truck_id=T1").json()
    assert (row["event_time"], row["state"]) == ("2026-11-22T12:00:10Z", "moving")
    (minute,) = client.get("/api/v1/trucks/per_minute").json()
    assert (minute["trucks"], minute["mean_kmh"]) == (2, None)
    records = client.get("/api/v1/trucks/records?truck_id=T1").json()
    assert [(row["offset"], row["driver"]) for row in records] == [(2, "Ann"), (0, None)]
    assert client.get("/api/v1/trucks/rejected").json() == client.get("/api/v1/trucks/live").json() == []


def test_a_track_is_a_line_for_each_stretch_without_a_pause(client: TestClient, settings: Settings) -> None:
    put_records(
        settings,
        fix(0, 0, 1.0),
        fix(3, 3_600, 2.0),  # exactly an hour is no pause
        fix(1, 3_000, 1.5),  # came late
        fix(2, 7_201, 2.0),  # more than an hour after the last
        fix(9, 100, 50.0, truck_id="T2"),
    )
    first, second = track(client)["features"]
    assert first["geometry"] == {"type": "LineString", "coordinates": [[10.0, 1.0], [10.0, 1.5], [10.0, 2.0]]}
    assert first["properties"] == {
        "truck_id": "T1",
        "start": "2026-11-22T12:00:00Z",
        "end": "2026-11-22T13:00:00Z",
        "fixes": 3,
        "distance_km": pytest.approx(DEGREE_KM / 2, abs=1e-6),  # the second half at 333 km/h, which is implausible
        "times": ["2026-11-22T12:00:00Z", "2026-11-22T12:50:00Z", "2026-11-22T13:00:00Z"],
    }
    assert second["geometry"] == {"type": "Point", "coordinates": [10.0, 2.0]}
    assert (second["properties"]["fixes"], second["properties"]["distance_km"]) == (1, 0.0)
    assert second["properties"]["times"] == ["2026-11-22T14:00:01Z"]


def test_a_track_leaves_repeats_out(client: TestClient, settings: Settings) -> None:
    put_records(
        settings,
        fix(5, 60, 7.0, event_id="e0"),  # repeats an event, elsewhere and later
        fix(0, 0, 1.0),
        fix(2, 30, 9.0),  # at a time that is taken
        fix(1, 30, 2.0),
        fix(8, 90, 3.0, partition=0),
        fix(0, 90, 4.0, partition=1, event_id="other"),  # at one time the lower partition is first
    )
    (geometry,) = geometries(track(client))
    assert geometry["coordinates"] == [[10.0, 1.0], [10.0, 2.0], [10.0, 3.0]]


def test_a_track_is_cut_at_180_degrees(client: TestClient, settings: Settings) -> None:
    put_records(settings, fix(0, 0, 0.0, 179.9), fix(1, 40, 1.0, -179.7), fix(2, 80, 1.0, 179.7))
    (feature,) = track(client)["features"]
    assert feature["geometry"]["type"] == "MultiLineString"
    east, west, back = feature["geometry"]["coordinates"]
    assert east == [[179.9, 0.0], [180.0, pytest.approx(0.25)]]  # 0.1 of 0.4 degrees
    assert west == [[-180.0, pytest.approx(0.25)], [-179.7, 1.0], [-180.0, 1.0]]
    assert back == [[180.0, 1.0], [179.7, 1.0]]
    assert [len(times) for times in feature["properties"]["times"]] == [2, 3, 2]
    assert feature["properties"]["times"][0][1].startswith("2026-11-22T12:00:10")
    assert feature["properties"]["fixes"] == 3


@pytest.mark.parametrize(("begin", "end"), [(180.0, -179.9), (-180.0, 180.0), (179.9, -180.0)])
def test_a_line_that_touches_180_degrees_is_valid(
    client: TestClient, settings: Settings, begin: float, end: float
) -> None:
    put_records(settings, fix(0, 0, 0.0, begin), fix(1, 40, 0.0, end))
    (geometry,) = geometries(track(client))
    lines = geometry["coordinates"]
    assert all(len(line) >= 2 for line in lines)
    assert (lines[0][0][0], lines[-1][-1][0]) == (begin, end)
    assert all(abs(there[0] - here[0]) < 1 for line in lines for here, there in pairwise(line))


def test_a_track_is_of_the_last_day_unless_told_otherwise(client: TestClient, settings: Settings) -> None:
    day = 86_400
    put_records(settings, fix(0, -day - 1, 1.0), fix(1, -day, 2.0), fix(2, -600, 3.0), fix(3, 0, 4.0))
    assert [len(line["coordinates"]) for line in geometries(track(client))] == [2, 2]  # a Point has two numbers
    assert [g["coordinates"] for g in geometries(track(client, until=at(-600).isoformat()))] == [
        [[10.0, 1.0], [10.0, 2.0]]  # the day before ten to twelve
    ]
    (whole,) = geometries(track(client, since=at(-day).isoformat(), until=at(-1).isoformat()))[1:]
    assert whole == {"type": "Point", "coordinates": [10.0, 3.0]}
    assert track(client, since=at(1).isoformat()) == {"type": "FeatureCollection", "features": [], "truncated": False}


def test_a_track_of_too_many_fixes_ends_with_the_newest_and_says_so(client: TestClient, settings: Settings) -> None:
    put_records(settings, *(fix(n, 60 * n, n) for n in range(5)))
    cut = track(client, limit=2)
    assert cut["truncated"] is True
    assert geometries(cut)[0]["coordinates"] == [[10.0, 3.0], [10.0, 4.0]]
    rest = track(client, limit=3, until=cut["features"][0]["properties"]["start"])
    assert rest["truncated"] is False
    assert geometries(rest)[0]["coordinates"] == [[10.0, 0.0], [10.0, 1.0], [10.0, 2.0]]


def test_a_truck_s_id_may_be_any_text(client: TestClient, settings: Settings) -> None:
    put_records(settings, fix(0, 0, 1.0, truck_id="HH-A 12/7 <x>"))
    (feature,) = track(client, "HH-A%2012%2F7%20%3Cx%3E")["features"]
    assert feature["properties"]["truck_id"] == "HH-A 12/7 <x>"


def test_a_truck_that_is_not_known_is_404(client: TestClient) -> None:
    answer = client.get("/api/v1/trucks/track/T9")
    assert answer.status_code == 404
    assert "'T9'" in answer.json()["detail"]["error"]
    assert client.get("/api/v1/trucks/track/T9?limit=0").status_code == 422
    assert client.get("/api/v1/trucks/track/T9?since=yesterday").status_code == 422


AREA = """
{"type": "FeatureCollection", "features": [{
    "type": "Feature", "properties": {"name": "Yard", "kind": "depot"},
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
}]}
"""


def test_geofences_are_those_of_the_file(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "areas.geojson"
    path.write_text(AREA)
    trucks = settings.trucks.model_copy(update={"geofences": path})
    app = FastAPI()
    own = settings.model_copy(update={"trucks": trucks})
    app.include_router(api.routes(STREAMS, own, Hub(), RawReader(no_broker, lambda bootstrap: {})))
    answer = TestClient(app).get("/api/v1/trucks/geofences")
    assert answer.headers["content-type"] == "application/geo+json"
    (feature,) = answer.json()["features"]
    assert feature["properties"] == {"name": "Yard", "kind": "depot"}
    assert feature["geometry"] == {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    path.unlink()
    answer = TestClient(app).get("/api/v1/trucks/geofences")
    assert answer.status_code == 500
    assert "trucks.geofences" in answer.json()["detail"]["error"]
