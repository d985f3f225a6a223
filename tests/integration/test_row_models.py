"""`into=` a pydantic model: what its validation makes of the row, whether the validator had to run or not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest

from fixtures.row_state import state

pydantic = pytest.importorskip("pydantic")

pytestmark = pytest.mark.pg


class Model(pydantic.BaseModel):
    id: int
    name: str = "?"
    age: int | None = None


@pytest.mark.row("R05")
async def test_a_model_completed_later(db):
    namespace: dict[str, Any] = {"pydantic": pydantic}
    exec("class Late(pydantic.BaseModel):\n    id: int\n    other: 'Later | None' = None\n", namespace)
    late = namespace["Late"]
    with pytest.raises(pydantic.PydanticUserError, match="not fully defined"):
        await db.fetch_one("select 1 as id", into=late)

    class Later(pydantic.BaseModel):
        n: int

    late.model_rebuild(_types_namespace={"Later": Later})
    assert (await db.fetch_one("select 1 as id", into=late)).other is None
    made = await db.fetch_one("""select 1 as id, '{"n": 2}'::jsonb as other""", into=late)
    assert made.other == Later(n=2)
    # Another schema for a class that was used.
    late.__annotations__["id"] = str
    late.model_fields["id"].annotation = str
    late.model_rebuild(force=True, _types_namespace={"Later": Later})
    with pytest.raises(pydantic.ValidationError):
        await db.fetch_one("select 1 as id", into=late)


@pytest.mark.row("R05")
async def test_a_model_that_waits_for_its_first_use(db):
    class Deferred(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(defer_build=True)
        id: int

    for _ in range(2):
        assert await db.fetch_all("select 1 as id", into=Deferred) == [Deferred(id=1)]


@pytest.mark.row("R05")
async def test_rows_are_validated_each_by_itself(db):
    """A validator may keep and change what it is given."""
    kept = []

    class Keeps(pydantic.BaseModel):
        id: int

        @pydantic.model_validator(mode="before")
        @classmethod
        def _keep(cls, data):
            kept.append(data)
            data["id"] = data["id"] * 10
            return data

    rows = await db.fetch_all("select n as id from generate_series(1, 3) n", into=Keeps)
    assert [row.id for row in rows] == [10, 20, 30]
    assert kept == [{"id": 10}, {"id": 20}, {"id": 30}]


# Values of a column with a field of each kind beside them: what validation leaves as it is, and what it changes or refuses.
MODEL_FIELDS = {
    "int": (int, "null", "1", "9223372036854775807::int8", "true", "1.0::numeric", "'7'::text", "'x'::text"),
    "str": (str, "null", "'x'", "''", "1", "'é'"),
    "float": (float, "1.5::float8", "'nan'::float8", "'inf'::float8", "1", "1.5::numeric", "'2.5'::text"),
    "bool": (bool, "true", "1", "2", "'yes'::text"),
    "bytes": (bytes, "'\\x00'::bytea", "'x'"),
    "decimal": (Decimal, "1.50::numeric", "'nan'::numeric", "1", "1.5::float8"),
    "uuid": (UUID, "'00000000-0000-0000-0000-000000000005'::uuid", "'00000000-0000-0000-0000-000000000005'::text"),
    "date": (dt.date, "'2020-01-02'::date", "'2020-01-02'::timestamp", "'2020-01-02 03:00'::timestamp", "'2020-01-02'"),
    "datetime": (dt.datetime, "'2020-01-02'::timestamp", "'2020-01-02 03:04:05+06'::timestamptz", "'2020-01-02'::date", "0"),
    "time": (dt.time, "'01:02:03'::time", "'01:02:03'::text"),
    "optional": (int | None, "null", "5", "'5'::text", "'x'::text"),
    "any": (Any, "null", "5", "'x'", "'[1]'::jsonb"),
    "list": (list[int], "'[1, 2]'::jsonb", "array[1, 2]", "'[\"x\"]'::jsonb"),
    "dict": (dict[str, int], "'{\"a\": 1}'::jsonb"),
    "constrained": (Annotated[int, pydantic.Field(gt=3)], "3", "4"),
    "stripped": (Annotated[str, pydantic.StringConstraints(strip_whitespace=True)], "' x '"),
    "literal": (Literal["a", "b"], "'a'", "'c'"),
    "nested": (Model, "'{\"id\": 1}'::jsonb", "'{}'::jsonb"),
    "aware": (pydantic.AwareDatetime, "'2020-01-02 03:04:05+06'::timestamptz", "'2020-01-02'::timestamp"),
    "finite": (pydantic.FiniteFloat, "1.5::float8", "'nan'::float8"),
    "checked": (Annotated[int, pydantic.AfterValidator(lambda value: value + 1)], "1"),
    "strict": (Annotated[int, pydantic.Strict()], "1", "true", "'1'::text"),
    "strict_float": (pydantic.StrictFloat, "1", "1.5::float8"),
    "url": (pydantic.HttpUrl, "'https://example.org'"),
    "secret": (pydantic.SecretStr, "'x'"),
}  # fmt: skip
CONFIGS: list[dict[str, Any]] = [
    {},
    {"strict": True},
    {"extra": "forbid", "frozen": True},
    {"extra": "allow"},
    {"str_strip_whitespace": True, "str_to_upper": True},
    {"allow_inf_nan": False},
    {"coerce_numbers_to_str": True},
    {"validate_default": True},
    {"revalidate_instances": "always", "from_attributes": True},
]


@pytest.mark.row("R05", "R06", "B08")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(config) or "plain")
@pytest.mark.parametrize("kind", MODEL_FIELDS)
async def test_a_model_is_what_its_validation_makes_of_the_row(db, kind, config):
    """Field by field, error by error, whether the validator was needed or not."""
    declared, *expressions = MODEL_FIELDS[kind]
    model = pydantic.create_model(
        "Made",
        __config__=pydantic.ConfigDict(**config),
        first=(int, 5),
        value=(declared, ...),
        last=(str | None, None),
        tags=(list[int], pydantic.Field(default_factory=list)) if kind == "int" else (bool, False),
    )
    for sql in (
        "select {} as value",
        "select 'x'::text as last, {} as value",
        "select {} as value, '7' as first, null as last",
    ):
        for expression in expressions:
            text = sql.format(expression)
            row = await db.fetch_one(text)
            try:
                expected = model.model_validate(dict(row))
            except pydantic.ValidationError as error:
                with pytest.raises(pydantic.ValidationError) as caught:
                    await db.fetch_one(text, into=model)
                assert repr(caught.value.errors()) == repr(error.errors())
                continue
            made, again = await db.fetch_one(text, into=model), await db.fetch_one(text, into=model)
            assert repr(state(made)) == repr(state(expected))
            assert type(made.value) is type(expected.value)
            assert made.model_dump_json() == expected.model_dump_json()
            assert made.__pydantic_fields_set__ is not again.__pydantic_fields_set__
            assert made.__dict__ is not again.__dict__
            copied = made.model_copy(update={"first": 9})
            assert (copied.first, copied.model_fields_set) == (9, expected.model_fields_set | {"first"})


@pytest.mark.row("R06")
async def test_rows_that_fit_and_rows_that_do_not(db):
    """Of one result: those that need the validator get it."""
    sql = "select n as id, case when n % 2 = 0 then 'x' end as name from generate_series(1, 4) n"

    class Half(pydantic.BaseModel):
        id: int
        name: Annotated[str | None, pydantic.Field()] = "?"

    assert [vars(row) for row in await db.fetch_all(sql, into=Half)] == [
        {"id": 1, "name": None},
        {"id": 2, "name": "x"},
        {"id": 3, "name": None},
        {"id": 4, "name": "x"},
    ]

    class Number(pydantic.BaseModel):
        number: Decimal

    numbers = "select n from unnest(array['1.50', 'nan', '2']::numeric[]) n"
    with pytest.raises(pydantic.ValidationError, match="finite number") as caught:
        await db.fetch_all(numbers.replace("select n", "select n as number"), into=Number)
    assert caught.value.__notes__ == ["in row 2 of the result"]


@pytest.mark.row("R06")
async def test_a_validator_that_is_not_pydantics_own(db):
    """A plugin's wants to see each row."""

    class Counted(pydantic.BaseModel):
        id: int
        name: str

    original = Counted.__pydantic_validator__
    calls = []

    class Counting:
        def validate_python(self, value):
            calls.append(value)
            return original.validate_python(value)

    assert (await db.fetch_one("select 1 as id, 'x' as name", into=Counted)).name == "x"
    Counted.__pydantic_validator__ = Counting()
    assert (await db.fetch_one("select 1 as id, 'x' as name", into=Counted)).name == "x"
    assert calls == [{"id": 1, "name": "x"}]
