"""pgoxide without asyncio: the same verbs, without `await`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pgoxide
from examples.demo.data import FLIGHTS
from examples.demo.models import LOOK_UP, NUMBERS, TICKETS, Flight, rebook
from pgoxide.errors import DatabaseError

if TYPE_CHECKING:
    from examples.demo.report import Report

BOARD = "update tickets set boarded = true where id = $1"
MISTAKES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("select carrier, avg(dep_delai)\nfrom flights\ngroup by carrier", ()),
    ("select name from airlines where carrier = %s", ("UA",)),
    ("insert into airlines values ($1, $2)", ("UA", "Unpunctual Airways")),
)


def tour(config: pgoxide.ConnectConfig, report: Report) -> None:
    """What a blocking connection can do, and what goes wrong when the caller does."""
    with pgoxide.Connection.connect(config) as db:
        report.title("Blocking: one connection")
        look_up(db, report)
        stream(db, report)
        board(db, report)
        with pgoxide.Connection.connect(config) as other:
            pour(db, other, report)
        report.title("When something is wrong")
        mistakes(db, report)


def look_up(db: pgoxide.Connection, report: Report) -> None:
    """A thousand rows by their keys, into a dataclass."""
    with report.step("1,000 look-ups, one after the other", 1_000):
        found = [db.fetch_one(LOOK_UP, number, into=Flight) for number in NUMBERS]

    # Nothing can be in flight while a thread waits; what belongs together says so.
    with report.step("1,000 look-ups in one batch, all or nothing", 1_000), db.batch() as batch:
        replies = [batch.fetch_one(LOOK_UP, number, into=Flight) for number in NUMBERS]
    assert [reply.result() for reply in replies] == found


def stream(db: pgoxide.Connection, report: Report) -> None:
    """All flights, a thousand at a time in memory."""
    miles = 0
    with report.step("all flights as a stream of Flight", FLIGHTS, memory=True):
        for flight in db.stream("select * from flights", into=Flight):
            miles += flight.miles
    with report.step("all flights as one list, for comparison", FLIGHTS, memory=True):
        everything = db.fetch_all("select * from flights", into=Flight)
    assert sum(flight.miles for flight in everything) == miles


def board(db: pgoxide.Connection, report: Report) -> None:
    """One statement with many parameter sets, and the very Plan that ran on asyncio."""
    tickets = db.fetch_column("select id from tickets")
    with report.step("10,000 tickets updated by execute_many", TICKETS):
        tag = db.execute_many(BOARD, ((ticket,) for ticket in tickets))
    assert tag.rows_affected == TICKETS

    with report.step("a ticket rebooked: the same Plan"):
        db.run(rebook(tickets[0], 3, Decimal("25.00")))


def pour(db: pgoxide.Connection, other: pgoxide.Connection, report: Report) -> None:
    """A stream of one connection is a source for COPY on another."""
    other.execute("create unlogged table copied (like flights)")
    with (
        report.step("all flights, streamed and copied into a table", FLIGHTS, memory=True),
        db.stream("select * from flights") as flights,
    ):
        other.copy_in("copied", flights)
    assert db.fetch_value("select count(*) from copied") == FLIGHTS


def mistakes(db: pgoxide.Connection, report: Report) -> None:
    """Three of them, as a traceback would end. None harms the connection."""
    for sql, parameters in MISTAKES:
        try:
            db.execute(sql, *parameters)
        except DatabaseError as error:
            report.error(error)
            report.note(
                f"error.sqlstate == {error.sqlstate!r}, error.constraint_name == {error.constraint_name!r}"
            )
            report.space()
    report.note(f"The connection is as good as before: {db.fetch_value('select 6 * 7')}.")
