"""Streams in one driver, ``spark-submit jobs/suite.py``: recorded days, ``kill -9`` in mid-replay."""

import csv
import gzip
import itertools
import random
import signal
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from headwater.contracts import STREAMS
from headwater.processed import own_kind
from tests import co2_reference, trucks_reference
from tests.events_reference import ADD, PURCHASE, REMOVE, VIEW, expected_tables, keyed
from tests.integration.test_jobs_sales import assert_processed, assert_tables, positions
from tests.recorded import recorded
from tests.suite import START_S, Suite

BUS_ROWS = 6_000
HOURS = 6_000
KINDS = {"view": VIEW, "cart": ADD, "remove_from_cart": REMOVE, "purchase": PURCHASE}


def sales_of(path: Path) -> list[dict[str, str]]:
    """The rows of the UCI shop that are good sales."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3108
    return [row for row in rows if row["Description"].strip() and Decimal(row["UnitPrice"]) >= 0]


def events_of(path: Path) -> list[dict[str, Any]]:
    """The rows of the REES46 shop, named as in `records`; each session lies in one partition, in the file's order."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            "event_id": str(n),
            "partition": 0,
            "offset": n,
            "event_time": datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC),
            "event_type": KINDS[row["event_type"]],
            "session_id": row["user_session"],
            "product_id": row["product_id"],
            "quantity": 1,
            "price": Decimal(row["price"]),
        }
        for n, row in enumerate(rows)
    ]


def fixes_of(path: Path) -> list[dict[str, Any]]:
    """The first rows of a day of buses, named as in `records`; a bus lies in one partition, in the file's order."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:BUS_ROWS]
    return [
        {
            "event_id": str(n),
            "partition": 0,
            "offset": n,
            "event_time": datetime.fromisoformat(row["timestamp"]),
            "truck_id": row["vehicle_id"],
            "latitude": float(row["latitude"]),
            "longitude": float(row["longitude"]),
            "speed_kmh": float(row["speed"]) * 3.6,
            "route": row["trip_headsign"] or None,
            "heading_deg": None,
            "driver": None,
        }
        for n, row in enumerate(rows)
    ]


def readings_of(path: Path) -> list[dict[str, Any]]:
    """The first hours of a balancing authority, named as in `records`; but those it says nothing of."""
    optional = dict.fromkeys(["facility", "sector", "fuel", "country", "latitude", "longitude", "method"])
    found = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for n, row in enumerate(itertools.islice(csv.DictReader(file), HOURS)):
            when, intensity = row.pop("timestamp"), row.pop("avg_CI")
            if intensity and all(row.values()):
                mwh = sum(map(Decimal, row.values()))
                known = {"source_id": "CISO", "emission_kg": float(mwh * Decimal(intensity)), "energy_mwh": float(mwh)}
                place = {"event_id": str(n), "event_time": datetime.fromisoformat(when), "partition": 0, "offset": n}
                found.append({**optional, **known, **place, "interval_s": 3_600.0})
    return found


@pytest.mark.timeout(1200)
def test_recorded_days_killed_twice_in_mid_replay(suite: Suite) -> None:
    """Then SIGTERM, which ends the job cleanly, and ``--once``, whose clock is the data's own."""
    suite.job = "jobs/suite.py"
    sales_file = recorded("sales/online_retail_2010-12-01.csv.gz")
    events_file = recorded("events/rees46_2019-10-01.csv.gz")
    trucks_file = recorded("trucks/capmetro_2016-11-24.csv.gz")
    co2_file = recorded("co2/eia930_CISO_avgCI.csv.gz")
    sales, events, fixes = sales_of(sales_file), events_of(events_file), fixes_of(trucks_file)
    readings = readings_of(co2_file)
    sent = {"sales": 3108, "events": len(events), "trucks": len(fixes), "co2": HOURS}
    revenue = sum((int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in sales), Decimal(0))
    assert (len(events), revenue) == (5931, Decimal("58635.56"))

    points = [random.randrange(1, 1000), random.randrange(1100, 2400)]
    # Small batches: wherever it is killed, it is amid the days.
    small = {"HEADWATER_JOBS_MAX_OFFSETS_PER_TRIGGER": "600"}
    job = suite.start_job(**small)
    replays = [
        suite.start(sys.executable, "-m", f"producers.{stream}", "--source", "replay", str(path), *options)
        for stream, path, *options in (
            ("sales", sales_file, "--rate", "300"),
            ("events", events_file, "--rate", "570"),
            ("trucks", trucks_file, "--rate", "570", "--as-recorded", "--count", str(BUS_ROWS)),
            ("co2", co2_file, "--rate", "570", "--count", str(HOURS)),
        )
    ]
    try:
        for point in points:
            suite.eventually(lambda point=point: suite.taken("sales") >= point, START_S, job)  # type: ignore[misc]
            suite.kill(job)
            assert all(suite.taken(stream) < n for stream, n in sent.items())
            job = suite.start_job(**small)
        for replay in replays:
            assert replay.wait(START_S) == 0, suite.log(replay)
        suite.eventually(lambda: all(suite.taken(stream) >= n for stream, n in sent.items()), START_S, job)
    except BaseException as error:
        error.add_note(f"killed when {points} sales were taken")
        raise

    # By the wall clock every basket of 2019 was left behind long ago, and no event comes to say so.
    left = expected_tables(events, datetime.now(UTC))["abandoned"]
    suite.eventually(lambda: keyed("abandoned", suite.table("abandoned", "events")) == left, START_S, job)

    job.send_signal(signal.SIGTERM)
    assert job.wait(90) == 0, suite.log(job)[-3000:]
    assert suite.session_of(job) == []
    assert "Traceback" not in suite.log(job)

    suite.once()

    for stream, n in sent.items():
        names = STREAMS[stream]
        records, rejected = (suite.table(name, stream) for name in ("records", "rejected"))
        everything = [(p, offset) for p, end in suite.ends(names.raw_topic).items() for offset in range(end)]
        assert len(everything) == n
        assert positions(records + rejected) == sorted(everything)
        good = len({"sales": sales, "events": events, "trucks": fixes, "co2": readings}[stream])
        assert len({row["event_id"] for row in records}) == len(records) == good
        assert set(positions(suite.values(names.live_topic))) == set(positions(records))
        assert set(positions(suite.values(names.rejected_topic))) == set(positions(rejected))

    expected = assert_tables(suite)
    assert sum((figures[1] for figures in expected["totals"].values()), Decimal(0)) == revenue
    assert_processed(suite, expected)

    assert_events(suite, events)
    assert_trucks(suite, fixes)
    assert_co2(suite, readings)


def assert_events(suite: Suite, events: list[dict[str, Any]]) -> None:
    rows = processed(suite, "events")
    for name, wanted in expected_tables(events).items():
        assert keyed(name, suite.table(name, "events")) == wanted, name
        assert keyed(name, [row for row in rows if row["kind"] == name]) == wanted, f"processed {name}"


def assert_trucks(suite: Suite, fixes: list[dict[str, Any]]) -> None:
    rows = processed(suite, "trucks")
    for name, wanted in trucks_reference.expected_tables(fixes).items():
        for row in wanted.values():
            row.pop("event_id", None)  # made by the replay
        trucks_reference.assert_same(name, suite.table(name, "trucks"), wanted)
        of_table = [own_kind(dict(row)) for row in rows if row["kind"] == name]
        trucks_reference.assert_same(name, of_table, wanted)


def assert_co2(suite: Suite, readings: list[dict[str, Any]]) -> None:
    for name, wanted in co2_reference.expected_tables(readings, co2_reference.Limits()).items():
        co2_reference.assert_same(name, suite.table(name, "co2"), wanted)
    lines = pd.concat(pd.read_csv(path) for path in suite.settings().csv("co2").iterdir()).sort_values("event_time")
    in_order = sorted(readings, key=lambda row: row["event_time"])
    assert lines["emission_kg"].tolist() == pytest.approx([row["emission_kg"] for row in in_order], rel=1e-15)


def processed(suite: Suite, stream: str) -> list[dict[str, Any]]:
    """The rows that a processed topic holds in the end."""
    last = {message.key(): message.value() for message in suite.messages(STREAMS[stream].processed_topic)}
    return [orjson.loads(value) for value in last.values() if value is not None]
