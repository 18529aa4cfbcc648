"""What lies under the trucks: land, borders and names of towns within a box. No network, a few kilobytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from functools import cache, lru_cache
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from dashboards.geojson import Json, collection, feature
from dashboards.maps.files import LAND, packed

MERCATOR_LATITUDE = 85.05
UNITS = 1e4
MOST_TOWNS = 250
FINENESS = 4_000
"""Parts of the box's width; what is smaller is left out of an outline."""

Places = NDArray[np.float64]


class Box(NamedTuple):
    """Degrees, between 180 west and east."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, places: Iterable[tuple[float, float]]) -> Box:
        """The least box that holds places given as (longitude, latitude), of which there is at least one."""
        longitudes, latitudes = zip(*places, strict=True)
        return cls(min(longitudes), min(latitudes), max(longitudes), max(latitudes))

    def grown(self, least: float) -> Box:
        """On every side by its own size, and by no less than some degrees; to whole ones."""
        wide, high = max(self.east - self.west, least), max(self.north - self.south, least)
        return Box(
            max(floor(self.west - wide), -180.0),
            max(floor(self.south - high), -MERCATOR_LATITUDE),
            min(ceil(self.east + wide), 180.0),
            min(ceil(self.north + high), MERCATOR_LATITUDE),
        )


class Town(NamedTuple):
    """Where a town is, in degrees."""

    name: str
    longitude: float
    latitude: float


@lru_cache(maxsize=8)
def land(box: Box) -> Json:
    """Land and borders as GeoJSON, as fine as a screen shows them: where a fleet stays, the box does too."""
    places, triangles, borders = _outlines()
    tolerance = (box.east - box.west) / FINENESS
    parts = {
        "land": shapely.union_all(shapely.polygons(_within(places[triangles], box))),
        "border": shapely.line_merge(shapely.MultiLineString(list(_within(places[borders], box)))),
    }
    clipped = {kind: shapely.simplify(shapely.clip_by_rect(part, *box), tolerance) for kind, part in parts.items()}
    return collection(
        feature(orjson.loads(shapely.to_geojson(part)), {"kind": kind})
        for kind, part in clipped.items()
        if not part.is_empty
    )


def _within(shapes: Places, box: Box) -> Places:
    """Those of some triangles or lines whose bounds meet a box."""
    least, greatest = shapes.min(axis=1), shapes.max(axis=1)
    west, south = least.T
    east, north = greatest.T
    found: Places = shapes[(west < box.east) & (east > box.west) & (south < box.north) & (north > box.south)]
    return found


def towns(box: Box, near: Box) -> list[Town]:
    """The most populous towns of a box, and those of a smaller one within it; the largest first."""
    chosen = {*_inside(box)[:MOST_TOWNS], *_inside(near)[:MOST_TOWNS]}
    return [town for town in _inside(box) if town in chosen]


def _inside(box: Box) -> list[Town]:
    return [
        town for town in _towns() if box.west <= town.longitude <= box.east and box.south <= town.latitude <= box.north
    ]


@cache
def _towns() -> list[Town]:
    return [Town(*row[:3]) for row in orjson.loads(gzip.decompress(packed("towns.json")))]


@cache
def _outlines() -> tuple[Places, NDArray[np.int32], NDArray[np.int32]]:
    """Places, and triangles of land and borders by their numbers, from what `dashboards.maps.make_land` wrote."""
    numbers = np.frombuffer(gzip.decompress(LAND.read_bytes()), dtype="<i4")
    (vertices, triangles, borders, _), numbers = numbers[:4], numbers[4:]
    runs = np.cumsum([vertices, vertices, 3 * triangles, 2 * borders])
    longitudes, latitudes, corners, ends, _ = np.split(numbers, runs)
    places = np.column_stack([np.cumsum(longitudes), np.cumsum(latitudes)]) / UNITS
    return places, _rows(corners, 3), _rows(ends, 2)


def _rows(differences: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Numbers of vertices, given the first's difference to the row before and the others' to the first."""
    rows = differences.reshape(-1, width).copy()
    first = np.cumsum(rows[:, :1], axis=0)
    rows[:, 0] = 0
    return rows + first
