"""compose.yaml and Dockerfile say what is so: settings that exist, programs that exist, ports and folders that agree.

No engine is asked; what only an engine can tell is named in docs/operations.md.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
import yaml

from headwater import setup_env
from headwater.contracts import STREAMS
from headwater.settings import REPOSITORY, load_settings

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "headwater"}
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def environment(service: str, **host: str) -> dict[str, str]:
    """A service's variables as Compose fills them in: ``${NAME:-default}``."""

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: host.get(found[1]) or found[2], text)

    return {name: filled(text) for name, text in SERVICES[service]["environment"].items()}


def test_every_part_has_its_service() -> None:
    assert set(SERVICES) == {"kafka", "postgres", "jobs", "dashboard", *(f"producer-{name}" for name in STREAMS)}
    assert set(OURS) == set(SERVICES) - {"kafka", "postgres"}


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting_and_has_a_good_value(service: str) -> None:
    """`load_settings` refuses what it doesn't know. STREAMS is the jobs' own."""
    settings = load_settings(environment(service))
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert str(settings.home) == "/var/lib/headwater"
    known = {"STREAMS"} if service == "jobs" else set()
    prefixed = {"KAFKA_BOOTSTRAP_SERVERS", "DASH_HOST", "DASH_PORT", "OPENSKY_CLIENT_ID", "OPENSKY_CLIENT_SECRET"}
    assert {n for n in environment(service) if not n.startswith("HEADWATER_")} <= known | prefixed


def test_jobs_write_to_the_database_that_is_there() -> None:
    url = load_settings(environment("jobs", POSTGRES_PASSWORD="other")).sql_url
    postgres = environment("postgres", POSTGRES_PASSWORD="other")
    user, password, name = (postgres[f"POSTGRES_{key}"] for key in ("USER", "PASSWORD", "DB"))
    assert url == f"postgresql+psycopg://{user}:{password}@postgres:5432/{name}"


@pytest.mark.parametrize("service", OURS)
def test_every_command_exists(service: str) -> None:
    program, *arguments = SERVICES[service]["command"]
    if program == "spark-submit":
        assert (REPOSITORY / arguments[0]).is_file()
    else:
        assert (program, arguments[0]) == ("python", "-m")
        assert importlib.util.find_spec(arguments[1]) is not None
    if service.startswith("producer-"):
        assert arguments == ["-m", f"producers.{service.removeprefix('producer-')}"]


def test_only_loopback_is_published_and_to_the_port_that_listens() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    dashboard = load_settings(environment("dashboard")).dashboard
    assert dashboard.host == "0.0.0.0"  # within the container, or nothing could be published
    assert published["dashboard"] == [f"127.0.0.1:{load_settings({}).dashboard.port}:{dashboard.port}"]
    kafka = environment("kafka")
    listeners = dict(part.split("://") for part in kafka["KAFKA_LISTENERS"].split(","))
    advertised = dict(part.split("://") for part in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert published["kafka"] == [f"127.0.0.1:{load_settings({}).kafka.port}{listeners['HOST']}"]
    assert advertised["HOST"] == f"127.0.0.1:{load_settings({}).kafka.port}"
    assert advertised["PLAINTEXT"] == environment("jobs")["KAFKA_BOOTSTRAP_SERVERS"]
    assert set(published) == {"dashboard", "kafka"}


def test_the_broker_is_set_as_the_embedded_one() -> None:
    """Apart from what the folder, the ports and the names of a container make different."""
    lines = (REPOSITORY / "conf" / "kafka" / "server.properties").read_text().splitlines()
    embedded = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    kafka = environment("kafka")
    here = {name: kafka.get(f"KAFKA_{name.upper().replace('.', '_')}") for name in embedded}
    differ = {name for name, text in embedded.items() if here[name] != text}
    assert differ == {"controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"}
    jars = (REPOSITORY / "conf" / "jars" / "kafka" / "jgo.toml").read_text()
    (version,) = re.findall(r"org\.apache\.kafka:kafka_2\.13:([\d.]+)", jars)
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


def test_what_is_kept_lies_in_volumes_where_the_programs_look() -> None:
    mounts = {name: dict(v.split(":") for v in s["volumes"]) for name, s in SERVICES.items()}
    assert {volume for of in mounts.values() for volume in of} == set(COMPOSE["volumes"])
    assert mounts["kafka"]["kafka"] == environment("kafka")["KAFKA_LOG_DIRS"]
    home = f"HEADWATER_HOME={mounts['jobs']['headwater']}"
    assert all(of == mounts["jobs"] for name, of in mounts.items() if name in OURS)
    assert home in DOCKERFILE and f"-g headwater {mounts['jobs']['headwater']}" in DOCKERFILE


def test_what_others_need_starts_first_and_can_tell_that_it_works() -> None:
    for service in OURS.values():
        for needed, how in service["depends_on"].items():
            assert how == {"condition": "service_healthy"}
            assert "test" in SERVICES[needed]["healthcheck"]
    assert set(SERVICES["jobs"]["depends_on"]) == {"kafka", "postgres"}
    assert all(service["restart"] == "unless-stopped" and service["stop_grace_period"] for service in SERVICES.values())


def test_the_dashboard_is_healthy_when_its_api_says_so() -> None:
    """A 503 makes `urlopen` raise, and the check fail."""
    *_, flag, program = SERVICES["dashboard"]["healthcheck"]["test"]
    compile(program, "healthcheck", "exec")
    port = load_settings(environment("dashboard")).dashboard.port
    assert flag == "-c" and f"http://127.0.0.1:{port}/api/v1/health" in program


def test_the_image_takes_what_is_there_and_runs_as_nobody() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert all((REPOSITORY / file).exists() for files in copied for file in files.split())
    ignored = {line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")}
    assert not ignored & {file for files in copied for file in files.split()}
    assert ignored >= {".git", ".venv", "var"}
    # The set-up hashes all locks, also of what it doesn't install.
    assert {"pyproject.toml", *(lock.name for lock in (*setup_env.LOCKS.values(), setup_env.SETUP_LOCK))} <= {
        file for files in copied for file in files.split()
    }
    assert re.search(r"^USER \d{4,}$", DOCKERFILE, re.MULTILINE)
    python = re.search(r"^FROM python:(3\.\d+)-", DOCKERFILE, re.MULTILINE)
    assert python and python[1] in ("3.11", "3.12")
