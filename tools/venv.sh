#!/bin/sh
# Make a virtual environment with the named dependency groups of pyproject.toml, quickly when nothing changed.
#
#   tools/venv.sh .venv lint                        with the first suitable Python (>= 3.11) found
#   PYTHON=python3.13 tools/venv.sh .venv-3.13 test
#
# A stamp per group keeps a hash of pyproject.toml, so a second run costs milliseconds.
set -eu

venv=$1
shift
cd "$(dirname "$0")/.."

suitable() {
    "$1" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    python=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if suitable "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "No Python 3.11 or later with venv and pip was found (looked for: ${PYTHON:-python3, python3.13, python3.12, python3.11})." >&2
        echo "Name one: make ... PYTHON=/path/to/python3" >&2
        exit 1
    fi
    echo "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # Dependency groups need pip 25.1; the one bundled with Python is older.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
fi

want=$("$venv/bin/python" -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())')
for group in "$@"; do
    stamp=$venv/.group-$group
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
        continue
    fi
    echo "installing the dependency group '$group' into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --group "$group"
    echo "$want" >"$stamp"
done
