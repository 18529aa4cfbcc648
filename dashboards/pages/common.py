"""What the streams' pages share: state, banner, tiles, rejected records, a record in full, period and pause.

A component's id is `<stream>-<name>`; the browser's functions go by its last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dash_mantine_components as dmc
import orjson
from dash import Dash, Input, Output, html

from dashboards.grid import grid, words
from dashboards.pages.home import badge
from dashboards.push import Part, View
from dashboards.shell import card
from dashboards.state import Health, Row, Snapshot
from dashboards.text import age, clock, duration, percent, rate, whole
from dashboards.untyped import clientside

PERIODS = (5, 15, 60)
REJECTED_ROWS = 60
RAW_SHOWN = 2_000
"""Characters of a rejected value that go to the browser: sixty of a megabyte each would choke it."""

NO_REJECTS = "Nothing rejected. Good."


def parts(stream: str, one: str) -> tuple[Part, ...]:
    """State, banner and rejected records of a stream; `one` of its records is called so."""
    return (
        *head_parts(stream, stream, one),
        Part(f"{stream}-rejected", "rowData", partial(rejected_rows, stream), every=0.5),
        Part(f"{stream}-rejected-count", "children", partial(rejected_count, stream), every=1.0),
    )


def head_parts(prefix: str, stream: str, one: str) -> tuple[Part, ...]:
    """State and banner; they go on while a page is paused."""
    return (
        Part(f"{prefix}-state", "children", partial(state, stream), every=0.5, while_paused=True),
        Part(f"{prefix}-banner", "children", partial(banner, stream, one), every=0.5, while_paused=True),
    )


def head(prefix: str) -> list[Any]:
    """The places of state and banner."""
    return [html.Div(id=f"{prefix}-state", className="hw-state"), html.Div(id=f"{prefix}-banner")]


def callbacks(app: Dash, stream: str) -> None:
    """Pause, period, and the drawer."""
    button = [Output(f"{stream}-pause", "children"), Output(f"{stream}-pause", "variant")]
    clientside(app, "pause", button, [Input(f"{stream}-pause", "n_clicks")])
    minutes = [Input(f"{stream}-minutes", "value"), Input(f"{stream}-minutes", "id")]
    clientside(app, "control", [Output(f"{stream}-minutes", "name")], minutes)
    drawer_callback(app, stream)


def drawer_callback(app: Dash, stream: str) -> None:
    """The drawer opens on a click on a row of `<stream>-live` or `<stream>-rejected`."""
    detail = [Output(f"{stream}-detail", "opened")]
    detail += [Output(f"{stream}-detail-{part}", "children") for part in ("raw", "record", "where")]
    clicks = [Input(f"{stream}-live", "cellClicked"), Input(f"{stream}-rejected", "cellClicked")]
    clientside(app, "detail", detail, clicks, prevent_initial_call=True)


def period(stream: str) -> Any:
    """The minutes that key figures cover."""
    data = [{"value": str(n), "label": f"{n} min"} for n in PERIODS]
    return dmc.SegmentedControl(id=f"{stream}-minutes", value="15", data=data, size="xs")


def pause(stream: str) -> Any:
    """The button that holds the page still."""
    return dmc.Button("❚❚ Pause", id=f"{stream}-pause", variant="default", size="xs", w=96)


def drawer(stream: str) -> Any:
    """A record in full."""
    shown = (("As it came", "raw"), ("As it was read", "record"), ("Position in Kafka", "where"))
    return dmc.Drawer(
        id=f"{stream}-detail",
        title="Record",
        position="right",
        size="lg",
        children=[
            child
            for heading, part in shown
            for child in (
                html.H3(heading, className="hw-h2"),
                html.Pre(id=f"{stream}-detail-{part}", className="hw-json"),
            )
        ],
    )


def rejected_card(stream: str) -> Any:
    """Why records were rejected, and what they were."""
    columns = [
        words("time", "Time", width=92, minWidth=84, filter=False, cellClass="hw-number"),
        words("reasons", "Reasons", flex=2, minWidth=120, tooltipField="reasons"),
        words("raw", "As it came", flex=3, minWidth=140),
    ]
    return card(
        html.Div(grid(f"{stream}-rejected", columns, "params.data.id", 400, NO_REJECTS), className="hw-few"),
        heading="Rejected records",
        beside=html.Span(id=f"{stream}-rejected-count", className="hw-muted"),
    )


def tile(name: str, value: str, below: Any) -> Any:
    """A key figure."""
    return card(
        html.Div(name, className="hw-tile-name"),
        html.Div(value, className="hw-tile-value"),
        html.Div(below, className="hw-tile-change"),
    )


def compared(change: float | None, minutes: int, spell: Callable[[float | None], str] = percent) -> Any:
    """A change against the period before; `spell` says which kind it is."""
    if change is None:
        return "no earlier period to compare"
    side = "hw-up" if change >= 0.0005 else "hw-down" if change <= -0.0005 else ""
    return [html.Span(spell(change), className=side), f" vs {minutes} min before"]


def state(stream: str, snapshot: Snapshot, view: View) -> list[Any]:
    """State, age, rate and counts in a line; when paused, how many came since."""
    seen = snapshot.streams[stream]
    words_ = [f"data: {age(seen.age)}", f"{rate(seen.rate_10)}"]
    if seen.live_latency.samples:
        words_.append(f"latency {duration(seen.live_latency.p50)}")
    words_ += [f"late {whole(seen.late)}", f"doubled {whole(seen.duplicates)}"]
    paused = []
    if view.paused:
        since = seen.live_count - view.held.get(stream, seen.live_count)
        text = f"paused · {whole(since)} new since"
        paused = [dmc.Badge(text, color="yellow", variant="filled", className="hw-badge hw-paused")]
    return [badge(seen.health), *paused, *(html.Span(word, className="hw-muted hw-number") for word in words_)]


def banner(stream: str, one: str, snapshot: Snapshot, view: View) -> Any:
    """Only where something is wrong: what, and what to do."""
    seen = snapshot.streams[stream]
    texts = {
        Health.CONNECTING: ("gray", "Connecting to Kafka …", ""),
        Health.CANNOT_CONNECT: ("red", f"Cannot connect to Kafka: {snapshot.link.error}", "make demo"),
        Health.NO_DATA: ("blue", f"Connected to Kafka, but no {one} has come yet.", "make demo"),
        Health.STOPPED: (
            "orange",
            f"No new data for {duration(seen.age)}. What is shown is the last that came.",
            f"make run-producers STREAMS={stream}",
        ),
    }
    if seen.health not in texts:
        return None
    colour, text, command = texts[seen.health]
    hint = [" ", html.Code(command), " starts what is missing."] if command else []
    return dmc.Alert([text, *hint], color=colour, variant="light", className="hw-alert")


def today(snapshot: Snapshot) -> datetime:
    """The day whose times are shown without a date."""
    return datetime.fromtimestamp(snapshot.at, UTC)


def live_rows(rows: Iterable[Row], snapshot: Snapshot, cells: Callable[[Row], dict[str, Any]]) -> list[dict[str, Any]]:
    """Live records as a grid's rows, each with the record it came from.

    The record is text: only a click needs its fields, and the browser gets all of this ten times a second.
    """
    day = today(snapshot)
    return [
        {
            "id": _place(row),
            "time": clock(row.get("event_time"), day),
            **cells(row),
            "record": orjson.dumps(row).decode(),
        }
        for row in rows
    ]


def rejected_rows(stream: str, snapshot: Snapshot, view: View) -> list[dict[str, Any]]:
    """The latest rejected records, newest first."""
    day = today(snapshot)
    return [
        {
            "id": _place(row),
            "time": clock(row.get("kafka_timestamp"), day),
            "reasons": ", ".join(row.get("reasons") or ()),
            "raw": (row.get("raw") or "")[:200],
            "record": orjson.dumps({**row, "raw": _short(row.get("raw") or "")}).decode(),
        }
        for row in snapshot.streams[stream].rejected[:REJECTED_ROWS]
    ]


def rejected_count(stream: str, snapshot: Snapshot, view: View) -> str:
    """How many in all, as far as is known, and what mends them."""
    count = snapshot.streams[stream].rejected_count
    return f"{whole(count)} in all" + (f"; to mend them: make resend STREAM={stream}" if count else "")


def version(stream: str, table: str, snapshot: Snapshot) -> int:
    """Changes whenever a row of the table does."""
    return snapshot.streams[stream].versions[table]


def _place(row: Row) -> str:
    return f"{row.get('topic')}-{row.get('partition')}-{row.get('offset')}"


def _short(raw: str) -> str:
    return raw if len(raw) <= RAW_SHOWN else raw[:RAW_SHOWN] + " …"
