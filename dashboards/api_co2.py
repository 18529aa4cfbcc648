"""What the API has of CO2 beyond its tables: the readings, page by page or to download, and acknowledging an alarm."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, create_model

from dashboards import readings
from dashboards.acknowledge import Asked, UnknownAlarmError, acknowledge
from dashboards.hub import Hub
from dashboards.maps.live import own_origin
from headwater.contracts.base import Row
from headwater.contracts.co2 import CO2, Acknowledgement, Reading
from headwater.errors import BrokerError
from headwater.settings import Settings

NAMES = ("readings", "readings.csv", "alarms/acknowledge")
DEFAULT_READINGS, MOST_READINGS = 1_000, 100_000
"""The most is a day at one a second, and some more."""
LONGEST_FILE_NAME = 80

_fields: dict[str, Any] = {name: (info.annotation, info) for name, info in Reading.model_fields.items()}
ReadingRow = create_model(
    "ReadingRow", __base__=Row, **{name: _fields[name] for name in readings.COLUMNS} | {"event_time": AwareDatetime}
)

Source = Annotated[str | None, Query(description="Readings of this source only.")]
Since = Annotated[AwareDatetime | None, Query(description="From this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime | None, Query(description="Before this time: ISO 8601 with offset.")]
Limit = Annotated[int, Query(ge=1, le=MOST_READINGS, description="At most so many readings.")]
After = Annotated[str | None, Query(description="Where a page ended, as its `Link` header says.")]


def add_routes(router: APIRouter, settings: Settings, hub: Hub) -> None:
    """The routes of :data:`NAMES`."""
    _add_readings(router, settings)
    _add_acknowledge(router, settings, hub)


def _add_readings(router: APIRouter, settings: Settings) -> None:
    folder = settings.csv(CO2.name)

    @router.get(
        "/co2/readings",
        tags=[CO2.name],
        name="co2_readings",
        response_class=Response,
        responses={
            200: {
                "model": list[ReadingRow],
                "headers": {
                    "Link": {"schema": {"type": "string"}, "description": 'The next page: `<...>; rel="next"`.'}
                },
            }
        },
    )
    def page(
        request: Request,
        source_id: Source = None,
        since: Since = None,
        until: Until = None,
        limit: Limit = DEFAULT_READINGS,
        after: After = None,
    ) -> Response:
        """What the archive counts, each reading once, in the order of time; at one time in the order of sources.

        From the CSV files. Where there are more, the header `Link` holds the address of the next page (RFC 8288):
        follow it until there is none. A reading that is late, and whose time the pages have passed by then, is not in
        them. Without `source_id` all sources are looked through, which takes longer.
        """
        try:
            cursor = None if after is None else readings.Cursor.read(after)
        except ValueError as error:
            raise HTTPException(422, {"error": "`after` is to be taken from the `Link` of a page before"}) from error
        wanted = readings.Wanted.of(source_id, since, until)
        rows, further = readings.page(folder, wanted, limit, cursor)
        link = request.url.include_query_params(after=further.spelled()) if further else None
        return Response(
            rows, media_type="application/json", headers={"Link": f'<{link}>; rel="next"'} if link else None
        )

    @router.get(
        "/co2/readings.csv",
        tags=[CO2.name],
        name="co2_readings_csv",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}}}},
    )
    def download(source_id: Source = None, since: Since = None, until: Until = None) -> StreamingResponse:
        """The same readings, all of them, as CSV: by day, then source, then time.

        A text that a spreadsheet would run has an apostrophe in front; the JSON hasn't.
        """
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", f"co2-readings-{source_id or 'all'}")[:LONGEST_FILE_NAME]
        return StreamingResponse(
            readings.lines(folder, readings.Wanted.of(source_id, since, until)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
        )


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
