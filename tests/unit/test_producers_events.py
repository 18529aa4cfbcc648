"""The simulated visits to a shop, and recorded ones (REES46) as raw records."""

import csv
import gzip
import itertools
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.contracts.events import EVENTS, ShopEvent
from headwater.settings import EventsSettings, Settings
from producers import events, run
from producers.delivery import encode
from producers.events_replay import REES46
from producers.replay import ReplayError, contract_format, replay, survey
from tests.recorded import recorded

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PEOPLE = EventsSettings(bot_share=0, campaign_share=0)


def shop_of(seed: int | None = 1, /, **changed: float) -> events.Shop:
    return events.open_shop(seed, EventsSettings(**changed))


def happen(shop: events.Shop, count: int, rate: float = 20, start: datetime = NOON) -> list[dict]:
    """What happens next in a shop, `rate` times a second."""
    return [events.next_record(shop, start + timedelta(seconds=n / rate)) for n in range(count)]


def by_session(records: list[dict]) -> dict[str, list[dict]]:
    sessions = defaultdict(list)
    for record in records:
        sessions[record["session_id"]].append(record)
    return sessions


def seconds(later: dict, earlier: dict) -> float:
    return (later["event_time"] - earlier["event_time"]).total_seconds()


def has(session: list[dict], event_type: str) -> bool:
    return any(record["event_type"] == event_type for record in session)


@pytest.fixture(scope="module")
def two_hours() -> list[dict]:
    """Two hours of a shop at 10 records a second, with everything that goes on in it."""
    return happen(shop_of(2), 72_000, rate=10)


# --- records -------------------------------------------------------------------------------------------------------


def test_every_record_keeps_the_contract_and_names_everything(two_hours):
    for record in two_hours[:5_000]:
        event = ShopEvent.model_validate_json(encode(record))

        assert event.event_time == record["event_time"]
        assert event.price == record["price"] > 0
        assert event.quantity == record["quantity"]
        assert None not in (event.event_id, event.product_name, event.category, event.brand)


def test_ids_are_distinct_and_the_event_time_is_the_clocks(two_hours):
    assert len({r["event_id"] for r in two_hours}) == 72_000
    assert [r["event_time"] for r in two_hours] == [NOON + timedelta(seconds=n / 10) for n in range(72_000)]


def test_all_that_can_happen_does_and_looking_is_most_of_it(two_hours):
    counts = Counter(r["event_type"] for r in two_hours)

    assert set(counts) == {"productview", "addtobasket", "removefrombasket", "purchase"}
    assert counts["productview"] > 3 * counts["addtobasket"] > 3 * counts["purchase"] > 3 * 500


def test_a_visitor_is_one_user_or_none_and_users_come_again(two_hours):
    users = [{r.get("user_id") for r in session} for session in by_session(two_hours).values()]

    assert all(len(one) == 1 for one in users)
    known = [user for one in users for user in one if user is not None]
    assert 0.6 < len(known) / len(users) < 0.8
    assert 300 < len(set(known)) < len(known)


def test_the_products_are_those_of_the_sales_stream(two_hours):
    products = {r["product_id"]: (r["product_name"], r["category"], r["brand"], r["price"]) for r in two_hours}

    assert products["E1001"][:2] == ('43" LED TV', "Televisions")
    assert products["E1001"][3] == Decimal("349.00")
    assert len(products) == 59
    assert {(r["product_id"], r["product_name"], r["brand"], r["price"]) for r in two_hours} == {
        (product_id, name, brand, price) for product_id, (name, _, brand, price) in products.items()
    }


# --- seeds ---------------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_records_and_another_seed_others():
    assert happen(shop_of(7), 2_000) == happen(shop_of(7), 2_000)
    assert not {r["session_id"] for r in happen(shop_of(7), 2_000)} & {
        r["session_id"] for r in happen(shop_of(8), 2_000)
    }


def test_the_same_seed_at_another_pace_has_the_same_visits_under_the_same_ids():
    slow, fast = happen(shop_of(7), 3_000, rate=2), happen(shop_of(7), 3_000, rate=3_000)

    def without_time(records):
        return {r["event_id"]: {k: v for k, v in r.items() if k != "event_time"} for r in records}

    slow_by_id, fast_by_id = without_time(slow), without_time(fast)
    common = slow_by_id.keys() & fast_by_id.keys()
    assert len(common) > 300
    assert all(slow_by_id[event_id] == fast_by_id[event_id] for event_id in common)


def test_runs_without_a_seed_share_no_id_and_no_session():
    first, second = happen(shop_of(None), 500), happen(shop_of(None), 500)

    for name in ("event_id", "session_id"):
        assert {r[name] for r in first}.isdisjoint(r[name] for r in second)


# --- visits --------------------------------------------------------------------------------------------------------


def walk_through(session: list[dict]) -> None:
    """Check a visit step by step, from its first record on."""
    basket: Counter[str] = Counter()
    viewed, paid = set(), False
    for before, record in itertools.pairwise([session[0], *session]):
        product, units = record["product_id"], record["quantity"]
        assert seconds(record, before) >= 0
        match record["event_type"]:
            case "productview":
                assert units == 1
                viewed.add(product)
            case "addtobasket":
                assert product in viewed
                basket[product] += units
            case "removefrombasket":
                basket[product] -= units
            case "purchase":
                assert basket[product] == units  # all of it that lies in the basket, at once
                basket[product] = 0
        assert units >= 1
        assert basket[product] >= 0
        assert not paid or record["event_type"] == "purchase"  # who pays has done
        paid = paid or record["event_type"] == "purchase"
    assert [int(r["event_id"].rpartition(".")[2]) for r in session] == list(range(1, len(session) + 1))


def test_every_visit_makes_sense(two_hours):
    sessions = by_session(two_hours).values()

    for session in sessions:
        walk_through(session)
    assert sum(len({r["product_id"] for r in s if r["event_type"] == "purchase"}) > 1 for s in sessions) > 50
    assert sum(r["quantity"] > 1 for r in two_hours) > 100


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64), st.sampled_from([0.5, 20, 400, 5_000]), st.floats(0, 1))
def test_every_visit_makes_sense_at_any_pace(seed, rate, conversion):
    for session in by_session(happen(shop_of(seed, conversion=conversion), 2_000, rate)).values():
        walk_through(session)


def test_who_buys_buys_all_that_is_in_the_basket_and_is_gone():
    shop = shop_of(3, bot_share=0, campaign_share=0)
    sessions = by_session(happen(shop, 20_000))
    there = {visit.session_id for _, _, visit in (*shop.inside, *shop.away)}

    bought = [s for name, s in sessions.items() if name not in there and has(s, "purchase")]
    assert len(bought) > 100
    for session in bought:
        basket: Counter[str] = Counter()
        for record in session:
            sign = {"productview": 0, "addtobasket": 1}.get(record["event_type"], -1)
            basket[record["product_id"]] += sign * record["quantity"]
        assert not any(basket.values())


def test_a_visit_at_an_everyday_rate_takes_minutes_at_most_and_a_person_some_seconds_a_step():
    sessions = by_session(happen(events.open_shop(4, PEOPLE), 20_000))
    stays = sorted(seconds(s[-1], s[0]) for s in sessions.values() if not has(s, "purchase"))

    assert 15 < stays[len(stays) // 2] < 90
    assert 60 < stays[len(stays) * 9 // 10] < 300


def test_a_visitor_has_a_taste(two_hours):
    followed = [
        a["category"] == b["category"]
        for session in by_session(two_hours).values()
        if len(session) < 200
        for a, b in itertools.pairwise(r for r in session if r["event_type"] == "productview")
    ]

    assert 0.45 < sum(followed) / len(followed) < 0.75  # by popularity alone it would be some 0.13


def test_some_leave_a_full_basket_and_a_few_of_those_come_back_and_buy(two_hours):
    returned = left = 0
    for session in by_session(two_hours).values():
        if session[0]["event_time"] > NOON + timedelta(minutes=50):
            continue  # who comes back does so within an hour
        pauses = [seconds(b, a) for a, b in itertools.pairwise(session)]
        came_back = max(pauses, default=0) >= 1_800
        assert not came_back or has(session, "purchase")
        returned += came_back
        units = Counter()
        for record in session[: pauses.index(max(pauses)) + 1] if came_back else session:
            units[record["event_type"]] += record["quantity"]
        left += units["addtobasket"] > units["removefrombasket"] + units["purchase"]
    assert 20 < returned < 0.4 * left


def test_how_long_a_visitor_stays_away_follows_the_settings():
    shop = shop_of(5, abandoned_minutes=1, bot_share=0, campaign_share=0)
    pauses = [
        seconds(b, a)
        for session in by_session(happen(shop, 20_000)).values()
        for a, b in itertools.pairwise(session)
        if b["event_type"] == "productview" and has(session, "purchase")
    ]

    assert sum(66 <= pause <= 121 for pause in pauses) > 20
    assert max(pauses) < 125


# --- conversion, bots, campaigns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("conversion", [0.0, 0.05, 0.5, 1.0])
def test_conversion_is_the_share_of_people_who_buy_before_they_leave(conversion):
    shop = shop_of(6, conversion=conversion, bot_share=0)
    plans = [events.planned(shop, number).steps for number in range(1, 3_001)]

    def buys_at_once(steps):
        return any(s.event_type == "purchase" for s in steps) and all(s.pause_s < 1_800 for s in steps)

    assert sum(map(buys_at_once, plans)) / 3_000 == pytest.approx(conversion, abs=0.03 if 0 < conversion < 1 else 0)


def test_more_conversion_is_more_purchases():
    few, many = (
        sum(r["event_type"] == "purchase" for r in happen(shop_of(6, conversion=c), 10_000)) for c in (0.02, 0.4)
    )

    assert many > 5 * few > 0


def test_a_bot_views_hundreds_of_products_fast_and_puts_nothing_into_a_basket(two_hours):
    bots = [s for s in by_session(two_hours).values() if len(s) >= 200]

    assert 5 < len(bots) < 60
    for session in bots:
        assert {r["event_type"] for r in session} == {"productview"}
        assert not any("user_id" in r for r in session)
        pauses = sorted(seconds(b, a) for a, b in itertools.pairwise(session))
        assert pauses[len(pauses) // 2] < 1
        assert len({r["product_id"] for r in session}) == 59


def test_no_bots_where_none_are_wanted_and_nothing_else_where_all_are():
    people = happen(shop_of(2, bot_share=0), 20_000)
    bots = happen(shop_of(2, bot_share=1), 5_000)

    assert max(map(len, by_session(people).values())) < 200
    assert {r["event_type"] for r in bots} == {"productview"}


def test_bots_are_as_many_as_is_wanted():
    shop = shop_of(2, bot_share=0.1)

    assert sum(len(events.planned(shop, n).steps) >= 200 for n in range(1, 2_001)) == pytest.approx(200, abs=45)


def test_a_bot_does_not_keep_people_out_of_a_full_shop():
    records = happen(shop_of(2, bot_share=0.01), 60_000, rate=5_000)
    runs = [(name, len(list(run_))) for name, run_ in itertools.groupby(r["session_id"] for r in records)]

    assert max(length for _, length in runs) < 20


def test_a_campaign_brings_many_at_once_to_one_product():
    records = happen(shop_of(2, bot_share=0, campaign_share=0.1), 5_000)
    first = [session[0] for session in by_session(records).values()]
    before, during, after = first[:100], first[100:250], first[250:]

    assert len({r["product_id"] for r in during}) == 1
    assert Counter(r["product_id"] for r in before + after).most_common(1)[0][1] < 0.2 * len(before + after)
    assert 150 / seconds(during[-1], during[0]) > 2 * len(after) / seconds(after[-1], during[-1])


def test_campaigns_differ_and_come_as_often_as_is_wanted():
    def campaigned(share):
        shop = shop_of(3, bot_share=0, campaign_share=share)
        products = [events.planned(shop, n).steps[0].product for n in range(1, 6_001)]
        runs = [(place, len(list(run_))) for place, run_ in itertools.groupby(products)]
        return [(place, length) for place, length in runs if length >= 100]

    assert campaigned(0) == []
    assert [length for _, length in campaigned(0.1)] == pytest.approx([150] * 4, abs=3)
    assert len({place for place, _ in campaigned(0.1)}) > 1


# --- the shop's size -----------------------------------------------------------------------------------------------


def sizes(rate: float, count: int) -> list[int]:
    """Visitors in the shop, at every hundredth record."""
    shop = shop_of(9)
    found = []
    for number in range(count):
        events.next_record(shop, NOON + timedelta(seconds=number / rate))
        if number % 100 == 0:
            found.append(len(shop.inside))
    return found


@pytest.mark.parametrize(("rate", "usual", "most"), [(1, 7, 170), (20, 100, 320), (100, 500, 750)])
def test_how_many_are_in_the_shop_settles_with_the_pace(rate, usual, most):
    found = sorted(sizes(rate, 20_000)[10:])

    assert found[-1] <= most  # a campaign brings 150 more
    assert 0.5 * usual < found[len(found) // 2] < 1.6 * usual


def test_a_shop_at_a_high_rate_is_full_and_its_visits_still_end():
    shop = shop_of(9)
    bought = most = 0
    for number in range(200_000):
        record = events.next_record(shop, NOON + timedelta(seconds=number / 5_000))
        most = max(most, len(shop.inside))
        bought += record["event_type"] == "purchase"
    finished = shop.opened - len(shop.inside) - len(shop.away)

    assert most == 2_000
    assert finished > 10_000
    assert bought > 2_000


def test_those_away_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(events, "MOST_AWAY", 50)
    shop = shop_of(9, conversion=0)
    happen(shop, 20_000, rate=1_000)

    assert len(shop.away) == 50


def test_a_clock_that_stands_still_or_jumps_does_no_harm():
    shop = shop_of(9)
    for start in (NOON, NOON, NOON + timedelta(hours=9), NOON - timedelta(hours=1), NOON):
        happen(shop, 3_000, rate=1e9, start=start)
        assert len(shop.inside) <= 2_000
    settled = happen(shop, 30_000, start=NOON + timedelta(minutes=1))

    assert len(shop.inside) < 320
    assert sum(r["event_type"] == "purchase" for r in settled) > 100


def test_the_command_line_gives_seeded_ids_and_the_settings_rate():
    options = run.parse(events.PRODUCER, ["--count", "3", "--seed", "5"])
    feed = run.feed_of(events.PRODUCER, options, Settings(), NOON)

    assert list(itertools.islice(feed.dues, 2)) == [0, pytest.approx(1 / 20)]
    assert [r["event_id"] for r in feed.records] == ["seed5-1.1", "seed5-2.1", "seed5-3.1"]


# --- replay of REES46 ----------------------------------------------------------------------------------------------

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
SHAVER = "2019-10-01 00:00:01 UTC,cart,3900821,2053013552326770905,appliances.personal.shaver,aqua,33.20,554,9333dfbd\n"


@pytest.fixture
def replayed(tmp_path):
    """The records of a file with this content."""

    def replayed(content: str, packed: bool = False) -> list[dict]:
        path: Path = tmp_path / "shop.csv"
        path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
        return [r.record for r in replay([survey(path, (REES46, contract_format(EVENTS)))])]

    return replayed


def wrong_fields(record: dict) -> set[str]:
    """The contract's fields that a record breaks, by the model itself."""
    known = {k: v for k, v in record.items() if k in ShopEvent.model_fields}
    try:
        ShopEvent.model_validate_json(encode(known))
    except ValidationError as error:
        return {str(problem["loc"][0]) for problem in error.errors()}
    return set()


def test_a_row_becomes_an_event(replayed):
    (record,) = replayed(HEADER + SHAVER)

    assert record.pop("event_id").endswith("-1")
    assert record == {
        "event_time": datetime(2019, 10, 1, 0, 0, 1, tzinfo=UTC),
        "event_type": "addtobasket",
        "product_id": "3900821",
        "category_id": "2053013552326770905",
        "category": "appliances.personal.shaver",
        "brand": "aqua",
        "price": "33.20",
        "user_id": "554",
        "session_id": "9333dfbd",
    }


def test_columns_in_any_order_and_every_type(replayed):
    types = {"view": "productview", "cart": "addtobasket", "remove_from_cart": "removefrombasket"}
    rows = "".join(f"s1,{name},5.00,p1,2019-10-01 00:00:0{n} UTC\n" for n, name in enumerate([*types, "purchase"]))

    records = replayed("user_session,event_type,price,product_id,event_time\n" + rows)

    assert [r["event_type"] for r in records] == [*types.values(), "purchase"]
    assert [wrong_fields(r) for r in records] == [set()] * 4


def test_rows_cut_short_or_wrong_go_out_as_they_are(replayed):
    rows = [
        "2019-10-01 00:00:01 UTC,view,1,2,,,35.79,5,s",  # no category, no brand: no error
        "2019-10-01 00:00:02 UTC,wish,1,2,a.b,x,35.79,5,s",
        "2019-10-01 00:00:03 UTC,view,1,2,a.b,x,35.79,5",  # cut short
        "2019-10-01 00:00:04 UTC,view,,2,a.b,x,dear,5,s",
        "2019-10-01 00:00:05 UTC,purchase,1,2,a.b,x,-1.00,5,s,more",
        "2019-13-01 00:00:06 UTC,view,1,2,a.b,x,1,5,s",
        "cut",
    ]

    bare, wish, short, dear, long, month, cut = replayed(HEADER + "\n".join(rows))

    assert wrong_fields(bare) == set()
    assert {"category", "brand"}.isdisjoint(bare)
    assert (wish["event_type"], wrong_fields(wish)) == ("wish", {"event_type"})
    assert wrong_fields(short) == {"session_id"}
    assert (dear["price"], wrong_fields(dear)) == ("dear", {"product_id", "price"})
    assert (long["surplus_cells"], long["price"], wrong_fields(long)) == (["more"], "-1.00", set())
    assert (month["event_time"], wrong_fields(month)) == ("2019-13-01 00:00:06 UTC", {"event_time"})
    assert wrong_fields(cut) == {"event_time", "event_type", "product_id", "session_id"}


def test_equal_rows_are_two_events_and_a_packed_file_is_the_same(replayed):
    plain = replayed(HEADER + SHAVER + SHAVER)

    assert len({r["event_id"] for r in plain}) == 2
    assert replayed(HEADER + SHAVER + SHAVER, packed=True) == plain


def test_times_with_an_offset_and_without(replayed):
    rows = "".join(
        SHAVER.replace("2019-10-01 00:00:01 UTC", text) for text in ("2019-10-01 02:00:00+02:00", "2019-10-01")
    )

    assert {r["event_time"] for r in replayed(HEADER + rows)} == {datetime(2019, 10, 1, tzinfo=UTC)}


def test_our_own_names_are_read_as_they_are(replayed):
    (record,) = replayed("event_type,session_id,product_id,price,quantity,event_time\npurchase,s,p,1.50,2,\n")

    assert record.pop("event_id").endswith("-1")
    assert record == {"event_type": "purchase", "session_id": "s", "product_id": "p", "price": "1.50", "quantity": 2}


def test_a_file_that_names_a_field_twice_is_refused(replayed):
    with pytest.raises(ReplayError, match="no known format"):
        replayed(HEADER.replace("brand", "category") + SHAVER)


def test_the_recorded_hours_come_whole():
    path = recorded("events/rees46_2019-10-01.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))

    records = [r.record for r in replay([survey(path, (REES46,))])]

    names = {"view": "productview", "cart": "addtobasket", "purchase": "purchase"}
    assert [r["event_type"] for r in records] == [names[row["event_type"]] for row in rows]
    assert [f"{r['event_time']:%Y-%m-%d %H:%M:%S} UTC" for r in records] == [row["event_time"] for row in rows]
    for ours, theirs in {"session_id": "user_session", "category": "category_code"}.items():
        assert [r.get(ours, "") for r in records] == [row[theirs] for row in rows]
    for name in ("product_id", "category_id", "brand", "price", "user_id"):
        assert [r.get(name, "") for r in records] == [row[name] for row in rows]
    assert Counter(r["event_type"] for r in records) == {"productview": 5812, "addtobasket": 55, "purchase": 64}
    assert sum(Decimal(r["price"]) for r in records if r["event_type"] == "purchase") == Decimal("17405.03")
    assert len({r["event_id"] for r in records}) == 5931
    assert len({r["session_id"] for r in records}) == 2164
    assert not any(wrong_fields(r) for r in records)
