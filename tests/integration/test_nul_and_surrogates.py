"""What PostgreSQL's text cannot hold, NUL and lone surrogates: refused by name, before anything is sent (Q28)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgoxide import Statement
from pgoxide.errors import DataError, Error, InterfaceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.pg, pytest.mark.row("Q28")]

BAD = [pytest.param("a\0b", id="NUL"), pytest.param("a\ud800b", id="surrogate")]

TEXT_LIKE = [
    "text", "varchar", "bpchar", "name", "xml", "jsonb", "f_mood", "f_words", "f_pair", "cstring", '"char"', "tsvector", "jsonpath",
    "inet", "cidr", "macaddr", "interval", "numeric", "uuid", "date", "timestamptz", "bit", "point", "money", "regclass", "pg_lsn",
]  # fmt: skip


async def prepare(db: Any) -> None:
    await db.execute("create type pg_temp.f_mood as enum ('sad')")
    await db.execute("create domain pg_temp.f_words as text")
    await db.execute("create type pg_temp.f_pair as (a text, b int)")
    await db.execute("set search_path = pg_temp, public, pg_catalog")
    await db.execute(
        "create temp table f_texts (a text, b varchar(5), c jsonb, d f_mood, e text[], f f_words)"
    )


@pytest.mark.parametrize("bad", BAD)
async def test_every_text_like_type(db: Any, bad: str) -> None:
    await prepare(db)
    session = db.backend_pid
    for kind in TEXT_LIKE:
        for _ in range(2):  # the first use, and the statement being described
            with pytest.raises(DataError, match=r"argument \$1"):
                await db.fetch_value(f"select $1::{kind}", bad)
            with pytest.raises(DataError, match="argument :some_name"):
                await db.fetch_value(f"select :some_name::{kind}", some_name=bad)
    assert await db.fetch_value("select 1") == 1
    assert await db.fetch_value("select pg_backend_pid()") == session


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text[]", lambda bad: ["x", bad]),
        ("text[]", lambda bad: [["x"], [bad]]),
        ("name[]", lambda bad: [bad]),
        ("jsonb", lambda bad: {bad: 1}),
        ("jsonb", lambda bad: [{"x": [bad]}]),
        ("jsonb[]", lambda bad: [{"x": bad}]),
    ],
)
async def test_within_others(db: Any, bad: str, kind: str, value: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match=r"argument \$2"):
        await db.fetch_one(f"select $1::int4, $2::{kind}", 1, value(bad))
    with pytest.raises(DataError, match="argument :b"):
        await db.fetch_one(f"select :a::int4, :b::{kind}", a=1, b=value(bad))
    assert await db.fetch_value("select 1") == 1


async def test_json_keeps_its_own_text(db: Any) -> None:
    r"""As a type of documents, json holds `\u0000`, and gives it back."""
    assert await db.fetch_value("select $1::json", {"a\0": ["\0"]}) == {"a\0": ["\0"]}
    with pytest.raises(DataError, match="surrogate"):
        await db.fetch_value("select $1::json", "\udfff")


async def batch(db: Any, bad: str) -> None:
    async with db.batch() as collected:
        collected.fetch_value("select $1::text", bad)


async def batch_by_name(db: Any, bad: str) -> None:
    async with db.batch() as collected:
        collected.fetch_value("select :a::text", a=bad)


async def stream(db: Any, bad: str) -> None:
    async with db.stream("select $1::text", bad) as rows:
        async for _ in rows:
            pass


WAYS: dict[str, tuple[str, Callable[[Any, str], Awaitable[object]]]] = {
    "batch": (r"argument \$1", batch),
    "batch by name": ("argument :a", batch_by_name),
    "stream": (r"argument \$1", stream),
    "statement": (r"argument \$1", lambda db, bad: db.fetch_value(Statement("select $1::text", (bad,)))),
    "statement by name": (
        "argument :a",
        lambda db, bad: db.fetch_value(Statement("select :a::text", {"a": bad})),
    ),
    "declared": (r"argument \$1", lambda db, bad: db.fetch_value("select $1", bad, types=["text"])),
    "many": (
        r"record 1: argument \$1",
        lambda db, bad: db.execute_many("insert into f_texts (a) values ($1)", [("x",), (bad,)]),
    ),
    "many by name": (
        "record 1: argument :a",
        lambda db, bad: db.execute_many("insert into f_texts (a) values (:a)", [{"a": "x"}, {"a": bad}]),
    ),
    "copy": ("record 1: column a", lambda db, bad: db.copy_in("f_texts", [("x",), (bad,)], columns=["a"])),
    "copy of dicts": (
        "record 0: column a",
        lambda db, bad: db.copy_in("f_texts", [{"a": bad}], columns=["a"]),
    ),
    "copy of jsonb": ("record 0: column c", lambda db, bad: db.copy_in("f_texts", [([bad],)], columns=["c"])),
    "copy as text": ("record 0: column d", lambda db, bad: db.copy_in("f_texts", [(bad,)], columns=["d"])),
    "copy of arrays": (
        "record 0: column e",
        lambda db, bad: db.copy_in("f_texts", [([bad],)], columns=["e"]),
    ),
    "copy of a domain": (
        "record 0: column f",
        lambda db, bad: db.copy_in("f_texts", [(bad,)], columns=["f"]),
    ),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in(db: Any, bad: str, way: str) -> None:
    await prepare(db)
    place, act = WAYS[way]
    with pytest.raises(DataError, match=place):
        await act(db, bad)
    assert await db.fetch_value("select count(*) from f_texts") == 0
    assert db.transaction_status == "idle"


async def text_of_a_stream(db: Any, sql: str) -> None:
    async with db.stream(sql) as rows:
        async for _ in rows:
            pass


async def text_of_a_batch(db: Any, sql: str) -> None:
    async with db.batch() as collected:
        collected.execute(sql)


TEXTS: dict[str, Callable[[Any, str], Awaitable[object]]] = {
    "plain": lambda db, sql: db.fetch_all(sql),
    "by name": lambda db, sql: db.fetch_all(f"{sql}, :a", a=1),
    "script": lambda db, sql: db.execute_script(sql),
    "many": lambda db, sql: db.execute_many(sql, [()]),
    "prepare": lambda db, sql: db.prepare(sql),
    "describe": lambda db, sql: db.describe(sql),
    "statement": lambda db, sql: db.execute(Statement(sql)),
    "subclass": lambda db, sql: db.execute(type("Text", (str,), {})(sql)),
    "stream": text_of_a_stream,
    "batch": text_of_a_batch,
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("text", TEXTS)
async def test_in_the_sql_text(db: Any, bad: str, text: str) -> None:
    with pytest.raises(DataError, match="SQL text"):
        await TEXTS[text](db, f"select '{bad}'")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("bad", BAD)
async def test_in_names(db: Any, bad: str) -> None:
    await db.execute("create temp table f_names (a text)")
    with pytest.raises(Error):
        await db.copy_in(bad, [("x",)])
    with pytest.raises(Error):
        await db.copy_in("f_names", [("x",)], columns=[bad])
    with pytest.raises(DataError, match="SQL text"):
        await db.copy_in("f_names", [("x",)], columns=["a"], where=f"a = '{bad}'")
    with pytest.raises(InterfaceError, match="types"):
        await db.fetch_value("select $1", 1, types=[bad])
    with pytest.raises(InterfaceError, match="no placeholder"):
        await db.fetch_value("select :a", params={bad: 1, "a": 1})
    assert db.parameter(bad) is None
    assert await db.fetch_value("select 1") == 1
