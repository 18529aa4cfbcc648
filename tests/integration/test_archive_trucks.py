"""The archive of the trucks with real Spark and Delta: every table equals its definition over what ``records`` holds.

The definitions are those of ``tests.trucks_reference``; ``records`` is compared with what was sent.
"""

import csv
import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from headwater.settings import Settings
from jobs.trucks import JOB
from tests.archives import Killer, Setup, killed_at_each, set_up
from tests.recorded import recorded
from tests.trucks_reference import TIMES, Box, assert_same, expected_tables

DAY = datetime(2026, 5, 4, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AREAS = (Box("yard", "depot", 50.99, 3.99, 51.01, 4.01), Box("old town", "no_go", 51.03, 3.9, 51.05, 4.1))


def fix(event_id: str, when: datetime, truck: str, latitude: float, longitude: float, **optional: Any) -> str:
    fields = {"event_id": event_id, "event_time": when.isoformat(), "truck_id": truck}
    return json.dumps({**fields, "latitude": latitude, "longitude": longitude, **optional})


@pytest.fixture
def setup(spark: SparkSession, settings: Settings, tmp_path: Path) -> Iterator[Setup]:
    path = tmp_path / "areas.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [area.geojson() for area in AREAS]}))
    trucks = settings.trucks.model_copy(update={"geofences": path})
    with set_up(spark, settings.model_copy(update={"trucks": trucks}), JOB) as made:
        yield made


def assert_tables(setup: Setup, clock: datetime | None = None) -> dict[str, Any]:
    """Every table equals its definition, in Delta, in the processed topic and in the CSV files."""
    records = setup.table("records")
    expected = expected_tables(records, clock, AREAS)
    horizon = max(row["event_time"] for row in records) - timedelta(hours=setup.settings.jobs.processed_window_hours)
    for name, wanted in expected.items():
        assert_same(name, setup.table(name), wanted)
        kept = {
            key: row
            for key, row in wanted.items()
            if all(part >= horizon for part in key if isinstance(part, datetime))
        }
        assert_same(name, setup.processed.of(name).values(), kept)
    rows = []
    for path in setup.settings.csv("trucks").glob("*"):
        with path.open(newline="", encoding="utf-8") as file:
            found = [dict(row) for row in csv.DictReader(file)]
        assert {f"trips-{row['start_time'][:10]}.csv" for row in found} == {path.name}
        rows += found
    typed = [{name: text if name in TIMES else _read(text) for name, text in row.items()} for row in rows]
    assert_same("trips", typed, expected["trips"])
    positions = [(row["partition"], row["offset"]) for name in ("records", "rejected") for row in setup.table(name)]
    assert sorted(positions) == sorted(setup.topic.positions())
    return expected


def _read(text: str) -> Any:
    """A CSV's cell."""
    if text in ("True", "False", ""):
        return {"True": True, "False": False, "": None}[text]
    try:
        return float(text)
    except ValueError:
        return text


def test_bad_fixes_are_rejected_or_flagged(setup: Setup) -> None:
    setup.topic.send(
        0,
        fix("good", DAY, "t", 51.0, 4.0, speed_kmh=-3, heading_deg=361, cargo="milk", fuel=0.5),
        fix("pole", DAY, "p", 90.0, 180.0),
        fix("north", DAY, "t", 90.1, 4.0),
        fix("east", DAY, "t", 51.0, "4,0"),
        '{"truck_id": "t", "latitude": 51.0}',
        '{"latitude": NaN, "longitude": 1, "truck_id": "t"}',
    )
    setup.take()
    assert {row["offset"]: row["reasons"] for row in setup.table("rejected")} == {
        2: ["range:latitude"], 3: ["type:longitude"], 4: ["missing:longitude"], 5: ["not_json"],
    }  # fmt: skip
    (row,) = (row for row in setup.table("records") if row["event_id"] == "good")
    assert (row["speed_kmh"], row["heading_deg"], row["cargo"]) == (None, None, "milk")
    assert (sorted(row["flags"]), json.loads(row["extra"])) == (["heading_deg", "speed_kmh"], {"fuel": 0.5})
    assert_tables(setup)


def test_silence_by_the_wall_clock_and_another_limit(setup: Setup) -> None:
    now = [(DAY - EPOCH) // MICROSECOND]
    setup.now = lambda: now[0]
    archive = setup.open()
    setup.topic.send(
        0,
        *(
            fix(f"a{m}", DAY + timedelta(minutes=m), "a", 51 + m / 100, 4.0, speed_kmh=70, driver="Ada")
            for m in range(8)
        ),
        fix("b", DAY + timedelta(minutes=7), "b", 51.04, 4.0, speed_kmh=0),
    )
    for minute, state, is_open, silent in ((8, "moving", True, 0), (18, "offline", True, 2), (68, "offline", False, 2)):
        now[0] = (DAY + timedelta(minutes=minute) - EPOCH) // MICROSECOND
        setup.take() if minute == 8 else archive.elapse()
        assert_tables(setup, DAY + timedelta(minutes=minute))
        (latest,) = (row for row in setup.table("latest") if row["truck_id"] == "a")
        assert (latest["state"], latest["driver"]) == (state, "Ada")
        assert [row["is_open"] for row in setup.table("trips")] == [is_open]
        assert sum(row["kind"] == "offline" for row in setup.table("alerts")) == silent
    assert setup.processed.of("per_minute")[f"per_minute:{DAY:%Y-%m-%dT%H:%M:%S}Z"]["is_final"] is True

    slower = setup.settings.trucks.model_copy(update={"overspeed_kmh": 60})
    setup.settings = setup.settings.model_copy(update={"trucks": slower})
    setup.open()
    assert [row["top_kmh"] for row in setup.table("alerts") if row["kind"] == "overspeed"] == [70]


class Fleet:
    """Three trucks that move, stand, jump, fall silent and leave out their speed; fixes doubled, displaced and late."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.topic, self.random, self.sent = setup.topic, random.Random(seed), 0

    def send(self, count: int) -> None:
        draw = self.random
        for _ in range(count):
            self.sent += 1
            number = draw.randrange(max(1, self.sent - 9), self.sent + 1) if draw.random() < 0.1 else self.sent
            second = self.sent * 100 - draw.choice([0, 0, 0, 100, 700, 4_000, 200_000])
            moved = draw.choice([0, 0, 0.0001, 0.01, 0.02, 0.9])
            text = fix(
                f"e{number}", DAY + timedelta(seconds=second), draw.choice("abc"), 51 + moved, 4.0 + second / 1e7,
                speed_kmh=draw.choice([None, 0, 0, 3, 50, 120]), route=draw.choice([None, "r"]),
            )  # fmt: skip
            self.topic.send(draw.randrange(2), text)


def test_killed_between_any_two_writes_of_a_journey(setup: Setup, killer: Killer) -> None:
    fleet = Fleet(setup, 3)
    fleet.send(150)
    setup.take()
    assert_tables(setup)
    points = ["take", "elapse", "showing", "correct", "write_csv", "flush", "published"]
    killed_at_each(setup, killer, points, lambda: fleet.send(25), lambda: assert_tables(setup))
    expected = assert_tables(setup)
    assert all(expected.values())
    assert {kind for _, kind, *_ in expected["alerts"]} == {"overspeed", "geofence", "offline"}


def test_a_recorded_day_of_buses_in_the_files_own_order(setup: Setup) -> None:
    """24,490 fixes, three in four behind their vehicle's newest by up to a day; in batches and with a restart."""
    with gzip.open(recorded("trucks/capmetro_2016-11-24.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sent = [
        {
            "event_id": f"row-{n}", "event_time": datetime.fromisoformat(row["timestamp"]),
            "truck_id": row["vehicle_id"], "latitude": float(row["latitude"]), "longitude": float(row["longitude"]),
            "speed_kmh": float(row["speed"]) * 3.6, "route": row["trip_headsign"] or None,
            "heading_deg": None, "driver": None, "partition": int(row["vehicle_id"]) % 2,
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    for begin, end in ((0, 9_000), (9_000, 9_050), (9_050, len(sent))):
        start = setup.topic.ends()
        for row in sent[begin:end]:
            row["offset"] = len(setup.topic.partitions[row["partition"]])
            text = {name: value for name, value in row.items() if name not in ("partition", "offset")}
            setup.topic.send(row["partition"], json.dumps(text, default=str))
        setup.take(start if begin else None)
        if begin == 9_000:
            setup.open()
    expected = expected_tables(sent)
    for name, wanted in expected.items():
        assert_same(name, setup.table(name), wanted)
        assert_same(name, setup.processed.of(name).values(), wanted)
    assert len(expected["trips"]) > 1_000
