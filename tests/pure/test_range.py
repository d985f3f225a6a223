"""`Range` and `Multirange` as Python values: canonical bounds, order, membership, immutability, pickling."""

from __future__ import annotations

import copy
import pickle

import pytest

from pgoxide.errors import DataError
from pgoxide.types import Multirange, Range

pytestmark = [pytest.mark.row("T11"), pytest.mark.row("T12")]

ALL = [
    Range(1, 10),
    Range(1, 10, "[]"),
    Range(None, 5),
    Range(5, None, "()"),
    Range(),
    Range.empty(),
]


def test_bounds():
    one = Range(1, 10)
    assert (one.lower, one.upper, one.bounds, one.lower_inc, one.upper_inc) == (1, 10, "[)", True, False)
    assert Range(None, 5, "[]").bounds == "(]"
    assert (Range().bounds, Range().lower_inf, Range().upper_inf) == ("()", True, True)
    assert Range(3, 3).is_empty
    assert Range(3, 3, "[]").bounds == "[]"
    empty = Range.empty()
    assert (empty.lower, empty.lower_inf, empty.lower_inc, empty.upper_inf, bool(empty)) == (
        None,
        False,
        False,
        False,
        False,
    )
    with pytest.raises(DataError, match="its lower bound is greater"):
        Range(2, 1)
    with pytest.raises(DataError, match=r"bounds='\[\['"):
        Range(1, 2, "[[")


@pytest.mark.parametrize("one", ALL, ids=repr)
def test_copies(one):
    for other in (eval(repr(one)), pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert other == one
        assert (hash(other), other.bounds) == (hash(one), one.bounds)
    many = Multirange([one, one])
    for other in (eval(repr(many)), pickle.loads(pickle.dumps(many)), copy.deepcopy(many)):
        assert (other, hash(other)) == (many, hash(many))


def test_equality():
    assert Range(1, 10) != Range(1, 10, "[]")
    assert Range(1, 2) != (1, 2)
    assert Range(5, 5) == Range.empty() == Range(7, 7)
    assert Multirange([Range(1, 2)]) != [Range(1, 2)]


def test_order():
    in_order = [
        Range.empty(), Range(None, 1), Range(None, 1, "(]"), Range(), Range(1, 2), Range(1, 2, "[]"), Range(1, None), Range(1, 2, "()"),
        Range(3, 4),
    ]  # fmt: skip
    backwards = in_order[::-1]
    assert sorted(backwards) == in_order
    assert Range(1, 2) <= Range(1, 2) >= Range(1, 2)
    with pytest.raises(TypeError):
        assert Range(1, 2) < 3


def test_membership():
    assert [n for n in range(12) if n in Range(1, 10)] == list(range(1, 10))
    assert 1 not in Range(1, 2, "(]")
    assert 10**9 in Range(5, None)
    assert 1 not in Range.empty()
    many = Multirange([Range(1, 3), Range(5, 9)])
    assert 6 in many
    assert 4 not in many
    assert Range(1, 3) in many
    assert Range(1, 2) not in many


def test_multirange_is_a_sequence():
    many = Multirange([Range(1, 3), Range(5, 9)])
    assert (len(many), many[0], many[-1], many[:1], list(many)) == (
        2, Range(1, 3), Range(5, 9), Multirange([Range(1, 3)]), [Range(1, 3), Range(5, 9)],
    )  # fmt: skip
    assert str(many) == "{[1,3),[5,9)}"
    with pytest.raises(DataError, match="consists of Range, not 1"):
        Multirange([1])


@pytest.mark.parametrize("one", [Range(1, 2), Multirange()], ids=repr)
def test_immutable(one):
    with pytest.raises(AttributeError, match="immutable"):
        one.lower = 5
    with pytest.raises(AttributeError, match="immutable"):
        del one.lower
    with pytest.raises(AttributeError):
        one.other = 5


def test_typed_construction():
    """`Range[int](…)` tries to note its parameter on the instance, which refuses."""
    assert Range[int](1, 2) == Range(1, 2)
