"""`AsyncPoolStream`: rows of a statement as they come, on a connection of the pool."""

from __future__ import annotations

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
        self._db: AsyncConnection | None = None
        self._stream: AsyncStream[R_co] | None = None
        self._over = False

    async def _begun(self) -> AsyncStream[R_co]:
        if self._over:
            raise InterfaceError("the stream is over: its connection has been given back")
        if self._stream is None:
            self._db = await self._pool.acquire()
            statement, args, options = self._call
            try:
                self._stream = self._db.stream(statement, *args, **options)
            except BaseException:
                await self._end()
                raise
        return self._stream

    async def _end(self) -> None:
        """Gives the connection back, once."""
        self._over = True
        db, self._db, self._stream = self._db, None, None
        if db is not None:
            await self._pool.release(db)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        if self._over:
            raise StopAsyncIteration
        stream = await self._begun()
        try:
            return await stream.__anext__()
        except BaseException:
            await self._end()
            raise

    async def next_batch(self) -> list[R_co]:
        """The next rows, at most `batch` of them; an empty list at the end."""
        if self._over:
            return []
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
        """Ends the statement and gives the connection back; what was not read is discarded. Twice does nothing."""
        try:
            if self._stream is not None:
                await self._stream.close()
        finally:
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
