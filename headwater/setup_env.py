"""Makes everything the project needs, each step once: `.venv`, locked packages, jars, links.

Run by `conf/setup.sh` before `.venv` exists, so it imports the standard library only. A step is
done again when what it was made from has changed: a stamp holds the hash of that.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
VENV = REPOSITORY / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "setup"
LOCKS = {"run": REPOSITORY / "requirements.lock", "test": REPOSITORY / "requirements-dev.lock"}
SETUP_LOCK = REPOSITORY / "requirements-setup.lock"
JARS = REPOSITORY / "conf" / "jars"

JAVA_MISSING = """Headwater needs Java 17 or newer, and {found}. Install it, then try again:
  Debian, Ubuntu:  sudo apt-get install openjdk-17-jre-headless
  Fedora:          sudo dnf install java-21-openjdk-headless
  macOS:           brew install openjdk@17
or point JAVA_HOME at one that is installed."""

BROWSER_MISSING = """the tests drive a real Chromium, and none was found. Install it, then try again:
  Debian:          sudo apt-get install chromium
  Fedora:          sudo dnf install chromium
  macOS:           brew install --cask chromium"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

NETWORK_HINT = (
    "If this machine is offline or behind a proxy: set HTTPS_PROXY, PIP_INDEX_URL for a mirror, and SSL_CERT_FILE "
    "for its certificate authority; then run the same command again, it goes on where it stopped."
)


class SetupError(Exception):
    """A step failed; the text says why and what to do."""


def main(profile: str) -> None:
    """Bring the environment up to date for `profile`: "run", or "test" which needs more."""
    with _one_at_a_time():
        if not PYTHON.exists():
            shutil.rmtree(VENV, ignore_errors=True)
        _step("virtual environment", str(VENV), _make_venv)
        _step("java", _java_on_path() or "missing", _ensure_java)
        if profile == "test":
            _step("browser", _browser() or "missing", _ensure_browser)
        _step("packages", _packages_key(profile), lambda: _install_packages(LOCKS[profile]))
        _step("project", _hash(REPOSITORY / "pyproject.toml") + _root_packages(), _install_project)
        # A new PySpark comes without our jars.
        spark = _hash(JARS / "spark" / "jgo.lock.toml", LOCKS["run"])
        _step("jars for Spark", spark, lambda: _fetch_jars("spark", _pyspark() / "jars"))
        _step("jars for Kafka", _hash(JARS / "kafka" / "jgo.lock.toml"), lambda: _fetch_jars("kafka", VENV / "kafka"))
        _step("configuration of Spark", _hash(LOCKS["run"]), _link_spark_conf)


# --- steps: what has been done, and showing what is being done ---


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two `make` at once must not build the same `.venv`: the second waits, then finds it made."""
    folder = os.open(REPOSITORY, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: waiting for another set-up to end", flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _stamp(name: str) -> Path:
    return STAMPS / name.replace(" ", "-")


def _step(name: str, key: str, action: Callable[[], None]) -> None:
    stamp = _stamp(name)
    if stamp.exists() and stamp.read_text() == key:
        return
    with _shown(name):
        action()
    STAMPS.mkdir(exist_ok=True)
    stamp.write_text(key)


@contextlib.contextmanager
def _shown(name: str) -> Iterator[None]:
    """Show a step and what it took; on a terminal also the seconds passing."""
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    done = threading.Event()

    def show(text: str) -> None:
        start, end = ("\r\033[K", "") if terminal else ("", "\n")
        print(f"{start}setup: {name} {text}", end=end, flush=True)

    def tick() -> None:
        while not done.wait(1):
            show(f"... {time.monotonic() - started:.0f} s")

    show("...")
    ticker = threading.Thread(target=tick, daemon=True)
    if terminal:
        ticker.start()
    try:
        yield
    except SetupError:
        show("failed\n" if terminal else "failed")
        raise
    else:
        show(
            f"ready in {time.monotonic() - started:.1f} s\n"
            if terminal
            else f"ready in {time.monotonic() - started:.1f} s"
        )
    finally:
        done.set()


def _hash(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _run(*command: str | Path, hint: str) -> str:
    """Run a command; on failure show the last of what it said, and the way out."""
    done = subprocess.run(
        command,
        check=False,
        cwd=REPOSITORY,
        env=_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        tail = "\n".join(f"  | {line}" for line in done.stdout.strip().splitlines()[-15:])
        raise SetupError(f"{' '.join(map(str, command))} failed:\n{tail}\n{hint}")
    return done.stdout


def _environment() -> dict[str, str]:
    """The environment for downloads: one certificate bundle and one index for all the tools.

    pip, uv and requests each read different variables, so a mirror that is set up for one of them
    would fail in the next.
    """
    environment = dict(os.environ)
    bundle = environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if bundle:
        for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"):
            environment.setdefault(name, bundle)
    if index := environment.get("PIP_INDEX_URL"):
        environment.setdefault("UV_DEFAULT_INDEX", index)
    environment.setdefault("UV_HTTP_TIMEOUT", "180")
    environment.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return environment


# --- what the machine brings ---


def _java_on_path() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin") if home else None)


def _ensure_java() -> None:
    problem = _java_problem()
    if problem and not os.environ.get("JAVA_HOME") and _can_install():
        _apt_install("openjdk-17-jre-headless")
        problem = _java_problem()
    if problem:
        raise SetupError(JAVA_MISSING.format(found=problem))


def _java_problem() -> str | None:
    java = _java_on_path()
    if java is None:
        return "JAVA_HOME points at none" if os.environ.get("JAVA_HOME") else "there is none on PATH"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version and int(version[1]) >= 17:
        return None
    return f"{java} says: {said.strip() or 'nothing'}"


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _ensure_browser() -> None:
    if _browser() is None and _can_install():
        _apt_install("chromium", "fonts-dejavu-core")
    if _browser() is None:
        raise SetupError(BROWSER_MISSING)


def _can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _apt_install(*packages: str) -> None:
    hint = f"Install {' '.join(packages)} by hand, then try again."
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _run("apt-get", "update", "-qq", hint=hint)
    _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, hint=hint)


# --- what the project makes ---


def _make_venv() -> None:
    _run(sys.executable, "-m", "venv", VENV, hint="Is the disk full, or the folder not writable?")


def _packages_key(profile: str) -> str:
    """The tests' packages include those of a run at the same versions, so they serve both."""
    stamp = _stamp("packages")
    full = _hash(SETUP_LOCK, LOCKS["test"])
    if profile == "test" or (stamp.exists() and stamp.read_text() == full):
        return full
    return _hash(SETUP_LOCK, LOCKS["run"])


def _install_packages(lock: Path) -> None:
    """Install a lock with uv, which takes a third of pip's time; pip brings uv, by hash too.

    PySpark comes as a source package: without build isolation it is built with the locked
    setuptools and not with whichever is newest.
    """
    _run(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", SETUP_LOCK, hint=NETWORK_HINT)
    _uv("--require-hashes", "-r", str(lock))


def _install_project() -> None:
    _uv("--no-deps", "--editable", str(REPOSITORY))


def _uv(*arguments: str) -> None:
    command = (VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", PYTHON, "--no-build-isolation")
    _run(*command, *arguments, hint=NETWORK_HINT)


def _root_packages() -> str:
    """The editable install maps the packages it saw, so a new one needs a new install."""
    return " ".join(sorted(file.parent.name for file in REPOSITORY.glob("*/__init__.py")))


def _pyspark() -> Path:
    return next((VENV / "lib").glob("python3.*/site-packages/pyspark"))


def _fetch_jars(name: str, target: Path) -> None:
    _run(PYTHON, "-m", "headwater.jars", JARS / name / "jgo.lock.toml", target, hint=NETWORK_HINT)


def _link_spark_conf() -> None:
    """Let a bare `spark-submit` find the project's configuration where it looks by itself."""
    link = _pyspark() / "conf"
    link.unlink(missing_ok=True)
    link.symlink_to(REPOSITORY / "conf" / "spark")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "run")
    except SetupError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: set-up failed: {error}")
