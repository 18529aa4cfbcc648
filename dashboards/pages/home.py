"""`/`: every stream as it arrives, and the queries behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboards.alarms import Alarm, Level
from dashboards.counts import Latency
from dashboards.health import Status, report, standing
from dashboards.push import Part, View
from dashboards.shell import card, page, spelled, title
from dashboards.state import RUNNING, Health, QueryStatus, Snapshot, StreamView
from dashboards.text import NOTHING, age, clock, duration, rate, share, whole
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

WORDS = {
    "failed": "failed",
    "silent": "silent",
    "lag": "behind",
    "no_data": "no data",
    "unread": "unread",
    "owed": "SQL waits",
    "rejected": "rejected",
    "late": "late",
    "feed": "behind",
    "clock": "clock",
}
"""An alarm's kind in a word, as badges have it."""
MARKS = {Level.FAULT: "▲", Level.WARNING: "△"}
"""So that colour is never the only sign."""
LEVEL_COLOURS = {Level.FAULT: "red", Level.WARNING: "yellow"}


def register(streams: Mapping[str, Stream]) -> tuple[Part, ...]:
    """Register the page; gives the parts that are pushed to it."""
    register_page("home", PATH, "Headwater", partial(layout, streams))
    return (
        Part("home-status", "children", lambda snapshot, view: status(snapshot), every=0.5),
        Part("home-announced", "children", lambda snapshot, view: announced(snapshot), every=2.0),
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
            html.Div(id="home-announced", className="hw-unseen", role="status"),
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
    """Whether all is well, or what is not, since when, and what to do about it."""
    judgement = report(snapshot)
    if judgement.status is Status.DOWN:
        return _notice(judgement.status, [_reasons(judgement.reasons), HINT])
    alarms = sorted(standing(snapshot), key=lambda alarm: alarm.level is not Level.FAULT)
    rows = html.Ul([_alarm(alarm, snapshot.at) for alarm in alarms], className="hw-alarms") if alarms else None
    if judgement.status is Status.OK:
        live = sum(stream.health is Health.LIVE for stream in snapshot.streams.values())
        return _notice(judgement.status, [f"All is well: {live} stream{'s' if live != 1 else ''} live.", rows])
    said = {alarm.text for alarm in alarms}
    more = [reason for reason in judgement.reasons if reason not in said]
    hint = None if any(query.state == RUNNING for query in snapshot.queries) else HINT
    return _notice(judgement.status, [rows, _reasons(more), hint])


HINT = html.Div(
    ["Nothing running? ", html.Code("make demo"), " starts broker, producers and jobs."], style={"marginTop": ".5rem"}
)
TITLES = {Status.DEGRADED: "Needs attention", Status.DOWN: "Down"}


def _notice(status: Status, children: list[Any]) -> Any:
    """No `alert` to a screen reader, which would read it out whenever a figure changes: `home-announced` tells it."""
    title = html.Div(TITLES[status], className="hw-notice-title") if status in TITLES else None
    return html.Div([title, *children], className=f"hw-notice hw-notice-{status}")


def _reasons(reasons: Sequence[str]) -> Any:
    return html.Ul([html.Li(reason) for reason in reasons], className="hw-reasons") if reasons else None


def _alarm(alarm: Alarm, now: float) -> Any:
    """A line: its kind with a mark, what is wrong, and since when."""
    since = datetime.fromtimestamp(alarm.since, UTC)
    return html.Li(
        [
            alarm_badge(alarm),
            html.Span(alarm.text, className="hw-alarm-text"),
            html.Span(
                ["since ", html.Time(clock(since.isoformat()), dateTime=since.isoformat(timespec="seconds")), " UTC, ",
                 f"for {duration(max(now - alarm.since, 1.0))}"],
                className="hw-muted hw-number hw-alarm-since",
            ),
        ],
        className="hw-alarm",
    )  # fmt: skip


def alarm_badge(alarm: Alarm, named: bool = False) -> Any:
    """An alarm in a mark, a word and a colour; ``named``: and whose it is, where that is a query or a job."""
    whose, is_named, _ = alarm.subject.partition(":")
    words = [MARKS[alarm.level], *([whose] if named and is_named else []), WORDS[alarm.kind]]
    return dmc.Badge(" ".join(words), color=LEVEL_COLOURS[alarm.level], variant="light", className="hw-badge")


def announced(snapshot: Snapshot) -> str:
    """What a screen reader is told: only what changes when an alarm comes or goes, not each second that passes."""
    judgement = report(snapshot)
    if judgement.status is Status.DOWN:
        return "Down: no connection to Kafka."
    alarms = [f"{alarm.subject.partition(':')[0]} {WORDS[alarm.kind]}" for alarm in standing(snapshot)]
    return f"{len(alarms)} alarms: {', '.join(alarms)}." if alarms else "All is well."


def _stream_part(name: str, snapshot: Snapshot, view: View) -> Any:
    is_linked = snapshot.link.health is Health.LIVE
    alarms = [alarm for alarm in standing(snapshot) if is_linked and name in alarm.streams]
    return stream_body(snapshot.streams[name], snapshot.lag(name), alarms)


def stream_body(stream: StreamView, lag: int | None, alarms: Sequence[Alarm] = ()) -> list[Any]:
    """State and alarms, rate with its course, latencies and counts of a stream."""
    return [
        dmc.Group(
            [
                html.Div([badge(stream.health), *(alarm_badge(a, named=True) for a in alarms)], className="hw-chips"),
                html.Span(age(stream.age), className="hw-muted hw-number"),
            ],
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
                *_fact("Rejected", _counted(stream.rejected_count, stream.rejected_share)),
                *_fact("Late", _counted(stream.late, stream.late_share)),
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


def _counted(count: int | None, recent: float | None) -> str:
    """A count, and what share of the last minutes' records it was where it was any."""
    return f"{whole(count)} ({share(recent)} in 5 min)" if recent else whole(count)


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
                html.Tbody([_query(query, snapshot) for query in snapshot.queries]),
            ],
            className="hw-table",
        ),
        className="hw-scroll",
    )


def _query(query: QueryStatus, snapshot: Snapshot) -> Any:
    state, colour = query.state, {"running": "teal", "failed": "red"}.get(query.state, "gray")
    if snapshot.link.health is not Health.LIVE:
        state, colour = "unknown", "gray"
    elif query.silent:  # what it said last is not true any more
        state, colour = f"{MARKS[Level.FAULT]} {WORDS['silent']}", LEVEL_COLOURS[Level.FAULT]
    subject = f"{query.query}:{query.run}"
    alarms = [a for a in standing(snapshot) if a.kind == "lag" and a.subject == subject and query.runs]
    shown = [dmc.Badge(state, color=colour, variant="light", className="hw-badge"), *map(alarm_badge, alarms)]
    worst = query.worst()
    lag = query.lag if worst is None else worst.records
    waits = f", {duration(worst.seconds)}" if worst and worst.seconds >= 1 else ""
    cells = [
        (query.query, ""),
        ([html.Div(shown, className="hw-chips"),
          html.Div(query.message, className="hw-error") if query.message else None], ""),
        (", ".join(query.streams), ""),
        (rate(query.input_rows_per_second), "r"),
        (duration(None if query.batch_ms is None else query.batch_ms / 1000), "r"),
        (NOTHING if lag is None else f"{whole(lag)}{waits}", "r"),
        (age(max(snapshot.at - query.at, 0.0)), "r"),
    ]  # fmt: skip
    return html.Tr([html.Td(content, className=side) for content, side in cells])
