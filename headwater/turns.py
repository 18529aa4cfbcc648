"""Which of two queries that write the same rows comes last: the one whose rows are exact.

A plain reader of the processed topic takes the last value of a key, and the aggregate's is provisional. So the archive
takes no batch before the aggregate has committed all that is in it, as their checkpoints say: nothing that the
aggregate has yet to publish can then be about those records
(``docs/decisions/0005-who-wins-in-the-processed-topic.md``).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.unread import Offsets, committed, planned

LOOK_SECONDS = 0.1


class TurnError(Exception):
    """The job is to stop while a batch waits: the next start takes it. No failure of the query."""


@dataclass(frozen=True)
class Turns:
    """``first``, ``then``: the queries' checkpoints; ``stop``: set when the job is to end."""

    first: Path
    then: Path
    stop: threading.Event

    def wait(self, batch: int) -> None:
        """Returns when the first query has committed all that this batch of the other one holds.

        Raises TurnError when the job is to stop before.
        """
        wanted = planned(self.then, batch)
        while not covers(committed(self.first), wanted):
            if self.stop.wait(LOOK_SECONDS):
                raise TurnError(f"batch {batch} waits for what {self.first} has not reached yet")


def covers(reached: Mapping[str, Offsets], wanted: Mapping[str, Offsets]) -> bool:
    """Whether a position is before no part of another. An offset that isn't known is 0."""
    return all(
        reached.get(topic, {}).get(partition, 0) >= end
        for topic, ends in wanted.items()
        for partition, end in ends.items()
    )
