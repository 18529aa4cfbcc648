"""What every page stands in: theme, header with navigation, the stores of the push loop, and page titles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html, page_container

from dashboards.figures.theme import FONT
from dashboards.push import Part
from headwater.contracts import Stream
from headwater.contracts.co2 import CO2

THEME = {
    "primaryColor": "blue",
    "fontFamily": FONT,
    "defaultRadius": "md",
    "fontSizes": {"xs": "0.75rem", "sm": "0.85rem"},
}

SCHEME_SCRIPT = (
    "document.documentElement.dataset.mantineColorScheme = ((chosen) => chosen === 'dark' || chosen === 'light'"
    " ? chosen : matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')"
    "(localStorage.getItem('mantine-color-scheme-value'));"
)
"""Before the first paint, so that a dark page never flashes white. Mantine takes it over."""

INDEX = f"""<!DOCTYPE html>
<html lang="en">
    <head>
        <script>{SCHEME_SCRIPT}</script>
        <meta charset="UTF-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="description" content="Live streams through Kafka and Spark">
        <title>{{%title%}}</title>
        {{%favicon%}}
        {{%css%}}
    </head>
    <body>
        {{%app_entry%}}
        <footer>{{%config%}} {{%scripts%}} {{%renderer%}}</footer>
    </body>
</html>"""

BEAT = Part("beat", "data", lambda snapshot, view: snapshot.at, every=1.0, while_paused=True)
"""Tells the browser that the push is alive; its silence shows the banner `lost`."""


def shell(streams: Mapping[str, Stream]) -> Any:
    """The app's layout, around whatever page is open."""
    links = [("All streams", "/"), *((spelled(name), f"/{name}") for name in streams), ("API", "/docs")]
    return dmc.MantineProvider(
        theme=THEME,
        defaultColorScheme="auto",
        children=[
            dcc.Store(id="view"),
            dcc.Store(id="beat"),
            dcc.Store(id="ignored"),
            html.Header(
                className="hw-header",
                children=html.Div(
                    className="hw-header-inner",
                    children=[
                        dcc.Link(
                            [html.Span(className="hw-logo"), html.Span("Headwater", className="hw-name")],
                            href="/",
                            className="hw-brand",
                        ),
                        html.Nav([_link(*link) for link in links], className="hw-nav", **aria("Pages")),
                        dmc.ColorSchemeToggle(
                            id="scheme",
                            lightIcon="☀",
                            darkIcon="☾",
                            variant="default",
                            size="lg",
                            **aria("Light or dark"),
                        ),
                    ],
                ),
            ),
            html.Div(
                "The dashboard itself does not answer. Trying again by itself; what you see is from before.",
                id="lost",
                className="hw-lost",
                role="alert",
            ),
            html.Main(page_container, className="hw-main"),
        ],
    )


def spelled(stream: str) -> str:
    """A stream's name as a heading has it."""
    return stream.upper() if stream == CO2.name else stream.capitalize()


def aria(label: str) -> dict[str, Any]:
    """The name of a thing for those who don't see it. Dash takes it only as a keyword with a hyphen."""
    return {"aria-label": label}


def _link(label: str, href: str) -> Any:
    if href == "/docs":
        return html.A(label, href=href, className="hw-link")
    return dcc.Link(label, href=href, className="hw-link")


def page(path: str, children: Iterable[Any]) -> Any:
    """A page's content; the store says which page it is, so that the push loop knows what to send."""
    return html.Div([dcc.Store(id="page", data=path), *children], className="hw-page")


def title(text: str, *beside: Any, nav: Any = None) -> Any:
    """The page's heading, its sibling pages, and what stands at its right."""
    head = html.Div([dmc.Title(text, order=1, className="hw-title"), nav], className="hw-heading")
    return html.Div([head, *beside], className="hw-titlebar")


def card(*children: Any, heading: str | None = None, beside: Any = None, **props: Any) -> Any:
    """A sheet with an optional heading."""
    head = []
    if heading:
        head = [dmc.Group([html.H2(heading, className="hw-h2"), beside], justify="space-between", gap="xs", mb="xs")]
    return dmc.Paper([*head, *children], withBorder=True, p="md", className="hw-card", **props)


def graph(component_id: str, height: int, label: str) -> Any:
    """A figure that is filled by the push loop, and keeps its place until then."""
    return html.Div(
        dcc.Graph(
            id=component_id,
            figure={"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False},
                                           "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}},
            config={"displaylogo": False, "displayModeBar": False, "responsive": True},
            style={"height": height},
        ),
        role="img",
        **aria(label),
    )  # fmt: skip
