"""Distances and directions on the sphere. Degrees in, kilometres and degrees out."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the WGS 84 ellipsoid: (2a + b) / 3 (Moritz, Geodetic Reference System 1980, table of constants)."""


def distance_km(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """The great-circle distance by the haversine formula, exact also for short ways, at the poles and over 180 degrees.

    Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), p. 159.
    """
    phi, to_phi = radians(latitude), radians(to_latitude)
    half_chord = sin((to_phi - phi) / 2) ** 2 + cos(phi) * cos(to_phi) * sin(radians(to_longitude - longitude) / 2) ** 2
    # Rounding can carry antipodes a hair beyond 1.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, half_chord)))


def bearing_deg(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float | None:
    """The direction in which the great circle leaves the first place, clockwise from north; none where they are one."""
    if (latitude, longitude) == (to_latitude, to_longitude):
        return None
    phi, to_phi, turn = radians(latitude), radians(to_latitude), radians(to_longitude - longitude)
    east = sin(turn) * cos(to_phi)
    north = cos(phi) * sin(to_phi) - sin(phi) * cos(to_phi) * cos(turn)
    return degrees(atan2(east, north)) % 360
