"""The archive with real Spark and Delta: its tables equal pandas over ``records``, whenever it died.

Messages are literal or drawn by a seeded generator; what each table is to hold is worked out row by row from what
``records`` holds (``tests.sales_reference``), and ``records`` itself from what was sent.
"""

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from headwater import archive as archive_module
from headwater import delta, views
from headwater.contracts.sales import SALES
from headwater.settings import Settings
from jobs.sales import DAILY, JOB, VIEWS
from tests.archives import Killed, Killer, Setup, Topic, set_up
from tests.sales_reference import TABLES, Rows, expected_tables, keyed

DAY = datetime(2010, 12, 1, tzinfo=UTC)
ARRIVED = datetime(2026, 5, 4, 12, tzinfo=UTC)


def sale(event_id: str | None, at: datetime | None, product: str, quantity: int, price: str, **optional: Any) -> str:
    given = {"event_id": event_id, "event_time": at and at.isoformat(), **optional}
    members = {name: value for name, value in given.items() if value is not None}
    return json.dumps({"product": product, "quantity": quantity, "price": price, **members})


@pytest.fixture
def setup(spark: SparkSession, settings: Settings) -> Iterator[Setup]:
    with set_up(spark, settings, JOB) as made:
        yield made


def csv_rows(setup: Setup) -> list[dict[str, str]]:
    folder, rows = setup.settings.csv("sales"), []
    for path in sorted(folder.glob("*")):
        assert path.suffix == ".csv", "half-written"
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            assert reader.fieldnames == ["date", "product", "quantity", "revenue", "orders", "returns"]
            found = list(reader)
        assert {row["date"] for row in found} == {path.stem.removeprefix("totals-")}
        # What a spreadsheet would run has an apostrophe in front.
        assert not any(row["product"].startswith(("=", "+", "-", "@")) for row in found)
        rows += [{**row, "product": row["product"].removeprefix("'")} for row in found]
    return rows


def assert_account_closes(setup: Setup) -> None:
    """Each position once, in ``records`` or in ``rejected``."""
    found = [(row["partition"], row["offset"]) for name in ("records", "rejected") for row in setup.table(name)]
    assert sorted(found) == sorted(setup.topic.positions())


def assert_tables(setup: Setup) -> dict[str, Rows]:
    """Every table equals pandas over ``records``, in every sink."""
    records = setup.table("records")
    expected = expected_tables(records)
    for name in TABLES:
        assert keyed(name, setup.table(name)) == expected[name], name
    assert keyed("daily", csv_rows(setup)) == expected["daily"]  # type: ignore[arg-type]

    clock = max((row["event_time"] for row in records), default=DAY)
    watermark = clock - timedelta(seconds=setup.settings.jobs.watermark_seconds)
    horizon = clock - timedelta(hours=setup.settings.jobs.processed_window_hours)
    for name in TABLES:
        rows = setup.table(name)
        if name.startswith("per_minute"):
            for row in rows:
                assert row["window_end"] - row["window_start"] == timedelta(minutes=1)
                assert row["is_final"] == (row["window_end"] <= watermark), (name, row)
            rows = [row for row in rows if row["window_start"] >= horizon]
        published = list(setup.processed.of(name).values())
        assert keyed(name, published) == keyed(name, rows), name
        if name.startswith("per_minute"):
            finals = {(row["window_start"], row.get("category")): row["is_final"] for row in rows}
            for value in published:
                start = datetime.fromisoformat(value["window_start"])
                assert value["is_final"] == finals[start, value.get("category")]
    return expected


def assert_exact(setup: Setup) -> None:
    """The batch computation that the project calls the definition says the same."""
    expected = expected_tables(setup.table("records"))
    records = setup.spark.read.format("delta").load(str(setup.settings.delta("sales", "records")))
    for view in VIEWS:
        name = view.table.name
        assert keyed(name, views.exact(records, view).toArrow().to_pylist()) == expected[name], name
    assert keyed("daily", views.exact(records, DAILY).toArrow().to_pylist()) == expected["daily"]


def assert_counters(setup: Setup) -> dict[str, int]:
    assert setup.archive
    counters = setup.archive.counters()
    records = setup.table("records")
    assert counters.get("records", 0) == len(records)
    assert counters.get("rejected", 0) == len(setup.table("rejected"))
    assert counters.get("duplicates", 0) == len(records) - len({row["event_id"] for row in records})
    return counters


# --- literal batches


def at(minute: int, second: int = 0) -> datetime:
    return DAY + timedelta(minutes=minute, seconds=second)


def test_rows_worked_out_by_hand(setup: Setup) -> None:
    """Two batches: a doubled event, one displaced by an earlier partition, a return, a missing order, a late row."""
    uk = {"country": "United Kingdom", "category": "Garden"}
    setup.topic.send(
        1,
        sale("a", at(500), "LANTERN", 6, "3.39", order_id="o1", **uk),  # displaced below
        sale("b", at(500, 59), "LANTERN", 1, "0.10", order_id="o1", **uk),
        sale("b", at(500, 59), "LANTERN", 1, "0.10", order_id="o1", **uk),  # doubled
        sale("c", at(501), "LANTERN", -2, "3.39", order_id="C1"),  # a return, of no known country
        "not json",
    )
    setup.take()
    assert keyed("totals", setup.table("totals")) == {("LANTERN",): (5, Decimal("13.66"), 1, 2)}
    assert_tables(setup)

    setup.topic.send(
        0,
        sale("a", at(502), "MUG", 10, "1.00", order_id="o9", **uk),  # the same event, earlier in Kafka's order
        sale(None, at(530), "MUG", 1, "0.2", **uk),  # its own order
        sale(None, at(530), "MUG", 1, "0.2", **uk),  # another event and order
        '{"quantity": 1, "price": 1}',
    )
    setup.take({1: 5})
    assert keyed("totals", setup.table("totals")) == {
        ("LANTERN",): (-1, Decimal("-6.68"), 1, 2),
        ("MUG",): (12, Decimal("10.40"), 3, 0),
    }
    assert keyed("by_country", setup.table("by_country")) == {
        ("United Kingdom",): (13, Decimal("10.50"), 4, 0),
        ("unknown",): (-2, Decimal("-6.78"), 0, 2),
    }
    assert keyed("per_minute", setup.table("per_minute")) == {
        (at(500).isoformat(),): (1, Decimal("0.10"), 1, Decimal("0.10")),
        (at(501).isoformat(),): (-2, Decimal("-6.78"), 0, None),
        (at(502).isoformat(),): (10, Decimal("10.00"), 1, Decimal("10.00")),
        (at(530).isoformat(),): (2, Decimal("0.40"), 2, Decimal("0.20")),
    }
    finals = {row["window_start"]: row["is_final"] for row in setup.table("per_minute")}
    assert finals == {at(500): True, at(501): True, at(502): True, at(530): False}
    assert_tables(setup)
    assert_exact(setup)
    assert_account_closes(setup)
    assert assert_counters(setup)["duplicates"] == 2

    # 08:20 is late: 08:50 has been seen, and a window waits ten minutes
    setup.topic.send(0, sale("late", at(500), "MUG", 1, "2", **uk), sale("early", at(520), "MUG", 1, "2", **uk))
    setup.take({0: 4, 1: 5})
    assert keyed("per_minute", setup.table("per_minute"))[(at(500).isoformat(),)][:3] == (2, Decimal("2.10"), 2)
    assert_tables(setup)
    assert assert_counters(setup)["late"] == 1


def test_an_event_that_is_displaced_leaves_no_row_behind(setup: Setup) -> None:
    setup.topic.send(1, sale("a", at(1), "LANTERN", 1, "1", country="France", category="Garden"))
    setup.take()
    assert len(csv_rows(setup)) == 1
    setup.topic.send(0, sale("a", at(3000), "MUG", 1, "1", country="Spain", category="Kitchen"))
    setup.take({1: 1})
    assert [row["product"] for row in setup.table("totals")] == ["MUG"]
    assert [row["country"] for row in setup.table("by_country")] == ["Spain"]
    assert [row["window_start"] for row in setup.table("per_minute")] == [at(3000)]
    assert [row["date"] for row in csv_rows(setup)] == ["2010-12-03"]
    assert setup.processed.rows["totals:LANTERN"] is None
    assert_tables(setup)
    assert len(setup.table("records")) == 2


def test_empty_batches_and_rejected_ones(setup: Setup) -> None:
    before = setup.versions()
    setup.take()
    assert setup.versions() == before
    setup.topic.send(0, "not json", None, b"\xff")
    begun = datetime.now(UTC)
    setup.take()
    assert all(begun <= row["rejected_at"] <= datetime.now(UTC) for row in setup.table("rejected"))
    assert {name: len(setup.table(name)) for name in ("records", "rejected", "totals")} == {
        "records": 0, "rejected": 3, "totals": 0,
    }  # fmt: skip
    setup.topic.send(1, sale("a", at(0), "MUG", 1, "1"))
    begun = datetime.now(UTC)
    setup.take({0: 3})
    assert all(begun <= row["processed_at"] <= datetime.now(UTC) for row in setup.table("records"))
    setup.topic.send(1, "{}")
    setup.take({0: 3, 1: 1})
    assert_tables(setup)
    assert_account_closes(setup)
    assert_counters(setup)


def test_a_record_dated_1500_and_one_of_year_1(setup: Setup) -> None:
    old, oldest = datetime(1500, 2, 28, 1, 2, 3, tzinfo=UTC), datetime(1, 6, 1, tzinfo=UTC)
    setup.topic.send(0, sale("old", old, "MUG", 1, "1", category="Kitchen"), sale("oldest", oldest, "MUG", 1, "1"))
    setup.take()
    assert sorted(row["event_time"] for row in setup.table("records")) == [oldest, old]
    setup.topic.send(1, sale("new", at(0), "MUG", 1, "1", category="Kitchen"), sale("old", old, "MUG", 5, "1"))
    setup.take({0: 2})
    setup.topic.send(0, sale("older", old, "MUG", 1, "1", category="Kitchen"))
    setup.take({0: 2, 1: 2})
    assert [row["window_start"] for row in setup.table("per_minute")].count(old.replace(second=0)) == 1
    assert {row["date"] for row in csv_rows(setup)} == {"0001-06-01", "1500-02-28", "2010-12-01"}
    assert_tables(setup)
    assert_exact(setup)


def test_names_that_need_care_in_keys_and_files(setup: Setup) -> None:
    names = ["TV", "tv", "TV ", 'a "b", c', "two\nlines", "x|y", "1", "=1+1", "Größe", "Gro\u0308ße", "🎧", "O'Neill"]
    setup.topic.send(0, *[sale(f"n{i}", at(0), name, 1, "1", category=name) for i, name in enumerate(names)])
    setup.take()
    setup.topic.send(1, *[sale(f"m{i}", at(0), name, 1, "1", category=name) for i, name in enumerate(names)])
    setup.take({0: len(names)})
    assert {row["product"] for row in setup.table("totals")} == set(names)
    assert_tables(setup)


def test_the_largest_sales_do_not_stop_the_archive(setup: Setup) -> None:
    """Two of them are more than DECIMAL(18,4) holds."""
    setup.topic.send(0, *[sale(f"e{i}", at(0), "GOLD", 1_000_000, "99999999", order_id="o") for i in range(2)])
    setup.take()
    setup.topic.send(0, sale("small", at(0), "MUG", 1, "1"))
    setup.take({0: 2})
    totals = {row["product"]: (row["quantity"], row["revenue"]) for row in setup.table("totals")}
    assert totals == {"GOLD": (2_000_000, None), "MUG": (1, Decimal(1))}
    setup.topic.send(0, sale("back", at(0), "GOLD", -1_000_000, "99999999", order_id="o"))
    setup.take({0: 3})
    assert {row["product"]: row["revenue"] for row in setup.table("totals")}["GOLD"] == Decimal("99999999000000")
    assert_tables(setup)


def test_an_average_is_rounded_once(setup: Setup) -> None:
    """50 ten-thousandths over 101 orders are 0.495 of one: rounded to six decimals first, it would be a half."""
    setup.topic.send(
        0, sale("e", at(0), "MUG", 1, "0.0050"), *[sale(f"f{i}", at(0), "MUG", 1, "0") for i in range(100)]
    )
    setup.take()
    (row,) = setup.table("per_minute")
    assert (row["orders"], row["average_order_value"]) == (101, Decimal("0.0000"))
    assert_tables(setup)
    assert_exact(setup)


# --- killed between any two writes


@dataclass
class Shop:
    """Sales with everything that goes wrong: doubled and displaced events, late ones, returns, garbage."""

    topic: Topic
    random: random.Random
    sent: int = 0

    def send(self, count: int) -> None:
        draw = self.random
        self.topic.send(0, "not json")
        for _ in range(count):
            self.sent += 1
            partition = draw.randrange(2)
            if draw.random() < 0.1:
                self.topic.send(partition, draw.choice(["{", '{"product": "TV"}', b"\xff\xfe"]))
                continue
            repeated = draw.random() < 0.3
            minute = self.sent * 2 - draw.choice([0, 0, 1, 30, 1500])
            self.topic.send(
                partition,
                sale(
                    f"e{draw.randrange(max(1, self.sent - 20), self.sent + 1) if repeated else self.sent}",
                    at(minute, draw.randrange(60)),
                    draw.choice(["TV", "Radio", "Mug"]),
                    draw.choice([1, 2, 3, -1]),
                    draw.choice(["0.1", "0.2", "19.99", "3.3333"]),
                    order_id=draw.choice([None, f"o{self.sent // 3}", "o1"]),
                    country=draw.choice([None, "France", "Spain"]),
                    category=draw.choice([None, "Audio", "Kitchen"]),
                ),
            )


def test_a_rerun_adds_nothing(setup: Setup) -> None:
    Shop(setup.topic, random.Random(1)).send(60)
    setup.take()
    before, rows = setup.versions(), dict(setup.processed.rows)
    setup.take()
    setup.open()
    setup.take()
    assert setup.versions() == before
    assert setup.processed.rows == rows
    assert_tables(setup)
    assert_account_closes(setup)
    assert_counters(setup)
    assert_exact(setup)


RESTARTS = ("the same batch", "a wider batch", "the checkpoint lost")


@pytest.mark.timeout(900)
def test_killed_between_any_two_writes(setup: Setup, killer: Killer) -> None:
    shop = Shop(setup.topic, random.Random(2))
    shop.send(20)
    setup.take()
    point, killed_at = 0, []
    while True:
        start = setup.topic.ends()
        shop.send(8)
        end = setup.topic.ends()
        killer.arm(point)
        try:
            setup.take(start)
        except Killed:
            killed_at.append(killer.seen[-1] if killer.seen else "nothing")
        else:
            killer.arm(None)
            break
        killer.arm(None)
        setup.open()
        restart = RESTARTS[point % len(RESTARTS)]
        if restart != "the same batch":
            shop.send(4)
        setup.take(start if restart != "the checkpoint lost" else None, end if restart == "the same batch" else None)
        try:
            assert_account_closes(setup)
            assert_tables(setup)
        except AssertionError as error:
            error.add_note(f"killed after {killed_at[-1]} (write {point}), then {restart}")
            raise
        point += 1
    assert {"nothing", "begin", "append", "judge", "finish", "close_windows", "correct", "published"} <= set(killed_at)
    # A batch waits for Kafka once, which the points above may step over.
    start = setup.topic.ends()
    shop.send(8)
    killer.arm_at("flush")
    with pytest.raises(Killed):
        setup.take(start)
    killer.arm(None)
    setup.open()
    setup.take(start)
    assert_tables(setup)
    assert "write_csv" in killed_at
    assert_counters(setup)
    assert_exact(setup)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", range(6), ids=["nothing", "begin", "records", "rejected", "judge", "finish"])
def test_a_lost_ledger_is_built_again_from_the_tables(setup: Setup, killer: Killer, point: int) -> None:
    """Lost at rest and lost in the middle of a batch, with Spark's checkpoint there or gone."""
    shop = Shop(setup.topic, random.Random(3))
    shop.send(20)
    setup.take()
    start = setup.topic.ends()
    shop.send(8)
    killer.arm(point)
    with pytest.raises(Killed):
        setup.take(start)
    killer.arm(None)
    setup.lose_ledger()
    setup.open()
    setup.take(start if point % 2 else None)
    assert_account_closes(setup)
    assert_tables(setup)
    assert_counters(setup)


def test_a_ledger_older_than_the_tables_is_refused(setup: Setup, tmp_path: Path) -> None:
    """Put back from a backup, it would count again what the tables hold already."""
    shop = Shop(setup.topic, random.Random(4))
    shop.send(5)
    setup.take()
    assert setup.archive
    setup.archive.close()
    path = setup.settings.ledger("sales")
    backup = path.read_bytes()
    setup.open()
    start = setup.topic.ends()
    shop.send(5)
    setup.take(start)
    setup.lose_ledger()
    path.write_bytes(backup)
    with pytest.raises(archive_module.ArchiveError, match=r"sales.*ledger"):
        setup.open()


# --- cost


def rewritten(path: Path) -> tuple[int, int]:
    """Files and bytes that the last commit of a table took away and put in their place."""
    log = sorted((path / "_delta_log").glob("*.json"))[-1]
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    removed = [action["remove"] for action in actions if "remove" in action]
    added = [action["add"] for action in actions if "add" in action]
    return len(removed), sum(file["size"] for file in added)


def test_a_correction_costs_the_same_after_many_windows(settings: Settings) -> None:
    """Two hundred thousand windows in ten files, then live corrections, and one of each file: none touches them all."""
    delta.create_tables(SALES, settings.delta("sales", "records").parent)
    path, table = settings.delta("sales", "per_minute"), SALES.table("per_minute")
    draw = random.Random(5)

    def correct(first: int, count: int) -> tuple[int, int]:
        rows = [
            {
                "window_start": at(m), "window_end": at(m + 1), "is_final": False, "orders": m % 7, "units": m % 11,
                "revenue": Decimal(draw.randrange(10**9)) / 10_000, "average_order_value": Decimal(m % 13),
            }
            for m in range(first, first + count)
        ]  # fmt: skip
        delta.correct(path, table, rows, [])
        return rewritten(path)

    for step in range(10):
        correct(step * 20_000, 20_001)
    files = len(DeltaTable(str(path)).file_uris())
    assert files >= 5
    costs = [correct(200_000 + step, 2) for step in range(40)]
    costs += [correct(step * 20_000 + 10_000, 1) for step in range(10)]
    assert max(removed for removed, _ in costs) <= 2
    # A file or two of the target size, whether the newest window stands in a small file or in one that is nearly full.
    assert max(size for _, size in costs) <= 2 * 1024 * 1024
    # A file over its target size is split when it is rewritten, and no more after that: fifty corrections don't leave
    # fifty files behind. Where delta-rs cuts differs from run to run; 8 to 10 files became 11 to 19.
    assert len(DeltaTable(str(path)).file_uris()) <= 3 * files
    assert DeltaTable(str(path)).to_pyarrow_table().num_rows == 200_041
