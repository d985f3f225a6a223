"""Arguments are taken when a verb is called: what becomes of them afterwards changes nothing (semantics, section 1).

On the asynchronous face a call has started, and not ended, when it returns; of a statement's first use the arguments wait
until the server has said their types. A batch waits for the end of its block on both faces.
"""

from __future__ import annotations

import asyncio
import json
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from pgoxide.errors import DataError
from pgoxide.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.pg, pytest.mark.both_transports, pytest.mark.row("Q05")]

_numbers = count()


def bytes_of_an_array() -> tuple[str, Any, Callable[[], None], str]:
    value = bytearray(b"before")

    def mutate() -> None:
        value[:] = b"AFTER!"

    return "encode($1::bytea, 'escape')", value, mutate, "before"


def bytes_of_a_view() -> tuple[str, Any, Callable[[], None], str]:
    value = bytearray(b"before")

    def mutate() -> None:
        value[:] = b"AFTER!"

    return "encode($1::bytea, 'escape')", memoryview(value), mutate, "before"


def a_dictionary() -> tuple[str, Any, Callable[[], None], str]:
    value: dict[str, Any] = {"a": [1, {"b": 2}]}

    def mutate() -> None:
        value["a"][1]["b"] = 3
        value["a"].append(4)
        value["new"] = 5

    return "$1::json::text", value, mutate, json.dumps({"a": [1, {"b": 2}]})


def a_list() -> tuple[str, Any, Callable[[], None], str]:
    value: list[Any] = [1, ["x"]]

    def mutate() -> None:
        value[1].clear()
        value.clear()

    return "$1::json::text", value, mutate, '[1, ["x"]]'


def a_list_in_a_tuple() -> tuple[str, Any, Callable[[], None], str]:
    value = ([1], {"k": "v"})

    def mutate() -> None:
        value[0].append(2)
        value[1].clear()

    return "$1::json::text", value, mutate, '[[1], {"k": "v"}]'


class Uncopied:
    """Has no copy down to its last part."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.words = ["before"]

    def __pg_encode__(self) -> list[str]:
        return self.words


class Unpickled(Uncopied):
    """Says so itself."""

    def __deepcopy__(self, memo: object) -> None:
        raise RuntimeError("no")


def an_object_with_a_lock() -> tuple[str, Any, Callable[[], None], str]:
    value = Uncopied()
    return "array_to_string($1::text[], ',')", value, lambda: value.words.append("after"), "before"


def an_object_that_refuses() -> tuple[str, Any, Callable[[], None], str]:
    value = Unpickled()
    return "array_to_string($1::text[], ',')", value, lambda: value.words.append("after"), "before"


def a_generator() -> tuple[str, Any, Callable[[], None], str]:
    source = ["before"]
    return (
        "array_to_string($1::text[], ',')",
        (word for word in source),
        lambda: source.append("after"),
        "before",
    )


def values_of_a_dictionary() -> tuple[str, Any, Callable[[], None], str]:
    source = {1: "before"}
    return "array_to_string($1::text[], ',')", source.values(), lambda: source.update({2: "after"}), "before"


KINDS = [
    bytes_of_an_array, bytes_of_a_view, a_dictionary, a_list, a_list_in_a_tuple, an_object_with_a_lock, an_object_that_refuses,
    a_generator, values_of_a_dictionary,
]  # fmt: skip


def same(got: Any, expected: str) -> None:
    if isinstance(got, str) and expected[:1] in "[{":
        assert json.loads(got) == json.loads(expected)
    else:
        assert got == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["first", "second", "declared"])
@pytest.mark.parametrize("verb", ["fetch_value", "fetch_all", "statement", "batch", "stream"])
async def test_mutating_them_after_the_call_changes_nothing(
    face: str, db: Any, kind: Any, use: str, verb: str
) -> None:
    expression, value, mutate, expected = kind()
    sql = f"select {expression} as value /* {next(_numbers)} */"
    options: dict[str, Any] = {}
    if use == "declared":
        options["types"] = [expression.partition("$1::")[2].replace(",", ":").split(":")[0]]
    if use == "second":
        await db.fetch_value(sql, b"" if "bytea" in expression else [])
    match verb:
        case "fetch_value":
            call = db.fetch_value(sql, value, **options)
            mutate()
            same(await call, expected)
        case "fetch_all":
            call = db.fetch_all(sql, value, **options)
            mutate()
            same((await call)[0].value, expected)
        case "statement":
            statement = Statement(sql, [value], **options)
            call = db.fetch_value(statement)
            mutate()
            same(await call, expected)
        case "batch":
            async with db.batch() as batch:
                reply = batch.fetch_value(sql, value, **options)
                other = batch.fetch_value("select $1::int4 + 1", 1)
                mutate()
            same(reply.result(), expected)
            assert other.result() == 2
        case _:
            stream = db.stream(sql, value, **options)
            mutate()
            rows = await stream.next_batch()
            same(rows[0].value, expected)
            await stream.close()


@pytest.mark.parametrize("face", ["async"])
async def test_one_object_in_many_calls_each_with_its_own_state(face: str, db: Any) -> None:
    """A buffer that is filled again for each call, none of them awaited meanwhile; first uses and later ones."""
    buffer = bytearray(8)
    document = {"n": 0}
    calls: list[Any] = []
    for number in range(200):
        buffer[:] = number.to_bytes(8, "big")
        document["n"] = number
        calls.append(db.fetch_one(f"select $1::bytea, $2::jsonb /* {number % 7} */", buffer, document))
    got = await asyncio.gather(*calls)
    assert [(int.from_bytes(row[0], "big"), row[1]["n"]) for row in got] == [(n, n) for n in range(200)]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_source_may_give_one_object_again_and_again(face: str, db: Any, asynchronous: bool) -> None:
    """Records of COPY and execute_many are encoded when they are taken, so one list may serve for all."""
    if asynchronous and face == "blocking":
        return  # the blocking face takes plain iterables only
    await db.execute("create temp table t (n int4, data bytea)")

    def source() -> Any:
        record: list[Any] = [0, bytearray(1)]
        for number in range(1000):
            record[0] = number
            record[1][0] = number % 256
            yield record

    async def later() -> Any:
        for record in source():
            await asyncio.sleep(0)
            yield record

    make = later if asynchronous else source
    await db.copy_in("t", make())
    await db.execute_many("insert into t values ($1, $2)", make())
    rows = await db.fetch_all("select n, get_byte(data, 0) from t order by n")
    assert [tuple(row) for row in rows] == [(n // 2, n // 2 % 256) for n in range(2000)]


@pytest.mark.row("Q29")
@pytest.mark.parametrize("make", [lambda: iter([1, 2]), {1: 2}.values], ids=["iterator", "view"])
async def test_what_is_iterated_is_a_list_for_arrays_only(db, make):
    """On the first use of a statement, when its types are not known yet, as on every later one."""
    for _ in range(2):
        assert await db.fetch_value("select $1::int4[]", make()) == list(make())
        with pytest.raises(DataError, match=r"jsonb.*got (list_iterator|dict_values) "):
            await db.fetch_value("select $1::jsonb", make())
