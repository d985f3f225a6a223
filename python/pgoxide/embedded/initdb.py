"""A fresh data folder in 40 ms: `initdb` runs once per build and options, every server gets a copy.

The template lives in the user's cache folder under `data-<version>-<digest>`. Deleting it costs the next start a
second. The build is part of the digest, so two builds of one version (with and without ICU) do not share a template.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pgoxide.embedded import cache, child
from pgoxide.errors import OperationalError

if TYPE_CHECKING:
    from pgoxide.embedded.locate import Binaries

__all__ = ["template"]

# Only the socket, whose folder is closed to others. `initdb -A trust` would also write lines for TCP, which would let
# in every user of the machine; launch.py adds lines with passwords when TCP is asked for.
_HBA = "local all all trust\nlocal replication all trust\n"


def template(binaries: Binaries) -> Path:
    """The read-only data folder to copy; made by `initdb` when there is none yet (1 s).

    Owner `postgres`, UTF8, the same sort order everywhere (C.UTF-8: by code point), time zone UTC, 1 MB WAL segments.
    Raises OperationalError with the end of the output when `initdb` fails.
    """
    options = _options(binaries.version)
    name = f"data-{binaries.version[0]}.{binaries.version[1]}-{cache.digest(binaries.build, _HBA, *options)}"
    try:
        folder = cache.user_cache()
    except OSError as error:
        raise OperationalError(f"no folder for the cached data of a new server: {error}") from error
    return cache.publish(folder, name, lambda target: _make(binaries, options, target))


def _options(version: tuple[int, int]) -> list[str]:
    options = ["-U", "postgres", "-A", "trust", "--encoding=UTF8", "--no-sync", "--wal-segsize=1"]
    if version >= (14, 0):
        options.append("--no-instructions")
    if version >= (18, 0):
        options.append("--no-data-checksums")
    if version >= (17, 0):
        return [*options, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return [*options, "--locale=C" if sys.platform == "darwin" else "--locale=C.UTF-8"]


def _make(binaries: Binaries, options: list[str], target: Path) -> None:
    problem = _run(binaries, options, target)
    if "invalid locale" in problem and "--locale=C.UTF-8" in options:  # musl, old glibc
        problem = _run(binaries, ["--locale=C" if o == "--locale=C.UTF-8" else o for o in options], target)
    if problem:
        raise OperationalError(f"initdb of {binaries} failed:\n{problem}")


def _run(binaries: Binaries, options: list[str], target: Path) -> str:
    """Run initdb in a scratch folder and copy the result; its output when it failed, else ""."""
    work = Path(tempfile.mkdtemp(prefix="pgoxide-", dir=cache.scratch()))

    def keep() -> None:
        cache.copy_tree(str(work / "data"), str(target), 0o400)
        (target / "pg_hba.conf").unlink()
        (target / "pg_hba.conf").write_text(_HBA)

    status, output = child.run(binaries, work, ["initdb", "-D", str(work / "data"), *options], keep)
    return f"exit status {status}\n{output}" if status else ""
