"""asyncpg. One connection runs one statement at a time, so the 100 tasks stand behind an `asyncio.Lock`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from benchmarks.cases import LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "asyncpg", "connect"


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await asyncpg.connect(dsn)

    async def close(self) -> None:
        await self.db.close()

    async def select_1(self, count: int) -> int:
        db, total = self.db, 0
        for _ in range(count):
            total += await db.fetchval(SELECT_1)
        return total

    async def look_up(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _name, value = await db.fetchrow(LOOK_UP, key)
            total += value
        return total

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        db, lock = self.db, asyncio.Lock()

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                async with lock:
                    row = await db.fetchrow(LOOK_UP, key)
                _id, _name, value = row
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def batch(self, keys: Sequence[int]) -> float:
        """No batch of separate statements: 100 tasks behind the lock (see asyncpg_fetchmany.py)."""
        return await self.tasks([keys[i::100] for i in range(100)])

    async def rows(self, sql: str) -> Rows:
        return await self.db.fetch(sql)

    async def objects(self, sql: str, shape: type) -> Rows:  # noqa: ARG002 - its own records, not `shape`
        return await self.db.fetch(sql)

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.db.copy_records_to_table(table, columns=columns, records=rows)
