"""How a stream declares itself, once.

A stream is a :class:`Stream`: its topics, the pydantic model of its raw record and the models of its
tables' rows. Everything else is derived from these models: the Spark parse and its reject rules
(``headwater.quality``), Spark and Arrow schemas (``headwater.views``, ``headwater.delta``), what the producers
validate against, and the API's response models. Adding a field is a change in one place.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, create_model
from pydantic.fields import FieldInfo

MONEY_DIGITS, MONEY_DECIMALS = 18, 4
"""Money is DECIMAL(18,4) in every table and a string in every JSON that leaves us."""


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("must not be 0")
    return value


def _plain_decimal(value: Decimal) -> str:
    """Four decimals, never an exponent: ``499.0000``."""
    return f"{value:.{MONEY_DECIMALS}f}"


@dataclass(frozen=True)
class _NotZero:
    """Marks a number that may take any value in its range but zero."""


NotZero = _NotZero()

Money = Annotated[Decimal, PlainSerializer(_plain_decimal, return_type=str, when_used="json")]
NonZeroInt = Annotated[int, AfterValidator(_not_zero), NotZero]


class Kind(StrEnum):
    """The types a contract knows."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    MONEY = "money"
    BOOLEAN = "boolean"
    TIME = "time"
    DATE = "date"
    TEXTS = "texts"
    WHOLES = "wholes"


class Row(BaseModel):
    """A row of a table. JSON spells money as text and times as ISO 8601 with offset."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Record(Row):
    """What every raw record may carry beside its stream's own fields."""

    event_id: str | None = Field(default=None, description="The event's own identity; a repeat of it counts once.")
    event_time: AwareDatetime | None = Field(default=None, description="When it happened: ISO 8601 with offset.")


@dataclass(frozen=True)
class FieldSpec:
    """A field of a contract, in the few words that parse, rules and schemas need."""

    name: str
    kind: Kind
    required: bool
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    not_zero: bool = False
    choices: tuple[str, ...] = ()
    default: str | int | None = None
    """What an optional field that is missing is taken for; one that is wrong stays null."""
    description: str = ""


_KINDS: dict[Any, Kind] = {
    str: Kind.TEXT,
    int: Kind.WHOLE,
    float: Kind.NUMBER,
    Decimal: Kind.MONEY,
    bool: Kind.BOOLEAN,
    datetime: Kind.TIME,
    AwareDatetime: Kind.TIME,
    list[str]: Kind.TEXTS,
    list[int]: Kind.WHOLES,
}


def _unwrap(annotation: Any) -> tuple[Any, list[Any]]:
    """The bare type under ``Optional`` and ``Annotated``, and the metadata found on the way."""
    metadata: list[Any] = []
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *extra = get_args(annotation)
            metadata += extra
        elif origin in (Union, types.UnionType):
            (annotation,) = (a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation, metadata


def _spec(name: str, info: FieldInfo) -> FieldSpec:
    bare, inner = _unwrap(info.annotation)
    bounds: dict[str, Decimal] = {}
    metadata = [*inner, *info.metadata]
    flat = [part for m in metadata for part in (m if isinstance(m, at.GroupedMetadata) else [m])]
    flat = [part for m in flat for part in (m.metadata if isinstance(m, FieldInfo) else [m])]
    for item in flat:
        if isinstance(item, at.Ge):
            bounds["minimum"] = Decimal(str(item.ge))
        elif isinstance(item, at.Le):
            bounds["maximum"] = Decimal(str(item.le))
    choices: tuple[str, ...] = ()
    if get_origin(bare) is Literal:
        choices, bare = get_args(bare), str
    if bare not in _KINDS:
        raise TypeError(f"{name}: a contract knows no type {bare!r}")
    return FieldSpec(
        name=name,
        kind=_KINDS[bare],
        required=info.is_required(),
        not_zero=any(isinstance(m, _NotZero) for m in flat),
        choices=choices,
        default=None if info.is_required() else info.get_default(),
        description=info.description or "",
        **bounds,
    )


def fields_of(model: type[BaseModel]) -> tuple[FieldSpec, ...]:
    """The fields a model declares, in their order."""
    return tuple(_spec(name, info) for name, info in model.model_fields.items())


@dataclass(frozen=True)
class Table:
    """A table of a stream beside ``records`` and ``rejected``: its row and the key of a row in it."""

    name: str
    row: type[Row]
    key: tuple[str, ...]
    description: str
    time: str | None = None
    """The column that says when a row was, where it has one and is no window: what is old is found by it."""
    in_sql: bool = False
    """The archive keeps it in the SQL database as well. Only tables of a fold."""

    @cached_property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The table's columns, its key first."""
        by_name = {field.name: field for field in fields_of(self.row)}
        rest = [name for name in by_name if name not in self.key]
        return tuple(by_name[name] for name in (*self.key, *rest))

    @cached_property
    def scaled(self) -> tuple[tuple[str, Kind], ...]:
        """Its times and its money, that a ledger keeps as whole numbers."""
        return tuple((field.name, field.kind) for field in self.fields if field.kind in (Kind.TIME, Kind.MONEY))

    @property
    def windowed(self) -> bool:
        return "window_start" in self.key

    def id_of(self, row: dict[str, Any]) -> str:
        """A row's identity as the processed topic spells it after ``<kind>:``."""
        return "|".join(_key_text(row[column]) for column in self.key)


def _key_text(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


@dataclass(frozen=True)
class Stream:
    """A stream: its names, its raw record and its tables."""

    name: str
    raw_topic: str
    key: str
    record: type[Record]
    tables: tuple[Table, ...]
    description: str
    event_seconds: str | None = None
    """A required whole field that is the event time, in seconds since 1970; None: ``event_time`` is."""
    acknowledged: str | None = None
    """The table whose rows people acknowledge, by messages of a topic of its own."""
    acknowledgement: type[Row] = Row
    """Such a message: the key of the row, and those of its columns that it fills."""

    @property
    def live_topic(self) -> str:
        return f"live_{self.name}_topic"

    @property
    def processed_topic(self) -> str:
        return f"processed_{self.name}_topic"

    @property
    def rejected_topic(self) -> str:
        return f"rejected_{self.name}_topic"

    @property
    def acknowledged_topic(self) -> str:
        return f"acknowledged_{self.name}_topic"

    @cached_property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The raw record's fields: ``event_id`` and ``event_time`` first, then the stream's own."""
        return fields_of(self.record)

    def table(self, name: str) -> Table:
        for table in self.tables:
            if table.name == name:
                return table
        known = ", ".join(t.name for t in self.tables)
        raise KeyError(f"stream {self.name} has no table {name!r}; it has {known}")


class Position(Row):
    """Where a record stood in Kafka: with the topic, what the account is kept by."""

    topic: str
    partition: int
    offset: int
    kafka_timestamp: AwareDatetime


class Rejected(Position):
    """A record that no table takes, as it came, and why."""

    stream: str
    reasons: list[str] = Field(description="Short codes: not_json, missing:product, type:quantity, range:price ...")
    raw: str | None = Field(description="The message's value as text; in base64 where it is not UTF-8.")
    rejected_at: AwareDatetime


class Window(Row):
    """What every row of a windowed table carries. Windows are tumbling, aligned to the epoch, UTC."""

    window_start: AwareDatetime
    window_end: AwareDatetime
    is_final: bool = Field(default=False, description="The watermark has passed the window's end.")


def records_row(stream: Stream) -> type[Row]:
    """The row of a stream's ``records``: the raw record's fields and where the record stood in Kafka."""
    extra: dict[str, Any] = {
        "event_id": (str, Field(description="Its own, or <topic>-<partition>-<offset>.")),
        "event_time": (AwareDatetime, Field(description="Its own, or Kafka's timestamp.")),
        "flags": (list[str], Field(description="Optional fields that were wrong and became null.")),
        "extra": (str | None, Field(default=None, description="Unknown fields, a JSON object.")),
        "topic": (str, ...),
        "partition": (int, ...),
        "offset": (int, ...),
        "kafka_timestamp": (AwareDatetime, ...),
        "processed_at": (AwareDatetime, ...),
    }
    return create_model(f"{stream.record.__name__}Record", __base__=stream.record, **extra)
