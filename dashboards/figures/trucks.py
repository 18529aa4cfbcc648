"""What the page about trucks draws: the fleet by minute, and a truck's speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.lines import open_ended
from dashboards.figures.theme import Theme, empty, styled
from dashboards.fleet import Fix

Row = Mapping[str, Any]

NO_FIXES = "No fixes yet.<br>Start the producer: <b>make run-producers STREAMS=trucks</b>"
MINUTES = 60


def activity(rows: Iterable[Row], theme: Theme) -> go.Figure:
    """Moving trucks and mean speed over the last hour of the data. The newest minute is unfinished."""
    by_start = {datetime.fromisoformat(row["window_start"]): row for row in rows}
    if not by_start:
        return empty(theme, NO_FIXES)
    first = max(by_start) - timedelta(minutes=MINUTES - 1)
    shown = [start for start in sorted(by_start) if start >= first]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    panels = (
        ("moving trucks", {start: float(by_start[start]["moving"]) for start in shown}, theme.accent, ",d"),
        ("mean km/h", {start: float(by_start[start]["mean_kmh"] or 0) for start in shown}, theme.second, ",.0f"),
    )
    for number, (name, points, colour, form) in enumerate(panels, start=1):
        for trace in open_ended(points, name, colour, theme, form):
            figure.add_trace(trace, row=number, col=1)
        figure.update_yaxes(title_text=name, row=number)
    styled(figure, theme, hovermode="x unified", showlegend=False)
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat="~s")
    figure.update_xaxes(showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    figure.update_xaxes(title_text="time (UTC)", row=2)
    return figure


def speed(fixes: Iterable[Fix], limit_kmh: float, theme: Theme) -> go.Figure:
    """A truck's speed over its last fixes, and the limit where it comes near it."""
    shown = list(fixes)
    if not shown:
        return empty(theme, "No fixes of the last minutes.")
    speeds = [fix.speed_kmh for fix in shown]
    figure = go.Figure(
        go.Scatter(
            x=[datetime.fromtimestamp(fix.time, UTC) for fix in shown],
            y=speeds,
            mode="lines" if len(shown) > 1 else "markers",
            line={"color": theme.accent, "width": 2},
            fill="tozeroy",
            hovertemplate="%{y:.0f} km/h<extra></extra>",
        )
    )
    if any(value > 0.8 * limit_kmh for value in speeds):
        figure.add_hline(limit_kmh, line={"color": theme.second, "width": 1, "dash": "dash"})
    styled(figure, theme, showlegend=False)
    figure.update_yaxes(rangemode="tozero", nticks=4, title_text="km/h")
    figure.update_xaxes(showgrid=False, nticks=4, tickformat="%H:%M:%S", hoverformat="%Y-%m-%d %H:%M:%S UTC")
    return figure
