"""A source's records: worked out by hand, and against whole columns in pandas."""

import itertools
import random
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contracts.emissions import SECOND, Meter, Reading, Rules, budgets, years_of
from headwater.folds import FoldBook
from headwater.settings import Co2Settings, Settings
from jobs.co2 import JOB
from tests.co2_reference import Limits, assert_same, expected_tables

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY_US = 86_400 * SECOND
Tables = dict[str, list[dict[str, Any]]]


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def reading(second: float, kg: float, interval_s: float | None = 60.0, **more: Any) -> Reading:
    """So many seconds after noon."""
    return Reading(us(NOON) + round(second * SECOND), kg, interval_s, **more)


NO_RULES = Rules()


def followed(readings: Sequence[Reading], by: Rules = NO_RULES, source: str = "s", silent: bool = False) -> Tables:
    """All rows by table, of a row that came twice the later one; each step from the state's bytes, as in the ledger."""
    rows: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    meter = Meter()

    def put(table: str, row: dict[str, Any]) -> None:
        key = row.get("window_start", row.get("alarm_id"))
        rows[table, key] = table, row

    for taken in readings:
        meter = Meter.load(meter.dump())
        for out in meter.take(source, taken, by):
            put(*out)
    for out in meter.rows(source, by, is_silent=silent):
        put(*out)
    found: Tables = {}
    for table, row in rows.values():
        found.setdefault(table, []).append(row)
    return found


def test_a_minute_worked_out_by_hand() -> None:
    """Two records of which one knows its energy; the first one's time follows from nothing."""
    rows = followed(
        [
            reading(0, 3, None),
            reading(20, 2, None, energy_mwh=0.004, method="measured"),
            reading(50, 1, 30, method="substitute"),
            reading(61, 7, 11),
        ]
    )
    first, second = rows["per_minute"]
    assert first == {
        "window_start": us(NOON), "window_end": us(NOON) + 60 * SECOND, "source_id": "s",
        "emission_kg": 6.0, "energy_mwh": 0.004, "intensity_kg_mwh": 500.0,
        "mean_rate_kg_h": (2 * 180 + 120) / 2, "max_rate_kg_h": 360.0, "records": 3, "substitute": 1,
    }  # fmt: skip
    assert (second["emission_kg"], second["records"], second["energy_mwh"]) == (7.0, 1, None)
    (hour,) = rows["per_hour"]
    assert (hour["emission_kg"], hour["records"], hour["window_end"] - hour["window_start"]) == (13.0, 4, 3600 * SECOND)
    (total,) = rows["totals"]
    assert (total["emission_kg"], total["records"], total["rate_kg_h"]) == (13.0, 4, pytest.approx(7 / 11 * 3600))


def test_masses_add_up_to_the_nearest_double_in_any_order() -> None:
    tenth = followed([reading(n, 0.1) for n in range(10)])["totals"][0]["emission_kg"]
    assert tenth == 1.0
    masses = [1e13, 1e-9, 3.3, 1e13, 2.2e-5, 7e5]
    one, other = (
        followed([reading(n, kg) for n, kg in enumerate(order)])["totals"][0]["emission_kg"]
        for order in (masses, masses[::-1])
    )
    assert one == other == 20_000_000_700_003.300022001


LIMIT = Rules(limits={"s": 100.0})


def alarms(rates: Sequence[float], by: Rules = LIMIT) -> list[tuple[Any, ...]]:
    """A record a minute at these rates -> began, raised and ended (as numbers of records) and peak."""
    rows = followed([reading(60 * n, rate / 60) for n, rate in enumerate(rates)], by).get("alarms", [])

    def number(at: int | None) -> int | None:
        return None if at is None else (at - us(NOON)) // (60 * SECOND)

    return [
        (*(number(row[name]) for name in ("began_at", "raised_at", "ended_at")), pytest.approx(row["peak_kg_h"]))
        for row in rows
    ]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([90, 101, 102, 99, 101, 102], []),  # never three running
        ([90, 101, 103, 102], [(1, 3, None, 103)]),
        ([100, 100, 100, 100], []),  # at the limit is not above it
        ([101, 101, 101, 94, 94, 94], [(0, 2, 3, 101)]),
        ([101, 101, 101, 95, 95, 95, 95], [(0, 2, None, 101)]),  # at 95 % is not below it
        ([101, 101, 101, 94, 94, 96, 94, 94], [(0, 2, None, 101)]),  # in between begins anew
        ([101, 101, 101, 94, 94, 99, 94, 130, 94, 94, 94], [(0, 2, 8, 130)]),
        ([101, 101, 101, 10, 10, 10, 101, 101, 99, 101, 101, 101], [(0, 2, 3, 101), (9, 11, None, 101)]),
    ],
)  # fmt: skip
def test_an_alarm_begins_and_ends_by_three_running(rates: list[float], expected: list[Any]) -> None:
    assert alarms(rates) == expected


def test_a_record_without_a_rate_says_nothing_of_the_limit() -> None:
    """The first has no time to be divided by, and the third is at the time of the one before."""
    readings = [
        reading(0, 500, None), reading(60, 2, None), reading(60, 99, None),
        reading(120, 2, None), reading(180, 2, None),
    ]  # fmt: skip
    (alarm,) = followed(readings, LIMIT)["alarms"]
    assert alarm["peak_kg_h"] == pytest.approx(120)
    assert [(alarm[name] - us(NOON)) // SECOND for name in ("began_at", "raised_at")] == [60, 180]


@given(st.lists(st.floats(0, 200), max_size=60))
def test_alarms_never_flap_within_their_hysteresis(rates: list[float]) -> None:
    """Whatever the series: an alarm has three running above the limit at its begin and three below 95 % at its end, and
    between two alarms lie both.
    """
    found = alarms(rates)
    for began, raised, ended, peak in found:
        assert raised == began + 2
        assert all(rate > 100 for rate in rates[began : raised + 1])
        until = len(rates) if ended is None else ended
        assert peak == pytest.approx(max(rates[began:until]))
        runs = [rates[n : n + 3] for n in range(raised + 1, until)]
        assert not any(len(run) == 3 and all(rate < 95 for rate in run) for run in runs[:-2])
        if ended is not None:
            assert all(rate < 95 for rate in rates[ended : ended + 3])
    for (*_, ended, _), (began, *_) in itertools.pairwise(found):
        assert ended is not None
        assert began >= ended + 3
    assert [alarm[2] is None for alarm in found[:-1]] == [False] * (len(found) - 1 if found else 0)


def health(readings: Sequence[Reading], **more: Any) -> tuple[str, float, int]:
    (row,) = followed(readings, **more)["health"]
    return row["state"], (row["since"] - us(NOON)) / SECOND, row["gaps"]


def test_a_meter_is_stuck_from_the_twelfth_same_value_on() -> None:
    moving = [reading(60 * n, n + 1) for n in range(5)]
    stuck = [reading(300 + 60 * n, 9.5) for n in range(12)]
    assert health(moving + stuck[:-1]) == ("ok", 0, 0)
    assert health(moving + stuck) == ("stuck", 300, 0)
    assert health([*moving, *stuck, reading(1020, 9.4)]) == ("ok", 1020, 0)
    assert health([reading(60 * n, 0) for n in range(30)]) == ("ok", 0, 0)  # a plant that stands still


def test_silence_and_gaps_go_by_the_usual_interval() -> None:
    """Usually a minute: three of them are not yet too much, and a record that covers its time has missed nothing."""
    regular = [reading(60 * n, n + 1) for n in range(8)]
    meter = Meter()
    for taken in regular:
        list(meter.take("s", taken, Rules()))
    assert meter.silent_at(Rules()) == [us(NOON) + (420 + 180) * SECOND]
    assert health(regular, silent=True) == ("silent", 420, 0)
    assert health([*regular, reading(420 + 180, 20)]) == ("ok", 0, 0)
    assert health([*regular, reading(420 + 181, 20)]) == ("gap", 420, 1)
    assert health([*regular, reading(420 + 181, 20, 181)]) == ("ok", 0, 0)
    assert health([*regular, reading(420 + 181, 20), reading(420 + 241, 21)]) == ("ok", 661, 1)
    assert health(regular[:3]) == ("ok", 0, 0)
    two = Meter()
    for taken in regular[:3]:
        list(two.take("s", taken, Rules()))
    assert two.silent_at(Rules()) == []  # two intervals make no habit


def day(number: int, kg: float, budget: str = "source:s") -> dict[str, Any]:
    """A day of a budget, numbered from 1 January 2026, of which each hour is covered."""
    start = us(datetime(2026, 1, 1, tzinfo=UTC)) + number * DAY_US
    return {
        "window_start": start, "budget": budget, "emission_kg": kg, "since": start, "last_event": start + DAY_US,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("days", "allowance", "expected"),
    [
        # 600 kg used up to the end of 1 March; at 10 kg a day the other 305 last until noon of 1 April.
        ([day(n, 10) for n in range(60)], 905, (600, 10 / 24, "2026-04-01")),
        # Only the last 30 days count for the rate: 100 kg left at 1 kg a day.
        ([day(n, 10 if n < 30 else 1) for n in range(60)], 430, (330, 1 / 24, "2026-06-10")),
        ([day(n, 10) for n in range(60)], 25, (600, 10 / 24, "2026-01-03")),
        ([day(0, 1)], 3650, (1, 1 / 24, "2035-12-30")),
        ([day(0, 0.0)], 10, (0, 0, None)),
        # The 28 days of December count for January's rate, and for nothing else of it.
        ([*(day(n, 7) for n in range(-40, 0)), day(0, 1), day(1, 1)], 30, (2, (28 * 7 + 2) / 30 / 24, "2026-01-07")),
    ],
)
def test_budgets_worked_out_by_hand(days: list[dict[str, Any]], allowance: float, expected: Any) -> None:
    (row,) = budgets(us(datetime(2026, 1, 1, tzinfo=UTC)), days, Rules(source_allowances={"s": allowance}))
    used, rate, exhausted = expected
    assert (row["used_kg"], row["mean_rate_kg_h"], row["exhausted_on"]) == (used, pytest.approx(rate), exhausted)
    assert (row["year"], row["source_id"], row["sector"]) == (2026, "s", None)
    assert row["used_share"] == pytest.approx(used / allowance)


def test_a_day_in_december_also_moves_the_next_year_s_rate() -> None:
    def years(moment: datetime) -> list[int]:
        return [(EPOCH + timedelta(microseconds=first)).year for first, _ in years_of(us(moment))]

    assert years(datetime(2026, 12, 2, tzinfo=UTC)) == [2026]
    assert years(datetime(2026, 12, 3, tzinfo=UTC)) == [2026, 2027]
    assert years(datetime(2027, 1, 1, tzinfo=UTC)) == [2027]


# --- any records in any batches, against pandas ---------------------------------------------------------------------

EVERYTHING = Co2Settings(
    limits_kg_h={"a": 40, "b": 100},
    source_allowances_kg={"a": 30, "c": 1e6},
    sector_allowances_kg={"power": 50},
)
LIMITS = Limits(EVERYTHING.limits_kg_h, EVERYTHING.source_allowances_kg, EVERYTHING.sector_allowances_kg)
FOLD = JOB.fold_of(Settings(co2=EVERYTHING))
assert FOLD is not None

STEPS = st.sampled_from([0, 1, 30, 60, 60, 60, 60, 61, 181, 900, 3600, 86_400, 40 * 86_400])
RECORDS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        STEPS,
        st.fixed_dictionaries(
            {
                "emission_kg": st.sampled_from([0.0, 0.5, 0.5, 1.0, 1.7, 3.0]),
                "interval_s": st.sampled_from([None, None, 60.0, 60.0, 3600.0]),
                "facility": st.sampled_from([None, "north", "south"]),
                "sector": st.sampled_from([None, "power", "power", "steel"]),
                "fuel": st.sampled_from([None, "gas"]),
                "country": st.none(),
                "latitude": st.sampled_from([None, 51.5]),
                "longitude": st.none(),
                "energy_mwh": st.sampled_from([None, 0.0, 0.25]),
                "method": st.sampled_from([None, "measured", "substitute"]),
            }
        ),
    ),
    min_size=10,
    max_size=120,
)


@settings(deadline=None, max_examples=40)
@given(RECORDS, st.randoms(use_true_random=False))
def test_any_records_in_any_batches_give_the_tables_of_pandas(records: list[Any], draw: random.Random) -> None:
    at, rows = NOON, []
    for number, (source, step, fields) in enumerate(records):
        at += timedelta(seconds=step)
        identity = {"source_id": source, "event_id": str(number), "event_time": at, "partition": 0, "offset": number}
        rows.append({**identity, **fields})
    gone = [row for row in rows if draw.random() < 0.1]
    arrived = rows.copy()
    draw.shuffle(arrived)
    book = FoldBook(sqlite3.connect(":memory:"), FOLD)
    while arrived:
        count = draw.randrange(1, 30)
        taken(book, arrived[:count], 1)
        arrived = arrived[count:]
    taken(book, gone, -1)
    left = [row for row in rows if row not in gone]
    clock = at + timedelta(seconds=draw.choice([0, 100, 1_000]))
    book.elapse(us(clock))
    changed = book.unpublished(1_000_000)
    expected = expected_tables(left, LIMITS, clock) if left else {}
    for table in book.tables:
        found = [stored.row for stored in changed if stored.table == table and not stored.is_gone]
        assert_same(table.name, found, expected.get(table.name, {}))


def taken(book: FoldBook[Meter], rows: list[dict[str, Any]], sign: int) -> None:
    if rows:
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in FOLD.columns}
        columns |= {
            "key": [row["source_id"] for row in rows],
            "at": [us(row["event_time"]) for row in rows],
            "position": [row["offset"] for row in rows],
            "as_of": [0] * len(rows),
            "sign": [sign] * len(rows),
        }
        book.take(pa.table(columns))


def test_the_fold_is_another_one_under_other_rules() -> None:
    versions = {
        JOB.fold_of(Settings(co2=co2)).version  # type: ignore[union-attr]
        for co2 in (Co2Settings(), EVERYTHING, Co2Settings(alarm_records=4), Co2Settings(stuck_records=6))
    }
    assert len(versions) == 4
