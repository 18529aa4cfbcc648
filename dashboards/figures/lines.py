"""Values over time whose last window is still open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import plotly.graph_objects as go

from dashboards.figures.theme import Theme


def open_ended(
    points: Mapping[datetime, float], name: str, colour: str, theme: Theme, form: str
) -> tuple[go.Scatter, go.Scatter]:
    """What is done as a filled line, and the way to the unfinished last point dotted; `points` in order."""
    starts, values = list(points), list(points.values())
    line = {"color": colour, "width": 2}
    several = len(values) > 1
    done = slice(None, -1) if several else slice(None)
    finished = go.Scatter(
        x=starts[done],
        y=values[done],
        mode="lines",
        name=name,
        line=line,
        fill="tozeroy",
        fillcolor=_faded(colour),
        hovertemplate=f"%{{y:{form}}}",
    )
    unfinished = go.Scatter(
        x=starts[-2:],
        y=values[-2:],
        mode="lines+markers",
        name=name,
        line=line | {"dash": "dot"},
        marker={"size": [0, 7] if several else 7, "color": theme.card, "line": {"color": colour, "width": 2}},
        hovertemplate=f"%{{y:{form}}} so far",
    )
    return finished, unfinished


def _faded(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
