"""The whole fleet over a span, from Delta, in one answer that a browser can play.

In order of event time, whatever the order of arrival; of fixes of a truck at the same time the first in Kafka's order,
which a repeated `event_id` is as well. The answer, little endian::

    uint32  size of the head, which is JSON: {"trucks": [...], "starts": [...], "count", "recorded", "step_s", ...}
            padded with blanks so that what follows begins at a multiple of 8
    float64 time[count]                         ms since 1970; a truck's fixes stand together, from its start on
    int32   longitude[count], latitude[count]   1e-7 degrees
    float32 speed[count], heading[count]        km/h, degrees; NaN: not known
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import AwareDatetime

from dashboards.maps.frames import UNITS
from dashboards.tables import batches
from headwater.contracts.trucks import TRUCKS
from headwater.settings import Settings

PATH = "/api/v1/trucks/replay"
MOST_FIXES = 200_000
"""Where there are more, one a truck in so many seconds is kept: in 1, 2, 4 and so on, until it is enough."""
MOST_STEP_S = 1 << 20
COLUMNS = (
    "truck_id", "event_time", "partition", "offset", "latitude", "longitude", "speed_kmh", "heading_deg",
)  # fmt: skip
ORDER = ["truck_id", "event_time", "partition", "offset"]
Since = Annotated[AwareDatetime, Query(description="From this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime, Query(description="Before this time: ISO 8601 with offset.")]


def add_routes(router: APIRouter, settings: Settings) -> None:
    """The route. Before the API's own, which knows every name under its prefix."""
    path = settings.delta(TRUCKS.name, "records")

    @router.get(PATH, tags=[TRUCKS.name], name="trucks_replay", response_class=Response)
    def replay(since: Since, until: Until) -> Response:
        """The fixes of all trucks within a span for the page's replay: binary, at most 200,000, thinned evenly."""
        if until <= since:
            raise HTTPException(422, {"error": "until must be after since"})
        fixes, recorded, step = gathered(batches(path, COLUMNS, "event_time", since, until), MOST_FIXES)
        return Response(encoded(fixes, recorded, step, since, until), media_type="application/octet-stream")


def gathered(pieces: Iterator[pa.RecordBatch], most: int) -> tuple[pd.DataFrame, int, int]:
    """The fixes in order, how many rows there were, and of how many seconds one fix a truck was kept (0: all).

    What is held at a time is a few times `most`, whatever the span.
    """
    held: list[pd.DataFrame] = []
    recorded = waiting = step = 0
    for piece in pieces:
        recorded += piece.num_rows
        waiting += piece.num_rows
        held.append(piece.to_pandas())
        if waiting > 2 * most:
            fixes, step = _thinned(pd.concat(held), step, most)
            held, waiting = [fixes], 0
    if not held:
        return pd.DataFrame(columns=list(COLUMNS)), 0, 0
    fixes, step = _thinned(pd.concat(held), step, most)
    return fixes, recorded, step


def _thinned(fixes: pd.DataFrame, step: int, most: int) -> tuple[pd.DataFrame, int]:
    fixes = _first_of_each(fixes.sort_values(ORDER, ignore_index=True), step)
    while len(fixes) > most and step < MOST_STEP_S:
        # Each stretch is made of two of those before, so that it does not matter when the thinning began.
        step = 2 * step or 1
        fixes = _first_of_each(fixes, step)
    return fixes, step


def _first_of_each(fixes: pd.DataFrame, step: int) -> pd.DataFrame:
    """A truck's first fix of each stretch of time; with a step of 0 of each moment."""
    stretch = fixes["event_time"].dt.floor(f"{step}s") if step else fixes["event_time"]
    return fixes[~pd.DataFrame({"truck": fixes["truck_id"], "stretch": stretch}).duplicated()]


def encoded(fixes: pd.DataFrame, recorded: int, step: int, since: datetime, until: datetime) -> bytes:
    """The answer's bytes."""
    trucks, starts = np.unique(fixes["truck_id"].to_numpy(dtype=str), return_index=True)
    head: dict[str, Any] = {
        "trucks": trucks.tolist(), "starts": starts.tolist(), "count": len(fixes), "recorded": recorded, "step_s": step,
        "since": since.timestamp() * 1e3, "until": until.timestamp() * 1e3,
    }  # fmt: skip
    text = orjson.dumps(head)
    text += b" " * (-(4 + len(text)) % 8)
    moments = pd.to_datetime(fixes["event_time"], utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    columns = (
        moments.astype("<i8").astype("<f8") / 1e3,
        *(np.rint(fixes[name].to_numpy("<f8") * UNITS).astype("<i4") for name in ("longitude", "latitude")),
        *(fixes[name].to_numpy("<f4") for name in ("speed_kmh", "heading_deg")),
    )
    return b"".join((np.array(len(text), "<u4").tobytes(), text, *(column.tobytes() for column in columns)))
