"""Runs one part of the demo and never leaves it behind: `python -m headwater.guard LIMIT COMMAND...`.

The supervisor holds the other end of our standard input. Whatever happens to it, `kill -9` included,
we read the end of that pipe and stop the part; telling a watchdog afterwards would leave a gap.

A part is a session of its own, with everything it starts: spark-submit is a shell, a JVM, a Python
driver and its workers, and the workers leave their process group.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

import psutil

KILL_SECONDS = 5.0


def main() -> int:
    """Run the command until it ends, or until we are told to end it; its exit code is ours."""
    limit, command = float(sys.argv[1]), sys.argv[2:]
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    # Handlers and not SIG_IGN, which the part would inherit. Ctrl-C is the supervisor's business.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)

    part = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while part.poll() is None:
            ready, _, _ = select.select([wake, sys.stdin], [], [])
            told = wake in ready and signal.SIGTERM in os.read(wake, 64)
            if told or (sys.stdin in ready and os.read(sys.stdin.fileno(), 64) == b""):
                _ask(part.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    part.wait(limit)
                break
    finally:
        _kill(part.pid)
        code = part.wait()
    return code if code >= 0 else 128 - code


def _members(session: int) -> list[psutil.Process]:
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
    return members


def _ask(session: int) -> None:
    """Ask the innermost processes to end: a launcher ends by itself when what it launched has.

    A JVM that gets the signal together with its Python driver is gone before the driver can stop
    its queries in order.
    """
    members = _members(session)
    parents = {process.ppid() for process in members}
    for process in members:
        if process.pid not in parents:
            with contextlib.suppress(psutil.Error):
                process.terminate()


def _kill(session: int) -> None:
    """End what is left of the session; what starts in between is found in the next round."""
    deadline = time.monotonic() + KILL_SECONDS
    while (members := _members(session)) and time.monotonic() < deadline:
        for process in members:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(members, timeout=0.2)


if __name__ == "__main__":
    sys.exit(main())
