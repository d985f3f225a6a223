"""COPY in text format: for tables with a type that has no binary codec. What is stored is what binary COPY stores."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import DataError, InvalidTextRepresentation, ProgrammingError
from pgoxide.types import PgDate, PgTimestamp, PgTimestampTz, Range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.pg, pytest.mark.row("Y02")]

ASYNC = pytest.mark.parametrize("face", ["async"])
NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
INFINITIES = (float("inf"), float("-inf"))


def naive(*fields: int) -> dt.datetime:
    return dt.datetime(*fields)  # type: ignore[arg-type]  # noqa: DTZ001  a timestamp has no zone


NASTY = [
    "", "\\", "\\N", "\\.", "\\n", "N", "\t", "\n", "\r", "\r\n", "\\\t\\\n\\", "a\tb\nc\\d", "\x01\x08\x0b\x0c\x1f\x7f",
    "é€😀", "\u2028", "'\"`,;|", " ", "null", "NULL", "x" * 100_000, "\\" * 1000,
]  # fmt: skip

VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int2": [0, -1, -(2**15), 2**15 - 1],
    "int4": [0, -1, -(2**31), 2**31 - 1],
    "int8": [0, -1, -(2**63), 2**63 - 1],
    "oid": [0, 2**32 - 1],
    "xid": [0, 2**32 - 1],
    "float4": [0.0, -0.0, 0.1, 1 / 3, 1e-45, 3.4028234e38, 16777216.0, 1e10, float("nan"), *INFINITIES],
    "float8": [0.0, -0.0, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 1e15, 1e16, 1e22, 2.0**53, float("nan"), *INFINITIES],
    "numeric": [
        0, 10**40, -7, 0.1, Decimal("-0.00"), Decimal("1.10"), Decimal("1e-300"), Decimal("1E+20"), Decimal("NaN"),
        Decimal("Infinity"), Decimal("-Infinity"), Decimal("12345678901234567890.123456789012345678901234567890"),
    ],
    "numeric(8,3)": [Decimal("12345.6785"), Decimal(-1), 2.5],
    "text": NASTY,
    "varchar": NASTY,
    "varchar(3)": ["", "abc", "a\\\t", "ab   "],
    "char(4)": ["", "a", "a\\", "abcd"],
    "name": ["", "n" * 63, "a\\b\tc"],
    "bytea": [b"", bytes(range(256)), b"\\", b"\\x41", bytearray(b"\t\n"), memoryview(b"abcdef")[::2]],
    '"char"': [bytes([n]) for n in range(128)],
    "date": [
        dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2000, 2, 29), dt.date(12, 11, 10), PgDate(-4713, 11, 24), PgDate(0, 2, 29),
        PgDate(10_000, 1, 1), PgDate(5_874_897, 12, 31), PgDate.infinity, PgDate.negative_infinity,
    ],
    "timestamp": [
        naive(1, 1, 1), naive(2020, 1, 2, 3, 4, 5, 6), naive(9999, 12, 31, 23, 59, 59, 999_999),
        PgTimestamp(-4713, 11, 24, 0, 0, 0, 0), PgTimestamp(0, 12, 31, 23, 59, 59, 1),
        PgTimestamp(294_276, 12, 31, 23, 59, 59, 999_999), PgTimestamp.infinity, PgTimestamp.negative_infinity,
    ],
    "timestamp(2)": [naive(2020, 1, 2, 3, 4, 5, 6_789)],
    "timestamptz": [
        NOON, dt.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=30, seconds=7))),
        dt.datetime(2021, 3, 28, 1, 30, tzinfo=dt.UTC), PgTimestampTz(-4713, 11, 24, 0, 0, 0, 0),
        PgTimestampTz(294_276, 12, 31, 23, 59, 59, 999_999), PgTimestampTz.infinity, PgTimestampTz.negative_infinity,
    ],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), "12345678-1234-5678-1234-567812345678"],
    "json": [{}, [], "text\t\\", {"a\nb": ["\\", None, 1.5, True, "é"]}, 10**30, Decimal("1.10")],
    "jsonb": [{}, [], "text\t\\", {"a\nb": ["\\", None, 1.5, True, "é"]}, 10**30, Decimal("1.10")],
}  # fmt: skip


async def both_ways(db: Any, type_name: str, values: list[Any]) -> None:
    """Loads them by binary and by text COPY and compares what is stored, byte for byte."""
    await db.execute_script(
        f"drop table if exists b, t; create temp table b (n int4, v {type_name});"
        f"create temp table t (n int4, v {type_name}, unknown aclitem)"
    )
    await db.copy_in("b", list(enumerate([*values, None])))
    tag = await db.copy_in("t", [(n, v, "postgres=r/postgres") for n, v in enumerate([*values, None])])
    assert tag.rows_affected == len(values) + 1
    differ = await db.fetch_all(
        "select n, b.v::text, t.v::text from b join t using (n), lateral (select b.v) x, lateral (select t.v) y "
        "where not (x *= y) order by n"
    )
    assert differ == [], [(values[n], *rest) for n, *rest in differ]
    assert await db.fetch_value("select count(*) from b join t using (n)") == len(values) + 1
    assert await db.fetch_value("select bool_and(unknown = 'postgres=r/postgres') from t") is True


@pytest.mark.parametrize("type_name", VALUES)
async def test_text_stores_what_binary_stores(db: Any, type_name: str) -> None:
    await both_ways(db, type_name, VALUES[type_name])


@pytest.mark.parametrize("style", ["SQL, DMY", "SQL, MDY", "Postgres, DMY", "German", "ISO, YMD"])
async def test_whatever_the_settings(db: Any, style: str) -> None:
    await db.execute_script(
        f"set datestyle to '{style}'; set timezone to 'America/St_Johns'; set extra_float_digits to -15; "
        "set bytea_output to 'escape'"
    )
    for type_name in ("date", "timestamp", "timestamptz", "float8", "bytea"):
        await both_ways(db, type_name, VALUES[type_name])


async def test_random_texts(db: Any) -> None:
    dice = random.Random(11)
    texts = ["".join(dice.choices("\\\t\n\r.NntrxbE0'\"é😀 ", k=dice.randrange(12))) for _ in range(3000)]
    await both_ways(db, "text", texts)
    await both_ways(db, "bytea", [text.encode() for text in texts])


async def test_bytes_above_127_in_char(db: Any) -> None:
    """They have a text form from PostgreSQL 16 on; before, they are refused rather than stored as something else."""
    if db.server_version >= 160000:
        await both_ways(db, '"char"', [bytes([n]) for n in range(128, 256)])
        return
    await db.execute('create temp table t (v "char", unknown aclitem)')
    with pytest.raises(DataError, match=r"record 1: column v \(char\).*PostgreSQL 16"):
        await db.copy_in("t", [(b"a", None), (b"\xff", None)])
    assert await db.fetch_value("select count(*) from t") == 0


async def test_types_without_a_codec(db: Any) -> None:
    """The issue's table: everything we do not know beside what we do."""
    await db.execute_script(
        "drop type if exists mood, pair cascade; create type mood as enum ('sad', E'o\\'k\\\\'); create type pair as (x int4, y text)"
    )
    try:
        await db.execute(
            "create temp table u (a int4, b text, c bytea, d timestamptz, e float8, r int4range, i inet, m mood, p pair, n numeric[])"
        )
        records = [
            (
                1,
                "tab\t",
                b"\0\xff",
                NOON,
                0.1,
                Range(1, 5),
                "10.0.0.1/8",
                "sad",
                (1, "a\tb\\"),
                [Decimal("1.10"), None],
            ),
            (2, None, None, None, None, None, None, None, None, None),
            (3, "\\N", b"", NOON, float("nan"), Range.empty(), "::1", "o'k\\", (None, None), []),
        ]
        tag = await db.copy_in("u", iter(records))
        assert (tag.text, tag.rows_affected) == ("COPY 3", 3)
        first = await db.fetch_one("select *, (p).y as y from u where a = 1")
        assert first[:5] == records[0][:5]
        assert (first.r, str(first.i), first.m, first.y, first.n) == (
            Range(1, 5),
            "10.0.0.1/8",
            "sad",
            "a\tb\\",
            [Decimal("1.10"), None],
        )
        assert await db.fetch_one("select * from u where a = 2") == records[1]
        third = await db.fetch_one("select m, b, c, e, p is null, n from u where a = 3")
        assert third[:3] == ("o'k\\", "\\N", b"")
        assert (str(third[3]), third[4], third[5]) == ("nan", True, [])
    finally:
        await db.execute("drop type mood, pair cascade")


async def test_domains(db: Any) -> None:
    """The type below the domain decides; the server checks the domain in either format."""
    await db.execute_script(
        "drop domain if exists small, span cascade; create domain small as int4 check (value < 10); "
        "create domain span as int4range check (not isempty(value))"
    )
    try:
        await db.execute("create temp table d (a small, s span)")
        await db.copy_in("d", [(1, Range(1, 2))], columns=["a", "s"])
        await db.copy_in("d", [(2,)], columns=["a"])
        for bad in ((10, Range(1, 2)), (1, Range.empty())):
            with pytest.raises(Exception, match="violates check constraint"):
                await db.copy_in("d", [bad])
        assert await db.fetch_all("select a, s from d order by a") == [(1, Range(1, 2)), (2, None)]
    finally:
        await db.execute("drop domain small, span cascade")


# ---- what is refused


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ((1, "\ud800", None), r"record 1: column b \(text\): a lone surrogate"),
        ((1, "a\0b", None), r"record 1: column b \(text\): .*NUL"),
        ((1, "x", "\ud800"), r"record 1: column r \(aclitem\): a lone surrogate"),
        ((1, "x", "postgres=\0)"), r"record 1: column r \(aclitem\): .*NUL"),
        ((1, "x", 7), r"record 1: column r \(aclitem\): expected str, got int 7"),
        (("1", "x", None), r"record 1: column a \(int4\): expected int"),
        ((2**31, "x", None), r"record 1: column a \(int4\): .*out of range"),
        ((1, "x"), "record 1: 2 values for 3 columns"),
        ({"a": 1, "b": "x", "q": None}, "record 1: the keys are not the columns: missing 'r'; surplus 'q'"),
        ({"a": 1}, "record 1: the keys are not the columns: missing 'b', 'r'; surplus none"),
        (SimpleNamespace(a=1, b="x"), "record 1: .*no attribute 'r'"),
    ],
)
async def test_refusals_name_record_and_column(db: Any, record: Any, message: str) -> None:
    await db.execute("create temp table t (a int4, b text, r aclitem)")
    with pytest.raises(DataError, match=message):
        await db.copy_in("t", [(1, "x", "postgres=r/postgres"), record])
    assert await db.fetch_value("select count(*) from t") == 0


async def test_keys_of_binary_copy_too(db: Any) -> None:
    await db.execute("create temp table t (a int4, b text)")
    with pytest.raises(
        DataError, match="record 0: the keys are not the columns: missing 'b'; surplus 'c', 5"
    ):
        await db.copy_in("t", [{"a": 1, "c": "x", 5: 6}])
    with pytest.raises(DataError, match="record 0: the keys are not the columns: missing 'b'; surplus 'B'"):
        await db.copy_in("t", [{"a": 1, "B": "x"}])
    assert await db.fetch_value("select count(*) from t") == 0


async def test_long_names_are_refused_as_in_binary(db: Any) -> None:
    """The server would cut them in silence."""
    await db.execute("create temp table t (v name, unknown aclitem)")
    with pytest.raises(DataError, match=r"record 0: column v \(name\): a name of 64 bytes"):
        await db.copy_in("t", [("é" * 32, None)])
    assert await db.fetch_value("select count(*) from t") == 0


async def test_what_the_server_refuses(db: Any) -> None:
    await db.execute("create temp table t (a int4, r aclitem)")
    with pytest.raises(InvalidTextRepresentation, match="unrecognized key word") as caught:
        await db.copy_in("t", [(1, "postgres=r/postgres"), (2, "no range")])
    assert "line 2, column r" in (caught.value.context or "")
    assert await db.fetch_value("select count(*) from t") == 0


async def test_nothing_to_fill(db: Any) -> None:
    await db.execute("create temp table t (a int4 generated always as (1) stored)")
    with pytest.raises(ProgrammingError, match="no column that can be filled"):
        await db.copy_in("t", [()])


# ---- sources, columns, conditions


@pytest.mark.parametrize(
    "records",
    [
        [(1, "x", "postgres=r/postgres"), (2, None, None)],
        [[1, "x", "postgres=r/postgres"], [2, None, None]],
        [{"b": "x", "a": 1, "r": "postgres=r/postgres"}, {"a": 2, "b": None, "r": None}],
        [SimpleNamespace(a=1, b="x", r="postgres=r/postgres"), SimpleNamespace(a=2, b=None, r=None)],
    ],
    ids=["tuples", "lists", "dicts", "objects"],
)
async def test_records_of_every_shape(db: Any, records: list[Any]) -> None:
    await db.execute("create temp table t (a int4, b text, r aclitem)")
    assert (await db.copy_in("t", records)).rows_affected == 2
    assert await db.fetch_all("select * from t order by a") == [
        (1, "x", "postgres=r/postgres"),
        (2, None, None),
    ]


async def test_columns_and_a_condition(db: Any) -> None:
    await db.execute("create temp table t (a int4, b text, r aclitem)")
    many = (("postgres=r/postgres", n) for n in range(100_000))
    tag = await db.copy_in("t", many, columns=["r", "a"], where="a >= 99990")
    assert tag.rows_affected == 10
    assert await db.fetch_value("select bool_and(r = 'postgres=r/postgres') from t") is True
    await db.copy_in("t", [(1, "postgres=/postgres")], columns=["a", "r"])
    assert await db.fetch_one("select b, r from t where a = 1") == (None, "postgres=/postgres")
    assert (await db.copy_in("t", [])).rows_affected == 0


async def test_one_column_of_empty_texts(db: Any) -> None:
    """An empty line is an empty value, the end is no line."""
    await db.execute("create temp table t (r text, x tsquery)")
    await db.copy_in("t", [("", ""), (None, None), ("\\.", "'a'")])
    assert await db.fetch_all("select r, x from t") == [("", ""), (None, None), ("\\.", "'a'")]
    await db.execute("create temp table one (x tsquery)")
    await db.copy_in("one", [("",), (None,), ("'a'",)])
    assert await db.fetch_column("select x from one") == ["", None, "'a'"]


@ASYNC
@pytest.mark.parametrize("extra", ["", ", r aclitem"], ids=["binary", "text"])
async def test_asynchronous_sources(face: str, db: Any, extra: str) -> None:
    await db.execute(f"create temp table t (a int4, b text{extra})")

    async def source(fails: bool = False) -> AsyncIterator[tuple[Any, ...]]:
        for n in range(2000):
            yield (n, "x", "postgres=r/postgres") if extra else (n, "x")
        if fails:
            raise ZeroDivisionError("mine")

    assert (await db.copy_in("t", source())).rows_affected == 2000
    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_in("t", source(fails=True))
    assert await db.fetch_value("select count(*) from t") == 2000


async def test_an_exception_of_the_source_undoes_text_too(db: Any) -> None:
    await db.execute("create temp table t (a int4, r aclitem)")

    def source() -> Any:
        yield from ((n, "postgres=r/postgres") for n in range(20_000))
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        await db.copy_in("t", source())
    assert await db.fetch_value("select count(*) from t") == 0


@pytest.mark.row("Y04")
@pytest.mark.parametrize(
    ("options", "record"),
    [({"quote": "\\"}, (".\r",)), ({"quote": "\\"}, (".\n",)), ({"delimiter": "\\"}, (None, "."))],
)
async def test_a_line_that_would_end_the_data(db: Any, options: Any, record: Any) -> None:
    """Before PostgreSQL 18 the server stops at it without a word, wherever quotes stand."""
    await db.execute("create temp table c (a text, b text)")
    with pytest.raises(DataError, match=r"would end the data|must not be a backslash"):
        await db.copy_in("c", [record], columns=["a", "b"][: len(record)], format="csv", **options)
    # In the usual dialect, all of it is data.
    lines = [(r"\.", None), (None, r"\."), ("\\.\n", "\\.\r\n"), ("a", "b")]
    assert (await db.copy_in("c", lines, format="csv")).rows_affected == len(lines)
    assert await db.fetch_all("select * from c") == lines
