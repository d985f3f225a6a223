"""`Row` without a server: made by `restore`, which is what unpickling calls. The cases are those of asyncpg's Record tests."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import textwrap
import weakref

import pytest

import pgoxide
from pgoxide.types import Row
from pgoxide.types._row import restore

both = pytest.mark.row("R01", face="both")


def make(**values):
    return restore(tuple(values), tuple(values.values()))


@pytest.fixture
def row():
    return make(a=1, b="two", c=None)


# ---- R01


@both
@pytest.mark.parametrize(
    ("key", "value"),
    [(0, 1), (1, "two"), (2, None), (-1, None), (-3, 1), ("a", 1), ("b", "two"), ("c", None), (True, "two")],
)
def test_index_and_name(row, key, value):
    assert row[key] == value


class Index:
    def __index__(self):
        return 1


@both
def test_an_index_may_be_any_integer(row):
    assert row[Index()] == "two"


@both
@pytest.mark.parametrize(
    ("key", "error"),
    [
        (3, IndexError),
        (-4, IndexError),
        (10**30, IndexError),
        ("d", KeyError),
        ("", KeyError),
        ("A", KeyError),
        ("a\0", KeyError),
        (1.5, TypeError),
        (None, TypeError),
        (b"a", TypeError),
        (("a",), TypeError),
    ],
)
def test_keys_that_are_none(row, key, error):
    with pytest.raises(error):
        row[key]


@both
def test_a_missing_name_is_told_with_those_there_are(row):
    with pytest.raises(KeyError, match=r"no column 'd'.*'a', 'b', 'c'"):
        row["d"]


class Name(str):
    """A str that is not the interned literal, and of another type."""

    __slots__ = ()


@both
def test_names_are_compared_by_value(row):
    assert row[Name("a")] == 1
    assert row["xb"[1:]] == "two"


@both
@pytest.mark.parametrize(
    ("cut", "values"),
    [
        (slice(None), (1, "two", None)),
        (slice(1, None), ("two", None)),
        (slice(None, None, -1), (None, "two", 1)),
        (slice(5, 9), ()),
        (slice(-2, -1), ("two",)),
        (slice(None, None, 2), (1, None)),
    ],
)
def test_a_slice_is_a_plain_tuple(row, cut, values):
    assert row[cut] == values
    assert type(row[cut]) is tuple


@both
def test_iteration_length_membership(row):
    assert list(row) == [1, "two", None]
    assert list(reversed(row)) == [None, "two", 1]
    assert len(row) == 3
    assert "two" in row
    assert None in row
    assert "b" not in row  # values, as in a tuple
    assert bool(row)
    assert not make()


@both
def test_get(row):
    assert row.get("a") == 1
    assert row.get("c", 5) is None
    assert row.get("d") is None
    assert row.get("d", 5) == 5
    for own in ("count", "index", "keys", "get", "_fields", "__len__"):  # attributes, but no columns
        assert row.get(own) is None
        assert row.get(own, 5) == 5
    assert make(get=1)["get"] == 1


@both
def test_keys_values_items(row):
    assert row.keys() == ("a", "b", "c")
    assert row.values() == (1, "two", None)
    assert list(row.items()) == [("a", 1), ("b", "two"), ("c", None)]
    assert row._fields == type(row)._fields == ("a", "b", "c")
    assert row._asdict() == {"a": 1, "b": "two", "c": None}


@both
def test_it_equals_and_hashes_as_the_tuple(row):
    same = (1, "two", None)
    assert row == same
    assert same == row
    assert row == make(x=1, y="two", z=None)
    assert hash(row) == hash(same) == hash(make(x=1, y="two", z=None))
    assert len({row, same}) == 1
    assert row != (1, "two")
    assert row != [1, "two", None]
    assert (row == same) is not (row != same)
    with pytest.raises(TypeError, match="unhashable"):
        hash(make(a=[]))


@both
def test_it_orders_as_the_tuple():
    assert make(a=1, b=2) < (1, 3)
    assert make(a=1, b=2) <= make(a=1, b=2)
    assert make(a=1, b=2) < (1, 3)
    assert sorted([make(a=2), make(a=1)]) == [(1,), (2,)]
    with pytest.raises(TypeError):
        _ = make(a=1) < [1]


@both
def test_concatenation_gives_plain_tuples(row):
    joined = row + (5,)  # noqa: RUF005  the operator is the subject
    assert joined == (1, "two", None, 5)
    assert type(joined) is tuple
    assert make(a=1) * 2 == (1, 1)


@both
def test_repr(row):
    assert repr(row) == "Row(a=1, b='two', c=None)"
    assert repr(make()) == "Row()"
    assert repr(restore(("?column?", "a b"), (1, 2))) == "Row(?column?=1, a b=2)"


@both
def test_a_row_that_contains_itself_can_be_shown():
    items = []
    items.append(make(a=items))
    assert "[...]" in repr(items)


@both
def test_it_is_a_tuple_and_a_row(row):
    assert isinstance(row, tuple)
    assert isinstance(row, Row)
    assert pgoxide.Row is Row
    assert type(row) is type(make(a=2, b=3, c=4))
    assert type(row) is not type(make(a=2, b=3))


@both
def test_it_does_not_change(row):
    for change in (
        lambda: row.__setitem__(0, 5),
        lambda: setattr(row, "a", 5),
        lambda: setattr(row, "new", 5),
        lambda: delattr(row, "a"),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert row == (1, "two", None)


@both
def test_it_cannot_be_made_or_subclassed_by_hand(row):
    for cls in (Row, type(row)):
        with pytest.raises(TypeError):
            cls((1, 2, 3))
        with pytest.raises(TypeError):
            cls.__new__(cls, (1, 2, 3))
        with pytest.raises(TypeError):
            tuple.__new__(type(row), (1, 2, 3))
    with pytest.raises(TypeError):
        type("Mine", (type(row),), {})


@both
def test_the_base_cannot_be_subclassed_either():
    with pytest.raises(TypeError):
        type("Mine", (Row,), {})


@both
def test_types_are_shared_between_rows_and_bounded():
    made = [weakref.ref(type(restore((f"shape_{n}",), (n,)))) for n in range(3000)]
    gc.collect()
    assert sum(one() is not None for one in made) <= 1000
    keep = restore(("kept", "row"), (1, 2))
    for n in range(1500):
        restore((f"other_{n}",), (n,))
    assert (keep.kept, keep["row"], repr(keep)) == (1, 2, "Row(kept=1, row=2)")


@both
def test_rows_release_what_they_hold():
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    row = make(a=held)
    assert row.a is held
    del held, row
    assert gone() is None


DEEP = """
    import gc, sys, threading, weakref
    from pgoxide.types._row import restore

    class Leaf:
        pass

    def nest(depth, between):
        inner = leaf = Leaf()
        for _ in range(depth):
            inner = between(restore(("x", "y"), (inner, 1)))
        return inner, weakref.ref(leaf)

    def work():
        for between in (lambda row: row, lambda row: [row], lambda row: row._replace(y=(row,)), lambda row: {1: row}):
            outer, leaf = nest(200_000, between)
            assert leaf() is not None
            del outer
            assert leaf() is None
        ring = []
        outer, leaf = nest(200_000, lambda row: row)
        ring += [ring, outer]
        del outer, ring
        gc.collect()
        assert leaf() is None

    work()
    threading.stack_size(256 << 10)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    print("alive")
"""


def test_deep_rows_are_dropped_without_a_deep_stack():
    """`row._replace(x=row)` and the like, a hundred thousand times."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DEEP)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@both
def test_wide_rows():
    names = tuple(f"c{n}" for n in range(1664))
    row = restore(names, tuple(range(1664)))
    assert row.c1663 == row["c1663"] == row[-1] == 1663
    assert len(row) == 1664


@both
def test_restore_refuses_nonsense():
    for names, values in ((("a",), ()), ((), (1,)), (("a", "b"), (1,))):
        with pytest.raises(ValueError, match="columns"):
            restore(names, values)


# ---- R02


@pytest.mark.row("R02", face="both")
@pytest.mark.parametrize(
    "name",
    [
        "count",
        "index",
        "get",
        "values",
        "items",
        "a",
        "select",
        "class",
        "größe",
        "名前",
        "_x",
        "x1",
        "_asdict",
        "_fields_",
    ],
)
def test_a_column_name_wins_over_everything_inherited(name):
    row = restore((name, "other"), ("mine", 2))
    assert getattr(row, name) == "mine"
    assert row[name] == "mine"


@pytest.mark.row("R02", face="both")
def test_keys_stays_a_method():
    row = make(keys="mine", a=1)
    assert row["keys"] == "mine"
    assert row.keys() == ("keys", "a")
    assert dict(row) == {"keys": "mine", "a": 1}


@pytest.mark.row("R02", face="both")
@pytest.mark.parametrize(
    "name",
    ["values", "items", "get", "keys", "count", "index", "_asdict", "_fields", "_replace", "__class__"],
)
def test_helpers_work_whatever_the_columns_are_called(name):
    row = restore((name, "b"), (1, 2))
    assert row[name] == 1
    assert dict(row) == {name: 1, "b": 2}
    assert pickle.loads(pickle.dumps(row)) == row
    assert copy.copy(row) == copy.deepcopy(row) == row
    assert repr(row) == f"Row({name}=1, b=2)"
    assert row == (1, 2)


@pytest.mark.row("R02", face="both")
@pytest.mark.parametrize(
    "name", ["__class__", "__hash__", "__len__", "__dict__", "__slots__", "__weaklistoffset__", "__init__"]
)
def test_pythons_own_names_are_reached_as_items_only(name):
    row = restore((name,), (7,))
    assert row[name] == 7
    assert row[0] == 7
    assert isinstance(row, Row)
    assert hash(row) == hash((7,))
    assert len(row) == 1


@pytest.mark.row("R02", face="both")
def test_without_such_a_column_the_tuples_attributes_remain(row):
    assert row.count(1) == 1
    assert row.index("two") == 1
    with pytest.raises(AttributeError):
        row.d


@pytest.mark.row("R02", face="both")
def test_names_that_are_no_identifiers():
    row = restore(("?column?", "a b", "", "a\nb"), (1, 2, 3, 4))
    assert getattr(row, "?column?") == 1
    assert [row["?column?"], row["a b"], row[""], row["a\nb"]] == [1, 2, 3, 4]


@pytest.mark.row("R02", face="both")
def test_null_is_an_attribute_too():
    assert make(a=None).a is None


@pytest.mark.row("R02", face="both")
def test_replace(row):
    assert row._replace(a=5) == (5, "two", None)
    assert type(row._replace(a=5)) is type(row)
    assert row == (1, "two", None)
    with pytest.raises(KeyError, match="'z'"):
        row._replace(z=1)


# ---- R03


@pytest.mark.row("R03", face="both")
def test_mapping_and_unpacking(row):
    def named(**values):
        return values

    def positional(*values):
        return values

    assert dict(row) == {"a": 1, "b": "two", "c": None}
    assert {**row} == {"a": 1, "b": "two", "c": None}
    assert named(**row) == {"a": 1, "b": "two", "c": None}
    first, *rest = row
    assert (first, rest) == (1, ["two", None])
    assert positional(*row) == (1, "two", None)
    assert "{a}-{b}".format(**row) == "1-two"
    assert f"{row.a}-{row.b}" == "1-two"


@pytest.mark.row("R03", face="both")
def test_match_statements(row):
    match row:
        case (1, str(text), None):
            assert text == "two"
        case _:
            raise AssertionError
    match row:
        case Row(a=1, b=text):
            assert text == "two"
        case _:
            raise AssertionError
    match row:
        case (1, _):
            raise AssertionError
        case _:
            pass


# ---- R04


@pytest.mark.row("R04", face="both")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(row, protocol):
    back = pickle.loads(pickle.dumps(row, protocol))
    assert back == row
    assert type(back) is type(row)
    assert back.b == "two"


@pytest.mark.row("R04", face="both")
def test_pickle_in_another_process(row):
    rows = [row, restore(("count", "count", "keys"), (1, [2], {"x": 3}))]
    program = (
        "import pickle, sys; rows = pickle.load(sys.stdin.buffer);"
        "assert rows[0].b == 'two' and rows[0]['c'] is None, rows;"
        "assert rows[1].keys() == ('count', 'count', 'keys') and rows[1].count == [2], rows;"
        "sys.stdout.buffer.write(pickle.dumps(rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(rows), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == rows


@pytest.mark.row("R04", face="both")
def test_copies():
    row = make(a=[1, [2]], b=2)
    shallow, deep = copy.copy(row), copy.deepcopy(row)
    assert shallow == deep == row
    assert shallow.a is row.a
    assert deep.a is not row.a
    assert deep.a[1] is not row.a[1]
    assert type(deep) is type(row)


@pytest.mark.row("R04", face="both")
def test_a_deep_copy_keeps_shared_and_circular_references():
    shared = [1]
    one, two = copy.deepcopy([make(a=shared), make(a=shared)])
    assert one.a is two.a
    loop = []
    loop.append(make(a=loop))
    again = copy.deepcopy(loop)
    assert again[0].a is again


# ---- R10


@pytest.mark.row("R10", face="both")
def test_a_row_in_a_cycle_is_collected():
    class Held(list):
        __slots__ = ("__weakref__",)

    held = Held()
    gone = weakref.ref(held)
    held.append(make(a=held))
    del held
    gc.collect()
    assert gone() is None


@pytest.mark.row("R10", face="both")
def test_the_collector_counts_each_value_once():
    """A value visited twice would look unreferenced while somebody still holds it, and be cleared under his hands."""
    value = {"important": 1}
    value["row"] = make(a=value)
    assert [found is value for found in gc.get_referents(value["row"])].count(True) == 1
    gc.collect()
    assert value.get("important") == 1
