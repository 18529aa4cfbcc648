"""A fleet of trucks: where each is, and the trips, stops and alerts that follow from its fixes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from headwater.contracts.base import Record, Row, Stream, Table, Window

MOVING, STOPPED, OFFLINE = STATES = ("moving", "stopped", "offline")
OVERSPEED, GEOFENCE, SILENT = ALERT_KINDS = ("overspeed", "geofence", "offline")

State = Literal["moving", "stopped", "offline"]
AlertKind = Literal["overspeed", "geofence", "offline"]

MAX_SPEED_KMH = 1_000
"""Above it a speed is a slip of the sensor, and is left out of the record."""

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Speed = Annotated[float, Field(ge=0, le=MAX_SPEED_KMH)]
Heading = Annotated[float, Field(ge=0, le=360)]


class Fix(Record):
    """One position of a truck. Degrees are WGS 84."""

    truck_id: str
    latitude: Latitude
    longitude: Longitude
    speed_kmh: Speed | None = Field(default=None, description="Missing: taken from the fix before.")
    heading_deg: Heading | None = Field(default=None, description="Clockwise from north.")
    driver: str | None = None
    route: str | None = None
    cargo: str | None = None


class LatestFix(Row):
    """A truck's newest record by event time, and what it does."""

    truck_id: str
    event_id: str
    event_time: AwareDatetime
    latitude: float
    longitude: float
    speed_kmh: float | None = None
    heading_deg: float | None = None
    driver: str | None = None
    route: str | None = None
    cargo: str | None = None
    state: State = Field(description="`offline` after ten minutes without a record, by the wall clock.")
    is_implausible: bool = Field(description="It got here from the fix before at more than 200 km/h.")


class Trip(Row):
    """From the last fix of one stop to the first of the next; also between pauses and the ends of the data."""

    truck_id: str
    start_time: AwareDatetime
    end_time: AwareDatetime = Field(description="Of its last fix so far while it is open.")
    is_open: bool = Field(description="No stop and no pause has ended it yet.")
    distance_km: float = Field(description="Fix to fix on the sphere, without implausible steps.")
    duration_s: float
    average_kmh: float
    top_kmh: float | None = Field(default=None, description="The greatest speed of its fixes.")
    idle_s: float = Field(description="Time after fixes that don't move, up to the next fix, within the trip.")
    fixes: int = Field(description="Its first and last among them; repeats don't count.")
    implausible: int = Field(description="Steps faster than 200 km/h, which its distance leaves out.")
    start_latitude: float
    start_longitude: float
    end_latitude: float
    end_longitude: float


class Stop(Row):
    """At least five minutes without moving."""

    truck_id: str
    start_time: AwareDatetime = Field(description="Its first fix that doesn't move.")
    end_time: AwareDatetime = Field(description="The next fix that moves; its last one so far while it is open.")
    is_open: bool = Field(description="Neither a fix that moves nor a pause has ended it yet.")
    duration_s: float
    latitude: float = Field(description="Mean of its fixes.")
    longitude: float = Field(description="Mean of its fixes.")


class Alert(Row):
    """Something a dispatcher wants to know, once, with its begin and its end."""

    alert_id: str = Field(description="Truck, kind, begin and geofence in one text.")
    truck_id: str
    kind: AlertKind
    began_at: AwareDatetime = Field(
        description="The first fix above the limit, the first in the area, or the last one before the silence."
    )
    ended_at: AwareDatetime | None = Field(
        default=None,
        description="The next fix below the limit, outside, or at all; the last one before a pause. None: still so.",
    )
    latitude: float = Field(description="Where it began.")
    longitude: float
    geofence: str | None = Field(default=None, description="The area's name.")
    geofence_kind: str | None = Field(default=None, description="`depot`, `customer` or `no_go`.")
    top_kmh: float | None = Field(default=None, description="The greatest speed of an overspeed.")


class FleetMinute(Window):
    """The whole fleet within a minute of event time."""

    trucks: int = Field(description="Trucks with a fix.")
    moving: int = Field(description="Trucks with a fix that moves.")
    distance_km: float = Field(description="Of the steps that end in it, without implausible ones.")
    mean_kmh: float | None = Field(default=None, description="Mean speed of the fixes that have one.")


TRUCKS = Stream(
    name="trucks",
    raw_topic="TruckLocations",
    key="truck_id",
    record=Fix,
    description="Positions of a fleet of trucks",
    tables=(
        Table("latest", LatestFix, key=("truck_id",), description="Where each truck is"),
        Table("trips", Trip, key=("truck_id", "start_time"), time="start_time", description="Trips between stops"),
        Table("stops", Stop, key=("truck_id", "start_time"), time="start_time", description="Stops of five minutes"),
        Table("alerts", Alert, key=("alert_id",), time="began_at", description="Overspeed, geofences, silence"),
        Table("per_minute", FleetMinute, key=("window_start",), description="The fleet by minute"),
    ),
)
