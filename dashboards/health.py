"""What is wrong, in words: one judgement for the API, the start page and whoever waits for a start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dashboards.state import Health, QueryStatus, Snapshot, StreamView, silent
from dashboards.text import duration


class Status(StrEnum):
    """Of the whole suite."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True)
class Report:
    """The status, and every reason why it is not ok."""

    status: Status
    reasons: tuple[str, ...]


def report(snapshot: Snapshot | None) -> Report:
    """Down: nothing can reach the screen. Degraded: something that should move does not.

    A stream that no query reads and that never had data is switched off, not ill, as long as another one lives.
    """
    if snapshot is None:
        return Report(Status.DOWN, ("the feed has not started yet",))
    if snapshot.link.health is not Health.LIVE:
        reason = f"{snapshot.link.health}: {snapshot.link.error}" if snapshot.link.error else str(snapshot.link.health)
        return Report(Status.DOWN, (f"Kafka: {reason}",))
    reasons = [reason for query in snapshot.queries if (reason := _of_query(query, snapshot.at))]
    read = {stream for query in snapshot.queries for stream in query.streams}
    reasons += [
        reason
        for stream in snapshot.streams.values()
        if (stream.name in read or stream.age is not None) and (reason := _of_stream(stream))
    ]
    if all(stream.age is None for stream in snapshot.streams.values()) and not reasons:
        reasons.append("connected, but no stream has data yet")
    return Report(Status.DEGRADED if reasons else Status.OK, tuple(reasons))


def _of_query(query: QueryStatus, now: float) -> str:
    if query.state == "failed":
        return f"query {query.query} failed: {query.message or 'no message'}"
    if query.state == "stopped":
        return f"query {query.query} is stopped"
    if silent(query, now):
        return f"query {query.query} has not reported for {duration(now - query.at)}"
    return ""


def _of_stream(stream: StreamView) -> str:
    if stream.health is Health.STOPPED:
        return f"{stream.name}: no data for {duration(stream.age)}"
    if stream.health is Health.NO_DATA:
        return f"{stream.name}: no data yet"
    return ""
