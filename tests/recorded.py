"""Recorded data for tests: it lies beside the project, is never part of it, and may be absent."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def recorded(name: str) -> Path:
    """A recorded file by its name under the data folder; skips the test where it isn't."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no recorded data at {path}")
    return path
