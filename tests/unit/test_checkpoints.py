"""A checkpoint's newest files as Spark writes them, whole and after a power cut."""

from pathlib import Path

import pytest

from headwater.checkpoints import CheckpointError, read_at_start, require_sound

OFFSETS = (
    'v1\n{"batchWatermarkMs":0,"batchTimestampMs":1790000000000,"conf":{"spark.sql.shuffle.partitions":"2"}}\n'
    '{"sales_topic_electronics":{"1":57,"0":61}}\n-'
)
COMMIT = 'v1\n{"nextBatchWatermarkMs":0}'
START = '\0v1\n{"sales_topic_electronics":{"1":0,"0":0}}'


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "sales" / "live"
    texts = {f"offsets/{n}": OFFSETS for n in range(8, 12)} | {f"commits/{n}": COMMIT for n in range(8, 11)}
    texts |= {"sources/0/0": START, "metadata": '{"id":"a-b-c"}', "offsets/.12.tmp": "", "commits/.11.tmp": ""}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_whole_checkpoint_and_one_that_is_not_there_are_sound(checkpoint: Path, tmp_path: Path) -> None:
    require_sound(checkpoint)
    require_sound(tmp_path / "none")
    names = [str(file.relative_to(checkpoint)) for file in read_at_start(checkpoint)]
    assert names == ["metadata", "commits/10", "offsets/11", "offsets/10", "sources/0/0"]


@pytest.mark.parametrize("name", ["metadata", "commits/10", "offsets/11", "offsets/10", "sources/0/0"])
@pytest.mark.parametrize("kept", [0, 1, 2, 0.5, -1])
def test_a_file_that_was_cut_short_is_named_with_the_way_out(checkpoint: Path, name: str, kept: float) -> None:
    file = checkpoint / name
    whole = file.read_bytes().removesuffix(b"\n-")
    file.write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else int(kept)])
    with pytest.raises(CheckpointError) as raised:
        require_sound(checkpoint)
    assert f"{name} " in str(raised.value)
    assert f"rm -r '{checkpoint}'" in str(raised.value)


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 40, b"v1\n\0\0\0", b"\xff\xfe\xfa", b"v1", b"v1\n", b"vx\n{}", b"v1\n{}\n{"]
)
def test_a_file_of_rubbish_is_named(checkpoint: Path, rubbish: bytes) -> None:
    (checkpoint / "offsets" / "11").write_bytes(rubbish)
    with pytest.raises(CheckpointError, match="offsets/11 "):
        require_sound(checkpoint)


def test_older_files_are_not_read(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "9").write_bytes(b"")
    (checkpoint / "commits" / "9").write_bytes(b"")
    require_sound(checkpoint)


def test_a_bit_that_fell_over_is_found_by_the_checksums_that_hadoop_keeps(checkpoint: Path) -> None:
    """As Spark 4.2 wrote both files: a head, 512 bytes for each checksum, and one of the 45 bytes there are."""
    metadata, checksums = checkpoint / "metadata", checkpoint / ".metadata.crc"
    metadata.write_bytes(b'{"id":"7a684e9e-5d7f-4797-a119-7d3819ce25d9"}')
    checksums.write_bytes(b"crc\0\0\0\x02\0S\xbd\x9d\t")
    require_sound(checkpoint)
    metadata.write_bytes(b'{"id":"7a684e9e-5d7f-4797-a119-7d3819ce25d8"}')
    with pytest.raises(CheckpointError, match="metadata doesn't match its checksum"):
        require_sound(checkpoint)
    checksums.write_bytes(b"")  # then Hadoop reads on without
    require_sound(checkpoint)
