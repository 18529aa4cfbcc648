"""Local times of recorded files.

At the end of summer time an hour comes twice, and a time without an offset doesn't say which of the two it means. The
order of a source's rows does: what comes again, or begins again, is the second.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from headwater.settings import load_settings
from producers.columns import timestamp

Day = tuple[str, date]
"""A source's day on which a clock steps back."""


@dataclass
class Clock:
    """Reads one file's times in its order."""

    zone: tzinfo
    _taken: dict[tuple[str, datetime], set[int]] = field(default_factory=lambda: defaultdict(set))
    _latest: dict[Day, datetime] = field(default_factory=dict)
    _stepped_back: set[Day] = field(default_factory=set)

    @classmethod
    def utc(cls) -> Clock:
        """For files whose format says that its times are UTC."""
        return cls(UTC)

    def time(self, source: str, text: str) -> datetime | str:
        """A time of a source as UTC: ISO 8601, in this zone where it names no offset, or since 1970; else the text.

        Within the hour that a spring leaves out it is taken as by a clock that hasn't been put forward yet.
        """
        when = timestamp(text)
        if not isinstance(when, datetime):
            return text
        try:
            if when.tzinfo is None:
                when = when.replace(tzinfo=self.zone)
                again = _again(when)
                when = when.replace(fold=self._fold(source, when.replace(tzinfo=None), again)) if again else when
            return when.astimezone(UTC)
        except OverflowError:  # next to the first and the last year
            return text

    def _fold(self, source: str, local: datetime, again: timedelta) -> int:
        """0 for the first time that this local time comes, 1 for the second; once back, it has been the first before.

        A step back counts from a quarter of the hour on: less is a row out of order.
        """
        day = source, local.date()
        if local <= self._latest.get(day, local) - again / 4:
            self._stepped_back.add(day)
        self._latest[day] = local
        expected = int(day in self._stepped_back)
        taken = self._taken[source, local]
        fold = 1 - expected if expected in taken and 1 - expected not in taken else expected
        taken.add(fold)
        return fold


def _again(when: datetime) -> timedelta:
    """By how much the clock steps back over this local time; zero at all other times."""
    first, second = when.replace(fold=0).utcoffset(), when.replace(fold=1).utcoffset()
    return max(first - second, timedelta()) if first is not None and second is not None else timedelta()


def clock_of_settings() -> Clock:
    """A clock in the zone that the settings name."""
    return Clock(ZoneInfo(load_settings().co2.zone))
