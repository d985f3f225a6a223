"""Errors go from process to process with all they carry (E06)."""

from __future__ import annotations

import concurrent.futures
import copy
import inspect
import multiprocessing
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.elsewhere import back_and_forth, fail
from pgoxide import _sqlstate, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.row("E06", face="both")]

OURS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.Error) and "sqlstate" not in vars(kind)
] + [errors.Warning]
CONDITIONS = [line.split(" ")[0] for line in _sqlstate.TABLE.splitlines()]

ATTRIBUTES = {
    name: kind
    for kind in reversed(errors.DatabaseError.__mro__)
    for name, kind in inspect.get_annotations(kind).items()
}
"""Every attribute an error may have, with its type as text."""


def complete(kind: type[BaseException]) -> BaseException:
    """An error of the class with every attribute set, a note and a cause."""
    error = kind("what happened")
    if isinstance(error, errors.DatabaseError):
        for name, annotation in ATTRIBUTES.items():
            value: Any = f"the {name}: 'é\n" if annotation.startswith("str") else 42
            setattr(error, name, ("int4", "tëxt") if annotation.startswith("tuple") else value)
        error.sqlstate = kind.sqlstate or "ZZ999"  # type: ignore[attr-defined]  # it is a DatabaseError
    error.add_note("a note")
    error.__cause__ = ValueError("left behind")
    return error


def same(one: BaseException, other: BaseException) -> bool:
    """Alike in all that is kept: class, arguments, attributes, notes, text."""
    return (
        type(one) is type(other)
        and one.args == other.args
        and vars(one) == vars(other)
        and one.__notes__ == other.__notes__
        and str(one) == str(other)
    )


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """A process that has never seen any of this."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        yield executor


def test_there_are_enough_of_them() -> None:
    assert len(OURS) > 20
    assert len(CONDITIONS) > 240
    assert len(ATTRIBUTES) >= 20


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class(kind: type[BaseException], protocol: int) -> None:
    error = complete(kind)
    assert same(pickle.loads(pickle.dumps(error, protocol)), error)
    assert same(copy.copy(error), error)
    assert same(copy.deepcopy(error), error)


def test_every_condition() -> None:
    for code in CONDITIONS:
        error = complete(errors.class_for(code))
        assert same(pickle.loads(pickle.dumps(error)), error), code


def test_every_class_through_another_process(elsewhere: concurrent.futures.Executor) -> None:
    """The other side makes the class of a SQLSTATE when the error comes."""
    for kind in [*OURS, *map(errors.class_for, CONDITIONS)]:
        error = complete(kind)
        back = elsewhere.submit(back_and_forth, error).result()
        assert back.__notes__ == [*error.__notes__, f"seen as pgoxide.errors.{kind.__qualname__}"]
        back.__notes__.pop()
        assert same(back, error), kind


def test_a_class_made_by_a_user() -> None:
    class Local(errors.IntegrityError):
        extra = 1

    error = complete(Local)
    assert same(copy.copy(error), error)


@pytest.mark.pg
@pytest.mark.parametrize(
    ("sql", "params", "verb", "kind"),
    [
        ("select 1 / :n::int8", {"n": 0}, "fetch_value", "DivisionByZero"),
        ("select nonsense, :n::int8", {"n": 0}, "fetch_value", "UndefinedColumn"),
        ("select :n::int8 limit 0", {"n": 1}, "fetch_one", "NoRow"),
        ("select :n::int8 union all select 2", {"n": 1}, "fetch_value", "MultipleRows"),
        ("select :n::int8", {"n": "x"}, "fetch_value", "DataError"),
        ("select :n::int8", {}, "fetch_value", "InterfaceError"),
        (
            "select :n::int8, pg_terminate_backend(pg_backend_pid())",
            {"n": 1},
            "fetch_all",
            "ConnectionClosed",
        ),
    ],
)
def test_raised_in_another_process(
    face: str,
    dsn: str,
    elsewhere: concurrent.futures.Executor,
    sql: str,
    params: dict[str, object],
    verb: str,
    kind: str,
) -> None:
    with pytest.raises(errors.Error) as there:
        elsewhere.submit(fail, face, dsn, sql, params, verb).result()
    with pytest.raises(errors.Error) as here:
        fail(face, dsn, sql, params, verb)
    assert type(there.value).__name__ == kind
    assert type(there.value) is type(here.value)
    assert str(there.value) == str(here.value)
    assert vars(there.value).keys() == vars(here.value).keys()
    kept = {name: value for name, value in vars(here.value).items() if name != "__notes__"}
    assert {name: value for name, value in vars(there.value).items() if name != "__notes__"} == kept
