"""What the page about aircraft draws: the sky by country, altitude and minute, and an aircraft's last minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.lines import open_ended
from dashboards.figures.theme import DARK, Theme, empty, styled
from dashboards.sky import Place
from dashboards.units import Units

Row = Mapping[str, Any]

NO_STATES = "No aircraft yet.<br>Start the producer: <b>make run-producers STREAMS=aircraft</b>"
MINUTES = 60
COUNTRIES = 12
BAND_M = 500

SCALE_TOP_M = 12_000
"""From here on an altitude has the last colour; airliners cruise between 10 and 12 km."""
SCALE = {
    "light": ("#ef7926", "#be8a03", "#829401", "#00984b", "#0c877a", "#097096", "#0a5abc", "#573cac", "#731f86"),
    "dark": ("#fecbaf", "#ffc451", "#c3d045", "#6cd77e", "#0aceb8", "#00bae1", "#51a0fe", "#9182f1", "#b668c8"),
}
"""Altitude from 0 to the top, by stops that are equally far from each other in the colour space OKLab. Hues run from
orange to purple, as readers of such maps know it, and lightness falls all the way, for those who tell no hues apart."""


def altitude_colour(metres: float, scale: Sequence[str]) -> str:
    """The colour of an altitude, between two stops of the scale."""
    share = min(max(metres / SCALE_TOP_M, 0.0), 1.0) * (len(scale) - 1)
    below = min(int(share), len(scale) - 2)
    parts = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in scale[below : below + 2]]
    mixed = [round(low + (high - low) * (share - below)) for low, high in zip(*parts, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def newest_minute(rows: Iterable[Row]) -> list[Row]:
    """The rows of the newest whole minute; while there is but one, that one."""
    by_start: dict[str, list[Row]] = {}
    for row in rows:
        by_start.setdefault(row["window_start"], []).append(row)
    starts = sorted(by_start, key=datetime.fromisoformat)
    return by_start[starts[-2] if len(starts) > 1 else starts[-1]] if starts else []


def countries(rows: Iterable[Row], theme: Theme) -> go.Figure:
    """The countries with the most aircraft in the newest whole minute; the largest on top."""
    found = sorted(newest_minute(rows), key=lambda row: (-row["aircraft"], row["origin_country"]))[:COUNTRIES][::-1]
    if not found:
        return empty(theme, NO_STATES)
    names = [row["origin_country"] for row in found]
    airborne = [row["airborne"] for row in found]
    rest = [row["aircraft"] - row["airborne"] for row in found]
    figure = go.Figure(
        [
            go.Bar(y=names, x=airborne, name="in the air", orientation="h", marker={"color": theme.accent}),
            go.Bar(y=names, x=rest, name="on the ground, or not said", orientation="h", marker={"color": theme.grid}),
        ]
    )
    styled(figure, theme, barmode="stack", bargap=0.25, hovermode="y unified")
    figure.update_xaxes(tickformat=",d", nticks=5)
    figure.update_yaxes(showgrid=False)
    return figure


def altitudes(values: Sequence[float], units: Units, theme: Theme) -> go.Figure:
    """How many aircraft in the air there are by altitude, in bands in the map's colours."""
    if not values:
        return empty(theme, NO_STATES)
    counts = Counter(int(value // BAND_M) for value in values)
    bands = range(min(counts), max(counts) + 1)
    scale, unit = SCALE["dark" if theme is DARK else "light"], units.altitude
    middles = [(band + 0.5) * BAND_M for band in bands]
    figure = go.Figure(
        go.Bar(
            y=[middle * unit.factor for middle in middles],
            x=[counts[band] for band in bands],
            orientation="h",
            width=BAND_M * unit.factor * 0.9,
            marker={"color": [altitude_colour(middle, scale) for middle in middles]},
            customdata=[
                f"{band * BAND_M * unit.factor:,.0f} to {(band + 1) * BAND_M * unit.factor:,.0f} {unit.name}"
                for band in bands
            ],
            hovertemplate="%{customdata}: %{x:,d}<extra></extra>",
        )
    )
    styled(figure, theme, showlegend=False)
    figure.update_xaxes(title_text="aircraft in the air", tickformat=",d", nticks=5)
    figure.update_yaxes(title_text=unit.name, tickformat=",d", nticks=7, showgrid=False)
    return figure


def minutes(rows: Iterable[Row], theme: Theme) -> go.Figure:
    """Aircraft over the last hour of the data, in the air and on the ground. The newest minute is unfinished."""
    by_start = {datetime.fromisoformat(row["window_start"]): row for row in rows}
    if not by_start:
        return empty(theme, NO_STATES)
    first = max(by_start) - timedelta(minutes=MINUTES - 1)
    shown = [start for start in sorted(by_start) if start >= first]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.09)
    panels = (("in the air", "airborne", theme.accent), ("on ground", "on_ground", theme.second))
    for number, (name, column, colour) in enumerate(panels, start=1):
        points = {start: float(by_start[start][column]) for start in shown}
        for trace in open_ended(points, name, colour, theme, ",d"):
            figure.add_trace(trace, row=number, col=1)
        figure.update_yaxes(title_text=name, row=number)
    styled(figure, theme, hovermode="x unified", showlegend=False)
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat="~s")
    figure.update_xaxes(showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    figure.update_xaxes(title_text="time (UTC)", row=2)
    return figure


def history(places: Sequence[Place], units: Units, theme: Theme) -> go.Figure:
    """An aircraft's altitude and speed over its last places."""
    if not places:
        return empty(theme, "No position of the last minutes.")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12)
    times = [datetime.fromtimestamp(place.time, UTC) for place in places]
    panels = (
        (units.altitude, [place.altitude for place in places], theme.accent),
        (units.speed, [place.speed_kmh for place in places], theme.second),
    )
    for number, (unit, values, colour) in enumerate(panels, start=1):
        figure.add_trace(
            go.Scatter(
                x=times,
                y=[None if isnan(value) else value * unit.factor for value in values],
                mode="lines" if len(places) > 1 else "markers",
                line={"color": colour, "width": 2},
                hovertemplate=f"%{{y:,.0f}} {unit.name}<extra></extra>",
            ),
            row=number,
            col=1,
        )
        figure.update_yaxes(title_text=unit.name, row=number)
    styled(figure, theme, showlegend=False, hovermode="x unified")
    figure.update_yaxes(rangemode="tozero", nticks=4, tickformat="~s")
    figure.update_xaxes(showgrid=False, nticks=4, tickformat="%H:%M:%S", hoverformat="%Y-%m-%d %H:%M:%S UTC")
    return figure
