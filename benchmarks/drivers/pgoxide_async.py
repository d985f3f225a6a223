"""pgoxide, asyncio or uvloop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pgoxide
from benchmarks.data import COPY_OUT_TABLE, INSERT, LOOK_UP, SELECT_1, TEN_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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

    async def ten(self, key: int) -> Sequence[object]:
        return await self.db.fetch_one(TEN_TYPES, key)

    async def ten_types(self, keys: Sequence[int]) -> float:
        db, total = self.db, 0.0
        for key in keys:
            _id, _small, _big, score, _active, _name, _amount, _born, _seen, _key = await db.fetch_one(
                TEN_TYPES, key
            )
            total += score
        return total

    async def open_pool(self, dsn: str, size: int) -> None:
        self.pool = await pgoxide.AsyncPool(dsn, min_size=size, max_size=size)

    async def pool_tasks(self, groups: Sequence[Sequence[int]]) -> float:
        pool = self.pool

        async def task(keys: Sequence[int]) -> float:
            total = 0.0
            for key in keys:
                _id, _name, value = await pool.fetch_one(LOOK_UP, key)
                total += value
            return total

        return sum(await asyncio.gather(*map(task, groups)))

    async def close_pool(self) -> None:
        await self.pool.close()

    async def stream(self, sql: str, batch: int, take: Callable[[Sequence[Any]], None]) -> None:
        async with self.db.stream(sql, batch=batch) as stream:
            while rows := await stream.next_batch():
                take(rows)

    async def insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        db = self.db
        for row in rows:
            await db.execute(INSERT, *row)

    async def transactions(self, rows: Sequence[tuple[Any, ...]], *, fused: bool) -> None:
        db = self.db
        for i in range(0, len(rows), 2):
            async with db.transaction() as transaction:
                await transaction.execute(INSERT, *rows[i])
                if fused:
                    await transaction.execute(INSERT, *rows[i + 1], commit=True)
                else:
                    await transaction.execute(INSERT, *rows[i + 1])

    async def execute_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        await self.db.execute_many(INSERT, rows)

    async def copy_out(self, take: Callable[[bytes], object]) -> None:
        async for block in self.db.copy_out(COPY_OUT_TABLE, format="binary").blocks():
            take(block)
