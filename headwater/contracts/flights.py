"""What an aircraft's records mean, one after another: where it is, what it brings to a minute, its emergencies.

Pure and free of Spark. Times are microseconds since 1970; all else is in OpenSky's units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, NamedTuple

import orjson

from headwater.contracts.aircraft import CLIMB, CRUISE, DESCENT, EMERGENCIES, GROUND, STEEP_DESCENT
from headwater.icao24 import country_of
from headwater.settings import AircraftSettings

SECOND = 1_000_000
MINUTE = 60 * SECOND

UNKNOWN = "unknown"

Out = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Rules:
    """The thresholds."""

    level_mps: float = 1.5
    """Vertical speeds up to this are cruise, either way."""
    steep_mps: float = 25.0
    silence_us: int = 3_600 * SECOND
    """After so long without a word an emergency is another flight's."""


def rules(settings: AircraftSettings) -> Rules:
    """The thresholds as the settings have them."""
    return Rules(settings.level_mps, settings.steep_mps, round(settings.silence_seconds * SECOND))


class State(NamedTuple):
    """A record of an aircraft."""

    at: int
    event_id: str
    last_contact: int
    callsign: str | None = None
    origin_country: str | None = None
    time_position: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    baro_altitude: float | None = None
    on_ground: bool | None = None
    velocity: float | None = None
    true_track: float | None = None
    vertical_rate: float | None = None
    geo_altitude: float | None = None
    squawk: str | None = None
    spi: bool | None = None
    position_source: int | None = None
    category: int | None = None
    snapshot_time: int | None = None


@dataclass
class Case:
    """An alert that goes on; ``steepest`` of a descent."""

    began: int
    ended: int
    callsign: str | None
    origin_country: str | None
    latitude: float | None
    longitude: float | None
    baro_altitude: float | None
    steepest: float | None = None


@dataclass
class Flight:
    """The state of an aircraft: its newest record, and the alerts that go on, by kind."""

    newest: tuple[Any, ...] | None = None
    cases: dict[str, Case] = field(default_factory=dict)

    @classmethod
    def load(cls, text: bytes) -> Flight:
        """From its JSON."""
        found = orjson.loads(text)
        return cls(found["newest"] and tuple(found["newest"]), {k: Case(**case) for k, case in found["cases"].items()})

    def take(self, icao24: str, state: State, by: Rules) -> Iterator[Out]:
        """The next record, none earlier than those before; what it ends."""
        if self.newest:
            before = State(*self.newest)
            if before.at // MINUTE != state.at // MINUTE:
                yield part(icao24, before)
            if state.at - before.at > by.silence_us:
                yield from self._end(icao24, list(self.cases))
        yield from self._end(icao24, [kind for kind in self.cases if is_over(kind, state, by)])
        for kind in kinds_of(state, by):
            self._go_on(kind, state)
        self.newest = tuple(state)

    def rows(self, icao24: str, by: Rules) -> Iterator[Out]:
        """The rows that no later record has made final yet."""
        if self.newest is None:
            return
        newest = State(*self.newest)
        latest = {name: value for name, value in newest._asdict().items() if name != "at"}
        yield "latest", {"icao24": icao24, "event_time": newest.at, **latest, "phase": phase(newest, by)}
        yield part(icao24, newest)
        for kind, case in self.cases.items():
            yield alert(icao24, kind, case, is_open=True)

    def _end(self, icao24: str, kinds: Iterable[str]) -> Iterator[Out]:
        for kind in kinds:
            yield alert(icao24, kind, self.cases.pop(kind), is_open=False)

    def _go_on(self, kind: str, state: State) -> None:
        case = self.cases.get(kind)
        if case is None:
            names = ("callsign", "origin_country", "latitude", "longitude", "baro_altitude")
            case = self.cases[kind] = Case(state.at, state.at, *(getattr(state, name) for name in names))
        case.ended = state.at
        if kind == STEEP_DESCENT and state.vertical_rate is not None:
            case.steepest = min(case.steepest or 0.0, state.vertical_rate)


def phase(state: State, by: Rules) -> str:
    """What an aircraft does; one whose vertical speed is unknown cruises."""
    if state.on_ground:
        return GROUND
    rate = state.vertical_rate or 0.0
    return CLIMB if rate > by.level_mps else DESCENT if rate < -by.level_mps else CRUISE


def kinds_of(state: State, by: Rules) -> list[str]:
    """The alerts that a record speaks of."""
    steep = state.vertical_rate is not None and state.vertical_rate < -by.steep_mps
    return [*([state.squawk] if state.squawk in EMERGENCIES else []), *([STEEP_DESCENT] if steep else [])]


def is_over(kind: str, state: State, by: Rules) -> bool:
    """Whether a record ends an alert: it has another value. One without a value says nothing."""
    value = state.vertical_rate if kind == STEEP_DESCENT else state.squawk
    return value is not None and kind not in kinds_of(state, by)


def alert(icao24: str, kind: str, case: Case, *, is_open: bool) -> Out:
    """The row of an alert."""
    return "alerts", {
        "alert_id": f"{icao24}|{kind}|{case.began}",
        "icao24": icao24,
        "kind": kind,
        "began_at": case.began,
        "ended_at": case.ended,
        "is_open": is_open,
        "callsign": case.callsign,
        "origin_country": case.origin_country,
        "latitude": case.latitude,
        "longitude": case.longitude,
        "baro_altitude": case.baro_altitude,
        "steepest": case.steepest,
    }


def part(icao24: str, state: State) -> Out:
    """What an aircraft's last record in a minute brings to it."""
    return "minute", {
        "window_start": state.at - state.at % MINUTE,
        "on_ground": state.on_ground,
        "altitude": state.baro_altitude,
        "velocity": state.velocity,
        "country": (state.origin_country or "").strip() or country_of(icao24) or UNKNOWN,
    }


def sky(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The parts of a minute -> its figures."""
    airborne = [part for part in parts if part["on_ground"] is False]
    altitudes, velocities = (
        [part[name] for part in airborne if part[name] is not None] for name in ("altitude", "velocity")
    )
    return {
        "aircraft": len(parts),
        "airborne": len(airborne),
        "on_ground": sum(part["on_ground"] is True for part in parts),
        "mean_altitude": mean(altitudes),
        "max_altitude": max(altitudes, default=None),
        "mean_velocity": mean(velocities),
        "max_velocity": max(velocities, default=None),
    }


def countries(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of a minute -> its figures by country."""
    by_country: dict[str, list[dict[str, Any]]] = {}
    for each in parts:
        by_country.setdefault(each["country"], []).append(each)
    names = ("aircraft", "airborne", "mean_altitude", "mean_velocity")
    found = []
    for country, own in sorted(by_country.items()):
        figures = sky(own)
        found.append({"origin_country": country, **{name: figures[name] for name in names}})
    return found


def mean(values: Sequence[float]) -> float | None:
    """The same in any order of the values."""
    return fsum(values) / len(values) if values else None
