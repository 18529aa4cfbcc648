"""What Kafka deleted before it was read: found from positions, without a broker."""

from pathlib import Path

import pytest

from headwater.ledger import Batch, Ledger
from headwater.unread import Gap, Reader, UnreadError, committed, furthest, gaps, planned, require_same_topic, told


def checkpoint(folder: Path) -> Path:
    """As Spark 4.2 leaves it amid its third batch: planned, not committed."""
    (folder / "offsets").mkdir(parents=True)
    (folder / "commits").mkdir()
    about = '{"batchWatermarkMs":0,"batchTimestampMs":1795900904652,"conf":{"spark.sql.shuffle.partitions":"2"}}'
    for batch, sales, trucks in ((8, 5, 70), (9, 6, 80), (10, 7, 90)):
        lines = ["v1", about, f'{{"sales":{{"0":{sales},"1":0}}}}', f'{{"trucks":{{"0":{trucks}}}}}', "-"]
        (folder / "offsets" / str(batch)).write_text("\n".join(lines))
    for batch in (8, 9):
        (folder / "commits" / str(batch)).write_text("v1\n{}")
    (folder / "commits" / ".9.crc").write_bytes(b"crc")
    return folder


def test_a_checkpoint_tells_how_far_its_query_has_come(tmp_path: Path) -> None:
    assert committed(checkpoint(tmp_path / "archive")) == {"sales": {0: 6, 1: 0}, "trucks": {0: 80}}
    assert planned(tmp_path / "archive", 10) == {"sales": {0: 7, 1: 0}, "trucks": {0: 90}}
    assert committed(tmp_path / "nothing") == {}


def test_the_furthest_of_two_that_may_be_lost() -> None:
    assert furthest({0: 5, 1: 9}, {0: 7, 2: 1}) == {0: 7, 1: 9, 2: 1}
    assert furthest({}, {}) == {}


def test_gaps_lie_between_where_a_query_stands_and_where_the_topic_begins() -> None:
    reached = {0: 100, 1: 250, 2: 40}
    assert gaps("archive", "sales", reached, {0: 100, 1: 200, 2: 41, 3: 7}) == [Gap("archive", "sales", 2, 40, 41)]
    assert gaps("archive", "sales", {}, {0: 100}) == [], "a new start begins with what there is"


def test_gaps_are_named_by_topic_partition_and_offsets() -> None:
    found = [Gap(query, "sales", 1, 1200, 4511) for query in ("live", "archive")] + [Gap("live", "sales", 0, 7, 8)]
    assert told(found).splitlines() == [
        "  sales, partition 0: offsets 7 to 7, 1 records, unread by live",
        "  sales, partition 1: offsets 1200 to 4510, 3,311 records, unread by live, archive",
    ]


def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one() -> None:
    require_same_topic("archive", "sales", {0: 5, 1: 0}, {0: 5, 1: 0})
    with pytest.raises(UnreadError, match=r"sales, partition 0, ends at offset 4, .* up to 5: .*make reset"):
        require_same_topic("archive", "sales", {0: 5}, {0: 4})


def test_a_ledger_goes_on_behind_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "sales.db"
    ledger = Ledger(path, [])
    ledger.start_from({0: 3, 1: 0})  # the topic's first three were gone before anything was counted
    with ledger.transaction():
        ledger.finish(Batch(1, {0: 10}), {"records": 7}, None)
    ledger.start_from({0: 20, 1: 4})
    assert ledger.consumed() == {0: 10, 1: 0}, "what was counted stands"

    reader = Reader("archive", "sales", tmp_path / "none", path)
    assert reader.reached() == {0: 10, 1: 0}
    reader.skip([Gap("archive", "sales", 0, 10, 20), Gap("archive", "sales", 1, 0, 4)])
    assert ledger.consumed() == {0: 20, 1: 4}
    assert ledger.counters()["lost"] == 14

    ledger.begin({0: 30})
    with pytest.raises(UnreadError, match=r"built again from `records`"):
        reader.skip([Gap("archive", "sales", 0, 20, 25)])
    assert ledger.consumed() == {0: 20, 1: 4}
    ledger.close()


def test_what_either_of_ledger_and_checkpoint_says(tmp_path: Path) -> None:
    folder, path = checkpoint(tmp_path / "archive"), tmp_path / "sales.db"
    assert Reader("archive", "sales", folder, path).reached() == {0: 6, 1: 0}
    assert not path.exists(), "asking makes no ledger"
    ledger = Ledger(path, [])
    ledger.start_from({0: 4, 1: 2})
    ledger.close()
    assert Reader("archive", "sales", folder, path).reached() == {0: 6, 1: 2}
    assert Reader("live", "trucks", folder, None).reached() == {0: 80}
