"""CSV tables: one header a file, complete lines only, replaced as a whole."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from headwater.contracts.base import Table


def write_csv(path: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    """Puts a table's rows in a file's place; until they all stand there its name doesn't end in ``.csv``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not rows:
        path.unlink(missing_ok=True)
        return
    columns = [field.name for field in table.fields]
    half_written = path.with_suffix(".csv.part")
    with half_written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
        file.flush()
        os.fsync(file.fileno())
    half_written.replace(path)
