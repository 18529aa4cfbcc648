"""Everything at once on one machine: `python -m headwater.demo`, or `make demo`.

Broker, producers, jobs and dashboard come up, each awaited by what it does and not by the clock,
and go down together. `--producers-only` runs the producers alone.
"""

import argparse
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from headwater.broker import ensure_broker, find_broker, is_answering, is_starting, read_running
from headwater.contracts import Stream, chosen_streams
from headwater.display import Display
from headwater.errors import HeadwaterError, run_main
from headwater.kafka import client_config
from headwater.settings import Settings, load_settings
from headwater.supervisor import Part, Supervisor
from headwater.topics import end_offsets, ensure_topics

BIN = Path(sys.executable).parent


def main() -> int:
    """Run the demo until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m headwater.demo", description="Run everything on one machine.")
    parser.add_argument("--producers-only", action="store_true", help="the producers alone, for jobs run by hand")
    options = parser.parse_args()
    settings = load_settings()
    streams = chosen_streams(os.environ.get("STREAMS", ""))
    # As an activated environment: spark-submit finds Spark through the first Python on PATH.
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    display = Display(Console())
    with Supervisor(display) as supervisor:
        if options.producers_only:
            run_producers(settings, streams, supervisor, display)
        else:
            run_all(settings, streams, supervisor, display)
    return 0


def run_all(settings: Settings, streams: list[Stream], supervisor: Supervisor, display: Display) -> None:
    """Broker first; jobs and dashboard start beside it, since loading themselves takes them longer."""
    _require_free(settings.dashboard.host, settings.dashboard.port)
    jobs, dashboard = jobs_part(settings, streams), dashboard_part(settings)
    producers = [producer_part(settings, stream) for stream in streams]
    with display.live():
        # A broker that was there before us is not ours to stop.
        if not settings.kafka.bootstrap_servers and read_running(settings) is None:
            broker = broker_part(settings)
            supervisor.start(broker)
            while not is_starting(settings):  # from here on, whoever looks for the broker waits for it
                supervisor.pause()
            supervisor.start(jobs, dashboard)
            supervisor.await_ready(broker)
        else:
            supervisor.start(jobs, dashboard)
        ensure_topics(settings, find_broker(settings), streams)
        supervisor.start(*producers)
        supervisor.await_ready(*producers, jobs, dashboard)
    display.message(f"\nHeadwater runs at {dashboard_url(settings)}   (Ctrl-C stops all of it)\n")
    supervisor.watch()


def run_producers(settings: Settings, streams: list[Stream], supervisor: Supervisor, display: Display) -> None:
    """The producers; the broker stays when they stop, since jobs and dashboard may be using it."""
    bootstrap = ensure_broker(settings)
    ensure_topics(settings, bootstrap, streams)
    producers = [producer_part(settings, stream) for stream in streams]
    with display.live():
        supervisor.start(*producers)
        supervisor.await_ready(*producers)
    stays = "" if settings.kafka.bootstrap_servers else "; Kafka goes on until `make kafka-down`"
    display.message(f"\nProducers write to {bootstrap}   (Ctrl-C stops them{stays})\n")
    supervisor.watch()


# --- the parts, and what tells that each of them works ---


def broker_part(settings: Settings) -> Part:
    """The embedded broker, held by a process that stops it in the end."""
    command = [sys.executable, "-m", "headwater.broker", "hold"]
    return Part("broker", command, lambda: is_answering(settings), settings.log_dir / "broker.log", stop_seconds=40)


def producer_part(settings: Settings, stream: Stream) -> Part:
    """A stream's simulator; ready when its raw topic grows."""
    name = f"producer {stream.name}"
    command = [sys.executable, "-m", f"producers.{stream.name}"]
    return Part(name, command, Growth(settings, [stream.raw_topic]), _log(settings, name))


def jobs_part(settings: Settings, streams: Iterable[Stream]) -> Part:
    """All jobs in one driver; ready when every live topic grows."""
    live = [stream.live_topic for stream in streams]
    command = ["spark-submit", "jobs/suite.py"]
    ready = Growth(settings, live)
    return Part("jobs", command, ready, _log(settings, "jobs"), start_seconds=180, stop_seconds=30)


def dashboard_part(settings: Settings) -> Part:
    """The dashboard; ready when its API says so."""
    command = [sys.executable, "-m", "dashboards.app"]
    return Part("dashboard", command, answers(f"{dashboard_url(settings)}/api/v1/health"), _log(settings, "dashboard"))


def _log(settings: Settings, name: str) -> Path:
    return settings.log_dir / f"{name.replace(' ', '-')}.log"


class Growth:
    """Whether every one of some topics has grown since this was first asked."""

    def __init__(self, settings: Settings, topics: list[str]) -> None:
        self._settings = settings
        self._topics = topics
        self._before: dict[str, int] = {}

    def __call__(self) -> bool:
        try:
            ends = end_offsets(self._admin, self._topics)
        except KafkaException:
            return False
        self._before = self._before or ends
        return all(ends[topic] > self._before[topic] for topic in self._topics)

    @cached_property
    def _admin(self) -> AdminClient:
        """Made when the broker answers: a client that finds none waits ever longer to try again."""
        return AdminClient({**client_config(self._settings, find_broker(self._settings)), "log_level": "0"})


def answers(url: str) -> Callable[[], bool]:
    """Whether the dashboard answers there; its 503 says that it has no data yet, which is an answer."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == HTTPStatus.OK)
        except urllib.error.HTTPError as error:
            return error.code == HTTPStatus.SERVICE_UNAVAILABLE
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    return ask


def dashboard_url(settings: Settings) -> str:
    """Where a browser on this machine finds the dashboard."""
    host = settings.dashboard.host
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{settings.dashboard.port}"


def _require_free(host: str, port: int) -> None:
    """Another program on the dashboard's port would answer in its place."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HeadwaterError(
                f"the dashboard cannot listen on {host}:{port}: {error.strerror}.\n"
                f"Stop what runs there, or choose another port with DASH_PORT={port + 1}."
            ) from error


if __name__ == "__main__":
    run_main(main)
