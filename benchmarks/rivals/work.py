"""What a rival is to do, and what it tells of it."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.rivals.contracts import CONTRACTS, Contract, Record
from benchmarks.rivals.tables import EVENTS, SALES, Memory, Row, Table
from benchmarks.rivals.walks import AIRCRAFT, CO2, TRUCKS

TABLES: dict[str, tuple[Table, ...]] = {
    "sales": SALES, "events": EVENTS, "trucks": TRUCKS, "aircraft": AIRCRAFT, "co2": CO2,
}  # fmt: skip


def _one(_: Record) -> float:
    return 1


SUMMED: dict[str, Callable[[Record], float]] = {
    "sales": lambda sale: float(sale["quantity"]),
    "co2": lambda reading: float(reading["emission_kg"]),
    **dict.fromkeys(("events", "trucks", "aircraft"), _one),
}
"""What the minimal aggregation adds up by the topic's key."""


@dataclass
class Work:
    """``tables``: all of the stream's. ``sum``: parse, and add one number up by key; nothing is written."""

    contract: Contract
    tables: Sequence[Table]
    kind: str
    bootstrap: str
    records: int
    """How many the topic holds."""
    run: str
    """A name of its own for groups and folders."""
    folder: str


@dataclass
class Tally:
    """What a rival did. Seconds count from its first record on."""

    records: int = 0
    rejected: int = 0
    repeats: int = 0
    rows: int = 0
    begun: float = 0.0
    cpu_begun: float = 0.0

    def begin(self) -> None:
        if not self.begun:
            self.begun, self.cpu_begun = time.perf_counter(), _cpu_seconds()

    def tell(self) -> None:
        """One line of JSON on standard output, the last one."""
        told = {name: getattr(self, name) for name in ("records", "rejected", "repeats", "rows")}
        told |= {"seconds": time.perf_counter() - self.begun, "cpu_seconds": _cpu_seconds() - self.cpu_begun}
        sys.stdout.write(f"{json.dumps(told)}\n")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def asked() -> Work:
    """The work that the command line asks for."""
    parser = argparse.ArgumentParser()
    for name in ("stream", "bootstrap", "run", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--kind", choices=("tables", "sum"), default="tables")
    options = parser.parse_args()
    return Work(
        CONTRACTS[options.stream],
        TABLES[options.stream],
        options.kind,
        options.bootstrap,
        options.records,
        options.run,
        options.folder,
    )


def own_rows(tables: Sequence[Table], memory: Memory, record: Record) -> list[Row]:
    """What a record changes in the tables that go by the topic's own key."""
    return [row for table in tables if table.key is None for row in table.step(memory, record)]
