"""How the aggregate and the archive grow with keys and partitions: the same records, spread over more of them.

    python -m benchmarks growth

A query's batches are of a size that is fixed here, so that a batch's time can be told as well as the rate. How the
suite grows with its rate is what ``benchmarks.latency`` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.figures import MINUS, Table, percent, say
from benchmarks.ground import ground, in_process, produce
from benchmarks.throughput import AGGREGATE, ARCHIVE, LIMIT, Bench, Outcome, Sizes, in_turn
from headwater.settings import load_settings
from jobs.suite import JOBS

SHOWN = (LIMIT, AGGREGATE, ARCHIVE)


@dataclass(frozen=True)
class Step:
    """One size of one thing."""

    what: str
    stream: str
    size: int
    partitions: int = 4
    environment: Mapping[str, str] = field(default_factory=dict)

    def record(self, number: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """A simulated record as this step sends it."""
        return {**record, "product": f"product {number % self.size}"} if self.what == "products" else record


def trucks(size: int) -> Step:
    return Step("trucks", "trucks", size, environment={"HEADWATER_TRUCKS_FLEET": f"{size}"})


STEPS = (
    *(Step("products", "sales", size) for size in (10, 1_000, 100_000)),
    *(trucks(size) for size in (12, 200, 2_000)),
    *(Step("partitions", "sales", size, partitions=size) for size in (1, 2, 4, 8)),
)
QUICK_STEPS = (Step("products", "sales", 10), trucks(200), Step("partitions", "sales", 2, partitions=2))


def measured(steps: Sequence[Step], records: int, batch: int, tell: Callable[[Table], None]) -> None:
    """One table of all steps, told at the end."""
    table = Table(
        f"growth: {records:,} records, batches of {batch:,}",
        ("what", "size", "query", "records/s", "of the limit", "ms a batch", "CPU s a million records"),
    )
    for step in steps:
        say(f"{step.size:,} {step.what}")
        limits = {"HEADWATER_JOBS_MAX_OFFSETS_PER_TRIGGER": f"{batch}", **step.environment}
        stream = JOBS[step.stream].stream
        with ground([stream], step.partitions, **limits) as (settings, bootstrap):
            produce(settings, bootstrap, stream, records, step.record)
            found = in_process(measured_step, bootstrap, step, records)
        for name, outcome in found.items():
            table.add(
                step.what,
                f"{step.size:,}",
                name,
                f"{outcome.rate:,.0f}",
                percent(outcome.rate, found[LIMIT].rate),
                f"{1e3 * median(outcome.batches):,.0f}" if outcome.batches else MINUS,
                f"{outcome.cpu_a_million:,.1f}",
            )
    tell(table)


def measured_step(bootstrap: str, step: Step, records: int) -> dict[str, Outcome]:
    """The second run of each query."""
    sizes = Sizes(records=records, runs=1, partitions=step.partitions)
    contenders = Bench(load_settings(), bootstrap, JOBS[step.stream], sizes).contenders()
    found = in_turn({name: contenders[name] for name in SHOWN}, sizes.runs)
    return {name: outcomes[0] for name, outcomes in found.items()}
