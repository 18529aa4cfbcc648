"""What a stand-in for OpenSky has to tell: recorded answers, or a simulated sky."""

from __future__ import annotations

import gzip
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from headwater.errors import HeadwaterError
from headwater.settings import AircraftSettings
from producers.aircraft_fleet import heard, open_fleet
from producers.opensky import FIELDS

State = list[Any]
Sky = Callable[[float], tuple[int, list[State]]]
"""The states, of 18 fields, that are known at a moment (s since 1970), and the time they are of."""

FORGOTTEN_AFTER_S = 300
"""A state of which nothing was heard for so long is in no answer."""
PAUSE_S = 60
"""From a recording's last answer to its first, where it is repeated."""


def recorded_sky(folder: Path, starts_at: float | None = None) -> Sky:
    """The recorded answers of a folder: at any moment the newest one up to it, the first before all.

    With `starts_at` (s since 1970) they are moved there, and repeated for ever. Raises HeadwaterError.
    """
    answers = sorted((_recorded(path) for path in folder.glob("*.json*")), key=lambda answer: answer[0])
    if not answers:
        raise HeadwaterError(f"{folder}: no recorded answers there, *.json or *.json.gz")
    times = [at for at, _ in answers]
    length = times[-1] - times[0] + PAUSE_S

    def sky(now: float) -> tuple[int, list[State]]:
        by = 0
        if starts_at is not None:
            rounds = max(0, int(now - starts_at) // length)
            by = int(starts_at) - times[0] + rounds * length
        then, states = answers[max(0, bisect_right(times, now - by) - 1)]
        return then + by, [_moved(state, by) for state in states] if by else states

    return sky


def simulated_sky(settings: AircraftSettings, now: datetime, seed: int | None = None) -> Sky:
    """A simulated sky, from `now` (aware) on."""
    fleet = open_fleet(seed, settings, now)
    known: dict[str, State] = {}

    def sky(at: float) -> tuple[int, list[State]]:
        for aircraft in fleet.aircraft:
            record = heard(aircraft, at)
            if record is not None:
                known[aircraft.icao24] = [record.get(name) for name in FIELDS]
        return int(at), [s for s in known.values() if at - s[FIELDS.index("last_contact")] <= FORGOTTEN_AFTER_S]

    return sky


def _recorded(path: Path) -> tuple[int, list[State]]:
    text = path.read_bytes()
    try:
        found = orjson.loads(gzip.decompress(text) if path.suffix == ".gz" else text)
        return found["time"], found["states"] or []
    except (ValueError, OSError, EOFError, KeyError, TypeError) as error:
        raise HeadwaterError(f"{path}: no answer of OpenSky: {error}") from error


def _moved(state: State, by: int) -> State:
    at, heard_at = FIELDS.index("time_position"), FIELDS.index("last_contact")
    moved = list(state)
    moved[heard_at] += by
    if moved[at] is not None:
        moved[at] += by
    return moved
