"""Recorded aircraft as raw records: OpenSky's answers as they came, and a CSV by the contract's field names.

A record's id is made of `icao24` and `last_contact`: a state that several answers repeat is one event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.contracts.aircraft import AIRCRAFT
from producers.opensky import identified, record_of
from producers.replay import Cells, Document, RawRecord, ReplayError, contract_format

BY_NAME = contract_format(AIRCRAFT)


def from_answer(answer: dict[str, Any]) -> Iterator[RawRecord]:
    """The states of an answer, in its order; null is none. Raises ReplayError where it has no list of them."""
    states = answer.get("states", ())
    if "states" not in answer or not isinstance(states, list | None):
        raise ReplayError(f'an answer of OpenSky has a list "states"; this has {", ".join(answer) or "nothing"}')
    return (record_of(state, answer.get("time")) for state in states or ())


def from_row(cells: Cells, path: Path) -> list[RawRecord]:
    """The record of a CSV's row."""
    return [identified(record) for record in BY_NAME.convert(cells, path)]


ANSWERS = Document(
    name="answers of OpenSky, JSON",
    columns='{"time": seconds, "states": [[icao24, callsign, ...], ...]}',
    convert=from_answer,
)
NAMED = replace(BY_NAME, convert=from_row)
