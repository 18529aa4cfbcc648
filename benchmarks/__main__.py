"""All benchmarks in one run on one machine: ``python -m benchmarks [PART...] [--quick]``, or ``make bench``.

Prints each table when it is there, and writes all of them as Markdown and JSON to ``var/bench/<time>/``.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console

from benchmarks import growth, latency, map, startup, throughput
from benchmarks.figures import Table, write
from benchmarks.ground import machine
from headwater.contracts import chosen_streams
from headwater.errors import run_main
from headwater.settings import load_settings

Tell = Callable[[Table], None]


def main() -> int:
    options = _parser().parse_args()
    # So that a SIGTERM leaves no broker behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
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
    sizes.only = tuple(options.only)
    streams = options.streams or (["sales"] if options.quick else [])
    throughput.measured(chosen_streams(" ".join(streams)), sizes, tell)


def _latency(options: argparse.Namespace, tell: Tell) -> None:
    pace = latency.Pace(10, 5, 15) if options.quick else latency.Pace()
    rates = options.rates or ([100, 1_000] if options.quick else [100, 1_000, 5_000])
    latency.measured(rates, pace, tell)


def _markers(options: argparse.Namespace, tell: Tell) -> None:
    runs: list[tuple[type[map.Sender], int]] = [(map.Sky, 10_000)]
    runs += [] if options.quick else [(map.Fleet, 12), (map.Fleet, 2_000)]
    map.tables(runs, 10 if options.quick else 30, tell)


def _startup(options: argparse.Namespace, tell: Tell) -> None:
    startup.measured(1 if options.quick else 3, 5 if options.quick else 60, not options.quick, tell)


def _growth(options: argparse.Namespace, tell: Tell) -> None:
    if options.quick:
        growth.measured(growth.QUICK_STEPS, 10_000, 5_000, tell)
    else:
        growth.measured(growth.STEPS, 100_000, 20_000, tell)


PARTS: dict[str, Callable[[argparse.Namespace, Tell], None]] = {
    "startup": _startup,
    "throughput": _throughput,
    "latency": _latency,
    "markers": _markers,
    "growth": _growth,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="small and short: whether it works, not how fast it is")
    parser.add_argument("--rates", nargs="*", type=float, help="records a second over all streams, for latency")
    parser.add_argument("--streams", nargs="*", default=[], help="all if none is named")
    parser.add_argument("--records", type=int, help="of each stream, for throughput")
    parser.add_argument("--rival-records", type=int, help="how many of them Quix Streams and the plain loop take")
    parser.add_argument("--runs", type=int, help="that count, for throughput")
    parser.add_argument("--only", nargs="*", default=[], help="words of what throughput is to measure beside the limit")
    return parser


if __name__ == "__main__":
    run_main(main)
