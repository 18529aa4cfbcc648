"""The embedded broker: a real Apache Kafka, one node, started, found again and stopped by us.

It runs detached, so it outlives whoever started it. A state file says which process it is; the
process's start time and command line are checked besides, so that a recycled process id is never
taken for it, and its cluster id, so that no foreign broker is.

    python -m headwater.broker start | stop | status | hold

`hold` starts it, and stops it when it is itself told to end.
"""

import base64
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headwater.errors import BrokerError, run_main
from headwater.java import find_java
from headwater.settings import REPOSITORY, Settings, load_settings

HOST = "127.0.0.1"
START_SECONDS = 90.0
STOP_SECONDS = 30.0
HOLD_POLL_SECONDS = 0.5
# Below this the broker would start and die with the first segments.
FREE_BYTES = 256 * 1024 * 1024
CONF = REPOSITORY / "conf" / "kafka"
LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Running:
    """An embedded broker as its state file describes it."""

    pid: int
    started: float
    port: int
    cluster_id: str

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"


def ensure_broker(settings: Settings) -> str:
    """The bootstrap address to use; starts the embedded broker if no other is named."""
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    with _lock(settings):
        running = read_running(settings)
        if running is None:
            running = _start(settings)
        else:
            _await_answer(settings, running)
        return running.bootstrap


def find_broker(settings: Settings) -> str:
    """The bootstrap address of a broker that is there already, or that somebody is starting now."""
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    with contextlib.suppress(FileNotFoundError):  # nobody has ever started one here
        _await_starter(settings)
    running = read_running(settings)
    if running is None:
        raise BrokerError(
            f"no Kafka broker: none is named, and the embedded one under {settings.kafka_dir} is not running.\n"
            "Start it with `make kafka-up`, or name a broker with KAFKA_BOOTSTRAP_SERVERS=host:port."
        )
    return running.bootstrap


def is_starting(settings: Settings) -> bool:
    """Whether somebody is starting (or stopping) the embedded broker right now."""
    with contextlib.suppress(FileNotFoundError):
        try:
            _await_starter(settings, fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def stop_broker(settings: Settings) -> bool:
    """Stop the embedded broker; whether there was one. A broker that is only named is not ours to stop."""
    if not settings.kafka_dir.exists():
        return False
    with _lock(settings):
        running = read_running(settings)
        if running is not None:
            _terminate(running.pid)
        _state_file(settings).unlink(missing_ok=True)
        return running is not None


def read_running(settings: Settings) -> Running | None:
    """The embedded broker, if the state file's process is alive and really is it."""
    try:
        running = Running(**json.loads(_state_file(settings).read_text()))
        command: list[str] = psutil.Process(running.pid).cmdline()
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    ours = command[-2:] == ["kafka.Kafka", str(_properties_file(settings))]
    return running if ours and _is_alive(running) else None


def _is_alive(running: Running) -> bool:
    """Whether the very process is there, not another one under its id."""
    try:
        process = psutil.Process(running.pid)
        # The start time is derived from the boot time, which moves a little with the clock.
        same = abs(process.create_time() - running.started) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_answering(settings: Settings) -> bool:
    """Whether the embedded broker is there and answers."""
    running = read_running(settings)
    return running is not None and _answers(running)


def hold_broker(settings: Settings) -> None:
    """Start the embedded broker, and stop it when this process is told to end."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    ensure_broker(settings)
    try:
        while not told.wait(HOLD_POLL_SECONDS):
            if read_running(settings) is None:
                raise BrokerError(f"the Kafka broker died; its log ends with\n{_log_tail(settings)}")
    finally:
        stop_broker(settings)


# --- start ---


def _start(settings: Settings) -> Running:
    java, jars = _require_java(), _require_jars()
    _require_space(settings)
    _require_port(settings)
    properties = _render_properties(settings)
    # No shell and no script between us and the JVM: the process id is the broker's.
    command = [
        str(java),
        f"-Xmx{settings.kafka.heap}",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={CONF / 'log4j2.properties'}",
        f"-Dheadwater.log={_log_file(settings)}",
        "-cp",
        f"{jars}/*",
    ]
    cluster_id = _format(settings, command, properties)

    log = _log_file(settings)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.kafka_dir,
            start_new_session=True,
        )
    try:
        started = psutil.Process(process.pid).create_time()
        running = Running(process.pid, started, settings.kafka.port, cluster_id)
        _state_file(settings).write_text(json.dumps(asdict(running)))
        _await_answer(settings, running)
    except BaseException:
        _terminate(process.pid)
        _state_file(settings).unlink(missing_ok=True)
        raise
    finally:
        # It is meant to outlive us; without this Popen would complain that it does.
        process.returncode = 0
    return running


def _require_java() -> Path:
    java = find_java()
    if java is None:
        raise BrokerError("Kafka needs Java 17 or newer: neither JAVA_HOME nor PATH leads to one. `make setup` helps.")
    return java


def _require_jars() -> Path:
    jars = Path(sys.prefix) / "kafka"
    if not any(jars.glob("kafka_*.jar")):
        raise BrokerError(f"the broker's jars are not in {jars}: run `make setup`, and use the Python of .venv")
    return jars


def _require_space(settings: Settings) -> None:
    free = shutil.disk_usage(settings.kafka_dir).free
    if free < FREE_BYTES:
        raise BrokerError(
            f"{settings.kafka_dir} has only {free // 2**20} MB left, and the broker needs {FREE_BYTES // 2**20}.\n"
            "Make room, or put the data elsewhere with HEADWATER_HOME=/another/folder."
        )


def _require_port(settings: Settings) -> None:
    port = settings.kafka.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            return
        except PermissionError as error:
            raise BrokerError(f"port {port} is not allowed for this user; set HEADWATER_KAFKA_PORT") from error
        except OSError:
            pass
    cluster = _cluster_at(f"{HOST}:{port}", timeout=3)
    what = f"another Kafka broker (cluster {cluster})" if cluster else "a program that is not Kafka"
    use = f", or use that broker with KAFKA_BOOTSTRAP_SERVERS={HOST}:{port}" if cluster else ""
    raise BrokerError(
        f"port {port} of {HOST} is taken by {what}{_owner(port)}.\n"
        f"Stop it, choose another port with HEADWATER_KAFKA_PORT={port + 1}{use}."
    )


def _owner(port: int) -> str:
    """Name the process that listens on a port, where we are allowed to see it."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f": process {connection.pid}, {psutil.Process(connection.pid).name()}"
    return ""


def _render_properties(settings: Settings) -> Path:
    with socket.socket() as free:
        free.bind((HOST, 0))
        controller_port = free.getsockname()[1]
    template = Template((CONF / "server.properties").read_text())
    port = settings.kafka.port
    # Through a proxy, or from another machine, clients go by another address than the one that is listened on.
    advertised = settings.kafka.advertised or f"{HOST}:{port}"
    text = template.substitute(
        port=port, controller_port=controller_port, advertised=advertised, data=_data_folder(settings)
    )
    properties = _properties_file(settings)
    properties.write_text(text)
    return properties


def _format(settings: Settings, command: list[str], properties: Path) -> str:
    """Prepare an empty data folder for KRaft; return the cluster id of the folder."""
    meta = _data_folder(settings) / "meta.properties"
    if not meta.exists():
        fresh = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one word: an id may begin with a hyphen, as an option does.
        named = f"--cluster-id={fresh}"
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", named, "-c", str(properties)]
        done = subprocess.run([*command, *tool], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerError(f"cannot prepare {_data_folder(settings)} for Kafka:\n{_tail(done.stdout + done.stderr)}")
    found = re.search(r"^cluster\.id=(.+)$", meta.read_text(), re.MULTILINE)
    if found is None:
        raise BrokerError(f"{meta} names no cluster.id; the folder is damaged. `make kafka-down`, then move it away.")
    return found[1]


def _await_answer(settings: Settings, running: Running) -> None:
    """Return when the broker answers under its own cluster id."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        # By its start time alone: a process that has just been started shows no command line yet.
        if not _is_alive(running):
            raise BrokerError(f"the Kafka broker died while starting; its log ends with\n{_log_tail(settings)}")
        if _answers(running):
            return
        time.sleep(0.05)
    raise BrokerError(
        f"the Kafka broker did not answer in {START_SECONDS:.0f} s; its log ends with\n{_log_tail(settings)}"
    )


def _answers(running: Running) -> bool:
    """A cheap look at the port first: the client would retry for long where nobody listens."""
    try:
        socket.create_connection((HOST, running.port), timeout=1).close()
    except OSError:
        return False
    return _cluster_at(running.bootstrap, timeout=2) == running.cluster_id


def _cluster_at(bootstrap: str, timeout: float) -> str | None:
    """The id of the cluster that answers there, if any does."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})
    try:
        cluster_id: str | None = client.list_topics(timeout=timeout).cluster_id
    except KafkaException:
        return None
    return cluster_id


# --- stop ---


def _terminate(pid: int) -> None:
    """SIGTERM lets Kafka close its logs, so the next start need not recover them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


# --- files ---


@contextlib.contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Of two starts at once the second waits, then finds the first one's broker."""
    try:
        settings.kafka_dir.mkdir(parents=True, exist_ok=True)
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(_lock_file(settings), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BrokerError(
            f"cannot write to {settings.home}: {error.strerror}. Set HEADWATER_HOME to a folder of your own."
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _await_starter(settings: Settings, flags: int = 0) -> None:
    """Return when nobody holds the lock; readers share it."""
    handle = os.open(_lock_file(settings), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | flags)
    finally:
        os.close(handle)


def _lock_file(settings: Settings) -> Path:
    return settings.kafka_dir / "lock"


def _state_file(settings: Settings) -> Path:
    return settings.kafka_dir / "broker.json"


def _properties_file(settings: Settings) -> Path:
    return settings.kafka_dir / "server.properties"


def _data_folder(settings: Settings) -> Path:
    return settings.kafka_dir / "data"


def _log_file(settings: Settings) -> Path:
    return settings.log_dir / "kafka.log"


def _log_tail(settings: Settings) -> str:
    log = _log_file(settings)
    return f"{_tail(log.read_text(errors='replace') if log.exists() else '')}\n(the whole log: {log})"


def _tail(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.strip().splitlines()[-LOG_TAIL_LINES:])


# --- command line ---


def main() -> int:
    """Start, stop or describe the embedded broker."""
    settings = load_settings()
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    named = settings.kafka.bootstrap_servers
    if action == "start":
        address = ensure_broker(settings)
        print(f"using the named broker at {address}; none is started" if named else f"Kafka answers at {address}")
        return 0
    if action == "stop":
        print("Kafka stopped" if stop_broker(settings) else "the embedded Kafka broker was not running")
        return 0
    if action == "status":
        running = read_running(settings)
        print(f"Kafka runs at {running.bootstrap}, process {running.pid}" if running else "Kafka is not running")
        return 0 if running else 1
    if action == "hold":
        hold_broker(settings)
        return 0
    print("usage: python -m headwater.broker start|stop|status|hold", file=sys.stderr)
    return 2


if __name__ == "__main__":
    run_main(main)
