"""`AsyncPoolStream`: rows of a statement as they come, on a connection of the pool."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pgoxide._core import frozen_arguments
from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    # async-only: begin
    from pgoxide._core.stream import AsyncStream

    # async-only: end
    # sync: from pgoxide._core import Stream
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver._async.pool import AsyncPool

__all__ = ["AsyncPoolStream"]

R_co = TypeVar("R_co", covariant=True)


_OPTIONS = frozenset({"into", "batch", "timeout", "types"})
"""What `stream` takes beside the parameters."""


class AsyncPoolStream(Generic[R_co]):
    """A stream that takes a connection at its first row and gives it back at its end; see `AsyncPool.stream`.

    Leaving its block, `break`, or dropping it ends it and gives the connection back.
    """

    def __init__(
        self, pool: AsyncPool, statement: Any, args: tuple[object, ...], options: dict[str, Any]
    ) -> None:
        self._pool = pool
        # Encoded at the first row: changing them meanwhile changes nothing.
        values = {name: value for name, value in options.items() if name not in _OPTIONS}
        frozen = zip(values, frozen_arguments(tuple(values.values())), strict=True)
        self._call = (statement, frozen_arguments(args), options | dict(frozen))
        self._limit: float | None = options.get("timeout")
        self._db: AsyncConnection | None = None
        self._stream: AsyncStream[R_co] | None = None
        self._over = self._begins = False
        self._lock = threading.Lock()
        """On the blocking face one thread may close what another one begins to read."""

    async def _begun(self) -> AsyncStream[R_co]:
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
            db = await self._pool.acquire(timeout=self._limit)
        finally:
            self._begins = False
        with self._lock:
            closed = self._over
            if not closed:
                self._db = db
        if closed:
            await self._pool.release(db)
            raise InterfaceError("the stream was closed while it waited for a connection: rows are missing")
        statement, args, options = self._call
        if self._limit is not None:
            # Less than nothing is no number of seconds: the first read is late, and says so.
            options = options | {"timeout": max(0.0, self._limit - (time.monotonic() - began))}
        try:
            self._stream = db.stream(statement, *args, **options)
        except BaseException:
            await self._end()
            raise
        return self._stream

    async def _end(self) -> None:
        """Gives the connection back, once."""
        with self._lock:
            self._over = True
            db, self._db = self._db, None
        if db is None:
            return
        try:
            if self._stream is not None:
                await self._stream.close()
        finally:
            await self._pool.release(db)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        stream = await self._begun()
        try:
            return await stream.__anext__()
        except BaseException:
            await self._end()
            raise

    async def next_batch(self) -> list[R_co]:
        """The next rows, at most `batch` of them; an empty list at the end."""
        stream = await self._begun()
        try:
            rows = await stream.next_batch()
        except BaseException:
            await self._end()
            raise
        if not rows:
            await self._end()
        return rows

    async def close(self) -> None:
        """Ends the statement and gives the connection back; what was not read is discarded. Twice does nothing.

        Whoever reads on is told that rows are missing, if any are.
        """
        await self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            self._stream = None
            self._pool._give_back_dropped(db)
