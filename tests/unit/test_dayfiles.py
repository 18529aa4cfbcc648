"""CSV files of records by day and key: each row once, in order, wherever a writer is stopped."""

import csv
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater import dayfiles
from headwater.csvfiles import as_it_was, day_file, inert, write_rows
from headwater.dayfiles import DayFiles
from headwater.folds import FoldBook
from headwater.ledger import Ledger
from tests.unit.test_folds import fold

MIDNIGHT = datetime(2026, 5, 4, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOLD = replace(fold(), day_files="walks")

Record = tuple[str, datetime, int, str]
"""Key, time, position, text."""


@pytest.fixture(autouse=True, scope="module")
def short_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dayfiles, "PART_ROWS", 4)
        patch.setattr(dayfiles, "DAYS_AT_ONCE", 2)
        yield


class Shelf:
    """A ledger with its files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, Ledger(":memory:", [])
        self.book = FoldBook(self.ledger.db, FOLD)
        self.files = DayFiles(self.ledger, FOLD, "walker", folder)

    def take(self, records: list[Record], sign: int = 1) -> None:
        names = ("key", "at", "position", "text")
        rows = [
            (key, (when - EPOCH) // timedelta(microseconds=1), position, text) for key, when, position, text in records
        ]
        columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        more = {"place": columns["position"], "as_of": [0] * len(rows), "sign": [sign] * len(rows)}
        with self.ledger.transaction():
            self.book.take(pa.table({**columns, **more}))

    def read(self) -> dict[tuple[str, str], list[list[str]]]:
        """The rows of all files by day and key, part after part; each file by itself is whole and in its place."""
        found: dict[tuple[str, str], list[list[str]]] = {}
        for path in sorted(self.folder.glob("*.csv"), key=lambda path: (len(path.name), path.name)):
            with path.open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            assert header == ["event_time", "walker", "text", "place"]
            for row in rows:
                day = row[0][:10]
                assert path.name.startswith(day_file("walks", day, as_it_was(row[1]), 1).removesuffix(".csv"))
                found.setdefault((day, row[1]), []).append(row)
        return found


def expected(records: list[Record]) -> dict[tuple[str, str], list[list[str]]]:
    ordered = sorted(records, key=lambda record: (record[1], record[2]))
    days: dict[tuple[str, str], list[list[str]]] = {}
    for key, when, position, text in ordered:
        spelled = f"{when:%Y-%m-%dT%H:%M:%S}{f'.{when.microsecond:06}' if when.microsecond else ''}Z"
        days.setdefault((spelled[:10], key), []).append([spelled, key, text, str(position)])
    return days


def records_of(count: int, draw: random.Random) -> list[Record]:
    return [
        (draw.choice("ab"), MIDNIGHT + timedelta(minutes=draw.randrange(-300, 300)), number, f"t{number}")
        for number in range(count)
    ]


class Stopped(BaseException):
    """Nothing in the project catches this."""


def stopping_after(files: int | None) -> Any:
    """Writes so many files, then stops."""
    count = itertools.count(1)

    def write(*arguments: Any) -> None:
        if files is not None and next(count) > files:
            raise Stopped
        write_rows(*arguments)

    return write


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_whatever_comes_in_whatever_order_and_wherever_it_is_stopped(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, draw: random.Random, count: int
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    arriving, held = records_of(count, draw), []
    if draw.random() < 0.5:
        arriving.sort(key=lambda record: record[1])
    while arriving:
        size = draw.randrange(1, 12)
        shelf.take(arriving[:size])
        held += arriving[:size]
        del arriving[:size]
        if draw.random() < 0.3:
            shelf.take([held.pop(draw.randrange(len(held)))], -1)
        before, now = shelf.read(), expected(held)
        monkeypatch.setattr(dayfiles, "write_rows", stopping_after(draw.choice([None, 0, 1, 2])))
        try:
            shelf.files.write()
        except Stopped:
            # What stands there is of before or of now, and nothing twice.
            for name, rows in shelf.read().items():
                assert len({row[3] for row in rows}) == len(rows)
                assert all(row in before.get(name, []) or row in now.get(name, []) for row in rows)
        else:
            assert shelf.read() == now
    monkeypatch.setattr(dayfiles, "write_rows", write_rows)
    shelf.files.write()
    assert shelf.read() == expected(held)
    shelf.ledger.close()


def test_a_long_day_has_parts_and_a_batch_rewrites_the_last(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    minutes = [("a", MIDNIGHT + timedelta(minutes=n), n, f"t{n}") for n in range(10)]
    shelf.take(minutes[:6])
    shelf.files.write()
    first, second = (tmp_path / day_file("walks", "2026-05-04", "a", part) for part in (1, 2))
    assert [len(path.read_text().splitlines()) - 1 for path in (first, second)] == [4, 2]
    inode = first.stat().st_ino
    shelf.take(minutes[6:])
    shelf.files.write()
    assert len(list(tmp_path.glob("*.csv"))) == 3
    assert first.stat().st_ino == inode
    # A late row goes to where its time is, and no row that was there moves on to the next part.
    shelf.take([("a", MIDNIGHT + timedelta(seconds=90), 99, "late")])
    shelf.files.write()
    assert [row.split(",")[2] for row in first.read_text().splitlines()[1:]] == ["t0", "t1", "late", "t2", "t3"]
    shelf.files.write()
    shelf.ledger.close()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("stack 1", "readings-2026-05-04-stack%201.csv"),
        ("../../etc/passwd", "readings-2026-05-04-%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.csv"),
        ("a.2", "readings-2026-05-04-a%2E2.csv"),
        ("\0", "readings-2026-05-04-%00.csv"),
        ("Ä", "readings-2026-05-04-%C3%84.csv"),
    ],
)
def test_a_key_can_t_leave_its_folder_or_take_another_s_name(key: str, name: str) -> None:
    assert day_file("readings", "2026-05-04", key, 1) == name


def test_long_keys_have_short_names_of_their_own() -> None:
    one, other = ("x" * 5_000 + end for end in "ab")
    names = {day_file("readings", "2026-05-04", key, part) for key in (one, other) for part in (1, 12)}
    assert len(names) == 4
    assert max(len(name.encode()) for name in names) < 250


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("+49", "'+49"), ("-", "'-"), ("@x", "'@x"), ("\tx", "'\tx"), ("\rx", "'\rx"),
        ("'=x", "''=x"), ("a=b", "a=b"), ("", ""), (-1.5, -1.5), (None, None),
    ],
)  # fmt: skip
def test_texts_that_a_spreadsheet_would_run_are_inert_and_come_back(text: Any, cell: Any) -> None:
    assert inert(text) == cell
    if isinstance(cell, str):
        assert as_it_was(cell) == text
