"""`into=`: what a row becomes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import pytest

from pgoxide.errors import DataError, Error, InterfaceError, ProgrammingError
from pgoxide.statement import Statement

pytestmark = pytest.mark.pg

SQL = "select 1 as id, 'Ada' as name"


class Pair(NamedTuple):
    id: int
    name: str


class Turned(NamedTuple):
    name: str
    id: int


class DefaultInBetween(NamedTuple):
    id: int
    age: int = 40
    name: str = "?"


class WithDefault(NamedTuple):
    id: int
    name: str
    age: int = 40


class SubPair(Pair):
    __slots__ = ()

    def greeting(self):
        return f"hello {self.name}"


class Grown(Pair):
    """Its own __new__ must not be passed by."""

    def __new__(cls, id, name):
        return super().__new__(cls, id + 100, name)


Plain2 = namedtuple("Plain2", "id name")  # noqa: PYI024


@dataclass
class Plain:
    id: int
    name: str


@dataclass(slots=True)
class Slotted:
    name: str
    id: int


@dataclass(kw_only=True)
class KwOnly:
    id: int
    name: str
    age: int = 40


@dataclass
class Defaults:
    id: int
    name: str
    age: int = 40
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    id: int
    name: str


@dataclass(frozen=True, slots=True, order=True)
class FrozenSlotted:
    id: int
    name: str
    tags: dict[str, int] = field(default_factory=dict)


@dataclass
class Post:
    id: int
    name: str
    shout: str = field(init=False)

    def __post_init__(self):
        self.shout = self.name.upper()


@dataclass
class InitVariable:
    id: int
    name: dataclasses.InitVar[str]
    shout: str = ""

    def __post_init__(self, name):
        self.shout = name.upper()


@dataclass
class OwnInit:
    id: int
    name: str

    def __init__(self, id, name):
        self.id, self.name = id * 10, name


@dataclass
class Child(Plain):
    age: int = 40


@dataclass
class Setter:
    id: int
    name: str

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value if name == "id" else value.upper())


class OwnSetBase:
    def __setattr__(self, name, value):
        object.__setattr__(self, name, (value,))


@dataclass
class InheritedSetter(OwnSetBase):
    id: int
    name: str


@dataclass
class OwnNew:
    id: int
    name: str

    def __new__(cls, *_args, **_kwargs):
        made = super().__new__(cls)
        made.marked = True
        return made


class Described:
    """A descriptor that changes what is stored."""

    def __set_name__(self, owner, name):
        self._name = "_" + name

    def __get__(self, instance, owner):
        if instance is None:
            raise AttributeError
        return getattr(instance, self._name)

    def __set__(self, instance, value):
        setattr(instance, self._name, value * 2)


@dataclass
class WithDescriptor:
    id: Described = Described()
    name: str = ""


class Typed(TypedDict):
    id: int
    name: str


class Loose(Typed, total=False):
    age: int


class ByHand:
    def __init__(self, id, name):
        self.id, self.name = id, name

    def __eq__(self, other):
        return type(other) is ByHand and (self.id, self.name) == (other.id, other.name)

    __hash__ = None


@pytest.mark.row("R05", "R06")
@pytest.mark.parametrize(
    ("into", "expected"),
    [
        (tuple, (1, "Ada")),
        (dict, {"id": 1, "name": "Ada"}),
        (Pair, Pair(1, "Ada")),
        (Turned, Turned("Ada", 1)),
        (WithDefault, WithDefault(1, "Ada", 40)),
        (DefaultInBetween, DefaultInBetween(1, 40, "Ada")),
        (SubPair, SubPair(1, "Ada")),
        (Grown, Grown(1, "Ada")),
        (Plain2, Plain2(1, "Ada")),
        (Plain, Plain(1, "Ada")),
        (Slotted, Slotted("Ada", 1)),
        (KwOnly, KwOnly(id=1, name="Ada")),
        (Defaults, Defaults(1, "Ada")),
        (Frozen, Frozen(1, "Ada")),
        (FrozenSlotted, FrozenSlotted(1, "Ada")),
        (Post, Post(1, "Ada")),
        (InitVariable, InitVariable(1, "Ada")),
        (OwnInit, OwnInit(1, "Ada")),
        (Child, Child(1, "Ada")),
        (Setter, Setter(1, "Ada")),
        (InheritedSetter, InheritedSetter(1, "Ada")),
        (OwnNew, OwnNew(1, "Ada")),
        (WithDescriptor, WithDescriptor(1, "Ada")),
        (Typed, {"id": 1, "name": "Ada"}),
        (Loose, {"id": 1, "name": "Ada"}),
        (ByHand, ByHand(1, "Ada")),
        (lambda row: f"{row.id}:{row['name']}", "1:Ada"),
        (len, 2),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else "",
)
async def test_row_types(db, into, expected):
    statement = Statement(SQL, into=into) if isinstance(into, type) else None
    for _ in range(3):
        found = [
            await db.fetch_one(SQL, into=into),
            *await db.fetch_all(SQL, into=into),
            await db.fetch_optional(SQL, into=into),
            await db.fetch_first(SQL, into=into),
            *([await db.fetch_one(statement)] if statement else []),
        ]
        for one in found:
            assert one == expected
            assert type(one) is type(expected)
            if hasattr(expected, "__dict__"):
                assert vars(one) == vars(expected)


@pytest.mark.row("R05")
async def test_classes_of_other_packages(db):
    attrs = pytest.importorskip("attrs")
    msgspec = pytest.importorskip("msgspec")
    pydantic = pytest.importorskip("pydantic")

    @attrs.define
    class Attrs:
        id: int
        name: str = attrs.field(converter=str.upper)

    @attrs.frozen(kw_only=True)
    class AttrsFrozen:
        id: int
        name: str
        age: int = 40

    class Struct(msgspec.Struct, frozen=True):
        id: int
        name: str
        age: int = 40

    class Model(pydantic.BaseModel):
        id: str = pydantic.Field(coerce_numbers_to_str=True)
        name: str
        age: int = 40

    @pydantic.dataclasses.dataclass
    class Checked:
        id: int
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def shout(cls, value):
            return value.upper()

    for _ in range(2):
        assert await db.fetch_one(SQL, into=Attrs) == Attrs(1, "Ada")
        assert (await db.fetch_one(SQL, into=Attrs)).name == "ADA"
        assert await db.fetch_one(SQL, into=AttrsFrozen) == AttrsFrozen(id=1, name="Ada")
        assert await db.fetch_one(SQL, into=Struct) == Struct(1, "Ada")
        assert await db.fetch_one(SQL, into=Model) == Model(id=1, name="Ada")
        assert (await db.fetch_one(SQL, into=Model)).id == "1"
        assert (await db.fetch_one(SQL, into=Checked)).name == "ADA"
        for cls in (Model, Checked):
            with pytest.raises(pydantic.ValidationError):
                await db.fetch_one("select 'x' as id, array[1]::text as name, 'no' as age", into=Model)
            with pytest.raises((pydantic.ValidationError, Error)):
                await db.fetch_one("select null as id, 'x' as name", into=cls)
        assert await db.fetch_value("select 1") == 1


SCALARS = [
    (int, "7", 7),
    (int, "7::int8", 7),
    (bool, "true", True),
    (str, "'x'", "x"),
    (float, "1.5::float8", 1.5),
    (Decimal, "1.50", Decimal("1.50")),
    (bytes, "'\\x6162'::bytea", b"ab"),
    (dt.date, "'2020-01-02'::date", dt.date(2020, 1, 2)),
    (dt.datetime, "'2020-01-02'::timestamp", dt.datetime(2020, 1, 2)),  # noqa: DTZ001
    (UUID, "'00000000-0000-0000-0000-000000000005'::uuid", UUID(int=5)),
]


@pytest.mark.row("R05")
@pytest.mark.parametrize(("into", "expression", "expected"), SCALARS)
async def test_scalars(db, into, expression, expected):
    sql = f"select {expression} as a"
    for _ in range(2):
        for found in (
            await db.fetch_value(sql, into=into),
            await db.fetch_one(sql, into=into),
            *await db.fetch_column(sql, into=into),
            *await db.fetch_all(sql, into=into),
            await db.fetch_optional(sql, into=into),
        ):
            assert found == expected
            assert type(found) is type(expected)


@pytest.mark.row("R05")
@pytest.mark.parametrize(("into", "expression"), [(into, expression) for into, expression, _ in SCALARS])
async def test_null_in_a_typed_value_and_a_typed_column(db, into, expression):
    """`fetch_value(into=R)` is `R | None`, `fetch_column(into=R)` is `list[R | None]`."""
    sql = f"select nullif({expression}, {expression}) as a"
    for _ in range(2):
        assert await db.fetch_value(sql, into=into) is None
        assert await db.fetch_column(sql, into=into) == [None]


@pytest.mark.row("R05")
async def test_null_as_a_row_of_a_scalar_type_is_refused(db):
    """`fetch_all(into=int)` is `list[int]`."""
    for _ in range(2):
        with pytest.raises(DataError, match="into=int"):
            await db.fetch_all("select null::int as a", into=int)
        assert await db.fetch_optional("select 1 where false", into=int) is None


@pytest.mark.row("R05", "R07")
@pytest.mark.parametrize(
    ("into", "expression"),
    [
        (int, "'x'"),
        (str, "1"),
        (UUID, "'x'"),
        (float, "1"),
        (dt.datetime, "'2020-01-02'::date"),
    ],
)
async def test_a_scalar_of_another_type(db, into, expression):
    for _ in range(2):
        with pytest.raises(DataError, match=f"into={into.__name__}"):
            await db.fetch_value(f"select {expression} as a", into=into)
        assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R05")
async def test_a_scalar_takes_one_column(db):
    for _ in range(2):
        with pytest.raises(Error, match=r"one column.*2"):
            await db.fetch_all(SQL, into=int)


# ---- R07


@pytest.mark.row("R07")
@pytest.mark.parametrize(
    ("into", "sql", "message"),
    [
        (cls, "select 1 as id, 2 as a, 3 as b", rf"into={cls.__name__}: no column for its field name; no field for the columns a, b")
        for cls in (Pair, Plain, Slotted, KwOnly, Defaults, Frozen, FrozenSlotted, Post, Typed, Loose, OwnInit, Child)
    ]
    + [
        (Plain, "select 1 as x", "no column for its fields id, name; no field for the column x"),
        (Plain, "select 1 as id", "no column for its field name$"),
        (Plain, "select 1 as id, 'x' as name, 3 as b", "no field for the column b$"),
        (WithDefault, "select 1 as age", "no column for its fields id, name$"),
        (Post, "select 1 as id, 'x' as name, 'y' as shout", "no field for the column shout$"),
        (Plain, "select 1 as id, 2 as id, 'x' as name", "two columns are named"),
        (Typed, "select 1 as id, 2 as id, 'x' as name", "two columns are named"),
        (ByHand, "select 1 as id, 2 as id, 'x' as name", "two columns are named"),
    ],
)  # fmt: skip
async def test_mismatches_are_listed_both_ways(db, into, sql, message):
    for _ in range(3):
        with pytest.raises(ProgrammingError, match=message):
            await db.fetch_all(sql, into=into)
        assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R07")
async def test_a_known_mismatch_is_refused_before_executing(db):
    await db.execute("create temp table t (n int)")
    sql = "insert into t values ($1) returning n"
    await db.fetch_all(sql, 1)
    with pytest.raises(ProgrammingError):
        await db.fetch_all(sql, 2, into=Plain)
    assert await db.fetch_column("select n from t") == [1]


@pytest.mark.row("R07")
async def test_attrs_and_msgspec_mismatches_are_listed_both_ways(db):
    attrs = pytest.importorskip("attrs")
    msgspec = pytest.importorskip("msgspec")
    pydantic = pytest.importorskip("pydantic")

    class Struct(msgspec.Struct):
        id: int
        name: str

    class Model(pydantic.BaseModel):
        id: int
        name: str

    for cls in (attrs.make_class("Attrs", ["id", "name"]), Struct, Model):
        for _ in range(2):
            with pytest.raises(ProgrammingError, match=r"name.*a, b"):
                await db.fetch_all("select 1 as id, 2 as a, 3 as b", into=cls)


# ---- R06: built straight from the wire, with nothing lost


@pytest.mark.row("R06")
async def test_defaults_are_made_anew_for_each_row(db):
    for cls in (Defaults, FrozenSlotted):
        one, two = await db.fetch_all("select n as id, 'x' as name from generate_series(1, 2) n", into=cls)
        assert one.tags == two.tags
        assert one.tags is not two.tags


@pytest.mark.row("R06")
async def test_generated_init_is_not_called_and_own_code_is(db):
    calls = []

    @dataclass
    class Counted:
        id: int
        name: str

        def __post_init__(self):
            calls.append(self.id)

    await db.fetch_all("select n as id, 'x' as name from generate_series(1, 3) n", into=Counted)
    assert calls == [1, 2, 3]

    frames = []

    def tracer(frame, event, _argument):
        if event == "call" and frame.f_code.co_name == "__init__":
            frames.append(frame.f_locals.get("self"))

    sys.setprofile(tracer)
    try:
        rows = await db.fetch_all("select n as id, 'x' as name from generate_series(1, 3) n", into=Plain)
    finally:
        sys.setprofile(None)
    assert rows == [Plain(n, "x") for n in (1, 2, 3)]
    assert not [one for one in frames if isinstance(one, Plain)]


@pytest.mark.row("R06")
async def test_each_object_has_its_own_dict(db):
    one, two = await db.fetch_all("select n as id, 'x' as name from generate_series(1, 2) n", into=Plain)
    one.name = "y"
    one.extra = 1
    assert (two.name, hasattr(two, "extra"), vars(two)) == ("x", False, {"id": 2, "name": "x"})


@pytest.mark.row("R05")
async def test_a_dataclass_field_without_init_and_with_default(db):
    @dataclass
    class Partly:
        id: int
        name: str
        state: str = field(init=False, default="new")
        log: list[Any] = field(init=False, default_factory=list)

    for _ in range(2):
        found = await db.fetch_one(SQL, into=Partly)
        assert found == Partly(1, "Ada")
        assert (found.state, found.log) == ("new", [])


@pytest.mark.row("R05")
@pytest.mark.parametrize("into", [5, "int", [], object()])
async def test_what_cannot_be_a_row_type(db, into):
    for _ in range(2):
        with pytest.raises((TypeError, InterfaceError), match="into="):
            await db.fetch_all(SQL, into=into)
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R05")
async def test_other_mappings_and_sequences(db):
    """A class that is called with the columns as keywords, as the table says."""
    assert await db.fetch_one(SQL, into=OrderedDict) == OrderedDict(id=1, name="Ada")


@pytest.mark.row("R05")
async def test_an_error_of_the_row_type_reaches_the_caller_unchanged(db):
    def boom(row):
        raise LookupError("mine")

    for _ in range(2):
        with pytest.raises(LookupError, match="mine"):
            await db.fetch_all(SQL, into=boom)
        assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R05")
async def test_more_row_types_for_one_statement_than_are_remembered(db):
    for n in range(100):
        cls = dataclasses.make_dataclass(f"C{n}", [("id", int), ("name", str)])
        assert type(await db.fetch_one(SQL, into=cls)) is cls


@pytest.mark.row("R05")
async def test_values_without_columns_may_be_none(db):
    assert await db.fetch_all("select 1 as id, null as name", into=Plain) == [Plain(1, None)]
    assert await db.fetch_all("select from generate_series(1, 2)", into=dict) == [{}, {}]
    assert await db.fetch_all("select from generate_series(1, 2)", into=tuple) == [(), ()]
