"""The rounds: every process once per round, shuffled inside its case, on one server; then the report.

Runs in the prepared environment (run.py starts it).
"""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

from benchmarks import data, report
from benchmarks.cases import CASES
from benchmarks.environment import HERE, ROOT, cache, clean_environment, say
from benchmarks.goals import DRIVERS, FLOOR_DRIVERS, LINES, Lane
from benchmarks.run import parser

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

# The data fit in memory and nothing waits for a disk; nothing here may differ between the drivers.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
}
PROCESS_LIMIT_S = 120
ENOUGH_ROUNDS = 5  # for numbers worth keeping
Round = dict[Lane, dict[str, Any]]


class RunError(Exception):
    """A process failed, hung or gave a wrong answer."""


def canonical(dsn: str) -> str:
    """One form of URL that all drivers understand, Unix socket only."""
    parts = parse_dsn(dsn)
    host = parts.get("host", "")
    if not host.startswith("/"):
        raise RunError(f"the benchmark needs a Unix socket, not host {host!r}")
    extra = {"host": host, "user": parts.get("user", "postgres"), "port": parts.get("port", "5432")}
    query = "&".join(f"{name}={quote(value)}" for name, value in extra.items())
    return f"postgresql:///{quote(parts.get('dbname', 'postgres'))}?{query}"


@contextmanager
def server(given: str | None) -> Iterator[str]:
    """The server to use: the given one, or our own."""
    if given:
        yield canonical(given)
        return
    import pgoxide.embedded

    with pgoxide.embedded.start(settings=SETTINGS) as own:
        yield canonical(own.dsn())


def load(dsn: str) -> dict[str, str]:
    """Make the tables; what the server says about itself."""
    db = psycopg2.connect(dsn)
    db.autocommit = True
    with db.cursor() as cursor:
        cursor.execute("set client_min_messages = warning")
        cursor.execute(data.SCHEMA)
        for statement in data.SETTLE:
            cursor.execute(statement)
        about = {}
        for name in ("server_version", *SETTINGS):
            cursor.execute(f"show {name}")
            about[name] = cursor.fetchone()[0]
    db.close()
    return about


def command_of(lane: Lane, dsn: str) -> tuple[list[str], dict[str, str]]:
    """How a lane is run: words and what they need in the environment."""
    environment = clean_environment()
    if lane.driver not in FLOOR_DRIVERS:
        options = ["--driver", lane.driver, "--case", lane.case, "--loop", lane.loop, "--dsn", dsn]
        return [sys.executable, "-m", "benchmarks.worker", *options], environment
    case = CASES[lane.case]
    program = os.environ[f"PGOXIDE_BENCH_{lane.driver.upper()}"]
    environment |= {
        "FLOOR_SQL": case.sql,
        "FLOOR_ROWS": str(case.rows),
        "FLOOR_IN_FLIGHT": str(case.in_flight),
    }
    operations = str(case.operations * (3 if case.rows == 1 else 1))  # as long as the drivers' loops, about
    if lane.driver == "libpq":
        return [program, dsn, case.floor, operations], environment
    parts = parse_dsn(dsn)
    socket = f"{parts['host']}/.s.PGSQL.{parts['port']}"
    return [program, socket, parts["user"], parts["dbname"], case.floor, operations], environment


def run_lane(lane: Lane, dsn: str) -> dict[str, Any]:
    """One fresh process."""
    words, environment = command_of(lane, dsn)
    try:
        done = subprocess.run(
            words,
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PROCESS_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as hang:
        raise RunError(f"{lane}: still running after {PROCESS_LIMIT_S} s") from hang
    if done.returncode:
        raise RunError(f"{lane}: exit {done.returncode}\n{done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result.get("ok") is not True:
        raise RunError(f"{lane}: {result}")
    return result


def lanes_by_case(options: Namespace) -> dict[str, list[Lane]]:
    """What to run, kept together by case so that what is compared runs close together in time."""
    chosen: dict[str, set[Lane]] = {}
    for line in LINES:
        for lane in line.lanes():
            if lane.driver in options.drivers and lane.case in options.cases:
                chosen.setdefault(lane.case, set()).add(lane)
    return {case: sorted(lanes) for case, lanes in chosen.items()}


def rounds(options: Namespace, dsn: str) -> list[Round]:
    """All rounds, each in another order; after each, one more of the latency cases alone."""
    by_case = lanes_by_case(options)
    count = 1 if options.quick else options.rounds
    shuffled = random.Random(options.seed)
    began, finished = time.monotonic(), []
    for number in range(1, count + 1):
        for chosen in (list(by_case), [case for case in by_case if CASES[case].latency]):
            results: Round = {}
            for case in shuffled.sample(chosen, len(chosen)):
                for lane in shuffled.sample(by_case[case], len(by_case[case])):
                    results[lane] = run_lane(lane, dsn)
            if results:
                finished.append(results)
        say(f"bench: round {number} of {count}, {time.monotonic() - began:.0f} s")
    return finished


def main() -> int:
    """Measure and write the report."""
    options = parser().parse_args()
    if options.seed is None:
        options.seed = random.randrange(10_000)
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    about: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seed": options.seed,
        "rounds": 1 if options.quick else options.rounds,
        "machine": report.machine(),
        "versions": report.versions(options.drivers),
        "load before": os.getloadavg(),
    }
    try:
        with server(options.dsn) as dsn:
            about["server"] = load(dsn)
            finished = rounds(options, dsn)
    except RunError as problem:
        print(f"bench: FAILED: {problem}", file=sys.stderr)
        return 1
    about["load after"] = os.getloadavg()
    everything = set(options.drivers) == set(DRIVERS) and set(options.cases) == set(CASES)
    whole = everything and not options.quick and options.rounds >= ENOUGH_ROUNDS
    folder = HERE / "results" if whole else cache() / "results"
    print(report.write(folder, about, finished))
    say(f"bench: written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
