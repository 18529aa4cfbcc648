"""The command line and the loop that all producers share."""

from __future__ import annotations

import argparse
import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import structlog
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headwater import logs
from headwater.broker import ensure_broker
from headwater.contracts.base import Stream
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from headwater.topics import STATUS_TOPIC, ensure_topics
from producers.delivery import Delivery, encode
from producers.pacing import SLICE_S, at_event_time, at_rate, keep_pace
from producers.replay import (
    AnyFormat,
    RawRecord,
    Recorded,
    Recording,
    contract_format,
    last_time,
    replay,
    shifted,
    survey,
)

T = TypeVar("T")

DELIVERY_PATIENCE_S = 120.0
"""How long the end of the input waits for the last acknowledgements."""
STOP_PATIENCE_S = 10.0
"""The same after SIGTERM or SIGINT."""


STATUS_EVERY_S = 30.0
"""At least so often a producer with a live source says what it does."""


class LiveSource(Protocol):
    """What is asked again and again for what is new; `next_at` is when next, in seconds since 1970."""

    next_at: float

    def poll(self) -> Iterator[RawRecord]: ...


class Live(Protocol):
    """A stream's live side, and what its producer says of itself for the dashboard, whatever the source."""

    status_key: str

    def obstacle(self, settings: Settings) -> str | None:
        """Why the live source can't be reached; None where it can."""

    def connect(self, settings: Settings) -> LiveSource: ...

    def status(self, options: Options, sent: int, source: LiveSource | None) -> BaseModel:
        """A value of the status topic; `source` is the one that is polled, if any."""


@dataclass(frozen=True)
class StreamProducer:
    """What a stream's module gives: its simulation (from a seed, or None) and the recorded formats it knows.

    The contract's own field names are a format of every stream and need not be named. `seconds_fields` are the times of
    a record in seconds since 1970, beside `event_time`. `backlog` is how many records of the past a simulation begins
    with: they go out as fast as they can.
    """

    stream: Stream
    simulate: Callable[[int | None], Iterator[RawRecord]]
    formats: tuple[AnyFormat, ...] = ()
    seconds_fields: tuple[str, ...] = ()
    live: Live | None = None
    backlog: Callable[[Settings], int] = lambda _settings: 0


@dataclass(frozen=True)
class Options:
    """The command line, checked. `rate` is in records a second, infinite for `max`, None where none is given.

    `reason` is why this source, where `auto` was asked for.
    """

    source: str
    paths: tuple[Path, ...]
    rate: float | None
    speed: float | None
    count: int | None
    seed: int | None
    now: bool
    as_recorded: bool
    reason: str | None = None


@dataclass(frozen=True)
class Feed:
    """What will be sent and when: due times as `keep_pace` takes them, records, and how many where that is known."""

    dues: Iterable[float | None]
    records: Iterator[RawRecord]
    total: int | None


class Stop:
    """Set by SIGTERM and SIGINT. A second signal ends the process as if nobody had listened."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        return self.requested

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the signals within the block."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, signal.SIG_DFL)


def run(producer: StreamProducer, arguments: Sequence[str] | None = None) -> int:
    """A producer's main program; returns its exit code: 0, or 1 where messages were not delivered."""
    settings = load_settings()
    logs.set_up(settings, f"producer {producer.stream.name}")
    options = chosen(producer, parse(producer, arguments), settings)
    log = structlog.get_logger(__name__).bind(stream=producer.stream.name, source=options.source)
    log = log.bind(why=options.reason) if options.reason else log
    stop = Stop()
    with stop.listening():
        source = producer.live.connect(settings) if producer.live and options.source == "live" else None
        feed = None if source else feed_of(producer, options, settings, datetime.now(UTC))
        if feed is not None and feed.total == 0:
            log.info("nothing to send", rows=0)
            return 0
        bootstrap = ensure_broker(settings)
        ensure_topics(settings, bootstrap, [producer.stream])
        client = client_config(settings, bootstrap)
        delivery = Delivery(producer.stream.raw_topic, client)
        report = Report(producer.live, options, source, delivery, client)
        total = options.count if feed is None else feed.total
        log.info("sending", topic=delivery.topic, broker=bootstrap, records=total or "until stopped")
        started = time.monotonic()
        report.say()
        if feed is not None:
            send(producer.stream, feed, delivery, stop, report)
        elif source is not None:
            send_live(producer.stream, source, options.count, delivery, stop, report)
        delivery.flush(STOP_PATIENCE_S if stop() else DELIVERY_PATIENCE_S)
        report.close()
    seconds = time.monotonic() - started
    log.info(
        "stopped" if stop() else "done",
        sent=delivery.sent,
        acknowledged=delivery.acknowledged,
        undelivered=delivery.errors.total(),
        seconds=round(seconds, 3),
        per_second=round(delivery.acknowledged / seconds, 1),
    )
    if delivery.errors:
        log.error("not delivered", **delivery.errors)
    return 1 if delivery.errors or delivery.is_dead else 0


class Report:
    """What a producer with a live side says of itself, for the dashboard; losing one of these does no harm."""

    def __init__(
        self, live: Live | None, options: Options, source: LiveSource | None, delivery: Delivery, client: dict[str, str]
    ) -> None:
        self._live = live
        self._options = options
        self._source = source
        self._delivery = delivery
        self._topic = Delivery(STATUS_TOPIC, client) if live else None
        self._due = 0.0

    def say(self) -> None:
        """Say it now."""
        if self._live and self._topic:
            told = self._live.status(self._options, self._delivery.sent, self._source)
            self._topic.send(self._live.status_key, told.model_dump_json(exclude_none=True).encode())
            self._topic.poll()
            self._due = time.monotonic() + STATUS_EVERY_S

    def say_if_due(self) -> None:
        """Say it if that is long ago."""
        if time.monotonic() >= self._due:
            self.say()

    def close(self) -> None:
        """Say it for the last time."""
        self.say()
        if self._topic:
            self._topic.flush(STOP_PATIENCE_S)


def chosen(producer: StreamProducer, options: Options, settings: Settings) -> Options:
    """The options with `auto` made up: live where that can be reached, else simulated, and why."""
    if options.source != "auto" or producer.live is None:
        return options
    obstacle = producer.live.obstacle(settings)
    if obstacle is None:
        return replace(options, source="live", reason="the live source can be reached")
    return replace(options, source="simulate", reason=f"the live source can't be reached: {obstacle}")


def send_live(
    stream: Stream, source: LiveSource, count: int | None, delivery: Delivery, stop: Stop, report: Report
) -> None:
    """Send what is new at each poll until `count` are sent, `stop` is set, or the client is beyond repair."""
    left = math.inf if count is None else count

    def is_over() -> bool:
        return stop() or delivery.is_dead or left <= 0

    while not is_over():
        for record in in_background(lambda: list(source.poll()), is_over) or ():
            _send_one(stream, delivery, record)
            left -= 1
            if is_over():
                break
        report.say()
        while not is_over() and (ahead := source.next_at - time.time()) > 0:
            delivery.poll()
            report.say_if_due()
            time.sleep(min(ahead, SLICE_S))


def in_background(work: Callable[[], T], is_over: Callable[[], bool]) -> T | None:
    """What `work` gives, which may take long; None where `is_over` says so before, and then nobody waits for it."""
    done: Future[T] = Future()

    def worker() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=worker, daemon=True).start()
    while not done.done() and not is_over():
        wait([done], SLICE_S)
    return done.result() if done.done() else None


def send(stream: Stream, feed: Feed, delivery: Delivery, stop: Stop, report: Report) -> None:
    """Send a feed at its pace until it ends, `stop` is set, or the client is beyond repair."""
    with _progress(stream, feed.total) as advance:

        def send_one(record: RawRecord) -> None:
            _send_one(stream, delivery, record)
            advance()

        def sleep(seconds: float) -> None:
            delivery.poll()
            report.say_if_due()
            time.sleep(seconds)

        keep_pace(
            feed.dues,
            feed.records,
            send_one,
            clock=time.monotonic,
            sleep=sleep,
            stopped=lambda: stop() or delivery.is_dead,
        )


def _send_one(stream: Stream, delivery: Delivery, record: RawRecord) -> None:
    key = record.get(stream.key)
    delivery.send(None if key is None else str(key), encode(record))


def feed_of(producer: StreamProducer, options: Options, settings: Settings, now: datetime) -> Feed:
    """What the options ask for. `now` (aware) is the time that `--now` moves the last record to."""
    if options.source == "replay":
        feed = _replay_feed(producer, options, now)
    else:
        rate = options.rate or getattr(settings, producer.stream.name).rate
        dues = itertools.chain(itertools.repeat(None, producer.backlog(settings)), at_rate(rate))
        feed = Feed(dues, producer.simulate(options.seed), None)
    if options.count is None:
        return feed
    total = options.count if feed.total is None else min(options.count, feed.total)
    return Feed(feed.dues, itertools.islice(feed.records, options.count), total)


def _replay_feed(producer: StreamProducer, options: Options, now: datetime) -> Feed:
    formats = (*producer.formats, contract_format(producer.stream))
    recordings: list[Recording] = [survey(path, formats) for path in options.paths]
    recorded: Iterator[Recorded] = replay(recordings, as_recorded=options.as_recorded)
    last = last_time(recordings, options.count, as_recorded=options.as_recorded)
    if options.now and last is not None:
        recorded = shifted(recorded, now - last, f"{int(now.timestamp() * 1e6):x}", producer.seconds_fields)
    total = sum(map(len, recordings))
    if options.speed is None:
        return Feed(at_rate(options.rate or math.inf), (r.record for r in recorded), total)
    recorded, ahead = itertools.tee(recorded)
    return Feed(at_event_time((r.time_us for r in ahead), options.speed), (r.record for r in recorded), total)


def parse(producer: StreamProducer, arguments: Sequence[str] | None = None) -> Options:
    """The command line; ends the process with exit code 2 and a message where it makes no sense."""
    name = producer.stream.name
    parser = argparse.ArgumentParser(prog=f"python -m producers.{name}", description=producer.stream.description)
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="recorded files, plain or .gz")
    simulated = "auto" if producer.live else "simulate"
    sources = ("simulate", "replay", "live", "auto") if producer.live else ("simulate", "replay")
    parser.add_argument("--source", choices=sources, help=f"default: replay where a PATH is given, else {simulated}")
    parser.add_argument(
        "--rate", type=_rate, metavar="N|max", help="records a second (replay: max; simulate: the settings' rate)"
    )
    parser.add_argument("--speed", type=_positive, metavar="X", help="replay: X times as fast as recorded")
    parser.add_argument("--count", type=_count, metavar="N", help="stop after N records")
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="simulate: the same records under the same ids, which count once",
    )
    parser.add_argument("--now", action="store_true", help="replay: shift times so that the last is now, with new ids")
    parser.add_argument("--as-recorded", action="store_true", help="replay: in the file's order, not by event time")
    given = parser.parse_intermixed_args(arguments)
    source = given.source or ("replay" if given.paths else simulated)
    if source == "replay" and not given.paths:
        parser.error("--source replay needs a PATH")
    if source != "replay":
        for_replay = {"a PATH": given.paths, "--speed": given.speed, "--as-recorded": given.as_recorded}
        for option in (option for option, value in for_replay.items() if value):
            parser.error(f"{option} is for --source replay, not {source}")
    if source == "live":
        paces = {"--rate": given.rate, "--seed": given.seed}
        for option in (option for option, value in paces.items() if value is not None):
            parser.error(f"{option} is not for --source live, whose pace and records are not ours")
    if given.rate is not None and given.speed is not None:
        parser.error("--rate and --speed are two ways to set the pace: give one")
    return Options(
        source=source,
        paths=tuple(given.paths),
        rate=given.rate,
        speed=given.speed,
        count=given.count,
        seed=given.seed,
        now=given.now,
        as_recorded=given.as_recorded,
    )


def _rate(text: str) -> float:
    return math.inf if text == "max" else _positive(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, not {text}")
    return value


@contextmanager
def _progress(stream: Stream, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on the terminal where a person watches and the end is known; gives what to call at each record."""
    console = Console(stderr=True)
    if total is None or not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(stream.name, total=total)
        yield lambda: progress.advance(task)
