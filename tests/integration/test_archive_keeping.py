"""The archive's tables while they are tidied: exact, whatever a kill cuts off, in a batch or in the tidying."""

import random
from collections.abc import Iterator

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from headwater import keeping
from headwater.settings import Settings
from jobs.sales import JOB
from tests.archives import Killed, Killer, Setup, set_up
from tests.integration.test_archive import Shop, assert_account_closes, assert_counters, assert_exact, assert_tables


@pytest.fixture
def setup(spark: SparkSession, settings: Settings) -> Iterator[Setup]:
    with set_up(spark, settings, JOB) as made:
        yield made


def tidy(setup: Setup) -> None:
    """Every table, to its present version alone."""
    assert setup.archive
    for table in setup.archive.tables():
        keeping.keep(table, 0)


@pytest.mark.timeout(600)
def test_killed_while_the_tables_are_tidied(setup: Setup, killer: Killer, monkeypatch: pytest.MonkeyPatch) -> None:
    """``records`` is tidied first, ``rejected`` second, ``totals`` third."""
    monkeypatch.setattr(keeping, "SMALL_FILES", 2)
    shop = Shop(setup.topic, random.Random(5))
    shop.send(20)
    setup.take()
    for step, nth in (("declare", 1), ("compact", 1), ("vacuum", 1), ("compact", 3)):
        start = setup.topic.ends()
        shop.send(6)
        setup.take(start)
        killer.arm_at(step, nth)
        with pytest.raises(Killed):
            tidy(setup)
        killer.arm(None)
        setup.open()
        setup.take()  # again what was counted
        try:
            assert_account_closes(setup)
            assert_tables(setup)
        except AssertionError as error:
            error.add_note(f"killed after {step} of table {nth}")
            raise
    tidy(setup)
    for name in ("records", "rejected"):
        assert len(DeltaTable(str(setup.path(name))).file_uris()) == 1
        assert len(list(setup.path(name).glob("*.parquet"))) == 1

    # Without its ledger the archive takes back the first of two appends, the second of which a kill cut off.
    shop.send(12)
    killer.arm_at("append")
    with pytest.raises(Killed):
        setup.take()
    killer.arm(None)
    setup.lose_ledger()
    setup.open()
    tidy(setup)
    setup.take()
    assert_account_closes(setup)
    assert_tables(setup)
    assert_counters(setup)
    assert_exact(setup)
