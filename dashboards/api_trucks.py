"""What the API says of trucks beyond their tables: where one has been, and the areas on the map, as GeoJSON."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime

from dashboards import geojson
from dashboards.geojson import GeoJson
from dashboards.tables import Page, read_page
from headwater.contracts.trucks import TRUCKS
from headwater.errors import SettingsError
from headwater.geofences import load_geofences
from headwater.settings import Settings

NAMES = ("track/{truck_id}", "geofences")

DEFAULT_SPAN = timedelta(hours=24)
DEFAULT_FIXES, MOST_FIXES = 10_000, 100_000
COLUMNS = ("event_id", "event_time", "latitude", "longitude", "partition", "offset")
IN_TIME = ("event_time", "partition", "offset")

Truck = Annotated[str, Path(description="A truck's id, as the records have it.")]
Since = Annotated[AwareDatetime | None, Query(description="From this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime | None, Query(description="Before this time: ISO 8601 with offset.")]
Limit = Annotated[int, Query(ge=1, le=MOST_FIXES, description="At most so many records, the newest.")]


def add_routes(router: APIRouter, settings: Settings) -> None:
    """The routes of :data:`NAMES`."""
    _add_track(router, settings)
    _add_geofences(router, settings)


def _add_track(router: APIRouter, settings: Settings) -> None:
    records, latest = (settings.delta(TRUCKS.name, table) for table in ("records", "latest"))

    @router.get(
        "/trucks/track/{truck_id:path}",
        tags=[TRUCKS.name],
        name="trucks_track",
        response_class=GeoJson,
        responses={404: {"description": "No truck of this id."}},
    )
    def track(truck_id: Truck, since: Since = None, until: Until = None, limit: Limit = DEFAULT_FIXES) -> GeoJson:
        """Where a truck has been: a FeatureCollection with a LineString for each stretch without a pause of an hour.

        Without `since` the last 24 hours before `until`, or before its newest fix. A MultiLineString crosses 180
        degrees, a Point is a single fix. Properties: `truck_id`, `start`, `end`, `fixes`, `distance_km`, and `times`,
        one for each position and nested as they are. `truncated` beside the features says that the newest `limit`
        records were not all; the rest is what comes before the first `start`.
        """
        found = read_page(latest, Page(("event_time",), ("event_time",), 1, equal={TRUCKS.key: truck_id}))
        if not found:
            raise HTTPException(404, {"error": f"there is no truck {truck_id!r}", "known": "/api/v1/trucks/latest"})
        newest = found[0]["event_time"]
        start = since or min(until or newest, newest) - DEFAULT_SPAN
        page = Page(COLUMNS, IN_TIME, limit + 1, 0, "event_time", start, until, {TRUCKS.key: truck_id})
        rows = read_page(records, page)
        answer = geojson.track(truck_id, rows[:limit], settings.trucks)
        return GeoJson(answer | {"truncated": len(rows) > limit})


def _add_geofences(router: APIRouter, settings: Settings) -> None:
    @router.get("/trucks/geofences", tags=[TRUCKS.name], name="trucks_geofences", response_class=GeoJson)
    def geofences() -> GeoJson:
        """The areas whose passages are alerts, from the file that the settings name: `name` and `kind` of each."""
        try:
            return GeoJson(geojson.geofences(load_geofences(settings.trucks.geofences)))
        except SettingsError as error:
            raise HTTPException(500, {"error": str(error)}) from error
