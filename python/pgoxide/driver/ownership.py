"""Whose transaction is open on a connection: a token in a context variable.

A plan (later a transaction block) that opens a transaction sets the token; calls made in a context that holds it, child
tasks included, belong to it. Calls from elsewhere raise at once and are told who holds the transaction: run between its
statements, they would become part of it.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["TOKENS"]

TOKENS: ContextVar[tuple[object, ...]] = ContextVar("pgoxide transactions", default=())
"""Tokens of the transactions this context owns, on any connection."""
