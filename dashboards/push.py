"""One persistent callback a browser tab: it awaits the hub and pushes the parts of the page in view.

A page is a tuple of :class:`Part`. A part says which property of which component it fills, how often at most,
from what, and is sent only when its value has changed. What the tab shows (path, theme, range, paused) is the
`view` store, kept by the browser; it reaches the push loop through a callback of its own.

Traps of the transport that this module answers: a persistent callback outlives its tab while another tab keeps
the shared socket open (so each has a lease: the tab must answer now and then; one that was given up too early is
served again when it nudges); it is only started again after a reconnect if it has no input (so it asks for the view);
a slow reader's queue grows without bound (so a round is skipped while the last one is still waiting).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from dash import Dash, Input, ctx
from dash.exceptions import WebsocketDisconnected

from dashboards.hub import Hub
from dashboards.state import Snapshot

log = structlog.get_logger(__name__)

WAIT_SECONDS = 1.0
LEASE_SECONDS = 15.0
ANSWER_SECONDS = 20.0
FAILED_SECONDS = 10.0
BACKLOG = 4
"""Messages that may wait in the tab's queue before a round is skipped."""


@dataclass(frozen=True)
class View:
    """What a tab shows. `held` is how many records each stream had delivered when it was paused.

    `filters` are the page's own: by name what is chosen, several joined by commas; empty is all.
    """

    path: str = ""
    theme: str = "light"
    hidden: bool = False
    paused: bool = False
    minutes: int = 15
    span: int = 60
    filters: Mapping[str, str] = field(default_factory=dict, hash=False)
    held: Mapping[str, int] = field(default_factory=dict, hash=False, compare=False)

    @classmethod
    def of(cls, data: Any) -> View | None:
        """From the browser's store; whatever is not of the right type keeps its default."""
        if not isinstance(data, dict) or not isinstance(data.get("path"), str):
            return None
        good = {
            name: data[name]
            for name, kind in (
                ("path", str), ("theme", str), ("hidden", bool), ("paused", bool), ("minutes", int), ("span", int),
            )
            if type(data.get(name)) is kind
        }  # fmt: skip
        filters = data.get("filters")
        if isinstance(filters, dict) and all(type(text) is str for item in filters.items() for text in item):
            good["filters"] = filters
        return cls(**good)

    def chosen(self, name: str) -> tuple[str, ...]:
        """What a filter lets through; nothing: all."""
        return tuple(filter(None, self.filters.get(name, "").split(",")))


Build = Callable[[Snapshot, View], Any]


@dataclass(frozen=True)
class Part:
    """A property of a component and where its value comes from."""

    component: str
    prop: str
    build: Build
    every: float = 0.0
    key: Callable[[Snapshot], Hashable] | None = None
    """Where given, nothing is built while it stays the same."""
    while_paused: bool = False


class Session:
    """A tab: its view, and whether a newer push loop has taken it over."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.closed = False


class Sessions:
    """The tabs that are open, by the renderer's id."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._views: dict[str, View] = {}

    def open(self, tab: str) -> Session:
        """A session for a push loop; a loop that served this tab before ends."""
        if (old := self._sessions.get(tab)) is not None:
            old.closed = True
        session = self._sessions[tab] = Session()
        session.view = self._views.get(tab)
        return session

    def close(self, tab: str, session: Session) -> None:
        if self._sessions.get(tab) is session:
            del self._sessions[tab]
            self._views.pop(tab, None)

    def show(self, tab: str, view: View, latest: Snapshot | None) -> None:
        """The tab shows something else now. Pausing notes the counts it stands still at."""
        before = self._views.get(tab)
        if view.paused:
            if before is not None and before.paused:
                held = before.held
            else:
                held = {name: stream.live_count for name, stream in latest.streams.items()} if latest else {}
            view = View(**{**view.__dict__, "held": held})
        self._views[tab] = view
        if tab in self._sessions:
            self._sessions[tab].view = view

    def is_served(self, tab: str) -> bool:
        """Whether a push loop sends to the tab."""
        return tab in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)


class Pusher:
    """What has been sent to a tab, and what is due."""

    def __init__(self, pages: Mapping[str, tuple[Part, ...]], always: tuple[Part, ...]) -> None:
        self._pages = pages
        self._always = always
        self._view: View | None = None
        self._sent: dict[tuple[str, str], Any] = {}
        self._keys: dict[tuple[str, str], Hashable] = {}
        self._due: dict[tuple[str, str], float] = {}

    def round(self, snapshot: Snapshot, view: View, now: float) -> list[tuple[str, str, Any]]:
        """The properties to set: those that are due and have changed."""
        if view != self._view:
            if self._view is None or view.path != self._view.path:
                self._sent.clear()
            self._keys.clear()
            self._due.clear()
            self._view = view
        parts = self._always if view.hidden else (*self._always, *self._pages.get(view.path, ()))
        changes = []
        for part in parts:
            place = (part.component, part.prop)
            if now < self._due.get(place, 0.0) or (view.paused and not part.while_paused and place in self._sent):
                continue
            if part.key is not None:
                key = part.key(snapshot)
                if place in self._keys and self._keys[place] == key:
                    continue
                self._keys[place] = key
            self._due[place] = now + part.every
            try:
                value = part.build(snapshot, view)
            except Exception:
                # A row that one part cannot show must not stop the others, nor the page for good.
                self._due[place] = now + FAILED_SECONDS
                log.exception("part_failed", component=part.component)
                continue
            if place not in self._sent or self._sent[place] != value:
                self._sent[place] = value
                changes.append((*place, value))
        return changes


def register(
    app: Dash, hub: Hub, sessions: Sessions, pages: Mapping[str, tuple[Part, ...]], always: tuple[Part, ...]
) -> None:
    """The two callbacks that make every page move."""
    revived: set[asyncio.Task[None]] = set()

    @app.callback(websocket=True, persistent=True)
    async def push() -> None:
        await _serve(ctx.websocket, hub, sessions, Pusher(pages, always))

    @app.callback(Input("view", "data"), websocket=True)
    async def show(data: Any) -> None:
        if (view := View.of(data)) is not None:
            tab = _tab(ctx.websocket)
            sessions.show(tab, view, hub.latest)
            if not sessions.is_served(tab):
                # Frozen or starved for longer than its lease the tab was taken for gone. Its socket still stands, so
                # that the browser starts no loop again: it only nudges.
                task = asyncio.create_task(_serve(ctx.websocket, hub, sessions, Pusher(pages, always)))
                revived.add(task)
                task.add_done_callback(revived.discard)
            hub.wake()


async def _serve(ws: Any, hub: Hub, sessions: Sessions, pusher: Pusher) -> None:
    tab = _tab(ws)
    session = sessions.open(tab)
    seen: Snapshot | None = None
    leased = time.monotonic()
    try:
        while not (ws.is_shutdown or session.closed):
            seen = await hub.next(seen, WAIT_SECONDS)
            now = time.monotonic()
            if now - leased > (LEASE_SECONDS if session.view else WAIT_SECONDS):
                leased = now
                view = View.of(await ws.get_prop("view", "data", timeout=ANSWER_SECONDS))
                if view is not None and session.view is None:
                    sessions.show(tab, view, seen)
            if seen is None or session.view is None or _backlog(ws) > BACKLOG:
                continue
            for component, prop, value in pusher.round(seen, session.view, now):
                ws.set_prop_sync(component, prop, value)
    except (TimeoutError, WebsocketDisconnected):
        log.debug("tab_gone", tab=tab)
    finally:
        sessions.close(tab, session)


def _tab(ws: Any) -> str:
    """Dash gives the tab no public name; the renderer's id is one, and stays through a reconnect."""
    return str(ws._renderer_id)


def _backlog(ws: Any) -> int:
    return int(ws._outbound_queue.sync_q.qsize())
