"""What is wrong, in words: one judgement for the API, the start page, `/metrics` and whoever waits for a start.

`findings` looks at a snapshot and knows nothing of the one before; :class:`dashboards.alarms.Alarms` remembers since
when each stands. What is expected to run is what said that it runs (``docs/decisions/0057-what-health-believes.md``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from dashboards.alarms import Alarm, Finding, Level, raised
from dashboards.state import SHARE_SECONDS, Health, QueryStatus, Snapshot, StreamView
from dashboards.text import duration, share, whole
from headwater.contracts import STREAMS
from headwater.settings import HealthSettings, JobSettings, Settings


class Status(StrEnum):
    """Of the whole suite."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True)
class Report:
    """The status, every reason why it is not ok, and what deserves a look although it moves."""

    status: Status
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """The settings of health, and by query the seconds that a record may wait for it."""

    health: HealthSettings
    lag_seconds: Mapping[str, float]

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(settings.health, _lag_seconds(settings.health, settings.jobs))


def _lag_seconds(health: HealthSettings, jobs: JobSettings) -> Mapping[str, float]:
    return {
        "live": health.live_lag_seconds,
        "aggregate": health.aggregate_lag_seconds + jobs.aggregate_trigger_seconds,
        "archive": health.archive_lag_seconds + jobs.archive_trigger_seconds,
    }


def report(snapshot: Snapshot | None, limits: Limits | None = None) -> Report:
    """Down: nothing can reach the screen. Degraded: something that should move does not."""
    if snapshot is None:
        return Report(Status.DOWN, ("the feed has not started yet",))
    if snapshot.link.health is not Health.LIVE:
        reason = f"{snapshot.link.health}: {snapshot.link.error}" if snapshot.link.error else str(snapshot.link.health)
        return Report(Status.DOWN, (f"Kafka: {reason}",))
    alarms = standing(snapshot, limits)
    reasons = tuple(alarm.text for alarm in alarms if alarm.level is Level.FAULT)
    warnings = tuple(alarm.text for alarm in alarms if alarm.level is Level.WARNING)
    if all(stream.age is None for stream in snapshot.streams.values()) and not reasons:
        reasons = ("connected, but no stream has data yet; `make demo` starts all that makes some",)
    return Report(Status.DEGRADED if reasons else Status.OK, reasons, warnings)


def standing(snapshot: Snapshot, limits: Limits | None = None) -> tuple[Alarm, ...]:
    """The alarms of a snapshot; of one that nobody has kept alarms for, what is found in it."""
    if snapshot.alarms is not None:
        return snapshot.alarms
    found = findings(snapshot, limits or Limits.of(Settings()))
    return tuple(raised(finding, snapshot.at) for finding in found if finding.is_over)


def findings(snapshot: Snapshot, limits: Limits) -> Iterator[Finding]:
    """All that is wrong or is measured against a limit. Without Kafka nothing can be known, and nothing is said."""
    if snapshot.link.health is not Health.LIVE:
        return
    expected = expected_queries(snapshot)
    read = {stream for query in expected for stream in query.streams}
    for query in expected:
        yield from _of_query(query, snapshot.at, limits)
    yield from _of_silent_jobs(expected, snapshot.at)
    for stream in snapshot.streams.values():
        yield from _of_stream(stream, read, expected, limits)
    yield from _of_feed(snapshot, limits)


def expected_queries(snapshot: Snapshot) -> list[QueryStatus]:
    """The queries that run, and those that died, for the streams that no other of their kind reads in their place.

    One that was stopped, or finished with ``--once``, was meant to end.
    """
    running = [q for q in snapshot.queries if q.runs]
    died = [q for q in snapshot.queries if q.state == "failed" or q.silent]
    left = []
    for query in died:
        taken = {s for other in running if other.query == query.query for s in other.streams}
        if streams := tuple(s for s in query.streams if s not in taken):
            left.append(replace(query, streams=streams))
    return running + left


def _of_query(query: QueryStatus, now: float, limits: Limits) -> Iterator[Finding]:
    name, again = f"query {query.query}", start_of(query.streams)
    of = f" of {_listed(query.streams)}"
    subject = f"{query.query}:{query.run}"
    if query.state == "failed":
        text = f"{name}{of} failed: {query.message or 'no message'}. Start its job again: {again}"
        yield Finding("failed", subject, query.streams, text)
    elif query.runs and (worst := query.worst()) and (limit := limits.lag_seconds.get(query.query)):
        since = None if query.progress_at is None else now - query.progress_at
        waits = f"{whole(worst.records)} records{of} wait for it, the oldest for {duration(worst.seconds)}"
        if worst.seconds <= limit:
            text = f"{name} was behind and is catching up: {waits}"
        # A real-time query's batch lasts until its next checkpoint whatever it does, so its age tells nothing.
        elif query.query != "live" and (since is None or since > limit):
            ended = "no batch of it has ended yet" if since is None else f"its last batch ended {duration(since)} ago"
            text = f"{name} starves: {ended}, and {waits}. Its job's log says what it is at; if nothing: {again}"
        else:
            text = (
                f"{name} is behind: {waits}. More comes than it takes: give it time, less to do "
                "(STREAMS=...) or more cores"
            )
        yield Finding("lag", subject, query.streams, text, value=worst.seconds, limit=limit)
    if query.runs:
        yield _clock(
            f"job:{subject}", abs(query.clock_ahead), limits, query.streams,
            f"the clock of the job of {_listed(query.streams)} is {duration(abs(query.clock_ahead))} "
            f"{'ahead of' if query.clock_ahead > 0 else 'behind'} this machine's: ages and ends by silence are wrong "
            "by as much. Let both follow NTP",
        )  # fmt: skip


def _of_silent_jobs(expected: Iterable[QueryStatus], now: float) -> Iterator[Finding]:
    """A driver dies whole: its queries are one alarm."""
    jobs: dict[tuple[str, ...], list[QueryStatus]] = {}
    for query in expected:
        if query.silent:
            jobs.setdefault(query.streams, []).append(query)
    for streams, queries in jobs.items():
        last = max(query.at for query in queries)
        text = (
            f"the job of {_listed(streams)} has not reported for {duration(now - last)} (its queries "
            f"{', '.join(query.query for query in queries)}): it has died, or can't reach Kafka. Start it again: "
            f"{start_of(streams)}"
        )
        yield Finding("silent", f"job:{'+'.join(streams)}", streams, text)


def _of_data(stream: StreamView, read: set[str], expected: list[QueryStatus], limits: Limits) -> Iterator[Finding]:
    """Whether it moves, and if not, whose fault that is."""
    name, only = stream.name, (stream.name,)
    is_read, had_data = name in read, stream.age is not None
    raw_topic = STREAMS[name].raw_topic if name in STREAMS else name
    raw_moves = stream.raw_age is not None and stream.raw_age < limits.health.query_silence_seconds
    # Nobody reads it and nothing comes: it is switched off, as long as another one is on.
    if is_read:
        if stream.health is Health.NO_DATA:
            text = f"{name}: no data yet, nothing valid in {raw_topic}. Start its producer: {producer_of(name)}"
            yield Finding("no_data", name, only, text)
        elif stream.health is Health.STOPPED:
            if raw_moves and any(q.query == "live" and name in q.streams and not q.runs for q in expected):
                return  # that it died is told already
            if raw_moves:
                why = f"though records come into {raw_topic}: are all rejected (/{name})? Does its live query run?"
            else:
                why = f"and nothing comes into {raw_topic}: its producer is silent. Start it: {producer_of(name)}"
            yield Finding("no_data", name, only, f"{name}: no data for {duration(stream.age)}, {why}")
    elif had_data and raw_moves:
        text = f"{name}: records come into {raw_topic}, and no query reads them any more. Start one: {start_of(only)}"
        yield Finding("unread", name, only, text)
    elif stream.health is Health.STOPPED and not expected:
        text = f"{name}: no data for {duration(stream.age)}, and no query runs. `make demo` starts all there is"
        yield Finding("no_data", name, only, text)


def _of_stream(stream: StreamView, read: set[str], expected: list[QueryStatus], limits: Limits) -> Iterator[Finding]:
    name, only = stream.name, (stream.name,)
    yield from _of_data(stream, read, expected, limits)
    if owed := int(stream.account.get("owed") or 0):
        text = (
            f"{name}: {whole(owed)} rows wait for the SQL database, which can't be written to; its job's log says why. "
            "They are kept, and brought when it answers"
        )
        yield Finding("owed", name, only, text)
    window = duration(SHARE_SECONDS)
    if stream.rejected_share is not None:
        text = (
            f"{name}: {share(stream.rejected_share)} of the last {window}'s records were rejected{_mostly(stream)}: "
            f"see them on /{name}"
        )
        limit = limits.health.rejected_share
        yield Finding("rejected", name, only, text, value=stream.rejected_share, limit=limit)
    if stream.late_share is not None:
        text = (
            f"{name}: {share(stream.late_share)} of the last {window}'s records came late, their events older than the "
            "watermark. The archive counts them where they belong; fresh figures of those windows lag behind it"
        )
        value, limit = stream.late_share, limits.health.late_share
        yield Finding("late", name, only, text, Level.WARNING, value, limit)


def _of_feed(snapshot: Snapshot, limits: Limits) -> Iterator[Finding]:
    lag = snapshot.feed_lag
    text = (
        f"the dashboard itself is behind: {whole(lag.records)} messages wait for it, the oldest for "
        f"{duration(lag.seconds)}. What it shows is as old"
    )
    yield Finding("feed", "dashboard", (), text, value=lag.seconds, limit=limits.health.feed_lag_seconds)
    # The least latency of a stream that is up to date is the difference of the clocks and next to nothing else.
    waits = {s: lag.seconds for q in snapshot.queries if q.query == "live" for s, lag in q.behind.items()}
    least = [
        stream.live_latency.least
        for stream in snapshot.streams.values()
        if stream.live_latency.least is not None
        and (stream.live_latency.least < 0 or waits.get(stream.name, float("inf")) == 0)
    ]
    if least:
        skew = min(least, key=abs)
        text = (
            f"Kafka's clock is {duration(abs(skew))} {'behind' if skew > 0 else 'ahead of'} this machine's: latencies "
            "and ages are wrong by as much. Let both follow NTP"
        )
        yield _clock("kafka", abs(skew), limits, (), text)


def _clock(subject: str, skew: float, limits: Limits, streams: tuple[str, ...], text: str) -> Finding:
    return Finding("clock", subject, streams, text, value=skew, limit=limits.health.clock_skew_seconds)


def _mostly(stream: StreamView) -> str:
    """The reason that most of the newest rejected records have."""
    reasons = Counter(str(reason) for row in stream.rejected[:100] for reason in row.get("reasons") or ())
    return f", most for {reasons.most_common(1)[0][0]}" if reasons else ""


def _listed(streams: Iterable[str]) -> str:
    return ", ".join(streams) or "no stream"


def start_of(streams: tuple[str, ...]) -> str:
    """The command that starts a job of those streams."""
    if len(streams) == 1:
        return f"spark-submit jobs/{streams[0]}.py"
    return "make jobs" if set(streams) == set(STREAMS) else f'STREAMS="{" ".join(streams)}" make jobs'


def producer_of(stream: str) -> str:
    """The command that starts a stream's producer."""
    return f"python -m producers.{stream}"
