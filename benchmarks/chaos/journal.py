"""What a producer sent and what it was told was acknowledged, line by line in a file that outlives ``kill -9``.

A line is written by one call before or after what it tells of, so the kernel has it when the process is gone:

    sent,17                                  before record 17 is handed to the client
    acknowledged,1,402,sales-0000017         when the broker has told partition and offset
    refused,_MSG_TIMED_OUT,sales-0000018     when the client gave a record up: nobody may count on it
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

EVENT_ID = re.compile(r'"event_id":"([^"]*)"')


@dataclass
class Journal:
    """The file of one stream's producer, which appends to it at every start."""

    path: Path

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.next_number = 1 + max((int(line[1]) for line in read(self.path) if line[0] == "sent"), default=0)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def sent(self, number: int) -> None:
        self._write("sent", number)

    def acknowledged(self, partition: int, offset: int, event_id: str) -> None:
        self._write("acknowledged", partition, offset, event_id)

    def refused(self, reason: str, event_id: str) -> None:
        self._write("refused", reason, event_id)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, *cells: str | int) -> None:
        os.write(self._file, (",".join(map(str, cells)) + "\n").encode())


@dataclass(frozen=True)
class Told:
    """What a journal says: how many records were sent, where the acknowledged ones stand, why others were refused."""

    sent: int
    acknowledged: list[tuple[tuple[int, int], str]]
    refused: Counter[str] = field(default_factory=Counter)


def told(path: Path) -> Told:
    """A journal as a whole."""
    lines = list(read(path))
    places = [
        ((int(p), int(offset)), name) for what, *rest in lines if what == "acknowledged" for p, offset, name in [rest]
    ]
    reasons = Counter(line[1] for line in lines if line[0] == "refused")
    return Told(sum(line[0] == "sent" for line in lines), places, reasons)


def read(path: Path) -> Iterator[list[str]]:
    """The whole lines of a journal, apart."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield line.split(",")


def event_id_in(raw: str) -> str:
    """The ``event_id`` of a raw record, whole or broken; empty where it has none."""
    found = EVENT_ID.search(raw)
    return found[1] if found else ""
