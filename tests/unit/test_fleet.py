"""The tracker of trucks: live fixes in, the newest of each out; expected values are written down, not worked out."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from math import isnan
from types import MappingProxyType
from typing import Any

import pytest

from dashboards.counts import Latency
from dashboards.fleet import KEEP_FIXES, Fleet, FleetTracker, alarming
from dashboards.state import Health, StreamView
from tests.map_frames import decoded

T0 = datetime(2026, 11, 22, 6, 0, tzinfo=UTC).timestamp()
MOVING, STOPPED, OFFLINE = range(3)


def iso(at: float) -> str:
    return datetime.fromtimestamp(T0 + at, UTC).isoformat()


def fix(at: float, truck: str = "a", latitude: float = 52.0, longitude: float = 5.0, **given: Any) -> dict[str, Any]:
    """A live record; `at` is seconds after six, and when it came unless told otherwise."""
    return {
        "event_id": f"{truck}{at}", "event_time": iso(at), "truck_id": truck, "latitude": latitude,
        "longitude": longitude, "speed_kmh": 50.0, "heading_deg": 90.0, "topic": "TruckLocations", "partition": 0,
        "offset": int(at), "kafka_timestamp": iso(given.pop("came", at)), **given,
    }  # fmt: skip


def tracked(*rows: dict[str, Any], **options: Any) -> FleetTracker:
    tracker = FleetTracker(**options)
    for row in rows:
        tracker.apply(row, T0)
    return tracker


def stream(version: int = 1, **tables: dict[str, dict[str, Any]]) -> StreamView:
    """The stream's processed tables at a version."""
    none = Latency()
    return StreamView(
        "trucks", Health.LIVE, 0, 0, 0, (), (), 0, (), 0, None, None, none, none, {}, None, None, {}, {}, {}, None,
        MappingProxyType(tables), dict.fromkeys(tables, version),
    )  # fmt: skip


def latest(truck: str, at: float, state: str, **given: Any) -> dict[str, Any]:
    row = {key: value for key, value in fix(at, truck, **given).items() if key not in ("partition", "offset")}
    return row | {"state": state, "is_implausible": False}


def test_nothing_yet() -> None:
    tracker = FleetTracker()
    assert tracker.view(T0) == Fleet()
    assert (tracker.truck("a"), tracker.fixes("a"), tracker.trails(9)) == (None, [], {})
    update = tracker.changes(0, T0)
    assert (update.names, update.version) == ([], 0)
    assert decoded(update.frame or b"")[1] == {}


def test_the_newest_by_its_own_time_whatever_the_order_of_arrival() -> None:
    rows = [fix(10, latitude=52.1), fix(20, latitude=52.2), fix(20, latitude=52.3, offset=21), fix(15, latitude=52.4)]
    for order in permutations(rows):
        found = tracked(*order).truck("a")
        assert found is not None
        assert (found.time, found.latitude) == (T0 + 20, 52.3)


def test_a_late_fix_moves_no_marker_but_belongs_to_the_trail() -> None:
    tracker = tracked(fix(10), fix(30, longitude=5.3), fix(20, longitude=5.2, came=31))
    found = tracker.truck("a")
    assert found is not None
    assert (found.time, found.longitude, found.heard) == (T0 + 30, 5.3, T0 + 31)
    assert [place.longitude for place in tracker.fixes("a")] == [5.0, 5.2, 5.3]
    assert tracker.trails(2) == {"a": [(5.2, 52.0, T0 + 20), (5.3, 52.0, T0 + 30)]}


def test_a_repeat_is_no_fix_of_its_own() -> None:
    tracker = tracked(fix(10), fix(10, offset=11), fix(10, offset=12))
    assert len(tracker.fixes("a")) == 1


def test_what_a_fix_lacks_comes_from_the_one_before() -> None:
    """A degree of a meridian is 111.195 km: in an hour 111.195 km/h, and northwards."""
    missing = {"speed_kmh": None, "heading_deg": None}
    tracker = tracked(fix(0, latitude=10.0, **missing), fix(3600, latitude=11.0, **missing))
    first, second = tracker.fixes("a")
    assert isnan(first.speed_kmh)
    assert isnan(first.heading_deg)
    assert second.speed_kmh == pytest.approx(111.195, abs=0.001)
    assert second.heading_deg == pytest.approx(0)
    tracker.apply(fix(3601, latitude=11.0, **missing), T0)
    found = tracker.truck("a")
    assert found is not None
    assert (found.state, found.speed_kmh, found.heading_deg) == ("stopped", 0, pytest.approx(0))


def test_moving_from_the_setting_on() -> None:
    tracker = tracked(fix(1, "a", speed_kmh=5.0), fix(1, "b", speed_kmh=4.9), fix(1, "c", speed_kmh=0.0))
    assert tracker.view(T0) == Fleet(trucks=3, moving=1, stopped=2)


def test_a_reader_gets_what_it_has_not_seen() -> None:
    tracker = tracked(fix(1, "a", driver="Ada"), fix(1, "b"))
    first = tracker.changes(0, T0 + 2)
    assert first.names == [[0, "a", "Ada", None, None], [1, "b", None, None, None]]
    now, markers = decoded(first.frame or b"")
    assert now == (T0 + 2) * 1e3
    assert markers[0] == {
        "marker": 0, "time": (T0 + 1) * 1e3, "heard": (T0 + 1) * 1e3, "longitude": 5.0, "latitude": 52.0,
        "speed": 50.0, "heading": 90.0, "state": MOVING, "mark": 0,
    }  # fmt: skip
    assert tracker.changes(first.version, T0).frame is None
    tracker.apply(fix(3, "b", latitude=53.0, driver="Bob"), T0)
    second = tracker.changes(first.version, T0)
    assert second.names == [[1, "b", "Bob", None, None]]
    _, markers = decoded(second.frame or b"")
    assert {number: row["latitude"] for number, row in markers.items()} == {1: 53.0}


def test_the_job_says_who_is_offline_until_a_newer_fix_comes() -> None:
    tracker = tracked(fix(10, "a"), fix(10, "b"))
    rows = {"a": latest("a", 10, "offline"), "b": latest("b", 5, "offline")}
    version = tracker.changes(0, T0).version
    tracker.absorb(stream(latest=rows))
    assert tracker.view(T0) == Fleet(trucks=2, moving=1, offline=1)
    _, markers = decoded(tracker.changes(version, T0).frame or b"")
    assert {number: row["state"] for number, row in markers.items()} == {0: OFFLINE}
    tracker.apply(fix(700, "a"), T0 + 700)
    tracker.absorb(stream(latest=rows))
    assert tracker.view(T0) == Fleet(trucks=2, moving=2)


def test_trucks_from_before_the_memory_come_from_the_job() -> None:
    tracker = tracked(fix(10, "a"))
    tracker.absorb(stream(latest={"old": latest("old", -9000, "offline", latitude=48.0, driver="Eve")}))
    found = tracker.truck("old")
    assert found is not None
    assert (found.state, found.latitude, found.driver, found.heard) == ("offline", 48.0, "Eve", T0 - 9000)


def alert(kind: str, ended_at: str | None = None, geofence_kind: str | None = None, truck: str = "a") -> dict[str, Any]:
    return {"truck_id": truck, "kind": kind, "ended_at": ended_at, "geofence_kind": geofence_kind}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (alert("overspeed"), True), (alert("overspeed", iso(9)), False), (alert("geofence", None, "no_go"), True),
        (alert("geofence", None, "depot"), False), (alert("offline"), False),
    ],
)  # fmt: skip
def test_what_asks_for_somebody(row: dict[str, Any], expected: bool) -> None:
    assert alarming(row) is expected


def test_a_truck_is_marked_while_its_alert_lasts() -> None:
    tracker = tracked(fix(10, "a"))
    tracker.absorb(stream(1, alerts={"1": alert("overspeed"), "2": alert("overspeed", truck="later")}))
    tracker.apply(fix(11, "later"), T0)
    assert [getattr(tracker.truck(name), "marked", None) for name in ("a", "later")] == [True, True]
    tracker.absorb(stream(2, alerts={"1": alert("overspeed", iso(12)), "2": alert("overspeed", truck="later")}))
    assert [getattr(tracker.truck(name), "marked", None) for name in ("a", "later")] == [False, True]


def test_fixes_are_bounded_and_the_oldest_go() -> None:
    tracker = tracked(*(fix(at) for at in range(KEEP_FIXES + 20)), fix(5.5), fix(100.5))
    times = [place.time - T0 for place in tracker.fixes("a")]
    assert len(times) == KEEP_FIXES
    assert times == sorted(times)
    assert (times[0], times[-1], 100.5 in times, 5.5 in times) == (21, KEEP_FIXES + 19, True, False)


def test_trucks_are_bounded_and_the_most_silent_makes_room() -> None:
    tracker = tracked(*(fix(at, f"t{at}") for at in range(100)), most_trucks=100)
    version = tracker.changes(0, T0).version
    tracker.apply(fix(200, "new", longitude=7.0), T0)
    assert tracker.truck("t0") is None
    assert tracker.view(T0).trucks == 100
    update = tracker.changes(version, T0)
    assert update.names == [[0, "new", None, None, None]]
    assert decoded(update.frame or b"")[1][0]["longitude"] == 7.0
    assert [place.longitude for place in tracker.fixes("new")] == [7.0]


@pytest.mark.parametrize(
    "wrong", [{"event_time": "noon"}, {"latitude": None}, {"longitude": 181.0}, {"offset": None}, {"truck_id": ...}]
)
def test_somebody_else_s_messages_are_passed_over(wrong: dict[str, Any]) -> None:
    row = {name: value for name, value in (fix(1) | wrong).items() if value is not ...}
    assert tracked(row).view(T0) == Fleet()
