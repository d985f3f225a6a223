"""Start-up against a scripted peer: trust, versions, refusals, silence, the graceful end."""

from __future__ import annotations

import asyncio
import gc
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_script import (
    ONE_FLIGHT,
    PORT,
    answer,
    authentication,
    close,
    error,
    expect,
    greeting,
    int4_answer,
    key,
    message,
    notice,
    ones,
    open_at,
    parameter,
    ready,
    send,
    stall,
    until_end,
    wait,
)
from pgoxide import errors

if TYPE_CHECKING:
    from collections.abc import Callable

ASYNC = pytest.mark.parametrize("face", ["async"])


@pytest.mark.row("A01")
async def test_trust_asks_for_no_password(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(int4_answer(7)), expect("X")])
    db = await open_at(face, at.where, application_name="té")
    assert await db.fetch_value("show 7") == 7
    await db.close()
    version, parameters = at.lines[0].startup[:4], at.lines[0].startup[4:].split(b"\0")
    assert struct.unpack("!i", version)[0] == 196608
    told = dict(zip(parameters[::2], parameters[1::2], strict=False))
    assert (told[b"user"], told[b"database"], told[b"application_name"]) == (b"u", b"d", "té".encode())
    assert told[b"client_encoding"] in (b"UTF8", b"utf8", b"'utf-8'")


@pytest.mark.row("A01")
@pytest.mark.parametrize(
    ("code", "rest"),
    [(3, b""), (5, b"salt"), (10, b"SCRAM-SHA-256\0\0"), (7, b""), (9, b""), (2, b""), (99, b"")],
)
async def test_other_methods_are_refused_by_name(
    face: str, runner: Any, peer: Callable[..., Any], code: int, rest: bytes
) -> None:
    at = peer([send(authentication(code, rest)), until_end], lenient=True)
    with pytest.raises(errors.Error) as caught:
        await open_at(face, at.where)
    assert _chain_has(caught.value, errors.NotSupportedError), repr(caught.value)


def _chain_has(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__
    return False


@pytest.mark.row("S02")
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15.20 (Debian 15.20-0+deb12u1)", 150020),
        ("17devel", 170000),
        ("16beta2", 160000),
        ("9.6.24", 90624),
        ("18.6", 180006),
        ("8.0.2", 80002),
        ("PgBouncer 1.21.0/bouncer", 12100),
        ("13.16-YB-2.25.1.0-b0", 130016),
        ("CockroachDB CCL v24.1.1", 240001),
        ("99999999999999999999999999.1", None),
        ("١٢", 0),
        ("", 0),
        ("none", 0),
    ],
)
async def test_odd_versions(
    face: str, runner: Any, peer: Callable[..., Any], text: str, number: int | None
) -> None:
    at = peer([send(greeting(server_version=text)), expect("X")])
    db = await open_at(face, at.where)
    assert db.parameter("server_version") == text
    assert isinstance(db.server_version, int)
    if number is not None:
        assert db.server_version == number
    await db.close()


@pytest.mark.row("S02", "S10")
async def test_a_server_that_tells_nothing(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """No ParameterStatus, no BackendKeyData: a pooler's console or a proxy."""
    at = peer([send(authentication() + ready()), answer(ones)])
    db = await open_at(face, at.where)
    assert (db.server_version, db.backend_pid, db.parameter("TimeZone")) == (0, None, None)
    assert db.transaction_status == "idle"
    assert await db.fetch_value("show version") == 1
    tags = await db.execute_script("show help")
    assert len(tags) == 1
    await db.close()


@pytest.mark.row("S10")
async def test_no_key_means_a_timeout_without_a_cancel(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    """A call that is given up where no CancelRequest can be sent: drained when its answer comes."""
    at = peer(
        [
            send(authentication() + ready()),
            expect(ONE_FLIGHT),
            wait(0.6),
            send(int4_answer(1)),
            answer(ones),
        ]
    )
    db = await open_at(face, at.where)
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("show 1", timeout=0.2)
    assert await db.fetch_value("show 2") == 1
    await db.close()
    assert at.cancels == []


@pytest.mark.row("S10")
async def test_negotiation_and_long_keys(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """NegotiateProtocolVersion is accepted before authentication; a key may have up to 256 bytes."""
    negotiate = message("v", struct.pack("!ii", 196608, 0))
    at = peer([send(negotiate + authentication() + key(5, b"k" * 256) + ready()), expect("X")])
    db = await open_at(face, at.where)
    assert db.backend_pid == 5
    await db.close()


@pytest.mark.row("S03")
async def test_pid_and_status_come_from_the_greeting(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    at = peer([send(authentication() + parameter("in_hot_standby", "on") + key(99) + ready("T")), until_end])
    db = await open_at(face, at.where)
    assert (db.backend_pid, db.transaction_status) == (99, "in transaction")
    assert db.parameter("in_hot_standby") == "on"
    await db.close()


@pytest.mark.row("S05")
@pytest.mark.parametrize("before", [b"", notice("careful"), authentication(), authentication() + key()])
async def test_a_refusal_is_the_servers_own_error(
    face: str, runner: Any, peer: Callable[..., Any], before: bytes
) -> None:
    """`connect()` raises the server's own error (its docstring), here or as the cause of ConnectionClosed."""
    at = peer([send(before + error("3D000", 'database "d" does not exist', "FATAL")), close], lenient=True)
    with pytest.raises(errors.Error) as caught:
        await open_at(face, at.where)
    assert isinstance(caught.value, errors.class_for("3D000")), (
        f"{caught.value!r} from {caught.value.__cause__!r}"
    )


@pytest.mark.row("S05")
async def test_too_many_connections(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(error("53300", "sorry, too many clients already", "FATAL")), close], lenient=True)
    with pytest.raises(errors.Error, match="too many clients"):
        await open_at(face, at.where)


async def test_nobody_listens(face: str, runner: Any, tmp_path: Any) -> None:
    where = {"host": str(tmp_path), "port": PORT, "user": "u", "database": "d"}
    with pytest.raises(errors.ConnectionFailed) as caught:
        await open_at(face, where)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(errors.ConnectionFailed):
        await open_at(face, where | {"host": "127.0.0.1", "port": 1})


@pytest.mark.row("K03")
@pytest.mark.parametrize("said", [b"", authentication(), greeting()[:-6], b"R\0\0"])
async def test_silence_ends_at_connect_timeout(
    face: str, runner: Any, peer: Callable[..., Any], said: bytes
) -> None:
    at = peer([send(said), stall], lenient=True)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await open_at(face, at.where, connect_timeout=0.4)
    assert 0.3 < time.monotonic() - begun < 2


@pytest.mark.row("S11")
async def test_close_sends_terminate_and_is_idempotent(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    at = peer([send(greeting()), expect("X")])
    db = await open_at(face, at.where)
    heard: list[errors.Error] = []
    db.add_close_listener(heard.append)
    await db.close()
    await db.close()
    assert db.closed
    assert len(heard) == 1
    with pytest.raises(errors.ConnectionClosed):
        await db.fetch_value("show 1")
    db.abort()
    assert len(heard) == 1
    _until(lambda: at.lines[0].seen == "X")


def _until(condition: Callable[[], bool], seconds: float = 3) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.row("S11")
@ASYNC
async def test_close_waits_for_what_is_in_flight(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """Calls made before close() get their answers; Terminate comes behind them."""
    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT),
            wait(0.2),
            send(int4_answer(3)),
            expect("S"),
            send(ready()),
            expect("X"),
        ]
    )
    db = await open_at(face, at.where)
    reply = db.fetch_value("show 3")
    begun = time.monotonic()
    await db.close()
    assert await reply == 3
    assert time.monotonic() - begun < 3


@pytest.mark.row("S11")
@ASYNC
async def test_leaving_the_block_with_a_call_in_flight(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    at = peer([send(greeting()), expect(ONE_FLIGHT), wait(0.1), send(int4_answer(3)), until_end])
    async with pgoxide.AsyncConnection.connect(**at.where) as db:
        task = asyncio.create_task(db.fetch_value("show 3"))
        await asyncio.sleep(0)
    assert await task == 3
    assert db.closed


@pytest.mark.row("S11")
async def test_close_of_a_silent_server_is_bounded(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """Nobody reads: close() of an idle connection does not wait for anybody."""
    at = peer([send(greeting()), stall], lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    await db.close()
    assert time.monotonic() - begun < 1


@pytest.mark.row("S11")
async def test_abort_cuts_at_once(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting()), until_end])
    db = await open_at(face, at.where)
    reason = ValueError("why")
    db.abort(reason)
    assert db.closed
    with pytest.raises(errors.ConnectionClosed) as caught:
        await db.fetch_value("show 1")
    assert _chain_has(caught.value, ValueError)
    _until(lambda: not at.failures)
    assert "X" not in at.lines[0].seen


@pytest.mark.row("S11")
async def test_forgotten_open_connection_warns(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting()), until_end])
    if face == "async":
        db: Any = await pgoxide.AsyncConnection.connect(**at.where)
        await asyncio.sleep(0)  # this body was woken by the connection's own read, which is over now
    else:
        db = pgoxide.Connection.connect(**at.where)
    with pytest.warns(ResourceWarning, match="unclosed <"):
        del db
        gc.collect()


@pytest.mark.row("S13")
@ASYNC
async def test_another_loop_is_told(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    at = peer([send(greeting()), answer(ones)])
    db = await open_at(face, at.where)

    async def elsewhere() -> None:
        calls: list[Callable[[], Any]] = [
            lambda: db.fetch_value("show 1"),
            lambda: db.execute("show 1"),
            lambda: db.execute_script("show 1"),
        ]
        for call in calls:
            with pytest.raises(errors.InterfaceError, match="loop"):
                await call()

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    with pytest.raises(errors.InterfaceError, match="loop"):
        await asyncio.to_thread(lambda: db.fetch_value("show 1"))
    assert await db.fetch_value("show 1") == 1
    await db.close()


@pytest.mark.row("S13")
@ASYNC
async def test_awaiting_a_reply_on_another_loop_raises(
    face: str, runner: Any, peer: Callable[..., Any]
) -> None:
    at = peer([send(greeting()), expect(ONE_FLIGHT), wait(0.3), send(int4_answer(3)), answer(ones)])
    db = await open_at(face, at.where)
    reply = db.fetch_value("show 3")

    async def elsewhere() -> None:
        with pytest.raises((RuntimeError, errors.InterfaceError)):
            await reply

    await asyncio.to_thread(lambda: asyncio.run(asyncio.wait_for(elsewhere(), 2)))
    # Whether the call is given up by that is not promised; that the connection goes on, is.
    done = await asyncio.wait_for(asyncio.gather(reply, return_exceptions=True), 3)
    assert list(done) == [3] or isinstance(done[0], asyncio.CancelledError)
    # 3: the call was given up before it was written, and this one met the answer meant for it.
    assert await asyncio.wait_for(db.fetch_value("show 1"), 3) in (1, 3)
    await db.close()


@pytest.mark.row("S11")
@ASYNC
async def test_closing_after_its_loop_has_gone(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    """A connection that outlives its loop: abort() and collection must not raise or hang."""
    at = peer([send(greeting()), until_end], [send(greeting()), until_end], lenient=True)

    def leave_one() -> Any:
        return asyncio.run(open_at("async", at.where))

    db = await asyncio.to_thread(leave_one)
    with pytest.raises(errors.InterfaceError, match="loop"):
        await db.fetch_value("show 1")
    db.abort()
    assert db.closed


@pytest.mark.row("C18")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_tcp_nodelay(face: str, runner: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Every TCP socket has TCP_NODELAY before it is used."""
    import socket
    import threading

    seen: list[tuple[int, int]] = []
    plain = socket.socket.connect
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(1000)
            sock.sendall(greeting())
            sock.recv(1000)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    where = {
        "host": host,
        "port": listener.getsockname()[1],
        "user": "u",
        "database": "d",
        "sslmode": "disable",
    }
    try:
        db = await open_at(face, where)
    finally:
        listener.close()
    line = (db.real if face == "blocking" else db)._line
    option = line._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert option == 1
    assert line._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    await db.close()
    thread.join(5)
    del seen, plain
