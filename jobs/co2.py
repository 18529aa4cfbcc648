"""CO2 emissions: each source by minute and hour, sectors, budgets, alarms, and whether the meters can be believed.

    co2_topic -> parse, check -> live topic, rejected topic
                              -> each source's records in their order -> processed topic (provisional)
                              -> records, rejected, the tables below, CSV files of readings by day and source

A rate may follow from the record before, an alarm from several, so one fold makes all tables.
Run it with ``spark-submit jobs/co2.py [--once] [--queries live,aggregate,archive]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from pyspark.sql import functions as F

from headwater.contracts import emissions
from headwater.contracts.co2 import CO2
from headwater.contracts.emissions import MEAN_DAYS, Meter, Reading, Rules
from headwater.folds import Fold, Out, Rollup, Summary, Values
from headwater.jobs import StreamJob, main
from headwater.settings import Co2Settings, Settings

VERSION = 2
"""Of how meters are worked out. Raise it with them, and every ledger folds its sources anew."""


def rules(settings: Co2Settings) -> Rules:
    """Limits, allowances and thresholds as the settings have them."""
    return Rules(
        limits=settings.limits_kg_h,
        source_allowances=settings.source_allowances_kg,
        sector_allowances=settings.sector_allowances_kg,
        alarm_records=settings.alarm_records,
        alarm_end_share=settings.alarm_end_share,
        stuck_records=settings.stuck_records,
        silent_intervals=settings.silent_intervals,
    )


def meters(settings: Settings) -> Fold[Meter]:
    """Every table of the stream: each source, record by record."""
    by = rules(settings.co2)

    def step(meter: Meter, source_id: str, at: int, values: Values) -> Iterator[Out]:
        return meter.take(source_id, Reading(at, *values), by)

    per_hour = ("by_sector", "sectors", "sector"), ("by_fuel", "fuels", "fuel")
    budget_days = CO2.table("budget_days")
    return Fold(
        name="meters",
        key=lambda: F.col("source_id"),
        columns={name: partial(F.col, name) for name in Reading._fields[1:]},
        tables=tuple(CO2.table(name) for name in ("per_minute", "per_hour", "totals", "alarms", "health")),
        windows={"per_minute": "1 minute", "per_hour": "1 hour"},
        rollups=(
            *(
                Rollup(CO2.table(name), "hour", "1 hour", partial(emissions.by_group, of, column))
                for name, of, column in per_hour
            ),
            Rollup(budget_days, "day", "1 day", emissions.budget_days),
        ),
        summaries=(
            Summary(
                CO2.table("budgets"),
                budget_days,
                emissions.years_of,
                timedelta(days=MEAN_DAYS),
                lambda first, days: emissions.budgets(first, days, by),
            ),
        ),
        version=hashlib.sha256(f"{VERSION} {by}".encode()).hexdigest(),
        start=Meter,
        step=step,
        dump=Meter.dump,
        load=Meter.load,
        due=lambda meter: meter.silent_at(by),
        rows=lambda source_id, meter, silences: meter.rows(source_id, by, is_silent=silences > 0),
        day_files="readings",
        is_fresh=True,
    )


JOB = StreamJob(stream=CO2, views=(), fold=meters)

if __name__ == "__main__":
    main([JOB])
