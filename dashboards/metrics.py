"""`/metrics`: what the hub's newest snapshot says, for Prometheus.

Nothing is counted here. The totals are the archive's account, which its ledger keeps through every restart; what is
counted since the start of this process (rejects by reason, the histogram) begins at zero again with it, as Prometheus
expects of a counter. A figure that is not known is left out, since zero would be a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.alarms import Level
from dashboards.counts import BUCKETS, Distribution
from dashboards.health import Status, report, standing
from dashboards.hub import Hub
from dashboards.state import Health, Snapshot

PATH = "/metrics"

ACCOUNT = {
    "records": ("headwater_records", "Valid records that the archive has stored."),
    "rejected": ("headwater_rejected", "Rejected records that the archive has stored."),
    "late": (
        "headwater_late_records",
        "Records whose event was older than the watermark when the archive stored them.",
    ),
    "duplicates": ("headwater_duplicates", "Records of an event that was counted already."),
    "lost": ("headwater_lost_records", "Records that Kafka deleted before the archive read them, which was accepted."),
}
LEDGERS = {
    "bytes": ("headwater_state_bytes", "Size of what a query remembers of a stream: its ledger."),
    "rows": ("headwater_state_rows", "Rows of what a query remembers of a stream: its ledger."),
}


class Sockets:
    """Counts the WebSockets that are open, of pages and maps alike."""

    def __init__(self, app: ASGIApp, opened: Callable[[int], None]) -> None:
        self.app = app
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        self._opened(1)
        try:
            await self.app(scope, receive, send)
        finally:
            self._opened(-1)


class HubCollector(Collector):
    """The snapshot as metric families, made anew at each scrape."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sockets = 0

    def opened(self, count: int) -> None:
        """So many more sockets are open; from the server's own thread."""
        self._sockets += count

    def collect(self) -> Iterator[Metric]:
        snapshot = self._hub.latest
        health = GaugeMetricFamily(
            "headwater_health_status", "1 of what /api/v1/health says, 0 of what it does not.", labels=["status"]
        )
        judged = report(snapshot).status
        for status in Status:
            health.add_metric([status], status is judged)
        yield health
        yield GaugeMetricFamily("headwater_websockets", "WebSockets that are open.", self._sockets)
        if snapshot is None:
            return
        connected = snapshot.link.health is Health.LIVE
        yield GaugeMetricFamily("headwater_kafka_connected", "Whether the dashboard reads from Kafka.", connected)
        yield from _alarms(snapshot)
        yield from _streams(snapshot)
        yield from _account(snapshot)
        yield from _ledgers(snapshot)
        if connected:  # otherwise what they said last is no news of them
            yield from _queries(snapshot)
        lag = snapshot.feed_lag
        yield GaugeMetricFamily(
            "headwater_feed_lag_records", "Messages that wait for the dashboard to read them.", lag.records
        )
        yield GaugeMetricFamily(
            "headwater_feed_lag_seconds", "How long the oldest of those messages has waited.", lag.seconds
        )


def _alarms(snapshot: Snapshot) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "headwater_alarm",
        "1 of each alarm that stands; those that don't are absent.",
        labels=["kind", "level", "subject"],
    )
    for alarm in standing(snapshot) if snapshot.link.health is Health.LIVE else ():
        family.add_metric([alarm.kind, Level(alarm.level), alarm.subject], 1)
    yield family


def _streams(snapshot: Snapshot) -> Iterator[Metric]:
    streams = snapshot.streams
    live = GaugeMetricFamily("headwater_stream_live", "Whether valid records have come lately.", labels=["stream"])
    age = GaugeMetricFamily("headwater_stream_age_seconds", "Age of the newest data.", labels=["stream"])
    shown = CounterMetricFamily(
        "headwater_live_records", "Valid records that came to the dashboard since it started.", labels=["stream"]
    )
    reasons = CounterMetricFamily(
        "headwater_rejected_reasons",
        "Reasons of the rejected records that came to the dashboard since it started; a record may have several.",
        labels=["stream", "reason"],
    )
    latency = HistogramMetricFamily(
        "headwater_event_to_screen_seconds",
        "From a record's arrival in Kafka to the arrival in the dashboard of itself (live), or of a figure that counts "
        "it (aggregate), since the dashboard started.",
        labels=["stream", "path"],
    )
    for name, stream in streams.items():
        live.add_metric([name], stream.health is Health.LIVE)
        if stream.age is not None:
            age.add_metric([name], stream.age)
        shown.add_metric([name], sum(stream.to_screen["live"].counts))
        for reason, count in stream.reasons.items():
            reasons.add_metric([name, reason], count)
        for path, distribution in stream.to_screen.items():
            latency.add_metric([name, path], _buckets(distribution), distribution.total)
    yield from (live, age, shown, reasons, latency)


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(distribution.counts), strict=True))


def _account(snapshot: Snapshot) -> Iterator[Metric]:
    for key, (name, text) in ACCOUNT.items():
        family = CounterMetricFamily(name, text, labels=["stream"])
        for stream, view in snapshot.streams.items():
            if key in view.account:
                family.add_metric([stream], view.account[key])
        yield family
    owed = GaugeMetricFamily("headwater_sql_owed_rows", "Rows that wait for the SQL database.", labels=["stream"])
    for stream, view in snapshot.streams.items():
        if "owed" in view.account:
            owed.add_metric([stream], view.account["owed"])
    yield owed


def _ledgers(snapshot: Snapshot) -> Iterator[Metric]:
    for key, (name, text) in LEDGERS.items():
        family = GaugeMetricFamily(name, text, labels=["stream", "ledger"])
        for stream, view in snapshot.streams.items():
            for ledger, size in view.ledgers.items():
                family.add_metric([stream, ledger], size[key])
        yield family


def _queries(snapshot: Snapshot) -> Iterator[Metric]:
    """``run`` names the driver by its streams: two drivers have a query of the same name each."""
    of = ["query", "run"]
    up = GaugeMetricFamily("headwater_query_up", "Whether the query runs, by its own reports.", labels=of)
    reported = GaugeMetricFamily("headwater_query_report_age_seconds", "Since the query's last report.", labels=of)
    progress = GaugeMetricFamily(
        "headwater_query_progress_age_seconds", "Since a batch of it ended, or it was found idle.", labels=of
    )
    batch = GaugeMetricFamily("headwater_batch_duration_seconds", "What its last batch took.", labels=of)
    phase = GaugeMetricFamily(
        "headwater_batch_phase_duration_seconds", "What a phase of its last batch took.", labels=[*of, "phase"]
    )
    rate = GaugeMetricFamily(
        "headwater_query_input_rows_per_second", "Rows it took a second, as Spark says of its last batch.", labels=of
    )
    records = GaugeMetricFamily(
        "headwater_query_lag_records", "Records of the raw topic that wait for it.", labels=[*of, "stream"]
    )
    seconds = GaugeMetricFamily(
        "headwater_query_lag_seconds", "How long the oldest of those records has waited.", labels=[*of, "stream"]
    )
    for query in snapshot.queries:
        labels = [query.query, query.run]
        up.add_metric(labels, query.runs)
        reported.add_metric(labels, max(snapshot.at - query.at, 0.0))
        if query.progress_at is not None:
            progress.add_metric(labels, max(snapshot.at - query.progress_at, 0.0))
        if query.batch_ms is not None:
            batch.add_metric(labels, query.batch_ms / 1000)
        for name, ms in query.phases_ms.items():
            phase.add_metric([*labels, name], ms / 1000)
        if query.input_rows_per_second is not None:
            rate.add_metric(labels, query.input_rows_per_second)
        for stream, lag in query.behind.items():
            records.add_metric([*labels, stream], lag.records)
            seconds.add_metric([*labels, stream], lag.seconds)
    yield from (up, reported, progress, batch, phase, rate, records, seconds)


def add_route(server: FastAPI, hub: Hub) -> HubCollector:
    """The route, with a registry of its own. Before Dash's catch-all, which comes with the lifespan."""
    registry = CollectorRegistry()
    collector = HubCollector(hub)
    registry.register(collector)
    for of_process in (ProcessCollector, PlatformCollector, GCCollector):
        of_process(registry=registry)

    @server.get(PATH, include_in_schema=False)
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return collector
