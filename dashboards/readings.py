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
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count, groupby
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
from headwater.ledger import DAY_US, EPOCH, micros

NAME = "readings"
COLUMNS = ("event_time", CO2.key, *emissions.Reading._fields[1:])
HEADER = ",".join(COLUMNS).encode() + b"\r\n"
FILE = re.compile(rf"{NAME}-(\d{{4}}-\d\d-\d\d)-([^.]*)(?:\.(\d+))?\.csv")
MOST_PROBED = 400
"""Days of a source that are looked for one by one; for more, and without an end, the folder is listed."""
FILES_AT_ONCE = 64
"""Of all sources together, a whole day at the least."""
BATCH_BYTES = 200_000
"""What is parsed at once of one source: about a full part."""
ROWS_AT_ONCE = 5_000
"""What becomes JSON at once."""
AHEAD = timedelta(days=2)
"""The newest reading is no further ahead of the clock: the job takes a day."""

FOREVER = 2**62

TEXTS = frozenset(field.name for field in CO2.fields if field.kind is Kind.TEXT)
# Numbers stay text: as Python spells them they are JSON already.
CONVERT = ConvertOptions(
    column_types=dict.fromkeys(COLUMNS, pa.string()),
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


# -- pages


def page(folder: Path, wanted: Wanted, limit: int, after: Cursor | None = None) -> tuple[bytes, Cursor | None]:
    """The next readings as a JSON array, in the order of time and source; and where to go on, if there are more."""
    if after is not None and after.at >= wanted.since:
        wanted = replace(wanted, since=after.at)
    else:
        after = None
    days = sorted(find(folder, wanted))
    gather = _of_all if wanted.source_id is None else _of_one
    found = pa.concat_tables([_table(b""), *gather(days, wanted, limit + 1, after)])
    rows = found.slice(0, limit)
    return _json(rows), _cursor(rows, after) if found.num_rows > limit else None


def _of_one(days: Iterable[SourceDay], wanted: Wanted, most: int, after: Cursor | None) -> Iterator[pa.Table]:
    """A source's first readings, in pieces, not much more than the most."""
    bodies = (body for day in days for body in _bodies(day, wanted.since))
    for batch in _batched(bodies):
        rows = _table(batch)
        low, high = _between(rows["at"].to_numpy(), wanted.since, wanted.until)
        chosen, after = _past(rows.slice(low, high - low), after)
        yield chosen
        most -= chosen.num_rows
        if most <= 0 or high < rows.num_rows:
            return


def _of_all(days: Iterable[SourceDay], wanted: Wanted, most: int, after: Cursor | None) -> Iterator[pa.Table]:
    """The first readings of all sources, some days after the other, not much more than the most."""
    for some in _some_days(days):
        short = [body for day in some if day.parts == 1 for body in _bodies(day, wanted.since)]
        at = (rows := _table(b"".join(short)))["at"].to_numpy()
        rows = _in_order(rows.filter(pa.array((at >= wanted.since) & (at < wanted.until))))
        held, until = _past(rows, after)[0], wanted.until
        for day in some:
            if day.parts == 1:
                continue
            # No source is read further than what the others leave room for.
            until = min(until, held["at"][most - 1].as_py() + 1) if held.num_rows >= most else until
            further = _of_one([day], replace(wanted, until=until), most, after)
            held = _in_order(pa.concat_tables([held, *further])).slice(0, most)
        yield held
        most -= held.num_rows
        if most <= 0:
            return


def _some_days(days: Iterable[SourceDay]) -> Iterator[list[SourceDay]]:
    """Whole days, together some files: to read many small ones one by one takes long."""
    some: list[SourceDay] = []
    for _, of_day in groupby(days, lambda source_day: source_day.day):
        some += of_day
        if sum(source_day.parts for source_day in some) >= FILES_AT_ONCE:
            yield some
            some = []
    yield some


def _in_order(rows: pa.Table) -> pa.Table:
    """By time and source; readings of a source at one time stay as they were."""
    order = pa.array(range(rows.num_rows), pa.int64())
    keys = [(name, "ascending") for name in ("at", CO2.key, "order")]
    return rows.append_column("order", order).sort_by(keys).drop_columns("order")


def _past(rows: pa.Table, after: Cursor | None) -> tuple[pa.Table, Cursor | None]:
    """Rows from a cursor's time on -> without those that a page has had, and the cursor for the rows that follow."""
    if after is None:
        return rows, after
    there = rows[CO2.key].slice(0, int(np.searchsorted(rows["at"].to_numpy(), after.at, "right"))).to_pylist()
    own = min(there.count(after.source_id), after.seen)
    return rows.slice(own + sum(name < after.source_id for name in there)), after._replace(seen=after.seen - own)


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
        for body in _bodies(day, wanted.since):
            if chosen := body if first < day.day < last else _cut(body, wanted):
                yield chosen


def _cut(body: bytes, wanted: Wanted) -> bytes:
    """The lines that are wanted; what they hold stays as it is spelled."""
    at = _table(body)["at"].to_numpy()
    low, high = _between(at, wanted.since, wanted.until)
    if high - low in (0, len(at)):
        return body if high > low else b""
    return _spelled(list(csv.reader(io.StringIO(body.decode(), newline="")))[low:high])


def _spelled(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
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


def _bodies(day: SourceDay, since: int) -> Iterator[bytes]:
    """What the parts hold below their headers, from the one on that readings of a time may be in."""
    for number in range(_first_part(day, since), day.parts + 1):
        yield _body(day.part(number))


def _batched(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Joined to pieces of a part's size: to parse many small ones takes long."""
    batch, size = [], 0
    for body in bodies:
        batch.append(body)
        size += len(body)
        if size >= BATCH_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)


def _first_part(day: SourceDay, since: int) -> int:
    """The last part that begins before a time: readings of that very time may end it."""
    if day.parts == 1:
        return 1
    return max(bisect_left(range(1, day.parts + 1), since, key=lambda number: _begin(day, number)), 1)


def _begin(day: SourceDay, number: int) -> int:
    """When the first reading was of a part, or of the next that has any."""
    heads = (_head(day.part(later)) for later in range(number, day.parts + 1))
    return next((micros(datetime.fromisoformat(head["event_time"])) for head in heads if head), FOREVER)


def _head(path: Path) -> dict[str, str]:
    """A file's first row; empty where it has none."""
    with suppress(FileNotFoundError), path.open(newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file), {})
    return {}


def _body(path: Path) -> bytes:
    """A file's lines below its header; none where it is gone, as after a reset."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    head, _, body = data.partition(b"\n")
    if head + b"\n" == HEADER:
        return body
    # Written by a version with other columns.
    rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
    return _spelled([row.get(name) or "" for name in COLUMNS] for row in rows)


def _table(body: bytes) -> pa.Table:
    """Lines as rows, all as text, with their times as ``at``."""
    # One block, since no row may lie across two.
    options = ReadOptions(use_threads=False, block_size=len(HEADER) + len(body) + 1)
    data = pa.py_buffer(HEADER + body)
    rows = read_csv(data, read_options=options, parse_options=PARSE, convert_options=CONVERT)
    at = rows["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    # A text that is empty and one that is missing look the same; of these two only a source's id can't be missing.
    rows = rows.set_column(COLUMNS.index(CO2.key), CO2.key, rows[CO2.key].fill_null(""))
    return rows.append_column("at", at)


def _between(at: npt.NDArray[np.int64], since: int, until: int) -> tuple[int, int]:
    low, high = np.searchsorted(at, [since, until])
    return int(low), max(int(low), int(high))


# -- JSON


def _json(rows: pa.Table) -> bytes:
    """An array of objects, made column by column, some rows at a time, which the processor's cache then holds."""
    some = (rows.slice(start, ROWS_AT_ONCE) for start in range(0, rows.num_rows, ROWS_AT_ONCE))
    return b"[" + b",".join(",".join(_objects(piece).to_pylist()).encode() for piece in some) + b"]"


def _objects(rows: pa.Table) -> pa.Array:
    pieces: list[Any] = ["{"]
    for number, name in enumerate(COLUMNS):
        spelled = _texts(rows[name]) if name in TEXTS else _plain(rows[name], name)
        for piece in (f'{"," if number else ""}"{name}":', spelled):
            if isinstance(piece, str) and isinstance(pieces[-1], str):
                pieces[-1] += piece
            else:
                pieces.append(piece)
    return pc.binary_join_element_wise(*pieces, "}", "")


def _texts(column: pa.ChunkedArray) -> pa.Array | str:
    """Each text as JSON; one for all where they are all the same, as a source's mostly are."""
    found = column.combine_chunks().dictionary_encode(null_encoding="encode")
    values = found.dictionary.to_pylist()
    spelled = ["null" if text is None else orjson.dumps(as_it_was(text)).decode() for text in values]
    return spelled[0] if len(spelled) == 1 else pa.array(spelled, pa.string()).take(found.indices)


def _plain(column: pa.ChunkedArray, name: str) -> pa.Array:
    found = column.combine_chunks()
    return pc.binary_join_element_wise('"', found, '"', "") if name == "event_time" else found.fill_null("null")
