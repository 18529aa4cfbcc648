"""What the API says of shop events beyond their tables: the funnel from Delta, and the state of this second."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import pyarrow.compute as pc
from fastapi import APIRouter, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, Field

from dashboards.hub import Hub
from dashboards.tables import read_columns
from dashboards.visits import SHOWN_TRENDING, VisitTracker
from headwater.contracts.base import Money
from headwater.contracts.events import EVENTS
from headwater.settings import Settings

NAMES = ("funnel", "now")

Since = Annotated[AwareDatetime | None, Query(description="Last event from this time on: ISO 8601 with offset.")]
Until = Annotated[AwareDatetime | None, Query(description="Last event before this time: ISO 8601 with offset.")]


class FunnelOut(BaseModel):
    """Visits by how far they went, each step after the one before and all within 30 minutes of the view."""

    sessions: int
    viewed: int = Field(description="Sessions with step >= 1.")
    added: int = Field(description="Sessions with step >= 2.")
    purchased: int = Field(description="Sessions with step 3.")
    added_of_viewed: float | None = Field(description="A share; null where nobody viewed.")
    purchased_of_added: float | None = Field(description="A share; null where nobody added.")
    conversion: float | None = Field(description="purchased / viewed; null where nobody viewed.")
    median_seconds: float | None = Field(description="From view to purchase, of the sessions with step 3.")


class TrendingOut(BaseModel):
    """Views, adds and purchases of a product."""

    product_id: str
    product_name: str | None
    category: str | None
    last_5_min: int
    before: int | None = Field(description="In the five minutes before; null where there was no data yet.")


class NowOut(BaseModel):
    """From the live records of the last two hours, in memory: provisional. Changes are against the period before."""

    newest: datetime | None = Field(description="The newest event time; periods count back from it.")
    minutes: int
    active_sessions: int = Field(description="Sessions with an event in the last five minutes.")
    active_change: float | None = Field(description="A share; null without an earlier period.")
    events_per_s: float | None
    events_change: float | None
    revenue: Money | None
    revenue_change: float | None
    conversion_change: float | None = Field(description="A difference of two shares.")
    funnel: FunnelOut = Field(description="Of the sessions whose last event lies in the period.")
    open_baskets: int = Field(description="Left behind and not withdrawn.")
    open_value: Money | None
    trending: list[TrendingOut]


def add_routes(router: APIRouter, settings: Settings, hub: Hub) -> None:
    """The routes of :data:`NAMES`."""
    _add_funnel(router, settings)
    _add_now(router, hub)


def _add_funnel(router: APIRouter, settings: Settings) -> None:
    path = settings.delta(EVENTS.name, "sessions")

    @router.get("/events/funnel", tags=[EVENTS.name], name="events_funnel")
    def funnel(since: Since = None, until: Until = None) -> FunnelOut:
        """The ordered funnel, exactly: of the sessions in Delta whose last event lies between two times."""
        found = read_columns(path, ("step", "seconds_to_convert"), "last_event", since, until)
        if found is None:
            return _funnel(0, 0, 0, 0, None)
        viewed, added, purchased = (pc.sum(pc.greater_equal(found["step"], least)).as_py() or 0 for least in (1, 2, 3))
        (median,) = pc.quantile(found["seconds_to_convert"], 0.5).to_pylist()
        return _funnel(found.num_rows, viewed, added, purchased, median)


def _add_now(router: APIRouter, hub: Hub) -> None:
    @router.get("/events/now", tags=[EVENTS.name], name="events_now")
    async def now(
        minutes: Annotated[Literal["5", "15", "60"], Query(description="How long a period is.")] = "15",
        category: Annotated[str, Query(description="Trending products of this category only.")] = "",
        limit: Annotated[int, Query(ge=1, le=100, description="At most so many trending products.")] = SHOWN_TRENDING,
    ) -> NowOut:
        """Active sessions, key figures, open baskets and trending products this second."""
        snapshot = hub.latest
        tracker = snapshot.streams[EVENTS.name].tracker if snapshot else None
        if snapshot is None or not isinstance(tracker, VisitTracker):
            raise HTTPException(503, {"error": "the feed has not started yet"})
        visits = tracker.view(snapshot.at)
        period = visits.periods[int(minutes)]
        steps = period.funnel
        return NowOut(
            newest=visits.newest,
            minutes=int(minutes),
            active_sessions=visits.active,
            active_change=visits.active_change,
            events_per_s=period.per_second,
            events_change=period.per_second_change,
            revenue=period.revenue,
            revenue_change=period.revenue_change,
            conversion_change=period.conversion_change,
            funnel=_funnel(steps.sessions, steps.viewed, steps.added, steps.purchased, period.median_seconds),
            open_baskets=visits.open_baskets,
            open_value=visits.open_value,
            trending=[
                TrendingOut(
                    product_id=rising.product_id,
                    product_name=tracker.product(rising.product_id).name,
                    category=tracker.product(rising.product_id).category,
                    last_5_min=rising.now,
                    before=rising.before,
                )
                for rising in tracker.trending(category, limit)
            ],
        )


def _funnel(sessions: int, viewed: int, added: int, purchased: int, median: float | None) -> FunnelOut:
    return FunnelOut(
        sessions=sessions,
        viewed=viewed,
        added=added,
        purchased=purchased,
        added_of_viewed=added / viewed if viewed else None,
        purchased_of_added=purchased / added if added else None,
        conversion=purchased / viewed if viewed else None,
        median_seconds=median,
    )
