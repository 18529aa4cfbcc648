"""Recorded vehicles as raw records: CapMetro's buses, and files whose columns have usual names."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from headwater.contracts.trucks import TRUCKS, Fix
from producers.delivery import encode
from producers.replay import ReplayError, contract_format, last_time, replay, survey
from producers.trucks import PRODUCER
from tests.recorded import recorded

FORMATS = (*PRODUCER.formats, contract_format(TRUCKS))
CAPMETRO = "vehicle_id,timestamp,speed,route_id,trip_id,latitude,longitude,trip_headsign\n"
BUS = "2228,2016-11-24T00:00:51-06:00,12.96416,1,1669531,30.20585,-97.774315,1-Metric/South Congress-SB\n"
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    """Write text to a file; gives its path."""

    def write(content: str) -> Path:
        path = tmp_path / "fixes.csv"
        path.write_text(content)
        return path

    return write


def records_of(path: Path, as_recorded: bool = True) -> list[dict]:
    return [r.record for r in replay([survey(path, FORMATS)], as_recorded=as_recorded)]


def as_fix(record: dict) -> Fix:
    """A record by the contract, which keeps fields that it does not know elsewhere."""
    return Fix.model_validate_json(encode({name: value for name, value in record.items() if name in Fix.model_fields}))


# --- CapMetro ------------------------------------------------------------------------------------------------------


def test_a_row_of_capmetro_becomes_a_fix(write):
    (record,) = records_of(write(CAPMETRO + BUS))

    assert record.pop("event_id").endswith("-1")
    assert record == {
        "truck_id": "2228",
        "event_time": datetime(2016, 11, 24, 6, 0, 51, tzinfo=UTC),
        "speed_kmh": 46.670976,
        "route_id": "1",
        "trip_id": "1669531",
        "latitude": 30.20585,
        "longitude": -97.774315,
        "route": "1-Metric/South Congress-SB",
    }
    assert as_fix(record).speed_kmh == 46.670976


def test_a_recorded_day_comes_whole():
    path = recorded("trucks/capmetro_2016-11-24.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False)

    records = records_of(path)

    assert len(records) == len(raw) == 24_490
    assert len({r["event_id"] for r in records}) == len(raw)
    assert [r["truck_id"] for r in records] == list(raw["vehicle_id"])
    assert [r["event_time"] for r in records] == list(pd.to_datetime(raw["timestamp"], utc=True))
    assert [r.get("route", "") for r in records] == list(raw["trip_headsign"])
    assert [r.get("route_id", "") for r in records] == list(raw["route_id"])
    for name in ("latitude", "longitude"):
        assert [r[name] for r in records] == list(raw[name].map(float))
    # Metres a second in whole hundred-thousandths, so that nothing is rounded until the division, which is exact to
    # the nearest float.
    scaled = raw["speed"].map(lambda text: round(float(text) * 100_000))
    assert [r["speed_kmh"] for r in records] == [n * 36 / 1_000_000 for n in scaled]
    assert [float(text) for text in raw["speed"]] == [n / 100_000 for n in scaled]
    for record in records[::100]:
        assert as_fix(record).truck_id == record["truck_id"]


def test_a_recorded_day_goes_out_in_the_order_of_time_and_as_recorded_does_not():
    path = recorded("trucks/capmetro_2016-11-24.csv.gz")

    ordered, as_it_is = ([r["event_time"] for r in records_of(path, as_recorded)] for as_recorded in (False, True))

    assert ordered == sorted(as_it_is)
    assert as_it_is != ordered


def test_a_recorded_night_of_eleven_rows_and_one_of_none():
    night = survey(recorded("trucks/capmetro_2016-12-18.csv"), FORMATS)
    none = survey(recorded("trucks/capmetro_2016-12-17.csv"), FORMATS)

    assert (len(night), len(none)) == (11, 0)
    assert last_time([none], None) is None
    assert list(replay([none])) == []


# --- columns by their usual names ----------------------------------------------------------------------------------

FIX = {"truck_id": "7", "latitude": 52.5, "longitude": 13.4, "event_time": NOON}


@pytest.mark.parametrize(
    ("header", "row", "more"),
    [
        ("truck_id,latitude,longitude,event_time", "7,52.5,13.4,2026-05-04T14:00:00+02:00", {}),
        ("Vehicle ID,Lat,Lng,TimeStamp", "7,52.5,13.4,2026-05-04 12:00:00", {}),  # without an offset it is UTC
        ("ts,lon,lat,device-id", "1777896000,13.4,52.5,7", {}),
        ("gps_time;x;y;unit".replace(";", ","), "1777896000000,13.4,52.5,7", {}),
        ("asset,date_time,long,latitude", "7,1777896000.0,13.4,52.5", {}),
        ("id,recorded_at,lat,lon,speed", "7,2026-05-04T12:00:00Z,52.5,13.4,72", {"speed_kmh": 72.0}),
        ("id,time,lat,lon,Speed (km/h)", "7,2026-05-04T12:00:00Z,52.5,13.4,72.5", {"speed_kmh": 72.5}),
        ("id,time,lat,lon,speed_kph", "7,2026-05-04T12:00:00Z,52.5,13.4,1e1", {"speed_kmh": 10.0}),
        ("id,time,lat,lon,mph", "7,2026-05-04T12:00:00Z,52.5,13.4,50", {"speed_kmh": 80.4672}),
        # As floats it is a hair more.
        ("id,time,lat,lon,speed_mps", "7,2026-05-04T12:00:00Z,52.5,13.4,7.59968", {"speed_kmh": 27.358848}),
        ("id,time,lat,lon,speed_knots", "7,2026-05-04T12:00:00Z,52.5,13.4,10", {"speed_kmh": 18.52}),
        ("id,time,lat,lon,speed_kn", "7,2026-05-04T12:00:00Z,52.5,13.4,fast", {"speed_kmh": "fast"}),
        (
            "id,time,lat,lon,speed,mph",
            "7,2026-05-04T12:00:00Z,52.5,13.4,n/a,50",
            {"speed_kmh": 80.4672, "speed": "n/a"},
        ),
        (
            "id,time,lat,lon,course,driver,route,cargo,fuel",
            "7,2026-05-04T12:00:00Z,52.5,13.4,271.5,Ada,A - B,,half",
            {"heading_deg": 271.5, "driver": "Ada", "route": "A - B", "fuel": "half"},
        ),
        (  # Traccar's names: `id` is of the position, and of several times that of the fix counts
            "id,deviceId,fixTime,deviceTime,serverTime,latitude,longitude,azimuth",
            "99,7,2026-05-04T12:00:00Z,2026-05-04T12:00:01Z,2026-05-04T12:00:02Z,52.5,13.4,90",
            {"id": "99", "deviceTime": "2026-05-04T12:00:01Z", "serverTime": "2026-05-04T12:00:02Z"}
            | {"heading_deg": 90.0},
        ),
        ("id,ts,lat,lon", "7,20260504120000,52.5,13.4", {"event_time": "20260504120000"}),  # neither s nor ms
        ("id,ts,lat,lon", "7,noon,north,13.4", {"event_time": "noon", "latitude": "north"}),
        ("id,ts,lat,lon,speed", "7,2026-05-04T12:00:00Z,52.5,13.4", {}),  # short
        ("event_id,id,ts,lat,lon", "mine,7,2026-05-04T12:00:00Z,52.5,13.4", {"event_id": "mine"}),
    ],
)
def test_columns_are_known_by_their_usual_names(write, header, row, more):
    (record,) = records_of(write(f"{header}\n{row}\n"))

    if "event_id" not in header:
        assert record.pop("event_id").endswith("-1")
    assert record == FIX | more


def test_a_row_that_is_cut_short_does_not_change_what_columns_mean(write):
    whole, short = records_of(write("id,time,lat,lon,vehicle_id\n1,2026-05-04T12:00:00Z,52.5,13.4,7\n2,,52.5\n"))

    assert (whole["truck_id"], whole["id"]) == ("7", "1")
    assert "truck_id" not in short
    assert short["id"] == "2"


def test_fractions_of_a_second_are_exact(write):
    seconds, millis = records_of(write("id,ts,lat,lon\n7,1777896000.123456,1,2\n7,1777896000123,1,2\n"))

    assert seconds["event_time"] == NOON.replace(microsecond=123456)
    assert millis["event_time"] == NOON.replace(microsecond=123000)


# --- files that are wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("", ["empty, it has not even a header"]),
        (
            "a,b\n1,2\n",
            [
                "no known format has these columns: a, b",
                "CapMetro vehicle positions: vehicle_id, timestamp, speed (m/s)",
                "vehicles by usual names: a vehicle (truck_id, vehicle_id,",
                "trucks by field name: truck_id, latitude, longitude and any of",
            ],
        ),
        ("vehicle_id,lat,time\n", ["no known format has these columns: vehicle_id, lat, time"]),  # no longitude
        ("vehicle_id,lat,lon\n", ["no known format has these columns: vehicle_id, lat, lon"]),
        (BUS, ["no known format has these columns: 2228, 2016-11-24T00:00:51-06:00"]),  # no header
        ("truck_id,Vehicle,lat,Latitude,lon,ts\n", ["columns lat and Latitude would both be latitude: rename or"]),
        ("truck_id,vehicle_id,lat,lon,ts\n", ["columns truck_id and vehicle_id would both be truck_id"]),
        ("id,lat,lon,ts,speed_kmh,speed_mph\n", ["columns speed_kmh and speed_mph would both be speed_kmh"]),
        ("id,lat,lon,timestamp,datetime\n", ["columns timestamp and datetime would both be event_time"]),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(write, content, messages):
    with pytest.raises(ReplayError) as error:
        survey(write(content), FORMATS)

    assert "fixes.csv: " in str(error.value)
    for message in messages:
        assert message in str(error.value)


def test_a_header_alone_is_no_rows(write):
    assert len(survey(write("id,lat,lon,ts\n"), FORMATS)) == 0


def test_our_own_names_need_no_time(write):
    (record,) = records_of(write("truck_id,latitude,longitude,speed_kmh\n7,52.5,13.4,80\n"))

    assert record.pop("event_id").endswith("-1")
    assert record == {"truck_id": "7", "latitude": 52.5, "longitude": 13.4, "speed_kmh": 80.0}
