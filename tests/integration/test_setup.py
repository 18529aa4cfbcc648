"""Set-up: again costs nothing, what is missing is named, and the lock decides which jars are there."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jgo.maven import MavenContext

from headwater.errors import HeadwaterError
from headwater.jars import fetch
from headwater.settings import REPOSITORY

in_environment = pytest.mark.skipif(
    Path(sys.prefix) != REPOSITORY / ".venv", reason="looks at .venv, and these tests run elsewhere"
)


def setup(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["conf/setup.sh", "run"],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@in_environment
def test_again_it_says_and_costs_nothing() -> None:
    started = time.monotonic()
    done = setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 3  # 0.25 s on a quiet machine


@in_environment
def test_a_missing_java_is_named_with_what_to_install() -> None:
    done = setup(JAVA_HOME="/nowhere")
    assert done.returncode == 1
    assert "Headwater needs Java 17 or newer, and JAVA_HOME points at none" in done.stderr
    assert "openjdk-17-jre-headless" in done.stderr
    assert "Traceback" not in done.stderr


@in_environment
def test_spark_submit_finds_the_configuration() -> None:
    spark = next((REPOSITORY / ".venv" / "lib").glob("python3.*/site-packages/pyspark"))
    assert (spark / "conf").resolve() == REPOSITORY / "conf" / "spark"
    assert list((spark / "jars").glob("delta-spark_*.jar"))


def test_a_missing_python_is_named_with_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(REPOSITORY / "conf" / "setup.sh", tmp_path / "conf")
    for tool in ("cat", "dirname", "id"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        ["/bin/sh", "conf/setup.sh", "run"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or 3.12" in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr


JAR = b"a jar"


def lock_for(folder: Path, version: str) -> Path:
    lock = folder / "jgo.lock.toml"
    lock.write_text(
        "[metadata]\ngenerated = '2026-01-01T00:00:00+00:00'\njgo_version = '3'\n[environment]\n"
        f"[[dependencies]]\ngroupId = 'org.example'\nartifactId = 'thing'\nversion = '{version}'\n"
        f"packaging = 'jar'\nsha256 = '{hashlib.sha256(JAR).hexdigest()}'\n"
    )
    return lock


def cached(folder: Path, version: str, content: bytes) -> Path:
    jar = folder / "m2" / "org" / "example" / "thing" / version / f"thing-{version}.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(content)
    return jar


def test_a_new_lock_replaces_its_jars_and_leaves_the_others(tmp_path: Path) -> None:
    context = MavenContext(repo_cache=tmp_path / "m2", offline=True)
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "sparks-own.jar").touch()
    for version in ("1", "2"):
        cached(tmp_path, version, JAR)
        fetch(lock_for(tmp_path, version), jars, context)
        assert sorted(jar.name for jar in jars.glob("*.jar")) == ["sparks-own.jar", f"thing-{version}.jar"]


def test_a_broken_download_is_thrown_away_and_never_installed(tmp_path: Path) -> None:
    context = MavenContext(repo_cache=tmp_path / "m2", offline=True)
    broken = cached(tmp_path, "1", b"half a j")
    with pytest.raises(HeadwaterError, match=r"cannot download .*thing"):
        fetch(lock_for(tmp_path, "1"), tmp_path / "jars", context)
    assert not broken.exists()
    assert not list(tmp_path.glob("jars/*.jar"))
