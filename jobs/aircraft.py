"""Aircraft: where each is, the sky by minute and country, and emergencies.

    aircraft_topic -> parse, check -> live topic, rejected topic
                                   -> each aircraft's records in their order -> processed topic (provisional)
                                   -> records, rejected, the tables below, three of them in SQL as well

Run it with ``spark-submit jobs/aircraft.py [--once] [--queries live,aggregate,archive]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import orjson
from pyspark.sql import Column
from pyspark.sql import functions as F

from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.flights import Flight, State, countries, rules, sky
from headwater.folds import Fold, Out, Rollup, Values
from headwater.jobs import StreamJob, main
from headwater.settings import Settings

VERSION = 1
"""Of how flights are worked out. Raise it with them, and every ledger folds its aircraft anew."""


NAMES = State._fields[1:]
BOOLEANS = {"on_ground", "spi"}
"""The ledger keeps them as 0 and 1."""


def column(name: str) -> Column:
    """A field as the ledger keeps it."""
    return F.col(name).cast("INT") if name in BOOLEANS else F.col(name)


def flights(settings: Settings) -> Fold[Flight]:
    """Every table of the stream: each aircraft, record by record."""
    by = rules(settings.aircraft)

    def step(flight: Flight, icao24: str, at: int, values: Values) -> Iterator[Out]:
        known = dict(zip(NAMES, values, strict=True))
        known |= {name: bool(known[name]) for name in BOOLEANS if known[name] is not None}
        return flight.take(icao24, State(at, **known), by)

    return Fold(
        name="flights",
        key=lambda: F.col("icao24"),
        columns={name: partial(column, name) for name in NAMES},
        tables=(AIRCRAFT.table("latest"), AIRCRAFT.table("alerts")),
        rollups=(
            Rollup(AIRCRAFT.table("per_minute"), "minute", "1 minute", lambda parts: [sky(parts)]),
            Rollup(AIRCRAFT.table("by_country"), "minute", "1 minute", countries),
        ),
        version=f"{VERSION} {by}",
        start=Flight,
        step=step,
        dump=orjson.dumps,
        load=Flight.load,
        due=lambda flight: (),
        rows=lambda icao24, flight, _: flight.rows(icao24, by),
        is_fresh=True,
    )


JOB = StreamJob(stream=AIRCRAFT, views=(), fold=flights)

if __name__ == "__main__":
    main([JOB])
