"""The roads of the simulated fleet: main roads between Rotterdam, Antwerp, Liège, Cologne and Dortmund.

Places are real and set by hand, to about a kilometre; between them a road is a smooth curve through its places. How
roads are chosen and why they are not taken from a file: docs/decisions/0024-a-fleet-on-real-roads.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from heapq import heappop, heappush
from itertools import pairwise
from math import cos, hypot, inf, radians, sqrt

from headwater.geometry import bearing_deg, distance_km

Place = tuple[float, float]
"""Latitude and longitude."""

KMH = 1 / 3.6
"""One km/h in m/s."""

COMFORTABLE_BRAKING_MS2 = 0.8
SHARP_TURN_DEG, SHARP_TURN_KMH = 60, 25
TURN_DEG, TURN_KMH = 20, 45
CURVE_POINT_EVERY_KM = 0.8
SERVICES_ON_EDGES_FROM_KM = 4
"""A motorway that has no junction for so long has a service area half-way."""


@dataclass(frozen=True)
class RoadClass:
    """What a truck may drive there, in km/h, and whether it may stop at service areas along it."""

    limit_kmh: float
    has_services: bool = False


STREET = RoadClass(50)
TRUNK = RoadClass(70)
MOTORWAY = RoadClass(80, has_services=True)
MOTORWAY_BE = RoadClass(90, has_services=True)


@dataclass(frozen=True)
class Site:
    """Where trucks load, unload and park. A node of the roads."""

    node: str
    town: str
    is_depot: bool = False


SITES = (
    Site("waalhaven", "Rotterdam", is_depot=True),
    Site("logport", "Duisburg", is_depot=True),
    Site("maasvlakte", "Maasvlakte"),
    Site("noorderlaan", "Antwerp"),
    Site("vossenberg", "Tilburg"),
    Site("tradeport", "Venlo"),
    Site("dortmund harbour", "Dortmund"),
    Site("niehl", "Cologne"),
    Site("reisholz", "Düsseldorf"),
    Site("schiphol", "Schiphol"),
    Site("brucargo", "Brussels"),
    Site("ghent harbour", "Ghent"),
    Site("trilogiport", "Liège"),
    Site("ijsseloord", "Arnhem"),
    Site("lage weide", "Utrecht"),
)

NODES: dict[str, Place] = {
    # Sites
    "waalhaven": (51.8850, 4.4350),
    "logport": (51.3950, 6.7200),
    "maasvlakte": (51.9560, 4.0250),
    "noorderlaan": (51.2720, 4.3950),
    "vossenberg": (51.5830, 5.0150),
    "tradeport": (51.3900, 6.1080),
    "dortmund harbour": (51.5310, 7.4400),
    "niehl": (50.9900, 6.9680),
    "reisholz": (51.1760, 6.8600),
    "schiphol": (52.2900, 4.7700),
    "brucargo": (50.9130, 4.4750),
    "ghent harbour": (51.1200, 3.7550),
    "trilogiport": (50.7050, 5.6600),
    "ijsseloord": (51.9690, 5.9500),
    "lage weide": (52.1060, 5.0600),
    # Rotterdam and The Hague
    "slufter": (51.9300, 4.0350),
    "oostvoorne": (51.9170, 4.1270),
    "suurhoff": (51.9020, 4.1800),
    "rozenburg": (51.8870, 4.2500),
    "botlek": (51.8690, 4.3350),
    "benelux": (51.8660, 4.3880),
    "charlois": (51.8650, 4.4600),
    "vaanplein": (51.8640, 4.5010),
    "ridderkerk": (51.8610, 4.5850),
    "brienenoord": (51.9040, 4.5430),
    "terbregseplein": (51.9540, 4.5250),
    "kleinpolderplein": (51.9320, 4.4470),
    "delft": (51.9980, 4.3760),
    "prins claus": (52.0560, 4.3830),
    "leiden": (52.1350, 4.4900),
    "burgerveen": (52.2330, 4.6550),
    "de hoek": (52.2830, 4.7150),
    "badhoevedorp": (52.3330, 4.7860),
    "holendrecht": (52.2920, 4.9620),
    "gouwe": (52.0270, 4.6570),
    "woerden": (52.0740, 4.8900),
    # Utrecht, Arnhem
    "breukelen": (52.1750, 4.9900),
    "maarssen": (52.1080, 5.0350),
    "oudenrijn": (52.0640, 5.0640),
    "lunetten": (52.0640, 5.1430),
    "everdingen": (51.9480, 5.1050),
    "maarsbergen": (52.0500, 5.4000),
    "ede": (52.0300, 5.6300),
    "grijsoord": (52.0220, 5.8000),
    "waterberg": (52.0180, 5.8880),
    "velperbroek": (51.9890, 5.9560),
    "zevenaar": (51.9350, 6.0600),
    # Betuwe and Brabant
    "gorinchem": (51.8460, 4.9600),
    "deil": (51.8640, 5.2330),
    "tiel": (51.9050, 5.4500),
    "valburg": (51.9000, 5.7850),
    "ressen": (51.8980, 5.8700),
    "ewijk": (51.8600, 5.7350),
    "dordrecht": (51.8150, 4.6450),
    "moerdijk": (51.7180, 4.6380),
    "klaverpolder": (51.6930, 4.6450),
    "princeville": (51.5820, 4.7110),
    "galder": (51.5370, 4.7160),
    "hooipolder": (51.7080, 4.8700),
    "annabosch": (51.5520, 4.8200),
    "reeshof": (51.5480, 4.9700),
    "tilburg noord": (51.5680, 4.9880),
    "de baars": (51.5300, 5.1330),
    "oirschot": (51.5000, 5.2900),
    "ekkersweijer": (51.4950, 5.4200),
    "boxtel": (51.5950, 5.3500),
    "hintham": (51.7100, 5.3380),
    "de hogt": (51.4060, 5.4220),
    "leenderheide": (51.4050, 5.5050),
    "asten": (51.3900, 5.7700),
    "zaarderheiken": (51.3800, 6.1300),
    "venray": (51.5230, 6.0150),
    "boxmeer": (51.6450, 5.9250),
    "beuningen": (51.8200, 5.7600),
    # Antwerp and Kempen
    "hazeldonk": (51.4900, 4.7360),
    "brecht": (51.3580, 4.6300),
    "sint-job": (51.3000, 4.5600),
    "antwerp north": (51.2570, 4.4480),
    "luchtbal": (51.2620, 4.4150),
    "antwerp east": (51.2150, 4.4480),
    "antwerp south": (51.1900, 4.4060),
    "kennedy tunnel": (51.1990, 4.3720),
    "kruibeke": (51.1900, 4.3200),
    "ranst": (51.2070, 4.5580),
    "zoersel": (51.2370, 4.7070),
    "turnhout": (51.2870, 4.9350),
    "postel": (51.3080, 5.1500),
    "eersel": (51.3650, 5.3000),
    "geel": (51.1380, 4.9900),
    "lummen": (50.9770, 5.2460),
    "genk": (50.9600, 5.4600),
    "maasmechelen": (50.9680, 5.6600),
    "hasselt": (50.9150, 5.3800),
    "tongeren": (50.7900, 5.4800),
    # Ghent and Brussels
    "sint-niklaas": (51.1360, 4.1400),
    "lokeren": (51.0950, 3.9500),
    "destelbergen": (51.0450, 3.8050),
    "oostakker": (51.0900, 3.7700),
    "zwijnaarde": (50.9960, 3.7300),
    "aalst": (50.9150, 4.0500),
    "groot-bijgaarden": (50.8780, 4.2680),
    "strombeek": (50.9080, 4.3550),
    "machelen": (50.9110, 4.4260),
    "woluwe": (50.8700, 4.4630),
    "mechelen": (51.0230, 4.4470),
    "kontich": (51.1330, 4.4300),
    "leuven": (50.8500, 4.7000),
    "tienen": (50.7900, 4.9300),
    "waremme": (50.7180, 5.2500),
    # Meuse and Aachen
    "loncin": (50.6680, 5.5000),
    "vottem": (50.6800, 5.5700),
    "cheratte": (50.6800, 5.6850),
    "battice": (50.6440, 5.8300),
    "lichtenbusch": (50.7150, 6.1200),
    "aachen": (50.8110, 6.1670),
    "hermalle": (50.7080, 5.6870),
    "vise": (50.7350, 5.6850),
    "maastricht": (50.8600, 5.7200),
    "kerensheide": (50.9740, 5.7960),
    "ten esschen": (50.9020, 5.9370),
    "echt": (51.1000, 5.8800),
    "weert": (51.2350, 5.7000),
    # Cologne
    "dueren": (50.8500, 6.4700),
    "kerpen": (50.8640, 6.7330),
    "cologne west": (50.9230, 6.8500),
    "cologne north": (51.0120, 6.8960),
    "cologne niehl": (51.0230, 6.9300),
    "merkenich": (51.0060, 6.9580),
    "leverkusen bridge": (51.0335, 6.9450),
    "leverkusen west": (51.0400, 6.9680),
    "leverkusen": (51.0440, 7.0090),
    "heumar": (50.9170, 7.0680),
    "cologne east": (50.9530, 7.0430),
    # Lower Rhine and Düsseldorf
    "elten": (51.8960, 6.1320),
    "emmerich": (51.8570, 6.2700),
    "rees": (51.7960, 6.4430),
    "huenxe": (51.6600, 6.7300),
    "oberhausen": (51.5320, 6.8220),
    "kaiserberg": (51.4420, 6.8110),
    "breitscheid": (51.3620, 6.8700),
    "ratingen": (51.3010, 6.8800),
    "hilden": (51.1790, 6.9660),
    "langenfeld": (51.1170, 6.9690),
    "neuenkamp": (51.4440, 6.7330),
    "homberg": (51.4230, 6.7050),
    "moers": (51.4450, 6.6050),
    "kempen": (51.4260, 6.4200),
    "straelen": (51.3970, 6.2200),
    "krefeld": (51.3450, 6.6100),
    "meerbusch": (51.2800, 6.6620),
    "neuss": (51.1900, 6.6650),
    "neuss south": (51.1500, 6.7500),
    "dormagen": (51.0960, 6.8080),
    "flehe": (51.1870, 6.7900),
    # Ruhr and Bergisches Land
    "burscheid": (51.0880, 7.1200),
    "remscheid": (51.1700, 7.2500),
    "wuppertal north": (51.2960, 7.2450),
    "hagen west": (51.3450, 7.4250),
    "westhofen": (51.4250, 7.5180),
    "unna": (51.5140, 7.6560),
    "kamen": (51.5690, 7.6590),
    "dortmund northeast": (51.5810, 7.5300),
    "dortmund northwest": (51.5690, 7.3670),
    "huckarde": (51.5350, 7.3950),
    "recklinghausen": (51.5690, 7.2130),
    "buer": (51.5700, 7.0400),
    "bottrop": (51.5600, 6.9300),
}

ROADS: tuple[tuple[RoadClass, float, str], ...] = (
    # Class, how much speed its rush hour takes (0: none, 1: all), and the nodes along it.
    (TRUNK, 0.1, "maasvlakte, slufter, oostvoorne"),
    (MOTORWAY, 0.3, "oostvoorne, suurhoff, rozenburg, botlek, benelux, charlois, vaanplein, ridderkerk"),
    (STREET, 0.2, "waalhaven, charlois"),
    (MOTORWAY, 0.3, "ridderkerk, gorinchem, deil, tiel, valburg, ressen"),
    (MOTORWAY, 0.6, "ridderkerk, brienenoord, terbregseplein"),
    (MOTORWAY, 0.5, "terbregseplein, gouwe, woerden, oudenrijn, lunetten"),
    (MOTORWAY, 0.6, "benelux, kleinpolderplein, delft, prins claus, leiden, burgerveen, de hoek, badhoevedorp"),
    (MOTORWAY, 0.5, "kleinpolderplein, terbregseplein"),
    (STREET, 0.1, "de hoek, schiphol"),
    (MOTORWAY, 0.6, "badhoevedorp, holendrecht, breukelen, maarssen, oudenrijn, everdingen, deil, hintham, boxtel, "
        "ekkersweijer, de hogt, leenderheide"),
    (STREET, 0.1, "maarssen, lage weide"),
    (MOTORWAY, 0.4, "lunetten, maarsbergen, ede, grijsoord, waterberg, velperbroek, zevenaar, elten"),
    (MOTORWAY, 0.3, "lunetten, everdingen, gorinchem, hooipolder, annabosch"),
    (MOTORWAY, 0.2, "grijsoord, valburg, ewijk, beuningen, boxmeer, venray, zaarderheiken"),
    (TRUNK, 0.3, "ressen, ijsseloord"),
    (STREET, 0.2, "velperbroek, ijsseloord"),
    (MOTORWAY, 0.5, "ridderkerk, dordrecht, moerdijk, klaverpolder, princeville, galder, hazeldonk"),
    (MOTORWAY_BE, 0.4, "hazeldonk, brecht, sint-job, antwerp north"),
    (MOTORWAY, 0.4, "galder, annabosch, reeshof, de baars, oirschot, ekkersweijer"),
    (STREET, 0.1, "reeshof, tilburg noord, vossenberg"),
    (MOTORWAY, 0.2, "leenderheide, asten, zaarderheiken, straelen"),
    (STREET, 0.0, "zaarderheiken, tradeport"),
    (MOTORWAY, 0.2, "de hogt, eersel, postel"),
    (MOTORWAY_BE, 0.3, "postel, turnhout, zoersel, ranst"),
    (MOTORWAY_BE, 0.6, "ranst, antwerp east"),
    (MOTORWAY, 0.7, "antwerp north, antwerp east, antwerp south, kennedy tunnel, kruibeke"),
    (STREET, 0.2, "antwerp north, luchtbal, noorderlaan"),
    (MOTORWAY_BE, 0.4, "kruibeke, sint-niklaas, lokeren, destelbergen, zwijnaarde"),
    (TRUNK, 0.2, "destelbergen, oostakker, ghent harbour"),
    (MOTORWAY_BE, 0.4, "zwijnaarde, aalst, groot-bijgaarden"),
    (MOTORWAY, 0.7, "groot-bijgaarden, strombeek, machelen, woluwe"),
    (STREET, 0.3, "machelen, brucargo"),
    (MOTORWAY_BE, 0.5, "machelen, mechelen, kontich, antwerp south"),
    (MOTORWAY_BE, 0.4, "woluwe, leuven, tienen, waremme, loncin, vottem, cheratte, battice, lichtenbusch"),
    (MOTORWAY_BE, 0.3, "ranst, geel, lummen, hasselt, tongeren, vottem"),
    (MOTORWAY_BE, 0.2, "lummen, genk, maasmechelen, kerensheide"),
    (STREET, 0.1, "hermalle, trilogiport"),
    (MOTORWAY, 0.2, "cheratte, hermalle, vise, maastricht, kerensheide, echt, weert, leenderheide"),
    (MOTORWAY, 0.2, "kerensheide, ten esschen, aachen, dueren, kerpen, cologne west"),
    (MOTORWAY, 0.1, "lichtenbusch, aachen"),
    (MOTORWAY, 0.6, "cologne west, cologne north, cologne niehl, leverkusen bridge, leverkusen west, leverkusen"),
    (STREET, 0.2, "cologne niehl, merkenich, niehl"),
    (MOTORWAY, 0.5, "cologne west, heumar, cologne east, leverkusen"),
    (MOTORWAY, 0.4, "leverkusen, burscheid, remscheid, wuppertal north, hagen west, westhofen, unna, kamen"),
    (MOTORWAY, 0.3, "kamen, dortmund northeast, dortmund northwest, recklinghausen, buer, bottrop, oberhausen"),
    (STREET, 0.2, "dortmund northwest, huckarde, dortmund harbour"),
    (MOTORWAY, 0.2, "elten, emmerich, rees, huenxe, oberhausen"),
    (MOTORWAY, 0.6, "oberhausen, kaiserberg, breitscheid, ratingen, hilden, langenfeld, leverkusen"),
    (MOTORWAY, 0.5, "kaiserberg, neuenkamp, moers"),
    (TRUNK, 0.2, "neuenkamp, homberg, logport"),
    (MOTORWAY, 0.2, "moers, kempen, straelen"),
    (MOTORWAY, 0.4, "moers, krefeld, meerbusch, neuss, neuss south, dormagen, cologne north"),
    (TRUNK, 0.3, "neuss, flehe, reisholz"),
    (TRUNK, 0.3, "hilden, reisholz"),
)  # fmt: skip


@dataclass(frozen=True)
class Edge:
    """A stretch of road from one node to the next, as the points of its curve."""

    points: tuple[Place, ...]
    road: RoadClass
    busy: float

    @cached_property
    def length_km(self) -> float:
        return sum(distance_km(*a, *b) for a, b in pairwise(self.points))


@dataclass(frozen=True)
class Path:
    """A way between two sites: n points and, between them, n - 1 segments.

    `along_m` is the way up to a point. `ceiling_ms` is the speed at a point from which comfortable braking still makes
    the next turn, slower road, or the halt at the end. `services_m` are service areas, by the way up to them.
    """

    points: tuple[Place, ...]
    along_m: tuple[float, ...]
    ceiling_ms: tuple[float, ...]
    bearing: tuple[float, ...]
    limit_ms: tuple[float, ...]
    busy: tuple[float, ...]
    services_m: tuple[float, ...]

    @property
    def length_m(self) -> float:
        return self.along_m[-1]


@cache
def path(origin: str, destination: str) -> Path:
    """The quickest way between two nodes, by the limits."""
    nodes = _quickest(origin, destination)
    edges = [_edges()[a][b] for a, b in pairwise(nodes)]
    points = [edges[0].points[0], *(point for edge in edges for point in edge.points[1:])]
    each = [edge for edge in edges for _ in edge.points[1:]]
    along = [0.0]
    for a, b in pairwise(points):
        along.append(along[-1] + distance_km(*a, *b) * 1000)
    bearings = tuple(bearing_deg(*a, *b) or 0.0 for a, b in pairwise(points))
    limits = tuple(edge.road.limit_kmh * KMH for edge in each)
    return Path(
        points=tuple(points),
        along_m=tuple(along),
        ceiling_ms=_ceilings(along, bearings, limits),
        bearing=bearings,
        limit_ms=limits,
        busy=tuple(edge.busy for edge in each),
        services_m=tuple(_services(edges)),
    )


def _ceilings(along: Sequence[float], bearings: Sequence[float], limits: Sequence[float]) -> tuple[float, ...]:
    """For each point, looking back from the halt at the end."""
    ceilings = [0.0]
    for i in range(len(along) - 2, -1, -1):
        braking = sqrt(ceilings[-1] ** 2 + 2 * COMFORTABLE_BRAKING_MS2 * (along[i + 1] - along[i]))
        here = inf if i == 0 else _through(bearings[i - 1], bearings[i])
        slower = limits[i] if i and limits[i] < limits[i - 1] else inf
        ceilings.append(min(braking, here, slower))
    return tuple(reversed(ceilings))


def _through(bearing: float, next_bearing: float) -> float:
    """The speed (m/s) at which a truck takes a turn."""
    turn = abs((next_bearing - bearing + 180) % 360 - 180)
    if turn >= SHARP_TURN_DEG:
        return SHARP_TURN_KMH * KMH
    return TURN_KMH * KMH if turn >= TURN_DEG else inf


def _services(edges: Sequence[Edge]) -> list[float]:
    found, along_km = [], 0.0
    for edge in edges:
        if edge.road.has_services and edge.length_km >= SERVICES_ON_EDGES_FROM_KM:
            found.append((along_km + edge.length_km / 2) * 1000)
        along_km += edge.length_km
    return found


def _quickest(origin: str, destination: str) -> list[str]:
    """Dijkstra's shortest path, by hours at the limit."""
    reached: dict[str, str] = {}
    queue = [(0.0, origin, origin)]
    while queue:
        hours, node, before = heappop(queue)
        if node in reached:
            continue
        reached[node] = before
        if node == destination:
            break
        for neighbour, edge in _edges()[node].items():
            if neighbour not in reached:
                heappush(queue, (hours + edge.length_km / edge.road.limit_kmh, neighbour, node))
    nodes = [destination]
    while nodes[-1] != origin:
        nodes.append(reached[nodes[-1]])
    return nodes[::-1]


@cache
def _edges() -> dict[str, dict[str, Edge]]:
    """Every edge by its two nodes, both ways."""
    edges: dict[str, dict[str, Edge]] = defaultdict(dict)
    for road, busy, along in ROADS:
        names = along.split(", ")
        for (a, b), points in zip(pairwise(names), _curve([NODES[name] for name in names]), strict=True):
            edges[a][b] = Edge(points, road, busy)
            edges[b][a] = Edge(points[::-1], road, busy)
    return dict(edges)


def _curve(places: Sequence[Place]) -> list[tuple[Place, ...]]:
    """A Catmull-Rom spline with chordal spacing through the places: for each pair of neighbours the points between.

    Source: P. J. Barry and R. N. Goldman, "A recursive evaluation algorithm for a class of Catmull-Rom splines",
    Computer Graphics 22 (1988), p. 199.
    """
    # A degree of longitude shrinks towards the poles; so scaled, lengths along both axes compare.
    shrink = cos(radians(places[0][0]))
    chords = [hypot(b[0] - a[0], (b[1] - a[1]) * shrink) for a, b in pairwise(places)]
    slopes = [_slope(a, b, chord) for (a, b), chord in zip(pairwise(places), chords, strict=True)]
    tangents = [slopes[0]]
    for i in range(1, len(slopes)):
        share = chords[i - 1] / (chords[i - 1] + chords[i])
        before, after = slopes[i - 1], slopes[i]
        tangents.append((before[0] + (after[0] - before[0]) * share, before[1] + (after[1] - before[1]) * share))
    tangents.append(slopes[-1])
    stretches = []
    for i, (a, b) in enumerate(pairwise(places)):
        parts = max(1, round(distance_km(*a, *b) / CURVE_POINT_EVERY_KM))
        inner = (_hermite(a, b, tangents[i], tangents[i + 1], chords[i], n / parts) for n in range(1, parts))
        stretches.append((a, *inner, b))
    return stretches


def _slope(a: Place, b: Place, chord: float) -> Place:
    return (b[0] - a[0]) / chord, (b[1] - a[1]) / chord


def _hermite(a: Place, b: Place, leaving: Place, arriving: Place, chord: float, t: float) -> Place:
    """The point at `t` (0 to 1) of the cubic that joins two places with given tangents."""
    h00, h10 = (1 + 2 * t) * (1 - t) ** 2, t * (1 - t) ** 2 * chord
    h01, h11 = t * t * (3 - 2 * t), t * t * (t - 1) * chord
    latitude, longitude = (h00 * a[k] + h10 * leaving[k] + h01 * b[k] + h11 * arriving[k] for k in (0, 1))
    return latitude, longitude
