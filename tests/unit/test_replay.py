"""Recorded files as raw records: the reader, the formats, the order, and the real UCI days."""

import csv
import gzip
import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.contracts.sales import SALES, Sale
from headwater.settings import Settings
from producers import run, sales
from producers.delivery import encode
from producers.replay import ReplayError, contract_format, last_time, number, replay, shifted, survey, whole
from producers.sales_replay import UCI_ONLINE_RETAIL
from tests.recorded import recorded

FORMATS = (UCI_ONLINE_RETAIL, contract_format(SALES))
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UCI = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
LANTERN = "536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom\n"
OWN = "event_time,product,quantity,price\n"

DAYS = {"2010-12-01": 3108, "2010-12-02": 2109, "2010-12-03": 2202}


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of its own; gives its path."""

    def write(content: str | bytes, name: str = "sales.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def records_of(*paths: Path, as_recorded: bool = False) -> list[dict]:
    recordings = [survey(path, FORMATS) for path in paths]
    return [r.record for r in replay(recordings, as_recorded=as_recorded)]


def uci_day(day: str) -> Path:
    return recorded(f"sales/online_retail_{day}.csv.gz")


# --- UCI Online Retail ---------------------------------------------------------------------------------------------


def test_a_uci_row_becomes_a_sale(write):
    (record,) = records_of(write(UCI + LANTERN))

    assert record.pop("event_id").endswith("-1")
    assert record == {
        "order_id": "536365",
        "product_id": "71053",
        "product": "WHITE METAL LANTERN",
        "quantity": 6,
        "event_time": datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
        "price": "3.39",
        "customer_id": "17850",
        "country": "United Kingdom",
    }
    assert Sale.model_validate_json(encode(record)).price == Decimal("3.39")


def test_online_retail_ii_in_another_order_with_a_bom_and_american_dates(write):
    header = "Country,Price,Invoice,Customer ID,Description,InvoiceDate,StockCode,Quantity\n"
    row = "France,7.95,489434,13085, GLASS BALL ,12/1/2009 7:45,85048,12\n"

    (record,) = records_of(write(b"\xef\xbb\xbf" + (header + row).encode()))

    assert record["event_time"] == datetime(2009, 12, 1, 7, 45, tzinfo=UTC)
    assert (record["order_id"], record["customer_id"], record["price"]) == ("489434", "13085", "7.95")
    assert record["product"] == " GLASS BALL "  # as recorded


@pytest.mark.parametrize(("recorded", "sent"), [("-1", -1), ("1", -1), ("0", 0), ("-2.0", -2), ("some", "some")])
def test_a_cancellation_is_negative(write, recorded, sent):
    (record,) = records_of(write(UCI + f"C536379,D,Discount,{recorded},2010-12-01 09:41:00,27.50,14527.0,EIRE\n"))

    assert record["quantity"] == sent
    assert record["price"] == "27.50"


def test_what_cannot_be_mapped_goes_out_as_it_is(write):
    rows = [
        "536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom",  # no description
        "536415,22140,LAMP,many,2010-12-01 11:53:00,0.0,,United Kingdom",
        "536416,22141,LAMP",  # short
        '536417,22142,LAMP,1,yesterday,"1,50",n/a,United Kingdom,and,more',  # long
        "536418,22143,LAMP,1.5,2010-13-01 11:52:00,-11062.06,,",
    ]

    none, many, short, long, odd = records_of(write(UCI + "\n".join(rows)))

    assert "product" not in none
    assert none["quantity"] == 56
    assert many["quantity"] == "many"
    assert {"quantity", "price", "event_time"}.isdisjoint(short)
    assert (long["event_time"], long["price"], long["customer_id"]) == ("yesterday", "1,50", "n/a")
    assert long["surplus_cells"] == ["and", "more"]
    assert (odd["quantity"], odd["event_time"], odd["price"]) == (1.5, "2010-13-01 11:52:00", "-11062.06")
    assert "country" not in odd


def test_quotes_commas_and_newlines_in_cells(write):
    rows = '1,A,"CASE, 2""\nRED",1,2010-12-01 08:26:00,1.0,,EIRE\n' + LANTERN

    quoted, plain = records_of(write(UCI + rows))

    assert quoted["product"] == 'CASE, 2"\nRED'
    assert plain["event_id"].endswith("-2")  # rows are counted, not lines


def test_bytes_that_are_not_utf_8_are_latin_1(write):
    path = write((UCI + LANTERN.replace("WHITE", "CAFÉ")).encode("latin-1"))

    assert records_of(path)[0]["product"] == "CAFÉ METAL LANTERN"


def test_unknown_columns_and_lines_that_are_blank(write):
    path = write("InvoiceNo,Description,Quantity,InvoiceDate,UnitPrice,weather,\n\n1,TV,1,2010-12-01,1,wet,x\n\r\n")

    (record,) = records_of(path)

    assert (record["weather"], record["column_7"]) == ("wet", "x")


# --- our own column names ------------------------------------------------------------------------------------------


def test_own_names(write):
    rows = [
        "event_time,product,quantity,price,customer_id,loyalty",
        "2026-05-04T10:00:00+02:00,TV,1,499,007,12",
        "2026-05-04 09:00:00,TV,-2.0,4.99e2,,",
        "soon,TV,1_000,NaN,,",
    ]

    first, second, third = (
        {k: v for k, v in r.items() if k != "event_id"} for r in records_of(write("\n".join(rows)), as_recorded=True)
    )

    time = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
    assert first == {
        "event_time": time,
        "product": "TV",
        "quantity": 1,
        "price": "499",
        "customer_id": "007",
        "loyalty": "12",
    }
    assert second == {"event_time": time + timedelta(hours=1), "product": "TV", "quantity": -2, "price": "4.99e2"}
    assert third == {"event_time": "soon", "product": "TV", "quantity": "1_000", "price": "NaN"}


def test_a_number_within_all_that_is_blank_to_python():
    """Found by Atheris: `str` strips the information separators, `float` doesn't."""
    assert number("\x1d3") == 3.0
    assert whole("\x1d3\x1f") == 3


def test_a_file_that_ends_within_quotes_is_refused(write):
    path = write(OWN + '2010-12-01,TV,1,1\n2010-12-01,"TV,1,1\n2010-12-01,TV,1,1\n')
    with pytest.raises(ReplayError, match=r"sales.csv: from line 3: the file ends within quotes"):
        survey(path, FORMATS)


def test_times_and_moves_beyond_the_calendar(write):
    rows = "0001-01-01T00:00:00+05:00,TV,1,1\n0001-01-02T00:00:00Z,TV,1,1\n9999-12-31T00:00:00Z,TV,1,1\n"
    recording = survey(write(OWN + rows), FORMATS)
    first, second, third = recording.as_recorded()
    assert first.record["event_time"] == "0001-01-01T00:00:00+05:00"
    by = NOW - last_time([recording], None)
    _, stays, moved = (item.record["event_time"] for item in shifted([first, second, third], by, "x"))
    assert (stays, moved) == (second.record["event_time"], NOW)


def test_numbers_too_long_to_mean_anything_stay_text(write):
    (record,) = records_of(write(OWN + f"2026-05-04,TV,{'9' * 5_000},{'9' * 5_000}\n"))

    assert record["quantity"] == record["price"] == "9" * 5_000
    encode(record)


def test_an_id_that_the_file_gives_is_kept(write):
    path = write("event_id,product,quantity,price\nmine,TV,1,1\n,TV,1,1\n")

    mine, unnamed = records_of(path)

    assert mine["event_id"] == "mine"
    assert unnamed["event_id"].endswith("-2")


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(cells=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8), zipped=st.booleans())
def test_any_text_comes_back(write, cells, zipped):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["product", "quantity", "price", "note"])
    writer.writerows((product, "1", price, note) for product, price, note in cells)
    content = text.getvalue().encode()

    records = records_of(write(gzip.compress(content) if zipped else content))

    assert [(r.get("product", ""), r.get("note", "")) for r in records] == [(p, n) for p, _, n in cells]
    for record, (_, price, _) in zip(records, cells, strict=True):
        # A price is the text that was there, or the same number.
        sent = record.get("price", "")
        assert sent == price or Decimal(sent) == Decimal(price.strip())
        encode(record)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_a_price_is_never_rounded(price):
    (record,) = UCI_ONLINE_RETAIL.convert({"UnitPrice": f"{price:f}"}, Path())

    assert Decimal(record["price"]) == price


# --- files that are odd or wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty, it has not even a header"),
        ("\n\n", "empty, it has not even a header"),
        ("a,b\n1,2\n", "no known format has these columns: a, b"),
        ("a,b\n1,2\n", "UCI Online Retail: InvoiceNo (or Invoice), StockCode"),
        ("a,b\n1,2\n", "sales by field name: product, quantity, price and any of event_id"),
        ("product,price,quantity,price\n", "columns named twice: price"),
        (gzip.compress(UCI.encode() * 9)[:-12], "the gzip file is damaged"),
        (b"\x1f\x8b and no more", "the gzip file is damaged"),
        (OWN + '2026-05-04,"TV,1,1\n' + "2026-05-04,TV,1,1\n" * 20_000, "from line 2: field larger than field limit"),
    ],
)
def test_a_file_that_cannot_be_replayed_says_why(write, content, message):
    with pytest.raises(ReplayError) as error:
        survey(write(content), FORMATS)

    assert message in str(error.value)
    assert "sales.csv: " in str(error.value)


def test_no_such_file_and_a_folder(tmp_path):
    with pytest.raises(ReplayError, match="no such file"):
        survey(tmp_path / "none.csv", FORMATS)
    with pytest.raises(ReplayError, match="not a file"):
        survey(tmp_path, FORMATS)


def test_a_header_alone_is_no_rows(write):
    recording = survey(write(UCI), FORMATS)

    assert len(recording) == 0
    assert list(replay([recording])) == []
    assert last_time([recording], None) is None


# --- order, identity, time -----------------------------------------------------------------------------------------


def products(records: list[dict]) -> str:
    return "".join(r["product"] for r in records)


def test_the_order_is_of_event_time_and_stable(write):
    first = write(OWN + "2026-01-03,c,1,1\n2026-01-01,a,1,1\nwhen,b,1,1\n2026-01-03,d,1,1\n", "first.csv")
    second = write(OWN + "2026-01-02,x,1,1\n2026-01-03,y,1,1\n", "second.csv")

    # b has no time and stays behind a.
    assert products(records_of(first, second)) == "abxcdy"
    assert products(records_of(second, first)) == "abxycd"
    assert products(records_of(first, second, as_recorded=True)) == "cabdxy"


def test_rows_before_any_time_come_first(write):
    assert products(records_of(write(OWN + ",a,1,1\n2026-01-02,c,1,1\n2026-01-01,b,1,1\n"))) == "abc"


def test_equal_rows_are_two_events_and_the_same_file_twice_is_not(write):
    plain = write(UCI + LANTERN + LANTERN, "plain.csv")
    packed = write(gzip.compress((UCI + LANTERN + LANTERN).encode()), "packed.csv.gz")
    other = write(UCI + LANTERN + LANTERN + LANTERN, "other.csv")

    ids = [r["event_id"] for r in records_of(plain)]

    assert len(set(ids)) == 2
    assert ids == [r["event_id"] for r in records_of(plain)] == [r["event_id"] for r in records_of(packed)]
    assert set(ids).isdisjoint(r["event_id"] for r in records_of(other))
    assert sorted(ids) == sorted(r["event_id"] for r in records_of(plain, as_recorded=True))


def test_shifted_records_keep_their_gaps_and_are_other_events(write):
    path = write(OWN + "2026-01-01T00:00:00Z,a,1,1\n2026-01-01T00:00:10Z,b,1,1\nwhen,c,1,1\n")
    recording = survey(path, FORMATS)

    later = list(shifted(replay([recording]), timedelta(days=1), "x"))

    assert [r.record["event_time"] for r in later] == [
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 2, 0, 0, 10, tzinfo=UTC),
        "when",
    ]
    assert [r.record["event_id"] for r in later] == [f"{recording.digest}-{n}-x" for n in (1, 2, 3)]
    assert [r.time_us for r in later] == [r.time_us + 86_400_000_000 for r in replay([recording])]


def replayed(arguments: list, now: datetime = NOW) -> run.Feed:
    return run.feed_of(sales.PRODUCER, run.parse(sales.PRODUCER, [str(a) for a in arguments]), Settings(), now)


def test_now_moves_the_last_that_is_sent_to_now(write):
    path = write(OWN + "2026-01-03,c,1,1\n2026-01-01,a,1,1\n2026-01-02,b,1,1\n")

    def times(*arguments):
        return [r["event_time"] for r in replayed([path, "--now", *arguments]).records]

    day = timedelta(days=1)
    assert times() == [NOW - 2 * day, NOW - day, NOW]
    assert times("--count", 2) == [NOW - day, NOW]
    assert times("--as-recorded") == [NOW, NOW - 2 * day, NOW - day]
    assert times("--as-recorded", "--count", 1) == [NOW]
    assert times("--count", 0) == []


def test_now_gives_new_ids_at_each_run(write):
    path = write(UCI + LANTERN)
    runs = [[], ["--now"], ["--now"]]

    ids = [
        next(replayed([path, *arguments], NOW + timedelta(seconds=n)).records)["event_id"]
        for n, arguments in enumerate(runs)
    ]

    assert len(set(ids)) == 3


def test_speed_follows_event_time(write):
    path = write(OWN + "2026-01-01T00:01:00Z,b,1,1\n2026-01-01T00:00:00Z,a,1,1\n")

    feed = replayed([path, "--speed", 30])

    pairs = [(due, r["product"]) for due, r in zip(feed.dues, feed.records, strict=True)]
    assert pairs == [(0, "a"), (2, "b")]


# --- the recorded days ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", DAYS)
def test_a_recorded_day_comes_whole(day):
    path = uci_day(day)
    with gzip.open(path, "rt", newline="") as file:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False)

    records = records_of(path)

    assert len(records) == len(raw) == DAYS[day]
    assert len({r["event_id"] for r in records}) == len(raw)
    assert [r.get("product", "") for r in records] == list(raw["Description"])  # these files are in order
    assert [Decimal(r["price"]) for r in records] == [Decimal(text) for text in raw["UnitPrice"]]
    assert [r["quantity"] for r in records] == list(raw["Quantity"].astype(int))
    assert sum(r["quantity"] < 0 for r in records if r["order_id"].startswith("C")) == sum(
        raw["InvoiceNo"].str.startswith("C")
    )
    revenue = sum(Decimal(q) * Decimal(p) for q, p in zip(raw["Quantity"], raw["UnitPrice"], strict=True))
    assert sum(r["quantity"] * Decimal(r["price"]) for r in records) == revenue
    naive = pd.to_datetime(raw["InvoiceDate"]).dt.tz_localize("UTC")
    assert [r["event_time"] for r in records] == list(naive)


def test_the_first_day_is_worth_what_it_is_known_to_be():
    records = records_of(uci_day("2010-12-01"))

    assert sum(r["quantity"] * Decimal(r["price"]) for r in records) == Decimal("58635.56")


def test_only_rows_without_a_description_break_the_contract():
    whole = Counter("product" in r for r in records_of(uci_day("2010-12-01")))

    assert whole == {True: 3098, False: 10}
    for record in records_of(uci_day("2010-12-01")):
        if "product" in record:
            Sale.model_validate_json(encode(record))


def test_three_days_in_any_order_are_one_stretch_of_time():
    days = [uci_day(day) for day in reversed(DAYS)]

    times = [r["event_time"] for r in records_of(*days)]

    assert len(times) == sum(DAYS.values())
    assert times == sorted(times)
