"""Errors as checkers see them: classes made on first access have names, parents and attributes."""

from __future__ import annotations

from typing import assert_type

import pgoxide.errors
from pgoxide.errors import IntegrityConstraintViolation, NullValueNotAllowed39004, UniqueViolation

try:
    pass
except pgoxide.errors.UniqueViolation as error:
    assert_type(error, UniqueViolation)
    assert_type(error.sqlstate, str | None)
    assert_type(error.position, int | None)
    assert_type(error.parameter_types, tuple[str, ...] | None)
    assert_type(error.is_constraint("users_pkey"), bool)
    assert_type(error.message, str)
except (pgoxide.errors.SerializationFailure, pgoxide.errors.DeadlockDetected) as retry:
    assert_type(retry.is_retryable, bool)

parent: type[IntegrityConstraintViolation] = UniqueViolation
branch: type[pgoxide.errors.IntegrityError] = UniqueViolation
external: type[pgoxide.errors.OperationalError] = NullValueNotAllowed39004
timeout: type[TimeoutError] = pgoxide.errors.QueryTimeout
assert_type(pgoxide.errors.class_for("23505"), type[pgoxide.errors.DatabaseError])
