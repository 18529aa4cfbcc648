"""What lies under the trucks: land, borders and names of towns within a box. No network, a few kilobytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from dashboards.geojson import Json, collection, feature
from dashboards.maps.files import LAND, packed

MERCATOR_LATITUDE = 85.05
UNITS = 1e4
MOST_TOWNS = 250


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
        """On every side by its own size, and by no less than some degrees."""
        wide, high = max(self.east - self.west, least), max(self.north - self.south, least)
        return Box(
            max(self.west - wide, -180.0),
            max(self.south - high, -MERCATOR_LATITUDE),
            min(self.east + wide, 180.0),
            min(self.north + high, MERCATOR_LATITUDE),
        )


class Town(NamedTuple):
    """Where a town is, in degrees."""

    name: str
    longitude: float
    latitude: float


def land(box: Box) -> Json:
    """Land and borders as GeoJSON."""
    whole, borders = _outlines()
    parts = {"land": shapely.clip_by_rect(whole, *box), "border": shapely.clip_by_rect(borders, *box)}
    return collection(
        feature(orjson.loads(shapely.to_geojson(part)), {"kind": kind})
        for kind, part in parts.items()
        if not part.is_empty
    )


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
def _outlines() -> tuple[Geometry, Geometry]:
    """All the land and all borders, from the file that the fleet's page draws (`dashboards.maps.make_land`)."""
    numbers = np.frombuffer(gzip.decompress(LAND.read_bytes()), dtype="<i4")
    (vertices, triangles, borders, _), numbers = numbers[:4], numbers[4:]
    longitudes, latitudes, corners, ends, _ = np.split(
        numbers, np.cumsum([vertices, vertices, 3 * triangles, 2 * borders])
    )
    places = np.column_stack([np.cumsum(longitudes), np.cumsum(latitudes)]) / UNITS
    surface = shapely.coverage_union_all(shapely.polygons(places[_rows(corners, 3)[:, [0, 1, 2, 0]]]))
    lines = shapely.line_merge(shapely.MultiLineString(list(places[_rows(ends, 2)])))
    return surface, lines


def _rows(differences: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Numbers of vertices, given the first's difference to the row before and the others' to the first."""
    rows = differences.reshape(-1, width).copy()
    first = np.cumsum(rows[:, :1], axis=0)
    rows[:, 0] = 0
    return rows + first
