"""Readings out of the job's CSV files: pages of JSON, and the files' own lines for a download.

A day of a source is one file or several parts, the later the higher the number; a part is put in place as a whole and
its rows never leave it. So whoever first looks how many parts there are, and then reads them in their order, has all
rows up to some moment, each once, also while the job writes (``docs/decisions/0046-readings-as-json.md``).

Times are microseconds since 1970.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv
from pydantic import Field, TypeAdapter

from headwater.contracts import emissions
from headwater.contracts.base import Kind
from headwater.contracts.co2 import CO2
from headwater.csvfiles import as_it_was, day_file

NAME = "readings"
COLUMNS = ("event_time", CO2.key, *emissions.Reading._fields[1:])
HEADER = ",".join(COLUMNS).encode() + b"\r\n"
FILE = re.compile(rf"{NAME}-(\d{{4}}-\d\d-\d\d)-([^.]*)(?:\.(\d+))?\.csv")
MOST_PROBED = 400
"""Days of a source that are looked for one by one; for more, and without an end, the folder is listed."""
AHEAD = timedelta(days=2)
"""The newest reading is no further ahead of the clock: the job takes a day."""

DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = 2**62

TEXTS = frozenset(field.name for field in CO2.fields if field.kind is Kind.TEXT)
# Numbers stay text: as Python spells them they are JSON already.
CONVERT = ConvertOptions(
    column_types=dict.fromkeys(COLUMNS, pa.string()),
    include_columns=COLUMNS,
    include_missing_columns=True,
    null_values=[""],
    strings_can_be_null=True,
)
PARSE = ParseOptions(newlines_in_values=True)

Micros = Annotated[int, Field(ge=-FOREVER, le=FOREVER)]


class Cursor(NamedTuple):
    """The last reading of a page: ``seen`` of its source's readings of that very time have been given.

    ``source_id`` as the files spell it.
    """

    at: Micros
    source_id: str
    seen: Annotated[int, Field(ge=0, le=FOREVER)]

    def spelled(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([*self])).rstrip(b"=").decode()

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises ``ValueError`` for what :meth:`spelled` hasn't made."""
        return _CURSOR.validate_json(base64.urlsafe_b64decode(text.encode() + b"=="), strict=True)


_CURSOR = TypeAdapter(Cursor)


@dataclass(frozen=True)
class Wanted:
    """Readings of a source, or of all, from one time up to and not including another."""

    source_id: str | None = None
    since: int = -FOREVER
    until: int = FOREVER

    @classmethod
    def of(cls, source_id: str | None, since: datetime | None, until: datetime | None) -> Wanted:
        return cls(source_id, -FOREVER if since is None else micros(since), FOREVER if until is None else micros(until))


class SourceDay(NamedTuple):
    """A day of a source: as many parts as there were when it was looked for."""

    day: str
    stem: Path
    parts: int

    def part(self, number: int) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{number}.csv" if number > 1 else f"{self.stem.name}.csv")


def micros(time: datetime) -> int:
    """An aware time; unlike ``timestamp`` it is exact."""
    return (time - EPOCH) // timedelta(microseconds=1)


# -- pages


def page(folder: Path, wanted: Wanted, limit: int, after: Cursor | None = None) -> tuple[bytes, Cursor | None]:
    """The next readings as a JSON array, in the order of time and source; and where to go on, if there are more."""
    since = wanted.since if after is None else max(wanted.since, after.at)
    held = _empty()
    for day in _by_day(find(folder, Wanted(wanted.source_id, since, wanted.until))):
        held = pa.concat_tables([held, _first_of(day, Wanted(wanted.source_id, since, wanted.until), limit + 1, after)])
        if held.num_rows > limit:
            break
    rows = held.slice(0, limit)
    return _json(rows), _cursor(rows, after) if held.num_rows > limit else None


def _by_day(found: Iterable[SourceDay]) -> Iterator[list[SourceDay]]:
    days: dict[str, list[SourceDay]] = {}
    for source_day in found:
        days.setdefault(source_day.day, []).append(source_day)
    yield from (days[day] for day in sorted(days))


def _first_of(day: Sequence[SourceDay], wanted: Wanted, most: int, after: Cursor | None) -> pa.Table:
    """The first readings of a day. No source is read further than what the others leave room for."""
    if len(day) == 1:
        return _rows(day[0], wanted, most, after)
    held, until = _empty().append_column("order", pa.array([], pa.int64())), wanted.until
    for source_day in day:
        rows = _rows(source_day, Wanted(wanted.source_id, wanted.since, until), most, after)
        rows = rows.append_column("order", pa.array(range(rows.num_rows), pa.int64()))
        order = [(name, "ascending") for name in ("at", CO2.key, "order")]
        held = pa.concat_tables([held, rows]).sort_by(order).slice(0, most)
        if held.num_rows == most:
            until = min(until, held["at"][-1].as_py() + 1)
    return held.drop_columns("order")


def _rows(day: SourceDay, wanted: Wanted, most: int, after: Cursor | None) -> pa.Table:
    """The first readings of a source on a day, after a cursor."""
    since, seen = wanted.since, 0
    if after is not None and since == after.at and (source_id := _source(day)) is not None:
        since += source_id < after.source_id
        seen = after.seen if source_id == after.source_id else 0
    tables, found = [_empty()], 0
    for number in range(_first_part(day, since), day.parts + 1):
        rows = _read(day.part(number))
        low, high = _between(rows["at"].to_numpy(), since, wanted.until)
        tables.append(rows.slice(low, high - low))
        found += high - low
        if high < rows.num_rows or found >= seen + most:
            break
    rows = pa.concat_tables(tables)
    if seen:
        seen = min(seen, int(np.searchsorted(rows["at"].to_numpy(), since, "right")))
    return rows.slice(seen, most)


def _cursor(rows: pa.Table, after: Cursor | None) -> Cursor:
    at, source_id = rows["at"].to_numpy(), rows[CO2.key].to_pylist()
    last = int(at[-1]), source_id[-1]
    seen = next(n for n in count(1) if n == len(at) or (at[-1 - n], source_id[-1 - n]) != last)
    before = after.seen if after is not None and last == (after.at, after.source_id) else 0
    return Cursor(*last, seen + before)


# -- lines


def lines(folder: Path, wanted: Wanted) -> Iterator[bytes]:
    """The files' own lines under one header, a day after the other, and of each day a source after the other."""
    first, last = _day(wanted.since - 1), _day(wanted.until)
    yield HEADER
    for day in sorted(find(folder, wanted)):
        for number in range(_first_part(day, wanted.since), day.parts + 1):
            data = _bytes(day.part(number))
            body = data.partition(b"\n")[2]
            if chosen := body if first < day.day < last else _cut(data, body, wanted):
                yield chosen


def _cut(data: bytes, body: bytes, wanted: Wanted) -> bytes:
    """The lines of a file that are wanted; what they hold stays as it is spelled."""
    at = _table(data)["at"].to_numpy()
    low, high = _between(at, wanted.since, wanted.until)
    if high - low in (0, len(at)):
        return body if high > low else b""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows[low:high])
    return text.getvalue().encode()


# -- files


def find(folder: Path, wanted: Wanted) -> list[SourceDay]:
    """The days that may have such readings. They hold no reading that comes later, but what they held is all there."""
    first, last = _day(wanted.since), _day(wanted.until - 1)
    if wanted.source_id is not None and wanted.since > -FOREVER:
        last = min(last, (datetime.now(UTC) + AHEAD).date().isoformat()) if wanted.until == FOREVER else last
        days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
        if days <= MOST_PROBED:
            return [found for n in range(days) if (found := _probe(folder, _after(first, n), wanted.source_id))]
    return [found for found in _list(folder, wanted.source_id) if first <= found.day <= last]


def _probe(folder: Path, day: str, source_id: str) -> SourceDay | None:
    """Parts are numbered without a gap, so their number is found in a few steps."""
    found = SourceDay(day, folder / day_file(NAME, day, source_id, 1).removesuffix(".csv"), 0)
    beyond = 1
    while found.part(beyond).exists():
        beyond *= 2
    if beyond == 1:
        return None
    is_beyond = bisect_left(range(beyond), True, lo=beyond // 2, key=lambda number: not found.part(number).exists())
    return found._replace(parts=is_beyond - 1)


def _list(folder: Path, source_id: str | None) -> list[SourceDay]:
    own = None if source_id is None else _parsed(day_file(NAME, "1970-01-01", source_id, 1))[1]
    parts: dict[tuple[str, str], int] = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            day, key, number = _parsed(entry.name)
            if day and own in (None, key):
                parts[day, key] = max(parts.get((day, key), 1), number)
    return [SourceDay(day, folder / f"{NAME}-{day}-{key}", number) for (day, key), number in parts.items()]


def _parsed(name: str) -> tuple[str, str, int]:
    """A file's name -> day, spelled source and part; empty where it is none of ours."""
    match = FILE.fullmatch(name)
    return (match[1], match[2], int(match[3] or 1)) if match else ("", "", 0)


def _day(at: int) -> str:
    ordinal = EPOCH.date().toordinal() + at // DAY_US
    return date.fromordinal(min(max(ordinal, 1), date.max.toordinal())).isoformat()


def _after(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def _first_part(day: SourceDay, since: int) -> int:
    """The last part that begins before a time: readings of that very time may end it."""
    return max(bisect_left(range(1, day.parts + 1), since, key=lambda number: _begin(day, number)), 1)


def _begin(day: SourceDay, number: int) -> int:
    """When the first reading was of a part, or of the next that has any."""
    heads = (_head(day.part(later)) for later in range(number, day.parts + 1))
    return next((micros(datetime.fromisoformat(head["event_time"])) for head in heads if head), FOREVER)


def _source(day: SourceDay) -> str | None:
    heads = (_head(day.part(number)) for number in range(1, day.parts + 1))
    return next((head[CO2.key] for head in heads if head), None)


def _head(path: Path) -> dict[str, str]:
    """A file's first row; empty where it has none."""
    with suppress(FileNotFoundError), path.open(newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file), {})
    return {}


def _bytes(path: Path) -> bytes:
    """A file; without a row where it is gone, as after a reset."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return HEADER


def _read(path: Path) -> pa.Table:
    return _table(_bytes(path))


def _table(data: bytes) -> pa.Table:
    """A file's rows, all as text, with their times as ``at``."""
    # One block, since no row may lie across two.
    options = ReadOptions(use_threads=False, block_size=len(data) + 1)
    rows = read_csv(pa.py_buffer(data), read_options=options, parse_options=PARSE, convert_options=CONVERT)
    at = rows["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    # A text that is empty and one that is missing look the same; of these two only a source's id can't be missing.
    rows = rows.set_column(COLUMNS.index(CO2.key), CO2.key, rows[CO2.key].fill_null(""))
    return rows.append_column("at", at)


def _empty() -> pa.Table:
    return _table(HEADER)


def _between(at: npt.NDArray[np.int64], since: int, until: int) -> tuple[int, int]:
    low, high = np.searchsorted(at, [since, until])
    return int(low), max(int(low), int(high))


# -- JSON


def _json(rows: pa.Table) -> bytes:
    """An array of objects, made column by column: row by row takes four times as long."""
    pieces: list[Any] = []
    for number, name in enumerate(COLUMNS):
        pieces.append(f'{"," if number else "{"}"{name}":')
        pieces.append(_texts(rows[name]) if name in TEXTS else _plain(rows[name], name))
    return b"[" + ",".join(pc.binary_join_element_wise(*pieces, "}", "").to_pylist()).encode() + b"]"


def _texts(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks().dictionary_encode()
    spelled = [orjson.dumps(as_it_was(text)).decode() for text in found.dictionary.to_pylist()]
    return pa.array(spelled, pa.string()).take(found.indices).fill_null("null")


def _plain(column: pa.ChunkedArray, name: str) -> pa.Array:
    found = column.combine_chunks()
    return pc.binary_join_element_wise('"', found, '"', "") if name == "event_time" else found.fill_null("null")
