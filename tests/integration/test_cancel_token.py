"""Cancel tokens: what a session runs is cancelled from other tasks, threads, loops and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.elsewhere import cancel_by as use
from fixtures.fix_script import answer, authentication, greeting, ones, open_at, ready, send
from fixtures.tcp_relay import TcpRelay
from pgoxide import AsyncCancelToken, CancelToken, errors

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.row("K02")]

SLEEP = "select pg_sleep(20)"


def in_a_thread(token: Any) -> None:
    thread = threading.Thread(target=use, args=(token,))
    thread.start()
    thread.join()


def in_a_process(token: Any) -> None:
    """Started anew: it has nothing but what the pickle brings."""
    program = "import asyncio, pickle, sys; t = pickle.load(sys.stdin.buffer); r = t.cancel(); r is None or asyncio.run(r)"
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(token), check=True, timeout=30)


def by_multiprocessing(token: Any) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(use, (token,))


async def cancelled_by(db: Any, face: str, how: Callable[[Any], None]) -> None:
    """A call that sleeps is cancelled by `how(token)`; its connection stays usable."""
    token = db.cancel_token()
    begun = time.monotonic()
    if face == "async":
        slow = asyncio.ensure_future(db.fetch_value(SLEEP))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(how, token)
        with pytest.raises(errors.QueryCanceled):
            await slow
    else:
        timer = threading.Timer(0.1, how, (token,))
        timer.start()
        with pytest.raises(errors.QueryCanceled):
            await db.fetch_value(SLEEP)
        timer.join()
    assert time.monotonic() - begun < 18
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("how", [in_a_thread, in_a_process, by_multiprocessing])
async def test_from_elsewhere(face: str, db: Any, how: Callable[[Any], None]) -> None:
    await cancelled_by(db, face, how)


@pytest.mark.parametrize("face", ["async"])
async def test_from_a_task_and_another_loop(face: str, db: Any) -> None:
    token = db.cancel_token()
    slow = asyncio.ensure_future(db.fetch_value(SLEEP))
    await asyncio.sleep(0.1)
    await asyncio.create_task(token.cancel())
    with pytest.raises(errors.QueryCanceled):
        await slow
    await cancelled_by(db, face, lambda token: asyncio.run(token.cancel()))


async def test_cancel_of_the_connection_is_the_same(face: str, db: Any) -> None:
    if face == "async":
        slow = asyncio.ensure_future(db.fetch_value(SLEEP))
        await asyncio.sleep(0.1)
        await db.cancel()
        with pytest.raises(errors.QueryCanceled):
            await slow
        return
    timer = threading.Timer(0.1, db.real.cancel)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        await db.fetch_value(SLEEP)
    timer.join()


async def test_whatever_runs(face: str, db: Any) -> None:
    """Not the statement that ran when it was made; and with nothing running it does nothing."""
    token = db.cancel_token()
    for _ in range(3):
        await asyncio.to_thread(use, token) if face == "async" else use(token)
    assert await db.fetch_value("select 1") == 1
    await cancelled_by(db, face, lambda _: use(token))


async def test_in_a_transaction_and_a_script(face: str, db: Any) -> None:
    """57014 that no window explains is the call's own error, sent again by nobody."""
    await db.execute("begin")
    await cancelled_in(db, face, lambda: db.fetch_value(SLEEP))
    assert db.transaction_status == "failed transaction"
    await db.execute("rollback")
    await cancelled_in(db, face, lambda: db.execute_script(f"select 1; {SLEEP}"))
    assert await db.fetch_value("select 1") == 1


async def cancelled_in(db: Any, face: str, call: Callable[[], Any]) -> None:
    token = db.cancel_token()
    timer = threading.Timer(0.1, use, (token,))
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        await call()
    if face == "async":
        await asyncio.to_thread(timer.join)
    else:
        timer.join()


async def test_by_tcp(face: str, runner: Any, server: Any) -> None:
    """A relay stands for a TCP server: the token goes to the address the session has, not to a name."""
    config = server.config()
    with TcpRelay(f"{config.host}/.s.PGSQL.{config.port}") as relay:
        db = await open_at(
            face,
            {
                "host": "localhost",
                "port": relay.port,
                "user": config.user,
                "database": config.database,
                "sslmode": "disable",
            },
        )
        token = db.cancel_token()
        assert token.address[1] == relay.port
        assert token.address[0] in ("127.0.0.1", "::1")
        await cancelled_by(db, face, in_a_thread)
        await db.close()


# ---- the value


async def test_a_small_value(face: str, runner: Any, peer: Any) -> None:
    at = peer([send(greeting()), answer(ones)])
    db = await open_at(face, at.where)
    token = db.cancel_token()
    assert type(token) is {"async": AsyncCancelToken, "blocking": CancelToken}[face]
    assert (token.address, token.process_id) == (f"{at.folder}/.s.PGSQL.5432", 4711)
    assert token == db.cancel_token()
    assert hash(token) == hash(db.cancel_token())
    with pytest.raises(AttributeError):
        token.process_id = 1
    assert pickle.loads(pickle.dumps(token)) == token
    for shown in (repr(token), str(token), f"{token}"):
        assert "4711" in shown
        assert "\\x01\\x02\\x03\\x04" not in shown
    cancelled = token.cancel()
    if face == "async":
        await cancelled
    assert at.cancels == [struct.pack("!i", 4711) + b"\1\2\3\4"]
    await db.close()


async def test_without_a_key(face: str, runner: Any, peer: Any) -> None:
    """No BackendKeyData: said at once, and nothing is sent."""
    at = peer([send(authentication() + ready()), answer(ones)])
    db = await open_at(face, at.where)
    real = db if face == "async" else db.real
    with pytest.raises(errors.NotSupportedError, match="BackendKeyData"):
        real.cancel_token()
    with pytest.raises(errors.NotSupportedError, match="BackendKeyData"):
        if face == "async":
            await real.cancel()
        else:
            real.cancel()
    assert await db.fetch_value("show 1") == 1
    await db.close()
    assert at.cancels == []


async def test_of_a_closed_connection(face: str, db: Any) -> None:
    token = db.cancel_token()
    await db.close()
    with pytest.raises(errors.ConnectionClosed):
        db.cancel_token()
    cancelled = token.cancel()  # the session is gone: nothing happens
    if face == "async":
        await cancelled


# ---- a server that does not do its part


def called(face: str, token: Any, timeout: float) -> None:
    if face == "async":
        asyncio.run(token.cancel(timeout))
    else:
        token.cancel(timeout)


def token_of(face: str, address: Any) -> Any:
    kind = AsyncCancelToken if face == "async" else CancelToken
    return kind(address, 1, b"\0" * 16)


def test_a_silent_server(face: str, peer: Any) -> None:
    at = peer([send(greeting())], on_cancel="stall", lenient=True)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout, match=r"within 0\.3 s") as caught:
        called(face, token_for(face, at), 0.3)
    assert isinstance(caught.value, TimeoutError)
    assert 0.25 < time.monotonic() - begun < 5


async def test_a_silent_server_under_a_connection(face: str, runner: Any, peer: Any) -> None:
    """`cancel(timeout)` of the connection passes it on; the connection itself is unharmed."""
    at = peer([send(greeting()), answer(ones)], on_cancel="stall", lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout, match=r"within 0\.2 s"):
        if face == "async":
            await db.cancel(timeout=0.2)
        else:
            db.real.cancel(timeout=0.2)
    assert time.monotonic() - begun < 5
    assert await db.fetch_value("show 1") == 1
    await db.close()


def token_for(face: str, at: Any) -> Any:
    request = struct.pack("!iiii", 16, 80877102, 4711, 1)
    kind = AsyncCancelToken if face == "async" else CancelToken
    return kind(f"{at.folder}/.s.PGSQL.5432", 4711, request)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_dead_server(face: str, tmp_path: Any, kind: str) -> None:
    address: Any = str(tmp_path / ".s.PGSQL.5432")
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = closed.getsockname()
    with pytest.raises(errors.ConnectionFailed, match="to cancel") as caught:
        called(face, token_of(face, address), 5)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_full_server(face: str) -> None:
    """A connection that is never accepted: the time is over, nobody hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        begun = time.monotonic()
        with pytest.raises(errors.QueryTimeout):
            called(face, token_of(face, listener.getsockname()), 0.3)
        assert time.monotonic() - begun < 5
        for one in fill:
            one.close()


def test_times_that_make_no_sense(face: str) -> None:
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(errors.InterfaceError, match="timeout"):
            called(face, token_of(face, "/nowhere"), bad)
