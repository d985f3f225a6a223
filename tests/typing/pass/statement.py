"""The contract as checkers see it: everything here must be accepted, with exactly these types."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from pgoxide import CommandTag, Row
from pgoxide.statement import (
    AsyncExecutor,
    Executor,
    Flight,
    Plan,
    PlanRunner,
    Statement,
    batch,
    begin,
    commit,
    copy_in,
    drive,
    drive_async,
    execute,
    fetch_all,
    fetch_column,
    fetch_first,
    fetch_one,
    fetch_optional,
    fetch_value,
)


@dataclass
class User:
    id: int
    name: str


class Shape(TypedDict):
    id: int


users = Statement("select id, name from users", into=User)
plain = Statement("select id from users where id = $1", (1,), types=("int4",))
assert_type(users, Statement[User])
assert_type(plain, Statement[Row])
assert_type(Statement("select 1", into=Shape), Statement[Shape])
assert_type(Statement("select 1", into=tuple[int, str]), Statement[tuple[int, str]])
anything: Statement[object] = users  # covariant


def names() -> Plan[list[str]]:
    rows = yield from fetch_all(users)
    assert_type(rows, list[User])
    assert_type((yield from fetch_all(plain)), list[Row])
    assert_type((yield from fetch_one(users)), User)
    assert_type((yield from fetch_optional(users)), User | None)
    assert_type((yield from fetch_first(users)), User | None)
    assert_type((yield from fetch_value(Statement("select 1", into=int))), int | None)
    assert_type((yield from fetch_column(Statement("select 1", into=int))), list[int | None])
    value: Any = yield from fetch_value(plain)
    column: list[Any] = yield from fetch_column(plain)
    tag = yield from execute(users)
    assert_type(tag, CommandTag)
    assert_type((yield from copy_in("users", [(1, "a")], columns=["id", "name"])), CommandTag)
    yield from begin("serializable", read_only=True)
    a, b, c = yield from batch(fetch_all(users), execute(plain), commit())
    assert_type(a, list[User])
    assert_type(b, CommandTag)
    assert_type(c, None)
    many = yield from batch(*[fetch_one(users) for _ in range(3)])
    assert_type(many, tuple[User, ...])
    nested = yield from inner()
    assert_type(nested, int)
    return [*(row.name for row in rows), str(value), *map(str, column)]


def inner() -> Plan[int]:
    return (yield from execute(users)).rows_affected or 0


def blocking(db: Executor) -> None:
    assert_type(db.fetch_all("select 1"), list[Row])
    assert_type(db.fetch_all("select $1", 1, timeout=5.0), list[Row])
    assert_type(db.fetch_all("select $1", 1, into=User), list[User])
    assert_type(db.fetch_all(users), list[User])
    assert_type(db.fetch_all(plain), list[Row])
    assert_type(db.fetch_one("select 1", into=User), User)
    assert_type(db.fetch_optional(users), User | None)
    assert_type(db.fetch_first("select 1"), Row | None)
    assert_type(db.fetch_value("select 1", into=int), int | None)
    assert_type(db.fetch_column("select 1", into=int), list[int | None])
    assert_type(db.execute("delete from users").rows_affected, int | None)
    assert_type(db.execute(users).text, str)
    assert_type(db.execute_many("insert into t values ($1)", ((n,) for n in range(3))), CommandTag)
    assert_type(db.run(names()), list[str])


async def asynchronous(db: AsyncExecutor, source: AsyncIterable[tuple[int]]) -> None:
    assert_type(await db.fetch_all("select 1"), list[Row])
    assert_type(await db.fetch_all("select $1", 1, into=User), list[User])
    assert_type(await db.fetch_one(users), User)
    assert_type(await db.fetch_first("select 1"), Row | None)
    assert_type(await db.fetch_value("select 1", into=int), int | None)
    assert_type((await db.execute("delete from users")).rows_affected, int | None)
    assert_type(await db.execute_many("insert into t values ($1)", source), CommandTag)
    assert_type(await db.run(names(), timeout=1), list[str])


def perform(request: Flight) -> object:
    return request


async def perform_async(request: Flight) -> object:
    return request


def awaitable(request: Flight) -> Awaitable[object]:
    return perform_async(request)


async def drivers() -> None:
    assert_type(drive(names(), perform), list[str])
    assert_type(await drive_async(names(), awaitable), list[str])
    runner = PlanRunner(names())
    assert_type(runner.result, list[str])
