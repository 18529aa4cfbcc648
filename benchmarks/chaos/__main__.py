"""``python -m benchmarks.chaos``: see the package."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.chaos import disk
from benchmarks.chaos.faults import ChaosError
from benchmarks.chaos.pages import opened
from benchmarks.chaos.plan import KINDS, plan
from benchmarks.chaos.report import Report
from benchmarks.chaos.run import Run
from benchmarks.chaos.stage import chosen, staged
from headwater.contracts import STREAMS
from headwater.errors import run_main
from headwater.settings import load_settings
from tests.postgres import prepared

DISK_MEGABYTES = 512


def main() -> int:
    """Exits with 0 where nothing was lost and nothing doubled."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = _options()
    small = disk.enter(DISK_MEGABYTES)
    folder = load_settings().home / "chaos" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}"
    folder.mkdir(parents=True)
    console = Console(width=160)
    report = Report(options.seed, options.minutes, options.rate, options.streams or list(STREAMS), _again(options))
    kinds = options.faults or list(KINDS)
    if small is None:
        kinds = _without(kinds, ["fill_disk"], "this machine lets nobody mount a small disk", report)
    if len(report.streams) == 1:
        kinds = _without(kinds, ["kill_suite", "freeze_suite"], "one stream is a job and no suite", report)
    console.print(f"seed {options.seed}: {report.command}", highlight=False)

    work = Path(tempfile.mkdtemp(prefix="headwater-chaos-"))
    home = small or work / "home"
    try:
        with prepared() as server, staged(chosen(options.streams), options.rate, home, work, server) as stage:
            run = Run(stage, report, console)
            try:
                run.start()
                with opened(stage.address, stage.streams) as pages:
                    run.strike(plan(options.seed, options.minutes, kinds), pages)
                    run.finish(pages)
                run.prove()
            except ChaosError as error:
                report.failures.append(str(error))
            except Exception:  # a report must be kept of a run that breaks, too
                report.failures.append(traceback.format_exc())
            finally:
                run.close()
        report.write(folder)
        if not report.holds:
            _keep(work, home, folder)
    finally:
        shutil.rmtree(work)
        if small:
            disk.leave(small)
    console.print(report.markdown(), highlight=False, markup=False)
    console.print(f"kept in {folder}", highlight=False)
    return 0 if report.holds else 1


def _without(kinds: list[str], absent: list[str], why: str, report: Report) -> list[str]:
    """The kinds that can be had; the report says which can't."""
    report.left_out += [f"{name} was left out: {why}" for name in kinds if name in absent]
    return [name for name in kinds if name not in absent]


def _keep(work: Path, home: Path, folder: Path) -> None:
    """For whoever is to find out: logs, journals, tables, ledgers and checkpoints."""
    for name in ("log", "journals"):
        shutil.copytree(work / name, folder / name, dirs_exist_ok=True)
    shutil.copytree(home, folder / "home", ignore=shutil.ignore_patterns(disk.ballast(home).name))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Faults, and the proof after them.")
    parser.add_argument(
        "--minutes", type=float, default=10, help="of faults; start and proof come on top (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same faults again")
    parser.add_argument("--rate", type=float, default=20, help="records a second, of each stream (default: 20)")
    parser.add_argument(
        "--streams", nargs="*", choices=list(STREAMS), default=[], metavar="STREAM", help="some streams"
    )
    parser.add_argument("--faults", nargs="*", choices=list(KINDS), metavar="FAULT", help=f"of {', '.join(KINDS)}")
    return parser.parse_args()


def _again(options: argparse.Namespace) -> str:
    """The command that repeats a run."""
    words = [f"--seed {options.seed}", f"--minutes {options.minutes:g}", f"--rate {options.rate:g}"]
    words += [f"--streams {' '.join(options.streams)}"] if options.streams else []
    words += [f"--faults {' '.join(options.faults)}"] if options.faults else []
    return f"python -m benchmarks.chaos {' '.join(words)}"


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("the chaos run needs Linux: it mounts, freezes and kills")
    run_main(main)
