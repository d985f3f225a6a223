"""Both faces are one: names, parameters and docstrings agree. And what is public at run time is what the stubs say.

Runtime signatures come from the classes, types and docstrings from the stubs, which are the reference.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import pgoxide
from pgoxide import (
    AsyncConnection,
    AsyncPool,
    AsyncPreparedStatement,
    Connection,
    Pool,
    PreparedStatement,
    _core,
)
from pgoxide.driver import peers
from pgoxide.driver._async.attempts import AsyncAttempt, AsyncAttempts
from pgoxide.driver._async.batch import AsyncBatch
from pgoxide.driver._async.copying import AsyncCopyOut
from pgoxide.driver._async.transaction import AsyncTransaction
from pgoxide.driver._sync.attempts import Attempt, Attempts
from pgoxide.driver._sync.batch import Batch
from pgoxide.driver._sync.copying import CopyOut
from pgoxide.driver._sync.transaction import Transaction
from pgoxide.statement import AsyncExecutor, Executor

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python/pgoxide"
sys.path.insert(0, str(ROOT / "tools"))
import async_to_sync  # noqa: E402

TWINS = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__", "__anext__": "__next__"}
# On one face by their nature. Private names are the core's and the transport's business.
ASYNC_ONLY: set[str] = set()
BLOCKING_ONLY: set[str] = set()

pytestmark = pytest.mark.row("Q03", face="both")


def blocking_text(text: str | None) -> str | None:
    """What the generator makes of an asynchronous text, whatever its line breaks."""
    return None if text is None else " ".join(async_to_sync._rename_text(text).split())


def public(cls: type) -> dict[str, Any]:
    """What users see of a class, wherever it is inherited from."""
    names = [name for name in dir(cls) if not name.startswith("_") or name in {*TWINS, *TWINS.values()}]
    return {name: inspect.getattr_static(cls, name) for name in names}


def parameters(member: Any) -> list[tuple[str, Any, Any]] | None:
    """Name, kind and default of each parameter; None for properties."""
    function = getattr(member, "__func__", member)
    if not callable(function):
        return None
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    ("asynchronous", "blocking"),
    [
        (AsyncConnection, Connection),
        (AsyncPool, Pool),
        (AsyncBatch, Batch),
        (AsyncPreparedStatement, PreparedStatement),
        (AsyncCopyOut, CopyOut),
        (AsyncTransaction, Transaction),
        (AsyncAttempts, Attempts),
        (AsyncAttempt, Attempt),
        (AsyncExecutor, Executor),
    ],
)
def test_twins(asynchronous: type, blocking: type) -> None:
    ours, theirs = public(asynchronous), public(blocking)
    renamed = {TWINS.get(name, name) for name in ours}
    assert renamed - set(theirs) == ASYNC_ONLY & renamed
    assert set(theirs) - renamed == BLOCKING_ONLY & set(theirs)
    for name, member in ours.items():
        twin = theirs.get(TWINS.get(name, name))
        if twin is None:
            continue
        assert parameters(member) == parameters(twin), name
        if name not in {"connect", "acquire", "closed"}:  # their texts differ, as the things do
            assert blocking_text(inspect.getdoc(member)) == blocking_text(inspect.getdoc(twin)), name


# A connection's own business, of which a transaction inside it has no part.
SESSIONS_OWN = {
    "abort", "add_close_listener", "add_notice_listener", "add_notification_listener", "backend_pid", "cancel", "cancel_token",
    "close", "closed", "config", "connect", "parameter", "reload_types", "remove_close_listener", "remove_notice_listener",
    "remove_notification_listener", "run_transaction",
    "server_version", "statement_cache", "transaction_attempts", "transaction_status",
}  # fmt: skip
BLOCKS_OWN = {"on_commit", "rollback_only"}


@pytest.mark.row("X01", face="both")
@pytest.mark.parametrize(
    ("connection", "block"), [(AsyncConnection, AsyncTransaction), (Connection, Transaction)]
)
def test_a_blocks_verbs_are_the_connections(connection: type, block: type) -> None:
    verbs, ours = public(connection), public(block)
    # Without the names of other drivers, which only say what is ours.
    verbs, ours = (
        {n: m for n, m in all_.items() if not isinstance(m, peers._Absent)} for all_ in (verbs, ours)
    )
    assert set(verbs) - set(ours) == SESSIONS_OWN
    assert set(ours) - set(verbs) == BLOCKS_OWN
    for name in set(verbs) & set(ours) - {"transaction"}:
        there, here = parameters(verbs[name]) or [], parameters(ours[name]) or []
        assert [one for one in here if one[0] != "commit"] == there, name


def test_the_executors_verbs_are_the_connections() -> None:
    """As far as they exist: `issubclass` cannot ask, for these Protocols are for checkers."""
    pairs = (
        (AsyncExecutor, AsyncConnection),
        (Executor, Connection),
        (AsyncExecutor, AsyncPool),
        (Executor, Pool),
    )
    for protocol, connection in pairs:
        for name, member in public(protocol).items():
            if name not in public(connection):
                continue
            needed = {p[0] for p in parameters(member) or [] if p[1] is inspect.Parameter.KEYWORD_ONLY}
            offered = {p[0] for p in parameters(public(connection)[name]) or []}
            assert needed <= offered, name


# ---- the stubs


@cache
def stub(name: str) -> ast.Module:
    return ast.parse((PACKAGE / "_core" / f"{name}.pyi").read_text(encoding="utf-8"))


def stub_class(module: str, name: str) -> ast.ClassDef:
    return next(node for node in stub(module).body if isinstance(node, ast.ClassDef) and node.name == name)


def functions(cls: ast.ClassDef) -> dict[str, list[ast.FunctionDef]]:
    """By name, its overloads in order."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def without_reply(annotation: ast.expr | None) -> str:
    """`list[Row]` for `Reply[list[Row]]`."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in {"Reply", "BatchReply"}:
        annotation = annotation.slice
    return (
        re.sub(r"\bAsync(?=Stream\[|Portal\[)", "", ast.unparse(annotation)) if annotation is not None else ""
    )


def test_stubs_of_both_clients_agree() -> None:
    ours = functions(stub_class("async_client", "AsyncClient"))
    theirs = functions(stub_class("blocking_client", "Client"))
    names = {name for name in ours if not name.startswith("_")}
    assert names - ASYNC_ONLY == {name for name in theirs if not name.startswith("_")} - BLOCKING_ONLY
    for name in names - ASYNC_ONLY:
        signatures = [
            [(ast.unparse(f.args), without_reply(f.returns)) for f in face[name]] for face in (ours, theirs)
        ]
        assert signatures[0] == signatures[1], name
        texts = [[ast.get_docstring(f) for f in face[name]] for face in (ours, theirs)]
        if name != "closed":
            assert list(map(blocking_text, texts[0])) == list(map(blocking_text, texts[1])), name


def test_the_pools_have_the_verbs_of_the_clients() -> None:
    """The same overloads; what their texts say of a connection differs."""
    for client, pool in (
        (("async_client", "AsyncClient"), ("pool", "AsyncPoolCore")),
        (("blocking_client", "Client"), ("pool", "PoolCore")),
    ):
        its, mine = functions(stub_class(*client)), functions(stub_class(*pool))
        verbs = {name for name in mine if not name.startswith("_")}
        assert verbs == {name for name in its if name.startswith("fetch_") or name == "execute"}
        for name in verbs:
            signatures = [
                [(ast.unparse(f.args), ast.unparse(f.returns or f.args)) for f in face[name]]
                for face in (mine, its)
            ]
            assert signatures[0] == signatures[1], name


def test_a_batch_has_the_verbs_of_a_client() -> None:
    """The same overloads, without what concerns the whole flight."""
    client, batch = (
        functions(stub_class(module, name))
        for module, name in (("blocking_client", "Client"), ("batch", "BatchBuilder"))
    )
    for name, overloads in batch.items():
        if name.startswith("_"):
            continue
        for mine, its in zip(overloads, client[name], strict=True):
            assert without_reply(mine.returns) == ast.unparse(its.returns or ast.Constant(None)), name
            mine_named, its_named = ({a.arg for a in f.args.kwonlyargs} for f in (mine, its))
            assert its_named - mine_named == {"timeout", "isolate"}, name


def test_a_transaction_has_the_verbs_of_its_client() -> None:
    """The same overloads, and `commit`, which is for statements that can be the last."""
    for client_module, client_name, block_name in (
        ("async_client", "AsyncClient", "AsyncTransactionBlock"),
        ("blocking_client", "Client", "TransactionBlock"),
    ):
        client = functions(stub_class(client_module, client_name))
        block = functions(stub_class("transaction", block_name))
        public_names = {name for name in block if not name.startswith("_")}
        verbs = {
            name
            for name in client
            if name.startswith("fetch_") or name in {"execute", "execute_script", "portal", "stream"}
        }
        assert public_names == verbs
        for name in verbs:
            for mine, its in zip(block[name], client[name], strict=True):
                assert ast.unparse(mine.returns or ast.Constant(None)) == ast.unparse(
                    its.returns or ast.Constant(None)
                )
                mine_named, its_named = ({a.arg for a in f.args.kwonlyargs} for f in (mine, its))
                assert mine_named - its_named == (
                    set() if name in {"execute_script", "portal", "stream"} else {"commit"}
                ), name
                assert not its_named - mine_named, name


def test_every_public_thing_in_a_stub_has_a_docstring() -> None:
    for path in (PACKAGE / "_core").glob("*.pyi"):
        module = stub(path.stem)
        assert ast.get_docstring(module), path.name
        for node in module.body:
            if isinstance(node, ast.FunctionDef):
                assert ast.get_docstring(node), node.name
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            assert ast.get_docstring(node), node.name
            for name, overloads in functions(node).items():
                texts = [ast.get_docstring(overload) for overload in overloads]
                assert texts[-1] or name.startswith("_"), f"{node.name}.{name}: on its last overload"


def test_runtime_names_are_those_of_the_stubs() -> None:
    """What `tools/check_stubs.py` does in full; this much needs no mypy."""
    names: set[str] = set()
    for path in (PACKAGE / "_core").glob("[!_]*.pyi"):
        names |= set(declared(stub(path.stem)))
    assert names == set(declared(stub("__init__"))) == set(_core.__all__)


# ---- __all__


def declared(module: ast.Module) -> list[str]:
    """The names of `__all__` as written."""
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found: list[str] = ast.literal_eval(node.value)
            return found
    return []


def modules() -> list[str]:
    found = pkgutil.walk_packages([str(PACKAGE)], "pgoxide.")
    return ["pgoxide", *(module.name for module in found if module.name.rpartition(".")[2] != "_child")]


@pytest.mark.parametrize("name", modules())
def test_all(name: str) -> None:
    """Every module that defines something public says so, and each name is there. (ruff sorts them.)"""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", None)
    file = inspect.getfile(module)
    if not file.endswith(".py"):
        return
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "every module starts with a docstring"
    own = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    ]
    if exported is None:
        assert not own, "what is public is named in __all__"
        return
    assert len(exported) == len(set(exported))
    for public_name in exported:
        assert hasattr(module, public_name), public_name


def test_the_paved_path() -> None:
    """`pgoxide.X` is what `__all__` says, to the interpreter and to `dir`."""
    assert set(pgoxide.__all__) <= set(dir(pgoxide))
    for name in pgoxide.__all__:
        member = getattr(pgoxide, name)
        assert inspect.getdoc(member), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pgoxide.nothing  # type: ignore[attr-defined]


# ---- Any


ANY_ALLOWED = {"fetch_value", "fetch_column"}  # values of untyped rows; `Row` itself is Python


def test_any_only_where_rows_are_untyped() -> None:
    for path in (PACKAGE / "_core").glob("*.pyi"):
        for node in ast.walk(stub(path.stem)):
            if isinstance(node, ast.FunctionDef) and "Any" in {
                n.id for n in ast.walk(node) if isinstance(n, ast.Name)
            }:
                assert node.name in ANY_ALLOWED, f"{path.name}: {node.name}"
