"""`AsyncPoolTransaction`: a transaction on a connection of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgoxide.errors import InterfaceError

if TYPE_CHECKING:
    from types import TracebackType

    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver._async.pool import AsyncPool
    from pgoxide.driver._async.transaction import AsyncTransaction

__all__ = ["AsyncPoolTransaction"]


class AsyncPoolTransaction:
    """Takes a connection when its block is entered, and gives it back when the block ends; see `AsyncPool.transaction`."""

    def __init__(self, pool: AsyncPool, options: dict[str, Any]) -> None:
        self._pool = pool
        self._options = options
        self._entered = False
        self._db: AsyncConnection | None = None
        self._block: AsyncTransaction | None = None

    @property
    def _stays(self) -> bool:
        """What the block did has not been undone."""
        return self._block is not None and self._block._stays

    async def __aenter__(self) -> AsyncTransaction:
        if self._entered:
            raise InterfaceError("a transaction block is entered once: make another by transaction()")
        self._entered = True
        self._db = await self._pool.acquire()
        try:
            self._block = self._db.transaction(**self._options)
            return await self._block.__aenter__()
        except BaseException:
            await self._pool.release(self._db)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._db is None or self._block is None:
            return False
        try:
            return await self._block.__aexit__(exc_type, exc, traceback)
        finally:
            await self._pool.release(self._db)
