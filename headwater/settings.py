"""The suite's settings: one typed file, each value overridable by an environment variable.

`conf/headwater.toml` holds the values, `HEADWATER_<SECTION>_<KEY>` overrides one of them. A name
nobody knows and a value of the wrong kind are errors that say where they stand: a misspelled
setting that is silently ignored costs an afternoon.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from headwater.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS_FILE = REPOSITORY / "conf" / "headwater.toml"

PREFIX = "HEADWATER_"
ALIASES = {
    "KAFKA_BOOTSTRAP_SERVERS": "HEADWATER_KAFKA_BOOTSTRAP_SERVERS",
    "DASH_HOST": "HEADWATER_DASHBOARD_HOST",
    "DASH_PORT": "HEADWATER_DASHBOARD_PORT",
    "OPENSKY_CLIENT_ID": "HEADWATER_OPENSKY_CLIENT_ID",
    "OPENSKY_CLIENT_SECRET": "HEADWATER_OPENSKY_CLIENT_SECRET",
}
# Environment names have no dots, so only these families of Kafka client properties map to one.
CLIENT_PROPERTY = re.compile(r"HEADWATER_KAFKA_((?:SECURITY|SASL|SSL)_[A-Z0-9_]+)")

Place = tuple[str, ...]
"""Where a setting stands in the model: ("kafka", "port")."""


def _absolute(path: Path) -> Path:
    return (REPOSITORY / path.expanduser()).resolve()


def _known(zone: str) -> str:
    try:
        return ZoneInfo(zone).key
    except (KeyError, ValueError, OSError) as error:  # no such file, no path of one, a folder of zones
        raise ValueError('expected the name of a time zone, such as "Europe/Berlin"') from error


Home = Annotated[Path, AfterValidator(_absolute)]
ConfigFile = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]
Zone = Annotated[str, AfterValidator(_known)]


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(Section):
    """The broker to use, the embedded one, the topics, and the clients' own properties."""

    bootstrap_servers: str = ""
    port: Port = 9092
    advertised: str = Field(default="", pattern=r"^(\S+:\d+)?$")
    heap: str = Field(default="512m", pattern=r"^\d+[mg]$")
    partitions: dict[str, Annotated[int, Field(ge=1)]] = {"default": 2, "TruckLocations": 4}
    retention_hours: float = Field(default=168, gt=0)
    retention_gb: float = Field(default=16, gt=0)
    derived_gb: float = Field(default=1, gt=0)
    max_message_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    client: dict[str, str] = Field(default={}, repr=False)

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic is created with."""
        return self.partitions.get(topic, self.partitions.get("default", 2))


class SqlSettings(Section):
    """The SQL sink."""

    url: str = Field(default="", repr=False)


class DashboardSettings(Section):
    """Where the dashboard listens, and how its maps are drawn."""

    host: str = "127.0.0.1"
    port: Port = 8050
    coast_seconds: float = Field(default=3, ge=0)
    aircraft_fade_seconds: float = Field(default=30, gt=0)
    aircraft_gone_seconds: float = Field(default=120, gt=0)
    tiles: str = Field(default="", pattern=r"^(https?://\S+)?$")


class HealthSettings(Section):
    """From when on something is wrong: for `/api/v1/health`, the alarms of the page `/` and `/metrics`."""

    query_silence_seconds: float = Field(default=30, ge=10)
    live_lag_seconds: float = Field(default=15, gt=0)
    # Beyond the query's trigger.
    aggregate_lag_seconds: float = Field(default=30, gt=0)
    archive_lag_seconds: float = Field(default=120, gt=0)
    feed_lag_seconds: float = Field(default=10, gt=0)
    rejected_share: float = Field(default=0.2, gt=0, le=1)
    late_share: float = Field(default=0.2, gt=0, le=1)
    clock_skew_seconds: float = Field(default=5, gt=0)
    end_share: float = Field(default=0.5, gt=0, le=1)
    end_seconds: float = Field(default=10, ge=0)


class LogSettings(Section):
    """What all parts write of themselves."""

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class OpenSkySettings(Section):
    """The OpenSky Network, for the live aircraft source: credentials, the area asked for, the day's credits."""

    client_id: str = ""
    client_secret: str = Field(default="", repr=False)
    box: str = ""
    credits_a_day: int = Field(default=0, ge=0)
    timeout_seconds: float = Field(default=20, gt=0)
    base_url: str = Field(default="https://opensky-network.org/api", pattern=r"^https?://\S+[^/\s]$")
    token_url: str = Field(
        default="https://auth.opensky-network.org/auth/realms/opensky-network/protocol/openid-connect/token",
        pattern=r"^https?://\S+$",
    )


class SparkSettings(Section):
    """The Spark master and what is set on every session besides `conf/spark`.

    What the JVM is started with, its memory above all, can only stand in `conf/spark`.
    """

    master: str = ""
    properties: dict[str, str] = {}


class JobSettings(Section):
    """The pace and limits of the three kinds of query."""

    aggregate_trigger_seconds: float = Field(default=1, ge=0)
    archive_trigger_seconds: float = Field(default=30, ge=0)
    # Spark refuses a real-time batch that is shorter than five seconds.
    realtime_checkpoint_seconds: int = Field(default=30, ge=5)
    watermark_seconds: int = Field(default=600, ge=0)
    processed_window_hours: int = Field(default=48, ge=1)
    max_offsets_per_trigger: int = Field(default=200_000, ge=1)


class KeepingSettings(Section):
    """How often the Delta tables are tidied, and how long their past can be read."""

    every_minutes: float = Field(default=10, ge=0)
    versions_hours: float = Field(default=2, gt=0)


class SalesSettings(Section):
    """The simulated electronics shop."""

    rate: float = Field(default=20, gt=0)


class EventsSettings(Section):
    """The simulated visits to a shop, and what makes a funnel and a basket left behind."""

    rate: float = Field(default=20, gt=0)
    conversion: float = Field(default=0.1, ge=0, le=1)
    bot_share: float = Field(default=0.004, ge=0, le=1)
    campaign_share: float = Field(default=0.1, ge=0, le=1)
    funnel_minutes: float = Field(default=30, gt=0)
    abandoned_minutes: float = Field(default=30, gt=0)


class TruckSettings(Section):
    """The simulated fleet, and what makes a trip, a stop and an alert."""

    rate: float = Field(default=12, gt=0)
    fleet: int = Field(default=12, ge=1)
    moving_kmh: float = Field(default=5, gt=0)
    pause_seconds: float = Field(default=3600, gt=0)
    stop_seconds: float = Field(default=300, gt=0)
    trip_seconds: float = Field(default=300, ge=0)
    trip_metres: float = Field(default=500, ge=0)
    implausible_kmh: float = Field(default=200, gt=0)
    overspeed_kmh: float = Field(default=100, gt=0)
    overspeed_seconds: float = Field(default=30, ge=0)
    offline_seconds: float = Field(default=600, gt=0)
    geofences: ConfigFile = Path("conf/geofences.geojson")


class AircraftSettings(Section):
    """The simulated sky, and what makes a climb, a steep descent and another flight."""

    rate: float = Field(default=200, gt=0)
    fleet: int = Field(default=2_000, ge=1)
    level_mps: float = Field(default=1.5, ge=0)
    steep_mps: float = Field(default=25, gt=0)
    silence_seconds: float = Field(default=3600, gt=0)


class Co2Settings(Section):
    """The simulated meters, the zone of times without one, and the limits, allowances and rules of alarms."""

    rate: float = Field(default=5, gt=0)
    sources: int = Field(default=25, ge=1)
    history_days: int = Field(default=14, ge=0)
    zone: Zone = "UTC"
    limits_kg_h: dict[str, PositiveFloat] = {}
    source_allowances_kg: dict[str, PositiveFloat] = {}
    sector_allowances_kg: dict[str, PositiveFloat] = {}
    alarm_records: int = Field(default=3, ge=1)
    alarm_end_share: float = Field(default=0.95, gt=0, le=1)
    stuck_records: int = Field(default=12, ge=2)
    silent_intervals: float = Field(default=3, gt=1)


class Settings(Section):
    """Every setting, and the paths under `home` that follow from them."""

    home: Home = Path("var")
    kafka: KafkaSettings = KafkaSettings()
    sql: SqlSettings = SqlSettings()
    dashboard: DashboardSettings = DashboardSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    opensky: OpenSkySettings = OpenSkySettings()
    spark: SparkSettings = SparkSettings()
    jobs: JobSettings = JobSettings()
    keeping: KeepingSettings = KeepingSettings()
    sales: SalesSettings = SalesSettings()
    events: EventsSettings = EventsSettings()
    trucks: TruckSettings = TruckSettings()
    aircraft: AircraftSettings = AircraftSettings()
    co2: Co2Settings = Co2Settings()

    def delta(self, stream: str, table: str) -> Path:
        """The folder of a stream's Delta table."""
        return self.home / "delta" / stream / table

    def checkpoint(self, stream: str, query: str) -> Path:
        """The checkpoint folder of a stream's query."""
        return self.home / "checkpoints" / stream / query

    def ledger(self, stream: str) -> Path:
        """What the archive remembers of a stream."""
        return self.home / "ledger" / f"{stream}.db"

    def fresh_ledger(self, stream: str) -> Path:
        """What the aggregate query remembers of a stream."""
        return self.home / "ledger" / f"{stream}-fresh.db"

    def csv(self, stream: str) -> Path:
        """The folder of a stream's CSV files."""
        return self.home / "csv" / stream

    @property
    def kafka_dir(self) -> Path:
        """Data and state of the embedded broker."""
        return self.home / "kafka"

    @property
    def log_dir(self) -> Path:
        """Log files of the broker and of the demo's parts."""
        return self.home / "log"

    @property
    def sql_url(self) -> str:
        """The SQLAlchemy URL of the SQL sink."""
        return self.sql.url or f"sqlite:///{self.home / 'headwater.db'}"


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Read the settings file, lay the environment over it and check the whole.

    Every mistake is reported at once, each with its place; `SettingsError` carries them.
    """
    path = file or SETTINGS_FILE
    text, values = _read(path)
    _gather_client_properties(values)
    origins, problems = _overlay(values, environ)

    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += _explain(error, origins, path, text)
    if problems:
        raise SettingsError("\n  ".join(["the settings cannot be used:", *problems]))
    return settings


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from error


def _gather_client_properties(values: dict[str, Any]) -> None:
    """Move dotted keys of [kafka], which TOML reads as nested tables, into `client`."""
    kafka = values.get("kafka")
    if not isinstance(kafka, dict):
        return
    strangers = [
        key
        for key, value in kafka.items()
        if key not in KafkaSettings.model_fields and ("." in key or isinstance(value, dict))
    ]
    client = {name: value for key in strangers for name, value in _flatten(key, kafka.pop(key))}
    if client:
        kafka["client"] = client | kafka.get("client", {})


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}", inner)
    else:
        yield prefix, str(value).lower() if isinstance(value, bool) else str(value)


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[Place, str], list[str]]:
    """Lay environment variables over `values`: which variable set what, and what went wrong."""
    known = _variables()
    origins: dict[Place, str] = {}
    problems: list[str] = []
    # Aliases come first, so that the full name wins where both are set.
    for variable in sorted(environ, key=lambda name: name.startswith(PREFIX)):
        name = ALIASES.get(variable, variable)
        if not name.startswith(PREFIX):
            continue
        value: Any = environ[variable]
        if name in known:
            place, structured = known[name]
            if structured:
                try:
                    value = json.loads(value)
                except ValueError:
                    problems.append(f"environment variable {variable}: expected a JSON object")
                    continue
        elif match := CLIENT_PROPERTY.fullmatch(name):
            place = ("kafka", "client", match[1].lower().replace("_", "."))
        else:
            hint = _nearest(name, [*known, *ALIASES])
            problems.append(f"environment variable {variable}: no such setting{hint}")
            continue
        _put(values, place, value)
        origins[place] = f"environment variable {variable}"
    return origins, problems


def _variables() -> dict[str, tuple[Place, bool]]:
    """The environment variable of every setting: its place, and whether it takes JSON."""
    variables: dict[str, tuple[Place, bool]] = {}
    for section, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, Section):
            for key, inner in model.model_fields.items():
                name = f"{PREFIX}{section}_{key}".upper()
                variables[name] = ((section, key), get_origin(inner.annotation) is dict)
        else:
            variables[f"{PREFIX}{section}".upper()] = ((section,), False)
    return variables


def _put(values: dict[str, Any], place: Place, value: Any) -> None:
    for name in place[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):  # a wrong file; validation names it
            return
        values = inner
    values[place[-1]] = value


def _explain(error: ValidationError, origins: dict[Place, str], path: Path, text: str) -> list[str]:
    problems = []
    for problem in error.errors(include_url=False):
        place = tuple(str(part) for part in problem["loc"])
        where = next(
            (origins[place[:end]] for end in range(len(place), 0, -1) if place[:end] in origins),
            _place_in_file(place, path, text),
        )
        if problem["type"] == "extra_forbidden":
            problems.append(f"{where}: no such setting{_nearest(place[-1], _siblings(place))}")
        else:
            expected = problem["msg"].replace("Input should be", "expected")
            shown = "" if _is_secret(place) else f", not {problem['input']!r}"
            problems.append(f"{where}: {expected[:1].lower()}{expected[1:]}{shown}")
    return problems


def _siblings(place: Place) -> list[str]:
    """The names that are known where an unknown one stands."""
    model: Any = Settings
    for name in place[:-1]:
        model = model.model_fields[name].annotation
    return list(model.model_fields)


def _is_secret(place: Place) -> bool:
    model: Any = Settings
    for name in place:
        field = model.model_fields.get(name)
        if field is None or not field.repr:
            return field is not None
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, Section)):
            return False
    return False


def _place_in_file(place: Place, path: Path, text: str) -> str:
    """Name a setting by file, line and key; TOML parsers keep no lines, so look for it."""
    *tables, key = place
    shown = f"[{'.'.join(tables)}] {key}" if tables else key
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([\w.\"-]+)\]", line):
            table = header[1].replace('"', "").split(".")
            if table == list(place):
                return f"{path}, line {number}: {shown}"
        elif table == tables and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return f"{path}, line {number}: {shown}"
    return f"{path}: {shown}"


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
