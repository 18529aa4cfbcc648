"""Distances and directions on the sphere, against figures from elsewhere."""

from math import acos, cos, pi, radians, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.geometry import EARTH_RADIUS_KM, bearing_deg, distance_km

ONE_DEGREE_KM = 111.195
"""Of a great circle with the mean radius of the earth."""
HALF_ROUND_KM = 20_015.115

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((52.5, 13.4), (52.5, 13.4), 0),
        ((0, 0), (0, 1), ONE_DEGREE_KM),  # along the equator
        ((0, 0), (1, 0), ONE_DEGREE_KM),  # along a meridian
        ((60, 10), (60, 11), 55.597),  # half as long at 60 degrees, and a little less: not along the parallel
        ((0, 179.5), (0, -179.5), ONE_DEGREE_KM),  # over the date line
        ((0, 180), (0, -180), 0),
        ((90, 0), (90, 123), 0),  # at a pole longitude means nothing
        ((90, 45), (-90, -100), HALF_ROUND_KM),
        ((90, 0), (0, 77), HALF_ROUND_KM / 2),
        ((89, 0), (89, 180), 2 * ONE_DEGREE_KM),  # over the pole
        ((12.3, 45.6), (-12.3, -134.4), HALF_ROUND_KM),  # antipodes
        ((78.6, -104), (-78.6, 76), HALF_ROUND_KM),  # where rounding goes beyond them
    ],
)
def test_known_distances(a, b, km):
    assert distance_km(*a, *b) == pytest.approx(km, abs=0.001)
    assert distance_km(*b, *a) == distance_km(*a, *b)


def test_nashville_to_los_angeles():
    """The usual check of haversine code, which is given for a radius of 6372.8 km."""
    expected = 2887.2599506071106 * 6371.0088 / 6372.8

    assert distance_km(36.12, -86.67, 33.94, -118.40) == pytest.approx(expected, rel=1e-12)


def test_a_step_of_a_metre_is_not_lost_in_rounding():
    one_metre = 360 / (2 * pi * 6_371_008.8)

    assert distance_km(52, 5, 52 + one_metre, 5) * 1000 == pytest.approx(1, rel=1e-6)


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_any_distance_equals_that_by_the_law_of_cosines(latitude, longitude, to_latitude, to_longitude):
    phi, to_phi, turn = radians(latitude), radians(to_latitude), radians(to_longitude - longitude)
    angle = acos(max(-1, min(1, sin(phi) * sin(to_phi) + cos(phi) * cos(to_phi) * cos(turn))))

    # That law is good to some 100 m only where the places are near each other, or antipodes.
    assert distance_km(latitude, longitude, to_latitude, to_longitude) == pytest.approx(
        EARTH_RADIUS_KM * angle, rel=1e-6, abs=0.2
    )


@pytest.mark.parametrize(
    ("a", "b", "bearing"),
    [
        ((0, 0), (1, 0), 0),
        ((0, 0), (0, 1), 90),
        ((0, 0), (-1, 0), 180),
        ((0, 0), (0, -1), 270),
        ((0, 179.5), (0, -179.5), 90),
        ((80, 20), (90, 0), 0),  # every way to the pole is north
        ((35, 45), (35, 135), 60.2),  # Baghdad to Osaka leaves far to the north of east
    ],
)
def test_known_directions(a, b, bearing):
    found = bearing_deg(*a, *b)

    assert found is not None
    assert abs((found - bearing + 180) % 360 - 180) < 0.1


def test_a_place_has_no_direction_to_itself():
    assert bearing_deg(52.5, 13.4, 52.5, 13.4) is None


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_any_direction_is_on_the_compass(latitude, longitude, to_latitude, to_longitude):
    bearing = bearing_deg(latitude, longitude, to_latitude, to_longitude)

    assert bearing is None or 0 <= bearing <= 360
