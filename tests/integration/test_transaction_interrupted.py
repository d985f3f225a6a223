"""Ctrl-C wherever CPython looks for signals while a block of the blocking face is entered, left, undone: nothing stays open."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import pgoxide
from pgoxide.driver._sync import running, transaction
from pgoxide.statement import Plan, Statement, batch, begin, commit, execute, rollback, savepoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pgoxide.embedded import EmbeddedServer

pytestmark = [pytest.mark.pg, pytest.mark.row("X01", face="blocking")]

INSERT = "insert into interrupted values ($1)"


def plain(db: pgoxide.Connection) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, 1)


def last(db: pgoxide.Connection) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, 1, commit=True)


def nested(db: pgoxide.Connection) -> None:
    with db.transaction() as tx:
        tx.on_commit(int)
        with tx.transaction() as inner:
            inner.execute(INSERT, 1)


def failing(db: pgoxide.Connection) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, 1)
        raise ZeroDivisionError


def streaming(db: pgoxide.Connection) -> None:
    with db.transaction() as tx:
        tx.execute(INSERT, 1)
        next(iter(tx.stream("select generate_series(1, 10000)")))
        raise pgoxide.Rollback


def planned(*requests: Callable[[], Plan[Any]]) -> Plan[None]:
    yield from begin()
    for request in requests:
        yield from request()


def insert() -> Plan[Any]:
    return execute(Statement(INSERT, (1,)))


def committed(db: pgoxide.Connection) -> None:
    db.run(planned(insert, commit))


def undone(db: pgoxide.Connection) -> None:
    db.run(planned(insert, rollback))


def in_one_flight(db: pgoxide.Connection) -> None:
    db.run(planned(lambda: batch(insert(), commit()), begin, lambda: batch(savepoint("one"), rollback())))


def left_open(db: pgoxide.Connection) -> None:
    with contextlib.suppress(pgoxide.errors.InterfaceError):
        db.run(planned(insert))


def interrupted(work: Callable[[], object], at: int) -> bool:
    """Runs it; KeyboardInterrupt comes after the call from our files of this number. False when there were fewer."""
    left = at
    files = {transaction.__file__, running.__file__}

    def look(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event != "c_return" or frame.f_code.co_filename not in files:
            return
        left -= 1
        if left == -1:
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    except (KeyboardInterrupt, ZeroDivisionError):
        pass
    finally:
        sys.setprofile(before)
    return left < 0


@pytest.mark.parametrize(
    "work", [plain, last, nested, failing, streaming, committed, undone, in_one_flight, left_open]
)
def test_nothing_stays_open(server: EmbeddedServer, work: Callable[[pgoxide.Connection], None]) -> None:
    with pgoxide.Connection.connect(server.config()) as other:
        other.execute_script("drop table if exists interrupted; create table interrupted (n int4)")
        at = 0
        while True:
            db = pgoxide.Connection.connect(server.config())
            hit = contextvars.copy_context().run(interrupted, partial(work, db), at)
            if not db.closed:
                assert db.transaction_status == "idle", at
                assert db.fetch_value("select 1") == 1, at
            db.close()
            assert other.fetch_value("select count(*) from interrupted", into=int) in {0, 1}
            other.execute("truncate interrupted", timeout=20)  # waits for whoever has it locked still
            if not hit:
                break
            at += 1
        assert at > 3
        other.execute("drop table interrupted")
