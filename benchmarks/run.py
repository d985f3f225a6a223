"""`make bench`: pgoxide beside its peers and a C floor, in interleaved rounds.

Makes what is missing (a virtual environment, pgoxide in release mode, the C programs), then goes on in that
environment with rounds.py. Goals that are not met are reported and do not fail the run; a missing peer, a
failed process or a wrong answer does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__" and not __package__:
    sys.path[0] = str(ROOT)  # run as a file

from benchmarks.cases import CASES  # noqa: E402
from benchmarks.environment import SetupError, build_floor, clean_environment, prepare_python  # noqa: E402
from benchmarks.goals import DRIVERS, FAMILIES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def parser() -> argparse.ArgumentParser:
    """The options, shared with rounds.py."""
    made = argparse.ArgumentParser(prog="make bench", description=__doc__)
    made.add_argument("--rounds", type=int, default=7, help="how often every process runs (default: 7)")
    made.add_argument(
        "--quick", action="store_true", help="one round, to see that all works; the numbers say little"
    )
    made.add_argument("--cases", type=_names(CASES, {}), default=list(CASES), help=", ".join(CASES))
    made.add_argument(
        "--drivers",
        type=_names(DRIVERS, FAMILIES),
        default=list(DRIVERS),
        help=f"{', '.join(DRIVERS)}; {', '.join(FAMILIES)} mean all of the family",
    )
    made.add_argument(
        "--python", default="3.13", help="version to run under (default: 3.13; fastpg needs it)"
    )
    made.add_argument("--dsn", help="use this server (Unix socket, superuser) instead of starting one")
    made.add_argument(
        "--seed", type=int, help="order of the rounds (default: another each time; it is printed)"
    )
    return made


def _names(known: Iterable[str], families: Mapping[str, tuple[str, ...]]) -> Callable[[str], list[str]]:
    names = list(known)

    def read(text: str) -> list[str]:
        chosen: list[str] = []
        for word in filter(None, (part.strip() for part in text.split(","))):
            if word not in names and word not in families:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join([*families, *names])}")
            chosen += families.get(word, (word,))
        return chosen

    return read


def main() -> NoReturn:
    """Set up, then hand over to the prepared interpreter."""
    options = parser().parse_args()
    with_pgoxide = any(name.startswith("pgoxide") for name in options.drivers)
    if not with_pgoxide and not options.dsn:
        parser().error("without pgoxide there is no launcher: give a server with --dsn")
    if options.python != "3.13" and "fastpg" in options.drivers:
        parser().error(
            "fastpg is measured under Python 3.13: leave it out with --drivers, or leave out --python"
        )
    try:
        python = prepare_python(options.python, with_pgoxide=with_pgoxide)
        floor = build_floor()
    except SetupError as problem:
        sys.exit(f"bench: {problem}")
    except subprocess.CalledProcessError as problem:
        sys.exit(f"bench: set-up failed: {problem}")
    environment = clean_environment() | {
        f"PGOXIDE_BENCH_{name.upper()}": str(path) for name, path in floor.items()
    }
    os.chdir(ROOT)
    os.execve(python, [str(python), "-m", "benchmarks.rounds", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
