"""What each figure of the trucks means, worked out with pandas from plain rows.

Written from the definitions alone and knowing nothing of the code under test: whole columns instead of a walk,
distances by the chord between two points of the sphere, areas that are boxes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

HOUR, MINUTES_5, MINUTES_10, HALF_A_MINUTE = 3600.0, 300.0, 600.0, 30.0
RADIUS_KM = 6371.0088

Rows = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Box:
    """An area between two meridians and two parallels."""

    name: str
    kind: str
    south: float
    west: float
    north: float
    east: float

    def geojson(self) -> dict[str, Any]:
        corners = [(self.west, self.south), (self.east, self.south), (self.east, self.north), (self.west, self.north)]
        return {
            "type": "Feature",
            "properties": {"name": self.name, "kind": self.kind},
            "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        }


def chord_km(a: pd.DataFrame, b: pd.DataFrame) -> Any:
    """Along the sphere, by the straight way through it."""

    def xyz(frame: pd.DataFrame) -> Any:
        phi, lam = np.radians(frame["latitude"].to_numpy()), np.radians(frame["longitude"].to_numpy())
        return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])

    return 2 * RADIUS_KM * np.arcsin(np.clip(np.linalg.norm(xyz(a) - xyz(b), axis=0) / 2, 0, 1))


def fixes_of(records: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of ``records`` -> each event once in the trucks' order; and the fixes that count, with their steps."""
    frame = pd.DataFrame(records)
    frame = frame.sort_values(["partition", "offset"]).drop_duplicates("event_id")
    frame = frame.sort_values(["truck_id", "event_time", "partition", "offset"]).reset_index(drop=True)
    frame["speed_kmh"] = frame["speed_kmh"].astype(float)
    fixes = frame.drop_duplicates(["truck_id", "event_time"]).reset_index(drop=True)
    before = fixes.groupby("truck_id")[["event_time", "latitude", "longitude"]].shift()
    fixes["gap"] = (fixes["event_time"] - before["event_time"]).dt.total_seconds()
    kilometres = pd.Series(chord_km(fixes, before), fixes.index)
    step_kmh = kilometres / fixes["gap"] * HOUR
    fixes["implausible"] = step_kmh > 200
    fixes["km"] = kilometres.where(~fixes["implausible"], 0.0).fillna(0.0)
    fixes["moves"] = fixes["speed_kmh"].fillna(step_kmh) >= 5
    fixes["speed"] = fixes["speed_kmh"].fillna(step_kmh.where(~fixes["implausible"]))
    fixes["segment"] = (~(fixes["gap"] <= HOUR)).cumsum()
    return frame, fixes


def expected_tables(
    records: Iterable[dict[str, Any]], clock: datetime | None = None, boxes: Sequence[Box] = ()
) -> dict[str, Rows]:
    """Every table by its key; at a time, or (None) at the greatest event time."""
    records = list(records)
    frame, fixes = fixes_of(records)
    now = pd.Timestamp(clock or max(row["event_time"] for row in records))  # repeats move the clock as well
    tables: dict[str, Rows] = {"latest": {}, "trips": {}, "stops": {}, "alerts": {}, "per_minute": _minutes(fixes)}
    for truck, own in ((str(truck), own) for truck, own in fixes.groupby("truck_id")):
        newest, last = frame[frame["truck_id"] == truck].iloc[-1], own.iloc[-1]
        silence = (now - last["event_time"]).total_seconds()
        fields = ("event_id", "event_time", "latitude", "longitude", "speed_kmh", "heading_deg", "driver", "route")
        tables["latest"][(truck,)] = {name: _plain(newest[name]) for name in fields} | {
            "state": "offline" if silence > MINUTES_10 else "moving" if last["moves"] else "stopped",
            "is_implausible": bool(last["implausible"]),
        }
        silent = own[own["gap"] > MINUTES_10].index
        for n in silent:
            _alert(tables, truck, "offline", own.loc[n - 1], own.loc[n, "event_time"])
        if silence > MINUTES_10:
            _alert(tables, truck, "offline", last, None)
        for _, segment in own.groupby("segment"):
            rows = segment.reset_index(drop=True)
            is_last = rows["event_time"].iloc[-1] == last["event_time"]
            _segment(tables, truck, rows, is_open=is_last and silence <= HOUR, boxes=boxes)
    return tables


def _segment(tables: dict[str, Rows], truck: str, rows: pd.DataFrame, *, is_open: bool, boxes: Sequence[Box]) -> None:
    """Fixes between two pauses. Only at their end may something be open."""
    times, end = rows["event_time"], len(rows) - 1

    def runs(condition: pd.Series) -> list[tuple[int, int]]:
        which = (condition != condition.shift()).cumsum()
        return [(int(run.index[0]), int(run.index[-1])) for _, run in rows.groupby(which) if condition[run.index[0]]]

    begin = 0
    for first, last in runs(~rows["moves"]):
        until = times[min(last + 1, end)]
        if _seconds(times[first], until) < MINUTES_5:
            continue
        tables["stops"][truck, _plain(times[first])] = {
            "end_time": _plain(until),
            "is_open": is_open and last == end,
            "duration_s": _seconds(times[first], until),
            "latitude": rows["latitude"][first : last + 1].mean(),
            "longitude": rows["longitude"][first : last + 1].mean(),
        }
        _trip(tables, truck, rows[begin : first + 1], is_open=False)
        begin = last
    _trip(tables, truck, rows[begin:], is_open=is_open and not _stands(rows, begin))
    for first, last in runs(rows["speed"] > 100):
        if _seconds(times[first], times[last]) >= HALF_A_MINUTE:
            _alert(tables, truck, "overspeed", rows.loc[first], _end(times, last, end, is_open),
                   top_kmh=rows["speed"][first : last + 1].max())  # fmt: skip
    for box in boxes:
        inside = rows["latitude"].between(box.south, box.north) & rows["longitude"].between(box.west, box.east)
        for first, last in runs(inside):
            _alert(tables, truck, "geofence", rows.loc[first], _end(times, last, end, is_open),
                   geofence=box.name, geofence_kind=box.kind)  # fmt: skip


def _stands(rows: pd.DataFrame, begin: int) -> bool:
    """Whether a stop reaches to the end, so that what begins at its last fix is no trip at all."""
    return begin == len(rows) - 1


def _trip(tables: dict[str, Rows], truck: str, rows: pd.DataFrame, *, is_open: bool) -> None:
    first, last = rows.iloc[0], rows.iloc[-1]
    seconds, kilometres = _seconds(first["event_time"], last["event_time"]), rows["km"][1:].sum()
    if kilometres < 0.5 or seconds < MINUTES_5:
        return
    lasted = -rows["event_time"].diff(-1).dt.total_seconds()
    tables["trips"][truck, _plain(first["event_time"])] = {
        "end_time": _plain(last["event_time"]),
        "is_open": is_open,
        "distance_km": kilometres,
        "duration_s": seconds,
        "average_kmh": kilometres / seconds * HOUR,
        "top_kmh": rows["speed"].max(),
        "idle_s": lasted[:-1][~rows["moves"][:-1]].sum(),
        "fixes": len(rows),
        "implausible": int(rows["implausible"][1:].sum()),
        "start_latitude": first["latitude"],
        "start_longitude": first["longitude"],
        "end_latitude": last["latitude"],
        "end_longitude": last["longitude"],
    }


def _end(times: pd.Series, last: int, end: int, is_open: bool) -> Any:
    """When what lasted up to a fix ended: at the next one, at the last before a pause, or not yet."""
    return times[last + 1] if last < end else None if is_open else times[end]


def _alert(tables: dict[str, Rows], truck: str, kind: str, began: pd.Series, ended: Any, **details: Any) -> None:
    key = (truck, kind, _plain(began["event_time"]), details.get("geofence"))
    tables["alerts"][key] = {
        "ended_at": None if ended is None else _plain(ended),
        "latitude": began["latitude"],
        "longitude": began["longitude"],
        "geofence_kind": details.get("geofence_kind"),
        "top_kmh": details.get("top_kmh"),
    }


def _minutes(fixes: pd.DataFrame) -> Rows:
    minutes = fixes.assign(minute=fixes["event_time"].dt.floor("min"))
    return {
        (_plain(minute),): {
            "trucks": rows["truck_id"].nunique(),
            "moving": rows[rows["moves"]]["truck_id"].nunique(),
            "distance_km": rows["km"].sum(),
            "mean_kmh": _plain(rows["speed"].mean()),
        }
        for minute, rows in minutes.groupby("minute")
    }


def _seconds(start: pd.Timestamp, end: pd.Timestamp) -> float:
    return (end - start).total_seconds()


def _plain(value: Any) -> Any:
    """Without pandas' types; missing is None."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return None if pd.isna(value) else value


KEYS = {
    "latest": ("truck_id",),
    "trips": ("truck_id", "start_time"),
    "stops": ("truck_id", "start_time"),
    "alerts": ("truck_id", "kind", "began_at", "geofence"),
    "per_minute": ("window_start",),
}
TIMES = {"event_time", "start_time", "end_time", "began_at", "ended_at", "window_start"}


def assert_same(name: str, rows: Iterable[dict[str, Any]], expected: Rows, steps: int = 10) -> None:
    """A table's rows, with times as such or as text, are the expected ones; distances to a millimetre a step, of which
    a row adds up so many.
    """
    found: Rows = {}
    for row in rows:
        typed = {k: datetime.fromisoformat(v) if k in TIMES and isinstance(v, str) else v for k, v in row.items()}
        key = tuple(typed[column] for column in KEYS[name])
        assert key not in found, f"{name}: {key} twice"
        found[key] = typed
    assert found.keys() == expected.keys(), (
        f"{name}: too many {sorted(found.keys() - expected.keys(), key=str)[:5]}, "
        f"missing {sorted(expected.keys() - found.keys(), key=str)[:5]}"
    )
    for key, wanted in expected.items():
        for column, value in wanted.items():
            held = found[key][column]
            if isinstance(value, float) and held is not None:
                tolerance = 1e-6 * steps if column == "distance_km" else 1e-3 if column.endswith("kmh") else 1e-9
                same = abs(held - value) <= tolerance
            else:
                same = held == value
            assert same, f"{name} {key} {column}: {held}, not {value}"
