"""Type introspection as a Plan: written once, run async, blocking and without a server, with equal results.

The first proof of semantics.md section 9. The plan walks `pg_type` from one type to all that it is made of.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from fixtures.fix_plans import Performed, Scripted, recorded
from pgoxide.errors import NoRow
from pgoxide.statement import Fetch, Statement, batch, fetch_all, fetch_column, fetch_one, fetch_optional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgoxide.embedded import EmbeddedServer
    from pgoxide.statement import Plan

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]

# ---- the plan


class TypeRow(NamedTuple):
    """A row of pg_type. `typtype` is b(ase), c(omposite), d(omain), e(num), …; `typelem` is an array's element."""

    oid: int
    typname: str
    typtype: str
    typelem: int
    typbasetype: int
    typrelid: int
    is_array: bool


@dataclass(frozen=True)
class Base:
    name: str


@dataclass(frozen=True)
class Enum:
    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Composite:
    name: str
    attributes: tuple[tuple[str, Type], ...]


@dataclass(frozen=True)
class Domain:
    name: str
    base: Type
    checks: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    name: str
    element: Type


Type = Base | Enum | Composite | Domain | Array

_TYPE = """select oid, typname, typtype::text, typelem, typbasetype, typrelid, typelem <> 0 and typlen = -1 as is_array
    from pg_type where oid = $1"""
_LABELS = "select enumlabel from pg_enum where enumtypid = $1 order by enumsortorder"
_ATTRIBUTES = """select attname, atttypid from pg_attribute
    where attrelid = $1 and attnum > 0 and not attisdropped order by attnum"""
_CHECKS = "select pg_get_constraintdef(oid) from pg_constraint where contypid = $1 and contype = 'c' order by conname"


def one(sql: str, oid: int) -> Statement[Any]:
    return Statement(sql, (oid,), types=["oid"])


def introspect(name: str) -> Plan[Type | None]:
    """The type called `name` and all that it is made of; None when there is none. Each type is asked for once."""
    oid: Statement[int] = Statement("select to_regtype($1)::oid", (name,), into=int, types=["text"])
    found = yield from fetch_optional(oid)
    if found is None:
        return None
    return (yield from described(found, {}))


def described(oid: int, known: dict[int, Type]) -> Plan[Type]:
    if oid not in known:
        known[oid] = yield from of_kind((yield from fetch_one(type_row(oid))), known)
    return known[oid]


def type_row(oid: int) -> Statement[TypeRow]:
    return Statement(_TYPE, (oid,), into=TypeRow, types=["oid"])


def of_kind(row: TypeRow, known: dict[int, Type]) -> Plan[Type]:
    if row.typtype == "e":
        labels: list[str] = yield from fetch_column(one(_LABELS, row.oid))
        return Enum(row.typname, tuple(labels))
    if row.typtype == "c":
        attributes = yield from fetch_all(
            Statement(_ATTRIBUTES, (row.typrelid,), into=tuple[str, int], types=["oid"])
        )
        parts: list[tuple[str, Type]] = []
        for name, oid in attributes:
            parts.append((name, (yield from described(oid, known))))
        return Composite(row.typname, tuple(parts))
    if row.typtype == "d":
        checks, below = yield from batch(  # one flight for both
            fetch_column(one(_CHECKS, row.oid)), fetch_one(type_row(row.typbasetype))
        )
        if below.oid not in known:
            known[below.oid] = yield from of_kind(below, known)
        return Domain(row.typname, known[below.oid], tuple(checks))
    if row.is_array:
        return Array(row.typname, (yield from described(row.typelem, known)))
    return Base(row.typname)


# ---- what it must find

SCRIPT = """
    drop schema if exists seen cascade;
    create schema seen;
    create type seen.mood as enum ('sad', 'ok', 'über "glücklich"');
    alter type seen.mood add value 'so-so' after 'sad';
    create domain seen.positive as int4 check (value > 0) check (value < 1000);
    create domain seen.score as seen.positive;
    create type seen.point as (x float8, gone text, y float8);
    alter type seen.point drop attribute gone;
    create type seen.thing as (name text, mood seen.mood, scores seen.score[], at seen.point, moods seen.mood[]);
"""
MOOD = Enum("mood", ("sad", "so-so", "ok", 'über "glücklich"'))
SCORE = Domain(
    "score", Domain("positive", Base("int4"), ("CHECK ((VALUE > 0))", "CHECK ((VALUE < 1000))")), ()
)
POINT = Composite("point", (("x", Base("float8")), ("y", Base("float8"))))
THING = Composite(
    "thing",
    (
        ("name", Base("text")),
        ("mood", MOOD),
        ("scores", Array("_score", SCORE)),
        ("at", POINT),
        ("moods", Array("_mood", MOOD)),
    ),
)
EXPECTED = {
    "seen.mood": MOOD,
    "seen.score": SCORE,
    "seen.point": POINT,
    "seen.thing": THING,
    "seen.thing[]": Array("_thing", THING),
    "int4[]": Array("_int4", Base("int4")),
    "text": Base("text"),
}


@pytest.fixture
def made(server: EmbeddedServer) -> Iterator[None]:
    import pgoxide

    with pgoxide.Connection.connect(server.config()) as db:
        db.execute_script(SCRIPT)
        yield
        db.execute("drop schema seen cascade")


async def test_every_kind_of_type(face: str, db: Any, made: None) -> None:
    for name, expected in EXPECTED.items():
        assert await db.run(introspect(name)) == expected, name
    assert db.transaction_status == "idle"


async def test_without_a_server_the_same(face: str, runner: Any, db: Any, made: None) -> None:
    """What a real server answered, played back: the same requests, the same result, on both drivers of plans."""
    tape: list[Performed] = []
    assert await db.run(recorded(introspect("seen.thing[]"), tape)) == Array("_thing", THING)
    kinds = [type(each.request) for each in tape]
    assert set(kinds) == {Fetch, list}
    asked = [
        (each.request.statement.sql, each.request.statement.parameters)
        for each in tape
        if isinstance(each.request, Fetch)
    ]
    assert len(asked) == len(set(asked)), "a type was asked for twice"
    script = Scripted(tape)
    if face == "async":
        assert await script.run_async(introspect("seen.thing[]")) == Array("_thing", THING)
    else:
        assert script.run(introspect("seen.thing[]")) == Array("_thing", THING)
    assert script.seen == [each.request for each in tape]


async def test_a_type_that_is_not_there(face: str, db: Any, made: None) -> None:
    """An error raised at the yield comes out of the plan, and the connection goes on."""
    with pytest.raises(NoRow):
        await db.run(described(2, {}))
    assert await db.run(introspect("text")) == Base("text")


@pytest.mark.parametrize("face", ["async"])
async def test_many_at_once_on_one_connection(face: str, db: Any, made: None) -> None:
    """Plans without a transaction interleave."""
    names = [*EXPECTED] * 5
    found = await asyncio.gather(*(db.run(introspect(name)) for name in names))
    assert found == [EXPECTED[name] for name in names]
