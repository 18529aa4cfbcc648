"""What processes use: processor time and memory, of each with all its children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """Processor seconds so far; memory as it is now. PSS shares a page among those who map it; None: not told here."""

    cpu_seconds: float = 0.0
    rss_mb: float = 0.0
    pss_mb: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        known = self.pss_mb is not None and other.pss_mb is not None
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.rss_mb + other.rss_mb,
            (self.pss_mb or 0) + (other.pss_mb or 0) if known else None,
        )


def cpu_of(process: psutil.Process) -> float:
    """User and system seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started; nothing where it has ended."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def own_cpu() -> float:
    """Of this process and its children, Spark's JVM above all."""
    return sum(cpu_of(process) for process in family(psutil.Process().pid))


def usage(parts: Mapping[str, int]) -> dict[str, Usage]:
    """Of each part, given by the process that leads it."""
    return {name: total(family(pid)) for name, pid in parts.items()}


def total(processes: Iterable[psutil.Process]) -> Usage:
    """Of some processes; one that ends meanwhile counts for nothing."""
    found = Usage()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            pss = getattr(memory, "pss", None)
            found += Usage(cpu_of(process), memory.rss / 2**20, None if pss is None else pss / 2**20)
    return found


def browser_processes() -> list[psutil.Process]:
    """Chromium's, where this process drives one."""
    found = []
    for process in family(psutil.Process().pid):
        with suppress(psutil.NoSuchProcess):
            if "chrom" in process.name():
                found.append(process)
    return found
