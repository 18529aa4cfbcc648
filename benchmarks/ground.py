"""What benchmarks stand on: a broker and a home of their own, topics with content, the machine's name."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import platform
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import psutil
from confluent_kafka import Producer

from headwater.broker import ensure_broker, read_running, stop_broker
from headwater.contracts import Stream
from headwater.errors import HeadwaterError
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from headwater.topics import ensure_topics
from producers.delivery import PRODUCER_DEFAULTS, encode
from tests.ports import free_port

T = TypeVar("T")


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Settings for what reads them from the environment; as they were at the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def ground(streams: Sequence[Stream], partitions: int, **more: str) -> Iterator[tuple[Settings, str]]:
    """A broker with these streams' topics, in a folder that is gone at the end. ``more``: settings, by variable."""
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", ignore_cleanup_errors=True) as folder:
        settings = {
            "HEADWATER_HOME": folder,
            "HEADWATER_KAFKA_PORT": str(free_port()),
            "HEADWATER_KAFKA_PARTITIONS": f'{{"default": {partitions}}}',
        }
        with environment(**settings, **more):
            found = load_settings()
            bootstrap = ensure_broker(found)
            try:
                ensure_topics(found, bootstrap, streams)
                yield found, bootstrap
            finally:
                stop_broker(found)


Change = Callable[[int, Mapping[str, Any]], Mapping[str, Any]]
"""A simulated record by its number -> the record that is sent."""


def produce(
    settings: Settings, bootstrap: str, stream: Stream, records: int, change: Change = lambda _, record: record
) -> float:
    """Sends what the stream's own producer simulates, as it would. Returns the mean number of bytes of a record."""
    fast: dict[str, Any] = {**PRODUCER_DEFAULTS, "linger.ms": "50", **client_config(settings, bootstrap)}
    producer = Producer(fast)
    simulated = import_module(f"producers.{stream.name}").simulate(seed=1)
    total = 0
    for number, told in enumerate(itertools.islice(simulated, records)):
        record = change(number, told)
        value = encode(record)
        total += len(value)
        while True:
            try:
                producer.produce(stream.raw_topic, value, record[stream.key])
                break
            except BufferError:
                producer.poll(0.5)
    producer.flush()
    return total / records


def in_process(work: Callable[..., T], *arguments: Any) -> T:
    """What a function gives in a process of its own, which has ended by then, with all that it started."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        answer, failure = here.recv()
    except EOFError as error:
        raise HeadwaterError(f"{work.__name__} ended without an answer") from error
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    if failure:
        raise HeadwaterError(failure)
    found: T = answer
    return found


def _answer(there: Connection, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        there.send((work(*arguments), None))
    except Exception:
        there.send((None, traceback.format_exc()))


def broker_process(settings: Settings) -> psutil.Process:
    """The embedded broker's."""
    running = read_running(settings)
    assert running is not None
    return psutil.Process(running.pid)


def machine() -> str:
    """What was measured on: processor, cores, memory and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
