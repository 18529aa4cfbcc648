"""What the API says of aircraft beyond their tables: what is up now, and where one has been, as GeoJSON."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime

from dashboards import geojson
from dashboards.geojson import Box, GeoJson, Row
from dashboards.hub import Hub
from dashboards.tables import Page, read_page
from headwater.contracts.aircraft import AIRCRAFT, LatestState
from headwater.settings import Settings

NAMES = ("now", "track/{icao24}")

MAX_AGE_S = 300.0
MOST_AIRCRAFT = 50_000
DEFAULT_SPAN = timedelta(hours=24)
DEFAULT_RECORDS, MOST_RECORDS = 10_000, 100_000
COLUMNS = (
    "event_id", "event_time", "time_position", "longitude", "latitude", "baro_altitude", "geo_altitude",
    "partition", "offset",
)  # fmt: skip
IN_TIME = ("event_time", "partition", "offset")

South = Annotated[float | None, Query(ge=-90, le=90, description="Of a box, in degrees; all four or none.")]
North = Annotated[float | None, Query(ge=-90, le=90, description="Not below `south`.")]
West = Annotated[float | None, Query(ge=-180, le=180, description="Greater than `east`: the box crosses 180 degrees.")]
East = Annotated[float | None, Query(ge=-180, le=180)]
MaxAge = Annotated[float, Query(ge=0, allow_inf_nan=False, description="Heard within so many seconds.")]
OnGround = Annotated[bool | None, Query(description="Only those that say they are on the ground, or are not.")]
Aircraft = Annotated[str, Path(description="The transponder's address, as the records have it.")]
Since = Annotated[AwareDatetime | None, Query(description="Last contact from this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime | None, Query(description="Last contact before this time: ISO 8601 with offset.")]
MostAircraft = Annotated[int, Query(ge=1, le=MOST_AIRCRAFT, description="At most so many, the last heard.")]
Limit = Annotated[int, Query(ge=1, le=MOST_RECORDS, description="At most so many records, the newest.")]


def add_routes(router: APIRouter, settings: Settings, hub: Hub) -> None:
    """The routes of :data:`NAMES`."""
    _add_now(router, settings, hub)
    _add_track(router, settings)


def _add_now(router: APIRouter, settings: Settings, hub: Hub) -> None:
    # Not a coroutine: ten thousand aircraft take a tenth of a second, which the pages' loop doesn't have.
    @router.get("/aircraft/now", tags=[AIRCRAFT.name], name="aircraft_now", response_class=GeoJson)
    def now(
        south: South = None,
        west: West = None,
        north: North = None,
        east: East = None,
        max_age_s: MaxAge = MAX_AGE_S,
        on_ground: OnGround = None,
        limit: MostAircraft = MOST_AIRCRAFT,
    ) -> GeoJson:
        """The aircraft heard within `max_age_s`, the last heard first: a FeatureCollection of Points.

        Properties: the fields of `latest` in OpenSky's units, and `age_s`, the seconds since `last_contact`. Third
        coordinate: `geo_altitude` where it is known. Beside the features: `time`, `without_position` (heard, and left
        out), `matched` (in the box), `truncated` (`limit` leaves some out).
        """
        box = _box(south=south, west=west, north=north, east=east)
        rows = _latest(settings, hub)
        if on_ground is not None:
            rows = [row for row in rows if row["on_ground"] is on_ground]
        return GeoJson(geojson.aircraft_now(rows, time.time(), max_age_s, box, limit))


def _box(**edges: float | None) -> Box | None:
    """The edges as a box; 422 where they are none."""
    given = {name: value for name, value in edges.items() if value is not None}
    if not given:
        return None
    if missing := [name for name in edges if name not in given]:
        raise HTTPException(422, {"error": f"a box has four edges: {', '.join(missing)} missing"})
    box = Box(**given)
    if box.south > box.north:
        raise HTTPException(422, {"error": f"south ({box.south:g}) is above north ({box.north:g})"})
    return box


def _latest(settings: Settings, hub: Hub) -> Collection[Row]:
    """From memory; where it has none (no feed, or no query that feeds it) from Delta."""
    snapshot = hub.latest
    held = snapshot.streams[AIRCRAFT.name].table("latest") if snapshot else {}
    if held:
        return held.values()
    columns = tuple(LatestState.model_fields)
    return read_page(settings.delta(AIRCRAFT.name, "latest"), Page(columns, ("event_time",), MOST_AIRCRAFT))


def _add_track(router: APIRouter, settings: Settings) -> None:
    records, latest = (settings.delta(AIRCRAFT.name, table) for table in ("records", "latest"))

    @router.get(
        "/aircraft/track/{icao24:path}",
        tags=[AIRCRAFT.name],
        name="aircraft_track",
        response_class=GeoJson,
        responses={404: {"description": "No aircraft of this address."}},
    )
    def track(icao24: Aircraft, since: Since = None, until: Until = None, limit: Limit = DEFAULT_RECORDS) -> GeoJson:
        """Where an aircraft has been: a LineString for each stretch without ten minutes that no position is known of.

        Without `since` the last 24 hours before `until`, or before its newest record. A MultiLineString crosses 180
        degrees, a Point is a single position. Properties: `icao24`, `start`, `end`, `positions`, `distance_km`, and,
        one for each position and nested as they are, `times`, `baro_altitudes`, `geo_altitudes` (m, null where not
        known). Third coordinate: the geometric altitude, in features that know it of every position. `truncated`
        beside the features says that the newest `limit` records were not all.
        """
        found = read_page(latest, Page(("event_time",), ("event_time",), 1, equal={AIRCRAFT.key: icao24}))
        if not found:
            raise HTTPException(404, {"error": f"there is no aircraft {icao24!r}", "known": "/api/v1/aircraft/latest"})
        newest = found[0]["event_time"]
        start = since or min(until or newest, newest) - DEFAULT_SPAN
        page = Page(COLUMNS, IN_TIME, limit + 1, 0, "event_time", start, until, {AIRCRAFT.key: icao24})
        rows = read_page(records, page)
        answer = geojson.aircraft_track(icao24, rows[:limit])
        return GeoJson(answer | {"truncated": len(rows) > limit})
