"""What the page about CO2 draws. Times are seconds since 1970, masses kg, rates kg/h; each figure chooses one unit.

Names come from records, so none reaches Plotly as it is: its texts know tags and links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import plotly.graph_objects as go

from dashboards.figures.theme import Theme, empty, styled
from dashboards.masses import Unit, mass, mass_rate, unit_of
from dashboards.text import clock
from headwater.contracts.co2 import UNKNOWN

Row = Mapping[str, Any]
Pair = tuple[float, float | None]

NO_DATA = "No readings yet.<br>Start the producer: <b>make run-producers STREAMS=co2</b>"
NO_BUDGET = "No allowance is set.<br><b>[co2]</b> source_allowances_kg, sector_allowances_kg in conf/headwater.toml"
NO_ENERGY = "No record of these sources names its energy (energy_mwh)."
OTHER = "other"
SECTORS = ("power", "cement", "steel", "road", "shipping", "buildings")
FUELS = ("coal", "gas", "oil", "biomass", "diesel", "waste")
GREY = 7
"""The place of what is unknown or gathered in the palette."""
HOUR, DAY = 3_600.0, 86_400.0
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LIMIT_TIMES = 4.0
"""A limit so many times above all that is drawn is only named: drawn, it would flatten the rest."""


@dataclass(frozen=True)
class Line:
    """A source's rates in order; `gap_s`: a longer step is drawn as a gap. `open`: the window still under way."""

    source_id: str
    points: Sequence[Pair]
    gap_s: float
    limit: float | None = None
    open: Pair | None = None


def plain(name: Any, most: int = 26) -> str:
    """A name from a record as Plotly shows it letter by letter."""
    text = str(name)
    short = text if len(text) <= most else text[: most - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def usual_step(times: Sequence[float]) -> float | None:
    """The median time between two points."""
    return median(after - before for before, after in pairwise(times)) if len(times) > 1 else None


def broken(points: Sequence[Pair], gap_s: float) -> list[Pair]:
    """A point without a value follows the last before each longer step, so that no line crosses it."""
    found: list[Pair] = []
    for point in points:
        if found and point[0] - found[-1][0] > gap_s:
            found.append((found[-1][0] + 0.001, None))
        found.append(point)
    return found


def rate(
    lines: Sequence[Line], alarms: Sequence[Row], shape: str, since: float, until: float, theme: Theme
) -> go.Figure:
    """Rates over time with limits, gaps and alarms. By its `meta` and the traces' the browser knows what to extend."""
    values = [value for line in lines for _, value in line.points if value is not None]
    values += [line.open[1] for line in lines if line.open and line.open[1] is not None]
    if not values:
        return empty(theme, NO_DATA)
    top = max(values)
    unit = unit_of(top)
    figure = go.Figure()
    for number, line in enumerate(lines):
        colour = theme.palette[number % len(theme.palette)]
        figure.add_traces([_finished(line, unit, colour), _unfinished(line, unit, colour, theme)])
    colours = {line.source_id: theme.palette[i % len(theme.palette)] for i, line in enumerate(lines)}
    limits = [line for line in lines if line.limit is not None and line.limit <= LIMIT_TIMES * top]
    if alarms:
        figure.add_trace(_flags(alarms, colours, unit, since))
    styled(figure, theme, hovermode="closest", showlegend=True)
    figure.update_layout(uirevision=shape.partition(" ")[0], meta={"shape": shape, "kg": unit.kg})
    # All at once: Plotly takes milliseconds for each that is added alone.
    figure.update_layout(
        shapes=[
            *(_limit_line(line, unit, colours[line.source_id]) for line in limits),
            *(_mark(row, colours[row["source_id"]], since, until) for row in alarms),
        ],
        annotations=[_limit_name(line, unit, colours[line.source_id]) for line in limits],
    )
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m-%d %H:%M:%S UTC")
    figure.update_yaxes(rangemode="tozero", title_text=f"{unit.name}/h", nticks=6)
    return figure


def _finished(line: Line, unit: Unit, colour: str) -> go.Scatter:
    x, y = scaled(broken(line.points, line.gap_s), unit.kg)
    limit = "" if line.limit is None else f" (limit {mass_rate(line.limit)})"
    name = plain(line.source_id)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(x) <= 60 else "lines",
        marker={"size": 4},
        line={"color": colour, "width": 1.8},
        connectgaps=False,
        name=name + limit,
        legendgroup=line.source_id,
        meta={"source": line.source_id},
        hovertemplate=f"{hover(name)}<br>%{{x}}<br>%{{y:.3~r}} {unit.name}/h<extra></extra>",
    )


def _unfinished(line: Line, unit: Unit, colour: str, theme: Theme) -> go.Scatter:
    x, y = scaled([line.open] if line.open else [], unit.kg)
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 8, "color": theme.card, "line": {"color": colour, "width": 2}},
        showlegend=False,
        legendgroup=line.source_id,
        meta={"open": line.source_id},
        hovertemplate=f"{hover(plain(line.source_id))}<br>%{{x}}<br>%{{y:.3~r}} {unit.name}/h so far<extra></extra>",
    )


def hover(text: str) -> str:
    """A text within a hover template, where `%{` begins a field."""
    return text.replace("%", "&#37;")


def _limit_line(line: Line, unit: Unit, colour: str) -> dict[str, Any]:
    value = (line.limit or 0.0) / unit.kg
    look = {"color": colour, "width": 1.5, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": look, "layer": "below"}


def _limit_name(line: Line, unit: Unit, colour: str) -> dict[str, Any]:
    return {
        "text": f"limit {plain(line.source_id, 16)}", "font": {"color": colour, "size": 11}, "showarrow": False,
        "xref": "paper", "x": 1, "xanchor": "right", "y": (line.limit or 0.0) / unit.kg, "yanchor": "bottom",
    }  # fmt: skip


def _mark(row: Row, colour: str, since: float, until: float) -> dict[str, Any]:
    """The time of an alarm; one that goes on is called `open`, and the browser draws it on."""
    ended = row.get("ended_at")
    return {
        "type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": millis(max(_at(row["began_at"]), since)),
        "x1": millis(until if ended is None else _at(ended)), "fillcolor": colour, "opacity": 0.16,
        "line": {"width": 0}, "layer": "below", "name": "open" if ended is None else "ended",
    }  # fmt: skip


def _flags(alarms: Sequence[Row], colours: Mapping[str, str], unit: Unit, since: float) -> go.Scatter:
    """Where each alarm began, since colour must not be the only sign."""
    texts = [
        f"{plain(row['source_id'])}: alarm, peak {mass_rate(row['peak_kg_h'])}<br>"
        f"limit {mass_rate(row['limit_kg_h'])}<br>began {clock(row['began_at'])}, "
        + ("goes on" if row.get("ended_at") is None else f"ended {clock(row['ended_at'])}")
        for row in alarms
    ]
    return go.Scatter(
        x=[millis(max(_at(row["began_at"]), since)) for row in alarms],
        y=[row["limit_kg_h"] / unit.kg for row in alarms],
        mode="markers",
        marker={"symbol": "triangle-up", "size": 11, "color": [colours[row["source_id"]] for row in alarms],
                "line": {"width": 1, "color": "#ffffff"}},
        name="alarm begins",
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def scaled(points: Iterable[Pair], kg: float) -> tuple[list[int], list[float | None]]:
    """Milliseconds since 1970 and values in a unit of so many kg, at six digits."""
    pairs = list(points)
    return [millis(at) for at, _ in pairs], [
        None if value is None else float(f"{value / kg:.6g}") for _, value in pairs
    ]


def tail(lines: Sequence[Line], shape: str, until: float, since: float) -> dict[str, Any]:
    """The last points of each source, in kg/h, for the browser to add what it has not got yet.

    They overlap with what was sent before: a message that is lost on the way loses nothing.
    """
    found = {}
    for line in lines:
        x, y = scaled([point for point in broken(line.points, line.gap_s) if point[0] >= since], 1)
        open_x, open_y = scaled([line.open] if line.open else [], 1)
        found[line.source_id] = {"x": x, "y": y, "open": [open_x, open_y]}
    return {"shape": shape, "until": millis(until), "lines": found}


def stacked(groups: Mapping[tuple[float, str], float], names: Sequence[str], newest: float, theme: Theme) -> go.Figure:
    """Mass by hour, stacked by sector or fuel; the hour under way is marked."""
    if not groups:
        return empty(theme, NO_DATA)
    known = set(names)
    sums: dict[tuple[float, str], float] = {}
    for (start, name), kg in groups.items():
        place = start, name if name in known else OTHER
        sums[place] = sums.get(place, 0.0) + kg
    first, last = min(start for start, _ in sums), max(start for start, _ in sums)
    starts = [first + HOUR * i for i in range(round((last - first) / HOUR) + 1)]
    hours = [sum(sums.get((start, name), 0.0) for name in (*names, OTHER)) for start in starts]
    unit = unit_of(max(hours))
    figure = go.Figure()
    for name in (*names, OTHER):
        if any(of == name for _, of in sums):
            # A step holds for its hour, so the last one needs an end.
            values = [sums.get((start, name), 0.0) / unit.kg for start in starts]
            colour = theme.palette[place_of(name, names)]
            figure.add_trace(
                go.Scatter(
                    x=[millis(start) for start in (*starts, last + HOUR)],
                    y=[float(f"{value:.6g}") for value in (*values, values[-1])],
                    name=plain(name), stackgroup="all", mode="lines",
                    line={"shape": "hv", "width": 0.5, "color": colour}, fillcolor=colour,
                    hovertemplate=f"%{{y:.3~r}} {unit.name}",
                )
            )  # fmt: skip
    styled(figure, theme, hovermode="x unified", showlegend=True)
    if last == newest // HOUR * HOUR:
        figure.add_vrect(
            x0=millis(last), x1=millis(last + HOUR), fillcolor=theme.card, opacity=0.55, line_width=0, layer="above",
            annotation={"text": "so far", "font": {"size": 11, "color": theme.text}, "xanchor": "right"},
        )  # fmt: skip
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    figure.update_yaxes(rangemode="tozero", title_text=f"{unit.name} an hour", nticks=5)
    return figure


def ordered(names: Iterable[str], usual: Sequence[str], most: int = GREY) -> list[str]:
    """Those that are usual first, each in its place, so that a colour means the same everywhere and tomorrow."""
    found = set(names)
    known = [name for name in usual if name in found]
    return [*known, *sorted(found - set(known) - {UNKNOWN})][:most] + ([UNKNOWN] if UNKNOWN in found else [])


def place_of(name: str, names: Sequence[str]) -> int:
    """Of a sector or fuel in the palette."""
    if name in (UNKNOWN, OTHER) or name not in names:
        return GREY
    usual = SECTORS if name in SECTORS else FUELS if name in FUELS else None
    if usual:
        return usual.index(name)
    free = [name for name in names if name not in SECTORS and name not in FUELS and name != UNKNOWN]
    return (len(SECTORS) + free.index(name)) % GREY


def emitters(masses: Mapping[str, float], sectors: Mapping[str, str], theme: Theme, most: int = 10) -> go.Figure:
    """The sources that emitted most, greatest on top, each in its sector's colour."""
    best = sorted(masses, key=lambda name: (-masses[name], name))[:most][::-1]
    if not best:
        return empty(theme, NO_DATA)
    unit = unit_of(masses[best[-1]])
    names = ordered({sectors.get(name, UNKNOWN) for name in masses}, SECTORS)
    figure = go.Figure()
    for sector in [*names, OTHER]:
        places = [i for i, name in enumerate(best) if (of := sectors.get(name, UNKNOWN)) == sector
                  or (sector == OTHER and of not in names)]  # fmt: skip
        if places:
            own = [best[i] for i in places]
            figure.add_trace(
                go.Bar(
                    x=[masses[name] / unit.kg for name in own], y=places, width=0.75, orientation="h",
                    name=plain(sector),
                    marker={"color": theme.palette[place_of(sector, names)], "cornerradius": 3},
                    text=[mass(masses[name]) for name in own], textposition="auto", cliponaxis=False,
                    customdata=[[plain(name, 60)] for name in own],
                    hovertemplate="%{customdata[0]}<br>%{text}<extra></extra>",
                )
            )  # fmt: skip
    styled(figure, theme, bargap=0.25, barmode="overlay", showlegend=True)
    figure.update_xaxes(title_text=unit.name, rangemode="tozero", nticks=5)
    figure.update_yaxes(showgrid=False, tickvals=list(range(len(best))), ticktext=[plain(name, 20) for name in best])
    return figure


def burn_down(row: Row | None, days: Mapping[float, float], theme: Theme) -> go.Figure:
    """What is left of a budget by day, against an even use of it; dotted at the mean rate of the last 30 days."""
    if row is None:
        return empty(theme, NO_BUDGET)
    begin, end = (datetime(row["year"] + i, 1, 1, tzinfo=UTC).timestamp() for i in (0, 1))
    allowance, last = row["allowance_kg"], _at(row["last_event"])
    unit = unit_of(allowance)
    left = allowance
    points: list[Pair] = []
    for start in sorted(start for start in days if begin <= start < end):
        points += [(start, left)] if not points else []
        left -= days[start]
        points.append((max(min(start + DAY, last), start), left))
    figure = go.Figure()
    even = [(begin, allowance), (end, 0.0)]
    for name, pairs, line in (
        ("spent evenly", even, {"color": theme.muted, "width": 1.5, "dash": "dash"}),
        ("left", points, {"color": theme.accent, "width": 2.5}),
        ("at the rate of the last 30 days", _ahead(row, left, last, end),
         {"color": theme.second, "width": 2, "dash": "dot"}),
    ):  # fmt: skip
        x, y = scaled(pairs, unit.kg)
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="lines", name=name, line=line,
                       hovertemplate=f"{name}<br>%{{x}}<br>%{{y:.3~r}} {unit.name}<extra></extra>")
        )  # fmt: skip
    styled(figure, theme, showlegend=True)
    figure.update_layout(uirevision=row["budget"])
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m-%d")
    figure.update_yaxes(title_text=f"{unit.name} left", zeroline=True, zerolinewidth=2, nticks=6, rangemode="tozero")
    return figure


def _ahead(row: Row, left: float, last: float, end: float) -> list[Pair]:
    """To where nothing is left, or to the end of the year."""
    rate_s = (row.get("mean_rate_kg_h") or 0.0) / HOUR
    if left <= 0 or last >= end:
        return []
    until = min(end, last + left / rate_s) if rate_s else end
    return [(last, left), (until, left - rate_s * (until - last))]


def heat(cells: Sequence[Sequence[float | None]], theme: Theme) -> go.Figure:
    """Mean kg/h by weekday and hour of the day (UTC)."""
    values = [value for row in cells for value in row if value is not None]
    if not values:
        return empty(theme, "Nothing yet but the hour under way.")
    unit = unit_of(max(values))
    figure = go.Figure(
        go.Heatmap(
            z=[[None if value is None else value / unit.kg for value in row] for row in cells],
            x=list(range(24)),
            y=list(WEEKDAYS),
            colorscale=[[0, theme.grid], [0.5, theme.palette[1]], [1, theme.palette[5]]],
            zmin=0,
            zmax=max(values) / unit.kg,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            colorbar={"title": {"text": f"{unit.name}/h"}, "thickness": 10, "outlinewidth": 0, "nticks": 5},
            hovertemplate=f"%{{y}}, %{{x}}:00 UTC<br>mean %{{z:.3~r}} {unit.name}/h<extra></extra>",
        )
    )
    styled(figure, theme)
    figure.update_xaxes(title_text="hour of the day (UTC)", showgrid=False, dtick=3)
    figure.update_yaxes(
        showgrid=False, autorange="reversed", tickvals=list(WEEKDAYS), ticktext=[day[:3] for day in WEEKDAYS]
    )
    return figure


def intensity(lines: Sequence[Line], theme: Theme) -> go.Figure:
    """kg/MWh by hour of sources whose energy is known."""
    known = [line for line in lines if line.points]
    if not known:
        return empty(theme, NO_ENERGY)
    figure = go.Figure()
    for number, line in enumerate(lines):
        if line.points:
            x, y = scaled(broken(line.points, line.gap_s), 1)
            name = plain(line.source_id)
            figure.add_trace(
                go.Scatter(
                    x=x, y=y, mode="lines+markers" if len(x) <= 60 else "lines", marker={"size": 4}, name=name,
                    line={"color": theme.palette[number % len(theme.palette)], "width": 1.8}, connectgaps=False,
                    hovertemplate=f"{hover(name)}<br>%{{x}}<br>%{{y:.3~r}} kg/MWh<extra></extra>",
                )
            )  # fmt: skip
    styled(figure, theme, showlegend=True)
    figure.update_xaxes(type="date", showgrid=False, hoverformat="%Y-%m-%d %H:%M UTC")
    figure.update_yaxes(rangemode="tozero", title_text="kg/MWh", nticks=5)
    return figure


def millis(at: float) -> int:
    """Plotly's time on an axis of dates."""
    return round(at * 1e3)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
