"""Colours of the figures: Okabe and Ito's palette, which colour-blind readers can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#7F7F7F")
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """What differs between light and dark. Backgrounds are transparent: the card's own shows."""

    text: str
    muted: str
    grid: str
    accent: str
    second: str
    card: str
    palette: tuple[str, ...] = PALETTE


LIGHT = Theme(text="#1f2933", muted="#5b6775", grid="#e6e9ee", accent="#0072B2", second="#D55E00", card="#ffffff")
DARK = Theme(
    text="#dfe3e8",
    muted="#98a2ae",
    grid="#333940",
    accent="#56B4E9",
    second="#E69F00",
    card="#1f2226",
    palette=("#56B4E9", "#E69F00", "#2FBF95", "#D98FBB", "#3D8FCC", "#E8743B", "#F0E442", "#9A9A9A"),
)


def theme_of(name: str) -> Theme:
    """By Mantine's name of the colour scheme."""
    return DARK if name == "dark" else LIGHT


def styled(figure: go.Figure, theme: Theme, **layout: Any) -> go.Figure:
    """The house style; `uirevision` keeps the reader's zoom through updates."""
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 12, "color": theme.muted},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        hoverlabel={"bgcolor": theme.card, "bordercolor": theme.grid, "font": {"color": theme.text}},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"color": theme.muted}},
        uirevision="kept",
        separators=".,",
        colorway=list(theme.palette),
        **layout,
    )
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.grid,
        "zerolinecolor": theme.grid,
        "automargin": True,
        "ticks": "",
        "title": {"font": {"color": theme.muted, "size": 12}},
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def empty(theme: Theme, message: str) -> go.Figure:
    """No axes, only what to do about it."""
    figure = styled(go.Figure(), theme)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=message, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5, font={"color": theme.muted, "size": 13}
    )
    return figure
