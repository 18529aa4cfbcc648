"""Figures of the page about trucks: what is drawn, and what stands there without data."""

from __future__ import annotations

from typing import Any

from dashboards.figures.theme import LIGHT
from dashboards.figures.trucks import activity, speed
from dashboards.fleet import Fix


def minute(time: str, moving: int, mean: float | None) -> dict[str, Any]:
    return {
        "window_start": f"2026-11-22T{time}:00Z",
        "trucks": 9,
        "moving": moving,
        "distance_km": 1.0,
        "mean_kmh": mean,
    }


def test_without_data_they_say_what_to_do() -> None:
    assert "make run-producers STREAMS=trucks" in activity([], LIGHT).layout.annotations[0].text
    assert "No fixes" in speed([], 100, LIGHT).layout.annotations[0].text


def test_the_last_hour_of_the_data_with_its_end_open() -> None:
    rows = [minute("10:00", 1, 10.0), minute("12:01", 4, None), minute("12:00", 3, 50.0), minute("11:02", 2, 40.0)]
    moving, open_end, mean, _ = activity(rows, LIGHT).data
    assert [f"{at:%H:%M}" for at in moving.x] == ["11:02", "12:00"]
    assert list(moving.y) == [2, 3]
    assert list(open_end.y) == [3, 4]
    assert list(mean.y) == [40, 50]


def test_the_limit_is_drawn_where_a_truck_comes_near_it() -> None:
    fixes = [Fix(0.0, 52.0, 5.0, 70.0, 90.0), Fix(10.0, 52.0, 5.0, 79.0, 90.0)]
    assert list(speed(fixes, 100, LIGHT).data[0].y) == [70, 79]
    assert len(speed(fixes, 100, LIGHT).layout.shapes) == 0
    assert len(speed(fixes, 90, LIGHT).layout.shapes) == 1
