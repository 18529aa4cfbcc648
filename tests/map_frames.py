"""A map's frame, read as the browser does, by the layout that its module writes down."""

from __future__ import annotations

import struct
from typing import Any

COLUMNS = (
    ("time", "d"), ("heard", "d"), ("marker", "I"), ("longitude", "i"), ("latitude", "i"), ("speed", "f"),
    ("heading", "f"), ("state", "B"), ("mark", "B"),
)  # fmt: skip


def decoded(frame: bytes) -> tuple[dict[str, Any], dict[int, dict[str, float]]]:
    """Its head, and its markers by number; degrees as they were."""
    magic, epoch, count, flags = struct.unpack_from("<4I", frame)
    head = {"magic": magic, "epoch": epoch, "flags": flags, "now": struct.unpack_from("<d", frame, 16)[0]}
    offset, columns = 24, {}
    for name, kind in COLUMNS:
        columns[name] = struct.unpack_from(f"<{count}{kind}", frame, offset)
        offset += struct.calcsize(f"<{count}{kind}")
    assert offset == len(frame)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row in rows:
        row["longitude"], row["latitude"] = row["longitude"] / 1e7, row["latitude"] / 1e7
    return head, {row["marker"]: row for row in rows}
