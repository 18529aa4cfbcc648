"""Messages that Kafka deleted before they were read: named before a query starts, and never passed over silently.

A query knows how far it has come from its ledger and from its checkpoint, whichever says more: either may be lost. One
that has neither begins with the oldest message there is, and nothing is amiss
(``docs/decisions/0056-gone-before-it-was-read.md``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, OffsetSpec

from headwater.errors import HeadwaterError
from headwater.ledger import Ledger
from headwater.topics import partition_offsets

Offsets = dict[int, int]
"""By partition."""


log = logging.getLogger(__name__)


class UnreadError(HeadwaterError):
    """A topic lacks what a query is to read next."""


@dataclass(frozen=True)
class Reader:
    """A query that reads a topic, and where it notes how far it has come."""

    query: str
    topic: str
    checkpoint: Path
    ledger: Path | None

    def reached(self) -> Offsets:
        """By partition, the offset of the next message; none where that isn't known."""
        held = committed(self.checkpoint).get(self.topic, {})
        if self.ledger is None or not self.ledger.exists():
            return held
        with closing(Ledger(self.ledger, [])) as ledger:
            return furthest(held, ledger.consumed())

    def skip(self, unread: Sequence[Gap]) -> None:
        """Has the ledger go on behind some gaps."""
        if self.ledger is None or not self.ledger.exists():
            return
        with closing(Ledger(self.ledger, [])) as ledger:
            if ledger.pending():
                raise UnreadError(
                    f"a batch of {self.topic} was cut off, and what Kafka deleted may be part of it. Delete "
                    f"{self.ledger}, and it is built again from `records`; then accept the loss of the rest."
                )
            ledger.skip({gap.partition: gap.end for gap in unread})


@dataclass(frozen=True)
class Gap:
    """Messages of a partition from ``start`` up to ``end`` (exclusive) that a query can't read any more."""

    query: str
    topic: str
    partition: int
    start: int
    end: int


def committed(checkpoint: Path) -> dict[str, Offsets]:
    """By topic, how far a query has come as its checkpoint says: the last batch that it both planned and committed."""
    done = [int(path.name) for path in (checkpoint / "commits").glob("*") if path.name.isdigit()]
    return planned(checkpoint, max(done)) if done else {}


def planned(checkpoint: Path, batch: int) -> dict[str, Offsets]:
    """By topic, how far one of a query's batches goes."""
    found: dict[str, Offsets] = {}
    # A version, a line about the batch, then a line for each source.
    for line in (checkpoint / "offsets" / str(batch)).read_text().splitlines()[2:]:
        with suppress(ValueError, AttributeError):  # "-" stands for a source that has nothing yet
            for topic, offsets in json.loads(line).items():
                found[topic] = {int(partition): offset for partition, offset in offsets.items()}
    return found


def furthest(*positions: Mapping[int, int]) -> Offsets:
    """The greatest offset that is known of each partition."""
    reached: Offsets = {}
    for known in positions:
        reached |= {partition: max(offset, reached.get(partition, 0)) for partition, offset in known.items()}
    return reached


def gaps(query: str, topic: str, reached: Mapping[int, int], begins: Mapping[int, int]) -> list[Gap]:
    """What lies between where a query stands and where a topic begins."""
    return [
        Gap(query, topic, partition, offset, begins[partition])
        for partition, offset in sorted(reached.items())
        if partition in begins and offset < begins[partition]
    ]


def require_same_topic(query: str, topic: str, reached: Mapping[int, int], ends: Mapping[int, int]) -> None:
    """Raises where a topic ends before what was read of it: it is not the one that was read."""
    for partition, offset in sorted(reached.items()):
        if offset > ends.get(partition, 0):
            raise UnreadError(
                f"{topic}, partition {partition}, ends at offset {ends.get(partition, 0)}, and the {query} query has "
                f"read up to {offset}: the topic was made anew since. Bring the old one back, or forget what was read "
                f"of it with `make reset STREAM=...`."
            )


def told(found: Iterable[Gap]) -> str:
    """Gaps as text, a line each."""
    queries: dict[tuple[str, int, int, int], list[str]] = {}
    for gap in found:
        queries.setdefault((gap.topic, gap.partition, gap.start, gap.end), []).append(gap.query)
    return "\n".join(
        f"  {topic}, partition {partition}: offsets {start} to {end - 1}, {end - start:,} records, "
        f"unread by {', '.join(names)}"
        for (topic, partition, start, end), names in sorted(queries.items())
    )


def require_read(
    client: Mapping[str, str], readers: Sequence[Reader], *, accept_loss: bool = False
) -> dict[str, Offsets]:
    """Raises where readers' topics lack what they are to read next, and names the way out. Returns where the topics
    begin.

    ``accept_loss``: a warning instead; the ledgers move on, and remember how many messages were lost.
    """
    admin = AdminClient({**client, "log_level": "0"})
    topics = sorted({reader.topic for reader in readers})
    begins = partition_offsets(admin, topics, OffsetSpec.earliest())
    ends = partition_offsets(admin, topics, OffsetSpec.latest())
    found = []
    for reader in readers:
        reached = reader.reached()
        require_same_topic(reader.query, reader.topic, reached, ends[reader.topic])
        unread = gaps(reader.query, reader.topic, reached, begins[reader.topic])
        if unread and accept_loss:
            reader.skip(unread)
        found += unread
    if found and not accept_loss:
        raise UnreadError(
            f"Kafka has deleted records before they were read:\n{told(found)}\n"
            f"They were older, or more, than [kafka] retention_hours and retention_gb allow. To go on without them run "
            f"the same job once with `--once --accept-loss`; docs/operations.md says what that does."
        )
    if found:
        log.warning("going on without what Kafka deleted before it was read:\n%s", told(found))
    return begins
