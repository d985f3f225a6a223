"""COPY of one table with every type: what a SELECT gives goes in, in each format, and comes out again."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.pg]

# A literal of each type that the servers have in common; a second one where the first is no hard case.
VALUES = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "7"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["4294967295", "0"],
    "float4": ["0.1", "-Infinity"],
    "float8": ["0.1", "1e-308"],
    "numeric": ["12345678901234567890.123456789", "0.00"],
    "money": ["12.34", "-5.00"],
    "text": ["a\tb\\c\nd,\"e\" 'f'", ""],
    "varchar": ["é\u20ac", "\\N"],
    "char(5)": ["ab", "x"],
    "name": ["a name", "b"],
    '"char"': ["x", "y"],
    "bytea": ["\\x00ff5c0a", "\\x"],
    "date": ["2024-02-29", "0001-01-01"],
    "time": ["23:59:59.999999", "00:00"],
    "timetz": ["12:30:00+05:30", "00:00+00"],
    "timestamp": ["2024-02-29 12:34:56.789012", "1999-12-31 23:59:59"],
    "timestamptz": ["2024-02-29 12:34:56.789012+02", "1999-12-31 23:59:59+00"],
    "interval": ["1 year 2 mons 3 days 04:05:06.789", "-1 day"],
    "uuid": ["00112233-4455-6677-8899-aabbccddeeff", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "json": ['{"a":[1,null,"x\\ty"]}', "7"],
    "jsonb": ['{"a": [1, 2.5, "x"]}', '"text"'],
    "inet": ["192.168.0.1/24", "::1"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "macaddr": ["08:00:2b:01:02:03", "00:00:00:00:00:00"],
    "macaddr8": ["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"],
    "bit(5)": ["10101", "00000"],
    "varbit": ["101", ""],
    "point": ["(1.5,-2)", "(0,0)"],
    "box": ["(2,2),(0,0)", "(1,1),(1,1)"],
    "line": ["{1,2,3}", "{0,1,0}"],
    "lseg": ["[(0,0),(1,1)]", "[(1,2),(3,4)]"],
    "path": ["((0,0),(1,1))", "[(0,0),(1,1)]"],
    "polygon": ["((0,0),(1,1),(1,0))", "((0,0))"],
    "circle": ["<(1,2),3>", "<(0,0),0>"],
    "tsvector": ["'a':1 'b':2A", ""],
    "tsquery": ["'a' & 'b'", "'c'"],
    "pg_lsn": ["16/B374D848", "0/0"],
    "int4[]": ["{1,NULL,3}", "{{1,2},{3,4}}"],
    "text[]": ['{a,"b,\\"c\\"",NULL,""}', "{}"],
    "int4range": ["[1,5)", "empty"],
    "tstzrange": ['["2024-01-01 00:00:00+00",)', "(,)"],
    "int4multirange": ["{[1,3),[5,7)}", "{}"],
    "aclitem": ["postgres=r/postgres", "postgres=w/postgres"],
    "mood": ["sad", "so, so"],
    "pair": ['(1,"a,b")', "(,)"],
    "small": ["1", "2"],
    "mood[]": ['{sad,"so, so"}', "{NULL}"],
}  # fmt: skip


@pytest.mark.row("Y02")
@pytest.mark.row("Y03")
@pytest.mark.parametrize("form", [None, "binary", "text", "csv"])
async def test_every_type(db: Any, form: str | None) -> None:
    await db.execute_script(
        "create type pg_temp.mood as enum ('sad', 'so, so'); create type pg_temp.pair as (a int4, b text);"
        "create domain pg_temp.small as int4 check (value < 100)"
    )
    # What has no codec in binary cannot go in binary: it is told, and left out of the table.
    names = {
        kind: f"c{number}" for number, kind in enumerate(VALUES) if form != "binary" or kind not in NO_BINARY
    }
    columns = ", ".join(f"{name} {_typed(kind)}" for kind, name in names.items())
    await db.execute_script(f"create temp table one ({columns}); create temp table two (like one)")
    for row in range(2):
        literals = ", ".join(f"{_quoted(VALUES[kind][row])}::{_typed(kind)}" for kind in names)
        await db.execute_script(f"insert into one values ({literals})")
    await db.execute_script("insert into one default values")
    expected = await db.fetch_all("table one")
    tag = await db.copy_in("two", expected, format=form)
    assert tag.rows_affected == 3
    assert await db.fetch_all("table two") == expected
    texts = ", ".join(f"{name}::text" for name in names.values())
    assert await db.fetch_all(f"select {texts} from two") == await db.fetch_all(f"select {texts} from one")
    copied = [row async for row in db.copy_out("one", format=form)]
    assert copied == expected
    kinds = [[type(value) for value in row] for row in copied]
    assert kinds == [[type(value) for value in row] for row in expected]


NO_BINARY = {"aclitem", "tsquery", "money"}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _typed(kind: str) -> str:
    return f"pg_temp.{kind}" if kind.removesuffix("[]") in {"mood", "pair", "small"} else kind
