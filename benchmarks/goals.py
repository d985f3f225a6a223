"""Who is measured in which case, and what pgoxide has to reach: the goals of the issues, as data.

A line is one row of the report. Its goals compare the subject's time with that of another lane of the same
round; with several lanes, with the quickest of them in that round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

COLUMNS = ("vs asyncpg", "vs best or named peer", "vs C floor, wall", "vs C floor, CPU", "other")
ASYNCPG, PEER, FLOOR, FLOOR_CPU, OTHER = COLUMNS
FLOOR_DRIVERS = ("floor", "libpq")


class Lane(NamedTuple):
    """One process of each round."""

    driver: str
    case: str
    loop: str  # asyncio, uvloop, blocking; "C" for the floor

    def __str__(self) -> str:
        return f"{self.driver}/{self.case}/{self.loop}"


@dataclass(frozen=True)
class Goal:
    """The subject takes at most `limit` times as long as the quickest of `against`."""

    column: str
    against: tuple[Lane, ...]
    limit: float

    @property
    def clock(self) -> str:
        """The field of a result that is compared."""
        return "cpu_s" if self.column == FLOOR_CPU else "wall_s"


@dataclass(frozen=True)
class Limit:
    """A field of the subject's result is at most this, whatever others do."""

    field: str
    most: float
    text: str  # what and in which unit, for people


@dataclass(frozen=True)
class Line:
    """One row of the report; `also` runs for comparison without a goal."""

    title: str
    subject: Lane
    goals: tuple[Goal, ...]
    also: tuple[Lane, ...] = field(default=())
    limits: tuple[Limit, ...] = field(default=())

    def lanes(self) -> set[Lane]:
        """All that has to run for this line."""
        return {self.subject, *self.also, *(lane for goal in self.goals for lane in goal.against)}


def _lane(driver: str, case: str, loop: str) -> Lane:
    if driver in FLOOR_DRIVERS:
        return Lane(driver, case, "C")
    return Lane(driver, case, "blocking" if driver in BLOCKING else loop)


BLOCKING = ("pgoxide_blocking", "psycopg_blocking", "psycopg2")
ALL_ROWS = ("asyncpg", "fastpg", "psycopg_blocking", "psycopg2")
# fastpg reads none of these types: UnsupportedTypeError (0.1.2).
ALL_BUT_FASTPG = ("asyncpg", "psycopg_blocking", "psycopg2")


def _line(
    title: str,
    case: str,
    goals: list[tuple[str, str | tuple[str, ...], float]],
    *,
    loop: str = "asyncio",
    subject: str = "pgoxide_async",
    also: tuple[str, ...] = (),
    limits: tuple[Limit, ...] = (),
) -> Line:
    made = []
    for column, against, limit in goals:
        drivers = (against,) if isinstance(against, str) else against
        made.append(Goal(column, tuple(_lane(driver, case, loop) for driver in drivers), limit))
    others = tuple(_lane(driver, case, loop) for driver in also)
    return Line(title, _lane(subject, case, loop), tuple(made), others, limits)


def _one_row(title: str, case: str) -> list[Line]:
    return [
        _line(
            f"{title}, asyncio",
            case,
            [
                (ASYNCPG, "asyncpg", 0.40),
                (PEER, "fastpg", 0.85),
                (FLOOR, "floor", 2.5),
                (FLOOR_CPU, "floor", 3.6),
            ],
            also=("psycopg_async",),
        ),
        _line(
            f"{title}, uvloop",
            case,
            [
                (ASYNCPG, "asyncpg", 0.65),
                (PEER, "fastpg", 0.90),
                (FLOOR, "floor", 2.0),
                (FLOOR_CPU, "floor", 2.6),
            ],
            loop="uvloop",
        ),
        _line(
            f"{title}, blocking",
            case,
            [
                (ASYNCPG, "asyncpg", 0.30),
                (PEER, "psycopg_blocking", 0.60),
                (PEER, "psycopg2", 0.80),
                (FLOOR, "libpq", 1.25),
            ],
            subject="pgoxide_blocking",
        ),
    ]


LINES: list[Line] = [
    *_one_row("SELECT 1", "select1"),
    *_one_row("look-up", "pk"),
    _line(
        "one row of ten types",
        "tentypes",
        [(ASYNCPG, "asyncpg", 0.40), (PEER, "fastpg", 0.85)],
        also=("psycopg_async", "floor"),
    ),
    _line(
        "100 tasks, one connection",
        "tasks100",
        [(ASYNCPG, "asyncpg", 0.08), (PEER, "fastpg", 0.95), (FLOOR, "floor", 1.3)],
        also=("psycopg_async",),
    ),
    *(
        _line(
            f"100 tasks, pool of {size}",
            f"pool{size}",
            [(ASYNCPG, "asyncpg", 0.12), (PEER, "fastpg", 0.85)],
            also=("psycopg_async",),
        )
        for size in (4, 10)
    ),
    _line(
        "one batch, one Sync",
        "batch",
        [(ASYNCPG, "asyncpg", 0.05), (PEER, "psycopg_async", 0.15), (FLOOR, "floor", 1.3)],
        also=("asyncpg_fetchmany", "fastpg"),
    ),
    _line(
        "1 000 rows x 5",
        "rows1000x5",
        [(ASYNCPG, "asyncpg", 0.60), (PEER, ALL_ROWS, 0.60), (FLOOR, "floor", 1.5)],
        also=("pgoxide_blocking",),
    ),
    _line(
        "100 000 rows x 4 int4",
        "ints100k",
        [
            (ASYNCPG, "asyncpg", 0.55),
            (PEER, ALL_ROWS, 0.55),
            (FLOOR, "floor", 1.25),
            (FLOOR_CPU, "floor", 8.5),
        ],
        also=("pgoxide_blocking",),
    ),
    _line(
        "100 000 rows of text, timestamptz, numeric, uuid",
        "mix100k",
        [(ASYNCPG, "asyncpg", 0.35), (PEER, "fastpg", 0.65), (FLOOR, "floor", 2.3)],
        also=("psycopg_blocking",),
    ),
    _line(
        "20 000 jsonb documents parsed (asyncpg: by json.loads)",
        "jsonb20k",
        [(ASYNCPG, "asyncpg", 0.30), (PEER, "fastpg", 0.55)],
        also=("psycopg_blocking", "psycopg2", "floor"),
    ),
    *(
        _line(title, case, [(ASYNCPG, "asyncpg", 0.65), (PEER, ALL_ROWS, 0.65)], also=("floor",))
        for title, case in (
            ("5 000 rows of int4[100] to lists", "int4x100"),
            ("50 rows of int4[10000] to lists", "int4x10k"),
        )
    ),
    # psqlpy gives an IPv4Address for 192.168.0.1/24, but these are without a mask.
    *(
        _line(
            title,
            case,
            [(ASYNCPG, "asyncpg", 0.35), (PEER, (*ALL_BUT_FASTPG, "psqlpy"), 0.50)],
            also=("floor",),
        )
        for title, case in (("100 000 intervals", "interval100k"), ("100 000 inet", "inet100k"))
    ),
    # psqlpy reads neither: RustToPyValueMappingError (0.13.1).
    *(
        _line(title, case, [(ASYNCPG, "asyncpg", 0.35), (PEER, ALL_BUT_FASTPG, 0.50)], also=("floor",))
        for title, case in (
            ("100 000 arrays of two composites", "composite100k"),
            ("100 000 rows of int4range, tstzrange", "range100k"),
        )
    ),
    _line(
        "10 000 rows x 8 into dataclasses (asyncpg: its records)",
        "dataclass10k",
        [(ASYNCPG, "asyncpg", 0.50)],
        also=("psycopg_blocking", "floor"),
    ),
    _line(
        "10 000 rows x 8 into msgspec Structs (asyncpg: its records)",
        "msgspec10k",
        [(ASYNCPG, "asyncpg", 0.50)],
        also=("fastpg", "psycopg_blocking"),
    ),
    _line(
        "10 000 rows x 8 into pydantic models (asyncpg: model_validate of its records)",
        "pydantic10k",
        [(ASYNCPG, "asyncpg", 0.50)],
        also=("fastpg", "psycopg_blocking"),
    ),
    _line(
        "INSERT one by one",
        "insert",
        [(ASYNCPG, "asyncpg", 0.50), (PEER, "fastpg", 0.85)],
        also=("psycopg_async",),
    ),
    _line(
        "transaction of two INSERTs, the second with commit=True (others: a block)",
        "txcommit",
        [(ASYNCPG, "asyncpg", 0.35), (PEER, "fastpg", 0.85)],
        also=("psycopg_async",),
    ),
    _line(
        "transaction block of two INSERTs",
        "txblock",
        [(ASYNCPG, "asyncpg", 0.70), (PEER, "fastpg", 0.85)],
        also=("psycopg_async",),
    ),
    _line(
        "execute_many, 10 000 rows",
        "executemany10k",
        [(ASYNCPG, "asyncpg", 0.55), (PEER, "fastpg", 0.90)],
        also=("psycopg_async", "floor"),
    ),
    _line(
        "COPY in, 100 000 tuples",
        "copyin100k",
        [(ASYNCPG, "asyncpg", 0.40), (PEER, ("psycopg_blocking", "fastpg"), 0.75), (FLOOR, "floor", 1.7)],
    ),
    # fastpg has no COPY out (0.1.2).
    _line(
        "COPY out, blocks of 100 000 rows",
        "copyout100k",
        [(ASYNCPG, "asyncpg", 0.70), (PEER, "psycopg2", 0.75), (FLOOR, "libpq", 1.1)],
        also=("psycopg_async", "psycopg_blocking"),
    ),
    # fastpg has no cursors (0.1.2).
    _line(
        "stream of 1 000 000 rows, batches of 1 000",
        "stream1m",
        [(ASYNCPG, "asyncpg", 0.40), (PEER, "psqlpy", 0.65)],
        also=("psycopg_async",),
        limits=(Limit("rss_growth_mb", 5, "MB more memory"),),
    ),
    _line(
        "import",
        "import",
        [(ASYNCPG, "asyncpg", 0.30), (PEER, "psqlpy", 1.3)],
        also=("fastpg", "psycopg_blocking", "psycopg2"),
    ),
]

DRIVERS: tuple[str, ...] = tuple(sorted({lane.driver for line in LINES for lane in line.lanes()}))
# What --drivers understands besides the names themselves.
FAMILIES = {
    "asyncpg": ("asyncpg", "asyncpg_fetchmany"),
    "psycopg": ("psycopg_async", "psycopg_blocking"),
    "pgoxide": ("pgoxide_async", "pgoxide_blocking"),
    "floor": FLOOR_DRIVERS,
}
