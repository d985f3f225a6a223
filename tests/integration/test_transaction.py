"""Transaction blocks: what they send, how they end, how they nest."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.errors import (
    ConnectionClosed,
    DivisionByZero,
    InFailedSqlTransaction,
    InterfaceError,
    NoRow,
    NotNullViolation,
    UndefinedTable,
    UnexpectedRollback,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pg

ASYNC = pytest.mark.parametrize("face", ["async"])
INSERT = "insert into kept values ($1)"


@pytest.fixture
def table(db: Any, runner: Any) -> Any:
    async def make() -> None:
        await db.execute_script("create temp table kept (n int4 unique deferrable)")
        for sql in (INSERT, "select 1", "select n from kept order by n"):
            await db.fetch_all(sql, *([0] if "$1" in sql else []))
        await db.execute("delete from kept")

    runner.run(make())
    return db


async def kept(db: Any) -> list[int]:
    return await db.fetch_column("select n from kept order by n")  # type: ignore[no-any-return]


# ---- what is sent


async def recorded(connect: Any, proxy: Callable[..., Any]) -> tuple[Any, Any]:
    """A connection whose messages are recorded, with its statements described."""
    relay = proxy()
    db = await connect(to=relay)
    await db.execute_script("create temp table kept (n int4)")
    await db.execute(INSERT, 0)
    await db.execute(INSERT, 0)
    relay.forget()
    return db, relay


@pytest.mark.row("X01", "B04")
async def test_an_empty_block_sends_nothing(connect: Any, proxy: Callable[..., Any]) -> None:
    db, relay = await recorded(connect, proxy)
    async with db.transaction(), db.transaction():
        pass
    assert relay.sent == ""
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            tx.rollback_only = True
            _ = 1 / 0
    assert relay.sent == ""


@pytest.mark.row("X01", "B04")
async def test_begin_travels_with_the_first_statement(connect: Any, proxy: Callable[..., Any]) -> None:
    """BEGIN, the statement, one Sync; then COMMIT: two flights. Alone, it goes by the simple protocol."""
    db, relay = await recorded(connect, proxy)
    async with db.transaction() as tx:
        await tx.execute(INSERT, 1)
        assert relay.sent == "PBE" + "BES"
        await tx.execute(INSERT, 2)
        assert relay.sent == "PBE" + "BES" + "BES"
    assert relay.sent == "PBE" + "BES" + "BES" + "Q"
    assert [body for kind, body in relay.bodies if kind in "PQ"] == [b"\0begin\0\0\0", b"commit\0"]


@pytest.mark.row("B04")
async def test_commit_travels_with_the_last_statement(connect: Any, proxy: Callable[..., Any]) -> None:
    db, relay = await recorded(connect, proxy)
    async with db.transaction() as tx:
        await tx.execute(INSERT, 1, commit=True)
        assert db.transaction_status == "idle"
    assert relay.sent == "PBE" + "BE" + "PBES"
    relay.forget()
    async with db.transaction() as tx, tx.batch(commit=True) as batch:
        batch.execute(INSERT, 2)
        batch.execute(INSERT, 3)
    assert relay.sent == "PBE" + "BEBE" + "PBES"
    assert await kept(db) == [0, 0, 1, 2, 3]


@pytest.mark.row("B04")
async def test_commit_travels_with_many_parameter_sets(connect: Any, proxy: Callable[..., Any]) -> None:
    """Behind the last of them, with their Sync; RELEASE of a savepoint too."""
    db, relay = await recorded(connect, proxy)
    async with db.transaction() as tx:
        tag = await tx.execute_many(INSERT, [(n,) for n in range(1, 4)], commit=True)
        assert (tag.text, tag.rows_affected) == ("INSERT 0 1", 3)
        assert db.transaction_status == "idle"
        for call in (tx.execute, db.execute):
            with pytest.raises(InterfaceError, match="commit=True"):
                await call(INSERT, 9)
    assert relay.sent == "PBE" + "DH" + "BEBEBEH" + "PBES"
    relay.forget()
    async with db.transaction() as tx, tx.transaction() as inner:
        await inner.execute_many(INSERT, [(4,)], commit=True)
    assert relay.sent == "PBE" + "PBE" + "DH" + "BEH" + "PBES" + "Q"
    texts = [body.strip(b"\0").decode() for kind, body in relay.bodies if kind in "PQ"]
    assert texts == ["begin", "savepoint pgoxide_1", "release savepoint pgoxide_1", "commit"]
    relay.forget()
    async with db.transaction() as tx:
        await tx.execute_many(INSERT, [], commit=True)
    assert relay.sent == "PBE" + "DH" + "H" + "PBES"
    assert await kept(db) == [0, 0, 1, 2, 3, 4]


@pytest.mark.row("B04", "X01")
@pytest.mark.parametrize("described", [True, False])
async def test_many_parameter_sets_that_fail_are_not_committed(table: Any, described: bool) -> None:
    """At the server, or in their source: COMMIT is skipped, or never written, and leaving the block rolls back."""
    sql = INSERT if described else f"{INSERT} /* {described} */"

    def breaks() -> Any:
        yield (3,)
        raise ZeroDivisionError

    for source, error in (
        ([(1,), (None,), (1,)], UniqueViolation),
        (breaks(), ZeroDivisionError),
        ([(4,), ("x",)], pgoxide.errors.DataError),
        (1, TypeError),
    ):
        with pytest.raises(error):
            async with table.transaction() as tx:
                await tx.execute(INSERT, 2)
                await tx.execute_many(sql, source, commit=True)
        assert table.transaction_status == "idle"
        assert await kept(table) == []


@pytest.mark.row("X04")
async def test_a_deferred_constraint_fails_with_many_parameter_sets(table: Any) -> None:
    with pytest.raises(UniqueViolation):
        async with table.transaction() as tx:
            await tx.execute("set constraints all deferred")
            await tx.execute_many(INSERT, [(1,), (1,)], commit=True)
    assert table.transaction_status == "idle"
    assert await kept(table) == []


@pytest.mark.row("X03")
async def test_savepoints_travel_too(connect: Any, proxy: Callable[..., Any]) -> None:
    db, relay = await recorded(connect, proxy)
    async with db.transaction() as tx, tx.transaction() as inner:
        await inner.execute(INSERT, 1, commit=True)
    assert relay.sent == "PBE" + "PBE" + "BE" + "PBES" + "Q"
    texts = [body.strip(b"\0").decode() for kind, body in relay.bodies if kind in "PQ"]
    assert texts == ["begin", "savepoint pgoxide_1", "release savepoint pgoxide_1", "commit"]


VERBS = {
    "fetch_all": [(1,)],
    "fetch_one": (1,),
    "fetch_optional": (1,),
    "fetch_first": (1,),
    "fetch_value": 1,
    "fetch_column": [1],
    "execute": "INSERT 0 1",
}


@pytest.mark.row("X01", "B04")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("described", [True, False])
async def test_every_verb_commits(table: Any, connect: Any, verb: str, described: bool) -> None:
    sql = f"insert into kept values ($1) returning n /* {verb} {described} */"
    if described:
        await getattr(table, verb)(sql, 7)
    async with table.transaction() as tx:
        answer = await getattr(tx, verb)(sql, 1, commit=True)
        assert (str(answer) if verb == "execute" else answer) == VERBS[verb]
        assert table.transaction_status == "idle"
    assert 1 in await kept(table)


@pytest.mark.row("X01")
async def test_a_failing_last_statement_is_rolled_back(table: Any) -> None:
    """COMMIT is skipped, and leaving the block rolls back."""
    await table.execute(INSERT, 1)
    with pytest.raises(DivisionByZero):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 2)
            await tx.fetch_value("select 1 / 0", commit=True)
    assert table.transaction_status == "idle"
    assert await kept(table) == [1]


async def test_a_refused_row_count_comes_after_the_commit(table: Any) -> None:
    with pytest.raises(NoRow):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await tx.fetch_one("select n from kept where n = 2", commit=True)
    assert await kept(table) == [1]


@pytest.mark.row("X01")
async def test_nothing_follows_the_last_statement(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1, commit=True)
        for call in (tx.execute, table.execute):
            with pytest.raises(InterfaceError, match="commit=True"):
                await call(INSERT, 2)
        with pytest.raises(InterfaceError, match="commit=True"):
            await tx.execute(INSERT, 2, commit=True)
    assert await kept(table) == [1]


async def test_arguments_that_do_not_fit_are_not_the_last_statement(table: Any) -> None:
    """Nothing was sent: the block goes on."""
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        with pytest.raises(pgoxide.errors.DataError):
            await tx.execute(INSERT, "x", commit=True)
        await tx.execute(INSERT, 2, commit=True)
    assert await kept(table) == [1, 2]


async def test_copy_is_no_last_statement(table: Any) -> None:
    with pytest.raises(InterfaceError, match="COPY"):
        async with table.transaction() as tx:
            await tx.execute("copy kept to '/dev/null'", commit=True)


# ---- what may come first


async def first_many(db: Any) -> None:
    await db.execute_many(INSERT, [(1,), (2,)])


async def first_copy(db: Any) -> None:
    await db.copy_in("kept", [(1,), (2,)])


async def first_script(db: Any) -> None:
    await db.execute_script("insert into kept values (1); insert into kept values (2)")


async def first_batch(db: Any) -> None:
    async with db.batch() as batch:
        batch.execute(INSERT, 1)
        batch.execute("insert into kept values ($1::int4)", 2)


async def first_stream(db: Any) -> None:
    async with db.stream("insert into kept values (1), (2) returning n", batch=1) as stream:
        assert [row.n async for row in stream] == [1, 2]


async def first_undescribed(db: Any) -> None:
    for n in (1, 2):
        await db.fetch_all("insert into kept values ($1) returning n, 'first'", n)


@pytest.mark.row("X01")
@pytest.mark.parametrize("through", ["tx", "db"])
@pytest.mark.parametrize(
    "first", [first_many, first_copy, first_script, first_batch, first_stream, first_undescribed]
)
async def test_whatever_comes_first_brings_begin(
    table: Any, first: Callable[[Any], Any], through: str
) -> None:
    """Rolled back, nothing of it is there; committed, all is."""
    for undone in (True, False):
        async with table.transaction() as tx:
            await first(tx if through == "tx" else table)
            assert table.transaction_status == "in transaction"
            tx.rollback_only = undone
        assert table.transaction_status == "idle"
        assert await kept(table) == ([] if undone else [1, 2])


@pytest.mark.row("X01")
async def test_a_first_statement_that_fails(table: Any) -> None:
    """Whatever flight its failure comes in, the transaction has failed, as the server has it."""
    for sql in ("select * from nowhere", "drop table nowhere", "select * from nowhere where n = $1"):
        with pytest.raises(UnexpectedRollback):
            async with table.transaction() as tx:
                with pytest.raises(UndefinedTable):
                    await tx.execute(sql, *([1] if "$1" in sql else []))
                assert table.transaction_status == "failed transaction"
        assert table.transaction_status == "idle"


@ASYNC
@pytest.mark.row("X01", "X04", "B04")
@pytest.mark.parametrize("fails", [True, False])
async def test_commit_behind_what_is_on_its_way(connect: Any, proxy: Callable[..., Any], fails: bool) -> None:
    """Nothing may fail in front of a message of the simple protocol, which the server would skip without an answer."""
    relay = proxy(delay=0.02)
    db = await connect(to=relay)
    await db.execute_script("create temp table kept (n int4)")
    await db.execute(INSERT, 0)
    relay.forget()
    if fails:
        db._begin = "begin isolation level nonsense"
    block = db.transaction()
    tx = await block.__aenter__()
    call = asyncio.ensure_future(tx.execute(INSERT, 1))
    problems = await asyncio.gather(call, block.__aexit__(None, None, None), return_exceptions=True)
    assert relay.sent.startswith("PBE" + "BES")
    assert "Q" not in relay.sent
    assert isinstance(problems[0], pgoxide.errors.SyntaxError) == fails
    assert db.transaction_status == "idle"
    assert await kept(db) == ([0] if fails else [0, 1])


BAD = "isolation level serializable, read only"


@ASYNC
@pytest.mark.row("X01")
async def test_statements_together_are_pipelined_behind_begin(
    connect: Any, proxy: Callable[..., Any]
) -> None:
    """The first one brings BEGIN; those written before its answer are led in by a Describe of the portal before."""
    relay = proxy(delay=0.03)
    db = await connect(to=relay)
    await db.execute_script("create temp table kept (n int4)")
    await asyncio.gather(db.execute(INSERT, 0), db.execute(INSERT, 0))
    relay.forget()
    async with db.transaction() as tx:
        await asyncio.gather(*(tx.execute(INSERT, n) for n in range(1, 4)))
        assert relay.sent == "PBE" + "BES" + "DBES" + "DBES"
        await asyncio.gather(*(tx.execute(INSERT, n) for n in range(4, 6)))
        assert relay.sent == "PBE" + "BES" + "DBES" + "DBES" + "BES" + "BES"
    assert await kept(db) == [0, 0, 1, 2, 3, 4, 5]


@pytest.mark.row("X01")
async def test_begin_that_fails(table: Any) -> None:
    """Neither its statement nor those behind it run by themselves."""
    real = getattr(table, "real", table)
    real._begin = "begin isolation level nonsense"
    with pytest.raises(pgoxide.errors.SyntaxError):
        async with table.transaction() as tx:
            if hasattr(table, "real"):
                await tx.execute(INSERT, 1)
            calls = [tx.execute(INSERT, n) for n in range(1, 4)]
            first, *others = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(other) for other in others] == [pgoxide.errors.TransactionNotBegun] * 2
            assert table.transaction_status == "idle"
            raise first
    real._begin = "begin"
    assert await kept(table) == []


async def test_begin_that_fails_in_front_of_a_script(table: Any) -> None:
    real = getattr(table, "real", table)
    real._begin = "begin isolation level nonsense"
    for first in (first_script, first_copy, first_stream, first_batch, first_many):
        with pytest.raises(pgoxide.errors.SyntaxError):
            async with table.transaction() as tx:
                await first(tx)
        assert table.transaction_status == "idle"
    real._begin = "begin"
    assert await kept(table) == []


# ---- modes

ISOLATIONS = [None, "serializable", "repeatable read", "read committed", "read uncommitted"]
MODES = list(itertools.product(ISOLATIONS, [None, True, False], [None, True, False]))


async def shown(tx: Any) -> tuple[str, str, str]:
    return tuple(
        [  # type: ignore[return-value]  # three of them
            await tx.fetch_value(f"show transaction_{name}")
            for name in ("isolation", "read_only", "deferrable")
        ]
    )


def flag(value: bool | None) -> str:
    return "on" if value else "off"


@pytest.mark.row("X02")
async def test_modes(table: Any) -> None:
    for isolation, read_only, deferrable in MODES:
        async with table.transaction(isolation=isolation, read_only=read_only, deferrable=deferrable) as tx:
            expected = (isolation or "read committed", flag(read_only), flag(deferrable))
            assert await shown(tx) == expected


@pytest.mark.row("X02")
async def test_modes_as_defaults_of_the_connection(connect: Any) -> None:
    db = await connect(
        transaction_isolation="serializable", transaction_read_only=True, transaction_deferrable=True
    )
    async with db.transaction() as tx:
        assert await shown(tx) == ("serializable", "on", "on")
    async with db.transaction(isolation="repeatable read", deferrable=False) as tx:
        assert await shown(tx) == ("repeatable read", "on", "off")
    assert await shown(db) == ("read committed", "off", "off")


@pytest.mark.row("X02")
@pytest.mark.parametrize(
    "modes", [{"isolation": "snapshot"}, {"read_only": 1}, {"deferrable": "yes"}, {"others": "ignore"}]
)
async def test_modes_there_are_not(db: Any, connect: Any, modes: dict[str, Any]) -> None:
    with pytest.raises(InterfaceError):
        db.transaction(**modes)
    if "others" not in modes:
        with pytest.raises(InterfaceError):
            await connect(**{f"transaction_{name}": value for name, value in modes.items()})


# ---- nesting


@pytest.mark.row("X03")
@pytest.mark.parametrize("by", ["tx", "db"])
async def test_three_levels(table: Any, by: str) -> None:
    async with table.transaction() as first:
        await first.execute(INSERT, 1)
        async with (first if by == "tx" else table).transaction() as second:
            await second.execute(INSERT, 2)
            with pytest.raises(DivisionByZero):
                async with (second if by == "tx" else table).transaction() as third:
                    await third.execute(INSERT, 3)
                    await third.execute("select 1 / 0")
            await second.execute(INSERT, 4)
        with pytest.raises(KeyError):
            async with table.transaction() as second:
                await second.execute(INSERT, 5)
                raise KeyError
        await first.execute(INSERT, 6)
    assert await kept(table) == [1, 2, 4, 6]


@pytest.mark.row("X03")
async def test_names_are_quoted(table: Any) -> None:
    name = 'a "b"; rollback'
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        async with tx.transaction(name=name) as inner:
            await inner.execute(INSERT, 2)
            await inner.execute('rollback to "a ""b""; rollback"')
            await inner.execute(INSERT, 3)
        async with tx.transaction(name=name) as inner:
            await inner.execute(INSERT, 4)
            inner.rollback_only = True
    assert await kept(table) == [1, 3]
    for bad in ("", "a\0b"):
        with pytest.raises(InterfaceError):
            table.transaction(name=bad)


async def test_a_savepoint_has_no_modes_and_a_transaction_no_name(table: Any) -> None:
    with pytest.raises(InterfaceError, match="name="):
        async with table.transaction(name="x"):
            pass
    async with table.transaction() as tx:
        with pytest.raises(InterfaceError, match="savepoint"):
            async with table.transaction(isolation="serializable"):
                pass
        await tx.execute(INSERT, 1)
    assert await kept(table) == [1]


@pytest.mark.row("X03", "X05")
async def test_a_swallowed_error_in_a_nested_block(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        with pytest.raises(UnexpectedRollback, match="nested block"):
            async with tx.transaction() as inner:
                await inner.execute(INSERT, 2)
                with pytest.raises(DivisionByZero):
                    await inner.execute("select 1 / 0")
        await tx.execute(INSERT, 3)
    assert await kept(table) == [1, 3]


async def test_entered_once(table: Any) -> None:
    block = table.transaction()
    async with block:
        pass
    with pytest.raises(InterfaceError, match="entered once"):
        async with block:
            pass
    with pytest.raises(InterfaceError, match="left"):
        await block.execute(INSERT, 1)


# ---- the end


@pytest.mark.row("X04")
@pytest.mark.parametrize("last", [True, False])
async def test_a_deferred_constraint(table: Any, last: bool) -> None:
    with pytest.raises(UniqueViolation):
        async with table.transaction() as tx:
            await tx.execute("set constraints all deferred")
            await tx.execute(INSERT, 1)
            await tx.execute(INSERT, 1, commit=last)
    assert table.transaction_status == "idle"
    assert await kept(table) == []


@pytest.mark.row("X04", "X05")
async def test_a_refused_commit_that_is_swallowed(table: Any) -> None:
    with pytest.raises(UnexpectedRollback):
        async with table.transaction() as tx:
            await tx.execute("set constraints all deferred")
            await tx.execute(INSERT, 1)
            with pytest.raises(UniqueViolation):
                await tx.execute(INSERT, 1, commit=True)
    assert await kept(table) == []


@pytest.mark.row("X05")
@pytest.mark.parametrize("last", [True, False])
async def test_a_commit_that_rolled_back(table: Any, last: bool) -> None:
    """An error was swallowed: the block does not end as if all were well."""
    with pytest.raises(UnexpectedRollback):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            with pytest.raises(DivisionByZero):
                await tx.execute("select 1 / 0")
            if last:
                with pytest.raises(InFailedSqlTransaction):
                    await tx.execute(INSERT, 2, commit=True)
    assert table.transaction_status == "idle"
    assert await kept(table) == []


@pytest.mark.row("X06")
async def test_rollback_quietly(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        raise pgoxide.Rollback
    async with table.transaction() as tx:
        await tx.execute(INSERT, 2)
        tx.rollback_only = True
    async with table.transaction() as tx:
        await tx.execute(INSERT, 3)
        async with tx.transaction() as inner:
            await inner.execute(INSERT, 4)
            raise pgoxide.Rollback
        async with tx.transaction() as inner:
            await inner.execute(INSERT, 5)
            inner.rollback_only = True
        await tx.execute(INSERT, 6)
    assert await kept(table) == [3, 6]


@pytest.mark.row("X06", "B04")
@pytest.mark.parametrize("last", ["statement", "batch", "many"])
async def test_rollback_only_before_the_last_statement(table: Any, last: str) -> None:
    """`commit=True` commits nothing then, and is the block's last call all the same: a dry run of the real one."""
    told: list[str] = []
    async with table.transaction() as tx:
        tx.rollback_only = True
        assert tx.rollback_only is True
        tx.on_commit(lambda: told.append("committed"))
        if last == "statement":
            assert await tx.fetch_value(INSERT + " returning n", 1, commit=True) == 1
        elif last == "batch":
            async with tx.batch(commit=True) as batch:
                batch.execute(INSERT, 1)
        else:
            await tx.execute_many(INSERT, [(1,), (2,)], commit=True)
        with pytest.raises(InterfaceError, match="last statement"):
            await tx.execute(INSERT, 3)
    assert table.transaction_status == "idle"
    async with table.transaction() as tx:
        await tx.execute(INSERT, 4)
        async with tx.transaction() as inner:
            inner.rollback_only = True
            await inner.execute(INSERT, 5, commit=True)
        await tx.execute(INSERT, 6, commit=True)
    assert await kept(table) == [4, 6]
    assert told == []


@pytest.mark.row("X06")
async def test_rollback_of_an_outer_block(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        async with tx.transaction() as middle:
            await middle.execute(INSERT, 2)
            async with middle.transaction() as inner:
                await inner.execute(INSERT, 3)
                raise pgoxide.Rollback(getattr(middle, "real", middle))
        await tx.execute(INSERT, 4)
    assert await kept(table) == [1, 4]
    with pytest.raises(pgoxide.Rollback):
        async with table.transaction() as tx:
            raise pgoxide.Rollback(object())


@pytest.mark.row("X06")
async def test_what_has_been_committed_is_not_undone(table: Any) -> None:
    with pytest.raises(InterfaceError, match="ended the transaction block already"):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1, commit=True)
            raise pgoxide.Rollback
    with pytest.raises(KeyError) as caught:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 2, commit=True)
            raise KeyError
    assert "commit=True" in caught.value.__notes__[0]
    assert await kept(table) == [1, 2]


@pytest.mark.row("X06")
async def test_callbacks_after_the_commit(table: Any) -> None:
    told: list[object] = []
    async with table.transaction() as tx:
        tx.on_commit(lambda: told.append(("first", table.transaction_status)))
        await tx.execute(INSERT, 1)
        async with tx.transaction() as inner:
            inner.on_commit(lambda: told.append("nested"))
        async with tx.transaction() as inner:
            inner.on_commit(lambda: told.append("undone"))
            raise pgoxide.Rollback
        tx.on_commit(lambda: told.append("last"))
        assert told == []
    assert told == [("first", "idle"), "nested", "last"]
    told.clear()
    with pytest.raises(KeyError):
        async with table.transaction() as tx:
            tx.on_commit(lambda: told.append("never"))
            raise KeyError
    with pytest.raises(UnexpectedRollback):
        async with table.transaction() as tx:
            tx.on_commit(lambda: told.append("never"))
            with pytest.raises(DivisionByZero):
                await tx.execute("select 1 / 0")
    assert told == []
    async with table.transaction() as tx:
        tx.on_commit(lambda: told.append("with the statement"))
        await tx.execute(INSERT, 3, commit=True)
        assert told == []
    assert told == ["with the statement"]
    told.clear()
    with pytest.raises(KeyError):
        async with table.transaction() as tx:
            tx.on_commit(lambda: told.append("committed all the same"))
            await tx.execute(INSERT, 4, commit=True)
            raise KeyError
    assert told == ["committed all the same"]


@ASYNC
@pytest.mark.row("X06")
async def test_callbacks_are_awaited(table: Any) -> None:
    told: list[int] = []

    async def look() -> None:
        told.append(await table.fetch_value("select count(*) from kept"))

    async with table.transaction() as tx:
        tx.on_commit(look)
        await tx.execute(INSERT, 1)
    assert told == [1]


@pytest.mark.row("X06")
async def test_callbacks_that_fail(table: Any) -> None:
    """The others are called, nothing is undone, and the exception comes out."""
    told: list[str] = []

    def fails(text: str) -> Callable[[], None]:
        def callback() -> None:
            told.append(text)
            raise ValueError(text)

        return callback

    with pytest.raises(ValueError, match="one") as caught:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            tx.on_commit(fails("one"))
            tx.on_commit(lambda: told.append("two"))
    assert "has been committed" in caught.value.__notes__[0]
    with pytest.raises(ExceptionGroup) as group:
        async with table.transaction() as tx:
            tx.on_commit(fails("three"))
            tx.on_commit(fails("four"))
    assert [str(one) for one in group.value.exceptions] == ["three", "four"]
    assert told == ["one", "two", "three", "four"]
    assert await kept(table) == [1]


# ---- begun or ended by hand


@pytest.mark.row("X11")
async def test_begun_by_hand(table: Any) -> None:
    await table.execute("begin")
    with pytest.raises(InterfaceError, match="by hand"):
        async with table.transaction():
            pass
    await table.execute(INSERT, 1)
    await table.execute("commit")
    assert await kept(table) == [1]


BY_HAND = [
    "begin",
    "start transaction",
    "/* x */ commit",
    "end",
    "rollback",
    "abort",
    "prepare transaction 'x'",
    "rollback work",
]


@pytest.mark.row("X11")
@pytest.mark.parametrize("sql", BY_HAND)
async def test_ended_by_hand(table: Any, sql: str) -> None:
    """Refused before it is sent, and the block goes on."""
    async with table.transaction() as tx:
        await tx.execute(INSERT, 1)
        for call in (tx.execute, table.execute, tx.fetch_all):
            with pytest.raises(InterfaceError, match="transaction block is open"):
                await call(sql)
        with pytest.raises(InterfaceError, match="transaction block is open"):
            async with tx.batch() as batch:
                batch.execute(sql)
    assert await kept(table) == [1]


@pytest.mark.row("X11")
async def test_savepoints_by_hand(table: Any) -> None:
    async with table.transaction() as tx:
        await tx.execute("savepoint a")
        await tx.execute(INSERT, 1)
        await tx.execute("rollback transaction to savepoint a")
        await tx.execute("release a")
        await tx.execute(INSERT, 2)
    assert await kept(table) == [2]


@pytest.mark.row("X11")
@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_ended_by_a_script(table: Any, end: str) -> None:
    """It is noticed: what follows does not run by itself, and the block does not end as if all were well."""
    with pytest.raises(InterfaceError, match="has ended the transaction"):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await tx.execute_script(f"insert into kept values (2); {end}")
            with pytest.raises(InterfaceError, match="has ended the transaction"):
                await tx.execute(INSERT, 3)
    assert await kept(table) == ([1, 2] if end == "commit" else [])
    with pytest.raises(KeyError) as caught:
        async with table.transaction() as tx:
            await tx.execute(INSERT, 4)
            await tx.execute_script(end)
            raise KeyError
    assert "could not be undone" in caught.value.__notes__[0]
    async with table.transaction() as tx:
        await tx.execute(INSERT, 5)
    assert 5 in await kept(table)


@pytest.mark.row("X11")
@pytest.mark.parametrize(
    "script", ["commit; begin", "commit and chain", "insert into kept values (2); commit; begin"]
)
async def test_ended_by_a_script_that_begins_another(table: Any, script: str) -> None:
    """The transaction that is open then is the script's, begun by hand; the block neither commits it nor goes on in it."""
    with pytest.raises(InterfaceError, match="has ended the transaction"):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await tx.execute_script(script)
            with pytest.raises(InterfaceError, match="has ended the transaction"):
                await tx.execute(INSERT, 3)
    assert table.transaction_status == "in transaction"
    await table.execute(INSERT, 4)
    await table.execute("rollback")
    assert await kept(table) == ([1, 2] if "insert" in script else [1])
    async with table.transaction() as tx:
        await tx.execute_script(
            "insert into kept values (5); savepoint a; insert into kept values (6); rollback to a"
        )
    assert 5 in await kept(table)


@ASYNC
@pytest.mark.row("X11")
async def test_what_waits_behind_a_script_that_ends_it(table: Any) -> None:
    with pytest.raises(InterfaceError):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            script = tx.execute_script("commit")
            behind = [tx.execute(INSERT, 2), tx.fetch_value("select $1::int4", 3)]
            await script
            for call in behind:
                with pytest.raises(InterfaceError, match="has ended the transaction"):
                    await call
    assert await kept(table) == [1]


# ---- the connection ends


async def test_closed_inside(table: Any) -> None:
    with pytest.raises(ConnectionClosed):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await table.close()
    with pytest.raises(ConnectionClosed):
        async with table.transaction():
            pass


async def test_lost_inside(table: Any, connect: Any) -> None:
    other = await connect()
    with pytest.raises(ConnectionClosed):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            await other.execute("select pg_terminate_backend($1)", table.backend_pid)
            with pytest.raises(ConnectionClosed):
                await tx.execute("select pg_sleep(20)")
    assert table.closed


# ---- what is left open inside


async def test_a_stream_left_open(table: Any) -> None:
    """The block cannot commit around it; it is rolled back, and the connection goes on."""
    with pytest.raises(InterfaceError, match="stream"):
        async with table.transaction() as tx:
            await tx.execute(INSERT, 1)
            stream = tx.stream("select generate_series(1, 100000)", batch=10)
            async for _ in stream:
                break
    assert await kept(table) == []
    async with table.transaction() as tx:
        await tx.execute(INSERT, 2)
    assert await kept(table) == [2]


@ASYNC
async def test_calls_nobody_awaited_are_part_of_it(table: Any) -> None:
    async with table.transaction() as tx:
        calls = [tx.execute(INSERT, n) for n in (1, 2)]
    assert await kept(table) == [1, 2]
    await asyncio.gather(*calls)
    async with table.transaction() as tx:
        calls = [tx.execute(INSERT, n) for n in (3, 4)]
        raise pgoxide.Rollback
    await asyncio.gather(*calls)
    assert await kept(table) == [1, 2]


async def test_an_error_of_the_body_wins(table: Any) -> None:
    with pytest.raises(NotNullViolation):
        async with table.transaction() as tx:
            await tx.execute("alter table kept alter n set not null")
            await tx.execute(INSERT, None)
    assert table.transaction_status == "idle"


@ASYNC
@pytest.mark.row("X03")
async def test_what_was_asked_before_a_savepoint_is_not_in_it(table: Any) -> None:
    """Though it is written behind the block's entry, as its statement has to be described first."""
    async with table.transaction() as tx:
        first = tx.execute("insert into kept (n) values ($1) -- new", 1)
        async with tx.transaction() as inner:
            await inner.execute(INSERT, 2)
            raise pgoxide.Rollback(inner)
        await first
    assert await kept(table) == [1]
    async with table.transaction() as tx:
        await tx.execute("select 1")
        first = tx.execute("insert into kept (n) values ($1) -- newer", 3)
        async with tx.transaction() as inner:
            await inner.execute(INSERT, 4)
            raise pgoxide.Rollback(inner)
        await first
    assert await kept(table) == [1, 3]
