"""Recorded emissions: EPA's days by state, grids by hour, CodeCarbon's logs, and any CSV with usual names of columns.

Masses become kg and energies MWh by exact fractions; what cannot be read goes out as it is written. Other columns keep
their names, unknown to the contract. Times without an offset are in the zone of the settings. Nothing is said of a
source that its file doesn't say. What is decided about each format is in docs/decisions/0019-recorded-emissions.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from producers.co2_clock import Clock, clock_of_settings
from producers.columns import Aliases, plain, scaled, understood
from producers.replay import Cells, RawRecord, Series, number

Converter = Callable[[Cells], list[RawRecord]]
Casts = dict[str, tuple[str, Callable[[str], Any]]]
"""What a column becomes: our field, and its value of the text."""

SHORT_TON_KG = Fraction("907.18474")
POUND_KG = Fraction("0.45359237")
HOUR_S, DAY_S = 3_600.0, 86_400.0

# --- EPA's Air Markets Program Data, days by state -------------------------------------------------------------------

EPA_MASS, EPA_LOAD = "CO2 (tons)", "Gross Load (MW-h)"
EPA_DAYS = ("column_3", "Date")
"""The column of days has no name in some exports."""
EPA_FINER = {"Facility Name", "Facility ID (ORISPL)", "Facility ID", "Unit ID"}
"""Where one of these is, a row is not of a state."""


def is_epa(header: Collection[str]) -> bool:
    """Whether a header is that of days by state."""
    named = set(header)
    return {"State", EPA_MASS, EPA_LOAD} <= named and bool(named & set(EPA_DAYS)) and not named & EPA_FINER


def open_epa(_path: Path) -> Converter:
    """A day of a state's power plants, in short tons."""
    clock = clock_of_settings()

    def convert(cells: Cells) -> list[RawRecord]:
        day = next(name for name in EPA_DAYS if name in cells)
        casts: Casts = {
            EPA_MASS: ("emission_kg", lambda text: scaled(text, SHORT_TON_KG)),
            EPA_LOAD: ("energy_mwh", number),
            day: ("event_time", lambda text: clock.time(cells["State"], text)),
            "State": ("source_id", str),
        }
        return [{**_named(cells, casts), "interval_s": DAY_S}]

    return convert


# --- grids by hour: gridemissions, and EIA-930 by fuel ---------------------------------------------------------------

GRID_SOURCE = re.compile(r"CO2_(.+)_NG")


def is_grid(header: Collection[str]) -> bool:
    """Whether a header has an hour and masses of balancing authorities' own generation."""
    return "period" in header and any(GRID_SOURCE.fullmatch(name) for name in header)


def open_grid(_path: Path) -> Converter:
    """A record for each balancing authority whose cell says something, in UTC as the format has it.

    Other columns are demand and exchanges, which are no emissions.
    """
    clock = Clock.utc()

    @lru_cache(maxsize=1)
    def sources(header: tuple[str, ...]) -> list[tuple[str, str]]:
        return [(name, match[1]) for name in header if (match := GRID_SOURCE.fullmatch(name))]

    def convert(cells: Cells) -> list[RawRecord]:
        time = {"event_time": clock.time("", cells["period"])} if cells["period"] else {}
        return [
            {**time, "source_id": source, "emission_kg": number(cells[name]), "interval_s": HOUR_S}
            for name, source in sources(tuple(cells))
            if cells[name] != ""
        ]

    return convert


EIA_INTENSITY = "avg_CI"
EIA_FUELS = frozenset({"WND", "SUN", "WAT", "OIL", "NG", "COL", "NUC", "OTH", "GEO", "BIO", "PS", "UNK"})
EIA_NAME = re.compile(r"(?:eia930_)?(.+?)(?:_\d{4})?_avgCI(?:_\d{4})?", re.IGNORECASE)


def is_eia(header: Collection[str]) -> bool:
    """Whether a header has an hour, power by fuel and the intensity."""
    return {"timestamp", EIA_INTENSITY} <= set(header) and len(EIA_FUELS.intersection(header)) > 1


def open_eia(path: Path) -> Converter:
    """MW by fuel over an hour, times g/kWh, which is kg/MWh; the file's name says whose."""
    clock = clock_of_settings()
    source = eia_source(path)

    def convert(cells: Cells) -> list[RawRecord]:
        record = _named(cells, {"timestamp": ("event_time", lambda text: clock.time(source, text))})
        record |= {"source_id": source, "interval_s": HOUR_S}
        intensity = _fraction(cells[EIA_INTENSITY])
        powers = [power for name in EIA_FUELS.intersection(cells) if (power := _fraction(cells[name])) is not None]
        if intensity is not None and powers:
            record |= _floats(emission_kg=sum(powers) * intensity, energy_mwh=sum(powers))
        return [record]

    return convert


def eia_source(path: Path) -> str:
    """`eia930_CISO_avgCI.csv.gz` is of CISO; a name that isn't made like that is the source's."""
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    match = EIA_NAME.fullmatch(stem)
    return match[1] if match else stem


# --- CodeCarbon ------------------------------------------------------------------------------------------------------

CODECARBON = {
    "run_id": "source_id",
    "project_name": "facility",
    "country_name": "country",
    "latitude": "latitude",
    "longitude": "longitude",
}
CODECARBON_REQUIRED = {"timestamp", "run_id", "duration", "emissions"}


class Reached(NamedTuple):
    """What a run's totals have come to: seconds, kg, kWh."""

    duration: Fraction
    emissions: Fraction
    energy: Fraction | None


def is_codecarbon(header: Collection[str]) -> bool:
    """Whether a header is that of CodeCarbon's log."""
    return set(header) >= CODECARBON_REQUIRED


def open_codecarbon(_path: Path) -> Converter:
    """What a run has added to its totals since its row before, or since its begin."""
    clock = clock_of_settings()
    reached: dict[str, Reached] = {}

    def convert(cells: Cells) -> list[RawRecord]:
        run = cells["run_id"]
        casts: Casts = {
            **{
                name: (field, number if field in ("latitude", "longitude") else str)
                for name, field in CODECARBON.items()
            },
            "timestamp": ("event_time", lambda text: clock.time(run, text)),
        }
        record = _named(cells, casts)
        duration, emissions = _fraction(cells["duration"]), _fraction(cells["emissions"])
        if duration is None or emissions is None:
            return [record]
        now = Reached(duration, emissions, _fraction(cells.get("energy_consumed", "")))
        before = reached.get(run)
        if before is None or now.duration < before.duration or now.emissions < before.emissions:
            before = Reached(Fraction(0), Fraction(0), Fraction(0))
        reached[run] = now
        record |= _floats(emission_kg=now.emissions - before.emissions)
        if now.duration > before.duration:
            record |= _floats(interval_s=now.duration - before.duration)
        if now.energy is not None and before.energy is not None and now.energy >= before.energy:
            record |= _floats(energy_mwh=(now.energy - before.energy) / 1_000)
        return [record]

    return convert


# --- any CSV ---------------------------------------------------------------------------------------------------------

KG, TONNE, GRAM = Fraction(1), Fraction(1_000), Fraction(1, 1_000)
MASSES = {
    **dict.fromkeys(("kg", "kgs", "kilograms"), KG),
    **dict.fromkeys(("t", "tonnes", "metrictons", "metrictonnes"), TONNE),
    "shorttons": SHORT_TON_KG,
    **dict.fromkeys(("lb", "lbs", "pounds"), POUND_KG),
    **dict.fromkeys(("g", "grams"), GRAM),
}
TIMES = {
    **dict.fromkeys(("s", "sec", "seconds"), Fraction(1)),
    **dict.fromkeys(("min", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hours"), Fraction(3_600)),
}
ENERGIES = {"mwh": Fraction(1), "kwh": Fraction(1, 1_000), "gwh": Fraction(1_000), "gj": Fraction(5, 18)}

UNITS = {
    "emission_kg": {
        **{name + unit: factor for name in ("emission", "emissions", "co2", "co2emission", "co2emissions", "co2mass")
           for unit, factor in MASSES.items()},
        **{unit + "co2": factor for unit, factor in MASSES.items()},
    },
    "interval_s": {name + unit: factor for name in ("interval", "duration") for unit, factor in TIMES.items()},
    "energy_mwh": {name + unit: factor for name in ("energy", "grossload") for unit, factor in ENERGIES.items()},
}  # fmt: skip
"""What a column is multiplied by, by its name: a quantity and its unit."""

ALIASES: Aliases = {
    "source_id": (
        ("sourceid", "source"),
        ("meterid", "meter", "stackid", "stack", "deviceid", "device", "sensorid", "sensor"),
        ("unitid", "unit", "plantid", "plant"),
        ("id",),
    ),
    **{field: (tuple(names),) for field, names in UNITS.items()},
    "event_time": (
        ("eventtime", "recordedat", "measuredat"),
        ("timestamp", "datetime", "ts"),
        ("time", "date", "period"),
    ),
    "facility": (("facility", "facilityname"), ("site", "plantname")),
    "sector": (("sector",),),
    "fuel": (("fuel", "fueltype"),),
    "country": (("country", "countryname"),),
    "latitude": (("latitude", "lat"),),
    "longitude": (("longitude", "lon", "lng"),),
    "method": (("method",),),
}
REQUIRED = {"source_id", "emission_kg", "event_time"}


def is_understood(header: Collection[str]) -> bool:
    """Whether a header's columns are a source, a mass and a time. Raises ReplayError where two mean the same."""
    return set(_fields(tuple(header)).values()) >= REQUIRED


def open_any(_path: Path) -> Converter:
    """A record of a row, by the names of its columns."""
    clock = clock_of_settings()

    def convert(cells: Cells) -> list[RawRecord]:
        fields = _fields(tuple(cells))
        source = next(cells[name] for name, field in fields.items() if field == "source_id")
        casts = {name: (field, _cast(name, field)) for name, field in fields.items()}
        time = next(name for name, field in fields.items() if field == "event_time")
        casts[time] = ("event_time", lambda text: clock.time(source, text))
        return [_named(cells, casts)]

    return convert


@lru_cache(maxsize=64)
def _fields(header: tuple[str, ...]) -> dict[str, str]:
    return understood(header, ALIASES)


def _cast(column: str, field: str) -> Callable[[str], Any]:
    if field in UNITS:
        factor = UNITS[field][plain(column)]
        return lambda text: scaled(text, factor)
    return number if field in ("latitude", "longitude") else str


def _named(cells: Cells, casts: Casts) -> RawRecord:
    """The cells that say something, under our fields' names where a cast is known for them, else under their own."""
    record: RawRecord = {}
    for name, text in cells.items():
        if text != "":
            field, cast = casts.get(name, (name, str))
            record[field] = cast(text)
    return record


def _floats(**numbers: Fraction | int) -> RawRecord:
    """The nearest floats, without what no float can hold."""
    floats = {}
    for name, value in numbers.items():
        with suppress(OverflowError):
            floats[name] = float(value)
    return floats


def _fraction(text: str) -> Fraction | None:
    """The exact number; None where it is none."""
    return Fraction(text.strip()) if isinstance(number(text), float) else None


FORMATS = (
    Series(
        name="EPA's daily emissions by state",
        columns="State, Year, (day), SO2 (tons), NOx (tons), CO2 (tons), Gross Load (MW-h)",
        matches=is_epa,
        opened=open_epa,
    ),
    Series(
        name="gridemissions, kg by hour",
        columns="period and any of CO2_<balancing authority>_NG",
        matches=is_grid,
        opened=open_grid,
    ),
    Series(
        name="EIA-930 by fuel with intensity",
        columns="timestamp, MW by fuel (WND, SUN, WAT, OIL, NG, COL, NUC, OTH), avg_CI (g/kWh)",
        matches=is_eia,
        opened=open_eia,
    ),
    Series(
        name="CodeCarbon's log",
        columns="timestamp, run_id, duration, emissions (running totals), and any of energy_consumed, project_name ...",
        matches=is_codecarbon,
        opened=open_codecarbon,
    ),
    Series(
        name="emissions by usual names",
        columns="a source (source_id, meter_id, stack, unit, id ...), a mass with its unit (emission_kg, co2_tonnes, "
        "co2_short_tons, co2_lb, co2_g ...), a time (event_time, timestamp, date ...), and any of interval_s "
        "(interval_min, interval_h), energy_mwh (energy_kwh, energy_gj), facility, sector, fuel, country, latitude, "
        "longitude, method",
        matches=is_understood,
        opened=open_any,
    ),
)
