"""tools/async_to_sync.py on samples: what it changes, what it keeps, what it refuses."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("async_to_sync", ROOT / "tools/async_to_sync.py")
assert _spec is not None
assert _spec.loader is not None
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


def converted(source: str) -> str:
    """The result without the banner."""
    banner, _, text = tool.convert(dedent(source).lstrip("\n"), "sample.py").partition("\n\n")
    assert "sample.py" in banner
    assert "do not edit" in banner
    return text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("async def f(): return await g()", "def f(): return g()"),
        ("async def f():\n    async with a as b: pass", "def f():\n    with a as b: pass"),
        ("async def f():\n    async for x in y: pass", "def f():\n    for x in y: pass"),
        ("async def f(): return [x async for x in y]", "def f(): return [x for x in y]"),
        ("async def f(): return (await g())[0]", "def f(): return (g())[0]"),
        ("async  def f():\n    await  g()", "def f():\n    g()"),
        ("class AsyncConnection: pass", "class Connection: pass"),
        ("class _AsyncThing(AsyncBase): pass", "class _Thing(Base): pass"),
        ("x: AsyncIterator[AsyncRow]", "x: Iterator[Row]"),
        ("def __aenter__(self): self.aclose()", "def __enter__(self): self.close()"),
        ("from a._async.b import c", "from a._sync.b import c"),
        ("def f() -> Awaitable[list[int]]: ...", "def f() -> list[int]: ..."),
        ("def f() -> Coroutine[Any, Any, dict[int, str]]: ...", "def f() -> dict[int, str]: ..."),
        ("def f() -> Awaitable[Awaitable[AsyncRow]]: ...", "def f() -> Row: ..."),
        ("import asyncio\nasyncio.sleep(1)", "import threading\nimport time\ntime.sleep(1)"),
        ("Asynchronous = 1; asynchronous = 2", "Asynchronous = 1; asynchronous = 2"),
        ("drive_async(plan)", "drive(plan)"),
    ],
)
def test_code(before: str, after: str) -> None:
    assert converted(before) == after


def test_texts_and_comments_survive_and_are_renamed() -> None:
    assert (
        converted('''
        """An AsyncConnection, or an `AsyncPool`.

            async with AsyncConnection.connect() as db:
                rows = await db.fetch_all("select 1")
        """
        x = 1  # an AsyncConnection;  await (it)
        # nothing async here, and nobody awaits
        y = "this AsyncConnection is closed"
        z = f"{x} AsyncConnection {{await x}} {y}"
        ''')
        == dedent('''
        """A Connection, or a `Pool`.

            with Connection.connect() as db:
                rows = db.fetch_all("select 1")
        """
        x = 1  # a Connection;  (it)
        # nothing async here, and nobody awaits
        y = "this Connection is closed"
        ''').lstrip()
        + converted_f_string()
    )


def converted_f_string() -> str:
    """Before 3.12 an f-string is one token; from 3.12 on its parts around `{{` are left alone."""
    import sys

    if sys.version_info < (3, 12):
        return 'z = f"{x} Connection {{x}} {y}"\n'
    return converted('z = f"{x} AsyncConnection {{await x}} {y}"') + "\n"


def test_one_face_only() -> None:
    assert (
        converted("""
        def f():
            # async-only: begin
            x = asyncio.get_running_loop()
            # async-only: end
            # sync: x = None
            return x
        """)
        == "def f():\n    x = None\n    return x\n"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("asyncio.create_task(x)", r"sample.py:1: no rule for asyncio.create_task"),
        ("from asyncio import Lock", r"no rule for asyncio"),
        ("x: AsyncGenerator[int, None]", r"no rule for AsyncGenerator"),
        ("# async-only: begin\n", r"sample.py:1: .* never ends"),
        ("# async-only: end\n", r"sample.py:1: .* never began"),
        ("# async-only: begin\n# async-only: begin\n", r"sample.py:2: async-only inside"),
        ("x = 1\n# sync: x = = 2", r"not Python"),
    ],
)
def test_refuses(source: str, message: str) -> None:
    with pytest.raises(tool.ConversionError, match=message):
        converted(source)


SAMPLE = '''
"""A sample."""

import asyncio
from collections.abc import AsyncIterator, Awaitable


class AsyncConnection:
    """An AsyncConnection."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()  # kept

    async def __aenter__(self) -> "AsyncConnection":
        async with self._lock:
            return self

    def fetch(self) -> Awaitable[list[int]]:
        return self._fetch()

    async def rows(self, source: AsyncIterator[int]) -> list[int]:
        return [row async for row in source if await self.wanted(row)]
'''


def test_files_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ruff", reason="ruff formats the result")
    source, target = tmp_path / "_async", tmp_path / "_sync"
    source.mkdir()
    (source / "connection.py").write_text(SAMPLE)
    arguments = ["--source", str(source), "--target", str(target)]

    assert tool.main([*arguments, "--check"]) == 1
    assert not target.exists()
    assert tool.main(arguments) == 0
    text = (target / "connection.py").read_text()
    assert text.startswith("# generated from connection.py by tools/async_to_sync.py: do not edit\n")
    assert "import threading" in text
    assert "import time" not in text  # unused, so ruff took it out
    assert "Awaitable" not in text
    assert "self._lock = threading.Lock()  # kept" in text
    assert ast.parse(text)
    assert tool.main([*arguments, "--check"]) == 0

    (target / "connection.py").write_text(text + "# edited\n")
    (target / "gone.py").write_text("")
    assert tool.main([*arguments, "--check"]) == 1
    assert "stale" in capsys.readouterr().out
    assert tool.main(arguments) == 0
    assert [path.name for path in target.iterdir()] == ["connection.py"]
    assert tool.main([*arguments, "--check"]) == 0


def test_no_source_is_an_error(tmp_path: Path) -> None:
    assert tool.main(["--source", str(tmp_path), "--target", str(tmp_path / "x")]) == 1
