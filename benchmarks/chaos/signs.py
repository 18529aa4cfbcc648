"""What tells that all is well again: everything that should grow has grown, and no page complains."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from benchmarks.chaos.pages import Pages
from benchmarks.chaos.stage import Stage
from headwater.contracts import Stream
from headwater.sql import MARKS

RAW, LIVE, PROCESSED, TABLES, DATABASE, PAGE = "raw", "live", "processed", "tables", "database", "page"

Sign = tuple[str, str]
"""What, and of which stream or page."""


@dataclass
class Signs:
    """What has not yet moved since it was begun."""

    stage: Stage
    pages: Pages | None

    def __post_init__(self) -> None:
        self._topics = {
            topic: (what, stream.name)
            for stream in self.stage.streams
            for what, topic in (
                (RAW, stream.raw_topic),
                (LIVE, stream.live_topic),
                (PROCESSED, stream.processed_topic),
            )
        }
        self.begin()

    def begin(self) -> None:
        """From now on all of it has to move."""
        self.began = time.monotonic()
        self._before: dict[Sign, float | str] = {}
        signs = [*self._topics.values(), *((TABLES, stream.name) for stream in self.stage.streams)]
        signs += [(DATABASE, stream.name) for stream in self.stage.streams if in_sql(stream)]
        signs += [(PAGE, seen.path) for seen in self.pages.pages] if self.pages else []
        self.moved: dict[tuple[str, str], float] = {}
        self.missing: set[Sign] = set(signs)

    def look(self) -> bool:
        """Whether everything has moved, and no page is in trouble."""
        for sign, value in self._values().items():
            if sign in self.missing and self._before.setdefault(sign, value) != value:
                self.missing.discard(sign)
                self.moved[sign] = time.monotonic() - self.began
        return not self.missing and not (self.pages and self.pages.troubled())

    def last(self) -> str:
        """What took longest."""
        return " ".join(max(self.moved.items(), key=lambda moved: moved[1])[0]) if self.moved else ""

    def _values(self) -> dict[Sign, float | str]:
        found: dict[Sign, float | str] = {}
        wanted = [topic for topic, sign in self._topics.items() if sign in self.missing]
        if wanted and (ends := self.stage.ends(wanted)):
            found |= {self._topics[topic]: end for topic, end in ends.items()}
        for stream in self.stage.streams:
            if (TABLES, stream.name) in self.missing and (rows := taken(self.stage, stream)) is not None:
                found[TABLES, stream.name] = rows
            if (DATABASE, stream.name) in self.missing and (number := mark(self.stage, stream)) is not None:
                found[DATABASE, stream.name] = number
        if self.pages:
            self.pages.look()
            found |= {(PAGE, path): text for path, text in self.pages.texts().items()}
        return found


def in_sql(stream: Stream) -> bool:
    return any(table.in_sql for table in stream.tables)


def taken(stage: Stage, stream: Stream) -> int | None:
    """Rows of a stream's ``records`` and ``rejected``, by their logs alone; None while they can't be read."""
    with suppress(DeltaError, OSError):
        folders = (stage.settings.delta(stream.name, name) for name in ("records", "rejected"))
        return sum(DeltaTable(str(folder)).count() for folder in folders)
    return None


def mark(stage: Stage, stream: Stream) -> int | None:
    """The number of the last transaction of a stream in the SQL database; None while there is none."""
    with suppress(psycopg.Error):
        url = stage.server.url("postgres")
        with psycopg.connect(url, connect_timeout=2, options="-c statement_timeout=2000") as connection:
            found = connection.execute(f"SELECT number FROM {MARKS} WHERE stream = %s", (stream.name,)).fetchone()
            return int(found[0]) if found else None
    return None
