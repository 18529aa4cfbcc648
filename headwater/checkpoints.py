"""Whether a query's checkpoint can be gone on from, before Spark fails amid it with a parser's words.

A power cut or a broken disk leaves the newest file of a checkpoint empty or cut short. Spark reads the last of its
``commits`` and the last two of its ``offsets``, and so does this. Nothing is mended here: which messages are new the
ledgers say, so a checkpoint may simply be deleted (``docs/operations.md``, "A damaged checkpoint"); but that is for a
person to decide, who may want to know first what became of the disk.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.errors import HeadwaterError

VERSION = re.compile(r"\0?v\d+")
"""A log file's first line. The Kafka source writes a zero byte before it."""

CHECKSUM_HEAD = b"crc\0"

NOTHING = "-"
"""A source's line where it has no offset yet."""


class CheckpointError(HeadwaterError):
    """A query's checkpoint is damaged; the text names the file and the way out."""


def require_sound(checkpoint: Path) -> None:
    """Raises CheckpointError where the checkpoint of a query can't be gone on from; one that isn't there is sound."""
    for file in read_at_start(checkpoint):
        if trouble := trouble_of(file):
            raise CheckpointError(
                f"the checkpoint {checkpoint} is damaged: {file.relative_to(checkpoint)} {trouble}.\n"
                f"Delete that folder and start the job again:\n"
                f"    rm -r '{checkpoint}'\n"
                f"Nothing is lost by it and nothing counted twice: the ledgers, not the checkpoint, say what is new. A "
                f"live query sends once more what the raw topic still holds. See docs/operations.md."
            )


def read_at_start(checkpoint: Path) -> Iterator[Path]:
    """The files that Spark goes on from."""
    if (metadata := checkpoint / "metadata").exists():
        yield metadata
    for folder, newest in (("commits", 1), ("offsets", 2)):
        numbered = [file for file in (checkpoint / folder).glob("*") if file.name.isdigit()]
        yield from sorted(numbered, key=lambda file: -int(file.name))[:newest]
    yield from sorted(checkpoint.glob("sources/*/0"))


def trouble_of(file: Path) -> str | None:  # noqa: PLR0911 - one for each trouble
    """What is wrong with a file of a checkpoint: a version and lines of JSON, or for ``metadata`` JSON alone."""
    content = file.read_bytes()
    if not content:
        return "is empty"
    if not _matches(content, file.with_name(f".{file.name}.crc")):
        return "doesn't match its checksum"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "isn't text"
    version, *lines = ["v1", text] if file.name == "metadata" else text.splitlines()
    if not VERSION.fullmatch(version):
        return "doesn't begin with its version"
    if not lines:
        return "ends after its first line"
    for number, line in enumerate(lines, 2):
        if line != NOTHING:
            try:
                json.loads(line)
            except ValueError:
                return f"isn't JSON in line {number}"
    return None


def _matches(content: bytes, checksums: Path) -> bool:
    """Whether a file is what Hadoop's checksums beside it say: a head, how many bytes each is of, and a CRC32 for each.

    A file without checksums, or with ones that can't be read, passes: so it does at Hadoop.
    """
    try:
        told = checksums.read_bytes()
    except FileNotFoundError:
        return True
    numbers = len(told) // 4 - 1
    if not told.startswith(CHECKSUM_HEAD) or numbers < 1:
        return True
    size, *sums = struct.unpack_from(f">{numbers}I", told, len(CHECKSUM_HEAD))
    return sums == [zlib.crc32(content[start : start + size]) for start in range(0, len(content), size)]
