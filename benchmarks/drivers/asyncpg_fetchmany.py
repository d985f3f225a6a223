"""asyncpg's nearest to a batch: `fetchmany`, one statement with many arguments in one round trip.

It takes no goal: it cannot mix statements, and it gives one flat list in which the requests are no longer
apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.data import LOOK_UP
from benchmarks.drivers import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE, ENTRY = asyncpg.MODULE, asyncpg.ENTRY


class Driver(asyncpg.Driver):
    """asyncpg with another `batch`."""

    async def batch(self, keys: Sequence[int]) -> float:
        total = 0.0
        for _id, _name, value in await self.db.fetchmany(LOOK_UP, [(key,) for key in keys]):
            total += value
        return total
