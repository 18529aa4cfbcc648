"""`/`: every stream as it arrives, and the queries behind it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboards.health import Status, report
from dashboards.push import Part, View
from dashboards.shell import card, page, spelled, title
from dashboards.state import Health, Latency, QueryStatus, Snapshot, StreamView, silent
from dashboards.text import NOTHING, age, duration, rate, whole
from dashboards.untyped import register_page
from headwater.contracts import Stream

PATH = "/"

COLOURS = {
    Health.LIVE: "teal",
    Health.NO_DATA: "gray",
    Health.STOPPED: "orange",
    Health.CONNECTING: "gray",
    Health.CANNOT_CONNECT: "red",
}
STATUS_COLOURS = {Status.OK: "teal", Status.DEGRADED: "orange", Status.DOWN: "red"}


def register(streams: Mapping[str, Stream]) -> tuple[Part, ...]:
    """Register the page; gives the parts that are pushed to it."""
    register_page("home", PATH, "Headwater", partial(layout, streams))
    return (
        Part("home-status", "children", lambda snapshot, view: status(snapshot), every=0.5),
        *(
            Part(f"home-{name}", "children", partial(_stream_part, name), every=0.5)
            for name in streams
        ),
        Part("home-queries", "children", lambda snapshot, view: queries(snapshot), every=1.0),
    )  # fmt: skip


def layout(streams: Mapping[str, Stream]) -> Any:
    """The page before its first push."""
    return page(
        PATH,
        [
            title("All streams"),
            html.Div(id="home-status"),
            html.Div(
                [
                    card(
                        dmc.Group(
                            [
                                html.Div(
                                    [
                                        dcc.Link(spelled(name), href=f"/{name}", className="hw-card-title"),
                                        html.Div(stream.description, className="hw-muted"),
                                    ]
                                )
                            ]
                        ),
                        html.Div(id=f"home-{name}", className="hw-stream-body"),
                    )
                    for name, stream in streams.items()
                ],
                className="hw-streams",
            ),
            html.Div(card(html.Div(id="home-queries"), heading="Queries"), style={"marginTop": "1rem"}),
            html.P(
                "Latency is measured here: from a record's arrival in Kafka to its arrival in this process, "
                "over the last minute; the way on to the browser adds some tens of milliseconds. The batch time of a "
                "real-time query is its checkpoint interval, not a delay.",
                className="hw-note",
            ),
        ],
    )


def status(snapshot: Snapshot) -> Any:
    """One line that says whether all is well, and what to do where it is not."""
    judgement = report(snapshot)
    if judgement.status is Status.OK:
        live = sum(stream.health is Health.LIVE for stream in snapshot.streams.values())
        text = f"All is well: {live} stream{'s' if live != 1 else ''} live."
        return dmc.Alert(text, color="teal", variant="light", className="hw-alert")
    nothing_runs = judgement.status is Status.DOWN or not snapshot.queries
    return dmc.Alert(
        [
            html.Ul([html.Li(reason) for reason in judgement.reasons], className="hw-reasons"),
            html.Div(["Nothing running? ", html.Code("make demo"), " starts broker, producers and jobs."])
            if nothing_runs
            else None,
        ],
        title="Down" if judgement.status is Status.DOWN else "Needs attention",
        color=STATUS_COLOURS[judgement.status],
        variant="light",
        className="hw-alert",
    )


def _stream_part(name: str, snapshot: Snapshot, view: View) -> Any:
    return stream_body(snapshot.streams[name], snapshot.lag(name))


def stream_body(stream: StreamView, lag: int | None) -> list[Any]:
    """State, rate with its course, latencies and counts of a stream."""
    return [
        dmc.Group(
            [badge(stream.health), html.Span(age(stream.age), className="hw-muted hw-number")],
            justify="space-between",
            mt="xs",
        ),
        html.Div(
            [
                html.Div(
                    [
                        html.Div(rate(stream.rate_10), className="hw-big hw-number"),
                        html.Div(f"{rate(stream.rate_60)} over a minute", className="hw-muted hw-number"),
                    ]
                ),
                dmc.Sparkline(
                    data=list(stream.spark), h=44, className="hw-spark", curveType="Linear",
                    color=COLOURS[stream.health] + ".6", fillOpacity=0.25, strokeWidth=1.5,
                ),
            ],
            className="hw-rate",
        ),
        html.Dl(
            [
                *_fact("Live latency, p50 / p99", _latency(stream.live_latency)),
                *_fact("Aggregates, p50 / p99", _latency(stream.aggregate_latency)),
                *_fact("Lag", NOTHING if lag is None else f"{whole(lag)} records"),
                *_fact("Rejected", whole(stream.rejected_count)),
                *_fact("Late", whole(stream.late)),
                *_fact("Doubled", whole(stream.duplicates)),
            ],
            className="hw-facts",
        ),
    ]  # fmt: skip


def badge(health: Health) -> Any:
    """The state in a word and a colour."""
    return dmc.Badge(str(health), color=COLOURS[health], variant="light", className="hw-badge")


def _fact(name: str, value: str) -> list[Any]:
    return [html.Dt(name), html.Dd(value)]


def _latency(latency: Latency) -> str:
    if not latency.samples:
        return NOTHING
    return f"{duration(latency.p50)} / {duration(latency.p99)}"


def queries(snapshot: Snapshot) -> Any:
    """A line a query: what it said last."""
    if not snapshot.queries:
        return html.Div(
            [
                "No job has reported yet. ",
                html.Code("make jobs"),
                " starts them, ",
                html.Code("make demo"),
                " everything.",
            ],
            className="hw-empty",
        )
    head = [
        ("Query", ""),
        ("State", ""),
        ("Streams", ""),
        ("Input", "r"),
        ("Batch time", "r"),
        ("Lag", "r"),
        ("Reported", "r"),
    ]
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr([html.Th(name, className=side) for name, side in head])),
                html.Tbody([_query(query, snapshot.at) for query in snapshot.queries]),
            ],
            className="hw-table",
        ),
        className="hw-scroll",
    )


def _query(query: QueryStatus, now: float) -> Any:
    state, colour = query.state, {"running": "teal", "failed": "red"}.get(query.state, "gray")
    if silent(query, now):
        state, colour = "silent", "orange"
    cells = [
        (query.query, ""),
        ([dmc.Badge(state, color=colour, variant="light", className="hw-badge"),
          html.Div(query.message, className="hw-error") if query.message else None], ""),
        (", ".join(query.streams), ""),
        (rate(query.input_rows_per_second), "r"),
        (duration(None if query.batch_ms is None else query.batch_ms / 1000), "r"),
        (NOTHING if query.lag is None else f"{whole(query.lag)}", "r"),
        (age(max(now - query.at, 0.0)), "r"),
    ]  # fmt: skip
    return html.Tr([html.Td(content, className=side) for content, side in cells])
