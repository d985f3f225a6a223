"""Arrays: shapes, NULLs, bounds, what counts as a list, both formats; int2vector and oidvector."""
# ruff: noqa: DTZ001  naive datetimes are part of the subject

from __future__ import annotations

import array
import collections
import datetime as dt
import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError, InterfaceError
from pgoxide.types import Array

pytestmark = [pytest.mark.pg, pytest.mark.row("T10"), pytest.mark.row("T03")]

UTC = dt.UTC

VALUES = [
    ("'{}'::int4[]", []),
    ("'{1,2,-3}'::int4[]", [1, 2, -3]),
    ("'{1,NULL,3}'::int4[]", [1, None, 3]),
    ("'{NULL}'::int8[]", [None]),
    ("'{{1,2},{3,NULL}}'::int2[]", [[1, 2], [3, None]]),
    ("'{{{{{{7}}}}}}'::int4[]", [[[[[[7]]]]]]),
    ("array[1.5,'NaN','-Infinity']::numeric[]", [Decimal("1.5"), Decimal("NaN"), Decimal("-Infinity")]),
    ("array[0.5,-0.25]::float4[]", [0.5, -0.25]),
    ("array[0.1,'infinity']::float8[]", [0.1, float("inf")]),
    ("array[true,false,null]", [True, False, None]),
    (
        r"""array['', 'a b', 'NULL', 'null', '"', '\', '{', '}', ',', ';', E'\t\n\x0b', 'ä€😀', null]""",
        ["", "a b", "NULL", "null", '"', "\\", "{", "}", ",", ";", "\t\n\v", "ä€😀", None],
    ),
    (r"array['\x00ff', '']::bytea[]", [b"\x00\xff", b""]),
    ("""array['{"a": [1]}', '[]', 'null']::jsonb[]""", [{"a": [1]}, [], None]),
    ("""array['{"a": "}"}']::json[]""", [{"a": "}"}]),
    ("array['2020-02-29']::date[]", [dt.date(2020, 2, 29)]),
    ("array['2020-02-29 12:00']::timestamp[]", [dt.datetime(2020, 2, 29, 12)]),
    ("array['2020-02-29 12:00+01']::timestamptz[]", [dt.datetime(2020, 2, 29, 11, tzinfo=UTC)]),
    ("array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]", [uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
    ("array['x','yy']::name[]", ["x", "yy"]),
    ("array['x','yy']::varchar(2)[]", ["x", "yy"]),
    ("array['a','b']::\"char\"[]", [b"a", b"b"]),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=lambda v: v if isinstance(v, str) else "")
async def test_values(db, expression, value):
    found = await same(db, expression)
    assert repr(found) == repr(value)


async def test_a_type_without_a_binary_codec_makes_the_array_text(db):
    """The same value from both formats all the same."""
    assert await same(db, "array['(1,1),(0,0)', '(3,3),(2,2)', null]::box[]") is not None
    assert len(await same(db, "array['(1,1),(0,0)', '(3,3),(2,2)', null]::box[]")) == 3


ROUND_TRIPS = [
    ("int4[]", [], "{}"),
    ("int4[]", [1, None, -3], "{1,NULL,-3}"),
    ("int4[]", (1, 2), "{1,2}"),
    ("int4[]", {7}, "{7}"),
    ("int4[]", frozenset([7]), "{7}"),
    ("int4[]", range(3), "{0,1,2}"),
    ("int4[]", collections.deque([1, 2]), "{1,2}"),
    ("int4[]", {1: 0, 2: 0}.keys(), "{1,2}"),
    ("int4[]", array.array("b", [1, -2]), "{1,-2}"),
    ("int4[]", [(1, 2), [3, 4]], "{{1,2},{3,4}}"),
    ("int4[]", [[[1], [None]]], "{{{1},{NULL}}}"),
    ("text[]", ["", "NULL", 'a"b\\c', "a,b", "{x}", " ", None], r'{"","NULL","a\"b\\c","a,b","{x}"," ",NULL}'),
    ("numeric[]", [Decimal("1.50"), 2, 0.1], "{1.50,2,0.1}"),
    ("jsonb[]", [[1, 2], {"a": None}, "x"], '{"[1, 2]","{\\"a\\": null}","\\"x\\""}'),
    ("jsonb[]", Array([Array([1]), Array([[2]])]), "{{1},{[2]}}"),
    ("bytea[]", [b"\x01", bytearray(b"\x02")], r'{"\\x01","\\x02"}'),
    ("int2[]", Array([1, 2], [0]), "[0:1]={1,2}"),
    ("int8[]", Array([[1, 2], [3, 4]], [-1, 5]), "[-1:0][5:6]={{1,2},{3,4}}"),
    ("box[]", ["(1,1),(0,0)", None], "{(1,1),(0,0);NULL}"),
    ("box[]", Array(["(1,1),(0,0)"], [3]), "[3:3]={(1,1),(0,0)}"),
    ("oidvector", [1, 4294967295], "1 4294967295"),
    ("int2vector", [1, -2], "1 -2"),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "value", "text"), ROUND_TRIPS, ids=repr)
async def test_arguments(db, type_name, value, text):
    found = await sent(db, type_name, value)
    assert found.text == text


async def test_generators(db):
    """Taken once, also where the statement's types are not known yet."""
    assert await db.fetch_value("select $1::int4[]", (i for i in range(3))) == [0, 1, 2]
    assert await db.fetch_value("select $1::int4[]", (i for i in range(3))) == [0, 1, 2]


async def test_numpy(db):
    numpy = pytest.importorskip("numpy")
    assert (await sent(db, "int4[]", numpy.arange(3, dtype="int16"))).text == "{0,1,2}"
    assert (await sent(db, "float8[]", numpy.array([[0.5, 1.5], [2.0, 3.0]]))).text == "{{0.5,1.5},{2,3}}"
    assert (await sent(db, "int8[]", [numpy.int64(7), numpy.array(8)[()]])).text == "{7,8}"
    assert (await sent(db, "int8[]", [numpy.array([1, 2])])).text == "{{1,2}}"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 2], [3]], r"item \[1\] has another shape: 1 items where the first has 2"),
        ([[1], 2], r"item \[1\] has another shape: an element among lists"),
        ([1, [2]], r"item \[1\] has another shape: a list among elements"),
        ([[1], None], r"item \[1\] has another shape: an element among lists"),
        ([[[1], [2]], [[3], [4, 5]]], r"item \[1\]\[1\] has another shape"),
        ([[[[[[[1]]]]]]], r"item \[0\]\[0\]\[0\]\[0\]\[0\]\[0\] has another shape: more than 6 dimensions"),
        ([[], []], "a list of empty lists: PostgreSQL has no array with an empty dimension"),
        ([[]], "a list of empty lists: PostgreSQL has no array with an empty dimension"),
        ([1, "2"], r"element \[1\]: expected int, got str '2'"),
        ([[1, 2], [3, 2**31]], r"element \[1\]\[1\]: 2147483648 is out of range for int4"),
        ("{1}", "expected a list, got str"),
        (b"1", "expected a list, got bytes"),
        (bytearray(b"1"), "expected a list, got byte"),
        ({1: 2}, "expected a list, got dict"),
        (1, "expected a list, got int 1"),
    ],
    ids=repr,
)  # fmt: skip
async def test_refused(db, value, words):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(int4\[\]\): " + words):
            await db.fetch_value("select $1::int4[]", value)
    assert await db.fetch_value("select 1") == 1


async def test_a_str_is_no_list_of_letters(db):
    with pytest.raises(DataError, match="expected a list, got str 'abc'"):
        await db.fetch_value("select $1::text[]", "abc")


async def test_bounds(connect, db):
    assert await same(db, "'[0:2]={1,2,3}'::int4[]") == [1, 2, 3]
    assert type(await same(db, "'[0:2]={1,2,3}'::int4[]")) is list
    keeps = await connect(array_bounds="keep")
    for text, lower in (
        ("[0:2]={1,2,3}", (0,)),
        ("[5:6][-1:-1]={{1},{2}}", (5, -1)),
        ("[1:2][0:0]={{1},{2}}", (1, 0)),  # the outer dimension alone would be a plain list
    ):
        for found in await formats(keeps, f"'{text}'::int4[]"):
            assert (type(found), found.lower_bounds) == (Array, lower)
            assert (await sent(keeps, "int4[]", found)).text == text
    assert type(await same(keeps, "'{1,2}'::int4[]")) is list
    assert await same(keeps, "'1 2'::int2vector") == [1, 2]
    with pytest.raises(InterfaceError, match='array_bounds="no"'):
        await connect(array_bounds="no")


def test_array_object():
    one = Array([[1, 2], [3, 4]], lower_bounds=[0, 5])
    assert (one.at(0, 5), one.at(1, 6), one.at(1)) == (1, 4, [3, 4])
    with pytest.raises(DataError, match=r"no element \[2\]"):
        one.at(2)
    assert one == [[1, 2], [3, 4]]
    assert eval(repr(one)) == one


@pytest.mark.row("V32")
async def test_vectors(db):
    assert await same(db, "'1 2 3'::int2vector") == [1, 2, 3]
    assert await same(db, "''::oidvector") == []
    assert await same(db, "array['1 2', '3']::int2vector[]") == [[1, 2], [3]]
    keys = await db.fetch_value(
        "select indkey from pg_index where indexrelid = 'pg_attribute_relid_attnum_index'::regclass"
    )
    assert (type(keys), len(keys), keys[0]) == (list, 2, 1)


async def test_thousands(db):
    for count in (100, 10_000):
        expected = list(range(count))
        assert await same(db, f"array(select generate_series(0, {count - 1}))") == expected
        assert await db.fetch_value("select $1::int8[]", expected) == expected
    many = await db.fetch_value("select array_agg(nullif(i, 5)) from generate_series(1, 1000) i")
    assert many[:6] == [1, 2, 3, 4, None, 6]


def elements(strategy):
    row = st.lists(strategy | st.none(), min_size=1, max_size=3)
    return st.lists(strategy | st.none(), max_size=5) | row.flatmap(
        lambda first: st.lists(
            st.lists(strategy | st.none(), min_size=len(first), max_size=len(first)), min_size=1, max_size=3
        )
    )


def test_any(runner, db):
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)

    @settings(max_examples=150, deadline=None, database=None)
    @given(
        st.one_of(
            st.tuples(st.just("text[]"), elements(text)),
            st.tuples(st.just("int8[]"), elements(st.integers(-(2**63), 2**63 - 1))),
            st.tuples(st.just("float8[]"), elements(st.floats(allow_nan=False))),
            st.tuples(st.just("bytea[]"), elements(st.binary(max_size=4))),
            st.tuples(st.just("bool[]"), elements(st.booleans())),
        )
    )
    def one(case):
        type_name, value = case

        async def body():
            found = await sent(db, type_name, value)
            assert found.back == value
            # The server's own text, read by the driver's text parser.
            script = await db.execute_script("select '" + found.text.replace("'", "''") + f"'::{type_name}")
            assert repr(script[0].rows[0][0]) == repr(found.back)

        runner.run(body())

    one()
