"""`into=`: what the core makes of a class is what calling the class with the columns makes of it, whoever made the class."""

from __future__ import annotations

import abc
import copy
import dataclasses
import gc
import itertools
import pickle
import sys
import weakref
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypedDict, TypeVar

import pytest

from fixtures.row_state import state
from pgoxide import Row, Statement
from pgoxide.errors import DataError, ProgrammingError
from pgoxide.types import Columns

attrs = pytest.importorskip("attrs")
msgspec = pytest.importorskip("msgspec")
pydantic = pytest.importorskip("pydantic")

pytestmark = pytest.mark.pg

T = TypeVar("T")
COLUMNS = {"id": "1", "name": "'Ada'", "age": "36"}
VALUES = {"id": 1, "name": "Ada", "age": 36}


# ---- dataclasses


@dataclass
class DefaultBetween:
    id: int
    age: int = 40
    name: str = "?"


@dataclass
class Factories:
    id: int
    tags: list[int] = field(default_factory=list)
    name: str = "?"
    log: list[str] = field(init=False, default_factory=list)
    late: str = field(init=False, repr=False)


@dataclass
class PostInit:
    id: int
    name: str
    shout: str = field(init=False)

    def __post_init__(self):
        self.shout = f"{self.name.upper()} {self.id}"


@dataclass(slots=True, frozen=True)
class FrozenPostInit:
    id: int
    name: str

    def __post_init__(self):
        object.__setattr__(self, "name", self.name.upper())


@dataclass(kw_only=True)
class InitVars:
    id: int
    name: dataclasses.InitVar[str]
    age: dataclasses.InitVar[int] = 40
    text: str = ""

    def __post_init__(self, name, age):
        self.text = f"{name} {age}"


@dataclass
class OwnSignature:
    both: str

    def __init__(self, id, name):
        self.both = f"{id} {name}"


@dataclass
class Base:
    id: int
    name: str = "?"


@dataclass(init=False)
class TakesTheBaseInit(Base):
    age: int = 40


class Undecorated(Base):
    extra = 5


class UndecoratedOwnInit(Base):
    def __init__(self, id, name):
        super().__init__(id * 10, name)


@dataclass
class MixedSlots:
    __slots__ = ("__dict__", "name")
    id: int
    name: str


class Doubled:
    """A data descriptor that sees what was set before it."""

    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner=None):
        if instance is None:
            raise AttributeError(self.name)
        return getattr(instance, self.name)

    def __set__(self, instance, value):
        setattr(instance, self.name, (value, sorted(vars(instance))))


@dataclass
class WithDescriptor:
    id: int
    name: Doubled = Doubled()


@dataclass
class WithPropertyInBase:
    id: int
    name: str
    seen: ClassVar[list[int]] = []


class CountingMeta(type):
    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        made.by_metaclass = True
        return made


@dataclass
class WithMetaclass(metaclass=CountingMeta):
    id: int
    name: str


@dataclass
class Box(Generic[T]):
    id: T
    name: str


@dataclass(slots=True)
class SlottedBox(Generic[T]):
    id: T
    name: str


exec_namespace: dict[str, Any] = {"dataclass": dataclass}
exec(
    "@dataclass\nclass FromText:\n    id: int\n    name: str\n"
    "    def __init__(self, id, name): self.id, self.name = id + 1, name\n",
    exec_namespace,
)


# ---- named tuples


class Named(NamedTuple):
    id: int
    name: str = "?"
    age: int = 40


class NamedChild(Named):
    """No __slots__, so it has a dictionary."""


class NamedNew(Named):
    __slots__ = ()

    def __new__(cls, id, name):
        return super().__new__(cls, id * 2, name)


class NamedInit(Named):
    def __init__(self, id, name):
        self.told = (id, name)


class NamedBox(NamedTuple, Generic[T]):
    id: T
    name: str


# ---- attrs


@attrs.define
class Defined:
    id: int
    name: str = "?"
    age: int = 40


@attrs.frozen
class FrozenAttrs:
    id: int
    name: str
    tags: list[int] = attrs.field(factory=list)


@attrs.define(slots=False)
class DictAttrs:
    id: int
    age: int = 40
    name: str = "?"


@attrs.frozen(slots=False)
class FrozenDictAttrs:
    id: int
    name: str


@attrs.define
class Private:
    _id: int
    _name: str
    years: int = attrs.field(default=7, alias="age")


@attrs.define
class Validated:
    id: int = attrs.field(validator=attrs.validators.gt(0))
    name: str


@attrs.define
class Converted:
    id: int = attrs.field(converter=str)
    name: str = attrs.field(default="x", converter=str.upper)


@attrs.define
class AttrsPostInit:
    id: int
    name: str

    def __attrs_post_init__(self):
        self.name += "!"


@attrs.define
class AttrsPreInit:
    id: int
    name: str
    calls: ClassVar[list[str]] = []

    def __attrs_pre_init__(self):
        self.calls.append("pre")


@attrs.define
class TakesSelf:
    id: int
    name: str
    both: str = attrs.field(init=False)

    @both.default
    def _both(self):
        return f"{self.id} {self.name}"


@attrs.define(eq=True, frozen=True, cache_hash=True)
class CachedHash:
    id: int
    name: str


@attrs.define
class NotInInit:
    id: int
    name: str
    state: str = attrs.field(init=False, default="new")
    log: list[int] = attrs.field(init=False, factory=list)
    later: int = attrs.field(init=False, eq=False, repr=False)


@attrs.define
class AttrsChild(Defined):
    more: str = "more"


@attrs.define(init=False)
class AttrsBaseInit(Defined):
    more: str = attrs.field(default="more", repr=False)


class AttrsUndecorated(Defined):
    def __init__(self, id, name):
        super().__init__(id, name * 2)


@attrs.define
class AttrsOwnInit:
    id: int
    name: str

    def __init__(self, id, name):
        self.__attrs_init__(id, name + "?")


@attrs.define
class AttrsOwnSet:
    id: int
    name: str

    def __setattr__(self, name, value):
        object.__setattr__(self, name, [value])


class SetsOwn:
    __slots__ = ()

    def __setattr__(self, name, value):
        object.__setattr__(self, name, [value])


@attrs.define(on_setattr=None)
class AttrsInheritedSet(SetsOwn):
    id: int
    name: str


@attrs.define(on_setattr=attrs.setters.frozen)
class OnSet:
    id: int
    name: str


@attrs.define
class AttrsBox(Generic[T]):
    id: T
    name: str


@attrs.define(slots=False)
class AttrsException(Exception):
    id: int
    name: str


# ---- msgspec


class Struct(msgspec.Struct):
    id: int
    name: str = "?"
    age: int = 40


class FrozenStruct(msgspec.Struct, frozen=True, order=True, gc=False):
    id: int
    name: str


class KwOnlyStruct(msgspec.Struct, kw_only=True):
    id: int
    name: str
    tags: list[int] = msgspec.field(default_factory=list)


class HalfKwOnly(FrozenStruct, kw_only=True):
    age: int = 40
    more: str = "more"


class Renamed(msgspec.Struct, rename="upper", forbid_unknown_fields=True, tag=True, array_like=True):
    id: int
    name: str


class StructPostInit(msgspec.Struct):
    id: int
    name: str

    def __post_init__(self):
        self.name = self.name.upper()


class StructBox(msgspec.Struct, Generic[T]):
    id: T
    name: str


# ---- pydantic


class Model(pydantic.BaseModel):
    id: int
    name: str = "?"
    age: int | None = None


class Computed(Model):
    tags: list[str] = pydantic.Field(default_factory=list)
    _secret: int = pydantic.PrivateAttr(default=3)

    @pydantic.computed_field
    @property
    def shout(self) -> str:
        return self.name.upper()


class Aliased(pydantic.BaseModel):
    number: int = pydantic.Field(alias="id")
    text: str = pydantic.Field(validation_alias=pydantic.AliasChoices("title", "name"))
    path: int = pydantic.Field(default=5, validation_alias=pydantic.AliasPath("age"))


class ByNameToo(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True, frozen=True)
    id: int = pydantic.Field(alias="number")
    name: str


class Checked(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(str_to_upper=True, extra="forbid", validate_assignment=True)
    id: Annotated[str, pydantic.Field(coerce_numbers_to_str=True)]
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def _twice(cls, value):
        return value * 2

    @pydantic.model_validator(mode="after")
    def _after(self):
        assert self.id
        return self


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: int


class Before(pydantic.BaseModel):
    """Sees the row first, and makes other fields of it."""

    both: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _join(cls, data):
        assert type(data) is dict
        return {"both": " ".join(map(str, data.values()))}


class ModelInit(pydantic.BaseModel):
    both: str

    def __init__(self, id, name):
        super().__init__(both=f"{id} {name}")


class ModelPostInit(pydantic.BaseModel):
    id: int
    name: str
    _seen: str = ""

    def model_post_init(self, context):
        self._seen = f"{self.id} {self.name}"


class ModelNew(pydantic.BaseModel):
    id: int
    name: str

    def __new__(cls, **_fields):
        return super().__new__(cls)


class Root(pydantic.RootModel[dict[str, Any]]):
    pass


class ModelBox(pydantic.BaseModel, Generic[T]):
    id: T
    name: str


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    id: int
    name: str


@pydantic.dataclasses.dataclass
class CheckedDataclass:
    id: str = pydantic.Field(coerce_numbers_to_str=True)
    name: str = "?"


# ---- others


class ByHand:
    def __init__(self, id, *, name="?"):
        self.id, self.name = id, name

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


class Anything:
    def __init__(self, id, **others):
        self.id, self.others = id, others

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


class MadeByNew:
    def __new__(cls, id, name):
        return (cls, id, name)


CLASSES = [
    *(DefaultBetween, PostInit, FrozenPostInit, Factories, InitVars, OwnSignature, Base, TakesTheBaseInit, Undecorated),
    *(UndecoratedOwnInit, MixedSlots, WithDescriptor, WithPropertyInBase, WithMetaclass, Box, Box[int], SlottedBox[int]),
    *(exec_namespace["FromText"], Named, NamedChild, NamedNew, NamedInit, NamedBox, NamedBox[int]),
    *(Defined, FrozenAttrs, DictAttrs, FrozenDictAttrs, Private, Validated, Converted, AttrsPostInit, AttrsPreInit, TakesSelf),
    *(CachedHash, NotInInit, AttrsChild, AttrsBaseInit, AttrsUndecorated, AttrsOwnInit, AttrsOwnSet, AttrsInheritedSet, OnSet),
    *(AttrsBox, AttrsBox[int], AttrsException),
    *(Struct, FrozenStruct, KwOnlyStruct, HalfKwOnly, Renamed, StructPostInit, StructBox, StructBox[int]),
    *(Model, Computed, Aliased, ByNameToo, Checked, Open, Before, ModelInit, ModelPostInit, ModelNew, Root, ModelBox),
    *(ModelBox[int], Strict, CheckedDataclass, ByHand, Anything, MadeByNew),
]  # fmt: skip


@pytest.mark.row("R05", "R06", "B08")
@pytest.mark.parametrize("into", CLASSES, ids=lambda into: str(into).replace("test_row_classes.", ""))
async def test_the_same_as_calling_the_class(db, into):
    """With each choice and order of columns that the class takes; where the class refuses, so do we."""
    taken = 0
    for count in (1, 2, 3):
        for names in itertools.permutations(COLUMNS, count):
            try:
                expected = into(**{name: VALUES[name] for name in names})
            except (TypeError, ValueError):
                expected = None
            sql = "select " + ", ".join(f"{COLUMNS[name]} as {name}" for name in names)
            if expected is None:
                with pytest.raises((ProgrammingError, TypeError, ValueError)):
                    await db.fetch_one(sql, into=into)
                continue
            try:
                rows = [await db.fetch_one(sql, into=into), *(await db.fetch_all(sql, into=into))]
            except ProgrammingError as error:
                # pydantic lets surplus pass in silence, and so may a class whose fields have defaults only.
                assert "no field for the column" in str(error)
                assert isinstance(expected, pydantic.BaseModel | CheckedDataclass)
                continue
            taken += 1
            for made in rows:
                assert state(made) == state(expected)
    assert taken > 0
    assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R06")
@pytest.mark.parametrize(
    "into",
    [
        Base,
        DefaultBetween,
        FrozenPostInit,
        Named,
        Defined,
        FrozenAttrs,
        DictAttrs,
        FrozenDictAttrs,
        NotInInit,
        Model,
    ],
)
async def test_no_python_runs_for_what_was_generated(db, into):
    methods = [
        getattr(base, name, None) for base in into.__mro__ for name in ("__init__", "__new__", "__setattr__")
    ]
    generated = {method.__code__ for method in methods if hasattr(method, "__code__")}
    assert generated
    called = set()

    def tracer(frame, event, _argument):
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(tracer)
    try:
        rows = await db.fetch_all("select n as id, 'x' as name from generate_series(1, 3) n", into=into)
        assert into(id=1, name="x") == rows[0]
        reference = called & generated
        called.clear()
        rows = await db.fetch_all("select n as id, 'x' as name from generate_series(1, 3) n", into=into)
    finally:
        sys.setprofile(None)
    assert [row.id for row in rows] == [1, 2, 3]
    assert reference
    assert not called & generated


@pytest.mark.row("R06")
async def test_objects_die_with_their_last_reference_and_cycles_are_found(db):
    sql = "select n as id, 'x' as name from generate_series(1, 10) n"
    for into in (Base, Box, Defined, DictAttrs, Model, ByHand, InitVars, Anything, NamedChild):
        rows = await db.fetch_all(sql, into=into)
        del rows
        made = await db.fetch_one("select 1 as id, 'x' as name", into=into)
        seen = weakref.ref(made) if not isinstance(made, tuple) else None
        gc.disable()
        try:
            del made
            assert seen is None or seen() is None
        finally:
            gc.enable()
    for into in (Base, Defined, NamedChild):
        made = await db.fetch_one("select 1 as id, 'x' as name", into=into)
        marker = Base(1, "marker")
        seen = weakref.ref(marker)
        if into is Defined:
            made.name = [made, marker]
        else:
            made.__dict__["again"] = [made, marker]
        del made, marker
        gc.collect()
        assert seen() is None


@pytest.mark.row("R06", "R10")
async def test_tuples_of_scalars_are_no_business_of_the_collector(db):
    sql = "select 1 as id, 'x' as name, 2 as age"
    for into in (tuple, Named, namedtuple("Three", "id name age")):  # noqa: PYI024
        for made in (await db.fetch_one(sql, into=into), *(await db.fetch_all(sql, into=into))):
            assert not gc.is_tracked(made)
            assert made == (1, "x", 2)
            assert pickle.loads(pickle.dumps(tuple(made))) == copy.deepcopy(tuple(made))
    with_json = "select 1 as id, 'x' as name, '[1]'::jsonb as age"
    for into in (tuple, Named, NamedChild):
        assert gc.is_tracked(await db.fetch_one(with_json, into=into))
    # It can be given attributes, so it may come to refer to itself.
    assert gc.is_tracked(await db.fetch_one(sql, into=NamedChild))
    defaults = await db.fetch_one("select 1 as id", into=Named)
    assert defaults == (1, "?", 40)
    assert await db.fetch_all("select from generate_series(1, 2)", into=tuple) == [(), ()]


@pytest.mark.row("R05")
async def test_a_class_changed_after_its_first_use(db):
    """As a test does that replaces a method for its duration."""

    @dataclass
    class Patched:
        id: int
        name: str

    class PatchedByHand:
        def __init__(self, id, name):
            self.id, self.name = id, name

    @attrs.define
    class PatchedAttrs:
        id: int
        name: str

    class Base:
        pass

    class ChangedBase(Base):
        def __init__(self, id, name):
            self.id, self.name = id, name

    sql = "select 1 as id, 'Ada' as name"
    for into in (Patched, PatchedByHand, PatchedAttrs):
        assert (await db.fetch_one(sql, into=into)).name == "Ada"
        original = into.__init__

        def shout(self, id, name, original=original):
            original(self, id, name.upper())

        into.__init__ = shout
        assert (await db.fetch_one(sql, into=into)).name == "ADA"
        into.__init__ = original
        assert (await db.fetch_one(sql, into=into)).name == "Ada"
    Patched.__post_init__ = lambda self: setattr(self, "name", "post")
    # Its __init__ was generated without, so calling the class does not call it either.
    assert (await db.fetch_one(sql, into=Patched)).name == Patched(1, "Ada").name == "Ada"
    assert (await db.fetch_one(sql, into=ChangedBase)).name == "Ada"
    Base.__setattr__ = lambda self, name, value: object.__setattr__(self, name, f"<{value}>")
    assert (await db.fetch_one(sql, into=ChangedBase)).name == "<Ada>"


@pytest.mark.row("R05")
async def test_what_may_not_be_instantiated(db):
    @dataclass
    class Abstract(abc.ABC):
        id: int
        name: str

        @abc.abstractmethod
        def nothing(self): ...

    for _ in range(2):
        with pytest.raises(TypeError, match="abstract"):
            await db.fetch_all("select 1 as id, 'Ada' as name", into=Abstract)
    assert await db.fetch_all("select 1 as id, 'Ada' as name where false", into=Abstract) == []


@pytest.mark.row("R05")
async def test_an_init_that_returns_something(db):
    class Wrong:
        def __init__(self, id):
            return id  # noqa: PLE0101

    with pytest.raises(TypeError, match=r"__init__\(\) should return None, not 'int'"):
        await db.fetch_one("select 1 as id", into=Wrong)


@pytest.mark.row("R05")
async def test_generic_aliases(db):
    class Typed(TypedDict, Generic[T]):
        id: T
        name: str

    sql = "select 1 as id, 'Ada' as name"
    for _ in range(2):
        assert await db.fetch_one(sql, into=dict[str, object]) == {"id": 1, "name": "Ada"}
        assert await db.fetch_one(sql, into=tuple[int, str]) == (1, "Ada")
        assert await db.fetch_one(sql, into=Typed[int]) == {"id": 1, "name": "Ada"}
        assert await db.fetch_value("select '[1, 2]'::jsonb", into=list[int]) == [1, 2]
        assert (await db.fetch_one(sql, into=Box[int])).__orig_class__ == Box[int]
        with pytest.raises(ProgrammingError, match=r"into=Box: no column for its field name$"):
            await db.fetch_one("select 1 as id", into=Box[int])
        with pytest.raises(DataError, match="into=list"):
            await db.fetch_value("select '{}'::jsonb", into=list[int])


# ---- errors


@pytest.mark.row("R05")
@pytest.mark.parametrize(
    "into", [Validated, Strict, Checked, StructPostInit, CheckedDataclass], ids=lambda c: c.__name__
)
async def test_a_refusal_says_which_row(db, into):
    """The class's own error, with a note; the connection goes on."""
    bad = "case when n = 3 then null else 'x' end"
    if into is Validated:
        sql = "select case when n = 3 then -1 else n end as id, 'x' as name from generate_series(1, 4) n"
    else:
        sql = f"select n as id, {bad} as name from generate_series(1, 4) n"
    for _ in range(2):
        with pytest.raises((ValueError, AttributeError)) as caught:
            await db.fetch_all(sql, into=into)
        assert caught.value.__notes__[0] == "in row 3 of the result"
        if issubclass(into, pydantic.BaseModel):
            assert type(caught.value) is pydantic.ValidationError
            assert [one["loc"] for one in caught.value.errors()] == [("name",)]
        assert await db.fetch_value("select 1") == 1


@pytest.mark.row("R05")
async def test_a_refused_value_says_which_row(db):
    sql = "select case when n = 2 then 'x' else n::text end as name from generate_series(1, 4) n"
    with pytest.raises(ValueError, match="invalid literal") as caught:
        await db.fetch_all(sql, into=lambda row: int(row.name))
    assert caught.value.__notes__[0] == "in row 2 of the result"
    with pytest.raises(DataError, match="into=int") as caught:
        await db.fetch_all(sql, into=int)
    assert caught.value.__notes__[0] == "in row 1 of the result"


@pytest.mark.row("R05")
async def test_rows_of_a_stream_are_counted_from_its_beginning(db):
    sql = "select n as id, case when n = 6 then 'x' else 'y' end as name from generate_series(1, 9) n"

    def refuse(row):
        if row.name == "x":
            raise LookupError(row.id)
        return row.id

    stream = db.stream(sql, into=refuse, batch=4)
    found = []
    with pytest.raises(LookupError) as caught:
        while True:
            batch = stream.next_batch()
            found += await batch if hasattr(batch, "__await__") else batch
    assert caught.value.__notes__[0] == "in row 6 of the result"
    assert found == [1, 2, 3, 4, 5]
    closed = stream.close()
    if hasattr(closed, "__await__"):
        await closed
    assert await db.fetch_value("select 1") == 1


# ---- R07


@pytest.mark.row("R07")
@pytest.mark.parametrize(
    ("into", "message"),
    [
        (Defined, "into=Defined: no column for its field id; no field for the columns a, b$"),
        (Private, "into=Private: no column for its fields id, name; no field for the columns a, b$"),
        (Validated, "into=Validated: no column for its fields id, name; no field for the columns a, b$"),
        (
            AttrsOwnInit,
            "into=AttrsOwnInit: no column for its fields id, name; no field for the columns a, b$",
        ),
        (Struct, "into=Struct: no column for its field id; no field for the columns a, b$"),
        (Renamed, "into=Renamed: no column for its fields id, name; no field for the columns a, b$"),
        (
            KwOnlyStruct,
            "into=KwOnlyStruct: no column for its fields id, name; no field for the columns a, b$",
        ),
        (Model, "into=Model: no column for its field id; no field for the columns a, b$"),
        (Aliased, "into=Aliased: no column for its fields id, title; no field for the columns a, b$"),
        (ByNameToo, "into=ByNameToo: no column for its fields number, name; no field for the columns a, b$"),
        (Open, "into=Open: no column for its field id$"),
        (ModelInit, "into=ModelInit: no column for its fields id, name; no field for the columns a, b$"),
        (
            CheckedDataclass,
            "into=CheckedDataclass: no column for its field id; no field for the columns a, b$",
        ),
        (
            OwnSignature,
            "into=OwnSignature: no column for its fields id, name; no field for the columns a, b$",
        ),
        (InitVars, "into=InitVars: no column for its fields id, name; no field for the columns a, b$"),
        (NamedNew, "into=NamedNew: no column for its fields id, name; no field for the columns a, b$"),
        (ByHand, "into=ByHand: no column for its field id; no field for the columns a, b$"),
        (Anything, "into=Anything: no column for its field id$"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_mismatches_are_listed_both_ways(db, into, message):
    for _ in range(2):
        with pytest.raises(ProgrammingError, match=message):
            await db.fetch_all("select 1 as a, 2 as b", into=into)


@pytest.mark.row("R07", "B08")
@pytest.mark.parametrize("into", [Base, Defined, Struct, Model, ByHand, Named], ids=lambda c: c.__name__)
async def test_a_mismatch_is_refused_before_anything_is_executed(db, into):
    """On the very first use: the description of a statement with parameters comes before it runs."""
    await db.execute("create temp table written (n int)")
    for sql in (
        "insert into written values ($1) returning n",
        "insert into written values ($1) returning n, n as id",
    ):
        for _ in range(2):
            with pytest.raises(ProgrammingError, match=f"into={into.__name__}"):
                await db.fetch_all(sql, 1, into=into)
    with pytest.raises(ProgrammingError, match=f"into={into.__name__}"):
        async with db.batch() as batch:
            batch.fetch_all("insert into written values ($1) returning n", 1, into=into)
    assert await db.fetch_value("select count(*) from written") == 0


@pytest.mark.row("R07", "B08", "Q19")
@pytest.mark.parametrize("into", [Base, Defined, Struct, Model, ByHand, Named, int], ids=lambda c: c.__name__)
async def test_a_mismatch_is_refused_when_the_statement_is_prepared(db, into):
    for _ in range(2):
        with pytest.raises(ProgrammingError, match=f"into={into.__name__}"):
            await db.prepare("select $1::int as a, $1::int as b", into=into)
    assert (
        await db.fetch_value("select count(*) from pg_prepared_statements where statement like '%as a%as b'")
        == 0
    )
    stmt = await db.prepare("select $1::int as id, 'x' as name, 2 as age", into=Struct)
    assert await stmt.fetch_all(1) == [Struct(1, "x", 2)]


@pytest.mark.row("R07", "Q27")
@pytest.mark.parametrize(
    "into", [Base, Defined, Struct, Model, Open, Root, Before, Anything, Named], ids=lambda c: c.__name__
)
async def test_a_name_that_two_columns_have(db, into):
    for _ in range(2):
        with pytest.raises(ProgrammingError, match='two columns are named "id"'):
            await db.fetch_all("select 1 as id, 2 as id, 'x' as name", into=into)


@pytest.mark.row("R05")
async def test_into_row_is_what_a_row_is_anyway(db: Any) -> None:
    """To verbs of one column it is a class of its values: those of composite types."""
    sql = "select 1 as id, 'Ada' as name"
    for rows in (
        await db.fetch_all(sql, into=Row),
        [await db.fetch_one(sql, into=Row)],
        await db.stream(sql, into=Row).next_batch(),
        await db.fetch_all(sql, into=Columns({}, into=Row)),
        await (await db.prepare(sql, into=Row)).fetch_all(),
        [row async for row in db.copy_out(query=sql, into=Row)],
        await db.fetch_all(Statement(sql, into=Row)),
    ):
        assert rows == [(1, "Ada")]
        assert rows[0].name == "Ada"
    await db.execute("create type pg_temp.pair as (a int4, b text)")
    pair = "select row(1, 'x')::pg_temp.pair as pair"
    assert (await db.fetch_value(pair, into=Row)).b == "x"
    assert [value.a for value in await db.fetch_column(pair, into=Row)] == [1]
    assert (await db.fetch_one(pair, into=Row)).pair.b == "x"
