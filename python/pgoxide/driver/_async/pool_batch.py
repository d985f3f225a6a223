"""`AsyncPoolBatch`: a batch on a connection of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from pgoxide.driver._async.batch import AsyncBatch
    from pgoxide.driver._async.connection import AsyncConnection
    from pgoxide.driver._async.pool import AsyncPool

__all__ = ["AsyncPoolBatch"]


class AsyncPoolBatch:
    """Takes a connection when its block is entered, and gives it back when the block ends; see `AsyncPool.batch`."""

    def __init__(self, pool: AsyncPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._db: AsyncConnection | None = None
        self._batch: AsyncBatch | None = None

    async def __aenter__(self) -> AsyncBatch:
        self._db = await self._pool.acquire(timeout=self._timeout)
        self._batch = self._db.batch(timeout=self._timeout)
        return self._batch

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._db is None or self._batch is None:
            return
        try:
            await self._batch.__aexit__(exc_type, exc, traceback)
        finally:
            await self._pool.release(self._db)
