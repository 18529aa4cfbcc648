"""CSV tables: one header a file, complete lines only, replaced as a whole."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headwater.contracts.base import Table

LONGEST_NAME = 160
"""Of what a file's name takes from a record, in bytes; file systems allow 255 for all of it."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the begin of a formula (OWASP, "CSV Injection")."""


def write_csv(path: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    """Puts a table's rows in a file's place; until they all stand there its name doesn't end in ``.csv``."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    columns = [field.name for field in table.fields]
    write_rows(path, columns, ([row[column] for column in columns] for row in rows))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Puts a header and rows in a file's place; texts are :func:`inert`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_name(f"{path.name}.part")
    with half_written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([inert(value) for value in row] for row in rows)
        file.flush()
        os.fsync(file.fileno())
    half_written.replace(path)


def inert(value: Any) -> Any:
    """Text that a spreadsheet would run, and text that begins with an apostrophe, gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith((*FORMULA, "'")) else value


def as_it_was(text: str) -> str:
    """What :func:`inert` was given."""
    return text.removeprefix("'")


def day_file(name: str, day: str, key: str, part: int) -> str:
    """The name of a file of a day's and a key's rows: ``readings-2026-05-04-stack%201.csv``, further parts
    ``readings-2026-05-04-stack%201.2.csv``. Whatever the key, the file lies in its folder, and no two keys share one.
    """
    spelled = quote(key, safe="").replace(".", "%2E")
    if len(spelled) > LONGEST_NAME:
        spelled = f"{spelled[: LONGEST_NAME - 17]}~{sha256(key.encode()).hexdigest()[:16]}"
    return f"{name}-{day}-{spelled}{f'.{part}' if part > 1 else ''}.csv"
