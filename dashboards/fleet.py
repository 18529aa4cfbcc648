"""Where every truck is this second: live fixes, newest by event time, in bounded memory.

The marker must move with the fix, so this takes the live records as they come. What needs more than a truck's newest
fixes (offline, trips, alerts) is the job's word, from the processed topic; :meth:`FleetTracker.absorb` takes from
there what the map shows, also trucks that have not been heard of lately.

Records come in from the feed's thread, the questions from the server's: a lock keeps them apart.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from dashboards.maps.frames import Markers, encode
from dashboards.maps.live import Update
from dashboards.state import Row, Snapshot, StreamView
from headwater.contracts.trucks import GEOFENCE, MOVING, OFFLINE, OVERSPEED, STATES, STOPPED, TRUCKS
from headwater.geofences import NO_GO
from headwater.geometry import bearing_deg, distance_km

log = structlog.get_logger(__name__)

MEMORY_SECONDS = 900.0
KEEP_FIXES = 150
"""Of a truck, for its trail and its chart; 7 KB."""
MOST_TRUCKS = 10_000
WORDS = ("driver", "route", "cargo")
NUMBER_OF = {state: number for number, state in enumerate(STATES)}
COLUMNS = {
    "time": np.int64, "partition": np.int64, "offset": np.int64, "heard": np.float64,
    "longitude": np.float64, "latitude": np.float64, "speed": np.float32, "heading": np.float32,
    "state": np.uint8, "mark": np.uint8, "changed": np.int64, "named": np.int64,
}  # fmt: skip


class Seen(NamedTuple):
    """A fix as far as the map needs it: µs since 1970, degrees, km/h, degrees."""

    time: int
    partition: int
    offset: int
    latitude: float
    longitude: float
    speed: float | None
    heading: float | None


class Fix(NamedTuple):
    """A remembered fix: seconds since 1970, degrees, km/h and degrees (NaN: not known)."""

    time: float
    latitude: float
    longitude: float
    speed_kmh: float
    heading_deg: float


@dataclass(frozen=True)
class Truck:
    """A truck this second."""

    truck_id: str
    state: str
    marked: bool
    time: float
    heard: float
    latitude: float
    longitude: float
    speed_kmh: float | None
    heading_deg: float | None
    driver: str | None
    route: str | None
    cargo: str | None


@dataclass(frozen=True)
class Fleet:
    """How many trucks there are, by state."""

    trucks: int = 0
    moving: int = 0
    stopped: int = 0
    offline: int = 0


class FleetTracker:
    """Holds the newest fix of each truck, and the last ones before it; see the module."""

    memory_seconds = MEMORY_SECONDS
    stands_for: frozenset[str] = frozenset()

    def __init__(self, moving_kmh: float = 5.0, most_trucks: int = MOST_TRUCKS) -> None:
        self._moving_kmh = moving_kmh
        self._most = most_trucks
        self._lock = threading.Lock()
        self._version = 0
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._words: list[tuple[str | None, ...]] = []
        self._kept: list[NDArray[np.float64]] = []
        self._held: list[int] = []
        """How many fixes of each truck are kept."""
        self._columns = {name: np.zeros(64, kind) for name, kind in COLUMNS.items()}
        self._absorbed: dict[str, int] = {}
        self._marked: set[str] = set()

    # --- records come in ---

    def apply(self, row: Row, received_at: float) -> None:
        """A live record, in the order of arrival. Whoever writes something else to the topic is passed over."""
        try:
            truck_id, seen = _read(row)
        except (KeyError, TypeError, ValueError):
            log.warning("not_a_fix", topic=row.get("topic"), offset=row.get("offset"))
            return
        heard = _milliseconds(row.get("kafka_timestamp")) or received_at * 1e3
        with self._lock:
            self._take(truck_id, seen, heard, row)

    def _take(self, truck_id: str, seen: Seen, heard: float, row: Row) -> None:
        number = self._number(truck_id)
        columns = self._columns
        columns["heard"][number] = max(columns["heard"][number], heard)
        self._touch(number)
        seen = self._completed(number, seen)
        self._keep(number, seen)
        if seen[:3] < (columns["time"][number], columns["partition"][number], columns["offset"][number]):
            return
        self._place(number, seen)
        self._name(number, row)

    def _number(self, truck_id: str) -> int:
        if (number := self._numbers.get(truck_id)) is not None:
            return number
        if len(self._numbers) < self._most:
            number = len(self._names)
            self._names.append(truck_id)
            self._words.append((None,) * len(WORDS))
            self._kept.append(np.empty((KEEP_FIXES, len(Fix._fields))))
            self._held.append(0)
            if number == len(self._columns["time"]):
                self._columns = {name: np.concatenate([old, np.zeros_like(old)]) for name, old in self._columns.items()}
        else:
            # The one that was silent for longest makes room; whoever watches learns that its number has a new name.
            number = int(self._columns["heard"][: len(self._names)].argmin())
            del self._numbers[self._names[number]]
            self._names[number], self._held[number] = truck_id, 0
        self._numbers[truck_id] = number
        for name, column in self._columns.items():
            column[number] = -1 if name == "time" else 0
        self._columns["mark"][number] = truck_id in self._marked
        self._columns["named"][number] = self._version + 1
        return number

    def _touch(self, number: int) -> None:
        self._version += 1
        self._columns["changed"][number] = self._version

    def _completed(self, number: int, seen: Seen) -> Seen:
        """Speed and heading, where the record has none, from the fix before."""
        before = self._before(number, seen.time / 1e6)
        if before is None or (seen.speed is not None and seen.heading is not None):
            return seen
        way = (before.latitude, before.longitude, seen.latitude, seen.longitude)
        speed, heading = seen.speed, seen.heading
        if speed is None:
            speed = distance_km(*way) / ((seen.time / 1e6 - before.time) / 3600)
        if heading is None:
            heading = bearing_deg(*way) if speed >= self._moving_kmh else None
            heading = before.heading_deg if heading is None else heading
        return seen._replace(speed=speed, heading=heading)

    def _before(self, number: int, time: float) -> Fix | None:
        kept = self._kept[number][: self._held[number]]
        place = int(np.searchsorted(kept[:, 0], time))
        return Fix(*kept[place - 1].tolist()) if place else None

    def _keep(self, number: int, seen: Seen) -> None:
        """Among the fixes before it; one at the time of another is a repeat."""
        kept, held = self._kept[number], self._held[number]
        time = seen.time / 1e6
        place = int(np.searchsorted(kept[:held, 0], time))
        if place < held and kept[place, 0] == time:
            return
        if held == KEEP_FIXES:
            if place == 0:
                return
            kept[: place - 1] = kept[1:place]
            place -= 1
        else:
            kept[place + 1 : held + 1] = kept[place:held]
            self._held[number] += 1
        speed, heading = (np.nan if value is None else value for value in (seen.speed, seen.heading))
        kept[place] = (time, seen.latitude, seen.longitude, speed, heading)

    def _place(self, number: int, seen: Seen) -> None:
        columns = self._columns
        columns["time"][number], columns["partition"][number], columns["offset"][number] = seen[:3]
        columns["latitude"][number], columns["longitude"][number] = seen.latitude, seen.longitude
        columns["speed"][number] = np.nan if seen.speed is None else seen.speed
        columns["heading"][number] = np.nan if seen.heading is None else seen.heading
        columns["state"][number] = NUMBER_OF[MOVING if (seen.speed or 0) >= self._moving_kmh else STOPPED]

    def _name(self, number: int, row: Row) -> None:
        words = tuple(row.get(name) for name in WORDS)
        if words != self._words[number]:
            self._words[number] = words
            self._columns["named"][number] = self._version

    # --- what the job says ---

    def absorb(self, stream: StreamView) -> None:
        """Trucks that are offline or were not heard of here, and those with an alert under way."""
        with self._lock:
            if self._is_new("latest", stream):
                for row in stream.table("latest").values():
                    self._absorb_latest(row)
            if self._is_new("alerts", stream):
                self._mark({row["truck_id"] for row in stream.table("alerts").values() if alarming(row)})

    def _is_new(self, table: str, stream: StreamView) -> bool:
        version = stream.versions.get(table, 0)
        if self._absorbed.get(table) == version:
            return False
        self._absorbed[table] = version
        return True

    def _absorb_latest(self, row: Row) -> None:
        try:
            truck_id, seen = _read({"partition": 0, "offset": -1, **row})
        except (KeyError, TypeError, ValueError):
            log.warning("not_a_latest_fix", truck=row.get("truck_id"))
            return
        number = self._numbers.get(truck_id)
        if number is None:
            if len(self._numbers) >= self._most:
                return
            number = self._number(truck_id)
        if seen.time > self._columns["time"][number]:
            self._take(truck_id, seen, seen.time / 1e3, row)
        state = NUMBER_OF[OFFLINE]
        is_silent = row.get("state") == OFFLINE and seen.time >= self._columns["time"][number]
        if is_silent and self._columns["state"][number] != state:
            self._columns["state"][number] = state
            self._touch(number)

    def _mark(self, trucks: set[str]) -> None:
        for truck_id in trucks ^ self._marked:
            if (number := self._numbers.get(truck_id)) is not None:
                self._columns["mark"][number] = truck_id in trucks
                self._touch(number)
        self._marked = trucks

    # --- questions ---

    def view(self, now: float) -> Fleet:
        """How many there are by state."""
        with self._lock:
            counts = np.bincount(self._columns["state"][: len(self._names)], minlength=len(STATES)).tolist()
        return Fleet(sum(counts), *(counts[NUMBER_OF[state]] for state in (MOVING, STOPPED, OFFLINE)))

    def changes(self, version: int, now: float) -> Update:
        """What has changed after a version, for a map; `now` in seconds since 1970."""
        with self._lock:
            columns = {name: column[: len(self._names)] for name, column in self._columns.items()}
            named = np.flatnonzero(columns["named"] > version).tolist()
            names = [[number, self._names[number], *self._words[number]] for number in named]
            numbers = np.flatnonzero(columns["changed"] > version)
            if not len(numbers) and version:
                return Update(names, None, self._version)
            picked: dict[str, Any] = {name: column[numbers] for name, column in columns.items()}
            found = self._version
        markers = Markers(
            marker=numbers.astype(np.uint32),
            time=picked["time"] / 1e3,
            **{name: picked[name] for name in ("heard", "longitude", "latitude", "speed", "heading", "state", "mark")},
        )
        return Update(names, encode(markers, now * 1e3), found)

    def truck(self, truck_id: str) -> Truck | None:
        """A truck this second."""
        with self._lock:
            if (number := self._numbers.get(truck_id)) is None:
                return None
            held = {name: column[number].item() for name, column in self._columns.items()}
            words = self._words[number]
        return Truck(
            truck_id, STATES[held["state"]], bool(held["mark"]), held["time"] / 1e6, held["heard"] / 1e3,
            held["latitude"], held["longitude"], _known(held["speed"]), _known(held["heading"]), *words,
        )  # fmt: skip

    def fixes(self, truck_id: str) -> list[Fix]:
        """A truck's last fixes in order of their time; none where it is not known."""
        with self._lock:
            if (number := self._numbers.get(truck_id)) is None:
                return []
            rows = self._kept[number][: self._held[number]].tolist()
        return [Fix(*row) for row in rows]

    def trails(self, most: int) -> dict[str, list[tuple[float, float, float]]]:
        """Every truck's last fixes as longitude, latitude and seconds since 1970, at most so many of each."""
        with self._lock:
            return {
                name: [(row[2], row[1], row[0]) for row in self._kept[number][: self._held[number]][-most:].tolist()]
                for name, number in self._numbers.items()
            }


class FleetSource:
    """The fleet as a source of positions for the map."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def update(self, snapshot: Snapshot, version: int) -> Update:
        """All that has changed after a version."""
        stream = snapshot.streams[TRUCKS.name]
        tracker = fleet_of(stream)
        tracker.absorb(stream)
        return tracker.changes(version, self._clock())


def fleet_of(stream: StreamView) -> FleetTracker:
    """The stream's tracker."""
    found = stream.tracker
    assert isinstance(found, FleetTracker)
    return found


def alarming(alert: Mapping[str, Any]) -> bool:
    """Whether it is under way and asks for somebody: a truck in a depot's area doesn't."""
    if alert.get("ended_at") is not None:
        return False
    return alert.get("kind") == OVERSPEED or (alert.get("kind") == GEOFENCE and alert.get("geofence_kind") == NO_GO)


def _read(row: Row) -> tuple[str, Seen]:
    latitude, longitude = float(row["latitude"]), float(row["longitude"])
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ValueError("not a place")
    seen = Seen(
        time=round(datetime.fromisoformat(row["event_time"]).timestamp() * 1e6),
        partition=int(row["partition"]),
        offset=int(row["offset"]),
        latitude=latitude,
        longitude=longitude,
        speed=None if row.get("speed_kmh") is None else float(row["speed_kmh"]),
        heading=None if row.get("heading_deg") is None else float(row["heading_deg"]),
    )
    return str(row["truck_id"]), seen


def _milliseconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() * 1e3
    except (TypeError, ValueError):
        return None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
