"""Threads on one blocking connection, and the end of the interpreter with connections open."""

from __future__ import annotations

import ast
import inspect
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from fixtures.fix_script import greeting, send, stall
from pgoxide import errors
from pgoxide._core import TransactionBlock
from pgoxide.driver._sync import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgoxide.embedded import EmbeddedServer

pytestmark = [pytest.mark.pg]


@pytest.fixture
def shared(server: EmbeddedServer) -> Any:
    db = pgoxide.Connection.connect(server.config())
    yield db
    db.close()


@pytest.mark.row("Z11", face="blocking")
def test_eight_threads_one_connection(shared: Any) -> None:
    """Calls are serialised; every thread has its own answers."""

    def work(thread: int) -> int:
        for number in range(150):
            value = thread * 1000 + number
            match number % 4:
                case 0:
                    assert shared.fetch_value("select $1::int4", value) == value
                case 1:
                    rows = shared.fetch_all("select $1::int4 + i from generate_series(1, 20) i", value)
                    assert [row[0] for row in rows] == [value + i for i in range(1, 21)]
                case 2:
                    with pytest.raises(errors.class_for("22012")):
                        shared.fetch_value("select $1::int4 / 0", value)
                case _:
                    assert shared.fetch_value(f"select {value}") == value
        return thread

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8), timeout=60)) == list(range(8))
    assert shared.fetch_value("select 1") == 1


@pytest.mark.row("Z11", face="blocking")
def test_threads_with_timeouts_and_a_close(server: EmbeddedServer) -> None:
    """Some calls time out, then somebody closes: the others get ConnectionClosed, nobody hangs."""
    db = pgoxide.Connection.connect(server.config())
    stop = threading.Event()

    def work(thread: int) -> int:
        done = 0
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                if thread == 0:
                    with pytest.raises(errors.QueryTimeout):
                        db.fetch_value("select pg_sleep(1)", timeout=0.02)
                else:
                    assert db.fetch_value("select $1::int4", thread) == thread
                done += 1
            except errors.ConnectionClosed:
                assert stop.is_set()
                return done
        return done

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, thread) for thread in range(8)]
        time.sleep(1)
        stop.set()
        begun = time.monotonic()
        db.close()
        closed_after = time.monotonic() - begun
        done = [one.result(timeout=25) for one in running]
    assert closed_after < 5, f"close() waited {closed_after:.1f} s for its turn"
    assert min(done) > 0, f"calls per thread: {done}; a thread starved"


@pytest.mark.row("S11", "Z11", face="blocking")
@pytest.mark.parametrize("how", ["abort", "close"])
def test_ending_from_another_thread(server: EmbeddedServer, how: str) -> None:
    """abort() does not wait for the call that runs; that call fails soon, typed."""
    db = pgoxide.Connection.connect(server.config())
    got: list[BaseException | None] = []

    def work() -> None:
        try:
            db.fetch_value("select pg_sleep(1.5)")
            got.append(None)
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    getattr(db, how)()
    if how == "abort":
        assert time.monotonic() - begun < 0.3
    thread.join(10)
    assert not thread.is_alive()
    if how == "abort":
        assert time.monotonic() - begun < 1
        assert isinstance(got[0], errors.ConnectionClosed), got
    else:
        assert got[0] is None or isinstance(got[0], errors.ConnectionClosed), got
    assert db.closed


@pytest.mark.row("Z11", face="blocking")
def test_a_signal_handler_inside_a_wait_for_the_turn(shared: Any) -> None:
    """Its own thread's wait goes on only when it has returned: it is told so, and the wait ends as it would have."""
    got: list[BaseException] = []
    waits, main = threading.Event(), threading.get_ident()

    def call(number: int, frame: object) -> None:
        try:
            shared.fetch_value("select 1", timeout=20)
        except BaseException as error:
            got.append(error)

    def keep() -> None:
        with shared.stream("select generate_series(1, 1000)", batch=10) as rows:
            assert len(rows.next_batch()) == 10
            waits.set()
            time.sleep(1)  # by then the main thread waits
            signal.pthread_kill(main, signal.SIGUSR1)
            until = time.monotonic() + 15
            while not got and time.monotonic() < until:
                time.sleep(0.01)

    before = signal.signal(signal.SIGUSR1, call)
    thread = threading.Thread(target=keep)
    try:
        thread.start()
        assert waits.wait(30)
        assert shared.fetch_value("select 2", timeout=40) == 2
    finally:
        thread.join(40)
        signal.signal(signal.SIGUSR1, before)
    assert [type(error) for error in got] == [errors.InterfaceError], got
    assert "signal handler" in str(got[0])


@pytest.mark.row("S11", "Z11", face="blocking")
def test_close_in_a_signal_handler_inside_a_wait(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no turn to wait for; the call that it interrupted fails, and so does the other thread's."""
    from pgoxide.driver._sync import connection

    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 40)
    db = pgoxide.Connection.connect(server.config())
    got: list[BaseException] = []
    closed_after: list[float] = []
    waits, main = threading.Event(), threading.get_ident()

    def close(number: int, frame: object) -> None:
        begun = time.monotonic()
        db.close()
        closed_after.append(time.monotonic() - begun)

    def keep() -> None:
        try:
            with db.stream("select pg_sleep(60)") as rows:
                waits.set()
                timer = threading.Timer(1, signal.pthread_kill, (main, signal.SIGUSR1))  # by then it waits
                timer.start()
                next(rows)
        except BaseException as error:
            got.append(error)

    before = signal.signal(signal.SIGUSR1, close)
    thread = threading.Thread(target=keep)
    try:
        thread.start()
        assert waits.wait(30)
        with pytest.raises(errors.ConnectionClosed):
            db.fetch_value("select 2")
    finally:
        thread.join(30)
        signal.signal(signal.SIGUSR1, before)
    assert not thread.is_alive()
    assert isinstance(got[0], errors.ConnectionClosed), got
    assert closed_after[0] < 20, "it waited for a turn that its own thread was waiting for"


@pytest.mark.row("S11", "Z11", face="blocking")
@pytest.mark.parametrize("keeps", ["stream", "feed"])
def test_abort_reaches_those_who_wait_for_the_turn(server: EmbeddedServer, keeps: str) -> None:
    """Every unfinished call of whatever thread fails, also while the one who has the turn does something else."""
    db = pgoxide.Connection.connect(server.config())
    db.execute("create temp table fed (n int4)")
    kept, go_on = threading.Event(), threading.Event()
    got: dict[str, BaseException] = {}

    def source() -> Iterator[tuple[int]]:
        kept.set()
        go_on.wait(60)
        yield (1,)

    def keep() -> None:
        try:
            if keeps == "feed":
                db.copy_in("fed", source())
            else:
                rows = db.stream("select generate_series(1, 100000)", batch=10)
                next(rows)
                kept.set()
                go_on.wait(60)
                # Its own stream keeps the turn, which is no reason any more.
                db.fetch_value("select 1")
        except BaseException as error:
            got["keeps"] = error

    def wait() -> None:
        try:
            db.fetch_value("select 1")
        except BaseException as error:
            got["waits"] = error

    keeper, waiter = threading.Thread(target=keep), threading.Thread(target=wait)
    try:
        keeper.start()
        assert kept.wait(30)
        waiter.start()
        time.sleep(0.3)
        db.abort()
        waiter.join(20)
        assert isinstance(got.get("waits"), errors.ConnectionClosed), got
        with pytest.raises(errors.ConnectionClosed):
            db.fetch_value("select 1")
    finally:
        go_on.set()
        keeper.join(30)
        waiter.join(30)
    assert isinstance(got.get("keeps"), errors.ConnectionClosed), got


def _interrupts(method: Any, at: str) -> Any:
    """The method, with a Ctrl-C before it has begun or once it has returned, when nobody has its result yet."""

    def interrupted(*arguments: Any) -> Any:
        if at == "before":
            signal.raise_signal(signal.SIGINT)
        try:
            return method(*arguments)
        finally:
            signal.raise_signal(signal.SIGINT)

    return interrupted


def _elsewhere(work: Any) -> Any:
    """What `work` returns on another thread, which has 20 s for it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(20)


@pytest.mark.row("K05", "Z11", face="blocking")
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
def test_ctrl_c_before_feeding_has_begun(server: EmbeddedServer, verb: str) -> None:
    """The request is undone and the turn given back: others may use the connection."""

    class Interrupted(pgoxide.Connection):
        _copy_in = _interrupts(pgoxide.Connection._copy_in, "after")
        _execute_many = _interrupts(pgoxide.Connection._execute_many, "after")

    with Interrupted.connect(server.config()) as db:
        db.execute("create temp table fed (n int4)")
        pid = db.backend_pid
        with pytest.raises(KeyboardInterrupt):
            if verb == "copy_in":
                db.copy_in("fed", [(1,)])
            else:
                db.execute_many("insert into fed values ($1)", [(1,)])
        assert _elsewhere(lambda: db.fetch_value("select count(*) from fed", timeout=10)) == 0
        assert db.backend_pid == pid
        assert db.transaction_status == "idle"


@pytest.mark.row("K05", "Z11", face="blocking")
@pytest.mark.parametrize("verb", ["copy_in", "execute_many"])
@pytest.mark.parametrize("records", [0, 1, 30_000])
def test_a_feed_that_is_dropped(shared: Any, verb: str, records: int) -> None:
    """As after a second Ctrl-C, before the first one's clean-up: whatever was fed is undone, the turn given back."""
    shared.execute("create temp table fed (n int4)")
    if verb == "copy_in":
        feed = shared._copy_in(
            "copy fed from stdin (format binary)",
            ("select n from fed", [("n", 23)]),
            "binary",
            {},
            False,
            False,
            None,
        )
    else:
        feed = shared._execute_many(shared._describe("insert into fed values ($1)", None), False, None)
    if records:
        assert feed.wait_started()
        source = iter([(n,) for n in range(records)])
        while feed.feed(source):
            pass
    del feed
    assert _elsewhere(lambda: shared.fetch_value("select count(*) from fed", timeout=10)) == 0
    assert shared.transaction_status == "idle"


@pytest.mark.row("K05", face="blocking")
@pytest.mark.parametrize("at", ["before", "after"])
def test_ctrl_c_while_a_plan_begins_to_own(
    server: EmbeddedServer, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody owns the connection afterwards: it takes calls from everywhere."""

    class Interrupted(TransactionBlock):
        _enter = _interrupts(TransactionBlock._enter, at)

    monkeypatch.setattr(running, "TransactionBlock", Interrupted)

    def plan() -> pgoxide.statement.Plan[None]:
        yield pgoxide.statement.Begin()
        yield pgoxide.statement.Commit()

    with pgoxide.Connection.connect(server.config()) as db:
        with pytest.raises(KeyboardInterrupt):
            db.run(plan())
        assert db.fetch_value("select 1") == 1
        assert _elsewhere(lambda: db.fetch_value("select 2", timeout=10)) == 2


@pytest.mark.row("S11", "Z11", face="blocking")
def test_two_threads_end_it_at_once(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them closes the line. By the time the other one comes the descriptor's number may be somebody else's."""
    both = threading.Barrier(2)

    class Slow(errors.ConnectionClosed):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.met = False

        def __str__(self) -> str:
            if not self.met:
                self.met = True
                both.wait(20)
            return super().__str__()

    db = pgoxide.Connection.connect(server.config())
    told: list[object] = []
    line = db._listening()
    monkeypatch.setattr(line, "ended", told.append)  # the core tells it once; it closes the descriptor
    with ThreadPoolExecutor(2) as pool:
        for ending in [pool.submit(db._end, Slow(text)) for text in ("one", "two")]:
            ending.result(30)
    line.close()
    assert db.closed
    assert len(told) == 1, told


@pytest.mark.row("S11", face="blocking")
def test_it_stays_closed_while_its_error_is_made(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads may look just then: to them it would be open again."""
    db = pgoxide.Connection.connect(server.config())
    db.abort()
    seen: list[bool] = []
    real = errors.ConnectionClosed.__init__

    def looks(error: Any, *arguments: Any, **options: Any) -> None:
        seen.append(db.closed)
        real(error, *arguments, **options)

    monkeypatch.setattr(errors.ConnectionClosed, "__init__", looks)
    with pytest.raises(errors.ConnectionClosed, match="was aborted"):
        db.fetch_value("select 1")
    assert seen
    assert all(seen)


@pytest.mark.row("S11", "Z11", face="blocking")
@pytest.mark.parametrize("keeps", ["call", "stream", "feed"])
def test_close_does_not_wait_for_ever(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, keeps: str
) -> None:
    """Another thread keeps the connection: after its time close() cuts the line, and that thread is told."""
    from pgoxide.driver._sync import connection

    assert connection.CLOSE_TIMEOUT == 5
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.3)
    db = pgoxide.Connection.connect(server.config())
    db.execute("create temp table fed (n int4)")
    begun, go_on = threading.Event(), threading.Event()
    got: list[BaseException | None] = []

    def source() -> Iterator[tuple[int]]:
        begun.set()
        go_on.wait(30)
        for n in range(100_000):
            yield (n,)

    def work() -> None:
        try:
            if keeps == "call":
                begun.set()
                db.fetch_value("select pg_sleep(60)")
            elif keeps == "feed":
                db.copy_in("fed", source())
            else:
                with db.stream("select generate_series(1, 100000)", batch=10) as rows:
                    rows.next_batch()
                    begun.set()
                    go_on.wait(30)
                    while rows.next_batch():
                        pass
            got.append(None)
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(30)
    db.close()
    assert db.closed
    go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(got[0], errors.ConnectionClosed), got


@pytest.mark.row("S11", "Z11", face="blocking")
@pytest.mark.parametrize("how", ["abort", "close"])
def test_a_descriptor_in_use_is_not_closed(peer: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A call that waits in another thread would else read from, or write to, whatever gets the number next."""
    from pgoxide.driver._sync import connection

    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.3)
    at = peer([send(greeting()), stall], lenient=True)
    for _ in range(5):
        db = pgoxide.Connection.connect(**at.where)
        number = db._listening()._sock.fileno()
        got: list[BaseException] = []

        def work(db: pgoxide.Connection = db, got: list[BaseException] = got) -> None:
            try:
                # More than the kernel takes, so that the call waits to write, and to read.
                db.execute_script(f"select '{'x' * 20_000_000}'")
            except BaseException as error:
                got.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        getattr(db, how)()
        near, far = socket.socketpair()
        assert number in {near.fileno(), far.fileno()}
        mine, other = (near, far) if near.fileno() == number else (far, near)
        with near, far:
            other.sendall(b"not yours")
            thread.join(30)
            assert not thread.is_alive()
            assert isinstance(got[0], errors.ConnectionClosed), got
            mine.setblocking(False)
            other.setblocking(False)
            assert mine.recv(100) == b"not yours"
            with pytest.raises(BlockingIOError):
                other.recv(100)


@pytest.mark.row("Z11", "Z06", face="blocking")
def test_other_threads_run_while_one_waits(shared: Any) -> None:
    """The GIL is released while waiting."""
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    shared.fetch_value("select pg_sleep(0.5)")
    done.set()
    thread.join()
    assert counted > 100


@pytest.mark.row("Z11", face="blocking")
def test_many_connections_many_threads(server: EmbeddedServer) -> None:
    """Opening and closing at the same time, off the main thread."""

    def work(number: int) -> int:
        with pgoxide.Connection.connect(server.config()) as db:
            return db.fetch_value("select $1::int4", number)  # type: ignore[no-any-return]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(60), timeout=60)) == list(range(60))


@pytest.mark.row("Z06", face="blocking")
def test_no_loop_no_thread(dsn: str) -> None:
    """The blocking face imports no asyncio and starts no thread."""
    got = python(
        """
        import sys, threading, pgoxide
        with pgoxide.Connection.connect(sys.argv[1]) as db:
            assert db.fetch_value("select $1::int4", 3) == 3
            print(threading.active_count(), sorted({"asyncio", "ssl", "concurrent"} & set(sys.modules)))
            import os
            print(len(os.listdir("/proc/self/task")))
        """,
        dsn,
    )
    assert got.splitlines() == ["1 []", "1"]


@pytest.mark.row("Z06", face="both")
def test_both_faces_have_the_same_names() -> None:
    def public(kind: type) -> set[str]:
        # Peers' names are there only to say what ours are called: looking them up raises.
        return {name for name in dir(kind) if not name.startswith("_") and hasattr(kind, name)}

    assert public(pgoxide.AsyncConnection) == public(pgoxide.Connection)
    for name in public(pgoxide.Connection):
        ours, theirs = getattr(pgoxide.Connection, name), getattr(pgoxide.AsyncConnection, name)
        if callable(ours) and name != "connect":
            assert _parameters(ours) == _parameters(theirs), name


def _parameters(function: Any) -> list[str]:
    return [str(one).split(":")[0].strip() for one in inspect.signature(function).parameters.values()]


def test_the_generated_face_has_no_await() -> None:
    from pgoxide.driver._sync import connection

    tree = ast.parse(inspect.getsource(connection))
    assert not [
        node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith)
    ]


# ---- the end of the interpreter


def python(text: str, *arguments: str, limit: float = 20) -> str:
    """What a program prints; anything but a clean exit fails the test."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    assert "panicked" not in done.stderr, done.stderr
    assert "Fatal Python error" not in done.stderr, done.stderr
    return done.stdout


ENDINGS = {
    "blocking, open": "db = pgoxide.Connection.connect(dsn); db.fetch_value('select 1')",
    "blocking, in a transaction": "db = pgoxide.Connection.connect(dsn); db.execute('begin')",
    "blocking, in a cycle": "db = pgoxide.Connection.connect(dsn); db.own = [db] if hasattr(db, '__dict__') else 0",
    "blocking, in a module": "import types; m = types.ModuleType('m'); sys.modules['m'] = m; "
    "m.db = pgoxide.Connection.connect(dsn)",
    "blocking, listener": "db = pgoxide.Connection.connect(dsn); db.add_close_listener(lambda e: print('over'))",
    "blocking, used at exit": "import atexit; db = pgoxide.Connection.connect(dsn); "
    "atexit.register(lambda: db.fetch_value('select 1'))",
    "blocking, call in a daemon thread": "db = pgoxide.Connection.connect(dsn); "
    "threading.Thread(target=lambda: db.fetch_value('select pg_sleep(3)'), daemon=True).start(); time.sleep(0.3)",
    "blocking, used by __del__": """
class Late:
    def __init__(self, db): self.db = db
    def __del__(self):
        try: self.db.fetch_value('select 1')
        except Exception: pass
late = Late(pgoxide.Connection.connect(dsn))
sys.late = late
""",
    "async, open": """
async def main():
    global db
    db = await pgoxide.AsyncConnection.connect(dsn)
    await db.fetch_value('select 1')
asyncio.run(main())
""",
    "async, call in flight": """
async def main():
    global db, reply
    db = await pgoxide.AsyncConnection.connect(dsn)
    reply = db.fetch_value('select pg_sleep(3)')
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "async, task in flight": """
async def main():
    global db, task
    db = await pgoxide.AsyncConnection.connect(dsn)
    task = asyncio.create_task(db.fetch_value('select pg_sleep(3)'))
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "async, loop never closed": """
loop = asyncio.new_event_loop()
db = loop.run_until_complete(pgoxide.AsyncConnection.connect(dsn))
reply = db.fetch_value('select 1') if False else None
task = loop.create_task(db.fetch_value('select pg_sleep(3)')) if False else None
""",
    "async, dropped in a loop": """
async def main():
    for _ in range(5):
        await pgoxide.AsyncConnection.connect(dsn)
asyncio.run(main())
""",
    "async, exit inside": """
async def main():
    global db
    db = await pgoxide.AsyncConnection.connect(dsn)
    replies = [db.fetch_value('select pg_sleep(3)') for _ in range(3)]
    await asyncio.sleep(0.05)
    sys.exit(0)
asyncio.run(main())
""",
    "async, loop in a daemon thread": """
async def main():
    async with pgoxide.AsyncConnection.connect(dsn) as db:
        while True:
            await db.fetch_value('select 1')
threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
time.sleep(0.4)
""",
}


@pytest.mark.row("Z14", face="both")
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_interpreter_exit(dsn: str, ending: str) -> None:
    """No hang, no crash, exit code 0, whatever was left open."""
    head = (
        "import asyncio, sys, threading, time, warnings\nimport pgoxide\ndsn = sys.argv[1]\nprint('begun')\n"
    )
    begun = time.monotonic()
    assert python(head + ending, dsn).startswith("begun")
    assert time.monotonic() - begun < 10


@pytest.mark.row("Z14", face="both")
@pytest.mark.parametrize("face", ["async", "blocking"])
def test_exit_with_a_silent_peer(peer: Any, face: str) -> None:
    """A server that no longer answers does not hold up the exit."""
    at = peer([send(greeting()), stall], lenient=True)
    opened = {
        "blocking": "db = pgoxide.Connection.connect(**where)",
        "async": "loop = asyncio.new_event_loop(); db = loop.run_until_complete(pgoxide.AsyncConnection.connect(**where))",
    }[face]
    text = f"import asyncio, sys, pgoxide\nwhere = dict(host=sys.argv[1], port=5432, user='u', database='d')\n{opened}\n"
    begun = time.monotonic()
    python(text, at.folder)
    assert time.monotonic() - begun < 5


QUIET_ENDINGS = {
    "a pool's connection in use": "pool = pgoxide.Pool(dsn); db = pool.acquire().__enter__(); db.fetch_value('select 1')",
    "a pool's stream": "pool = pgoxide.Pool(dsn); db = pool.acquire().__enter__(); rows = db.stream('select generate_series(1, 10000)'); next(rows)",
    "a pool of threads": """
pool = pgoxide.Pool(dsn)
def work():
    while True: pool.fetch_value('select 1')
for _ in range(3): threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
""",
    "a call in flight, async": """
async def main():
    global db, reply
    db = await pgoxide.AsyncConnection.connect(dsn)
    reply = db.fetch_value('select pg_sleep(3)')
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "tasks that are cancelled at the end, async": """
async def main():
    global db, tasks
    db = await pgoxide.AsyncConnection.connect(dsn)
    tasks = [asyncio.create_task(db.fetch_value('select pg_sleep(3)')) for _ in range(3)]
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    "a pool and a loop never closed, async": """
async def main():
    global pool
    pool = await pgoxide.AsyncPool(dsn)
    await pool.fetch_value('select 1')
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
""",
    "a stream, async": """
async def main():
    global db, rows
    db = await pgoxide.AsyncConnection.connect(dsn)
    rows = db.copy_out(query='select generate_series(1, 1000000)')
    await anext(rows)
asyncio.run(main())
""",
}


@pytest.mark.row("Z14", face="both")
@pytest.mark.parametrize("ending", QUIET_ENDINGS.values(), ids=QUIET_ENDINGS.keys())
def test_the_end_is_quiet(dsn: str, ending: str) -> None:
    """What was left open is told as a ResourceWarning, if these are wanted, and nothing else is."""
    head = "import asyncio, sys, threading, time\nimport pgoxide\ndsn = sys.argv[1]\n"
    done = subprocess.run(
        [sys.executable, "-W", "default::RuntimeWarning", "-c", head + ending, dsn],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- what is left in the process


def test_a_closed_pool_leaves_no_thread(dsn: str) -> None:
    before = set(threading.enumerate())
    with pgoxide.Pool(dsn, max_idle=60) as pool:
        assert pool.fetch_value("select 1") == 1
    until = time.monotonic() + 5
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < until, left
        time.sleep(0.01)
