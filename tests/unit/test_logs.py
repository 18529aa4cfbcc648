"""One form for all log lines, as a program started by hand writes them."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from headwater.settings import REPOSITORY

PROGRAM = """
import logging, structlog
from headwater import logs
from headwater.settings import load_settings

settings = load_settings()
logs.set_up(settings, "jobs")
log = structlog.get_logger("headwater.status")
log.info("query_started", query="live", streams=["sales"], batch=7)
log.debug("too fine")
logging.getLogger("py4j").info("noise of a library")
logging.getLogger("uvicorn.error").warning("a library, of %s", settings.sql.url)
nested = {"also": [settings.opensky.client_secret]}
log.error("login", config=settings.kafka.client, url=settings.sql_url, nested=nested)
try:
    password = settings.kafka.client["sasl.password"]
    raise ValueError(f"refused: {password}")
except ValueError:
    log.exception("failed")
"""

SECRETS = {
    "HEADWATER_KAFKA_SASL_PASSWORD": 'quo"ted\\\\pass word',
    "HEADWATER_KAFKA_SSL_KEY_PASSWORD": "key-pass",
    "HEADWATER_SQL_URL": "postgresql+psycopg://reader:p%40ss%2Fword@db/headwater",
    "OPENSKY_CLIENT_SECRET": "client-secret-1",
}
SPELLED = ('quo"ted', 'quo\\"ted', "pass word", "key-pass", "p%40ss%2Fword", "p@ss/word", "client-secret-1")


def written(**environ: str) -> list[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("HEADWATER_")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=clean | SECRETS | environ, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_lines_that_nobody_watches_are_json() -> None:
    lines = [json.loads(line) for line in written()]
    assert [(line["level"], line["event"], line["logger"]) for line in lines] == [
        ("info", "query_started", "headwater.status"),
        ("warning", "a library, of postgresql+psycopg://reader:***@db/headwater", "uvicorn.error"),
        ("error", "login", "headwater.status"),
        ("error", "failed", "headwater.status"),
    ]
    assert (lines[0]["query"], lines[0]["streams"], lines[0]["batch"]) == ("live", ["sales"], 7)
    assert {line["part"] for line in lines} == {"jobs"}
    assert all(datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0) for line in lines)
    assert lines[2]["nested"] == {"also": ["***"]}
    assert lines[2]["config"]["ssl.key.password"] == "***"
    assert "ValueError: refused: ***" in lines[3]["exception"]


def test_lines_for_a_person_are_text() -> None:
    first, *rest = written(HEADWATER_LOG_FORMAT="text", HEADWATER_LOG_LEVEL="debug")
    assert "query_started" in first and "query=live" in first and "batch=7" in first
    assert "\x1b[" not in first  # no terminal, no colours
    assert any("too fine" in line for line in rest)


def test_no_secret_is_ever_written() -> None:
    for form in ("text", "json"):
        whole = "\n".join(written(HEADWATER_LOG_FORMAT=form))
        assert "***" in whole
        assert [secret for secret in SPELLED if secret in whole] == []


@pytest.mark.parametrize(
    ("form", "appender"),
    [({}, "json"), ({"HEADWATER_LOG_FORMAT": "text"}, ""), ({"HEADWATER_LOG_FORMAT": "json"}, "json")],
)
def test_spark_s_own_lines_follow_where_nobody_watches(form: dict[str, str], appender: str) -> None:
    script = '. conf/spark/spark-env.sh; printf %s "$SPARK_LOG_APPENDER"'
    environ = {"PATH": os.environ["PATH"], **form}
    done = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (appender, "")


def test_spark_s_own_lines_have_the_same_keys() -> None:
    lines = (REPOSITORY / "conf" / "spark" / "log4j2.properties").read_text().splitlines()
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    template = json.loads(settings["appender.json.layout.eventTemplate"])
    assert [*template] == ["time", "level", "part", "logger", "event", "exception"]
    assert settings["appender.json.name"] == "json"
    assert settings["rootLogger.appenderRef.console.ref"] == "${env:SPARK_LOG_APPENDER:-console}"
