# generated from python/pgoxide/driver/_async/pool_stream.py by tools/async_to_sync.py: do not edit

"""`PoolStream`: rows of a statement as they come, on a connection of the pool."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pgoxide._core import frozen_arguments
from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from pgoxide._core import Stream
    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver._sync.pool import Pool

__all__ = ["PoolStream"]

R_co = TypeVar("R_co", covariant=True)


_OPTIONS = frozenset({"into", "batch", "timeout", "types"})
"""What `stream` takes beside the parameters."""


class PoolStream(Generic[R_co]):
    """A stream that takes a connection at its first row and gives it back at its end; see `Pool.stream`.

    Leaving its block, `break`, or dropping it ends it and gives the connection back.
    """

    def __init__(self, pool: Pool, statement: Any, args: tuple[object, ...], options: dict[str, Any]) -> None:
        self._pool = pool
        # Encoded at the first row: changing them meanwhile changes nothing.
        values = {name: value for name, value in options.items() if name not in _OPTIONS}
        frozen = zip(values, frozen_arguments(tuple(values.values())), strict=True)
        self._call = (statement, frozen_arguments(args), options | dict(frozen))
        self._limit: float | None = options.get("timeout")
        self._db: Connection | None = None
        self._stream: Stream[R_co] | None = None
        self._over = self._begins = False
        self._lock = threading.Lock()
        """On the blocking face one thread may close what another one begins to read."""

    def _begun(self) -> Stream[R_co]:
        """The connection's stream, also after its end: it knows what that was."""
        if self._stream is not None:
            return self._stream
        with self._lock:
            if self._begins:
                raise InterfaceError("two tasks read one stream: another one waits for its connection")
            if self._over:
                raise InterfaceError("the stream was closed before its end: rows are missing")
            self._begins = True
        began = time.monotonic()
        try:
            db = self._pool.acquire(timeout=self._limit)
        finally:
            self._begins = False
        with self._lock:
            closed = self._over
            if not closed:
                self._db = db
        if closed:
            self._pool.release(db)
            raise InterfaceError("the stream was closed while it waited for a connection: rows are missing")
        statement, args, options = self._call
        if self._limit is not None:
            # Less than nothing is no number of seconds: the first read is late, and says so.
            options = options | {"timeout": max(0.0, self._limit - (time.monotonic() - began))}
        try:
            self._stream = db.stream(statement, *args, **options)
        except BaseException:
            self._end()
            raise
        return self._stream

    def _end(self) -> None:
        """Gives the connection back, once."""
        with self._lock:
            self._over = True
            db, self._db = self._db, None
        if db is None:
            return
        try:
            if self._stream is not None:
                self._stream.close()
        finally:
            self._pool.release(db)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R_co:
        stream = self._begun()
        try:
            return stream.__next__()
        except BaseException:
            self._end()
            raise

    def next_batch(self) -> list[R_co]:
        """The next rows, at most `batch` of them; an empty list at the end."""
        stream = self._begun()
        try:
            rows = stream.next_batch()
        except BaseException:
            self._end()
            raise
        if not rows:
            self._end()
        return rows

    def close(self) -> None:
        """Ends the statement and gives the connection back; what was not read is discarded. Twice does nothing.

        Whoever reads on is told that rows are missing, if any are.
        """
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            self._stream = None
            self._pool._give_back_dropped(db)
