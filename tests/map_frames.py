"""A map's frame, read as the browser does, by the layout that its module writes down."""

from __future__ import annotations

import struct

COLUMNS = (
    ("time", "d"), ("heard", "d"), ("marker", "I"), ("longitude", "i"), ("latitude", "i"), ("speed", "f"),
    ("heading", "f"), ("state", "B"), ("mark", "B"),
)  # fmt: skip


def decoded(
    frame: bytes, measures: tuple[str, ...] = (), codes: tuple[str, ...] = ()
) -> tuple[float, dict[int, dict[str, float]]]:
    """The server's clock in ms, and the markers by number; degrees as they were."""
    magic, count, now = struct.unpack_from("<2Id", frame)
    assert magic == int.from_bytes(b"HWM1", "little")
    offset, columns = 16, {}
    given = (*COLUMNS[:-2], *((name, "f") for name in measures), *COLUMNS[-2:], *((name, "B") for name in codes))
    for name, kind in given:
        columns[name] = struct.unpack_from(f"<{count}{kind}", frame, offset)
        offset += struct.calcsize(f"<{count}{kind}")
    assert offset == len(frame)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row in rows:
        row["longitude"], row["latitude"] = row["longitude"] / 1e7, row["latitude"] / 1e7
    return now, {row["marker"]: row for row in rows}
