"""What a year of flights tells: asked in SQL, all at once on one connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pgoxide
    from examples.demo.report import Report

AIRLINES = """
select name, count(*)::int as flights, avg(arr_delay)::float8 as delay,
       100.0::float8 * count(*) filter (where dep_time is null) / count(*) as cancelled
from flights join airlines using (carrier) group by name order by flights desc limit 10"""

WORST_ROUTE = """
select origin || ' → ' || dest || ' (' || coalesce(a.name, 'not in airports') || ')', count(*), avg(arr_delay)::float8
from flights f left join airports a on a.faa = f.dest
where arr_delay is not null
group by origin, dest, a.name having count(*) >= 100 order by avg(arr_delay) desc limit 1"""

HOURS = """
select sched_dep_time / 100 as hour, avg(dep_delay)::float8 as delay
from flights where dep_delay is not null group by hour having count(*) >= 1000 order by delay"""

WORST_DAY = """
select day, count(*) filter (where dep_time is null) as cancelled, count(*) as flights
from flights group by day order by cancelled desc limit 1"""

FASTEST = """
select a.name, f.origin, f.dest, f.distance * 60.0::float8 / f.air_time, p.manufacturer || ' ' || p.model
from flights f join airlines a using (carrier) join planes p using (tailnum)
where f.air_time > 0 order by f.distance * 60.0 / f.air_time desc limit 1"""

OLDEST = """
select p.year, initcap(p.manufacturer) || ' ' || p.model, count(*)
from planes p join flights f using (tailnum) where p.year is not null
group by p.tailnum order by p.year, count(*) desc limit 1"""


@dataclass(frozen=True, slots=True)
class Airline:
    """One of the ten largest. delay: minutes on arrival, on average. cancelled: per cent."""

    name: str
    flights: int
    delay: float
    cancelled: float


async def tell(db: pgoxide.AsyncConnection, report: Report) -> None:
    """Prints them."""
    with report.step("six questions at once"):
        # Six calls and no waiting in between: they travel together, and each has its own answer or error.
        airlines, route, hours, worst, fastest, oldest = await asyncio.gather(
            db.fetch_all(AIRLINES, into=Airline),
            db.fetch_one(WORST_ROUTE, into=tuple[str, int, float]),
            db.fetch_all(HOURS, into=tuple[int, float]),
            db.fetch_one(WORST_DAY, into=tuple[date, int, int]),
            db.fetch_one(FASTEST, into=tuple[str, str, str, float, str]),
            db.fetch_one(OLDEST, into=tuple[int, str, int]),
        )
    report.space()
    report.table(
        ("airline", "flights", "late on arrival", "cancelled"),
        [(a.name, f"{a.flights:,}", f"{a.delay:+.1f} min", f"{a.cancelled:.1f} %") for a in airlines],
    )
    report.space()
    way, count, late = route
    report.fact("most delayed route", f"{way}: {late:+.0f} min on average of {count:,} flights")
    (early, least), (evening, most) = hours[0], hours[-1]
    report.fact(
        "when to leave", f"at {early} o'clock ({least:+.1f} min); never at {evening} ({most:+.1f} min)"
    )
    day, cancelled, count = worst
    report.fact("worst day", f"{day:%A}, {day.day} {day:%B}: {cancelled:,} of {count:,} flights cancelled")
    airline, origin, dest, speed, plane = fastest
    report.fact("fastest flight", f"{airline}, {origin} → {dest}: {speed:.0f} mph in a {plane}")
    year, plane, count = oldest
    report.fact("oldest plane", f"{plane} of {year}, {count:,} flights in the year")
