"""What the page about trucks asks for beside its pushes: positions, trails and areas."""

from __future__ import annotations

import time
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, FastAPI, Query, Response
from shapely.geometry import mapping

from dashboards.fleet import KEEP_FIXES, FleetSource, FleetTracker
from dashboards.hub import Hub
from dashboards.maps.live import add_socket
from dashboards.pages import trucks_replay
from dashboards.pages.trucks import AREAS, SOCKET, TRAILS
from headwater.contracts.trucks import TRUCKS
from headwater.errors import SettingsError
from headwater.geofences import load_geofences
from headwater.settings import Settings

log = structlog.get_logger(__name__)

MOST_POINTS = 60_000
"""In all trails together: a few MB, and what a browser still draws with ease."""


def add_routes(server: FastAPI, settings: Settings, hub: Hub) -> None:
    """All of them. Before Dash's catch-all, which comes with the lifespan."""
    router, shown = APIRouter(include_in_schema=False), APIRouter()
    areas = orjson.dumps(_areas(settings))

    @router.get(AREAS)
    async def geofences() -> Response:
        return Response(areas, media_type="application/geo+json")

    @router.get(TRAILS)
    async def trails(truck_id: Annotated[str, Query()] = "") -> Response:
        return Response(orjson.dumps(_trails(hub, truck_id)), media_type="application/json")

    trucks_replay.add_routes(shown, settings)
    server.include_router(router)
    server.include_router(shown)
    add_socket(server, SOCKET, hub, FleetSource(time.time))


def _areas(settings: Settings) -> dict[str, Any]:
    """The geofences as GeoJSON. A map without them is better than none: the job is who must refuse a wrong file."""
    try:
        fences = load_geofences(settings.trucks.geofences)
    except SettingsError as error:
        log.warning("no_geofences", error=str(error))
        fences = ()
    features = [
        {"type": "Feature", "properties": {"name": f.name, "kind": f.kind}, "geometry": mapping(f.geometry)}
        for f in fences
    ]
    return {"type": "FeatureCollection", "features": features}


def _trails(hub: Hub, truck_id: str) -> dict[str, list[tuple[float, float, float]]]:
    """Longitude, latitude and ms since 1970 of the last fixes: of one truck, or of all, then fewer of each."""
    tracker = hub.latest.streams[TRUCKS.name].tracker if hub.latest else None
    if not isinstance(tracker, FleetTracker):
        return {}
    if truck_id:
        found = {truck_id: [(fix.longitude, fix.latitude, fix.time) for fix in tracker.fixes(truck_id)]}
    else:
        trucks = max(tracker.view(hub.latest.at).trucks if hub.latest else 0, 1)
        found = tracker.trails(min(KEEP_FIXES, max(MOST_POINTS // trucks, 2)))
    return {name: [(x, y, round(at * 1e3)) for x, y, at in trail] for name, trail in found.items()}
