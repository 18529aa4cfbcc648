"""``GET /trucks/map.html``: the fleet now, as a page to embed or to mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from dashboards.hub import Hub
from dashboards.mailmap import page
from dashboards.state import seconds_of
from dashboards.tables import Page, read_page
from headwater.contracts.trucks import OFFLINE, TRUCKS, LatestFix
from headwater.errors import SettingsError
from headwater.geofences import load_geofences
from headwater.settings import Settings

PATH = "/trucks/map.html"
MOST_TRUCKS = 10_000
COLUMNS = tuple(LatestFix.model_fields)


def routes(settings: Settings, hub: Hub) -> APIRouter:
    """The page's route. Before Dash's catch-all, which comes with the lifespan."""
    router = APIRouter()

    @router.get(PATH, tags=[TRUCKS.name], name="trucks_map", response_class=HTMLResponse)
    def fleet_map() -> HTMLResponse:
        """The fleet now on a Folium map, made anew at each call; one file, whole without a network."""
        now = datetime.now(UTC)
        try:
            fences = load_geofences(settings.trucks.geofences)
        except SettingsError as error:
            raise HTTPException(500, {"error": str(error)}) from error
        html = page.document(fleet(settings, hub, now), fences, now)
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'inline; filename="fleet-{now:%Y%m%dT%H%M%SZ}.html"',
            "Content-Security-Policy": f"{page.policy(html)}; frame-ancestors 'self'",
        }
        return HTMLResponse(html, headers=headers)

    return router


def fleet(settings: Settings, hub: Hub, now: datetime) -> list[LatestFix]:
    """The trucks by their id: from the feed, or from Delta where it has none."""
    snapshot = hub.latest
    rows: Iterable[Mapping[str, Any]] = snapshot.streams[TRUCKS.name].table("latest").values() if snapshot else ()
    if not rows:
        rows = read_page(settings.delta(TRUCKS.name, "latest"), Page(COLUMNS, ("truck_id",), MOST_TRUCKS))
    silence = timedelta(seconds=settings.trucks.offline_seconds)
    return sorted((_truck(row, now - silence) for row in rows), key=lambda truck: truck.truck_id)


def _truck(row: Mapping[str, Any], heard_since: datetime) -> LatestFix:
    """A truck, offline where nothing came of it lately: who wrote the row may have fallen silent itself."""
    truck = LatestFix.model_validate({column: row.get(column) for column in COLUMNS})
    heard = max(truck.event_time.timestamp(), seconds_of(row.get("as_of")) or 0.0)
    return truck if heard >= heard_since.timestamp() else truck.model_copy(update={"state": OFFLINE})
