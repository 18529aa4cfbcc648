"""The archive of the emissions with real Spark and Delta: every table equals its definition over ``records``.

The definitions are those of ``tests.co2_reference``; ``records`` is compared with what was sent.
"""

import csv
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import fsum
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from headwater.acknowledgements import Remark
from headwater.settings import Settings
from jobs.co2 import JOB
from tests.archives import Killer, Setup, killed_at_each, set_up
from tests.co2_reference import Limits, assert_same, expected_tables
from tests.recorded import recorded

DAY = datetime(2026, 5, 4, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORT_TON_KG = 907.18474
LIMITS = Limits(
    limits={"CT": 600_000.0, "a": 40.0, "b": 70.0},
    source_allowances={"CT": 5e9, "a": 100.0},
    sector_allowances={"power": 4e9, "steel": 150.0},
)
OPTIONAL = ["interval_s", "facility", "sector", "fuel", "country", "latitude", "longitude", "energy_mwh", "method"]


@pytest.fixture
def setup(spark: SparkSession, settings: Settings) -> Iterator[Setup]:
    limits = {
        "limits_kg_h": LIMITS.limits,
        "source_allowances_kg": LIMITS.source_allowances,
        "sector_allowances_kg": LIMITS.sector_allowances,
    }
    co2 = settings.co2.model_copy(update=limits)
    with set_up(spark, settings.model_copy(update={"co2": co2}), JOB) as made:
        yield made


def message(event_id: str, when: datetime, source: str, kg: Any, **optional: Any) -> str:
    fields = {"event_id": event_id, "event_time": when.isoformat(), "source_id": source, "emission_kg": kg}
    return json.dumps({**fields, **{name: value for name, value in optional.items() if value is not None}})


def readings_of(setup: Setup) -> list[dict[str, Any]]:
    """The rows of all CSV files; each lies in the file of its day and source, in order."""
    found = []
    for path in sorted(setup.settings.csv("co2").iterdir()):
        assert path.suffix == ".csv"
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        assert reader.fieldnames == ["event_time", "source_id", "emission_kg", *OPTIONAL]
        assert {f"readings-{row['event_time'][:10]}-{row['source_id']}" for row in rows} in ({path.stem}, set())
        assert [row["event_time"] for row in rows] == sorted(row["event_time"] for row in rows)
        found += rows
    return found


def assert_tables(setup: Setup, records: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Every table equals its definition, in Delta and in the processed topic; each event has a line in a file."""
    records = records or setup.table("records")
    expected = expected_tables(records, LIMITS)
    horizon = max(row["event_time"] for row in records) - timedelta(hours=setup.settings.jobs.processed_window_hours)
    for name, wanted in expected.items():
        assert_same(name, setup.table(name), wanted)
        times = "began_at" if name == "alarms" else None
        kept = {
            key: row
            for key, row in wanted.items()
            if all(part >= horizon for part in (*key, row.get(times)) if isinstance(part, datetime))
        }
        assert_same(name, setup.processed.of(name).values(), kept)

    def line(row: Any, *, is_text: bool) -> tuple[Any, ...]:
        numbers = {"emission_kg", "interval_s", "latitude", "longitude", "energy_mwh"}
        values = [row[name] for name in ["emission_kg", *OPTIONAL]]
        if is_text:
            typed = zip(["emission_kg", *OPTIONAL], values, strict=True)
            values = [None if text == "" else float(text) if name in numbers else text for name, text in typed]
        values = [None if value is None or value != value else value for value in values]  # noqa: PLR0124
        return (pd.Timestamp(row["event_time"]), row["source_id"], *map(str, values))

    once = pd.DataFrame(records).sort_values(["partition", "offset"]).drop_duplicates("event_id")
    kept_lines = [line(row, is_text=True) for row in readings_of(setup)]
    assert sorted(kept_lines) == sorted(line(row, is_text=False) for row in once.to_dict("records"))
    return expected


def test_bad_records_are_rejected_or_flagged(setup: Setup) -> None:
    good = message("g", DAY, "a", 1.5)
    setup.topic.send(
        0,
        good,
        message("m", DAY, "a", 1).replace('"source_id": "a", ', ""),
        message("n", DAY, "a", "1.5"),
        message("r", DAY, "a", -0.001),
        message("z", DAY, "a", 0),
        message("i", DAY + timedelta(minutes=1), "a", 1, interval_s=0, method="guessed", latitude=91, sector=" "),
        message("e", DAY, "", 1),
    )
    setup.take()
    rejected = {row["offset"]: row["reasons"] for row in setup.table("rejected")}
    assert rejected == {
        1: ["missing:source_id"], 2: ["type:emission_kg"], 3: ["range:emission_kg"], 6: ["missing:source_id"],
    }  # fmt: skip
    (flagged,) = (row for row in setup.table("records") if row["event_id"] == "i")
    assert sorted(flagged["flags"]) == ["interval_s", "latitude", "method"]
    assert (flagged["interval_s"], flagged["method"], flagged["sector"]) == (None, None, None)
    assert_tables(setup)


def test_silence_is_noticed_without_input_and_an_acknowledgement_stays(setup: Setup) -> None:
    """By the wall clock; the alarm is acknowledged before it ends, and its row keeps that over a lost ledger."""
    now = [(DAY - EPOCH) // timedelta(microseconds=1)]
    setup.now = lambda: now[0]
    archive = setup.open()
    heard: list[Remark] = []
    minutes = [DAY + timedelta(minutes=m) for m in range(12)]
    setup.topic.send(0, *(message(f"a{m}", minutes[m], "a", 1 + m / 100, interval_s=60) for m in range(5)))
    setup.take()

    def health() -> dict[str, Any]:
        (row,) = setup.table("health")
        return row

    assert (health()["state"], health()["usual_interval_s"]) == ("ok", 60)
    now[0] += 7 * 60_000_000 - 1
    archive.elapse()
    assert health()["state"] == "ok"
    now[0] += 1
    archive.elapse()
    assert (health()["state"], health()["since"]) == ("silent", DAY + timedelta(minutes=4))
    assert setup.processed.of("health")["health:a"]["state"] == "silent"
    (alarm,) = setup.table("alarms")
    assert (alarm["ended_at"], alarm["acknowledged_by"]) == (None, None)

    heard.append(
        Remark({"alarm_id": alarm["alarm_id"]}, {"acknowledged_at": now[0], "acknowledged_by": "Grace"}, now[0])
    )
    setup.said = lambda: heard
    archive = setup.open()
    start = setup.topic.ends()
    setup.topic.send(0, *(message(f"e{m}", minutes[m], "a", 0.1, interval_s=60) for m in range(8, 12)))
    setup.take(start)
    for _ in range(2):
        (alarm,) = setup.table("alarms")
        assert (alarm["ended_at"], alarm["acknowledged_by"]) == (DAY + timedelta(minutes=8), "Grace")
        assert alarm["acknowledged_at"] == DAY + timedelta(minutes=7)
        setup.lose_ledger()
        setup.open()


class Plant:
    """Three meters with limits that drift, stick, fall silent and jump back; records doubled, displaced and late."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.topic, self.random, self.sent, self.kg = setup.topic, random.Random(seed), 0, 1.0

    def send(self, count: int) -> None:
        draw = self.random
        for _ in range(count):
            self.sent += 1
            number = draw.randrange(max(1, self.sent - 9), self.sent + 1) if draw.random() < 0.1 else self.sent
            second = self.sent * 60 - draw.choice([0, 0, 0, 0, 100, 700, 4_000, 200_000])
            self.kg = draw.choice([self.kg, self.kg, self.kg, 0.4, 1.0, 1.3, 2.1])
            text = message(
                f"e{number}", DAY + timedelta(seconds=second), draw.choice("aaab"), self.kg,
                interval_s=draw.choice([None, 60, 60]), sector=draw.choice([None, "steel"]),
                fuel=draw.choice([None, "gas"]), energy_mwh=draw.choice([None, 0.01]),
                method=draw.choice([None, "measured", "substitute"]),
            )  # fmt: skip
            self.topic.send(draw.randrange(2), text)


def test_killed_between_any_two_writes_of_a_meter(setup: Setup, killer: Killer) -> None:
    plant = Plant(setup, 3)
    plant.send(200)
    setup.take()
    assert_tables(setup)
    points = ["take", "elapse", "showing", "correct", "flush", "published", "write_rows", "finish"]
    killed_at_each(setup, killer, points, lambda: plant.send(25), lambda: assert_tables(setup))
    expected = assert_tables(setup)
    assert all(expected.values())
    assert any(row["ended_at"] for row in expected["alarms"].values())


def test_recorded_sources_shuffled_doubled_and_with_a_restart(setup: Setup) -> None:
    """Connecticut's power plants by day and the balancing authorities by hour; the mass is the files' to the gram."""
    sent, mass = [], 0.0
    plants = pd.read_csv(recorded("co2/epa_ampd_daily_CT_2009_2013.csv.gz"), skipinitialspace=True)
    for number, row in enumerate(plants.itertuples(index=False)):
        kg = float(row[5]) * SHORT_TON_KG
        mass += kg
        optional = {"interval_s": 86_400.0, "sector": "power", "energy_mwh": float(row[7]), "method": "measured"}
        sent.append((f"ct{number}", pd.Timestamp(row[2], tz="UTC").to_pydatetime(), "CT", kg, optional))
    grids = pd.read_csv(recorded("co2/gridemissions_CO2_2021-07.csv.gz"))
    columns = [name for name in grids.columns if name.startswith("CO2_") and name.endswith("_NG")]
    for number, hour in grids.iterrows():
        when = pd.Timestamp(hour["period"], tz="UTC").to_pydatetime()
        for name in columns:
            if pd.notna(hour[name]):
                kg = float(hour[name])
                mass += kg
                sent.append((f"{name}{number}", when, name[4:-3], kg, {"interval_s": 3_600.0}))
    assert len(plants) == 1_462
    draw = random.Random(7)
    draw.shuffle(sent)
    sent += draw.sample(sent, 200)
    texts = [message(event_id, when, source, kg, **more) for event_id, when, source, kg, more in sent]
    for begin, end in ((0, 1_500), (1_500, 1_510), (1_510, len(texts))):
        start = setup.topic.ends()
        for number, text in enumerate(texts[begin:end]):
            setup.topic.send(number % 2, text)
        setup.take(start if begin else None)
        if begin == 1_500:
            setup.open()
    expected = assert_tables(setup)
    totals = setup.table("totals")
    assert fsum(row["emission_kg"] for row in totals) == pytest.approx(mass, abs=0.001)
    assert sum(row["records"] for row in totals) == len(sent) - 200
    assert len(expected["alarms"]) > 5
    years = [row["year"] for row in setup.table("budgets") if row["source_id"] == "CT"]
    assert sorted(years) == sorted({when.year for _, when, source, *_ in sent if source == "CT"})
