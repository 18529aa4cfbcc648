"""What the API has of CO2 beyond its tables: acknowledging an alarm."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from dashboards.acknowledge import Asked, UnknownAlarmError, acknowledge
from dashboards.hub import Hub
from dashboards.maps.live import own_origin
from headwater.contracts.co2 import CO2, Acknowledgement
from headwater.errors import BrokerError
from headwater.settings import Settings

NAMES = ("alarms/acknowledge",)


def add_routes(router: APIRouter, settings: Settings, hub: Hub) -> None:
    """The routes of :data:`NAMES`."""
    _add_acknowledge(router, settings, hub)


def _from_here(request: Request) -> None:
    """Another site's page can post a form, in its reader's name, and not JSON, nor hide where it comes from."""
    origin = request.headers.get("origin")
    if origin is not None and not own_origin(origin, request.headers.get("host")):
        raise HTTPException(403, {"error": f"a page of {origin} may not acknowledge alarms here"})
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, {"error": "the body is to be application/json"})


def _add_acknowledge(router: APIRouter, settings: Settings, hub: Hub) -> None:
    @router.post(
        "/co2/alarms/acknowledge",
        tags=[CO2.name],
        name="co2_acknowledge",
        status_code=202,
        dependencies=[Depends(_from_here)],
        responses={
            200: {"model": Acknowledgement, "description": "Acknowledged before: by whom, and when."},
            403: {"description": "Asked by another site's page."},
            404: {"description": "No alarm of this id."},
            415: {"description": "The body is not JSON."},
            503: {"description": "Kafka can't be reached."},
        },
    )
    def acknowledge_alarm(asked: Asked, response: Response) -> Acknowledgement:
        """Says that somebody has seen an alarm. 202: Kafka has it, and the alarm's row follows within seconds.

        An alarm is acknowledged once; whoever comes later gets 200 and is told who was first.
        """
        try:
            answer = acknowledge(settings, hub, asked)
        except UnknownAlarmError as error:
            raise HTTPException(404, {"error": str(error), "known": f"/api/v1/{CO2.name}/alarms"}) from error
        except BrokerError as error:
            raise HTTPException(503, {"error": str(error)}) from error
        if not answer.is_new:
            response.status_code = 200
        return answer.acknowledgement
