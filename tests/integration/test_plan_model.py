"""Random plans against the same requests made one by one: what a plan's transaction brings together changes nothing.

The other session sends BEGIN when it is asked for, and each request of a batch by itself. So whatever the plan catches, the
tables and the errors are the same: nothing of a transaction ran outside it, nothing was lost with it that stands apart.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import Error, UnexpectedRollback
from pgoxide.statement import (
    Statement,
    batch,
    begin,
    commit,
    execute,
    release,
    rollback,
    savepoint,
)

if TYPE_CHECKING:
    from pgoxide.statement import Plan

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("B04", "X01", "X03", "P07")]

REQUESTS = [
    "begin", "begin", "begin", "begin", "commit", "commit", "commit", "rollback", "insert", "insert", "savepoint a", "savepoint b", "release savepoint a",
    "rollback to savepoint a", "rollback to savepoint b", "insert", "insert", "insert", "new insert", "taken", "nowhere",
]  # fmt: skip
DESCRIBED = [
    "begin", "savepoint a", "savepoint b", "rollback to savepoint a", "release savepoint a", "rollback", "begin", "commit",
]  # fmt: skip
"""What is described beforehand, so that a batch of it is one flight."""


class Requests:
    """Makes requests by their words. What is "new" has not been described; "nowhere" never is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = seed * 1000

    def words(self) -> list[str]:
        """One request, or several for a batch: in which nothing but BEGIN stands behind an end."""
        if self.random.random() < 0.6:
            return [self.random.choice(REQUESTS)]
        words = self.random.choices(REQUESTS, k=self.random.randint(2, 4))
        words = [word.removeprefix("new ") for word in words]
        for at, word in enumerate(words[:-1]):
            if word in {"commit", "rollback"} and words[at + 1] != "begin":
                return words[: at + 1]
        return words

    def statement(self, word: str) -> Statement[Any] | None:
        """None for a command of the transaction."""
        self.number += 1
        insert = "insert into modelled values ($1)"
        made = {
            "insert": Statement(insert, (self.number,)),
            "new insert": Statement(f"{insert} -- {self.number}", (self.number,)),
            "taken": Statement(insert, (0,)),
            "nowhere": Statement("insert into nowhere values ($1)", (0,)),
        }
        return made.get(word)


def plan_of(word: str, statement: Statement[Any] | None) -> Plan[Any]:
    if statement is not None:
        return execute(statement)
    first, *rest = word.split()
    match first:
        case "begin":
            return begin()
        case "commit":
            return commit()
        case "rollback":
            return rollback(rest[-1] if rest else None)
        case "savepoint":
            return savepoint(rest[-1])
        case _:
            return release(rest[-1])


class Model:
    """The other session."""

    def __init__(self, db: Any) -> None:
        self.db = db

    @property
    def idle(self) -> bool:
        return bool(self.db.transaction_status == "idle")

    async def perform(self, words: list[str], statements: list[Statement[Any] | None]) -> str:
        """What it came to: a word for it."""
        pairs = list(zip(words, statements, strict=True))
        try:
            if len(words) > 1 and self.idle and not {"begin"} & set(words):
                return await self.together(pairs)
            start = next((at for at, word in enumerate(words) if word == "begin"), None)
            ended = any(word in {"commit", "rollback"} for word in words[:start])
            if start is not None and not self.idle and not ended:
                return "InterfaceError"
            if start is not None and self.idle and not ended:
                pairs.insert(0, pairs.pop(start))
            elif start is not None and self.idle:
                end = next(at for at, word in enumerate(words) if word in {"commit", "rollback"}) + 1
                first = await self.perform(words[:end], statements[:end])
                return first if first != "done" else await self.perform(words[end:], statements[end:])
            if "nowhere" in words:
                # Nothing of the flight runs: its statements are described first, in the transaction.
                pairs = [
                    pair
                    for at, pair in enumerate(pairs)
                    if pair[0] == "nowhere" or (at == 0 and pair[0] == "begin")
                ][:2]
            for at, pair in enumerate(pairs):
                await self.one(*pair, last=at == len(pairs) - 1, single=len(pairs) == 1)
        except Error as error:
            return type(error).__name__
        return "done"

    async def together(self, pairs: list[tuple[str, Statement[Any] | None]]) -> str:
        """Outside a transaction a batch is one, to the server and so here."""
        async with self.db.batch() as flight:
            for word, statement in pairs:
                flight.execute(word if statement is None else statement)
        return "done"

    async def one(self, word: str, statement: Statement[Any] | None, *, last: bool, single: bool) -> None:
        if single and word.startswith("rollback") and self.idle:
            return
        tag = await self.db.execute(word if statement is None else statement)
        if word == "commit" and last and tag.text == "ROLLBACK":
            raise UnexpectedRollback("as the plan is told")


@pytest.mark.parametrize(
    "seeds", [range(at, at + 25) for at in (0, 25, 50, 75)], ids=lambda seeds: f"{seeds[0]}"
)
async def test_as_if_one_by_one(db: Any, connect: Any, seeds: range) -> None:
    model = Model(await connect())
    for one in (db, model.db):
        await one.execute_script(
            "create temp table modelled (n int8 unique); insert into modelled values (0)"
        )
        for sql in DESCRIBED:
            await one.execute(sql.replace(" a", ' "a"').replace(" b", ' "b"'))
        await one.execute("insert into modelled values ($1)", -1)
    for seed in seeds:
        mine, others = Requests(seed), Requests(seed)
        came: list[tuple[list[str], str]] = []

        def plan(mine: Requests = mine, came: Any = came) -> Plan[None]:
            for _ in range(14):
                words = mine.words()
                parts = [plan_of(word, mine.statement(word)) for word in words]
                try:
                    yield from (parts[0] if len(parts) == 1 else batch(*parts))
                except Error as error:
                    came.append((words, type(error).__name__))
                else:
                    came.append((words, "done"))
            yield from rollback()

        await db.run(plan())
        for words, came_to in came:
            assert others.words() == words
            expected = await model.perform(words, [others.statement(word) for word in words])
            assert came_to == expected, (seed, words, came)
        if not model.idle:
            await model.db.execute("rollback")
        rows = [await one.fetch_column("select n from modelled order by n") for one in (db, model.db)]
        assert rows[0] == rows[1], (seed, came)
        assert db.transaction_status == "idle"
    assert len(rows[0]) > 25, "hardly anything was committed: the test shows nothing"
