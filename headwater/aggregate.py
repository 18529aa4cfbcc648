"""The aggregate query: fresh figures of all streams, a second or two behind.

One union of all streams' valid records, one Spark job a trigger that works out what each brings, and a tally a stream
that adds it up in the driver and publishes the rows that changed (``docs/decisions/0004-the-aggregate-counts.md``).
Its figures are provisional: where the same event comes twice the first to *come* counts, and windows are never final;
the archive, which goes by the records as they are kept, has the last word. Of the folds it keeps those that say so.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from headwater.contracts.base import Stream
from headwater.counting import ends_of, fresh
from headwater.queries import Together
from headwater.tally import Tally, publish_all


class Aggregate:
    """Takes each micro-batch of :class:`headwater.queries.Together`."""

    def __init__(self, tallies: Mapping[Stream, Tally], together: Together) -> None:
        self._tallies = tallies
        self._together = together

    def close(self) -> None:
        for tally in self._tallies.values():
            tally.close()

    def take(self, rows: pa.Table) -> None:
        """Counts each stream's rows; those that were counted before a kill are passed by."""
        for stream, tally in self._tallies.items():
            own = fresh(self._together.rows_of(stream, rows), tally.ledger.consumed())
            if own.num_rows:
                count(tally, own)
            tally.end_keys()
        publish_all(list(self._tallies.values()))


def count(tally: Tally, rows: pa.Table) -> None:
    """Adds a batch in one transaction, and notes how far it goes."""
    with tally.ledger.transaction():
        duplicates = tally.add(rows, None)
        batch = tally.ledger.next_batch(ends_of(rows["position"]))
        counts = {"records": rows.num_rows, "duplicates": duplicates}
        tally.ledger.finish(batch, counts, pc.max(rows["at"]).as_py())
