"""The archive of shop events with real Spark and Delta: visits, baskets and counts equal the definitions.

What each table is to hold is worked out by ``tests.events_reference`` from what ``records`` holds, and ``records``
from what was sent.
"""

import csv
import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from headwater import views
from headwater.settings import Settings
from jobs.events import JOB, VIEWS
from tests.archives import Killer, Setup, killed_at_each, set_up
from tests.events_reference import ADD, PURCHASE, REMOVE, VIEW, expected_tables, keyed
from tests.recorded import recorded

DAY = datetime(2026, 5, 4, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TABLES = ("sessions", "abandoned", "per_window", "per_minute", "by_product")


def at(minute: float) -> datetime:
    return DAY + timedelta(minutes=minute)


def event(event_id: str, when: datetime, session: str, kind: str, product: str = "tv", **optional: Any) -> str:
    fields = {"event_id": event_id, "event_time": when.isoformat(), "event_type": kind, "session_id": session}
    return json.dumps({**fields, "product_id": product, **optional})


@pytest.fixture
def setup(spark: SparkSession, settings: Settings) -> Iterator[Setup]:
    with set_up(spark, settings, JOB) as made:
        yield made


def assert_tables(setup: Setup, clock: datetime | None = None) -> dict[str, Any]:
    """Every table equals its definition over ``records``, in Delta and in the processed topic."""
    records = setup.table("records")
    expected = expected_tables(records, clock)
    horizon = max(row["event_time"] for row in records) - timedelta(hours=setup.settings.jobs.processed_window_hours)
    for name in TABLES:
        assert keyed(name, setup.table(name)) == expected[name], name
        kept = expected[name]
        if name in ("sessions", "abandoned"):
            when = {"sessions": 1, "abandoned": 0}[name]  # its last event, the beginning of its silence
            kept = {key: row for key, row in kept.items() if row[when] >= horizon}
        elif name != "by_product":
            kept = {key: row for key, row in kept.items() if key[0] >= horizon}
        assert keyed(name, setup.processed.of(name).values()) == kept, f"processed {name}"
    found = [(row["partition"], row["offset"]) for name in ("records", "rejected") for row in setup.table(name)]
    assert sorted(found) == sorted(setup.topic.positions())
    return expected


def assert_exact(setup: Setup) -> None:
    """The batch computation that the project calls the definition says the same."""
    expected = expected_tables(setup.table("records"))
    records = setup.spark.read.format("delta").load(str(setup.path("records")))
    for view in VIEWS:
        rows = views.exact(records, view).toArrow().to_pylist()
        assert keyed(view.table.name, rows) == expected[view.table.name], view.table.name


def test_visits_worked_out_by_hand(setup: Setup) -> None:
    """A buyer, one who leaves a basket and comes back, one without a view, one whose clock is two hours ahead."""
    setup.topic.send(
        0,
        event("a1", at(0), "buyer", VIEW, price="100.00", user_id="u1"),
        event("a2", at(1), "buyer", ADD, price="100.00", quantity=2),
        event("a3", at(2), "buyer", REMOVE),
        event("a4", at(3.5), "buyer", PURCHASE, price="99.50"),
        event("a4", at(3.5), "buyer", PURCHASE, price="99.50"),  # sent twice
        event("b1", at(0), "late buyer", VIEW, "radio"),
        event("b2", at(5), "late buyer", ADD, "radio", price="10", quantity=3),
        event("c1", at(1), "no view", PURCHASE, "radio", price="10", quantity="two"),  # a wrong quantity counts as 1
        event("d1", at(125), "ahead", VIEW, "mug"),
        event("d2", at(126), "ahead", ADD, "mug"),
        event("e1", at(126), "discount", PURCHASE, "voucher", price="-2.5"),
    )
    setup.topic.send(1, '{"event_type": "view"}', "not json", event("x", at(0), "s", "click"))
    setup.take()
    assert {row["offset"]: row["reasons"] for row in setup.table("rejected")} == {
        0: ["range:event_type", "missing:session_id", "missing:product_id"], 1: ["not_json"], 2: ["range:event_type"],
    }  # fmt: skip
    zero = Decimal(0)
    expected = assert_tables(setup)
    assert expected["sessions"] == {
        "buyer": (at(0), at(3.5), 4, 3, 210.0, 0, zero, Decimal("99.50")),
        "late buyer": (at(0), at(5), 2, 2, None, 3, Decimal(30), zero),
        "no view": (at(1), at(1), 1, 0, None, 0, zero, Decimal(10)),
        "ahead": (at(125), at(126), 2, 2, None, 1, zero, zero),
        "discount": (at(126), at(126), 1, 0, None, 0, zero, Decimal("-2.5")),
    }
    assert expected["abandoned"] == {"late buyer": (at(5), 3, Decimal(30), None)}
    assert keyed("by_product", setup.table("by_product"))["radio"] == (1, 1, 0, 1, 1, Decimal(10), 1, 1, 1.0)
    assert keyed("per_minute", setup.table("per_minute"))[at(0), VIEW] == (2,)
    (wrong,) = (row for row in setup.table("records") if row["session_id"] == "no view")
    assert (wrong["quantity"], wrong["flags"]) == (None, ["quantity"])
    assert {row["quantity"] for row in setup.table("records") if row["event_id"] == "a1"} == {1}

    # It comes back and buys after all; and what was late shows that another had not even been left alone.
    start = setup.topic.ends()
    setup.topic.send(
        0,
        event("b3", at(130), "late buyer", PURCHASE, "radio", price="9.90", quantity=3),
        event("d3", at(127), "ahead", PURCHASE, "mug", price="4"),
    )
    setup.take(start)
    expected = assert_tables(setup)
    assert expected["abandoned"] == {"late buyer": (at(5), 3, Decimal(30), at(130))}
    assert expected["sessions"]["late buyer"][3:] == (2, None, 0, zero, Decimal("29.70"))
    start = setup.topic.ends()
    setup.topic.send(0, *[event(f"b{m}", at(m), "late buyer", VIEW, "radio", price="8") for m in (20, 45, 70, 95, 124)])
    setup.take(start)
    expected = assert_tables(setup)
    assert expected["abandoned"] == {}
    assert expected["sessions"]["late buyer"][3:5] == (2, None)
    assert setup.processed.rows["abandoned:late buyer"] is None
    assert_exact(setup)


def test_silence_ends_the_basket_and_the_window(setup: Setup) -> None:
    """By the wall clock while the job runs; with ``--once`` by the greatest event time, also after such a run."""
    now = [(at(10) - EPOCH) // MICROSECOND]
    setup.now = lambda: now[0]
    archive = setup.open()
    setup.topic.send(0, event("a", at(0), "s", ADD, price="5"), event("b", at(9), "t", VIEW))
    setup.take()
    assert setup.table("abandoned") == []
    assert not any(row["is_final"] for row in setup.table("per_minute"))

    now[0] = (at(29.99) - EPOCH) // MICROSECOND
    archive.elapse()
    assert_tables(setup, clock=at(29.99))
    # 9:00 and ten minutes' patience for late events, 20 minutes after the last arrival
    assert {row["window_start"]: row["is_final"] for row in setup.table("per_minute")} == {at(0): True, at(9): True}
    assert setup.table("abandoned") == []
    now[0] += 1_000_000
    archive.elapse()
    expected = assert_tables(setup, clock=at(30.01))
    assert expected["abandoned"] == {"s": (at(0), 1, Decimal(5), None)}
    before = setup.versions()
    archive.elapse()
    assert setup.versions() == before

    setup.now = None
    setup.open()
    assert assert_tables(setup)["abandoned"] == {}


def test_another_patience_folds_the_visits_anew(setup: Setup) -> None:
    setup.topic.send(
        0, event("a", at(0), "s", VIEW), event("b", at(3), "s", ADD), event("c", at(5), "s", PURCHASE),
        event("d", at(9), "t", ADD), event("e", at(14), "u", VIEW),
    )  # fmt: skip
    setup.take()
    assert {row["session_id"]: row["step"] for row in setup.table("sessions")} == {"s": 3, "t": 0, "u": 1}
    shorter = setup.settings.events.model_copy(update={"funnel_minutes": 4.0, "abandoned_minutes": 5.0})
    setup.settings = setup.settings.model_copy(update={"events": shorter})
    setup.open()
    assert {row["session_id"]: row["step"] for row in setup.table("sessions")} == {"s": 2, "t": 0, "u": 1}
    assert [row["session_id"] for row in setup.table("abandoned")] == ["t"]


class Shop:
    """Visits with everything that goes wrong: doubled, displaced and late events, garbage, silences."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.topic, self.random, self.sent = setup.topic, random.Random(seed), 0

    def send(self, count: int) -> None:
        draw = self.random
        for _ in range(count):
            self.sent += 1
            repeated = draw.random() < 0.2
            number = draw.randrange(max(1, self.sent - 15), self.sent + 1) if repeated else self.sent
            minute = self.sent * 3 - draw.choice([0, 0, 0, 5, 40, 4000])
            self.topic.send(
                draw.randrange(2),
                event(
                    f"e{number}", at(minute), f"s{draw.randrange(self.sent // 12, self.sent // 12 + 3)}",
                    draw.choice([VIEW, ADD, ADD, REMOVE, PURCHASE, "click"]), draw.choice(["tv", "mug"]),
                    price=draw.choice([None, "0.1", "19.99"]), quantity=draw.choice([1, 2, 0]),
                ),
            )  # fmt: skip


def test_killed_between_any_two_writes_of_a_visit(setup: Setup, killer: Killer) -> None:
    """Between begin and judge the archive of sales is killed at every write; here from the first step of a visit on."""
    shop = Shop(setup, 7)
    shop.send(40)
    setup.take()
    points = ["take", "elapse", "showing", "correct", "flush"]
    killed_at_each(setup, killer, points, lambda: shop.send(10), lambda: assert_tables(setup))
    assert_tables(setup)
    assert_exact(setup)


def test_a_recorded_night_shuffled_doubled_and_in_batches(setup: Setup) -> None:
    """5,931 events of a real shop; out of order by minutes, a tenth sent twice, in batches and with two restarts."""
    path = recorded("events/rees46_2019-10-01.csv.gz")
    kinds = {"view": VIEW, "cart": ADD, "remove_from_cart": REMOVE, "purchase": PURCHASE}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    draw = random.Random(11)
    by_session: dict[str, list[int]] = {}
    for n, row in enumerate(rows):
        by_session.setdefault(row["user_session"], []).append(n)
    # A session lies in one partition; ties in time keep the file's order, which is what the file means by it.
    waits = {name: draw.uniform(0, 300) for name in by_session}
    order = sorted(range(len(rows)), key=lambda n: (_time(rows[n]).timestamp() + waits[rows[n]["user_session"]], n))
    arrivals = [n for n in order for _ in range(2 if draw.random() < 0.1 else 1)]
    partition = {name: draw.randrange(2) for name in by_session}
    for cut, part in enumerate((arrivals[:2500], arrivals[2500:2600], arrivals[2600:])):
        start = setup.topic.ends()
        for n in part:
            row = rows[n]
            text = event(
                f"row-{n}", _time(row), row["user_session"], kinds[row["event_type"]], row["product_id"],
                price=row["price"], category=row["category_code"], user_id=row["user_id"],
            )  # fmt: skip
            setup.topic.send(partition[row["user_session"]], text)
        setup.take(start if cut else None)
        if cut < 2:
            setup.open()
    expected = assert_tables(setup)

    # And by pandas on the file alone, which has no adds removed and no session that pauses over a basket.
    frame = pd.DataFrame(rows)
    frame["at"] = pd.to_datetime(frame["event_time"], format="%Y-%m-%d %H:%M:%S UTC", utc=True)
    bought = frame[frame["event_type"] == "purchase"]
    revenue = sum(map(Decimal, bought["price"]), Decimal(0))
    assert sum((row[5] for row in expected["by_product"].values()), Decimal(0)) == revenue
    assert {kind: sum(n for (_, k), (n,) in expected["per_minute"].items() if k == kinds[kind]) for kind in kinds} == (
        {"remove_from_cart": 0} | frame["event_type"].value_counts().to_dict()
    )
    assert len(expected["sessions"]) == frame["user_session"].nunique()
    viewed = frame[frame["event_type"] == "view"].groupby("user_session")["at"].min()
    assert sum(row[3] >= 1 for row in expected["sessions"].values()) == len(viewed)


def _time(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
