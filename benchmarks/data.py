"""The tables and statements, and what is in them: the server makes the data from the row number, the functions here make the
same rows in Python, to compare with.

Everything a worker, a driver or the C programs must agree on is written here once.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 10_000
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
MILLION = 1_000_000

SCHEMA = f"""
drop table if exists bench_pk, bench_rows, bench_ints, bench_mix, bench_wide, bench_copy, bench_ten, bench_json,
    bench_array100, bench_array10k, bench_interval, bench_inet, bench_composite, bench_range, bench_million, bench_write;
drop type if exists bench_item;
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
create table bench_ten (
    id int4 primary key, small int2, big int8, score float8, active bool, name text, amount numeric(12, 2), born date,
    seen timestamptz, key uuid
);
insert into bench_ten
    select i, i % 1000, i * 1000003::int8, i * 0.25, i % 3 = 0, 'name ' || i, i * 0.01, '2020-01-01'::date + i % 1000,
        '2020-01-01 00:00:00+00'::timestamptz + i * interval '1 s', (lpad(to_hex(i), 32, '0'))::uuid
    from generate_series(1, {KEYS}) as i;
create table bench_json (doc jsonb);
insert into bench_json
    select jsonb_build_object('id', i, 'name', 'name ' || i, 'email', 'user' || i || '@example.org', 'score', i * 0.25,
        'active', i % 2 = 0, 'parent', null, 'tags', jsonb_build_array('red', 'green', 'tag ' || i % 10),
        'address', jsonb_build_object('street', 'Main Street ' || i, 'city', 'Zürich', 'zip', 8000 + i % 100))
    from generate_series(0, 19999) as i;
create table bench_array100 (items int4[]);
insert into bench_array100
    select array(select i * 1000 + j from generate_series(0, 99) as j) from generate_series(0, 4999) as i;
create table bench_array10k (items int4[]);
insert into bench_array10k
    select array(select i * 1000 + j from generate_series(0, 9999) as j) from generate_series(0, 49) as i;
create table bench_interval (took interval);
insert into bench_interval
    select make_interval(days => i % 3000, secs => i % 86400) + i % 1000000 * interval '1 microsecond'
    from generate_series(0, 99999) as i;
create table bench_inet (address inet);
insert into bench_inet select '10.0.0.0'::inet + i from generate_series(0, 99999) as i;
create type bench_item as (id int4, name text, price float8);
create table bench_composite (items bench_item[]);
insert into bench_composite
    select array[(i, 'item ' || i, i * 0.5)::bench_item, (i + 1, 'another', 0.25)::bench_item]
    from generate_series(0, 99999) as i;
create table bench_range (span int4range, during tstzrange);
insert into bench_range
    select int4range(i, i + 10),
        tstzrange('2020-01-01 00:00:00+00'::timestamptz + i * interval '1 s', '2021-01-01 00:00:00+00', '(]')
    from generate_series(0, 99999) as i;
create table bench_million (id int4, name text);
insert into bench_million select i, 'name ' || i from generate_series(0, {MILLION - 1}) as i;
create unlogged table bench_write (id int4, name text, value float8);
"""
# Outside a transaction, so by themselves.
SETTLE = ("vacuum (freeze, analyze)", "checkpoint")

SELECT_1 = "select 1"
LOOK_UP = "select id, name, value from bench_pk where id = $1"
TEN_TYPES = "select id, small, big, score, active, name, amount, born, seen, key from bench_ten where id = $1"
STREAM = "select id, name from bench_million"
STREAM_ROWS, STREAM_BATCH = MILLION, 1_000
STREAM_SUM = MILLION * (MILLION - 1) // 2

WRITE_TABLE = "bench_write"
INSERT = f"insert into {WRITE_TABLE} (id, name, value) values ($1, $2, $3)"
WRITE_CHECK = f"select count(*), coalesce(sum(id), 0), sum(length(name)), sum(value) from {WRITE_TABLE}"

COPY_TABLE = "bench_copy"
COPY_COLUMNS = ("id", "name", "score", "at")
COPY_TYPES = ("int4", "text", "float8", "timestamptz")
COPY_ROWS = 100_000
COPY_SQL = f"copy {COPY_TABLE} ({', '.join(COPY_COLUMNS)}) from stdin (format binary)"
COPY_OUT_TABLE = "bench_ints"
COPY_OUT_SQL = f"copy {COPY_OUT_TABLE} to stdout (format binary)"

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


@cache
def wide_struct() -> type[Any]:
    """`Wide` as a msgspec Struct."""
    import msgspec

    return msgspec.defstruct("WideStruct", list(Wide.__annotations__.items()), namespace={}, module=__name__)


@cache
def wide_model() -> type[Any]:
    """`Wide` as a pydantic model."""
    import pydantic

    fields: dict[str, Any] = {name: (kind, ...) for name, kind in Wide.__annotations__.items()}
    return pydantic.create_model("WideModel", __module__=__name__, **fields)


def key_of(i: int) -> int:
    """The key of the i-th look-up, the same sequence as in floor.c."""
    return i * 7919 % KEYS + 1


def look_up_sum(keys: list[int]) -> float:
    """The sum of `value` over these look-ups, and of `score` over those of ten types: exact, as all are quarters."""
    return sum(keys) * 0.25


def row_of_ten(i: int) -> tuple[object, ...]:
    """The row of bench_ten with id i."""
    born, seen = date(2020, 1, 1) + timedelta(days=i % 1000), EPOCH + timedelta(seconds=i)
    amount = Decimal(i).scaleb(-2)
    return (i, i % 1000, i * 1000003, i * 0.25, i % 3 == 0, f"name {i}", amount, born, seen, uuid.UUID(int=i))


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


def row_of_json(i: int) -> tuple[object, ...]:
    """Row i of bench_json."""
    address = {"street": f"Main Street {i}", "city": "Zürich", "zip": 8000 + i % 100}
    about = {"id": i, "name": f"name {i}", "email": f"user{i}@example.org", "score": i * 0.25}
    tags = ["red", "green", f"tag {i % 10}"]
    return ({**about, "active": i % 2 == 0, "parent": None, "tags": tags, "address": address},)


def row_of_array100(i: int) -> tuple[object, ...]:
    """Row i of bench_array100."""
    return ([i * 1000 + j for j in range(100)],)


def row_of_array10k(i: int) -> tuple[object, ...]:
    """Row i of bench_array10k."""
    return ([i * 1000 + j for j in range(10_000)],)


def row_of_interval(i: int) -> tuple[object, ...]:
    """Row i of bench_interval."""
    return (timedelta(days=i % 3000, seconds=i % 86400, microseconds=i % 1_000_000),)


def row_of_inet(i: int) -> tuple[object, ...]:
    """Row i of bench_inet."""
    return (IPv4Address("10.0.0.0") + i,)


def row_of_composite(i: int) -> tuple[object, ...]:
    """Row i of bench_composite; see `normal` for what drivers call a composite value."""
    return ([(i, f"item {i}", i * 0.5), (i + 1, "another", 0.25)],)


def row_of_range(i: int) -> tuple[object, ...]:
    """Row i of bench_range; see `normal` for what drivers call a range."""
    return (
        (i, i + 10, True, False),
        (EPOCH + timedelta(seconds=i), datetime(2021, 1, 1, tzinfo=UTC), False, True),
    )


def normal(value: Any) -> Any:
    """What drivers have classes of their own for, in the same terms; outside of what is timed.

    A composite value (asyncpg's Record, psycopg's and psycopg2's named tuple, pgoxide's row) is a tuple of its values, a range
    a tuple (lower, upper, lower is inclusive, upper is inclusive), pgoxide's Interval, which keeps months and days apart, a
    timedelta, and an address that psycopg2 gives as the interface of a network of one, that address.
    """
    if isinstance(value, list):
        return [normal(item) for item in value]
    if hasattr(value, "lower_inc"):
        return (value.lower, value.upper, value.lower_inc, value.upper_inc)
    if hasattr(value, "to_timedelta"):
        return value.to_timedelta()
    if isinstance(value, IPv4Interface):
        return value.ip if value.network.num_addresses == 1 else value
    if type(value).__name__ == "Record" or isinstance(value, tuple):
        return tuple(value)
    return value


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


def copied_out() -> bytes:
    """bench_ints as binary COPY writes it."""
    row = struct.Struct(">hiiiiiiii")
    rows = (row.pack(4, 4, i, 4, i * 2, 4, i * 3, 4, -i) for i in range(COPY_ROWS))
    return b"".join((b"PGCOPY\n\xff\r\n\0", bytes(8), *rows, b"\xff\xff"))


def written(count: int) -> list[tuple[int, str, float]]:
    """The rows that are inserted."""
    return [(i, _NAMES[i % 1000], i * 0.5) for i in range(count)]


def written_answer(count: int) -> tuple[int, int, int, float]:
    """What `WRITE_CHECK` gives then."""
    total = count * (count - 1) // 2
    return (count, total, 16 * count, total / 2)
