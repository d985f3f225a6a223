"""The connection ends while COMMIT is under way: nobody knows whether it took effect, and the caller is told just that."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.fix_script import (
    BOUND,
    CLOSED,
    NO_DATA,
    PARSED,
    close,
    complete,
    error,
    greeting,
    open_at,
    parameter_types,
    ready,
    send,
)
from pgoxide.errors import ConnectionClosed, TransactionOutcomeUnknown
from pgoxide.statement import Statement, batch, begin, commit, execute, rollback

if TYPE_CHECKING:
    from collections.abc import Callable

    from fixtures.fix_script import Line
    from pgoxide.statement import Plan


class Server:
    """Runs commands without rows; ends the line at the statement that begins with `at`.

    how: "silent" says nothing more; "last words" tells that it shuts down; "answered" completes the statement first, and
    only its ReadyForQuery is missing.
    """

    def __init__(self, at: str, how: str = "silent") -> None:
        self.ran: list[str] = []
        self._at, self._how = at, how

    def __call__(self, line: Line) -> None:
        texts: dict[bytes, str] = {}
        portal, status = "", "I"
        with suppress(EOFError, OSError):
            while (kind := line.next()) != "X":
                body = line.bodies[-1]
                if kind == "P":
                    name, text, _ = body.split(b"\0", 2)
                    texts[name] = text.decode()
                    line.send(PARSED)
                elif kind == "D":
                    line.send(parameter_types() + NO_DATA)
                elif kind == "B":
                    portal = texts[body.split(b"\0", 2)[1]]
                    line.send(BOUND)
                elif kind == "C":
                    line.send(CLOSED)
                elif kind == "S":
                    line.send(ready(status))
                elif kind in "EQ":
                    portal = body.strip(b"\0").decode() if kind == "Q" else portal
                    word = portal.split(maxsplit=1)[0].upper()
                    if portal.startswith(self._at):
                        if self._how == "last words":
                            line.send(error("57P01", "terminating connection", "FATAL"))
                        if self._how == "answered":
                            line.send(complete(word))
                        close(line)
                        return
                    self.ran.append(portal)
                    status = {"BEGIN": "T", "COMMIT": "I", "ROLLBACK": "I"}.get(word, status)
                    line.send(complete(word) + (ready(status) if kind == "Q" else b""))


async def opened(face: str, peer: Callable[..., Any], server: Server) -> Any:
    return await open_at(face, peer([send(greeting()), server], lenient=True).where)


@pytest.mark.row("X08")
@pytest.mark.parametrize("last", [True, False], ids=["with its statement", "alone"])
@pytest.mark.parametrize("how", ["silent", "last words"])
async def test_lost_during_commit(
    face: str, runner: Any, peer: Callable[..., Any], last: bool, how: str
) -> None:
    server = Server("commit", how)
    db = await opened(face, peer, server)
    with pytest.raises(TransactionOutcomeUnknown) as caught:
        async with db.transaction() as tx:
            await tx.execute("insert", commit=last)
    assert server.ran == ["begin", "insert"]
    assert caught.value.is_connection_error
    assert isinstance(caught.value.__cause__, ConnectionClosed)
    if how == "last words":
        assert "terminating connection" in str(caught.value.__cause__)
    assert db.closed


@pytest.mark.row("X08")
async def test_lost_during_the_commit_of_a_batch(face: str, runner: Any, peer: Callable[..., Any]) -> None:
    db = await opened(face, peer, Server("commit"))
    with pytest.raises(TransactionOutcomeUnknown):
        async with db.transaction() as tx, tx.batch(commit=True) as batch:
            batch.execute("insert")


@pytest.mark.row("X08")
@pytest.mark.parametrize("last", [True, False], ids=["with its statement", "alone"])
@pytest.mark.parametrize("at", ["commit", "insert"])
async def test_lost_in_a_plan(face: str, runner: Any, peer: Callable[..., Any], last: bool, at: str) -> None:
    """Only COMMIT under way leaves a doubt. There is nothing to undo."""

    def plan() -> Plan[None]:
        try:
            yield from begin()
            insert = execute(Statement("insert"))
            if last:
                yield from batch(insert, commit())
            else:
                yield from insert
                yield from commit()
        except BaseException:
            yield from rollback()
            raise

    db = await opened(face, peer, Server(at))
    # Where COMMIT travels behind the statement, that may have been done, and COMMIT too.
    with pytest.raises(TransactionOutcomeUnknown if at == "commit" or last else ConnectionClosed):
        await db.run(plan())
    assert db.closed


@pytest.mark.row("X08")
@pytest.mark.parametrize("at", ["insert", "release"])
async def test_lost_before_commit(face: str, runner: Any, peer: Callable[..., Any], at: str) -> None:
    """Nothing was committed, for sure: a savepoint's RELEASE is no COMMIT."""
    db = await opened(face, peer, Server(at))
    with pytest.raises(ConnectionClosed) as caught:
        async with db.transaction() as tx, tx.transaction() as inner:
            await inner.execute("insert", commit=True)
    assert not isinstance(caught.value, TransactionOutcomeUnknown)


@pytest.mark.row("X08")
@pytest.mark.parametrize("last", [True, False], ids=["with its statement", "alone"])
async def test_lost_behind_the_answer(face: str, runner: Any, peer: Callable[..., Any], last: bool) -> None:
    """COMMIT has been answered, only ReadyForQuery is missing: it was committed."""
    db = await opened(face, peer, Server("commit", "answered"))
    told: list[str] = []
    async with db.transaction() as tx:
        tx.on_commit(lambda: told.append("committed"))
        await tx.execute("insert", commit=last)
    assert told == ["committed"]
    assert db.closed
