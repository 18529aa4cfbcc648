"""The supervisor with small parts: they die, they hang, they are orphaned, and nothing is left."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from headwater.display import Display
from headwater.settings import REPOSITORY
from headwater.supervisor import Part, PartError, Supervisor


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """A word in the command line of every part, to find what is left of them."""
    word = f"mark-{tmp_path.name}-{os.getpid()}"
    yield word
    for process in left(word):
        process.kill()


def left(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if mark in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.fixture
def display() -> Display:
    return Display(Console(file=StringIO()))


def part(tmp_path: Path, mark: str, name: str, script: str, stop_seconds: float = 5) -> Part:
    """A part that is ready when its script has written the file READY names."""
    ready = tmp_path / f"{name}.ready"
    lines = f"import pathlib, signal, sys, time\nREADY = pathlib.Path({str(ready)!r})\n{textwrap.dedent(script)}"
    command = [sys.executable, "-c", lines, mark]
    return Part(name, command, ready.exists, tmp_path / f"{name}.log", start_seconds=20, stop_seconds=stop_seconds)


def start(supervisor: Supervisor, *parts: Part) -> None:
    supervisor.start(*parts)
    supervisor.await_ready(*parts)


SLEEPER = "READY.touch(); time.sleep(600)"


def test_parts_start_and_stop_in_order(tmp_path: Path, mark: str, display: Display) -> None:
    with Supervisor(display) as supervisor:
        start(supervisor, part(tmp_path, mark, "broker", SLEEPER))
        start(supervisor, part(tmp_path, mark, "producer", SLEEPER), part(tmp_path, mark, "jobs", SLEEPER))
        assert len(left(mark)) == 6  # each with its guard
    assert left(mark) == []

    assert isinstance(display.console.file, StringIO)
    said = display.console.file.getvalue().splitlines()
    assert said[0] == "broker: starting"
    assert [line for line in said if "stopp" in line] == [
        f"{name}: {state}" for name in ("producer", "jobs", "broker") for state in ("stopping", "stopped")
    ]


def test_a_part_that_dies_is_named_with_its_log_and_the_rest_stopped(tmp_path, mark, display) -> None:
    script = "READY.touch(); time.sleep(1); print('cannot go on', flush=True); sys.exit(3)"
    with pytest.raises(PartError) as error, Supervisor(display) as supervisor:
        start(supervisor, part(tmp_path, mark, "steady", SLEEPER), part(tmp_path, mark, "weak", script))
        supervisor.watch()
    assert str(error.value).startswith("weak died with exit code 3.\nIts log ends with\n  | cannot go on\n")
    assert left(mark) == []


def test_a_part_that_dies_before_it_is_ready(tmp_path, mark, display) -> None:
    with pytest.raises(PartError, match="no such module"), Supervisor(display) as supervisor:
        start(supervisor, part(tmp_path, mark, "broken", "raise SystemExit('no such module')"))


def test_a_part_that_does_not_come_up(tmp_path, mark, display) -> None:
    slow = part(tmp_path, mark, "slow", "time.sleep(600)")
    slow = Part(slow.name, slow.command, slow.ready, slow.log, start_seconds=0.5)
    with pytest.raises(PartError, match="slow did not come up"), Supervisor(display) as supervisor:
        start(supervisor, slow)
    assert left(mark) == []


def test_a_part_that_does_not_listen_is_killed(tmp_path, mark, display) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); READY.touch(); time.sleep(600)"
    with Supervisor(display) as supervisor:
        start(supervisor, part(tmp_path, mark, "deaf", script, stop_seconds=0.5))
    assert left(mark) == []


def test_the_innermost_process_is_asked_first(tmp_path, mark, display) -> None:
    """A launcher that gets the signal too would take the driver's ground away under it."""
    inner = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('in order')); time.sleep(600)"
    outer = f"""
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", {inner!r}, sys.argv[1]])
        READY.touch()
        child.wait()
        print("the launcher saw it end", flush=True)
    """
    launcher = part(tmp_path, mark, "launcher", outer)
    with Supervisor(display) as supervisor:
        start(supervisor, launcher)
        assert eventually(lambda: len(left(mark)) == 3)
        time.sleep(0.3)
    assert launcher.log.read_text() == "in order\nthe launcher saw it end\n"


# --- the supervisor as a process of its own ---

SUPERVISOR = """
import sys
from pathlib import Path
from rich.console import Console
from headwater.display import Display
from headwater.errors import run_main
from headwater.supervisor import Part, Supervisor

folder, mark, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def main():
    with Supervisor(Display(Console())) as supervisor:
        parts = [
            Part(name, [sys.executable, "-c", script, str(folder / name), mark], (folder / name).exists,
                 folder / f"{name}.log", start_seconds=20, stop_seconds=1)
            for name in ("one", "two")
        ]
        supervisor.start(*parts)
        supervisor.await_ready(*parts)
        supervisor.watch()
    return 0

run_main(main)
"""
# Its worker leaves the process group and outlives its parent, as PySpark's do.
WITH_WORKER = """
import os, pathlib, subprocess, sys, time
work = "import os, time; os.setpgid(0, 0); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", work, sys.argv[2]])
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


@pytest.fixture
def supervised(tmp_path: Path, mark: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path), mark, WITH_WORKER],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert eventually(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
    assert eventually(lambda: len(left(mark)) == 7)  # the supervisor; twice a guard, a part and its worker
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all(supervised, mark: str, number: signal.Signals) -> None:
    supervised.send_signal(number)
    said, _ = supervised.communicate(timeout=30)
    assert supervised.returncode == 0, said
    assert "Traceback" not in said
    assert left(mark) == []


def test_kill_9_of_the_supervisor_leaves_no_process(supervised, mark: str) -> None:
    supervised.kill()
    assert eventually(lambda: left(mark) == []), left(mark)


def test_a_part_killed_from_outside_ends_the_whole(supervised, mark: str, tmp_path: Path) -> None:
    victim = next(p for p in left(mark) if p.cmdline()[1:2] == ["-c"] and str(tmp_path / "one") in p.cmdline())
    victim.kill()
    said, _ = supervised.communicate(timeout=30)
    assert supervised.returncode == 1
    assert "error: one died with exit code 137" in said
    assert left(mark) == []


def test_a_log_that_grows_long_starts_anew(
    tmp_path: Path, mark: str, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.supervisor.LOG_BYTES", 20_000)
    talker = part(
        tmp_path, mark, "talker",
        """
        READY.touch()
        for number in range(10**9):
            print(f"line {number:09}", flush=True)
            time.sleep(0.0002)
        """,
    )  # fmt: skip
    log, before = talker.log, talker.log.with_suffix(".log.1")
    deadline = time.monotonic() + 60
    with Supervisor(display) as supervisor:
        start(supervisor, talker)
        while not (before.exists() and before.read_text()[:14] > "line 000003000"):
            supervisor.pause()
            assert time.monotonic() < deadline
    assert log.read_bytes()[:5] == b"line ", "no hole where the older lines were"
    assert log.stat().st_size + before.stat().st_size < 20_000 * 10
