"""A server that behaves as OpenSky does, for tests and demonstrations without a network.

`python -m producers.opensky_standin` serves a simulated sky, with a FOLDER of recorded answers those, as if they were
of now; it prints the settings that send the producer to it. It knows the routes for all states, for one's own and for
tokens, counts credits, filters by box, and on command answers as badly as the real one at times:

    curl -X POST 'http://127.0.0.1:8085/faults?kind=503&count=3'
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from headwater.errors import run_main
from headwater.settings import load_settings
from producers.opensky import FIELDS, SHORTEST
from producers.opensky_client import TOKEN_LIFE_S
from producers.opensky_live import moment
from producers.opensky_quota import (
    ACCOUNT_CREDITS,
    ACCOUNT_RESOLUTION_S,
    ANONYMOUS_CREDITS,
    ANONYMOUS_RESOLUTION_S,
    DAY_S,
    Box,
    cost_of,
)
from producers.opensky_skies import Sky, State, recorded_sky, simulated_sky

STATES, OWN, FAULTS = "/api/states/all", "/api/states/own", "/faults"
TOKENS = "/auth/realms/opensky-network/protocol/openid-connect/token"
ANONYMOUS = ""
EDGES = ("lamin", "lomin", "lamax", "lomax")

Query = Mapping[str, list[str]]


class Fault(StrEnum):
    """What can be wrong with an answer."""

    UNAVAILABLE = "503"
    REFUSED = "429"
    UNAUTHORIZED = "401"
    SLOW = "slow"
    CUT_OFF = "cut_off"
    HTML = "html"
    NULL = "null"


@dataclass(frozen=True)
class Reply:
    """An answer; `sent` are the bytes that go out before the connection breaks, None for all."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    delay_s: float = 0.0


@dataclass
class Bucket:
    """A day's credits of an account, or of everybody without one."""

    size: int
    left: int = 0
    renewed_at: float = float("-inf")


class StandIn:
    """OpenSky's rules, without a socket.

    `accounts` are client ids with their secrets. A day of credits begins with the first call that is charged, and with
    `renewed_at` at that time of day (s after midnight, UTC). What `faults` holds is answered first, one a call.
    """

    def __init__(
        self,
        sky: Sky,
        clock: Callable[[], float] = time.time,
        accounts: Mapping[str, str] | None = None,
        sizes: tuple[int, int] = (ANONYMOUS_CREDITS, ACCOUNT_CREDITS),
        renewed_at: float | None = None,
        slow_s: float = 30.0,
    ) -> None:
        self._sky = sky
        self._clock = clock
        self._accounts = dict(accounts or {})
        self._sizes = sizes
        self._renewed_at = renewed_at
        self._slow_s = slow_s
        self._tokens: dict[str, tuple[str, float]] = {}
        self.buckets: dict[str, Bucket] = {}
        self.faults: deque[Fault] = deque()
        self.log: list[tuple[str, int]] = []
        """Path and status of each answer."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """The answer to a request; `target` is path and query."""
        url = urlsplit(target)
        reply = self._routed(method, url.path, parse_qs(url.query), headers, body)
        self.log.append((url.path, reply.status))
        return reply

    def _routed(self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes) -> Reply:
        match method, path:
            case "POST", p if p == TOKENS:
                return self._token(parse_qs(body.decode()))
            case "POST", p if p == FAULTS:
                return self._command(query)
            case "GET", p if p in (STATES, OWN):
                client = self._client(headers.get("Authorization"))
                if client is None:
                    return _error(401, "Unauthorized")
                return self._own(client) if p == OWN else self._asked(client, query)
        return _error(404, "Not Found")

    def _token(self, form: Query) -> Reply:
        client, secret = form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        if form.get("grant_type") != ["client_credentials"] or self._accounts.get(client) != secret:
            return _json(401, {"error": "invalid_client", "error_description": "Invalid client or client credentials"})
        token = secrets.token_hex(16)
        self._tokens[token] = client, self._clock() + TOKEN_LIFE_S
        return _json(200, {"access_token": token, "expires_in": int(TOKEN_LIFE_S), "token_type": "Bearer"})

    def _command(self, query: Query) -> Reply:
        try:
            fault = Fault(query.get("kind", [""])[0])
        except ValueError:
            return _error(400, f"kind: one of {', '.join(Fault)}")
        self.faults.extend([fault] * int(query.get("count", ["1"])[0]))
        return _json(200, {"waiting": list(self.faults)})

    def _client(self, authorization: str | None) -> str | None:
        """Whose token it is: an account's, nobody's (empty) where there is none, None where it is worth nothing."""
        if authorization is None:
            return ANONYMOUS
        client, ends_at = self._tokens.get(authorization.removeprefix("Bearer "), (None, 0.0))
        return client if self._clock() < ends_at else None

    def _own(self, client: str) -> Reply:
        if client == ANONYMOUS:
            return _error(403, "Forbidden")
        return _json(200, {"time": self._now(client), "states": None})

    def _asked(self, client: str, query: Query) -> Reply:
        fault = self.faults.popleft() if self.faults else None
        if fault in (Fault.UNAVAILABLE, Fault.REFUSED, Fault.UNAUTHORIZED):
            return Reply(int(fault), b"<html><body>Not now</body></html>")
        try:
            box = _box(query)
        except (KeyError, ValueError):
            return _error(400, f"a box is the numbers {', '.join(EDGES)}")
        bucket = self._bucket(client)
        if bucket.left < cost_of(box):
            wait_s = ceil(bucket.renewed_at - self._clock())
            return Reply(429, b"Too many requests", {"X-Rate-Limit-Retry-After-Seconds": str(wait_s)})
        bucket.left -= cost_of(box)
        then, states = (self._now(client), []) if fault is Fault.NULL else self._sky(self._now(client))
        reply = _json(
            200,
            {"time": then, "states": _wanted(states, query, box) or None},
            {"X-Rate-Limit-Remaining": str(bucket.left)},
        )
        return self._spoilt(reply, fault)

    def _spoilt(self, reply: Reply, fault: Fault | None) -> Reply:
        match fault:
            case Fault.HTML:
                return replace(reply, body=b"<!DOCTYPE html><html><body>Maintenance</body></html>")
            case Fault.CUT_OFF:
                return replace(reply, sent=len(reply.body) // 2)
            case Fault.SLOW:
                return replace(reply, delay_s=self._slow_s)
        return reply

    def _now(self, client: str) -> int:
        step = int(ANONYMOUS_RESOLUTION_S if client == ANONYMOUS else ACCOUNT_RESOLUTION_S)
        now = int(self._clock())
        return now - now % step

    def _bucket(self, client: str) -> Bucket:
        bucket = self.buckets.setdefault(client, Bucket(self._sizes[client != ANONYMOUS]))
        now = self._clock()
        if now >= bucket.renewed_at:
            begin = now if self._renewed_at is None else now - (now - self._renewed_at) % DAY_S
            bucket.left, bucket.renewed_at = bucket.size, begin + DAY_S
        return bucket


def serve(stand_in: StandIn, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server at an address, not yet serving: call its `serve_forever`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def log_message(self, *_: object) -> None:
            """Each poll of a producer is in its own log."""

        def _reply(self, body: bytes) -> None:
            reply = stand_in.answer(self.command, self.path, dict(self.headers), body)
            time.sleep(reply.delay_s)
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: reply.sent])
            self.close_connection = reply.sent is not None

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


def main(arguments: Iterable[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m producers.opensky_standin", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="recorded answers, *.json or *.json.gz; else simulated")
    parser.add_argument("--port", type=int, default=8085)
    parser.add_argument("--credits", type=int, default=ANONYMOUS_CREDITS, help="a day, without an account")
    options = parser.parse_args(None if arguments is None else list(arguments))
    now = time.time()
    sky = recorded_sky(options.folder, now) if options.folder else simulated_sky(load_settings().aircraft, moment(now))
    sizes = options.credits, ACCOUNT_CREDITS
    server = serve(StandIn(sky, accounts={"headwater": "headwater"}, sizes=sizes), options.port)
    at = f"http://127.0.0.1:{server.server_address[1]}"
    print(f"export HEADWATER_OPENSKY_BASE_URL={at}/api HEADWATER_OPENSKY_TOKEN_URL={at}{TOKENS}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


def _box(query: Query) -> Box | None:
    """The area that is asked for. Raises KeyError and ValueError where an edge is missing or no number."""
    if not any(edge in query for edge in EDGES):
        return None
    south, west, north, east = (float(query[edge][0]) for edge in EDGES)
    return Box(south, west, north, east)


def _wanted(states: list[State], query: Query, box: Box | None) -> list[State]:
    """The states that were asked for, with as many fields."""
    fields = len(FIELDS) if query.get("extended") == ["1"] else SHORTEST
    addresses = {address.lower() for address in query.get("icao24", [])}
    return [
        state[:fields]
        for state in states
        if (not addresses or state[0] in addresses) and (box is None or _is_within(state, box))
    ]


def _is_within(state: State, box: Box) -> bool:
    longitude, latitude = state[FIELDS.index("longitude")], state[FIELDS.index("latitude")]
    if longitude is None or latitude is None:
        return False
    return bool(box.south <= latitude <= box.north and box.west <= longitude <= box.east)


def _json(status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, orjson.dumps(value), {"Content-Type": "application/json", **(headers or {})})


def _error(status: int, message: str) -> Reply:
    return _json(status, {"status": status, "message": message})


if __name__ == "__main__":
    run_main(main)
