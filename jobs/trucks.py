"""A fleet of trucks: where each is, its trips and stops, and what a dispatcher is to know.

    TruckLocations -> parse, check -> live topic, rejected topic
                                   -> each truck's fixes in their order -> processed topic (provisional)
                                   -> records, rejected, the tables below

All tables follow from a truck's fixes one after another, so one fold makes them: in the aggregate query, a second or
two behind, and in the archive, whose rows are the truth.
Run it with ``spark-submit jobs/trucks.py [--once] [--queries live,aggregate,archive]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import orjson
from pyspark.sql import functions as F

from headwater.contracts.journeys import SECOND, Fix, Journey, Rules, fleet_minute
from headwater.contracts.trucks import TRUCKS
from headwater.folds import Fold, Out, Rollup, Values
from headwater.geofences import load_geofences
from headwater.jobs import StreamJob, main
from headwater.settings import Settings, TruckSettings

VERSION = 1
"""Of how journeys are worked out. Raise it with them, and every ledger folds its trucks anew."""


def rules(settings: TruckSettings) -> Rules:
    """The thresholds as the settings spell them, and the areas."""

    def micros(seconds: float) -> int:
        return round(seconds * SECOND)

    return Rules(
        moving_kmh=settings.moving_kmh,
        pause_us=micros(settings.pause_seconds),
        stop_us=micros(settings.stop_seconds),
        trip_us=micros(settings.trip_seconds),
        trip_mm=round(settings.trip_metres * 1_000),
        implausible_kmh=settings.implausible_kmh,
        overspeed_kmh=settings.overspeed_kmh,
        overspeed_us=micros(settings.overspeed_seconds),
        offline_us=micros(settings.offline_seconds),
        geofences=load_geofences(settings.geofences),
    )


def version(by: Rules) -> str:
    """Another one for any other threshold or area."""
    outlines = [(fence.name, fence.kind, fence.geometry.wkb_hex) for fence in by.geofences]
    text = f"{VERSION} {replace(by, geofences=())} {outlines}"
    return hashlib.sha256(text.encode()).hexdigest()


def journeys(settings: Settings) -> Fold[Journey]:
    """Every table of the stream: each truck, fix by fix."""
    by = rules(settings.trucks)

    def step(journey: Journey, truck_id: str, at: int, values: Values) -> Iterator[Out]:
        return journey.take(truck_id, Fix(at, *values), by)

    minute = TRUCKS.table("per_minute")
    return Fold(
        name="journeys",
        key=lambda: F.col("truck_id"),
        columns={name: partial(F.col, name) for name in Fix._fields[1:]},
        tables=tuple(TRUCKS.table(name) for name in ("latest", "trips", "stops", "alerts")),
        rollups=(Rollup(minute, "minute", "1 minute", lambda parts: [fleet_minute(parts)]),),
        version=version(by),
        start=Journey,
        step=step,
        dump=orjson.dumps,
        load=Journey.load,
        due=lambda journey: journey.silences(by),
        rows=lambda truck_id, journey, silences: journey.open_rows(truck_id, by, silences),
        daily_csv=TRUCKS.table("trips"),
        is_fresh=True,
    )


JOB = StreamJob(stream=TRUCKS, views=(), fold=journeys)

if __name__ == "__main__":
    main([JOB])
