"""Believable messages of the aircraft job's topics, without a job: what the dashboard's tests feed it with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.contracts.aircraft import AIRCRAFT, STATUS_KEY
from headwater.topics import STATUS_TOPIC
from tests.sales_messages import Produced, iso


@dataclass
class Pilots:
    """Writes what the live and the aggregate query would, and the producer."""

    offset: int = 0

    def state(self, icao24: str, latitude: float | None, longitude: float | None, **given: Any) -> Produced:
        """A live record, heard now unless told otherwise; eastwards at 200 m/s, 10 km high."""
        self.offset += 1
        now = int(time.time())
        record = {
            "icao24": icao24, "last_contact": now, "callsign": f"{icao24.upper():8}", "origin_country": "Iceland",
            "time_position": None if latitude is None else now, "longitude": longitude, "latitude": latitude,
            "baro_altitude": 10_000.0, "on_ground": False, "velocity": 200.0, "true_track": 90.0, "vertical_rate": 0.0,
            "sensors": None, "geo_altitude": 10_200.0, "squawk": "1000", "spi": False, "position_source": 0,
            "category": 4, "snapshot_time": now,
        } | given  # fmt: skip
        head = {
            "event_id": f"{icao24}-{record['last_contact']}", "flags": [], "extra": None, "topic": AIRCRAFT.raw_topic,
            "event_time": iso(datetime.fromtimestamp(record["last_contact"], UTC)), "partition": 0,
            "offset": self.offset, "kafka_timestamp": iso(datetime.now(UTC)),
        }  # fmt: skip
        return AIRCRAFT.live_topic, icao24, head | record

    def row(self, table: str, key: str, **columns: Any) -> Produced:
        """A row of a table."""
        now = datetime.now(UTC)
        head = {"kind": table, "updated_at": iso(now), "as_of": iso(now), "source": "aggregate"}
        return AIRCRAFT.processed_topic, f"{table}:{key}", head | columns

    def alert(self, icao24: str, kind: str, began: datetime, **columns: Any) -> Produced:
        """An alert under way."""
        given = {
            "alert_id": f"{icao24}|{kind}|{iso(began)}", "icao24": icao24, "row_kind": kind, "began_at": iso(began),
            "ended_at": iso(datetime.now(UTC)), "is_open": True, "callsign": f"{icao24.upper():8}",
            "origin_country": "Iceland", "latitude": 48.0, "longitude": 2.0, "baro_altitude": 3_048.0, "steepest": None,
        } | columns  # fmt: skip
        return self.row("alerts", str(given["alert_id"]), **given)

    def minute(self, start: datetime, **columns: Any) -> Produced:
        given = {
            "window_start": iso(start), "window_end": iso(start + timedelta(minutes=1)), "is_final": False,
            "aircraft": 4, "airborne": 3, "on_ground": 1, "mean_altitude": 9_144.0, "max_altitude": 12_000.0,
            "mean_velocity": 200.0, "max_velocity": 250.0,
        } | columns  # fmt: skip
        return self.row("per_minute", iso(start), **given)

    def country(self, start: datetime, country: str, aircraft: int) -> Produced:
        """A country's minute, all of its aircraft in the air."""
        return self.row(
            "by_country", f"{iso(start)}|{country}", window_start=iso(start),
            window_end=iso(start + timedelta(minutes=1)), is_final=False, origin_country=country, aircraft=aircraft,
            airborne=aircraft, mean_altitude=9_000.0, mean_velocity=200.0,
        )  # fmt: skip

    def producer(self, source: str, **given: Any) -> Produced:
        """What the producer says of itself."""
        return STATUS_TOPIC, STATUS_KEY, {"source": source, "at": iso(datetime.now(UTC))} | given
