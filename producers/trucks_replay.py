"""Recorded vehicles as trucks: Capital Metro's buses, and any CSV whose columns have usual names.

CapMetro (Austin, as kept by the CapMetrics project): `vehicle_id`, `timestamp` with its offset, `speed` in **m/s**,
`latitude`, `longitude`, `trip_headsign`, which becomes `route`: it is what stands on the bus. `route_id` and `trip_id`
go out under their own names, unknown to the contract.

Any other file: `ALIASES` says which names are understood. Its plain `speed` is taken as **km/h**; in Traccar's own
exports it is in knots, so name that column `speed_knots` (see docs/decisions/0025-recorded-vehicles.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from producers.columns import Aliases, plain, scaled, utc
from producers.columns import understood as columns
from producers.replay import Cells, Format, RawRecord, number

CAPMETRO_FIELDS = {"vehicle_id": "truck_id", "timestamp": "event_time", "trip_headsign": "route", "speed": "speed_kmh"}
CAPMETRO_REQUIRED = (*CAPMETRO_FIELDS, "latitude", "longitude")

KMH, MPH, MS, KNOTS = Fraction(1), Fraction("1.609344"), Fraction("3.6"), Fraction("1.852")
SPEEDS = {
    "speedkmh": KMH, "speedkph": KMH, "speedkmph": KMH, "kmh": KMH, "kph": KMH,
    "speedmph": MPH, "mph": MPH,
    "speedms": MS, "speedmps": MS,
    "speedknots": KNOTS, "speedkn": KNOTS, "speedkt": KNOTS, "knots": KNOTS,
    "speed": KMH,
}  # fmt: skip
"""What a speed's column is multiplied by, by its name."""

ALIASES: Aliases = {
    # Of several groups the first that a header has counts: Traccar has both `id` (of a position) and `deviceId`.
    "truck_id": (
        ("truckid", "vehicleid", "deviceid", "unitid", "assetid", "busid", "taxiid"),
        ("truck", "vehicle", "device", "unit", "asset", "plate", "imei"),
        ("id",),
    ),
    "latitude": (("latitude", "lat"), ("y",)),
    "longitude": (("longitude", "lon", "lng", "long"), ("x",)),
    "event_time": (
        ("eventtime", "fixtime", "gpstime", "recordedat"),
        ("timestamp", "datetime", "devicetime", "ts"),
        ("time",),
    ),
    "speed_kmh": (tuple(name for name in SPEEDS if name != "speed"), ("speed",)),
    "heading_deg": (("headingdeg", "heading", "course", "bearing", "azimuth"), ("direction",)),
    "driver": (("driver", "drivername"),),
    "route": (("route",),),
    "cargo": (("cargo",),),
}
REQUIRED = ("truck_id", "latitude", "longitude", "event_time")


def is_capmetro(header: Collection[str]) -> bool:
    """Whether a header holds CapMetro's columns, and none that would be two of our fields."""
    return set(CAPMETRO_REQUIRED) <= set(header) and set(CAPMETRO_FIELDS.values()).isdisjoint(header)


def from_capmetro(cells: Cells, _path: Path) -> list[RawRecord]:
    """One fix of a row."""
    return [_fix(cells, CAPMETRO_FIELDS, MS)]


def is_understood(header: Collection[str]) -> bool:
    """Whether a header's columns are a vehicle, a place and a time. Raises ReplayError where two mean the same."""
    return set(REQUIRED) <= set(understood(tuple(header))[0].values())


def from_aliases(cells: Cells, _path: Path) -> list[RawRecord]:
    """One fix of a row, by the names of its columns."""
    return [_fix(cells, *understood(tuple(cells)))]


def _fix(cells: Cells, fields: Mapping[str, str], unit: Fraction) -> RawRecord:
    fix: RawRecord = {}
    for name, text in cells.items():
        if text != "":
            field = fields.get(name, name)
            fix[field] = scaled(text, unit) if field == "speed_kmh" else CASTS.get(field, str)(text)
    return fix


@lru_cache(maxsize=64)
def understood(header: tuple[str, ...]) -> tuple[dict[str, str], Fraction]:
    """Which column is which field, and the unit of the speed. Raises ReplayError where two columns mean one field."""
    fields = columns(header, ALIASES)
    return fields, next((SPEEDS[plain(name)] for name, field in fields.items() if field == "speed_kmh"), KMH)


CASTS: dict[str, Callable[[str], Any]] = {
    "latitude": number,
    "longitude": number,
    "heading_deg": number,
    "event_time": utc,
}

CAPMETRO = Format(
    name="CapMetro vehicle positions",
    columns="vehicle_id, timestamp, speed (m/s), latitude, longitude, trip_headsign",
    matches=is_capmetro,
    convert=from_capmetro,
)
VEHICLES = Format(
    name="vehicles by usual names",
    columns="a vehicle (truck_id, vehicle_id, device_id, id ...), latitude (lat, y), longitude (lon, lng, x), a time "
    "(event_time, timestamp, fix_time, ts ...), and any of speed_kmh, speed_mph, speed_ms, speed_knots, speed (km/h), "
    "heading (course, bearing ...), driver, route, cargo",
    matches=is_understood,
    convert=from_aliases,
)
