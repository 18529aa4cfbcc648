"""A small disk for a run, in a mount namespace of its own: it is gone with the run's last process, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PLACE = "CHAOS_DISK"
"""The environment variable that tells a run in its own namespace where its disk is; empty: there is none."""

MOUNT = 'mount -t tmpfs -o "size=$0,mode=0755,uid=$2,gid=$3" headwater-chaos "$1" && shift 3 && exec "$@"'


def enter(megabytes: int) -> Path | None:
    """The disk's folder, after starting this program anew where it has one; None where none can be had."""
    if (place := os.environ.get(PLACE)) is not None:
        return Path(place) if place else None
    folder = tempfile.mkdtemp(prefix="headwater-chaos-disk-")
    command = _command(megabytes, folder)
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        Path(folder).rmdir()
        os.environ[PLACE] = ""
        return None
    os.environ[PLACE] = folder
    return os.execvp(command[0], [*command, sys.executable, "-m", "benchmarks.chaos", *sys.argv[1:]])


def leave(place: Path) -> None:
    """The mount goes with its namespace; the folder under it is taken away here, as far as that goes."""
    subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def fill(folder: Path) -> None:
    """Leaves no byte on the disk of a folder."""
    with ballast(folder).open("ab") as file:
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize) > 0:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)
            except OSError:  # somebody else was faster
                break


def empty(folder: Path) -> None:
    """Gives it all back."""
    ballast(folder).unlink(missing_ok=True)


def ballast(folder: Path) -> Path:
    return folder / "ballast"


def _command(megabytes: int, folder: str) -> list[str]:
    """Root mounts as it is; others in a user namespace, where they are root for the mount alone."""
    uid, gid = str(os.geteuid()), str(os.getegid())
    if os.geteuid() == 0:
        return ["unshare", "--mount", "sh", "-c", MOUNT, f"{megabytes}m", folder, uid, gid]
    as_self = ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"]
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, f"{megabytes}m", folder, "0", "0",
            *as_self]  # fmt: skip
