"""Every format of recorded files, damaged in every way: a record for each row, or an error that names the file.

Other files at each run, and more of them: ``HOSTILE_FILES=5000 pytest tests/unit/test_replay_hostile.py
--hypothesis-profile=explore``.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers import aircraft, co2, events, sales, trucks
from producers.delivery import encode
from producers.replay import ReplayError, contract_format, last_time, replay, shifted, survey
from producers.run import StreamProducer
from tests.hostile import NUMBERS, TEXTS, TIMES

COUNT = int(os.environ.get("HOSTILE_FILES", "40"))
"""Files a format."""
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
STATE = [
    "4b1815", "SWR123  ", "Switzerland", 1714311960, 1714311964, 8.5, 47.4, 10_000.0, False, 200.1, 90.0, 0.0, None,
    10_100.0, "1000", False, 0, 0,
]  # fmt: skip

CSV: dict[str, tuple[StreamProducer, str, list[str]]] = {
    "UCI Online Retail": (
        sales.PRODUCER,
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        ["C536365", "71053", "LANTERN", "6", "12/1/2010 8:26", "3.39", "17850.0", "United Kingdom"],
    ),
    "sales by name": (
        sales.PRODUCER, "event_time,product,quantity,price", ["2010-12-01T08:26:00Z", "TV", "1", "499"],
    ),
    "REES46": (
        events.PRODUCER,
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        ["2019-10-01 00:00:00 UTC", "view", "44600062", "21038", "a.b", "shiseido", "35.79", "541312140", "72d76fde"],
    ),
    "CapMetro": (
        trucks.PRODUCER,
        "vehicle_id,timestamp,speed,latitude,longitude,trip_headsign",
        ["2021", "2016-11-24T06:00:00-06:00", "12.5", "30.2", "-97.7", "Downtown"],
    ),
    "vehicles": (trucks.PRODUCER, "id,ts,lat,lng,mph", ["7", "1777888800000", "30.2", "-97.7", "55"]),
    "EPA": (
        co2.PRODUCER, "State,Year,Date,CO2 (tons),Gross Load (MW-h)", ["CT", "2009", "01/01/2009", "1,000", "500"],
    ),
    "EIA": (co2.PRODUCER, "timestamp,NG,COL,avg_CI", ["2018-07-01 08:00:00", "100", "5", "420.5"]),
    "CodeCarbon": (
        co2.PRODUCER,
        "timestamp,run_id,duration,emissions,energy_consumed,country_name",
        ["2023-12-12T10:00:00", "r-1", "15.5", "0.001", "0.002", "Italy"],
    ),
    "emissions": (co2.PRODUCER, "meter,time,co2_lb,energy_kwh", ["m-1", "2026-03-29 02:30:00", "12", "5"]),
    "aircraft by name": (aircraft.PRODUCER, "icao24,last_contact,velocity", ["4b1815", "1714311964", "200.5"]),
}  # fmt: skip
"""A format's producer, its header and a good row. Each of these gives a record for each row."""

CELLS = st.one_of(
    st.sampled_from(
        [*NUMBERS, *TEXTS, *TIMES, "1e300", "-1e308", "0001-01-01T00:00:00+05:00", "9999-12-31 23:59:59-05"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
THOROUGH = settings(
    max_examples=COUNT, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def replayed(producer: StreamProducer, path: Path) -> list[dict[str, Any]]:
    """A file as it goes out, at its own time and moved to now."""
    formats = (*producer.formats, contract_format(producer.stream))
    recording = survey(path, formats)
    records = list(replay([recording], as_recorded=True))
    by_time = list(replay([recording]))
    last = last_time([recording], None)
    moved = list(shifted(by_time, NOW - last if last else timedelta(), "x", producer.seconds_fields))
    assert len(records) == len(by_time) == len(moved) == len(recording)
    sent = [encode(item.record) for item in records]
    for item in moved:
        encode(item.record)
    return [json.loads(text) for text in sent]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "recorded.csv"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", CSV)
@THOROUGH
@given(data=st.data())
def test_each_row_is_a_record_whatever_its_cells_hold(written: Any, name: str, data: st.DataObject) -> None:
    producer, header, good = CSV[name]
    rows = data.draw(st.lists(st.tuples(*[st.one_of(st.just(cell), CELLS) for cell in good]), max_size=6))
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(header.split(","))
    for row in rows:
        short = data.draw(st.integers(0, 8)) == 0
        writer.writerow(
            [*row[: len(row) // 2]] if short else [*row, *["surplus"] * (data.draw(st.integers(0, 8)) == 0)]
        )
    bom = data.draw(st.sampled_from(["", "\ufeff"]))
    content = (bom + out.getvalue()).encode()
    sent = replayed(producer, written(gzip.compress(content) if data.draw(st.booleans()) else content))
    assert len(sent) == len(rows)
    assert all(record for record in sent)


@pytest.mark.parametrize("name", [*CSV, "answers of OpenSky"])
@THOROUGH
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_its_name(written: Any, name: str, data: st.DataObject) -> None:
    if name in CSV:
        producer, header, good = CSV[name]
        content = "\n".join([header, *[",".join(good)] * 3]).encode()
    else:
        producer = aircraft.PRODUCER
        content = json.dumps({"time": 1714311965, "states": [STATE, STATE[:17], None]}).encode()
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        piece = data.draw(
            st.sampled_from(
                [
                    b'"',
                    b"\0",
                    b"\r",
                    b"\n",
                    b",",
                    b"\xff",
                    b"{",
                    b"null",
                    b"1e999",
                    b"9" * 50,
                    b"\xef\xbb\xbf",
                    header_of(name),
                ]
            )
            | st.binary(max_size=3)
        )
        gone = data.draw(st.integers(0, 3))
        content = content[:at] + piece + content[at + gone :]
    packed = data.draw(st.sampled_from(["plain", "gzip", "cut gzip", "changed gzip", "cut"]))
    if "gzip" in packed:
        content = gzip.compress(content, mtime=0)
    if "cut" in packed:
        content = content[: data.draw(st.integers(0, len(content)))]
    if "changed" in packed:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    path = written(content)
    try:
        replayed(producer, path)
    except ReplayError as error:
        assert str(path) in str(error)


def header_of(name: str) -> bytes:
    return CSV[name][1].encode() if name in CSV else b'"states"'


@pytest.mark.parametrize("name", CSV)
def test_a_quote_left_open_takes_no_rows_with_it(written: Any, name: str) -> None:
    """Up to the file's end, all rows behind it would be one cell."""
    producer, header, good = CSV[name]
    line = ",".join(good)
    path = written("\n".join([header, line, '"' + line, line, line]).encode())
    with pytest.raises(ReplayError, match=r"line 3: .*quote") as raised:
        replayed(producer, path)
    assert str(path) in str(raised.value)
