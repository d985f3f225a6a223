"""uuid as uuid.UUID, made without its constructor: nothing may be missing."""

from __future__ import annotations

import copy
import pickle
import uuid
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V09")]

EDGES = [
    UUID(int=0),
    UUID(int=1),
    UUID(int=2**64),
    UUID(int=2**128 - 1),
    UUID("12345678-1234-5678-1234-567812345678"),
    UUID(int=1 << 127),
]


@pytest.mark.parametrize("value", EDGES, ids=str)
async def test_edges(db, value):
    assert await sent(db, "uuid", value) == (str(value), value)
    assert await same(db, f"'{value}'::uuid") == value


async def test_it_is_a_uuid_in_every_respect(db):
    made = UUID("12345678-1234-5678-9234-567812345678")
    for value in await formats(db, f"'{made}'::uuid"):
        assert type(value) is UUID
        assert value == made
        assert hash(value) == hash(made)
        assert value.is_safe is made.is_safe is uuid.SafeUUID.unknown
        assert (value.int, value.bytes, value.hex, value.fields) == (
            made.int,
            made.bytes,
            made.hex,
            made.fields,
        )
        assert (value.version, value.variant, repr(value)) == (made.version, made.variant, repr(made))
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == made
        assert len({value, made}) == 1
        assert not value < made
        with pytest.raises(TypeError, match="immutable"):
            value.int = 5


@pytest.mark.parametrize(
    "text",
    [
        "12345678-1234-5678-1234-567812345678",
        "ABCDEFAB-1234-5678-1234-567812345678",
        "{12345678-1234-5678-1234-567812345678}",
        "12345678123456781234567812345678",
    ],
)
async def test_texts_the_server_takes(db, text):
    assert (
        (await sent(db, "uuid", text)).back
        == UUID(text.replace("-", ""))
        == await same(db, f"'{text}'::uuid")
    )


async def test_a_subclass(db):
    class Mine(UUID):
        pass

    assert (await sent(db, "uuid", Mine(int=5))).back == UUID(int=5)


@pytest.mark.parametrize(
    "value",
    [5, b"\0" * 16, "", "x", "12345678-1234-5678-1234-56781234567", "g" * 32, "é" * 32, 1.5],
    ids=ascii,
)
async def test_what_is_no_uuid(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(uuid\)"):
            await db.fetch_value("select $1::uuid", value)
    assert await db.fetch_value("select 1") == 1


def test_any(runner, db):
    @settings(max_examples=100, deadline=None, database=None)
    @given(st.uuids())
    def check(value):
        async def body():
            assert await sent(db, "uuid", value) == (str(value), value)
            assert await same(db, f"'{value}'::uuid") == value

        runner.run(body())

    check()
