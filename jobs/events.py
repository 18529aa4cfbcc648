"""Shop events: how many, of what, how far each visit went, and which baskets were left behind.

    events_topic -> parse, check -> live topic, rejected topic
                                 -> counts by type and product -> processed topic (provisional)
                                 -> records, rejected, the tables below; visits folded event by event

Run it with ``spark-submit jobs/events.py [--once] [--queries live,aggregate,archive]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from pyspark.sql import Column
from pyspark.sql import functions as F

from headwater.contracts.events import ADD, EVENTS, PURCHASE, REMOVE, VIEW
from headwater.contracts.sessions import Event, Patience, Visit
from headwater.folds import Fold, Out, Values
from headwater.jobs import StreamJob, main
from headwater.money import MONEY_UNITS
from headwater.settings import Settings
from headwater.views import Expression, View


def is_a(event_type: str) -> Expression:
    """1 for an event of a type, 0 for any other."""
    return lambda: (F.col("event_type") == event_type).cast("BIGINT")


def session_if(event_type: str) -> Expression:
    """The session of an event of a type."""
    return lambda: F.when(F.col("event_type") == event_type, F.col("session_id"))


def units() -> Column:
    """A wrong quantity is null and counts as one unit, like a missing one."""
    return F.coalesce("quantity", F.lit(1))


def units_purchased() -> Column:
    """Units that an event bought."""
    return F.when(F.col("event_type") == PURCHASE, units()).otherwise(0)


def revenue() -> Column:
    """What a purchase brought in; one without a price brings nothing that is known."""
    return F.when((F.col("event_type") == PURCHASE) & F.col("price").isNotNull(), units() * F.col("price")).otherwise(0)


COUNT = {"count": lambda: F.lit(1)}
BY_TYPE = {"event_type": lambda: F.col("event_type")}

VIEWS = (
    View(EVENTS.table("per_window"), window="10 seconds", keys=BY_TYPE, sums=COUNT),
    View(EVENTS.table("per_minute"), window="1 minute", keys=BY_TYPE, sums=COUNT),
    View(
        EVENTS.table("by_product"),
        keys={"product_id": lambda: F.col("product_id")},
        sums={
            "views": is_a(VIEW),
            "adds": is_a(ADD),
            "removes": is_a(REMOVE),
            "purchases": is_a(PURCHASE),
            "units": units_purchased,
            "revenue": revenue,
        },
        distinct={"sessions_viewed": session_if(VIEW), "sessions_purchased": session_if(PURCHASE)},
        ratios={"conversion": ("sessions_purchased", "sessions_viewed")},
    ),
)


def rows(session_id: str, visit: Visit, silences: int) -> Iterator[Out]:
    """A visit's rows in the tables; after a silence its basket counts as left behind since its last event."""
    session = {
        "session_id": session_id,
        "first_event": visit.first,
        "last_event": visit.last,
        "events": visit.events,
        "step": visit.step,
        "seconds_to_convert": None if visit.convert_us is None else visit.convert_us / 1_000_000,
        "basket_units": visit.units,
        "basket_value": visit.value,
        "revenue": visit.revenue,
    }
    yield "sessions", session
    if left := visit.leaving() if silences else visit.left:
        abandoned = {
            "session_id": session_id,
            "since": left.since,
            "basket_units": left.units,
            "basket_value": left.value,
            "withdrawn_at": left.withdrawn_at,
        }
        yield "abandoned", abandoned


def visits(settings: Settings) -> Fold[Visit]:
    """``sessions`` and ``abandoned``: each visit, event by event."""
    patience = Patience.of_minutes(settings.events.funnel_minutes, settings.events.abandoned_minutes)

    def step(visit: Visit, _: str, at: int, values: Values) -> tuple[Out, ...]:
        visit.take(Event(at, *values), patience)
        return ()

    def due(visit: Visit) -> tuple[int, ...]:
        at = visit.silent_at(patience)
        return () if at is None else (at,)

    return Fold(
        name="visits",
        key=lambda: F.col("session_id"),
        columns={
            "event_type": lambda: F.col("event_type"),
            "product_id": lambda: F.col("product_id"),
            "quantity": units,
            "price": lambda: (F.col("price") * MONEY_UNITS).cast("BIGINT"),
        },
        tables=(EVENTS.table("sessions"), EVENTS.table("abandoned")),
        version=f"2 {patience}",
        start=Visit,
        step=step,
        dump=orjson.dumps,
        load=Visit.load,
        due=due,
        rows=rows,
    )


JOB = StreamJob(stream=EVENTS, views=VIEWS, fold=visits)

if __name__ == "__main__":
    main([JOB])
