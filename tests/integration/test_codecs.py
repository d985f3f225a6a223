"""Users' codecs: by name, schema, OID; text, binary, tuple and value form; classes; the hook; inside every container."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import json
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import pytest

import pgoxide
from fixtures.fix_faces import formats, same, sent
from pgoxide.errors import DataError, InterfaceError, NotSupportedError
from pgoxide.types import Codec, Columns, Multirange, Range

pytestmark = [pytest.mark.pg, pytest.mark.row("T05")]

_schemas = itertools.count()


@pytest.fixture
def schema(runner, connect):
    name = f"coded_{next(_schemas)}"

    async def make():
        other = await connect()
        await other.execute_script(
            f"drop schema if exists {name} cascade; create schema {name}; set search_path = {name};"
            "create type mood as enum ('sad', 'ok'); create type pair as (a int4, b text); create domain small as int4;"
            "create type deep as (p pair, m mood, js json[], d small)"
        )
        return other

    other = runner.run(make())
    yield name
    runner.run(_script(other, f"rollback; drop schema {name} cascade"))


async def _script(db, sql):
    await db.execute_script(sql)


class Document:
    """A JSON document as its text, to see which codec made it."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Document) and json.loads(self.text) == json.loads(other.text)

    __hash__ = None

    def __repr__(self):
        return f"Document({json.dumps(json.loads(self.text))!r})"


DOCUMENTS = Codec(Document, lambda document: document.text)


async def test_text_form_inside_everything(connect, schema):
    db = await connect(codecs={"json": DOCUMENTS}, options=f"-csearch_path={schema}")
    one, two = Document('{"a": 1}'), Document("[1, 2]")
    assert await same(db, """'{"a": 1}'::json""") == one
    assert await same(db, """array['{"a": 1}', null, '[1, 2]']::json[]""") == [one, None, two]
    assert await same(db, """row(null, 'ok', array['{"a": 1}']::json[], 5)::deep""") == (None, "ok", [one], 5)
    assert (await sent(db, "json", one)).back == one
    assert (await sent(db, "json[]", [one, None])).back == [one, None]
    assert (await sent(db, "deep", (None, "ok", [two], 5))).back == (None, "ok", [two], 5)
    # json only: jsonb has its own name.
    assert await same(db, """'{"a": 1}'::jsonb""") == {"a": 1}


@pytest.mark.parametrize("key", ["jsonb", "pg_catalog.jsonb", 3802])
async def test_keys_of_built_in_types(connect, key):
    db = await connect(codecs={key: Codec(decode=Document)})
    assert await same(db, "'[1, 2]'::jsonb") == Document("[1, 2]")
    # Only half a codec: arguments are taken as ever.
    assert await db.fetch_value("select $1::jsonb", [1, 2]) == Document("[1, 2]")
    other = await connect(codecs={key: Codec(encode=lambda value: json.dumps({"wrapped": value}))})
    assert await other.fetch_value("select $1::jsonb", 1) == {"wrapped": 1}


async def test_keys_of_own_types(connect, schema):
    reversed_ = Codec(lambda text: text[::-1], lambda text: text[::-1])
    for key in ("mood", f"{schema}.mood"):
        db = await connect(codecs={key: reversed_}, options=f"-csearch_path={schema}")
        assert await same(db, "'ok'::mood") == "ko"
        assert await db.fetch_value("select $1::mood::text", "das") == "sad"
        assert await same(db, "array['ok']::mood[]") == ["ko"]
    db = await connect(codecs={"elsewhere.mood": reversed_}, options=f"-csearch_path={schema}")
    assert await same(db, "'ok'::mood") == "ok"
    oid = await db.fetch_value("select 'mood'::regtype::oid")
    db = await connect(codecs={oid: reversed_}, options=f"-csearch_path={schema}")
    assert await same(db, "'ok'::mood") == "ko"
    db = await connect(codecs={"mood[]": Codec(tuple, list, "value")}, options=f"-csearch_path={schema}")
    assert await same(db, "array['ok']::mood[]") == ("ok",)
    assert await db.fetch_value("select $1::mood[]", ("sad",)) == ("sad",)
    db = await connect(codecs={"integer": Codec(lambda n: -n, lambda n: -n, "value")})
    assert await same(db, "5") == -5
    assert (await sent(db, "int4", 7)).text == "-7"


async def test_binary_form(connect):
    number = Codec(
        lambda raw: struct.unpack("!i", raw)[0] * 10, lambda value: struct.pack("!i", value // 10), "binary"
    )
    db = await connect(codecs={"int4": number})
    assert await db.fetch_value("select array[1, 2]") == [10, 20]
    assert await db.fetch_value("select int4range(1, 5)") == Range(10, 50)
    assert await db.fetch_value("select $1::int4::text", 70) == "7"
    assert await db.fetch_value("select $1::int4multirange::text", Multirange([Range(10, 20)])) == "{[1,2)}"
    # What is binary by nature cannot be read where only text travels.
    with pytest.raises(DataError, match=r"column .*the codec of int4 works on binary values"):
        await db.execute_script("select 1")
    assert await db.fetch_value("select 'x'") == "x"


TUPLES = [
    ("date", "'2000-01-31'", (30,)),
    ("date", "'1999-12-31'", (-1,)),
    ("timestamp", "'2000-01-01 00:00:01'", (1_000_000,)),
    ("timestamptz", "'1999-12-31 23:59:59+00'", (-1_000_000,)),
    ("time", "'00:00:01'", (1_000_000,)),
    ("timetz", "'00:00:01+01'", (1_000_000, -3600)),
    ("interval", "'1 mon -2 days 3 sec'", (1, -2, 3_000_000)),
    ("tid", "'(4294967295,65535)'", (4_294_967_295, 65_535)),
    ("int4range", "'[1,5)'", (1, 5, "[)")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "literal", "parts"), TUPLES)
async def test_tuple_form(connect, name, literal, parts):
    seen = []

    def decode(value):
        seen.append(value)
        return ("decoded", *value)

    db = await connect(codecs={name: Codec(decode, lambda value: value[1:], "tuple")})
    assert await db.fetch_value(f"select {literal}::{name}") == ("decoded", *parts)
    assert seen == [parts]
    assert type(seen[0]) is tuple
    assert await db.fetch_value(f"select $1::{name} = {literal}::{name}", ("decoded", *parts)) is True
    assert await db.fetch_value(f"select array[{literal}::{name}, null]") == [("decoded", *parts), None]


async def test_tuple_form_of_a_composite_type(connect, schema):
    db = await connect(
        codecs={
            "pair": Codec(list, tuple, "tuple"),
            "text": Codec(lambda t: t, lambda t: t, "tuple"),
        },
        options=f"-csearch_path={schema}",
    )
    assert await db.fetch_value("select row(1, null)::pair") == [1, None]
    assert await db.fetch_value("select ($1::pair).a", (7, None)) == 7
    with pytest.raises(DataError, match="values of text have no tuple form"):
        await db.fetch_value("select 'x'::text")
    with pytest.raises(DataError, match="values of text have no tuple form"):
        await db.fetch_value("select $1::text is null", ("x",))


async def test_value_form(connect, schema):
    """In front of the driver's own codec: both formats are its business."""
    cents = Codec(lambda amount: int(amount * 100), lambda value: Decimal(value) / 100, "value")
    db = await connect(codecs={"numeric": cents}, options=f"-csearch_path={schema}")
    assert await same(db, "1.25::numeric") == 125
    assert await same(db, "'[1,2.5]'::numrange") == Range(100, 250, "[]")
    assert (await sent(db, "numeric[]", [150, None])).text == "{1.5,NULL}"


async def test_a_domain_of_its_own(connect, schema):
    db = await connect(
        codecs={"small": Codec(lambda n: f"<{n}>", lambda s: int(s[1:-1]), "value")},
        options=f"-csearch_path={schema}",
    )
    # A column of the domain is announced as its base type; inside other types it is the domain.
    assert await same(db, "array[5]::small[]") == ["<5>"]
    assert await same(db, "row(null, null, null, 5)::deep") == (None, None, None, "<5>")
    assert await db.fetch_value("select $1::small[]", ["<7>"]) == ["<7>"]


# ---- classes


class Mood(enum.Enum):
    LOW = "sad"
    FINE = "ok"


class ByName(enum.Enum):
    sad = 1
    ok = 2


@pytest.mark.row("T08")
@pytest.mark.row("T06")
@pytest.mark.parametrize(("cls", "low"), [(Mood, Mood.LOW), (ByName, ByName.sad)])
async def test_enum_classes(connect, schema, cls, low):
    db = await connect(codecs={f"{schema}.mood": cls}, options=f"-csearch_path={schema}")
    assert await same(db, "'sad'::mood") is low
    assert await same(db, "array['sad', null]::mood[]") == [low, None]
    assert await same(db, "row(null, 'sad', null, null)::deep") == (None, low, None, None)
    assert await sent(db, "mood", low) == ("sad", low)
    assert (await sent(db, "mood[]", [low])).text == "{sad}"
    assert (await sent(db, "mood", "ok")).text == "ok"
    with pytest.raises(DataError, match=r"argument \$1 \(mood\): expected .*, got Color"):
        await db.fetch_value("select $1::mood", enum.Enum("Color", "RED").RED)


class Wrong(enum.Enum):
    LOW = "sad"
    HIGH = "glad"


@pytest.mark.row("T08")
async def test_an_enum_class_that_does_not_fit(connect, schema):
    db = await connect(codecs={"mood": Wrong}, options=f"-csearch_path={schema}")
    for _ in range(2):
        with pytest.raises(
            DataError,
            match=r"column .*Wrong does not fit the type mood: labels without a member: ok, sad; members without a label: HIGH, LOW",
        ):
            await db.fetch_value("select 'ok'::mood")
        with pytest.raises(DataError, match=r"argument \$1 .*does not fit"):
            await db.fetch_value("select $1::mood", Wrong.LOW)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("T08")
async def test_a_label_added_later(connect, schema):
    db = await connect(codecs={"mood": Mood}, options=f"-csearch_path={schema}")
    assert await db.fetch_value("select 'ok'::mood") is Mood.FINE
    await db.execute("alter type mood add value 'new'")
    with pytest.raises(DataError, match="the label 'new' of mood has no member in Mood"):
        await db.fetch_value("select 'new'::mood")
    assert await db.fetch_value("select 'ok'::mood") is Mood.FINE


@dataclass
class Pair:
    a: int
    b: str | None


class Backwards(NamedTuple):
    b: str | None
    a: int


def attrs_class():
    attrs = pytest.importorskip("attrs")
    return attrs.make_class("AttrsPair", ["a", "b"])


def msgspec_class():
    msgspec = pytest.importorskip("msgspec")
    return msgspec.defstruct("StructPair", [("a", int), ("b", str | None)])


def pydantic_class():
    pydantic = pytest.importorskip("pydantic")
    return pydantic.create_model("ModelPair", a=(int, ...), b=(str | None, ...))


CLASSES = [lambda: Pair, lambda: Backwards, attrs_class, msgspec_class, pydantic_class]
NAMES = ["dataclass", "namedtuple", "attrs", "msgspec", "pydantic"]


@pytest.mark.row("T06")
@pytest.mark.row("T09")
@pytest.mark.parametrize("make", CLASSES, ids=NAMES)
async def test_classes_for_a_composite_type(connect, schema, make):
    cls = make()
    db = await connect(codecs={"pair": cls}, options=f"-csearch_path={schema}")
    value = cls(a=1, b="x")
    found = await same(db, "row(1, 'x')::pair")
    assert (type(found), found) == (cls, value)
    assert await same(db, "array[row(1, 'x'), null]::pair[]") == [value, None]
    assert (await sent(db, "pair", value)).text == "(1,x)"
    assert (await sent(db, "pair[]", [value, None])).back == [value, None]
    assert (await sent(db, "pair", (2, None))).back == cls(a=2, b=None)
    assert (await sent(db, "deep", (value, None, None, None))).back == (value, None, None, None)


@pytest.mark.row("T06")
@pytest.mark.parametrize("make", CLASSES, ids=NAMES)
async def test_classes_for_json(connect, make):
    cls = make()
    db = await connect(codecs={"jsonb": cls})
    value = cls(a=1, b="x")
    assert await same(db, """'{"a": 1, "b": "x"}'::jsonb""") == value
    assert await sent(db, "jsonb", value) == ('{"a": 1, "b": "x"}', value)
    assert (await sent(db, "jsonb[]", [value, None])).back == [value, None]


@pytest.mark.row("T06")
async def test_classes_that_do_not_fit(connect, schema):
    @dataclass
    class Other:
        a: int
        z: int

    db = await connect(codecs={"pair": Other, "mood": Pair}, options=f"-csearch_path={schema}")
    with pytest.raises(
        DataError, match="Other does not fit the type pair: fields it lacks: b; fields the type lacks: z"
    ):
        await db.fetch_value("select row(1, 'x')::pair")
    with pytest.raises(DataError, match="Pair cannot stand for the type mood"):
        await db.fetch_value("select 'ok'::mood")
    db = await connect(codecs={"pair": int}, options=f"-csearch_path={schema}")
    with pytest.raises(DataError, match="int names no fields"):
        await db.fetch_value("select row(1, 'x')::pair")


# ---- of one statement, of one column


@dataclass
class Twice:
    doc: Document
    other: object


async def test_codecs_of_one_statement(connect):
    db = await connect(codecs={"jsonb": Codec(lambda value: ("connection", value), format="value")})
    sql = """select '{"a": 1}'::jsonb as doc, '[2]'::jsonb as other, array['3']::jsonb[] as many"""
    plain = {"doc": ("connection", {"a": 1}), "other": ("connection", [2]), "many": [("connection", 3)]}
    column, by_type = Columns({"doc": DOCUMENTS}), Columns({"jsonb": Codec(decode=Document)})
    for _ in range(2):
        assert (await db.fetch_one(sql))._asdict() == plain
        row = await db.fetch_one(sql, into=column)
        assert row._asdict() == plain | {"doc": Document('{"a": 1}')}
        row = await db.fetch_one(sql, into=by_type)
        assert list(row) == [Document('{"a": 1}'), Document("[2]"), [Document("3")]]
        # With declared types the statement is described and run in one flight.
        assert await db.fetch_value(
            "select to_json($1::int4) as v", 7, into=Columns({"v": DOCUMENTS}), types=["int4"]
        ) == Document("7")
    made = await db.fetch_all(sql.partition(", array")[0], into=Columns({"doc": DOCUMENTS}, Twice))
    assert made == [Twice(Document('{"a": 1}'), ("connection", [2]))]
    assert (
        await db.fetch_value("select 5 as n", into=Columns({"n": Codec(lambda n: n + 1, format="value")}))
        == 6
    )
    async with db.stream(
        "select i::text as t from generate_series(1, 3) i order by i",
        into=Columns({"t": Codec(int)}),
        batch=2,
    ) as stream:
        assert [row.t async for row in stream] == [1, 2, 3]
    async with db.batch() as batch:
        one = batch.fetch_one(sql, into=column)
    assert one.result().doc == Document('{"a": 1}')
    with pytest.raises(DataError, match=r'column "n" .int4.: nope'):
        await db.fetch_all("select 5 as n", into=Columns({"n": Codec(raises, format="value")}))
    assert await db.fetch_value("select 1") == 1


def raises(_):
    raise ValueError("nope")


# ---- the hook


class Money:
    def __init__(self, cents):
        self.cents = cents
        self.a, self.b = cents, "attributes are not looked at"

    def __pg_encode__(self):
        return Decimal(self.cents) / 100


class Point:
    def __pg_encode__(self):
        return (7, "x")


class Endless:
    def __pg_encode__(self):
        return self


@pytest.mark.row("T06")
async def test_the_hook(db, schema):
    await db.execute(f"set search_path = {schema}")
    assert (await sent(db, "numeric", Money(150))).text == "1.5"
    assert (await sent(db, "numeric[]", [Money(150), None])).text == "{1.5,NULL}"
    assert (await sent(db, "numrange", Range(Money(100), Money(250)))).text == "[1,2.5)"
    assert (await sent(db, "pair", Point())).back == (7, "x")
    assert (await sent(db, "pair[]", [Point()])).back == [(7, "x")]
    assert (await sent(db, "jsonb", Point())).back == [7, "x"]
    with pytest.raises(DataError, match=r"argument \$1 \(int4\): expected int"):
        await db.fetch_value("select $1::int4", Money(150))
    with pytest.raises(DataError, match=r"argument \$1 \(int4\): expected int"):
        await db.fetch_value("select $1::int4", Endless())
    await db.execute("create temp table t (n numeric, i aclitem)")
    await db.copy_in("t", [(Money(150), None)])
    assert await db.fetch_value("select n from t") == Decimal("1.5")


@pytest.mark.row("T05")
@pytest.mark.row("Y02")
async def test_copies(connect, schema):
    """COPY looks its columns' types up before it begins, and goes by the same codecs."""
    db = await connect(
        codecs={"mood": Mood, "pair": Pair, "json": DOCUMENTS}, options=f"-csearch_path={schema}"
    )
    await db.execute("create table t (m mood, p pair, d deep, ms mood[], j json)")
    row = (
        Mood.FINE,
        Pair(1, "x"),
        (Pair(2, None), Mood.LOW, [Document("[1]")], 5),
        [Mood.LOW, None],
        Document("{}"),
    )
    for form in (None, "binary", "text", "csv"):
        if form == "binary":
            # The codec of json works on text.
            with pytest.raises(NotSupportedError, match="no binary codec"):
                await db.copy_in("t", [row], format=form)
            continue
        await db.execute("truncate t")
        assert (await db.copy_in("t", [row, (None,) * 5], format=form)).rows_affected == 2
        assert await db.fetch_one("select * from t where m is not null") == row
    await db.execute("alter table t drop j, drop d")
    assert (await db.copy_in("t", [(Mood.LOW, Pair(1, "x"), [])], format="binary")).rows_affected == 1


# ---- errors, and codecs that use the connection


@pytest.mark.row("T02")
async def test_errors_of_codecs(connect):
    def fails(_):
        raise ValueError("not today")

    db = await connect(
        codecs={
            "json": Codec(fails, fails),
            "jsonb": Codec(lambda t: t, lambda t: 7),
            "bytea": Codec(bytes, str, "binary"),
        }
    )
    for _ in range(2):
        with pytest.raises(DataError, match=r'column "doc" \(json\): not today') as caught:
            await db.fetch_all("select i, '1'::json as doc from generate_series(1, 10) i")
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(DataError, match=r"argument \$1 \(json\): .*not today"):
            await db.fetch_value("select $1::json", 1)
        with pytest.raises(DataError, match="encode of the codec of jsonb must give str"):
            await db.fetch_value("select $1::jsonb", 1)
        with pytest.raises(DataError, match="encode of the codec of bytea must give bytes"):
            await db.fetch_value("select $1::bytea", 1)
        assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize("face", ["async"])
async def test_a_codec_that_calls_its_connection(connect):
    """It must not dead-lock: what it asks comes behind."""
    asked = []

    def decode(text):
        asked.append(db.fetch_value("select 'asked'"))
        return text

    db = await connect(codecs={"json": Codec(decode)})
    assert await db.fetch_column("select '1'::json from generate_series(1, 3)") == ["1", "1", "1"]
    assert [await one for one in asked] == ["asked"] * 3


@pytest.mark.parametrize("face", ["blocking"])
async def test_a_codec_that_calls_its_blocking_connection(connect):
    """It would wait for itself, and is told so."""
    db = await connect(codecs={"json": Codec(lambda text: db.real.fetch_value("select 1"))})
    with pytest.raises(DataError, match="busy with another call of this thread"):
        await db.fetch_value("select '1'::json")
    assert await db.fetch_value("select 1") == 1


@pytest.mark.parametrize(
    ("codecs", "words"),
    [
        ([1], "codecs=.*a mapping"),
        ({"json": 7}, "a Codec or a class, not 7"),
        ({1.5: Mood}, "1.5 is no type name and no oid"),
    ],
)
async def test_codecs_that_are_none(connect, codecs, words):
    with pytest.raises(InterfaceError, match=words):
        await connect(codecs=codecs)


def test_codecs_are_checked():
    with pytest.raises(InterfaceError, match="format='xml'"):
        Codec(str, str, "xml")
    with pytest.raises(InterfaceError, match="decode=7 cannot be called"):
        Codec(7)


async def test_a_codec_that_gives_none(connect):
    db = await connect(codecs={"json": Codec(lambda text: None)})
    assert await formats(db, "'1'::json") == [None] * 3


@pytest.mark.parametrize("face", ["async"])
async def test_codecs_of_a_pool(server, schema):
    """For all its connections, without a hook that sets each one up."""
    async with pgoxide.AsyncPool(
        server.dsn(), min_size=2, max_size=2, codecs={"mood": Mood}, options=f"-csearch_path={schema}"
    ) as pool:
        async with pool.acquire() as one, pool.acquire() as two:
            for db in (one, two):
                assert await db.fetch_value("select 'ok'::mood") is Mood.FINE
        assert await pool.fetch_value("select $1::mood", Mood.LOW) is Mood.LOW
        pool.reload_types()
        assert await pool.fetch_value("select $1::mood", Mood.LOW) is Mood.LOW


def test_codecs_of_a_blocking_pool(server, schema):
    with pgoxide.Pool(
        server.dsn(), min_size=1, max_size=2, codecs={"mood": Mood}, options=f"-csearch_path={schema}"
    ) as pool:
        assert pool.fetch_value("select 'ok'::mood") is Mood.FINE


def test_days(server):
    """The docstring's example of a tuple, spelt out."""
    epoch = dt.date(2000, 1, 1)
    days = Codec(
        lambda parts: epoch + dt.timedelta(days=parts[0]), lambda day: ((day - epoch).days,), "tuple"
    )
    with pgoxide.Connection.connect(server.dsn(), codecs={"date": days}) as db:
        assert db.fetch_value("select $1::date + 1", dt.date(2020, 2, 28)) == dt.date(2020, 2, 29)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_while_a_codec_runs_stays_one(connect, error):
    """It was no bad value, so it must not be caught as one."""

    def interrupted(value):
        raise error

    db = await connect(codecs={"int4": Codec(interrupted, format="value"), "int8": Codec(encode=interrupted)})
    for sql in ("select 1", "select array[1]", "select row(1)"):
        for _ in range(2):
            with pytest.raises(error):
                await db.fetch_all(sql)
    for _ in range(2):
        with pytest.raises(error):
            await db.fetch_value("select $1::int8", 1)
    assert await db.fetch_value("select 'x'") == "x"


@pytest.mark.parametrize("oid", [0, -1, 2**32])
async def test_an_oid_that_is_none(connect, oid):
    with pytest.raises(InterfaceError, match="is no type name and no oid"):
        await connect(codecs={oid: Codec(str)})


async def test_writers_of_json_that_give_bytes(connect):
    """A text codec may give UTF-8 bytes, as `orjson.dumps` and `msgspec.json.encode` do."""

    def written(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False).encode()

    codec = Codec(json.loads, written)
    db = await connect(codecs={"jsonb": codec, "json": codec, "text": Codec(None, str.encode)})
    document = {"ä": [1, "😀"]}
    assert await db.fetch_one("select $1::jsonb, $2::json[]", document, [document]) == (document, [document])
    await db.execute("create temp table documents (doc jsonb, word text)")
    for form in (None, "csv", "text"):
        await db.copy_in("documents", [(document, "wörd")], format=form)
    assert await db.fetch_all("select * from documents") == [(document, "wörd")] * 3
    for wrong in (b"\xff", b"a\0b"):
        other = await connect(codecs={"text": Codec(None, lambda _, wrong=wrong: wrong)})
        with pytest.raises(DataError, match="codec of text must give str"):
            await other.fetch_value("select $1::text", "x")
        assert await other.fetch_value("select 1") == 1
