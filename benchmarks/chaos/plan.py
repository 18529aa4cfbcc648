"""Which faults strike, in which order and for how long: pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS_A_GROUP = 45.0
"""What a group of faults is given of the run's time; a job's start is most of it."""

SPREAD_SECONDS = 5.0
"""Within so long the faults of a group strike."""

KAFKA, JOB, SUITE, DASHBOARD, SQL, PRODUCER = "kafka", "job", "suite", "dashboard", "sql", "producer"
EVERYTHING = frozenset({KAFKA, JOB, SUITE, DASHBOARD, SQL, PRODUCER})


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it touches, for how many seconds it lasts, and the ways in which it may strike."""

    name: str
    what: str
    touches: frozenset[str]
    lasts: tuple[float, float] = (0.0, 0.0)
    ways: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Fault:
    """One fault: it strikes ``after`` so many seconds in its group, and is over ``lasts`` seconds later.

    ``chance``, from 0 to 1, is for what only the run can draw: which producer, which file, which byte.
    """

    kind: str
    way: str
    after: float
    lasts: float
    chance: float


Group = tuple[Fault, ...]

# A job is killed as a whole, or one of its two halves, which must not outlive the other.
HALVES = ("all", "jvm", "python")
# Beyond the 30 seconds after which Kafka's Java clients, and the 20 after which a WebSocket's server give up.
FROZEN = (32.0, 40.0)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("kill_broker", "kill -9 the broker, and leave it down", frozenset({KAFKA}), (0, 8)),
        Kind("kill_job", "kill -9 a job, or one half of it", frozenset({JOB}), ways=HALVES),
        Kind("kill_suite", "kill -9 the suite, or one half of it", frozenset({SUITE}), ways=HALVES),
        Kind("kill_producer", "kill -9 a producer", frozenset({PRODUCER})),
        Kind("kill_dashboard", "kill -9 the dashboard", frozenset({DASHBOARD})),
        Kind("kill_sql", "kill -9 the SQL server, and leave it down", frozenset({SQL}), (2, 15)),
        Kind("fill_disk", "leave no byte on the disk of tables and checkpoints", frozenset({JOB, SUITE}), (12, 20)),
        Kind("freeze_broker", "SIGSTOP the broker past its clients' time-outs", frozenset({KAFKA}), FROZEN),
        Kind("freeze_suite", "SIGSTOP the suite past its time-outs", frozenset({SUITE}), FROZEN),
        Kind("freeze_dashboard", "SIGSTOP the dashboard past its time-outs", frozenset({DASHBOARD}), FROZEN),
        Kind("freeze_sql", "SIGSTOP the SQL server past its clients' time-outs", frozenset({SQL}), FROZEN),
        Kind(
            "disturb_kafka",
            "delay the connection to Kafka, then cut it",
            frozenset({KAFKA}),
            (15, 35),
            ("refused", "swallowed"),
        ),
        Kind("restart_everything", "kill -9 everything at once", EVERYTHING),
        Kind(
            "corrupt_checkpoint",
            "damage the newest file of a checkpoint while its job is down",
            frozenset({JOB}),
            ways=("emptied", "halved", "garbled"),
        ),
    )
}


def plan(seed: int, minutes: float, kinds: Sequence[str] = tuple(KINDS)) -> list[Group]:
    """Groups of faults, one group after the other; every kind strikes at least once.

    With little time several strike together, as long as they touch different things, and the more the less time there
    is; with much of it each strikes alone, again and again.
    """
    rng = random.Random(seed)
    room = max(1, round(minutes * 60 / SECONDS_A_GROUP))
    groups: list[list[Kind]] = []
    while len(groups) < room:
        shuffled = [KINDS[name] for name in kinds]
        rng.shuffle(shuffled)
        left = room - len(groups)
        if groups or left >= len(shuffled):
            groups += [[kind] for kind in shuffled[:left]]
        else:
            groups = _dealt(shuffled, left)
            break
    rng.shuffle(groups)
    return [tuple(sorted((_fault(kind, rng) for kind in group), key=lambda fault: fault.after)) for group in groups]


def _dealt(kinds: Sequence[Kind], room: int) -> list[list[Kind]]:
    """Kinds into ``room`` groups, or as many more as it takes for no two of a group to touch the same thing."""
    groups: list[list[Kind]] = [[] for _ in range(room)]
    for kind in sorted(kinds, key=lambda kind: -len(kind.touches)):
        free = [group for group in groups if not any(kind.touches & other.touches for other in group)]
        if free:
            min(free, key=len).append(kind)
        else:
            groups.append([kind])
    return [group for group in groups if group]


def _fault(kind: Kind, rng: random.Random) -> Fault:
    return Fault(
        kind=kind.name,
        way=rng.choice(kind.ways),
        after=round(rng.uniform(0, SPREAD_SECONDS), 1),
        lasts=round(rng.uniform(*kind.lasts), 1),
        chance=round(rng.random(), 3),
    )
