#!/usr/bin/env bash
# Prints the path of a PgBouncer program: the machine's own, or Debian's package unpacked into build/pgbouncer.
# The package is unpacked, not installed: its installation would start a service. apt-get checks its signature as ever.
# Exits with 3 and a reason when there is none to be had.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$PWD/build/pgbouncer

fail() {
    echo "$1" >&2
    exit 3
}

fetch() {
    apt-get install --yes --quiet --download-only --no-install-recommends \
        -o Dir::Cache::archives="$1/" -o Debug::NoLocking=1 pgbouncer >"$1/log" 2>&1
}

if [[ ! -x $target/run ]]; then
    if program=$(PATH=$PATH:/usr/sbin command -v pgbouncer); then
        echo "$program"
        exit
    fi
    command -v apt-get >/dev/null || fail "no pgbouncer on this machine, and no apt-get to fetch Debian's package with"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/archives/partial" "$work/root"
    if ! fetch "$work/archives"; then
        # Fresh containers have no package lists; only root may fetch them.
        ((EUID == 0)) || fail "no pgbouncer on this machine, and apt-get cannot fetch it: $(tail -n 1 "$work/archives/log")"
        apt-get update --quiet >"$work/update" 2>&1 && fetch "$work/archives" \
            || fail "no pgbouncer on this machine, and apt-get cannot fetch it: $(tail -n 1 "$work/archives/log")"
    fi
    for package in "$work"/archives/*.deb; do
        dpkg-deb --extract "$package" "$work/root"
    done
    [[ -x $work/root/usr/sbin/pgbouncer ]] || fail "the package pgbouncer of this system has no /usr/sbin/pgbouncer"
    cat >"$work/root/run" <<'RUN'
#!/bin/sh
# PgBouncer with the libraries that came with it.
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/sbin/pgbouncer" "$@"
RUN
    chmod +x "$work/root/run"
    mkdir -p build
    rm -rf "$target"
    mv "$work/root" "$target"
fi
echo "$target/run"
