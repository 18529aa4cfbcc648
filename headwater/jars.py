"""Fetches the jars of a jgo lock into a folder, each checked against the lock's SHA-256.

`jgo sync` resolves anew and writes what it finds into the lock; a lock is only worth its name if
what it says is what is installed, so jgo downloads here and the lock decides.
"""

import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.env import LockFile
from jgo.env._lockfile import LockedDependency, compute_sha256
from jgo.maven import MavenContext

from headwater.errors import HeadwaterError, run_main

TIMEOUT_SECONDS = 60


def fetch(lock: Path, folder: Path, context: MavenContext | None = None) -> list[Path]:
    """Put every jar of `lock` into `folder`, by hard link from the Maven cache where possible.

    Jars that an earlier lock put there and this one doesn't name are taken out again; what others
    put there (Spark's own jars) stays.
    """
    context = context or MavenContext(timeout=TIMEOUT_SECONDS)
    with ThreadPoolExecutor(max_workers=8) as pool:
        sources = list(pool.map(_verified(context), LockFile.load(lock).dependencies))

    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "headwater-jars.txt"
    if manifest.exists():
        for name in manifest.read_text().splitlines():
            (folder / name).unlink(missing_ok=True)
    manifest.write_text("".join(f"{source.name}\n" for source in sources))
    for source in sources:
        _place(source, folder / source.name)
    return sources


def _verified(context: MavenContext) -> Callable[[LockedDependency], Path]:
    def resolve(locked: LockedDependency) -> Path:
        component = context.project(locked.groupId, locked.artifactId).at_version(locked.version)
        artifact = component.artifact(locked.classifier or "", locked.packaging)
        # An interrupted download stays in the Maven cache under its final name: look twice.
        for _ in range(2):
            try:
                path = artifact.resolve()
            except (RuntimeError, OSError) as error:
                raise HeadwaterError(f"cannot download {artifact}: {error}") from error
            if (found := compute_sha256(path)) == locked.sha256:
                return path
            path.unlink()
        raise HeadwaterError(f"{artifact}: expected SHA-256 {locked.sha256}, got {found}; it was not installed")

    return resolve


def _place(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def main() -> int:
    """Fetch the lock named first into the folder named second."""
    lock, folder = map(Path, sys.argv[1:])
    fetch(lock, folder)
    return 0


if __name__ == "__main__":
    run_main(main)
