"""Where every aircraft is this second: live state vectors, the newest of each, in bounded memory.

A triangle must move with the state, so this takes the live records as they come. The newest of an aircraft is that of
the greatest `last_contact`, then of the greatest offset, as in the table `latest`. Where it has no position, the last
one that was known stays, and ages.

Records come in from the feed's thread, the questions from the server's: a lock keeps them apart.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from math import nan
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from dashboards.maps.frames import Markers, encode
from dashboards.maps.live import Update
from dashboards.state import Row, Snapshot, StreamView
from headwater.contracts.aircraft import AIRCRAFT, EMERGENCIES, GROUND, PHASES, STEEP_DESCENT
from headwater.contracts.flights import Rules, State, kinds_of, phase

log = structlog.get_logger(__name__)

MEMORY_SECONDS = 1_200.0
"""What a start reads back; who comes to the map is told of nobody who was silent for longer."""
MOST_AIRCRAFT = 15_000
"""The busiest hour over the world has some 12,000."""
KEEP_PLACES = 120
PLACE_SECONDS = 10.0
"""Between two remembered places of an aircraft: 20 minutes of them, 4 KB."""
NEW_FLIGHT_SECONDS = 1_800.0
RECORDED_SECONDS = 3_600.0
"""A record that reached Kafka so long after it was true was recorded: it is shown as if it were true when it came."""
UNKNOWN_CODE = 255
KMH = 3.6

ALARMS = ("", STEEP_DESCENT, *EMERGENCIES)
"""By the number that a marker has as its mark."""
WORDS = ("callsign", "origin_country", "squawk")
MEASURES = ("baro", "geo", "rate")
CODES = ("category", "source")

STATE = np.dtype(
    [
        ("contact", "i8"), ("offset", "i8"), ("heard", "f8"), ("time", "f8"), ("longitude", "f8"), ("latitude", "f8"),
        ("speed", "f4"), ("heading", "f4"), ("baro", "f4"), ("geo", "f4"), ("rate", "f4"),
        ("phase", "u1"), ("mark", "u1"), ("category", "u1"), ("source", "u1"),
    ]
)  # fmt: skip
PLACE = np.dtype(
    [("time", "f8"), ("longitude", "f4"), ("latitude", "f4"), ("altitude", "f4"), ("speed", "f4"), ("rate", "f4")]
)
FIELDS = State._fields[2:]
PHASE_NUMBER = {name: number for number, name in enumerate(PHASES)}


class Place(NamedTuple):
    """A remembered state: seconds since 1970, degrees, m, km/h and m/s (NaN: not known)."""

    time: float
    longitude: float
    latitude: float
    altitude: float
    speed_kmh: float
    rate: float


@dataclass(frozen=True)
class Sky:
    """How many aircraft were heard of within a time, and what of them."""

    aircraft: int = 0
    airborne: int = 0
    on_ground: int = 0
    without_position: int = 0
    emergencies: int = 0
    altitudes: tuple[float, ...] = ()
    """Barometric, m, of those in the air that say it."""


class SkyTracker:
    """Holds the newest state of each aircraft, and the places before it; see the module."""

    memory_seconds = MEMORY_SECONDS
    stands_for: frozenset[str] = frozenset()

    def __init__(self, by: Rules, most_aircraft: int = MOST_AIRCRAFT) -> None:
        self._by, self._most = by, most_aircraft
        self._lock = threading.Lock()
        self._version = 0
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._words: list[tuple[Any, ...]] = []
        self._rows: list[Row] = []
        """Each one's newest record in full, for the panel."""
        self._kept: list[NDArray[Any]] = []
        self._held: list[int] = []
        self._states = np.zeros(256, STATE)
        self._changed = np.zeros(256, np.int64)
        self._named = np.zeros(256, np.int64)

    # --- records come in ---

    def apply(self, row: Row, received_at: float) -> None:
        """A live record, in any order. Whoever writes something else to the topic is passed over."""
        try:
            icao24, offset = str(row["icao24"]), int(row["offset"])
            state = State(0, "", int(row["last_contact"]), *(row.get(name) for name in FIELDS[1:]))
            values = _values(state, offset, _arrival(row, received_at), self._by)
        except (KeyError, TypeError, ValueError):
            log.warning("not_a_state", topic=row.get("topic"), offset=row.get("offset"))
            return
        with self._lock:
            self._take(icao24, state, values, row)

    def _take(self, icao24: str, state: State, values: tuple[Any, ...], row: Row) -> None:
        number = self._number(icao24)
        before = self._states[number]
        if values[:2] <= (before["contact"].item(), before["offset"].item()):
            return
        if np.isnan(values[4]):
            values = (*values[:3], *before[["time", "longitude", "latitude"]].item(), *values[6:])
        else:
            self._keep(number, values)
        self._states[number] = values
        self._rows[number] = row
        self._version += 1
        self._changed[number] = self._version
        words = ((state.callsign or "").strip(), state.origin_country, state.squawk)
        if words != self._words[number]:
            self._words[number] = words
            self._named[number] = self._version

    def _number(self, icao24: str) -> int:
        if (number := self._numbers.get(icao24)) is not None:
            return number
        if len(self._names) < self._most:
            number = len(self._names)
            self._names.append(icao24)
            self._words.append(())
            self._rows.append({})
            self._kept.append(np.empty(KEEP_PLACES, PLACE))
            self._held.append(0)
            if number == len(self._states):
                self._states, self._changed, self._named = (
                    np.concatenate([old, np.zeros_like(old)]) for old in (self._states, self._changed, self._named)
                )
        else:
            # The one that was silent for longest makes room; whoever watches learns that its number has a new name.
            number = int(self._states["heard"][: len(self._names)].argmin())
            del self._numbers[self._names[number]]
            self._names[number], self._words[number], self._held[number] = icao24, (), 0
        self._numbers[icao24] = number
        self._states[number] = (-1, -1, 0, 0, nan, nan, nan, nan, nan, nan, nan, 0, 0, UNKNOWN_CODE, UNKNOWN_CODE)
        return number

    def _keep(self, number: int, values: tuple[Any, ...]) -> None:
        """Among the places before it, unless the last of them is just past."""
        _, _, _, time, longitude, latitude, speed, _, baro, geo, rate, *_ = values
        held, kept = self._held[number], self._kept[number]
        since = time - kept["time"][held - 1] if held else PLACE_SECONDS * 1e3
        if since < PLACE_SECONDS * 1e3:
            return
        if since > NEW_FLIGHT_SECONDS * 1e3:
            held = 0
        if held == KEEP_PLACES:
            kept[:-1] = kept[1:]
            held -= 1
        kept[held] = (time, longitude, latitude, geo if np.isnan(baro) else baro, speed, rate)
        self._held[number] = held + 1

    # --- questions ---

    def view(self, now: float, within: float = MEMORY_SECONDS) -> Sky:
        """What was heard of within so many seconds before `now`."""
        with self._lock:
            states = self._states[: len(self._names)]
            states = states[states["heard"] > (now - within) * 1e3]
        ground = states["phase"] == PHASE_NUMBER[GROUND]
        altitudes = states["baro"][~ground]
        return Sky(
            aircraft=len(states),
            airborne=int((~ground).sum()),
            on_ground=int(ground.sum()),
            without_position=int(np.isnan(states["latitude"]).sum()),
            emergencies=int((states["mark"] > 0).sum()),
            altitudes=tuple(altitudes[~np.isnan(altitudes)].tolist()),
        )

    def changes(self, version: int, now: float) -> Update:
        """What has changed after a version, for a map; `now` in seconds since 1970."""
        with self._lock:
            count = len(self._names)
            named = np.flatnonzero(self._named[:count] > version).tolist()
            names = [[number, self._names[number], *self._words[number]] for number in named]
            numbers = np.flatnonzero(self._changed[:count] > version)
            if not version:
                numbers = numbers[self._states["heard"][numbers] > (now - MEMORY_SECONDS) * 1e3]
            elif not len(numbers):
                return Update(names, None, self._version)
            picked, found = self._states[numbers], self._version
        markers = Markers(
            marker=numbers.astype(np.uint32),
            **{name: picked[name] for name in ("time", "heard", "longitude", "latitude", "speed", "heading", "mark")},
            state=picked["phase"],
            measures=tuple(picked[name] for name in MEASURES),
            codes=tuple(picked[name] for name in CODES),
        )
        return Update(names, encode(markers, now * 1e3), found)

    def aircraft(self, icao24: str) -> Row | None:
        """An aircraft's newest record, as it came."""
        with self._lock:
            number = self._numbers.get(icao24)
            return None if number is None else self._rows[number]

    def places(self, icao24: str) -> list[Place]:
        """An aircraft's last places in order of their time; none where it is not known."""
        with self._lock:
            if (number := self._numbers.get(icao24)) is None:
                return []
            rows = self._kept[number][: self._held[number]].tolist()
        return [Place(time / 1e3, *rest) for time, *rest in rows]

    def trails(self, most: int, since: float) -> dict[str, list[tuple[float, float, float, float]]]:
        """Longitude, latitude, ms since 1970 and altitude (m) of each one's last places, at most so many of each.

        Only of those heard of after `since`, in seconds since 1970.
        """
        with self._lock:
            recent = np.flatnonzero(self._states["heard"][: len(self._names)] > since * 1e3).tolist()
            return {
                self._names[number]: self._kept[number][: self._held[number]][-most:][
                    ["longitude", "latitude", "time", "altitude"]
                ].tolist()
                for number in recent
                if self._held[number] > 1
            }


class SkySource:
    """The sky as a source of positions for the map."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def update(self, snapshot: Snapshot, version: int) -> Update:
        """All that has changed after a version."""
        return sky_of(snapshot.streams[AIRCRAFT.name]).changes(version, self._clock())


def sky_of(stream: StreamView) -> SkyTracker:
    """The stream's tracker."""
    found = stream.tracker
    assert isinstance(found, SkyTracker)
    return found


def _arrival(row: Row, received_at: float) -> float:
    """When the record reached Kafka, in seconds since 1970."""
    try:
        return datetime.fromisoformat(row["kafka_timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return received_at


def _values(state: State, offset: int, arrived: float, by: Rules) -> tuple[Any, ...]:
    """The columns of :data:`STATE`. Times are as the clock shows them: see :data:`RECORDED_SECONDS`."""
    behind = arrived - (state.last_contact if state.snapshot_time is None else state.snapshot_time)
    behind = behind if abs(behind) > RECORDED_SECONDS else 0.0
    heard = state.last_contact + behind
    latitude, longitude = _known(state.latitude), _known(state.longitude)
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        latitude = longitude = nan
    placed = heard if state.time_position is None else state.time_position + behind
    alarms = kinds_of(state, by)
    return (
        state.last_contact, offset, heard * 1e3, placed * 1e3, longitude, latitude,
        _known(state.velocity) * KMH, _known(state.true_track),
        _known(state.baro_altitude), _known(state.geo_altitude), _known(state.vertical_rate),
        PHASE_NUMBER[phase(state, by)], ALARMS.index(alarms[0]) if alarms else 0,
        _code(state.category), _code(state.position_source),
    )  # fmt: skip


def _known(value: float | None) -> float:
    return nan if value is None else float(value)


def _code(value: int | None) -> int:
    return UNKNOWN_CODE if value is None or not 0 <= value < UNKNOWN_CODE else int(value)
