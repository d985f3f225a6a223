"""fastpg (Python 3.13 and newer): pipelines by itself, like pgoxide."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import fastpg

from benchmarks.cases import LOOK_UP, SELECT_1

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.drivers import Rows

MODULE, ENTRY = "fastpg", "connect"


class Driver:
    """See `benchmarks.drivers.AsyncDriver`."""

    async def connect(self, dsn: str) -> None:
        self.db = await fastpg.connect(dsn)

    async def close(self) -> None:
        await self.db.close()

    async def select_1(self, count: int) -> int:
        db, total = self.db, 0
        for _ in range(count):
            total += (await db.select_one(SELECT_1))[0]
        return total

    async def look_up(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _name, value = await db.select_one(LOOK_UP, key)
            total += value
        return total

    async def tasks(self, groups: Sequence[Sequence[int]]) -> float:
        return sum(await asyncio.gather(*map(self.look_up, groups)))

    async def batch(self, keys: Sequence[int]) -> float:
        """No batch with one Sync: all look-ups are gathered, a Sync each."""
        db = self.db
        rows = await asyncio.gather(*[db.select_one(LOOK_UP, key) for key in keys])
        total = 0.0
        for _id, _name, value in rows:
            total += value
        return total

    async def rows(self, sql: str) -> Rows:
        return await self.db.select_many(sql)

    async def objects(self, sql: str, shape: type) -> Rows:
        raise NotImplementedError("fastpg fills msgspec Structs, not dataclasses")

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.db.copy_in(table, rows, columns=columns)
