"""The benchmarks' own arithmetic, and that the rivals count what Headwater counts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.figures import Table, percentile, spread, write
from benchmarks.ground import in_process
from benchmarks.growth import Step
from benchmarks.latency import Seen, cost_table, delays, drawn_table, feed_table, query_table
from benchmarks.processes import Usage
from benchmarks.rivals.contracts import CONTRACTS, checked
from benchmarks.rivals.loop import Counting
from benchmarks.rivals.walks import limits
from benchmarks.rivals.work import TABLES, Tally, Work
from benchmarks.startup import memory_table
from benchmarks.throughput import (
    AGGREGATE,
    LIMIT,
    LOOP,
    QUIX,
    Outcome,
    Sizes,
    batch_seconds,
    consumed,
    in_turn,
    report,
    summary,
)
from headwater.contracts import STREAMS
from headwater.errors import HeadwaterError
from headwater.settings import load_settings
from producers import aircraft_fleet, co2, events, trucks
from producers.delivery import encode
from tests import aircraft_reference, co2_reference, events_reference, trucks_reference

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
Rows = dict[str, dict[str, dict[str, Any]]]


def test_a_percentile_is_the_least_value_that_so_many_reach() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None
    assert spread([3, 1, 2]) == "2 / 3 ms"
    assert spread([]) == "-"


def test_tables_are_written_as_markdown_and_json(tmp_path: Path) -> None:
    table = Table("what was seen", ("query", "rows/s"))
    table.add("live", "1,000")
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        table.add("aggregate")
    write(tmp_path / "now", "throughput", "a machine", "a command", [table])
    text = (tmp_path / "now" / "throughput.md").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "a machine; `a command`"
    assert "| query | rows/s |\n| --- | ---: |\n| live | 1,000 |" in text
    told = json.loads((tmp_path / "now" / "throughput.json").read_text(encoding="utf-8"))
    assert told["tables"][0]["rows"] == [["live", "1,000"]]


def test_a_probe_is_seen_with_the_first_count_that_holds_it() -> None:
    sent = [0.0, 100.0, 200.0, 300.0, 400.0]
    # Two were counted before anybody looked; the third and fourth are seen at once, the fifth never.
    assert delays(sent, [(2, 250.0), (4, 350.0)]) == [150.0, 50.0]
    assert delays(sent, []) == []


def test_a_checkpoint_tells_how_far_a_query_came_and_how_long_its_batches_took(tmp_path: Path) -> None:
    for folder in ("offsets", "commits"):
        (tmp_path / folder).mkdir()
    for number, ends in enumerate(({"0": 5, "1": 7}, {"0": 9, "1": 10}, {"0": 99, "1": 99})):
        (tmp_path / "offsets" / str(number)).write_text(f"v1\n{{}}\n{json.dumps({'topic': ends})}\n")
        if number < 2:  # the last batch was not done
            (tmp_path / "commits" / str(number)).write_text("v1\n{}\n")
    assert consumed(tmp_path) == 19
    assert len(batch_seconds(tmp_path)) == 2


def test_work_in_a_process_of_its_own_gives_its_answer_or_says_why_not() -> None:
    assert in_process(round, 1.26, 1) == 1.3
    with pytest.raises(HeadwaterError, match="ZeroDivisionError"):
        in_process(divmod, 1, 0)
    with pytest.raises(HeadwaterError, match="without an answer"):
        in_process(os._exit, 3)


def test_growth_spreads_the_same_records_over_more_products() -> None:
    step = Step("products", "sales", 10)
    assert {step.record(number, {"quantity": 1, "product": "TV"})["product"] for number in range(1_000)} == {
        f"product {number}" for number in range(10)
    }
    assert Step("partitions", "sales", 4).record(7, {"product": "TV"}) == {"product": "TV"}


def test_latencies_are_told_by_stream_and_costs_by_part() -> None:
    stream = {
        "rate_per_s": 200.4,
        "lag": 1_234,
        "live_latency": {"p50": 0.0123, "p99": 0.4, "samples": 9},
        "aggregate_latency": {"p50": None, "p99": None, "samples": 0},
    }
    queries = {"live": {"batch_ms": 30_000.0, "lag": 3}, "aggregate": {"batch_ms": 812.3, "lag": None}}
    health = {"streams": dict.fromkeys(STREAMS, stream), "queries": queries}
    costs = {"jobs": Usage(30.0, 900.0, 800.0), "dashboard": Usage(6.0, 200.0, None), "browser": Usage()}
    alone = Seen(1_000, False, 60.0, health, costs)
    seen = Seen(1_000, True, 60.0, health, costs, [30.0, 10.0, 20.0], [8.0, 9.0, 7.0], [700.0])
    name = ["1,000", "none"]
    assert feed_table([alone]).rows == [
        [*name, stream, "200", "12 / 400 ms", "-", "1,234"] for stream in STREAMS
    ]  # fmt: skip
    assert drawn_table([alone, seen]).rows == [["1,000", "20 / 30 ms", "8 / 9 ms", "3", "700 / 700 ms", "1"]]
    assert cost_table([alone]).rows == [[*name, "50%, 800", "10%, 200", "-", "60%, 1,100"]]
    assert query_table([alone, seen]).rows[1] == ["1,000", "Chromium on /sales", "812, 0", "30,000, 3"]


def test_throughput_is_told_beside_the_limit_and_beside_quix() -> None:
    def took(records: int, seconds: float, cpu: float = 1.0, broker: float = 1.0) -> list[Outcome]:
        return [Outcome(records, part * seconds, cpu, broker) for part in (0.5, 1, 2)]

    results = {
        LIMIT: took(1_000, 1.0),
        AGGREGATE: took(1_000, 2.0, cpu=3.0),
        QUIX: took(100, 1.0),
        LOOP: took(100, 0.1),
    }
    table = report("sales", results, Sizes(records=1_000, rival_records=100), 300)
    by_name = {row[0]: row[1:] for row in table.rows}
    assert by_name[LIMIT] == ["1,000", "500 - 2,000", "100%", "-", "2,000.0", "50%"]
    assert by_name[AGGREGATE] == ["500", "250 - 1,000", "50%", "5.00", "4,000.0", "25%"]
    assert by_name[QUIX] == ["100", "50 - 200", "10%", "1.00", "20,000.0", "50%"]
    assert summary({"sales": results}).rows == [["sales", "500", "50%", "5.00", "60 %, 3.00", "0.50", "20%"]]
    assert summary({"sales": {LIMIT: took(1, 1.0)}}).rows == []


def test_all_take_turns_and_the_first_round_does_not_count() -> None:
    called: list[str] = []

    def contender(name: str) -> Outcome:
        called.append(name)
        return Outcome(1, len(called), 0, 0)

    results = in_turn({"a": lambda: contender("a"), "b": lambda: contender("b")}, 2)
    assert called == ["a", "b", "a", "b", "a", "b"]
    assert {name: [outcome.seconds for outcome in outcomes] for name, outcomes in results.items()} == {
        "a": [3, 5],
        "b": [4, 6],
    }


def test_memory_is_told_by_part() -> None:
    me = psutil.Process()
    told = memory_table([me], 5).rows
    assert [row[0] for row in told] == [me.name(), "all"]
    assert told[0][1:] == told[1][1:]
    assert int(told[0][2].replace(",", "")) > 10


# -- the rivals' contracts


@pytest.mark.parametrize(
    ("message", "reasons"),
    [
        ('{"product": "TV", "quantity": 1, "price": 499.0}', []),
        ('{"product": "TV", "quantity": -2, "price": "499.00"}', []),
        ('{"product": "TV", "quantity": 1, "pri', ["not_json"]),
        ("[1]", ["not_json"]),
        ('{"quantity": 2, "price": 19.9}', ["missing:product"]),
        ('{"product": "TV", "quantity": "two", "price": 1}', ["type:quantity"]),
        ('{"product": "TV", "quantity": 0, "price": -1}', ["range:quantity", "range:price"]),
        ('{"product": "TV", "quantity": 1, "price": 1, "event_time": "2026-05-06T12:00:00Z"}', ["future:event_time"]),
    ],
)
def test_a_message_is_rejected_for_what_headwater_rejects_it_for(message: str, reasons: list[str]) -> None:
    _, found = checked(CONTRACTS["sales"], message.encode(), "place", _micros(NOON))
    assert found == reasons


@pytest.mark.parametrize("name", STREAMS)
def test_the_contracts_are_headwaters(name: str) -> None:
    stream, rival = STREAMS[name], CONTRACTS[name]
    required = {field.name for field in stream.fields if field.required}
    # Lists and times of an optional field change no figure.
    optional = {field.name for field in stream.fields if not field.required} - {"event_time", "sensors"}
    assert (set(rival.required), set(rival.optional)) == (required, optional)
    names = (rival.raw_topic, rival.processed_topic, rival.rejected_topic, rival.key)
    assert names == (stream.raw_topic, stream.processed_topic, stream.rejected_topic, stream.key)


# -- the rivals' tables


def counted(name: str, messages: Iterable[bytes], key: str) -> tuple[Rows, Tally]:
    """What the plain loop would have published last, by kind and id."""
    work, tally = Work(CONTRACTS[name], TABLES[name], "tables", "", 0, "", ""), Tally()
    counting = Counting(work, tally, lambda row: None)
    for number, message in enumerate(messages):
        try:
            told = str(json.loads(message)[key]).encode()
        except (ValueError, KeyError):
            told = None
        counting.take(told, message, f"{number}", _micros(NOON))
    found: Rows = {}
    for row in counting.changed.values():
        found.setdefault(row["kind"], {})[row["id"]] = row
    return found, tally


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def simulated(
    next_record: Callable[[datetime], Mapping[str, Any]], count: int, step: timedelta
) -> list[dict[str, Any]]:
    """Records as a producer makes them, in the order of event time, as rows of ``records``."""
    found = [dict(next_record(NOON + number * step)) for number in range(count)]
    found.sort(key=lambda record: record["event_time"])
    return [{**record, "partition": 0, "offset": number} for number, record in enumerate(found)]


def raw(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return [encode({n: v for n, v in row.items() if n not in ("partition", "offset")}) for row in records]


def test_sales_are_counted_as_by_hand() -> None:
    def sale(number: int, **fields: Any) -> bytes:
        defaults = {"event_id": f"e{number}", "event_time": "2026-05-04T12:00:30+00:00", "country": "Italy"}
        return json.dumps({**defaults, "category": "Audio", **fields}).encode()

    messages = [
        sale(1, product="TV", quantity=2, price="10.50", order_id="o1"),
        sale(2, product="TV", quantity=1, price=10.5, order_id="o1"),
        sale(2, product="TV", quantity=1, price=10.5, order_id="o1"),  # a repeat
        sale(3, product="TV", quantity=-1, price=10.5, order_id="o2"),
        sale(4, product="Hub", quantity=4, price=0.25, country=None, event_time="2026-05-04T12:01:00+00:00"),
        b"{",
    ]
    found, tally = counted("sales", messages, "product")
    assert (tally.records, tally.rejected, tally.repeats) == (6, 1, 1)
    figures = {"quantity": 2, "revenue": "21.0000", "orders": 1, "returns": 1}
    assert found["totals"]["TV"] == {"kind": "totals", "id": "TV", **figures}
    assert found["by_country"]["unknown"]["orders"] == 1
    minute = found["per_minute"]["2026-05-04T12:00:00+00:00"]
    assert (minute["units"], minute["orders"], minute["average_order_value"]) == (2, 1, "21.0000")
    assert found["per_minute_category"]["2026-05-04T12:01:00+00:00|Audio"]["revenue"] == "1.0000"


def test_shop_events_are_counted_as_the_definitions_say() -> None:
    shop = events.open_shop(1, load_settings({}).events)
    records = simulated(lambda at: events.next_record(shop, at), 600, timedelta(seconds=1))
    found, _ = counted("events", raw(records), "session_id")
    rows = [{**row, "price": None if row.get("price") is None else Decimal(row["price"])} for row in records]
    expected = events_reference.expected_tables([{"quantity": None, **row} for row in rows])
    for kind in ("per_window", "per_minute"):
        counts = {(datetime.fromisoformat(k.split("|")[0]), k.split("|")[1]): row for k, row in found[kind].items()}
        assert {key: (row["count"],) for key, row in counts.items()} == expected[kind]
    assert found["by_product"].keys() == expected["by_product"].keys()
    for product, row in found["by_product"].items():
        names = events_reference.COLUMNS["by_product"]
        assert (*(Decimal(row[n]) if n == "revenue" else row[n] for n in names),) == expected["by_product"][product]


def test_trucks_are_followed_as_the_definitions_say() -> None:
    fleet = trucks.open_fleet(1, load_settings({"HEADWATER_TRUCKS_FLEET": "4"}).trucks)
    records = simulated(lambda at: trucks.next_record(fleet, at), 2_000, timedelta(seconds=10))
    found, _ = counted("trucks", raw(records), "truck_id")
    expected = trucks_reference.expected_tables(records)
    closed = {
        name: {key: row for key, row in expected[name].items() if not row["is_open"]} for name in ("trips", "stops")
    }
    assert closed["trips"] and closed["stops"]
    for name, columns in {"trips": ("distance_km", "duration_s", "idle_s", "fixes"), "stops": ("duration_s",)}.items():
        told = {(key.split("|")[0], datetime.fromisoformat(key.split("|")[1])): row for key, row in found[name].items()}
        # What only an open stop, or the silence after the last fix, has ended is not told: a truck's last one.
        last = {truck: max(start for owner, start in closed[name] if owner == truck) for truck, _ in closed[name]}
        assert {key for key in closed[name] if key[1] < last[key[0]]} <= told.keys() <= closed[name].keys()
        for key, row in ((key, closed[name][key]) for key in told):
            assert [told[key][c] for c in columns] == pytest.approx([row[c] for c in columns], abs=1e-5)
    minutes = {(datetime.fromisoformat(key),): row for key, row in found["per_minute"].items()}
    assert minutes.keys() == expected["per_minute"].keys()
    for minute, row in expected["per_minute"].items():
        assert {name: minutes[minute][name] for name in row} == pytest.approx(row)


def test_aircraft_are_counted_as_the_definitions_say() -> None:
    fleet = aircraft_fleet.open_fleet(1, load_settings({"HEADWATER_AIRCRAFT_FLEET": "40"}).aircraft, NOON)
    records = simulated(lambda at: aircraft_fleet.next_record(fleet, at), 500, timedelta(seconds=0.4))
    found, _ = counted("aircraft", raw(records), "icao24")
    names = ("squawk", "baro_altitude", "velocity", "vertical_rate", "latitude", "longitude", "on_ground", "callsign")
    expected = aircraft_reference.expected_tables([{**dict.fromkeys(names), **row} for row in records])
    for kind in ("per_minute", "by_country"):
        told = {(datetime.fromisoformat(k.split("|")[0]), *k.split("|")[1:]): row for k, row in found[kind].items()}
        assert told.keys() == expected[kind].keys()
        for key, row in expected[kind].items():
            # A rival's maxima are over all records of the minute.
            kept = {name: value for name, value in row.items() if not name.startswith("max")}
            assert {name: told[key][name] for name in kept} == pytest.approx(kept)
    phases = {key: row["phase"] for (key,), row in expected["latest"].items()}
    assert {key: row["phase"] for key, row in found["latest"].items()} == phases


def test_emissions_are_counted_as_the_definitions_say() -> None:
    park = co2.open_park(1, load_settings({}).co2, NOON)
    records = simulated(lambda at: co2.next_record(park, at), 400, timedelta(seconds=5))
    found, _ = counted("co2", raw(records), "source_id")
    names = ("energy_mwh", "interval_s", "latitude", "longitude", "method", "facility", "sector", "fuel", "country")
    rows = [{**dict.fromkeys(names), **row} for row in records]
    expected = co2_reference.expected_tables(rows, co2_reference.Limits(limits=limits()))
    for kind in ("per_minute", "per_hour", "by_sector", "by_fuel"):
        told = {(datetime.fromisoformat(k.split("|")[0]), k.split("|")[1]): row for k, row in found[kind].items()}
        assert told.keys() == expected[kind].keys()
        for key, row in expected[kind].items():
            kept = {name: value for name, value in row.items() if name in told[key]}
            assert {name: told[key][name] for name in kept} == pytest.approx(kept)
    totals = {key: row["emission_kg"] for (key,), row in expected["totals"].items()}
    assert {key: row["emission_kg"] for key, row in found["totals"].items()} == pytest.approx(totals)
