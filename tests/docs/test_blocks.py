"""Every Python block of the README and of docs/ is run: per page in order, in one namespace, on a database of its own.

- ```` ```python ```` blocks are run as they stand, `await` outside of functions included (as in `python -m asyncio`).
- ```` ```pycon ```` blocks are examples: what follows each `>>>` is compared, `...` standing for anything.
- A ```` ```text ```` block right after a ```` ```python ```` block is what that one prints, compared the same way.

DATABASE_URL leads to the page's database. No block can be left out: a fence with anything else about Python is an error.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import os
import re
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pgoxide import AsyncConnection, AsyncPool, Connection, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from pgoxide.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: where, what, and what it is to print."""

    line: int
    kind: str
    code: str
    printed: str | None


def blocks(text: str) -> Iterator[Block]:
    found = list(FENCE.finditer(text))
    for match, following in zip_longest(found, found[1:]):
        indent, kind, code = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if kind not in {"python", "pycon"}:
            assert not kind.startswith(("py", "{")), f"line {line}: ```{kind} would not be run"
            continue
        printed = None
        if (
            following is not None
            and following[2] == "text"
            and not text[match.end() : following.start()].strip()
        ):
            printed = following[3]
        yield Block(line, kind, re.sub(f"^{indent}", "", code, flags=re.MULTILINE), printed)


class Session:
    """Runs the code of one page."""

    def __init__(self, page: Path) -> None:
        self.page = page.relative_to(ROOT)
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.runner = asyncio.Runner()

    def run(self, block: Block) -> None:
        if block.kind == "python":
            printed = self.execute(block.code, block.line, "exec")
            if block.printed is not None:
                self.compare(block.printed, printed, block.line)
            return
        for example in doctest.DocTestParser().get_examples(block.code):
            line = block.line + 1 + example.lineno
            if example.exc_msg is None:
                self.compare(example.want, self.execute(example.source, line, "single"), line)
                continue
            with pytest.raises(Exception) as caught:
                self.execute(example.source, line, "single")
            kind = f"{type(caught.value).__module__}.{type(caught.value).__qualname__}".removeprefix(
                "builtins."
            )
            self.compare(example.exc_msg, f"{kind}: {caught.value}\n", line)

    def execute(self, source: str, line: int, mode: str) -> str:
        """What it printed."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile("\n" * line + source, str(self.page), mode, flags, dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(eval(code, self.names))
            elif mode == "single":  # `python -m asyncio` runs every statement on the loop
                self.runner.run(self._on_the_loop(code))
            else:
                exec(code, self.names)
        return out.getvalue()

    async def _on_the_loop(self, code: CodeType) -> None:
        exec(code, self.names)

    def compare(self, want: str, got: str, line: int) -> None:
        checker = doctest.OutputChecker()
        if not checker.check_output(want, got, FLAGS):
            pytest.fail(f"{self.page}:{line}\nthe page says:\n{want}\nit was:\n{got}", pytrace=False)

    def close(self) -> None:
        """Closes what the page left open."""
        for value in self.names.values():
            if isinstance(value, Connection | AsyncConnection) and value.closed:
                continue  # or given back, and its pool's to close
            if isinstance(value, Connection):
                value.close()
            elif isinstance(value, AsyncConnection):
                value.abort()
        for value in self.names.values():
            if isinstance(value, Pool):
                value.close()
            elif isinstance(value, AsyncPool):
                self.runner.run(value.close())
        self.runner.close()


@pytest.fixture
def database(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty database, DATABASE_URL leading there."""
    for name in [name for name in os.environ if name.startswith("PG") and not name.startswith("PGOXIDE")]:
        monkeypatch.delenv(name)
    with Connection.connect(server.dsn()) as admin:
        admin.execute_script("create database docs")
        monkeypatch.setenv("DATABASE_URL", server.dsn("docs"))
        yield server.dsn("docs")
        admin.execute_script("drop database docs with (force)")


@pytest.mark.pg
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(blocks(page.read_text(encoding="utf-8")))
    session = Session(page)
    try:
        for block in found:
            session.run(block)
    finally:
        session.close()


def test_pages_are_found_and_have_blocks() -> None:
    assert sum(len(list(blocks(page.read_text(encoding="utf-8")))) for page in PAGES) > 50
    with pytest.raises(AssertionError, match="would not be run"):
        list(blocks("```python skip\n1\n```\n"))
