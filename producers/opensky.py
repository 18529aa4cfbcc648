"""OpenSky's answers as raw records: `{"time": 1714311965, "states": [["4b1815", "SWR123  ", ...], ...]}`.

A state vector is a list whose places have a meaning. Without `extended=1` it is one shorter.
Source: https://openskynetwork.github.io/opensky-api/rest.html, "All State Vectors".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeGuard

from headwater.contracts.aircraft import LAST_SECOND
from producers.replay import EPOCH, RawRecord

FIELDS = (
    "icao24",
    "callsign",
    "origin_country",
    "time_position",
    "last_contact",
    "longitude",
    "latitude",
    "baro_altitude",
    "on_ground",
    "velocity",
    "true_track",
    "vertical_rate",
    "sensors",
    "geo_altitude",
    "squawk",
    "spi",
    "position_source",
    "category",
)
"""A state vector's fields, by their place."""
SHORTEST = len(FIELDS) - 1
SECONDS_FIELDS = ("last_contact", "time_position", "snapshot_time")
"""The times of a record, in seconds since 1970."""


def record_of(state: object, snapshot_time: object) -> RawRecord:
    """A state vector as a raw record, without what is null; places beyond those we know are left out.

    What is none goes out as `state`, for the job to reject.
    """
    if not is_vector(state):
        return _told({"state": state, "snapshot_time": snapshot_time})
    return identified(_told({**dict(zip(FIELDS, state, strict=False)), "snapshot_time": snapshot_time}))


def is_vector(state: object) -> TypeGuard[list[Any]]:
    """Whether something is as long as a state vector; what its values are worth is for the contract to judge."""
    return isinstance(state, list) and len(state) >= SHORTEST


def identified(record: RawRecord) -> RawRecord:
    """A record with its identity, `<icao24>-<last_contact>`, and its time; the same where it lacks what they need."""
    icao24, second = record.get("icao24"), record.get("last_contact")
    # JSON's true is an int in Python.
    if not isinstance(icao24, str) or type(second) is not int or not 0 <= second <= LAST_SECOND:
        return record
    when = EPOCH + timedelta(seconds=second)
    return {"event_id": f"{icao24}-{second}", "event_time": when, **record}


def _told(record: dict[str, Any]) -> RawRecord:
    return {name: value for name, value in record.items() if value is not None}
