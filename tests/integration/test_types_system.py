"""What PostgreSQL tells of itself: oid, xid, cid, xid8, pg_lsn, tid, snapshots, names of catalog objects, void, and the rest."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError
from pgoxide.types import Lsn, Snapshot, Tid

pytestmark = [pytest.mark.pg, pytest.mark.row("T03")]


# ---- oid, xid, cid, xid8


@pytest.mark.row("V24")
@pytest.mark.parametrize("name", ["oid", "xid", "cid"])
async def test_unsigned_of_32_bits(db, name):
    for value in (0, 1, 2**31 - 1, 2**31, 2**32 - 1):
        assert await sent(db, name, value) == (str(value), value)
        assert await same(db, f"'{value}'::{name}") == value
    for wrong in (-1, 2**32, 1.0, "1", True.__class__):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", wrong)


@pytest.mark.row("V25")
async def test_xid8(db):
    for value in (0, 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        assert await sent(db, "xid8", value) == (str(value), value)
        found = await same(db, f"'{value}'::xid8")
        assert (type(found), found) == (int, value)
    for wrong in (-1, 2**64, 1.0, "1", None.__class__):
        with pytest.raises(DataError, match=r"argument \$1 \(xid8\)"):
            await db.fetch_value("select $1::xid8", wrong)
    assert await db.fetch_value("select pg_current_xact_id()") > 0
    await db.execute("create temp table t (a xid8, b regclass)")
    await db.copy_in("t", [(2**64 - 1, None)])
    assert await db.fetch_value("select a from t") == 2**64 - 1


# ---- pg_lsn


@pytest.mark.row("V27")
@pytest.mark.parametrize(
    "text", ["0/0", "16/B374D848", "7FFFFFFF/FFFFFFFF", "80000000/0", "FFFFFFFF/0", "FFFFFFFF/FFFFFFFF"]
)
async def test_lsn(db, text):
    value = Lsn(text)
    found = await sent(db, "pg_lsn", value)
    assert (Lsn(found.text), found.back) == (value, value)
    read = await same(db, f"'{text}'::pg_lsn")
    assert (type(read), read, str(read)) == (Lsn, value, text)
    assert (await sent(db, "pg_lsn", text)).back == (await sent(db, "pg_lsn", int(value))).back == value
    assert pickle.loads(pickle.dumps(read)) == copy.deepcopy(read) == eval(repr(read)) == value
    assert type(copy.deepcopy(read)) is type(pickle.loads(pickle.dumps(read))) is Lsn
    assert hash(read) == hash(int(value))


@pytest.mark.row("V27")
async def test_positions_count_as_the_servers(db):
    a, b = Lsn("16/B374D848"), Lsn("16/B374D800")
    assert await db.fetch_value("select $1::pg_lsn - $2::pg_lsn", a, b) == a - b == 0x48
    assert await db.fetch_value("select $1::pg_lsn + 16", a) == a + 16 == 16 + a
    assert await db.fetch_value("select $1::pg_lsn - 16", a) == a - 16
    assert b < a
    assert (b - a, type(a - b), type(a - 1), type(a + 1), f"{a}", f"{a:x}") == (
        -0x48,
        int,
        Lsn,
        Lsn,
        "16/B374D848",
        f"{int(a):x}",
    )
    for wrong in (lambda: Lsn(2**64), lambda: Lsn(-1), lambda: Lsn("1"), lambda: Lsn("x/1"), lambda: Lsn("100000000/0"), lambda: Lsn("-1/0"),
                  lambda: Lsn("0/0") - 1, lambda: Lsn("FFFFFFFF/FFFFFFFF") + 1, lambda: Lsn("/")):  # fmt: skip
        with pytest.raises(DataError):
            wrong()
    with pytest.raises(TypeError):
        a + b


@pytest.mark.row("V27")
@pytest.mark.parametrize("value", [-1, 2**64, 1.0, "1", "é/1", True, b"0/0"], ids=ascii)
async def test_what_is_no_lsn(db, value):
    for _ in range(2):
        with pytest.raises(DataError, match=r"argument \$1 \(pg_lsn\)"):
            await db.fetch_value("select $1::pg_lsn", value)


# ---- tid, snapshots


@pytest.mark.row("V28")
async def test_tid(db):
    for block, offset in ((0, 0), (0, 1), (2**31, 2**15), (2**32 - 1, 2**16 - 1)):
        value = Tid(block, offset)
        assert await sent(db, "tid", value) == (f"({block},{offset})", value)
        assert (
            await sent(db, "tid", (block, offset))
            == await sent(db, "tid", f"({block},{offset})")
            == (str(value), value)
        )
        found = await same(db, f"'({block},{offset})'::tid")
        assert (type(found), found, found.block, found.offset) == (Tid, value, block, offset)
        assert pickle.loads(pickle.dumps(found)) == found
    await db.execute("create temp table t (a int)")
    await db.execute("insert into t values (1), (2)")
    place = await db.fetch_value("select ctid from t where a = 2")
    assert await db.fetch_value("select a from t where ctid = $1", place) == 2
    for wrong in ((1,), (2**32, 1), (1, 2**16), (-1, 0), 5, "1,2", [1, 2], (1.5, 2)):
        with pytest.raises(DataError, match=r"argument \$1 \(tid\)"):
            await db.fetch_value("select $1::tid", wrong)


@pytest.mark.row("V29")
@pytest.mark.parametrize("name", ["pg_snapshot", "txid_snapshot"])
async def test_snapshot(db, name):
    for text, value in (
        ("1:1:", Snapshot(1, 1)),
        ("795:799:795,797", Snapshot(795, 799, (795, 797))),
        (f"1:{2**63 - 1}:{2**62}", Snapshot(1, 2**63 - 1, (2**62,))),
    ):
        assert await sent(db, name, value) == await sent(db, name, text) == (text, value)
        found = await same(db, f"'{text}'::{name}")
        assert (type(found), found, str(found)) == (Snapshot, value, text)
        assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == eval(repr(found)) == value
        assert hash(found) == hash(value)
    for wrong in (
        Snapshot(2, 1),
        Snapshot(0, 1),
        Snapshot(1, 5, (3, 2)),
        Snapshot(1, 5, (5,)),
        Snapshot(-1, 5),
        Snapshot(1, 2**63),
        5,
        "1:1",
    ):
        with pytest.raises(DataError, match=rf"argument \$1 \({name}\)"):
            await db.fetch_value(f"select $1::{name}", wrong)


@pytest.mark.row("V29")
async def test_visible_as_the_server_tells(db):
    snapshot = Snapshot(10, 20, (10, 14))
    for xid in (9, 10, 11, 14, 19, 20, 21):
        sql = "select pg_visible_in_snapshot($1::text::xid8, $2)"
        assert await db.fetch_value(sql, str(xid), snapshot) is snapshot.visible(xid)
    current = await db.fetch_value("select pg_current_snapshot()")
    assert current.visible(3)


# ---- names of catalog objects


REG = [
    ("regclass", "pg_class"), ("regclass", '"odd ""name"""'), ("regtype", "integer"), ("regtype", "timestamp with time zone[]"), ("regproc", "now"),
    ("regprocedure", "abs(integer)"), ("regoper", "||/"), ("regoperator", "+(integer,integer)"), ("regnamespace", "pg_catalog"),
    ("regrole", "pg_monitor"), ("regconfig", "english"), ("regdictionary", "simple"), ("regcollation", '"C"'), ("regclass", "-"),
]  # fmt: skip


@pytest.mark.row("V26")
@pytest.mark.parametrize(("name", "text"), REG)
async def test_names(db, name, text):
    await db.execute('create temp table "odd ""name""" ()')
    assert await sent(db, name, text) == (text, text)
    quoted = text.replace("'", "''")
    assert await same(db, f"'{quoted}'::{name}") == text
    oid = await db.fetch_value(f"select '{quoted}'::{name}::oid")
    assert await sent(db, name, oid) == (text, text)  # the number will do


@pytest.mark.row("V26")
async def test_numbers_on_demand_and_what_has_no_name(db):
    assert await db.fetch_value("select 'pg_class'::regclass::oid") == 1259
    assert await same(db, "4294967295::oid::regclass") == "4294967295"
    for wrong in (-1, 2**32, 1.5, True, b"pg_class"):
        with pytest.raises(DataError, match=r"argument \$1 \(regclass\)"):
            await db.fetch_value("select $1::regclass", wrong)


# ---- void and the rest


@pytest.mark.row("V30")
async def test_void(db):
    assert await formats(db, "pg_sleep(0)") == [None, None, None]


@pytest.mark.row("V33")
@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("'=r/postgres'::aclitem", "=r/postgres"),
        ("(select ev_action from pg_rewrite limit 1)", "({QUERY"),
        ("to_tsvector('english', 'a cat')::text::tsvector::text", "'cat':2"),
        ("'name'::refcursor", "name"),
        ("(select d.stxdndistinct from pg_statistic_ext_data d limit 1)", "{"),
        ("(select d.stxddependencies from pg_statistic_ext_data d limit 1)", "{"),
        ("(select d.stxdmcv from pg_statistic_ext_data d limit 1)", "\\x"),
    ],
)  # fmt: skip
async def test_the_rest_is_text(db, expression, shape):
    await db.execute("create temp table t as select i % 3 as a, i % 3 as b from generate_series(1, 1000) i")
    await db.execute("create statistics pg_temp.s (ndistinct, dependencies, mcv) on a, b from t")
    await db.execute("analyze t")
    found = await same(db, expression)
    assert type(found) is str
    assert found.startswith(shape)
    if "select" not in expression:
        assert await db.fetch_value(f"select ({expression})::text") == found


@pytest.mark.row("V33")
async def test_brin_and_gtsvector_have_text_only(db):
    """Their binary forms have no reading; the text is asked for."""
    for name in ("pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "gtsvector"):
        for _ in range(2):
            assert await db.fetch_value(f"select null::{name}") is None
        with pytest.raises(DataError, match="expected str"):
            await db.fetch_value(f"select $1::{name}", 5)


@pytest.mark.row("V33")
async def test_a_refcursor_is_a_cursor(db):
    """Its name is what FETCH takes."""
    await db.execute("""
        create function pg_temp.open_one() returns refcursor language plpgsql as $$
        declare found refcursor := 'odd "cursor"';
        begin open found for select i from generate_series(1, 3) i; return found; end $$
    """)
    await db.execute("begin")
    name = await db.fetch_value("select pg_temp.open_one()")
    assert name == 'odd "cursor"'
    quoted = name.replace('"', '""')
    assert await db.fetch_column(f'fetch 2 from "{quoted}"') == [1, 2]
    assert await db.fetch_column(f'fetch all from "{quoted}"') == [3]
    await db.execute("rollback")


@pytest.mark.row("V25", "V27", "V28")
def test_any(runner, db):
    @settings(max_examples=150, deadline=None, database=None)
    @given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))
    def check(large, block, offset):
        async def body():
            assert await sent(db, "xid8", large) == (str(large), large)
            assert await same(db, f"'{large}'::xid8") == large
            found = await sent(db, "pg_lsn", Lsn(large))
            assert (found.back, Lsn(found.text)) == (large, large)
            assert await same(db, f"'{Lsn(large)}'::pg_lsn") == Lsn(large)
            assert await sent(db, "tid", Tid(block, offset)) == (f"({block},{offset})", Tid(block, offset))
            assert await same(db, f"'({block},{offset})'::tid") == (block, offset)

        runner.run(body())

    check()
