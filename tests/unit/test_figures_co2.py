"""The page about CO2: units, figures of the tiles, what is drawn, what tables show; literal rows in."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from dashboards.figures import co2 as figures
from dashboards.figures.co2 import Line
from dashboards.figures.theme import LIGHT
from dashboards.masses import THIN, intensity, mass, mass_rate, unit_of
from dashboards.meters import MeterTracker, Point
from dashboards.pages import co2, co2_facts, co2_rate, co2_tables
from dashboards.pages.co2_history import History, Window, Years, group_hours, source_windows, years
from dashboards.push import View
from dashboards.state import FeedState, Link, Message, Snapshot
from dashboards.state import Health as Connection
from headwater import delta
from headwater.contracts import STREAMS
from headwater.contracts.co2 import CO2
from headwater.settings import load_settings
from tests.co2_messages import Plants
from tests.sales_messages import Produced, encode

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
AT = NOW.timestamp()
HOUR = timedelta(hours=1)
HOSTILE = ("<script>alert(1)</script>", "=cmd()", "N" * 300, "%{x}", "a,b", "é|ü")


def snapshot(*messages: Produced, at: datetime = NOW) -> Snapshot:
    """What the pages see after these."""
    state = FeedState(STREAMS, trackers={"co2": MeterTracker()})
    for offset, produced in enumerate(messages):
        topic, key, value = encode(produced)
        state.apply(Message(topic, 0, offset, key, value, at.timestamp()))
    state.link = Link(Connection.LIVE)
    return state.snapshot(at.timestamp())


def hour(back: int) -> datetime:
    """The hour under way is 0."""
    return NOW.replace(minute=0) - back * HOUR


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(load_settings({"HEADWATER_HOME": str(tmp_path)}))


def words(component: Any) -> str:
    """All text of a component, in order."""
    if isinstance(component, list | tuple):
        return " ".join(filter(None, map(words, component)))
    if hasattr(component, "to_plotly_json"):
        return words(component.to_plotly_json()["props"].get("children"))
    return "" if component is None else " ".join(str(component).replace(THIN, " ").split())


# --- units ---


@pytest.mark.parametrize(
    ("kg", "text"),
    [
        (0, "0.00 kg"), (1e-9, "1e-06 g"), (5e-5, "0.05 g"), (0.0123, "12.3 g"), (0.9994, "999 g"), (0.9996, "1.00 kg"),
        (1, "1.00 kg"), (999.4, "999 kg"), (999.6, "1.00 t"), (12_345, "12.3 t"), (2.5e6, "2.50 kt"), (4e9, "4.00 Mt"),
        (1e13, "10.0 Gt"), (1.5e16, "15 000 Gt"), (-2_500, "-2.50 t"), (None, "-"),
    ],
)  # fmt: skip
def test_one_rule_for_units(kg: float | None, text: str) -> None:
    assert mass(kg) == text.replace(" ", THIN)
    assert mass_rate(kg) == text.replace(" ", THIN) + ("" if kg is None else "/h")


def test_axes_follow_the_same_rule() -> None:
    assert [unit_of(kg).name for kg in (0.4, 3, 999.6, 2e6)] == ["g", "kg", "t", "kt"]
    assert intensity(412.25) == f"412{THIN}kg/MWh"


# --- key figures ---


def test_rate_now_leaves_silent_sources_out_and_compares_like_with_like() -> None:
    """a: 1,200 now, 1,000 in the hour before; b is silent; c came after that hour. Change: 1,200 of 1,000."""
    plants = Plants()
    seen = snapshot(
        plants.total("a", 9, NOW, rate_kg_h=700.0),
        plants.total("b", 9, NOW - HOUR, rate_kg_h=5_000.0),
        plants.total("c", 9, NOW, rate_kg_h=50.0),
        plants.health("b", "silent", NOW - HOUR, NOW - HOUR),
        plants.window("per_hour", "a", hour(1), 1000, 1000.0),
        plants.window("per_hour", "b", hour(1), 5000, 5000.0),
        plants.reading("a", 1 / 3, NOW + timedelta(seconds=1)),
    )
    table = seen.streams["co2"].table
    meters = co2_rate.tracker(seen).view(AT)
    rate = co2_facts.rate_now(table("totals"), table("health"), table("per_hour"), meters, AT)
    assert rate.kg_h == pytest.approx(1_250)
    assert (rate.sources, rate.silent) == (2, 1)
    assert rate.change == pytest.approx(0.2)


def test_who_speaks_again_is_silent_no_more() -> None:
    plants = Plants()
    table = snapshot(plants.health("b", "silent", NOW, NOW)).streams["co2"].table("health")
    assert co2_facts.silent(table, {"b": Point(AT, 1.0)}) == {"b"}
    assert co2_facts.silent(table, {"b": Point(AT + 1, 1.0)}) == set()


def test_a_clock_that_is_ahead_moves_nothing() -> None:
    plants = Plants()
    rows = snapshot(plants.total("a", 1, NOW), plants.total("b", 1, NOW + 20 * HOUR)).streams["co2"].table("totals")
    assert co2_facts.newest(rows, {"c": Point(AT + 9_999, 1.0)}, AT) == AT
    assert co2_facts.newest({}, {}, AT) is None


def test_today_counts_the_hour_under_way_and_its_change_does_not() -> None:
    hours = {
        hour(back).timestamp(): kg for back, kg in ((0, 5.0), (1, 30.0), (14, 10.0), (15, 99.0), (24, 7.0), (25, 20.0))
    }
    today = co2_facts.today(hours, AT)
    assert (today.kg, today.change) == (45.0, 1.0)
    assert co2_facts.today({hour(0).timestamp(): 5.0}, AT).change is None


def test_this_year_against_the_last_up_to_the_same_hour() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    hours = {first.timestamp(): 60.0, (first - HOUR).timestamp(): 1e6, hour(0).timestamp(): 5.0}
    year = co2_facts.this_year(hours, 80.0, AT)
    assert (year.kg, year.change) == (65.0, -0.25)
    assert co2_facts.this_year(hours, None, AT).change is None


@pytest.mark.parametrize(
    ("share", "exhausted_on", "text"),
    [
        (0.5, "2026-12-12", "runs out on 12 December 2026 at the rate of the last 30 days"),
        (1.0, "2026-10-03", "was used up on 3 October 2026"),
        (0.5, "2027-03-01", "lasts beyond the year; at the rate of the last 30 days until 1 March 2027"),
        (0.0, None, "lasts: nothing was emitted in the last 30 days of data"),
    ],
)
def test_a_budgets_end_in_words(share: float, exhausted_on: str | None, text: str) -> None:
    assert co2_facts.outlook({"year": 2026, "used_share": share, "exhausted_on": exhausted_on}) == text


def test_of_each_budget_the_newest_year_the_most_strained_first() -> None:
    rows = [("a", 2025, 0.99), ("a", 2026, 0.2), ("b", 2026, 0.4)]
    table = {f"{b}{year}": {"budget": b, "year": year, "used_share": share} for b, year, share in rows}
    assert [(row["budget"], row["year"]) for row in co2_facts.budgets_now(table)] == [("b", 2026), ("a", 2026)]


def test_weekdays_are_means_without_the_hour_under_way() -> None:
    """22 November 2026 is a Sunday."""
    hours = {hour(0).timestamp(): 1e9, hour(1).timestamp(): 10.0, hour(1 + 168).timestamp(): 20.0}
    cells = co2_facts.weekdays(hours, AT)
    assert cells[6][13] == 15.0
    assert cells[6][14] is None
    assert sum(value is not None for row in cells for value in row) == 1


def test_tiles_say_what_they_know(history: History) -> None:
    plants = Plants()
    seen = snapshot(
        plants.total("a", 9, NOW, rate_kg_h=12_345.0),
        plants.group("by_sector", "power", hour(0), 1_500.0),
        plants.group("by_sector", "steel", hour(0), 500.0),
        plants.group("by_sector", "power", hour(1), 2_000.0),
        plants.group("by_sector", "power", hour(25), 1_000.0),
        plants.budget("source:a", NOW, 1e6, 250_000.0, exhausted_on="2026-12-12", mean_rate_kg_h=1.0),
        plants.budget("sector:steel", NOW, 1e6, 50_000.0),
        plants.budget_day("source:a", NOW.replace(hour=0, minute=0), 12_000.0),
        plants.alarm("a", NOW - HOUR),
        plants.alarm("b", NOW - 3 * HOUR, NOW - HOUR),
        plants.alarm("c", NOW - 30 * HOUR, acknowledged_at=NOW, acknowledged_by="Ada"),
        plants.health("a", "stuck", NOW, NOW),
        plants.health("b", "ok", NOW, NOW),
    )
    shown = [words(tile) for tile in co2.tiles(history, seen, View())]
    assert shown == [
        "Rate now 12.3 t/h no earlier time to compare",
        "Emitted today 4.00 t ▲ 100.0 % vs the day before, same hours",
        "Emitted in 2026 5.00 t no earlier time to compare",
        "Allowance used 25.0 % ▲ 1.2 % today · a",
        "Open alarms 2 1 not acknowledged · 2 began in 24 h",
        "Meters in trouble 1 of 2 1 stuck",
    ]


def test_nothing_yet(history: History) -> None:
    empty = snapshot()
    assert all("no data yet" in words(tile) for tile in co2.tiles(history, empty, View()))
    for part in co2.parts(history):
        part.build(empty, View())
    assert "make run-producers STREAMS=co2" in co2_rate.figure(history, empty, View()).layout.annotations[0].text
    assert "source_allowances_kg" in figures.burn_down(None, {}, LIGHT).layout.annotations[0].text


# --- figures ---


def test_no_line_crosses_a_gap() -> None:
    points = [(0.0, 1.0), (10.0, 2.0), (41.0, 3.0), (71.0, 4.0)]
    assert figures.broken(points, 30.0) == [(0, 1), (10, 2), (10.001, None), (41, 3), (71, 4)]
    figure = figures.rate([Line("a", points, 30.0)], [], "15", 0, 100, LIGHT)
    assert list(figure.data[0].y) == [1, 2, None, 3, 4]
    assert figure.data[0].connectgaps is False


def test_limits_alarms_and_one_unit_for_all() -> None:
    lines = [Line("a", [(0.0, 2_500.0), (60.0, 1e4)], 90, 8_000.0, (120.0, 5_000.0)), Line("b", [(0.0, 10.0)], 90, 1e6)]
    alarms: list[dict[str, Any]] = [
        {"source_id": "a", "began_at": "1970-01-01T00:00:30Z", "ended_at": None, "peak_kg_h": 1e4, "limit_kg_h": 8e3},
        {"source_id": "a", "began_at": "1969-12-31T23:00:00Z", "ended_at": "1970-01-01T00:00:10Z", "peak_kg_h": 9e3,
         "limit_kg_h": 8e3},
    ]  # fmt: skip
    figure = figures.rate(lines, alarms, "360 light", 0, 120, LIGHT)
    assert list(figure.data[0].y) == [2.5, 10]
    assert (list(figure.data[1].x), list(figure.data[1].y)) == ([120_000], [5])
    assert figure.layout.yaxis.title.text == "t/h"
    assert figure.data[0].name == f"a (limit 8.00{THIN}t/h)"
    limits = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert [shape.y0 for shape in limits] == [8], "b's limit is a hundred times what is drawn"
    assert [(shape.name, shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"] == [
        ("open", 30_000, 120_000), ("ended", 0, 10_000),
    ]  # fmt: skip
    assert figure.layout.meta == {"shape": "360 light", "kg": 1000}


def test_a_tail_overlaps_and_is_in_kg() -> None:
    line = Line("a", [(0.0, 5.0), (60.0, 6.0), (240.0, 7.0)], 60, open=(300.0, 8.0))
    assert figures.tail([line], "s", 310.0, 60.0) == {
        "shape": "s", "until": 310_000,
        "lines": {"a": {"x": [60_000, 60_001, 240_000], "y": [6, None, 7], "open": [[300_000], [8]]}},
    }  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_records_are_text(name: str, history: History) -> None:
    figure = figures.rate([Line(name, [(0.0, 1.0)], 1)], [], "15", 0, 1, LIGHT)
    assert "<" not in figure.data[0].name
    assert len(figure.data[0].name) <= 60
    assert "%{x}" not in figure.data[0].hovertemplate.replace("<br>%{x}<br>", "")
    bars = figures.emitters({name: 1.0}, {name: name}, LIGHT)
    assert "<" not in bars.data[0].name + bars.layout.yaxis.ticktext[0] + bars.data[0].customdata[0][0]
    assert View(filters={"sources": co2_rate.token(name)}).chosen("sources") == (co2_rate.token(name),)
    assert co2_rate.name_of(co2_rate.token(name)) == name
    plants = Plants()
    seen = snapshot(
        plants.total(name, 9, NOW, sector=name, fuel=name), plants.health(name, "ok", NOW, NOW),
        plants.alarm(name, NOW), plants.reading(name, 1, NOW, sector=name),
        plants.group("by_sector", name, hour(0), 1.0), plants.budget(f"source:{name}", NOW, 10, 1),
        plants.window("per_hour", name, hour(0), 1.0, 1.0),
    )  # fmt: skip
    view = View(filters={"sources": co2_rate.token(name), "heat": co2_rate.token(name)})
    for part in co2.parts(history):
        part.build(seen, view)
    (link, *_) = co2.links(seen, View(filters={"export": co2_rate.token(name), "days": "1"}))
    assert link.href.startswith("/api/v1/co2/readings.csv?source_id=")
    assert not set("<>=, |") & set(link.href.partition("source_id=")[2].partition("&")[0])


def test_hours_are_stacked_missing_ones_are_nothing_and_the_last_is_marked() -> None:
    groups = {(0.0, "power"): 1e3, (7_200.0, "power"): 3e3, (7_200.0, "zinc"): 5e2}
    names = figures.ordered({"zinc", "power", "unknown"}, figures.SECTORS)
    assert names == ["power", "zinc", "unknown"]
    figure = figures.stacked(groups, names, 7_260.0, LIGHT)
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [
        ("power", [1, 0, 3, 3]),
        ("zinc", [0, 0, 0.5, 0.5]),
    ]
    assert list(figure.data[0].x) == [0, 3_600_000, 7_200_000, 10_800_000]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(7_200_000, 10_800_000)]
    assert not figures.stacked(groups, names, 99_999.0, LIGHT).layout.shapes


def test_too_many_groups_are_gathered() -> None:
    names = figures.ordered((f"s{i}" for i in range(20)), figures.SECTORS)
    figure = figures.stacked({(0.0, f"s{i}"): 1.0 for i in range(20)}, names, 0.0, LIGHT)
    assert len(names) == 7
    assert (figure.data[-1].name, figure.data[-1].y[0]) == ("other", 13)
    assert len({trace.fillcolor for trace in figure.data}) == 8


def test_emitters_by_mass_in_their_sectors_colours() -> None:
    figure = figures.emitters({"a": 5e3, "b": 9e3, "c": 0.0}, {"a": "power", "b": "steel", "c": "power"}, LIGHT, most=2)
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]
    assert {trace.name: (list(trace.y), list(trace.x)) for trace in figure.data} == {
        "power": ([0], [5]), "steel": ([1], [9]),
    }  # fmt: skip


def test_a_budget_burns_down_to_the_day_it_runs_out() -> None:
    """100 t from 1 January; 10 t on the 1st, 20 t on the 2nd up to noon; 1 t/h leaves 70 h."""
    day = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    row = {"budget": "source:a", "year": 2026, "allowance_kg": 1e5, "mean_rate_kg_h": 1e3, "used_share": 0.3,
           "last_event": "2026-01-02T12:00:00Z"}  # fmt: skip
    even, left, ahead = figures.burn_down(row, {day: 1e4, day + 86_400: 2e4}, LIGHT).data
    assert (list(even.y), list(left.y), list(ahead.y)) == ([100, 0], [100, 90, 70], [70, 0])
    assert [x / 1e3 - day for x in left.x] == [0, 86_400, 129_600]
    assert ahead.x[1] / 1e3 - day == 129_600 + 70 * 3_600
    slow = figures.burn_down(row | {"mean_rate_kg_h": 1.0}, {day: 1e4}, LIGHT).data[2]
    assert slow.x[1] / 1e3 == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert list(figures.burn_down(row, {day: 2e5}, LIGHT).data[2].x) == []


def test_the_rate_by_hour_breaks_where_an_hour_is_missing(history: History) -> None:
    plants = Plants()
    hours = [plants.window("per_hour", "a", hour(back), 1.0, float(back)) for back in (5, 4, 2, 0)]
    energy = plants.window("per_hour", "a", hour(1), 1.0, 1.0, energy_mwh=2.0, intensity_kg_mwh=0.5)
    seen = snapshot(*hours, plants.total("a", 1, NOW, limit_kg_h=2.0), plants.health("a", "ok", NOW, NOW))
    (line,) = co2_rate.lines(history, seen, View(span=20_160), AT, AT - 86_400)
    assert [value for _, value in figures.broken(line.points, line.gap_s)] == [5, 4, None, 2]
    assert (line.open, line.limit) == ((hour(0).timestamp(), 0.0), 2.0)
    known = snapshot(*hours, energy, plants.total("a", 1, NOW))
    assert [list(trace.y) for trace in co2.intensity(history, known, View()).data] == [[0.5]]
    assert not co2.intensity(history, seen, View()).data


def test_the_chart_is_drawn_anew_only_where_it_has_to_be(history: History) -> None:
    plants = Plants()
    total, alarm = plants.total("a", 1, NOW), plants.alarm("a", NOW)
    before = co2_rate.figure_key(history, snapshot(total, alarm))
    reading = plants.reading("a", 5.0, NOW)
    assert co2_rate.figure_key(history, snapshot(total, alarm, reading)) == before
    ended = plants.alarm("a", NOW, NOW + HOUR)
    assert co2_rate.figure_key(history, snapshot(total, ended)) != before


# --- tables ---


def test_alarms_newest_first_with_who_saw_them() -> None:
    plants = Plants()
    seen = snapshot(
        plants.alarm("a", NOW - 2 * HOUR, NOW - HOUR, acknowledged_at=NOW, acknowledged_by="Ada"),
        plants.alarm("b", NOW - HOUR, peak_kg_h=400.0, limit_kg_h=350.0),
    )
    first, second = co2_tables.alarm_rows(seen, View())
    assert (first["source"], first["ended"], first["acknowledged"], first["open"]) == ("b", "▲ open", "", True)
    assert (first["peak_text"], first["limit_text"]) == (f"400{THIN}kg/h", f"350{THIN}kg/h")
    assert (second["source"], second["ended"]) == ("a", "13:30:00, 60 min")
    assert second["acknowledged"] == "Ada, 14:30:00"
    assert co2_tables.alarms_about(seen, View()) == "1 open of 2"


def test_meters_in_trouble_come_first() -> None:
    plants = Plants()
    states = (("d", "ok"), ("c", "gap"), ("b", "stuck"), ("a", "ok"), ("e", "silent"))
    seen = snapshot(*(plants.health(name, state, NOW, NOW, gaps=2) for name, state in states))
    rows = co2_tables.meter_rows(seen, View())
    assert [row["source"] for row in rows] == ["e", "b", "c", "a", "d"]
    assert [row["state"].split()[1] for row in rows] == ["silent", "stuck", "gap", "ok", "ok"]
    assert (rows[0]["interval_text"], rows[0]["gaps"], rows[0]["trouble"]) == ("1.0 s", 2, True)
    assert co2_tables.meters_about(seen, View()) == "1 stuck, 1 silent, 1 gap"


# --- history ---


def table(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    """A Delta table of the job's, with these rows."""
    delta.create_tables(CO2, folder)
    fields = delta.fields_of_table(CO2, name)
    delta.append(folder / name, pa.Table.from_pylist(list(rows), delta.arrow_schema(fields)), "test", 1)
    return folder / name


def group(start: datetime, name: str, kg: float) -> dict[str, Any]:
    return {"window_start": start, "window_end": start + HOUR, "is_final": True, "sector": name, "emission_kg": kg,
            "sources": 1}  # fmt: skip


def test_history_of_delta(tmp_path: Path) -> None:
    last_year = NOW.replace(year=2025)
    path = table(
        tmp_path, "by_sector", group(hour(0), "power", 3.0), group(hour(0), "steel", 4.0),
        group(hour(400), "power", 5.0), group(last_year.replace(minute=0), "power", 70.0),
        group(last_year.replace(minute=0) - HOUR, "power", 6.0),
    )  # fmt: skip
    assert group_hours(path, "sector", hour(300).timestamp()) == {
        (hour(0).timestamp(), "power"): 3.0, (hour(0).timestamp(), "steel"): 4.0,
    }  # fmt: skip
    assert years(path, AT) == Years({hour(0).timestamp(): 7.0, hour(400).timestamp(): 5.0}, 6.0)
    assert years(path, datetime(2028, 2, 29, tzinfo=UTC).timestamp()) == Years()


def test_history_of_a_source(tmp_path: Path) -> None:
    rows = [
        {"window_start": hour(back), "window_end": hour(back) + HOUR, "is_final": True, "source_id": name,
         "emission_kg": 2.0, "mean_rate_kg_h": float(back), "intensity_kg_mwh": None, "records": 1, "substitute": 0}
        for back, name in ((1, "a"), (2, "a"), (1, "b"), (9, "a"))
    ]  # fmt: skip
    path = table(tmp_path, "per_hour", *rows)
    assert source_windows(path, "a", hour(5).timestamp()) == [
        Window(hour(1).timestamp(), 1.0, 2.0, None), Window(hour(2).timestamp(), 2.0, 2.0, None),
    ]  # fmt: skip


def test_a_page_never_waits_for_history_and_memory_goes_over_it(tmp_path: Path) -> None:
    """The first answer is nothing; the files are read meanwhile, and anew after half a minute."""
    clock = [0.0]
    settings = load_settings({"HEADWATER_HOME": str(tmp_path)})
    history = History(settings, lambda: clock[0])
    path = table(settings.delta(CO2.name, "by_sector").parent, "by_sector", group(hour(9), "power", 3.0))
    plants = Plants()
    seen = snapshot(plants.total("a", 1, NOW), plants.group("by_sector", "power", hour(0), 1.0))

    def shown() -> list[float]:
        return list(co2.stacked(history, seen, View()).data[0].y)

    def becomes(kg: list[float]) -> None:
        deadline = time.monotonic() + 10
        while shown() != kg:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert shown() == [1, 1]
    becomes([3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    fields = delta.fields_of_table(CO2, "by_sector")
    rows = [group(hour(2), "power", 8.0), group(hour(0), "power", 9.0)]
    write_deltalake(str(path), pa.Table.from_pylist(rows, delta.arrow_schema(fields)), mode="overwrite")
    assert shown()[0] == 3
    clock[0] = 31.0
    becomes([8, 0, 1, 1])
