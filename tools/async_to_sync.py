"""Write the blocking face from the asynchronous one: python/pgoxide/driver/_async/*.py becomes driver/_sync/*.py.

    python tools/async_to_sync.py [--check] [--source DIR --target DIR]

What it does to the tokens of a file, so that comments and docstrings survive:

- `async def/with/for` lose `async`, `await x` becomes `x`, `Awaitable[X]` and `Coroutine[…, …, X]` become `X`;
- `AsyncConnection` becomes `Connection`, and so for every name that starts with Async; NAMES lists the others;
- lines of LINES (imports and calls that exist on one face only) are replaced as they stand there;
- `asyncio.something` becomes what ASYNCIO says; anything of asyncio that is left over is an error, never a guess;
- what stands between `# async-only: begin` and `# async-only: end` is left out, and of a comment `# sync: code` the code is
  taken (one line each, in place);
- in docstrings, comments and messages, the same names and `await`, `async with`, `async for` are changed.

Then ruff sorts imports, drops those no longer used and what has become double, and formats. `--check` compares and writes nothing.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRIVER = ROOT / "python/pgoxide/driver"

NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "AbstractAsyncContextManager": "AbstractContextManager",
    "StopAsyncIteration": "StopIteration",
    "_async": "_sync",
    "aclose": "close",
    "aiter": "iter",
    "anext": "next",
    "asynccontextmanager": "contextmanager",
    "drive_async": "drive",
}

# Whole lines, compared without indentation and trailing comment. An empty replacement drops the line.
LINES = {
    "import asyncio": "import threading\nimport time",
    "from pgoxide.transport import asyncio as transport": "from pgoxide.transport import blocking as transport",
}

ASYNCIO = {
    "asyncio.Condition": "threading.Condition",
    "asyncio.Event": "threading.Event",
    "asyncio.Lock": "threading.Lock",
    "asyncio.Semaphore": "threading.Semaphore",
    "asyncio.TimeoutError": "TimeoutError",
    "asyncio.sleep": "time.sleep",
}

# Texts: docstrings, comments, messages. In order; the article goes first.
TEXTS = (
    (re.compile(r"\b([Aa])n (`?)Async(?=[A-Z])"), r"\1 \2"),
    (re.compile(r"\b(_?)Async(?=[A-Z])"), r"\1"),
    (re.compile(r"\basync (?=with\b|for\b|def\b)"), ""),
    (re.compile(r"\bawait (?=[\w`(])"), ""),
    (re.compile(r"\b__a(enter|exit|iter)__"), r"__\1__"),
    (re.compile(r"\baclose\b"), "close"),
)

BEGIN, END = "# async-only: begin", "# async-only: end"
SYNC_LINE = re.compile(r"^(\s*)# sync: ?(.*)$")
UNMAPPED = {"asyncio", "AsyncGenerator", "AsyncMock"}  # have no twin of the same shape


class ConversionError(Exception):
    """The file contains something this tool has no rule for."""


def convert(source: str, origin: str) -> str:
    """The blocking text of an asynchronous module, unformatted. `origin` is named in the banner and in errors."""
    prepared = "".join(_choose_lines(source.splitlines(keepends=True), origin))
    pieces: list[str] = []
    done = 0
    for start, end, text in sorted(_edits(prepared, origin)):
        pieces += [prepared[done:start], text]
        done = end
    result = f"{_banner(origin)}{''.join(pieces)}{prepared[done:]}"
    _verify(result, origin)
    return result


def _edits(text: str, origin: str) -> Iterator[tuple[int, int, str]]:
    """What to replace in a text: (from, to, by). The parts do not overlap."""
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))

    def at(position: tuple[int, int]) -> int:
        return starts[position[0] - 1] + position[1]

    skip_until = -1
    for index, token in enumerate(tokens):
        start, end = at(token.start), at(token.end)
        if start < skip_until:
            continue
        kind = tokenize.tok_name[token.type]
        if kind == "NAME":
            following = tokens[index + 1]
            if token.string in {"async", "await"}:
                yield start, at(following.start), ""
            elif token.string == "asyncio" and following.string == ".":
                skip_until = at(tokens[index + 2].end)
                yield start, skip_until, _asyncio(tokens[index + 2], origin)
            elif token.string in {"Awaitable", "Coroutine"} and following.string == "[":
                inner, close = _last_argument(tokens, index + 1)
                skip_until = at(tokens[inner].start)
                yield start, skip_until, ""
                yield at(tokens[close].start), at(tokens[close].end), ""
            elif (renamed := _rename(token, origin)) != token.string:
                yield start, end, renamed
        # FSTRING_MIDDLE (3.12 on) is edited only where it stands in the source as the tokenizer gives it: not so with `{{`.
        elif kind in {"STRING", "COMMENT", "FSTRING_MIDDLE"} and text[start:end] == token.string:
            yield start, end, _rename_text(token.string)


def _choose_lines(lines: list[str], origin: str) -> list[str]:
    """Leave out async-only lines, take the code of `# sync:` comments, replace the lines of LINES."""
    chosen: list[str] = []
    begun = 0
    for number, line in enumerate(lines, 1):
        bare = line.strip()
        if bare == BEGIN:
            if begun:
                raise ConversionError(
                    f"{origin}:{number}: async-only inside async-only (begun in line {begun})"
                )
            begun = number
        elif bare == END:
            if not begun:
                raise ConversionError(f"{origin}:{number}: async-only ends here, but never began")
            begun = 0
        elif begun:
            continue
        elif match := SYNC_LINE.match(line):
            chosen.append(f"{match[1]}{match[2]}\n")
        elif (replacement := LINES.get(bare.partition("  #")[0])) is not None:
            indentation = line[: len(line) - len(line.lstrip())]
            chosen += [f"{indentation}{new}\n" for new in replacement.splitlines()]
        else:
            chosen.append(line)
    if begun:
        raise ConversionError(f"{origin}:{begun}: async-only begins here and never ends")
    return chosen


def _asyncio(attribute: tokenize.TokenInfo, origin: str) -> str:
    dotted = f"asyncio.{attribute.string}"
    if dotted not in ASYNCIO:
        raise ConversionError(f"{origin}:{attribute.start[0]}: no rule for {dotted}")
    return ASYNCIO[dotted]


def _rename(token: tokenize.TokenInfo, origin: str) -> str:
    name = token.string
    if name in UNMAPPED:
        raise ConversionError(f"{origin}:{token.start[0]}: no rule for {name}")
    return NAMES[name] if name in NAMES else re.sub(r"^(_?)Async(?=[A-Z])", r"\1", name)


def _rename_text(text: str) -> str:
    for pattern, replacement in TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _last_argument(tokens: list[tokenize.TokenInfo], opening: int) -> tuple[int, int]:
    """Indices of the first token of the last argument between brackets, and of the closing bracket."""
    depth, last = 0, opening + 1
    for index in range(opening, len(tokens)):
        text = tokens[index].string
        if text in {"[", "(", "{"}:
            depth += 1
        elif text in {"]", ")", "}"}:
            depth -= 1
            if not depth:
                return last, index
        elif text == "," and depth == 1 and tokens[index + 1].string != "]":
            last = index + 1
    raise ConversionError("unbalanced brackets")


def _banner(origin: str) -> str:
    return f"# generated from {origin} by tools/async_to_sync.py: do not edit\n\n"


def _verify(text: str, origin: str) -> None:
    """The result must be Python, and blocking Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ConversionError(f"{origin}: the result is not Python: {error}") from error
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    left = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    if left:
        raise ConversionError(
            f"{origin}: {type(left[0]).__name__} is left in line {left[0].lineno} of the result"
        )


def tidy(text: str, path: Path) -> str:
    """Sort imports, drop unused ones, format."""
    for arguments in (
        ["check", "--fix-only", "--quiet", "--fixable", "F401,I,PYI016,RUF100"],
        ["format", "--quiet"],
    ):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(path), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            raise ConversionError(f"ruff {arguments[0]} refused the result for {path.name}:\n{done.stderr}")
        text = done.stdout
    return text


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed files, write nothing"
    )
    parser.add_argument("--source", type=Path, default=DRIVER / "_async")
    parser.add_argument("--target", type=Path, default=DRIVER / "_sync")
    options = parser.parse_args(arguments)

    sources = sorted(options.source.glob("*.py"))
    if not sources:
        print(f"{options.source}: no Python files to convert", file=sys.stderr)
        return 1
    stale: list[str] = []
    try:
        for source in sources:
            target: Path = options.target / source.name
            text = tidy(convert(source.read_text(encoding="utf-8"), name_of(source.resolve())), target)
            if target.exists() and target.read_text(encoding="utf-8") == text:
                continue
            stale.append(name_of(target))
            if not options.check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    orphans = {path.name for path in options.target.glob("*.py")} - {path.name for path in sources}
    for orphan in sorted(orphans):
        stale.append(f"{name_of(options.target / orphan)} (its source is gone)")
        if not options.check:
            (options.target / orphan).unlink()
    for name in stale:
        print(f"{name} is stale: run python tools/async_to_sync.py" if options.check else f"wrote {name}")
    return int(bool(stale) and options.check)


if __name__ == "__main__":
    sys.exit(main())
