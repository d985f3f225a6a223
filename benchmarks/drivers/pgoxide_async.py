"""pgoxide, asyncio or uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pgoxide
from benchmarks.cases import LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "pgoxide", "AsyncConnection"


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await pgoxide.AsyncConnection.connect(dsn)

    async def close(self) -> None:
        await self.db.close()

    async def select_1(self, count: int) -> int:
        db, total = self.db, 0
        for _ in range(count):
            total += await db.fetch_value(SELECT_1)
        return total

    async def look_up(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _name, value = await db.fetch_one(LOOK_UP, key)
            total += value
        return total

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        return sum(await asyncio.gather(*map(self.look_up, groups)))

    async def batch(self, keys: Sequence[int]) -> float:
        total = 0.0
        async with self.db.batch() as batch:
            results = [batch.fetch_one(LOOK_UP, key) for key in keys]
        for result in results:
            _id, _name, value = result.result()
            total += value
        return total

    async def rows(self, sql: str) -> Rows:
        return await self.db.fetch_all(sql)

    async def objects(self, sql: str, shape: type) -> Rows:
        return await self.db.fetch_all(sql, into=shape)

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.db.copy_in(table, rows, columns=list(columns))
