"""Prepared statements as checkers see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from pgoxide import (
    AsyncConnection,
    AsyncPreparedStatement,
    CommandTag,
    Connection,
    PreparedStatement,
    Row,
    Statement,
)
from pgoxide.types import ResultColumn, StatementDescription, StatementParameter


@dataclass
class User:
    id: int
    name: str


async def asynchronous(db: AsyncConnection) -> None:
    rows = await db.prepare("select id, name from users where id = $1", types=["int4"], timeout=1)
    assert_type(rows, AsyncPreparedStatement[Row])
    assert_type(await rows.fetch_all(1), list[Row])
    assert_type(await rows.fetch_value(1, timeout=1.0, isolate=True), Any)
    assert_type(await rows.fetch_column(1), list[Any])
    assert_type(await rows.execute(params={"id": 1}), CommandTag)
    users = await db.prepare("select id, name from users where id = :id", into=User)
    assert_type(users, AsyncPreparedStatement[User])
    assert_type(await users.fetch_all(id=1), list[User])
    assert_type(await users.fetch_one(id=1), User)
    assert_type(await users.fetch_optional(id=1), User | None)
    assert_type(await users.fetch_first(id=1), User | None)
    async for user in users.stream(id=1, batch=10):
        assert_type(user, User)
    assert_type(await users.execute_many([{"id": 1}]), CommandTag)
    names = await db.prepare("select name from users", into=str)
    assert_type(await names.fetch_value(), str | None)
    assert_type(await names.fetch_column(), list[str | None])
    assert_type(await names.fetch_column(), list[str | None])
    ids = await db.prepare("select id from users", into=lambda row: int(row[0]))
    assert_type(await ids.fetch_all(), list[int])
    async with await db.prepare("select 1") as block:
        assert_type(block, AsyncPreparedStatement[Row])
    assert_type(rows.columns, tuple[ResultColumn, ...])
    assert_type(rows.parameters, tuple[StatementParameter, ...])
    assert_type(rows.parameter_types, tuple[str, ...])
    assert_type(rows.status, str | None)
    await anything(users)
    assert_type(await db.describe("select 1"), StatementDescription)
    portal = await users.portal(id=1)
    assert_type(await portal.fetch(3), list[User])
    async with await db.portal("select 1") as plain:
        assert_type(await plain.fetch_all(timeout=1), list[Row])
        assert_type(plain.suspended, bool)
    assert_type(await (await db.portal("select 1", into=int)).fetch(1), list[int])
    assert_type(await (await db.portal(Statement("select 1", into=User))).fetch(1), list[User])
    await rows.close()


async def anything(statement: AsyncPreparedStatement[object]) -> None:
    assert_type(await statement.fetch_one(), object)


def blocking(db: Connection) -> None:
    with db.prepare("select id, name from users where id = $1", into=User) as users:
        assert_type(users, PreparedStatement[User])
        assert_type(users.fetch_all(1), list[User])
        assert_type(users.fetch_optional(1), User | None)
        for user in users.stream(1):
            assert_type(user, User)
        assert_type(users.execute_many([(1,)]), CommandTag)
    with db.portal("select $1::int4", 1, into=int) as portal:
        assert_type(portal.fetch(3), list[int])
    assert_type(db.prepare("select 1").portal().fetch_all(), list[Row])
    assert_type(db.prepare("select 1").fetch_value(), Any)
    assert_type(db.prepare("select 1", into=int).fetch_value(), int | None)
    assert_type(db.prepare("select 1", into=int).fetch_column(), list[int | None])
    assert_type(db.describe("select 1", types={"n": "int4"}).columns[0].precision, int | None)
