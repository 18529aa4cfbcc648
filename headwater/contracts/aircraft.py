"""Aircraft as the OpenSky Network hears them: state vectors, and what follows from them.

Fields, names and units are OpenSky's (https://openskynetwork.github.io/opensky-api/rest.html, "All State Vectors").
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from headwater.contracts.base import Record, Row, Stream, Table, Window

GROUND, CLIMB, CRUISE, DESCENT = PHASES = ("ground", "climb", "cruise", "descent")
HIJACK, RADIO_FAILURE, EMERGENCY = EMERGENCIES = ("7500", "7600", "7700")
STEEP_DESCENT = "steep_descent"

Phase = Literal["ground", "climb", "cruise", "descent"]
AlertKind = Literal["7500", "7600", "7700", "steep_descent"]

LIVE, REPLAY, SIMULATE = SOURCES = ("live", "replay", "simulate")
STATUS_KEY = "producer:aircraft"

Source = Literal["live", "replay", "simulate"]

LAST_SECOND = 253_402_300_799
"""31 December 9999, in seconds since 1970."""

Second = Annotated[int, Field(ge=0, le=LAST_SECOND)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Altitude = Annotated[float, Field(ge=-2_000, le=100_000)]
Velocity = Annotated[float, Field(ge=0, le=5_000)]
Track = Annotated[float, Field(ge=0, le=360)]
Rate = Annotated[float, Field(ge=-1_000, le=1_000)]


class StateVector(Record):
    """What is known of an aircraft at a moment. `event_time` is `last_contact`, whatever else the record says."""

    icao24: str = Field(description="The transponder's 24-bit address in hexadecimal; the key.")
    last_contact: Second = Field(description="Seconds since 1970 of the last message received; the event time.")
    callsign: str | None = Field(default=None, description="As received, padded with blanks.")
    origin_country: str | None = None
    time_position: Second | None = Field(default=None, description="Seconds since 1970 of the last position.")
    longitude: Longitude | None = Field(default=None, description="WGS 84, degrees.")
    latitude: Latitude | None = Field(default=None, description="WGS 84, degrees.")
    baro_altitude: Altitude | None = Field(default=None, description="Barometric altitude, m.")
    on_ground: bool | None = None
    velocity: Velocity | None = Field(default=None, description="Over ground, m/s.")
    true_track: Track | None = Field(default=None, description="Degrees clockwise from north.")
    vertical_rate: Rate | None = Field(default=None, description="m/s; positive is climbing.")
    sensors: list[int] | None = Field(default=None, description="Receivers, where the request named some.")
    geo_altitude: Altitude | None = Field(default=None, description="Geometric altitude, m.")
    squawk: str | None = Field(default=None, description="The transponder code, four octal digits.")
    spi: bool | None = Field(default=None, description="Special purpose indicator.")
    position_source: int | None = Field(default=None, description="0 ADS-B, 1 ASTERIX, 2 MLAT, 3 FLARM.")
    category: int | None = Field(default=None, description="0-20, as OpenSky numbers them.")
    snapshot_time: Second | None = Field(default=None, description="The answer's own `time`.")


class LatestState(Row):
    """An aircraft's newest record: of the greatest `last_contact` the one that came last."""

    icao24: str
    event_id: str
    event_time: AwareDatetime
    last_contact: int
    callsign: str | None = None
    origin_country: str | None = None
    time_position: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    baro_altitude: float | None = None
    on_ground: bool | None = None
    velocity: float | None = None
    true_track: float | None = None
    vertical_rate: float | None = None
    geo_altitude: float | None = None
    squawk: str | None = None
    spi: bool | None = None
    position_source: int | None = None
    category: int | None = None
    snapshot_time: int | None = None
    phase: Phase = Field(description="`climb` and `descent` beyond 1.5 m/s either way; `ground` where it says so.")


class SkyMinute(Window):
    """A minute of `last_contact`, over each aircraft's last record in it."""

    aircraft: int
    airborne: int = Field(description="Those that say they are not on the ground.")
    on_ground: int
    mean_altitude: float | None = Field(default=None, description="Barometric, m, over airborne ones that have it.")
    max_altitude: float | None = Field(default=None, description="The same.")
    mean_velocity: float | None = Field(default=None, description="m/s, over airborne ones that have it.")
    max_velocity: float | None = Field(default=None, description="The same.")


class CountryMinute(Window):
    """The same of one country's aircraft."""

    origin_country: str = Field(description="`unknown` where it is empty and the icao24's block doesn't tell.")
    aircraft: int
    airborne: int
    mean_altitude: float | None = None
    mean_velocity: float | None = None


class AircraftAlert(Row):
    """An emergency code, or a descent steeper than 25 m/s, from the first record with it to the last."""

    alert_id: str = Field(description="Aircraft, kind and begin in one text.")
    icao24: str
    kind: AlertKind = Field(description="7500 hijack, 7600 radio failure, 7700 emergency, or steep_descent.")
    began_at: AwareDatetime
    ended_at: AwareDatetime = Field(description="Of the last record with it, so far.")
    is_open: bool = Field(description="No later record without it.")
    callsign: str | None = None
    origin_country: str | None = None
    latitude: float | None = Field(default=None, description="Where it began, if known.")
    longitude: float | None = None
    baro_altitude: float | None = Field(default=None, description="Where it began, m.")
    steepest: float | None = Field(default=None, description="The steepest vertical rate of a descent, m/s.")


class ProducerStatus(Row):
    """Where the aircraft come from just now, and what is left of OpenSky's quota.

    A value of the status topic under STATUS_KEY, said again every half minute and whenever it changes. What speaks of
    credits and polls is empty but for `live`.
    """

    source: Source
    reason: str | None = Field(default=None, description="Why this source, where nobody asked for it by name.")
    has_account: bool = Field(default=False, description="OpenSky knows us by client credentials.")
    credits_left: int | None = Field(default=None, description="Of the day's quota, as OpenSky last said.")
    credits_a_day: int | None = None
    renewed_at: AwareDatetime | None = Field(default=None, description="When the quota is taken to be whole again.")
    interval_s: float | None = Field(default=None, description="Seconds from poll to poll.")
    next_poll: AwareDatetime | None = None
    last_answer: AwareDatetime | None = Field(default=None, description="The `time` of the last good answer.")
    last_error: str | None = Field(default=None, description="Of the last poll; none where it went well.")
    received: int = Field(default=0, description="States in all answers since the start.")
    sent: int = 0
    unchanged: int = Field(default=0, description="Received and not sent: nothing was heard since the one before.")
    malformed: int = Field(default=0, description="Of those sent, no state vector: the job rejects it.")
    at: AwareDatetime


AIRCRAFT = Stream(
    name="aircraft",
    raw_topic="aircraft_topic",
    key="icao24",
    record=StateVector,
    event_seconds="last_contact",
    description="Aircraft as the OpenSky Network hears them",
    tables=(
        Table("latest", LatestState, key=("icao24",), time="event_time", description="Where each aircraft is"),
        Table("per_minute", SkyMinute, key=("window_start",), description="The sky by minute", in_sql=True),
        Table(
            "by_country",
            CountryMinute,
            key=("window_start", "origin_country"),
            description="The sky by minute and country",
            in_sql=True,
        ),
        Table(
            "alerts",
            AircraftAlert,
            key=("alert_id",),
            time="began_at",
            description="Emergencies, steep descents",
            in_sql=True,
        ),
    ),
)
