"""Tracks and areas as GeoJSON (RFC 7946): pure functions of rows.

Positions are [longitude, latitude] in degrees, WGS 84.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import copysign
from typing import Any, NamedTuple

from shapely.geometry import mapping

from headwater.geofences import Geofence
from headwater.geometry import distance_km
from headwater.settings import TruckSettings

HALF_TURN = 180.0

Row = Mapping[str, Any]
Json = dict[str, Any]


class Place(NamedTuple):
    """Where a line is at a time."""

    longitude: float
    latitude: float
    at: datetime


def geofences(fences: Iterable[Geofence]) -> Json:
    """The areas with their ``name`` and ``kind``."""
    return collection(feature(mapping(fence.geometry), {"name": fence.name, "kind": fence.kind}) for fence in fences)


def track(truck_id: str, rows: Sequence[Row], settings: TruckSettings) -> Json:
    """A line for each stretch without a pause; a Point where there is but one fix.

    ``rows``: records of one truck, in any order. An event_id counts once, the first in Kafka's order, and of several
    fixes at one time the first.
    """
    return collection(
        _stretch(truck_id, stretch, settings) for stretch in _stretches(_fixes(rows), settings.pause_seconds)
    )


def collection(features: Iterable[Json]) -> Json:
    """A FeatureCollection."""
    return {"type": "FeatureCollection", "features": list(features)}


def feature(geometry: Mapping[str, Any], properties: Json) -> Json:
    """A Feature."""
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _fixes(rows: Sequence[Row]) -> list[Place]:
    """In the order of time, then Kafka's; repeats left out."""
    arrived = sorted(rows, key=lambda row: (row["partition"], row["offset"]))
    events = {row["event_id"]: row for row in reversed(arrived)}.values()
    in_time = sorted(events, key=lambda row: (row["event_time"], row["partition"], row["offset"]))
    times = {row["event_time"]: row for row in reversed(in_time)}
    return [Place(times[at]["longitude"], times[at]["latitude"], at) for at in sorted(times)]


def _stretches(fixes: Sequence[Place], pause_seconds: float) -> Iterator[list[Place]]:
    pause = timedelta(seconds=pause_seconds)
    stretch: list[Place] = []
    for fix in fixes:
        if stretch and fix.at - stretch[-1].at > pause:
            yield stretch
            stretch = []
        stretch.append(fix)
    if stretch:
        yield stretch


def _stretch(truck_id: str, fixes: Sequence[Place], settings: TruckSettings) -> Json:
    lines = _cut(fixes)
    kind = "Point" if len(fixes) == 1 else "LineString" if len(lines) == 1 else "MultiLineString"
    coordinates: Any = [[[place.longitude, place.latitude] for place in line] for line in lines]
    times: Any = [[place.at for place in line] for line in lines]
    if len(lines) == 1:
        coordinates, times = coordinates[0], times[0]
    if len(fixes) == 1:
        coordinates = coordinates[0]
    properties = {
        "truck_id": truck_id,
        "start": fixes[0].at,
        "end": fixes[-1].at,
        "fixes": len(fixes),
        "distance_km": _distance_km(fixes, settings.implausible_kmh),
        "times": times,
    }
    return feature({"type": kind, "coordinates": coordinates}, properties)


def _distance_km(fixes: Sequence[Place], implausible_kmh: float) -> float:
    """Fix to fix on the sphere, without implausible steps, each to the millimetre: as `trips` has it."""
    total = 0.0
    for here, there in pairwise(fixes):
        step = distance_km(here.latitude, here.longitude, there.latitude, there.longitude)
        if step <= implausible_kmh * (there.at - here.at).total_seconds() / 3_600:
            total += round(step, 6)
    return round(total, 6)


def _cut(fixes: Sequence[Place]) -> list[list[Place]]:
    """A line, cut where it crosses 180 degrees (RFC 7946, 3.1.9); the place and time of a cut lie between two fixes."""
    lines = [[fixes[0]]]
    for here, there in pairwise(fixes):
        if abs(there.longitude - here.longitude) > HALF_TURN:
            side = copysign(HALF_TURN, here.longitude)
            way = 2 * HALF_TURN - abs(there.longitude - here.longitude)
            share = (HALF_TURN - abs(here.longitude)) / way if way else 0.0
            latitude = here.latitude + share * (there.latitude - here.latitude)
            at = here.at + share * (there.at - here.at)
            lines[-1].append(Place(side, latitude, at))
            lines.append([Place(-side, latitude, at)])
        lines[-1].append(there)
    return lines
