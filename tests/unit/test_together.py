"""Several streams' messages in one table: each stream's come back as its own, whatever the number of tasks."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headwater.contracts.sales import SALES
from headwater.contracts.trucks import TRUCKS
from headwater.queries import Together
from tests.unit.test_quality import messages

SOLD = [b'{"product": "TV %d", "quantity": 1, "price": 499.0}' % n for n in range(9)]
ODD = b'{"product": "TV", "quantity": 2, "price": 499.0, "colour": "red"}'
BAD = b"{"
DRIVEN = [b'{"truck_id": "t%d", "latitude": 50.5, "longitude": 8.5}' % n for n in range(7)]


@pytest.mark.parametrize(("tasks", "partitions"), [(None, 8), (3, 3)])
def test_each_streams_records_come_back_as_its_own(spark: SparkSession, tasks: int | None, partitions: int) -> None:
    streams = {SALES: messages(spark, [*SOLD, ODD, BAD]), TRUCKS: messages(spark, [*DRIVEN], TRUCKS.raw_topic)}
    columns = {SALES: {"what": F.col("product"), "n": F.col("quantity")}, TRUCKS: {"which": F.col("truck_id")}}
    together = Together(streams, columns, rejects=False, tasks=tasks)
    assert together.frame.rdd.getNumPartitions() == partitions

    rows = together.frame.toArrow()
    sales = together.rows_of(SALES, rows).to_pylist()
    assert sorted((row["what"], row["n"]) for row in sales) == [("TV", 2), *((f"TV {n}", 1) for n in range(9))]
    trucks = together.rows_of(TRUCKS, rows).to_pylist()
    assert sorted(row["which"] for row in trucks) == [f"t{n}" for n in range(7)]
