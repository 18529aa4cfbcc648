"""The API of aircraft over rows in memory and Delta tables. A degree of a meridian is 111.195080 km."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from shapely.geometry import shape

from dashboards import api, api_aircraft
from dashboards.hub import Hub
from dashboards.raw import RawReader
from dashboards.state import FeedState
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.aircraft import AIRCRAFT, LatestState
from headwater.processed import spelled
from headwater.settings import Settings
from tests.unit.test_api import no_broker
from tests.unit.test_feed import message

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOON_S = int(NOON.timestamp())
DEGREE_KM = 111.195080


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def client(settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """At noon."""
    monkeypatch.setattr(api_aircraft, "time", SimpleNamespace(time=lambda: NOON_S + 0.25))
    delta.create_tables(AIRCRAFT, settings.delta(AIRCRAFT.name, "records").parent)
    app = FastAPI()
    app.include_router(api.routes(STREAMS, settings, hub, RawReader(no_broker, lambda bootstrap: {})))
    with TestClient(app) as client:
        yield client


def latest(
    icao24: str, seconds: int, place: tuple[float, float] | None = (10.0, 50.0), **fields: Any
) -> dict[str, Any]:
    """A row of `latest`; `place`: longitude and latitude."""
    longitude, latitude = place or (None, None)
    at = NOON + timedelta(seconds=seconds)
    return dict.fromkeys(LatestState.model_fields) | {
        "icao24": icao24, "event_id": f"{icao24}-{seconds}", "event_time": at, "last_contact": NOON_S + seconds,
        "longitude": longitude, "latitude": latitude, "on_ground": False, "phase": "cruise",
    } | fields  # fmt: skip


def put_latest(settings: Settings, *rows: dict[str, Any]) -> None:
    delta.correct(settings.delta(AIRCRAFT.name, "latest"), AIRCRAFT.table("latest"), list(rows), [])


def publish_latest(hub: Hub, *rows: dict[str, Any]) -> None:
    """As the aggregate query writes them and the feed reads them."""
    feed = FeedState(STREAMS)
    table = AIRCRAFT.table("latest")
    for row in rows:
        value = {"as_of": NOON.isoformat(), "source": "aggregate", **spelled(table, row)}
        feed.apply(message(AIRCRAFT.processed_topic, value, key=f"latest:{row['icao24']}"))
    hub.publish(feed.snapshot(NOON_S))


def now(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/aircraft/now", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    found: dict[str, Any] = answer.json()
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [feature["id"] for feature in found["features"]]


def test_what_is_up_now(client: TestClient, hub: Hub, settings: Settings) -> None:
    put_latest(settings, latest("delta0", 0))
    publish_latest(
        hub,
        latest("3c6444", -10, (9.5, 50.5), baro_altitude=10_668.0, geo_altitude=10_900.5, velocity=230.1,
               callsign="DLH4AB  ", origin_country="Germany", true_track=0.0, vertical_rate=0.0),
        latest("a00001", 0, (-73.8, 40.6), on_ground=True, phase="ground"),
        latest("nowhere", -5, None),
        latest("edge", -299), latest("gone", -301),
    )  # fmt: skip
    found = now(client)
    assert {name: value for name, value in found.items() if name != "features"} == {
        "type": "FeatureCollection", "time": "2026-11-22T12:00:00.250000Z", "without_position": 1, "matched": 3,
        "truncated": False,
    }  # fmt: skip
    assert ids(found) == ["a00001", "3c6444", "edge"]
    flying = found["features"][1]
    assert flying["geometry"] == {"type": "Point", "coordinates": [9.5, 50.5, 10_900.5]}
    assert flying["properties"] == {
        "icao24": "3c6444", "event_id": "3c6444--10", "event_time": "2026-11-22T11:59:50Z",
        "last_contact": NOON_S - 10, "age_s": 10.25, "callsign": "DLH4AB  ", "origin_country": "Germany",
        "time_position": None, "baro_altitude": 10_668.0, "geo_altitude": 10_900.5, "on_ground": False,
        "velocity": 230.1, "true_track": 0.0, "vertical_rate": 0.0, "squawk": None, "spi": None,
        "position_source": None, "category": None, "snapshot_time": None, "phase": "cruise",
    }  # fmt: skip
    assert found["features"][0]["geometry"]["coordinates"] == [-73.8, 40.6]
    assert ids(now(client, on_ground=False)) == ["3c6444", "edge"]
    assert ids(now(client, on_ground=True)) == ["a00001"]
    assert ids(now(client, max_age_s=400)) == ["a00001", "3c6444", "edge", "gone"]
    assert ids(now(client, max_age_s=5)) == ["a00001"]
    two = now(client, limit=2)
    assert (ids(two), two["matched"], two["truncated"]) == (["a00001", "3c6444"], 3, True)


def test_without_a_feed_what_is_up_now_comes_from_delta(client: TestClient, hub: Hub, settings: Settings) -> None:
    assert ids(now(client)) == []
    put_latest(settings, latest("b", -60), latest("a", -30), latest("nowhere", 0, None))
    publish_latest(hub)
    found = now(client)
    assert (ids(found), found["without_position"]) == (["a", "b"], 1)
    assert found["features"][0]["properties"]["event_time"] == "2026-11-22T11:59:30Z"


PLACES = {"fiji": (179.5, -17.0), "samoa": (-172.0, -14.0), "date line": (180.0, 0.0), "quito": (-78.5, 0.0)}


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((-20, 170, 0, -170), {"fiji", "samoa", "date line"}),
        ((-20, 170, 0, 180), {"fiji", "date line"}),
        ((-20, -170, 0, 170), {"quito"}),
        ((-15, -180, 0, 180), {"samoa", "date line", "quito"}),
        ((0, -78.5, 0, -78.5), {"quito"}),
        ((1, -180, 90, 180), set()),
    ],
)
def test_a_box_may_cross_180_degrees(client: TestClient, hub: Hub, box: tuple[float, ...], inside: set[str]) -> None:
    publish_latest(hub, *(latest(name, 0, place) for name, place in PLACES.items()), latest("nowhere", 0, None))
    found = now(client, **dict(zip(("south", "west", "north", "east"), box, strict=True)))
    assert (set(ids(found)), found["matched"], found["without_position"]) == (inside, len(inside), 1)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("south=1&west=2", "north, east missing"),
        ("south=5&west=2&north=4.5&east=3", "south (5) is above north (4.5)"),
        ("south=-91&west=2&north=4&east=3", "south"),
        ("south=1&west=181&north=4&east=3", "west"),
        ("south=nan&west=1&north=4&east=3", "south"),
        ("south=1&west=1&north=4&east=east", "east"),
        ("max_age_s=-1", "max_age_s"),
        ("max_age_s=inf", "max_age_s"),
    ],
)
def test_a_wrong_box_is_told_what_is_wrong(client: TestClient, query: str, words: str) -> None:
    answer = client.get(f"/api/v1/aircraft/now?{query}")
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert words in (detail["error"] if isinstance(detail, dict) else detail[0]["loc"])


def record(
    offset: int, seconds: float, latitude: float | None, longitude: float = 10.0, **fields: Any
) -> dict[str, Any]:
    at = NOON + timedelta(seconds=seconds)
    return {
        "event_id": f"e{offset}", "event_time": at, "icao24": "3c6444", "last_contact": int(at.timestamp()),
        "time_position": int(at.timestamp()), "latitude": latitude,
        "longitude": None if latitude is None else longitude, "flags": [], "topic": AIRCRAFT.raw_topic,
        "partition": 0, "offset": offset, "kafka_timestamp": NOON, "processed_at": NOON,
    } | fields  # fmt: skip


def put_records(settings: Settings, *rows: dict[str, Any]) -> None:
    """Records, and the newest of them in `latest`, as the archive does."""
    schema = delta.arrow_schema(delta.fields_of_table(AIRCRAFT, "records"))
    delta.append(settings.delta(AIRCRAFT.name, "records"), pa.Table.from_pylist(list(rows), schema), "test", 1)
    newest = {row["icao24"]: row["event_time"] for row in sorted(rows, key=lambda row: row["event_time"])}
    put_latest(settings, *(latest(name, int((at - NOON).total_seconds())) for name, at in newest.items()))


def track(client: TestClient, icao24: str = "3c6444", **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/aircraft/track/{icao24}", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    found: dict[str, Any] = answer.json()
    assert found["type"] == "FeatureCollection"
    for feature in found["features"]:
        shape(feature["geometry"])  # refuses a line with positions of both two and three numbers
    return found


def test_a_track_is_a_line_for_each_stretch_without_a_pause(client: TestClient, settings: Settings) -> None:
    put_records(
        settings,
        record(0, 0, 50.0, baro_altitude=1_000.0, geo_altitude=1_100.0),
        record(1, 900, 50.5, baro_altitude=3_000.0, geo_altitude=3_100.0, time_position=NOON_S + 600),
        record(2, 300, 50.25, geo_altitude=2_100.0),  # came late
        record(3, 1_190, None),  # heard, and nobody knows where
        record(4, 1_201, 51.0, time_position=None),  # ten minutes and a second after the last position
        record(9, 100, 20.0, icao24="other"),
    )
    first, second = track(client)["features"]
    assert first["geometry"] == {
        "type": "LineString",
        "coordinates": [[10.0, 50.0, 1_100.0], [10.0, 50.25, 2_100.0], [10.0, 50.5, 3_100.0]],
    }
    assert first["properties"] == {
        "icao24": "3c6444", "start": "2026-11-22T12:00:00Z", "end": "2026-11-22T12:10:00Z", "positions": 3,
        "distance_km": pytest.approx(DEGREE_KM / 2, abs=1e-5),
        "times": ["2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z", "2026-11-22T12:10:00Z"],
        "baro_altitudes": [1_000.0, None, 3_000.0], "geo_altitudes": [1_100.0, 2_100.0, 3_100.0],
    }  # fmt: skip
    assert second["geometry"] == {"type": "Point", "coordinates": [10.0, 51.0]}
    assert second["properties"]["times"] == ["2026-11-22T12:20:01Z"]
    assert (second["properties"]["distance_km"], second["properties"]["geo_altitudes"]) == (0.0, [None])


def test_a_position_that_several_records_tell_of_counts_once(client: TestClient, settings: Settings) -> None:
    put_records(
        settings,
        record(0, 0, 1.0, geo_altitude=500.0),
        record(1, 10, 1.0, time_position=NOON_S, geo_altitude=900.0),
        record(5, 60, 7.0, event_id="e0"),  # repeats an event
        record(2, 30, 2.0),
    )
    (feature,) = track(client)["features"]
    assert feature["geometry"]["coordinates"] == [[10.0, 1.0], [10.0, 2.0]]
    assert feature["properties"]["geo_altitudes"] == [500.0, None]


def test_a_track_is_cut_at_180_degrees(client: TestClient, settings: Settings) -> None:
    put_records(
        settings,
        record(0, 0, 0.0, 179.9, geo_altitude=1_000.0, baro_altitude=800.0),
        record(1, 40, 1.0, -179.7, geo_altitude=1_400.0),
    )
    (feature,) = track(client)["features"]
    assert feature["geometry"] == {
        "type": "MultiLineString",
        "coordinates": [  # 0.1 of 0.4 degrees, and so of the rest
            [[179.9, 0.0, 1_000.0], [180.0, pytest.approx(0.25), pytest.approx(1_100.0)]],
            [[-180.0, pytest.approx(0.25), pytest.approx(1_100.0)], [-179.7, 1.0, 1_400.0]],
        ],
    }
    assert feature["properties"]["baro_altitudes"] == [[800.0, None], [None, None]]
    assert feature["properties"]["times"][0][1].startswith("2026-11-22T12:00:10")
    assert feature["properties"]["positions"] == 2


def test_a_track_by_time_and_its_end_if_there_is_too_much(client: TestClient, settings: Settings) -> None:
    day = 86_400
    put_records(
        settings, *(record(n, 60 * n - 240, n) for n in range(5)), record(8, -day - 1, 8.0), record(9, -day, 9.0)
    )
    (old, line) = (feature["geometry"]["coordinates"] for feature in track(client)["features"])
    assert (old, [latitude for _, latitude in line]) == ([10.0, 9.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    times = {"since": (NOON - timedelta(seconds=120)).isoformat(), "until": NOON.isoformat()}
    (part,) = track(client, **times)["features"]
    assert part["geometry"]["coordinates"] == [[10.0, 2.0], [10.0, 3.0]]
    cut = track(client, limit=2)
    assert (cut["truncated"], cut["features"][0]["geometry"]["coordinates"]) == (True, [[10.0, 3.0], [10.0, 4.0]])
    assert track(client, limit=6)["truncated"] is False


def test_an_aircraft_that_is_not_known_is_404(client: TestClient) -> None:
    answer = client.get("/api/v1/aircraft/track/3c6444")
    assert answer.status_code == 404
    assert "'3c6444'" in answer.json()["detail"]["error"]
    assert client.get("/api/v1/aircraft/track/3c6444?limit=0").status_code == 422
    assert "now" in client.get("/api/v1/aircraft/nothing").json()["detail"]["known"]


def test_tables_by_the_text_of_their_key(client: TestClient, settings: Settings) -> None:
    minute = {"window_start": NOON, "window_end": NOON + timedelta(minutes=1), "is_final": True}
    countries = [
        minute | {"origin_country": name, "aircraft": n, "airborne": 0, "mean_altitude": None, "mean_velocity": None}
        for n, name in enumerate(("Germany", "unknown"), 1)
    ]
    delta.correct(settings.delta(AIRCRAFT.name, "by_country"), AIRCRAFT.table("by_country"), countries, [])
    put_latest(settings, latest("a", 0), latest("b", 0, callsign="B1"))
    (row,) = client.get("/api/v1/aircraft/by_country?origin_country=unknown").json()
    assert (row["aircraft"], row["mean_altitude"]) == (2, None)
    assert [row["callsign"] for row in client.get("/api/v1/aircraft/latest?icao24=b").json()] == ["B1"]
