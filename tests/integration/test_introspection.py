"""How types that are not built in are looked up: one question for all of them, at the right time, once for all who share."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

import pgoxide
from pgoxide.embedded import start
from pgoxide.errors import DataError, Error, InFailedSqlTransaction, InterfaceError, QueryTimeout

pytestmark = [pytest.mark.pg, pytest.mark.row("Q20")]

_schemas = itertools.count()


@pytest.fixture
def schema(runner, connect):
    """A schema with types, made on a connection of its own: `db` has not met them."""
    name = f"asked_{next(_schemas)}"

    async def make():
        other = await connect()
        await other.execute_script(
            f"drop schema if exists {name} cascade; create schema {name}; set search_path = {name};"
            "create type mood as enum ('sad', 'ok'); create domain small as int4; create type pair as (a small, m mood);"
            "create type deep as (p pair[], r int4range, n numeric, moods mood[]); create table t (d deep, m mood);"
            "insert into t values (row(array[row(1, 'ok')::pair], '[1,2)', 1.5, array['sad']::mood[]), 'ok')"
        )
        return other

    other = runner.run(make())
    yield name
    runner.run(_script(other, f"rollback; drop schema {name} cascade"))


async def _script(db, sql):
    await db.execute_script(sql)


def questions(proxy):
    """How often the catalog was asked for types."""
    return sum(kind == "P" and b"pg_catalog.pg_type" in body for kind, body in proxy.bodies)


EXPECTED = ([(1, "ok")], pgoxide.types.Range(1, 2), 1.5, ["sad"])


async def test_one_question_for_all_of_them(connect, proxy, schema):
    relay = proxy()
    db = await connect(to=relay)
    await db.execute(f"set search_path = {schema}")
    assert await db.fetch_one("select d, m, $1::pair as p from t", (7, "sad")) == (EXPECTED, "ok", (7, "sad"))
    assert questions(relay) == 1
    # Parts that were met on the way are known too.
    assert await db.fetch_value("select array[row(1, 'ok')]::pair[]") == [(1, "ok")]
    assert await db.fetch_value("select 'ok'::mood") == "ok"
    assert questions(relay) == 1
    # Built-in ones are never asked for.
    await db.fetch_one("select 1, 'x', array[1], int4range(1, 2), row(1), null::pg_lsn, null::regclass[]")
    assert questions(relay) == 1


async def test_ten_connections_ask_once(connect, proxy, schema):
    relay = proxy()
    registry = pgoxide.TypeRegistry()
    for _ in range(10):
        db = await connect(to=relay, type_registry=registry, options=f"-csearch_path={schema}")
        assert await db.fetch_one("select d, m from t") == (EXPECTED, "ok")
        assert await db.fetch_value("select $1::pair", (7, "sad")) == (7, "sad")
    assert questions(relay) == 1
    assert len(registry) > 4
    db.reload_types()
    assert len(registry) == 0
    assert await db.fetch_one("select d, m from t") == (EXPECTED, "ok")
    assert questions(relay) == 2
    registry.clear()
    assert await db.fetch_one("select d, m from t") == (EXPECTED, "ok")
    assert questions(relay) == 3
    with pytest.raises(InterfaceError, match="type_registry=7"):
        await connect(type_registry=7)


@pytest.mark.row("B06")
async def test_what_is_shared_is_kept_apart_by_database(connect, server, runner):
    """A database dropped and made anew, its types in another order: what was learnt of the old one is not believed."""
    registry = pgoxide.TypeRegistry()
    admin = await connect()
    name = f"shared_{next(_schemas)}"
    try:
        for types in (
            "create type one as (a int4); create type two as enum ('x')",
            "create type two as enum ('x'); create type one as (b text, c text)",
        ):
            await admin.execute(f"drop database if exists {name} with (force)")
            await admin.execute(f"create database {name}")
            db = await connect(database=name, type_registry=registry)
            await db.execute_script(types)
            row = await db.fetch_value("select null::one is null")
            assert row is True
            for _ in range(2):
                one = await db.fetch_value(
                    "select o from (select (null::one).*) x, lateral (select x::one) y (o)"
                )
                assert one._fields == (("a",) if "int4" in types else ("b", "c"))
                assert await db.fetch_value("select 'x'::two") == "x"
            await db.close()
    finally:
        await admin.execute(f"drop database if exists {name} with (force)")


@pytest.mark.row("B06")
@pytest.mark.parametrize("copied", [True, False], ids=["copied", "made anew"])
async def test_what_is_shared_is_kept_apart_by_cluster(connect, binaries, monkeypatch, tmp_path, copied):
    """Databases of two clusters have one OID, and so have their types; those of a copy have its system identifier, too."""
    registry = pgoxide.TypeRegistry()
    with start(binaries=binaries) as first:
        # A server is a copy of a template, with its identifier, unless it gets a template of its own.
        if not copied:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with start(binaries=binaries) as second:
            known, identifiers = set(), set()
            for one, (fields, names) in (
                (first, ("a int4", ("a",))),
                (second, ("b text, c text", ("b", "c"))),
            ):
                config = one.config()
                db = await connect(
                    host=config.host, port=config.port, user=config.user, type_registry=registry
                )
                await db.execute(f"create type thing as ({fields})")
                sql = "select 'thing'::regtype::oid::int8, oid::int8 from pg_database where datname = current_database()"
                known.add(tuple(await db.fetch_one(sql)))
                identifiers.add(await db.fetch_value("select system_identifier from pg_control_system()"))
                for _ in range(2):
                    thing = await db.fetch_value(f"select row({', '.join('null' for _ in names)})::thing")
                    assert thing._fields == names
                await db.close()
    assert len(known) == 1  # or this test shows nothing
    assert len(identifiers) == (1 if copied else 2)


async def test_another_database_of_the_cluster(connect, server):
    registry = pgoxide.TypeRegistry()
    admin = await connect()
    names = [f"apart_{next(_schemas)}" for _ in range(2)]
    try:
        for name in names:
            await admin.execute(f"create database {name}")
            db = await connect(database=name, type_registry=registry)
            await db.execute("create type thing as enum ('x')")
            assert await db.fetch_value("select array['x']::thing[]") == ["x"]
            await db.close()
        assert len(registry) == 4
    finally:
        for name in names:
            await admin.execute(f"drop database if exists {name} with (force)")


@pytest.mark.row("S10")
async def test_what_the_database_is_may_not_be_asked(connect, server):
    """A careful administrator: types are learnt all the same, by each connection for itself."""
    registry = pgoxide.TypeRegistry()
    admin = await connect()
    name = f"careful_{next(_schemas)}"
    try:
        await admin.execute(f"create database {name}")
        owner = await connect(database=name)
        await owner.execute_script(
            f"create type mood as enum ('sad', 'ok'); create role {name} login;"
            "revoke execute on function pg_catalog.pg_control_system() from public"
        )
        for _ in range(2):
            db = await connect(database=name, user=name, type_registry=registry)
            assert await db.fetch_value("select $1::mood[]", ["ok", "sad"]) == ["ok", "sad"]
            await db.close()
        assert len(registry) == 0
        await owner.close()
    finally:
        await admin.execute(f"drop database if exists {name} with (force)")
        await admin.execute(f"drop role if exists {name}")


async def test_nobody_fools_the_question(db, schema):
    """Whatever stands first in the search path, the catalogs are meant."""
    await db.execute_script(
        f"set search_path = {schema}, pg_catalog; create table pg_type (oid oid); create table pg_range (x int);"
        "create function unnest(oid[]) returns setof oid language sql as 'select 1::oid'"
    )
    assert await db.fetch_one("select d, m from t") == (EXPECTED, "ok")


async def test_in_a_transaction(db, schema):
    await db.execute("begin")
    await db.execute(f"set local search_path = {schema}")
    await db.execute("create type inside as (m mood)")
    assert await db.fetch_value("select $1::inside", ("ok",)) == ("ok",)
    await db.execute("rollback")
    assert await db.fetch_value(f"select 'ok'::{schema}.mood") == "ok"


async def test_in_a_failed_transaction(db, schema):
    """Nothing can be asked there: the server says so, and afterwards it is asked."""
    await db.execute("begin")
    with pytest.raises(Error):
        await db.execute("select 1/0")
    with pytest.raises(InFailedSqlTransaction):
        await db.fetch_value(f"select 'ok'::{schema}.mood")
    await db.execute("rollback")
    assert await db.fetch_value(f"select array['ok']::{schema}.mood[]") == ["ok"]


@pytest.mark.parametrize("face", ["async"])
async def test_a_question_that_comes_into_a_failed_transaction(db, schema):
    """The description came in time, the question did not."""
    await db.execute("begin")
    failing = db.execute("select 1/0 -- written behind the description, in front of the question")
    value = db.fetch_value(f"select array['ok']::{schema}.mood[]")
    results = await asyncio.gather(value, failing, return_exceptions=True)
    assert isinstance(results[0], InFailedSqlTransaction), results
    await db.execute("rollback")
    assert await db.fetch_value(f"select array['ok']::{schema}.mood[]") == ["ok"]


@pytest.mark.parametrize("face", ["async"])
async def test_many_at_once(connect, proxy, schema):
    """Calls that wait for the same types wait for one question, and keep their order."""
    relay = proxy()
    db = await connect(to=relay)
    await db.execute(f"set search_path = {schema}")
    sql = "select $1::pair as p, $2::int4 as i"
    rows = await asyncio.gather(*(db.fetch_one(sql, (i, "ok"), i) for i in range(100)))
    assert rows == [((i, "ok"), i) for i in range(100)]
    assert questions(relay) == 1
    values = await asyncio.gather(
        db.fetch_value("select m from t"), db.fetch_value("select 1"), db.fetch_value("select d from t")
    )
    assert values == ["ok", 1, EXPECTED]


async def test_declared_types(db, schema):
    """A statement whose types are declared is described and run in one flight: its rows are read once their types are known."""
    assert await db.fetch_one(f"select d, m, $1 as n from {schema}.t", 7, types=["int4"]) == (
        EXPECTED,
        "ok",
        7,
    )
    rows = await db.fetch_all(f"select d, i from {schema}.t, generate_series(1, $1) i", 3, types=["int4"])
    assert rows == [(EXPECTED, i) for i in (1, 2, 3)]
    oid = await db.fetch_value("select $1::regtype::oid", f"{schema}.pair", types=["text"])
    for _ in range(2):
        assert await db.fetch_value("select ($1).m::text", (7, "sad"), types=[oid]) == "sad"


async def test_scripts(db, schema):
    """The simple protocol describes its rows only when they come: they wait for their types."""
    script = await db.execute_script(
        f"select 1 as one; select d, m from {schema}.t; create table {schema}.u (); select m from {schema}.t"
    )
    assert [result.rows for result in script] == [[(1,)], [(EXPECTED, "ok")], [], [("ok",)]]
    assert [result.tag.text for result in script] == ["SELECT 1", "SELECT 1", "CREATE TABLE", "SELECT 1"]


async def test_batches(db, schema):
    async with db.batch() as batch:
        one = batch.fetch_all(f"select d from {schema}.t")
        two = batch.fetch_value(f"select $1::{schema}.mood", "sad")
    assert (one.result(), two.result()) == ([(EXPECTED,)], "sad")


async def test_streams(db, schema):
    async with db.stream(
        f"select d, i from {schema}.t, generate_series(1, 2500) i order by i", batch=1000
    ) as stream:
        rows = [row async for row in stream]
    assert [row.i for row in rows] == list(range(1, 2501))
    assert rows[-1].d == EXPECTED
    # What is in an anonymous record nothing announces, and a stream hands rows out as they come.
    await db.execute(f"create type {schema}.fresh as enum ('x')")
    with pytest.raises(Error, match="did not announce"):
        async with db.stream(f"select row('x'::{schema}.fresh)") as stream:
            [row async for row in stream]
    assert await db.fetch_value("select 1") == 1


async def test_execute_many(db, schema):
    await db.execute(f"create table {schema}.many (p {schema}.pair)")
    await db.execute_many(f"insert into {schema}.many values ($1)", [((i, "ok"),) for i in range(100)])
    assert await db.fetch_value(f"select count(*) from {schema}.many where (p).m = 'ok'") == 100


async def test_into(db, schema):
    rows = await db.fetch_all(f"select m as a from {schema}.t", into=dict)
    assert rows == [{"a": "ok"}]


async def test_fetch_from_a_cursor_of_other_types(db, schema):
    """A FETCH is described each time it runs: what it returns may be of types that were never met."""
    await db.execute("begin")
    await db.execute(f"declare c cursor for select m, d from {schema}.t")
    assert await db.fetch_one("fetch 1 from c") == ("ok", EXPECTED)
    await db.execute("rollback")


@pytest.mark.row("T02")
async def test_a_value_that_cannot_be_read(db, schema):
    """Of rows that waited for their types: the call fails, the connection goes on."""
    await db.execute_script(f"set search_path = {schema}; create type dated as (d date, m mood)")
    for _ in range(2):
        with pytest.raises(DataError, match=r'column "v" .dated.: field "d": the date infinity is outside'):
            await db.fetch_all(
                "select row('infinity', 'ok')::dated as v from generate_series(1, $1)", 3, types=["int4"]
            )
        assert await db.fetch_value("select 1") == 1


async def test_a_type_that_is_gone(db, schema):
    """Dropped between description and question, as far as the driver can tell: it is text."""
    assert await db.fetch_value(f"select 'ok'::{schema}.mood") == "ok"
    with pytest.raises(Error):
        await db.fetch_value("select $1", "x", types=[4_000_000_000])
    assert await db.fetch_value("select 1") == 1


async def test_jit_and_many_types(connect, schema):
    """As asyncpg #530: with the just-in-time compiler eager and a catalog of many types the question stays quick."""
    db = await connect()
    await db.execute(f"set search_path = {schema}")
    await db.execute(
        "do $$ begin for i in 1..3000 loop execute format('create type many_%s as (a int4, m mood)', i); end loop; end $$"
    )
    await db.execute_script("analyze pg_type; analyze pg_attribute; set jit = on; set jit_above_cost = 0")
    began = time.perf_counter()
    assert await db.fetch_one("select d, row(1, 'ok')::many_7 as x, $1::many_9 as y from t", (1, "sad")) == (
        EXPECTED,
        (1, "ok"),
        (1, "sad"),
    )
    assert time.perf_counter() - began < 20  # seconds: a bound for a hang, not a measurement


async def test_the_compiler_is_as_it_was(connect, proxy, schema):
    """It is off for the question only, also inside a transaction; and the question is asked in one flight."""
    relay = proxy()
    db = await connect(to=relay, options="-c jit=on -c jit_above_cost=0")
    await db.fetch_value("select 1")
    await db.execute("begin")
    relay.forget()
    assert await db.fetch_value(f"select 'ok'::{schema}.mood") == "ok"
    assert relay.sent.count("S") == 3  # the description, the question, the run
    assert await db.fetch_value("show jit") == "on"
    await db.execute("rollback")
    db.reload_types()
    assert await db.fetch_value(f"select 'sad'::{schema}.mood") == "sad"
    assert await db.fetch_value("show jit") == "on"
    await db.execute("set jit = off")
    db.reload_types()
    await db.execute("begin")
    assert await db.fetch_value(f"select 'ok'::{schema}.mood") == "ok"
    assert await db.fetch_value("show jit") == "off"
    await db.execute("rollback")


PLANNED = (
    "jit",
    "enable_seqscan",
    "enable_indexscan",
    "enable_nestloop",
    "enable_bitmapscan",
    "random_page_cost",
)


@pytest.mark.parametrize(
    "options",
    [
        "-c enable_nestloop=off",
        "-c enable_indexscan=off -c enable_bitmapscan=off -c enable_indexonlyscan=off",
        "-c random_page_cost=1000",
        "-c enable_seqscan=off -c enable_nestloop=off -c jit=on",
    ],
)
async def test_however_the_session_plans_the_question_goes_by_indexes(connect, proxy, schema, options):
    """And the session plans as before, in a transaction too; the question is one flight."""
    relay = proxy()
    db = await connect(to=relay, options=options)
    settings = f"select {', '.join(f'current_setting({name!r})' for name in PLANNED)}"
    scanned = "select " + ", ".join(
        f"pg_stat_get_xact_numscans('pg_catalog.{name}'::regclass)"
        for name in ("pg_type", "pg_attribute", "pg_depend", "pg_enum", "pg_range")
    )
    before = await db.fetch_one(settings)
    await db.execute("begin")
    assert await db.fetch_one(scanned) == (0,) * 5
    relay.forget()
    assert await db.fetch_value(f"select null::{schema}.deep") is None
    assert questions(relay) == 1
    assert relay.sent.count("S") == 3  # the description, the question, the run
    assert await db.fetch_one(scanned) == (0,) * 5
    assert await db.fetch_one(settings) == before
    await db.execute("set local enable_nestloop = off")
    db.reload_types()
    assert await db.fetch_value(f"select null::{schema}.pair") is None
    assert await db.fetch_value("show enable_nestloop") == "off"
    await db.execute("commit")
    assert await db.fetch_one(settings) == before
    db.reload_types()
    assert await db.fetch_value(f"select 'sad'::{schema}.mood") == "sad"
    assert await db.fetch_one(settings) == before


@pytest.mark.slow
@pytest.mark.parametrize("face", ["blocking"])
async def test_a_hundred_thousand_types(connect):
    """Never analysed, with the compiler as it is by default, and eager: each question is answered in milliseconds, and right."""
    db = await connect()
    await db.execute("drop database if exists many_types")
    await db.execute("create database many_types")
    many = await connect(database="many_types")
    for first in range(0, 100_000, 4_000):
        await many.execute_script(
            f"do $$ begin for i in {first}..{first + 3_999} by 4 loop execute format("
            "'create type e%1$s as enum (''x''); create domain d%1$s as int4; create type c%1$s as (a int4, e e%1$s, d d%1$s);"
            " create type o%1$s as (one c%1$s, many c%1$s[])', i); end loop; end $$"
        )
    assert await many.fetch_value("select count(*) from pg_type") > 200_000  # each with its array type
    await many.close()
    for options in (
        "",
        "-c jit=on",
        "-c jit=on -c jit_above_cost=0 -c jit_inline_above_cost=0 -c jit_optimize_above_cost=0",
    ):
        many = await connect(database="many_types", options=options)
        for number in (0, 99_996):
            one, took = (1, "x", 2), []
            for _ in range(3):
                many.reload_types()
                began = time.perf_counter()
                value = await many.fetch_value(f"select $1::o{number}", (one, [one, None]))
                took.append(time.perf_counter() - began)
                assert value == (one, [one, None])
            print(options, number, [f"{seconds * 1000:.1f} ms" for seconds in took])
            assert min(took) < 0.15  # seconds; 0.26 when the question was compiled, 0.03 now
        wide = ", ".join(f"null::o{number}" for number in range(0, 6_400, 4))
        began = time.perf_counter()
        assert await many.fetch_one(f"select {wide}") == (None,) * 1_600
        assert time.perf_counter() - began < 5
        await many.close()
    await db.execute("drop database many_types")


@pytest.mark.parametrize("face", ["async"])
@pytest.mark.row("K03")
async def test_a_time_limit_holds_while_types_are_asked_for(connect, proxy, schema):
    relay = proxy(delay=0.15)
    db = await connect(to=relay)
    with pytest.raises(QueryTimeout):
        await db.fetch_one(f"select d, $1 as n from {schema}.t", 7, types=["int4"], timeout=0.45)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_given_up_while_types_are_asked_for(connect, proxy, schema):
    relay = proxy(delay=0.1)
    db = await connect(to=relay)
    task = asyncio.ensure_future(db.fetch_value(f"select d from {schema}.t"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.fetch_value(f"select d from {schema}.t") == EXPECTED


async def test_the_connection_ends_while_types_are_asked_for(connect, proxy, schema):
    relay = proxy(alter=lambda kind, message: message)
    db = await connect(to=relay)
    await db.fetch_value("select 1")
    original = relay._put

    def cut(later, data):
        if b"pg_catalog.pg_type" in data:
            relay.close_lines() if hasattr(relay, "close_lines") else original(later, b"")
            return
        original(later, data)

    relay._put = cut
    with pytest.raises(Error):
        await db.fetch_one(f"select d, $1 as n from {schema}.t", 7, types=["int4"])
    assert db.closed


def test_type_registry_is_small():
    registry = pgoxide.TypeRegistry()
    assert len(registry) == 0
    registry.clear()


@pytest.mark.row("V31")
async def test_pseudo_types(db, schema):
    """What has no type of its own to speak of is text."""
    await db.execute(f"set search_path = {schema}")
    assert await db.fetch_value("select 'x'::unknown") == "x"
    assert await db.fetch_value("select 'x'::cstring") == "x"
    assert await db.fetch_value("select enum_first(null::mood)") == "sad"
    assert await db.fetch_value("select enum_range(null::mood)") == ["sad", "ok"]
    # A column of anyarray: each row holds an array of another type.
    await db.execute_script("create table s (a int4); insert into s select generate_series(1, 10); analyze s")
    bounds = await db.fetch_value(
        "select histogram_bounds from pg_catalog.pg_stats where tablename = 's' and schemaname = current_schema"
    )
    assert bounds == "{1,2,3,4,5,6,7,8,9,10}"
