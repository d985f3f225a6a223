"""The geometric types as named tuples: every double, open and closed paths, corners as the server keeps them."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError, Error
from pgoxide.types import Box, Circle, Line, LineSegment, Path, Point, Polygon

pytestmark = [pytest.mark.pg, pytest.mark.row("V20", "T03")]

VALUES = [
    ("point", "(1,2)", Point(1.0, 2.0)),
    ("point", "(1.5,-0)", Point(1.5, -0.0)),
    ("point", "(0.1,1e+300)", Point(0.1, 1e300)),
    ("point", "(Infinity,-Infinity)", Point(math.inf, -math.inf)),
    ("line", "{1,2,3}", Line(1.0, 2.0, 3.0)),
    ("lseg", "[(1,2),(3,4)]", LineSegment(Point(1.0, 2.0), Point(3.0, 4.0))),
    ("lseg", "[(3,4),(1,2)]", LineSegment(Point(3.0, 4.0), Point(1.0, 2.0))),
    ("box", "(3,4),(1,2)", Box(Point(3.0, 4.0), Point(1.0, 2.0))),
    ("box", "(Infinity,4),(1,-Infinity)", Box(Point(math.inf, 4.0), Point(1.0, -math.inf))),
    ("path", "((1,2),(3,4))", Path((Point(1.0, 2.0), Point(3.0, 4.0)), closed=True)),
    ("path", "[(1,2),(3,4)]", Path((Point(1.0, 2.0), Point(3.0, 4.0)), closed=False)),
    ("path", "[(1,2)]", Path((Point(1.0, 2.0),), closed=False)),
    ("polygon", "((1,2),(3,4),(5,6))", Polygon((Point(1.0, 2.0), Point(3.0, 4.0), Point(5.0, 6.0)))),
    ("circle", "<(1,2),3>", Circle(Point(1.0, 2.0), 3.0)),
]
IDS = [f"{name} {text}" for name, text, _ in VALUES]


@pytest.mark.parametrize(("name", "text", "value"), VALUES, ids=IDS)
async def test_table(db, name, text, value):
    assert await sent(db, name, value) == (text, value)
    assert await sent(db, name, text) == (text, value)
    found = await same(db, f"'{text}'::{name}")
    assert (type(found), found, repr(found)) == (type(value), value, repr(value))


@pytest.mark.parametrize(("name", "text", "value"), VALUES, ids=IDS)
async def test_they_are_what_the_classes_make(db, name, text, value):
    for found in await formats(db, f"'{text}'::{name}"):
        assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == value
        assert hash(found) == hash(value)
        assert found._fields == value._fields
        assert found._asdict() == value._asdict()
        assert tuple(found) == tuple(value)
        assert found._replace(**value._asdict()) == value
        assert not hasattr(found, "__dict__")
        assert not gc.is_tracked(found)


async def test_golden_bytes(connect, proxy):
    """What goes out is what the manual's functions read."""
    line = proxy()
    db = await connect(to=line)
    for name, value, golden in (
        ("point", Point(1, 2), struct.pack("!2d", 1, 2)),
        ("line", Line(1, 2, 3), struct.pack("!3d", 1, 2, 3)),
        ("lseg", LineSegment(Point(1, 2), Point(3, 4)), struct.pack("!4d", 1, 2, 3, 4)),
        ("box", Box(Point(3, 4), Point(1, 2)), struct.pack("!4d", 3, 4, 1, 2)),
        ("circle", Circle(Point(1, 2), 3), struct.pack("!3d", 1, 2, 3)),
        ("path", Path((Point(1, 2),), closed=True), struct.pack("!bi2d", 1, 1, 1, 2)),
        ("path", Path((Point(1, 2),), closed=False), struct.pack("!bi2d", 0, 1, 1, 2)),
        ("polygon", Polygon((Point(1, 2), Point(3, 4))), struct.pack("!i4d", 2, 1, 2, 3, 4)),
    ):
        line.forget()
        await db.fetch_value(f"select $1::{name}", value)
        (bind,) = [body for kind, body in line.bodies if kind == "B"]
        assert struct.pack("!i", len(golden)) + golden in bind


async def test_the_servers_order_of_corners(db):
    for corners in (((1, 2), (3, 4)), ((3, 2), (1, 4)), ((1, 4), (3, 2))):
        assert (await sent(db, "box", Box(*map(Point._make, corners)))).back == Box(
            Point(3.0, 4.0), Point(1.0, 2.0)
        )


async def test_not_a_number(db):
    for expression in ("point('NaN', 1)", "circle(point('NaN', 1), 2)"):
        for found in await formats(db, expression):
            (point, *_) = found if isinstance(found, Circle) else (found,)
            assert math.isnan(point.x)
            assert point.y == 1.0
    found = await sent(db, "point", Point(math.nan, 1.0))
    assert found.text == "(NaN,1)"
    assert math.isnan(found.back.x)


async def test_negative_zero(db):
    for found in await formats(db, "point('-0', 0)"):
        assert (math.copysign(1, found.x), math.copysign(1, found.y)) == (-1.0, 1.0)


async def test_other_sequences_of_the_same_shape(db):
    for name, value, expected in (
        ("point", (1, 2), Point(1.0, 2.0)),
        ("point", [1, 2.5], Point(1.0, 2.5)),
        ("line", (1, 2, 3), Line(1.0, 2.0, 3.0)),
        ("lseg", ((1, 2), [3, 4]), LineSegment(Point(1.0, 2.0), Point(3.0, 4.0))),
        ("box", [(3, 4), (1, 2)], Box(Point(3.0, 4.0), Point(1.0, 2.0))),
        ("circle", ((1, 2), 3), Circle(Point(1.0, 2.0), 3.0)),
        ("polygon", [(1, 2), (3, 4)], Polygon((Point(1.0, 2.0), Point(3.0, 4.0)))),
    ):
        assert (await sent(db, name, value)).back == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("point", 5), ("point", (1,)), ("point", (1, 2, 3)), ("point", ("1", 2)), ("point", (True, 2)), ("point", "1,2"), ("point", ""),
        ("point", {1, 2}), ("point", (2**60 + 1, 0)), ("line", (1, 2)), ("lseg", (1, 2, 3, 4)), ("box", ((1, 2),)), ("circle", (1, 2, 3)),
        ("circle", ((1, 2), None)), ("path", [(1, 2), (3, 4)]), ("path", Path(((1,),), closed=True)), ("path", Path((Point(1, 2),), closed=1)),
        ("polygon", [(1, 2), 3]), ("polygon", 5), ("polygon", "((1,2)"), ("path", "(1,2)"), ("point", "é"), ("point", b"(1,2)"),
    ],
    ids=ascii,
)  # fmt: skip
async def test_what_does_not_fit(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value("select 1") == 1


async def test_what_the_server_refuses(db):
    for name, value in (
        ("line", Line(0, 0, 1)),
        ("circle", Circle(Point(0, 0), -1)),
        ("path", Path((), closed=True)),
        ("polygon", []),
    ):
        with pytest.raises(Error):
            await db.fetch_value(f"select $1::{name}", value)
        assert await db.fetch_value("select 1") == 1


async def test_copy_and_null(db):
    first = {name: value for name, _, value in reversed(VALUES)}
    columns = ", ".join(f"{name}_ {name}" for name in first)
    await db.execute(f"create temp table t ({columns})")
    await db.execute(f"create temp table u ({columns}, c regclass)")
    row, empty = tuple(first.values()), (None,) * len(first)
    await db.copy_in("t", [row, empty])
    await db.copy_in("u", [(*row, None), (*empty, None)])
    assert await db.fetch_all("select * from t") == [row, empty]
    assert await db.fetch_all("select * from u") == [(*row, None), (*empty, None)]


async def test_arrays_of_them(db):
    """A tuple is an element, a list a dimension; boxes are separated by semicolons."""
    for name, text, value in VALUES:
        for values in ([value, None, value], [[value, value], [value, value]]):
            for _ in range(2):
                assert await db.fetch_value(f"select $1::{name}[]", values) == values
            (script,) = await db.execute_script(f"select array['{text}'::{name}, null]")
            assert script.rows[0][0] == [value, None]
    assert await db.fetch_value("select $1::point[]", [(1, 2), (3, 4)]) == [(1.0, 2.0), (3.0, 4.0)]


DOUBLE = st.floats(allow_nan=False)
POINT = st.builds(Point, DOUBLE, DOUBLE)
ANY = st.one_of(
    st.tuples(st.just("point"), POINT),
    st.tuples(st.just("line"), st.builds(Line, st.floats(1, 1e300), DOUBLE, DOUBLE)),
    st.tuples(st.just("lseg"), st.builds(LineSegment, POINT, POINT)),
    st.tuples(st.just("circle"), st.builds(Circle, POINT, st.floats(0))),
    st.tuples(
        st.just("path"), st.builds(Path, st.lists(POINT, min_size=1, max_size=5).map(tuple), st.booleans())
    ),
    st.tuples(st.just("polygon"), st.builds(Polygon, st.lists(POINT, min_size=1, max_size=5).map(tuple))),
)


def test_any(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(ANY)
    def check(pair):
        async def body():
            name, value = pair
            found = await sent(db, name, value)
            assert repr(found.back) == repr(await same(db, f"'{found.text}'::{name}"))
            assert found.back == value

        runner.run(body())

    check()
