"""Transaction blocks as checkers see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from pgoxide import (
    AsyncConnection,
    AsyncPool,
    AsyncPreparedStatement,
    AsyncTransaction,
    CommandTag,
    Connection,
    PreparedStatement,
    Row,
    Statement,
    Transaction,
)
from pgoxide._core import BatchReply, Portal
from pgoxide.types import StatementDescription


@dataclass
class User:
    id: int
    name: str


USERS = Statement("select id, name from users", into=User)


async def asynchronous(db: AsyncConnection) -> None:
    block = db.transaction(isolation="repeatable read", read_only=True, deferrable=False, others="wait")
    assert_type(block, AsyncTransaction)
    async with block as tx:
        assert_type(tx, AsyncTransaction)
        assert_type(tx.rollback_only, bool)
        assert_type(await tx.fetch_all(USERS, commit=True), list[User])
        assert_type(await tx.fetch_all("select 1", commit=False), list[Row])
        assert_type(await tx.fetch_one("select 1", into=User, commit=True), User)
        assert_type(await tx.fetch_optional("select :a", a=1, into=int, commit=True), int | None)
        assert_type(await tx.fetch_first(USERS, timeout=1, commit=True), User | None)
        assert_type(await tx.fetch_value("select 1", commit=True), Any)
        assert_type(await tx.fetch_value("select 1", into=str, commit=True), str | None)
        assert_type(await tx.fetch_column("select 1", into=int, commit=True), list[int | None])
        assert_type(await tx.execute("delete from users", commit=True), CommandTag)
        assert_type(await tx.execute_many("select $1", [(1,)]), CommandTag)
        assert_type(await tx.copy_in("users", [(1, "Ada")]), CommandTag)
        assert_type(await tx.prepare("select 1"), AsyncPreparedStatement[Row])
        assert_type(await tx.prepare("select 1", into=User, types=["int4"]), AsyncPreparedStatement[User])
        assert_type(await tx.describe("select 1", timeout=1.0), StatementDescription)
        portal = await tx.portal(USERS)
        assert_type(await portal.fetch(3), list[User])
        async for user in tx.stream(USERS):
            assert_type(user, User)
        async with tx.batch(commit=True, timeout=1) as batch:
            assert_type(batch.fetch_all(USERS), BatchReply[list[User]])
        async with tx.transaction(name="inner", others="join") as inner:
            assert_type(inner, AsyncTransaction)
        tx.on_commit(lambda: print("done"))
        tx.on_commit(later)
        tx.rollback_only = True
    async for attempt in db.transaction_attempts(isolation="serializable", attempts=5, backoff=0.1):
        assert_type(attempt.number, int)
        async with attempt as tx:
            assert_type(tx, AsyncTransaction)
    assert_type(await db.run_transaction(count, attempts=2, read_only=True), int)


async def of_a_pool(pool: AsyncPool) -> None:
    async with pool.transaction(read_only=True) as tx:
        assert_type(tx, AsyncTransaction)
    async for attempt in pool.transaction_attempts(connection_errors=True):
        async with attempt as tx:
            assert_type(tx, AsyncTransaction)
    assert_type(await pool.run_transaction(count, connection_errors=True, attempts=2), int)


async def later() -> None:
    """A callback that is awaited."""


async def count(tx: AsyncTransaction) -> int:
    return await tx.fetch_one("select 1", into=int, commit=True)


def blocking(db: Connection) -> None:
    with db.transaction(isolation="serializable", others="join") as tx:
        assert_type(tx, Transaction)
        assert_type(tx.fetch_all(USERS, commit=True), list[User])
        assert_type(tx.fetch_optional("select 1", into=User, commit=True), User | None)
        assert_type(tx.execute("delete from users", commit=True), CommandTag)
        assert_type(tx.prepare("select 1", into=User), PreparedStatement[User])
        assert_type(tx.describe("select 1"), StatementDescription)
        assert_type(tx.portal("select 1", into=int), Portal[int])
        with tx.transaction(name="inner") as inner, inner.batch(commit=True) as batch:
            assert_type(batch.execute("select 1"), BatchReply[CommandTag])
    for attempt in db.transaction_attempts(deferrable=True):
        assert_type(attempt.number, int)
        with attempt as tx:
            assert_type(tx, Transaction)
    assert_type(db.run_transaction(lambda tx: tx.fetch_one(USERS)), User)
