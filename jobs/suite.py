"""All streams in one Spark driver: ``spark-submit jobs/suite.py [--once] [--queries ...]``.

``STREAMS="sales trucks"`` in the environment restricts it to some of them.
"""

import os

from headwater.contracts import chosen_streams
from headwater.errors import run_main
from headwater.jobs import StreamJob, run_jobs
from jobs import aircraft, co2, events, sales, trucks

STREAM_JOBS = (aircraft.JOB, co2.JOB, events.JOB, sales.JOB, trucks.JOB)
JOBS: dict[str, StreamJob] = {job.stream.name: job for job in STREAM_JOBS}


def main() -> int:
    """Run the jobs of the chosen streams."""
    return run_jobs([JOBS[stream.name] for stream in chosen_streams(os.environ.get("STREAMS", ""))])


if __name__ == "__main__":
    run_main(main)
