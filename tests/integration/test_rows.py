"""Rows as the server's answers give them; what they can do by themselves is in tests/pure/test_row.py."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import weakref
from decimal import Decimal

import pytest

from pgoxide.types import Row

pytestmark = pytest.mark.pg

SQL = "select 1 as id, 'Ada' as name, null::int as none, 1.5::float8 as x"


@pytest.mark.row("R01")
async def test_a_row_in_every_format(db):
    first, second = await db.fetch_one(SQL), await db.fetch_one(SQL)
    (script,) = await db.execute_script(SQL)
    for row in (first, second, script.rows[0]):
        assert isinstance(row, Row)
        assert row == (1, "Ada", None, 1.5)
        assert hash(row) == hash((1, "Ada", None, 1.5))
        assert (row[0], row["id"], row.id, row[-1], row[1:3]) == (1, 1, 1, 1.5, ("Ada", None))
        assert (len(row), list(row), "Ada" in row) == (4, [1, "Ada", None, 1.5], True)
        assert row.get("name") == "Ada"
        assert row.keys() == ("id", "name", "none", "x")
        assert repr(row) == "Row(id=1, name='Ada', none=None, x=1.5)"
    assert type(first) is type(second) is type(script.rows[0])


@pytest.mark.row("R01")
async def test_the_shape_is_shared_between_statements_and_connections(db, connect):
    other = await connect()
    types = {
        type(await db.fetch_one("select 1 as a, 2 as b")),
        type(await db.fetch_one("select 'x' as a, null as b")),
        type(await other.fetch_one("values (1, 2)")),
        type(await other.fetch_one("select 3 as a, 4 as b")),
    }
    assert len(types) == 2


@pytest.mark.row("R02")
async def test_column_names_win(db):
    for _ in range(2):
        row = await db.fetch_one(
            'select 1 as count, 2 as index, 3 as keys, 4 as get, 5 as "select", 6 as "Größe"'
        )
        assert (row.count, row.index, row["keys"], row.get, row.select, row.Größe) == (1, 2, 3, 4, 5, 6)
        assert row.keys() == ("count", "index", "keys", "get", "select", "Größe")
        assert dict(row)["keys"] == 3


@pytest.mark.row("R03")
async def test_mapping_and_match(db):
    for _ in range(2):
        row = await db.fetch_one(SQL)
        assert {**row} == dict(row) == {"id": 1, "name": "Ada", "none": None, "x": 1.5}
        match row:
            case Row(id=1, name=name):
                assert name == "Ada"
            case _:
                raise AssertionError
        one, two, *rest = row
        assert (one, two, rest) == (1, "Ada", [None, 1.5])


@pytest.mark.row("R04")
async def test_pickled_into_another_process(db):
    rows = [
        await db.fetch_one(SQL),
        await db.fetch_one("select now() as t, gen_random_uuid() as u, '{\"a\": [1]}'::jsonb as j"),
    ]
    program = (
        "import pickle, sys; rows = pickle.load(sys.stdin.buffer); assert rows[0].name == 'Ada';"
        "assert rows[1].j == {'a': [1]}; sys.stdout.buffer.write(pickle.dumps(rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(rows), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == rows


@pytest.mark.row("R04")
async def test_rows_outlive_their_connection(connect):
    db = await connect()
    row = await db.fetch_one(SQL)
    await db.close()
    assert row.name == "Ada"
    assert pickle.loads(pickle.dumps(row)).x == 1.5


@pytest.mark.row("R10")
@pytest.mark.parametrize(
    ("expression", "tracked"),
    [
        ("1", False),
        ("'x'", False),
        ("1.5::float8", False),
        ("true", False),
        ("null", False),
        ("'\\x00'::bytea", False),
        ("1.5", False),
        ("'2020-01-01'::date", False),
        ("now()", False),
        ("localtimestamp", False),
        ("gen_random_uuid()", False),
        ("'(1,2)'::point", False),
        ("'[1]'::jsonb", True),
        ("'{\"a\": 1}'::json", True),
    ],
)
async def test_only_rows_of_scalars_are_untracked(db, expression, tracked):
    sql = f"select {expression} as a, 1 as b"
    for row in (await db.fetch_one(sql), await db.fetch_one(sql), (await db.execute_script(sql))[0].rows[0]):
        assert gc.is_tracked(row) is tracked
    value = (await db.fetch_one(sql))[0]
    if not tracked and not isinstance(value, Decimal):  # a Decimal is tracked by CPython itself from 3.12 on
        assert not gc.is_tracked(value)


@pytest.mark.row("R10")
async def test_rows_do_not_hold_the_connection(connect):
    db = await connect()
    rows = await db.fetch_all(SQL)
    real = getattr(db, "real", db)
    assert not {id(real)} & {id(found) for found in gc.get_referents(*rows, type(rows[0]))}


@pytest.mark.row("R10")
async def test_a_decode_error_leaks_no_row(db):
    class Held:
        pass

    def build(row):
        if row.n == 5:
            raise KeyError("mine")
        held = Held()
        alive.append(weakref.ref(held))
        return held

    alive = []
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            await db.fetch_all("select n from generate_series(1, 10) n", into=build)
    await db.fetch_value("select 1")
    gc.collect()
    assert len(alive) == 8
    assert all(one() is None for one in alive)


@pytest.mark.row("R10")
async def test_rows_of_scalars_are_not_counted_for_the_collector(db):
    sql = "select i, i::text, i * 0.5, gen_random_uuid() from generate_series(1, 10000) i"
    await db.fetch_all(sql)
    gc.collect()
    gc.disable()
    try:
        kept = [[] for _ in range(300)]
        before = gc.get_count()[0]
        rows = await db.fetch_all("select i, i * 2 from generate_series(1, 10000) i")
        after = gc.get_count()[0]
        assert len(rows) == 10_000
        assert after - before < 1_000  # counted, they would be 10 000
        del rows
        await db.fetch_value("select 1")
        assert gc.get_count()[0] >= len(kept)  # nor do they take others off the count when they go
    finally:
        gc.enable()


@pytest.mark.row("R10")
async def test_rows_of_containers_are_known_to_the_collector(db):
    """Such a row can be part of a cycle, which only the collector takes apart."""
    row = await db.fetch_one("""select '{"a": [1]}'::json as doc""")
    row.doc["self"] = row
    watched = Watched()
    row.doc["watched"] = watched
    gone = weakref.ref(watched)
    del row, watched
    gc.collect()
    assert gone() is None


class Watched:
    """Something a weak reference can be made to."""
