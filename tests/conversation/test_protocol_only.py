"""Servers that speak the protocol and are not PostgreSQL: what the messages carry is all there is, and it is enough."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    NO_DATA,
    PARSED,
    SUSPENDED,
    authentication,
    complete,
    error,
    expect,
    message,
    open_at,
    parameter,
    parameter_types,
    ready,
    row,
    send,
    text_columns,
    until_end,
    wait,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.row("S10")]

NOT_OURS = 987_654
NO_CATALOG = expect("PBEPBEPBES")  # between two that spare it the just-in-time compiler
NO_SUCH_TABLE = error("42P01", 'relation "pg_catalog.pg_type" does not exist') + ready()
BARE = authentication() + ready()
"""No BackendKeyData, no ParameterStatus."""


def typed(oid: int) -> bytes:
    """RowDescription of one column of that type."""
    return text_columns(("v", oid))


async def test_values_of_unknown_types_come_as_text(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """In both protocols, in the first use and later ones; they are asked for in text format. The catalog is asked once."""
    answer = BOUND + row("é(1,2)".encode()) + complete("SELECT 1") + ready()
    at = peer(
        [
            send(BARE),
            expect("PDS"),
            send(PARSED + parameter_types() + typed(NOT_OURS) + ready()),
            NO_CATALOG,
            send(NO_SUCH_TABLE),
            expect("BES"),
            send(answer),
            expect("BES"),
            send(answer),
            expect("Q"),
            send(typed(NOT_OURS) + row(b"x") + row(None) + complete("SELECT 2") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert await db.fetch_value("select v") == "é(1,2)"
    assert await db.fetch_value("select v") == "é(1,2)"
    (script,) = await db.execute_script("select v")
    assert script.rows == [("x",), (None,)]
    await db.close()
    binds = [body for kind, body in zip(at.lines[0].seen, at.lines[0].bodies, strict=True) if kind == "B"]
    assert len(binds) == 5
    del binds[:3]  # the question to the catalog
    # Bind ends with the result formats: none (all text), or one: 0 is text.
    assert all(body.endswith((b"\0\0\0\0", b"\0\1\0\0")) for body in binds)


async def test_parameters_of_unknown_types_are_text(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer(
        [
            send(BARE),
            expect("PDS"),
            send(PARSED + parameter_types(NOT_OURS) + NO_DATA + ready()),
            NO_CATALOG,
            send(NO_SUCH_TABLE),
            expect("BES"),
            send(BOUND + complete("INSERT 0 1") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert (await db.execute("insert into t values ($1)", "abc")).rows_affected == 1
    with pytest.raises(errors.DataError, match=f"type {NOT_OURS}.*expected str"):
        await db.execute("insert into t values ($1)", 5)
    await db.close()
    bind = at.lines[0].bodies[at.lines[0].seen.rindex("B")]
    assert struct.pack("!i", 3) + b"abc" in bind


async def test_text_where_binary_was_asked_for_is_an_error_not_garbage(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    """A server that knows no binary format and ignores what Bind says: told, and the connection goes on."""
    at = peer(
        [
            send(BARE),
            expect("PDS"),
            send(PARSED + parameter_types() + typed(23) + ready()),
            expect("BES"),
            send(BOUND + row(b"12345") + complete("SELECT 1") + ready()),
            expect("Q"),
            send(typed(23) + row(b"12345") + complete("SELECT 1") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.DataError, match="int4"):
        await db.fetch_value("select v")
    (script,) = await db.execute_script("select v")
    assert script.rows == [(12345,)]
    await db.close()


async def test_no_query_of_our_own(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """The verbs ask no catalog: only the user's own texts are sent."""
    one = row(struct.pack("!i", 1))
    at = peer(
        [
            send(BARE),
            expect("PDS"),
            send(PARSED + parameter_types() + typed(23) + ready()),
            expect("BEH"),
            send(BOUND + one + SUSPENDED),
            expect("EHEH"),
            send(one + complete("SELECT 2") + complete("SELECT 0")),
            expect("CS"),
            send(message("3") + ready()),
            expect("BES"),
            send(BOUND + one + complete("SELECT 1") + ready()),
            expect("PDS"),
            send(PARSED + parameter_types() + NO_DATA + ready()),
            expect("DH"),
            send(parameter_types() + NO_DATA),
            expect("BEH"),
            send(BOUND + complete("INSERT 0 1")),
            expect("S"),
            send(ready()),
            until_end,
        ],
        lenient=True,
    )
    db = await open_at(face, at.where)
    rows = (db if face == "async" else db.real).stream("select v", batch=1, into=int)
    assert ([n async for n in rows] if face == "async" else list(rows)) == [1, 1]
    assert await db.fetch_value("select v") == 1
    assert (await db.execute_many("insert", [()])).rows_affected == 1
    await db.close()
    texts = {
        body.split(b"\0")[1]
        for kind, body in zip(at.lines[0].seen, at.lines[0].bodies, strict=True)
        if kind == "P"
    }
    assert texts == {b"select v", b"insert"}
    assert not at.failures, at.failures


async def test_copy_in_without_catalogs_says_so(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """The types come from pg_attribute; the server's own word that it has none comes out."""
    at = peer(
        [
            send(BARE),
            expect("PDBES"),
            send(error("42P01", 'relation "pg_attribute" does not exist') + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.UndefinedTable, match="pg_attribute"):
        await db.copy_in("t", [(1,)])
    assert not db.closed
    await db.close()


@pytest.mark.row("K03")
async def test_timeouts_without_a_key(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """Nothing can be cancelled; the call is given up all the same, in every kind of request."""
    at = peer(
        [
            send(BARE),
            expect("Q"),
            wait(0.5),
            send(complete("SET") + ready()),
            expect("Q"),
            send(complete("SET") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.QueryTimeout):
        await db.execute_script("set a to 1", timeout=0.1)
    assert len(await db.execute_script("set a to 2")) == 1
    await db.close()
    assert at.cancels == []


@pytest.mark.parametrize("version", ["", "nothing to see", "ShopDB 7.1-beta on é", "١٢.٣", None])
async def test_unknown_versions(
    face: str, runner: Any, peer: Callable[..., Any], version: str | None
) -> None:
    """A number if there is one, else 0, and everything works."""
    told = parameter("server_version", version) if version is not None else b""
    at = peer(
        [
            send(authentication() + told + ready()),
            expect("Q"),
            send(typed(25) + row(b"x") + complete("SELECT 1") + ready()),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert db.server_version == (70_100 if version and version.startswith("ShopDB") else 0)
    assert db.parameter("server_version") == version
    assert (await db.execute_script("select v"))[0].rows == [("x",)]
    await db.close()


async def test_settings_of_an_unknown_kind(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer(
        [
            send(
                authentication()
                + parameter("x-shop.region", "eu")
                + parameter("DateStyle", "Weird")
                + ready()
            ),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert db.parameter("x-shop.region") == "eu"
    assert db.parameter("TimeZone") is None
    await db.close()
