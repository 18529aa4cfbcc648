"""Makes `land.bin.gz`, the land and the borders that every map is drawn on, from Natural Earth. Run once, by hand.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m dashboards.maps.make_land package/countries-10m.json dashboards/maps/land.bin.gz

Source: Natural Earth 1:10m (https://www.naturalearthdata.com, public domain) as TopoJSON by npm `world-atlas` 2.0.2.

The file is packed by gzip at rest, since that is how it is served; within, little endian, int32 throughout: how many
vertices, triangles, border and coast segments there are; the vertices' longitudes, then their latitudes, in 1e-4
degrees; the triangles, then the borders, then the coast, as numbers of vertices. Each of these runs holds differences
to the value before (of a row's first corner: to the first corner before; of its others: to its first), which the
browser adds up and gzip packs well.
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box

Array = NDArray[Any]
Point = tuple[float, float]
Ring = list[Point]

UNITS = 1e4
TOLERANCE_DEG = 0.01
LEAST_CORNERS = 4
MERCATOR_LATITUDE = 85.0511
WORLD = box(-180, -MERCATOR_LATITUDE, 180, MERCATOR_LATITUDE)


def arcs_of(topology: dict[str, Any]) -> list[Array]:
    """Every arc as an array of longitude and latitude, with no more corners than a map of a province needs.

    Each by itself, so that neighbours still share their border.
    """
    scale, shift = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    exact = (np.cumsum(np.array(arc), axis=0) * scale + shift for arc in topology["arcs"])
    lines = shapely.simplify([shapely.LineString(arc) for arc in exact], TOLERANCE_DEG, preserve_topology=False)
    return [shapely.get_coordinates(line) for line in lines]


def numbers_in(geometry: dict[str, Any]) -> Iterator[list[int]]:
    """The rings of a geometry, each as the numbers of its arcs; one below zero is walked backwards."""
    if geometry.get("type") == "GeometryCollection":
        for inner in geometry["geometries"]:
            yield from numbers_in(inner)
    elif geometry.get("type") == "Polygon":
        yield from geometry["arcs"]
    elif geometry.get("type") == "MultiPolygon":
        for polygon in geometry["arcs"]:
            yield from polygon


def ring_of(numbers: Iterable[int], arcs: list[Array]) -> Ring:
    """A closed ring; arcs share their ends."""
    points: Ring = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        points += [(float(x), float(y)) for x, y in arc[1 if points else 0 :]]
    return points


def unrolled(ring: Ring) -> Ring:
    """Without leaps at the date line. A ring around a pole is closed over the map's edge."""
    points = [ring[0]]
    for x, y in ring[1:]:
        before = points[-1][0]
        points.append((x - 360 * round((x - before) / 360), y))
    if abs(points[-1][0] - points[0][0]) > 180:
        edge = -90.0 if points[0][1] < 0 else 90.0
        points += [(points[-1][0], edge), (points[0][0], edge), points[0]]
    return points


def cut(polygon: Polygon | MultiPolygon) -> list[Polygon]:
    """In pieces between 180 degrees west and east."""
    west, _, east, _ = polygon.bounds
    pieces = []
    for turn in range(int((west + 180) // 360), int((east + 180) // 360) + 1):
        shifted = translate(polygon, xoff=-360 * turn)
        found = shapely.intersection(shifted, WORLD)
        pieces += [part for part in shapely.get_parts(found) if part.geom_type == "Polygon" and part.area > 0]
    return pieces


def polygons_of(geometry: dict[str, Any], arcs: list[Array]) -> Iterator[Polygon]:
    """The land, valid and cut."""
    for polygon in geometry["arcs"]:
        outer, *holes = (unrolled(ring_of(numbers, arcs)) for numbers in polygon)
        if len(outer) < LEAST_CORNERS:  # an islet of which nothing is left
            continue
        made = shapely.make_valid(Polygon(outer, [hole for hole in holes if len(hole) >= LEAST_CORNERS]))
        for part in shapely.get_parts(made):
            if isinstance(part, Polygon | MultiPolygon):
                yield from cut(part)


class Vertices:
    """Places by their number, each once."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}

    def number(self, x: float, y: float) -> int:
        return self._numbers.setdefault((round(x * UNITS), round(y * UNITS)), len(self._numbers))

    def columns(self) -> tuple[Array, Array]:
        places = np.array(list(self._numbers), dtype="<i4")
        return places[:, 0], places[:, 1]


def lines_of(arcs: list[Array], vertices: Vertices) -> Iterator[tuple[int, int]]:
    """Segments, without those that would cross the whole map."""
    for arc in arcs:
        for (x, y), (to_x, to_y) in pairwise(arc):
            if abs(to_x - x) < 180:
                yield vertices.number(x, y), vertices.number(to_x, to_y)


def differences(rows: Array) -> Array:
    """Rows of vertex numbers, the first to the row before, the others to the first."""
    coded = rows - rows[:, :1]
    coded[:, 0] = np.diff(rows[:, 0], prepend=0)
    return np.asarray(coded, "<i4")


def encoded(topology: dict[str, Any]) -> bytes:
    """The file's content."""
    arcs = arcs_of(topology)
    land, countries = topology["objects"]["land"]["geometries"][0], topology["objects"]["countries"]
    vertices = Vertices()
    triangles = [
        [vertices.number(x, y) for x, y in triangle.exterior.coords[:3]]
        for polygon in polygons_of(land, arcs)
        for triangle in shapely.get_parts(shapely.constrained_delaunay_triangles(polygon))
    ]
    used = Counter(number if number >= 0 else ~number for ring in numbers_in(countries) for number in ring)
    borders = list(lines_of([arcs[number] for number, times in used.items() if times > 1], vertices))
    coast = list(lines_of([arcs[number] for number, times in used.items() if times == 1], vertices))
    longitudes, latitudes = vertices.columns()
    head = np.array([len(longitudes), len(triangles), len(borders), len(coast)], dtype="<i4")
    parts = [head, *(np.diff(column, prepend=0).astype("<i4") for column in (longitudes, latitudes))]
    runs = ((triangles, 3), (borders, 2), (coast, 2))
    parts += [differences(np.array(rows, int).reshape(-1, corners)) for rows, corners in runs]
    return b"".join(part.tobytes() for part in parts)


def main() -> int:
    """Read the TopoJSON, write the file."""
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(gzip.compress(encoded(orjson.loads(source.read_bytes())), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
