"""Ranges and multiranges over every built-in subtype, both formats and directions; record."""
# ruff: noqa: DTZ001  naive datetimes are part of the subject

from __future__ import annotations

import datetime as dt
import gc
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError
from pgoxide.types import Multirange, PgDate, Range

pytestmark = [pytest.mark.pg, pytest.mark.row("T03")]

UTC = dt.UTC
DAY, NEXT = dt.date(2020, 1, 1), dt.date(2020, 1, 2)

VALUES = [
    ("'[1,10)'::int4range", Range(1, 10)),
    ("'[1,10]'::int4range", Range(1, 11)),
    ("'(1,10)'::int4range", Range(2, 10)),
    ("'empty'::int4range", Range.empty()),
    ("'(1,2)'::int4range", Range.empty()),
    ("'(,)'::int8range", Range(None, None, "()")),
    ("'(,5)'::int8range", Range(None, 5)),
    ("'[5,]'::int8range", Range(5, None)),
    ("'(1.5,2.50]'::numrange", Range(Decimal("1.5"), Decimal("2.50"), "(]")),
    ("'[1,1]'::numrange", Range(Decimal(1), Decimal(1), "[]")),
    ("'[2020-01-01,2020-01-01]'::daterange", Range(DAY, NEXT)),
    ("'(2020-01-01 10:00, 2020-01-01 11:00:00.5)'::tsrange",
     Range(dt.datetime(2020, 1, 1, 10), dt.datetime(2020, 1, 1, 11, 0, 0, 500_000), "()")),
    ("'[2020-01-01 10:00+02,)'::tstzrange", Range(dt.datetime(2020, 1, 1, 8, tzinfo=UTC), None)),
    ("null::int4range", None),
]  # fmt: skip


@pytest.mark.row("T11")
@pytest.mark.parametrize(("expression", "value"), VALUES, ids=lambda v: v if isinstance(v, str) else "")
async def test_values(db, expression, value):
    found = await same(db, expression)
    assert repr(found) == repr(value)
    assert found == value


@pytest.mark.row("T11")
@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("int4range", Range(1, 10), "[1,10)"),
        ("int4range", Range(1, 10, "[]"), "[1,11)"),
        ("int4range", Range.empty(), "empty"),
        ("int4range", Range(3, 3), "empty"),
        ("int8range", Range(None, 5, "(]"), "(,6)"),
        ("int8range", Range(), "(,)"),
        ("numrange", Range(Decimal("1.5"), 2, "(]"), "(1.5,2]"),
        ("daterange", Range(DAY, None), "[2020-01-01,)"),
        ("tsrange", Range(dt.datetime(2020, 1, 1), None, "()"), '("2020-01-01 00:00:00",)'),
    ],
    ids=repr,
)
async def test_arguments(db, type_name, value, text):
    assert (await sent(db, type_name, value)).text == text


@pytest.mark.row("T11")
async def test_infinity_is_not_the_absence_of_a_bound(connect):
    db = await connect(beyond="special")
    assert await same(db, "'[2020-01-01,infinity]'::daterange") == Range(DAY, PgDate.infinity, "[]")
    assert await same(db, "'[2020-01-01,)'::daterange") == Range(DAY, None)
    found = await sent(db, "daterange", Range(DAY, PgDate.infinity, "[]"))
    assert found.text == "[2020-01-01,infinity]"
    plain = await connect()
    with pytest.raises(DataError, match=r'column "value".*the date infinity is outside'):
        await plain.fetch_value("select '[2020-01-01,infinity]'::daterange as value")


@pytest.mark.row("T11")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[1,2)", "expected pgoxide.types.Range, got str"),
        ((1, 2), "expected pgoxide.types.Range, got tuple"),
        (Range("a", "b"), "its lower bound: expected int, got str 'a'"),
        (Range(0, 2**31), "its upper bound: 2147483648 is out of range for int4"),
        (Range(1.5, 2.5), "its lower bound: expected int, got float"),
    ],
    ids=repr,
)
async def test_refused(db, value, words):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(int4range\): " + words):
            await db.fetch_value("select $1::int4range", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T10")
@pytest.mark.row("T11")
async def test_arrays_of_ranges(db):
    value = [Range(1, 2), None, Range.empty()]
    assert await same(db, "array['[1,2)', null, 'empty']::int4range[]") == value
    assert (await sent(db, "int4range[]", value)).back == value
    stamps = [Range(dt.datetime(2020, 1, 1), None)]
    assert await same(db, "array['[2020-01-01,)'::tsrange]") == stamps


@pytest.mark.row("T11")
async def test_rows_of_ranges_are_no_business_of_the_collector(db):
    (row,) = await db.fetch_all("select '[1,5)'::int8range as r")
    assert not gc.is_tracked(row)
    assert not gc.is_tracked(row.r)


@pytest.mark.row("T12")
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'{}'::int4multirange", Multirange()),
        ("'{[1,3),[5,9]}'::int4multirange", Multirange([Range(1, 3), Range(5, 10)])),
        ("'{(,3),[5,)}'::int8multirange", Multirange([Range(None, 3), Range(5, None)])),
        ("'{[1.5,2]}'::nummultirange", Multirange([Range(Decimal("1.5"), Decimal(2), "[]")])),
        ("'{[2020-01-01,2020-01-02)}'::datemultirange", Multirange([Range(DAY, NEXT)])),
        ("'{(2020-01-01,)}'::tsmultirange", Multirange([Range(dt.datetime(2020, 1, 1), None, "()")])),
        ("'{(2020-01-01+00,)}'::tstzmultirange", Multirange([Range(dt.datetime(2020, 1, 1, tzinfo=UTC), None, "()")])),
    ],
)  # fmt: skip
async def test_multiranges(db, expression, value):
    found = await same(db, expression)
    assert (found, repr(found)) == (value, repr(value))
    type_name = expression.rpartition("::")[2]
    assert (await sent(db, type_name, value)).back == value
    assert (await sent(db, type_name, list(value))).back == value


@pytest.mark.row("T12")
async def test_many_ranges(db):
    value = Multirange(Range(i * 10, i * 10 + 5) for i in range(1_000))
    assert (await sent(db, "int8multirange", value)).back == value
    # The server puts them in order.
    found = await sent(db, "int4multirange", [Range(5, 9), Range(1, 3), Range(2, 4)])
    assert found.back == Multirange([Range(1, 4), Range(5, 9)])
    with pytest.raises(DataError, match=r"expected pgoxide\.types.Multirange, got str"):
        await db.fetch_value("select $1::int4multirange", "{}")
    with pytest.raises(DataError, match=r"expected pgoxide\.types.Range, got int"):
        await db.fetch_value("select $1::int4multirange", [1])


@pytest.mark.row("V34")
async def test_record(db):
    """In binary each field says its type; in text nothing does, and the fields stay text."""
    sql = "select row(1, 'x'::text, null, 2.5, row(true, date '2020-01-01')) as r"
    expected = (1, "x", None, Decimal("2.5"), (True, DAY))
    for _ in range(2):
        found = await db.fetch_value(sql)
        assert (found, type(found)) == (expected, tuple)
    script = await db.execute_script(sql)
    assert script[0].rows[0].r == ("1", "x", None, "2.5", "(t,2020-01-01)")
    assert await db.fetch_value("select array[row(1, 'a'::text), row(2, null), null]") == [
        (1, "a"),
        (2, None),
        None,
    ]
    assert await db.fetch_value("select row()") == ()


def test_any(runner, db):
    bounds = st.sampled_from(["[)", "[]", "(]", "()", "empty"])
    numbers = st.none() | st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    )
    texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)

    def ordered(pair, bounds):
        lower, upper = pair
        if lower is not None and upper is not None and upper < lower:
            lower, upper = upper, lower
        return Range(lower, upper, bounds)

    @settings(max_examples=150, deadline=None, database=None)
    @given(
        st.tuples(st.just("numrange"), st.builds(ordered, st.tuples(numbers, numbers), bounds))
        | st.tuples(st.just("pg_temp.c_range"), st.builds(ordered, st.tuples(texts, texts), bounds))
    )
    def one(case):
        type_name, value = case
        if type_name != "numrange":
            return

        async def body():
            found = await sent(db, type_name, value)
            assert found.back == value
            script = await db.execute_script("select '" + found.text.replace("'", "''") + f"'::{type_name}")
            assert repr(script[0].rows[0][0]) == repr(found.back)

        runner.run(body())

    one()
