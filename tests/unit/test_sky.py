"""The tracker of aircraft: live states in, the newest of each out; expected values are written down, not worked out."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from itertools import pairwise, permutations
from math import isnan
from typing import Any

import orjson
import pytest

from dashboards.sky import ALARMS, CODES, KEEP_PLACES, MEASURES, Sky, SkyTracker
from dashboards.state import FeedState, Health, Link, Message
from headwater.contracts.aircraft import AIRCRAFT, STATUS_KEY
from headwater.contracts.flights import Rules
from headwater.topics import STATUS_TOPIC
from tests.map_frames import decoded

T0 = 1_795_327_200
GROUND, CLIMB, CRUISE, DESCENT = range(4)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def state(at: int, icao24: str = "a", **given: Any) -> dict[str, Any]:
    """A live record; `at` is seconds after T0, and when it came unless told otherwise."""
    return {
        "icao24": icao24, "last_contact": T0 + at, "time_position": T0 + at, "latitude": 52.0, "longitude": 5.0,
        "velocity": 200.0, "true_track": 90.0, "baro_altitude": 10_000.0, "geo_altitude": 10_200.0,
        "vertical_rate": 0.0, "on_ground": False, "callsign": f"{icao24.upper():8}", "origin_country": "Chile",
        "squawk": "1000", "category": 4, "position_source": 0, "snapshot_time": None, "topic": "aircraft_topic",
        "partition": 0, "offset": at, "kafka_timestamp": iso(T0 + given.pop("came", at)), **given,
    }  # fmt: skip


def tracked(*rows: dict[str, Any], **options: Any) -> SkyTracker:
    tracker = SkyTracker(Rules(), **options)
    for row in rows:
        tracker.apply(row, T0)
    return tracker


def shown(tracker: SkyTracker, version: int = 0, now: float = T0 + 100) -> dict[str, dict[str, Any]]:
    """What a frame holds, by the names that came with it."""
    update = tracker.changes(version, now)
    assert update.frame is not None
    names = dict(row[:2] for row in tracker.changes(0, now).names)
    return {names[number]: row for number, row in decoded(update.frame, MEASURES, CODES)[1].items()}


def test_nothing_yet() -> None:
    tracker = SkyTracker(Rules())
    assert tracker.view(T0) == Sky()
    assert (tracker.aircraft("a"), tracker.places("a"), tracker.trails(9, 0)) == (None, [], {})
    update = tracker.changes(0, T0)
    assert (update.names, update.version) == ([], 0)
    assert decoded(update.frame or b"", MEASURES, CODES)[1] == {}


def test_the_greatest_last_contact_then_the_greatest_offset_in_any_order_of_arrival() -> None:
    rows = [state(10), state(20, latitude=52.2, offset=7), state(20, latitude=52.3, offset=9), state(15, offset=99)]
    for order in permutations(rows):
        found = tracked(*order)
        assert (found.aircraft("a") or {})["offset"] == 9
        assert shown(found)["a"]["latitude"] == 52.3


def test_a_frame_byte_by_byte() -> None:
    """200 m/s are 720 km/h."""
    tracker = tracked(state(5, time_position=T0 + 3, squawk="7700", category=None, position_source=2))
    update = tracker.changes(0, T0 + 9.5)
    assert update.names == [[0, "a", "A", "Chile", "7700"]]
    assert update.frame == (
        b"HWM1" + struct.pack("<I", 1) + struct.pack("<3d", (T0 + 9.5) * 1e3, (T0 + 3) * 1e3, (T0 + 5) * 1e3)
        + struct.pack("<Iii", 0, 50_000_000, 520_000_000) + struct.pack("<5f", 720, 90, 10_000, 10_200, 0)
        + bytes([CRUISE, ALARMS.index("7700"), 255, 2])
    )  # fmt: skip


def test_what_is_not_known() -> None:
    nothing = dict.fromkeys(
        ("time_position", "latitude", "longitude", "velocity", "true_track", "baro_altitude", "geo_altitude",
         "vertical_rate", "on_ground", "callsign", "origin_country", "squawk", "category", "position_source")
    )  # fmt: skip
    tracker = tracked(state(5, **nothing))
    assert tracker.changes(0, T0).names == [[0, "a", "", None, None]]
    (row,) = shown(tracker).values()
    assert row["latitude"] * 1e7 == -(2**31)
    assert all(isnan(row[name]) for name in ("speed", "heading", *MEASURES))
    assert (row["state"], row["mark"], row["category"], row["source"]) == (CRUISE, 0, 255, 255)
    assert tracker.view(T0 + 6) == Sky(aircraft=1, airborne=1, without_position=1)
    assert tracker.places("a") == []


def test_zero_is_a_value() -> None:
    zeros = dict.fromkeys(("latitude", "longitude", "velocity", "true_track", "baro_altitude"), 0.0)
    (row,) = shown(tracked(state(5, **zeros, category=0))).values()
    assert [row[name] for name in ("latitude", "longitude", "speed", "heading", "baro", "category")] == [0] * 6


def test_a_state_without_a_position_keeps_the_last_one_which_ages() -> None:
    tracker = tracked(state(10), state(40, latitude=None, longitude=None, time_position=None, baro_altitude=9_000.0))
    row = shown(tracker)["a"]
    assert (row["time"], row["heard"]) == ((T0 + 10) * 1e3, (T0 + 40) * 1e3)
    assert (row["latitude"], row["baro"]) == (52.0, 9_000)


def test_what_was_recorded_is_shown_as_if_it_were_true_when_it_came() -> None:
    """Heard 4 s, and placed 9 s before its answer, which came two years later, at T0 + 100."""
    old = T0 - 63_072_000
    row = state(100, last_contact=old - 4, time_position=old - 9, snapshot_time=old)
    found = shown(tracked(row), now=T0 + 101)["a"]
    assert (found["heard"], found["time"]) == ((T0 + 96) * 1e3, (T0 + 91) * 1e3)
    late = shown(tracked(state(100, last_contact=T0 - 200, time_position=T0 - 210, snapshot_time=T0 + 95)))["a"]
    assert (late["heard"], late["time"]) == ((T0 - 200) * 1e3, (T0 - 210) * 1e3)


@pytest.mark.parametrize(
    ("given", "phase", "alarm"),
    [
        ({"on_ground": True, "vertical_rate": -3.0}, GROUND, ""),
        ({"vertical_rate": 1.5}, CRUISE, ""),
        ({"vertical_rate": 1.6}, CLIMB, ""),
        ({"vertical_rate": -25.0}, DESCENT, ""),
        ({"vertical_rate": -25.1}, DESCENT, "steep_descent"),
        ({"vertical_rate": -25.1, "squawk": "7600"}, DESCENT, "7600"),
    ],
)
def test_phases_and_alarms(given: dict[str, Any], phase: int, alarm: str) -> None:
    row = shown(tracked(state(1, **given)))["a"]
    assert (row["state"], ALARMS[int(row["mark"])]) == (phase, alarm)


def test_only_what_changed_goes_to_who_has_the_rest() -> None:
    tracker = tracked(state(1, "a"), state(1, "b"))
    version = tracker.changes(0, T0 + 2).version
    assert tracker.changes(version, T0 + 2).frame is None
    tracker.apply(state(2, "b", squawk="2000"), T0)
    assert tracker.changes(version, T0 + 2).names == [[1, "b", "B", "Chile", "2000"]]
    assert list(shown(tracker, version)) == ["b"]


def test_who_comes_is_not_told_of_the_long_gone_whom_the_names_still_know() -> None:
    tracker = tracked(state(0, "a"), state(1_000, "b"))
    assert list(shown(tracker, now=T0 + 1_201)) == ["b"]
    assert tracker.view(T0 + 1_010, 60) == Sky(aircraft=1, airborne=1, altitudes=(10_000.0,))


def test_garbage_is_passed_over() -> None:
    tracker = tracked({"icao24": "a"}, state(1, last_contact="soon"), state(2, velocity="fast"), state(3, offset=None))
    assert tracker.view(T0) == Sky()


def test_places_every_ten_seconds_and_no_more_than_are_kept() -> None:
    tracker = tracked(*(state(at, longitude=at / 100) for at in range(0, 10 * KEEP_PLACES + 50, 2)))
    places = tracker.places("a")
    assert len(places) == KEEP_PLACES
    assert {round(b.time - a.time) for a, b in pairwise(places)} == {10}
    assert list(places[-1]) == pytest.approx([T0 + 1_240, 12.4, 52, 10_000, 720, 0])
    assert [place[2] for place in tracker.trails(2, T0)["a"]] == [(T0 + 1_230) * 1e3, (T0 + 1_240) * 1e3]
    tracker.apply(state(5_000), T0)
    assert len(tracker.places("a")) == 1, "after half an hour another flight begins"


def test_ten_thousand_aircraft_and_who_was_silent_for_longest_makes_room() -> None:
    tracker = tracked(*(state(number % 7, f"{number:06x}") for number in range(10_000)), most_aircraft=10_000)
    assert len(shown(tracker)) == 10_000
    frame = tracker.changes(0, T0 + 100).frame or b""
    assert len(frame) == 16 + 52 * 10_000
    version = tracker.changes(0, T0 + 100).version
    tracker.apply(state(50, "new"), T0)
    assert tracker.view(T0 + 100).aircraft == 10_000
    assert tracker.aircraft("000000") is None
    assert tracker.changes(version, T0 + 100).names == [[0, "new", "NEW", "Chile", "1000"]]
    assert len(tracker.places("new")) == 1


def test_what_the_producer_says_of_itself_is_kept_and_gives_it_time() -> None:
    """A poll every 864 s: 900 s without data may be, with the 30 s of every stream; 895 s after T0 is not the end."""
    feed = FeedState({AIRCRAFT.name: AIRCRAFT}, stale_after=30, trackers={AIRCRAFT.name: SkyTracker(Rules())})
    feed.link = Link(Health.LIVE)
    said = {"source": "live", "credits_left": 12, "interval_s": 864.0, "at": iso(T0)}
    for topic, key, value in (
        (STATUS_TOPIC, STATUS_KEY, said),
        (AIRCRAFT.live_topic, "a", state(0)),
    ):
        feed.apply(Message(topic, 0, 0, key.encode(), orjson.dumps(value), T0))
    stream = feed.snapshot(T0 + 890).streams["aircraft"]
    assert (stream.producer, stream.health) == (said, Health.LIVE)
    assert feed.snapshot(T0 + 895).streams["aircraft"].health is Health.STOPPED
    feed.apply(Message(STATUS_TOPIC, 0, 1, STATUS_KEY.encode(), None, T0))
    assert feed.snapshot(T0 + 31).streams["aircraft"].health is Health.STOPPED
