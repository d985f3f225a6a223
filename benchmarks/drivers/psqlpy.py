"""psqlpy: where its issue-free parts can be compared. Its one-row queries cost 2-3 x asyncpg's, and its COPY dead-locks (0.13.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psqlpy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "psqlpy", "connect"
ABORTS_AT_EXIT = True  # 0.13.1, about one time in three: its threads outlive the interpreter


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await psqlpy.connect(dsn)

    async def close(self) -> None:
        self.db.close()

    async def rows(self, sql: str) -> Rows:
        return (await self.db.fetch(sql)).result(as_tuple=True)

    async def stream(self, sql: str, batch: int, take: Callable[[Sequence[Any]], None]) -> None:
        async with (
            self.db.transaction() as transaction,
            transaction.cursor(sql, array_size=batch) as cursor,
        ):
            async for result in cursor:
                take(result.result(as_tuple=True))
