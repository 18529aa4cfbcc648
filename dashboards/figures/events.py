"""What the page about shop events draws: counts over time, the funnel, and what rises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go
from dash import html
from plotly.subplots import make_subplots

from dashboards.figures.lines import open_ended
from dashboards.figures.theme import Theme, empty, styled
from dashboards.text import NOTHING, duration, share, whole
from dashboards.visits import Period, Product, Rising
from headwater.contracts.events import ADD, EVENT_TYPES, PURCHASE, REMOVE, VIEW

Row = Mapping[str, Any]

NO_EVENTS = "No events yet.<br>Start the producer: <b>make run-producers STREAMS=events</b>"
NO_VISITS = "No visits yet: make run-producers STREAMS=events sends some."
NOTHING_RISES = "No product is asked for clearly more than in the five minutes before."
LABELS = {VIEW: "Views", ADD: "Adds", REMOVE: "Removals", PURCHASE: "Purchases"}
COLOURS = {VIEW: 0, ADD: 1, REMOVE: 3, PURCHASE: 2}
"""Places in the theme's palette; the badges' colours in headwater.css are the same."""
FUTURE = timedelta(minutes=1)


def counts(
    per_window: Mapping[str, Row], size: timedelta, minutes: int, types: Collection[str], theme: Theme, now: datetime
) -> go.Figure:
    """A panel a type, over the last minutes of the data.

    A window without a row is zero from the first window there is. The newest window is unfinished and dotted.
    """
    found = _counted(per_window.values(), now + FUTURE)
    if not found:
        return empty(theme, NO_EVENTS)
    starts = [start for start, _ in found]
    newest = max(starts)
    first = max(newest - timedelta(minutes=minutes) + size, min(starts))
    axis = [first + size * i for i in range((newest - first) // size + 1)]
    shown = [kind for kind in EVENT_TYPES if not types or kind in types]
    unit = "minute" if size >= FUTURE else f"{size.seconds} s"
    figure = make_subplots(
        rows=len(shown),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.24 / len(shown),
        subplot_titles=[f"{LABELS[kind]} per {unit}" for kind in shown],
    )
    for row_number, kind in enumerate(shown, start=1):
        points = {start: found.get((start, kind), 0) for start in axis}
        colour = theme.palette[COLOURS[kind]]
        for trace in open_ended(points, LABELS[kind], colour, theme, ",d"):
            figure.add_trace(trace, row=row_number, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"color": theme.text, "size": 12})
    styled(figure, theme, hovermode="x unified", showlegend=False)
    figure.update_layout(margin={"t": 22})
    figure.update_yaxes(rangemode="tozero", nticks=3, tickformat="~s")
    figure.update_xaxes(showgrid=False, hoverformat="%Y-%m-%d %H:%M:%S UTC")
    figure.update_xaxes(title_text="time (UTC)", row=len(shown))
    return figure


def _counted(rows: Iterable[Row], latest: datetime) -> dict[tuple[datetime, str], int]:
    """By window's start and type. A window of the future is a sender's wrong clock, and must not push all else off."""
    counted = ((datetime.fromisoformat(row["window_start"]), row) for row in rows)
    return {(start, row["event_type"]): int(row["count"]) for start, row in counted if start <= latest}


def funnel(period: Period) -> Any:
    """Visits by step as bars, with what part of the step before went on."""
    steps = period.funnel
    if not steps.sessions:
        return html.Div(NO_VISITS, className="hw-empty")
    rows = (
        ("Viewed", VIEW, steps.viewed, ""),
        ("Added", ADD, steps.added, _went_on(steps.added, steps.viewed, "of those who viewed")),
        ("Purchased", PURCHASE, steps.purchased, _went_on(steps.purchased, steps.added, "of those who added")),
    )
    without = steps.sessions - steps.viewed
    notes = [f"Median time from view to purchase: {duration(period.median_seconds)}."]
    if without:
        notes.append(f"{whole(without)} visit{'s' if without > 1 else ''} without a view not counted.")
    return html.Div(
        [
            *(_step(name, kind, count, steps.viewed, text) for name, kind, count, text in rows),
            html.Div(
                [html.Strong(share(steps.conversion)), " of the visits with a view ended in a purchase."],
                className="hw-funnel-overall",
            ),
            html.Div(" ".join(notes), className="hw-muted"),
        ]
    )


def _went_on(count: int, before: int, of: str) -> str:
    return f"{share(count / before)} {of}" if before else NOTHING


def _step(name: str, kind: str, count: int, viewed: int, text: str) -> Any:
    width = 100 * count / viewed if viewed else 0
    bar = html.Div(className=f"hw-bar hw-fill-{kind}", style={"width": f"{width:.1f}%"})
    return html.Div(
        [
            html.Div([html.Span(name), html.Span(text, className="hw-muted")], className="hw-funnel-name"),
            html.Div([html.Div(bar, className="hw-track"), html.Strong(whole(count), className="hw-number")],
                     className="hw-funnel-bar"),
        ],
        className="hw-funnel-step",
    )  # fmt: skip


def trending(rising: Iterable[Rising], product: Callable[[str], Product]) -> Any:
    """The products that rise, with their two counts."""
    rows = list(rising)
    if not rows:
        return html.Div(NOTHING_RISES, className="hw-empty")
    head = (("Product", ""), ("5 min", "r"), ("before", "r"), ("change", "r"))
    return html.Table(
        [
            html.Thead(html.Tr([html.Th(name, className=side) for name, side in head])),
            html.Tbody([_rising(row, product(row.product_id)) for row in rows]),
        ],
        className="hw-table hw-trending",
    )


def _rising(row: Rising, known: Product) -> Any:
    name = html.Div(known.name or row.product_id, className="hw-ellipsis", title=row.product_id)
    category = html.Div(known.category, className="hw-muted hw-ellipsis") if known.category else None
    return html.Tr(
        [
            html.Td([name, category]),
            html.Td(whole(row.now), className="r"),
            html.Td(whole(row.before), className="r"),
            html.Td(_increase(row), className="r"),
        ]
    )


def _increase(row: Rising) -> Any:
    if row.before is None:
        return NOTHING
    times = "new" if row.before == 0 else f"{row.now / row.before:.1f} times"
    return [html.Span(f"▲ {whole(row.now - row.before)}", className="hw-up"), html.Div(times, className="hw-muted")]
