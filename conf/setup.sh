#!/bin/sh
# Finds the Python that everything else is made with, installs it where that is allowed, and hands
# over to headwater/setup_env.py: `conf/setup.sh run` for the demo, `conf/setup.sh test` for the tests.
set -eu
cd "$(dirname "$0")/.."

usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    for candidate in .venv/bin/python python3.11 python3.12 python3; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing Python with apt-get" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3.11 python3.11-venv >/dev/null ||
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3.12 python3.12-venv >/dev/null
    python=$(find_python)
fi
if [ -z "$python" ]; then
    cat >&2 <<'MESSAGE'
error: Headwater needs Python 3.11 or 3.12 with its venv module, and none was found. Install it, then try again:
  Debian, Ubuntu:  sudo apt-get install python3.11 python3.11-venv
  Fedora:          sudo dnf install python3.11
  macOS:           brew install python@3.11
MESSAGE
    exit 1
fi
exec "$python" -I headwater/setup_env.py "$@"
