"""Parts that are kept running, and that nothing leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.chaos.parts import Keeper, Part, freeze, kill, thaw
from headwater.settings import REPOSITORY

PATIENCE = 20.0
SLEEPER = Part("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ, stop_seconds=1)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path / "log")
    yield made
    made.close()


def test_what_is_killed_is_started_again_unless_it_is_held(keeper: Keeper) -> None:
    keeper.start(SLEEPER)
    eventually(lambda: bool(keeper.members("sleeper")))
    (first,) = keeper.members("sleeper")
    kill([first])
    eventually(lambda: bool(keeper.members("sleeper")))
    (second,) = keeper.members("sleeper")
    assert second.pid != first.pid
    assert keeper.starts() == {"sleeper": 2}

    keeper.hold("sleeper")
    kill([second])
    eventually(lambda: keeper.log("sleeper").read_text().count("--- start") == 2 and not keeper.members("sleeper"))
    keeper.release("sleeper")
    eventually(lambda: bool(keeper.members("sleeper")))
    assert keeper.starts() == {"sleeper": 3}


def test_what_is_frozen_stands_still_and_is_ended_all_the_same(keeper: Keeper) -> None:
    keeper.start(SLEEPER)
    eventually(lambda: bool(keeper.members("sleeper")))
    (process,) = keeper.members("sleeper")
    freeze([process])
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    thaw([process])
    eventually(lambda: process.status() != psutil.STATUS_STOPPED)
    freeze([process])
    keeper.stop("sleeper")
    eventually(lambda: not process.is_running())
    assert keeper.members("sleeper") == []


def test_a_keeper_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from benchmarks.chaos.parts import Keeper, Part\n"
        "keeper = Keeper(Path(sys.argv[1]))\n"
        "keeper.start(Part('sleeper', ['sleep', '600'], os.environ, 1))\n"
        "while not keeper.members('sleeper'): time.sleep(0.05)\n"
        "print(keeper.members('sleeper')[0].pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as run:
        assert run.stdout
        part = psutil.Process(int(run.stdout.readline()))
        run.send_signal(signal.SIGKILL)
    eventually(lambda: not part.is_running() or part.status() == psutil.STATUS_ZOMBIE)
