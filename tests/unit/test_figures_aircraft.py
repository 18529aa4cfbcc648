"""What the page about aircraft shows: figures, words and units, against values written down."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from math import dist, nan
from typing import Any

import pytest

from dashboards.figures import aircraft as figures
from dashboards.figures.theme import DARK, LIGHT
from dashboards.pages.aircraft_detail import CATEGORIES, fields
from dashboards.sky import Place
from dashboards.units import AERONAUTICAL, METRIC, UNITS, units_of

LIGHT_SCALE = figures.SCALE["light"]


def minute(start: str, **given: Any) -> dict[str, Any]:
    return {"window_start": f"2026-11-22T{start}:00+00:00", "airborne": 90, "on_ground": 10, "aircraft": 100} | given


def country(start: str, name: str, aircraft: int, airborne: int) -> dict[str, Any]:
    return minute(start, origin_country=name, aircraft=aircraft, airborne=airborne)


def test_empty_figures_say_what_to_do() -> None:
    for figure in (
        figures.countries((), LIGHT), figures.altitudes((), UNITS[METRIC], DARK), figures.minutes((), LIGHT),
    ):  # fmt: skip
        assert "make run-producers STREAMS=aircraft" in figure.layout.annotations[0].text
    assert "No position" in figures.history((), UNITS[METRIC], LIGHT).layout.annotations[0].text


def test_altitude_colours_at_the_limits() -> None:
    assert figures.altitude_colour(-500, LIGHT_SCALE) == LIGHT_SCALE[0]
    assert figures.altitude_colour(0, LIGHT_SCALE) == LIGHT_SCALE[0]
    assert figures.altitude_colour(6_000, LIGHT_SCALE) == LIGHT_SCALE[4]
    assert figures.altitude_colour(12_000, LIGHT_SCALE) == LIGHT_SCALE[-1]
    assert figures.altitude_colour(40_000, LIGHT_SCALE) == LIGHT_SCALE[-1]
    assert figures.altitude_colour(750, ("#000000", "#808080", "#ffffff")) == "#101010"


@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_scale_is_even_in_oklab(name: str) -> None:
    """Björn Ottosson's OKLab, 2020: neighbours are equally far apart, and lightness falls all the way."""

    def oklab(colour: str) -> tuple[float, float, float]:
        r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b))
        l_, m_, s_ = (
            x ** (1 / 3)
            for x in (
                0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b,
                0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b,
                0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b,
            )
        )
        return (
            0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_,
            1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_,
            0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_,
        )

    stops = [oklab(colour) for colour in figures.SCALE[name]]
    steps = [dist(*pair) for pair in pairwise(stops)]
    assert max(steps) < 1.05 * min(steps)
    lightness = [stop[0] for stop in stops]
    assert lightness == sorted(lightness, reverse=True)


def test_countries_of_the_newest_whole_minute_the_largest_on_top() -> None:
    rows = [country("06:01", "Chile", 5, 3), country("06:01", "Iceland", 9, 9), country("06:02", "Chile", 1, 1)]
    figure = figures.countries([*rows, country("06:00", "Chile", 99, 99)], LIGHT)
    airborne, rest = figure.data
    assert airborne.y == ("Chile", "Iceland")
    assert (airborne.x, rest.x) == ((3, 9), (2, 0))
    many = figures.countries([country("06:00", f"c{n:02}", n, n) for n in range(1, 30)], LIGHT)
    assert (len(many.data[0].y), many.data[0].y[-1]) == (12, "c29")


def test_altitudes_in_bands_of_500_m() -> None:
    figure = figures.altitudes([-10.0, 0.0, 499.9, 500.0, 1_700.0], UNITS[METRIC], LIGHT)
    (bars,) = figure.data
    assert dict(zip(bars.y, bars.x, strict=True)) == {-250: 1, 250: 2, 750: 1, 1_250: 0, 1_750: 1}
    assert bars.customdata[1] == "0 to 500 m"
    assert bars.marker.color[0] == LIGHT_SCALE[0]
    assert figures.altitudes([10_000.0], UNITS[AERONAUTICAL], DARK).data[0].customdata[0] == "32,808 to 34,449 ft"


def test_minutes_of_the_last_hour() -> None:
    figure = figures.minutes([minute("05:00"), minute("06:00"), minute("06:01", airborne=70), minute("05:02")], LIGHT)
    assert [point.strftime("%H:%M") for point in figure.data[0].x] == ["05:02", "06:00"]
    assert list(figure.data[1].y) == [90, 70]


def test_history_in_the_units_of_the_reader() -> None:
    places = [Place(0, 5, 52, 3_048, 185.2, 0), Place(10, 5, 52, nan, 370.4, 0)]
    altitude, speed = figures.history(places, UNITS[AERONAUTICAL], LIGHT).data
    assert [value and round(value) for value in altitude.y] == [10_000, None]
    assert [round(value) for value in speed.y] == [100, 200]


def test_units() -> None:
    """10,000 ft are 3,048 m, a knot 1.852 km/h, 1,000 ft/min 5.08 m/s."""
    aeronautical, metric = units_of(""), units_of("metric")
    assert aeronautical is UNITS[AERONAUTICAL]
    assert aeronautical.altitude.text(3_048) == "10,000 ft"
    assert aeronautical.speed.text(185.2) == "100 kt"
    assert aeronautical.rate.text(-5.08) == "-1,000 ft/min"
    assert aeronautical.way.text(18.52) == "10 NM"
    assert metric.altitude.text(3_048) == "3,048 m"
    assert (metric.altitude.text(None), metric.altitude.text(nan), metric.altitude.text(0.0)) == ("-", "-", "0 m")


def test_every_field_with_its_unit_and_nothing_made_up() -> None:
    full = {
        "origin_country": "Chile", "category": 6, "squawk": "7700", "spi": False, "baro_altitude": 3_048.0,
        "geo_altitude": None, "velocity": 100.0, "vertical_rate": 0.0, "true_track": 359.96, "on_ground": False,
        "latitude": -33.4, "longitude": 0.0, "position_source": 2, "time_position": 1_714_311_964, "sensors": [4, 5],
    }  # fmt: skip
    told = dict(fields(full, UNITS[AERONAUTICAL]))
    assert told["Category"] == "heavy (above 300,000 lb)"
    assert told["Barometric altitude"] == "10,000 ft"
    assert (told["Ground speed"], told["Vertical rate"], told["Geometric altitude"]) == ("194 kt", "0 ft/min", "-")
    assert told["Last position"] == "-33.4000°, 0.0000°"
    assert (told["Position by"], told["Receivers"], told["On the ground"]) == ("MLAT", "4, 5", "no")
    assert told["Position's time"] == f"{datetime(2024, 4, 28, 13, 46, 4, tzinfo=UTC):%Y-%m-%d %H:%M:%S}"
    assert set(dict(fields({}, UNITS[METRIC])).values()) == {"-", "-, -"}
    assert len(CATEGORIES) == 21
    assert dict(fields({"category": 77}, UNITS[METRIC]))["Category"] == "77"
