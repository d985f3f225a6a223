"""What rows become, and a transaction written once for both faces."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from uuid import UUID, uuid5

from examples.demo.data import FLIGHTS
from pgoxide.statement import Plan, Statement, batch, begin, commit, execute, fetch_one, rollback

LOOK_UP = "select * from flights where id = $1"
NUMBERS = random.Random(2013).sample(range(1, FLIGHTS + 1), 1_000)  # noqa: S311  the same ones in every run

TICKETS = 10_000
DEMO = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")  # a name space, so that every run makes the same tickets


@dataclass(frozen=True, slots=True)
class Flight:
    """A row of `flights`: the fields are the columns, checked once when the statement is first used."""

    id: int
    day: date
    dep_time: int | None
    sched_dep_time: int
    dep_delay: int | None
    arr_time: int | None
    sched_arr_time: int
    arr_delay: int | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: int | None
    distance: int
    time_hour: datetime

    @property
    def miles(self) -> int:
        """Flown; none if it was cancelled."""
        return 0 if self.air_time is None else self.distance

    def __str__(self) -> str:
        late = "cancelled" if self.dep_time is None else f"{self.arr_delay or 0:+d} min"
        return f"{self.day:%a %d %b}  {self.carrier} {self.flight:<4}  {self.origin} → {self.dest}  {late}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A row of `tickets`."""

    id: UUID
    flight: int
    passenger: str
    price: Decimal
    boarded: bool
    boarding: datetime
    seal: bytes
    extras: dict[str, object]


def made_up() -> Iterator[tuple[object, ...]]:
    """Tickets for the first flights, as the values of a row."""
    surnames = ("Bly", "Coleman", "Earhart", "Lindbergh", "Markham", "Quimby", "Saint-Exupéry", "Wright")
    opening = datetime(2013, 1, 1, 5)  # noqa: DTZ001  a clock on the wall: `timestamp` has no time zone
    for number in range(1, TICKETS + 1):
        identity = uuid5(DEMO, f"ticket {number}")
        passenger = f"{surnames[number % 8]}, {chr(65 + number % 26)}."
        price = Decimal(4_999 + number * 37 % 60_000).scaleb(-2)
        boarding = opening + timedelta(minutes=number)
        seal = sha256(identity.bytes).digest()[:8]
        extras = {
            "bags": number % 3,
            "meal": "vegetarian" if number % 2 else None,
            "seat": [number % 30 + 1, "A"],
        }
        yield identity, number, passenger, price, False, boarding, seal, extras


def rebook(ticket: UUID, flight: int, fee: Decimal) -> Plan[Ticket]:
    """Moves a ticket to another flight for a fee, in one transaction, and gives the new ticket.

    No `await`: a Plan yields what it wants done, and either kind of connection runs it. Five statements, three round trips.
    """
    look = Statement("select * from tickets where id = $1 for update", (ticket,), into=Ticket)
    try:
        yield from begin()
        old = yield from fetch_one(look)
        change = Statement(
            "update tickets set flight = $2, price = $3 where id = $1", (ticket, flight, old.price + fee)
        )
        _, new, _ = yield from batch(execute(change), fetch_one(look), commit())
    except BaseException:
        yield from rollback()
        raise
    return new
