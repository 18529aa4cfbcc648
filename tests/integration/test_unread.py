"""Records that a real broker deleted, before they were read and after, and ``spark-submit jobs/sales.py``."""

import shutil
import sys
from contextlib import closing

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from headwater.contracts.sales import SALES
from headwater.ledger import Ledger
from tests.suite import SUBMIT, Position, Suite

ARCHIVE = (*SUBMIT, "jobs/sales.py", "--once", "--queries", "archive")


def send(suite: Suite, partition: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": suite.bootstrap})
    for _ in range(count):
        producer.produce(SALES.raw_topic, '{"product": "TV", "quantity": 1, "price": 1}', partition=partition)
    assert producer.flush(30) == 0


def delete_before(suite: Suite, partition: int, offset: int) -> None:
    """What retention does, at once."""
    place = TopicPartition(SALES.raw_topic, partition, offset)
    admin = AdminClient({"bootstrap.servers": suite.bootstrap})
    admin.delete_records([place])[place].result(30)


def kept(suite: Suite) -> list[Position]:
    return sorted((row["partition"], row["offset"]) for row in suite.table("records"))


@pytest.mark.timeout(900)
def test_what_is_gone_is_never_passed_over_silently(suite: Suite) -> None:
    ledger = suite.settings().ledger("sales")
    send(suite, 0, 5)
    delete_before(suite, 0, 2)
    code, said = suite.run(*ARCHIVE)  # a new start: what was gone before is nobody's loss
    assert code == 0, said[-3000:]
    assert kept(suite) == [(0, 2), (0, 3), (0, 4)]
    table = DeltaTable(str(suite.settings().delta("sales", "records")))
    assert table.metadata().configuration["delta.logRetentionDuration"] == "interval 7200 seconds", "it was tidied"

    # Of partition 0 what was read is gone, and two records that were not; of the other nothing was ever sent before.
    send(suite, 0, 4)
    send(suite, 1, 3)
    delete_before(suite, 0, 7)
    delete_before(suite, 1, 1)
    code, said = suite.run(*ARCHIVE)
    assert code == 1
    assert "Traceback" not in said
    assert f"{SALES.raw_topic}, partition 0: offsets 5 to 6, 2 records, unread by archive" in said
    assert f"{SALES.raw_topic}, partition 1: offsets 0 to 0, 1 records, unread by archive" in said
    assert "--once --accept-loss" in said
    assert kept(suite) == [(0, 2), (0, 3), (0, 4)]

    code, said = suite.run(sys.executable, "jobs/sales.py", "--accept-loss")
    assert code == 2
    assert "--accept-loss goes with --once" in said

    code, said = suite.run(*ARCHIVE, "--accept-loss")
    assert code == 0, said[-3000:]
    assert "partition 0: offsets 5 to 6, 2 records" in said
    everything = [(0, 2), (0, 3), (0, 4), (0, 7), (0, 8), (1, 1), (1, 2)]
    assert kept(suite) == everything
    with closing(Ledger(ledger, [])) as counted:
        assert counted.counters()["lost"] == 3

    # All that was read is gone, and so is the checkpoint: the ledger alone knows what is new.
    delete_before(suite, 0, 9)
    delete_before(suite, 1, 3)
    send(suite, 1, 1)
    shutil.rmtree(suite.settings().checkpoint("sales", "archive"))
    code, said = suite.run(*ARCHIVE)
    assert code == 0, said[-3000:]
    assert "deleted" not in said
    assert kept(suite) == [*everything, (1, 3)]

    # And without its ledger, which is built from `records`, and then asks for the record that it lacks.
    send(suite, 1, 2)
    delete_before(suite, 1, 5)
    shutil.rmtree(suite.settings().checkpoint("sales", "archive"))
    for file in ledger.parent.glob("sales.db*"):
        file.unlink()
    code, said = suite.run(*ARCHIVE)
    assert code == 1
    assert f"{SALES.raw_topic}, partition 1: offsets 4 to 4, 1 records, unread by archive" in said
