"""Delta tables that are tidied: what changes and what doesn't, with tables of a few rows."""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from headwater import delta, keeping
from headwater.contracts.sales import SALES
from headwater.keeping import Keeper, keep
from headwater.settings import KeepingSettings

DAY = datetime(2026, 5, 4, tzinfo=UTC)
LONG = 3600
TOTALS = SALES.table("totals")
PER_MINUTE = SALES.table("per_minute")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    delta.create_tables(SALES, tmp_path)
    return tmp_path


def append(path: Path, number: int, rows: int = 3) -> None:
    schema = delta.arrow_schema(delta.fields_of_table(SALES, "rejected"))
    made = [
        {
            "stream": "sales", "reasons": ["not_json"], "raw": f"{number}/{row}", "topic": "t", "partition": 0,
            "offset": number * 100 + row, "kafka_timestamp": DAY + timedelta(seconds=number), "rejected_at": DAY,
        }
        for row in range(rows)
    ]  # fmt: skip
    delta.append(path, pa.Table.from_pylist(made, schema), "app", number)


def offsets(path: Path, version: int | None = None) -> list[int]:
    table = DeltaTable(str(path), version=version).to_pyarrow_table(columns=["offset"])
    found: list[int] = sorted(table["offset"].to_pylist())
    return found


def on_disk(path: Path) -> set[str]:
    return {file.name for file in path.glob("*.parquet")}


def current(path: Path) -> set[str]:
    return {Path(uri).name for uri in DeltaTable(str(path)).file_uris()}


def minute(number: int, units: int = 1) -> dict[str, Any]:
    start = DAY + timedelta(minutes=number)
    return {
        "window_start": start, "window_end": start + timedelta(minutes=1), "is_final": False, "orders": 1,
        "units": units, "revenue": 1, "average_order_value": None,
    }  # fmt: skip


def test_small_files_become_one_and_their_batches_stay_counted(tables: Path) -> None:
    path = tables / "rejected"
    for number in range(1, 13):
        append(path, number)
    expected = [number * 100 + row for number in range(1, 13) for row in range(3)]
    before = DeltaTable(str(path)).version()
    assert len(current(path)) == 12

    keep(path, LONG)

    assert len(current(path)) == 1
    assert offsets(path) == expected
    assert offsets(path, before) == expected, "an older version is read until its time is over"
    assert delta.last_batch(path, "app") == 12
    append(path, 12)  # a batch that a kill has repeated
    assert offsets(path) == expected
    append(path, 13)
    assert offsets(path) == [*expected, 1300, 1301, 1302]


def test_few_files_are_left_alone(tables: Path) -> None:
    path = tables / "rejected"
    for number in range(1, 10):
        append(path, number)
    keep(path, LONG)
    files, version = current(path), DeltaTable(str(path)).version()
    assert len(files) == 9
    keep(path, LONG)
    assert (current(path), DeltaTable(str(path)).version()) == (files, version), "nothing to do writes nothing"


def test_what_no_version_needs_any_more_is_deleted(tables: Path) -> None:
    path = tables / "rejected"
    for number in range(1, 13):
        append(path, number)
    orphan = path / "part-00000-of-a-kill.snappy.parquet"
    orphan.write_bytes(b"half a file")
    os.utime(orphan, (0, 0))
    old = DeltaTable(str(path))

    keep(path, LONG)
    assert not orphan.exists()
    assert len(on_disk(path)) == 13, "all of the last hour"

    keep(path, 0)
    assert on_disk(path) == current(path)
    assert len(offsets(path)) == 36
    with pytest.raises(FileNotFoundError):  # named, not silently less
        old.to_pyarrow_table()


def test_the_log_is_dropped_with_the_versions(tables: Path) -> None:
    path = tables / "rejected"
    keep(path, LONG)
    for number in range(1, 20):
        append(path, number, rows=1)
    DeltaTable(str(path)).create_checkpoint()
    old, log = DeltaTable(str(path)).version(), path / "_delta_log"
    for file in log.iterdir():  # it is as old as its files
        os.utime(file, (0, 0))
    for number in range(20, 102):
        append(path, number, rows=1)
    # Each hundredth commit makes a checkpoint and drops the log up to the last one that is old enough.
    assert min(int(file.stem) for file in log.glob("*.json")) >= old
    assert delta.last_batch(path, "app") == 101
    assert len(offsets(path)) == 101


def test_a_merged_table_keeps_its_keys_and_its_small_files(tables: Path) -> None:
    path = tables / "per_minute"
    for start in range(0, 30_000, 6_000):
        rows = [{**minute(n), "revenue": random.Random(n).randrange(10**12)} for n in range(start, start + 6_000)]
        delta.correct(path, PER_MINUTE, rows, [], None)
    keep(path, LONG)
    delta.correct(path, PER_MINUTE, [minute(29_999, 7)], [minute(0)], None)
    rows = DeltaTable(str(path)).to_pyarrow_table().to_pylist()
    assert {row["window_start"]: row["units"] for row in rows} == {
        DAY + timedelta(minutes=n): 7 if n == 29_999 else 1 for n in range(1, 30_000)
    }
    sizes = pa.table(DeltaTable(str(path)).get_add_actions())["size_bytes"].to_pylist()
    assert max(sizes) < 1.5 * 1024 * 1024, "a merge rewrites the newest file or two, not the table"


@pytest.mark.parametrize("after", ["declare", "compact", "vacuum"])
def test_a_kill_after_each_step_changes_no_row(tables: Path, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tables / "rejected"
    for number in range(1, 13):
        append(path, number)
    step: Callable[..., None] = getattr(keeping, after)

    def killed(*arguments: Any) -> None:
        step(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeping, after, killed)
        with pytest.raises(KeyboardInterrupt):
            keep(path, 0)
    append(path, 13)
    keep(path, 0)
    assert offsets(path) == [number * 100 + row for number in range(1, 14) for row in range(3)]
    assert delta.last_batch(path, "app") == 13


# --- whose turn it is


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(keeping, "keep", lambda path, seconds: seen.append((path.name, seconds)))
    return seen


def test_each_table_has_its_turn_once_in_the_time_that_is_set(kept: list[tuple[str, int]]) -> None:
    clock = Clock()
    settings = KeepingSettings(every_minutes=10, versions_hours=0.5)
    keeper = Keeper([Path(name) for name in "abcd"], settings, clock)
    for second in range(1, 1201):
        clock.now = second
        if keeper.is_due():
            keeper.turn()
    assert kept == [(name, 1800) for name in "abcdabcd"]


def test_never(kept: list[tuple[str, int]]) -> None:
    clock = Clock()
    keeper = Keeper([Path("a")], KeepingSettings(every_minutes=0), clock)
    clock.now = 1e9
    assert not keeper.is_due()
    keeper.round()
    assert kept == []


def test_a_table_that_cannot_be_tidied_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def refused(path: Path, _: int) -> None:
        seen.append(path.name)
        if path.name == "a":
            raise CommitFailedError("somebody else was first")

    monkeypatch.setattr(keeping, "keep", refused)
    Keeper([Path("a"), Path("b")], KeepingSettings(), Clock()).round()
    assert seen == ["a", "b"]
    assert "a can't be tidied now: somebody else was first" in caplog.text
