"""What every kind of test shares: settings of its own home, one embedded broker and one Spark session for all."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser
from pyspark import SparkContext
from pyspark.sql import SparkSession

from headwater.broker import ensure_broker, stop_broker
from headwater.settings import Settings, load_settings
from tests.archives import killer  # noqa: F401
from tests.browser import chromium
from tests.ports import free_port
from tests.suite import suite  # noqa: F401

# The same examples in each run, so that a red run is due to the change at hand. To look for new ones, and then to write
# what was found as an example of its own: pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--screenshots docs/screenshots`` has the end-to-end test keep the pictures that README shows."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep screenshots of the running demo in this folder")


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


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session for the whole run, with the configuration that a bare ``spark-submit`` finds by itself."""
    home = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_LOCAL_DIRS", str(home / "local"))
        builder = SparkSession.builder.appName("headwater-tests").master("local[4]")
        session = builder.config("spark.sql.warehouse.dir", str(home / "warehouse")).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
    gateway, SparkContext._gateway, SparkContext._jvm = SparkContext._gateway, None, None
    gateway.shutdown()
    gateway.proc.stdin.close()  # the JVM ends with its standard input
    gateway.proc.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module's pages."""
    with chromium() as browser:
        yield browser
