"""Figures of the sales pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.lines import open_ended
from dashboards.figures.theme import Theme, empty, styled

Row = Mapping[str, Any]

NO_SALES = "No sales yet.<br>Start the producer: <b>make run-producers STREAMS=sales</b>"
MOST_POINTS = 120
BINS = (1, 5, 15, 60, 240, 1_440, 10_080)
"""Minutes in a bin; the least that keeps a figure at 120 points is taken."""
MOST_CATEGORIES = 7
OTHER = "other"


def top_bars(rows: Iterable[Row], key: str, theme: Theme, most: int = 10, shift: int = 0) -> go.Figure:
    """The rows with the greatest revenue, greatest on top."""
    best = sorted(rows, key=lambda row: (-float(row["revenue"] or 0), str(row[key])))[:most][::-1]
    if not best:
        return empty(theme, NO_SALES)
    names = [str(row[key]) for row in best]
    figure = go.Figure(
        go.Bar(
            x=[float(row["revenue"] or 0) for row in best],
            y=names,
            orientation="h",
            marker={"color": theme.palette[shift], "cornerradius": 3},
            customdata=[[int(row["quantity"]), int(row["orders"])] for row in best],
            text=[f"{float(row['revenue'] or 0):,.0f}" for row in best],
            textposition="auto",
            insidetextanchor="end",
            cliponaxis=False,
            hovertemplate=(
                "<b>%{y}</b><br>revenue %{x:,.2f}<br>%{customdata[0]:,} units in %{customdata[1]:,} orders"
                "<extra></extra>"
            ),
        )
    )
    styled(figure, theme, bargap=0.25, showlegend=False)
    figure.update_xaxes(title_text="revenue", rangemode="tozero", tickformat="~s", nticks=5)
    figure.update_yaxes(showgrid=False, tickvals=names, ticktext=[_short(name) for name in names])
    return figure


def by_minute(rows: Iterable[Row], theme: Theme, span: int) -> go.Figure:
    """Revenue above, orders below, over the last `span` minutes of the data (0: all). The unfinished end is dashed."""
    minutes = _within(rows, span)
    if not minutes:
        return empty(theme, NO_SALES)
    size = bin_minutes(minutes, span)
    revenue, orders = _binned(minutes, size, "revenue"), _binned(minutes, size, "orders")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.07)
    for number, (name, points, colour, form) in enumerate(
        (("revenue", revenue, theme.accent, ",.2f"), ("orders", orders, theme.second, ",d")), start=1
    ):
        for trace in open_ended(points, name, colour, theme, form):
            figure.add_trace(trace, row=number, col=1)
    styled(figure, theme, hovermode="x unified", showlegend=False)
    figure.update_yaxes(rangemode="tozero", nticks=5, tickformat="~s")
    figure.update_yaxes(title_text=f"revenue per {_bin_name(size)}", row=1)
    figure.update_yaxes(title_text="orders", row=2)
    figure.update_xaxes(showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    figure.update_xaxes(title_text="time (UTC)", row=2)
    return figure


def by_category(rows: Iterable[Row], theme: Theme, span: int) -> go.Figure:
    """Revenue stacked by category; the smallest categories are gathered into one."""
    minutes = _within(rows, span)
    if not minutes:
        return empty(theme, NO_SALES)
    totals: defaultdict[str, float] = defaultdict(float)
    for row in minutes:
        totals[row["category"]] += float(row["revenue"] or 0)
    names = sorted(totals, key=lambda name: (-totals[name], name))
    if len(names) > MOST_CATEGORIES + 1:
        names = [*names[:MOST_CATEGORIES], OTHER]
    size = bin_minutes(minutes, span)
    figure = go.Figure()
    for number, name in enumerate(names):
        mine = [row for row in minutes if (row["category"] if row["category"] in names else OTHER) == name]
        points = _binned(mine, size, "revenue", minutes)
        figure.add_trace(
            go.Bar(
                x=list(points),
                y=list(points.values()),
                name=_short(name),
                marker={"color": theme.palette[number % len(theme.palette)], "line": {"width": 0}},
                hovertemplate="%{y:,.2f}",
            )
        )
    styled(figure, theme, barmode="relative", bargap=0.15, hovermode="x unified", showlegend=True)
    figure.update_yaxes(title_text=f"revenue per {_bin_name(size)}", nticks=6, tickformat="~s")
    figure.update_xaxes(title_text="time (UTC)", showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    return figure


def bin_minutes(rows: Iterable[Row], span: int) -> int:
    """How many minutes a point covers. A fixed range has a fixed answer, so that it does not jump as data comes."""
    if not span:
        starts = [_start(row) for row in rows]
        span = int((max(starts) - min(starts)).total_seconds() // 60) + 1
    return next((size for size in BINS if span / size <= MOST_POINTS), BINS[-1])


def _within(rows: Iterable[Row], span: int) -> list[Row]:
    """The rows of the last `span` minutes, counted from the newest minute in the data; 0 takes all."""
    everything = list(rows)
    if not everything or not span:
        return everything
    first = max(map(_start, everything)) - timedelta(minutes=span - 1)
    return [row for row in everything if _start(row) >= first]


def _binned(rows: Iterable[Row], size: int, column: str, extent: Iterable[Row] | None = None) -> dict[datetime, float]:
    """Sums by bin, in order, with a zero where nothing was sold; over the extent of `extent` where given."""
    rows = list(rows)
    sums: defaultdict[datetime, float] = defaultdict(float)
    for row in rows:
        sums[_floor(_start(row), size)] += float(row[column] or 0)
    bins = [_floor(_start(row), size) for row in (rows if extent is None else extent)]
    first, last = min(bins), max(bins)
    count = int((last - first) / timedelta(minutes=size)) + 1
    return {(at := first + timedelta(minutes=size * i)): round(sums[at], 4) for i in range(count)}


def _start(row: Row) -> datetime:
    return datetime.fromisoformat(row["window_start"])


def _floor(at: datetime, minutes: int) -> datetime:
    seconds = minutes * 60
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, tz=UTC)


def _bin_name(minutes: int) -> str:
    names = {1: "minute", 60: "hour", 240: "4 hours", 1_440: "day", 10_080: "week"}
    return names.get(minutes, f"{minutes} minutes")


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
