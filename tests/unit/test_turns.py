"""The archive's batch waits for the aggregate's, told by checkpoints as Spark leaves them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.turns import TurnError, Turns, covers

PATIENCE_S = 20
ABOUT = '{"batchWatermarkMs":0,"batchTimestampMs":1795900904652,"conf":{}}'


def plan(checkpoint: Path, batch: int, **ends: dict[str, int]) -> None:
    """A batch that is about to run, of a source for each topic."""
    for folder in ("offsets", "commits"):
        (checkpoint / folder).mkdir(parents=True, exist_ok=True)
    sources = [json.dumps({topic: offsets}) for topic, offsets in ends.items()]
    (checkpoint / "offsets" / str(batch)).write_text("\n".join(["v1", ABOUT, *sources]))


def commit(checkpoint: Path, batch: int) -> None:
    (checkpoint / "commits" / str(batch)).write_text("v1\n{}")


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    return Turns(tmp_path / "aggregate", tmp_path / "archive", threading.Event())


def test_a_batch_waits_until_the_other_query_has_committed_all_of_it(turns: Turns) -> None:
    plan(turns.then, 4, sales={"0": 10, "1": 7}, trucks={"0": 3})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(turns.wait, 4)
        try:
            plan(turns.first, 8, sales={"0": 11, "1": 6}, trucks={"0": 9})
            commit(turns.first, 8)  # one record of sales is missing
            plan(turns.first, 9, sales={"0": 12, "1": 8}, trucks={"0": 9})  # it is being counted
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            commit(turns.first, 9)
            waiting.result(PATIENCE_S)
        finally:
            turns.stop.set()


def test_a_job_that_is_to_stop_leaves_the_batch_to_its_next_start(turns: Turns) -> None:
    plan(turns.then, 0, sales={"0": 1})
    turns.stop.set()
    with pytest.raises(TurnError, match="batch 0 waits for what"):
        turns.wait(0)


def test_what_is_covered() -> None:
    assert covers({"sales": {0: 5, 1: 2}, "trucks": {0: 1}}, {"sales": {0: 5, 1: 2}})
    assert not covers({"sales": {0: 5}}, {"sales": {0: 5, 1: 1}})
    assert covers({}, {"sales": {0: 0}}), "an empty partition"
    assert not covers({}, {"sales": {0: 1}})
