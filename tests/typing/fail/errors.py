"""What checkers must refuse of pgoxide.errors."""

from __future__ import annotations

import pgoxide.errors

print(pgoxide.errors.NoSuchCondition)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
print(pgoxide.errors.UniqueViolation("x").sqlstat)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
wrong: type[pgoxide.errors.DataError] = pgoxide.errors.UniqueViolation  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
