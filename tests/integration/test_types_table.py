"""The reference's table of types, which the core writes of its codecs, holds what it says: values are of the classes it names, and
arguments of the classes it names are taken."""

from __future__ import annotations

import builtins
import datetime as dt
import decimal
import ipaddress
import pathlib
import re
import uuid

import pytest

from fixtures.fix_faces import formats
from pgoxide import _core, types
from pgoxide.errors import Error

pytestmark = [pytest.mark.pg, pytest.mark.row("T03", "B05")]

# Types of which anybody can have a value, with some.
SAMPLES: dict[str, list[str]] = {
    "bool": ["true"], "bytea": ["'\\x01'"], "char": ["'a'"], "name": ["'a'"], "int8": ["1"], "int2": ["1"], "int4": ["1"], "text": ["'a'"],
    "oid": ["1"], "tid": ["'(0,1)'"], "xid": ["'1'"], "cid": ["'1'"], "json": ["'{}'", "'[]'", "'\"a\"'", "'1'", "'1.5'", "'0.10000000000000000000001'", "'true'", "'null'"],
    "point": ["'(1,2)'"], "lseg": ["'[(1,2),(3,4)]'"], "path": ["'((1,2),(3,4))'"], "box": ["'(1,2),(3,4)'"], "polygon": ["'((1,2),(3,4))'"],
    "line": ["'{1,2,3}'"], "circle": ["'<(1,2),3>'"], "cidr": ["'10.0.0.0/8'", "'::/0'"], "float4": ["1.5"], "float8": ["1.5"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"], "macaddr": ["'08:00:2b:01:02:03'"], "money": ["1.5"], "bpchar": ["'a'"], "varchar": ["'a'"],
    "inet": ["'10.0.0.1'", "'::1'", "'10.0.0.1/8'", "'::1/8'"], "date": ["'2020-01-02'"], "time": ["'01:02:00'"], "timestamp": ["'2020-01-02'"],
    "timestamptz": ["'2020-01-02 00:00+00'"], "interval": ["'1 day'"], "timetz": ["'01:02:00+00'"], "bit": ["'1'"], "varbit": ["'1'"], "numeric": ["1.5"],
    "refcursor": ["'a'"], "regproc": ["'now'"], "regprocedure": ["'abs(int4)'"], "regoper": ["'||/'"], "regoperator": ["'+(int4,int4)'"],
    "regclass": ["'pg_class'"], "regtype": ["'int4'"], "uuid": ["'00000000-0000-0000-0000-000000000001'"], "txid_snapshot": ["'1:1:'"], "pg_lsn": ["'0/1'"],
    "tsvector": ["'a'"], "tsquery": ["'a'"], "regconfig": ["'english'"], "regdictionary": ["'simple'"], "int4range": ["'[1,2)'"], "numrange": ["'[1,2)'"],
    "tsrange": ["'[2020-01-01,2020-01-02)'"], "tstzrange": ["'[2020-01-01,2020-01-02)'"], "daterange": ["'[2020-01-01,2020-01-02)'"], "int8range": ["'[1,2)'"],
    "jsonpath": ["'$'"], "regnamespace": ["'pg_catalog'"], "regrole": ["'pg_monitor'"], "regcollation": ["'\"C\"'"], "int4multirange": ["'{[1,2)}'"],
    "int8multirange": ["'{[1,2)}'"], "nummultirange": ["'{[1,2)}'"], "tsmultirange": ["'{}'"], "tstzmultirange": ["'{}'"], "datemultirange": ["'{}'"],
    "pg_snapshot": ["'1:1:'"], "xid8": ["'1'"], "int2vector": ["'1 2'"], "oidvector": ["'1 2'"], "aclitem": ["'=r/postgres'"],
}  # fmt: skip
SAMPLES["jsonb"] = SAMPLES["json"]
# Nobody declares columns of them, or sees their values, or only a server built with libxml has them.
WITHOUT = re.compile(
    "any.*|.*_handler|internal|trigger|event_trigger|pg_ddl_command|unknown|cstring|xml|void|record|gtsvector|pg_node_tree|pg_ndistinct|"
    "pg_dependencies|pg_mcv_list|pg_brin_.*"
)
LINES = {name: (reads, takes, form) for name, reads, takes, form, _ in _core.codecs()}


def test_every_type_has_a_sample():
    assert {name for name in LINES if not WITHOUT.fullmatch(name)} == set(SAMPLES)


def class_of(name: str) -> type:
    if name == "None":
        return type(None)
    for module in (builtins, types):
        if hasattr(module, name):
            return getattr(module, name)
    home, _, name = name.rpartition(".")
    return getattr({"datetime": dt, "decimal": decimal, "uuid": uuid, "ipaddress": ipaddress}[home], name)


@pytest.mark.parametrize("name", SAMPLES)
async def test_values_are_of_the_classes_named(db, name):
    reads, _, form = LINES[name]
    named = {class_of(word) for word in reads.split(", ")}
    seen = set()
    quoted = '"char"' if name == "char" else name
    for sample in SAMPLES[name]:
        seen |= {type(value) for value in await formats(db, f"{sample}::{quoted}")}
    assert seen == named
    assert form == (
        "text"
        if name in {"aclitem", "tsquery", "jsonpath", "money", "refcursor"} or name.startswith("reg")
        else "binary"
    )


ARGUMENTS = {
    "bool": True, "int": 1, "float": 1.5, "decimal.Decimal": decimal.Decimal("1.5"), "bytes": b"a", "bytearray": bytearray(b"a"), "memoryview": memoryview(b"a"),
    "os.PathLike": pathlib.Path("a"), "Json": types.Json([1]), "JsonNull": types.JsonNull, "dict": {"a": 1}, "datetime.date": dt.date(2020, 1, 2),
    "PgDate": types.PgDate(2020, 1, 2), "datetime.time": dt.time(1), "PgTime": types.PgTime(24), "PgTimeTz": types.PgTimeTz(24), "PgTimestamp": types.PgTimestamp(2020, 1, 2),
    "PgTimestampTz": types.PgTimestampTz(2020, 1, 2), "uuid.UUID": uuid.UUID(int=1), "Interval": types.Interval(1), "datetime.timedelta": dt.timedelta(1),
    "BitString": types.BitString("1"), "Point": types.Point(1, 2), "Line": types.Line(1, 2, 3), "Circle": types.Circle(types.Point(1, 2), 3),
    "LineSegment": types.LineSegment(types.Point(1, 2), types.Point(3, 4)), "Box": types.Box(types.Point(1, 2), types.Point(3, 4)),
    "Path": types.Path((types.Point(1, 2),), closed=True), "Polygon": types.Polygon((types.Point(1, 2),)), "TsVector": types.TsVector({"a": []}),
    "Lsn": types.Lsn(1), "Tid": types.Tid(0, 1), "Snapshot": types.Snapshot(1, 1), "Range": types.Range(None, None), "Multirange": types.Multirange([]),
    "Array": types.Array([1]), "set": {1}, "iterables": range(1, 2), "__index__": type("Index", (), {"__index__": lambda self: 1})(),
}  # fmt: skip
SHAPES = {
    "point": (1, 2), "line": (1, 2, 3), "lseg": ((1, 2), (3, 4)), "box": ((1, 2), (3, 4)), "circle": ((1, 2), 3), "polygon": ((1, 2), (3, 4)), "tid": (0, 1),
    "json": (1, 2), "jsonb": (1, 2), "int2vector": (1, 2), "oidvector": (1, 2),
}  # fmt: skip
TEXTS = {"bytea": "", "char": "a", "json": "a", "jsonb": "a"}


def arguments(name, takes):
    """An argument of each class that the line names."""
    for word in takes.split(", "):
        if word in {"tuple", "list"}:
            if name in SHAPES:
                yield tuple(SHAPES[name]) if word == "tuple" else list(SHAPES[name])
        elif word == "str":
            yield TEXTS.get(name) or SAMPLES[name][0].strip("'")
        elif word == "datetime.datetime":
            yield dt.datetime(2020, 1, 2, tzinfo=dt.UTC if name == "timestamptz" else None)
        elif word == "datetime.time":
            yield dt.time(1, tzinfo=dt.UTC if name == "timetz" else None)
        elif "ipaddress" in word or word.startswith(("addresses", "interfaces", "networks")):
            yield ipaddress.ip_network("10.0.0.0/8")
            yield ipaddress.ip_address("::1")
            if name == "inet":
                yield ipaddress.ip_interface("10.0.0.1/8")
        elif word in ARGUMENTS:
            yield ARGUMENTS[word]


@pytest.mark.parametrize("name", SAMPLES)
async def test_arguments_of_the_classes_named_are_taken(db, name):
    taken = list(arguments(name, LINES[name][1]))
    assert taken
    quoted = '"char"' if name == "char" else name
    for value in taken:
        await db.execute(f"select $1::{quoted}", value)
    for value in (object(), ...):
        with pytest.raises(Error, match=r"argument \$1"):
            await db.execute(f"select $1::{quoted}", value)
