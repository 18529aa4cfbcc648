"""The environment of Quix Streams, beside the project's own: its confluent-kafka and pydantic are older ones."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from headwater.errors import HeadwaterError
from headwater.settings import REPOSITORY
from headwater.setup_env import NETWORK_HINT

VENV = REPOSITORY / ".venv-quix"
LOCK = Path(__file__).with_name("requirements.lock")


def quix_python() -> Path:
    """Its Python; made at the first time and whenever its lock has changed."""
    python, stamp = VENV / "bin" / "python", VENV / "lock"
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text() == key):
        uv = Path(sys.executable).with_name("uv")
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV)
        _run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", LOCK)
        stamp.write_text(key)
    return python


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HeadwaterError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}\n{NETWORK_HINT}")
