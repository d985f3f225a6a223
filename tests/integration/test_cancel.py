"""Cancelling: of tasks, by timeouts, by Ctrl-C; the connection stays in step, and neighbours do not suffer.

Semantics, section 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

import pgoxide
from fixtures.fix_script import (
    ONE_FLIGHT,
    answer,
    error,
    expect,
    greeting,
    hits,
    int4_answer,
    message,
    notice,
    ones,
    open_at,
    ready,
    send,
    stall,
    wait,
)
from pgoxide import errors
from pgoxide.statement import Statement, execute

pytestmark = [pytest.mark.pg, pytest.mark.both_transports]
ASYNC = pytest.mark.parametrize("face", ["async"])
BLOCKING = pytest.mark.parametrize("face", ["blocking"])


# ---- K01: tasks


@ASYNC
@pytest.mark.row("K01")
@pytest.mark.parametrize("after", [0.0, 0.001, 0.02, 0.3])
async def test_cancelled_task(face: str, db: Any, after: float) -> None:
    """The server stops, the connection is in step and free at once."""
    pid = db.backend_pid
    task = asyncio.create_task(db.fetch_value("select pg_sleep(3)"))
    await asyncio.sleep(after)
    task.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 0.1
    assert await db.fetch_value("select 7") == 7
    assert time.monotonic() - begun < 0.5
    assert db.backend_pid == pid
    assert db.transaction_status == "idle"


@ASYNC
@pytest.mark.row("K01")
async def test_again_and_again(face: str, db: Any) -> None:
    for number in range(30):
        task = asyncio.create_task(db.fetch_value("select pg_sleep(3)"))
        await asyncio.sleep(random.random() * 0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        begun = time.monotonic()
        assert await db.fetch_value("select $1::int4", number) == number
        assert time.monotonic() - begun < 0.5


@ASYNC
@pytest.mark.row("K01")
async def test_second_cancel_while_draining(face: str, db: Any) -> None:
    """What is asked behind a call that is being cancelled can be cancelled itself."""
    first = db.fetch_value("select pg_sleep(3)")
    await asyncio.sleep(0.05)
    first.cancel()
    second = db.fetch_value("select pg_sleep(3)")
    await asyncio.sleep(0)
    second.cancel()
    third = asyncio.create_task(db.fetch_value("select pg_sleep(3)"))
    await asyncio.sleep(0.05)
    third.cancel()
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 0.7


@ASYNC
@pytest.mark.row("K01")
async def test_written_ones_behind_it_are_cancelled_when_their_turn_comes_or_run(face: str, db: Any) -> None:
    """Two written together, both cancelled: the second begins when the first has ended and nobody waits for it."""
    calls = [db.fetch_value("select pg_sleep(2)") for _ in range(2)]
    await asyncio.sleep(0.05)
    for one in calls:
        one.cancel()
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    # Semantics, section 3: "written but not yet running it still runs".
    assert time.monotonic() - begun < 2.8


@ASYNC
@pytest.mark.row("K01")
async def test_cancelling_the_runner_up_while_it_runs(face: str, db: Any) -> None:
    """It was written behind another, and runs now: a cancel must reach it."""
    await db.fetch_value("select pg_sleep($1)", 0.0)
    first = db.fetch_value("select pg_sleep($1)", 0.2)
    second = db.fetch_value("select pg_sleep($1)", 5.0)
    await first
    await asyncio.sleep(0.05)
    second.cancel()
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 0.7


@ASYNC
@pytest.mark.row("K01")
async def test_cancelled_before_its_turn_then_running(face: str, db: Any) -> None:
    """Cancelled while another's cancel was outstanding: once it runs, and nobody waits for it, it delays the rest.

    The rule allows it to run; this test holds the driver to not letting a first cancel hide a second for ever.
    """
    await db.fetch_value("select pg_sleep($1)", 0.0)
    first = db.fetch_value("select pg_sleep($1)", 5.0)
    second = db.fetch_value("select pg_sleep($1)", 5.0)
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.sleep(0.2)  # the first has ended, the second runs
    second.cancel()
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 0.7


@ASYNC
@pytest.mark.row("K01")
async def test_in_a_transaction(face: str, db: Any) -> None:
    await db.execute("begin")
    task = asyncio.create_task(db.fetch_value("select pg_sleep(3)"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(errors.class_for("25P02")):
        await db.fetch_value("select 1")
    assert db.transaction_status == "failed transaction"
    await db.execute("rollback")
    assert await db.fetch_value("select 1") == 1


@ASYNC
@pytest.mark.row("K01")
@pytest.mark.parametrize("what", ["batch", "script", "first use"])
async def test_other_calls(face: str, db: Any, what: str) -> None:
    async def batch() -> None:
        async with db.batch() as several:
            several.execute("select pg_sleep(3)")
            several.execute("select 2")

    async def script() -> None:
        await db.execute_script("select 1; select pg_sleep(3); select 2")

    async def first() -> None:
        await db.fetch_value("select pg_sleep($1)", 3.0)

    task = asyncio.create_task({"batch": batch, "script": script, "first use": first}[what]())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    begun = time.monotonic()
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 0.5


@ASYNC
@pytest.mark.row("K01")
async def test_hung_cancel_connection_has_a_deadline(
    face: str, runner: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The side connection is accepted and never ends: the connection is given up, nobody hangs."""
    from pgoxide.transport import asyncio as line

    monkeypatch.setattr(line, "CANCEL_DEADLINE", 0.3)
    at = peer([send(greeting()), expect(ONE_FLIGHT), stall], on_cancel="stall", lenient=True)
    db = await open_at(face, at.where)
    task = asyncio.create_task(db.fetch_value("show 1"))
    await asyncio.sleep(0.05)
    behind = asyncio.create_task(db.fetch_value("show 2"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(errors.ConnectionClosed):
        await asyncio.wait_for(behind, 3)
    assert db.closed
    assert len(at.cancels) == 1


@BLOCKING
@pytest.mark.row("K03")
async def test_hung_cancel_connection_of_the_blocking_face(
    face: str, runner: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgoxide.transport import blocking as line

    monkeypatch.setattr(line, "CANCEL_DEADLINE", 0.3)
    at = peer([send(greeting()), expect(ONE_FLIGHT), stall], on_cancel="stall", lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("show 1", timeout=0.2)
    assert time.monotonic() - begun < 2
    assert db.closed


@ASYNC
@pytest.mark.row("K01")
async def test_nobody_answers_the_cancel_port(face: str, runner: Any, peer: Any) -> None:
    """The cancel cannot be delivered at all: the answer is drained when it comes, the connection lives."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), wait(0.5), send(int4_answer(1)), answer(ones)])
    db = await open_at(face, at.where)
    task = asyncio.create_task(db.fetch_value("show 1"))
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(db.fetch_value("show 1"), 5) == 1
    assert len(at.cancels) >= 1
    assert all(one == at.cancels[0] for one in at.cancels)
    await db.close()


def _unreachable(at: Any) -> None:
    """From now on nobody can connect to the peer."""
    Path(at.folder, f".s.PGSQL.{at.port}").unlink()


@BLOCKING
@pytest.mark.row("K01", "K03")
async def test_a_cancel_that_cannot_connect(face: str, runner: Any, peer: Any) -> None:
    """It never reached the server: the answer is drained when it comes, the connection lives."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), wait(1), send(int4_answer(1)), answer(ones)])
    db = await open_at(face, at.where)
    _unreachable(at)
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("show 1", timeout=0.2)
    assert await db.fetch_value("show 1") == 1
    assert not at.cancels
    await db.close()


@ASYNC
@pytest.mark.row("K01", "P06")
async def test_nothing_is_written_while_a_cancel_is_outstanding(face: str, runner: Any, peer: Any) -> None:
    """The target has ended, the side connection has not: the next call waits for that."""
    gate = threading.Event()
    at = peer(
        [send(greeting()), expect(ONE_FLIGHT), wait(0.1), send(error("57014") + ready()), answer(ones)],
        on_cancel="stall",
        lenient=True,
    )
    at.over = gate  # the stalled side connection ends when this is set
    db = await open_at(face, at.where)
    task = asyncio.create_task(db.fetch_value("show 1"))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    behind = asyncio.create_task(db.fetch_value("show 2"))
    await asyncio.sleep(0.3)
    assert at.lines[0].seen == ONE_FLIGHT
    assert not behind.done()
    gate.set()
    assert await asyncio.wait_for(behind, 5) == 1
    await db.close()


@ASYNC
@pytest.mark.row("P06")
async def test_a_repeated_cancel_never_hits_the_next_call(face: str, runner: Any, peer: Any) -> None:
    """The repeat of one call's CancelRequest must not outlive that call: it would hit somebody else's.

    First call: cancelled, its side connection ends at once, it ends 20 ms later. Second call: cancelled at once after;
    while its window is open only its own requests may be sent, and when it has ended none at all.
    """
    slow = [expect(ONE_FLIGHT), wait(0.02), send(error("57014") + ready())]
    at = peer([send(greeting()), *slow, *slow, answer(ones)])
    db = await open_at(face, at.where)
    for number in range(2):
        task = asyncio.create_task(db.fetch_value(f"show {number}"))
        await asyncio.sleep(0.005)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.03)
    await asyncio.sleep(0.3)
    assert len(at.cancels) == 2, "a CancelRequest was sent after its target had ended"
    assert await db.fetch_value("show 3") == 1
    await db.close()


@ASYNC
@pytest.mark.row("K01")
async def test_the_task_that_cancels_is_cancelled_itself(face: str, runner: Any, peer: Any) -> None:
    """As by a program that cancels all tasks before it ends. The cancel's effect is in doubt, so nothing may be written."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), stall], on_cancel="stall", lenient=True)
    db = await open_at(face, at.where)
    before = asyncio.all_tasks()
    call = asyncio.create_task(db.fetch_value("show a"))
    await asyncio.sleep(0.05)
    call.cancel()
    for _ in range(500):
        if at.cancels:
            break
        await asyncio.sleep(0.01)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(errors.ConnectionClosed, match="cancelled"):
        await asyncio.wait_for(db.fetch_value("show b"), 10)
    assert db.closed


@ASYNC
@pytest.mark.row("P06")
async def test_isolate_makes_a_barrier_on_first_use_too(face: str, db: Any, connect: Any, proxy: Any) -> None:
    """Nothing is written behind an isolated call before its answer, nor is it written behind others."""
    relay = proxy(delay=0.03)
    own = await connect(to=relay)
    for sql, arguments in (("select $1::int4 + 40", (2,)), ("select $1::int4 + 40", (2,)), ("select 42", ())):
        relay.forget()
        before = asyncio.ensure_future(own.fetch_value("select pg_sleep(0.1) is null"))
        isolated = asyncio.ensure_future(own.fetch_value(sql, *arguments, isolate=True))
        behind = asyncio.ensure_future(own.fetch_value("select 43"))
        await asyncio.sleep(0.07)
        executed_early = relay.sent.count("E")
        assert executed_early <= 1, f"{sql}: {relay.sent} was written while the call before ran"
        assert await before is False
        assert await isolated == 42
        assert await behind == 43


@ASYNC
@pytest.mark.row("K01", "Q12")
@pytest.mark.parametrize("state", ["unwritten", "written behind", "running", "timed out"])
@pytest.mark.parametrize(("sql", "value"), [("select 77", 77), ("show array_nulls", "on")])
async def test_a_cancelled_first_use_does_not_poison_the_statement(
    face: str, db: Any, state: str, sql: str, value: object
) -> None:
    """It carried the description; cancelled, nobody has it, and the next call of that text must ask again."""
    before = asyncio.ensure_future(
        {
            "unwritten": lambda: db.execute_script("select pg_sleep(0.2)"),  # a barrier
            "running": lambda: db.fetch_value("select 1"),
        }.get(state, lambda: db.fetch_value("select pg_sleep(0.2)"))()
    )
    if state == "timed out":
        with pytest.raises(errors.QueryTimeout):
            await db.fetch_value(sql, timeout=0.05)
    else:
        first = db.fetch_value(sql)
        await asyncio.sleep(0)
        first.cancel()
    await before
    assert await asyncio.wait_for(db.fetch_value(sql), 3) == value


@ASYNC
@pytest.mark.row("K01", "P06")
async def test_cancelling_what_others_wait_behind_lets_them_go(face: str, db: Any) -> None:
    """A held call is given up; those held behind it are written without waiting for anything else."""
    for number in range(20):
        first = db.fetch_value(f"select $1::int4 + {number}", 1)
        behind = [asyncio.ensure_future(db.fetch_value(f"select {number} + {i}")) for i in range(3)]
        if number % 2:
            await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.wait_for(asyncio.gather(*behind), 3) == [number + i for i in range(3)]


# ---- K02, K03, K04


@pytest.mark.row("K02")
async def test_explicit_cancel(face: str, db: Any) -> None:
    """A running call can be cancelled from another thread or task."""
    if face == "async":
        reply = db.fetch_value("select pg_sleep(3)")
        loop = asyncio.get_running_loop()
        timer = threading.Timer(0.1, lambda: loop.call_soon_threadsafe(reply.cancel))
        timer.start()
        with pytest.raises(asyncio.CancelledError):
            await reply
        timer.join()
        return
    timer = threading.Timer(0.2, db.real.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(errors.class_for("57014")):
        await db.fetch_value("select pg_sleep(3)")
    assert time.monotonic() - begun < 1
    timer.join()
    db.real.cancel()  # nothing runs: nothing happens
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("K03")
async def test_timeout_of_a_running_call(face: str, db: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout, match=r"0\.2") as caught:
        await db.fetch_value("select pg_sleep(3)", timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert 0.15 < time.monotonic() - begun < 0.7
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 1


@pytest.mark.row("K03")
@pytest.mark.parametrize(
    "verb", ["fetch_all", "fetch_one", "fetch_optional", "fetch_first", "fetch_column", "execute"]
)
async def test_timeout_of_every_verb(face: str, db: Any, verb: str) -> None:
    with pytest.raises(errors.QueryTimeout):
        await getattr(db, verb)("select pg_sleep(3)", timeout=0.1)
    with pytest.raises(errors.QueryTimeout):
        await getattr(db, verb)("select pg_sleep($1)", 3.0, timeout=0.1)
    with pytest.raises(errors.QueryTimeout):
        await db.execute_script("select pg_sleep(3); select 1", timeout=0.1)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("K03")
async def test_timeout_covers_preparing(face: str, runner: Any, peer: Any) -> None:
    at = peer([send(greeting()), expect("PDS"), stall], lenient=True)
    db = await open_at(face, at.where)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("select $1::int", 1, timeout=0.2)
    assert time.monotonic() - begun < 0.3 or face == "blocking"  # which drains before it returns
    db.abort()


@ASYNC
@pytest.mark.row("K03")
@pytest.mark.parametrize("first", [True, False])
async def test_timeout_covers_queueing(face: str, db: Any, first: bool) -> None:
    """Waiting behind others counts; the one that runs is not disturbed."""
    if not first:
        await db.fetch_value("select $1::int4", 1)
    slow = db.fetch_value("select pg_sleep(0.6) is null")
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("select $1::int4", 1, timeout=0.2)
    assert time.monotonic() - begun < 0.4
    assert await slow is False
    assert await db.fetch_value("select 1") == 1


@BLOCKING
@pytest.mark.row("K03")
async def test_timeout_covers_waiting_for_the_turn(face: str, db: Any) -> None:
    """Another thread holds the connection: that time counts as well."""
    thread = threading.Thread(target=lambda: db.real.fetch_value("select pg_sleep(1.5)"))
    thread.start()
    time.sleep(0.1)
    begun = time.monotonic()
    try:
        with pytest.raises(errors.QueryTimeout):
            await db.fetch_value("select 1", timeout=0.3)
        assert time.monotonic() - begun < 0.8
    finally:
        thread.join()
    assert await db.fetch_value("select 1") == 1


@BLOCKING
@pytest.mark.row("K03")
@pytest.mark.parametrize("call", ["execute", "script", "batch", "stream", "execute_many", "copy_in", "run"])
async def test_timeout_of_every_call_covers_waiting_for_the_turn(face: str, db: Any, call: str) -> None:
    real = db.real
    real.execute("create temp table waits (n int4)")

    def batch() -> None:
        with real.batch(timeout=0.3) as one:
            one.fetch_value("select 1")

    def stream() -> None:
        with real.stream("select 1", timeout=0.3) as rows:
            list(rows)

    insert = "insert into waits values ($1)"
    calls: dict[str, Any] = {
        "execute": lambda: real.execute("select 1", timeout=0.3),
        "script": lambda: real.execute_script("select 1", timeout=0.3),
        "batch": batch,
        "stream": stream,
        "execute_many": lambda: real.execute_many(insert, [(1,)], timeout=0.3),
        "copy_in": lambda: real.copy_in("waits", [(1,)], timeout=0.3),
        "run": lambda: real.run(execute(Statement(insert, (1,))), timeout=0.3),
    }
    thread = threading.Thread(target=lambda: real.fetch_value("select pg_sleep(1.5)"))
    thread.start()
    time.sleep(0.1)
    begun = time.monotonic()
    try:
        with pytest.raises(errors.QueryTimeout):
            calls[call]()
        assert time.monotonic() - begun < 0.8
    finally:
        thread.join()
    assert await db.fetch_value("select count(*) from waits") == 0


@pytest.mark.row("K03")
async def test_timeouts_that_make_no_sense(face: str, db: Any) -> None:
    for bad in (-1, -0.001, float("nan"), float("-inf")):
        with pytest.raises(errors.InterfaceError):
            await db.fetch_value("select 1", timeout=bad)
        with pytest.raises(errors.InterfaceError):
            await db.execute_script("select 1", timeout=bad)
    for good in (float("inf"), 1e300, 10):
        assert await db.fetch_value("select 1", timeout=good) == 1
        assert len(await db.execute_script("select 1", timeout=good)) == 1
    with contextlib.suppress(errors.QueryTimeout):
        await db.fetch_value("select pg_sleep(3)", timeout=0)
    assert await db.fetch_value("select 1") == 1


@ASYNC
@pytest.mark.row("K03")
async def test_many_timeouts_at_once(face: str, db: Any) -> None:
    """Five calls time out together; the connection is free again soon after."""
    begun = time.monotonic()
    got = await asyncio.gather(
        *(asyncio.create_task(db.fetch_value("select pg_sleep($1)", 1.0, timeout=0.3)) for _ in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(one, errors.QueryTimeout) for one in got), got
    assert time.monotonic() - begun < 0.6
    assert await db.fetch_value("select 1") == 1
    assert time.monotonic() - begun < 6


@pytest.mark.row("K04")
async def test_command_timeout(face: str, connect: Any) -> None:
    db = await connect(command_timeout=0.2)
    begun = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        await db.fetch_value("select pg_sleep(3)")
    with pytest.raises(errors.QueryTimeout):
        await db.execute_script("select pg_sleep(3)")
    assert time.monotonic() - begun < 1.5
    assert await db.fetch_value("select pg_sleep(0.4) is null", timeout=2) is False
    with pytest.raises(errors.QueryTimeout):
        async with db.batch() as batch:
            batch.execute("select pg_sleep(3)")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("K04")
async def test_statement_timeout_is_the_servers_own(face: str, connect: Any) -> None:
    db = await connect(parameters={"statement_timeout": "100"})
    assert await db.fetch_value("show statement_timeout") == "100ms"
    with pytest.raises(errors.class_for("57014"), match="statement timeout"):
        await db.fetch_value("select pg_sleep(3)")
    assert await db.fetch_value("select 1") == 1


# ---- K05: Ctrl-C

CTRL_C = """
    import os, signal, sys, threading, time
    import pgoxide
    db = pgoxide.Connection.connect(sys.argv[1])
    pid = db.backend_pid
    begun = time.monotonic()
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.fetch_value("select pg_sleep(5)")
    except KeyboardInterrupt:
        print("interrupted", round(time.monotonic() - begun, 1) < 1.5)
    print(db.fetch_value("select 7"), db.backend_pid == pid, db.closed, db.transaction_status)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.execute_script("select 1; select pg_sleep(5)")
    except KeyboardInterrupt:
        print("interrupted")
    print(db.fetch_value("select $1::int4", 8))
    db.close()
"""

FLOODED = """
    import os, signal, sys, threading, time
    import pgoxide
    db = pgoxide.Connection.connect(sys.argv[1])
    pid = db.backend_pid
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.execute("select generate_series(1, 1000000000)")
    except KeyboardInterrupt:
        print("interrupted")
    print(db.fetch_value("select 7"), db.backend_pid == pid)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    stream = db.stream("select generate_series(1, 1000000000)", batch=100000)
    try:
        while stream.next_batch():
            pass
    except KeyboardInterrupt:
        print("interrupted")
    try:
        while stream.next_batch():
            pass
        print("ended")
    except pgoxide.errors.InterfaceError as error:
        print("cancelled" in str(error))
    print(db.fetch_value("select 8"), db.backend_pid == pid)
    db.close()
"""

FEEDING = """
    import os, signal, sys, threading, time
    import pgoxide
    db = pgoxide.Connection.connect(sys.argv[1])
    pid = db.backend_pid
    db.execute("create temp table fed (n int4)")
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.execute_many("insert into fed select $1 from pg_sleep(0.02)", ((n,) for n in range(1000000)))
    except KeyboardInterrupt:
        print("interrupted")
    print(db.fetch_value("select count(*) from fed"), db.backend_pid == pid)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.copy_in("fed", ((n,) for n in range(1000000000)))
    except KeyboardInterrupt:
        print("interrupted")
    print(db.fetch_value("select count(*) from fed"), db.backend_pid == pid)
    db.close()
"""

TWICE = """
    import os, signal, sys, threading, time
    import pgoxide
    db = pgoxide.Connection.connect(host=sys.argv[1], port=5432, user="u", database="d")
    begun = time.monotonic()
    for after in (0.2, 0.9):
        threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        db.fetch_value("select 1")
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - begun < 3)
    print(db.closed)
    try:
        db.fetch_value("select 1")
    except pgoxide.errors.ConnectionClosed:
        print("closed")
    db.close()
"""


def python(text: str, *arguments: str, limit: float = 30) -> str:
    """What a program prints; its errors fail the test."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_cancels_and_the_connection_goes_on(dsn: str) -> None:
    got = python(CTRL_C, dsn).splitlines()
    assert got == ["interrupted True", "7 True False idle", "interrupted", "8"]


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_while_data_flows(dsn: str) -> None:
    """The server never pauses, so there is no wait in which it could be seen."""
    assert python(FLOODED, dsn).splitlines() == ["interrupted", "7 True", "interrupted", "True", "8 True"]


@pytest.mark.row("K05", "Y05", face="blocking")
def test_ctrl_c_while_feeding(dsn: str) -> None:
    """Nothing that was fed stays, and nothing of it goes on."""
    assert python(FEEDING, dsn).splitlines() == ["interrupted", "0 True", "interrupted", "0 True"]


@pytest.mark.row("K05", face="blocking")
@pytest.mark.parametrize("on_cancel", ["close", "stall"])
def test_second_ctrl_c_closes(peer: Any, on_cancel: str) -> None:
    """The server does not end the call, whether or not it takes the cancel: the second Ctrl-C gives it up."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), stall], on_cancel=on_cancel, lenient=True)
    assert python(TWICE, at.folder).splitlines() == ["interrupted True", "True", "closed"]


def _listening(at: Any) -> tuple[pgoxide.Connection, list[str]]:
    """A connection on whose first notice Ctrl-C comes, while its listener runs; and the notices."""
    db = pgoxide.Connection.connect(**at.where)
    seen: list[str] = []

    def listener(told: pgoxide.Notice) -> None:
        seen.append(told.message)
        if len(seen) == 1:
            signal.raise_signal(signal.SIGINT)

    db.add_notice_listener(listener)
    return db, seen


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_in_a_listener_loses_nothing_of_the_page(peer: Any) -> None:
    """What came with the notice is acted on all the same, and the connection is in step."""
    page = notice("one") + notice("two") + int4_answer(1)
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(page), answer(ones)])
    db, seen = _listening(at)
    with pytest.raises(KeyboardInterrupt):
        db.fetch_value("show 1")
    assert seen == ["one", "two"]
    assert db.fetch_value("show 1") == 1
    assert not at.cancels
    db.close()


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_in_a_listener_hides_no_broken_conversation(peer: Any) -> None:
    """What cannot be read ends the connection, for that reason."""
    at = peer([send(greeting()), expect(ONE_FLIGHT), send(notice("one") + message("?")), stall], lenient=True)
    db, seen = _listening(at)
    told: list[errors.Error] = []
    db.add_close_listener(told.append)
    with pytest.raises(KeyboardInterrupt):
        db.fetch_value("show 1")
    assert seen == ["one"]
    assert isinstance(told[0].__cause__, errors.ProtocolError), told
    assert db.closed
    assert not at.cancels


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_in_a_listener_comes_out_of_closed(peer: Any) -> None:
    """`closed` looks at the socket, finds a notice, and must not keep Ctrl-C to itself."""
    at = peer([send(greeting()), wait(0.2), send(notice("one")), answer(ones)])
    db, seen = _listening(at)
    until = time.monotonic() + 20
    with pytest.raises(KeyboardInterrupt):
        while time.monotonic() < until:
            assert not db.closed
            time.sleep(0.01)
    assert seen == ["one"]
    assert not db.closed
    assert db.fetch_value("show 1") == 1
    db.close()


@BLOCKING
@pytest.mark.row("K05")
async def test_a_signal_handler_of_its_own(face: str, db: Any) -> None:
    """A handler that does not raise disturbs nothing; one that raises gets its exception out."""
    seen: list[int] = []
    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        timer = threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGUSR1))
        timer.start()
        assert await db.fetch_value("select pg_sleep(0.4) is null") is False
        timer.join()
        assert seen == [signal.SIGUSR1]

        def raises(*_: object) -> None:
            raise ZeroDivisionError

        signal.signal(signal.SIGUSR1, raises)
        timer = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGUSR1))
        timer.start()
        with pytest.raises(ZeroDivisionError):
            await db.fetch_value("select pg_sleep(3)")
        timer.join()
        assert await db.fetch_value("select 1") == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


# ---- S05, S07 on both faces


@pytest.mark.row("S07")
async def test_backend_killed_while_idle(face: str, db: Any, connect: Any) -> None:
    """`closed` is true within 100 ms."""
    other = await connect()
    await other.execute("select pg_terminate_backend($1)", db.backend_pid)
    while await other.fetch_value("select count(*) from pg_stat_activity where pid = $1", db.backend_pid):
        pass
    begun = time.monotonic()
    while not db.closed:
        assert time.monotonic() - begun < 1, "still not closed"
        await (asyncio.sleep(0.005) if face == "async" else _nothing())
    assert time.monotonic() - begun < 0.1
    with pytest.raises(errors.ConnectionClosed, match="terminating connection") as caught:
        await db.fetch_value("select 1")
    assert isinstance(caught.value.__cause__, errors.class_for("57P01"))
    assert db.closed


async def _nothing() -> None:
    time.sleep(0.005)


@pytest.mark.row("S05")
async def test_backend_killed_while_busy(face: str, db: Any, connect: Any) -> None:
    heard: list[Any] = []
    db.add_close_listener(heard.append)
    pid = db.backend_pid
    with pytest.raises(errors.Error) as caught:
        await db.fetch_value("select pg_sleep(5) where pg_terminate_backend($1)", pid)
    chain = [caught.value, caught.value.__cause__]
    assert any(isinstance(one, errors.class_for("57P01")) for one in chain), chain
    for _ in range(2):
        with pytest.raises(errors.ConnectionClosed, match="terminating connection"):
            await db.fetch_value("select 1")
    assert db.closed
    assert len(heard) == 1


@pytest.mark.row("S03")
async def test_transaction_status(face: str, db: Any) -> None:
    assert db.backend_pid == await db.fetch_value("select pg_backend_pid()")
    assert db.transaction_status == "idle"
    await db.execute("begin")
    assert db.transaction_status == "in transaction"
    with pytest.raises(errors.class_for("22012")):
        await db.execute("select 1/0")
    assert db.transaction_status == "failed transaction"
    await db.execute("rollback")
    assert db.transaction_status == "idle"


# ---- P06: the ledger


@ASYNC
@pytest.mark.slow
@pytest.mark.row("P06", "K01")
@pytest.mark.parametrize("kind", ["insert", "select"])
async def test_the_ledger(face: str, connect: Any, kind: str) -> None:
    """1 000 random cancels, 20 tasks queued behind each round; no uncancelled call fails, none runs twice."""
    db, book = await connect(), await connect()
    await book.execute_script(
        "drop table if exists ledger; create table ledger (id int, n bigserial);"
        "create or replace function enter(i int, s float8) returns int volatile language plpgsql as "
        "$$ begin perform pg_sleep(s); insert into ledger (id) values (i); return i; end $$"
    )
    sql = {
        "insert": "insert into ledger (id) select $1::int4 from pg_sleep($2::float8) returning id",
        "select": "select enter($1::int4, $2::float8)",
    }[kind]
    chance = random.Random(kind)
    await db.fetch_value(sql, 0, 0.0)
    cancels = number = 0
    kept: set[int] = set()
    dropped: set[int] = set()
    failed: list[tuple[int, BaseException]] = []
    while cancels < 1_000:
        calls: dict[int, Any] = {}
        for _ in range(21):
            number += 1
            calls[number] = asyncio.ensure_future(
                db.fetch_value(sql, number, chance.choice([0.0, 0.0, 0.001, 0.003]))
            )
        victims = chance.sample(sorted(calls), 4)
        for victim in victims:
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.002, 0.004]))
            if calls[victim].cancel():
                cancels += 1
                dropped.add(victim)
        for one, call in calls.items():
            try:
                assert await asyncio.wait_for(call, 20) == one
                kept.add(one)
            except asyncio.CancelledError:
                assert one in dropped
            except errors.Error as problem:
                failed.append((one, problem))
    assert not failed, f"{len(failed)} uncancelled calls failed, the first: {failed[0]!r}"
    entered = [row[0] for row in await book.fetch_all("select id from ledger where id > 0 order by n")]
    twice = (
        sorted({one for one in entered if entered.count(one) > 1})
        if len(entered) != len(set(entered))
        else []
    )
    assert not twice, f"ran twice: {twice}"
    assert kept <= set(entered), f"answered but not in the ledger: {sorted(kept - set(entered))}"
    await book.execute_script("drop table ledger cascade; drop function enter")


@BLOCKING
@pytest.mark.slow
@pytest.mark.row("P06", "K02")
async def test_the_ledger_of_threads(face: str, connect: Any) -> None:
    """20 threads queue on one connection; calls end by their timeouts, running or still waiting for their turn.

    The neighbours of a blocking call wait unsent. None of them fails, none runs twice, and what timed out while it waited
    was never sent.
    """
    db, book = (await connect()).real, (await connect()).real
    book.execute_script("drop table if exists ledger; create table ledger (id int, n bigserial)")
    sql = "insert into ledger (id) select $1::int4 from pg_sleep($2::float8) returning id"
    db.fetch_value(sql, 0, 0.0)
    kept: set[int] = set()
    waited: set[int] = set()
    running: set[int] = set()
    failed: list[tuple[int, BaseException]] = []
    until = time.monotonic() + 20

    def work(thread: int) -> None:
        chance = random.Random(thread)
        number = thread * 100_000
        while time.monotonic() < until and len(waited) + len(running) < 1_000:
            number += 1
            victim = chance.random() < 0.5
            # Too long for its time, or in time if it need not wait: whatever happens must be all of it.
            sleep, timeout = (chance.choice([0.0, 0.05]), 0.01) if victim else (0.001, None)
            try:
                assert db.fetch_value(sql, number, sleep, timeout=timeout) == number
                kept.add(number)
            except errors.QueryTimeout as late:
                assert victim
                (waited if "other threads" in str(late) else running).add(number)
            except BaseException as problem:
                failed.append((number, problem))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failed, f"{len(failed)} calls failed, the first: {failed[0]!r}"
    entered = book.fetch_column("select id from ledger where id > 0")
    assert len(entered) == len(set(entered)), "some ran twice"
    assert kept <= set(entered), f"answered but not in the ledger: {sorted(kept - set(entered))}"
    assert not waited & set(entered), f"never sent, yet in the ledger: {sorted(waited & set(entered))}"
    assert len(kept) > 50
    assert len(waited) > 50, "the test shows nothing: no call timed out while it waited"
    book.execute_script("drop table ledger")


@BLOCKING
@pytest.mark.row("P06", "K02")
async def test_cancel_hits_the_call_that_runs_and_no_other(face: str, db: Any) -> None:
    """Those that wait for their turn are answered; with nobody running, a cancel sends nothing that could hit the next."""
    got: dict[int, Any] = {}

    def work(number: int, seconds: float) -> None:
        try:
            got[number] = db.real.fetch_value("select $1::int4 from pg_sleep($2::float8)", number, seconds)
        except errors.Error as problem:
            got[number] = problem

    await db.fetch_value("select $1::int4 from pg_sleep($2::float8)", 0, 0.0)
    for _ in range(10):
        got.clear()
        first = threading.Thread(target=work, args=(0, 5.0))
        first.start()
        time.sleep(0.05)
        behind = [threading.Thread(target=work, args=(number, 0.0)) for number in range(1, 6)]
        for thread in behind:
            thread.start()
        db.real.cancel()
        for thread in (first, *behind):
            thread.join(20)
        assert isinstance(got.pop(0), errors.class_for("57014"))
        assert got == {number: number for number in range(1, 6)}
        for number in range(20):
            db.real.cancel()
            assert await db.fetch_value("select $1::int4 from pg_sleep($2::float8)", number, 0.0) == number


@ASYNC
@pytest.mark.row("P06")
async def test_what_cannot_run_twice_says_so(face: str, db: Any, connect: Any) -> None:
    """A CALL hit by its neighbour's cancel is CancelledByNeighbour, never run again; with isolate=True it is not hit."""
    book = await connect()
    await book.execute_script(
        "drop table if exists once; create table once (id int);"
        "create or replace procedure enter_once(i int) language plpgsql as "
        "$$ begin insert into once values (i); commit; perform pg_sleep(0.003); end $$"
    )
    await db.execute("call enter_once($1)", 0)
    hit = 0
    for number in range(1, 150):
        slow = db.fetch_value("select pg_sleep(1)")
        call = asyncio.ensure_future(db.execute("call enter_once($1)", number, isolate=number % 3 == 0))
        await asyncio.sleep(0.002)
        slow.cancel()
        try:
            await asyncio.wait_for(call, 10)
        except errors.CancelledByNeighbour as problem:
            hit += 1
            assert number % 3, "isolate=True was hit all the same"
            assert isinstance(problem.__cause__, errors.class_for("57014"))
    counts = await book.fetch_all(
        "select id, count(*) from once where id > 0 group by id having count(*) > 1"
    )
    assert [tuple(one) for one in counts] == []
    await book.execute_script("drop table once; drop procedure enter_once")


@ASYNC
@pytest.mark.row("P06")
@pytest.mark.parametrize(
    ("sql", "in_transaction", "again"),
    [
        ("select 2", False, True),
        ("insert into t values (1)", False, True),
        ("with a as (select 1) select * from a", False, None),
        ("values (1)", False, True),
        ("vacuum", False, False),
        ("call p()", False, False),
        ("select 2", True, False),
    ],
)
async def test_who_runs_again_after_a_neighbours_cancel(
    face: str, runner: Any, peer: Any, sql: str, in_transaction: bool, again: bool | None
) -> None:
    """The mock's server hits the neighbour instead of the target."""
    status = "T" if in_transaction else "I"
    at = peer([send(greeting()[:-1] + status.encode()), hits({2}, status)])
    db = await open_at(face, at.where)
    slow = db.fetch_value("select pg_sleep(1)")
    neighbour = asyncio.ensure_future(db.fetch_value(sql))
    await asyncio.sleep(0.05)
    slow.cancel()
    try:
        assert await asyncio.wait_for(neighbour, 5) == 1
        ran_again = True
    except errors.CancelledByNeighbour:
        ran_again = False
    if again is not None:
        assert ran_again == again
    assert at.lines[0].seen.count("E") == 2 + ran_again
    db.abort()


@ASYNC
@pytest.mark.row("P06")
@pytest.mark.parametrize(
    ("behind", "again"),
    [
        ("insert into t values (1)", True),
        ("select 3", True),
        ("begin", False),
        ("set search_path = elsewhere", False),
        ("call p()", False),
        ("batch", True),
        ("batch that sets", False),
    ],
)
async def test_who_runs_again_behind_what(
    face: str, runner: Any, peer: Any, behind: str, again: bool
) -> None:
    """What was written behind the victim runs first: only where that cannot matter to anybody's session."""
    at = peer([send(greeting()), hits({2})])
    db = await open_at(face, at.where)
    slow = db.fetch_value("select pg_sleep(1)")
    victim = asyncio.ensure_future(db.execute("insert into t values (2)"))
    other = asyncio.ensure_future(
        _batch_of(db, "select 3", "set role other" if "sets" in behind else "select 4")
        if behind.startswith("batch")
        else db.execute(behind)
    )
    await asyncio.sleep(0.05)
    slow.cancel()
    try:
        await asyncio.wait_for(victim, 5)
        ran_again = True
    except errors.CancelledByNeighbour:
        ran_again = False
    assert ran_again == again
    await asyncio.wait_for(other, 5)
    assert at.lines[0].seen.count("E") == 3 + again + behind.startswith("batch")
    db.abort()


async def _batch_of(db: Any, *statements: str) -> None:
    async with db.batch() as batch:
        for sql in statements:
            batch.execute(sql)


@ASYNC
@pytest.mark.row("P06", "K01")
async def test_the_runner_up_cancelled_while_the_first_cancel_is_on_its_way(
    face: str, runner: Any, peer: Any
) -> None:
    """The first call has ended, its side connection has not; the second runs, and is cancelled: it gets a cancel of its own."""
    gate = threading.Event()

    def until_cancelled_again(line: Any) -> None:
        until = time.monotonic() + 10
        while len(line.peer.cancels) < 2:
            assert time.monotonic() < until, "nobody cancelled the second call"
            time.sleep(0.005)

    at = peer(
        [
            send(greeting()),
            expect(ONE_FLIGHT * 2),
            wait(0.1),
            send(error("57014") + ready()),
            until_cancelled_again,
            send(error("57014") + ready()),
            answer(ones),
        ],
        on_cancel="stall",
    )
    at.over = gate  # the stalled side connections end when this is set
    db = await open_at(face, at.where)
    first, second = db.fetch_value("show 1"), db.fetch_value("show 2")
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.sleep(0.3)  # its answer has come
    second.cancel()
    behind = asyncio.ensure_future(db.fetch_value("show 3"))
    await asyncio.sleep(0.05)
    assert len(at.cancels) == 1
    gate.set()
    assert await asyncio.wait_for(behind, 10) == 1
    await db.close()


@ASYNC
@pytest.mark.row("P06")
async def test_what_ran_again_fails_by_its_own_fault(face: str, runner: Any, peer: Any) -> None:
    """A statement timeout, or `cancel()`, of a call that was sent again is not its neighbour's doing."""
    at = peer([send(greeting()), hits({2, 3})])
    db = await open_at(face, at.where)
    slow = db.fetch_value("select pg_sleep(1)")
    victim = asyncio.ensure_future(db.fetch_value("select 2"))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(errors.QueryCanceled) as caught:
        await asyncio.wait_for(victim, 5)
    assert not isinstance(caught.value, errors.CancelledByNeighbour)
    assert at.lines[0].seen.count("E") == 3
    db.abort()


@ASYNC
@pytest.mark.row("P06")
@pytest.mark.parametrize("options", [{"statement_cache_size": 0}, {"statement_cache_size": 100}])
async def test_a_victim_runs_again_with_and_without_a_cache(
    face: str, runner: Any, peer: Any, options: dict[str, int]
) -> None:
    """A statement that is not kept has been closed, or not, when it is sent again: it is closed and parsed anew."""
    at = peer([send(greeting()), hits({2})])
    db = await open_at(face, at.where, **options)
    slow = db.fetch_value("select pg_sleep(1)")
    victim = asyncio.ensure_future(db.fetch_value("select 2"))
    await asyncio.sleep(0.05)
    slow.cancel()
    assert await asyncio.wait_for(victim, 5) == 1
    kept = options["statement_cache_size"] > 0
    assert at.lines[0].seen.endswith("BES" if kept else "CPBECS")
    assert await db.fetch_value("select 2") == 1
    db.abort()


@ASYNC
@pytest.mark.row("P06")
async def test_a_second_hit_is_final(face: str, runner: Any, peer: Any) -> None:
    """Sent again once, not for ever."""
    at = peer([send(greeting()), hits({2, 3})])
    db = await open_at(face, at.where)
    slow = db.fetch_value("select pg_sleep(1)")
    neighbour = asyncio.ensure_future(db.fetch_value("select 2"))
    await asyncio.sleep(0.05)
    slow.cancel()
    with pytest.raises(errors.OperationalError):
        await asyncio.wait_for(neighbour, 5)
    assert at.lines[0].seen.count("E") == 3
    db.abort()


@pytest.mark.row("K05", face="blocking")
def test_ctrl_c_is_not_lost_in_a_callback(server: Any) -> None:
    """One that came while the answer was waited for is raised before rows are made of it: making them runs the collector, and what
    is raised in a callback of something it finds is dropped by Python."""
    lost: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, lost.append
    # Another thread gets the signal, so that the wait itself is not interrupted.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    begin = threading.Event()

    def press() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        begin.wait(10)
        time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    class Found:
        def __init__(self) -> None:
            self.me = self

    documents = "select jsonb_build_object('n', n) from pg_sleep(0.07), generate_series(1, 5000) as n"
    try:
        with pgoxide.Connection.connect(server.config()) as db:
            db.fetch_all(documents)
            for _ in range(3):
                presser = threading.Thread(target=press)
                presser.start()
                gc.collect()
                found = weakref.WeakSet(Found() for _ in range(3))
                with pytest.raises(KeyboardInterrupt):
                    begin.set()
                    db.fetch_all(documents)
                    presser.join()
                presser.join()
                begin.clear()
                assert not lost
                del found
            assert db.fetch_value("select 1") == 1
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        sys.unraisablehook = hook
