"""The book of a fold: whatever comes in whatever batches, rows and states are those of the records in their order."""

import itertools
import json
import random
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime
from pyspark.sql import functions as F

from headwater import folds
from headwater.contracts.base import Money, Row, Table, Window
from headwater.folds import Fold, FoldBook, Out, Rollup

PATIENCE = 100
SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Record = tuple[str, int, int, str]
"""Key, time, position, text."""


class Pair(Row):
    """A record and the one before it; there for good."""

    name: str
    position: int
    happened: AwareDatetime
    before: str


class Newest(Row):
    """A key's newest record."""

    name: str
    text: str
    worth: Money
    is_silent: bool


class Second(Window):
    """What a second holds."""

    keys: int
    records: int


PAIRS = Table("pairs", Pair, key=("name", "position"), description="", time="happened")
NEWEST = Table("newest", Newest, key=("name",), description="")
SECONDS = Table("seconds", Second, key=("window_start",), description="")

State = dict[str, Any]


def step(state: State, key: str, at: int, values: tuple[Any, ...]) -> Iterator[Out]:
    """Remembers two records back, so that soon after a late one the state is what it was."""
    text, position = values
    if state["texts"]:
        yield "pairs", {"name": key, "position": position, "happened": at, "before": "".join(state["texts"])}
    start = at - at % SECOND
    if state["second"] and state["second"][0] != start:
        yield _part(state)
        state["second"] = None
    state["second"] = [start, state["second"][1] + 1 if state["second"] else 1]
    state["texts"] = [*state["texts"], text][-2:]
    state["last"] = at


def _part(state: State) -> Out:
    return "part", {"window_start": state["second"][0], "records": state["second"][1]}


def fold(version: str = "1", mark: str = "") -> Fold[State]:
    """Pairs end with each record; the newest record and the part of the last second follow from the state."""

    def rows(key: str, state: State, silences: int) -> Iterator[Out]:
        yield "newest", {"name": key, "text": state["texts"][-1] + mark, "worth": 12_500, "is_silent": silences > 0}
        yield _part(state)

    def total(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        parts = list(parts)
        return [{"keys": len(parts), "records": sum(part["records"] for part in parts)}]

    return Fold(
        name="walk",
        key=lambda: F.col("key"),
        columns={"text": lambda: F.col("text"), "place": lambda: F.col("place")},
        tables=(PAIRS, NEWEST),
        rollups=(Rollup(SECONDS, "part", "1 second", total),),
        version=version,
        start=lambda: {"texts": [], "second": None, "last": None},
        step=step,
        dump=lambda state: json.dumps(state).encode(),
        load=json.loads,
        due=lambda state: (state["last"] + PATIENCE,),
        rows=rows,
    )


def expected(records: list[Record]) -> dict[str, dict[Any, Any]]:
    """The tables, worked out from all records at once."""
    pairs: dict[Any, Any] = {}
    newest: dict[Any, Any] = {}
    seconds: dict[Any, Any] = {}
    for key, of_key in itertools.groupby(sorted(records, key=lambda r: r[:3]), key=lambda r: r[0]):
        ordered = list(of_key)
        for n, (_, at, position, text) in enumerate(ordered):
            if n:
                pairs[key, position] = (moment(at), "".join(r[3] for r in ordered[max(0, n - 2) : n]))
            newest[key] = (text, Decimal("1.25"), False)
            second = seconds.setdefault(moment(at - at % SECOND), [set(), 0])
            second[0].add(key)
            second[1] += 1
    return {"pairs": pairs, "newest": newest, "seconds": {at: (len(keys), n) for at, (keys, n) in seconds.items()}}


def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


@pytest.fixture(autouse=True, scope="module")
def short_distances() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "NOTED_EVERY", 3)
        yield


def book_of(made: Fold[State] | None = None) -> FoldBook[State]:
    return FoldBook(sqlite3.connect(":memory:"), made or fold())


def taken(book: FoldBook[State], records: list[Record], gone: list[Record] = []) -> None:  # noqa: B006
    rows: list[list[tuple[Any, ...]]] = [[(*r, 1) for r in records], [(*r, -1) for r in gone]]
    for signed in rows:
        columns = {name: [row[i] for row in signed] for i, name in enumerate(["key", "at", "position", "text", "sign"])}
        book.take(
            pa.table({**columns, "place": columns["position"], "as_of": [1_000 + at for at in columns["position"]]})
        )


class Sinks:
    """What stands in the sinks when all that changed has been brought there."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, Any]] = {"pairs": {}, "newest": {}, "seconds": {}}

    def bring(self, book: FoldBook[State], before: int = -1) -> list[str]:
        changed = book.unpublished(10_000)
        book.showing(changed)
        for stored in changed:
            key, row = (*(stored.row[name] for name in stored.table.key),), stored.row
            key = key[0] if len(key) == 1 else key
            if stored.is_gone:
                self.tables[stored.table.name].pop(key, None)
            else:
                names = [field.name for field in stored.table.fields]
                values = (row[n] for n in names if n not in (*stored.table.key, "window_end", "is_final"))
                self.tables[stored.table.name][key] = (*values,)
        book.published(changed, before)
        assert book.unpublished(1) == []
        return sorted(stored.table.name for stored in changed)


@settings(deadline=None)  # the first call loads what the others find loaded
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 30).map(lambda n: n * 150_000), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    cuts=st.sets(st.integers(1, 39)),
    seed=st.integers(0, 2**32),
)
def test_any_interleaving_in_any_batches_gives_the_rows_of_the_records_in_order(
    rows: list[tuple[str, int, bool]], cuts: set[int], seed: int
) -> None:
    records = [(key, at, n, f"r{n}") for n, (key, at, _) in enumerate(rows)]
    leaving = {n for n, (_, _, leaves) in enumerate(rows) if leaves}
    arrival = records.copy()
    random.Random(seed).shuffle(arrival)
    book, sinks = book_of(), Sinks()
    edges = [0, *sorted(cut for cut in cuts if cut < len(arrival)), len(arrival)]
    there: set[int] = set()
    for begin, end in itertools.pairwise(edges):
        back = [records[n] for n in there & leaving]
        there -= leaving
        taken(book, arrival[begin:end], back)
        there |= {position for _, _, position, _ in arrival[begin:end]}
        sinks.bring(book)
        assert sinks.tables == expected([records[n] for n in there])


def test_records_in_order_move_the_state_on_without_reading_the_past() -> None:
    db = sqlite3.connect(":memory:")
    book = FoldBook(db, fold())
    taken(book, [("a", n, n, "x") for n in range(10)])
    read: list[str] = []
    db.set_trace_callback(read.append)
    taken(book, [("a", 10, 10, "y")])
    assert not [statement for statement in read if "FROM walk_log" in statement]


def test_a_batch_goes_through_no_table() -> None:
    db = sqlite3.connect(":memory:")
    book = FoldBook(db, fold())
    taken(book, [(key, n, n, "x") for n, key in enumerate("abcdefgh")])
    said: list[str] = []
    db.set_trace_callback(said.append)
    taken(book, [("a", 10, 10, "next"), ("b", 0, 11, "late"), ("new", 12, 12, "y")])
    taken(book, [], [("c", 2, 2, "x")])
    book.elapse(10_000)
    db.set_trace_callback(None)
    plans = [step[3] for statement in said for step in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert [step for step in plans if "walk_log" in step], "the late one's past is read"
    assert [step for step in plans if step.startswith("SCAN walk_")] == []


def test_a_late_record_steps_on_until_the_state_is_what_it_was() -> None:
    stepped: list[int] = []

    def counted(state: State, key: str, at: int, values: tuple[Any, ...]) -> Iterator[Out]:
        stepped.append(at)
        yield from step(state, key, at, values)

    book, sinks = book_of(replace(fold(), step=counted)), Sinks()
    records = [("a", n * 400_000, n, f"r{n}") for n in range(100)]
    taken(book, records)
    sinks.bring(book)
    stepped.clear()
    late = [("a", 2_200_000, 100, "late"), ("a", 28_600_000, 101, "late too"), ("a", 40_000_000, 102, "next")]
    taken(book, late)
    # Notes lie behind records 2, 5, 8 and so on: from those behind 5 and 71 to those behind 8 and 74, where both texts
    # and the second's count are what they were.
    assert [at / SECOND for at in stepped] == [2.2, 2.4, 2.8, 3.2, 28.6, 28.8, 29.2, 29.6, 40.0]
    sinks.bring(book)
    assert sinks.tables == expected(records + late)


def test_silence_changes_rows_and_another_clock_changes_them_back() -> None:
    book, sinks = book_of(), Sinks()
    taken(book, [("a", 50, 0, "x"), ("b", 60, 1, "y")])
    book.elapse(149)
    sinks.bring(book)
    assert {key: row[2] for key, row in sinks.tables["newest"].items()} == {"a": False, "b": False}

    book.elapse(150)  # a's last record and the patience
    assert sinks.bring(book) == ["newest"]
    assert {key: row[2] for key, row in sinks.tables["newest"].items()} == {"a": True, "b": False}
    book.elapse(151)
    assert sinks.bring(book) == []

    book.elapse(149)
    assert sinks.bring(book) == ["newest"]
    assert {key: row[2] for key, row in sinks.tables["newest"].items()} == {"a": False, "b": False}


def test_what_may_stand_in_a_sink_is_remembered_through_a_kill() -> None:
    book = book_of()
    taken(book, [("a", 50, 0, "x"), ("a", 60, 1, "y")])
    (pair,) = (stored for stored in book.unpublished(9) if stored.table is PAIRS)
    assert pair.shown is None
    book.showing([pair])  # and killed before `published`
    taken(book, [], [("a", 60, 1, "y")])
    (gone,) = (stored for stored in book.unpublished(9) if stored.table is PAIRS)
    assert (gone.is_gone, gone.shown, gone.row["position"]) == (True, 60, 1)

    never = book_of()
    taken(never, [("a", 50, 0, "x"), ("a", 60, 1, "y")], [("a", 60, 1, "y")])
    (gone,) = (stored for stored in never.unpublished(9) if stored.table is PAIRS)
    assert (gone.is_gone, gone.shown) == (True, None)


def test_a_key_whose_last_record_is_taken_back_leaves_nothing() -> None:
    book, sinks = book_of(), Sinks()
    taken(book, [("a", 50, 1, "x")])
    sinks.bring(book)
    taken(book, [], [("a", 50, 1, "x")])
    sinks.bring(book)
    assert sinks.tables == {"pairs": {}, "newest": {}, "seconds": {}}
    assert book.retired(10_000, 9) == []
    book.elapse(10_000)
    assert book.unpublished(9) == []


def test_rows_of_long_ago_retire_once_and_those_without_a_time_never() -> None:
    book, sinks = book_of(), Sinks()
    taken(book, [("a", 40, 0, "x"), ("a", 50, 1, "y"), ("a", 2 * SECOND, 2, "z")])
    sinks.bring(book)
    old = book.retired(SECOND, 9)
    assert sorted((stored.table.name, stored.time) for stored in old) == [("pairs", 50), ("seconds", 0)]
    book.retire(old)
    assert book.retired(SECOND, 9) == []


def test_windows_close_once_and_stay_closed() -> None:
    book, sinks = book_of(), Sinks()
    taken(book, [("a", 40, 0, "x"), ("b", SECOND, 1, "y")])
    sinks.bring(book)
    book.close_windows(2 * SECOND - 1)
    (closed,) = book.unpublished(9)
    assert (closed.row["window_start"], closed.row["window_end"], closed.row["is_final"]) == (
        EPOCH, EPOCH + timedelta(seconds=1), True,
    )  # fmt: skip
    sinks.bring(book)
    taken(book, [("c", 50, 2, "late")])
    (late,) = (stored for stored in book.unpublished(9) if stored.table is SECONDS)
    assert (late.row["keys"], late.row["is_final"]) == (2, True)


def test_a_days_rows_come_in_the_order_of_their_key() -> None:
    book = book_of()
    taken(book, [("b", 10, 0, "x"), ("b", 20, 1, "y"), ("a", 30, 2, "x"), ("a", 40, 3, "y"), ("a", 50, 4, "z")])
    assert [(row["name"], row["position"]) for row in book.between(PAIRS, 20, 50)] == [("a", 3), ("b", 1)]


def brought(records: list[Record]) -> tuple[sqlite3.Connection, FoldBook[State], Sinks]:
    """A book of the first version whose records have been taken and brought to the sinks."""
    db = sqlite3.connect(":memory:")
    book, sinks = FoldBook(db, fold()), Sinks()
    book.renew()
    taken(book, records)
    sinks.bring(book)
    return db, book, sinks


def test_another_definition_folds_all_keys_anew() -> None:
    records = [("a", n, n, f"x{n}") for n in range(7)] + [("b", 1, 7, "y")]
    db, book, sinks = brought(records)
    FoldBook(db, fold()).renew()
    assert book.unpublished(9) == []

    other = FoldBook(db, fold("2", mark="!"))
    other.renew()
    assert sinks.bring(other) == ["newest", "newest"]
    wanted = expected(records)
    wanted["newest"] = {"a": ("x6!", Decimal("1.25"), False), "b": ("y!", Decimal("1.25"), False)}
    assert sinks.tables == wanted


def test_states_that_are_kept_in_another_way_are_folded_anew() -> None:
    records = [("a", n, n, f"x{n}") for n in range(7)] + [("b", 1, 7, "y")]
    db, _, sinks = brought(records)

    def load(text: bytes) -> State:
        assert text.startswith(b"2:"), "a state of the other make"
        return json.loads(text[2:])  # type: ignore[no-any-return]

    other = FoldBook(db, replace(fold("2"), dump=lambda state: b"2:" + json.dumps(state).encode(), load=load))
    other.renew()
    late = [("a", 3, 8, "late"), ("b", 2, 9, "next")]
    taken(other, late)
    sinks.bring(other)
    assert sinks.tables == expected(records + late)
