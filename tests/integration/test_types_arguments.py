"""Arguments of other classes than the types' own: NumPy's scalars, paths, enumerations, buffers, subclasses; and numbers that would
lose something."""

from __future__ import annotations

import array
import datetime as dt
import enum
import mmap
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath

import pytest

from fixtures.fix_faces import sent
from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg]
numpy = pytest.importorskip("numpy")


class Colour(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042  another class than StrEnum makes
    RED = "red"


class Count(enum.IntEnum):
    SEVEN = 7


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "mine"


class Money(Decimal):
    def __str__(self):
        return "mine"


class Ratio(float):
    def __repr__(self):
        return "0.25"


class Index:
    def __index__(self):
        return 7


@pytest.mark.row("V36")
@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("int4", numpy.int8(-7), "-7"), ("int4", numpy.uint32(7), "7"), ("int8", numpy.int64(-(2**63)), str(-(2**63))), ("int2", numpy.uint8(255), "255"),
        ("oid", numpy.uint64(2**32 - 1), str(2**32 - 1)), ("xid8", numpy.uint64(2**64 - 1), str(2**64 - 1)), ("int4", Count.SEVEN, "7"),
        ("int4", Flags.A | Flags.B, "3"), ("int4", Index(), "7"), ("int4", True, "1"),
        ("float8", numpy.float64(0.1), "0.1"), ("float8", numpy.float32(0.5), "0.5"), ("float8", numpy.float16(1.5), "1.5"), ("float4", numpy.float32(0.1), "0.1"),
        ("float8", Count.SEVEN, "7"), ("bool", numpy.bool_(True), "true"), ("bool", numpy.bool_(False), "false"), ("int4", numpy.bool_(True), "1"),
        ("numeric", numpy.float32(1.5), "1.5"), ("numeric", numpy.float64(0.1), "0.1"), ("numeric", Ratio(0.5), "0.5"), ("numeric", numpy.int64(7), "7"), ("float8", numpy.uint8(7), "7"), ("jsonb", numpy.int64(7), "7"), ("numeric", Money("1.50"), "1.50"), ("numeric", Count.SEVEN, "7"),
        ("text", numpy.str_("é"), "é"), ("text", Colour.RED, "red"), ("text", Mixed.RED, "red"), ("text", Text("plain"), "plain"),
        ("text", PurePosixPath("/tmp/é"), "/tmp/é"), ("varchar", Path("a/b"), "a/b"),
        ("bytea", numpy.bytes_(b"\1\2"), "\\x0102"), ("bytea", array.array("B", [1, 2]), "\\x0102"), ("bytea", numpy.array([1, 2], "u1"), "\\x0102"),
        ("bytea", memoryview(b"\1\0\2")[::2], "\\x0102"),
        ("date", numpy.datetime64("2020-02-03"), "2020-02-03"), ("timestamp", numpy.datetime64("2020-02-03T04:05:06.7"), "2020-02-03 04:05:06.7"),
        ("interval", numpy.timedelta64(90, "m"), "01:30:00"), ("interval", numpy.timedelta64(2, "D"), "2 days"),
        ("point", (numpy.float32(1.5), numpy.float64(2)), "(1.5,2)"), ("pg_lsn", numpy.uint64(2**64 - 1), "FFFFFFFF/FFFFFFFF"),
    ],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}" if not isinstance(value, str) else value[:20],
)  # fmt: skip
async def test_taken_for_what_they_are(db, name, value, text):
    assert (await sent(db, name, value)).text == text


@pytest.mark.row("V36")
async def test_a_mapped_file(db, tmp_path):
    (tmp_path / "file").write_bytes(b"\1\2")
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert await db.fetch_value("select $1::bytea", view) == b"\1\2"


@pytest.mark.row("V36")
async def test_in_arrays_and_copy(db):
    values = [numpy.float32(0.5), numpy.float64(1)]
    for _ in range(2):
        assert await db.fetch_value("select $1::float8[]", values) == [0.5, 1.0]
        assert await db.fetch_value("select $1::text[]", [Path("a"), Colour.RED]) == ["a", "red"]
    await db.execute("create temp table t (a float8, b bool, c text, d int4)")
    await db.copy_in("t", [(numpy.float32(0.5), numpy.bool_(True), Path("/x"), numpy.int16(7))])
    assert await db.fetch_all("select * from t") == [(0.5, True, "/x", 7)]


@pytest.mark.row("V36", "T01")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("int4", numpy.float64(1)), ("int4", numpy.float32(1)), ("int8", numpy.datetime64(1, "ns")), ("timestamp", numpy.datetime64(1, "ns")),
        ("timestamp", numpy.datetime64("NaT", "us")), ("date", numpy.datetime64("NaT", "D")), ("date", numpy.datetime64("2020-02-03T04")),
        ("interval", numpy.timedelta64(1, "M")), ("interval", numpy.timedelta64(1, "ns")), ("interval", numpy.timedelta64("NaT", "s")),
        ("timestamptz", numpy.datetime64("2020-02-03T04")), ("float8", numpy.complex128(1)), ("float4", numpy.float64(1e300)), ("bool", numpy.int64(1)),
        ("text", Path), ("text", b"x"), ("numeric", Fraction(1, 2)), ("numeric", numpy.bool_(True)), ("bytea", array.array("i", [1])), ("bytea", "x"),
        ("text", numpy.bytes_(b"x")), ("numeric", numpy.timedelta64(1, "ns")), ("float8", numpy.timedelta64(1, "s")),
    ],
    ids=lambda value: f"{type(value).__name__} {value!s}"[:40],
)  # fmt: skip
async def test_refused_rather_than_changed(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("V36")
async def test_a_path_that_is_no_text(db):
    class Bytes:
        def __fspath__(self):
            return b"x"

    class Raises:
        def __fspath__(self):
            raise ZeroDivisionError("mine")

    with pytest.raises(DataError, match="expected str"):
        await db.fetch_value("select $1::text", Bytes())
    with pytest.raises(DataError) as caught:
        await db.fetch_value("select $1::text", Raises())
    causes = [caught.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    assert isinstance(causes[-1], ZeroDivisionError)


# ---- Q29


@pytest.mark.row("Q29", "T01")
@pytest.mark.parametrize("name", ["int2", "int4", "int8", "oid", "xid8", "regclass", "pg_lsn"])
@pytest.mark.parametrize(
    "value", [1.5, 1.0, Decimal("1.5"), Decimal(1), Decimal("NaN"), Fraction(1, 2), 1j], ids=repr
)
async def test_no_number_loses_its_fraction(db, name, value):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", value)


@pytest.mark.row("Q29", "T01")
@pytest.mark.parametrize(
    "name", ["int2", "int4", "int8", "oid", "xid8", "pg_lsn"]
)  # for a regclass a str is a name
async def test_a_str_is_no_number(db, name):
    for _ in range(2):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", "1.5")


@pytest.mark.row("Q29", "T01")
async def test_out_of_range_raises_before_anything_is_sent(connect, proxy):
    line = proxy()
    db = await connect(to=line)
    for name, least, most in (
        ("int2", -(2**15), 2**15 - 1), ("int4", -(2**31), 2**31 - 1), ("int8", -(2**63), 2**63 - 1), ("oid", 0, 2**32 - 1), ("xid8", 0, 2**64 - 1),
    ):  # fmt: skip
        sql = f"select $1::{name}"
        for edge in (least, most):
            assert await db.fetch_value(sql, edge) == edge
        for beyond in (least - 1, most + 1, 10**100, -(10**100)):
            line.forget()
            with pytest.raises(DataError, match="out of range"):
                await db.fetch_value(sql, beyond)
            assert line.sent == ""
    for name, value in (
        ("float4", 1e300),
        ("float4", 1e-300),
        ("float8", 2**60 + 1),
        ("numeric", Decimal("1E+200000")),
        ("interval", dt.time(1)),
    ):
        await db.fetch_value(f"select $1::{name}", None)
        line.forget()
        with pytest.raises(DataError):
            await db.fetch_value(f"select $1::{name}", value)
        assert line.sent == ""


@pytest.mark.row("Q29")
async def test_bool_is_an_int_as_in_python(db):
    for name in ("int2", "int4", "int8"):
        assert (await sent(db, name, True)).back == 1


@pytest.mark.row("V36", "T01")
async def test_arrays_of_times_without_a_python_value(db):
    """NumPy's `tolist()` makes bare numbers of nanoseconds."""
    times = numpy.array(["2020-02-03T04:05:06.123456789"], dtype="datetime64[ns]")
    for name in ("int8", "timestamp", "numeric"):
        for _ in range(2):
            with pytest.raises(DataError, match=r"element \[0\]: expected .* got datetime64"):
                await db.fetch_value(f"select $1::{name}[]", times)
    good = times.astype("datetime64[us]")
    assert await db.fetch_value("select $1::timestamp[]::text", good) == '{"2020-02-03 04:05:06.123456"}'
    both = numpy.array([good, good])
    assert (await db.fetch_value("select $1::timestamp[]", both))[1][0].microsecond == 123456


class Index:
    def __init__(self, error):
        self.error = error

    def __index__(self):
        raise self.error


@pytest.mark.row("V02")
async def test_what_an_index_raises_is_seen(db):
    for _ in range(2):
        with pytest.raises(DataError, match="expected int, got Index") as caught:
            await db.fetch_value("select $1::int4", Index(RuntimeError("of its own")))
        causes = []
        cause = caught.value
        while (cause := cause.__cause__) is not None:
            causes.append(str(cause))
        assert causes[-1] == "of its own"


class Hooked:
    def __init__(self, error):
        self.error = error

    def __pg_encode__(self):
        raise self.error


@pytest.mark.row("T06")
@pytest.mark.parametrize("kind", [Index, Hooked])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("face", ["blocking"])
async def test_an_interrupt_while_an_argument_is_encoded_stays_one(db, kind, error):
    for _ in range(2):
        with pytest.raises(error):
            await db.fetch_value("select $1::int4", kind(error()))
        with pytest.raises(error):
            await db.fetch_value("select $1::int4[]", [kind(error())])
    assert await db.fetch_value("select 1") == 1
