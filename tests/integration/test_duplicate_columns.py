"""Results with two columns of one name, and the option that refuses them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import pytest

from pgoxide.errors import BatchAborted, InterfaceError, ProgrammingError

pytestmark = [pytest.mark.pg, pytest.mark.row("Q27")]

DUPLICATE = "select 1 as a, 2 as b, 3 as a"


@dataclass
class Pair:
    a: int
    b: int


class Named(NamedTuple):
    a: int
    b: int


async def test_no_class_drops_a_duplicate_silently(db):
    """`dict` keeps the last, as a row's own `dict(row)`; what declares its fields raises, whatever the option."""
    for _ in range(2):
        assert await db.fetch_one(DUPLICATE, into=dict) == {"a": 3, "b": 2}
        assert await db.fetch_one(DUPLICATE, into=tuple) == (1, 2, 3)
        assert await db.fetch_one(DUPLICATE, into=lambda row: row[0]) == 1
        for into in (Pair, Named, TypedDict("Typed", {"a": int, "b": int}), AnyKeywords):
            with pytest.raises(ProgrammingError, match='two columns are named "a"; give one an alias'):
                await db.fetch_one(DUPLICATE, into=into)
    assert await db.fetch_value("select 1") == 1


class AnyKeywords:
    """A class that takes anything by keyword."""

    def __init__(self, **values: object) -> None:
        raise AssertionError("reached with a column dropped")


REFUSED = 'columns 1 and 3 are both named "a": give one an alias'


async def test_duplicates_raise_when_asked_to(connect):
    db = await connect(duplicate_columns="raise")
    for _ in range(2):
        for verb in (db.fetch_all, db.fetch_one, db.fetch_optional, db.fetch_first):
            with pytest.raises(ProgrammingError, match=REFUSED):
                await verb(DUPLICATE)
            for into in (dict, tuple, Pair):
                with pytest.raises(ProgrammingError, match=REFUSED):
                    await verb(DUPLICATE, into=into)
        assert (await db.fetch_one('select 1 as a, 2 as b, 3 as "A"')).keys() == ("a", "b", "A")
        assert await db.fetch_one("select 1 as a, 2 as b, 3 as c", into=dict) == {"a": 1, "b": 2, "c": 3}
        # Nobody reads these rows.
        assert (await db.execute(DUPLICATE)).rows_affected == 1
    assert db.transaction_status == "idle"


async def test_duplicates_of_unnamed_columns(connect):
    """The server calls every unnamed column alike."""
    db = await connect(duplicate_columns="raise")
    with pytest.raises(ProgrammingError, match=r'columns 1 and 2 are both named "\?column\?"'):
        await db.fetch_one("select 1, 2")
    assert await db.fetch_one("select 1, 2 as two") == (1, 2)


async def test_duplicates_raise_before_the_statement_is_executed(connect):
    db = await connect(duplicate_columns="raise")
    await db.execute("create temp table written (n int)")
    sql = "insert into written values ($1) returning n, n"
    for _ in range(2):
        with pytest.raises(ProgrammingError, match="both named"):
            await db.fetch_all(sql, 1)
        async with db.batch() as batch:
            with suppress(ProgrammingError):  # at once when it is described, else when the batch is sent
                batch.fetch_all(sql, 1)
    assert await db.fetch_value("select count(*) from written") == 0
    await db.execute("begin")
    with pytest.raises(ProgrammingError, match="both named"):
        await db.fetch_all(sql, 1)
    assert db.transaction_status == "in transaction"
    await db.execute("commit")


async def test_duplicates_in_a_batch_a_stream_and_a_script(connect):
    db = await connect(duplicate_columns="raise")
    with pytest.raises(ProgrammingError, match=REFUSED):
        async with db.batch() as batch:
            good = batch.fetch_value("select 1")
            bad = batch.fetch_all(DUPLICATE)
    for reply, error in ((good, BatchAborted), (bad, ProgrammingError)):
        with pytest.raises(error):
            reply.result()
    for _ in range(2):
        with pytest.raises(ProgrammingError, match=REFUSED):
            rows = db.stream(DUPLICATE)
            await _first_batch(rows)
    # A script's statements are described by their answers only: it has run.
    await db.execute_script("create temp table written (n int)")
    with pytest.raises(ProgrammingError, match=REFUSED) as caught:
        await db.execute_script(
            f"insert into written values (1); {DUPLICATE}; insert into written values (2)"
        )
    assert caught.value.__notes__[0] == "in statement 2 of the script"
    assert await db.fetch_column("select n from written order by n") == [1, 2]


async def _first_batch(rows):
    batch = rows.next_batch()
    return await batch if hasattr(batch, "__await__") else batch


async def test_duplicates_known_from_the_answer_only(connect):
    """With declared types the first use goes in one flight with its description: it has run when the names are known."""
    db = await connect(duplicate_columns="raise")
    await db.execute("create temp table written (n int)")
    sql = "insert into written values ($1) returning n, n"
    for executed in (1, 1):
        with pytest.raises(ProgrammingError, match='columns 1 and 2 are both named "n"'):
            await db.fetch_all(sql, 1, types=["int4"])
        assert await db.fetch_value("select count(*) from written") == executed


async def test_the_last_of_duplicates_by_choice(connect):
    db = await connect(duplicate_columns="last")
    row = await db.fetch_one(DUPLICATE)
    assert (row.a, row["a"], tuple(row)) == (3, 3, (1, 2, 3))


@pytest.mark.parametrize("wrong", ["", "first", None, True], ids=repr)
async def test_a_policy_for_duplicates_that_does_not_exist(connect, wrong):
    with pytest.raises(InterfaceError, match=r"duplicate_columns=.*\"raise\""):
        await connect(duplicate_columns=wrong)
