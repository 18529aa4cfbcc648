"""One module a stream: its fields, types, units and limits, declared once."""

from headwater.contracts.base import FieldSpec, Kind, Money, Record, Row, Stream, Table
from headwater.contracts.sales import SALES

STREAMS: dict[str, Stream] = {stream.name: stream for stream in (SALES,)}
"""The streams Headwater knows, by name."""

__all__ = ["STREAMS", "FieldSpec", "Kind", "Money", "Record", "Row", "Stream", "Table"]
