"""The API of CO2 over Delta tables and CSV files as the job leaves them."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards import api
from dashboards.hub import Hub
from dashboards.raw import RawReader
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.co2 import CO2
from headwater.csvfiles import as_it_was, day_file, write_rows
from headwater.settings import Settings
from tests.unit.test_api import no_broker

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(api.routes(STREAMS, settings, Hub(), RawReader(no_broker, lambda bootstrap: {})))
    with TestClient(app) as client:
        yield client


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def put(settings: Settings, table: str, *rows: dict[str, Any]) -> None:
    delta.create_tables(CO2, settings.delta(CO2.name, "records").parent)
    delta.correct(settings.delta(CO2.name, table), CO2.table(table), list(rows), [])


def alarm(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "alarm_id": f"stack 1|{number}", "source_id": "stack 1", "limit_kg_h": 100.0, "began_at": at(number),
        "raised_at": at(number + 2), "ended_at": None, "peak_kg_h": 120.0, "acknowledged_at": None,
        "acknowledged_by": None,
    } | fields  # fmt: skip


# -- acknowledging


def test_an_alarm_that_is_acknowledged_keeps_who_was_first(client: TestClient, settings: Settings) -> None:
    put(settings, "alarms", alarm(0, acknowledged_at=at(60), acknowledged_by="Ada"))
    answer = client.post("/api/v1/co2/alarms/acknowledge", json={"alarm_id": "stack 1|0", "acknowledged_by": "Grace"})
    assert (answer.status_code, answer.json()) == (
        200, {"alarm_id": "stack 1|0", "acknowledged_at": "2026-05-04T12:01:00Z", "acknowledged_by": "Ada"},
    )  # fmt: skip


def test_what_acknowledging_refuses(client: TestClient, settings: Settings) -> None:
    put(settings, "alarms", alarm(0))
    asked = {"alarm_id": "stack 1|0", "acknowledged_by": "Ada"}
    for body, status in (
        (asked, 503),  # there is no broker
        (asked | {"acknowledged_by": "A" * 200}, 503),
        (asked | {"acknowledged_by": "A" * 201}, 422),
        (asked | {"acknowledged_by": " \t"}, 422),
        (asked | {"acknowledged_by": None}, 422),
        ({"alarm_id": "stack 1|0"}, 422),
        (asked | {"acknowledged_at": "2020-01-01T00:00:00Z"}, 422),
        (["stack 1|0"], 422),
        (asked | {"alarm_id": "stack 1|9"}, 404),
    ):
        answer = client.post("/api/v1/co2/alarms/acknowledge", json=body)
        assert (body, answer.status_code) == (body, status)
        if status == 503:
            assert "make kafka-up" in answer.json()["detail"]["error"]
        if status == 404:
            assert "'stack 1|9'" in answer.json()["detail"]["error"]


def test_another_site_s_page_acknowledges_nothing(client: TestClient) -> None:
    body = b'{"alarm_id": "nobody", "acknowledged_by": "Ada"}'
    for headers, status in (
        ({"Content-Type": "application/json; charset=utf-8"}, 404),
        ({"Content-Type": "application/json", "Origin": "http://testserver"}, 404),
        ({"Content-Type": "application/json", "Origin": "http://elsewhere"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ):
        answer = client.post("/api/v1/co2/alarms/acknowledge", content=body, headers=headers)
        assert (headers, answer.status_code) == (headers, status)


# -- readings

HEADER = [
    "event_time", "source_id", "emission_kg", "interval_s", "facility", "sector", "fuel", "country", "latitude",
    "longitude", "energy_mwh", "method",
]  # fmt: skip


def reading(seconds: float, source_id: str = "stack 1", kg: float = 1.5, **fields: Any) -> list[Any]:
    row = {"event_time": spelled(seconds), "source_id": source_id, "emission_kg": kg} | fields
    return [row.get(name) for name in HEADER]


def spelled(seconds: float) -> str:
    return at(seconds).isoformat().replace("+00:00", "Z")


def put_csv(settings: Settings, *rows: list[Any], source_id: str = "stack 1", day: str = "", part: int = 1) -> None:
    day = day or (rows[0][0][:10] if rows else NOON.date().isoformat())
    write_rows(settings.csv("co2") / day_file("readings", day, source_id, part), HEADER, rows)


def pages(client: TestClient, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page, by following the links."""
    found, path = [], str(client.build_request("GET", "/api/v1/co2/readings", params=query).url)
    while path:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        found.append(answer.json())
        path = answer.links.get("next", {}).get("url", "")
    return found


def times(rows: list[dict[str, Any]]) -> list[float]:
    return [(datetime.fromisoformat(row["event_time"]) - NOON).total_seconds() for row in rows]


def test_a_reading_is_what_the_file_says_with_its_types(client: TestClient, settings: Settings) -> None:
    odd = '=HYPERLINK("x"), "y"\r\nz'
    where = {"facility": odd, "latitude": -33.5, "longitude": 151, "country": "'t Gooi", "energy_mwh": 1e-07}
    put_csv(settings, reading(0.25, kg=0.1 + 0.2, interval_s=60.0, **where), reading(1, method="measured"))
    first, second = client.get("/api/v1/co2/readings").json()
    assert first == {
        "event_time": "2026-05-04T12:00:00.250000Z", "source_id": "stack 1", "emission_kg": 0.30000000000000004,
        "interval_s": 60.0, "facility": odd, "sector": None, "fuel": None, "country": "'t Gooi", "latitude": -33.5,
        "longitude": 151.0, "energy_mwh": 1e-07, "method": None,
    }  # fmt: skip
    assert list(second) == HEADER
    assert (second["event_time"], second["method"]) == ("2026-05-04T12:00:01Z", "measured")


@pytest.mark.parametrize("query", [{"source_id": "stack 1"}, {"source_id": "stack 1", "since": spelled(-86_400)}, {}])
def test_pages_follow_each_other_over_parts_and_days(
    client: TestClient, settings: Settings, query: dict[str, str]
) -> None:
    """With and without listing the folder. Times repeat, also where one part ends and the next begins."""
    seconds = [n // 3 for n in range(40)]
    put_csv(settings, reading(-86_400 - 1), reading(-86_400))
    for part, begin in enumerate(range(0, 40, 10), 1):
        put_csv(settings, *(reading(seconds[n], kg=n) for n in range(begin, begin + 10)), part=part)
    put_csv(settings, part=5)  # whose rows have all gone
    put_csv(settings, reading(86_400 + 5))
    expected = [*([-86_401.0] if "since" not in query else []), -86_400.0, *map(float, seconds), 86_405.0]
    for limit in (1, 7, len(expected), 100_000):
        found = pages(client, limit=limit, **query)
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        rows = [row for page in found for row in page]
        assert times(rows) == expected
        assert [row["emission_kg"] for row in rows if 0 <= times([row])[0] < 20] == list(range(40))


def test_since_counts_and_until_does_not(client: TestClient, settings: Settings) -> None:
    for part in range(4):
        put_csv(settings, *(reading(n) for n in range(3 * part, 3 * part + 3)), part=part + 1)
    day = 86_400
    for since, until, expected in (
        (3, 6, [3, 4, 5]), (2.5, 3.000001, [3]), (5, 5, []), (6, 5, []), (-9 * day, 2, [0, 1]), (11, 9 * day, [11]),
        (12, day, []), (-999 * day, 999 * day, [*range(12)]),
    ):  # fmt: skip
        query = {"source_id": "stack 1", "since": spelled(since), "until": spelled(until)}
        assert times(client.get("/api/v1/co2/readings", params=query).json()) == expected
        lines = client.get("/api/v1/co2/readings.csv", params=query).text.splitlines()[1:]
        assert [line.split(",")[0] for line in lines] == [spelled(n) for n in expected]
    offset = {"since": "2026-05-04T14:00:10+02:00"}
    assert times(client.get("/api/v1/co2/readings", params=offset).json()) == [10, 11]


def test_all_sources_come_in_the_order_of_time(client: TestClient, settings: Settings) -> None:
    rows = [(n // 2, source, n) for source in ("=b", "a", "c/d", "é") for n in range(12)]
    for source in ("=b", "a", "c/d", "é"):
        own = [reading(seconds, source, kg) for seconds, name, kg in rows if name == source]
        cut = 5 if source in ("a", "c/d") else 12
        put_csv(settings, *own[:cut], source_id=source)
        if cut < 12:
            put_csv(settings, *own[cut:], source_id=source, part=2)
    expected = sorted(rows)
    for limit in (1, 5, 47, 48):
        found = [row for page in pages(client, limit=limit) for row in page]
        assert [(*times([row]), row["source_id"], row["emission_kg"]) for row in found] == expected


def test_a_file_of_other_columns_is_read_by_their_names(client: TestClient, settings: Settings) -> None:
    path = settings.csv("co2") / day_file("readings", "2026-05-04", "a", 1)
    write_rows(path, ["source_id", "new", "event_time", "emission_kg"], [["a", "=x", spelled(0), 2.5]])
    (row,) = client.get("/api/v1/co2/readings").json()
    assert row == dict.fromkeys(HEADER) | {"source_id": "a", "event_time": spelled(0), "emission_kg": 2.5}
    assert client.get("/api/v1/co2/readings.csv").text.splitlines()[1] == f"{spelled(0)},a,2.5" + "," * 9


SOURCES = [
    "../../etc/passwd",
    "%2e%2e%2f",
    "a\0b",
    "/etc/passwd",
    "~",
    ".",
    "",
    "x" * 10_000,
    "\ud7ff漢",
    "-1+1",
    "stack 1.2",
]


def test_a_source_s_name_is_no_path(client: TestClient, settings: Settings) -> None:
    for source in SOURCES:
        assert client.get("/api/v1/co2/readings", params={"source_id": source}).json() == []
    for source in SOURCES:
        put_csv(settings, reading(0, source), source_id=source)
    secret = settings.csv("co2").parent / "readings-2026-05-04-secret.csv"
    write_rows(secret, HEADER, [reading(0, "secret")])
    for source in SOURCES:
        query = {"source_id": source}
        assert [row["source_id"] for row in client.get("/api/v1/co2/readings", params=query).json()] == [source]
        download = client.get("/api/v1/co2/readings.csv", params=query)
        (row,) = list(csv.DictReader(io.StringIO(download.text, newline="")))
        assert as_it_was(row["source_id"]) == source
        assert re.fullmatch(r'attachment; filename="co2-readings-[\w-]+\.csv"', download.headers["content-disposition"])
        assert len(download.headers["content-disposition"]) < 120
    for source in ("../secret", "..%2Fsecret", "secret"):
        assert client.get("/api/v1/co2/readings", params={"source_id": source}).json() == []
    assert len(client.get("/api/v1/co2/readings").json()) == len(SOURCES)


def test_what_readings_refuse(client: TestClient) -> None:
    for query in (
        "limit=0", "limit=100001", "since=yesterday", "since=2026-05-04T12:00:00", "after=", "after=x", "after=é%00",
        "after=WzEsMl0", "after=WyJhIiwiYSIsMV0", "after=WzEsImEiLC0xXQ",
    ):  # fmt: skip
        assert (query, client.get(f"/api/v1/co2/readings?{query}").status_code) == (query, 422)


def test_no_reading_is_an_empty_list_and_a_header(client: TestClient) -> None:
    for query in ({}, {"source_id": "nobody"}, {"until": "0001-01-01T00:00:00+14:00"}):
        answer = client.get("/api/v1/co2/readings", params=query)
        assert (answer.json(), "link" in answer.headers) == ([], False)
        assert client.get("/api/v1/co2/readings.csv", params=query).text == ",".join(HEADER) + "\r\n"


def test_the_download_is_the_files_lines(client: TestClient, settings: Settings) -> None:
    put_csv(settings, reading(0, facility="=1+1"), reading(1, facility='two\r\nlines, "quoted"'))
    put_csv(settings, reading(2, kg=1e-07), part=2)
    put_csv(settings, reading(86_400), reading(86_401))
    paths = [day_file("readings", *name) for name in (
        ("2026-05-04", "stack 1", 1), ("2026-05-04", "stack 1", 2), ("2026-05-05", "stack 1", 1),
    )]  # fmt: skip
    bodies = [(settings.csv("co2") / path).read_bytes().split(b"\r\n", 1) for path in paths]
    answer = client.get("/api/v1/co2/readings.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content == bodies[0][0] + b"\r\n" + b"".join(body for _, body in bodies)
    cut = client.get("/api/v1/co2/readings.csv", params={"since": spelled(1), "until": spelled(86_401)})
    rows = list(csv.reader(io.StringIO(cut.text, newline="")))[1:]
    assert [row[0] for row in rows] == [spelled(n) for n in (1, 2, 86_400)]
    assert rows[0][4] == 'two\r\nlines, "quoted"'
    assert rows[1][2] == "1e-07"


def test_readers_meet_every_row_once_while_files_are_replaced(client: TestClient, settings: Settings) -> None:
    """A writer as the job's: it replaces the last part, begins the next, and puts a late row into an old part.

    Rows of even seconds are there from the beginning or come at the end; odd ones come late.
    """
    rows_a_part, told, stopped = 20, threading.Event(), threading.Event()
    on_time = [2 * n for n in range(400)]
    written: list[int] = []

    def write(count: int) -> None:
        parts = [on_time[n : n + rows_a_part] for n in range(0, count, rows_a_part)]
        late = [s + 1 for s in parts[0] if s < count // 10]
        for number in sorted({1, len(parts) - 1, len(parts)} - {0}):
            own = [s for s in parts[number - 1] if s < 2 * count] + (late if number == 1 else [])
            put_csv(settings, *(reading(s) for s in sorted(own)), part=number)
        written.append(count)

    def run() -> None:
        for count in range(100, len(on_time) + 1, 3):
            write(count)
            told.set()
        stopped.set()

    for count in range(rows_a_part, 100, rows_a_part):
        write(count)
    writer = threading.Thread(target=run)
    writer.start()
    told.wait(10)
    rounds = 0
    while not stopped.is_set() or rounds < 3:
        least = written[-1]
        for query in ({"source_id": "stack 1"}, {}):
            for rows in (
                [row for page in pages(client, limit=33, **query) for row in page],
                list(csv.DictReader(io.StringIO(client.get("/api/v1/co2/readings.csv", params=query).text))),
            ):
                even = [s for s in times(rows) if s % 2 == 0]
                assert times(rows) == sorted(set(times(rows)))
                assert even == on_time[: len(even)]
                assert len(even) >= least
        rounds += 1
    writer.join()


# -- tables


def test_tables_by_source_and_time(client: TestClient, settings: Settings) -> None:
    window = {"window_start": NOON, "window_end": at(3_600), "is_final": False}
    hour = window | {
        "source_id": "stack 1", "emission_kg": 10.5, "energy_mwh": None, "intensity_kg_mwh": None,
        "mean_rate_kg_h": 10.5, "max_rate_kg_h": 12.0, "records": 3, "substitute": 1,
    }  # fmt: skip
    put(settings, "per_hour", hour, hour | {"source_id": "stack 2"}, hour | {"window_start": at(3_600)})
    found = client.get("/api/v1/co2/per_hour", params={"source_id": "stack 1"}).json()
    assert [row["window_start"] for row in found] == ["2026-05-04T13:00:00Z", "2026-05-04T12:00:00Z"]
    bounds = {"since": spelled(0), "until": spelled(3_600)}
    found = client.get("/api/v1/co2/per_hour", params=bounds).json()
    assert [(row["source_id"], row["substitute"], row["energy_mwh"]) for row in found] == [
        ("stack 2", 1, None), ("stack 1", 1, None),
    ]  # fmt: skip
    put(
        settings, "by_fuel", *(window | {"fuel": fuel, "emission_kg": 1.0, "sources": 1} for fuel in ("gas", "unknown"))
    )
    assert [row["fuel"] for row in client.get("/api/v1/co2/by_fuel?fuel=unknown").json()] == ["unknown"]
    put(settings, "alarms", alarm(0), alarm(9, source_id="stack 2"))
    assert [row["alarm_id"] for row in client.get("/api/v1/co2/alarms").json()] == ["stack 1|9", "stack 1|0"]
    assert [row["alarm_id"] for row in client.get("/api/v1/co2/alarms?source_id=stack 2").json()] == ["stack 1|9"]
    health = {"source_id": "stack 1", "state": "silent", "since": NOON, "last_event": NOON, "gaps": 2}
    put(settings, "health", health | {"usual_interval_s": None}, health | {"source_id": "b", "usual_interval_s": 60.0})
    (row,) = client.get("/api/v1/co2/health?source_id=stack 1").json()
    assert (row["state"], row["usual_interval_s"], row["gaps"]) == ("silent", None, 2)


def test_budgets_and_their_days(client: TestClient, settings: Settings) -> None:
    day = {"window_start": NOON.replace(hour=0), "window_end": at(43_200), "is_final": True, "since": NOON}
    put(settings, "budget_days", *(
        day | {"budget": name, "emission_kg": 2.5, "last_event": at(60)} for name in ("sector:power", "source:stack 1")
    ))  # fmt: skip
    (row,) = client.get("/api/v1/co2/budget_days?budget=sector:power").json()
    assert (row["emission_kg"], row["window_start"]) == (2.5, "2026-05-04T00:00:00Z")
    budget = {
        "budget": "source:stack 1", "year": 2026, "source_id": "stack 1", "sector": None, "allowance_kg": 10.0,
        "used_kg": 2.5, "used_share": 0.25, "mean_rate_kg_h": None, "exhausted_on": None, "last_event": at(60),
    }  # fmt: skip
    put(settings, "budgets", budget, budget | {"year": 2025, "exhausted_on": "2027-02-03"})
    found = client.get("/api/v1/co2/budgets", params={"budget": "source:stack 1"}).json()
    assert [(row["year"], row["used_share"], row["exhausted_on"]) for row in found] == [
        (2026, 0.25, None), (2025, 0.25, "2027-02-03"),
    ]  # fmt: skip
