"""Asking OpenSky: tokens, time limits, and what can be wrong with an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import requests

from headwater.settings import OpenSkySettings
from producers.opensky_quota import Box

TOKEN_LIFE_S = 1_800.0
RENEW_EARLY_S = 30.0
CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 5.0
CHUNK = 1 << 16
MOST = 1e6
"""Credits a day, and seconds until there are some again."""


class AnswerError(Exception):
    """No usable answer: the network, the server, or what it sent; `remaining` credits where it said so all the same."""

    def __init__(self, text: str, remaining: int | None = None) -> None:
        super().__init__(text)
        self.remaining = remaining


class RefusedError(AnswerError):
    """Too many requests; `retry_after_s` is what the answer says, None where it doesn't."""

    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__("429 Too Many Requests" + ("" if retry_after_s is None else f", for {retry_after_s:.0f} s"))
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Answer:
    """The states of an area, of whatever form each is, and the credits left, None where that isn't said."""

    time: Any
    states: list[Any]
    remaining: int | None


class Client:
    """OpenSky's REST API, anonymous or with an account's client credentials."""

    def __init__(
        self,
        settings: OpenSkySettings,
        clock: Callable[[], float] = time.time,
        session: requests.Session | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._session = session or requests.Session()
        self._token = ""
        self._renew_at = 0.0

    @property
    def has_account(self) -> bool:
        return bool(self._settings.client_id)

    def states(self, box: Box | None) -> Answer:
        """All state vectors of an area, or of the world. Raises RefusedError and AnswerError."""
        asked: dict[str, str | float] = {"extended": 1}
        if box is not None:
            asked |= {"lamin": box.south, "lomin": box.west, "lamax": box.north, "lomax": box.east}
        status, headers, content = self._get("/states/all", asked)
        if status == requests.codes.unauthorized and self.has_account:
            self._token = ""
            status, headers, content = self._get("/states/all", asked)
        if status == requests.codes.too_many_requests:
            raise RefusedError(_number(headers.get("X-Rate-Limit-Retry-After-Seconds")))
        if status != requests.codes.ok:
            raise AnswerError(f"HTTP {status}")
        remaining = _remaining(headers)
        found = _object(content, remaining)
        states = found.get("states", ())
        if not isinstance(states, list | None):
            raise AnswerError("an answer without states", remaining)
        return Answer(found.get("time"), states or [], remaining)

    def obstacle(self) -> str | None:
        """Why OpenSky can't be asked; None where it can. Costs no credits.

        One's own receivers' states are free of charge, and refused by name to whoever has none.
        """
        try:
            status, _, content = self._get("/states/own", {}, PROBE_TIMEOUT_S)
            if status == requests.codes.ok:
                _object(content)
        except AnswerError as error:
            return str(error)
        own = (requests.codes.ok, requests.codes.unauthorized, requests.codes.forbidden, requests.codes.not_found)
        if status == requests.codes.unauthorized and self.has_account:
            return "HTTP 401 with the client credentials"
        return None if status in own or status == requests.codes.too_many_requests else f"HTTP {status}"

    def _get(
        self, path: str, asked: dict[str, str | float], limit_s: float | None = None
    ) -> tuple[int, requests.structures.CaseInsensitiveDict[str], bytes]:
        headers = {"Authorization": f"Bearer {self._bearer()}"} if self.has_account else {}
        return self._send("GET", self._settings.base_url + path, limit_s, params=asked, headers=headers)

    def _bearer(self) -> str:
        """A token that is good for a while yet."""
        if not self._token or self._clock() >= self._renew_at:
            form = {
                "grant_type": "client_credentials",
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
            }
            status, _, content = self._send("POST", self._settings.token_url, None, data=form)
            if status != requests.codes.ok:
                raise AnswerError(f"no token: HTTP {status}")
            found = _object(content)
            if not isinstance(found.get("access_token"), str):
                raise AnswerError("no token in the answer to the client credentials")
            life_s = found.get("expires_in")
            self._token = found["access_token"]
            self._renew_at = self._clock() + (life_s if type(life_s) is int else TOKEN_LIFE_S) - RENEW_EARLY_S
        return self._token

    def _send(
        self, method: str, url: str, limit_s: float | None, **more: Any
    ) -> tuple[int, requests.structures.CaseInsensitiveDict[str], bytes]:
        """A whole answer. `requests` limits only each wait for some bytes, so a trickle is ended here."""
        limit_s = limit_s or self._settings.timeout_seconds
        deadline = time.monotonic() + limit_s
        timeout = (min(CONNECT_TIMEOUT_S, limit_s), limit_s)
        content = bytearray()
        remaining = None
        try:
            with self._session.request(method, url, timeout=timeout, stream=True, **more) as response:
                remaining = _remaining(response.headers)
                for chunk in response.iter_content(CHUNK):
                    content += chunk
                    if time.monotonic() > deadline:
                        raise AnswerError(f"no whole answer within {limit_s:g} s", remaining)
                return response.status_code, response.headers, bytes(content)
        except requests.Timeout as error:
            raise AnswerError(f"no answer within {limit_s:g} s", remaining) from error
        except requests.RequestException as error:
            raise AnswerError(f"no connection, or one that broke ({type(error).__name__})", remaining) from error


def _object(content: bytes, remaining: int | None = None) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        form = "HTML" if content.lstrip()[:1] == b"<" else "what is no whole JSON"
        raise AnswerError(f"an answer in {form}", remaining) from error
    if not isinstance(found, dict):
        raise AnswerError("an answer that is no object", remaining)
    return found


def _remaining(headers: Mapping[str, str]) -> int | None:
    left = _number(headers.get("X-Rate-Limit-Remaining"))
    return None if left is None else int(left)


def _number(text: str | None) -> float | None:
    """A header's number of credits or seconds; None where it is missing, or none that can be meant."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= MOST else None
