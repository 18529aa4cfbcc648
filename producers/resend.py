"""What was rejected, written to a file to be mended, and sent again.

    python -m producers.resend sales                                              what was rejected, by reason
    python -m producers.resend sales --reason missing:price --out mend.jsonl      to a file, for an editor or a script
    python -m producers.resend sales mend.jsonl --dry-run                         would it be taken now?
    python -m producers.resend sales mend.jsonl                                   sends it
    python -m producers.resend sales --reason missing:price --set price=9.99      mends and sends in one go

A line of the file is a JSON object: `record`, the message itself, or `raw` where the message is no JSON object (or one
of more than 254 levels); and `position`, which says where it stood. A record without an `event_id` of its own gets that
position as its id, and without an `event_time` Kafka's timestamp of back then: sent twice, it counts once, and it
counts where it belongs.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from headwater.broker import find_broker
from headwater.contracts import STREAMS
from headwater.contracts.base import FieldSpec, Kind, Stream
from headwater.errors import HeadwaterError, run_main
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from producers.delivery import Delivery

Record = dict[str, Any]
"""A message's fields. Numbers are Decimals, so that what nobody touched goes out as it came."""

DAY_AHEAD = timedelta(days=1)
TOO_LARGE, LAST_DECIMAL = Decimal(10) ** 20, Decimal(1).scaleb(-18)
EXACT = Context(prec=40, rounding=ROUND_HALF_UP)
_DECIMAL_TEXT = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_SHORT = re.compile(r"\s*[+-]?(\d{1,999}(\.\d{0,999})?|\.\d{1,999})(e[+-]?0*\d{1,3})?\s*", re.ASCII | re.IGNORECASE)
"""How far the job looks at a number, and at money as text (``headwater.quality``)."""
FLUSH_S = 60.0
SHOWN = 20
"""Lines that are named one by one where they can't be sent."""


class ResendError(HeadwaterError):
    """What was asked for makes no sense, or a file can't be read."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Mended:
    """A record that is to be sent, and what still speaks against it."""

    line: int
    position: str
    record: Record
    reasons: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0 where all that was asked for was sent."""
    options = _parser().parse_args(arguments)
    stream, settings = STREAMS[options.stream], load_settings()
    if options.path and (options.reason or options.since or options.out):
        raise ResendError("a PATH is sent as it stands: --reason, --since and --out choose among what was rejected")
    if options.out and options.set:
        raise ResendError("--set mends and sends in one go, --out writes a file to be mended: give one")
    found = _lines_of(options.path) if options.path else rejected(settings, stream, options.reason, options.since)
    if options.out:
        return _write(found, options.out)
    if not options.path and not options.set:
        return _list(found, stream)
    return _send(settings, stream, lambda: mended(stream, found, dict(options.set)), dry=options.dry_run)


def rejected(settings: Settings, stream: Stream, reasons: Sequence[str], since: datetime | None) -> list[Record]:
    """Lines of what the archive holds as rejected and no record has made good since, in Kafka's order.

    `reasons`: with one of these; `since`: that came to Kafka from then on. Raises ResendError where there is no table.
    """
    path = settings.delta(stream.name, "rejected")
    try:
        table = DeltaTable(str(path)).to_pyarrow_table()
        ids = DeltaTable(str(settings.delta(stream.name, "records"))).to_pyarrow_table(columns=["event_id"])["event_id"]
    except TableNotFoundError as error:
        raise ResendError(
            f"{path}: no such table. The archive writes it (spark-submit jobs/{stream.name}.py); is HEADWATER_HOME set?"
        ) from error
    if since:
        table = table.filter(pc.greater_equal(table["kafka_timestamp"], since))
    lines = [_line(row) for row in table.sort_by([("partition", "ascending"), ("offset", "ascending")]).to_pylist()]
    chosen = [line for line in lines if not reasons or set(reasons) & set(line["reasons"])]
    places = pa.array([line["position"] for line in chosen], pa.string())
    is_good = pc.is_in(places, value_set=ids.combine_chunks()).to_pylist()
    return [line for line, made_good in zip(chosen, is_good, strict=True) if not made_good]


def mended(stream: Stream, lines: Iterable[Record], changes: Record) -> Iterator[Mended]:
    """Lines -> records with `changes` in them, an id and a time."""
    for number, line in enumerate(lines, start=1):
        record = line.get("record")
        if record is None:
            record = _object(line["raw"]) if isinstance(line.get("raw"), str) else None
        if not isinstance(record, dict):
            yield Mended(number, line["position"], {}, ("not_json",))
            continue
        record = record | changes
        if not _is_text(record.get("event_id")):
            record["event_id"] = line["position"]
        if not stream.event_seconds and not _is_text(record.get("event_time")):
            record["event_time"] = line["kafka_timestamp"]
        yield Mended(number, line["position"], record, tuple(still_wrong(stream, record)))


def still_wrong(stream: Stream, record: Record) -> Iterator[str]:
    """Why a record would be rejected, in the codes of the job. It speaks of what the contract asks for, not of
    what only Spark can tell: how deep a message is, or how long a name.
    """
    for spec in stream.fields:
        if spec.required and (why := _wrong(spec, record.get(spec.name))):
            yield f"{why}:{spec.name}"
    when = _event_time(stream, record)
    if when is not None and when > datetime.now(UTC) + DAY_AHEAD:
        yield "future:event_time"


def _wrong(spec: FieldSpec, value: Any) -> str | None:  # noqa: PLR0911
    """`missing`, `type` or `range`; None where a required field is as it should be."""
    if value is None or (spec.kind in (Kind.TEXT, Kind.MONEY) and isinstance(value, str) and not value.strip(" ")):
        return "missing"
    if spec.kind is Kind.TEXT:
        return "type" if not isinstance(value, str) else "range" if spec.choices and value not in spec.choices else None
    if spec.kind is Kind.MONEY and isinstance(value, str):
        value = _decimal(value)
    if not isinstance(value, Decimal):
        return "type"
    if spec.kind is Kind.NUMBER:
        return None if _is_within(spec, float(value)) else "range"
    if value.copy_abs() >= TOO_LARGE:  # abs() raises Overflow
        return "range"
    value = value.quantize(LAST_DECIMAL, context=EXACT)
    if spec.kind is Kind.WHOLE and value % 1:
        return "type"
    return None if _is_within(spec, value) else "range"


def _is_within(spec: FieldSpec, value: float | Decimal) -> bool:
    too_low = spec.minimum is not None and value < type(value)(spec.minimum)
    too_high = spec.maximum is not None and value > type(value)(spec.maximum)
    return math.isfinite(value) and not (too_low or too_high or (spec.not_zero and value == 0))


def _decimal(text: str) -> Decimal | None:
    """Money as text; what nothing can hold is too large, as the job has it."""
    if not _DECIMAL_TEXT.fullmatch(text):
        return None
    return Decimal(text.strip()) if _SHORT.fullmatch(text) else TOO_LARGE


def _event_time(stream: Stream, record: Record) -> datetime | None:
    """Where it can be told."""
    try:
        if stream.event_seconds:
            (spec,) = (field for field in stream.fields if field.name == stream.event_seconds)
            seconds = record[spec.name]
            return None if _wrong(spec, seconds) else datetime.fromtimestamp(float(seconds), UTC)
        when = datetime.fromisoformat(record["event_time"])
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return when if when.tzinfo else None


def _line(row: Record) -> Record:
    """A rejected row as a line of the file."""
    raw = row["raw"]
    note: Record = {}
    record = _object(raw) if raw else None
    if raw and record is None and (data := _bytes(raw)) is not None:
        record = _object(data.decode("latin-1"))
        note = {"note": "was not UTF-8; here it is read as Latin-1"} if record is not None else note
    return {
        "position": f"{row['topic']}-{row['partition']}-{row['offset']}",
        "kafka_timestamp": row["kafka_timestamp"].astimezone(UTC).isoformat(),
        "reasons": row["reasons"],
        **note,
        **({"raw": raw} if record is None else {"record": record}),
    }


def _bytes(raw: str) -> bytes | None:
    """What `raw` stands for where it is the base64 of what is not UTF-8."""
    try:
        data = base64.b64decode(raw, validate=True)
        data.decode()
    except UnicodeDecodeError:
        return data
    except (binascii.Error, ValueError):
        return None
    return None


def _object(text: str | bytes) -> Record | None:
    """One JSON object with its numbers as Decimals; None where it isn't one."""

    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        found = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=no_constant)
        _encoded(found)
    except (ValueError, RecursionError, InvalidOperation):
        return None
    return found if isinstance(found, dict) else None


def _encoded(value: Any) -> bytes:
    """JSON in which a Decimal stands as it was spelled. Raises ValueError for half a surrogate pair."""
    try:
        return orjson.dumps(value, default=_number)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error


def _number(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"no JSON value: {value!r}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip(" "))


# --- what the command does -------------------------------------------------------------------------------------------


def _lines_of(path: Path) -> list[Record]:
    """A file's lines; all of them are looked at before any is sent. Raises ResendError."""
    found = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ResendError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        read = _object(line)
        if read is None:
            raise ResendError(f"{path}: line {number} is no JSON object; nothing was sent")
        if not _is_text(read.get("position")) or not _is_text(read.get("kafka_timestamp")):
            raise ResendError(
                f"{path}: line {number} lacks position or kafka_timestamp, which --out wrote: without them, sending it "
                "twice would count it twice; nothing was sent"
            )
        found.append(read)
    return found


def _write(lines: list[Record], out: Path) -> int:
    try:
        with out.open("xb") as file:
            for line in lines:
                file.write(_encoded(line) + b"\n")
    except FileExistsError as error:
        raise ResendError(f"{out}: there is such a file already, perhaps half mended; name another") from error
    except OSError as error:
        raise ResendError(f"{out}: cannot be written: {error.strerror or error}") from error
    print(f"{len(lines)} rejected records in {out}: mend `record` (or `raw`), delete lines that are to stay rejected")
    return 0


def _list(lines: list[Record], stream: Stream) -> int:
    print(f"{len(lines)} rejected records of {stream.name}")
    for reason, count in Counter(reason for line in lines for reason in line["reasons"]).most_common():
        print(f"{count:9} {reason}")
    return 0


def _send(settings: Settings, stream: Stream, records: Callable[[], Iterable[Mended]], *, dry: bool) -> int:
    good: list[Mended] = []
    bad: list[Mended] = []
    for each in records():
        (bad if each.reasons else good).append(each)
    for each in bad[:SHOWN]:
        print(f"line {each.line}, {each.position}: {', '.join(each.reasons)}", file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"and {len(bad) - SHOWN} more", file=sys.stderr)
    sent = 0 if dry else _produce(settings, stream, good)
    left = f"; {len(bad)} left out, which would be rejected again" if bad else ""
    print(
        f"{len(good)} would be sent to {stream.raw_topic}{left}" if dry else f"{sent} sent to {stream.raw_topic}{left}"
    )
    return 0 if not bad and (dry or sent == len(good)) else 1


def _produce(settings: Settings, stream: Stream, records: Sequence[Mended]) -> int:
    """Sends, and returns how many the broker has acknowledged."""
    if not records:
        return 0
    delivery = Delivery(stream.raw_topic, client_config(settings, find_broker(settings)))
    for each in records:
        delivery.send(str(each.record.get(stream.key)), _encoded(each.record))
    delivery.flush(FLUSH_S)
    for name, count in delivery.errors.items():
        print(f"{count} not delivered: {name}", file=sys.stderr)
    return delivery.acknowledged


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m producers.resend",
        description="What was rejected: to a file, to be mended, and sent again. Sent twice, it counts once.",
    )
    parser.add_argument("stream", choices=sorted(STREAMS))
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="a mended file: send it")
    parser.add_argument(
        "--reason", action="append", default=[], metavar="R", help="missing:price, not_json ...; several: any of them"
    )
    parser.add_argument("--since", type=_moment, metavar="T", help="rejected ones that came from then on, ISO 8601")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write them to a file that isn't there yet")
    parser.add_argument(
        "--set", action="append", default=[], type=_change, metavar="FIELD=VALUE", help="mend and send; VALUE in JSON"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent")
    return parser


def _moment(text: str) -> datetime:
    """UTC where no offset is named."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _change(text: str) -> tuple[str, Any]:
    """`price=9.99`, `product="TV"`, `country=null`; what is no JSON is text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE, not {text}")
    read = _object(f'{{"value": {value}}}')
    return name, value if read is None else read["value"]


if __name__ == "__main__":
    run_main(main)
