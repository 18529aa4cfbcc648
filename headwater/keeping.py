"""Keeps the Delta tables level: small files become large ones, and what no reader needs any more goes.

A live table gains a commit every half minute, and a file or more with each. The archive's driver, the tables' only
writer, gives one table its turn at a time, between two batches and so never amid one; each turn may be cut short
anywhere, or left out, without changing a row (``docs/decisions/0055-keeping-tables-level.md``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from headwater.settings import KeepingSettings

APPENDED_FILE_BYTES = 32 * 1024 * 1024
"""What small files of a table are made into that has no ``delta.targetFileSize`` of its own."""

TIER = 8
"""Files are first made into ones of an eighth, then those into whole ones, so that a row is rewritten a few times in
all and not at each turn."""

SMALL_FILES = 10
"""So many files below half of a size are made into ones of that size."""

log = logging.getLogger(__name__)


class Keeper:
    """Gives each of some tables its turn, so that all have had one in ``every_minutes``."""

    def __init__(
        self, tables: Sequence[Path], settings: KeepingSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock``: in seconds."""
        self._tables, self._settings, self._clock = tables, settings, clock
        self._pace = settings.every_minutes * 60 / len(tables)
        self._turns = 0
        self._next = clock() + self._pace

    def is_due(self) -> bool:
        """Whether the next table's turn has come."""
        return self._pace > 0 and self._clock() >= self._next

    def turn(self) -> None:
        """The next table's turn."""
        self._keep(self._tables[self._turns % len(self._tables)])
        self._turns += 1
        self._next = self._clock() + self._pace

    def round(self) -> None:
        """Every table's, unless they are never to have one."""
        if self._pace > 0:
            for table in self._tables:
                self._keep(table)

    def _keep(self, path: Path) -> None:
        try:
            keep(path, round(self._settings.versions_hours * 3600))
        except (DeltaError, OSError) as error:  # no disk left, or somebody else writes: the next turn makes it good
            log.warning("%s can't be tidied now: %s", path, error)


def keep(path: Path, kept_seconds: int) -> None:
    """Tidies a table; versions of the last ``kept_seconds`` stay readable."""
    declare(path, kept_seconds)
    compact(path)
    vacuum(path)


def declare(path: Path, kept_seconds: int) -> None:
    """Has the table say how long its past is kept; whoever writes its next checkpoint drops the older log."""
    table, kept = DeltaTable(str(path)), f"interval {kept_seconds} seconds"
    wanted = {"delta.logRetentionDuration": kept, "delta.deletedFileRetentionDuration": kept}
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)


def compact(path: Path) -> None:
    """Makes small files into larger ones of neighbouring rows; no row changes, nor the number of the last batch."""
    target = int(DeltaTable(str(path)).metadata().configuration.get("delta.targetFileSize") or APPENDED_FILE_BYTES)
    for size in (target // TIER, target):
        table = DeltaTable(str(path))
        sizes = pa.table(table.get_add_actions())["size_bytes"]
        if (pc.sum(pc.less(sizes, size // 2)).as_py() or 0) >= SMALL_FILES:
            table.optimize.compact(target_size=size)


def vacuum(path: Path) -> None:
    """Deletes files that no version needs which is still kept, those that a kill left behind among them."""
    table = DeltaTable(str(path))
    # The log goes on naming what is gone already, and each vacuum adds to the log.
    if any((path / name).exists() for name in table.vacuum(full=True)):
        table.vacuum(dry_run=False, full=True)
