"""CO2 that plants, fleets and buildings report: masses by time, budgets, alarms, and the meters' health."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from headwater.contracts.base import Record, Row, Stream, Table, Window

MEASURED, CALCULATED, SUBSTITUTE = METHODS = ("measured", "calculated", "substitute")
OK, STUCK, SILENT, GAP = HEALTH = ("ok", "stuck", "silent", "gap")
UNKNOWN = "unknown"
"""The sector or fuel of a record that names none."""

Method = Literal["measured", "calculated", "substitute"]
HealthState = Literal["ok", "stuck", "silent", "gap"]

Mass = Annotated[float, Field(ge=0, le=1e13)]
"""kg. The limit is a quarter of what the world emits in a year: more in one record is a slip of the unit."""
Seconds = Annotated[float, Field(ge=0.001, le=400 * 86_400)]
Energy = Annotated[float, Field(ge=0, le=1e10)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class Reading(Record):
    """What a source has emitted since its last record."""

    source_id: str = Field(description="A stack, vehicle, boiler, building or region; the key.")
    emission_kg: Mass = Field(description="CO2 emitted since the source's last record, kg.")
    interval_s: Seconds | None = Field(default=None, description="The time that covers, s; missing: since the last.")
    facility: str | None = Field(default=None, description="Where the source stands.")
    sector: str | None = Field(default=None, description="power, cement, steel, road, shipping, buildings ...")
    fuel: str | None = Field(default=None, description="coal, gas, oil, biomass ...")
    country: str | None = None
    latitude: Latitude | None = Field(default=None, description="WGS 84, degrees.")
    longitude: Longitude | None = Field(default=None, description="WGS 84, degrees.")
    energy_mwh: Energy | None = Field(default=None, description="Energy delivered in the same time, MWh.")
    method: Method | None = Field(default=None, description="How the mass is known.")


class SourceWindow(Window):
    """What a source emitted within a window of event time. A record counts where its `event_time` is."""

    source_id: str
    emission_kg: float
    energy_mwh: float | None = Field(default=None, description="Of the records that have one.")
    intensity_kg_mwh: float | None = Field(default=None, description="Over the records whose energy is known.")
    mean_rate_kg_h: float | None = Field(default=None, description="Mean of its records' rates, where known.")
    max_rate_kg_h: float | None = None
    records: int
    substitute: int = Field(description="Records whose method is `substitute`.")


class SectorHour(Window):
    """What a sector emitted within an hour."""

    sector: str = Field(description="`unknown` for records that name none.")
    emission_kg: float
    sources: int


class FuelHour(Window):
    """What a fuel emitted within an hour."""

    fuel: str = Field(description="`unknown` for records that name none.")
    emission_kg: float
    sources: int


class Total(Row):
    """A source over all time, and what it last said of itself."""

    source_id: str
    emission_kg: float
    records: int
    first_event: AwareDatetime
    last_event: AwareDatetime
    rate_kg_h: float | None = Field(default=None, description="Of its newest record whose rate is known.")
    limit_kg_h: float | None = Field(default=None, description="Of the settings.")
    facility: str | None = Field(default=None, description="This and the next, of its newest record that has one.")
    sector: str | None = None
    fuel: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class BudgetDay(Window):
    """What a budget's sources emitted on a day (UTC)."""

    budget: str = Field(description="`source:<source_id>` or `sector:<sector>`.")
    emission_kg: float
    since: AwareDatetime = Field(description="Where the time begins that its first record covers.")
    last_event: AwareDatetime


class Budget(Row):
    """A yearly allowance of the settings, and what is left of it."""

    budget: str = Field(description="`source:<source_id>` or `sector:<sector>`.")
    year: int = Field(description="UTC.")
    source_id: str | None = None
    sector: str | None = None
    allowance_kg: float
    used_kg: float
    used_share: float = Field(description="Of the allowance; above 1 it is exceeded.")
    mean_rate_kg_h: float | None = Field(default=None, description="Over the last 30 days of data.")
    exhausted_on: str | None = Field(
        default=None,
        description="The day (UTC, ISO 8601) on which it was used up, or will be at that rate, be it in a later year.",
    )
    last_event: AwareDatetime


class Alarm(Row):
    """A source above its limit, once, with its begin and its end."""

    alarm_id: str = Field(description="Source and begin in one text.")
    source_id: str
    limit_kg_h: float
    began_at: AwareDatetime = Field(description="The first of three records running above the limit.")
    raised_at: AwareDatetime = Field(description="The third of them.")
    ended_at: AwareDatetime | None = Field(
        default=None, description="The first of three records running below 95 % of the limit. None: it goes on."
    )
    peak_kg_h: float
    acknowledged_at: AwareDatetime | None = None
    acknowledged_by: str | None = None


class Health(Row):
    """Whether a source's meter can be believed."""

    source_id: str
    state: HealthState = Field(
        description="`stuck`: the same emission, not 0, 12 times running. `silent`: nothing for three times its usual "
        "interval. `gap`: its newest record came after such a silence, whose time it doesn't cover."
    )
    since: AwareDatetime = Field(
        description="The first of the same emissions; the last record before a silence or a gap; else its first record "
        "after the last of these."
    )
    last_event: AwareDatetime
    usual_interval_s: float | None = Field(default=None, description="Median of the last eleven, from three on.")
    gaps: int = Field(description="How many so far.")


class Acknowledgement(Row):
    """Somebody has seen an alarm."""

    alarm_id: str = Field(min_length=1)
    acknowledged_at: AwareDatetime
    acknowledged_by: str = Field(min_length=1)


CO2 = Stream(
    name="co2",
    raw_topic="co2_topic",
    key="source_id",
    record=Reading,
    description="CO2 emissions of plants, fleets and buildings",
    tables=(
        Table("per_minute", SourceWindow, key=("window_start", "source_id"), description="Each source by minute"),
        Table("per_hour", SourceWindow, key=("window_start", "source_id"), description="Each source by hour"),
        Table("by_sector", SectorHour, key=("window_start", "sector"), description="Sectors by hour"),
        Table("by_fuel", FuelHour, key=("window_start", "fuel"), description="Fuels by hour"),
        Table("totals", Total, key=("source_id",), description="Each source over all time"),
        Table("budget_days", BudgetDay, key=("window_start", "budget"), description="Each budget by day"),
        Table("budgets", Budget, key=("budget", "year"), description="Yearly allowances and what is left of them"),
        Table("alarms", Alarm, key=("alarm_id",), time="began_at", description="Sources above their limit"),
        Table("health", Health, key=("source_id",), description="Whether a source's meter can be believed"),
    ),
    acknowledged="alarms",
    acknowledgement=Acknowledgement,
)
