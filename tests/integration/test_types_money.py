"""money: its text as the session has it, or exact decimals by the number of digits that the connection was told."""

from __future__ import annotations

import shutil
import subprocess
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgoxide
from fixtures.fix_faces import same, sent
from pgoxide.embedded import start
from pgoxide.errors import DataError, InterfaceError

pytestmark = [pytest.mark.pg, pytest.mark.row("V05", "T03")]

VALUES = ["0.00", "1234.50", "-0.05", "92233720368547758.07", "-92233720368547758.08"]


@pytest.mark.parametrize("text", VALUES)
async def test_text_by_default(db, text):
    written = await db.fetch_value(f"select '{text}'::money::text")
    assert await same(db, f"'{text}'::money") == written
    assert await sent(db, "money", text) == await sent(db, "money", written) == (written, written)


async def test_a_number_needs_to_know_its_digits(db):
    for value in (5, Decimal("1.5"), 1.5):
        with pytest.raises(DataError, match=r"argument \$1 \(money\).*numeric::money"):
            await db.fetch_value("select $1::money", value)
    assert await db.fetch_value("select $1::numeric::money", Decimal("1.5")) == "$1.50"


@pytest.mark.row("T18")
@pytest.mark.parametrize("text", VALUES)
async def test_decimals(connect, text):
    db = await connect(money=2)
    value = Decimal(text)
    found = await same(db, f"'{text}'::money")
    assert (type(found), found.as_tuple()) == (Decimal, value.as_tuple())
    assert (await sent(db, "money", value)).back == value
    assert await db.fetch_value("select $1::money::numeric", value) == value


async def test_what_is_no_money(connect):
    db = await connect(money=2)
    for value in (
        Decimal("0.001"),
        Decimal("1E+40"),
        Decimal("NaN"),
        Decimal("Infinity"),
        10**20,
        "1.50",
        1.5,
        True,
        None.__class__,
    ):
        with pytest.raises(DataError, match=r"argument \$1 \(money\)"):
            await db.fetch_value("select $1::money", value)
    for value, expected in ((7, "7.00"), (Decimal("1E+2"), "100.00"), (Decimal("1.500"), "1.50")):
        assert await db.fetch_value("select $1::money", value) == Decimal(expected)
    for _ in range(2):
        assert await db.fetch_one("select $1::money, null::money", None) == (None, None)


@pytest.mark.parametrize("digits", [-1, 19, "2", 2.0, None, True, "decimal"])
async def test_a_number_of_digits_that_does_not_exist(connect, digits):
    with pytest.raises(InterfaceError, match="money="):
        await connect(money=digits)


async def test_copy_and_arrays(connect):
    db = await connect(money=2)
    await db.execute("create temp table t (m money, a money[])")
    row = (Decimal("1.50"), [Decimal("-0.01"), None])
    await db.copy_in("t", [row, (None, None)])
    assert await db.fetch_all("select * from t") == [row, (None, None)]
    await db.execute("create temp table u (m money, q tsquery)")
    with pytest.raises(DataError, match="no text form"):
        await db.copy_in("u", [(Decimal("1.50"), None)])
    plain = await connect()
    await plain.execute("create temp table u (m money, q tsquery)")
    await plain.copy_in("u", [("1.50", "a")])
    assert await plain.fetch_all("select * from u") == [("$1.50", "'a'")]
    assert await plain.fetch_value("select $1::money[]", ["1.50", None]) == ["$1.50", None]


def test_any(runner, connect):
    db = runner.run(connect(money=2))

    @settings(max_examples=100, deadline=None, database=None)
    @given(st.integers(-(2**63), 2**63 - 1))
    def check(cents):
        async def body():
            value = Decimal(cents).scaleb(-2, None) if abs(cents) < 10**20 else None
            assert (await sent(db, "money", value)).back.as_tuple() == value.as_tuple()
            assert await db.fetch_value("select $1::money::numeric", value) == value
            assert (await same(db, f"'{value}'::numeric::money")) == value

        runner.run(body())

    check()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("localedef") is None, reason="makes locales with localedef")
def test_locales(monkeypatch, tmp_path):
    """Yen have no fraction, dinars three digits of it; signs and separators stand elsewhere."""
    for name in ("ja_JP", "de_DE", "ar_KW"):
        made = subprocess.run(
            ["localedef", "-i", name, "-f", "UTF-8", tmp_path / f"{name}.UTF-8"],
            check=False,
            capture_output=True,
        )
        if made.returncode:
            pytest.skip(f"no sources of locales: {made.stderr.decode()[:100]}")
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    with start() as server:
        for name, digits, expected in (
            ("ja_JP", 0, "-1234568"),
            ("de_DE", 2, "-1234567.89"),
            ("ar_KW", 3, "-1234567.891"),
        ):
            with pgoxide.Connection.connect(
                server.dsn(), money=digits, parameters={"lc_monetary": f"{name}.UTF-8"}
            ) as db:
                sql = "select '-1234567.891'::numeric::money"
                for value in (db.fetch_value(sql), db.fetch_value(sql), db.execute_script(sql)[0].rows[0][0]):
                    assert str(value) == expected
                assert db.fetch_value("select $1::money::numeric", Decimal(expected)) == Decimal(expected)
            with pgoxide.Connection.connect(server.dsn(), parameters={"lc_monetary": f"{name}.UTF-8"}) as db:
                assert db.fetch_value(sql) == db.fetch_value(f"{sql}::text")
