"""Believable messages of the trucks jobs' topics, without a job: what the dashboard's tests feed it with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.contracts.trucks import TRUCKS
from tests.sales_messages import Produced, iso


@dataclass
class Drivers:
    """Writes what the live and the aggregate query would."""

    offset: int = 0

    def fix(self, truck: str, latitude: float, longitude: float, at: datetime | None = None, **given: Any) -> Produced:
        """A live record, now unless told otherwise."""
        self.offset += 1
        now = datetime.now(UTC)
        record = {
            "event_id": f"f-{self.offset}", "event_time": iso(at or now), "truck_id": truck, "latitude": latitude,
            "longitude": longitude, "speed_kmh": 72.0, "heading_deg": 90.0, "driver": None, "route": None,
            "cargo": None, "flags": [], "extra": None, "topic": TRUCKS.raw_topic, "partition": 0, "offset": self.offset,
            "kafka_timestamp": iso(now),
        } | given  # fmt: skip
        return TRUCKS.live_topic, truck, record

    def row(self, table: str, key: str, **columns: Any) -> Produced:
        """A row of a table."""
        now = datetime.now(UTC)
        head = {"kind": table, "updated_at": iso(now), "as_of": iso(now), "source": "aggregate"}
        return TRUCKS.processed_topic, f"{table}:{key}", head | columns

    def trip(self, truck: str, start: datetime, **columns: Any) -> Produced:
        """A trip under way."""
        given = {
            "truck_id": truck, "start_time": iso(start), "end_time": iso(datetime.now(UTC)), "is_open": True,
            "distance_km": 41.24, "duration_s": 2400.0, "average_kmh": 61.9, "top_kmh": 88.0, "idle_s": 180.0,
            "fixes": 240, "implausible": 0, "start_latitude": 51.9, "start_longitude": 4.4, "end_latitude": 52.0,
            "end_longitude": 5.0,
        } | columns  # fmt: skip
        return self.row("trips", f"{truck}|{iso(start)}", **given)

    def alert(self, truck: str, kind: str, began: datetime, ended: datetime | None = None, **columns: Any) -> Produced:
        given = {
            "alert_id": f"{truck}|{kind}|{iso(began)}", "truck_id": truck, "row_kind": kind, "began_at": iso(began),
            "ended_at": ended and iso(ended), "latitude": 52.5, "longitude": 6.0, "geofence": None,
            "geofence_kind": None, "top_kmh": None,
        } | columns  # fmt: skip
        return self.row("alerts", str(given["alert_id"]), **given)

    def minute(self, start: datetime, **columns: Any) -> Produced:
        given = {
            "window_start": iso(start), "window_end": iso(start + timedelta(minutes=1)), "is_final": False,
            "trucks": 3, "moving": 2, "distance_km": 1.5, "mean_kmh": 60.0,
        } | columns  # fmt: skip
        return self.row("per_minute", iso(start), **given)
