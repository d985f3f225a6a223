"""Objects of many documents with the same keys share the table of their keys: nobody can tell but by their size."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgoxide.errors import DataError

pytestmark = [pytest.mark.pg, pytest.mark.row("V21", "T01")]
MANY = 600  # more than it takes to see that objects have the same keys
SHARED = sys.version_info < (3, 15) and getattr(sys, "_is_gil_enabled", lambda: True)()


async def read(db: Any, texts: list[str], name: str = "json") -> list[Any]:
    return await db.fetch_column(
        f"select text::{name} from unnest($1::text[]) with ordinality u(text, i) order by i", texts
    )


def exact(value: Any) -> Any:
    """With types and the order of keys."""
    if isinstance(value, dict):
        return [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return ["list", *map(exact, value)]
    return (type(value), value)


def known(value: Any) -> list[bool]:
    """Which containers the collector knows."""
    if isinstance(value, dict):
        return [gc.is_tracked(value), *(one for item in value.values() for one in known(item))]
    if isinstance(value, list):
        return [gc.is_tracked(value), *(one for item in value for one in known(item))]
    return []


def built(value: Any) -> Any:
    """The same, made by Python's own means."""
    if isinstance(value, dict):
        made = {}
        for key, item in value.items():
            made[key] = built(item)
        return made
    return [built(item) for item in value] if isinstance(value, list) else value


def document(i: int) -> dict[str, Any]:
    inner = {"zip": i, "city": "Zürich", "of": None}
    listed: list[Any] = [i, [], {}, {"x": i}]
    kinds: list[Any] = [i, i + 0.5, f"é {i}", None, i % 2 == 0, 10**30 + i, listed, inner, "", f"name {i}"]
    return {
        "id": i,
        "kind": kinds[i % len(kinds)],
        "inner": inner,
        "name": f"name {i}",
        "last": kinds[i // 10 % len(kinds)],
    }


@pytest.mark.parametrize("name", ["json", "jsonb"])
async def test_every_document_has_its_own_values(db: Any, name: str) -> None:
    wanted = [document(i) for i in range(MANY)]
    for _ in range(2):
        found = await read(db, [json.dumps(one) for one in wanted], name)
        assert found == wanted
        if name == "json":
            assert [exact(one) for one in found] == [exact(one) for one in wanted]
        assert [known(one) for one in found] == [known(built(one)) for one in found]


async def test_they_are_small(db: Any) -> None:
    found = await read(db, [json.dumps(document(i)) for i in range(MANY)])
    size, whole = sys.getsizeof(found[-1]), sys.getsizeof(dict(found[-1].items()))
    assert size < whole if SHARED else size == whole


@pytest.mark.parametrize("count", [1, 2, 28, 29, 30, 31, 100])
async def test_any_number_of_keys(db: Any, count: int) -> None:
    wanted = [{f"key {number}": i + number for number in range(count)} for i in range(MANY)]
    found = await read(db, [json.dumps(one) for one in wanted])
    assert [exact(one) for one in found] == [exact(one) for one in wanted]


async def test_decimals_are_containers_to_none(db: Any) -> None:
    """A number that no float is is a Decimal: an object of a class."""
    numbers = [f"{i}.00000000000000000000001" for i in range(1, MANY)]
    found = await read(db, [f'{{"a": {number[0]}, "b": {number}}}' for number in numbers])
    assert [one["b"] for one in found] == [Decimal(number) for number in numbers]
    assert [gc.is_tracked(one) for one in found] == [gc.is_tracked(built(one)) for one in found]


async def test_orders_and_sets_of_keys_are_kept_apart(db: Any) -> None:
    """Of the same names, and of names of which some are too long to be kept."""
    orders = [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["a", "c"],
        ["a", "x" * 40, "c"],
        ["a", "b", "c", "é"],
        [""],
        [],
    ]
    wanted = [dict.fromkeys(orders[i % len(orders)], i) for i in range(len(orders) * MANY)]
    found = await read(db, [json.dumps(one) for one in wanted])
    assert [exact(one) for one in found] == [exact(one) for one in wanted]


async def test_a_key_that_comes_twice_after_many_that_do_not(db: Any) -> None:
    good = '{"a": 1, "b": 2}'
    for bad in ('{"a": 1, "a": 2}', '{"b": 1, "b": 2}', '{"a": 1, "b": 2, "a": 3}'):
        with pytest.raises(DataError, match="more than once"):
            await read(db, [good] * MANY + [bad])
        assert await read(db, [good] * MANY) == [{"a": 1, "b": 2}] * MANY


async def test_what_users_do_to_one_is_seen_in_no_other(db: Any) -> None:
    texts, wanted = (
        [f'{{"a": {i}, "b": [{i}], "c": null}}' for i in range(MANY)],
        [{"a": i, "b": [i], "c": None} for i in range(MANY)],
    )
    for round_ in range(4):
        found = await read(db, texts)
        assert found == wanted
        kept, others = copy.deepcopy(found[10:]), found[10:]
        one, two, three, four, five, six, seven = found[:7]
        one[f"new {round_}"] = one["newer"] = 1
        one["a"] = 7
        del two["b"]
        two["b"] = 8
        three.clear()
        three.update(z=1, a=2)
        four.popitem()
        assert five.setdefault("d", 1) == 1
        assert six.pop("a") == 5
        seven |= {"c": 1, f"e {round_}": 2}
        assert one == {"a": 7, "b": [0], "c": None, f"new {round_}": 1, "newer": 1}
        assert list(two) == ["a", "c", "b"]
        assert three == {"z": 1, "a": 2}
        assert four == {"a": 3, "b": [3]}
        assert list(five.items()) == [("a", 4), ("b", [4]), ("c", None), ("d", 1)]
        assert six == {"b": [5], "c": None}
        assert seven == {"a": 6, "b": [6], "c": 1, f"e {round_}": 2}
        assert others == kept
        for other in others[:50]:
            assert pickle.loads(pickle.dumps(other)) == other.copy() == other | {} == dict(other) == {**other}
            assert list(reversed(other)) == ["c", "b", "a"]
            assert "new 0" not in other
            assert other.get("newer") is None


async def test_nothing_is_lost_and_nothing_kept(db: Any) -> None:
    """Neither memory, nor references to None, which is counted up to Python 3.11."""
    texts = [json.dumps(document(i)) for i in range(MANY)]
    for _ in range(3):
        await read(db, texts)
    gc.collect()
    blocks, nones = sys.getallocatedblocks(), sys.getrefcount(None)
    for _ in range(20):
        await read(db, texts)
    gc.collect()
    assert abs(sys.getallocatedblocks() - blocks) < MANY
    assert abs(sys.getrefcount(None) - nones) < MANY


def test_any_documents(runner: Any, db: Any) -> None:
    scalar = (
        st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text('aé\n"\\', max_size=9)
    )
    keys = st.sampled_from(
        ["", "a", "b", "id", "name", "é", "a long name of a member, really", 'with "quotes"']
    )
    values = st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(values, min_size=1, max_size=4))
    def check(some: list[Any]) -> None:
        wanted = some * 160
        found = runner.run(read(db, [json.dumps(one) for one in wanted]))
        assert [exact(one) for one in found] == [exact(one) for one in wanted]
        assert [known(one) for one in found] == [known(built(one)) for one in found]

    check()
