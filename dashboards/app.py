"""The dashboard: Dash on FastAPI, one process, pushed. ``python -m dashboards.app``."""

from __future__ import annotations

import argparse
import base64
import errno
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import structlog
import uvicorn
from dash import Dash, Input, Output
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards import api, docs_page, metrics, push
from dashboards.feed import Feed
from dashboards.fleet import FleetTracker
from dashboards.health import Limits
from dashboards.hub import Hub
from dashboards.mailmap import route as mailmap
from dashboards.maps import files as map_files
from dashboards.meters import MeterTracker
from dashboards.pages import aircraft, aircraft_routes, co2, events, home, sales, sales_graph, trucks, trucks_routes
from dashboards.raw import RawReader
from dashboards.shell import BEAT, INDEX, SCHEME_SCRIPT, shell
from dashboards.sky import SkyTracker
from dashboards.state import Tracker
from dashboards.untyped import clientside, finish_setup
from dashboards.visits import VisitTracker
from headwater import logs
from headwater.broker import find_broker
from headwater.contracts import STREAMS, flights
from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.co2 import CO2
from headwater.contracts.events import EVENTS
from headwater.contracts.sessions import Patience
from headwater.contracts.trucks import TRUCKS
from headwater.errors import HeadwaterError, run_main
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings

log = structlog.get_logger(__name__)

STALE_AFTER_SECONDS = 30.0
SHUTDOWN_SECONDS = 2


class DashboardError(HeadwaterError):
    """The dashboard cannot start."""


class SecurityHeaders:
    """A strict policy: nothing but this server's own files, and inline scripts only by their hash.

    Where the settings name a map's tiles, their host may be asked for them, and no other.
    An answer that has a policy of its own keeps it.
    The hashes are taken anew for each answer: Dash adds an inline script with the first page it serves.
    """

    def __init__(self, app: ASGIApp, hashes: Callable[[], list[str]], tiles: str = "") -> None:
        self.app = app
        self._hashes = hashes
        self._tiles = f" {tiles}" if tiles else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", self._csp())
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, with_headers)

    def _csp(self) -> str:
        scripts = " ".join(["'self'", *self._hashes()])
        return (
            f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data:{self._tiles}; font-src 'self' data:; connect-src 'self'{self._tiles}; "
            "worker-src 'self'; "
            "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
        )


def build(settings: Settings, hub: Hub, raw: RawReader, feed: Feed | None = None) -> FastAPI:
    """The whole application around a hub; with a feed it is started and stopped with the server."""

    @asynccontextmanager
    async def lifespan(server: FastAPI) -> AsyncIterator[None]:
        hub.attach()
        await finish_setup(app)
        if feed is not None:
            feed.start()
        yield
        hub.detach()
        if feed is not None:
            feed.stop()

    server = FastAPI(
        title="Headwater", version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Live streams: rows of every table, the latest records, and the suite's health.",
    )  # fmt: skip
    trucks_routes.add_routes(server, settings, hub)
    aircraft_routes.add_routes(server, hub)
    server.include_router(map_files.routes())
    server.include_router(api.routes(STREAMS, settings, hub, raw))
    server.include_router(mailmap.routes(settings, hub))
    told = metrics.add_route(server, hub)
    docs_page.add_docs(server)
    app = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # Dash's types know only Flask
        use_pages=True,
        pages_folder="",
        title="Headwater",
        index_string=INDEX,
        update_title="",
        suppress_callback_exceptions=True,
        websocket_inactivity_timeout=0,
        websocket_batch_delay=0,
    )
    pages = {
        home.PATH: home.register(STREAMS),
        aircraft.PATH: aircraft.register(app, settings),
        co2.PATH: co2.register(app, settings),
        events.PATH: events.register(app),
        sales.PATH: sales.register(app),
        sales_graph.PATH: sales_graph.register(app),
        trucks.PATH: trucks.register(app, settings),
    }
    app.layout = shell(STREAMS)
    for store in ("page", "beat"):
        ignored = Output("ignored", "data", allow_duplicate=True)
        clientside(app, store, [ignored], [Input(store, "data")], prevent_initial_call="initial_duplicate")
    push.register(app, hub, push.Sessions(), pages, always=(BEAT,))
    tiles = settings.dashboard.tiles
    server.add_middleware(SecurityHeaders, hashes=lambda: _script_hashes(app), tiles=_origin(tiles) if tiles else "")
    server.add_middleware(metrics.Sockets, opened=told.opened)
    return server


def trackers(settings: Settings) -> dict[str, Tracker]:
    """What is worked out in memory, by stream."""
    minutes = settings.events
    patience = Patience.of_minutes(minutes.funnel_minutes, minutes.abandoned_minutes)
    return {
        AIRCRAFT.name: SkyTracker(flights.rules(settings.aircraft)),
        CO2.name: MeterTracker(),
        EVENTS.name: VisitTracker(patience),
        TRUCKS.name: FleetTracker(settings.trucks.moving_kmh),
    }


def _origin(template: str) -> str:
    parts = urlsplit(template)
    return f"{parts.scheme}://{parts.netloc}"


def _script_hashes(app: Dash) -> list[str]:
    own = base64.b64encode(hashlib.sha256(SCHEME_SCRIPT.encode()).digest()).decode()
    return [*app.csp_hashes(), f"'sha256-{own}'"]


def listen(host: str, port: int) -> socket.socket:
    """The listening socket, or a message that says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise DashboardError(
                f"port {port} on {host} is taken, perhaps by another dashboard; "
                f"stop it, or choose another port: DASH_PORT={port + 1} make dashboard"
            ) from error
        raise DashboardError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return listener


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.app", description="Serve the dashboard.")
    parser.add_argument(
        "--stale-after", type=float, default=STALE_AFTER_SECONDS, metavar="SECONDS",
        help="how old the newest data may be before a banner says so (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    settings = load_settings()
    logs.set_up(settings, "dashboard")
    host, port = settings.dashboard.host, settings.dashboard.port
    listener = listen(host, port)
    hub = Hub()
    find, config = partial(find_broker, settings), partial(client_config, settings)
    feed = Feed(STREAMS, hub, find, config, options.stale_after, trackers(settings), Limits.of(settings))
    server = uvicorn.Server(
        uvicorn.Config(
            build(settings, hub, RawReader(find, config), feed),
            log_config=None,
            access_log=False,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="on",
        )
    )
    log.info("dashboard", address=f"http://{host}:{port}")
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    run_main(main)
