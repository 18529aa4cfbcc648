"""The book of a fold: whatever comes in whatever batches, each state is that of the records in their order."""

import itertools
import json
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from headwater import folds
from headwater.contracts.events import EVENTS
from headwater.folds import Fold, FoldBook

PATIENCE = 100

Record = tuple[str, int, int, str]
"""Key, time, position, text."""


def fold(version: str = "1", mark: str = "") -> Fold[list[Any]]:
    """A state that holds all it was given, in the order in which it was given it."""
    return Fold(
        name="walk",
        key=lambda: F.col("key"),
        columns={"text": lambda: F.col("text")},
        tables=(EVENTS.table("sessions"), EVENTS.table("abandoned")),
        version=version,
        start=list,
        step=lambda state, at, values: state.append([at, values[0] + mark]),
        dump=lambda state: json.dumps(state).encode(),
        load=json.loads,
        due=lambda state: state[-1][0] + PATIENCE,
        rows=lambda key, state, is_due: (
            {"sessions": {"session_id": key}} | ({"abandoned": {"session_id": key}} if is_due else {})
        ),
    )


@pytest.fixture(autouse=True, scope="module")
def short_distances() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "NOTED_EVERY", 3)
        yield


def taken(book: FoldBook[list[Any]], records: list[Record], gone: list[Record] = []) -> None:  # noqa: B006
    signed = [(*r, 1) for r in records] + [(*r, -1) for r in gone]
    names = ["key", "at", "position", "text", "sign"]
    columns = {name: [row[i] for row in signed] for i, name in enumerate(names)}
    book.take(pa.table({**columns, "as_of": [1_000 + row[2] for row in signed]}))


def states(book: FoldBook[list[Any]]) -> dict[str, list[Any]]:
    return {kept.key: [tuple(pair) for pair in kept.state or []] for kept in book.unpublished(10_000)}


def in_order(records: list[Record]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for key, at, _, text in sorted(records, key=lambda r: (r[0], r[1], r[2])):
        found.setdefault(key, []).append((at, text))
    return found


@settings(deadline=None)  # the first call loads what the others find loaded
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.booleans()), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39)),
    seed=st.integers(0, 2**32),
)
def test_any_interleaving_in_any_batches_gives_the_states_of_the_records_in_order(
    rows: list[tuple[str, int, bool]], cuts: set[int], seed: int
) -> None:
    records = [(key, at, n, f"r{n}") for n, (key, at, _) in enumerate(rows)]
    leaving = {n for n, (_, _, leaves) in enumerate(rows) if leaves}
    arrival = records.copy()
    random.Random(seed).shuffle(arrival)
    book = FoldBook(sqlite3.connect(":memory:"), fold())
    edges = [0, *sorted(cut for cut in cuts if cut < len(arrival)), len(arrival)]
    there: set[int] = set()
    for begin, end in itertools.pairwise(edges):
        back = [records[n] for n in there & leaving]
        there -= leaving
        taken(book, arrival[begin:end], back)
        there |= {position for _, _, position, _ in arrival[begin:end]}
        held = {key: state for key, state in states(book).items() if state}
        assert held == in_order([records[n] for n in there])


def test_records_in_order_move_the_state_on_without_reading_the_past() -> None:
    db = sqlite3.connect(":memory:")
    book = FoldBook(db, fold())
    taken(book, [("a", n, n, "x") for n in range(10)])
    read: list[str] = []
    db.set_trace_callback(read.append)
    taken(book, [("a", 10, 10, "y")])
    assert not [statement for statement in read if "FROM walk_log" in statement]
    taken(book, [("a", 8, 11, "late")])
    steps = [statement for statement in read if "FROM walk_log" in statement and "(at, position) >" in statement]
    # Records 0 to 9: the states after the 3rd, 6th and 9th are kept; time 8 at position 11 lies after the 9th.
    assert len(steps) == 1
    assert "(8, 8)" in steps[0]
    assert states(book)["a"][-3:] == [(8, "late"), (9, "x"), (10, "y")]


def test_silence_makes_a_key_due_and_another_clock_takes_it_back() -> None:
    book = FoldBook(sqlite3.connect(":memory:"), fold())
    taken(book, [("a", 50, 0, "x"), ("b", 60, 1, "x")])
    book.elapse(149)
    assert [kept.is_due for kept in book.unpublished(9)] == [False, False]
    book.published([(kept.number, 1) for kept in book.unpublished(9)], 0)
    assert book.unpublished(9) == []

    book.elapse(150)  # a's last record and the patience
    (due,) = book.unpublished(9)
    assert (due.key, due.is_due, set(book.rows(due))) == ("a", True, {"sessions", "abandoned"})
    book.published([(due.number, 3)], 0)
    book.elapse(151)
    assert book.unpublished(9) == []

    book.elapse(149)
    (back,) = book.unpublished(9)
    assert (back.key, back.is_due, back.shown) == ("a", False, 3)


def test_what_may_stand_in_a_sink_is_remembered_through_a_kill() -> None:
    book = FoldBook(sqlite3.connect(":memory:"), fold())
    taken(book, [("a", 50, 0, "x")])
    book.elapse(150)
    (kept,) = book.unpublished(9)
    assert (kept.shown, kept.shown_since) == (0, None)
    book.showing([(kept.number, 3)])  # and killed before `published`
    taken(book, [("a", 40, 1, "late"), ("a", 120, 2, "more")])
    (again,) = book.unpublished(9)
    assert (again.shown, again.shown_since) == (3, 50)
    assert set(book.rows(again)) == {"sessions"}


def test_a_key_whose_last_record_is_taken_back_leaves_nothing() -> None:
    book = FoldBook(sqlite3.connect(":memory:"), fold())
    taken(book, [("a", 50, 1, "x")])
    book.published([(kept.number, 1) for kept in book.unpublished(9)], 0)
    taken(book, [], [("a", 50, 1, "x")])
    (empty,) = book.unpublished(9)
    assert (empty.state, empty.shown, dict(book.rows(empty))) == (None, 1, {})
    book.published([(empty.number, 0)], 0)
    assert book.unpublished(9) == []
    assert book.retired(10_000, 9) == []


def test_keys_that_ended_long_ago_retire_once() -> None:
    book = FoldBook(sqlite3.connect(":memory:"), fold())
    taken(book, [("old", 50, 0, "x"), ("new", 500, 1, "x")])
    book.published([(kept.number, 1) for kept in book.unpublished(9)], 0)
    assert [kept.key for kept in book.retired(100, 9)] == ["old"]
    book.retire([kept.number for kept in book.retired(100, 9)])
    assert book.retired(100, 9) == []


def test_another_definition_folds_all_keys_anew() -> None:
    db = sqlite3.connect(":memory:")
    book = FoldBook(db, fold())
    book.renew()
    taken(book, [("a", n, n, "x") for n in range(7)] + [("b", 1, 7, "x")])
    book.published([(kept.number, 1) for kept in book.unpublished(9)], 0)
    FoldBook(db, fold()).renew()
    assert book.unpublished(9) == []

    other = FoldBook(db, fold("2", mark="!"))
    other.renew()
    assert states(other) == {"a": [(n, "x!") for n in range(7)], "b": [(1, "x!")]}
