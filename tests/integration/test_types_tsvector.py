"""tsvector as TsVector, tsquery as text."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import same, sent
from pgoxide.errors import DataError
from pgoxide.types import TsVector

pytestmark = [pytest.mark.pg, pytest.mark.row("V23", "T03")]

VALUES = [
    ("", TsVector()),
    ("'a'", TsVector({"a": ()})),
    ("'cat':1A,2B,3C,4", TsVector({"cat": [(1, "A"), (2, "B"), (3, "C"), (4, "D")]})),
    ("'it''s':1 'back\\\\slash':2", TsVector({"it's": [1], "back\\slash": [2]})),
    ("' ':16383A", TsVector({" ": [(16383, "A")]})),
    ("'é':1 '名':2 '😀':3", TsVector({"é": [1], "名": [2], "😀": [3]})),
    ("'a:b':1 'c d':2", TsVector({"a:b": [1], "c d": [2]})),
]


def literal(text):
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text[:20] or "empty" for text, _ in VALUES])
async def test_table(db, text, value):
    found = await sent(db, "tsvector", value)
    assert found.back == value
    assert found.text == str(value) == await db.fetch_value(f"select {literal(text)}::tsvector::text")
    assert (await sent(db, "tsvector", text)).back == value
    read = await same(db, f"{literal(text)}::tsvector")
    assert (type(read), read, list(read)) == (TsVector, value, list(value))


async def test_from_words(db):
    found = await same(db, "setweight(to_tsvector('english', 'The fat cats ate the fat rats'), 'B')")
    assert found == {"ate": ((4, "B"),), "cat": ((3, "B"),), "fat": ((2, "B"), (6, "B")), "rat": ((7, "B"),)}
    assert await db.fetch_value("select $1::tsvector @@ to_tsquery('english', 'cat & rat')", found) is True


async def test_texts_as_users_write_them(db):
    for text in ("fat cat", "cat:3b cat:1,2A", "a:1A,1B", "  'x'  y ", "a\\:b", "cat:1 cat"):
        assert (await sent(db, "tsvector", text)).back == await same(db, f"{literal(text)}::tsvector")


@pytest.mark.parametrize(
    "value", [5, b"a", {"a": ()}, "'a", "a:", "a:0", "a:16384", "a\0", "''", ["a"]], ids=ascii
)
async def test_what_is_no_tsvector(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(tsvector\)"):
            await db.fetch_value("select $1::tsvector", value)
    assert await db.fetch_value("select 1") == 1


async def test_what_a_tsvector_cannot_hold(db):
    for value in (TsVector({"a" * 2047: range(1, 256)}), TsVector({"é" * 1023: ()})):
        assert (await sent(db, "tsvector", value)).back == value
    for value in (
        TsVector({"a" * 2048: ()}),
        TsVector({"": ()}),
        TsVector({"a\0": ()}),
        TsVector({"a": range(1, 257)}),
        TsVector({"\ud800": ()}),
    ):
        with pytest.raises(DataError, match=r"argument \$1 \(tsvector\)"):
            await db.fetch_value("select $1::tsvector", value)
    for lexemes in ({"a": [0]}, {"a": [16384]}, {"a": [1, (1, "A")]}, {"a": [(1, "E")]}):
        with pytest.raises(DataError):
            TsVector(lexemes)


async def test_it_is_a_value(db):
    found, made = await same(db, "'cat:3A fat'::tsvector"), TsVector({"fat": [], "cat": [(3, "A")]})
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == eval(repr(found)) == made
    assert hash(found) == hash(made)
    assert (len(found), "cat" in found, found.get("dog"), list(made)) == (2, True, None, ["cat", "fat"])
    for name in ("_lexemes", "other"):
        with pytest.raises(AttributeError):
            setattr(found, name, {})
        with pytest.raises(AttributeError):
            delattr(found, name)


async def test_copy_and_null(db):
    await db.execute("create temp table t (v tsvector, q tsquery)")
    values = [value for _, value in VALUES]
    await db.copy_in(
        "t", [(value, "'a' & 'b'") for value in values] + [(None, None)]
    )  # a tsquery goes as text
    assert await db.fetch_all("select v, q from t") == [
        *((value, "'a' & 'b'") for value in values),
        (None, None),
    ]
    await db.execute("create temp table u (v tsvector)")
    await db.copy_in("u", [(value,) for value in values])
    assert await db.fetch_column("select v from u") == values


async def test_tsquery(db):
    assert await same(db, "'fat & (rat | !cat:A)'::tsquery") == "'fat' & ( 'rat' | !'cat':A )"
    assert await sent(db, "tsquery", "fat <2> rat:*") == ("'fat' <2> 'rat':*", "'fat' <2> 'rat':*")


LEXEME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
POSITIONS = st.dictionaries(st.integers(1, 16_383), st.sampled_from("ABCD"), max_size=4).map(
    lambda found: list(found.items())
)


def test_any(runner, db):
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.dictionaries(LEXEME, POSITIONS, max_size=5).map(TsVector))
    def check(value):
        async def body():
            found = await sent(db, "tsvector", value)
            assert (found.back, found.text) == (value, str(value))
            assert await same(db, f"{literal(found.text)}::tsvector") == value
            assert (await sent(db, "tsvector", found.text)).back == value

        runner.run(body())

    check()
