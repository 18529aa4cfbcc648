"""What benchmarks share to say what they saw: percentiles, and tables for the terminal, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

MINUS = "-"
"""Stands where a figure does not exist."""


def say(text: str) -> None:
    """Where a benchmark is, for who waits for it."""
    Console(stderr=True).print(f"{datetime.now():%H:%M:%S} {text}", style="dim", highlight=False)


@dataclass
class Table:
    """Rows of text under a title; the first column is a name, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns of {self.title!r}")
        self.rows.append(list(cells))

    def rich(self) -> RichTable:
        """For a terminal."""
        table = RichTable(title=self.title)
        for number, name in enumerate(self.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """With its title above it, as README can take it."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join([f"**{self.title}**", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest rank: the least value that at least this share of all reaches. None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]


def spread(values: Sequence[float], unit: str = "ms", digits: int = 0) -> str:
    """``p50 / p99`` of some values, or a dash."""
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    if p50 is None or p99 is None:
        return MINUS
    return f"{p50:,.{digits}f} / {p99:,.{digits}f} {unit}"


def ratio(over: float | None, under: float | None) -> str:
    """How many times one is the other."""
    return MINUS if not under or over is None else f"{over / under:.2f}"


def percent(over: float | None, under: float | None) -> str:
    return MINUS if not under or over is None else f"{over / under:.0%}"


def write(folder: Path, name: str, machine: str, command: str, tables: Sequence[Table]) -> None:
    """``<name>.md`` and ``<name>.json``: the tables, what was measured on, and how."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join([f"{machine}; `{command}`", "", *(table.markdown() for table in tables)])
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    told = {"machine": machine, "command": command, "tables": [asdict(table) for table in tables]}
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
