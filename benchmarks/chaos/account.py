"""The account: by topic, partition and offset every record in ``records`` or ``rejected``, once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Place = tuple[int, int]
"""Partition and offset."""

Told = tuple[Place, str]
"""Where an acknowledged record stands, and its ``event_id``."""


@dataclass(frozen=True)
class Account:
    """How one stream's account closes. The lists name what is wrong; empty ones are the proof."""

    consumed: int
    records: int
    rejected: int
    unread: list[Told]
    """Acknowledged, and not in the topic where the producer was told, or not as itself."""
    lost: list[Place]
    """In the topic and in neither table."""
    doubled: list[Place]
    """More than once in the tables."""
    invented: list[Place]
    """In a table and not in the topic."""
    misplaced: list[Place]
    """A good record in ``rejected``, or a damaged one in ``records``, or one under another's place."""
    missing: list[str]
    """Acknowledged ``event_id`` that no table holds."""

    @property
    def is_closed(self) -> bool:
        return not (self.unread or self.lost or self.doubled or self.invented or self.misplaced or self.missing)


def account(
    acknowledged: Iterable[Told],
    consumed: Mapping[Place, str],
    records: Sequence[Told],
    rejected: Sequence[Told],
    bad: str,
) -> Account:
    """``consumed``: the topic as it is, by place its ``event_id``. ``bad``: how the id of a damaged record ends."""
    told = list(acknowledged)
    held = Counter(place for place, _ in (*records, *rejected))
    names = {name for _, name in (*records, *rejected)}
    sorted_wrong = [
        place
        for rows, is_bad in ((records, False), (rejected, True))
        for place, name in rows
        if name.endswith(bad) != is_bad or consumed.get(place, name) != name
    ]
    return Account(
        consumed=len(consumed),
        records=len(records),
        rejected=len(rejected),
        unread=[(place, name) for place, name in told if consumed.get(place) != name],
        lost=sorted(consumed.keys() - held.keys()),
        doubled=sorted(place for place, times in held.items() if times > 1),
        invented=sorted(held.keys() - consumed.keys()),
        misplaced=sorted(sorted_wrong),
        missing=sorted({name for _, name in told} - names),
    )
