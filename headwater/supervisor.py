"""Starts parts, awaits their health, watches them, and stops them in order.

A part that dies ends the whole: a demo that runs on without its jobs shows old figures, and says
nothing.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from headwater.display import Display
from headwater.errors import HeadwaterError
from headwater.settings import REPOSITORY

POLL_SECONDS = 0.1
LOG_TAIL_LINES = 20
LOG_BYTES = 16 * 1024 * 1024
# Of a part's log; what is older goes to `.log.1`, and what was there before it is forgotten.
# Beyond a part's own limit the guard needs a moment to kill and to end itself.
GUARD_SECONDS = 10.0


class PartError(HeadwaterError):
    """A part died or did not come up."""


class Stopped(Exception):  # noqa: N818 - it is a request, not an error
    """Ctrl-C, or a signal that asks the supervisor to end."""


@dataclass(frozen=True)
class Part:
    """One process of the whole, what tells that it works, and how long that and its end may take."""

    name: str
    command: Sequence[str | Path]
    ready: Callable[[], bool]
    log: Path
    start_seconds: float = 120.0
    stop_seconds: float = 10.0


class Supervisor:
    """Runs parts in groups; as a context manager it stops all of them, the last group first."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._groups: list[list[tuple[Part, subprocess.Popen[bytes]]]] = []
        self._stop = threading.Event()
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Supervisor":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stop_all()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        return isinstance(error, Stopped)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()

    def start(self, *parts: Part) -> None:
        """Start a group of parts; the groups are stopped in reverse."""
        group: list[tuple[Part, subprocess.Popen[bytes]]] = []
        self._groups.append(group)
        for part in parts:
            group.append((part, self._launch(part)))

    def await_ready(self, *parts: Part) -> None:
        """Return when every one of these parts works."""
        started = time.monotonic()
        waiting = list(parts)
        while waiting:
            for part in list(waiting):
                if part.ready():
                    waiting.remove(part)
                    self._display.ready(part.name)
                elif time.monotonic() - started > part.start_seconds:
                    raise PartError(f"{part.name} did not come up in {part.start_seconds:.0f} s.\n{_tail(part.log)}")
            self.pause()

    def pause(self) -> None:
        """Let a moment pass; raise when a part has died or we are asked to stop."""
        self._check()
        self._stop.wait(POLL_SECONDS)

    def watch(self) -> NoReturn:
        """Return never: raise when a part dies, or when we are asked to stop."""
        while True:
            self.pause()

    def _launch(self, part: Part) -> subprocess.Popen[bytes]:
        part.log.parent.mkdir(parents=True, exist_ok=True)
        if part.log.exists():
            part.log.replace(part.log.with_suffix(".log.1"))
        with part.log.open("ab") as log:  # appending: a part goes on at the end, wherever that is
            guard = subprocess.Popen(
                [sys.executable, "-m", "headwater.guard", str(part.stop_seconds), *part.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        self._display.starting(part.name)
        return guard

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped
        for part, guard in chain.from_iterable(self._groups):
            if (code := guard.poll()) is not None:
                self._display.died(part.name)
                raise PartError(f"{part.name} died with exit code {code}.\n{_tail(part.log)}")
            _bound(part.log)

    def _stop_all(self) -> None:
        """What others need was started first, so the groups end in reverse, each in its own order."""
        for part, guard in chain.from_iterable(reversed(self._groups)):
            if guard.poll() is None:
                self._display.stopping(part.name)
                guard.terminate()
                try:
                    guard.wait(part.stop_seconds + GUARD_SECONDS)
                except subprocess.TimeoutExpired:
                    guard.kill()
                    guard.wait()
                self._display.stopped(part.name)
            if guard.stdin is not None:
                guard.stdin.close()
        self._groups.clear()


def _bound(log: Path) -> None:
    """Starts a log anew that has grown long. As logrotate's ``copytruncate``: its writers keep it open."""
    with contextlib.suppress(FileNotFoundError):  # somebody has tidied up
        if log.stat().st_size > LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    shown = "\n".join(f"  | {line}" for line in lines[-LOG_TAIL_LINES:])
    return f"Its log ends with\n{shown}\n(the whole log: {log})" if shown else f"Its log is empty: {log}"
