# generated from python/pgoxide/driver/_async/pool_batch.py by tools/async_to_sync.py: do not edit

"""`PoolBatch`: a batch on a connection of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from pgoxide.driver._sync.batch import Batch
    from pgoxide.driver._sync.connection import Connection
    from pgoxide.driver._sync.pool import Pool

__all__ = ["PoolBatch"]


class PoolBatch:
    """Takes a connection when its block is entered, and gives it back when the block ends; see `Pool.batch`."""

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._db: Connection | None = None
        self._batch: Batch | None = None

    def __enter__(self) -> Batch:
        self._db = self._pool.acquire(timeout=self._timeout)
        self._batch = self._db.batch(timeout=self._timeout)
        return self._batch

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._db is None or self._batch is None:
            return
        try:
            self._batch.__exit__(exc_type, exc, traceback)
        finally:
            self._pool.release(self._db)
