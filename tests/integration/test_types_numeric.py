"""numeric as Decimal: digit for digit, scale for scale."""

from __future__ import annotations

import decimal
import enum
import random
import sys
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V04")]


def kept(value):
    """What numeric makes of a Decimal: no negative zero, no exponent above 0."""
    if not value.is_finite():
        return value
    sign, digits, exponent = value.as_tuple()
    if not any(digits):
        return Decimal((0, (0,), min(exponent, 0)))
    if exponent > 0:
        digits, exponent = (*digits, *(0 for _ in range(exponent))), 0
    return Decimal(f"{'-' if sign else ''}{''.join(map(str, digits)).lstrip('0')}E{exponent}")


def check(found, value):
    assert type(found) is Decimal
    assert found.as_tuple() == kept(value).as_tuple()


TABLE = [
    "0", "-0", "0.00", "-0.00", "1", "-1", "1.500", "1.50", "10", "100", "9999", "10000", "10001", "99999999", "100000000", "0.1", "0.0001",
    "0.00001", "0.1000", "1.0000", "1.00000", "12345.6789", "123456789.123456789", "-0.000000000000001", "1E+3", "1E+1000", "1E-1000",
    "1.5E-7", "1E-30", "12345678901234567890123456789012345678901234567890", "0E-10", "0E+10", "NaN", "Infinity", "-Infinity",
    "3." + "14159265358979323846" * 10, "0.99990000", "10000.0001", "1E+4", "1E+8", "79228162514264337593543950336",
]  # fmt: skip


@pytest.mark.parametrize("text", TABLE)
async def test_table(db, text):
    value = Decimal(text)
    found = await sent(db, "numeric", value)
    check(found.back, value)
    check(Decimal(found.text), value)
    assert found.text == (str(value) if not value.is_finite() else f"{kept(value):f}")
    check(await same(db, f"'{text}'::numeric"), value)


@pytest.mark.parametrize(
    "text",
    [
        "1E+131071",
        "9" * 131_072,
        "-" + "9" * 131_072,
        "1E-16383",
        "0." + "9" * 16_383,
        "9" * 131_072 + "." + "9" * 16_383,
    ],
    ids=["1E+131071", "9…9", "-9…9", "1E-16383", "0.9…9", "9…9.9…9"],
)
async def test_limits(db, text):
    value = Decimal(text)
    found = await sent(db, "numeric", value)
    check(found.back, value)
    assert found.text == f"{value:f}"
    for one in await formats(db, f"'{text}'::numeric"):
        check(one, value)


@pytest.mark.parametrize(
    "text",
    ["1E+131072", "9" * 131_073, "1E-16384", "0E-16384", "1E+999999999", "1E-999999999", "sNaN", "NaN123"],
    ids=lambda t: t[:20],
)
async def test_beyond_the_limits(db, text):
    with decimal.localcontext() as context:
        context.traps[decimal.InvalidOperation] = False
        value = Decimal(text)
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(numeric\)"):
            await db.fetch_value("select $1::numeric", value)
    assert await db.fetch_value("select 1") == 1


def rolled(random_):
    digits = "".join(random_.choices("0123456789", k=random_.choice((1, 2, 3, 4, 5, 8, 9, 20, 60))))
    return Decimal(f"{random_.choice(('', '-'))}{digits}E{random_.randint(-70, 70)}")


async def test_ten_thousand(db):
    random_ = random.Random(4)
    values = [rolled(random_) for _ in range(10_000)]
    for value in values:
        text, back = await db.fetch_one("select $1::numeric::text, $1::numeric", value)
        assert back.as_tuple() == Decimal(text).as_tuple() == kept(value).as_tuple(), value
    literals = ",".join(map(str, values))
    sql = f"select x::numeric from unnest(string_to_array('{literals}', ',')) with ordinality as u (x, n) order by n"
    expected = [kept(value).as_tuple() for value in values]
    for rows in (await db.fetch_all(sql), await db.fetch_all(sql), (await db.execute_script(sql))[0].rows):
        assert [row[0].as_tuple() for row in rows] == expected


async def test_the_context_of_the_thread_does_not_matter(db):
    text = "1." + "1234567890" * 5
    with decimal.localcontext(prec=3, traps=[decimal.Inexact, decimal.Rounded, decimal.FloatOperation]):
        assert (await same(db, f"'{text}'::numeric")).as_tuple() == Decimal(text).as_tuple()
        found = await sent(db, "numeric", Decimal(text))
    assert found.text == text
    check(found.back, Decimal(text))


class Seven(int, enum.Enum):
    SEVEN = 7


class Count(enum.IntEnum):
    SEVEN = 7


class Mine(Decimal):
    def __str__(self):
        return "mine"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-1, "-1"), (10**40, "1" + "0" * 40), (0.1, "0.1"), (-0.0, "0.0"), (1e22, "10000000000000000000000"), (1e-7, "0.0000001"),
        (1.5, "1.5"), (float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (2**64, str(2**64)),
        (Count.SEVEN, "7"), (Seven.SEVEN, "7"), (Mine("1.50"), "1.50"),
    ],
    ids=repr,
)  # fmt: skip
async def test_integers_and_floats_by_their_repr(db, value, text):
    assert (await sent(db, "numeric", value)).text == text


async def test_an_integer_of_more_digits_than_python_prints(db):
    """`sys.set_int_max_str_digits` guards parsers of foreign text; numeric holds 131072 digits and so does an int."""
    assert sys.get_int_max_str_digits() == 4300
    found = await sent(db, "numeric", 10**5000)
    assert found.text == "1" + "0" * 5000


async def test_numpy_floats_are_floats(db):
    numpy = pytest.importorskip("numpy")
    assert (await sent(db, "numeric", numpy.float64(1.5))).text == "1.5"


@pytest.mark.parametrize("value", ["1", True, b"1", 1j, None.__class__], ids=repr)
async def test_what_is_no_number(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(numeric\): expected Decimal, int or float, got"):
            await db.fetch_value("select $1::numeric", value)


async def test_a_declared_scale(db):
    check(await same(db, "1.5::numeric(10, 4)"), Decimal("1.5000"))
    check(await same(db, "0::numeric(10, 2)"), Decimal("0.00"))


def test_any(runner, db):
    @settings(max_examples=200, deadline=None, database=None)
    @given(
        st.decimals(allow_nan=False)
        | st.integers().map(Decimal)
        | st.floats(allow_nan=False).map(repr).map(Decimal)
    )
    def one(value):
        async def body():
            found = await sent(db, "numeric", value)
            check(found.back, value)
            assert Decimal(found.text).as_tuple() == kept(value).as_tuple()

        if not value.is_finite() or (value.as_tuple().exponent >= -16_383 and value.adjusted() < 131_072):
            runner.run(body())

    one()
