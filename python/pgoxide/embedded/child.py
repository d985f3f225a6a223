"""The owner's side of the watcher process (`_child.py`): spawn it under an identity, read its reports, stop it.

Used by `initdb.py` and `launch.py` for everything they run, so that one mechanism makes sure that nothing is left
running or lying about, whatever happens to the owner.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgoxide.embedded import root
from pgoxide.errors import NotSupportedError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgoxide.embedded.locate import Binaries

__all__ = ["Child", "run", "spawn"]

_SCRIPT = Path(__file__).with_name("_child.py")
# Everything else stays out: PG*, LC_ALL and the like would change the server, and the rest may hold secrets that an
# account of its own has no business with.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LOCALE_ARCHIVE", "LOCPATH", "TZDIR", "TMPDIR")
_ANSWER_SECONDS = 30.0
_RUN_SECONDS = 300.0


def environment() -> dict[str, str]:
    """The environment of the server's programs: the same error texts, time zone and sort order on every machine."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"TZ": "UTC", "LC_MESSAGES": "C", "LANG": "C"}


class Child:
    """A watcher process and the program it runs.

    folders: removed by the watcher when it ends. log: the file that gets what the program prints.
    """

    def __init__(
        self, identity: root.Identity, folders: Sequence[Path], command: Sequence[str], log: Path
    ) -> None:
        if getattr(sys, "frozen", False) or not sys.executable:
            raise NotSupportedError("an embedded server needs a Python interpreter to run its watcher with")
        self.identity = identity
        self._unread = b""
        arguments = [str(os.getpid()), identity.kind, str(identity.uid), str(identity.gid), str(len(folders))]
        line = [sys.executable, "-I", "-S", str(_SCRIPT), *arguments, *map(str, folders), *command]
        try:
            self._process = _popen(line, log)
        except OSError as error:
            raise OperationalError(f"the watcher process cannot be started: {error}") from error

    def report(self, seconds: float) -> tuple[str, str] | None:
        """The next report as (word, rest); None when there was none within this time.

        A watcher that is gone reports `("gone", "")`.
        """
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            piece = os.read(stdout.fileno(), 4096)
            if not piece:
                return "gone", ""
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        word, _, rest = os.fsdecode(line).partition(" ")
        return word, rest

    def go(self) -> int:
        """Let the watcher start the program; its process id. Raises OperationalError when that is impossible."""
        self._tell(b"g")
        match self.report(_ANSWER_SECONDS):
            case "pid", number:
                return int(number)
            case "unreachable", path:
                raise OperationalError(
                    f"{path} is out of reach for {self.identity.name}: set TMPDIR to a common folder"
                )
            case "refused", rest:
                raise OperationalError(
                    f"the server program cannot be run: {os.strerror(int(rest.split()[0]))}"
                )
            case answer:
                raise OperationalError(
                    f"the watcher process of the server did not answer as expected: {answer}"
                )

    def stop(self) -> None:
        """Stop the program, remove the folders, end the watcher; returns when all is done (20 to 50 ms)."""
        self._tell(b"s")
        deadline = time.monotonic() + 10
        while (
            left := deadline - time.monotonic()
        ) > 0:  # not Popen.wait(timeout): it sleeps up to 50 ms at a time
            if self.report(left) == ("gone", ""):
                break
        else:
            self._process.kill()  # the parent-death signal stops the program
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _tell(self, word: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the watcher is gone; its reports say so
            self._process.stdin.write(word)


def _popen(line: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        # -I -S: no site, no user code, no PYTHON* variables; 12 ms instead of 40. A session of its own: a Ctrl-C of
        # the terminal goes to the owner's process group only.
        return subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            bufsize=0,
            cwd="/",
            env=environment(),
            start_new_session=True,
        )


def spawn(
    binaries: Binaries,
    folders: Sequence[Path],
    command: Callable[[Binaries], Sequence[str]],
    log: Path,
    meanwhile: Callable[[], None] | None = None,
) -> Child:
    """A watcher that is ready to run a command under the first identity that works.

    command: makes the command line; called again when the binaries had to be copied.
    meanwhile: called once, while the first watcher starts. When the identity is another account the folders and
    what is in them are handed to it afterwards.
    Raises OperationalError, in one sentence, when no identity works.
    """
    reasons: list[str] = []
    for identity in root.identities():
        copied = False
        while True:
            child = Child(identity, folders, command(binaries), log)
            try:
                if meanwhile is not None:
                    work, meanwhile = meanwhile, None
                    work()
                answer = child.report(_ANSWER_SECONDS)
                if answer == ("ready", ""):
                    if identity.kind == "account":
                        _hand_over(folders, identity)
                    root.prefer(identity)
                    return child
            except BaseException:
                child.stop()
                raise
            child.stop()
            if (
                answer is not None
                and answer[0] == "unreachable"
                and identity.kind == "account"
                and not copied
            ):
                binaries, copied = root.readable_copy(binaries), True
                continue
            reasons.append(_reason(answer))
            break
    raise root.refused(reasons)


def run(
    binaries: Binaries, folder: Path, command: Sequence[str], keep: Callable[[], None]
) -> tuple[int, str]:
    """Run a program of the server to its end; its exit status and what it printed.

    folder: where it works, removed at the end. keep: called before that when the status is 0.
    """
    log = folder / "log"
    try:
        child = spawn(binaries, [folder], lambda found: [found.program(command[0]), *command[1:]], log)
        try:
            child.go()
            word, rest = child.report(_RUN_SECONDS) or ("gone", "")
            status = int(rest) if word == "exited" else -1
            if status == 0:
                keep()
            return status, log.read_text(errors="replace")
        finally:
            child.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what the watcher did not get to


def _hand_over(folders: Sequence[Path], identity: root.Identity) -> None:
    for folder in folders:
        for path, names, files in os.walk(folder):
            for name in (*names, *files):
                os.chown(f"{path}/{name}", identity.uid, identity.gid, follow_symlinks=False)
        os.chown(folder, identity.uid, identity.gid)


def _reason(answer: tuple[str, str] | None) -> str:
    match answer:
        case "refused", rest:
            number, _, step = rest.partition(" ")
            return root.describe(step, int(number))
        case "unreachable", path:
            return f"{path} is out of reach"
        case _:
            return "the watcher process did not start"
