"""What the page about aircraft asks for beside its pushes: states, and trails from before it was opened."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
from fastapi import APIRouter, FastAPI, Query, Response

from dashboards.hub import Hub
from dashboards.maps.live import add_socket
from dashboards.pages.aircraft import SOCKET, TRAILS
from dashboards.sky import KEEP_PLACES, MEMORY_SECONDS, SkySource, SkyTracker
from headwater.contracts.aircraft import AIRCRAFT

MOST_POINTS = 120_000
"""In all trails together: 4 MB, and what a browser still draws with ease."""


def add_routes(server: FastAPI, hub: Hub) -> None:
    """All of them. Before Dash's catch-all, which comes with the lifespan."""
    router = APIRouter(include_in_schema=False)

    # Not a coroutine: ten thousand trails take a tenth of a second, which the pages' loop doesn't have.
    @router.get(TRAILS)
    def trails(icao24: Annotated[str, Query()] = "") -> Response:
        return Response(orjson.dumps(_trails(hub, icao24)), media_type="application/json")

    server.include_router(router)
    add_socket(server, SOCKET, hub, SkySource(time.time))


def _trails(hub: Hub, icao24: str) -> dict[str, list[tuple[float, ...]]]:
    """Longitude, latitude, ms since 1970 and altitude (m, or none): of one aircraft, or of all, then fewer of each."""
    tracker = hub.latest.streams[AIRCRAFT.name].tracker if hub.latest else None
    if not isinstance(tracker, SkyTracker):
        return {}
    if icao24:
        return {icao24: [(p.longitude, p.latitude, round(p.time * 1e3), p.altitude) for p in tracker.places(icao24)]}
    now = time.time()
    most = min(KEEP_PLACES, max(MOST_POINTS // max(tracker.view(now).aircraft, 1), 2))
    return {name: [*trail] for name, trail in tracker.trails(most, now - MEMORY_SECONDS).items()}
