"""The two connection classes as checkers see them: every verb with each kind of `into`, and what the results are good for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, assert_type
from uuid import UUID
from zoneinfo import ZoneInfo

import pgoxide
from pgoxide import (
    AsyncCancelToken,
    AsyncConnection,
    CancelToken,
    CommandTag,
    ConnectConfig,
    Connection,
    Row,
    Statement,
)
from pgoxide._core import BatchReply, Reply, ScriptResult
from pgoxide.driver._async.batch import AsyncBatch
from pgoxide.driver._async.copying import AsyncCopyOut
from pgoxide.driver._sync.batch import Batch
from pgoxide.driver._sync.copying import CopyOut
from pgoxide.statement import AsyncExecutor, Executor, Plan, fetch_all

if TYPE_CHECKING:
    from pgoxide.types import Notice


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str


class Point(NamedTuple):
    x: float
    y: float


class Shape(TypedDict):
    id: int


class Model:
    """Takes the columns as keywords."""

    def __init__(self, *, number: int, name: str) -> None:
        self.number = number
        self.name = name


def shout(row: Row) -> str:
    return str(row.name).upper()


users = Statement("select id, name from users", into=User)
plain = Statement("select id from users where id = $1", (1,), types=("int4",))
numbers = Statement("select id from users", into=int)


def plan() -> Plan[list[User]]:
    return (yield from fetch_all(users))


async def asynchronous() -> None:
    async with AsyncConnection.connect() as entered:
        assert_type(entered, AsyncConnection)
    async with await AsyncConnection.connect("postgresql:///db", connect_timeout=3) as entered:
        assert_type(entered, AsyncConnection)
    db = await AsyncConnection.connect(ConnectConfig.parse(), statement_cache_size=0, beyond="special")
    assert_type(db, AsyncConnection)
    db = await AsyncConnection.connect(
        float4="shortest", timestamptz_zone="session", naive_timestamptz="local"
    )
    db = await AsyncConnection.connect(timestamptz_zone=ZoneInfo("Asia/Tokyo"), duplicate_columns="raise")
    db = await AsyncConnection.connect(
        timestamptz_zone=timezone(timedelta(hours=3)), naive_timestamptz="session"
    )

    await assert_type(db.fetch_all("select 1"), Reply[list[Row]])
    assert_type(await db.fetch_all("select $1", 1, timeout=5, types=["int4"], isolate=True), list[Row])
    assert_type(await db.fetch_all("select 1", into=None), list[Row])
    assert_type(await db.fetch_all("select :a", a=1), list[Row])
    assert_type(await db.fetch_all("select :a, :b", a=1, b="x", into=User, timeout=5), list[User])
    assert_type(await db.fetch_one("select :into", params={"into": 1}, types={"into": "int4"}), Row)
    assert_type(await db.fetch_all("select $1", 1, into=User), list[User])
    assert_type(await db.fetch_all("select 1", into=Point), list[Point])
    assert_type(await db.fetch_all("select 1", into=Shape), list[Shape])
    assert_type(await db.fetch_all("select 1", into=Model), list[Model])
    assert_type(await db.fetch_all("select 1", into=int), list[int])
    assert_type(await db.fetch_all("select 1", into=UUID), list[UUID])
    assert_type(await db.fetch_all("select 1", into=Decimal), list[Decimal])
    assert_type(await db.fetch_all("select 1", into=datetime), list[datetime])
    assert_type(await db.fetch_column("select 1", into=str), list[str | None])
    assert_type(await db.fetch_all("select 1", into=dict[str, object]), list[dict[str, object]])
    assert_type(await db.fetch_all("select 1", into=shout), list[str])
    assert_type(await db.fetch_all("select 1", into=lambda row: len(row) + 1), list[int])
    assert_type(await db.fetch_all(users), list[User])
    assert_type(await db.fetch_all(plain, timeout=1.5, isolate=True), list[Row])

    assert_type(await db.fetch_one("select 1"), Row)
    assert_type(await db.fetch_one("select 1", into=User), User)
    assert_type(await db.fetch_one("select 1", into=shout), str)
    assert_type(await db.fetch_one(users), User)

    assert_type(await db.fetch_optional("select 1"), Row | None)
    assert_type(await db.fetch_optional("select 1", into=User), User | None)
    assert_type(await db.fetch_optional("select 1", into=shout), str | None)
    assert_type(await db.fetch_optional(users), User | None)

    assert_type(await db.fetch_first("select 1"), Row | None)
    assert_type(await db.fetch_first("select 1", into=User), User | None)
    assert_type(await db.fetch_first("select 1", into=shout), str | None)
    assert_type(await db.fetch_first(users), User | None)

    untyped: Any = await db.fetch_value("select 1")
    assert_type(await db.fetch_value("select 1", into=int), int | None)
    assert_type(await db.fetch_value("select 1", into=shout), str | None)
    assert_type(await db.fetch_value(numbers), int | None)
    also_untyped: Any = await db.fetch_value(plain)

    column: list[Any] = await db.fetch_column("select 1")
    assert_type(await db.fetch_column("select 1", into=int), list[int | None])
    assert_type(await db.fetch_column("select 1", into=shout), list[str | None])
    assert_type(await db.fetch_column(numbers), list[int | None])
    print(untyped, also_untyped, column)

    tag = await db.execute("delete from users where id = $1", 1, types=[23])
    assert_type(tag, CommandTag)
    assert_type(tag.rows_affected, int | None)
    assert_type(tag.text, str)
    assert_type(await db.execute(users), CommandTag)
    script = await db.execute_script("select 1; select 2", timeout=1)
    assert_type(script, list[ScriptResult])
    assert_type(script[0].rows, list[Row])
    assert_type(script[0].tag, CommandTag)

    async with db.batch() as batch:
        assert_type(batch, AsyncBatch)
        total = batch.fetch_value("select count(*) from users", into=int)
        some = batch.fetch_all(users)
        batch.execute("delete from sessions")
    assert_type(total, BatchReply[int | None])
    assert_type(some.result(), list[User])

    async with db.stream("select $1", 1, batch=10, types=["int4"]) as stream:
        assert_type([row async for row in stream], list[Row])
        assert_type(await stream.next_batch(), list[Row])
        assert_type(await stream.close(), None)
    assert_type([user async for user in db.stream("select 1", into=User)], list[User])
    assert_type([text async for text in db.stream("select 1", into=shout)], list[str])
    assert_type([user async for user in db.stream(users, timeout=3)], list[User])

    tag = await db.copy_in("users", ((n, "x") for n in range(3)), columns=["id", "name"], timeout=3)
    assert_type(tag, CommandTag)
    await db.copy_in("users", b"1,x", format="csv", header="match", force_null=["name"], on_error="ignore")
    await db.copy_in("users", Path("users.csv"), format="csv")
    await db.copy_in("users", asyncio.StreamReader(), format="text", delimiter="|")
    copied = db.copy_out("users", columns=["id"], header=True, timeout=3)
    assert_type(copied, AsyncCopyOut[Row])
    assert_type([row async for row in copied], list[Row])
    assert_type(copied.tag, CommandTag | None)
    async with db.copy_out(query="select 1", into=User) as users_out:
        assert_type(await users_out.next_batch(), list[User])
    assert_type(db.copy_out("users", format="csv").blocks(), AsyncCopyOut[bytes])
    assert_type([block async for block in db.copy_out("users", format="csv").blocks()], list[bytes])
    assert_type(await db.copy_out("users", format="csv", to=Path("x"), delimiter=";"), CommandTag)
    assert_type(await db.execute_many("insert into t values ($1)", [(1,), (2,)]), CommandTag)
    assert_type(await db.execute_many("insert into t values (:a)", [{"a": 1}, {"a": 2}]), CommandTag)
    assert_type(await db.run(plan(), timeout=3), list[User])
    token = db.cancel_token()
    assert_type(token, AsyncCancelToken)
    assert_type(token.process_id, int)
    assert_type(await token.cancel(timeout=1), None)
    assert_type(await db.cancel(), None)
    executor: AsyncExecutor = db
    assert_type(await executor.fetch_all(users), list[User])

    assert_type(db.closed, bool)
    assert_type(db.backend_pid, int | None)
    assert_type(db.parameter("TimeZone"), str | None)
    assert_type(db.transaction_status, Literal["idle", "in transaction", "failed transaction"])
    assert_type(db.statement_cache, dict[str, int])
    assert_type(db.config, ConnectConfig)
    assert_type(db.server_version, int)
    db.add_notice_listener(print)
    db.add_notice_listener(heed)
    db.add_close_listener(lambda reason: print(reason.args))
    assert_type(await db.close(), None)
    db.abort()


def heed(notice: Notice) -> None:
    assert_type(notice.severity, str)


async def reply(db: AsyncConnection) -> None:
    """A Future to gather and its kind, a Coroutine to create_task and its kind."""
    first, second = await asyncio.gather(db.fetch_one(users), db.fetch_value("select 1", into=int))
    assert_type(first, User)
    assert_type(second, int | None)
    assert_type(await asyncio.wait_for(db.fetch_one(users), 1), User)
    assert_type(await asyncio.shield(db.fetch_one(users)), User)
    everybody, column = await asyncio.gather(db.fetch_all(users), db.fetch_column("select 1", into=int))
    assert_type(everybody, list[User])
    assert_type(column, list[int | None])
    async with asyncio.TaskGroup() as group:
        await assert_type(group.create_task(db.fetch_all(users)), asyncio.Task[list[User]])
    assert_type(await asyncio.create_task(db.fetch_all("select 1", into=User)), list[User])
    one = db.fetch_one(users)
    assert_type(one.result(), User)
    assert_type(one.exception(), BaseException | None)
    assert_type(one.cancel(), bool)
    assert_type(one.done(), bool)
    one.add_done_callback(lambda done: print(done.result().name))
    wider: Reply[User | None] = one  # covariant
    awaitable: Awaitable[User] = one
    coroutine: Coroutine[Any, Any, User] = one
    print(wider, awaitable, coroutine)


def run() -> None:
    assert_type(asyncio.run(AsyncConnection.connect()), AsyncConnection)


class Mine(Connection):
    """Subclasses stay themselves."""


def blocking() -> None:
    with Connection.connect() as db:
        assert_type(db, Connection)
    assert_type(Mine.connect(host="localhost", port=5432, sslmode="disable"), Mine)
    db = Connection.connect("host=localhost", max_queued=1 << 20, command_timeout=30)

    assert_type(db.fetch_all("select 1"), list[Row])
    assert_type(db.fetch_all("select $1", 1, timeout=5, types=["int4"], isolate=True), list[Row])
    assert_type(db.fetch_all("select 1", into=None), list[Row])
    assert_type(db.fetch_all("select $1", 1, into=User), list[User])
    assert_type(db.fetch_all("select 1", into=Point), list[Point])
    assert_type(db.fetch_all("select 1", into=Shape), list[Shape])
    assert_type(db.fetch_all("select 1", into=Model), list[Model])
    assert_type(db.fetch_all("select 1", into=int), list[int])
    assert_type(db.fetch_all("select 1", into=UUID), list[UUID])
    assert_type(db.fetch_all("select 1", into=Decimal), list[Decimal])
    assert_type(db.fetch_all("select 1", into=datetime), list[datetime])
    assert_type(db.fetch_column("select 1", into=str), list[str | None])
    assert_type(db.fetch_all("select 1", into=dict[str, object]), list[dict[str, object]])
    assert_type(db.fetch_all("select 1", into=shout), list[str])
    assert_type(db.fetch_all("select 1", into=lambda row: len(row) + 1), list[int])
    assert_type(db.fetch_all(users), list[User])
    assert_type(db.fetch_all(plain, timeout=1.5, isolate=True), list[Row])

    assert_type(db.fetch_one("select 1"), Row)
    assert_type(db.fetch_one("select 1", into=User), User)
    assert_type(db.fetch_one("select 1", into=shout), str)
    assert_type(db.fetch_one(users), User)

    assert_type(db.fetch_optional("select 1"), Row | None)
    assert_type(db.fetch_optional("select 1", into=User), User | None)
    assert_type(db.fetch_optional("select 1", into=shout), str | None)
    assert_type(db.fetch_optional(users), User | None)

    assert_type(db.fetch_first("select 1"), Row | None)
    assert_type(db.fetch_first("select 1", into=User), User | None)
    assert_type(db.fetch_first("select 1", into=shout), str | None)
    assert_type(db.fetch_first(users), User | None)

    untyped: Any = db.fetch_value("select 1")
    assert_type(db.fetch_value("select 1", into=int), int | None)
    assert_type(db.fetch_value("select 1", into=shout), str | None)
    assert_type(db.fetch_value(numbers), int | None)
    also_untyped: Any = db.fetch_value(plain)

    column: list[Any] = db.fetch_column("select 1")
    assert_type(db.fetch_column("select 1", into=int), list[int | None])
    assert_type(db.fetch_column("select 1", into=shout), list[str | None])
    assert_type(db.fetch_column(numbers), list[int | None])
    print(untyped, also_untyped, column)

    assert_type(db.execute("delete from users where id = $1", 1), CommandTag)
    assert_type(db.execute(users), CommandTag)
    assert_type(db.execute_script("select 1; select 2"), list[ScriptResult])

    with db.stream("select $1", 1, batch=10, types=["int4"]) as stream:
        assert_type(list(stream), list[Row])
        assert_type(stream.next_batch(), list[Row])
        assert_type(stream.close(), None)
    assert_type(list(db.stream("select 1", into=User)), list[User])
    assert_type(list(db.stream("select 1", into=shout)), list[str])
    assert_type(list(db.stream(users, timeout=3)), list[User])

    blocks: list[bytes] = []
    assert_type(db.copy_in("users", BytesIO(), format="binary", freeze=True), CommandTag)
    assert_type(list(db.copy_out("users")), list[Row])
    with db.copy_out(("app", "users"), into=shout, format="text") as texts:
        assert_type(texts, CopyOut[str])
        assert_type(texts.next_batch(), list[str])
    assert_type(list(db.copy_out(query="select 1", format="binary").blocks()), list[bytes])
    assert_type(db.copy_out("users", format="csv", to=BytesIO()), CommandTag)
    assert_type(db.copy_out("users", format="csv", to=blocks.append), CommandTag)
    assert_type(db.copy_in(("app", "users"), [(1, "x")], where="id > 0"), CommandTag)
    assert_type(db.execute_many(Statement("insert into t values ($1)"), [(1,), (2,)]), CommandTag)
    assert_type(db.run(plan()), list[User])
    assert_type(db.cancel_token(), CancelToken)
    assert_type(db.cancel_token().cancel(1), None)
    assert_type(db.cancel(timeout=1), None)
    executor: Executor = db
    assert_type(executor.fetch_all(users), list[User])

    with db.batch(timeout=3) as batch:
        assert_type(batch, Batch)
        total = batch.fetch_value("select count(*) from users", into=int)
        batch.execute("delete from sessions")
    assert_type(total, BatchReply[int | None])
    assert_type(db.transaction_status, Literal["idle", "in transaction", "failed transaction"])
    assert_type(db.close(), None)


def rows(row: Row) -> None:
    """A row is a tuple, and knows its columns."""
    id_, name = row
    by_name: Any = row.name
    by_key: Any = row["name"]
    by_position: Any = row[0]
    assert_type(row[1:], tuple[Any, ...])
    assert_type(row.keys(), tuple[str, ...])
    assert_type(dict(row.items()), dict[str, Any])
    print(id_, name, by_name, by_key, by_position, pgoxide.Row)
