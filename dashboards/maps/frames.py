"""Positions on their way to a map: columns of numbers, little endian, as the browser's typed arrays read them.

A frame holds the markers that have changed since the reader's last one, each with its newest position only; a marker
is a number whose name and words come before it, as text. Numbers hold for one connection: a new one begins with all
there is. Layout::

    uint32  magic, count
    float64 now                                 server's clock, ms since 1970: ages and motion go by it
    float64 time[count], heard[count]           of the position; when it came (ms since 1970)
    uint32  marker[count]
    int32   longitude[count], latitude[count]   1e-7 degrees: a centimetre
    float32 speed[count], heading[count]        km/h, degrees clockwise from north; NaN: not known
    uint8   state[count], mark[count]           the page's own numbers
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x314D5748
"""``HWM1``."""
UNITS = 1e7
HEAD = struct.Struct("<2Id")


@dataclass(frozen=True)
class Markers:
    """Columns of equal length: numbers, times in ms, degrees, km/h, degrees, and the page's states and marks."""

    marker: NDArray[np.uint32]
    time: NDArray[np.float64]
    heard: NDArray[np.float64]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    speed: NDArray[np.float32]
    heading: NDArray[np.float32]
    state: NDArray[np.uint8]
    mark: NDArray[np.uint8]


def encode(markers: Markers, now: float) -> bytes:
    """A frame; `now` in ms since 1970."""
    columns = (
        markers.time.astype("<f8"),
        markers.heard.astype("<f8"),
        markers.marker.astype("<u4"),
        np.rint(markers.longitude * UNITS).astype("<i4"),
        np.rint(markers.latitude * UNITS).astype("<i4"),
        markers.speed.astype("<f4"),
        markers.heading.astype("<f4"),
        markers.state.astype("u1"),
        markers.mark.astype("u1"),
    )
    head = HEAD.pack(MAGIC, len(markers.marker), now)
    return b"".join((head, *(column.tobytes() for column in columns)))
