"""Recorded vehicles as trucks: Capital Metro's buses, and any CSV whose columns have usual names.

CapMetro (Austin, as kept by the CapMetrics project): `vehicle_id`, `timestamp` with its offset, `speed` in **m/s**,
`latitude`, `longitude`, `trip_headsign`, which becomes `route`: it is what stands on the bus. `route_id` and `trip_id`
go out under their own names, unknown to the contract.

Any other file: `ALIASES` says which names are understood. Its plain `speed` is taken as **km/h**; in Traccar's own
exports it is in knots, so name that column `speed_knots` (see docs/decisions/0025-recorded-vehicles.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from producers.replay import EPOCH, Cells, Format, RawRecord, ReplayError, instant, number

CAPMETRO_FIELDS = {"vehicle_id": "truck_id", "timestamp": "event_time", "trip_headsign": "route", "speed": "speed_kmh"}
CAPMETRO_REQUIRED = (*CAPMETRO_FIELDS, "latitude", "longitude")

KMH, MPH, MS, KNOTS = Decimal(1), Decimal("1.609344"), Decimal("3.6"), Decimal("1.852")
SPEEDS = {
    "speedkmh": KMH, "speedkph": KMH, "speedkmph": KMH, "kmh": KMH, "kph": KMH,
    "speedmph": MPH, "mph": MPH,
    "speedms": MS, "speedmps": MS,
    "speedknots": KNOTS, "speedkn": KNOTS, "speedkt": KNOTS, "knots": KNOTS,
    "speed": KMH,
}  # fmt: skip
"""What a speed's column is multiplied by, by its name."""

ALIASES: dict[str, tuple[tuple[str, ...], ...]] = {
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

MILLISECONDS_FROM = 100_000_000_000
"""Seconds since 1970 reach it in the year 5138, milliseconds reached it in 1973."""
_EPOCH_TIME = re.compile(r"\d{9,13}(\.\d{1,9})?", re.ASCII)


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


def _fix(cells: Cells, fields: Mapping[str, str], unit: Decimal) -> RawRecord:
    fix: RawRecord = {}
    for name, text in cells.items():
        if text != "":
            field = fields.get(name, name)
            fix[field] = in_kmh(text, unit) if field == "speed_kmh" else CASTS.get(field, str)(text)
    return fix


@lru_cache(maxsize=64)
def understood(header: tuple[str, ...]) -> tuple[dict[str, str], Decimal]:
    """Which column is which field, and the unit of the speed. Raises ReplayError where two columns mean one field.

    A column that is not taken although its name is known, since a better one is there, goes out as any unknown one.
    """
    fields: dict[str, str] = {}
    unit = KMH
    for field, groups in ALIASES.items():
        for group in groups:
            named = [name for name in header if plain(name) in group]
            if len(named) > 1:
                raise ReplayError(f"columns {' and '.join(named)} would both be {field}: rename or remove all but one")
            if named:
                fields[named[0]] = field
                unit = SPEEDS[plain(named[0])] if field == "speed_kmh" else unit
                break
    return fields, unit


def plain(name: str) -> str:
    """A column's name without case, spaces and signs: `Speed (km/h)` is `speedkmh`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def in_kmh(text: str, factor: Decimal) -> float | str:
    """The float nearest to a speed in another unit; the text where it is no number."""
    return number(str(Decimal(text.strip()) * factor)) if isinstance(number(text), float) else text


def moment(text: str) -> Any:
    """ISO 8601, UTC where it names no offset, or seconds or milliseconds since 1970; else the text."""
    if not _EPOCH_TIME.fullmatch(text.strip()):
        return instant(text)
    value = Decimal(text.strip())
    microseconds = value * (1_000 if value >= MILLISECONDS_FROM else 1_000_000)
    return EPOCH + timedelta(microseconds=round(microseconds))


CASTS: dict[str, Callable[[str], Any]] = {
    "latitude": number,
    "longitude": number,
    "heading_deg": number,
    "event_time": moment,
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
