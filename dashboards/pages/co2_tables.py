"""The tables of the page about CO2: alarms, meters, latest readings."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc

from dashboards.grid import number, words
from dashboards.masses import mass, mass_rate
from dashboards.pages import co2_facts as facts
from dashboards.pages import common
from dashboards.pages.co2_facts import seconds
from dashboards.pages.co2_rate import stream_of
from dashboards.push import View
from dashboards.shell import aria
from dashboards.state import Row, Snapshot
from dashboards.text import NOTHING, clock, duration, whole
from headwater.contracts.co2 import GAP, HEALTH, OK, SILENT, STUCK

LIVE_ROWS = 30
ALARM_ROWS = 200
METER_ROWS = 1_000
STATES = {STUCK: "■ stuck", SILENT: "○ silent", GAP: "┆ gap", OK: "✓ ok"}
WORST_FIRST = (SILENT, STUCK, GAP, OK)

NO_ALARMS = "No alarm. Good."
NO_METERS = "No meter yet."
NO_READINGS = "No reading yet."


def shown(field: str, text: str, header: str, **options: Any) -> dict[str, Any]:
    """A column that sorts by a number and shows a text of the row."""
    return number(field, header, valueFormatter={"function": f"params.data.{text}"}, filter=False, **options)


def alarm_columns() -> list[dict[str, Any]]:
    """Newest on top."""
    return [
        words("began", "Began", width=92, minWidth=80, filter=False, cellClass="hw-number"),
        words("source", "Source", flex=2, minWidth=100, tooltipField="source"),
        words("acknowledged", "Acknowledged", flex=2, minWidth=136, filter=False, cellRenderer="Co2Acknowledge"),
        shown("peak", "peak_text", "Peak", width=92, minWidth=84),
        shown("limit", "limit_text", "Limit", width=92, minWidth=84),
        words("ended", "Ended", width=120, minWidth=104, filter=False, cellClass="hw-number",
              cellClassRules={"hw-open": "params.data.open"}),
    ]  # fmt: skip


def name_input() -> Any:
    """Who acknowledges; the browser remembers it."""
    return dmc.TextInput(
        id="co2-name", placeholder="Your name", size="xs", w=130, persistence=True, persistence_type="local",
        attributes={"input": {"maxLength": 100}}, **aria("Your name, to acknowledge alarms"),
    )  # fmt: skip


def alarm_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest, newest first."""
    rows = sorted(stream_of(snapshot).table("alarms").values(), key=lambda row: seconds(row["began_at"]), reverse=True)
    return [_alarm(row, snapshot) for row in rows[:ALARM_ROWS]]


def _alarm(row: Row, snapshot: Snapshot) -> dict[str, Any]:
    today = common.today(snapshot)
    ended, by = row.get("ended_at"), row.get("acknowledged_by")
    lasted = None if ended is None else seconds(ended) - seconds(row["began_at"])
    return {
        "id": row["alarm_id"],
        "source": row["source_id"],
        "began": clock(row["began_at"], today),
        "ended": "▲ open" if ended is None else f"{clock(ended, today)}, {duration(lasted)}",
        "open": ended is None,
        "peak": row["peak_kg_h"],
        "peak_text": mass_rate(row["peak_kg_h"]),
        "limit": row["limit_kg_h"],
        "limit_text": mass_rate(row["limit_kg_h"]),
        "acknowledged": "" if by is None else f"{by}, {clock(row.get('acknowledged_at'), today)}",
    }


def _short(then: str) -> str:
    """Of another day's time the day, which is all that a narrow column has room for."""
    return then.split(maxsplit=1)[0]


def alarms_about(snapshot: Snapshot, view: View) -> str:
    """How many there are."""
    rows = stream_of(snapshot).table("alarms").values()
    return f"{whole(sum(row.get('ended_at') is None for row in rows))} open of {whole(len(rows))}"


def meter_columns() -> list[dict[str, Any]]:
    """Those in trouble on top."""
    filtered = {"floatingFilter": True, "filterParams": {"filterPlaceholder": "filter"}}
    return [
        words("source", "Source", flex=2, minWidth=110, tooltipField="source", **filtered),
        words("state", "State", width=96, minWidth=90, **filtered, cellClassRules={"hw-open": "params.data.trouble"}),
        words("since", "Since", flex=1, minWidth=104, tooltipField="since_then", filter=False, cellClass="hw-number"),
        words(
            "last", "Last record", flex=1, minWidth=104, tooltipField="last_then", filter=False, cellClass="hw-number"
        ),
        shown("interval", "interval_text", "Interval", width=84, minWidth=78),
        number("gaps", "Gaps", width=70, minWidth=62, filter=False),
    ]


def meter_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """Meters, the worst first, then by name."""
    rows = sorted(
        stream_of(snapshot).table("health").values(),
        key=lambda row: (WORST_FIRST.index(row["state"]), row["source_id"]),
    )
    today = common.today(snapshot)
    return [
        {
            "source": row["source_id"],
            "state": STATES[row["state"]],
            "trouble": row["state"] != OK,
            "since": _short(since := clock(row["since"], today)),
            "since_then": since,
            "last": _short(last := clock(row["last_event"], today)),
            "last_then": last,
            "interval": row.get("usual_interval_s"),
            "interval_text": duration(row.get("usual_interval_s")),
            "gaps": row["gaps"],
        }
        for row in rows[:METER_ROWS]
    ]


def meters_about(snapshot: Snapshot, view: View) -> str:
    """How many are in which trouble, and how many are not in the table."""
    health = stream_of(snapshot).table("health")
    words_ = [trouble_words(facts.troubled(health)) or "all well"] if health else []
    if len(health) > METER_ROWS:
        words_.append(f"{whole(METER_ROWS)} of {whole(len(health))} shown")
    return " · ".join(words_)


def trouble_words(counts: dict[str, int]) -> str:
    """``1 silent, 2 stuck``."""
    return ", ".join(f"{counts[state]} {state}" for state in HEALTH if state in counts)


def live_columns() -> list[dict[str, Any]]:
    """Newest on top; a click opens the record."""
    return [
        words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
        words("source", "Source", flex=2, minWidth=110),
        shown("kg", "mass", "Emitted", width=96, minWidth=86),
        words("covers", "Covers", width=84, minWidth=76, filter=False, cellClass="hw-number"),
        words("sector", "Sector", flex=1, minWidth=84),
        words("fuel", "Fuel", flex=1, minWidth=70),
        words("method", "Method", width=100, minWidth=92, filter=False),
    ]


def live_rows(snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest readings, newest first."""
    return common.live_rows(stream_of(snapshot).live[:LIVE_ROWS], snapshot, _cells)


def _cells(row: Row) -> dict[str, Any]:
    return {
        "source": row["source_id"],
        "kg": row["emission_kg"],
        "mass": mass(row["emission_kg"]),
        "covers": duration(row.get("interval_s")) if row.get("interval_s") else NOTHING,
        "sector": row.get("sector") or "",
        "fuel": row.get("fuel") or "",
        "method": row.get("method") or "",
    }
