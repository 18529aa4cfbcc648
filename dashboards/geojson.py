"""Tracks, areas and what is up now as GeoJSON (RFC 7946): pure functions of rows, and the answer that carries them.

Positions are [longitude, latitude] in degrees, WGS 84; those of aircraft end with the geometric altitude in m, where it
is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import copysign, inf
from typing import Any, NamedTuple

import orjson
from fastapi.responses import JSONResponse
from shapely.geometry import mapping

from headwater.contracts.aircraft import LatestState
from headwater.geofences import Geofence
from headwater.geometry import distance_km
from headwater.settings import TruckSettings

HALF_TURN = 180.0
AIRCRAFT_PAUSE = timedelta(minutes=10)
"""Without a position for longer than this nobody knows which way an aircraft took."""

Row = Mapping[str, Any]
Json = dict[str, Any]


class GeoJson(JSONResponse):
    """An answer; times as ISO 8601 in UTC."""

    media_type = "application/geo+json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_UTC_Z)


class Place(NamedTuple):
    """Where a line is at a time; altitudes in m, none where they are not known."""

    longitude: float
    latitude: float
    at: datetime
    baro_altitude: float | None = None
    geo_altitude: float | None = None


class Box(NamedTuple):
    """Degrees. One whose west is greater than its east lies across 180 degrees."""

    south: float
    west: float
    north: float
    east: float

    def holds(self, longitude: float, latitude: float) -> bool:
        """Whether a position is inside, the edges included."""
        after_west, before_east = self.west <= longitude, longitude <= self.east
        is_between = after_west and before_east if self.west <= self.east else after_west or before_east
        return is_between and self.south <= latitude <= self.north


def geofences(fences: Iterable[Geofence]) -> Json:
    """The areas with their ``name`` and ``kind``."""
    return collection(feature(mapping(fence.geometry), {"name": fence.name, "kind": fence.kind}) for fence in fences)


def track(truck_id: str, rows: Sequence[Row], settings: TruckSettings) -> Json:
    """A line for each stretch without a pause; a Point where there is but one fix.

    ``rows``: records of one truck, in any order. An event_id counts once, the first in Kafka's order, and of several
    fixes at one time the first.
    """
    pause = timedelta(seconds=settings.pause_seconds)
    return collection(_stretch(truck_id, stretch, settings) for stretch in _stretches(_fixes(rows), pause))


def aircraft_track(icao24: str, rows: Sequence[Row]) -> Json:
    """A line for each stretch without a pause, as :func:`track`; a position's time is `time_position`.

    ``rows``: records of one aircraft, in any order; those without a position are passed over. Positions have three
    numbers where the geometric altitude of every one of a feature is known, otherwise two: readers refuse a line of
    both kinds.
    """
    return collection(_flown(icao24, stretch) for stretch in _stretches(_heard(rows), AIRCRAFT_PAUSE))


def aircraft_now(rows: Iterable[Row], now: float, max_age_s: float, box: Box | None, limit: int) -> Json:
    """The aircraft heard within ``max_age_s`` of ``now`` (seconds since 1970) as Points, the last heard first.

    ``rows``: of `latest`. Beside the features: how many were heard and have no position, how many are in the box, and
    whether ``limit`` leaves some of those out.
    """
    heard = [row for row in rows if now - row["last_contact"] <= max_age_s]
    placed = [row for row in heard if row["longitude"] is not None and row["latitude"] is not None]
    inside = [row for row in placed if box is None or box.holds(row["longitude"], row["latitude"])]
    newest = sorted(inside, key=lambda row: (-row["last_contact"], row["icao24"]))[:limit]
    return collection(_aircraft(row, now) for row in newest) | {
        "time": datetime.fromtimestamp(now, UTC),
        "without_position": len(heard) - len(placed),
        "matched": len(inside),
        "truncated": len(inside) > limit,
    }


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


def _heard(rows: Sequence[Row]) -> list[Place]:
    """An aircraft's positions in the order of time, each once: several records may tell of the same one."""
    arrived = sorted(rows, key=lambda row: (row["partition"], row["offset"]))
    events = {row["event_id"]: row for row in reversed(arrived)}.values()
    in_time = sorted(events, key=lambda row: (row["event_time"], row["partition"], row["offset"]))
    places = {
        place.at: place
        for row in reversed(in_time)
        if row["longitude"] is not None and row["latitude"] is not None
        for place in [_place(row)]
    }
    return [places[at] for at in sorted(places)]


def _place(row: Row) -> Place:
    at = row["event_time"] if row["time_position"] is None else datetime.fromtimestamp(row["time_position"], UTC)
    return Place(row["longitude"], row["latitude"], at, row["baro_altitude"], row["geo_altitude"])


def _stretches(fixes: Sequence[Place], pause: timedelta) -> Iterator[list[Place]]:
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
    properties = {
        "truck_id": truck_id,
        "start": fixes[0].at,
        "end": fixes[-1].at,
        "fixes": len(fixes),
        "distance_km": _distance_km(fixes, settings.implausible_kmh),
        "times": _nested(lines, lambda place: place.at),
    }
    return feature(_geometry(lines, lambda place: [place.longitude, place.latitude]), properties)


def _flown(icao24: str, places: Sequence[Place]) -> Json:
    lines = _cut(places)
    is_high = all(place.geo_altitude is not None for place in places)
    properties = {
        "icao24": icao24,
        "start": places[0].at,
        "end": places[-1].at,
        "positions": len(places),
        "distance_km": _distance_km(places),
        "times": _nested(lines, lambda place: place.at),
        "baro_altitudes": _nested(lines, lambda place: place.baro_altitude),
        "geo_altitudes": _nested(lines, lambda place: place.geo_altitude),
    }
    return feature(_geometry(lines, lambda place: _position(place, is_high=is_high)), properties)


def _position(place: Place, *, is_high: bool) -> list[float | None]:
    return [place.longitude, place.latitude, *([place.geo_altitude] if is_high else [])]


def _aircraft(row: Row, now: float) -> Json:
    properties = {name: row.get(name) for name in LatestState.model_fields if name not in ("longitude", "latitude")}
    properties["age_s"] = round(now - row["last_contact"], 3)
    altitude = row["geo_altitude"]
    coordinates = [row["longitude"], row["latitude"], *([] if altitude is None else [altitude])]
    return feature({"type": "Point", "coordinates": coordinates}, properties) | {"id": row["icao24"]}


def _nested(lines: Sequence[Sequence[Place]], value: Callable[[Place], Any]) -> list[Any]:
    """Something of each place; of several lines a list for each."""
    values = [[value(place) for place in line] for line in lines]
    return values if len(values) > 1 else values[0]


def _geometry(lines: Sequence[Sequence[Place]], position: Callable[[Place], list[Any]]) -> Json:
    coordinates = _nested(lines, position)
    if len(lines) > 1:
        return {"type": "MultiLineString", "coordinates": coordinates}
    if len(coordinates) == 1:
        return {"type": "Point", "coordinates": coordinates[0]}
    return {"type": "LineString", "coordinates": coordinates}


def _distance_km(fixes: Sequence[Place], implausible_kmh: float = inf) -> float:
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
            cut = Place(
                side,
                here.latitude + share * (there.latitude - here.latitude),
                here.at + share * (there.at - here.at),
                _between(here.baro_altitude, there.baro_altitude, share),
                _between(here.geo_altitude, there.geo_altitude, share),
            )
            lines[-1].append(cut)
            lines.append([cut._replace(longitude=-side)])
        lines[-1].append(there)
    return lines


def _between(here: float | None, there: float | None, share: float) -> float | None:
    return None if here is None or there is None else here + share * (there - here)
