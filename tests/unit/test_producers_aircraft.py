"""Simulated aircraft, and recorded answers of OpenSky replayed."""

import gzip
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import airportsdata
import orjson
import pytest

from headwater.contracts.aircraft import StateVector
from headwater.geometry import bearing_deg, distance_km
from headwater.icao24 import country_of
from headwater.settings import AircraftSettings, Settings
from producers import run
from producers.aircraft import PRODUCER
from producers.aircraft_airlines import airlines, airports
from producers.aircraft_fleet import Fleet, next_record, open_fleet
from producers.delivery import encode
from producers.opensky import FIELDS
from producers.replay import ReplayError
from tests.recorded import FOLDER, recorded

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
AIRCRAFT, HOURS, EVERY_S = 300, 3, 20


def fleet_of(size: int, seed: int | None = 1) -> Fleet:
    return open_fleet(seed, AircraftSettings(fleet=size), NOON)


def happen(fleet: Fleet, seconds: float, every_s: float) -> list[dict]:
    """What is heard within some time, where each aircraft is asked every so often."""
    rate = len(fleet.aircraft) / every_s
    return [next_record(fleet, NOON + timedelta(seconds=n / rate)) for n in range(int(seconds * rate))]


def tracks(records: list[dict]) -> dict[str, list[dict]]:
    found = defaultdict(list)
    for record in records:
        found[record["icao24"]].append(record)
    return found


@pytest.fixture(scope="module")
def hours() -> list[dict]:
    return happen(fleet_of(AIRCRAFT), HOURS * 3600, EVERY_S)


@pytest.fixture(scope="module")
def opening() -> list[dict]:
    """The first ten minutes of a small sky, closely watched."""
    return happen(fleet_of(20), 600, 5)


# --- records -------------------------------------------------------------------------------------------------------


def test_every_record_keeps_the_contract(hours):
    for record in hours[::50]:
        state = StateVector.model_validate_json(encode(record))
        assert state.event_id == f"{state.icao24}-{state.last_contact}"
        assert state.event_time.timestamp() == state.last_contact
        assert len(state.callsign) in (0, 8)
        assert state.squawk is None or (len(state.squawk) == 4 and set(state.squawk) <= set("01234567"))
        assert None not in record.values()


def test_addresses_and_callsigns_are_of_the_operators_country(hours):
    countries = {airline.designator: airline.country for airline in airlines()[0]}
    flown = Counter()
    for record in hours:
        assert country_of(record["icao24"]) == record["origin_country"]
        designator = record["callsign"][:3]
        if designator in countries and record["callsign"][3:4].isdigit():
            flown[designator] += 1
            assert countries[designator] == record["origin_country"]
    assert len(flown) > 50


def test_of_an_aircraft_each_record_is_newer_than_the_one_before(hours):
    for track in tracks(hours).values():
        assert all(a["last_contact"] < b["last_contact"] for a, b in pairwise(track))
    ages = [record["snapshot_time"] - record["last_contact"] for record in hours]
    assert 0 <= min(ages) <= max(ages) <= 41
    assert sum(age <= 2 for age in ages) / len(ages) > 0.85


def test_values_are_missing_as_they_are_in_recorded_answers(hours):
    def missing(name: str, records: list[dict]) -> float:
        return sum(name not in record for record in records) / len(records)

    flying = [record for record in hours if not record["on_ground"]]
    standing = [record for record in hours if record["on_ground"]]
    assert {missing(name, standing) for name in ("baro_altitude", "geo_altitude", "vertical_rate")} == {1.0}
    assert 0.01 < len(standing) / len(hours) < 0.25
    for name, share in {"latitude": 0.011, "baro_altitude": 0.008, "geo_altitude": 0.016}.items():
        assert missing(name, flying) == pytest.approx(share, rel=0.3)
    assert missing("squawk", hours) == pytest.approx(0.41, abs=0.08)
    assert all(("latitude" in record) == ("longitude" in record) == ("time_position" in record) for record in hours)


# --- how they fly --------------------------------------------------------------------------------------------------


def test_an_aircraft_moves_as_fast_and_whither_it_says(hours):
    checked = 0
    for track in tracks(hours).values():
        placed = [record for record in track if "latitude" in record and "velocity" in record]
        for a, b in pairwise(placed):
            seconds = b["time_position"] - a["time_position"]
            if a["on_ground"] or b["on_ground"] or not 10 <= seconds <= 40:
                continue
            way = a["latitude"], a["longitude"], b["latitude"], b["longitude"]
            speed = distance_km(*way) * 1000 / seconds
            assert speed == pytest.approx((a["velocity"] + b["velocity"]) / 2, rel=0.1, abs=4)
            # Near a pole the track turns fast; four decimals of a degree are 11 m.
            if abs(a["latitude"]) < 75 and speed > 60:
                assert abs((bearing_deg(*way) - a["true_track"] + 180) % 360 - 180) < 4
            checked += 1
    assert checked > 50_000


def test_altitude_follows_the_vertical_rate(hours):
    checked = 0
    for track in tracks(hours).values():
        high = [record for record in track if "baro_altitude" in record and "vertical_rate" in record]
        for a, b in pairwise(high):
            seconds = b["last_contact"] - a["last_contact"]
            rates = a["vertical_rate"], b["vertical_rate"]
            if 5 <= seconds <= 40 and max(rates) - min(rates) < 2:
                climbed = (b["baro_altitude"] - a["baro_altitude"]) / seconds
                assert climbed == pytest.approx(sum(rates) / 2, abs=2 + 16 / seconds)
                checked += 1
    assert checked > 50_000


def test_they_stand_at_real_airports_and_cruise_high_above(hours):
    places = [(place["lat"], place["lon"]) for place in airportsdata.load("ICAO").values()]
    standing = {
        (round(record["latitude"], 2), round(record["longitude"], 2)): record
        for record in hours
        if record.get("velocity") == 0 and "latitude" in record
    }
    assert len(standing) > 50
    for record in list(standing.values())[:25]:
        here = record["latitude"], record["longitude"]
        near = (place for place in places if abs(place[0] - here[0]) < 0.1 and abs(place[1] - here[1]) < 1)
        assert min(distance_km(*here, *place) for place in near) < 3

    phases = Counter()
    for record in hours:
        rate = record.get("vertical_rate", 0)
        phases[
            "ground" if record["on_ground"] else "climb" if rate > 1.5 else "descent" if rate < -1.5 else "cruise"
        ] += 1
    assert phases["cruise"] > phases["climb"] > len(hours) / 30
    assert phases["descent"] > len(hours) / 30
    highest = max(record.get("baro_altitude", 0) for record in hours)
    assert 11_500 < highest < 12_600
    assert max(record.get("velocity", 0) for record in hours) < 260


def test_an_airport_that_is_flown_to_is_known_and_within_reach():
    for aircraft in fleet_of(400).aircraft:
        leg = aircraft.flight.leg
        a, b = leg.origin, leg.destination
        away = distance_km(a.latitude, a.longitude, b.latitude, b.longitude)
        assert away == pytest.approx(leg.length_m / 1000)
        shortest, longest = leg.kind.range_km
        assert 1 < away <= longest
        if aircraft.flown.airline is not None:
            assert {a, b} <= set(airports().values())
            assert away >= shortest


def test_something_goes_wrong_soon(opening):
    begun = {}
    for record in opening:
        kind = record.get("squawk") if record.get("squawk") in ("7500", "7600", "7700") else None
        since = (record["event_time"] - NOON).total_seconds()
        if kind:
            begun.setdefault(kind, since)
        if record.get("vertical_rate", 0) < -25:
            begun.setdefault((record["icao24"], "steep"), since)
    assert 40 <= begun["7700"] <= 75
    assert 115 <= begun["7600"] <= 150
    assert len([key for key in begun if isinstance(key, tuple)]) == 2


# --- runs ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_flies_the_same_legs_with_the_same_airframes_in_every_run():
    one, same, other = fleet_of(50, 1), fleet_of(50, 1), fleet_of(50, 2)

    def said(fleet: Fleet) -> list[tuple]:
        return [(a.icao24, a.flight.callsign, a.flight.leg) for a in fleet.aircraft]

    assert said(one) == said(same)
    assert [icao24 for icao24, *_ in said(one)] == [icao24 for icao24, *_ in said(other)]
    assert said(one) != said(other)
    assert [a.icao24 for a in fleet_of(80, None).aircraft[:50]] == [a.icao24 for a in one.aircraft]


def test_more_records_than_aircraft_have_news_let_time_go_faster():
    fleet = fleet_of(20)

    records = [next_record(fleet, NOON) for _ in range(2_000)]

    assert len({record["event_id"] for record in records}) == 2_000
    assert 2_000 / 20 <= fleet.ahead_s < 2_000


def test_a_rate_is_the_settings():
    feed = run.feed_of(PRODUCER, run.parse(PRODUCER, ["--source", "simulate", "--seed", "1"]), Settings(), NOON)

    first, second = next(iter(feed.dues)), next(iter(feed.dues))
    assert (first, second) == (0, 1 / 200)
    assert feed.total is None


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "source"),
    [([], "auto"), (["a.json"], "replay"), (["--source", "live"], "live"), (["--source", "simulate"], "simulate")],
)
def test_sources(arguments, source):
    assert run.parse(PRODUCER, arguments).source == source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "live", "--rate", "5"], "--rate is not for --source live"),
        (["--source", "live", "--seed", "0"], "--seed is not for --source live"),
        (["--source", "auto", "a.json"], "a PATH is for --source replay, not auto"),
    ],
)
def test_options_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run.parse(PRODUCER, arguments)
    assert message in capsys.readouterr().err


def test_a_poll_that_takes_long_is_not_waited_for_when_told_to_stop():
    never, stop = threading.Event(), threading.Event()

    assert run.in_background(lambda: 7, stop.is_set) == 7
    threading.Timer(0.1, stop.set).start()
    assert run.in_background(never.wait, stop.is_set) is None
    never.set()


def test_what_goes_wrong_in_the_background_is_raised():
    with pytest.raises(ZeroDivisionError):
        run.in_background(lambda: 1 / 0, lambda: False)


# --- replay --------------------------------------------------------------------------------------------------------

LATER = ["4b1815", "SWR1    ", "Switzerland", 90, 100, 8.5, 47.4, 1000.0, False, 0.0, 0.0, 0.0, None, 1010.0, "1000",
         False, 0, 4]  # fmt: skip
EARLIER = ["3c6444", None, "Germany", None, 50, *[None] * 12]


def replayed(*arguments: object) -> list[dict]:
    return list(run.feed_of(PRODUCER, run.parse(PRODUCER, [str(a) for a in arguments]), Settings(), NOON).records)


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes | dict) -> Path:
        path = tmp_path / name
        text = orjson.dumps(content) if isinstance(content, dict) else content
        text = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write


def test_answers_are_sent_in_the_order_of_last_contact_over_all_files(write):
    first = write("b.json.gz", {"time": 110, "states": [LATER, EARLIER]})
    second = write("a.json", {"time": 170, "states": [[*LATER[:4], 70, *LATER[5:]], LATER]})

    ids = ["3c6444-50", "4b1815-70", "4b1815-100", "4b1815-100"]
    assert [r["event_id"] for r in replayed(first, second)] == ids
    assert [r["event_id"] for r in replayed(first, second, "--as-recorded")] == [ids[2], ids[0], ids[1], ids[3]]
    german = replayed(first, second, "--count", 1)
    assert german == [
        {
            "event_id": "3c6444-50",
            "event_time": datetime(1970, 1, 1, 0, 0, 50, tzinfo=UTC),
            "icao24": "3c6444",
            "origin_country": "Germany",
            "last_contact": 50,
            "snapshot_time": 110,
        }
    ]


def test_now_shifts_every_time_by_whole_seconds_with_new_ids(write):
    path = write("a.json", {"time": 110, "states": [LATER, EARLIER]})

    german, swiss = replayed(path, "--now")

    noon = int(NOON.timestamp())
    assert (swiss["last_contact"], swiss["time_position"], swiss["snapshot_time"]) == (noon, noon - 10, noon + 10)
    assert german["last_contact"] == noon - 50
    assert "time_position" not in german
    assert swiss["event_time"] == NOON
    assert swiss["event_id"].startswith("4b1815-100-")


def test_a_csv_by_field_names_has_the_same_ids(write):
    path = write(
        "a.csv", "icao24,last_contact,callsign,on_ground,baro_altitude\nabc123,60,X       ,true,\nabc124,50,,,1.5\n"
    )

    assert replayed(path) == [
        {
            "event_id": "abc124-50",
            "event_time": datetime(1970, 1, 1, 0, 0, 50, tzinfo=UTC),
            "icao24": "abc124",
            "last_contact": 50,
            "baro_altitude": 1.5,
        },
        {
            "event_id": "abc123-60",
            "event_time": datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
            "icao24": "abc123",
            "last_contact": 60,
            "callsign": "X       ",
            "on_ground": True,
        },
    ]


def test_an_answer_without_states_has_no_records_and_odd_ones_go_out_as_they_are(write):
    assert replayed(write("none.json", {"time": 5, "states": None})) == []

    odd, good = replayed(write("odd.json", {"time": 5, "states": ["odd", LATER]}))
    assert odd.pop("event_id").endswith("-1")
    assert odd == {"state": "odd", "snapshot_time": 5}
    assert good["icao24"] == "4b1815"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"time": 5, "states": [[', "not JSON"),
        ("a.json.gz", '{"time": 5', "not JSON"),
        ("a.json", '{"time": 5}', 'an answer of OpenSky has a list "states"; this has time'),
        ("a.json", '{"states": 7}', 'an answer of OpenSky has a list "states"; this has states'),
        ("a.csv", "icao24,callsign\n", "no known format has these columns: icao24, callsign"),
        ("a.json", "", "empty"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(write, name, content, message):
    with pytest.raises(ReplayError, match=message) as error:
        replayed(write(name, content))
    assert name in str(error.value)


def test_recorded_answers_come_whole_and_in_order():
    recorded("aircraft")
    paths = sorted((FOLDER / "aircraft").glob("*.json.gz"))
    answers = [orjson.loads(gzip.decompress(path.read_bytes())) for path in paths]
    raw = [(*state, answer["time"]) for answer in answers for state in answer["states"]]

    as_recorded, ordered = replayed(*paths, "--as-recorded"), replayed(*paths)

    fields = (*FIELDS, "snapshot_time")
    assert [tuple(record.get(name) for name in fields) for record in as_recorded] == raw
    heard = FIELDS.index("last_contact")
    assert [record["last_contact"] for record in ordered] == sorted(state[heard] for state in raw)
    ids = {record["event_id"] for record in ordered}
    assert ids == {f"{state[0]}-{state[heard]}" for state in raw}
    assert (len(raw), len(ids)) == (102_600, 93_893)
