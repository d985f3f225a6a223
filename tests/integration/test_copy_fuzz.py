"""COPY's text and CSV: whatever the options and the values, what we write the server reads as the same, and the reverse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pgoxide.errors import DataError, InterfaceError

pytestmark = [pytest.mark.pg, pytest.mark.row("Y04")]

# Characters that mean something to one of the formats, and some that do not.
TEXTS = st.text(st.sampled_from("\\Nx.\"'\t,;|\n\r ab7é\u20ac-"), max_size=6)
ROWS = st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=8)
SINGLES = st.lists(st.tuples(st.none() | TEXTS), max_size=8)
BYTES = st.sampled_from("\t,;|\"'\\-x~")
NULLS = st.text(st.sampled_from("\\Nx-~'"), max_size=3)


@st.composite
def options(draw: st.DrawFn, form: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if draw(st.booleans()):
        chosen["delimiter"] = draw(BYTES)
    if draw(st.booleans()):
        chosen["null"] = draw(NULLS)
    if form == "csv" and draw(st.booleans()):
        chosen["quote"] = draw(BYTES)
    if form == "csv" and draw(st.booleans()):
        chosen["escape"] = draw(BYTES)
    if draw(st.booleans()):
        chosen["header"] = True
    return chosen


async def there_and_back(db: Any, form: str, chosen: dict[str, Any], rows: list[Any]) -> None:
    width = len(rows[0]) if rows else 2
    columns = ["a", "b"][:width]
    await db.execute("truncate fuzz")
    try:
        await db.copy_in("fuzz", rows, columns=columns, format=form, **chosen)
    except DataError as refused:
        if type(refused) is DataError:  # ours: there is no way to write it, or no such options
            assert any(word in str(refused) for word in ("COPY", "no way")), refused
            assume(False)
        raise
    found = await db.fetch_all(f"select {', '.join(columns)} from fuzz order by n")
    assert found == rows
    copied = db.copy_out(
        query=f"select {', '.join(columns)} from fuzz order by n",
        format=form,
        **(chosen if form == "csv" else {}),
    )
    assert [row async for row in copied] == rows
    if form == "text":
        try:
            copied = db.copy_out("fuzz", columns=columns, format=form, **chosen)
            await copied.__aenter__()
        except InterfaceError as refused:  # a NULL that texts look like
            assert "look like" in str(refused)
            return
        async with copied:
            assert sorted([tuple(row) async for row in copied], key=repr) == sorted(rows, key=repr)


@pytest.mark.parametrize("form", ["text", "csv"])
def test_there_and_back(runner: Any, db: Any, form: str) -> None:
    async def prepare() -> None:
        await db.execute("create temp table fuzz (a text, b text, n serial)")

    runner.run(prepare())

    @settings(max_examples=150, deadline=None, database=None)
    @given(chosen=options(form), rows=ROWS | SINGLES)
    def search(chosen: dict[str, Any], rows: list[Any]) -> None:
        runner.run(there_and_back(db, form, chosen, rows))

    search()
