"""bytea: every byte, every kind of buffer, both text forms."""

from __future__ import annotations

import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V08")]

ALL = bytes(range(256))


@pytest.mark.parametrize("output", ["hex", "escape"])
async def test_all_bytes_in_both_text_forms(db, output):
    await db.execute(f"set bytea_output = {output}")
    for value in (
        ALL,
        b"",
        b"\\",
        b"\\\\",
        b"\\x41",
        b"x",
        b"\0",
        b"\xff",
        b"\\000",
        b"'",
        *(bytes([n]) for n in range(256)),
    ):
        found = await formats(db, f"'\\x{value.hex()}'::bytea")
        assert found == [value] * 3
        assert {type(one) for one in found} == {bytes}
        assert await db.fetch_value("select $1::bytea", value) == value


@pytest.mark.parametrize(("output", "text"), [("hex", "\\x00415cff"), ("escape", "\\000A\\\\\\377")])
async def test_passing(db, output, text):
    await db.execute(f"set bytea_output = {output}")
    assert await sent(db, "bytea", b"\0A\\\xff") == (text, b"\0A\\\xff")


class Mine(bytes):
    def __bytes__(self):
        return b"other"


BUFFERS = {
    "bytes": (b"abcdef", b"abcdef"),
    "subclass": (Mine(b"abcdef"), b"abcdef"),
    "bytearray": (bytearray(b"abcdef"), b"abcdef"),
    "memoryview": (memoryview(b"abcdef"), b"abcdef"),
    "slice": (memoryview(b"abcdef")[1:3], b"bc"),
    "strided": (memoryview(b"abcdef")[::2], b"ace"),
    "reversed": (memoryview(b"abcdef")[::-1], b"fedcba"),
    "two dimensions": (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
    "array": (array.array("B", b"abcdef"), b"abcdef"),
    "empty view": (memoryview(b""), b""),
}


@pytest.mark.parametrize("kind", BUFFERS)
async def test_buffers(db, kind):
    value, expected = BUFFERS[kind]
    assert (await sent(db, "bytea", value)).back == expected


async def test_numpy_bytes(db):
    numpy = pytest.importorskip("numpy")
    grid = numpy.arange(12, dtype=numpy.uint8).reshape(3, 4)
    assert (await sent(db, "bytea", grid)).back == bytes(range(12))
    assert (await sent(db, "bytea", grid[:, 1])).back == b"\x01\x05\x09"
    assert (await sent(db, "bytea", grid.T)).back == grid.T.tobytes()


@pytest.mark.parametrize(
    "value",
    [
        memoryview(b"abcdefgh").cast("I"),
        memoryview(b"abcdefgh").cast("b"),
        memoryview(b"abcdefgh").cast("c"),
        memoryview(array.array("i", [1, 2]))[::-1],
        array.array("i", [1, 2]),
        array.array("b", b"ab"),
    ],
    ids=["view I", "view b", "view c", "strided i", "array i", "array b"],
)
async def test_buffers_of_other_items_fare_alike_on_every_use(db, value):
    """Taken as their bytes or refused: but the same on the first use of a statement and on later ones."""
    outcomes = []
    for _ in range(3):
        try:
            outcomes.append(await db.fetch_value("select $1::bytea", value))
        except DataError as error:
            outcomes.append(str(error.message))
        await db.fetch_value("select $1::bytea", b"")
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("value", ["abc", 5, [1, 2], None.__class__, 1.5], ids=repr)
async def test_what_is_no_buffer(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(bytea\): expected bytes"):
            await db.fetch_value("select $1::bytea", value)


async def test_a_released_view(db):
    view = memoryview(b"abc")
    view.release()
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(bytea\)"):
            await db.fetch_value("select $1::bytea", view)
    with pytest.raises(DataError, match=r"argument \$1 \(bytea\)"):
        await db.fetch_value("select $1::bytea", view)


async def test_ten_megabytes(db):
    value = ALL * (40 << 10)
    for _ in range(2):
        assert await db.fetch_value("select $1::bytea", value) == value
    sql = "select decode(repeat('00ff5c27', 2000000), 'hex')"
    assert await same(db, sql.removeprefix("select ")) == b"\x00\xff\x5c\x27" * 2_000_000


async def test_a_buffer_is_not_kept(db):
    raw = bytearray(b"abc")
    for _ in range(3):
        await db.fetch_value("select $1::bytea", raw)
        raw.append(1)  # raises BufferError while somebody exports the buffer


@pytest.mark.parametrize("output", ["hex", "escape"])
def test_any(runner, db, output):
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.binary())
    def check(value):
        async def body():
            assert (await sent(db, "bytea", value)).back == value
            assert await same(db, f"'\\x{value.hex()}'::bytea") == value

        runner.run(body())

    async def choose():
        await db.execute(f"set bytea_output = {output}")

    runner.run(choose())
    check()


@pytest.mark.slow
@pytest.mark.row("T01")
async def test_more_than_a_server_reads_at_once(db):
    """It would hang up: the call is refused before, and the connection stays."""
    for _ in range(2):
        with pytest.raises(DataError, match="PostgreSQL takes less than 1 GiB at once"):
            await db.fetch_value("select length($1::bytea)", bytes(2**30))
    assert await db.fetch_value("select length($1::bytea)", bytes(7)) == 7
    await db.execute("create temp table big (data bytea)")
    with pytest.raises(DataError, match=r"record 1: .* 1 GiB"):
        await db.copy_in("big", [(b"",), (bytes(2**30),)])
    with pytest.raises(DataError, match=r"record 1: .* 1 GiB"):
        await db.execute_many("insert into big values ($1)", [(b"",), (bytes(2**30),)])
    assert await db.fetch_value("select count(*) from big") == 0
