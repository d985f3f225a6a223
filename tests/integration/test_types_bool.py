"""bool, both ways and in both formats."""

from __future__ import annotations

import pytest

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V01")]


@pytest.mark.parametrize(
    ("literal", "value"),
    [("true", True), ("false", False), ("'yes'::bool", True), ("'0'::bool", False), ("null::bool", None)],
)
async def test_reading(db, literal, value):
    assert await same(db, literal) is value


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (None, None)])
async def test_passing(db, value, text):
    found = await sent(db, "bool", value)
    assert found.text == text
    assert found.back is value


@pytest.mark.parametrize("value", [1, 0, "t", "true", 1.0, b"t", [], object()])
async def test_only_bool_is_a_bool(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(bool\): expected bool"):
            await db.fetch_value("select $1::bool", value)
    assert await db.fetch_value("select $1::int4::bool", 1) is True  # unless cast


@pytest.mark.row("V36")
async def test_a_numpy_bool_is_one(db):
    numpy = pytest.importorskip("numpy")
    for value in (numpy.True_, numpy.False_):
        for _ in range(2):
            assert await db.fetch_value("select $1::bool", value) is bool(value)
    with pytest.raises(DataError, match="expected bool"):
        await db.fetch_value("select $1::bool", numpy.int64(1))
