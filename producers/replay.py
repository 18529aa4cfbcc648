"""Recorded files as raw records: what every stream's replay shares.

A file is read three times from the disk: for its content's hash and its encoding, for its event times, and to
be sent. So a file that is already in order of event time needs 8 bytes of memory a row, whatever its size; one
that is not is sorted in memory (about 1 KB a row: fine up to some millions of rows), from the moment on at which its
first record is due.

Nothing is dropped: every row under the header becomes a record, and what a format cannot map goes out as it is
written, so that the job rejects it with a reason. Empty cells are left out; blank lines are no rows.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import heapq
import io
import itertools
import math
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import orjson

from headwater.contracts.base import Kind, Stream
from headwater.errors import HeadwaterError

RawRecord = dict[str, Any]
Cells = dict[str, str]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BEFORE_ALL = -(2**63)
"""Sorts a record of unknown time that no record of known time precedes."""

_CHUNK = 1 << 20
_LONGEST_NUMBER = 40
_GZIP_MAGIC = b"\x1f\x8b"
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

LONGEST_CELL = 131_072
"""Characters in a cell, the csv module's own default. A longer one is most likely a quote left open."""


_END = "\0end of the file\0"
"""Read as a line behind the last: in a row of its own, unless a quote is open, and all rows behind it are one cell."""


class ReplayError(HeadwaterError):
    """A file that cannot be replayed."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Format:
    """A recorded format: how its header is told from others, and how a row becomes records.

    `matches` may raise ReplayError where a header contradicts itself; the file's name is put before its message.
    `convert` gets a row's cells by column (empty where the row is short) and the file's path, and gives its records:
    times it could read as aware datetimes, money as text, everything it could not read as it is written. An
    `event_id` it does not set is made of the file's content hash and the row's number.
    """

    name: str
    columns: str
    matches: Callable[[Collection[str]], bool]
    convert: Callable[[Cells, Path], list[RawRecord]]


@dataclass(frozen=True)
class Series:
    """A recorded format whose rows can only be told one after another, as where a column is a running total.

    `opened` is called for each reading of a file and gives what its rows go through, in the file's order.
    """

    name: str
    columns: str
    matches: Callable[[Collection[str]], bool]
    opened: Callable[[Path], Callable[[Cells], list[RawRecord]]]


@dataclass(frozen=True)
class Document:
    """A recorded format of which a file is one JSON object, read as a whole.

    `convert` gets the object and gives its records, or raises ReplayError where it isn't one of this format; the file's
    name is put before its message. An `event_id` it does not set is made of the file's content hash and the place.
    """

    name: str
    columns: str
    convert: Callable[[dict[str, Any]], Iterable[RawRecord]]


AnyFormat = Format | Series | Document


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record of a file; `sort_us` is its event time, or that of the record before it where it has none."""

    sort_us: int
    record: RawRecord

    @property
    def time_us(self) -> int | None:
        """Microseconds since 1970, or None where neither it nor any record before it has a time."""
        return None if self.sort_us == BEFORE_ALL else self.sort_us


@dataclass(frozen=True)
class Recording:
    """A file whose format, encoding and event times are known."""

    path: Path
    digest: str
    encoding: str
    format: AnyFormat
    times_us: array[int]

    def __len__(self) -> int:
        """How many records it holds."""
        return len(self.times_us)

    @property
    def is_ordered(self) -> bool:
        return all(a <= b for a, b in itertools.pairwise(self.times_us))

    def as_recorded(self) -> Iterator[Recorded]:
        """The records in the file's order."""
        return _read(self.path, self.digest, self.encoding, self.format)

    def by_event_time(self) -> Iterator[Recorded]:
        """The records in the order of event time; equal times keep the file's order."""
        if self.is_ordered:
            return self.as_recorded()
        return iter(sorted(self.as_recorded(), key=attrgetter("sort_us")))

    def when_due(self) -> Iterator[Recorded | _Due]:
        """The same behind a mark of the time of the first: nothing is read before somebody asks beyond it."""
        if self.times_us:
            yield _Due(min(self.times_us))
            yield from self.by_event_time()


@dataclass(frozen=True, slots=True)
class _Due:
    """The place in a merge at which a file begins."""

    sort_us: int


def survey(path: Path, formats: Sequence[AnyFormat]) -> Recording:
    """Find a file's format by its header, or by its being JSON, and take its event times. Raises ReplayError."""
    if not path.exists():
        raise ReplayError(f"{path}: no such file")
    if not path.is_file():
        raise ReplayError(f"{path}: not a file")
    digest, encoding = _digest(path)
    form = _document_of(path, formats) or _csv_format_of(path, encoding, formats)
    times = array("q", (r.sort_us for r in _read(path, digest, encoding, form)))
    return Recording(path, digest, encoding, form, times)


def replay(recordings: Sequence[Recording], *, as_recorded: bool = False) -> Iterator[Recorded]:
    """The records of all files by event time, equal times in the order the files are named.

    With `as_recorded` one file after another, each in its own order.
    """
    if as_recorded:
        return itertools.chain.from_iterable(r.as_recorded() for r in recordings)
    merged = heapq.merge(*(r.when_due() for r in recordings), key=attrgetter("sort_us"))
    return (item for item in merged if isinstance(item, Recorded))


def last_time(recordings: Sequence[Recording], count: int | None, *, as_recorded: bool = False) -> datetime | None:
    """The latest event time among the first `count` records that `replay` gives; None where there is no time."""
    times: Iterable[int] = itertools.chain.from_iterable(r.times_us for r in recordings)
    if count is not None:
        times = itertools.islice(times if as_recorded else sorted(times), count)
    latest = max(times, default=BEFORE_ALL)
    return None if latest == BEFORE_ALL else EPOCH + latest * MICROSECOND


def shifted(
    recorded: Iterable[Recorded], by: timedelta, suffix: str, seconds_fields: Collection[str] = ()
) -> Iterator[Recorded]:
    """The same records at another time, as other events: `suffix` is added to each `event_id`.

    `seconds_fields` are times, too, in whole seconds; where there are any, all times move by whole seconds. A time that
    a move would take beyond the calendar stays.
    """
    by = timedelta(seconds=by // timedelta(seconds=1)) if seconds_fields else by
    step = by // MICROSECOND
    for item in recorded:
        record = dict(item.record, event_id=f"{item.record['event_id']}-{suffix}")
        if isinstance(record.get("event_time"), datetime):
            with suppress(OverflowError):
                record["event_time"] += by
        for name in seconds_fields:
            if isinstance(record.get(name), int):
                record[name] += by // timedelta(seconds=1)
        yield Recorded(item.sort_us if item.time_us is None else item.sort_us + step, record)


def contract_format(stream: Stream) -> Format:
    """A CSV whose columns are named as the contract's fields. Other columns go out as text, unknown to the contract.

    A row's own `event_id`, where the file has that column, is kept: it is the event's identity by contract.
    """
    casts = {f.name: _CASTS[f.kind] for f in stream.fields if f.kind in _CASTS}
    required = [f.name for f in stream.fields if f.required]

    def convert(cells: Cells, _path: Path) -> list[RawRecord]:
        return [{name: casts.get(name, str)(text) for name, text in cells.items() if text != ""}]

    return Format(
        name=f"{stream.name} by field name",
        columns=", ".join(required) + " and any of " + ", ".join(f.name for f in stream.fields if not f.required),
        matches=lambda header: set(required) <= set(header),
        convert=convert,
    )


def whole(text: str) -> int | float | str:
    """`6` and `6.0` as 6; `1.5` as 1.5, which is no whole number and will be rejected as such; else the text."""
    if len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text.strip()):
        return text
    value = Decimal(text.strip())
    return int(value) if value == value.to_integral_value() else float(value)


def number(text: str) -> float | str:
    """A finite number as a float; else the text."""
    if not _NUMBER.fullmatch(text.strip()):
        return text
    value = float(text.strip())  # which does not strip all that str does
    return value if math.isfinite(value) else text


def money(text: str) -> str:
    """The exact decimal as plain text, never through a float; else the text."""
    return f"{Decimal(text.strip()):f}" if _DECIMAL.fullmatch(text.strip()) else text


def boolean(text: str) -> bool | str:
    """`true` and `false` in any case; else the text."""
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def instant(text: str) -> datetime | str:
    """ISO 8601 as an aware time, UTC where it names no offset; else the text."""
    try:
        return aware(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        return text


def aware(value: datetime) -> datetime:
    """A time with its offset, UTC where it has none. Raises OverflowError where UTC has it in year 0 or 10000."""
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    value.astimezone(UTC)
    return value


_CASTS: dict[Kind, Callable[[str], Any]] = {
    Kind.WHOLE: whole,
    Kind.NUMBER: number,
    Kind.MONEY: money,
    Kind.BOOLEAN: boolean,
    Kind.TIME: instant,
}


def _read(path: Path, digest: str, encoding: str, form: AnyFormat) -> Iterator[Recorded]:
    """A file's records in its order, with their ids."""
    sort_us = BEFORE_ALL
    records = _of_document(path, digest, form) if isinstance(form, Document) else _of_rows(path, digest, encoding, form)
    for record in records:
        when = record.get("event_time")
        if isinstance(when, datetime):
            sort_us = (when - EPOCH) // MICROSECOND
        yield Recorded(sort_us, record)


def _of_rows(path: Path, digest: str, encoding: str, form: Format | Series) -> Iterator[RawRecord]:
    """The records of a CSV; ids are `<hash>-<row>`, and `<hash>-<row>.<n>` from a row's second on."""
    convert = form.opened(path) if isinstance(form, Series) else lambda cells: form.convert(cells, path)
    with _rows(path, encoding) as rows:
        header = _header(path, rows)
        for row_number, row in enumerate(rows, start=1):
            cells = dict(itertools.zip_longest(header, row[: len(header)], fillvalue=""))
            for nth, record in enumerate(convert(cells), start=1):
                if len(row) > len(header):
                    record["surplus_cells"] = row[len(header) :]
                record.setdefault("event_id", f"{digest}-{row_number}" + (f".{nth}" if nth > 1 else ""))
                yield record


def _of_document(path: Path, digest: str, form: Document) -> Iterator[RawRecord]:
    """The records of a file that is one JSON object; ids are `<hash>-<place>`, from 1."""
    with _open(path) as content:
        text = content.read().removeprefix(codecs.BOM_UTF8)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ReplayError(f"{path}: not JSON: {error}") from error
    try:
        for place, record in enumerate(form.convert(found), start=1):
            record.setdefault("event_id", f"{digest}-{place}")
            yield record
    except ReplayError as error:
        raise ReplayError(f"{path}: {error}") from error


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """The file's content, unpacked where it is gzip by its first bytes."""
    try:
        with path.open("rb") as packed:
            if packed.read(2) == _GZIP_MAGIC:
                packed.seek(0)
                with gzip.GzipFile(fileobj=packed) as content:
                    yield cast(IO[bytes], content)
            else:
                packed.seek(0)
                yield packed
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ReplayError(f"{path}: the gzip file is damaged: {error}") from error
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read: {error.strerror or error}") from error


def _digest(path: Path) -> tuple[str, str]:
    """The hash of a file's unpacked content (the first 64 bits of SHA-256) and the encoding it is read in."""
    sha = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8-sig"
    with _open(path) as content:
        while chunk := content.read(_CHUNK):
            sha.update(chunk)
            encoding = _still(encoding, decoder, chunk)
    return sha.hexdigest()[:16], _still(encoding, decoder, b"", final=True)


def _still(encoding: str, decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> str:
    """`encoding`, or Latin-1 from the first bytes on that are not UTF-8: no byte is lost in it."""
    if encoding != "latin-1":
        try:
            decoder.decode(chunk, final)
        except UnicodeDecodeError:
            return "latin-1"
    return encoding


@contextmanager
def _rows(path: Path, encoding: str) -> Iterator[Iterator[list[str]]]:
    with _open(path) as content, io.TextIOWrapper(content, encoding=encoding, newline="") as text:
        yield _parsed(path, text)


def _parsed(path: Path, text: IO[str]) -> Iterator[list[str]]:
    """The CSV's rows without blank lines; a row may span several lines."""
    csv.field_size_limit(LONGEST_CELL)  # of the whole process, and others raise it
    reader = csv.reader(itertools.chain(text, [_END]))
    line = 0
    try:
        for row in reader:
            if row and row[-1].endswith(_END) and row != [_END]:
                raise csv.Error("the file ends within quotes")
            line = reader.line_num
            if row and row != [_END]:
                yield row
    except csv.Error as error:
        raise ReplayError(f"{path}: from line {line + 1}: {error}; is a quote left open there?") from error


def _header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    names = next(rows, None)
    if names is None:
        raise ReplayError(f"{path}: empty, it has not even a header")
    header = [name.strip() or f"column_{position}" for position, name in enumerate(names, start=1)]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ReplayError(f"{path}: columns named twice: {', '.join(twice)}")
    return header


def _document_of(path: Path, formats: Sequence[AnyFormat]) -> Document | None:
    """The format of a file that begins as JSON does; none where it doesn't, or no format is such a one."""
    with _open(path) as content:
        is_json = content.read(_CHUNK).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
    return next((form for form in formats if isinstance(form, Document)), None) if is_json else None


def _csv_format_of(path: Path, encoding: str, formats: Sequence[AnyFormat]) -> Format | Series:
    with _rows(path, encoding) as rows:
        header = _header(path, rows)
    try:
        for form in formats:
            if not isinstance(form, Document) and form.matches(header):
                return form
    except ReplayError as error:
        raise ReplayError(f"{path}: {error}") from error
    known = "".join(f"\n  {f.name}: {f.columns}" for f in formats)
    found = ", ".join(header)
    raise ReplayError(f"{path}: no known format has these columns: {found[:400]}\nknown formats:{known}")
