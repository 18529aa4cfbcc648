"""Which country a 24-bit aircraft address was given to."""

from __future__ import annotations


def country_of(icao24: str) -> str | None:
    """The state that an address block belongs to, under OpenSky's name; none where no block holds it."""
    return None
