"""Shows the parts coming up and going down: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

STYLES = {"ready": "green", "died": "red", "starting": "yellow"}


@dataclass
class _Row:
    started: float
    state: str = "starting"
    seconds: float | None = None

    def elapsed(self) -> float:
        return time.monotonic() - self.started if self.seconds is None else self.seconds


class Display:
    """The state of each part, and how long it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._rows: dict[str, _Row] = {}
        self._live = False

    @contextmanager
    def live(self) -> Iterator[None]:
        """While this lasts, a terminal shows the parts as a table with their seconds running."""
        if not self.console.is_terminal:
            yield
            return
        self._live = True
        try:
            with Live(get_renderable=self._table, console=self.console, refresh_per_second=8):
                yield
        finally:
            self._live = False

    def starting(self, name: str) -> None:
        self._rows[name] = _Row(time.monotonic())
        self._say(f"{name}: starting")

    def ready(self, name: str) -> None:
        self._set(name, "ready")
        self._say(f"{name}: ready after {self._rows[name].elapsed():.1f} s")

    def died(self, name: str) -> None:
        self._set(name, "died")

    def stopping(self, name: str) -> None:
        self._say(f"{name}: stopping")

    def stopped(self, name: str) -> None:
        self._say(f"{name}: stopped")

    def message(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def _set(self, name: str, state: str) -> None:
        row = self._rows[name]
        row.seconds, row.state = row.elapsed(), state

    def _say(self, line: str) -> None:
        if not self._live:
            self.message(line)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, row in self._rows.items():
            style = STYLES[row.state]
            mark = Spinner("dots", style=style) if row.state == "starting" else Text("*", style=style)
            table.add_row(mark, name, Text(row.state, style=style), f"{row.elapsed():.1f} s")
        return table
