"""Who flies where in the simulation: real airlines with their designators and hubs, between real airports.

Designators are ICAO's (Doc 8585), airports' codes too; their places come from `airportsdata`. How large an airline is
and what it flies is rounded to what makes traffic look right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import NamedTuple

import airportsdata

from headwater.geometry import distance_km

FEET_M = 0.3048


@dataclass(frozen=True)
class Kind:
    """A class of aircraft: `category` as OpenSky numbers it, speeds in m/s, altitudes in m, ranges in km."""

    name: str
    category: int
    range_km: tuple[float, float]
    cruise_ms: tuple[float, float]
    cruise_m: tuple[float, float]
    lift_off_ms: float
    climb_ms: float
    descent_ms: float
    ground_min: tuple[float, float]


HEAVY = Kind("heavy", 6, (2_500, 12_500), (238, 256), (10_000, 12_500), 82, 8.0, 7.5, (60, 150))
LARGE = Kind("large", 4, (350, 3_800), (220, 238), (9_400, 11_900), 75, 9.0, 8.0, (30, 75))
REGIONAL = Kind("regional", 3, (150, 1_100), (140, 205), (5_500, 10_700), 60, 7.0, 6.5, (20, 50))
LIGHT = Kind("light", 2, (40, 350), (50, 75), (900, 3_000), 32, 3.5, 3.0, (20, 120))


@dataclass(frozen=True)
class Airport:
    """A place to fly from; elevation in m. `weight` says how much traffic it draws."""

    icao: str
    latitude: float
    longitude: float
    elevation_m: float
    weight: float = 1.0


@dataclass(frozen=True)
class Airline:
    """An operator; `kinds` with how often each comes, `letters` says whether its callsigns end in letters."""

    designator: str
    country: str
    hubs: tuple[str, ...]
    kinds: tuple[tuple[Kind, float], ...]
    letters: bool


class Flown(NamedTuple):
    """What one airframe does for life."""

    airline: Airline | None
    country: str
    kind: Kind
    home: Airport


# Designator, country, size, shares of heavy, large and regional in tenths, hubs.
_AIRLINES = """
AAL|United States|30|2 8 0|KDFW KCLT KORD KMIA KPHX KPHL
DAL|United States|30|2 8 0|KATL KDTW KMSP KSLC KSEA KJFK
UAL|United States|28|3 7 0|KORD KDEN KIAH KEWR KSFO KIAD
SWA|United States|26|0 10 0|KMDW KLAS KDEN KBWI KPHX KHOU
JBU|United States|8|0 10 0|KJFK KBOS KFLL KMCO
ASA|United States|8|0 10 0|KSEA KPDX KLAX
FFT|United States|5|0 10 0|KDEN KMCO
SKW|United States|12|0 0 10|KSLC KDEN KORD KLAX
RPA|United States|8|0 0 10|KLGA KDCA KIND
ENY|United States|6|0 0 10|KDFW KORD
FDX|United States|8|6 4 0|KMEM KIND KOAK EDDK
UPS|United States|6|7 3 0|KSDF KPHL KONT EDDK
ACA|Canada|9|4 6 0|CYYZ CYUL CYVR
WJA|Canada|6|1 9 0|CYYC CYYZ
JZA|Canada|4|0 0 10|CYYZ CYUL
AMX|Mexico|4|2 8 0|MMMX MMMY
VOI|Mexico|4|0 10 0|MMUN MMGL MMMX
AVA|Colombia|4|1 9 0|SKBO
CMP|Panama|4|0 10 0|MPTO
LPE|Peru|3|1 9 0|SPJC
LAN|Chile|4|3 7 0|SCEL
TAM|Brazil|6|2 8 0|SBGR SBBR
GLO|Brazil|5|0 10 0|SBGR SBGL
AZU|Brazil|5|1 6 3|SBKP SBCF
ARG|Argentina|4|1 9 0|SABE SAEZ
BAW|United Kingdom|10|4 6 0|EGLL EGKK
EZY|United Kingdom|9|0 10 0|EGKK EGGW EGCC
EXS|United Kingdom|4|0 10 0|EGNM EGCC EGSS
VIR|United Kingdom|3|10 0 0|EGLL EGCC
RYR|Ireland|16|0 10 0|EIDW EGSS LIME EBCI LEMD
EIN|Ireland|4|3 7 0|EIDW
DLH|Germany|11|4 6 0|EDDF EDDM
EWG|Germany|5|0 10 0|EDDL EDDH EDDB
CFG|Germany|2|5 5 0|EDDF
BOX|Germany|2|10 0 0|EDDP
AFR|France|9|4 6 0|LFPG LFPO
TVF|France|3|0 10 0|LFPO LFLL
KLM|Kingdom of the Netherlands|7|4 6 0|EHAM
KLC|Kingdom of the Netherlands|3|0 0 10|EHAM
TRA|Kingdom of the Netherlands|2|0 10 0|EHAM
BEL|Belgium|2|2 8 0|EBBR
SWR|Switzerland|4|4 6 0|LSZH LSGG
AUA|Austria|3|2 8 0|LOWW
IBE|Spain|5|4 6 0|LEMD
VLG|Spain|6|0 10 0|LEBL LEMG
AEA|Spain|3|4 6 0|LEMD
TAP|Portugal|4|3 7 0|LPPT LPPR
ITY|Italy|4|3 7 0|LIRF LIML
SAS|Sweden|4|2 8 0|ESSA EKCH ENGM
NOZ|Norway|3|0 10 0|ENGM ENBR
WIF|Norway|2|0 0 10|ENBR ENTC
FIN|Finland|3|3 7 0|EFHK
LOT|Poland|3|2 5 3|EPWA
WZZ|Hungary|6|0 10 0|LHBP LROP EPWA
WMT|Malta|3|0 10 0|LMML LIRF
BTI|Latvia|2|0 10 0|EVRA
AEE|Greece|3|0 10 0|LGAV LGTS
THY|Turkey|10|4 6 0|LTFM
PGT|Turkey|4|0 10 0|LTFJ
ROT|Romania|2|0 6 4|LROP
ASL|Serbia|2|1 6 3|LYBE
CTN|Croatia|1|0 6 4|LDZA
ICE|Iceland|2|0 10 0|BIKF
AFL|Russian Federation|5|3 7 0|UUEE
KZR|Kazakhstan|2|2 8 0|UAAA
UZB|Uzbekistan|2|3 7 0|UZTT
ELY|Israel|2|6 4 0|LLBG
RJA|Jordan|2|3 7 0|OJAI
SVA|Saudi Arabia|5|5 5 0|OEJN OERK
UAE|United Arab Emirates|9|10 0 0|OMDB
FDB|United Arab Emirates|4|0 10 0|OMDB
ETD|United Arab Emirates|4|6 4 0|OMAA
QTR|Qatar|8|8 2 0|OTHH
KAC|Kuwait|2|5 5 0|OKKK
GFA|Bahrain|2|3 7 0|OBBI
OMA|Oman|2|4 6 0|OOMS
MSR|Egypt|3|4 6 0|HECA
RAM|Morocco|3|2 8 0|GMMN
DAH|Algeria|2|2 8 0|DAAG
ETH|Ethiopia|4|6 4 0|HAAB
KQA|Kenya|2|3 5 2|HKJK
SAA|South Africa|2|4 6 0|FAOR
SFR|South Africa|2|0 10 0|FAOR FACT
AIC|India|5|4 6 0|VIDP VABB
IGO|India|10|0 9 1|VIDP VABB VOBL VOHS
PIA|Pakistan|1|5 5 0|OPKC
ALK|Sri Lanka|2|5 5 0|VCBI
BBC|Bangladesh|1|5 5 0|VGHS
THA|Thailand|3|7 3 0|VTBS
AIQ|Thailand|3|0 10 0|VTBD
HVN|Viet Nam|4|3 7 0|VVNB VVTS
VJC|Viet Nam|3|1 9 0|VVTS
SIA|Singapore|5|9 1 0|WSSS
MAS|Malaysia|3|4 6 0|WMKK
AXM|Malaysia|4|0 10 0|WMKK
GIA|Indonesia|3|3 7 0|WIII
LNI|Indonesia|5|1 9 0|WIII WARR
PAL|Philippines|3|4 6 0|RPLL
CPA|China|5|8 2 0|VHHH
CCA|China|9|4 6 0|ZBAA ZUTF
CES|China|10|3 7 0|ZSPD ZSSS ZPPP
CSN|China|10|3 7 0|ZGGG ZBAD ZWWW
CHH|China|6|3 7 0|ZBAA ZLXY ZJHK
CSC|China|4|0 10 0|ZUTF ZUCK
CAL|Taiwan|3|7 3 0|RCTP
EVA|Taiwan|3|8 2 0|RCTP
KAL|Republic of Korea|5|7 3 0|RKSI
AAR|Republic of Korea|3|5 5 0|RKSI RKSS
JNA|Republic of Korea|2|1 9 0|RKSS
ANA|Japan|7|5 5 0|RJTT RJAA
JAL|Japan|6|5 5 0|RJTT RJOO
QFA|Australia|5|4 6 0|YSSY YMML
VOZ|Australia|4|0 10 0|YBBN YMML
JST|Australia|3|2 8 0|YMML YSSY
ANZ|New Zealand|4|3 4 3|NZAA
FJI|Fiji|1|5 5 0|NFFN
"""

_MAJOR = (
    # Weight, airports.
    (4, "KATL KDFW KDEN KORD KLAX KJFK KMCO KLAS KMIA KCLT KSEA KPHX KEWR KSFO KIAH EGLL EHAM EDDF LFPG LTFM LEMD OMDB "
        "VIDP VABB ZBAA ZSPD ZGGG VHHH RJTT RKSI WSSS VTBS WIII CYYZ SBGR MMMX"),
    (2, "KBOS KMSP KDTW KFLL KPHL KBWI KSLC KIAD KSAN KTPA KDCA KMDW KLGA PHNL KPDX KSTL KBNA KAUS CYVR CYYC CYUL EGKK "
        "EGSS EGCC EIDW LEBL LEPA LPPT LIRF LIMC EDDM EDDB EDDL LSZH LOWW EKCH ESSA ENGM EFHK EPWA LGAV LKPR LHBP EBBR "
        "LFPO OTHH OMAA OERK OEJN LLBG HECA VOBL VOHS VOMM VECC RJAA RJBB RJFF RJCC RCTP ZUTF ZUCK ZLXY ZGSZ ZPPP ZSHC "
        "ZSSS ZBAD WMKK RPLL VVTS VVNB YSSY YMML YBBN NZAA FAOR SKBO SPJC SCEL SAEZ SABE SBBR SBGL MMUN MPTO"),
    (1, "KRDU KCLE KPIT KIND KCVG KMCI KSMF KSJC KOAK KSNA KMSY KSAT KMEM KSDF KONT KRSW KJAX KBUF KBDL KABQ KOMA KOKC "
        "KBOI KELP KTUS PANC PHOG TJSJ CYEG CYOW CYHZ CYWG EGPH EGPF EGBB EGGW EGNM EGGD EIDL EICK LEMG LEAL LEVC LEZL "
        "LEBB GCTS GCLP GCXO LPPR LPFR LPMA LIME LIML LIPZ LIRN LICC LIPE LICJ EDDH EDDS EDDK EDDP EDDV LSGG LFLL LFMN "
        "LFML LFBO LFBD EBCI EBLG ELLX ENBR ENVA ENZV ENTC ESGG EFRO EVRA EYVI EETN EPKK EPGD LROP LYBE LBSF LDZA LDSP "
        "LJLJ LGTS LGIR LGRP LCLK LTFJ LTAI LTAC LMML BIKF UUEE ULLI USSS UNNT UAAA UACC UZTT UGTB UDYZ UBBB OJAI OLBA "
        "OKKK OBBI OOMS OIIE ORBI OPKC OPLA OPIS VCBI VGHS VNKT VAAH VOCI VOGO VRMM VTBD VTSP VTCC VVDN VDTI WADD WARR "
        "RPVM ZWWW ZJHK ZSAM ZHHH ZGHA ZSNJ ZSQD ZYTX ZYHB VMMC RKPC RKSS RJOO ROAH YPPH YPAD YBCS YMHB YPDN NZCH NZWN "
        "NFFN NTAA GMMN GMMX DAAG DTTA HLLM HAAB HKJK HTDA HUEN DNMM DGAA GOBD DIAP FACT FALE FAPE FLKK FVHA FIMP FMEE "
        "MMMY MMGL MMTJ MDPC MKJS MROC MGGT MUHA SVMI SEQM SKCL SKRG SLVR SGAS SUMU SAAR SACO SBKP SBCF SBSV SBRF SBPA "
        "SBFZ SBCT"),
)  # fmt: skip
_PRIVATE = (
    # Country as OpenSky and as airportsdata spell it, weight.
    ("United States", "US", 10), ("Germany", "DE", 3), ("United Kingdom", "GB", 3), ("France", "FR", 2),
    ("Canada", "CA", 2), ("Australia", "AU", 2), ("Brazil", "BR", 1), ("Switzerland", "CH", 1),
)  # fmt: skip
PRIVATE_SHARE = 0.12
"""Airframes that no airline flies."""
PRIVATE_FIELDS = 300
"""Airfields of a country, at most, between which its private pilots fly."""

REGISTRATIONS = {
    "United States": ("N", "1234567890", 5),
    "Germany": ("DE", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
    "United Kingdom": ("G", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4),
    "France": ("F", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4),
    "Canada": ("CF", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
    "Australia": ("VH", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
    "Brazil": ("PR", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
    "Switzerland": ("HB", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
}
"""How registrations begin and go on, and for how many signs: a private aircraft's callsign."""


@cache
def airlines() -> tuple[tuple[Airline, ...], tuple[float, ...]]:
    """Every airline, and their sizes cumulated."""
    found, sizes = [], []
    for line in _AIRLINES.strip().splitlines():
        designator, country, size, shares, hubs = line.split("|")
        kinds = zip((HEAVY, LARGE, REGIONAL), map(float, shares.split()), strict=True)
        flown = tuple((kind, share) for kind, share in kinds if share)
        letters = hubs[0] in "EL"
        found.append(Airline(designator, country, tuple(hubs.split()), flown, letters))
        sizes.append(float(size))
    return tuple(found), tuple(accumulate(sizes))


@cache
def airports() -> dict[str, Airport]:
    """Where airlines fly: the major airports and every hub, by their codes."""
    places = airportsdata.load("ICAO")
    weights = {hub: 1.0 for airline in airlines()[0] for hub in airline.hubs}
    weights |= {icao: float(weight) for weight, line in _MAJOR for icao in line.split()}
    return {icao: _airport(places[icao], weight) for icao, weight in weights.items()}


@cache
def destinations(origin: Airport, kind: Kind) -> tuple[tuple[Airport, ...], tuple[float, ...]]:
    """Where an airline's aircraft of a kind fly to from an airport, and how often, cumulated."""
    return _within(origin, kind, tuple(airports().values()))


@cache
def airfields(origin: Airport, country_code: str) -> tuple[tuple[Airport, ...], tuple[float, ...]]:
    """The same of a private pilot."""
    return _within(origin, LIGHT, private_fields(country_code))


@cache
def private_fields(country_code: str) -> tuple[Airport, ...]:
    """Small airfields of a country, the same in every run."""
    places = sorted(
        (p for p in airportsdata.load("ICAO").values() if p["country"] == country_code and not p["iata"]),
        key=lambda place: place["icao"],
    )
    drawn = Random(country_code).sample(places, min(PRIVATE_FIELDS, len(places)))
    return tuple(_airport(place, 1.0) for place in drawn)


def drawn(rng: Random) -> Flown:
    """An airframe: its operator, kind and home."""
    if rng.random() < PRIVATE_SHARE:
        (country, code, _) = rng.choices(_PRIVATE, [weight for *_, weight in _PRIVATE])[0]
        return Flown(None, country, LIGHT, rng.choice(private_fields(code)))
    found, sizes = airlines()
    airline = rng.choices(found, cum_weights=sizes)[0]
    kind = rng.choices([kind for kind, _ in airline.kinds], [share for _, share in airline.kinds])[0]
    return Flown(airline, airline.country, kind, airports()[rng.choice(airline.hubs)])


def next_airport(rng: Random, flown: Flown, here: Airport) -> Airport:
    """Where an airframe flies next: away from home and back; from where there is nothing in reach, home as well."""
    if here != flown.home:
        return flown.home
    if flown.airline is None:
        code = next(code for country, code, _ in _PRIVATE if country == flown.country)
        places, weights = airfields(here, code)
    else:
        places, weights = destinations(here, flown.kind)
    return rng.choices(places, cum_weights=weights)[0]


def callsign(rng: Random, flown: Flown) -> str:
    """As transponders send it: eight signs, padded with blanks."""
    if flown.airline is None:
        begin, signs, count = REGISTRATIONS[flown.country]
        return f"{begin}{''.join(rng.choices(signs, k=count))}".ljust(8)
    if flown.airline.letters and rng.random() < 0.6:
        tail = f"{rng.randrange(1, 99)}{''.join(rng.choices('ABCDEFGHJKLMNPQRSTUVWXYZ', k=rng.choice((1, 2))))}"
    else:
        tail = str(rng.randrange(1, 3_000))
    return f"{flown.airline.designator}{tail}".ljust(8)


def _within(origin: Airport, kind: Kind, places: Sequence[Airport]) -> tuple[tuple[Airport, ...], tuple[float, ...]]:
    """The places in a kind's range; the nearest other one where there is none."""
    shortest, longest = kind.range_km
    away = [(distance_km(origin.latitude, origin.longitude, p.latitude, p.longitude), p) for p in places]
    found = [place for km, place in away if shortest <= km <= longest]
    if not found:
        found = [min((pair for pair in away if pair[0] > 1), key=lambda pair: pair[0])[1]]
    return tuple(found), tuple(accumulate(place.weight for place in found))


def _airport(place: airportsdata.Airport, weight: float) -> Airport:
    return Airport(place["icao"], place["lat"], place["lon"], place["elevation"] * FEET_M, weight)
