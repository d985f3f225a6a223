"""Parameters by name: `:name` placeholders, on both faces and in every verb."""

from __future__ import annotations

from collections import ChainMap, UserDict, defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import AsyncPool, Pool, Statement, errors
from pgoxide.errors import DataError, InterfaceError, UndefinedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.pg, pytest.mark.row("Q06")]

SUM = "select :a::int4 + :b::int4"


async def test_by_keyword_and_by_mapping(db: Any) -> None:
    assert await db.fetch_value(SUM, a=1, b=2) == 3
    assert await db.fetch_value(SUM, b=2, a=1) == 3
    assert await db.fetch_value(SUM, params={"b": 20, "a": 10}) == 30
    assert await db.fetch_value("select $1::int4 + $2::int4", 1, 2) == 3


@pytest.mark.parametrize(
    "mapping",
    [
        dict,
        MappingProxyType,
        UserDict,
        lambda values: ChainMap({}, values),
        lambda values: defaultdict(int, values),
    ],
)
async def test_any_mapping(db: Any, mapping: Callable[[dict[str, int]], Mapping[str, int]]) -> None:
    assert await db.fetch_value(SUM, params=mapping({"a": 1, "b": 2})) == 3
    with pytest.raises(InterfaceError, match="no value for :b"):
        await db.fetch_value(SUM, params=mapping({"a": 1}))


async def test_one_name_is_one_parameter(db: Any) -> None:
    row = await db.fetch_one("select :a::int4 as x, :b::text as y, :a + 1 as z", a=1, b="two")
    assert row == (1, "two", 2)
    assert await db.fetch_value("select :a::text || :a || :a", a="x") == "xxx"


async def test_every_verb(db: Any) -> None:
    one = "select * from (values (1), (2)) as t(n) where n = :n"
    assert await db.fetch_all(one, n=2) == [(2,)]
    assert (await db.fetch_one(one, n=2)).n == 2
    assert await db.fetch_optional(one, n=3) is None
    assert await db.fetch_first(one, n=1) == (1,)
    assert await db.fetch_value(one, n=1) == 1
    assert await db.fetch_column(one, n=1, into=int) == [1]
    assert (await db.execute("select :n::int4", n=1)).rows_affected == 1
    async with db.stream(
        "select n from generate_series(1, :last) as n", last=5, batch=2, into=int
    ) as numbers:
        assert [n async for n in numbers] == [1, 2, 3, 4, 5]
    async with db.batch() as batch:
        first = batch.fetch_value(one, n=1)
        second = batch.fetch_all(one, params={"n": 2}, into=int)
        third = batch.fetch_one(one, n=1)
        fourth = batch.fetch_optional(one, n=7)
        fifth = batch.fetch_first(one, n=1)
        sixth = batch.fetch_column(one, n=2)
        tag = batch.execute(one, n=1)
    assert (first.result(), second.result(), third.result(), fourth.result()) == (1, [2], (1,), None)
    assert (fifth.result(), sixth.result(), tag.result().rows_affected) == ((1,), [2], 1)


async def test_execute_many(db: Any) -> None:
    await db.execute("create temp table named (a int4, b text)")
    sql = "insert into named values (:a, :b || :a::int4)"
    tag = await db.execute_many(sql, ({"b": "x", "a": n} for n in range(1000)))
    assert tag.rows_affected == 1000
    assert await db.fetch_one("select * from named where a = 7") == (7, "x7")
    assert (await db.execute_many(Statement(sql), [{"a": 1, "b": None}])).rows_affected == 1
    with pytest.raises(DataError, match=r"record 1: no value for :b"):
        await db.execute_many(sql, [{"a": 1, "b": ""}, {"a": 1}])
    with pytest.raises(DataError, match=r"record 0: no placeholder :c in the text, which has :a, :b"):
        await db.execute_many(sql, [{"a": 1, "b": "", "c": 2}])
    with pytest.raises(DataError, match="one mapping of names to values"):
        await db.execute_many(sql, [(1, "x")])
    # A dict is no sequence: its keys are not its values.
    with pytest.raises(DataError, match="no placeholder with a name"):
        await db.execute_many("insert into named values ($1, $2)", [{"a": 1, "b": "x"}])
    assert await db.fetch_value("select count(*) from named") == 1001


async def test_statement(db: Any) -> None:
    statement = Statement(SUM, {"b": 2, "a": 1}, into=int)
    assert await db.fetch_all(statement) == [3]
    typed = Statement("select :a, :b", {"b": "two", "a": 1}, types={"a": "int8", "b": "text"})
    assert await db.fetch_one(typed) == (1, "two")
    async with db.batch() as batch:
        reply = batch.fetch_value(statement)
    assert reply.result() == 3
    with pytest.raises(InterfaceError, match="brings its own parameters"):
        await db.fetch_all(statement, a=1)
    with pytest.raises(InterfaceError, match="no value for :b"):
        await db.fetch_all(Statement(SUM, {"a": 1}))


async def test_types(db: Any) -> None:
    assert await db.fetch_one("select :a, :b, :a", b="x", a=1, types={"a": "int2", "b": "text"}) == (
        1,
        "x",
        1,
    )
    kinds = "select pg_typeof(:a)::text, pg_typeof(:b)::text"
    assert await db.fetch_one(kinds, b=None, a=None, types={"b": "int2", "a": "date"}) == ("date", "smallint")
    assert await db.fetch_one(kinds, b=None, a=None, types={"b": 25, "a": 16}) == ("boolean", "text")
    with pytest.raises(InterfaceError, match=r"types: no value for :b"):
        await db.fetch_one(kinds, b=None, a=None, types={"a": "int4"})
    with pytest.raises(InterfaceError, match="as a mapping"):
        await db.fetch_one(kinds, b=None, a=None, types=["int4", "int4"])


async def test_a_name_that_is_an_option(db: Any) -> None:
    sql = "select :timeout::int4 + :n::int4"
    assert await db.fetch_value(sql, params={"timeout": 1, "n": 2}, timeout=30) == 3
    with pytest.raises(InterfaceError, match=r'timeout is an option of the call.*params=\{"timeout": …\}'):
        await db.fetch_value(sql, n=2, timeout=1)
    # Without another name nothing tells that this was meant by name, until the server does.
    with pytest.raises(errors.SyntaxError) as caught:
        await db.fetch_value("select :timeout", timeout=1)
    assert caught.value.hint is not None
    assert "params={'timeout': …}" in caught.value.hint


async def test_refused_before_anything_is_sent(connect: Any, proxy: Any) -> None:
    relay = proxy()
    db = await connect(to=relay)
    sent = len(relay.sent)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("no value for :b", (SUM,), {"a": 1}),
        (
            "no placeholder :c in the text, which has :a, :b; nor is that an option of the call",
            (SUM,),
            {"a": 1, "b": 2, "c": 3},
        ),
        ("no value for :a, :b; no placeholder :A", (SUM,), {"A": 1}),
        ("no placeholder :a in the text, which has none", ("select 1",), {"a": 1}),
        (r"numbered placeholder \(character 12\)", ("select :a, $1",), {"a": 1}),
        ("by position .* or by name", ("select :a, $1", 1), {"a": 1}),
        ("by position .* or by name", (SUM, 1), {"params": {"a": 1, "b": 2}}),
        ("keywords or params=, not both", (SUM,), {"params": {"a": 1}, "b": 2}),
        ("one mapping", (SUM,), {"params": [1, 2]}),
        ("one mapping", (SUM,), {"params": "ab"}),
        ("no placeholder :7", (SUM,), {"params": {"a": 1, "b": 2, 7: 3}}),
        ("no value for :a", (SUM,), {"params": {}}),
    ]
    for message, args, options in calls:
        with pytest.raises(InterfaceError, match=message):
            await db.fetch_all(*args, **options)
        with pytest.raises(InterfaceError, match=message):
            db.stream(*args, **options)
    assert len(relay.sent) == sent
    assert await db.fetch_value(SUM, a=1, b=2) == 3


async def test_nothing_by_name_nothing_rewritten(db: Any) -> None:
    """Without values by name a colon is a colon."""
    await db.execute("create temp table slices (a int4[], n int4)")
    await db.execute("insert into slices values ('{1,2,3}', 2)")
    assert await db.fetch_value("select (a[:n])::text from slices") == "{1,2}"
    assert await db.fetch_value("select (a[$1:n])::text from slices", 2) == "{2}"
    # By name it is the element of that number; the slice up to it has a colon of its own.
    assert await db.fetch_value("select (a[:n])::text from slices", n=1) == "1"
    assert await db.fetch_value("select (a[: n])::text from slices", params={}) == "{1,2}"
    assert await db.fetch_value("select (a[n:n])::text from slices where n = :two", two=2) == "{2}"
    assert await db.fetch_value("select (a[: :two])::text from slices", two=1) == "{1}"


async def test_what_is_not_code(db: Any) -> None:
    sql = """select ':a', E'\\':a', $$:a$$, $x$ $$ :a $x$, U&'\\0041:a' as ":a", B'01'::text -- :a
             , /* :a /* :a */ :a */ '{"a": 1}'::jsonb ? :key, '{"a": [3]}'::jsonb @? '$.a[*] ? (@ > 2)', 7::int4, :key"""
    row = await db.fetch_one(sql, key="a")
    assert tuple(row) == (":a", "':a", ":a", " $$ :a ", "A:a", "01", True, True, 7, "a")
    assert row[":a"] == "A:a"


async def test_strings_that_do_not_conform(db: Any) -> None:
    """Whether a backslash ends a string is the session's setting; it reports it."""
    text = r"select '\':a', :a::text"
    await db.execute("set standard_conforming_strings = off")
    await db.execute("set escape_string_warning = off")
    assert await db.fetch_one(text, a="x") == ("':a", "x")
    await db.execute("set standard_conforming_strings = on")
    with pytest.raises((errors.SyntaxError, InterfaceError)):
        await db.fetch_one(text, a="x")
    assert await db.fetch_one(r"select '\', :a::text", a="x") == ("\\", "x")


async def test_values_stay_values(db: Any) -> None:
    hostile = "'; drop table users; -- $$ :a $1"
    assert await db.fetch_one("select :a::text, :b::text", a=hostile, b=":a") == (hostile, ":a")


async def test_errors_speak_of_names(db: Any) -> None:
    with pytest.raises(DataError, match=r"argument :b \(int4\): expected int, got str 'x'"):
        await db.fetch_value(SUM, a=1, b="x")
    # Now that the statement is described, and in a batch.
    with pytest.raises(DataError, match=r"argument :b \(int4\)"):
        await db.fetch_value(SUM, a=1, b="x")
    with pytest.raises(DataError, match=r"argument :b \(int4\)"):
        async with db.batch() as batch:
            batch.fetch_value(SUM, a=1, b="x")
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(DataError, match=r"argument :whatever"):
        await db.fetch_value("select :whatever::json", whatever=cyclic)

    sql = "select :longer_name::int4, nonsense, :b::text"
    with pytest.raises(UndefinedColumn) as caught:
        await db.fetch_all(sql, longer_name=1, b="x")
    assert caught.value.statement == sql
    assert caught.value.position == sql.index("nonsense") + 1
    with pytest.raises(DataError) as late:
        await db.fetch_all("select 1 / :zero::int4, :b::text", zero=0, b="é")
    assert "PARAMETERS:  :zero ($1) int4, :b ($2) text" in str(late.value)
    assert late.value.parameter_names == ("zero", "b")


async def test_positions_count_the_text_as_written(db: Any) -> None:
    sql = "select 'é', :a::int4,\n  :a + :b::int4 + nonsense"
    with pytest.raises(UndefinedColumn) as caught:
        await db.fetch_all(sql, a=1, b=2)
    shown = str(caught.value).splitlines()
    assert shown[1] == "LINE 2:   :a + :b::int4 + nonsense"
    assert shown[1][shown[2].index("^") :] == "nonsense"


async def test_hints(db: Any) -> None:
    for sql, hint in [
        ("select :a", "by name"),
        ("select %s", r"\$1"),
        ("select * from pg_class where oid=%s", r"\$1"),
        ("select * from pg_class where oid = %(oid)s", r"\$1"),
        ("select * from pg_class where oid=%(oid)s", r"\$1"),
        ("select {}", r"\$1"),
        ("select {name}", r"\$1"),
    ]:
        with pytest.raises(Exception, match=hint) as caught:
            await db.fetch_all(sql)
        assert caught.value.hint is not None, sql


async def test_the_same_text_is_rewritten_once(connect: Any) -> None:
    db = await connect()
    for _ in range(3):
        await db.fetch_value(SUM, a=1, b=2)
        await db.fetch_value(SUM, params={"a": 1, "b": 2})
    assert db.statement_cache["misses"] == 1
    assert db.statement_cache["hits"] == 5
    # By other names it is another statement, whose errors show another text.
    assert await db.fetch_value("select :x::int4 + :y::int4", x=1, y=2) == 3
    assert db.statement_cache["misses"] == 2


@pytest.mark.parametrize("size", [0, 1, 3])
async def test_small_caches(connect: Any, size: int) -> None:
    db = await connect(statement_cache_size=size)
    for _ in range(2):
        for number in range(6):
            assert await db.fetch_value(f"select :a::int4 + {number}", a=1) == 1 + number


async def test_arguments_are_taken_during_the_call(db: Any) -> None:
    values: dict[str, Any] = {"a": [1, 2]}
    reply = db.fetch_value("select :a::json", params=values)
    values["a"].append(3)
    values["b"] = 1
    assert await reply == [1, 2]


async def test_many_names(db: Any) -> None:
    values = {f"p{n}": n for n in range(2000)}
    sql = "select " + " + ".join(f":p{n}::int8" for n in values.values())
    assert await db.fetch_value(sql, params=values) == sum(values.values())


async def test_unusual_names(db: Any) -> None:
    assert await db.fetch_one("select :größe::int4, :_::int4, :a1::int4", größe=1, _=2, a1=3) == (1, 2, 3)
    assert await db.fetch_one(
        "select :a$b::int4, :self::int4, :args::int4", params={"a$b": 1, "self": 2, "args": 3}
    ) == (1, 2, 3)
    assert await db.fetch_one(
        "select :self::int4, :args::int4, :statement::int4", self=1, args=2, statement=3
    ) == (1, 2, 3)


async def test_prepared(db: Any) -> None:
    """`prepare` sees the text before any values: it goes by name when it has a name, and no `$1`."""
    statement = await db.prepare(SUM)
    assert await statement.fetch_value(a=1, b=2) == 3
    assert await statement.fetch_value(params={"b": 20, "a": 10}) == 30
    assert (await statement.execute_many([{"a": 1, "b": 2}])).rows_affected == 1
    for wrong, options in [((1, 2), {}), ((), {"a": 1}), ((), {"a": 1, "b": 2, "c": 3})]:
        with pytest.raises(InterfaceError):
            await statement.fetch_value(*wrong, **options)
    with pytest.raises(DataError, match=r"argument :b \(int4\)"):
        await statement.fetch_value(a=1, b="x")
    assert statement.sql == SUM
    await statement.close()
    typed = await db.prepare("select :a, :b", types={"b": "text", "a": "int8"})
    assert await typed.fetch_one(b="x", a=1) == (1, "x")
    await typed.close()


async def test_on_a_pool(face: str, runner: Any, dsn: str) -> None:
    if face == "async":
        async with AsyncPool(dsn) as pool:
            assert await pool.fetch_value(SUM, a=1, b=2) == 3
            assert await pool.fetch_value("select :timeout::int4", params={"timeout": 7}) == 7
            assert (await pool.execute_many(SUM, [{"a": 1, "b": 2}])).rows_affected == 1
            with pytest.raises(InterfaceError, match="no value for :b"):
                await pool.fetch_value(SUM, a=1)
    else:
        with Pool(dsn) as shared:
            assert shared.fetch_value(SUM, a=1, b=2) == 3
            assert shared.fetch_value("select :timeout::int4", params={"timeout": 7}) == 7
            assert shared.execute_many(SUM, [{"a": 1, "b": 2}]).rows_affected == 1
            with pytest.raises(InterfaceError, match="no value for :b"):
                shared.fetch_value(SUM, a=1)
