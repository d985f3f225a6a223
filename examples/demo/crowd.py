"""pgoxide with asyncio: a pool of four connections, a thousand tasks, and a row that all of them want."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pgoxide
from examples.demo.models import LOOK_UP, NUMBERS, Flight

if TYPE_CHECKING:
    from examples.demo.report import Report

CONNECTIONS = 4
SEATS = 150
CUSTOMERS = 200
ATTEMPTS = 100  # none has been seen to need more than a dozen


async def tour(config: pgoxide.ConnectConfig, report: Report) -> None:
    """A thousand tasks that read, then two hundred that write the same row."""
    async with pgoxide.AsyncPool(config, max_size=CONNECTIONS) as pool:
        report.title(f"asyncio: a pool of {CONNECTIONS} connections")
        await look_up(pool, report)
        await sell_out(pool, report)


async def look_up(pool: pgoxide.AsyncPool, report: Report) -> None:
    """Nobody acquires anything: each statement goes to a connection that can take it, behind others if need be."""
    with report.step("1,000 tasks, a look-up each", 1_000):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.fetch_one(LOOK_UP, number, into=Flight)) for number in NUMBERS]
    assert [task.result().id for task in tasks] == NUMBERS
    report.note(f"    {pool.stats()}")


async def sell_out(pool: pgoxide.AsyncPool, report: Report) -> None:
    """The last seats of a flight, under serializable isolation: who meets another's sale tries again."""
    await pool.execute(
        "create table seats (flight int4 primary key, vacant int4 not null check (vacant >= 0))"
    )
    await pool.execute("insert into seats values (1, $1)", SEATS)
    with report.step(f"{CUSTOMERS} customers, {SEATS} seats, 1 row"):
        bought = await asyncio.gather(*(buy_seat(pool) for _ in range(CUSTOMERS)))
    vacant = await pool.fetch_value("select vacant from seats where flight = 1", into=int)
    sold = sum(seat is not None for seat, _ in bought)
    assert (sold, vacant) == (SEATS, 0)
    assert {seat for seat, _ in bought if seat is not None} == set(range(1, SEATS + 1))
    again = sum(number - 1 for _, number in bought)
    report.note(f"    {sold} sold, none twice; {again:,} transactions were run again")


async def buy_seat(pool: pgoxide.AsyncPool) -> tuple[int | None, int]:
    """The seat bought, if any was vacant, and the attempts it took."""
    async with pool.acquire() as db:
        async for attempt in db.transaction_attempts(
            isolation="serializable", attempts=ATTEMPTS, backoff=0.001
        ):
            async with attempt as tx:
                seat = await tx.fetch_value("select vacant from seats where flight = 1", into=int)
                if seat == 0:
                    return None, attempt.number
                await asyncio.sleep(0.001)  # the customer looks for a card, and others do the same
                await tx.execute("update seats set vacant = $1 where flight = 1", seat - 1)
        return seat, attempt.number
