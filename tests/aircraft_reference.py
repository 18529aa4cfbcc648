"""What each figure of the aircraft means, worked out with pandas from plain rows and the definitions alone."""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

FIELDS = (
    "icao24", "callsign", "origin_country", "time_position", "last_contact", "longitude", "latitude", "baro_altitude",
    "on_ground", "velocity", "true_track", "vertical_rate", "sensors", "geo_altitude", "squawk", "spi",
    "position_source", "category",
)  # fmt: skip
"""OpenSky's order."""

Rows = dict[tuple[Any, ...], dict[str, Any]]


def states_of(path: Path) -> list[dict[str, Any]]:
    """A recorded answer -> its states by field name."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        answer = json.load(file)
    return [
        {**dict(zip(FIELDS, state, strict=True)), "snapshot_time": answer["time"], "event_id": f"{state[0]}-{state[4]}"}
        for state in answer["states"]
    ]


def expected_tables(records: Iterable[dict[str, Any]]) -> dict[str, Rows]:
    """Rows of ``records`` -> every table by its key."""
    frame = pd.DataFrame(list(records))
    frame = frame.sort_values(["partition", "offset"]).drop_duplicates("event_id")
    frame = frame.sort_values(["icao24", "last_contact", "partition", "offset"], kind="stable").reset_index(drop=True)
    frame["on_ground"] = frame["on_ground"].astype("boolean")
    frame["squawk"] = frame["squawk"].astype("string")
    for name in ("baro_altitude", "velocity", "vertical_rate", "latitude", "longitude"):
        frame[name] = frame[name].astype(float)
    frame["minute"] = frame["last_contact"] // 60 * 60
    frame["country"] = frame["origin_country"].fillna("").str.strip().replace("", "unknown")
    in_minute = frame.drop_duplicates(["icao24", "minute"], keep="last")
    return {
        "latest": _latest(frame.drop_duplicates("icao24", keep="last")),
        "per_minute": {
            (_moment(minute),): _figures(rows, with_most=True) for (minute,), rows in in_minute.groupby(["minute"])
        },
        "by_country": {
            (_moment(minute), country): _figures(rows, with_most=False)
            for (minute, country), rows in in_minute.groupby(["minute", "country"])
        },
        "alerts": _alerts(frame),
    }


def _latest(newest: pd.DataFrame) -> Rows:
    found: Rows = {}
    for row in newest.to_dict("records"):
        rate = row["vertical_rate"]
        if row["on_ground"] is True:
            phase = "ground"
        else:
            phase = "climb" if rate > 1.5 else "descent" if rate < -1.5 else "cruise"
        names = ("last_contact", "callsign", "latitude", "longitude", "baro_altitude", "velocity", "squawk", "event_id")
        found[(row["icao24"],)] = {name: _plain(row[name]) for name in names} | {"phase": phase}
    return found


def _figures(rows: pd.DataFrame, *, with_most: bool) -> dict[str, Any]:
    airborne = rows[rows["on_ground"].eq(False).fillna(False)]
    figures = {
        "aircraft": len(rows),
        "airborne": len(airborne),
        "mean_altitude": _plain(airborne["baro_altitude"].mean()),
        "mean_velocity": _plain(airborne["velocity"].mean()),
    }
    if with_most:
        figures["on_ground"] = int(rows["on_ground"].fillna(False).sum())
        figures["max_altitude"] = _plain(airborne["baro_altitude"].max())
        figures["max_velocity"] = _plain(airborne["velocity"].max())
    return figures


def _alerts(frame: pd.DataFrame) -> Rows:
    """Runs of records with an emergency code, or sinking steeply, among those that have the value at all."""
    found: Rows = {}
    for icao24, own in frame.groupby("icao24"):
        silent = own["last_contact"].diff() > 3600
        flight = silent.cumsum()
        for code in ("7500", "7600", "7700"):
            known = own[own["squawk"].notna()]
            _runs(found, str(icao24), code, known, known["squawk"] == code, flight)
        known = own[own["vertical_rate"].notna()]
        _runs(found, str(icao24), "steep_descent", known, known["vertical_rate"] < -25, flight)
    return found


def _runs(found: Rows, icao24: str, kind: str, known: pd.DataFrame, holds: pd.Series, flight: pd.Series) -> None:
    if not holds.any():
        return
    run = ((holds != holds.shift()) | (flight[known.index] != flight[known.index].shift())).cumsum()
    for _, rows in known[holds].groupby(run[holds]):
        first, last = rows.iloc[0], rows.iloc[-1]
        found[icao24, kind, _moment(first["last_contact"])] = {
            "ended_at": _moment(last["last_contact"]),
            "latitude": _plain(first["latitude"]),
            "steepest": rows["vertical_rate"].min() if kind == "steep_descent" else None,
        }


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value


KEYS = {
    "latest": ("icao24",),
    "per_minute": ("window_start",),
    "by_country": ("window_start", "origin_country"),
    "alerts": ("icao24", "kind", "began_at"),
}
TIMES = {"window_start", "began_at", "ended_at"}


def assert_same(name: str, rows: Iterable[dict[str, Any]], expected: Rows) -> None:
    """A table's rows, with times as such or as text, are the expected ones; means to a millionth."""
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
            close = isinstance(value, float) and held is not None and abs(held - value) < 1e-6
            assert close or held == value, f"{name} {key} {column}: {held}, not {value}"
