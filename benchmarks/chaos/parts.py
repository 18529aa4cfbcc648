"""Processes that are kept running as systemd or compose would keep them, and never left behind.

Each runs under ``headwater.guard``, whose other end of a pipe we hold: whatever becomes of us, the guard ends its part.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from headwater.settings import REPOSITORY

RESTART_SECONDS = 2.0
"""From the end of a part to its next start."""
POLL_SECONDS = 0.1
GUARD_SECONDS = 10.0
"""What a guard needs beyond its part's own time."""


@dataclass(frozen=True)
class Part:
    """A process: its command, what it finds in its environment, and how long it may take to end."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float = 10.0


@dataclass
class _Kept:
    part: Part
    guard: subprocess.Popen[bytes] | None = None
    is_wanted: bool = True
    next_start: float = 0.0
    starts: int = 0


@dataclass
class Keeper:
    """Starts parts, and starts them again when they end, until it is closed. ``logs``: a folder, a file a part."""

    logs: Path

    def __post_init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def start(self, part: Part) -> None:
        with self._lock:
            self._kept[part.name] = _Kept(part)
            self._launch(self._kept[part.name])

    def close(self) -> None:
        """Ends every part, the last one first."""
        self._closing.set()
        self._thread.join()
        for name in reversed(list(self._kept)):
            self.stop(name)

    def stop(self, name: str) -> int | None:
        """Ends a part in order and leaves it so; its exit code."""
        self.hold(name)
        guard = self._kept[name].guard
        if guard is None:
            return None
        guard.terminate()
        try:
            code = guard.wait(self._kept[name].part.stop_seconds + GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            code = guard.wait()
        assert guard.stdin
        guard.stdin.close()
        self._kept[name].guard = None
        return code

    def hold(self, name: str) -> None:
        """From now on the part isn't started again."""
        with self._lock:
            self._kept[name].is_wanted = False

    def release(self, name: str) -> None:
        """It is again."""
        with self._lock:
            self._kept[name].is_wanted = True

    def starts(self) -> dict[str, int]:
        """How often each part was started."""
        return {name: kept.starts for name, kept in self._kept.items()}

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def members(self, name: str) -> list[psutil.Process]:
        """The processes of a part, without its guard."""
        with self._lock:
            guard = self._kept[name].guard
        if guard is None:
            return []
        found = []
        with suppress(psutil.Error):
            for leader in psutil.Process(guard.pid).children():
                for pid in psutil.pids():
                    with suppress(OSError, psutil.Error):
                        if os.getsid(pid) == leader.pid:
                            found.append(psutil.Process(pid))
        return [process for process in found if _is_alive(process)]

    def _keep(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            with self._lock:
                for kept in self._kept.values():
                    self._look_after(kept)

    def _look_after(self, kept: _Kept) -> None:
        now = time.monotonic()
        if kept.guard is not None and kept.guard.poll() is not None:
            assert kept.guard.stdin
            kept.guard.stdin.close()
            kept.guard, kept.next_start = None, now + RESTART_SECONDS
        if kept.guard is None and kept.is_wanted and now >= kept.next_start:
            self._launch(kept)

    def _launch(self, kept: _Kept) -> None:
        part = kept.part
        self.logs.mkdir(parents=True, exist_ok=True)
        kept.starts += 1
        with self.log(part.name).open("ab") as log:
            log.write(f"--- start {kept.starts}\n".encode())
            log.flush()
            kept.guard = subprocess.Popen(
                [sys.executable, "-m", "headwater.guard", str(part.stop_seconds), *part.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=dict(part.environment),
                start_new_session=True,
            )


def kill(processes: Sequence[psutil.Process]) -> None:
    """``kill -9``; returns when they are gone."""
    _send(processes, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=GUARD_SECONDS)


def freeze(processes: Sequence[psutil.Process]) -> None:
    _send(processes, signal.SIGSTOP)


def thaw(processes: Sequence[psutil.Process]) -> None:
    _send(processes, signal.SIGCONT)


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
