"""pgvector and PostGIS as codecs: those of docs/how-to/types-and-codecs.md, with golden bytes, and through a server.

The extensions are not installed here. A base type made in the test with bytea's own input, output, send and receive functions has
the same way through the driver: its binary values are the bytes themselves.
"""

from __future__ import annotations

import itertools
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from pgoxide.errors import DataError
from pgoxide.types import Codec

pytestmark = pytest.mark.pg

PAGE = Path(__file__).parents[2] / "docs/how-to/types-and-codecs.md"
_schemas = itertools.count()


def example(name: str) -> dict[str, Any]:
    """What the page's block of this name defines."""
    (code,) = re.findall(
        rf"^```python\n(# {name}\n.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {"Codec": Codec}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def own_type(runner, connect):
    """Makes a base type of this name that stores bytes."""
    schema = f"points_{next(_schemas)}"
    made = []

    async def make(*names):
        admin = await connect()
        made.append(admin)
        await admin.execute(f"create schema {schema}")
        for name in names:
            await admin.execute_script(
                f"set client_min_messages = error; set search_path = {schema}; create type {name};"
                f"create function {name}_in(cstring) returns {name} language internal immutable strict as 'byteain';"
                f"create function {name}_out({name}) returns cstring language internal immutable strict as 'byteaout';"
                f"create function {name}_recv(internal) returns {name} language internal immutable strict as 'bytearecv';"
                f"create function {name}_send({name}) returns bytea language internal immutable strict as 'byteasend';"
                f"create type {name} (input = {name}_in, output = {name}_out, receive = {name}_recv, send = {name}_send, like = bytea);"
                f"create type has_{name} as (id int4, value {name})"
            )
        return schema

    yield make
    for admin in made:
        runner.run(_drop(admin, schema))


async def _drop(db, schema):
    await db.execute_script(f"set client_min_messages = error; drop schema {schema} cascade")


VECTORS = [
    ("vector", [1.0, 2.0, 3.0], "000300003f8000004000000040400000"),
    ("vector", [-0.5], "00010000bf000000"),
    ("halfvec", [1.0, -2.0], "000200003c00c000"),
    ("sparsevec", (5, {0: 1.0, 3: 2.0}), "00000005000000020000000000000000000000033f80000040000000"),
]  # fmt: skip


@pytest.mark.row("T15")
@pytest.mark.parametrize(("name", "value", "golden"), VECTORS)
async def test_vectors(connect, own_type, name, value, golden):
    codecs = example("pgvector")["VECTORS"]
    assert codecs[name].encode(value).hex() == golden
    assert codecs[name].decode(bytes.fromhex(golden)) == value
    schema = await own_type(name)
    db = await connect(codecs=codecs, options=f"-csearch_path={schema}")
    assert await db.fetch_value(f"select $1::{name}", value) == value
    assert await db.fetch_value(f"select {name}_send($1::{name})", value) == bytes.fromhex(golden)
    assert await db.fetch_value(f"select $1::{name}[]", [value, None]) == [value, None]
    assert await db.fetch_value(f"select $1::has_{name}", (1, value)) == (1, value)


@pytest.mark.row("T15")
async def test_dimensions_are_checked(connect, own_type):
    schema = await own_type("vector")
    db = await connect(codecs=example("pgvector")["VECTORS"], options=f"-csearch_path={schema}")
    for wrong in ([], [0.0] * 16_001):
        with pytest.raises(DataError, match=r"argument \$1 \(vector\): .*1 to 16000 dimensions"):
            await db.fetch_value("select $1::vector", wrong)
    assert await db.fetch_value("select 1") == 1


def doubles(*values):
    return struct.pack(f"<{len(values)}d", *values).hex()


GEOMETRIES = [
    ({"type": "Point", "srid": 4326, "coordinates": (1.0, 2.0)}, "0101000020e6100000" + doubles(1, 2)),
    ({"type": "Point", "coordinates": (1.0, 2.0, 3.0)}, "0101000080" + doubles(1, 2, 3)),
    ({"type": "Point", "measured": True, "coordinates": (1.0, 2.0, 9.0)}, "0101000040" + doubles(1, 2, 9)),
    ({"type": "Point", "measured": True, "coordinates": (1.0, 2.0, 3.0, 9.0)}, "01010000c0" + doubles(1, 2, 3, 9)),
    ({"type": "LineString", "coordinates": [(0.0, 0.0), (1.0, 1.0)]}, "010200000002000000" + doubles(0, 0, 1, 1)),
    (
        {"type": "Polygon", "srid": 3857, "coordinates": [[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]]},
        "0103000020110f00000100000004000000" + doubles(0, 0, 1, 0, 1, 1, 0, 0),
    ),
    (
        {"type": "GeometryCollection", "srid": 4326, "geometries": [{"type": "Point", "coordinates": (1.0, 2.0)}]},
        "0107000020e6100000010000000101000000" + doubles(1, 2),
    ),
]  # fmt: skip


@pytest.mark.row("T16")
@pytest.mark.parametrize(
    ("value", "golden"), GEOMETRIES, ids=lambda v: v["type"] if isinstance(v, dict) else ""
)
async def test_geometries(connect, own_type, value, golden):
    codec = example("PostGIS")["GEOMETRY"]
    assert codec.encode(value).hex() == golden
    assert codec.decode(bytes.fromhex(golden)) == value
    schema = await own_type("geometry")
    db = await connect(codecs={"geometry": codec}, options=f"-csearch_path={schema}")
    assert await db.fetch_value("select $1::geometry", value) == value
    assert await db.fetch_value("select geometry_send($1::geometry)", value) == bytes.fromhex(golden)
    assert await db.fetch_value("select array[$1::geometry]", value) == [value]
    assert await db.fetch_value("select row(7, $1::geometry)::has_geometry", value) == (7, value)


@pytest.mark.row("T16")
async def test_types_without_a_binary_form_are_text(db, own_type):
    """As PostGIS's box2d: made here without send and receive."""
    schema = await own_type()
    await db.execute_script(
        f"set client_min_messages = error; set search_path = {schema}; create type box2d;"
        "create function box2d_in(cstring) returns box2d language internal immutable strict as 'textin';"
        "create function box2d_out(box2d) returns cstring language internal immutable strict as 'textout';"
        "create type box2d (input = box2d_in, output = box2d_out, like = text)"
    )
    assert await db.fetch_value("select $1::box2d", "BOX(0 0,1 1)") == "BOX(0 0,1 1)"
    assert await db.fetch_value("select array['BOX(0 0,1 1)', null]::box2d[]") == ["BOX(0 0,1 1)", None]
