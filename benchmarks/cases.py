"""What is measured: the tables, the statements, the right answers, and how often each case is repeated.

Everything a worker, a driver or the C floor must agree on is written here once. A new case is an entry in
`CASES`, a branch in worker.py where no present one fits, and lines in goals.py.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = 10_000
TASKS = 100
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)

# The data are made by the server from the row number; the functions below make the same rows here.
SCHEMA = f"""
drop table if exists bench_pk, bench_rows, bench_ints, bench_mix, bench_wide, bench_copy;
create table bench_pk (id int4 primary key, name text, value float8);
insert into bench_pk select i, 'name ' || i, i * 0.25 from generate_series(1, {KEYS}) as i;
create table bench_rows (id int4, name text, amount int8, score float8, active bool);
insert into bench_rows
    select i, 'row ' || i, i * 1000000007::int8, i * 0.5, i % 2 = 0 from generate_series(0, 999) as i;
create table bench_ints (a int4, b int4, c int4, d int4);
insert into bench_ints select i, i * 2, i * 3, -i from generate_series(0, 99999) as i;
create table bench_mix (name text, at timestamptz, amount numeric(12, 2), key uuid);
insert into bench_mix
    select 'name-' || lpad(i::text, 11, '0'),
        '2020-01-01 00:00:00+00'::timestamptz + i * interval '1.000001 s',
        (i::int8 * 37 % 1000000) * 0.01, (lpad(to_hex(i), 32, '0'))::uuid
    from generate_series(0, 99999) as i;
create table bench_wide (
    id int4, name text, email text, visits int8, score float8, active bool, born date, seen timestamptz
);
insert into bench_wide
    select i, 'name ' || i, 'user' || i || '@example.org', i * 1000003::int8, i * 0.5, i % 3 = 0,
        '2020-01-01'::date + i % 1000, '2020-01-01 00:00:00+00'::timestamptz + i * interval '1 s'
    from generate_series(0, 9999) as i;
create unlogged table bench_copy (id int4, name text, score float8, at timestamptz);
"""
# Outside a transaction, so by themselves.
SETTLE = ("vacuum (freeze, analyze)", "checkpoint")

SELECT_1 = "select 1"
LOOK_UP = "select id, name, value from bench_pk where id = $1"
COPY_TABLE = "bench_copy"
COPY_COLUMNS = ("id", "name", "score", "at")
COPY_TYPES = ("int4", "text", "float8", "timestamptz")
COPY_ROWS = 100_000
COPY_SQL = f"copy {COPY_TABLE} ({', '.join(COPY_COLUMNS)}) from stdin (format binary)"

_NAMES = [f"name-{i:011d}" for i in range(1000)]
_STAMPS = [EPOCH + timedelta(seconds=i) for i in range(1000)]


@dataclass
class Wide:
    """A row of bench_wide."""

    id: int
    name: str
    email: str
    visits: int
    score: float
    active: bool
    born: date
    seen: datetime


WIDE_COLUMNS = ("id", "name", "email", "visits", "score", "active", "born", "seen")


def key_of(i: int) -> int:
    """The key of the i-th look-up, the same sequence as in floor.c."""
    return i * 7919 % KEYS + 1


def look_up_sum(keys: list[int]) -> float:
    """The sum of `value` over these look-ups: exact, as all are quarters."""
    return sum(keys) * 0.25


def row_of_rows(i: int) -> tuple[object, ...]:
    """Row i of bench_rows."""
    return (i, f"row {i}", i * 1000000007, i * 0.5, i % 2 == 0)


def row_of_ints(i: int) -> tuple[object, ...]:
    """Row i of bench_ints."""
    return (i, i * 2, i * 3, -i)


def row_of_mix(i: int) -> tuple[object, ...]:
    """Row i of bench_mix."""
    at = EPOCH + timedelta(seconds=i, microseconds=i)
    return (f"name-{i:011d}", at, Decimal(i * 37 % 1000000).scaleb(-2), uuid.UUID(int=i))


def row_of_wide(i: int) -> tuple[object, ...]:
    """Row i of bench_wide."""
    born = date(2020, 1, 1) + timedelta(days=i % 1000)
    seen = EPOCH + timedelta(seconds=i)
    return (i, f"name {i}", f"user{i}@example.org", i * 1000003, i * 0.5, i % 3 == 0, born, seen)


def copy_rows() -> Iterator[tuple[int, str, float, datetime]]:
    """The tuples for COPY; making them is part of what is timed."""
    names, stamps = _NAMES, _STAMPS
    return ((i, names[i % 1000], i * 0.5, stamps[i % 1000]) for i in range(COPY_ROWS))


COPY_CHECK = "select count(*), sum(id), sum(length(name)), sum(score)::float8, max(at) from bench_copy"
COPY_ANSWER = (
    COPY_ROWS,
    COPY_ROWS * (COPY_ROWS - 1) // 2,
    COPY_ROWS * 16,
    COPY_ROWS * (COPY_ROWS - 1) / 4,
    _STAMPS[-1],
)


@dataclass(frozen=True)
class Case:
    """One case: how many operations are timed in a process, and what the C floor does for it."""

    operations: int
    unit: str = "us"  # for people; results are in seconds
    sql: str = ""
    rows: int = 1
    row: Callable[[int], tuple[object, ...]] | None = None
    floor: str = "sequential"
    in_flight: int = 1
    latency: bool = False  # swings most and costs least: measured twice in each round


CASES: dict[str, Case] = {
    "select1": Case(2000, sql=SELECT_1, latency=True),
    "pk": Case(2000, sql=LOOK_UP, latency=True),
    "tasks100": Case(5000, sql=LOOK_UP, floor="in_flight", in_flight=TASKS),
    "batch": Case(5000, sql=LOOK_UP, floor="batch", in_flight=1000),
    "rows1000x5": Case(
        200, sql="select id, name, amount, score, active from bench_rows", rows=1000, row=row_of_rows
    ),
    "ints100k": Case(5, "ms", "select a, b, c, d from bench_ints", 100_000, row_of_ints),
    "mix100k": Case(3, "ms", "select name, at, amount, key from bench_mix", 100_000, row_of_mix),
    "dataclass10k": Case(10, "ms", f"select {', '.join(WIDE_COLUMNS)} from bench_wide", 10_000, row_of_wide),
    "copyin100k": Case(3, "ms", COPY_SQL, COPY_ROWS, floor="copyin"),
    "import": Case(5, "ms"),
}
