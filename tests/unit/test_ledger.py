"""The ledger alone: what counts, what it adds up to, and that a batch is counted whole or not at all."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ledger import (
    SATURATION,
    Batch,
    Change,
    Ledger,
    Sheet,
    Verdict,
    moment,
    partition_and_offset,
    position,
)

MINUTE = 60_000_000
TOTALS = Sheet("totals", keys=("product",), sums=("quantity", "revenue"), counts=("orders",))
MINUTES = Sheet(
    "per_minute", keys=("window_start", "category"), sums=("units",), counts=("orders",), window=timedelta(minutes=1)
)
SHEETS = (TOTALS, MINUTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "sales.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(path, SHEETS)
    yield opened
    opened.close()


def digest(text: str) -> bytes:
    return md5(text.encode()).digest()


def arrived(*events: tuple[str, int, int]) -> pa.Table:
    """Events as (id, partition, offset)."""
    return pa.table(
        {
            "id": pa.array([digest(e) for e, _, _ in events], pa.binary()),
            "position": pa.array([position(p, o) for _, p, o in events], pa.int64()),
        }
    )


def judged(ledger: Ledger, *events: tuple[str, int, int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Repeats and displaced, as (partition, offset)."""
    with ledger.transaction():
        verdict = ledger.judge(arrived(*events))
    return places(verdict.repeats), places(verdict.displaced)


def places(positions: list[int]) -> list[tuple[int, int]]:
    return sorted(map(partition_and_offset, positions))


def totals(
    *rows: tuple[str, int, int, int], orders: list[tuple[str, str, int]] | None = None, as_of: int = 1
) -> Change:
    """Rows as (product, quantity, revenue, rows), orders as (product, order, n)."""
    product, quantity, revenue, count = zip(*rows, strict=True) if rows else ((), (), (), ())
    partials = {
        "product": pa.array(product, pa.string()),
        "quantity": pa.array(quantity, pa.int64()),
        "revenue": pa.array(revenue, pa.int64()),
        "rows": pa.array(count, pa.int64()),
        "as_of": pa.array([as_of] * len(rows), pa.int64()),
    }
    members = {
        "product": pa.array([p for p, _, _ in orders or []], pa.string()),
        "member": pa.array([digest(m) for _, m, _ in orders or []], pa.binary()),
        "n": pa.array([n for _, _, n in orders or []], pa.int64()),
    }
    return Change(TOTALS, pa.table(partials), {"orders": pa.table(members)})


def minutes(*rows: tuple[int, str, int], as_of: int = 1) -> Change:
    """Rows as (minute, category, units), one record each."""
    partials = {
        "window_start": pa.array([m * MINUTE for m, _, _ in rows], pa.int64()),
        "category": pa.array([c for _, c, _ in rows], pa.string()),
        "units": pa.array([u for _, _, u in rows], pa.int64()),
        "rows": pa.array([1] * len(rows), pa.int64()),
        "as_of": pa.array([as_of] * len(rows), pa.int64()),
    }
    members = {
        "window_start": pa.array([], pa.int64()),
        "category": pa.array([], pa.string()),
        "member": pa.array([], pa.binary()),
        "n": pa.array([], pa.int64()),
    }
    return Change(MINUTES, pa.table(partials), {"orders": pa.table(members)})


def add(ledger: Ledger, *changes: Change) -> None:
    with ledger.transaction():
        for change in changes:
            ledger.add(change)


def row(ledger: Ledger, product: str = "TV") -> dict[str, Any]:
    (found,) = ledger.select(TOTALS, "product = ?", (product,))
    return found


def orders_of(ledger: Ledger, product: str = "TV") -> int:
    count: int = row(ledger, product)["orders"]
    return count


def state_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a ledger's file holds, read by another connection."""
    with sqlite3.connect(path) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        state = {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    db.close()
    return state


# --- positions and times


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (1, 0), (4095, 2**48 - 1)])
def test_a_position_gives_partition_and_offset_back(place: tuple[int, int]) -> None:
    assert partition_and_offset(position(*place)) == place


def test_positions_are_in_the_order_of_kafka() -> None:
    in_order = [(0, 0), (0, 1), (0, 2**48 - 1), (1, 0), (1, 5), (2, 3)]
    assert sorted(in_order, key=lambda place: position(*place)) == in_order


@pytest.mark.parametrize(
    ("when", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1),
        (datetime(2010, 12, 1, 8, 26, tzinfo=UTC), 1_291_191_960_000_000),
        (datetime(1, 1, 2, tzinfo=UTC), -62_135_510_400_000_000),
    ],
)
def test_times_are_microseconds_since_1970(when: datetime, micros: int) -> None:
    assert moment(micros) == when


# --- judge


def test_an_event_counts_the_first_time(ledger: Ledger) -> None:
    assert judged(ledger, ("a", 0, 0), ("b", 1, 0)) == ([], [])


def test_nothing_arrived(ledger: Ledger) -> None:
    assert judged(ledger) == ([], [])


def test_a_repeat_within_a_batch_does_not_count(ledger: Ledger) -> None:
    assert judged(ledger, ("a", 0, 5), ("b", 0, 6), ("a", 0, 7), ("a", 1, 0)) == ([(0, 7), (1, 0)], [])


def test_the_first_of_a_batch_is_by_partition_then_offset_and_not_by_arrival(ledger: Ledger) -> None:
    assert judged(ledger, ("a", 1, 0), ("a", 0, 9), ("a", 0, 8)) == ([(0, 9), (1, 0)], [])


def test_a_repeat_in_a_later_batch_does_not_count(ledger: Ledger) -> None:
    judged(ledger, ("a", 0, 0))
    assert judged(ledger, ("a", 0, 1), ("a", 1, 0)) == ([(0, 1), (1, 0)], [])


def test_an_earlier_partition_read_later_displaces(ledger: Ledger) -> None:
    judged(ledger, ("a", 1, 0), ("b", 1, 1))
    assert judged(ledger, ("a", 0, 7)) == ([], [(1, 0)])
    assert judged(ledger, ("a", 0, 8), ("a", 1, 2)) == ([(0, 8), (1, 2)], [])


def test_of_several_that_displace_only_the_first_counts(ledger: Ledger) -> None:
    judged(ledger, ("a", 2, 0))
    assert judged(ledger, ("a", 0, 4), ("a", 1, 0), ("a", 0, 3), ("a", 3, 0)) == ([(0, 4), (1, 0), (3, 0)], [(2, 0)])


def test_displaced_twice(ledger: Ledger) -> None:
    judged(ledger, ("a", 2, 0))
    assert judged(ledger, ("a", 1, 0)) == ([], [(2, 0)])
    assert judged(ledger, ("a", 0, 0)) == ([], [(1, 0)])


def test_events_are_remembered_by_a_new_ledger_on_the_file(ledger: Ledger, path: Path) -> None:
    judged(ledger, ("a", 0, 0))
    ledger.close()
    again = Ledger(path, SHEETS)
    assert judged(again, ("a", 0, 1)) == ([(0, 1)], [])
    again.close()


# --- add


def test_sums_add_up_over_batches(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 3, 300, 2), ("Radio", 1, 50, 1), as_of=10))
    add(ledger, totals(("TV", -1, -100, 1), as_of=5))
    assert {k: row(ledger)[k] for k in ("quantity", "revenue", "rows", "as_of")} == {
        "quantity": 2, "revenue": 200, "rows": 3, "as_of": 10,
    }  # fmt: skip
    assert row(ledger, "Radio")["revenue"] == 50


def test_an_empty_change_changes_nothing(ledger: Ledger, path: Path) -> None:
    before = state_of(path)
    add(ledger, totals(), minutes())
    assert state_of(path) == before


def test_keys_are_told_apart_to_the_byte(ledger: Ledger) -> None:
    names = ["TV", "tv", "TV ", "T\0V", "Größe", "Gro\u0308ße", "1", "01", "1.0", "'; DROP TABLE totals; --", "🎧"]
    add(ledger, totals(*[(name, i, 0, 1) for i, name in enumerate(names)]))
    assert {name: row(ledger, name)["quantity"] for name in names} == {name: i for i, name in enumerate(names)}


def test_a_distinct_count_goes_up_once_for_a_member(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 2), orders=[("TV", "o1", 2), ("TV", "o2", 1)]))
    assert orders_of(ledger) == 2
    add(ledger, totals(("TV", 1, 1, 2), orders=[("TV", "o1", 1), ("TV", "o3", 1)]))
    assert orders_of(ledger) == 3


def test_members_count_for_their_own_row_only(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 1), ("Radio", 1, 1, 1), orders=[("TV", "o1", 1), ("Radio", "o1", 1)]))
    assert (orders_of(ledger), orders_of(ledger, "Radio")) == (1, 1)


def test_a_distinct_count_goes_down_with_the_last_of_a_member(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 3, 3, 3), orders=[("TV", "o1", 2), ("TV", "o2", 1)]))
    add(ledger, totals(("TV", -1, -1, -1), orders=[("TV", "o1", -1)]))
    assert orders_of(ledger) == 2
    add(ledger, totals(("TV", -1, -1, -1), orders=[("TV", "o1", -1)]))
    assert orders_of(ledger) == 1
    add(ledger, totals(("TV", 1, 1, 1), orders=[("TV", "o1", 1)]))
    assert orders_of(ledger) == 2


def test_a_member_taken_back_and_given_in_one_batch_stays_one(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 1), orders=[("TV", "o1", 1)]))
    add(ledger, totals(("TV", 4, 0, 0), orders=[("TV", "o1", 0)]))
    assert orders_of(ledger) == 1
    add(ledger, totals(("TV", 0, 0, 0), orders=[("TV", "o1", -1), ("TV", "o2", 1)]))
    assert orders_of(ledger) == 1


def test_a_row_of_no_records_is_kept_until_it_is_published(ledger: Ledger, path: Path) -> None:
    add(ledger, totals(("TV", 2, 2, 1), orders=[("TV", "o1", 1)]))
    ledger.published(TOTALS, ledger.unpublished(TOTALS, 10))
    add(ledger, totals(("TV", -2, -2, -1), orders=[("TV", "o1", -1)]))
    assert ledger.select(TOTALS, "true", ()) == []
    (gone,) = ledger.unpublished(TOTALS, 10)
    assert (gone["product"], gone["rows"], gone["orders"]) == ("TV", 0, 0)
    ledger.published(TOTALS, [gone])
    assert ledger.unpublished(TOTALS, 10) == []
    assert state_of(path)["totals"] == []
    assert state_of(path)["totals_orders"] == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_saturates_and_stays_a_whole_number(ledger: Ledger, sign: int) -> None:
    for _ in range(3):
        add(ledger, totals(("TV", 1, sign * SATURATION, 1)))
    assert row(ledger)["revenue"] == sign * SATURATION
    assert isinstance(row(ledger)["revenue"], int)
    assert row(ledger)["quantity"] == 3


def test_a_large_sum_is_exact(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 2**53, 1)))
    add(ledger, totals(("TV", 1, 1, 1)))
    assert row(ledger)["revenue"] == 2**53 + 1


# --- batches


def test_a_new_ledger_has_seen_nothing(ledger: Ledger) -> None:
    assert (ledger.consumed(), ledger.counters(), ledger.pending()) == ({}, {}, None)


def test_a_batch_begun_is_pending_until_it_is_finished(ledger: Ledger, path: Path) -> None:
    batch = ledger.begin({0: 10, 1: 4})
    assert batch == Batch(1, {0: 10, 1: 4})
    assert ledger.pending() == batch
    assert ledger.consumed() == {}
    ledger.close()
    again = Ledger(path, SHEETS)
    assert again.pending() == batch
    with again.transaction():
        again.finish(batch, {"records": 12, "rejected": 2, "late": 0, "duplicates": 1}, clock=50)
    assert again.pending() is None
    assert again.consumed() == {0: 10, 1: 4}
    assert again.counters() == {"batch": 1, "records": 12, "rejected": 2, "late": 0, "duplicates": 1, "clock": 50}
    again.close()


def test_batches_are_numbered_and_counts_add_up(ledger: Ledger) -> None:
    for number, (ends, clock) in enumerate([({0: 5}, 70), ({1: 3}, None), ({0: 9, 1: 4}, 60)], start=1):
        batch = ledger.begin(ends)
        assert batch.number == number
        with ledger.transaction():
            ledger.finish(batch, {"records": 3, "rejected": number}, clock)
    assert ledger.consumed() == {0: 9, 1: 4}
    assert ledger.counters() == {"batch": 3, "records": 9, "rejected": 6, "clock": 70}


def test_a_second_batch_cannot_begin_before_the_first_is_finished(ledger: Ledger) -> None:
    batch = ledger.begin({0: 10})
    with pytest.raises(sqlite3.IntegrityError):
        ledger.begin({0: 12})
    assert ledger.pending() == batch


@pytest.mark.parametrize("clock", [-62_000_000_000_000_000, -1, 0])
def test_a_clock_before_1970(ledger: Ledger, clock: int) -> None:
    with ledger.transaction():
        ledger.finish(Batch(1, {0: 1}), {}, clock)
    assert ledger.counters()["clock"] == clock


# --- publishing and windows


def test_what_changes_is_unpublished_until_it_is_published(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 1), ("Radio", 1, 1, 1)))
    first = ledger.unpublished(TOTALS, 1)
    assert len(first) == 1
    ledger.published(TOTALS, first)
    (second,) = ledger.unpublished(TOTALS, 10)
    assert {first[0]["product"], second["product"]} == {"TV", "Radio"}
    ledger.published(TOTALS, [second])
    assert ledger.unpublished(TOTALS, 10) == []
    assert len(ledger.select(TOTALS, "true", ())) == 2
    add(ledger, totals(("TV", 0, 5, 0)))
    assert [changed["product"] for changed in ledger.unpublished(TOTALS, 10)] == ["TV"]


def test_a_count_that_changes_alone_is_unpublished(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 1)))
    ledger.published(TOTALS, ledger.unpublished(TOTALS, 10))
    add(ledger, totals(orders=[("TV", "o1", 1)]))
    assert [changed["orders"] for changed in ledger.unpublished(TOTALS, 10)] == [1]


def starts(rows: list[dict[str, Any]]) -> list[int]:
    return [found["window_start"] // MINUTE for found in rows]


def open_and_final(ledger: Ledger) -> tuple[list[int], list[int]]:
    rows = ledger.select(MINUTES, "true", ())
    return starts([r for r in rows if not r["is_final"]]), starts([r for r in rows if r["is_final"]])


def test_a_window_is_final_when_the_watermark_is_at_its_end(ledger: Ledger) -> None:
    add(ledger, minutes((-2, "a", 1), (-1, "a", 1), (0, "a", 1), (1, "a", 1)))
    with ledger.transaction():
        ledger.close_windows(0)
    assert open_and_final(ledger) == ([0, 1], [-2, -1])
    with ledger.transaction():
        ledger.close_windows(MINUTE - 1)
    assert open_and_final(ledger) == ([0, 1], [-2, -1])
    with ledger.transaction():
        ledger.close_windows(MINUTE)
    assert open_and_final(ledger) == ([1], [-2, -1, 0])


def test_closing_marks_only_what_it_closes_as_unpublished(ledger: Ledger) -> None:
    add(ledger, minutes((0, "a", 1), (1, "a", 1)))
    ledger.published(MINUTES, ledger.unpublished(MINUTES, 10))
    with ledger.transaction():
        ledger.close_windows(MINUTE)
    assert starts(ledger.unpublished(MINUTES, 10)) == [0]
    ledger.published(MINUTES, ledger.unpublished(MINUTES, 10))
    with ledger.transaction():
        ledger.close_windows(MINUTE)
    assert ledger.unpublished(MINUTES, 10) == []


def test_a_late_row_changes_a_final_window_which_stays_final(ledger: Ledger) -> None:
    add(ledger, minutes((0, "a", 1)))
    with ledger.transaction():
        ledger.close_windows(10 * MINUTE)
    ledger.published(MINUTES, ledger.unpublished(MINUTES, 10))
    add(ledger, minutes((0, "a", 4)))
    (changed,) = ledger.unpublished(MINUTES, 10)
    assert (changed["units"], bool(changed["is_final"])) == (5, True)


def test_a_sheet_without_windows_is_never_closed(ledger: Ledger) -> None:
    add(ledger, totals(("TV", 1, 1, 1)))
    ledger.published(TOTALS, ledger.unpublished(TOTALS, 10))
    with ledger.transaction():
        ledger.close_windows(2**60)
    assert ledger.unpublished(TOTALS, 10) == []


def test_final_windows_retire_once(ledger: Ledger) -> None:
    add(ledger, minutes((0, "a", 1), (1, "a", 1), (1, "b", 1), (2, "a", 1), (9, "a", 1)))
    with ledger.transaction():
        ledger.close_windows(3 * MINUTE)
    assert starts(ledger.retired(MINUTES, 2 * MINUTE)) == [0, 1, 1]
    assert starts(ledger.retired(MINUTES, 2 * MINUTE)) == [0, 1, 1]
    ledger.retire(MINUTES, 2 * MINUTE)
    assert ledger.retired(MINUTES, 2 * MINUTE) == []
    assert starts(ledger.retired(MINUTES, 100 * MINUTE)) == [2]
    assert open_and_final(ledger) == ([9], [0, 1, 1, 2])


# --- a transaction is whole


def a_batch(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.judge(arrived(("a", 0, 1), ("new", 0, 2), ("new", 0, 3)))
        ledger.add(
            totals(("TV", 5, 5, 1), ("Radio", 1, 1, 1), orders=[("TV", "o1", -1), ("TV", "o2", 1), ("Radio", "o3", 1)])
        )
        ledger.add(minutes((0, "a", 1), (5, "a", 1)))
        ledger.finish(Batch(2, {0: 4}), {"records": 2, "duplicates": 1}, 9 * MINUTE)
        ledger.close_windows(8 * MINUTE)


class Faulty:
    """A connection whose n-th statement fails, before it or after it ran."""

    def __init__(self, db: sqlite3.Connection, fails_at: int, after: bool) -> None:
        self._db, self._fails_at, self._after, self.statements = db, fails_at, after, 0

    def _run(self, what: Callable[[], Any], statement: str) -> Any:
        if statement in ("BEGIN IMMEDIATE", "ROLLBACK", "COMMIT"):
            return what()
        self.statements += 1
        if self.statements == self._fails_at and not self._after:
            raise KeyboardInterrupt
        done = what()
        if self.statements == self._fails_at:
            raise KeyboardInterrupt
        return done

    def execute(self, statement: str, *values: Any) -> Any:
        return self._run(lambda: self._db.execute(statement, *values), statement)

    def executemany(self, statement: str, *values: Any) -> Any:
        return self._run(lambda: self._db.executemany(statement, *values), statement)

    def close(self) -> None:
        self._db.close()


def prepared(path: Path) -> Ledger:
    ledger = Ledger(path, SHEETS)
    with ledger.transaction():
        ledger.judge(arrived(("a", 1, 0)))
        ledger.add(totals(("TV", 1, 1, 1), orders=[("TV", "o1", 1)]))
        ledger.add(minutes((0, "a", 1)))
        ledger.finish(Batch(1, {1: 1}), {"records": 1}, MINUTE)
    ledger.begin({0: 4})
    return ledger


def test_a_batch_that_fails_anywhere_leaves_no_trace_and_can_be_done_again(tmp_path: Path) -> None:
    clean = prepared(tmp_path / "clean.db")
    counted = Faulty(clean._db, 0, after=False)
    clean._db = counted  # type: ignore[assignment]
    a_batch(clean)
    clean.close()
    expected = state_of(tmp_path / "clean.db")
    assert counted.statements > 10

    for fails_at in range(1, counted.statements + 1):
        for after in (False, True):
            path = tmp_path / f"{fails_at}-{after}.db"
            ledger = prepared(path)
            before = state_of(path)
            whole = ledger._db
            ledger._db = Faulty(whole, fails_at, after)  # type: ignore[assignment]
            with pytest.raises(KeyboardInterrupt):
                a_batch(ledger)
            ledger._db = whole
            assert state_of(path) == before
            a_batch(ledger)
            ledger.close()
            assert state_of(path) == expected


def test_a_connection_lost_before_the_commit_leaves_no_trace(path: Path) -> None:
    ledger = prepared(path)
    before = state_of(path)
    ledger._db.execute("BEGIN IMMEDIATE")
    ledger.judge(arrived(("new", 0, 2)))
    ledger.add(totals(("TV", 5, 5, 1)))
    ledger.close()
    assert state_of(path) == before


# --- any order, any batches


Record = tuple[str, int, int, str, str | None, int]
"""event, partition, offset, product, order (none: a return), quantity"""


def changes(records: list[Record], verdict: Verdict, earlier: dict[int, Record]) -> Iterator[Change]:
    """What the archive would add for a judged batch, worked out row by row."""
    repeats = set(verdict.repeats)
    signed = [(1, r) for r in records if position(r[1], r[2]) not in repeats]
    signed += [(-1, earlier[p]) for p in verdict.displaced]
    rows: dict[str, list[int]] = {}
    orders: dict[tuple[str, str], int] = {}
    for sign, (_, _, _, product, order, quantity) in signed:
        sums = rows.setdefault(product, [0, 0, 0])
        sums[0] += sign * quantity
        sums[1] += sign * quantity * 100
        sums[2] += sign
        if order:
            orders[product, order] = orders.get((product, order), 0) + sign
    if rows:
        yield totals(
            *[(product, *sums) for product, sums in rows.items()],  # type: ignore[misc]
            orders=[(product, order, n) for (product, order), n in orders.items()],
        )


def by_definition(records: list[Record]) -> dict[str, tuple[int, int, int]]:
    """Quantity, revenue and orders of each product over the first of each event by partition and offset."""
    first: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (r[1], r[2])):
        first.setdefault(record[0], record)
    out: dict[str, tuple[int, int, int]] = {}
    for product in {r[3] for r in first.values()}:
        mine = [r for r in first.values() if r[3] == product]
        quantity = sum(r[5] for r in mine)
        out[product] = (quantity, quantity * 100, len({r[4] for r in mine if r[4]}))
    return out


@st.composite
def interleaved(draw: st.DrawFn) -> list[list[Record]]:
    """Records in batches: each partition in its own order, the partitions in any interleaving."""
    partitions = draw(
        st.lists(
            st.lists(
                st.tuples(
                    st.sampled_from("abcdefgh"),
                    st.sampled_from(["TV", "Radio", "PC"]),
                    st.sampled_from(["o1", "o2", "o3", None]),
                    st.integers(-3, 3).filter(bool),
                ),
                max_size=12,
            ),
            min_size=1,
            max_size=3,
        )
    )
    queues = [
        [(event, partition, offset, product, order, n) for offset, (event, product, order, n) in enumerate(rows)]
        for partition, rows in enumerate(partitions)
    ]
    batches: list[list[Record]] = [[]]
    while waiting := [queue for queue in queues if queue]:
        batches[-1].append(draw(st.sampled_from(waiting)).pop(0))
        if draw(st.booleans()):
            batches.append([])
    return batches


@settings(max_examples=100, deadline=None, database=None)
@given(batches=interleaved())
def test_any_split_into_batches_ends_in_the_same_figures(batches: list[list[Record]]) -> None:
    ledger = Ledger(":memory:", SHEETS)
    earlier: dict[int, Record] = {}
    duplicates = 0
    for batch in batches:
        earlier |= {position(r[1], r[2]): r for r in batch}
        with ledger.transaction():
            verdict = ledger.judge(arrived(*[(r[0], r[1], r[2]) for r in reversed(batch)]))
            for change in changes(batch, verdict, earlier):
                ledger.add(change)
        duplicates += len(verdict.repeats) + len(verdict.displaced)
    found = {r["product"]: (r["quantity"], r["revenue"], r["orders"]) for r in ledger.select(TOTALS, "true", ())}
    ledger.close()
    everything = [record for batch in batches for record in batch]
    assert found == by_definition(everything)
    assert duplicates == len(everything) - len({record[0] for record in everything})
