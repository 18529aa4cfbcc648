"""The simulated plants, fleets and buildings: what they burn, how much of it, and what that emits.

Emission is energy of the fuel (net calorific value) times the fuel's factor, and for cement the carbonate's CO2 on top.
Where the factors are from, and what else is set here, is in docs/decisions/0029-simulated-emissions.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import NamedTuple

from faker import Faker

from headwater.contracts.co2 import CALCULATED, MEASURED
from producers.co2_load import BUILDINGS, CEMENT, POWER, ROAD, SHIPPING, STEEL, demand

KG_PER_GJ = {
    # IPCC 2006 Guidelines, volume 2, table 2.2 (there in kg/TJ); those of engines and ships, tables 3.2.1 and 3.5.2.
    "hard coal": 94.6,
    "lignite": 101.0,
    "petroleum coke": 97.5,
    "coke": 107.0,
    "natural gas": 56.1,
    "gas oil": 74.1,
    "diesel": 74.1,
    "gasoline": 69.3,
    "heavy fuel oil": 77.4,
    "biomass": 112.0,
}
CLINKER_KG_PER_T = 525.0
"""Of the raw meal's carbonates, for a tonne of clinker: Regulation (EU) 2018/2066, annex IV, section 9."""
CLINKER_GJ_PER_T = 3.5
"""Heat that a kiln with preheater takes for it."""
CARBONATES = CLINKER_KG_PER_T / CLINKER_GJ_PER_T

GJ_PER_MWH = 3.6
PART_LOAD_LOSS = 0.12
"""What share of its efficiency a plant would lose at no load; in between in proportion."""


class Kind(NamedTuple):
    """What stands on a site. `mw` is what it delivers at full load, or burns where it delivers no energy that counts.

    It runs at `floor` up to the demand `start`, and from there on follows it up to full load.
    """

    site: int
    name: str
    sector: str
    fuel: str
    mw: float
    efficiency: float | None = None
    floor: float = 0.0
    start: float = 0.0
    process_kg_gj: float = 0.0
    method: str = MEASURED


KINDS = (
    Kind(0, "unit-1", POWER, "hard coal", 350, 0.41, floor=0.45, start=0.5),
    Kind(0, "unit-2", POWER, "hard coal", 350, 0.39, floor=0.4, start=0.6),
    Kind(1, "unit-1", POWER, "lignite", 500, 0.4, floor=0.7, start=0.5),
    Kind(2, "unit-1", POWER, "natural gas", 400, 0.57, floor=0.4, start=0.55),
    Kind(2, "unit-2", POWER, "natural gas", 400, 0.55, start=0.7),
    Kind(3, "turbine-1", POWER, "gas oil", 80, 0.33, start=0.9),
    Kind(4, "unit-1", POWER, "biomass", 40, 0.32, floor=0.8),
    Kind(5, "kiln-1", CEMENT, "hard coal", 110, process_kg_gj=CARBONATES),
    Kind(5, "kiln-2", CEMENT, "petroleum coke", 95, process_kg_gj=CARBONATES),
    Kind(6, "kiln-1", CEMENT, "lignite", 80, process_kg_gj=CARBONATES),
    Kind(7, "blast-furnace-1", STEEL, "coke", 600, floor=0.8),
    Kind(7, "reheating-1", STEEL, "natural gas", 90, floor=0.5),
    Kind(8, "arc-furnace-1", STEEL, "natural gas", 25, floor=0.3),
    Kind(9, "trucks-1", ROAD, "diesel", 18, method=CALCULATED),
    Kind(9, "vans-1", ROAD, "diesel", 4.5, method=CALCULATED),
    Kind(9, "cars-1", ROAD, "gasoline", 2.2, method=CALCULATED),
    Kind(10, "buses-1", ROAD, "diesel", 12, method=CALCULATED),
    Kind(11, "ferry-1", SHIPPING, "heavy fuel oil", 42, floor=0.08, method=CALCULATED),
    Kind(11, "ferry-2", SHIPPING, "heavy fuel oil", 30, floor=0.08, method=CALCULATED),
    Kind(11, "tug-1", SHIPPING, "gas oil", 5, floor=0.05, method=CALCULATED),
    Kind(12, "ferry-1", SHIPPING, "gas oil", 16, floor=0.08, method=CALCULATED),
    Kind(13, "boiler-1", BUILDINGS, "natural gas", 2.4, 0.93),
    Kind(13, "boiler-2", BUILDINGS, "natural gas", 1.2, 0.9),
    Kind(14, "boiler-1", BUILDINGS, "gas oil", 0.6, 0.88),
    Kind(15, "heating-plant-1", BUILDINGS, "biomass", 8, 0.85),
)
SITES = (
    *("Power Station",) * 5,
    *("Cement Works",) * 2,
    *("Steelworks",) * 2,
    *("Depot", "Bus Depot"),
    *("Harbour",) * 2,
    *("Hospital", "School", "District Heating"),
)
"""What a kind's `site` is called. More sources than KINDS are as many on more sites."""

# 16 and 15 have no common divisor: 240 names before one comes again.
FIRST = (
    *("black", "ash", "stone", "red", "mill", "oak", "north", "kings"),
    *("fair", "hart", "elm", "wood", "raven", "silver", "clay", "thorn"),
)
SECOND = (
    *("water", "ford", "bridge", "field", "haven", "wick", "ley", "ton"),
    *("gate", "stead", "bourne", "dale", "ham", "brook", "ness"),
)

COUNTRIES = {
    "DE": "Germany",
    "GB": "United Kingdom",
    "FR": "France",
    "NL": "Netherlands",
    "IT": "Italy",
    "ES": "Spain",
}


class Place(NamedTuple):
    """Where a site is; `zone` is an IANA name."""

    latitude: float
    longitude: float
    country: str
    zone: str


PORTS = (
    Place(51.948, 4.142, "Netherlands", "Europe/Amsterdam"),
    Place(53.541, 9.966, "Germany", "Europe/Berlin"),
    Place(51.127, 1.335, "United Kingdom", "Europe/London"),
    Place(43.331, 5.344, "France", "Europe/Paris"),
    Place(44.409, 8.908, "Italy", "Europe/Rome"),
    Place(39.553, 2.631, "Spain", "Europe/Madrid"),
)


@dataclass(frozen=True)
class Source:
    """A simulated source, and all that a record says of it at any time in `fixed`."""

    source_id: str
    kind: Kind
    zone: str
    fixed: dict[str, str | float]

    def load(self, at_s: float) -> float:
        """What share of its full load it runs at, s since 1970."""
        kind = self.kind
        asked = max(0.0, (demand(kind.sector, self.zone, at_s) - kind.start) / (1 - kind.start))
        return kind.floor + (1 - kind.floor) * asked

    def kg_h(self, load: float) -> float:
        """What it emits at a load."""
        kind = self.kind
        efficiency = 1.0 if kind.efficiency is None else kind.efficiency * (1 - PART_LOAD_LOSS * (1 - load))
        return kind.mw * load / efficiency * GJ_PER_MWH * (KG_PER_GJ[kind.fuel] + kind.process_kg_gj)

    @property
    def full_kg_h(self) -> float:
        return self.kg_h(1.0)

    def mw(self, load: float) -> float | None:
        """What it delivers at a load."""
        return None if self.kind.efficiency is None else self.kind.mw * load


@lru_cache(maxsize=8)
def sources(number: int) -> tuple[Source, ...]:
    """The first so many sources: the same in every run, whatever the seed, as a company has them."""
    return tuple(islice(_sources(), number))


def _sources() -> Iterator[Source]:
    faker = Faker(["en_GB", "de_DE", "nl_NL"])
    faker.seed_instance(0)
    for first in count(step=len(SITES)):
        places = [_place(faker, first + site) for site in range(len(SITES))]
        operators = [faker.company() for _ in SITES]
        for kind in KINDS:
            town, place = _town(first + kind.site), places[kind.site]
            yield Source(
                source_id=f"{town}-{kind.name}",
                kind=kind,
                zone=place.zone,
                fixed={
                    "facility": f"{town.title()} {SITES[kind.site]}, {operators[kind.site]}",
                    "sector": kind.sector,
                    "fuel": kind.fuel,
                    "country": place.country,
                    "latitude": place.latitude,
                    "longitude": place.longitude,
                },
            )


def _town(site: int) -> str:
    name = FIRST[site % len(FIRST)] + SECOND[site % len(SECOND)]
    again = site // (len(FIRST) * len(SECOND))
    return f"{name}-{again + 1}" if again else name


def _place(faker: Faker, site: int) -> Place:
    """A port for a harbour, else a place that Faker knows."""
    if SITES[site % len(SITES)] == "Harbour":
        return PORTS[site % len(PORTS)]
    code = list(COUNTRIES)[site % len(COUNTRIES)]
    latitude, longitude, _, _, zone = faker.local_latlng(code)  # type: ignore[misc]  # of a code that it knows
    return Place(float(latitude), float(longitude), COUNTRIES[code], zone)
