"""One form for the log lines of all parts, and no secret in any of them.

On a terminal a line is for a person: time, level, event, ``key=value``. Elsewhere it is a JSON object: ``time`` (ISO
8601, UTC), ``level``, ``part``, ``logger``, ``event``, and what the event is about (``stream``, ``query``, ``batch``).
What libraries log goes the same way. Errors that a user can put right stay one plain message (``headwater.errors``).
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

import orjson
import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from structlog.typing import EventDict, Processor

from headwater.settings import Settings

OURS = ("headwater", "dashboards", "producers", "jobs", "__main__")
"""Loggers that the level of the settings goes for; libraries are heard from warnings on."""

SECRET_PROPERTY = re.compile(r"password|secret|token|\.key|jaas|oauthbearer\.config")
HIDDEN = "***"
SHORTEST_SECRET = 3
"""Anything shorter would be found in every other word."""


def set_up(settings: Settings, part: str, out: TextIO | None = None) -> None:
    """Once, at the start of a program. ``part``: such as ``jobs``, ``producer sales``; ``out``: standard error."""
    out = out or sys.stderr
    as_json = settings.log.format == "json" or (settings.log.format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _Part(part),
    ]
    handler = logging.StreamHandler(out)
    rendered = _as_json() if as_json else _as_text(out.isatty())
    inner = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered], foreign_pre_chain=shared
    )
    handler.setFormatter(_Redacting(inner, secrets_of(settings)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log.level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )  # fmt: skip


def _as_json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]


def _as_text(colours: bool) -> list[Processor]:
    # The default shows the local variables of each frame, passwords among them.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time", exception_formatter=plain)]


def _dumps(line: Any, **_: Any) -> str:
    first = {key: line[key] for key in ("time", "level", "part", "event") if key in line}
    return orjson.dumps({**first, **line}, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class _Part:
    """Says which program a line is of."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(self, _: Any, __: str, line: EventDict) -> EventDict:
        line.setdefault("part", self._part)
        return line


class _Redacting(logging.Formatter):
    """Looks at the line as it is written: whatever way a secret came into it, it does not leave."""

    def __init__(self, inner: logging.Formatter, secrets: frozenset[str]) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = (
            re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))) if secrets else None
        )

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        return self._secrets.sub(HIDDEN, line) if self._secrets else line


def secrets_of(settings: Settings) -> frozenset[str]:
    """Every secret of the settings, in each way it may be spelled: as it is, as Python shows it, in a URL, in JSON."""
    found = {value for name, value in settings.kafka.client.items() if SECRET_PROPERTY.search(name)}
    found.add(settings.opensky.client_secret)
    try:
        found.add(make_url(settings.sql_url).password or "")
    except ArgumentError:  # no URL at all; whoever opens it says so
        found.add(settings.sql.url)
    spelled = found | {repr(secret)[1:-1] for secret in found}
    spelled |= {way(secret) for secret in found for way in (quote, quote_plus)}
    spelled |= {json.dumps(text, ensure_ascii=False)[1:-1] for text in spelled}
    return frozenset(text for text in spelled if len(text) >= SHORTEST_SECRET)
