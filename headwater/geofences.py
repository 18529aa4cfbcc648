"""Areas on the map that trucks enter and leave, from a GeoJSON file (RFC 7946).

A FeatureCollection of Polygons and MultiPolygons, each with the properties ``name`` (its own) and ``kind``
(``depot``, ``customer``, ``no_go``). An area that crosses 180 degrees is cut there, as the RFC asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from shapely import intersects_xy, prepare
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from headwater.errors import SettingsError

DEPOT, CUSTOMER, NO_GO = KINDS = ("depot", "customer", "no_go")


@dataclass(frozen=True)
class Geofence:
    """An area. Its edge belongs to it."""

    name: str
    kind: str
    geometry: BaseGeometry

    @cached_property
    def _bounds(self) -> tuple[float, float, float, float]:
        prepare(self.geometry)
        west, south, east, north = self.geometry.bounds
        return west, south, east, north

    def holds(self, latitude: float, longitude: float) -> bool:
        """Whether a place lies in it or on its edge."""
        west, south, east, north = self._bounds
        return (
            west <= longitude <= east
            and south <= latitude <= north
            and bool(intersects_xy(self.geometry, longitude, latitude))
        )


def load_geofences(path: Path) -> tuple[Geofence, ...]:
    """The areas of a file, in its order. What is wrong with it: SettingsError, which names the file and the area."""
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read {path} (setting trucks.geofences): {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from error
    features = found.get("features") if isinstance(found, dict) else None
    if not isinstance(features, list):
        raise SettingsError(f"{path} is no GeoJSON FeatureCollection: it has no list of `features`")
    fences = tuple(_geofence(path, number, feature) for number, feature in enumerate(features, 1))
    names = [fence.name for fence in fences]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path}: more than one area is called {', '.join(twice)}; give each a name of its own")
    return fences


def _geofence(path: Path, number: int, feature: Any) -> Geofence:
    try:
        properties, geometry = feature["properties"], feature["geometry"]
        name, kind, made = properties["name"], properties["kind"], shape(geometry)
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError) as error:
        raise SettingsError(
            f"{path}, feature {number}: expected a polygon with the properties `name` and `kind`; {error!r}"
        ) from error
    here = f"{path}, feature {number} ({name})"
    if not isinstance(name, str) or not name:
        raise SettingsError(f"{path}, feature {number}: `name` is to be a text")
    if kind not in KINDS:
        raise SettingsError(f"{here}: `kind` is to be one of {', '.join(KINDS)}, not {kind!r}")
    if made.geom_type not in ("Polygon", "MultiPolygon") or made.is_empty:
        raise SettingsError(f"{here}: expected a Polygon or MultiPolygon, not {made.geom_type}")
    if not made.is_valid:
        raise SettingsError(f"{here}: its outline crosses itself")
    return Geofence(name, kind, made)
