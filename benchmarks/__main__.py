"""All benchmarks in one run on one machine: ``python -m benchmarks [PART...] [--quick]``, or ``make bench``.

Prints each table when it is there, and writes all of them as Markdown and JSON to ``var/bench/<time>/``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console

from benchmarks import throughput
from benchmarks.figures import Table, write
from benchmarks.ground import machine
from headwater.contracts import chosen_streams
from headwater.errors import run_main
from headwater.settings import load_settings

Tell = Callable[[Table], None]


def main() -> int:
    options = _parser().parse_args()
    console = Console(width=160)
    settings = load_settings()
    started = datetime.now(UTC)
    folder = settings.home / "bench" / f"{started:%Y%m%dT%H%M%SZ}"
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    console.print(f"{machine()}\n{command}\n")
    for name in options.parts or PARTS:
        console.print(f"--- {name} ---")
        tables: list[Table] = []

        def tell(table: Table, tables: list[Table] = tables, name: str = name) -> None:
            tables.append(table)
            console.print(table.rich())
            write(folder, name, machine(), command, tables)

        PARTS[name](options, tell)
    took = (datetime.now(UTC) - started).total_seconds()
    console.print(f"{took / 60:.0f} minutes; the tables are in {folder}")
    return 0


def _throughput(options: argparse.Namespace, tell: Tell) -> None:
    sizes = throughput.Sizes(60_000, 10_000, 1) if options.quick else throughput.Sizes()
    given = {name: getattr(options, name) for name in ("records", "rival_records", "runs")}
    for name, value in given.items():
        setattr(sizes, name, value or getattr(sizes, name))
    throughput.measured(chosen_streams(" ".join(options.streams)), sizes, tell)


PARTS: dict[str, Callable[[argparse.Namespace, Tell], None]] = {"throughput": _throughput}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small and short: whether it works, not how fast it is")
    parser.add_argument("--streams", nargs="*", default=[], help="all if none is named")
    parser.add_argument("--records", type=int, help="of each stream, for throughput")
    parser.add_argument("--rival-records", type=int, help="how many of them Quix Streams and the plain loop take")
    parser.add_argument("--runs", type=int, help="that count, for throughput")
    return parser


if __name__ == "__main__":
    run_main(main)
