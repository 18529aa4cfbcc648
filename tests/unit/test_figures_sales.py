"""Figures and key figures of the sales pages: data in, plotly out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
import pytest

from dashboards import text
from dashboards.figures.sales import bin_minutes, by_category, by_minute, top_bars
from dashboards.figures.theme import DARK, LIGHT
from dashboards.kpis import kpis

START = datetime(2010, 12, 1, 8, 0, tzinfo=UTC)


def minute(number: int, revenue: str = "10.0000", orders: int = 2, **more: Any) -> dict[str, Any]:
    start = START + timedelta(minutes=number)
    return {
        "window_start": start.isoformat().replace("+00:00", "Z"),
        "window_end": (start + timedelta(minutes=1)).isoformat(),
        "revenue": revenue, "orders": orders, "units": 3, "source": "archive", **more,
    }  # fmt: skip


def product(name: str, revenue: str) -> dict[str, Any]:
    return {"product": name, "revenue": revenue, "quantity": 3, "orders": 2, "returns": 0}


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(
    "build",
    [
        lambda theme: top_bars([], "product", theme),
        lambda theme: by_minute([], theme, 60),
        lambda theme: by_category([], theme, 0),
    ],
)
def test_no_data_says_what_to_do(build: Any, theme: Any) -> None:
    figure: go.Figure = build(theme)
    assert not figure.data
    assert "make run-producers" in figure.layout.annotations[0].text


def test_the_greatest_is_on_top_and_only_the_most_are_shown() -> None:
    rows = [product(f"p{i:02}", f"{i}.5000") for i in range(15)]
    bars = top_bars(rows, "product", LIGHT, most=10).data[0]
    assert bars.y[-1] == "p14"
    assert len(bars.y) == 10
    assert bars.x[-1] == 14.5


def test_gaps_are_zero_and_the_end_is_dotted() -> None:
    figure = by_minute([minute(0), minute(1), minute(4, "7.5000", 1)], LIGHT, 60)
    done, unfinished = figure.data[0], figure.data[1]
    assert list(done.y) == [10, 10, 0, 0]
    assert list(unfinished.y) == [0, 7.5]
    assert unfinished.line.dash == "dot"
    assert list(figure.data[2].y) == [2, 2, 0, 0]


def test_one_minute_alone_is_drawn() -> None:
    figure = by_minute([minute(0)], LIGHT, 60)
    assert list(figure.data[1].y) == [10]


def test_the_range_counts_from_the_newest_minute_in_the_data() -> None:
    figure = by_minute([minute(i) for i in range(100)], LIGHT, 15)
    assert figure.data[0].x[0] == START + timedelta(minutes=85)
    assert figure.data[1].x[-1] == START + timedelta(minutes=99)


def test_long_ranges_are_binned_and_nothing_is_lost() -> None:
    rows = [minute(i) for i in range(1_000)]
    figure = by_minute(rows, LIGHT, 0)
    assert len(figure.data[0].x) <= 120
    assert sum(figure.data[0].y) + figure.data[1].y[-1] == pytest.approx(10_000)
    assert "15 minutes" in figure.layout.yaxis.title.text
    assert bin_minutes(rows, 60) == 1
    assert bin_minutes(rows, 360) == 5


def test_categories_stack_and_the_small_ones_are_gathered() -> None:
    rows = [minute(i, f"{100 - c}.0000", category=f"c{c:02}") for i in range(5) for c in range(12)]
    figure = by_category(rows, LIGHT, 60)
    assert [trace.name for trace in figure.data] == [*(f"c{i:02}" for i in range(7)), "other"]
    assert figure.layout.barmode == "relative"
    assert sum(sum(trace.y) for trace in figure.data) == pytest.approx(5 * sum(100 - c for c in range(12)))


def test_negative_revenue_is_no_special_case() -> None:
    assert by_category([minute(0, "-5.0000", category="a"), minute(1, "5.0000", category="b")], LIGHT, 15).data
    assert by_minute([minute(0, "-5.0000")], LIGHT, 15).data


def test_key_figures_compare_whole_periods() -> None:
    rows = [minute(i, "10.0000") for i in range(5)] + [minute(i, "20.0000") for i in range(5, 10)]
    rows.append(minute(10, "3.0000", 1))
    figures = kpis(rows, 5)
    assert figures.current.revenue == Decimal("83.0000")  # four whole minutes of 20 and the unfinished one
    assert figures.changes["revenue"] == pytest.approx(1.0)  # five of 20 against five of 10
    assert figures.changes["orders"] == 0
    assert figures.newest == START + timedelta(minutes=10)


def test_without_an_earlier_period_there_is_no_change() -> None:
    assert kpis([minute(i) for i in range(4)], 5).changes["revenue"] is None
    assert kpis([], 5).newest is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.money("1234567.8950"), "1,234,567.90"),
        (text.money("-0.5000"), "-0.50"),
        (text.money(None), "-"),
        (text.whole(12345), "12,345"),
        (text.duration(0.0453), "45 ms"),
        (text.duration(1.26), "1.3 s"),
        (text.duration(45), "45 s"),
        (text.duration(600), "10 min"),
        (text.duration(3 * 86_400), "3 days"),
        (text.age(0.4), "now"),
        (text.age(None), "no data yet"),
        (text.percent(0.124), "▲ 12.4 %"),
        (text.percent(-0.5), "▼ 50.0 %"),
        (text.percent(0.0), "= 0.0 %"),
        (text.percent(None), "-"),
        (text.clock("2010-12-01T08:26:00Z"), "2010-12-01 08:26:00"),
        (text.clock("nonsense"), "-"),
        (text.rate(123.4), "123/s"),
    ],
)
def test_text_as_a_person_reads_it(shown: str, expected: str) -> None:
    assert shown == expected
