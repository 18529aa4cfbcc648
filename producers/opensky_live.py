"""OpenSky polled: what is new of each aircraft, at a pace that a day's credits allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random

import structlog

from headwater.contracts.aircraft import LAST_SECOND, LIVE, ProducerStatus
from headwater.settings import OpenSkySettings
from producers.opensky import is_vector, record_of
from producers.opensky_client import Answer, AnswerError, Client, RefusedError
from producers.opensky_quota import (
    ACCOUNT_CREDITS,
    ACCOUNT_RESOLUTION_S,
    ANONYMOUS_CREDITS,
    ANONYMOUS_RESOLUTION_S,
    Box,
    Quota,
    cost_of,
    parts,
)
from producers.replay import RawRecord

BACK_OFF_S, LONGEST_BACK_OFF_S = 10.0, 300.0
"""After the first failure, and after many."""

log = structlog.get_logger(__name__)


class OpenSky:
    """Polls, and keeps the account: received = sent + unchanged.

    `next_at` is when the next poll is due, in seconds since 1970. What was last heard of each aircraft is kept for as
    long as the process runs; there are some 400,000 in the world.
    """

    def __init__(
        self,
        settings: OpenSkySettings,
        client: Client | None = None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        self._client = client or Client(settings, clock)
        self._areas = parts(settings.box)
        self._clock = clock
        self._rng = rng or Random()
        has_account = self._client.has_account
        self.quota = Quota(
            size=settings.credits_a_day or (ACCOUNT_CREDITS if has_account else ANONYMOUS_CREDITS),
            poll_cost=sum(map(cost_of, self._areas)),
            resolution_s=ACCOUNT_RESOLUTION_S if has_account else ANONYMOUS_RESOLUTION_S,
        )
        self.next_at = clock()
        self.received = self.sent = self.unchanged = self.malformed = 0
        self.failures = 0
        self._error: str | None = None
        self._interval_s: float | None = None
        self._answered: int | None = None
        self._heard: dict[str, int] = {}

    def poll(self) -> Iterator[RawRecord]:
        """What is new, in the order of the answers; sets when to poll next. An error is kept, told and waited out."""
        try:
            for box in self._areas:
                yield from self._new(self._asked(box))
        except RefusedError as error:
            self.quota.refused(self._clock(), error.retry_after_s)
            self._failed(error, error.retry_after_s)
        except AnswerError as error:
            self._failed(error, None)
        else:
            self.failures, self._error = 0, None
            self._next_in(self.quota.wait_s(self._clock()))

    def status(self, reason: str | None) -> ProducerStatus:
        """What the dashboard shows; `reason` is why OpenSky is asked, where nobody said so."""
        quota = self.quota
        return ProducerStatus(
            source=LIVE,
            reason=reason,
            has_account=self._client.has_account,
            credits_left=quota.left,
            credits_a_day=quota.size,
            renewed_at=moment(quota.renewed_at) if quota.left is not None else None,
            interval_s=self._interval_s and round(self._interval_s, 1),
            next_poll=moment(self.next_at),
            last_answer=None if self._answered is None else moment(self._answered),
            last_error=self._error,
            received=self.received,
            sent=self.sent,
            unchanged=self.unchanged,
            malformed=self.malformed,
            at=moment(self._clock()),
        )

    def _asked(self, box: Box | None) -> Answer:
        """An answer; what it costs is kept, also of one that is no use."""
        try:
            answer = self._client.states(box)
        except AnswerError as error:
            if error.remaining is not None:
                self.quota.charged(self._clock(), cost_of(box), error.remaining)
            raise
        self.quota.charged(self._clock(), cost_of(box), answer.remaining)
        return answer

    def _new(self, answer: Answer) -> Iterator[RawRecord]:
        if type(answer.time) is int and 0 <= answer.time <= LAST_SECOND:
            self._answered = answer.time
        malformed = 0
        for state in answer.states:
            record = record_of(state, answer.time)
            self.received += 1
            malformed += not is_vector(state)
            if self._is_unchanged(record):
                self.unchanged += 1
            else:
                self.sent += 1
                yield record
        if malformed:
            self.malformed += malformed
            log.warning("no state vectors", of=len(answer.states), malformed=malformed)

    def _is_unchanged(self, record: RawRecord) -> bool:
        """Whether nothing was heard of an aircraft since; what has no identity is for the job to reject, each time."""
        if "event_id" not in record:
            return False
        icao24, heard = record["icao24"], record["last_contact"]
        if heard <= self._heard.get(icao24, -1):
            return True
        self._heard[icao24] = heard
        return False

    def _failed(self, error: AnswerError, retry_after_s: float | None) -> None:
        """Wait as long as was asked for, or longer from failure to failure, never in step with other clients.

        After an answer that was charged for, as long as after a good one at least.
        """
        self.failures += 1
        self._error = str(error)
        longest_s = min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(self.failures - 1, 16))
        wait_s = longest_s * self._rng.uniform(0.5, 1) if retry_after_s is None else retry_after_s
        if error.remaining is not None:
            wait_s = max(wait_s, self.quota.wait_s(self._clock()))
        self._next_in(max(wait_s, self.quota.resolution_s))
        log.warning("no answer from OpenSky", error=str(error), next_poll_in_s=round(self.next_at - self._clock(), 1))

    def _next_in(self, seconds: float) -> None:
        self._interval_s = seconds
        self.next_at = self._clock() + seconds


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)
