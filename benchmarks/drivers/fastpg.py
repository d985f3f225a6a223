"""fastpg (Python 3.13 and newer): pipelines by itself, like pgoxide."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import fastpg

from benchmarks.data import INSERT, LOOK_UP, SELECT_1, TEN_TYPES, wide_model, wide_struct

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
        if shape in {wide_struct(), wide_model()}:
            return await self.db.select_many(sql, into=shape)
        raise NotImplementedError("fastpg fills msgspec Structs and pydantic models, not dataclasses")

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        await self.db.copy_in(table, rows, columns=columns)

    async def ten(self, key: int) -> Sequence[object]:
        return await self.db.select_one(TEN_TYPES, key)

    async def ten_types(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _small, _big, score, _active, _name, _amount, _born, _seen, _key = await db.select_one(
                TEN_TYPES, key
            )
            total += score
        return total

    async def open_pool(self, dsn: str, size: int) -> None:
        self.pool = await fastpg.create_pool(dsn, min_size=size, max_size=size)

    async def pool_tasks(self, groups: Sequence[Sequence[int]]) -> float:
        pool = self.pool

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                _id, _name, value = await pool.select_one(LOOK_UP, key)
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def close_pool(self) -> None:
        await self.pool.close()

    async def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        db = self.db
        for row in rows:
            await db.execute(INSERT, *row)

    async def transactions(self, rows: Sequence[tuple[Any, ...]], *, fused: bool) -> None:  # noqa: ARG002  it commits at the end of its block only
        db = self.db
        for i in range(0, len(rows), 2):
            async with db.transaction() as transaction:
                await transaction.execute(INSERT, *rows[i])
                await transaction.execute(INSERT, *rows[i + 1])

    async def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        await self.db.execute_many(INSERT, rows)
