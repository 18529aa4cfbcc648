"""Alarms that don't flap: what was found, and since when it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Level(StrEnum):
    """Whether something doesn't move that should, or moves and deserves a look."""

    FAULT = "fault"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found wrong just now, or measured against its limit: then it is wrong above it, and right again below
    a share of it. What is wrong without a measure is right again when it isn't found any more.
    """

    kind: str
    subject: str
    streams: tuple[str, ...]
    text: str
    level: Level = Level.FAULT
    value: float = 1.0
    limit: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.value > self.limit


@dataclass(frozen=True, slots=True)
class Alarm:
    """A finding that stands."""

    kind: str
    subject: str
    streams: tuple[str, ...]
    text: str
    level: Level
    since: float


def raised(finding: Finding, since: float) -> Alarm:
    """The alarm that a finding is."""
    return Alarm(finding.kind, finding.subject, finding.streams, finding.text, finding.level, since)


class Alarms:
    """Those that stand. One is raised at once; it ends when its value has been below ``end_share`` of its limit for
    ``end_seconds``, or at once where it had no value.
    """

    def __init__(self, end_share: float, end_seconds: float) -> None:
        self._end_share = end_share
        self._end_seconds = end_seconds
        self._standing: dict[tuple[str, str], Alarm] = {}
        self._calm_since: dict[tuple[str, str], float] = {}

    def update(self, now: float, findings: Iterable[Finding]) -> tuple[Alarm, ...]:
        """What stands now, the oldest first."""
        found = {(finding.kind, finding.subject): finding for finding in findings}
        standing = {}
        for place, finding in found.items():
            alarm = self._standing.get(place)
            if finding.is_over:
                self._calm_since.pop(place, None)
                standing[place] = raised(finding, alarm.since if alarm else now)
            elif alarm and not self._is_over(place, finding, now):
                standing[place] = replace(alarm, text=finding.text, streams=finding.streams)
        self._standing = standing
        self._calm_since = {place: since for place, since in self._calm_since.items() if place in standing}
        return tuple(sorted(standing.values(), key=lambda alarm: (alarm.since, alarm.kind, alarm.subject)))

    def _is_over(self, place: tuple[str, str], finding: Finding, now: float) -> bool:
        """Whether an alarm ends: its value has been low for long enough."""
        if finding.value > finding.limit * self._end_share:
            self._calm_since.pop(place, None)
            return False
        return now - self._calm_since.setdefault(place, now) >= self._end_seconds
