"""The blocks of 24-bit addresses."""

import gzip
from itertools import pairwise

import orjson
import pytest

from headwater.icao24 import BLOCKS, block_of, country_of
from tests.recorded import FOLDER, recorded


@pytest.mark.parametrize(
    ("icao24", "country"),
    [
        ("3c0000", "Germany"),
        ("3fffff", "Germany"),
        ("3bffff", "France"),
        ("400000", "United Kingdom"),
        ("A00001", "United States"),
        ("afffff", "United States"),
        ("b00000", None),
        ("c3ffff", "Canada"),
        ("c40000", None),
        ("0100a3", "Egypt"),
        ("501c0c", "Croatia"),
        ("000000", None),
        ("004000", "Zimbabwe"),
        ("003e53", None),
        ("e94fff", "Bolivia"),
        ("ffffff", None),
        ("", None),
        ("3c000", None),
        ("3c00000", None),
        ("3c000g", None),
        ("0x3c00", None),
        (" 3c000", None),
        ("٣c0000", None),
    ],
)
def test_an_address_belongs_to_the_state_of_its_block(icao24, country):
    assert country_of(icao24) == country


def test_blocks_are_in_order_and_apart():
    lines = [line.split(maxsplit=1) for line in BLOCKS.strip().splitlines()]
    blocks = [block_of(country) for _, country in lines]

    assert len({country for _, country in lines}) == len(lines) > 180
    assert all(a.stop <= b.start for a, b in pairwise(blocks))
    for (text, country), block in zip(lines, blocks, strict=True):
        assert (block.start, len(block)) == (int(text[:6], 16), 1 << 24 - int(text[7:]))
        assert country_of(f"{block[0]:06x}") == country_of(f"{block[-1]:06x}") == country


def test_recorded_aircraft_are_of_the_country_that_opensky_names():
    recorded("aircraft")
    answers = [orjson.loads(gzip.decompress(path.read_bytes())) for path in sorted((FOLDER / "aircraft").glob("*.gz"))]
    named = {(state[0], state[2]) for answer in answers for state in answer["states"]}

    # One aircraft has an address that is nobody's, and no country.
    assert {pair for pair in named if country_of(pair[0]) != pair[1]} == {("003e53", "")}
    assert country_of("003e53") is None
    assert len(named) == 10_124
