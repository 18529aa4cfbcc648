"""The contracts' rules as one writes them by hand, without Headwater: JSON in, a record or the reasons against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

Record = dict[str, Any]
Fault = Callable[[Any], str | None]
"""What is wrong with a value: ``type``, ``range`` or nothing."""

DAY_US = 86_400_000_000


def text(value: Any) -> str | None:
    return None if isinstance(value, str) else "type"


def one_of(*choices: str) -> Fault:
    return lambda value: "type" if not isinstance(value, str) else None if value in choices else "range"


def number(low: float, high: float) -> Fault:
    def fault(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "type"
        return None if low <= value <= high else "range"

    return fault


def whole(low: int, high: int) -> Fault:
    def fault(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            return "type"
        return None if low <= value <= high else "range"

    return fault


def not_zero(low: int, high: int) -> Fault:
    within = whole(low, high)
    return lambda value: within(value) or (None if value else "range")


def money(low: float, high: float) -> Fault:
    within = number(low, high)

    def fault(value: Any) -> str | None:
        try:
            return within(float(value) if isinstance(value, str) else value)
        except ValueError:
            return "type"

    return fault


def boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "type"


@dataclass(frozen=True)
class Contract:
    """A stream's raw records. ``seconds``: the required field that is the event time, where one is."""

    name: str
    raw_topic: str
    key: str
    required: Mapping[str, Fault]
    optional: Mapping[str, Fault]
    seconds: str | None = None

    @property
    def rejected_topic(self) -> str:
        return f"rejected_{self.name}_topic"

    @property
    def processed_topic(self) -> str:
        return f"processed_{self.name}_topic"


def checked(contract: Contract, raw: bytes, place: str, arrived_us: int) -> tuple[Record, list[str]]:
    """A message -> its record, with ``at`` (event time in microseconds) and an ``event_id``, and why it is rejected.

    ``place`` and ``arrived_us`` stand in for an ``event_id`` and an ``event_time`` that are missing.
    """
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        record = None
    if not isinstance(record, dict):
        return {}, ["not_json"]
    reasons = []
    for name, fault in contract.required.items():
        value = record.get(name)
        why = "missing" if value is None or value == "" else fault(value)
        if why:
            reasons.append(f"{why}:{name}")
    for name, fault in contract.optional.items():
        value = record.get(name)
        if value is not None and fault(value):
            record[name] = None
    if not reasons:
        record["event_id"] = record.get("event_id") or place
        record["at"] = _event_time(contract, record, arrived_us)
        if record["at"] > arrived_us + DAY_US:
            reasons.append("future:event_time")
    return record, reasons


def _event_time(contract: Contract, record: Record, arrived_us: int) -> int:
    if contract.seconds:
        return int(record[contract.seconds]) * 1_000_000
    try:
        moment = datetime.fromisoformat(record["event_time"])
    except (KeyError, TypeError, ValueError):
        return arrived_us
    return arrived_us if moment.tzinfo is None else round(moment.timestamp() * 1_000_000)


UNITS = 1_000_000
LATITUDE, LONGITUDE = number(-90, 90), number(-180, 180)
SECOND = whole(0, 253_402_300_799)

CONTRACTS = {
    contract.name: contract
    for contract in (
        Contract(
            "sales",
            "sales_topic_electronics",
            "product",
            {"product": text, "quantity": not_zero(-UNITS, UNITS), "price": money(0, 99_999_999)},
            dict.fromkeys(
                ("event_id", "product_id", "order_id", "category", "store", "country", "customer_id", "currency"), text
            ),
        ),
        Contract(
            "events",
            "events_topic",
            "session_id",
            {
                "event_type": one_of("productview", "addtobasket", "removefrombasket", "purchase"),
                "session_id": text,
                "product_id": text,
            },
            {
                **dict.fromkeys(("event_id", "user_id", "product_name", "category", "brand"), text),
                "price": money(-99_999_999, 99_999_999),
                "quantity": whole(1, UNITS),
            },
        ),
        Contract(
            "trucks",
            "TruckLocations",
            "truck_id",
            {"truck_id": text, "latitude": LATITUDE, "longitude": LONGITUDE},
            {
                **dict.fromkeys(("event_id", "driver", "route", "cargo"), text),
                "speed_kmh": number(0, 1_000),
                "heading_deg": number(0, 360),
            },
        ),
        Contract(
            "aircraft",
            "aircraft_topic",
            "icao24",
            {"icao24": text, "last_contact": SECOND},
            {
                **dict.fromkeys(("event_id", "callsign", "origin_country", "squawk"), text),
                **dict.fromkeys(("time_position", "snapshot_time"), SECOND),
                **dict.fromkeys(("baro_altitude", "geo_altitude"), number(-2_000, 100_000)),
                **dict.fromkeys(("on_ground", "spi"), boolean),
                **dict.fromkeys(("position_source", "category"), whole(-(2**63), 2**63)),
                "longitude": LONGITUDE,
                "latitude": LATITUDE,
                "velocity": number(0, 5_000),
                "true_track": number(0, 360),
                "vertical_rate": number(-1_000, 1_000),
            },
            seconds="last_contact",
        ),
        Contract(
            "co2",
            "co2_topic",
            "source_id",
            {"source_id": text, "emission_kg": number(0, 1e13)},
            {
                **dict.fromkeys(("event_id", "facility", "sector", "fuel", "country"), text),
                "interval_s": number(0.001, 400 * 86_400),
                "latitude": LATITUDE,
                "longitude": LONGITUDE,
                "energy_mwh": number(0, 1e10),
                "method": one_of("measured", "calculated", "substitute"),
            },
        ),
    )
}
