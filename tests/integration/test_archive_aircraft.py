"""The archive of the aircraft with real Spark and Delta: twelve recorded answers, every figure by its definition."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from headwater.settings import Settings
from jobs.aircraft import JOB
from tests.aircraft_reference import assert_same, expected_tables, states_of
from tests.archives import Killed, Killer, Setup, set_up
from tests.recorded import recorded


@pytest.fixture
def setup(spark: SparkSession, settings: Settings) -> Iterator[Setup]:
    with set_up(spark, settings, JOB) as made:
        yield made


def assert_tables(setup: Setup) -> dict[str, Any]:
    """Every table equals its definition, in Delta and in the processed topic; each message stands in one place."""
    expected = expected_tables(setup.table("records"))
    for name, wanted in expected.items():
        assert_same(name, setup.table(name), wanted)
        assert_same(name, setup.processed.of(name).values(), wanted)
    positions = [(row["partition"], row["offset"]) for name in ("records", "rejected") for row in setup.table(name)]
    assert sorted(positions) == sorted(setup.topic.positions())
    return expected


def test_nulls_wrong_values_and_the_event_time(setup: Setup) -> None:
    second = 1_714_312_000
    setup.topic.send(
        0,
        json.dumps({"icao24": "3c6444", "last_contact": second, "callsign": None, "sensors": [], "squawk": None}),
        json.dumps({"icao24": "3c6444", "last_contact": second + 1, "sensors": [1, 2], "latitude": 91, "spi": "no"}),
        json.dumps({"icao24": "3c6445", "last_contact": second, "event_time": "2020-01-01T00:00:00Z", "velocity": 0.0}),
        json.dumps({"icao24": "3c6446", "last_contact": 99_999_999_999}),
        json.dumps({"icao24": "3c6446", "last_contact": 999_999_999_999}),
        json.dumps({"icao24": "3c6446", "last_contact": "1714312000"}),
        json.dumps({"icao24": "3c6446", "last_contact": second, "sensors": ["1"]}),
        json.dumps({"last_contact": second}),
    )
    setup.take()
    assert {row["offset"]: row["reasons"] for row in setup.table("rejected")} == {
        3: ["future:event_time"], 4: ["range:last_contact"], 5: ["type:last_contact"], 7: ["missing:icao24"],
    }  # fmt: skip
    rows = {row["offset"]: row for row in setup.table("records")}
    assert {row["event_time"].timestamp() for row in rows.values()} == {second, second + 1}
    assert (rows[0]["sensors"], rows[1]["sensors"], rows[2]["velocity"]) == ([], [1, 2], 0.0)
    assert sorted(rows[1]["flags"]) == ["latitude", "spi"]
    assert (rows[6]["sensors"], rows[6]["flags"]) == (None, ["sensors"])


def test_twelve_recorded_answers_shuffled_doubled_and_killed(setup: Setup, killer: Killer) -> None:
    """100,000 states, 60,000 of them new ones; a fifth comes late, in another order; killed twice on the way."""
    files = sorted(recorded("aircraft").glob("states_*.json.gz"))
    sent = [state for path in files for state in states_of(path)]
    assert len(files) == 12
    draw = random.Random(4)
    arrival = sorted(range(len(sent)), key=lambda n: n + (draw.randrange(30_000) if draw.random() < 0.2 else 0))
    cuts = [0, len(sent) // 3, len(sent) // 3 + 500, len(sent)]
    for part, (begin, end) in enumerate(itertools.pairwise(cuts)):
        start = setup.topic.ends()
        for n in arrival[begin:end]:
            setup.topic.send(int(sent[n]["icao24"], 16) % 2, json.dumps(sent[n]))
        if part:
            killer.arm_at(["", "take", "correct"][part], nth=part)
            with pytest.raises(Killed):
                setup.take(start)
            killer.arm(None)
            setup.open()
        setup.take(start if part else None)
    expected = assert_tables(setup)
    of_file = {(state["icao24"], state["last_contact"]) for state in sent}
    assert {(row["icao24"], row["last_contact"]) for row in setup.table("records")} == of_file
    assert {len(rows) > 0 for rows in expected.values()} == {True}
