"""One module a stream: its fields, types, units and limits, declared once."""

from headwater.contracts.aircraft import AIRCRAFT
from headwater.contracts.base import FieldSpec, Kind, Money, Record, Row, Stream, Table
from headwater.contracts.co2 import CO2
from headwater.contracts.events import EVENTS
from headwater.contracts.sales import SALES
from headwater.contracts.trucks import TRUCKS
from headwater.errors import SettingsError

STREAMS: dict[str, Stream] = {stream.name: stream for stream in (AIRCRAFT, CO2, EVENTS, SALES, TRUCKS)}
"""The streams Headwater knows, by name."""


def chosen_streams(names: str) -> list[Stream]:
    """The streams of ``STREAMS="sales trucks"``; all of them if it is empty. Unknown ones: SettingsError."""
    unknown = [name for name in names.split() if name not in STREAMS]
    if unknown:
        raise SettingsError(f"STREAMS: there is no stream {', '.join(unknown)}; known are {', '.join(STREAMS)}")
    return [STREAMS[name] for name in names.split() or STREAMS]


__all__ = ["STREAMS", "FieldSpec", "Kind", "Money", "Record", "Row", "Stream", "Table", "chosen_streams"]
