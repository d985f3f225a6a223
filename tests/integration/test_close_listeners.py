"""Who asked to be told when a connection ends is told once, with the reason, whichever side ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import AdminShutdown, ConnectionClosed

if TYPE_CHECKING:
    from pgoxide.errors import Error

pytestmark = [pytest.mark.pg, pytest.mark.row("S06"), pytest.mark.both_transports]


@pytest.fixture
def told(db: Any) -> list[Error]:
    reasons: list[Error] = []
    db.add_close_listener(reasons.append)
    return reasons


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_ended_here(db: Any, told: list[Error], how: str) -> None:
    for _ in range(2):
        if how == "close":
            await db.close()
        else:
            db.abort(ValueError("mine"))
    (reason,) = told
    assert isinstance(reason, ConnectionClosed)
    assert ("close() was called" if how == "close" else "aborted") in str(reason)
    if how == "abort":
        assert isinstance(reason.__cause__, ConnectionClosed)
        assert isinstance(reason.__cause__.__cause__, ValueError)


@pytest.mark.parametrize("busy", [True, False])
async def test_ended_by_the_server(db: Any, connect: Any, told: list[Error], face: str, busy: bool) -> None:
    other = await connect()
    if busy:
        await other.execute(
            "select pg_terminate_backend($1) from pg_sleep(0)", db.backend_pid
        ) if face == "blocking" else None
        call = db.execute("select pg_sleep(20)") if face == "async" else None
        if call is not None:
            await asyncio.sleep(0.05)
            await other.execute("select pg_terminate_backend($1)", db.backend_pid)
            with pytest.raises(ConnectionClosed):
                await call
        else:
            with pytest.raises(ConnectionClosed):
                await db.execute("select 1")
    else:
        await other.execute("select pg_terminate_backend($1)", db.backend_pid)
        for _ in range(200):
            if db.closed:
                break
            await other.fetch_value("select 1 from pg_sleep(0.01)")
    assert db.closed
    (reason,) = told
    assert isinstance(reason, ConnectionClosed)
    assert isinstance(reason.__cause__, AdminShutdown)
    await db.close()
    db.abort()
    assert len(told) == 1


async def test_each_listener_is_told(db: Any, told: list[Error], monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, whatever one of them raises."""
    import sys

    order, unraisable = [], []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    db.add_close_listener(lambda _: order.append(1))
    db.add_close_listener(lambda _: 1 / 0)
    db.add_close_listener(lambda _: order.append(2))
    await db.close()
    assert order == [1, 2]
    assert len(told) == 1
    assert [one.exc_type for one in unraisable] == [ZeroDivisionError]


async def test_the_interpreters_own_hook_is_told(
    db: Any, told: list[Error], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a program, where no test has put another hook: it takes nothing but what the interpreter makes."""
    import sys

    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    heard: list[object] = []

    def broken(_: object) -> None:
        raise ValueError("the listener's own")

    for listener in (broken, heard.append):
        db.add_close_listener(listener)
        db.add_notice_listener(listener)
    await db.execute("do $$ begin raise notice 'half way'; end $$")
    await db.close()
    assert len(heard) == 2
    assert len(told) == 1
    said = capsys.readouterr().err
    assert said.count("ValueError: the listener's own") == 2
    assert "broken" in said


async def test_listeners_taken_back(db: Any, told: list[Error]) -> None:
    notified: list[str] = []

    def heard(notification: Any) -> None:
        notified.append(notification.payload)

    await db.execute("listen taken_back")
    db.add_notification_listener(heard)
    await db.execute("notify taken_back, 'first'")
    await db.execute("select 1")
    db.remove_notification_listener(heard)
    await db.execute("notify taken_back, 'second'")
    await db.execute("select 1")
    assert notified == ["first"]
    db.remove_close_listener(told.append)
    for remove in (db.remove_notification_listener, db.remove_close_listener):
        with pytest.raises(ValueError, match="not in list"):
            remove(heard)
    await db.close()
    assert told == []
