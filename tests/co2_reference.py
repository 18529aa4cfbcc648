"""What each figure of the emissions means, worked out with pandas from plain rows.

Written from the definitions alone and knowing nothing of the code under test: whole columns and running windows over
them instead of a walk.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import fsum
from typing import Any

import numpy as np
import pandas as pd

Rows = dict[tuple[Any, ...], dict[str, Any]]

PLACE = ["facility", "sector", "fuel", "country", "latitude", "longitude"]
NUMBERS = ["emission_kg", "interval_s", "energy_mwh", "latitude", "longitude"]
THIRTY_DAYS, DAY, HOUR, MINUTE = timedelta(days=30), timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@dataclass(frozen=True)
class Limits:
    """What the settings say, in kg/h and kg."""

    limits: Mapping[str, float] = field(default_factory=dict)
    source_allowances: Mapping[str, float] = field(default_factory=dict)
    sector_allowances: Mapping[str, float] = field(default_factory=dict)


def records_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of ``records`` -> each event once, in the sources' order, with the step and the rate of each."""
    frame = pd.DataFrame(records).sort_values(["partition", "offset"]).drop_duplicates("event_id")
    frame = frame.sort_values(["source_id", "event_time", "partition", "offset"]).reset_index(drop=True)
    for name in NUMBERS:
        frame[name] = frame[name].astype(float)
    by_source = frame.groupby("source_id", sort=False)
    frame["before"] = by_source["event_time"].shift()
    frame["step"] = (frame["event_time"] - frame["before"]).dt.total_seconds()
    frame["covers"] = frame["interval_s"].fillna(frame["step"]).where(lambda seconds: seconds > 0)
    frame["rate"] = frame["emission_kg"] / frame["covers"] * 3600
    frame["begin"] = frame["event_time"] - pd.to_timedelta(frame["covers"].fillna(0), unit="s")
    frame["usual"] = np.nan
    for _, own in by_source:
        steps = own["step"][own["step"] > 0]
        # Of the steps before a record's own, the last eleven, from three on.
        known = steps.rolling(11, min_periods=3).median()
        frame.loc[own.index, "usual"] = known.reindex(own.index).ffill()
    return frame


def expected_tables(records: Sequence[Mapping[str, Any]], by: Limits, clock: datetime | None = None) -> dict[str, Rows]:
    """Every table by the key of its rows; ``clock``: how late it is, the greatest event time if nobody says."""
    frame = records_of(records)
    now = clock or frame["event_time"].max()
    days = _budget_days(frame, by)
    return {
        "per_minute": _windows(frame, MINUTE),
        "per_hour": _windows(frame, HOUR),
        "by_sector": _groups(frame, "sector"),
        "by_fuel": _groups(frame, "fuel"),
        "totals": _totals(frame, by),
        "budget_days": {key: {name: row[name] for name in row if name != "start"} for key, row in days.items()},
        "budgets": _budgets(days, by),
        "alarms": _alarms(frame, by),
        "health": _health(frame, now),
    }


def _windows(frame: pd.DataFrame, length: timedelta) -> Rows:
    rows: Rows = {}
    for (start, source), own in frame.groupby([frame["event_time"].dt.floor(length), "source_id"]):
        energy = own["energy_mwh"].dropna()
        with_energy, rates = own.loc[energy.index, "emission_kg"], own["rate"].dropna()
        rows[start, source] = {
            "window_end": start + length,
            "emission_kg": fsum(own["emission_kg"]),
            "energy_mwh": fsum(energy) if len(energy) else None,
            "intensity_kg_mwh": fsum(with_energy) / fsum(energy) if fsum(energy) else None,
            "mean_rate_kg_h": fsum(rates) / len(rates) if len(rates) else None,
            "max_rate_kg_h": rates.max() if len(rates) else None,
            "records": len(own),
            "substitute": int((own["method"] == "substitute").sum()),
        }
    return rows


def _groups(frame: pd.DataFrame, column: str) -> Rows:
    named = frame[column].fillna("unknown")
    return {
        (start, name): {
            "window_end": start + HOUR,
            "emission_kg": fsum(own["emission_kg"]),
            "sources": own["source_id"].nunique(),
        }
        for (start, name), own in frame.groupby([frame["event_time"].dt.floor(HOUR), named])
    }


def _totals(frame: pd.DataFrame, by: Limits) -> Rows:
    rows: Rows = {}
    for source, own in frame.groupby("source_id"):
        newest = {name: _last(own[name]) for name in [*PLACE, "rate"]}
        rows[(source,)] = {
            "emission_kg": fsum(own["emission_kg"]),
            "records": len(own),
            "first_event": own["event_time"].min(),
            "last_event": own["event_time"].max(),
            "rate_kg_h": newest.pop("rate"),
            "limit_kg_h": by.limits.get(str(source)),
            **newest,
        }
    return rows


def _last(column: "pd.Series[Any]") -> Any:
    known = column.dropna()
    return known.iloc[-1] if len(known) else None


def _budget_days(frame: pd.DataFrame, by: Limits) -> Rows:
    counted = [
        *((f"source:{name}", frame[frame["source_id"] == name]) for name in by.source_allowances),
        *((f"sector:{name}", frame[frame["sector"] == name]) for name in by.sector_allowances),
    ]
    rows: Rows = {}
    for budget, own in counted:
        for start, day in own.groupby(own["event_time"].dt.floor(DAY)):
            rows[start, budget] = {
                "start": start,
                "window_end": start + DAY,
                "emission_kg": fsum(day["emission_kg"]),
                # Each source's first record of the day says where its time begins.
                "since": day.groupby("source_id")["begin"].first().min(),
                "last_event": day["event_time"].max(),
            }
    return rows


def _budgets(days: Rows, by: Limits) -> Rows:
    rows: Rows = {}
    for budget in {budget for _, budget in days}:
        own = pd.DataFrame([row for (_, name), row in days.items() if name == budget]).sort_values("start")
        scope, subject = budget.split(":", 1)
        allowance = (by.source_allowances if scope == "source" else by.sector_allowances)[subject]
        for year, of_year in own.groupby(own["start"].dt.year):
            newest = of_year["start"].max()
            recent = own[(own["start"] > newest - THIRTY_DAYS) & (own["start"] <= newest)]
            seconds = (recent["last_event"].max() - recent["since"].min()).total_seconds()
            rate = fsum(recent["emission_kg"]) / seconds if seconds > 0 else None
            used = of_year["emission_kg"].cumsum()
            beyond = of_year["start"][used >= allowance]
            if len(beyond):
                exhausted = beyond.iloc[0].strftime("%Y-%m-%d")
            else:
                exhausted = (
                    _day_after(of_year["last_event"].max(), (allowance - used.iloc[-1]) / rate) if rate else None
                )
            rows[budget, year] = {
                "source_id": subject if scope == "source" else None,
                "sector": subject if scope == "sector" else None,
                "allowance_kg": allowance,
                "used_kg": fsum(of_year["emission_kg"]),
                "used_share": fsum(of_year["emission_kg"]) / allowance,
                "mean_rate_kg_h": rate * 3600 if rate else rate,
                "exhausted_on": exhausted,
                "last_event": of_year["last_event"].max(),
            }
    return rows


def _day_after(moment: pd.Timestamp, seconds: float) -> str | None:
    """The day so much later, if calendars go that far."""
    try:
        later = moment.to_pydatetime() + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return later.date().isoformat() if later.date() < date(9999, 12, 31) else None


def _alarms(frame: pd.DataFrame, by: Limits) -> Rows:
    rows: Rows = {}
    for source, limit in by.limits.items():
        own = frame[(frame["source_id"] == source) & frame["rate"].notna()]
        rates, times = own["rate"].to_numpy(), own["event_time"].tolist()
        raising = _three_running(rates > limit)
        ending = _three_running(rates < 0.95 * limit)
        after = -1
        while len(raised := raising[raising > after]):
            first, ended = raised[0], ending[ending > raised[0]]
            until = ended[0] if len(ended) else len(rates) - 1
            began = times[first - 2]
            rows[(f"{source}|{round(began.timestamp() * 1_000_000)}",)] = {
                "source_id": source,
                "limit_kg_h": limit,
                "began_at": began,
                "raised_at": times[first],
                "ended_at": times[until - 2] if len(ended) else None,
                "peak_kg_h": rates[first - 2 : until + 1].max(),
                "acknowledged_at": None,
                "acknowledged_by": None,
            }
            after = until if len(ended) else len(rates)
    return rows


def _three_running(flags: Any) -> Any:
    """Where the third of three holds."""
    return np.flatnonzero(flags[2:] & flags[1:-1] & flags[:-2]) + 2


def _health(frame: pd.DataFrame, now: datetime) -> Rows:
    rows: Rows = {}
    for source, own in frame.groupby("source_id"):
        runs = (own["emission_kg"] != own["emission_kg"].shift()).cumsum()
        nth = own.groupby(runs).cumcount() + 1
        stuck = (nth >= 12) & (own["emission_kg"] != 0)
        usual_before = own["usual"].shift()
        covered = own["interval_s"] >= own["step"]
        gap = (own["step"] > 3 * usual_before) & ~covered
        well = ~(stuck | gap)
        times, newest = own["event_time"].tolist(), own.iloc[-1]
        silent_at = times[-1] + timedelta(seconds=3 * newest["usual"]) if newest["usual"] > 0 else None
        if silent_at is not None and now >= silent_at:
            state, since = "silent", times[-1]
        elif stuck.iloc[-1]:
            state, since = "stuck", times[-nth.iloc[-1]]
        elif gap.iloc[-1]:
            state, since = "gap", times[-2]
        else:
            troubled = np.flatnonzero(~well.to_numpy())
            state, since = "ok", times[troubled[-1] + 1 if len(troubled) else 0]
        rows[(source,)] = {
            "state": state,
            "since": since,
            "last_event": times[-1],
            "usual_interval_s": newest["usual"] if newest["usual"] > 0 else None,
            "gaps": int(gap.sum()),
        }
    return rows


KEYS = {
    "per_minute": ("window_start", "source_id"),
    "per_hour": ("window_start", "source_id"),
    "by_sector": ("window_start", "sector"),
    "by_fuel": ("window_start", "fuel"),
    "totals": ("source_id",),
    "budget_days": ("window_start", "budget"),
    "budgets": ("budget", "year"),
    "alarms": ("alarm_id",),
    "health": ("source_id",),
}


def assert_same(table: str, found: Iterable[Mapping[str, Any]], expected: Rows) -> None:
    """Rows as stored or published equal the expected ones; times may be ISO 8601 texts, ``is_final`` is left out."""
    rows = list(found)
    by_key = {tuple(_plain(row[name]) for name in KEYS[table]): row for row in rows}
    wanted = {tuple(_plain(part) for part in key): row for key, row in expected.items()}
    assert len(by_key) == len(rows), f"{table}: a key twice"
    assert sorted(by_key, key=str) == sorted(wanted, key=str), table
    for key, row in wanted.items():
        for name, value in row.items():
            is_same = _equal(_plain(by_key[key][name]), _plain(value))
            assert is_same, f"{table} {key} {name}: {by_key[key][name]!r} instead of {value!r}"


def _plain(value: Any) -> Any:
    """Times as texts to the microsecond, missing values as None."""
    if isinstance(value, str) and value[4:5] == "-" and "T" in value:
        value = pd.Timestamp(value)
    if isinstance(value, datetime):
        return pd.Timestamp(value).tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%S.%f")
    return None if value is None or value is pd.NaT or pd.isna(value) else value


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, int | float) and isinstance(wanted, int | float | np.number):
        return bool(abs(found - wanted) <= 1e-12 * abs(wanted))
    return bool(found == wanted)
