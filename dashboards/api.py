"""JSON under /api/v1, generated from the contracts: a new stream or column appears here by itself.

Rows come from Delta (the truth, every 30 s); `live` and `health` from the feed (now). Reading Delta blocks, so
those routes are plain functions, which FastAPI runs in its thread pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from dashboards import api_aircraft, api_co2, api_events, api_trucks
from dashboards.alarms import Level
from dashboards.health import Status, report, standing
from dashboards.hub import Hub
from dashboards.raw import RawReader, RawRecord
from dashboards.state import KEEP_LIVE, Health, QueryStatus, Snapshot
from dashboards.tables import Page, read_page
from headwater.contracts import Row, Stream, Table
from headwater.contracts.base import Kind, Rejected, records_row
from headwater.settings import Settings

PREFIX = "/api/v1"
MOST_ROWS = 10_000

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="At most so many rows.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="Rows to pass over.")]
Since = Annotated[AwareDatetime | None, Query(description="From this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime | None, Query(description="Before this time: ISO 8601 with offset.")]

STREAM_TABLES = ("live", "records", "rejected")
MORE = {
    "aircraft": api_aircraft.NAMES,
    "co2": api_co2.NAMES,
    "events": api_events.NAMES,
    "trucks": api_trucks.NAMES,
}
"""What a stream has beside its tables."""


class LatencyOut(BaseModel):
    """Seconds from Kafka to the feed, over the last minute; null without samples."""

    p50: float | None
    p99: float | None
    samples: int


class StreamHealth(BaseModel):
    """A stream as the feed sees it."""

    state: Health
    age_s: float | None = Field(description="Seconds since the newest data; null where there was none.")
    rate_per_s: float = Field(description="Valid records a second over the last 10 s.")
    raw_age_s: float | None = Field(description="Seconds since the raw topic grew; null where it has not yet.")
    lag: int | None = Field(description="Records the live query is behind, as measured; null where nothing is known.")
    lag_s: float | None = Field(description="How long the oldest of them has waited.")
    rejected: int
    rejected_share: float | None = Field(description="Of the records of the last five minutes; null of fewer than 20.")
    duplicates: int | None
    late: int | None
    late_share: float | None = Field(description="Of the records of the last five minutes; null of fewer than 20.")
    lost: int | None = Field(description="Deleted by Kafka before the archive read them, and given up.")
    owed: int | None = Field(description="Rows that wait for the SQL database.")
    live_latency: LatencyOut
    aggregate_latency: LatencyOut


class QueryHealth(BaseModel):
    """A query by its last report, and how far behind it was found to be."""

    state: str
    streams: list[str]
    age_s: float
    progress_age_s: float | None = Field(description="Seconds since a batch ended, or it was found idle.")
    batch_ms: float | None
    phases_ms: dict[str, float]
    lag: int | None
    lag_s: float | None = Field(description="How long the oldest record that waits for it has waited.")
    message: str


class FeedHealth(BaseModel):
    """The dashboard's own reading."""

    lag: int
    lag_s: float


class AlarmOut(BaseModel):
    """What stands, and since when. A `fault` is a reason for `degraded`, a `warning` is not."""

    kind: str
    level: Level
    subject: str
    streams: list[str]
    text: str
    since: datetime


class HealthOut(BaseModel):
    """`ok` comes with 200; `degraded` and `down` with 503 and their reasons."""

    status: Status
    reasons: list[str]
    warnings: list[str] = []
    alarms: list[AlarmOut] = []
    feed: FeedHealth | None = None
    streams: dict[str, StreamHealth] = {}
    queries: dict[str, QueryHealth] = Field(
        {}, description="By name; where several jobs have one of the same name, also by their streams: `live:sales`."
    )


def routes(streams: Mapping[str, Stream], settings: Settings, hub: Hub, raw: RawReader) -> APIRouter:
    """Every route of the API."""
    router = APIRouter(prefix=PREFIX)
    _add_health(router, hub)
    for stream in streams.values():
        _add_stream(router, stream, settings, hub)
        _add_raw(router, stream, raw)
    api_aircraft.add_routes(router, settings, hub)
    api_co2.add_routes(router, settings, hub)
    api_events.add_routes(router, settings, hub)
    api_trucks.add_routes(router, settings)
    _add_unknown(router, streams)
    return router


def _add_health(router: APIRouter, hub: Hub) -> None:
    @router.get("/health", tags=["health"], responses={503: {"model": HealthOut, "description": "Degraded or down."}})
    async def health(response: Response) -> HealthOut:
        """Whether data moves from Kafka to the screen, and if not, why."""
        snapshot = hub.latest
        judgement = report(snapshot)
        response.status_code = 200 if judgement.status is Status.OK else 503
        response.headers["Cache-Control"] = "no-store"
        if snapshot is None:
            return HealthOut(status=judgement.status, reasons=list(judgement.reasons))
        return HealthOut(
            status=judgement.status,
            reasons=list(judgement.reasons),
            warnings=list(judgement.warnings),
            alarms=[AlarmOut.model_validate(alarm, from_attributes=True) for alarm in standing(snapshot)],
            feed=FeedHealth(lag=snapshot.feed_lag.records, lag_s=snapshot.feed_lag.seconds),
            streams={name: _stream_health(name, snapshot) for name in snapshot.streams},
            queries={_named(query, snapshot): _query_health(query, snapshot.at) for query in snapshot.queries},
        )


def _stream_health(name: str, snapshot: Snapshot) -> StreamHealth:
    stream = snapshot.streams[name]
    waits = [q.behind[name].seconds for q in snapshot.queries if q.query == "live" and name in q.behind]
    return StreamHealth(
        state=stream.health,
        age_s=stream.age,
        rate_per_s=stream.rate_10,
        raw_age_s=stream.raw_age,
        lag=snapshot.lag(name),
        lag_s=max(waits, default=None),
        rejected=stream.rejected_count,
        rejected_share=stream.rejected_share,
        duplicates=stream.duplicates,
        late=stream.late,
        late_share=stream.late_share,
        lost=stream.account.get("lost"),
        owed=stream.account.get("owed"),
        live_latency=_latency(stream.live_latency),
        aggregate_latency=_latency(stream.aggregate_latency),
    )


def _query_health(query: QueryStatus, now: float) -> QueryHealth:
    worst = query.worst()
    return QueryHealth(
        state=query.state,
        streams=list(query.streams),
        age_s=max(now - query.at, 0.0),
        progress_age_s=None if query.progress_at is None else max(now - query.progress_at, 0.0),
        batch_ms=query.batch_ms,
        phases_ms=dict(query.phases_ms),
        lag=worst.records if worst else query.lag,
        lag_s=worst.seconds if worst else None,
        message=query.message,
    )


def _named(query: QueryStatus, snapshot: Snapshot) -> str:
    is_alone = sum(other.query == query.query for other in snapshot.queries) == 1
    return query.query if is_alone else f"{query.query}:{query.run}"


def _latency(latency: Any) -> LatencyOut:
    return LatencyOut(p50=latency.p50, p99=latency.p99, samples=latency.samples)


def _add_stream(router: APIRouter, stream: Stream, settings: Settings, hub: Hub) -> None:
    live_row = _live_row(stream)

    @router.get(f"/{stream.name}/live", tags=[stream.name], response_model=list[live_row], name=f"{stream.name}_live")  # type: ignore[valid-type]
    async def live(limit: Annotated[int, Query(ge=1, le=KEEP_LIVE)] = 50) -> list[Any]:
        """The latest valid records as they arrive, newest first, from memory."""
        snapshot = hub.latest
        rows = snapshot.streams[stream.name].live[:limit] if snapshot else ()
        return [live_row.model_validate(row) for row in rows]

    arrival = ("kafka_timestamp", "partition", "offset")
    tables = [
        _Route(
            "records",
            records_row(stream),
            arrival,
            "event_time",
            "Every valid record, the latest arrival first; `since` and `until` go by event time.",
            (stream.key,),
        ),
        _Route(
            "rejected",
            Rejected,
            arrival,
            "kafka_timestamp",
            "Every rejected record with its reasons and its value as it came, newest first.",
        ),
        *(_route_of(stream, table) for table in stream.tables),
    ]
    for table in tables:
        _add_table(router, stream, settings, table)


def _add_raw(router: APIRouter, stream: Stream, reader: RawReader) -> None:
    path = f"/{stream.name}/raw/{{partition}}/{{offset}}"

    @router.get(path, tags=[stream.name], name=f"{stream.name}_raw", responses={404: {"description": "Not there."}})
    def raw(partition: Annotated[int, Path(ge=0)], offset: Annotated[int, Path(ge=0)]) -> RawRecord:
        """One raw record as it stands in Kafka."""
        record = reader.read(stream.raw_topic, partition, offset)
        if record is None:
            raise HTTPException(404, {"error": f"{stream.raw_topic} has no record at {partition}/{offset} any more"})
        return record


@dataclass(frozen=True)
class _Route:
    """A table as the API shows it."""

    name: str
    row: type[Row]
    order: tuple[str, ...]
    time_column: str | None
    description: str
    filters: tuple[str, ...] = ()
    """Columns that rows can be chosen by."""


def _route_of(stream: Stream, table: Table) -> _Route:
    """Rows can be chosen by what is text in their key, and by the stream's own key where they have it."""
    time = "window_start" if table.windowed else table.time
    order = tuple(dict.fromkeys((time, *table.key))) if time else table.key
    about = f", newest first; `since` and `until` go by `{time}`" if time else ""
    identity = (*table.key, stream.key)
    filters = tuple(field.name for field in table.fields if field.kind is Kind.TEXT and field.name in identity)
    return _Route(table.name, table.row, order, time, table.description + about, filters)


def _add_table(router: APIRouter, stream: Stream, settings: Settings, route: _Route) -> None:
    path, row, time_column = settings.delta(stream.name, route.name), route.row, route.time_column
    lists = {field for field, info in row.model_fields.items() if info.annotation == list[str]}

    def endpoint(limit: int, offset: int, since: Any = None, until: Any = None, **texts: str | None) -> list[Any]:
        equal = {column: text for column, text in texts.items() if text is not None}
        wanted = Page(tuple(row.model_fields), route.order, limit, offset, time_column, since, until, equal)
        rows = read_page(path, wanted)
        for found in rows:
            found.update({field: [] for field in lists if found.get(field) is None})
        return [row.model_validate(found) for found in rows]

    endpoint.__signature__ = _signature(route)  # type: ignore[attr-defined]  # what FastAPI reads the parameters from
    router.add_api_route(
        f"/{stream.name}/{route.name}",
        endpoint,
        methods=["GET"],
        tags=[stream.name],
        response_model=list[row],  # type: ignore[valid-type]
        name=f"{stream.name}_{route.name}",
        description=route.description,
    )


def _signature(route: _Route) -> Signature:
    """A table's parameters: paging, times where its rows have one, and a text for each filter."""
    parameters: dict[str, tuple[Any, Any]] = {
        "limit": (Limit, 100 if route.time_column else 1_000),
        "offset": (Offset, 0),
    }
    if route.time_column:
        parameters |= {"since": (Since, None), "until": (Until, None)}
    for column in route.filters:
        parameters[column] = (Annotated[str | None, Query(description=f"Only rows of this `{column}`.")], None)
    return Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in parameters.items()
        ]
    )


def _live_row(stream: Stream) -> type[BaseModel]:
    """A live record: the stream's own fields, and where the raw record stood."""
    stored = records_row(stream)
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in stored.model_fields.items() if name != "processed_at"
    }
    fields["flags"] = (list[str], Field(default_factory=list))
    fields["extra"] = (dict[str, Any] | None, Field(default=None, description="Unknown fields."))
    return create_model(f"Live{stream.record.__name__}", __config__=ConfigDict(extra="ignore"), **fields)


def _add_unknown(router: APIRouter, streams: Mapping[str, Stream]) -> None:
    """Instead of the pages' catch-all, which would answer with HTML and 200."""

    @router.get("/{rest:path}", include_in_schema=False)
    async def unknown(rest: str) -> None:
        name, _, table = rest.partition("/")
        if name not in streams:
            raise HTTPException(404, {"error": f"no stream {name!r}", "known": ["health", *streams]})
        known = [*STREAM_TABLES, *(t.name for t in streams[name].tables), *MORE.get(name, ())]
        raise HTTPException(404, {"error": f"stream {name} has no table {table!r}", "known": known})
