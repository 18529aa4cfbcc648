"""Shop events: how many, of what, how far each visit went, and which baskets were left behind.

    events_topic -> parse, check -> live topic, rejected topic
                                 -> counts by type and product -> processed topic (provisional)
                                 -> records, rejected, the tables below; visits folded event by event

Run it with ``spark-submit jobs/events.py [--once] [--queries live,aggregate,archive]``.
"""

from __future__ import annotations

from typing import Any

import orjson
from pyspark.sql import Column
from pyspark.sql import functions as F

from headwater.contracts.events import ADD, EVENTS, PURCHASE, REMOVE, VIEW
from headwater.contracts.sessions import Event, Patience, Visit
from headwater.folds import Fold
from headwater.jobs import StreamJob, main
from headwater.ledger import moment
from headwater.money import MONEY_UNITS, money
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


def rows(session_id: str, visit: Visit, is_silent: bool) -> dict[str, dict[str, Any]]:
    """A visit's rows in the tables; ``is_silent``: its basket counts as left behind since its last event."""
    session = {
        "session_id": session_id,
        "first_event": moment(visit.first),
        "last_event": moment(visit.last),
        "events": visit.events,
        "step": visit.step,
        "seconds_to_convert": None if visit.convert_us is None else visit.convert_us / 1_000_000,
        "basket_units": visit.units,
        "basket_value": money(visit.value),
        "revenue": money(visit.revenue),
    }
    left = visit.leaving() if is_silent else visit.left
    if left is None:
        return {"sessions": session}
    abandoned = {
        "session_id": session_id,
        "since": moment(left.since),
        "basket_units": left.units,
        "basket_value": money(left.value),
        "withdrawn_at": None if left.withdrawn_at is None else moment(left.withdrawn_at),
    }
    return {"sessions": session, "abandoned": abandoned}


def visits(settings: Settings) -> Fold[Visit]:
    """``sessions`` and ``abandoned``: each visit, event by event."""
    patience = Patience.of_minutes(settings.events.funnel_minutes, settings.events.abandoned_minutes)
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
        version=f"1 {patience}",
        start=Visit,
        step=lambda visit, at, values: visit.take(Event(at, *values), patience),
        dump=orjson.dumps,
        load=Visit.load,
        due=lambda visit: visit.silent_at(patience),
        rows=rows,
    )


JOB = StreamJob(stream=EVENTS, views=VIEWS, fold=visits)

if __name__ == "__main__":
    main([JOB])
