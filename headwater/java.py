"""Finds the Java that Spark would use too."""

import os
import shutil
from pathlib import Path


def find_java() -> Path | None:
    """`JAVA_HOME` if it is set, else `PATH`, as spark-submit does it."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    return Path(found) if found else None
