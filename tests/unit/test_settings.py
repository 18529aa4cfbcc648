import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from headwater.errors import SettingsError
from headwater.settings import REPOSITORY, Settings, load_settings


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        file = tmp_path / "headwater.toml"
        file.write_text(text)
        return file

    return write


def test_the_file_shows_every_default() -> None:
    shown = load_settings({})
    # Limits and allowances are of sources, which the file names and the code doesn't know.
    of_sources = ("limits_kg_h", "source_allowances_kg", "sector_allowances_kg")
    without = shown.co2.model_copy(update={name: {} for name in of_sources})

    assert shown.model_copy(update={"co2": without}) == Settings()


def test_home_is_relative_to_the_repository() -> None:
    assert load_settings({}).home == REPOSITORY / "var"
    assert load_settings({"HEADWATER_HOME": "elsewhere"}).home == REPOSITORY / "elsewhere"
    assert load_settings({"HEADWATER_HOME": "/srv/headwater"}).home == Path("/srv/headwater")


def test_paths_follow_home_and_nothing_is_created(tmp_path: Path) -> None:
    settings = load_settings({"HEADWATER_HOME": str(tmp_path / "home")})

    assert settings.delta("sales", "records") == tmp_path / "home/delta/sales/records"
    assert settings.checkpoint("sales", "live") == tmp_path / "home/checkpoints/sales/live"
    assert settings.csv("sales") == tmp_path / "home/csv/sales"
    assert settings.kafka_dir == tmp_path / "home/kafka"
    assert settings.log_dir == tmp_path / "home/log"
    assert settings.sql_url == f"sqlite:///{tmp_path}/home/headwater.db"
    assert not settings.home.exists()


def test_the_environment_overrides_the_file(written) -> None:
    file = written("[kafka]\nport = 9000\n[sales]\nrate = 5\n")
    settings = load_settings({"HEADWATER_KAFKA_PORT": "9999", "HEADWATER_SQL_URL": "postgresql://db/x"}, file)

    assert settings.kafka.port == 9999
    assert settings.sales.rate == 5
    assert settings.sql_url == "postgresql://db/x"


def test_aliases_and_the_full_name_wins() -> None:
    settings = load_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "one:9092",
            "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": "two:9092",
            "DASH_HOST": "0.0.0.0",
            "DASH_PORT": "80",
            "OPENSKY_CLIENT_ID": "me",
            "OPENSKY_CLIENT_SECRET": "hush",
        }
    )

    assert settings.kafka.bootstrap_servers == "two:9092"
    assert (settings.dashboard.host, settings.dashboard.port) == ("0.0.0.0", 80)
    assert (settings.opensky.client_id, settings.opensky.client_secret) == ("me", "hush")
    assert "hush" not in repr(settings)


def test_kafka_client_properties_pass_through(written) -> None:
    file = written(
        '[kafka]\nsecurity.protocol = "SSL"\n"linger.ms" = 5\nenable.idempotence = true\nsasl.username = "from-file"\n'
    )
    settings = load_settings(
        {
            "HEADWATER_KAFKA_SASL_USERNAME": "from-environment",
            "HEADWATER_KAFKA_SSL_CA_LOCATION": "/ca.pem",
        },
        file,
    )

    assert settings.kafka.client == {
        "security.protocol": "SSL",
        "linger.ms": "5",
        "enable.idempotence": "true",
        "sasl.username": "from-environment",
        "ssl.ca.location": "/ca.pem",
    }


def test_partitions_by_topic() -> None:
    kafka = load_settings({"HEADWATER_KAFKA_PARTITIONS": '{"default": 3, "busy": 8}'}).kafka
    assert (kafka.partitions_of("busy"), kafka.partitions_of("other")) == (8, 3)
    assert load_settings({}).kafka.partitions_of("TruckLocations") == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("home = 'x'\n[kafka]\n\nprot = 9092\n", ["line 4: [kafka] prot", "did you mean port?"]),
        ("[kafak]\n", ["line 1: kafak", "did you mean kafka?"]),
        ("[kafka]\nport = 'many'\n", ["line 2: [kafka] port", "expected a valid integer", "'many'"]),
        ("[kafka]\nport = 70000\n", ["line 2: [kafka] port", "less than or equal to 65535"]),
        ("[kafka.partitions]\ndefault = 0\n", ["line 2: [kafka.partitions] default", "equal to 1"]),
        ("[jobs]\nrealtime_checkpoint_seconds = 1\n", ["line 2", "greater than or equal to 5"]),
        ("kafka = 1\n", ["line 1: kafka"]),
        ("[kafka\n", ["is not a TOML file", "line 1"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(written, text, expected) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({}, written(text))
    for part in ["headwater.toml", *expected]:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("HEADWATER_KAFKA_PROT", "1", "did you mean HEADWATER_KAFKA_PORT?"),
        ("HEADWATER_KAFKA_PORT", "many", "expected a valid integer"),
        ("DASH_PORT", "0", "greater than or equal to 1, not '0'"),
        ("HEADWATER_KAFKA_PARTITIONS", "4", "expected a valid dictionary"),
        ("HEADWATER_KAFKA_PARTITIONS", "four", "expected a JSON object"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable, value, expected) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({variable: value})
    assert f"environment variable {variable}: " in str(error.value)
    assert expected in str(error.value)


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"DASH_PORT": "x", "HEADWATER_KAFKA_PORT": "y", "HEADWATER_X": "z"})
    assert str(error.value).count("environment variable") == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*gone\.toml"):
        load_settings({}, tmp_path / "gone.toml")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings({}).kafka.port = 1


def test_a_main_program_shows_the_message_alone() -> None:
    script = (
        "from headwater.errors import run_main\n"
        "from headwater.settings import load_settings\n"
        "run_main(lambda: load_settings() and 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"HEADWATER_KAFKA_PORT": "many"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the settings cannot be used:\n")
    assert "Traceback" not in done.stderr
