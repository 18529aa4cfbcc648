"""The chart of rates on the page about CO2: which sources, over which time, and what is sent of them.

The whole figure goes out when a reader chooses something else, an alarm changes, or a minute is over; in between only
its newest points, which the browser adds (`assets/co2.js`), so that zoom and hover stay.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from dashboards.figures import co2 as figures
from dashboards.figures.co2 import Line, Pair
from dashboards.figures.theme import empty, theme_of
from dashboards.meters import MeterTracker
from dashboards.pages import co2_facts as facts
from dashboards.pages.co2_facts import HOUR, MINUTE, Row, Rows, seconds
from dashboards.pages.co2_history import History, Window
from dashboards.push import View
from dashboards.state import Snapshot, StreamView
from headwater.contracts.co2 import CO2

MOST_LINES = 6
DEFAULT_LINES = 3
GAP_INTERVALS = 3
LEAST_STEP = 1.0
"""Of each second one point is kept."""
TAIL_SECONDS = 120.0
TAIL_WINDOWS = 5
MOST_MARKS = 50


@dataclass(frozen=True)
class Span:
    """How far a chart looks back, and of which table its windows are; none: live records."""

    seconds: float
    table: str = ""
    window_s: float = 0.0


LIVE = Span(15 * MINUTE)
SPANS = {15: LIVE, 360: Span(6 * HOUR, "per_minute", MINUTE), 20_160: Span(14 * 24 * HOUR, "per_hour", HOUR)}
"""By minutes."""


def token(name: str) -> str:
    """A source's id where no comma may be, and none may be empty."""
    return f"={quote(name, safe='')}"


def name_of(text: str) -> str:
    """The id that a token stands for."""
    return unquote(text.removeprefix("="))


def stream_of(snapshot: Snapshot) -> StreamView:
    """The stream's state."""
    return snapshot.streams[CO2.name]


def tracker(snapshot: Snapshot) -> MeterTracker:
    """What knows the rates of this second."""
    found = stream_of(snapshot).tracker
    assert isinstance(found, MeterTracker)
    return found


def newest(snapshot: Snapshot) -> float | None:
    """The newest record's time, from which everything counts back."""
    return facts.newest(stream_of(snapshot).table("totals"), tracker(snapshot).view(snapshot.at), snapshot.at)


def source_ids(snapshot: Snapshot) -> list[str]:
    """All that are known."""
    totals = stream_of(snapshot).table("totals")
    return sorted({*(row["source_id"] for row in totals.values()), *tracker(snapshot).view(snapshot.at)})


def chosen(snapshot: Snapshot, view: View) -> list[str]:
    """The sources of the chart; those that emitted most where nobody has chosen."""
    names = [name_of(text) for text in view.chosen("sources")][:MOST_LINES]
    return (
        names
        or facts.top_sources(stream_of(snapshot).table("totals"), DEFAULT_LINES)
        or source_ids(snapshot)[:DEFAULT_LINES]
    )


def span_of(view: View) -> Span:
    """The chosen one."""
    return SPANS.get(view.span, LIVE)


def lines(history: History, snapshot: Snapshot, view: View, at: float, since: float) -> list[Line]:
    """The chosen sources' rates."""
    names = chosen(snapshot, view)
    if not (span := span_of(view)).table:
        return [_live(snapshot, name, at, since) for name in names]
    return [_windowed(history, snapshot, span, name, at) for name in names]


def _live(snapshot: Snapshot, name: str, at: float, since: float) -> Line:
    points: list[Pair] = [*tracker(snapshot).points(name, since, at + facts.AHEAD_SECONDS)]
    usual = _usual_interval(snapshot, name) or figures.usual_step([at for at, _ in points]) or 0.0
    return Line(name, points, GAP_INTERVALS * max(usual, LEAST_STEP), _limit(snapshot, name))


def _windowed(history: History, snapshot: Snapshot, span: Span, name: str, at: float) -> Line:
    found = windows(history, stream_of(snapshot), span, name, at)
    pairs = [(start, found[start].rate_kg_h) for start in sorted(found)]
    is_open = pairs and pairs[-1][0] == at // span.window_s * span.window_s
    gap = max(span.window_s, GAP_INTERVALS * (_usual_interval(snapshot, name) or 0.0))
    done, under_way = (pairs[:-1], pairs[-1]) if is_open else (pairs, None)
    return Line(name, done, gap, _limit(snapshot, name), under_way)


def _limit(snapshot: Snapshot, name: str) -> float | None:
    row = stream_of(snapshot).table("totals").get(name)
    return row.get("limit_kg_h") if row else None


def _usual_interval(snapshot: Snapshot, name: str) -> float | None:
    row = stream_of(snapshot).table("health").get(name)
    return row.get("usual_interval_s") if row else None


def windows(history: History, stream: StreamView, span: Span, name: str, at: float) -> dict[float, Window]:
    """A source's windows by their start: Delta's, and over them what the processed topic still holds."""
    table: Rows = stream.table(span.table)
    last = at // span.window_s * span.window_s
    first = last - span.seconds + span.window_s
    found = {
        window.start: window for window in history.source(span.table, name, first) if first <= window.start <= last
    }
    start = last
    while start >= first:
        if (window := facts.window_of(table, name, start)) is not None:
            found[start] = window
        start -= span.window_s
    return found


def shape(snapshot: Snapshot, view: View) -> str:
    """What the figure is of: points are only added to one of the same shape."""
    return " ".join([str(view.span), view.theme, *map(token, chosen(snapshot, view))])


def marks(snapshot: Snapshot, names: list[str], since: float, until: float) -> list[Row]:
    """Alarms of some sources within a time, the newest."""
    rows = [
        row for row in stream_of(snapshot).table("alarms").values()
        if row["source_id"] in names and seconds(row["began_at"]) <= until
        and (row.get("ended_at") is None or seconds(row["ended_at"]) >= since)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: seconds(row["began_at"]))[-MOST_MARKS:]


def figure(history: History, snapshot: Snapshot, view: View) -> Any:
    """All of the chart."""
    at, theme = newest(snapshot), theme_of(view.theme)
    if at is None:
        return empty(theme, figures.NO_DATA)
    since = at - span_of(view).seconds
    return figures.rate(
        lines(history, snapshot, view, at, since), marks(snapshot, chosen(snapshot, view), since, at),
        shape(snapshot, view), since, at, theme,
    )  # fmt: skip


def figure_key(history: History, snapshot: Snapshot) -> Hashable:
    """When the whole chart has to be drawn anew."""
    table = stream_of(snapshot).table
    alarms, totals = table("alarms").values(), table("totals")
    return (
        int(snapshot.at // MINUTE),
        history.version,
        len(source_ids(snapshot)),
        tuple(facts.top_sources(totals, DEFAULT_LINES)),
        frozenset((name, row.get("limit_kg_h")) for name, row in totals.items()),
        frozenset((row["alarm_id"], row.get("ended_at")) for row in alarms),
    )


def tail(history: History, snapshot: Snapshot, view: View) -> Any:
    """What may have come since."""
    if (at := newest(snapshot)) is None:
        return None
    span = span_of(view)
    since = at - (TAIL_WINDOWS * span.window_s or TAIL_SECONDS)
    return figures.tail(lines(history, snapshot, view, at, since), shape(snapshot, view), at, since)
