"""What each fault does to a stage: it strikes, is kept up, and is over when :meth:`Strike.ended` says so."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.chaos import disk
from benchmarks.chaos.parts import freeze, kill, thaw
from benchmarks.chaos.plan import Fault
from benchmarks.chaos.stage import JOB, SUITE, Stage, producer_name

DELAY_SECONDS = (0.1, 0.8)
DELAYED_SHARE = 0.4
"""Of the time that the connection is disturbed; then it is cut."""

DAMAGE = re.compile(r"the checkpoint (?P<folder>/\S+) is damaged")
"""The error that a job is to end with: ``headwater.checkpoints``."""


class ChaosError(Exception):
    """The suite didn't do what it must, or the run itself can't go on."""


def _nothing() -> None: ...


@dataclass
class Strike:
    """A fault as it is carried out. ``mend`` ends it, ``is_over`` is asked from then on until it says so."""

    fault: Fault
    told: str
    mend: Callable[[], None] = _nothing
    keep: Callable[[float], None] = field(default=lambda _share: None)
    """Called again and again while it lasts, with the share of its time that has passed."""
    is_over: Callable[[], bool] = field(default=lambda: True)


def strike(fault: Fault, stage: Stage) -> Strike:  # noqa: PLR0911 - a table of what is called what
    """Carries a fault out."""
    what, _, part = fault.kind.partition("_")
    match what, part:
        case "kill", "producer":
            stream = stage.streams[int(fault.chance * len(stage.streams))]
            return _killed(fault, stage, producer_name(stream))
        case "kill", _:
            return _killed(fault, stage, part)
        case "freeze", _:
            return _frozen(fault, stage, part)
        case "fill", _:
            return _filled(fault, stage)
        case "disturb", _:
            return _disturbed(fault, stage)
        case "restart", _:
            return _restarted(fault, stage)
        case "corrupt", _:
            return _corrupted(fault, stage)
    raise ChaosError(f"no fault is called {fault.kind}")


def _killed(fault: Fault, stage: Stage, name: str) -> Strike:
    stage.keeper.hold(name)
    processes = stage.halves(name)[fault.way] if fault.way else stage.processes(name)
    kill(processes)
    told = f"kill -9 {name} ({', '.join(filter(None, [fault.way, counted(processes)]))})"
    return Strike(fault, told, mend=lambda: stage.keeper.release(name))


def _frozen(fault: Fault, stage: Stage, name: str) -> Strike:
    processes = stage.processes(name)
    freeze(processes)
    return Strike(fault, f"SIGSTOP {name} ({counted(processes)})", mend=lambda: thaw(processes))


def counted(processes: Sequence[psutil.Process]) -> str:
    return f"{len(processes)} process{'es' if len(processes) != 1 else ''}"


def _filled(fault: Fault, stage: Stage) -> Strike:
    disk.fill(stage.home)
    return Strike(
        fault,
        f"{stage.home} is full",
        keep=lambda _share: disk.fill(stage.home),  # what others delete must not make room
        mend=lambda: disk.empty(stage.home),
    )


def _disturbed(fault: Fault, stage: Stage) -> Strike:
    first, last = DELAY_SECONDS
    delay = first + fault.chance * (last - first)
    stage.proxy.delay(delay)
    cuts = iter([stage.proxy.refuse if fault.way == "refused" else stage.proxy.swallow])

    def keep(share: float) -> None:
        if share >= DELAYED_SHARE:
            next(cuts, _nothing)()

    return Strike(fault, f"Kafka {delay:.2f} s away, then {fault.way}", keep=keep, mend=stage.proxy.mend)


def _restarted(fault: Fault, stage: Stage) -> Strike:
    for name in stage.names():
        kill(stage.processes(name))
    return Strike(fault, "kill -9 of every part")


# --- a damaged checkpoint


def _corrupted(fault: Fault, stage: Stage) -> Strike:
    """Does to a stopped job's checkpoint what a power cut may do, and then what docs/operations.md says."""
    name = JOB if JOB in stage.drivers else SUITE
    stage.keeper.hold(name)
    kill(stage.processes(name))
    file = _newest(_checkpoints(stage, name), fault.chance)
    log = stage.keeper.log(name)
    read_from = log.stat().st_size
    if file is not None:
        damage(file, fault.way)
    stage.keeper.release(name)

    def is_over() -> bool:
        """When the job has said which folder to delete, and it is deleted."""
        if file is None:
            return True
        said = DAMAGE.search(log.read_bytes()[read_from:].decode(errors="replace"))
        if said is None:
            return False
        folder = Path(said["folder"])
        if not file.is_relative_to(folder):
            raise ChaosError(f"{file} was damaged, and the job says that {folder} is")
        stage.keeper.hold(name)
        shutil.rmtree(folder)
        stage.keeper.release(name)
        return True

    told = f"{file.relative_to(stage.home)} {fault.way}" if file else "there was no checkpoint yet"
    return Strike(fault, told, is_over=is_over)


def _checkpoints(stage: Stage, name: str) -> list[Path]:
    """The folders in which a driver keeps its checkpoints: what it shares, and each stream's live one."""
    streams = [stream.name for stream in stage.drivers[name]]
    return sorted({stage.settings.checkpoint(of, "live").parent for of in ("+".join(sorted(streams)), *streams)})


def _newest(checkpoints: list[Path], chance: float) -> Path | None:
    """The last file that one of the queries wrote, of its offsets or its commits."""
    folders = sorted(path for of in checkpoints for kind in ("offsets", "commits") for path in of.glob(f"*/{kind}"))
    held = [[file for file in folder.iterdir() if file.name.isdigit()] for folder in folders]
    newest = [max(files, key=lambda file: int(file.name)) for files in held if files]
    return newest[int(chance * len(newest))] if newest else None


def damage(file: Path, way: str) -> None:
    """What is found after a power cut: nothing, a part, or a part and rubbish."""
    whole = file.read_bytes()
    kept = whole[: len(whole) // 2]
    file.write_bytes({"emptied": b"", "halved": kept, "garbled": kept + b"\0" * len(kept)}[way])
