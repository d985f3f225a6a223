"""Messages that may come at any time, in every state: notices, notifications, parameters."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    AGAIN,
    BOUND,
    ONE_FLIGHT,
    PARSED,
    answer,
    columns,
    complete,
    error,
    expect,
    greeting,
    int4_answer,
    messages_of,
    notice,
    notification,
    ones,
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

    from pgoxide.types import Notice

INJECTED = notice("between") + notification("chan", "päyload", 3) + parameter("TimeZone", "Asia/Tokyo")
ASYNC = pytest.mark.parametrize("face", ["async"])


def between(data: bytes) -> bytes:
    """The same with asynchronous messages before each message and after the last."""
    return b"".join(INJECTED + one for one in messages_of(data)) + INJECTED


@pytest.mark.row("S09")
@pytest.mark.parametrize("chunk", [None, 1, 7])
async def test_between_all_messages(
    face: str, runner: Any, peer: Callable[..., Any], chunk: int | None
) -> None:
    """Start-up, both flights, errors and scripts, each message wrapped."""
    two = PARSED + parameter_types(23) + columns(("a", 23)) + ready()
    copy = text_columns(("x", 23)) + row(b"5") + complete("SELECT 1")
    at = peer(
        [
            send(between(greeting()), chunk),
            expect(ONE_FLIGHT),
            send(between(int4_answer(7)), chunk),
            expect("PDS"),
            send(between(two), chunk),
            expect(AGAIN),
            send(between(BOUND + row(b"\0\0\0\x09") + row(None) + complete("SELECT 2") + ready()), chunk),
            expect(ONE_FLIGHT),
            send(between(PARSED + parameter_types() + error("22012", "division by zero") + ready()), chunk),
            expect("Q"),
            send(between(copy + complete("SET") + ready())[: -len(INJECTED)], chunk),
            expect("X"),
        ]
    )
    db = await open_at(face, at.where)
    notices: list[Notice] = []
    told: list[Any] = []
    db.add_notice_listener(notices.append)
    db.add_notification_listener(told.append)
    assert await db.fetch_value("show 7") == 7
    assert [one[0] for one in await db.fetch_all("select $1::int", 1)] == [9, None]
    with pytest.raises(errors.class_for("22012")):
        await db.fetch_value("show 1/0")
    await db.execute_script("select 5; set x = y")
    assert db.parameter("TimeZone") == "Asia/Tokyo"
    assert len(notices) >= 25
    assert {(one.message, one.severity) for one in notices} == {("between", "NOTICE")}
    assert {tuple(one) for one in told} == {("chan", "päyload", 3)}
    await db.close()


@pytest.mark.row("S01", "S04")
@ASYNC
async def test_while_idle(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """The asynchronous face reads without being asked."""
    at = peer([send(greeting()), wait(0.1), send(INJECTED, 3), until_end])
    db = await open_at(face, at.where)
    notices: list[Notice] = []
    db.add_notice_listener(notices.append)
    end = time.monotonic() + 3
    while not notices or db.parameter("TimeZone") != "Asia/Tokyo":
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    await db.close()


@pytest.mark.row("S01", "S04")
@pytest.mark.parametrize("face", ["blocking"])
async def test_at_the_next_call(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """The blocking face reads when it is called."""
    opened, sent = threading.Event(), threading.Event()
    at = peer(
        [send(greeting()), lambda _: opened.wait(5), send(INJECTED), lambda _: sent.set(), answer(ones)]
    )
    db = await open_at(face, at.where)
    notices: list[Notice] = []
    db.add_notice_listener(notices.append)
    opened.set()
    assert sent.wait(5)
    assert await db.fetch_value("show 1") == 1
    assert len(notices) == 1
    assert db.parameter("TimeZone") == "Asia/Tokyo"
    assert not db.closed
    await db.close()


@pytest.mark.row("S04")
async def test_a_raising_listener_breaks_nothing(
    face: str, runner: Any, peer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exception goes to sys.unraisablehook; the others are told, the call has its answer."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(between(int4_answer(7))), answer(ones)])
    db = await open_at(face, at.where)
    heard: list[Any] = []
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    def broken(_: object) -> None:
        raise ValueError("listener")

    for listener in (broken, heard.append):
        db.add_notice_listener(listener)
        db.add_notification_listener(listener)
    assert await db.fetch_value("show 7") == 7
    assert len(heard) == 2 * len(reported) / 2 > 0
    assert {type(one.exc_value) for one in reported} == {ValueError}
    db.remove_notice_listener(broken)
    with pytest.raises(ValueError, match=r"list\.remove"):
        db.remove_notice_listener(broken)
    assert await db.fetch_value("show 1") == 1
    await db.close()


@pytest.mark.row("S04")
async def test_listeners_that_come_and_go_while_they_are_told(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    """One that takes itself back hides nothing from the next; one that is added meanwhile waits for the next notice."""
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), send(notice("a") + notice("b") + int4_answer(7)), until_end]
    )
    db = await open_at(face, at.where)
    heard: list[str] = []

    def once(one: Notice) -> None:
        heard.append(f"once {one.message}")
        db.remove_notice_listener(once)
        db.add_notice_listener(lambda later: heard.append(f"added {later.message}"))

    db.add_notice_listener(once)
    db.add_notice_listener(lambda one: heard.append(f"second {one.message}"))
    assert await db.fetch_value("show 7") == 7
    assert heard == ["once a", "second a", "second b", "added b"]
    await db.close()


@pytest.mark.row("S04")
async def test_all_fields_of_a_notice(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    more = dict(zip("DHPpqWstcdnFLR", "detail hint 3 4 iq ctx s t c d n file 12 rout".split(), strict=True))
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(notice("m", **more) + int4_answer(7)), until_end])
    db = await open_at(face, at.where)
    notices: list[Notice] = []
    db.add_notice_listener(notices.append)
    assert await db.fetch_value("show 7") == 7
    (one,) = notices
    assert (one.severity, one.sqlstate, one.message, one.detail, one.hint) == (
        "NOTICE",
        "00000",
        "m",
        "detail",
        "hint",
    )
    assert (one.position, one.internal_position, one.internal_query, one.context) == (3, 4, "iq", "ctx")
    assert (one.schema_name, one.table_name, one.column_name, one.data_type_name) == ("s", "t", "c", "d")
    assert (one.constraint_name, one.file, one.line, one.routine) == ("n", "file", 12, "rout")
    await db.close()


@pytest.mark.row("S01")
async def test_the_last_value_counts(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT),
            send(parameter("TimeZone", "A") + int4_answer(7)[:-6] + parameter("TimeZone", "B") + ready("I")),
            until_end,
        ]
    )
    db = await open_at(face, at.where)
    assert db.parameter("TimeZone") == "UTC"
    assert db.parameter("nonesuch") is None
    await db.fetch_value("show 7")
    assert db.parameter("TimeZone") == "B"
    await db.close()
