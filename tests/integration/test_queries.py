"""Statements and the verbs: both protocols, parameters, NULL, row counts, odd shapes of results."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from pgoxide.errors import (
    DataError,
    DivisionByZero,
    Error,
    InterfaceError,
    MultipleRows,
    NoRow,
    SyntaxError,  # noqa: A004  42601, PostgreSQL's
    UniqueViolation,
)
from pgoxide.statement import Statement

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]


# ---- Q01, the simple protocol


@pytest.mark.row("Q01")
async def test_a_script_returns_rows_and_tag_of_each_statement(db):
    results = await db.execute_script(
        "create temp table t (n int); insert into t values (1), (2); select n, 'x' as s from t order by n; ; set work_mem = '5MB'"
    )
    assert [str(result.tag) for result in results] == ["CREATE TABLE", "INSERT 0 2", "SELECT 2", "SET"]
    assert [result.tag.rows_affected for result in results] == [None, 2, 2, None]
    assert [result.rows for result in results] == [[], [], [(1, "x"), (2, "x")], []]
    assert results[2].rows[0].s == "x"


@pytest.mark.row("Q01")
async def test_an_error_in_a_script_stops_the_rest_and_says_which_statement(db):
    await db.execute("create temp table t (n int)")
    with pytest.raises(DivisionByZero) as caught:
        await db.execute_script("select 1; select 2; select 1/0; insert into t values (1)")
    assert await db.fetch_value("select count(*) from t") == 0
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "3" in told
    assert "statement" in told.lower()


@pytest.mark.row("Q01")
async def test_a_script_is_one_transaction_unless_it_says_otherwise(db):
    await db.execute("create temp table t (n int primary key)")
    with pytest.raises(UniqueViolation):
        await db.execute_script("insert into t values (1); insert into t values (1)")
    assert await db.fetch_value("select count(*) from t") == 0
    with pytest.raises(UniqueViolation):
        await db.execute_script("begin; insert into t values (1); commit; insert into t values (1)")
    assert await db.fetch_value("select count(*) from t") == 1


@pytest.mark.row("Q01")
async def test_a_script_with_a_syntax_error_runs_nothing_and_shows_the_line(db):
    await db.execute("create temp table t (n int)")
    with pytest.raises(SyntaxError) as caught:
        await db.execute_script("insert into t values (1);\nselect 'é';\nselec * from t")
    assert "LINE 3: selec * from t\n        ^" in str(caught.value)
    assert await db.fetch_column("select * from t") == []


# ---- Q02, the extended protocol


@pytest.mark.row("Q02")
async def test_columns_without_a_codec_are_text_beside_binary_ones(db):
    sql = "select 'postgres=r/postgres'::aclitem as a, 1 as n, 'a & b'::tsquery as q, 1.50 as d"
    for _ in range(3):
        row = await db.fetch_one(sql)
        assert row == ("postgres=r/postgres", 1, "'a' & 'b'", Decimal("1.50"))
        assert list(map(type, row)) == [str, int, str, Decimal]


@pytest.mark.row("Q02")
@pytest.mark.parametrize(
    "kinds", [kinds for n in range(1, 5) for kinds in product("tb", repeat=n)], ids="".join
)
async def test_the_format_is_chosen_column_by_column(db, kinds):
    """Every order of columns with (b) and without (t) a codec."""
    columns = {"t": ("'a'::tsquery", "'a'"), "b": ("7", 7)}
    sql = f"select {', '.join(columns[kind][0] for kind in kinds)}"
    expected = tuple(columns[kind][1] for kind in kinds)
    for _ in range(2):
        assert await db.fetch_all(sql) == [expected]
        async with db.stream(sql) as rows:
            assert [row async for row in rows] == [expected]
        async with db.batch() as batch:
            one = batch.fetch_one(sql)
        assert one.result() == expected


@pytest.mark.row("Q02")
async def test_parameters_without_a_codec_are_their_text(db):
    for _ in range(2):
        row = await db.fetch_one("select $1::aclitem, $2::tsquery, $3::int4", "postgres=r/postgres", "a|b", 7)
        assert row == ("postgres=r/postgres", "'a' | 'b'", 7)


# ---- Q03 and Q04, the verbs

THREE = "select n from generate_series(1, 3) n"
NONE = "select 1 where false"
ONE = "select 7 as n, 'x' as s"


@pytest.mark.row("Q03")
async def test_what_each_verb_gives(db):
    for _ in range(2):  # undescribed, described
        assert await db.fetch_all(THREE) == [(1,), (2,), (3,)]
        assert await db.fetch_one(ONE) == (7, "x")
        assert await db.fetch_optional(ONE) == (7, "x")
        assert await db.fetch_optional(NONE) is None
        assert await db.fetch_first(THREE) == (1,)
        assert await db.fetch_first(NONE) is None
        assert await db.fetch_value("select 7") == 7
        assert await db.fetch_column(THREE) == [1, 2, 3]
        assert await db.fetch_column(NONE) == []
        assert await db.fetch_all(NONE) == []


@pytest.mark.row("Q03")
@pytest.mark.parametrize(
    ("sql", "tag", "rows"),
    [
        ("create temp table u (n int)", "CREATE TABLE", None),
        ("insert into t select generate_series(1, 3)", "INSERT 0 3", 3),
        ("update t set n = n + 1", "UPDATE 2", 2),
        ("delete from t where n = 10", "DELETE 1", 1),
        ("delete from t where false", "DELETE 0", 0),
        ("select * from t", "SELECT 2", 2),
        ("begin", "BEGIN", None),
        ("", "", None),
    ],
)
async def test_execute_gives_the_tag(db, sql, tag, rows):
    await db.execute_script("create temp table t (n int); insert into t values (10), (20)")
    found = await db.execute(sql)
    assert (found.text, found.rows_affected, str(found)) == (tag, rows, tag)


@pytest.mark.row("Q03", "Q04")
@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("fetch_first", None),
        ("fetch_one", MultipleRows),
        ("fetch_optional", MultipleRows),
        ("fetch_value", MultipleRows),
    ],
)
async def test_a_row_count_never_cuts_a_statement_short(db, verb, outcome):
    await db.execute("create temp table t (n int)")
    for times in (1, 2):
        call = getattr(db, verb)
        if outcome is None:
            assert await call("insert into t select generate_series(1, 3) returning n") == (1,)
        else:
            with pytest.raises(outcome, match="3 rows"):
                await call("insert into t select generate_series(1, 3) returning n")
        assert await db.fetch_value("select count(*) from t") == 3 * times


@pytest.mark.row("Q04")
@pytest.mark.parametrize(
    ("verb", "sql", "error"),
    [
        ("fetch_one", NONE, NoRow),
        ("fetch_one", THREE, MultipleRows),
        ("fetch_optional", THREE, MultipleRows),
        ("fetch_value", NONE, NoRow),
        ("fetch_value", THREE, MultipleRows),
        ("fetch_value", ONE, InterfaceError),
        ("fetch_column", ONE, InterfaceError),
        ("fetch_value", "select", InterfaceError),
    ],
)
async def test_exactly_one(db, verb, sql, error):
    for _ in range(3):
        with pytest.raises(error, match=verb) as caught:
            await getattr(db, verb)(sql)
        assert type(caught.value) is error
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("Q04")
async def test_null_is_a_value(db):
    for _ in range(2):
        assert await db.fetch_value("select null::int") is None
        assert await db.fetch_one("select null::int") == (None,)
        assert await db.fetch_optional("select null::int") == (None,)
        assert await db.fetch_column("select null::int") == [None]


@pytest.mark.row("Q04")
async def test_two_columns_are_refused_before_executing_when_known(db):
    await db.execute("create temp table t (n int)")
    sql = "insert into t values ($1) returning n, n"
    assert await db.fetch_all(sql, 1) == [(1, 1)]
    with pytest.raises(InterfaceError, match="one column"):
        await db.fetch_value(sql, 2)
    assert await db.fetch_column("select n from t") == [1]


@pytest.mark.row("Q03")
@pytest.mark.parametrize("name", ["fetch", "fetchrow", "fetchval", "executemany", "scalar", "commit"])
async def test_other_spellings_do_not_exist_and_are_explained(db, name):
    real = getattr(db, "real", db)
    for owner in (real, type(real)):
        assert not hasattr(owner, name)
        with pytest.raises(AttributeError, match="in pgoxide: "):
            getattr(owner, name)
    assert name not in dir(real)


@pytest.mark.row("Q03")
async def test_a_statement_brings_its_parameters_and_row_type(db):
    assert await db.fetch_all(Statement("select $1::int + $2::int as n", (1, 2))) == [(3,)]
    assert await db.fetch_one(Statement("select $1::int as n", (4,), into=dict, types=["int4"])) == {"n": 4}
    with pytest.raises(InterfaceError, match="brings its own"):
        await db.fetch_all(Statement("select $1::int", (1,)), 2)
    for wrong in (7, None, b"select 1"):
        with pytest.raises(InterfaceError, match="SQL text or a Statement"):
            await db.fetch_all(wrong)


# ---- Q05, $n


@pytest.mark.row("Q05")
async def test_a_placeholder_may_be_used_twice_and_out_of_order(db):
    for _ in range(2):
        assert await db.fetch_one("select $2::text, $1::int, $2::text || $2::text, $1 + 1", 5, "a") == (
            "a", 5, "aa", 6,
        )  # fmt: skip


@pytest.mark.row("Q05")
async def test_65535_parameters(db):
    n = 65_535
    sql = "select " + " + ".join(f"${i}::int8" for i in (1, 2, 32_767, 32_768, n)) + f" from (values ({n})) v(x) where " + (
        "x = any(array[" + ",".join(f"${i}::int4" for i in range(6, n + 1) if i not in {32_767, 32_768, n}) + "])"
        " or $3::int4 + $4::int4 + $5::int4 > 0"
    )  # fmt: skip
    arguments = range(1, n + 1)
    for _ in range(2):
        assert await db.fetch_value(sql, *arguments) == 1 + 2 + 32_767 + 32_768 + n


@pytest.mark.row("Q05")
async def test_65536_parameters_are_refused_before_sending(connect, proxy):
    line = proxy()
    db = await connect(to=line)
    sql = "select array[" + ",".join(f"${i}::int4" for i in range(1, 65_537)) + "]::text"
    line.forget()
    with pytest.raises((InterfaceError, DataError), match=r"6553[56]"):
        await db.fetch_value(sql, *range(65_536))
    assert line.sent == ""
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("Q05")
@pytest.mark.parametrize(
    ("sql", "arguments", "message"),
    [
        ("select $1::int", (), "takes 1 parameter, 0 given"),
        ("select $1::int", (1, 2), "takes 1 parameter, 2 given"),
        ("select $1::int + $2::int", (1,), "takes 2 parameters, 1 given"),
        ("select 1", (1,), "takes 0 parameters, 1 given"),
    ],
)
async def test_wrong_number_of_arguments(db, sql, arguments, message):
    for _ in range(2):
        with pytest.raises(Error, match=message) as caught:
            await db.fetch_all(sql, *arguments)
        assert isinstance(caught.value, InterfaceError)
        await db.fetch_value("select 1")


# ---- Q08, argument errors


@pytest.mark.row("Q08")
@pytest.mark.parametrize(
    ("sql_type", "value", "expected", "found"),
    [
        ("bool", 1, "bool", "int 1"),
        ("bool", "t", "bool", "str 't'"),
        ("int2", "1", "int", "str '1'"),
        ("int4", 1.0, "int", "float 1.0"),
        ("int8", Decimal(1), "int", r"Decimal Decimal\('1'\)"),
        ("float4", "1", "float", "str '1'"),
        ("float8", True, "float", "bool True"),
        ("numeric", "1", "Decimal", "str '1'"),
        ("numeric", True, "Decimal", "bool True"),
        ("text", 1, "str", "int 1"),
        ("varchar", b"x", "str", "bytes b'x'"),
        ("bytea", "x", "bytes", "str 'x'"),
        ("uuid", 5, "UUID", "int 5"),
        ("date", "2020-01-01", "date", "str '2020-01-01'"),
        ("timestamp", "now", "datetime", "str 'now'"),
        ("timestamptz", 5, "datetime", "int 5"),
        ("json", {1, 2}, "JSON", r"set \{1, 2\}"),
        ("jsonb", {"a": object()}, "JSON", "object <object object"),
        ("point", 5, "Point", "int 5"),
        ("tsquery", 5, "str", "int 5"),
        ("int4", object(), "int", "object <object object"),
        ("int4", (n for n in ()), "int", "generator <generator"),
        ("text", Path, "str", "type <class"),
    ],
)  # fmt: skip
async def test_a_wrong_type_is_named(db, sql_type, value, expected, found):
    """Position, SQL type, Python type, short repr; before and after the statement is described."""
    sql = f"select $1::int4, $2::{sql_type}"
    for _ in range(2):
        with pytest.raises(DataError, match=rf"(?s)argument \$2.*{sql_type}.*expected .*{expected}.*{found}"):
            await db.fetch_all(sql, 1, value)
    assert await db.fetch_all(sql, 1, None) == [(1, None)]
    with pytest.raises(DataError, match=rf"(?s)argument \$2.*{sql_type}.*expected .*{expected}.*{found}"):
        await db.fetch_all(sql, 1, value)


class Untold:
    """Its repr raises."""

    def __repr__(self):
        raise ValueError("no")


@pytest.mark.row("Q08")
async def test_a_long_repr_is_cut_and_a_raising_one_survived(db):
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            await db.fetch_value("select $1::int4", "x" * 10_000)
        assert len(str(caught.value.message)) < 200
        with pytest.raises(DataError, match=r"argument \$1 \(int4\).*Untold"):
            await db.fetch_value("select $1::int4", Untold())
    assert await db.fetch_value("select 1") == 1


# ---- Q09, NULL


@pytest.mark.row("Q09")
async def test_none_for_a_parameter_of_every_type(db):
    names = await db.fetch_column(
        "select format_type(oid, null) from pg_type where typtype in ('b', 'r', 'm') and typname !~ '^_' order by 1"
    )
    assert len(names) > 60
    for name in names:
        for _ in range(2):
            assert await db.fetch_one(f"select $1::{name} is null, $1::{name}", None) == (True, None), name
        first, second = [await db.fetch_value(f"select null::{name}") for _ in range(2)]
        assert first is second is None, name


@pytest.mark.row("Q09")
async def test_none_for_a_parameter_of_unknown_type(db):
    for _ in range(2):
        assert await db.fetch_value("select $1", None) is None
        assert await db.fetch_value("select coalesce($1, 'x')", None) == "x"


# ---- arguments are frozen by the call


@pytest.mark.row("Q05", "Q08")
async def test_changing_arguments_after_the_call_changes_nothing(db):
    sql = "select $1::bytea, $2::jsonb, $3::json, $4::bytea"
    for _ in range(3):
        raw, items, mapping, viewed = bytearray(b"abc"), [1, [2]], {"a": {"b": 1}}, bytearray(b"xyz")
        answer = db.fetch_one(sql, raw, items, mapping, memoryview(viewed)[::-1])
        raw[0] = 0
        items[1].append(3)
        items.append(4)
        mapping["a"]["b"] = 2
        viewed[0] = 0
        assert await answer == (b"abc", [1, [2]], {"a": {"b": 1}}, b"zyx")


@pytest.mark.row("Q05", "Q08")
@pytest.mark.parametrize("face", ["async"])
async def test_they_are_frozen_while_the_call_waits_behind_others(db):
    sql = "select $1::bytea || $2::bytea"
    answers, raw = [], bytearray(b"a")
    for letter in b"abcdef":
        raw[0] = letter
        answers.append(db.fetch_value(sql, raw, b"!"))
    raw[0] = 0
    assert [await answer for answer in answers] == [b"a!", b"b!", b"c!", b"d!", b"e!", b"f!"]


# ---- Q25 and Q27, odd shapes


@pytest.mark.row("Q25")
@pytest.mark.parametrize("sql", ["", " ", ";", "-- nothing", "/* nothing */"])
async def test_an_empty_query(db, sql):
    for _ in range(2):
        assert await db.fetch_all(sql) == []
        assert await db.fetch_optional(sql) is None
        tag = await db.execute(sql)
        assert (tag.text, tag.rows_affected) == ("", None)
    for result in await db.execute_script(sql):
        assert (result.rows, result.tag.text) == ([], "")


@pytest.mark.row("Q25")
async def test_rows_without_columns_are_counted(db):
    sql = "select from generate_series(1, 3)"
    for _ in range(2):
        rows = await db.fetch_all(sql)
        assert rows == [(), (), ()]
        assert [len(row) for row in rows] == [0, 0, 0]
        assert rows[0].keys() == ()
        assert (await db.execute(sql)).rows_affected == 3
        assert await db.fetch_one("select") == ()
        with pytest.raises(MultipleRows):
            await db.fetch_one(sql)
    (result,) = await db.execute_script(sql)
    assert (result.rows, result.tag.rows_affected) == ([(), (), ()], 3)


@pytest.mark.row("Q27")
async def test_duplicate_column_names(db):
    for _ in range(2):
        row = await db.fetch_one("select 1 as a, 2 as a, 3 as b")
        assert (row[0], row[1], row[2], tuple(row)) == (1, 2, 3, (1, 2, 3))
        assert row.a == row["a"] == row.get("a") == 2
        assert row._asdict() == dict(row) == {"a": 2, "b": 3}
        assert row.keys() == ("a", "a", "b")
        assert list(row.items()) == [("a", 1), ("a", 2), ("b", 3)]
        assert await db.fetch_one("select 1 as a, 2 as a, 3 as b", into=dict) == {"a": 2, "b": 3}
        assert await db.fetch_one("select 1 as a, 2 as a, 3 as b", into=tuple) == (1, 2, 3)
