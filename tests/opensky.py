"""A client of OpenSky that asks a stand-in within the process, and a clock that tests turn by hand."""

from __future__ import annotations

import io
from random import Random

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from headwater.settings import OpenSkySettings
from producers.opensky_client import Client
from producers.opensky_live import OpenSky
from producers.opensky_standin import TOKENS, StandIn

SERVER = "http://stand-in"
ACCOUNTS = {"id": "secret"}
START = 1_714_311_900.0
"""2024-04-28 13:45 UTC."""


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class InProcess(BaseAdapter):
    """Requests that reach a stand-in without a socket; `is_down` breaks each connection."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self.stand_in = stand_in
        self.is_down = False
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request, **_):
        self.asked.append(request)
        if self.is_down:
            raise requests.ConnectionError(request=request)
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        reply = self.stand_in.answer(request.method, request.path_url, request.headers, body)
        if reply.delay_s:
            raise requests.ReadTimeout(request=request)
        response = requests.Response()
        response.status_code = reply.status
        response.headers.update(reply.headers)
        content = io.BytesIO(reply.body[: reply.sent])
        raw = HTTPResponse(content, reply.headers | {"Content-Length": str(len(reply.body))}, preload_content=False)
        response.raw, response.request, response.url = raw, request, request.url
        return response

    def close(self) -> None:
        """Nothing is open."""


def settings(**more) -> OpenSkySettings:
    """Settings that lead to the stand-in."""
    return OpenSkySettings(base_url=f"{SERVER}/api", token_url=SERVER + TOKENS, **more)


def account(**more) -> OpenSkySettings:
    """The same with an account."""
    return settings(client_id="id", client_secret="secret", **more)


def connected(stand_in: StandIn, clock: Clock, chosen: OpenSkySettings) -> tuple[OpenSky, InProcess]:
    """A source that polls a stand-in by a clock."""
    adapter = InProcess(stand_in)
    session = requests.Session()
    session.mount(SERVER, adapter)
    return OpenSky(chosen, Client(chosen, clock, session), clock, Random(1)), adapter
