"""What is told of a query that failed."""

import pytest

from headwater.jobs import cause

FAILED = """[FOREACH_BATCH_USER_FUNCTION_ERROR] An error occurred in the user provided function in foreach batch sink.
Traceback (most recent call last):
  File "jobs.py", line 7, in take
    batch.toArrow()
py4j.protocol.Py4JJavaError: An error occurred while calling o9.toArrow.
: org.apache.spark.SparkException: Job aborted due to stage failure
\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:1)
Caused by: java.io.IOException: No space left on device
\tat java.base/java.lang.Thread.run(Thread.java:840)
\t... 49 more

=== Streaming Query ===
Identifier: archive
"""


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (FAILED, "Caused by: java.io.IOException: No space left on device"),
        ("Traceback (most recent call last):\n  File\nValueError: no\n=== Streaming Query ===\nx", "ValueError: no"),
        ("[STREAM_FAILED] Query died\n=== Streaming Query ===\nx", "[STREAM_FAILED] Query died"),
    ],
)
def test_the_cause_of_a_failure_is_its_last_word(failure: str, told: str) -> None:
    assert cause(failure) == told
