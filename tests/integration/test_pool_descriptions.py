"""How a statement is described, the connections of a pool tell each other: Q11, and "all pooled connections told" of Q14."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import random
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from fixtures.fix_pools import real
from pgoxide import CommandTag, Rollback
from pgoxide.errors import (
    DataError,
    DivisionByZero,
    Error,
    InFailedSqlTransaction,
    InterfaceError,
    ProgrammingError,
    QueryTimeout,
    StatementInvalidated,
    UnexpectedRollback,
)
from pgoxide.types import Codec

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

# Of a statement that is new on a connection, another having had it described; the first time the check comes along too.
ONE_FLIGHT = "PBEBDES"
FIRST_CHECK = "PCPBEBDES"
DESCRIBED = "PDS" + "BES"


@pytest.fixture
def line(proxy):
    return proxy()


async def fresh(db):
    """A table of two rows, which nothing stands before."""
    await db.execute_script(
        "drop schema if exists elsewhere cascade; drop table if exists common; create table common (id int4, text text);"
        "insert into common values (1, 'a'), (2, 'b')"
    )


SOME = "select * from common where id >= $1 order by id"
ALL = "select * from common order by id"


@pytest.mark.row("Q11")
@pytest.mark.parametrize("sql", [SOME, ALL])
async def test_the_first_use_on_another_connection_is_one_flight(open_pool, db, line, sql):
    await fresh(db)
    pool = await open_pool(max_size=3, to=line)
    arguments = [1] if "$1" in sql else []
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        line.forget()
        assert await one.fetch_all(sql, *arguments) == [(1, "a"), (2, "b")]
        assert line.sent == DESCRIBED
        for another in (two, three):
            line.forget()
            assert await another.fetch_all(sql, *arguments) == [(1, "a"), (2, "b")]
            assert line.sent == FIRST_CHECK
            line.forget()
            assert await another.fetch_all(sql, *arguments) == [(1, "a"), (2, "b")]
            assert line.sent == "BES"
        other = "/* another */ " + sql
        for another, expected in ((three, DESCRIBED), (two, ONE_FLIGHT), (one, FIRST_CHECK)):
            line.forget()
            assert await another.fetch_all(other, *arguments) == [(1, "a"), (2, "b")]
            assert line.sent == expected


@pytest.mark.row("Q11")
@pytest.mark.parametrize(
    ("verb", "sql", "arguments", "expected"),
    [
        ("fetch_one", SOME, [2], (2, "b")),
        ("fetch_optional", SOME, [3], None),
        ("fetch_first", SOME, [1], (1, "a")),
        ("fetch_value", "select text from common where id = $1", [1], "a"),
        ("fetch_column", "select id from common order by id", [], [1, 2]),
        ("fetch_value", "insert into common values ($1, $2) returning id", [3, "c"], 3),
    ],
)
async def test_verbs(open_pool, db, line, verb, sql, arguments, expected):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        for number, another in enumerate((one, two)):
            line.forget()
            assert await getattr(another, verb)(sql, *arguments) == expected
            # Before 16 the columns are not compared, so a statement that changes something is described for a verb of one column.
            described = "insert" in sql and db.server_version < 160000
            assert line.sent == (FIRST_CHECK if number and not described else DESCRIBED)
            await db.execute("delete from common where id = 3")
        await one.execute("update common set text = $2 where id = $1", 1, "c")
        line.forget()
        assert (await two.execute("update common set text = $2 where id = $1", 1, "d")).rows_affected == 1
        assert line.sent in (ONE_FLIGHT, FIRST_CHECK)
    assert await db.fetch_value("select text from common where id = 1") == "d"


@pytest.mark.row("Q11")
async def test_statements_given_to_the_pool(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    assert await pool.fetch_all(SOME, 1) == [(1, "a"), (2, "b")]
    async with pool.acquire():
        line.forget()
        assert await pool.fetch_all("/* elsewhere */ " + SOME, 2) == [(2, "b")]  # opens another
        line.forget()
        assert await pool.fetch_all(SOME, 2) == [(2, "b")]
        assert line.sent in (ONE_FLIGHT, FIRST_CHECK)


@pytest.mark.row("Q11")
async def test_names_types_and_rows_of_classes(open_pool, db, line):
    await fresh(db)

    @dataclass
    class Common:
        id: int
        text: str

    pool = await open_pool(max_size=2, to=line)
    named = "select * from common where id = :id"
    async with pool.acquire() as one, pool.acquire() as two:
        for another in (one, two):
            line.forget()
            assert await another.fetch_all(named, id=1) == [(1, "a")]
            assert await another.fetch_all(SOME, 2, into=Common) == [Common(2, "b")]
            assert await another.fetch_all("select $1 as n", 5, types=["int8"], into=dict) == [{"n": 5}]
            assert await another.fetch_all("select $1 as n", 5, types=["int4"], into=dict) == [{"n": 5}]
            assert line.sent.count("S") == (6 if another is one else 4)  # that with types never takes two


@pytest.mark.row("Q11")
async def test_refused_before_it_runs(open_pool, db):
    """What is refused for its columns must not have changed anything, though they are known only with the answer."""
    await fresh(db)

    @dataclass
    class Other:
        id: int
        name: str

    sql = "insert into common values ($1, 'x') returning *"
    pool = await open_pool(max_size=3, duplicate_columns="raise")
    twice = "insert into common values ($1, 'x') returning id, id"
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        await one.fetch_all(sql, 5)
        await one.execute(twice, 6)
        for another in (two, three):
            with pytest.raises(InterfaceError, match="one column"):
                await another.fetch_value(sql, 7)
            with pytest.raises(ProgrammingError, match="Other"):
                await another.fetch_all(sql, 7, into=Other)
            with pytest.raises(ProgrammingError, match="both named"):
                await another.fetch_all(twice, 7)
    assert await db.fetch_column("select id from common order by id") == [1, 2, 5, 6]


@pytest.mark.row("Q11")
async def test_what_is_prepared_is_described_in_one_flight(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        for another in (one, two):
            line.forget()
            prepared = await another.prepare(SOME)
            assert line.sent == "PDS"
            line.forget()
            assert await prepared.fetch_all(2) == [(2, "b")]
            assert line.sent == "BES"


@pytest.mark.row("Q11")
async def test_the_server_infers_the_types(open_pool, db, line):
    """Declared as the other session has them, they would be cast: float8 to numeric, and digits are lost without a word."""
    await fresh(db)
    digits = Decimal("1.00000000000000000001")
    insert, look = (
        "insert into measured values ($1) returning value",
        "select value from measured where value = $1",
    )
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        await one.execute("create temp table measured (value float8)")
        await two.execute("create temp table measured (value numeric)")
        assert await one.fetch_value(insert, 1.5) == 1.5
        assert await one.fetch_all(look, 1.5) == [(1.5,)]
        for sql in (insert, look):
            line.forget()
            assert await two.fetch_all(sql, digits) == [(digits,)]
            assert await two.fetch_all("select count(*) from measured") == [(1,)]
        assert await one.fetch_all(look, 1.0) == []


@pytest.mark.row("Q11")
async def test_arguments_that_fit_this_session_only(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        await two.execute("create temp table common (id text, text int4)")
        await two.execute("insert into common values ('x', 1)")
        assert await one.fetch_all(SOME, 2) == [(2, "b")]
        line.forget()
        assert await two.fetch_all(SOME, "a") == [("x", 1)]
        assert line.sent == DESCRIBED  # "a" is no int4
        with pytest.raises(DataError, match="text"):
            await two.fetch_all("/* again */" + SOME, 2)


@pytest.mark.row("Q11")
async def test_a_check_that_fails_costs_a_flight(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        await two.execute("create temp table common (id int8, text int4)")
        await two.execute("insert into common values (7, 1)")
        assert await one.fetch_all(SOME, 2) == [(2, "b")]
        line.forget()
        assert await two.fetch_all(SOME, 2) == [(7, 1)]
        assert line.sent == FIRST_CHECK + "C" + DESCRIBED
        line.forget()
        assert await two.fetch_all(SOME, 2) == [(7, 1)]
        assert line.sent == "BES"


@pytest.mark.row("Q11")
async def test_columns_of_domains_are_lent_once_in_vain(open_pool, db, line):
    """What the server compares has the domain's type, what it describes the base type: it goes on refusing."""
    await fresh(db)
    await db.execute_script(
        "create schema elsewhere; create domain elsewhere.few as int4; alter table common alter id type elsewhere.few"
    )
    pool = await open_pool(max_size=4, to=line)
    sql = SOME + " -- of domains"
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three, pool.acquire() as four:
        for each in (one, two):
            assert await each.fetch_all(sql, 1) == [(1, "a"), (2, "b")]
        # Before version 16 columns are not compared.
        expected = DESCRIBED if int(one.parameter("server_version").split(".")[0]) >= 16 else FIRST_CHECK
        for each in (three, four):
            line.forget()
            assert await each.fetch_all(sql, 1) == [(1, "a"), (2, "b")]
            assert line.sent == expected


@pytest.mark.row("Q11", "Q12")
async def test_without_parameters_of_a_type_nobody_knows_yet(open_pool, db, line):
    """Types that are not built in are looked up first; once they are, it is one flight."""
    await fresh(db)
    await db.execute_script("drop type if exists kind; create type kind as enum ('this', 'that')")
    sql = "select $1::kind as kind, array[$1::kind] as kinds"
    pool = await open_pool(max_size=3, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        for number, another in ((1, one), (1, two), (2, one), (2, two)):
            line.forget()
            assert await another.fetch_one(f"/* {number} */ {sql}", "that") == ("that", ["that"])
        assert line.sent == FIRST_CHECK
    await db.execute("drop type kind")


@pytest.mark.row("Q11")
async def test_arguments_that_can_be_taken_once(open_pool, db):
    """They are taken once, whatever comes of the first flight; a codec that uses up what it is given, gets it whole each time."""
    await fresh(db)
    codecs = {"bytea": Codec(encode=lambda file: file.read(), format="binary")}
    pool = await open_pool(max_size=2, codecs=codecs)
    async with pool.acquire() as one, pool.acquire() as two:
        await one.execute("create temp table taken (items int4[], file bytea, more int4)")
        await two.execute("create temp table taken (items int4[], file bytea, more int8)")
        await two.execute("create temp table other (items text[], file bytea, more int4)")
        sql = "insert into taken values ($1, $2, $3) returning items, octet_length(file), more"
        for another in (one, two):
            found = await another.fetch_one(sql, (n for n in (1, 2)), io.BytesIO(b"abc"), 5)
            assert found == ([1, 2], 3, 5)
        await one.execute("create temp table other (items int4[], file bytea, more int4)")
        sql = "insert into other values ($1, $2, $3) returning items, octet_length(file), more"
        assert await one.fetch_one(sql, (n for n in (1, 2)), io.BytesIO(b"abc"), 5) == ([1, 2], 3, 5)
        assert await two.fetch_one(sql, (n for n in "ab"), io.BytesIO(b"abc"), 5) == (["a", "b"], 3, 5)


# ---- transactions


# A savepoint lies around Parse and check; what opens the block goes in front of all.
GUARDED, FIRST_GUARDED = "PBE" + "P" + "BE" + "PBE" + "BDES", "PBE" + "PCP" + "BE" + "PBE" + "BDES"
BEGIN, BACK = "PBE", "PBEPBES"


@pytest.mark.row("Q11", "T01")
async def test_in_a_transaction_it_is_one_flight_too(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        for number in range(5):
            assert await one.fetch_all(f"/* {number} */" + SOME, 2) == [(2, "b")]
        line.forget()
        async with two.transaction(isolation="serializable", read_only=True) as tx:
            assert await tx.fetch_all("/* 0 */" + SOME, 2) == [(2, "b")]
            assert line.sent == BEGIN + FIRST_GUARDED
            line.forget()
            assert await tx.fetch_value("/* 1 */" + SOME.replace("*", "text", 1), 2) == "b"
            assert line.sent == DESCRIBED  # nobody has had it described
            line.forget()
            assert await tx.fetch_all("/* 1 */" + SOME, 2) == [(2, "b")]
            assert line.sent == GUARDED
            async with two.transaction():
                line.forget()
                assert await two.fetch_all("/* 2 */" + SOME, 2) == [(2, "b")]
                assert line.sent == "PBE" + GUARDED
            line.forget()
            assert await tx.fetch_all("/* 0 */" + SOME, 2) == [(2, "b")]
            assert line.sent == "BES"
            assert await tx.fetch_value("show transaction_isolation") == "serializable"
            line.forget()
            assert await tx.fetch_all("/* 3 */" + SOME, 2, commit=True) == [(2, "b")]
            assert line.sent == GUARDED[:-1] + "PBES"
        # Begun by hand.
        await two.execute("begin")
        line.forget()
        assert await two.fetch_all("/* 4 */" + SOME, 2) == [(2, "b")]
        assert line.sent == DESCRIBED
        await two.execute("rollback")


@pytest.mark.row("Q11", "T01")
async def test_a_check_that_fails_does_not_end_the_transaction(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        await two.execute("create temp table common (id int8, text int4)")
        await two.execute("insert into common values (7, 1)")
        for number in range(4):
            assert await one.fetch_all(f"/* {number} */" + SOME, 2) == [(2, "b")]
        async with two.transaction() as tx:
            line.forget()
            assert await tx.fetch_all("/* 0 */" + SOME, 2) == [(7, 1)]
            assert line.sent == BEGIN + FIRST_GUARDED + BACK + "C" + DESCRIBED
            await tx.execute("insert into common values (8, 2)")
            async with two.transaction() as inner:
                await inner.execute("insert into common values (9, 3)")
                assert await inner.fetch_all("/* 1 */" + SOME, 8) == [(8, 2), (9, 3)]
            with pytest.raises(ZeroDivisionError):
                async with two.transaction() as inner:
                    assert await inner.fetch_all("/* 2 */" + SOME, 9) == [(9, 3)]
                    await inner.execute("insert into common values (10, 4)")
                    raise ZeroDivisionError
            line.forget()
            assert await tx.fetch_all("/* 3 */" + SOME, 8, commit=True) == [(8, 2), (9, 3)]
            assert line.sent == GUARDED[:-1] + "PBES" + BACK + "C" + "PDS" + "BE" + "PBES"
        assert await two.fetch_column("select id from common order by id", into=int) == [7, 8, 9]
        # What the statement itself is refused for ends it, as ever.
        with pytest.raises(DivisionByZero):
            await one.fetch_all("select 1 / $1::int4", 0)
        for after in (InFailedSqlTransaction, None):
            with pytest.raises(after or DivisionByZero):
                async with two.transaction() as tx:
                    with pytest.raises(DivisionByZero):
                        await tx.fetch_all("select 1 / $1::int4", 0)
                    if after is None:
                        raise DivisionByZero("again")
                    await tx.fetch_all("select 1")
            await two.execute_script("deallocate all")


@pytest.mark.row("Q11", "T01")
@pytest.mark.parametrize("holds", [True, False], ids=["holds", "fails"])
async def test_what_a_transaction_holds_outlasts_the_check(open_pool, db, holds):
    """Cursors and portals that are open, settings, locks, and the snapshot of a transaction that has one."""
    await fresh(db)
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        if not holds:
            await two.execute("create temp table common (id int8, text text)")
            await two.execute("insert into common values (1, 'a'), (2, 'b')")
        for number in range(2):
            assert await one.fetch_all(f"/* {number} */" + SOME, 2) == [(2, "b")]
        async with two.transaction(isolation="repeatable read") as tx:
            assert await tx.fetch_all("/* 0 */" + SOME, 2) == [(2, "b")]
            await db.execute("insert into public.common values (3, 'c')")
            await tx.execute("declare numbers cursor for select n from generate_series(1, 9) as n")
            assert await tx.fetch_column("fetch 2 from numbers") == [1, 2]
            portal = await tx.portal("select n from generate_series(1, 9) as n", into=int)
            assert await portal.fetch(2) == [1, 2]
            await tx.execute("set local work_mem = '5MB'")
            await tx.execute("select pg_advisory_xact_lock(4711)")
            assert await tx.fetch_all("/* 1 */" + SOME, 2) == [(2, "b")]
            assert await tx.fetch_column("fetch 2 from numbers") == [3, 4]
            assert await portal.fetch(2) == [3, 4]
            assert await tx.fetch_value("show work_mem") == "5MB"
            assert not await db.fetch_value("select pg_try_advisory_xact_lock(4711)")
            assert await tx.fetch_value("select count(*) from public.common", into=int) == 2


@pytest.mark.row("Q11", "T01")
async def test_the_statement_itself_runs_in_no_subtransaction(open_pool, db):
    await fresh(db)
    sql = "insert into common values ($1, 'c') returning xmin::text = pg_current_xact_id()::xid::text as same"
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        for another in (one, two):
            async with another.transaction() as tx:
                assert await tx.fetch_value(sql, 5) is True


@pytest.mark.row("Q11", "T01")
@pytest.mark.parametrize("face", ["async"])
async def test_what_is_asked_meanwhile_in_a_transaction_keeps_its_order(open_pool, db):
    """Nor is the block left before."""
    await fresh(db)
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        await two.execute("create temp table common (id int8, text int4)")
        await two.execute("insert into common values (7, 1)")
        for number in range(6):
            assert await one.fetch_all(f"/* {number} */" + SOME, 2) == [(2, "b")]
        async with two.transaction() as tx:
            replies = [
                tx.fetch_all("/* 0 */" + SOME, 2),
                tx.execute("update common set id = 8"),
                tx.fetch_all("/* 1 */" + SOME, 2),
                tx.fetch_all("/* 0 */" + SOME, 2),
            ]
        answers = [await reply for reply in replies]
        assert [answers[at] for at in (0, 2, 3)] == [[(7, 1)], [(8, 1)], [(8, 1)]]
        async with two.transaction() as tx:
            reply = tx.fetch_all("/* 2 */" + SOME, 2)
            with pytest.raises(ZeroDivisionError):
                async with two.transaction():
                    late = two.execute("update common set id = 9")
                    raise ZeroDivisionError
            assert await reply == [(8, 1)]
        await asyncio.gather(late, return_exceptions=True)
        assert await two.fetch_value("select id from common") == 8
        # Given up while it is asked whether the description holds.
        for number in (3, 4):
            with pytest.raises(asyncio.CancelledError):
                async with two.transaction() as tx:
                    given_up = tx.fetch_all(f"/* {number} */" + SOME, 2)
                    if number == 4:
                        await asyncio.sleep(0)
                    given_up.cancel()
                    await given_up
            assert await two.fetch_value("select id from common") == 8


@pytest.mark.row("Q11", "P01")
@pytest.mark.parametrize("face", ["async"])
async def test_what_is_asked_meanwhile_keeps_its_order(open_pool, db):
    """Nothing is written behind a flight that may have to be made otherwise."""
    await fresh(db)
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        await two.execute("create temp table common (id int8, text int4)")
        await two.execute("insert into common values (7, 1)")
        for number in range(3):
            assert await one.fetch_all(f"/* {number} */" + SOME, 2) == [(2, "b")]
        calls = [
            two.fetch_all("/* 0 */" + SOME, 2),
            two.execute("begin"),
            two.execute("update common set id = 8"),
            two.fetch_all("/* 1 */" + SOME, 2),
            two.execute("rollback"),
            two.fetch_all("/* 2 */" + SOME, 2),
        ]
        answers = await asyncio.gather(*calls)
        assert [answers[0], answers[3], answers[5]] == [[(7, 1)], [(8, 1)], [(7, 1)]]
        begin, rows = two.execute("begin"), two.fetch_all("/* 3 */" + SOME, 2)
        assert await rows == [(7, 1)]
        await begin
        await two.execute("rollback")


@pytest.mark.row("Q11")
@pytest.mark.parametrize("face", ["async"])
async def test_given_up_meanwhile(open_pool, db):
    await fresh(db)
    sql = "select id, pg_sleep($1) is null from common where id = 1"
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        assert await one.fetch_all(sql, 0.0) == [(1, False)]
        slow, behind = two.fetch_all(sql, 30.0), two.fetch_all(sql, 0.0)
        await asyncio.sleep(0.1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await behind == [(1, False)]
        unsent, behind = two.fetch_all("/* 2 */" + sql, 30.0), two.fetch_all("/* 2 */" + sql, 0.0)
        unsent.cancel()
        assert await behind == [(1, False)]


@pytest.mark.row("Q11")
async def test_a_time_limit(open_pool, db):
    await fresh(db)
    sql = "select id, pg_sleep($1) is null from common where id = 1"
    pool = await open_pool(max_size=2)
    async with pool.acquire() as one, pool.acquire() as two:
        assert await one.fetch_all(sql, 0.0) == [(1, False)]
        with pytest.raises(QueryTimeout):
            await two.fetch_all(sql, 30.0, timeout=0.1)
        assert await two.fetch_all(sql, 0.0) == [(1, False)]
        with pytest.raises(DivisionByZero):
            await one.fetch_all("select 1 / $1::int4", 0)
        for _ in range(2):
            with pytest.raises(DivisionByZero):
                await two.fetch_all("select 1 / $1::int4", 0)
        assert await two.fetch_all("select 1 / $1::int4", 1) == [(1,)]


@pytest.mark.row("Q11")
async def test_arguments_with_code_of_their_own(open_pool, db, face):
    """What that code asks for of the same connection comes behind, or is refused; none of it is lost."""
    await fresh(db)
    pool = await open_pool(
        max_size=2, codecs={"int4": Codec(encode=lambda value: value.number(), format="value")}
    )
    asked: list[Any] = []

    class Number:
        def __init__(self, db, value):
            self.db, self.value = db, value

        def __deepcopy__(self, _memo):
            return self

        def number(self):
            if face == "async" and self.db is not None:
                asked.append(self.db.fetch_value("select 'asked'"))
            return self.value

    async with pool.acquire() as one, pool.acquire() as two:
        assert await one.fetch_all(SOME, Number(None, 2)) == [(2, "b")]
        assert await two.fetch_all(SOME, Number(two, 2)) == [(2, "b")]
        await two.execute("create temp table common (id int4, text int4)")
        assert await one.fetch_all("/* 2 */" + SOME, Number(None, 2)) == [(2, "b")]
        assert await two.fetch_all("/* 2 */" + SOME, Number(two, 2)) == []
        assert all([await reply == "asked" for reply in asked])
        assert bool(asked) == (face == "async")


# ---- Q14: all pooled connections are told


@pytest.mark.row("Q14")
async def test_all_are_told(open_pool, db, line):
    """One meets the change; the others pay no flight that fails."""
    await fresh(db)
    pool = await open_pool(max_size=3, to=line)
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        for another in (one, two, three):
            await another.fetch_all(SOME, 1)
        await db.execute("alter table common add more int4 default 7")
        line.forget()
        assert await one.fetch_all(SOME, 2) == [(2, "b", 7)]
        assert line.sent == "BES" + "C" + DESCRIBED
        for another in (two, three):
            line.forget()
            assert await another.fetch_all(SOME, 2) == [(2, "b", 7)]
            assert line.sent == "C" + ONE_FLIGHT
            line.forget()
            assert await another.fetch_all(SOME, 2) == [(2, "b", 7)]
            assert line.sent == "BES"


@pytest.mark.row("Q14")
async def test_told_before_a_transaction(open_pool, db):
    """Which alone would have failed, with StatementInvalidated."""
    await fresh(db)
    pool = await open_pool(max_size=3)
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        for another in (one, two, three):
            await another.fetch_all(SOME, 1)
        await db.execute("alter table common add more int4 default 7")
        with pytest.raises(StatementInvalidated):
            async with one.transaction() as tx:
                await tx.fetch_all(SOME, 2)
        for another in (two, three):
            async with another.transaction() as tx:
                assert await tx.fetch_all(SOME, 2) == [(2, "b", 7)]


@pytest.mark.row("Q14")
async def test_told_by_who_describes_it_otherwise(open_pool, db, line):
    """A connection that uses it for the first time finds other columns than the others have."""
    await fresh(db)
    pool = await open_pool(max_size=3, to=line)
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        for another in (one, two):
            await another.fetch_all(SOME, 1)
        await db.execute("alter table common add more int4 default 7")
        async with three.transaction() as tx:
            assert await tx.fetch_all(SOME, 2) == [(2, "b", 7)]
        for another in (one, two):
            line.forget()
            assert await another.fetch_all(SOME, 2) == [(2, "b", 7)]
            assert line.sent == "C" + (FIRST_CHECK if another is one else ONE_FLIGHT)


@pytest.mark.row("Q14")
async def test_many_at_once_while_the_table_changes(open_pool, db, face):
    await fresh(db)
    pool = await open_pool(max_size=4)
    old, new = [(2, "b")], [(2, "b", 7)]
    for _ in range(4 if face == "async" else 1):
        await db.execute("alter table common add more int4 default 7")
        if face == "async":
            got = await asyncio.gather(*(pool.fetch_all(SOME, 2) for _ in range(40)))
        else:
            got = [await pool.fetch_all(SOME, 2) for _ in range(40)]
        assert got == [new] * 40
        await db.execute("alter table common drop more")
        assert await pool.fetch_all(SOME, 2) == old


@pytest.mark.row("Q16")
async def test_dropped_statements_are_one_sessions_own(open_pool, db, line):
    """The others still have theirs. The one that lost them takes one flight, or one that fails and two."""
    await fresh(db)
    pool = await open_pool(max_size=2, to=line)
    async with pool.acquire() as one, pool.acquire() as two:
        for another in (one, two):
            await another.fetch_all(SOME, 1)
        await two.execute_script("discard all")
        line.forget()
        assert await two.fetch_all(SOME, 2) == [(2, "b")]
        assert line.sent == FIRST_CHECK
        await two.execute_script("do $$ begin execute 'deallocate all'; end $$")
        line.forget()
        assert await two.fetch_all(SOME, 2) == [(2, "b")]
        assert line.sent.endswith(DESCRIBED)
        assert line.sent.count("S") == 3
        line.forget()
        assert await one.fetch_all("/* 2 */" + SOME, 2) == [(2, "b")]
        assert await two.fetch_all("/* 2 */" + SOME, 2) == [(2, "b")]
        assert line.sent == DESCRIBED + FIRST_CHECK
        # The statement of the check itself.
        await two.execute_script(
            "do $$ declare name text; begin for name in select p.name from pg_prepared_statements as p where p.name ~ 'check'"
            " loop execute 'deallocate ' || name; end loop; end $$"
        )
        line.forget()
        assert await one.fetch_all("/* 3 */" + SOME, 2) == [(2, "b")]
        assert await two.fetch_all("/* 3 */" + SOME, 2) == [(2, "b")]
        assert line.sent == DESCRIBED + ONE_FLIGHT + "C" + DESCRIBED
        line.forget()
        assert await one.fetch_all("/* 4 */" + SOME, 2) == [(2, "b")]
        assert await two.fetch_all("/* 4 */" + SOME, 2) == [(2, "b")]
        assert line.sent == DESCRIBED + FIRST_CHECK
        line.forget()
        assert await one.fetch_all(SOME, 2) == [(2, "b")]
        assert line.sent == "BES"


@pytest.mark.row("Q14", "Q15")
async def test_sessions_that_go_on_disagreeing_leave_the_others_alone(open_pool, db, line):
    """One that changes its search_path again and again makes the others describe a statement a few times, not for ever."""
    await fresh(db)
    await db.execute_script(
        "create schema elsewhere; create table elsewhere.common as select 1.5::float8 as id, 2 as text"
    )
    pool = await open_pool(max_size=2, to=line)
    described = 0
    async with pool.acquire() as one, pool.acquire() as two:
        for number in range(30):
            path, expected = [("public", [(1, "a"), (2, "b")]), ("elsewhere, public", [(1.5, 2)])][number % 2]
            await one.execute_script(f"set search_path = {path}")
            assert await one.fetch_all(ALL) == expected
            line.forget()
            assert await two.fetch_all(ALL) == [(1, "a"), (2, "b")]
            described += line.sent != "BES"
            assert described > 1 or number < 2
        assert described <= 10
        line.forget()
        assert await two.fetch_all(ALL) == [(1, "a"), (2, "b")]
        assert line.sent == "BES"


# ---- how much is remembered


@pytest.mark.row("Q11", "Q12")
async def test_as_many_as_a_connection_keeps(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line, statement_cache_size=20)
    async with pool.acquire() as one, pool.acquire() as two:
        for number in range(100):
            await one.fetch_all(f"/* {number} */" + SOME, 1)
            assert len(real(pool)._descriptions) <= 20
        line.forget()
        assert await two.fetch_all("/* 99 */" + SOME, 2) == [(2, "b")]
        assert line.sent == FIRST_CHECK
        line.forget()
        assert await two.fetch_all("/* 0 */" + SOME, 2) == [(2, "b")]
        assert line.sent == DESCRIBED
        long = "/* " + "x" * 20_000 + " */" + SOME
        for another in (one, two):
            line.forget()
            assert await another.fetch_all(long, 2) == [(2, "b")]
            assert line.sent.endswith("PDS" + "BECS")


@pytest.mark.row("Q11", "Q12")
async def test_a_cache_that_is_off(open_pool, db, line):
    await fresh(db)
    pool = await open_pool(max_size=2, to=line, statement_cache_size=0)
    async with pool.acquire() as one, pool.acquire() as two:
        for another in (one, two):
            line.forget()
            assert await another.fetch_all(SOME, 2) == [(2, "b")]
            assert line.sent == "PDS" + "BECS"
    assert len(real(pool)._descriptions) == 0


# ---- where it cannot be


@pytest.mark.row("Q11")
async def test_a_server_that_does_not_compare(open_pool, db, line):
    """It is asked once for the whole pool."""
    await fresh(db)
    await db.execute_script(
        "do $$ begin create role careful login; exception when duplicate_object then end $$; grant select on common to careful;"
        "revoke execute on function pg_catalog.pg_prepared_statement() from public"
    )
    try:
        pool = await open_pool(max_size=3, to=line, user="careful")
        async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
            for another, expected in (
                (one, DESCRIBED),
                (two, FIRST_CHECK + "C" + DESCRIBED),
                (three, DESCRIBED),
            ):
                line.forget()
                assert await another.fetch_all(SOME, 2) == [(2, "b")]
                assert line.sent == expected
    finally:
        await db.execute("grant execute on function pg_catalog.pg_prepared_statement() to public")


@pytest.mark.row("Q11")
async def test_text_that_a_setting_changes(open_pool, db, face):
    """Before 16 the first rows come as text: not where that says less than binary."""
    await fresh(db)
    sql = "select 0.1::float8 + 0.2 as sum, 1.1::float4 as single, interval '1 month 2 days 3.5 s' as wait, now()::date as today"
    for settings in (
        {"extra_float_digits": "0"},
        {"IntervalStyle": "iso_8601"},
        {"DateStyle": "SQL, DMY"},
        {},
    ):
        pool = await open_pool(max_size=2, parameters=settings)
        async with pool.acquire() as one, pool.acquire() as two:
            first, second = await one.fetch_one(sql), await two.fetch_one(sql)
        assert first == second
        assert first.sum == 0.1 + 0.2
        assert [type(value) for value in first] == [type(value) for value in second]


@pytest.mark.row("Q11")
async def test_connections_that_are_configured_each_in_its_own_way(open_pool, db, face):
    """Another search_path, and codecs of the pool's own."""
    await fresh(db)
    await db.execute_script(
        "create schema elsewhere; create table elsewhere.common (id numeric, text int4[])"
    )
    await db.execute("insert into elsewhere.common values (2.5, '{1,2}')")
    paths = ["public", "elsewhere"]
    script = "set search_path = "

    async def configure(connection):
        await connection.execute_script(script + paths.pop(0))

    def configure_blocking(connection):
        connection.execute_script(script + paths.pop(0))

    codecs = {
        "int4": Codec(encode=lambda value: value - 100, decode=lambda value: value + 100, format="value")
    }
    chosen = configure if face == "async" else configure_blocking
    pool = await open_pool(max_size=2, reset="never", configure=chosen, codecs=codecs)
    async with pool.acquire() as one, pool.acquire() as two:
        for _ in range(2):
            assert await one.fetch_all(SOME, 102) == [(102, "b")]
            assert await two.fetch_all(SOME, Decimal("2.5")) == [(Decimal("2.5"), [101, 102])]


# ---- sessions that disagree: three of a pool, each compared with a lone one that is in the same state and keeps no statements

KINDS = {
    "int2": "7",
    "int4": "70",
    "int8": "700",
    "float4": "0.1",
    "float8": "0.1",
    "numeric": "1.00000000000000000001",
    "text": "'a '",
    "varchar": "'a'",
    "char(3)": "'a'",
    "name": "'a'",
    "bool": "true",
    "date": "'2020-01-02'",
    "timestamp": "'2020-01-02 03:04:05'",
    "timestamptz": "'2020-01-02 03:04:05Z'",
    "interval": "'1 day'",
    "time": "'03:04:05'",
    "timetz": "'03:04:05+01'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "bytea": "'\\x0102'",
    "json": """'{"a": 0.10}'""",
    "jsonb": """'{"a": 0.10}'""",
    "int4[]": "'{1,2}'",
    "text[]": "'{1,2}'",
    "float4[]": "'{0.1}'",
    "inet": "'10.0.0.1'",
    "numrange": "'[1,2)'",
    "point": "'(1,2)'",
    "bit(3)": "'101'",
    "xid": "'5'",
    "aclitem": "'postgres=r/postgres'",
    "pg_lsn": "'0/10'",
    "elsewhere.mood": "'sad'",
    "elsewhere.pair": "'(1,x)'",
    "elsewhere.few": "'3'",
}  # fmt: skip

ARGUMENTS = [
    1, 7, 2**40, 0.1, 1.5, Decimal("1.00000000000000000001"), Decimal("1.5"), "a", "a ", "1", "sad", True, None,
    dt.date(2020, 1, 2), dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC),  # noqa: DTZ001  # naive on purpose
    dt.timedelta(days=1), dt.time(3, 4, 5), uuid.UUID(int=1), b"\1\2", {"a": 0.5}, [1, 2], ["1", "2"], (1, "x"),
]  # fmt: skip

TEXTS = {
    "select * from seen": False,
    "select k, c, c as again from seen where k = $1": None,
    "select c from seen where c = $1": True,
    "select coalesce(c, $1) as c from seen": True,
    "insert into seen values (9, $1) returning *": True,
    "insert into seen (k, c) select 9, c from seen where k = $1 returning c": None,
    "select row(c, k) as both from seen where k = $1": None,
    "select array_agg(c) as all from seen": False,
    "select f($1)": True,
}


class Twin:
    """A pooled session, and a lone one of the same state, which describes each statement each time."""

    def __init__(self, pooled, plain):
        self.pooled, self.plain = pooled, plain
        self.shadowed = False

    async def both(self, script):
        for db in (self.pooled, self.plain):
            await db.execute_script(script)


async def outcome(call):
    """What came of a call, in a form that tells 1 from 1.0 from True."""
    try:
        rows = await call()
    except Error as error:
        return type(error), str(error)
    return [[(name, type(value), repr(value)) for name, value in row._asdict().items()] for row in rows]


class World:
    """Schemas with a table and a function of one name, which change; sessions that look at them."""

    def __init__(self, chance, admin, twins):
        self.chance, self.admin, self.twins = chance, admin, twins
        self.texts = 0
        self.used: dict[str, set[int]] = {}

    async def begin(self):
        await self.admin.execute_script(
            "drop schema if exists elsewhere, s1, s2 cascade; create schema elsewhere; create schema s1; create schema s2;"
            "create type elsewhere.mood as enum ('sad', 'ok'); create domain elsewhere.few as int4 check (value < 9);"
            "create type elsewhere.pair as (a int4, b text)"
        )
        for schema in ("s1", "s2"):
            await self.admin.execute_script(self.table(f"{schema}."))
            await self.admin.execute_script(self.function(schema))
        for twin in self.twins:
            await twin.both("set search_path = s1, s2")

    def table(self, where):
        kind = self.chance.choice(list(KINDS))
        return (
            f"drop table if exists {where}seen; create table {where}seen (k int4, c {kind});"
            f"insert into {where}seen values (1, {KINDS[kind]}), (2, null)"
        )

    def function(self, schema):
        kind = self.chance.choice(["int4", "int8", "numeric", "float8", "text"])
        return (
            f"drop function if exists {schema}.f; create function {schema}.f({kind}) returns text language sql as $$select "
            f"'{schema} {kind} ' || $1::text$$"
        )

    async def change(self):
        chance, twin = self.chance, self.chance.choice(self.twins)
        what = chance.random()
        if what < 0.3:
            schema = chance.choice(["s1", "s2"])
            await self.admin.execute_script(self.table(f"{schema}."))
        elif what < 0.4:
            await self.admin.execute_script(self.function(chance.choice(["s1", "s2"])))
        elif what < 0.7:
            path = chance.choice(["s1, s2", "s2, s1", "s1", "s2"])
            await twin.both(f"set search_path = {path}")
        elif twin.shadowed:
            twin.shadowed = False
            await twin.both("drop table pg_temp.seen")
        else:
            twin.shadowed = True
            await twin.both(self.table("pg_temp."))

    def text(self, number):
        """One that this session has not used, or whose parameters have one type everywhere."""
        chance = self.chance
        fresh = [text for text, users in self.used.items() if number not in users]
        if fresh and chance.random() < 0.8:
            return chance.choice(fresh)
        settled = [text for text in self.used if "k = $1" in text or "$1" not in text]
        if settled and chance.random() < 0.5:
            return chance.choice(settled)
        self.texts += 1
        return f"/* {self.texts} */ " + chance.choice(list(TEXTS))

    async def inside(self, pooled, text, arguments):
        """What it comes to in a transaction, which goes on when it is well."""
        how = self.chance.choice(["by hand", "block", "begun", "nested"])
        if how == "by hand":
            await pooled.execute("begin")
            found = await outcome(lambda: pooled.fetch_all(text, *arguments))
            await pooled.execute("rollback")
            return found
        async with pooled.transaction() as tx:
            if how != "block":
                assert await tx.fetch_value("select 1") == 1
            if how == "nested":
                async with pooled.transaction() as inner:
                    found = await outcome(lambda: inner.fetch_all(text, *arguments))
                    raise Rollback
            else:
                found = await outcome(lambda: tx.fetch_all(text, *arguments))
            if isinstance(found, list) or how == "nested":
                assert await tx.fetch_value("select 2") == 2
            raise Rollback
        return found

    async def look(self):
        chance, number = self.chance, self.chance.randrange(len(self.twins))
        twin, text = self.twins[number], self.text(number)
        kind = TEXTS[text.split("*/ ")[1]]
        arguments = [] if kind is False else [chance.choice(ARGUMENTS) if kind else 1]
        again = number in self.used.setdefault(text, set())
        self.used[text].add(number)
        await twin.plain.execute("begin")
        expected = await outcome(lambda: twin.plain.fetch_all(text, *arguments))
        await twin.plain.execute("rollback")
        inside = chance.random() < 0.6
        found = await self.inside(twin.pooled, text, arguments) if inside else None
        if inside is False:
            found = await outcome(lambda: twin.pooled.fetch_all(text, *arguments))
        if not inside and "insert" in text and isinstance(found, list):
            await twin.pooled.execute_script("delete from seen where k = 9")
        if inside and again and found[0] is StatementInvalidated:
            return  # a transaction that has failed: documented
        assert found == expected, (text, arguments, inside, again)


@pytest.mark.row("Q11", "Q14", "Q15")
@pytest.mark.parametrize("seed", range(12))
async def test_every_session_gets_what_it_would_get_alone(open_pool, connect, db, line, seed):
    """Whatever the others' sessions look like, and whatever changes in between."""
    pool = await open_pool(max_size=3, to=line)
    chance = random.Random(seed)
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        twins = [Twin(pooled, await connect(statement_cache_size=0)) for pooled in (one, two, three)]
        world = World(chance, db, twins)
        await world.begin()
        for _ in range(150):
            await (world.change() if chance.random() < 0.2 else world.look())
        assert line.sent.count("BDES") > 5  # in one flight
    assert line.sent.count("BEPBEBDES") > 5  # in a transaction
    await db.execute_script("drop schema elsewhere, s1, s2 cascade")


# ---- pipelines of several sessions


class Pipeline:
    """Calls of one session, all made before any is awaited."""

    def __init__(self, chance, texts):
        self.chance, self.texts = chance, texts

    def plan(self):
        """What is asked, in order: method and arguments."""
        chance, calls, inside = self.chance, [], False
        for _ in range(chance.randrange(3, 14)):
            what = chance.random()
            if what < 0.1 and not inside:
                calls.append(("execute", "begin"))
                inside = True
            elif what < 0.25 and inside:
                calls.append(("execute", chance.choice(["commit", "rollback"])))
                inside = False
            elif what < 0.35:
                calls.append(("execute", "update own set c = c"))
            elif what < 0.4:
                calls.append(("fetch_value", "select 1 / $1::int4", chance.choice([0, 1])))
            else:
                text = chance.choice(self.texts)
                calls.append(("fetch_all", text, *([chance.choice(["1", 1, 1.5])] if "$1" in text else [])))
        if inside:
            calls.append(("execute", "rollback"))
        return calls


async def answer(reply):
    try:
        found = await reply
    except Error as error:
        # In a failed transaction an argument may be refused before the server can say that it has failed.
        return "refused" if type(error) in (DataError, InFailedSqlTransaction) else type(error)
    return str(found) if isinstance(found, CommandTag) else found


@pytest.mark.row("Q11", "P01", "T01")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("face", ["async"])
async def test_pipelines_answer_as_if_each_call_had_been_awaited(open_pool, connect, db, line, seed):
    """Sessions with tables of their own, which share the texts of their statements."""
    chance = random.Random(seed)
    pool = await open_pool(max_size=3, to=line)
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        sessions = []
        for pooled, kind in ((one, "int4"), (two, chance.choice(["int4", "float8"])), (three, "text")):
            plain = await connect(statement_cache_size=0)
            for session in (pooled, plain):
                await session.execute_script(
                    f"create temp table own (k int4, c {kind}); insert into own values (1, '1')"
                )
            sessions.append((pooled, plain))
        for turn in range(12):
            forms = [
                "select * from own",
                "select c from own where c = $1",
                "insert into own values (2, $1) returning c",
            ]
            texts = [f"/* {turn} {n} */ {form}" for n in range(3) for form in forms]
            for text in texts:
                await one.fetch_all(text, *([1] if "$1" in text else []))
            for session in sessions[0]:
                await session.execute("delete from own where k = 2")
            pending = []
            for pooled, plain in sessions:
                calls = Pipeline(chance, texts).plan()
                expected = [await _refused_or(plain, *call) for call in calls]
                pending.append((calls, expected, [_refused_at_once(pooled, *call) for call in calls]))
            for calls, expected, replies in pending:
                found = [await answer(reply) for reply in replies]
                assert found == expected, calls
        assert line.sent.count("BDES") > 10


@pytest.mark.row("Q11", "P01", "T01")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("face", ["async"])
async def test_pipelines_in_blocks_answer_as_if_each_call_had_been_awaited(
    open_pool, connect, db, line, seed
):
    """And leave the same behind, whether the block ends well, is undone, or by its last call."""
    chance = random.Random(seed)
    pool = await open_pool(max_size=2, to=line)

    async def block(session, calls, end, together):
        answers, replies = [], []
        try:
            async with session.transaction() as tx:
                for number, call in enumerate(calls, 1):
                    last = {"commit": True} if end == "by its last call" and number == len(calls) else {}
                    replies.append(_refused_at_once(tx, *call, **last))
                    if not together:
                        answers.append(await answer(replies.pop()))
                answers += [await answer(reply) for reply in replies]
                if end == "undone":
                    raise Rollback
        except UnexpectedRollback:
            answers.append("rolled back")
        return answers, await session.fetch_all("select k, c::text from own order by k, c")

    async with pool.acquire() as one, pool.acquire() as two:
        sessions = []
        for pooled, kind in ((one, "int4"), (two, chance.choice(["int4", "float8", "text"]))):
            plain = await connect(statement_cache_size=0)
            for session in (pooled, plain):
                await session.execute_script(
                    f"create temp table own (k int4, c {kind}); insert into own values (1, '1')"
                )
            sessions.append((pooled, plain))
        for turn in range(12):
            forms = (
                "select c from own",
                "select c from own where c = $1",
                "insert into own values (2, $1) returning c",
            )
            texts = [f"/* {turn} {n} */ {form}" for n in range(3) for form in forms]
            for text in texts:
                await one.fetch_all(text, *([1] if "$1" in text else []))
            for session in sessions[0]:
                await session.execute("delete from own where k = 2")
            pooled, plain = sessions[chance.random() < 0.8]
            calls = []
            for _ in range(chance.randrange(1, 6)):
                if chance.random() < 0.1:
                    calls.append(("fetch_value", "select 1 / $1::int4", 0))
                else:
                    text = chance.choice(texts)
                    calls.append(
                        ("fetch_all", text, *([chance.choice(["1", 1, 1.5])] if "$1" in text else []))
                    )
            end = chance.choice(["well", "undone", "by its last call"])
            expected = await block(plain, calls, end, False)
            assert await block(pooled, calls, end, chance.random() < 0.7) == expected, calls
        assert "BEPBEBDE" in line.sent  # behind a savepoint


async def _refused_or(db, verb, *args):
    """What one call comes to that is awaited alone. An argument that does not fit is refused when it is encoded."""
    return await answer(_refused_at_once(db, verb, *args))


def _refused_at_once(db, verb, *args, **options):
    try:
        return getattr(db, verb)(*args, **options)
    except DataError as error:
        return _raising(error)


async def _raising(error):
    raise error
