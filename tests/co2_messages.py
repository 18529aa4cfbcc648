"""Believable messages of the CO2 job's topics, without a job: what the dashboard's tests feed it with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headwater.contracts.co2 import CO2
from tests.sales_messages import Produced


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Plants:
    """Writes what the live and the aggregate query would."""

    offset: int = 0

    def reading(self, source: str, kg: float, at: datetime | None = None, **given: Any) -> Produced:
        """A live record, of now and of a second unless told otherwise."""
        self.offset += 1
        now = datetime.now(UTC)
        record = {
            "event_id": f"r-{self.offset}", "event_time": iso(at or now), "source_id": source, "emission_kg": kg,
            "interval_s": 1.0, "facility": None, "sector": "power", "fuel": "coal", "country": None, "latitude": None,
            "longitude": None, "energy_mwh": None, "method": "measured", "flags": [], "extra": None,
            "topic": CO2.raw_topic, "partition": 0, "offset": self.offset, "kafka_timestamp": iso(now),
        } | given  # fmt: skip
        return CO2.live_topic, source, record

    def row(self, table: str, **columns: Any) -> Produced:
        """A row of a table; its key follows from its columns."""
        now = iso(datetime.now(UTC))
        spelled = {name: iso(value) if isinstance(value, datetime) else value for name, value in columns.items()}
        head = {"kind": table, "updated_at": now, "as_of": now, "source": "aggregate"}
        return CO2.processed_topic, f"{table}:{CO2.table(table).id_of(columns)}", head | spelled

    def window(self, table: str, source: str, start: datetime, kg: float, rate: float, **columns: Any) -> Produced:
        """A source's minute or hour."""
        length = timedelta(minutes=1) if table == "per_minute" else timedelta(hours=1)
        given = {
            "window_start": start, "window_end": start + length, "is_final": False, "source_id": source,
            "emission_kg": kg, "energy_mwh": None, "intensity_kg_mwh": None, "mean_rate_kg_h": rate,
            "max_rate_kg_h": rate, "records": 1, "substitute": 0,
        } | columns  # fmt: skip
        return self.row(table, **given)

    def group(self, table: str, name: str, start: datetime, kg: float) -> Produced:
        """A sector's or a fuel's hour."""
        column = CO2.table(table).key[1]
        hour = {"window_start": start, "window_end": start + timedelta(hours=1), "is_final": False}
        return self.row(table, **hour, **{column: name}, emission_kg=kg, sources=1)

    def total(self, source: str, kg: float, last: datetime, **columns: Any) -> Produced:
        given = {
            "source_id": source, "emission_kg": kg, "records": 1, "first_event": last, "last_event": last,
            "rate_kg_h": None, "limit_kg_h": None, "facility": None, "sector": "power", "fuel": "coal",
            "country": None, "latitude": None, "longitude": None,
        } | columns  # fmt: skip
        return self.row("totals", **given)

    def health(self, source: str, state: str, since: datetime, last: datetime, **columns: Any) -> Produced:
        given = {"usual_interval_s": 1.0, "gaps": 0} | columns
        return self.row("health", source_id=source, state=state, since=since, last_event=last, **given)

    def alarm(self, source: str, began: datetime, ended: datetime | None = None, **columns: Any) -> Produced:
        given = {
            "alarm_id": f"{source}|{round(began.timestamp() * 1e6)}", "source_id": source, "limit_kg_h": 20_000.0,
            "began_at": began, "raised_at": began + timedelta(seconds=2), "ended_at": ended, "peak_kg_h": 31_250.0,
            "acknowledged_at": None, "acknowledged_by": None,
        } | columns  # fmt: skip
        return self.row("alarms", **given)

    def budget_day(self, budget: str, start: datetime, kg: float) -> Produced:
        end = start + timedelta(days=1)
        return self.row("budget_days", window_start=start, window_end=end, is_final=False, budget=budget,
                        emission_kg=kg, since=start, last_event=end)  # fmt: skip

    def budget(self, budget: str, last: datetime, allowance: float, used: float, **columns: Any) -> Produced:
        scope, _, subject = budget.partition(":")
        given = {
            "budget": budget, "year": last.year, "source_id": subject if scope == "source" else None,
            "sector": subject if scope == "sector" else None, "allowance_kg": allowance, "used_kg": used,
            "used_share": used / allowance, "mean_rate_kg_h": None, "exhausted_on": None, "last_event": last,
        } | columns  # fmt: skip
        return self.row("budgets", **given)
