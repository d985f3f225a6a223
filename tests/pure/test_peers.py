"""Names of other drivers are no names of ours, and say what ours are (Q03)."""

from __future__ import annotations

import inspect

import pytest

import pgoxide
from pgoxide.driver import peers
from pgoxide.driver._async.batch import AsyncBatch
from pgoxide.driver._async.prepared_statement import AsyncPreparedStatement
from pgoxide.driver._async.transaction import AsyncTransaction
from pgoxide.driver._sync.batch import Batch
from pgoxide.driver._sync.prepared_statement import PreparedStatement
from pgoxide.driver._sync.transaction import Transaction

KINDS = {
    pgoxide.AsyncConnection: "connection",
    pgoxide.Connection: "connection",
    pgoxide.AsyncPool: "pool",
    pgoxide.Pool: "pool",
    AsyncPreparedStatement: "statement",
    PreparedStatement: "statement",
    AsyncTransaction: "transaction",
    Transaction: "transaction",
    AsyncBatch: "batch",
    Batch: "batch",
}


@pytest.mark.row("Q03", face="both")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_object_explains_its_peers_names(kind: type) -> None:
    table = peers._HINTS[KINDS[kind]]
    assert len(table) > 15
    for name, hint in table.items():
        assert not hasattr(kind, name)
        with pytest.raises(AttributeError) as caught:
            getattr(kind, name)
        assert str(caught.value).endswith(f"in pgoxide: {hint}")
        assert caught.value.name == name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_there_is_is_not_hidden(kind: type) -> None:
    """No name of ours is explained away, and what hints begin with exists."""
    real = {
        name
        for name in dir(kind)
        if not isinstance(inspect.getattr_static(kind, name), peers._Absent) and not name.startswith("_")
    }
    assert not real & peers._ALL
    for hint in peers._HINTS[KINDS[kind]].values():
        first = hint.split(" or ")[0].split(",")[0].split("(")[0].split(".")[0].split(":")[0].split(" ")[0]
        assert first in real or hint.startswith(
            ("nothing", "the verbs", "repr", "the block", "rollback_only")
        ), (kind, hint)


def test_a_name_of_ours_stays() -> None:
    @peers.explain_peers_names("connection")
    class Own:
        def fetch(self) -> int:
            return 1

    assert Own().fetch() == 1
    assert not hasattr(Own, "fetchrow")
    assert "fetchrow" not in peers.own_names(["fetchrow", "close"])
