"""What was rejected, listed, written to a file, mended and judged; sending is tested with a broker."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.base import Stream
from headwater.contracts.sales import SALES
from headwater.settings import Settings
from producers.resend import ResendError, main, mended, still_wrong
from producers.resend import _object as read_object
from tests.contract_rules import judged
from tests.hostile import drawn, messages
from tests.unit.test_quality_hostile import odd_values

ARRIVED = datetime(2026, 5, 4, 12, tzinfo=UTC)
REJECTED: list[tuple[list[str], str | None]] = [
    (["missing:price"], '{"product": "TV",\n "quantity": 1, "note": 1.50}'),
    (["missing:price", "range:quantity"], '{"product": "TV", "quantity": 0, "event_id": "own"}'),
    (["not_json"], '{"product": "TV", "quan'),
    (["not_json"], "eyJwcm9kdWN0IjogIkvkc2UiLCAicXVhbnRpdHkiOiAxLCAicHJpY2UiOiAxfQ=="),  # Latin-1 of a sale of "Käse"
    (["not_json"], None),
    (["type:price"], '{"product": "TV", "quantity": 1, "price": "free", "event_time": "2020-01-01T00:00:00Z"}'),
]


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose archive has rejected these six; a record has made good the last but one of them since."""
    delta.create_tables(SALES, settings.delta("sales", "records").parent)
    rows = [
        {
            "stream": "sales", "reasons": reasons, "raw": raw, "topic": SALES.raw_topic, "partition": 0, "offset": n,
            "kafka_timestamp": ARRIVED.replace(hour=n), "rejected_at": ARRIVED,
        }
        for n, (reasons, raw) in enumerate(REJECTED)
    ]  # fmt: skip
    good = {"event_id": f"{SALES.raw_topic}-0-4", "event_time": ARRIVED, "flags": [], "topic": SALES.raw_topic}
    _append(settings, "rejected", rows)
    _append(settings, "records", [{**good, "partition": 0, "offset": 9, "kafka_timestamp": ARRIVED}])
    monkeypatch.setenv("HEADWATER_HOME", str(settings.home))
    return settings


def _append(settings: Settings, table: str, rows: list[dict[str, Any]]) -> None:
    schema = delta.arrow_schema(delta.fields_of_table(SALES, table))
    write_deltalake(settings.delta("sales", table), pa.Table.from_pylist(rows, schema), mode="append")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_rejected_is_counted_by_reason(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sales"]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[0] == ["5", "rejected", "records", "of", "sales"]
    assert sorted(said[1:]) == [["1", "range:quantity"], ["1", "type:price"], ["2", "missing:price"], ["2", "not_json"]]


def test_a_file_to_be_mended_holds_each_message_as_it_came(home: Settings, tmp_path: Path) -> None:
    path = tmp_path / "mend.jsonl"
    assert main(["sales", "--out", str(path)]) == 0
    assert '"note":1.50' in path.read_text()
    first, own, cut, latin, free = lines(path)
    assert first == {
        "position": f"{SALES.raw_topic}-0-0", "kafka_timestamp": "2026-05-04T00:00:00+00:00",
        "reasons": ["missing:price"], "record": {"product": "TV", "quantity": 1, "note": 1.5},
    }  # fmt: skip
    assert own["record"]["event_id"] == "own"
    assert (cut["raw"], "record" in cut) == ('{"product": "TV", "quan', False)
    assert (latin["record"]["product"], latin["note"]) == ("Käse", "was not UTF-8; here it is read as Latin-1")
    assert free["position"] == f"{SALES.raw_topic}-0-5"
    with pytest.raises(ResendError, match="there is such a file already"):
        main(["sales", "--out", str(path)])


def test_rejected_ones_are_chosen_by_reason_and_time(home: Settings, tmp_path: Path) -> None:
    def chosen(*options: str) -> list[int]:
        path = tmp_path / "-".join(("mend", *options))
        main(["sales", "--out", str(path), *options])
        return [int(line["position"].rpartition("-")[2]) for line in lines(path)]

    assert chosen("--reason", "missing:price") == [0, 1]
    assert chosen("--reason", "missing:price", "--reason", "type:price") == [0, 1, 5]
    assert chosen("--since", "2026-05-04T02:00:00") == [2, 3, 5]
    assert chosen("--since", "2026-05-04T04:00:00+02:00", "--reason", "not_json") == [2, 3]


def test_a_mended_file_is_judged_before_it_is_sent(
    home: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mend.jsonl"
    main(["sales", "--out", str(path)])
    mending = lines(path)
    mending[0]["record"]["price"] = "499.0"
    mending[2]["raw"] += 'tity": 1, "price": 1}'
    path.write_text("\n".join(json.dumps(line) for line in mending) + "\n\n")
    capsys.readouterr()
    assert main(["sales", str(path), "--dry-run"]) == 1
    out, err = capsys.readouterr()
    assert out == f"3 would be sent to {SALES.raw_topic}; 2 left out, which would be rejected again\n"
    assert err.splitlines() == [
        f"line 2, {SALES.raw_topic}-0-1: range:quantity, missing:price",
        f"line 5, {SALES.raw_topic}-0-5: type:price",
    ]
    assert main(["sales", "--reason", "missing:price", "--set", "price=9.99", "--set", "quantity=2", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"2 would be sent to {SALES.raw_topic}\n"


def test_a_record_keeps_its_own_id_and_time_or_gets_those_of_its_position() -> None:
    place = {"position": "t-0-7", "kafka_timestamp": "2026-05-04T12:00:00+00:00"}
    record = {"product": "TV", "quantity": 1, "price": 1}
    own = {"event_id": "own", "event_time": "2020-01-01T00:00:00Z"}
    sent = [each.record for each in mended(SALES, [{**place, "record": {**record, **more}} for more in (own, {})], {})]
    assert sent[0] == {**record, **own}
    assert sent[1] == {**record, "event_id": "t-0-7", "event_time": "2026-05-04T12:00:00+00:00"}
    blank = {**record, "event_id": " ", "event_time": None}
    (again,) = mended(SALES, [{**place, "raw": json.dumps(blank)}], {"price": "2"})
    assert again.record == {**sent[1], "price": "2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not json", "line 1 is no JSON object"),
        ('{"record": {}}', "line 1 lacks position"),
        ('\n{"position": 5, "kafka_timestamp": "x", "record": {}}', "line 2 lacks position"),
        ("[1]", "line 1 is no JSON object"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_whole(home: Settings, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "mend.jsonl"
    path.write_text(text)
    with pytest.raises(ResendError, match=why):
        main(["sales", str(path)])


def test_what_makes_no_sense_is_said(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(ResendError, match=r"trucks.*no such table"):
        main(["trucks"])
    with pytest.raises(ResendError, match="cannot be read"):
        main(["sales", str(tmp_path)])
    with pytest.raises(ResendError, match="as it stands"):
        main(["sales", "mend.jsonl", "--reason", "not_json"])
    with pytest.raises(ResendError, match="give one"):
        main(["sales", "--set", "price=1", "--out", "mend.jsonl"])


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_verdict_before_sending_is_the_contracts(stream: Stream) -> None:
    objects = 0
    for value in [*odd_values(stream), *drawn(messages(stream), 150)]:
        record = read_object(value) if value else None
        if record is not None:
            objects += 1
            expected = judged(stream, value, datetime.now(UTC), "").reasons
            assert sorted(still_wrong(stream, record)) == expected or expected == ["not_json"], value
    assert objects > 500
