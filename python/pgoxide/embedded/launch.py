"""Start a private, throw-away server, know when it is ready, stop it.

`launch()` copies the data, starts `postgres` through a watcher process (`child.py`, `_child.py`) and returns once a real
start-up on the socket gets through. The server ends with its owner: on `stop()`, at the interpreter's exit, and when the
owner is killed; its folder goes with it.
"""

from __future__ import annotations

import re
import shutil
import socket
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgoxide.config import Secret
from pgoxide.embedded import cache, child, initdb
from pgoxide.errors import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgoxide.embedded.locate import Binaries

__all__ = ["Launched", "launch"]

PORT = 5432  # part of the socket's file name, in a folder of the server's own; it occupies no port
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.002
_PATH_BYTES = 103  # sun_path less the NUL: 107 bytes on Linux, 103 on macOS and BSD
_LOG_LINES = 20

# Nothing of this survives a crash of the machine, which is the point: it is thrown away.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "min_wal_size": "2MB",
    "jit": "off",
    # In the data folder, which is removed in any case: a server killed while starting leaves its file in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "lc_messages": "C",  # the template has C.UTF-8 before 17
}
_OURS = (
    "port",
    "unix_socket_directories",
    "listen_addresses",
    "data_directory",
    "hba_file",
    "logging_collector",
)


@dataclass(frozen=True, slots=True)
class Launched:
    """A running server. folder: all that is its own on disk; host: the socket's folder; tcp: port and password."""

    child: child.Child
    pid: int
    folders: tuple[Path, ...]
    host: Path
    tcp: tuple[int, Secret] | None

    def stop(self) -> None:
        """Stop it and remove its folders; returns when both is done."""
        self.child.stop()
        for folder in self.folders:  # for the case that the watcher was killed
            shutil.rmtree(folder, ignore_errors=True)


def launch(binaries: Binaries, settings: Mapping[str, str], tcp: bool) -> Launched:
    """A server that accepts connections (0.1 s, with a first `initdb` 1.2 s).

    Raises InterfaceError for settings that are no names or belong to us, OperationalError with the last lines of the
    server's log when it ends or is not ready within 60 s. Nothing is left behind then.
    """
    _check(settings)
    for _ in range(4):
        port = _free_port() if tcp else None
        try:
            return _attempt(binaries, settings, port)
        except OperationalError as error:
            if port is None or "Address already in use" not in str(error):
                raise
    raise OperationalError("no free TCP port for the server on 127.0.0.1, four attempts")


def _attempt(binaries: Binaries, settings: Mapping[str, str], port: int | None) -> Launched:
    template = initdb.template(binaries)
    home = Path(tempfile.mkdtemp(prefix="pgoxide-", dir=cache.scratch()))
    folders = [home]
    try:
        host = home
        if len(bytes(host / f".s.PGSQL.{port or PORT}")) > _PATH_BYTES:
            host = Path(tempfile.mkdtemp(prefix="pgoxide-", dir="/tmp"))
            folders.append(host)
        arguments = ["-D", str(home / "data"), "-k", str(host), *_switches(settings, port)]

        def fill() -> None:
            cache.copy_tree(str(template), str(home / "data"))
            if port is not None:
                with (home / "data" / "pg_hba.conf").open("a") as stream:
                    stream.write("host all all 127.0.0.1/32 scram-sha-256\n")

        log = home / "log"
        process = child.spawn(
            binaries, folders, lambda found: [found.program("postgres"), *arguments], log, fill
        )
        try:
            pid = process.go()
            password = _wait_ready(process, host, port, binaries, log)
        except BaseException:
            process.stop()
            raise
        address = None if port is None else (port, password)
        return Launched(process, pid, tuple(folders), host, address)
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _check(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if not re.fullmatch(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)?", name):
            raise InterfaceError(f"{name!r} is no name of a setting")
        if name.lower() in _OURS:
            raise InterfaceError(f"the setting {name} belongs to the embedded server and cannot be given")
        if "\0" in value:
            raise InterfaceError(f"the value of the setting {name} contains a NUL byte")


def _switches(settings: Mapping[str, str], port: int | None) -> list[str]:
    ours = {"listen_addresses": "127.0.0.1" if port else "", "port": str(port or PORT)}
    merged = _SETTINGS | {name.lower(): value for name, value in settings.items()} | ours
    return [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_ready(process: child.Child, host: Path, port: int | None, binaries: Binaries, log: Path) -> Secret:
    """Wait until a start-up gets through; with a TCP port also give the role its password."""
    path = str(host / f".s.PGSQL.{port or PORT}")
    password = Secret(_password()) if port else Secret("")
    query = f"ALTER ROLE postgres PASSWORD '{password.reveal()}'" if port else ""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if _starts_up(path, query):
            return password
        if (answer := process.report(_POLL_SECONDS)) is not None:  # also the pause between two attempts
            raise OperationalError(
                f"{binaries} ended while starting ({' '.join(answer).strip()}):\n{_tail(log)}"
            )
    raise OperationalError(f"{binaries} was not ready after {_READY_SECONDS:.0f} s:\n{_tail(log)}")


def _password() -> str:
    import secrets

    return secrets.token_urlsafe(24)


def _starts_up(path: str, query: str) -> bool:
    """Whether a start-up gets past authentication to ReadyForQuery; False means "try again".

    Raw bytes, because this room must not depend on the core. Protocol chapter, "Start-up".
    """
    # The password must not reach the log, whatever the user's settings are.
    body = b"user\0postgres\0database\0postgres\0options\0-c log_statement=none -c log_min_duration_statement=-1\0\0"
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        try:
            line.connect(path)
            line.sendall(struct.pack("!ii", len(body) + 8, 0x30000) + body)
            if not _until_ready(line):
                return False
            if query:
                text = query.encode() + b"\0"
                line.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
                _until_ready(line)
            line.sendall(b"X\0\0\0\4")
        except OSError:  # no socket yet, nobody behind it yet, or closed again while starting
            return False
    return True


def _until_ready(line: socket.socket) -> bool:
    """Read messages up to ReadyForQuery; False for 57P03 (the server is starting up). Other errors are raised."""
    with line.makefile("rb") as stream:
        while head := stream.read(5):
            kind, body = head[:1], stream.read(int.from_bytes(head[1:]) - 4)
            if kind == b"Z":
                return True
            if kind == b"E":
                fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
                if fields.get(b"C") == "57P03":
                    return False
                raise OperationalError(f"the server refuses its first connection: {fields.get(b'M')}")
    return False


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    except OSError as error:
        return f"(its log cannot be read: {error})"
