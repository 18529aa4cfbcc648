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
    float32 measure[count]...                   what else the page shows of a marker; none of them, or several
    uint8   state[count], mark[count]           the page's own numbers
    uint8   code[count]...                      more of them; none, or several

A longitude of -2^31 says that the place is not known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x314D5748
"""``HWM1``."""
UNITS = 1e7
HEAD = struct.Struct("<2Id")
NOWHERE = -(2**31)


@dataclass(frozen=True)
class Markers:
    """Columns of equal length: numbers, times in ms, degrees, km/h, degrees, and the page's states and marks.

    Where degrees are NaN, the place is not known. `measures` and `codes` are the page's own, in an order of its own.
    """

    marker: NDArray[np.uint32]
    time: NDArray[np.float64]
    heard: NDArray[np.float64]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]
    speed: NDArray[np.float32]
    heading: NDArray[np.float32]
    state: NDArray[np.uint8]
    mark: NDArray[np.uint8]
    measures: tuple[NDArray[np.float32], ...] = ()
    codes: tuple[NDArray[np.uint8], ...] = ()


def encode(markers: Markers, now: float) -> bytes:
    """A frame; `now` in ms since 1970."""
    columns = (
        markers.time.astype("<f8"),
        markers.heard.astype("<f8"),
        markers.marker.astype("<u4"),
        _degrees(markers.longitude),
        _degrees(markers.latitude),
        markers.speed.astype("<f4"),
        markers.heading.astype("<f4"),
        *(measure.astype("<f4") for measure in markers.measures),
        markers.state.astype("u1"),
        markers.mark.astype("u1"),
        *(code.astype("u1") for code in markers.codes),
    )
    head = HEAD.pack(MAGIC, len(markers.marker), now)
    return b"".join((head, *(column.tobytes() for column in columns)))


def _degrees(values: NDArray[np.float64]) -> NDArray[Any]:
    return np.where(np.isnan(values), NOWHERE, np.rint(np.nan_to_num(values) * UNITS)).astype("<i4")
