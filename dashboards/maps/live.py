"""Positions pushed to a map over a WebSocket of its own: each reader gets what has changed since its last frame.

Nothing queues: a reader that is slow takes its next frame later, and it holds each marker's newest position only.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
from fastapi import FastAPI, WebSocket, WebSocketDisconnect, status

from dashboards.hub import Hub
from dashboards.state import Snapshot

WAIT_SECONDS = 5.0
FRAME_SECONDS = 0.1
"""Between two frames of a reader."""


@dataclass(frozen=True)
class Update:
    """What a reader has not seen: names and words as JSON-able rows (marker first), a frame, and its new position."""

    names: list[list[Any]]
    frame: bytes | None
    version: int


class Source(Protocol):
    """Where a map's positions come from."""

    def update(self, snapshot: Snapshot, version: int) -> Update:
        """All that has changed after a version; 0: all there is."""


def add_socket(server: FastAPI, path: str, hub: Hub, source: Source) -> None:
    """The route. Before Dash's catch-all, which comes with the lifespan."""

    @server.websocket(path)
    async def positions(ws: WebSocket) -> None:
        if not own_origin(ws.headers.get("origin"), ws.headers.get("host")):
            await ws.close(status.WS_1008_POLICY_VIOLATION)
            return
        await ws.accept()
        sending = asyncio.create_task(_send(ws, hub, source))
        # A reader never says anything; to wait for it is how its leaving is noticed while nothing moves.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while (await ws.receive())["type"] != "websocket.disconnect":
                pass
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await sending


def own_origin(origin: str | None, host: str | None) -> bool:
    """Whether a page of this very server asks. Browsers hold no page back from another server's sockets."""
    return origin is not None and host is not None and urlsplit(origin).netloc == host


async def _send(ws: WebSocket, hub: Hub, source: Source) -> None:
    seen: Snapshot | None = None
    version = 0
    while True:
        seen = await hub.next(seen, WAIT_SECONDS)
        if seen is None:
            continue
        update = source.update(seen, version)
        version = update.version
        if update.names:
            await ws.send_text(orjson.dumps(update.names).decode())
        if update.frame is not None:
            await ws.send_bytes(update.frame)
            await asyncio.sleep(FRAME_SECONDS)
