"""Forgets one stream's checkpoints and tables, after asking: `make reset STREAM=sales`.

The raw topic stays as it is: the next start of the job reads it again from its beginning.
"""

import argparse
import shutil
import sys
from pathlib import Path

from headwater.contracts import STREAMS
from headwater.errors import HeadwaterError, run_main
from headwater.settings import Settings, load_settings


def main() -> int:
    """Ask, then forget."""
    parser = argparse.ArgumentParser(
        prog="make reset STREAM=…", description="Forget a stream's checkpoints and tables."
    )
    parser.add_argument("stream", choices=sorted(STREAMS))
    stream = parser.parse_args().stream

    written = paths_of(load_settings(), stream)
    if not written:
        print(f"{stream} has written nothing yet")
        return 0
    print(f"This deletes what the jobs have written of {stream}:")
    for path in written:
        print(f"  {path}")
    if not sys.stdin.isatty():
        raise HeadwaterError("reset asks first, so it needs a terminal; nothing was deleted")
    if input(f"Type {stream} to delete it: ").strip() != stream:
        print("nothing was deleted")
        return 1
    forget(written)
    print(f"{stream} is forgotten")
    return 0


def paths_of(settings: Settings, stream: str) -> list[Path]:
    """What exists of a stream: its tables, CSV files, ledgers, and the checkpoints it has alone or with others."""
    home = settings.home
    checkpoints = [path for path in (home / "checkpoints").glob("*") if stream in path.name.split("+")]
    folders = [home / "delta" / stream, *sorted(checkpoints), settings.csv(stream)]
    ledgers = [*(home / "ledger").glob(f"{stream}.db*"), *(home / "ledger").glob(f"{stream}-fresh.db*")]
    return [path for path in [*folders, *sorted(ledgers)] if path.exists()]


def forget(paths: list[Path]) -> None:
    """Delete folders and files."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    run_main(main)
