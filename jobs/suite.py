"""All streams in one Spark driver: ``spark-submit jobs/suite.py [--once] [--queries ...]``.

``STREAMS="sales trucks"`` in the environment restricts it to some of them.
"""

import os

from headwater.errors import SettingsError
from headwater.jobs import StreamJob, main
from jobs import sales

JOBS: dict[str, StreamJob] = {job.stream.name: job for job in (sales.JOB,)}


def chosen(names: str) -> list[StreamJob]:
    """The jobs of some streams, named with blanks between; all where none is named."""
    unknown = [name for name in names.split() if name not in JOBS]
    if unknown:
        raise SettingsError(f"STREAMS names {', '.join(unknown)}; the streams are {', '.join(JOBS)}")
    return [JOBS[name] for name in names.split() or JOBS]


if __name__ == "__main__":
    main(chosen(os.environ.get("STREAMS", "")))
