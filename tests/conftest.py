"""What every kind of test shares: settings of its own home, and one embedded broker for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.broker import ensure_broker, stop_broker
from headwater.settings import Settings, load_settings
from tests.ports import free_port


@pytest.fixture(scope="session")
def broker_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("broker")
    return load_settings({"HEADWATER_HOME": str(home), "HEADWATER_KAFKA_PORT": str(free_port())})


@pytest.fixture(scope="session")
def broker(broker_settings: Settings) -> Iterator[str]:
    """The bootstrap address of the embedded broker, one for the whole run: name topics apart."""
    yield ensure_broker(broker_settings)
    stop_broker(broker_settings)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with an empty home, which is not created."""
    return load_settings({"HEADWATER_HOME": str(tmp_path / "home"), "HEADWATER_KAFKA_PORT": str(free_port())})
