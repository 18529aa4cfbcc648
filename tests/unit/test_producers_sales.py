"""The simulated shop, the pace and the command line of `python -m producers.sales`."""

import itertools
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contracts.sales import Sale
from headwater.settings import Settings
from producers import pacing, run, sales
from producers.delivery import encode

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UTC_NIGHT = datetime(2026, 5, 4, 1, 0, tzinfo=UTC)


def sold(seed: int | None, count: int, start: datetime = NOON) -> list[dict]:
    """Records of a fresh shop, a second apart."""
    shop = sales.open_shop(seed)
    return [sales.next_record(shop, start + timedelta(seconds=n)) for n in range(count)]


def test_a_seed_gives_the_same_records_and_another_seed_others():
    assert sold(7, 500) == sold(7, 500)
    assert [r["order_id"] for r in sold(7, 500)] != [r["order_id"] for r in sold(8, 500)]


def test_runs_without_a_seed_share_no_id():
    first, second = sold(None, 500), sold(None, 500)

    assert {r["event_id"] for r in first}.isdisjoint(r["event_id"] for r in second)
    assert {r["order_id"] for r in first}.isdisjoint(r["order_id"] for r in second)


def test_every_simulated_record_keeps_the_contract():
    for record in sold(1, 5_000):
        sale = Sale.model_validate_json(encode(record))

        assert sale.event_time == record["event_time"]
        assert (sale.product, sale.quantity, sale.price) == (record["product"], record["quantity"], record["price"])
        assert None not in (sale.product_id, sale.order_id, sale.category, sale.store, sale.country, sale.currency)


def test_ids_are_distinct_and_the_event_time_is_the_clocks():
    records = sold(1, 3_000)

    assert len({r["event_id"] for r in records}) == 3_000
    assert [r["event_time"] for r in records] == [NOON + timedelta(seconds=n) for n in range(3_000)]


def test_the_lines_of_an_order_follow_each_other_and_name_one_store_and_customer():
    orders = [list(lines) for _, lines in itertools.groupby(sold(1, 3_000), key=lambda r: r["order_id"])]

    assert len(orders) == len({lines[0]["order_id"] for lines in orders})
    assert max(map(len, orders)) > 1
    for lines in orders:
        assert len({(r["store"], r["country"], r.get("customer_id")) for r in lines}) == 1
        assert len({r["product"] for r in lines}) == len(lines)


def test_only_what_was_sold_comes_back_at_the_price_paid():
    sold_units: Counter[tuple] = Counter()
    returns = 0
    for record in sold(1, 20_000):
        line = tuple(record.get(name) for name in ("product", "price", "store", "customer_id"))
        sold_units[line] += record["quantity"]
        assert sold_units[line] >= 0
        returns += record["quantity"] < 0
    assert 100 < returns < 1_000


def test_the_day_has_a_rhythm_in_each_stores_own_clock():
    asleep_in_europe = Counter(r["store"] for r in sold(1, 3_000, UTC_NIGHT))
    awake_in_europe = Counter(r["store"] for r in sold(1, 3_000, NOON))

    # 01:00 UTC is the morning of Singapore and the evening of Montréal.
    assert asleep_in_europe["Singapore Orchard"] > 5 * asleep_in_europe["Berlin Mitte"]
    assert awake_in_europe["Berlin Mitte"] > 1.5 * awake_in_europe["Singapore Orchard"]


def test_the_range_is_sound():
    range_ = sales.products()

    assert len(range_) >= 50
    assert len({p.product_id for p in range_}) == len({p.name for p in range_}) == len(range_)
    assert all(p.price > 0 and p.price == p.price.quantize(Decimal("0.01")) for p in range_)


def test_json_spells_money_exactly_and_times_with_their_offset():
    text = encode({"price": Decimal("1E+2"), "at": NOON, "product": 'TV 55" é'})

    assert json.loads(text) == {"price": "100", "at": "2026-05-04T12:00:00+00:00", "product": 'TV 55" é'}


def test_json_takes_no_infinity_and_no_stranger():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"price": math.nan})
    with pytest.raises(TypeError, match="holds no complex"):
        encode({"price": 1j})


# --- the pace ------------------------------------------------------------------------------------------------------


class FakeTime:
    """A monotonic clock that moves only when somebody sleeps, and then `lag` seconds too far."""

    def __init__(self, lag: float = 0.0):
        self.now = 100.0
        self.lag = lag
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds + self.lag


def paced(dues, time: FakeTime, count: int, stopped=lambda: False) -> list[float]:
    """The times, from the start, at which `count` items are sent."""
    at: list[float] = []
    pacing.keep_pace(
        dues,
        iter(range(count)),
        lambda _: at.append(time.now - 100.0),
        clock=time.clock,
        sleep=time.sleep,
        stopped=stopped,
    )
    return at


def test_a_steady_pace_does_not_drift_however_late_each_wake_up_is():
    at = paced(pacing.at_rate(50), FakeTime(lag=0.003), 501)

    assert at[0] == 0
    assert at[500] == pytest.approx(10, abs=0.01)
    assert all(0 <= sent - n / 50 < 0.01 for n, sent in enumerate(at))


def test_a_high_rate_sends_several_a_wake_up():
    time = FakeTime()
    at = paced(pacing.at_rate(5_000), time, 5_001)

    assert at[-1] == pytest.approx(1, abs=0.006)
    assert len(time.sleeps) <= 201


def test_the_highest_rate_never_sleeps():
    time = FakeTime()

    assert paced(pacing.at_rate(math.inf), time, 1_000) == [0.0] * 1_000
    assert time.sleeps == []


def test_a_low_rate_looks_for_a_stop_often():
    time = FakeTime()
    at = paced(pacing.at_rate(0.1), time, 10, stopped=lambda: time.now > 103)

    assert at == [0.0]
    assert time.now < 103.2


def test_event_time_sets_the_gaps_and_speed_divides_them():
    second = 1_000_000
    times = [5 * second, 5 * second, None, 15 * second, 7 * second, 25 * second]

    assert list(pacing.at_event_time(times, speed=10)) == [0, 0, 0, 1, 1, 2]
    assert list(pacing.at_event_time([None, second, 3 * second], speed=1)) == [0, 0, 2]


@given(st.floats(0.5, 20_000), st.floats(0, 0.05), st.integers(1, 300))
def test_no_pace_is_ever_early(rate, lag, count):
    at = paced(pacing.at_rate(rate), FakeTime(lag), count)

    assert len(at) == count
    assert all(sent >= n / rate - 1e-9 for n, sent in enumerate(at))


def test_an_item_is_taken_only_when_it_is_due():
    time = FakeTime()
    taken: list[float] = []

    def items():
        while len(taken) < 3:
            taken.append(time.now)
            yield None

    pacing.keep_pace(
        pacing.at_rate(1), items(), lambda _: None, clock=time.clock, sleep=time.sleep, stopped=lambda: False
    )
    assert taken == pytest.approx([100, 101, 102], abs=0.01)


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "replay"], "needs a PATH"),
        (["--source", "live"], "invalid choice: 'live'"),
        (["--source", "simulate", "a.csv"], "a PATH is for --source replay"),
        (["--speed", "2"], "--speed is for --source replay"),
        (["--rate", "0"], "expected a number above 0, not 0"),
        (["--rate", "nan"], "expected a number above 0, not nan"),
        (["--rate", "fast"], "argument --rate"),
        (["a.csv", "--rate", "1", "--speed", "2"], "give one"),
        (["--count", "-1"], "expected 0 or more"),
    ],
)
def test_a_senseless_command_line_is_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run.parse(sales.PRODUCER, arguments)

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_line():
    assert run.parse(sales.PRODUCER, []).source == "simulate"
    assert run.parse(sales.PRODUCER, ["--rate", "max"]).rate == math.inf
    options = run.parse(sales.PRODUCER, ["a.csv", "--rate", "50", "b.csv", "--count", "3", "--now", "--as-recorded"])
    assert options == run.Options("replay", (Path("a.csv"), Path("b.csv")), 50.0, None, 3, None, True, True)


def test_count_ends_a_simulation_and_the_rate_comes_from_the_settings():
    feed = run.feed_of(sales.PRODUCER, run.parse(sales.PRODUCER, ["--count", "7", "--seed", "1"]), Settings(), NOON)

    assert feed.total == 7
    assert [r["event_id"] for r in feed.records] == [f"seed1-{n}" for n in range(1, 8)]
    second_due = next(itertools.islice(feed.dues, 1, None))
    assert second_due == pytest.approx(1 / Settings().sales.rate)
