"""The command tag. Stub of tag.rs."""

from typing import final

__all__ = ["CommandTag"]

@final
class CommandTag:
    """What the server said a statement did: `INSERT 0 3`, `SELECT 10`, `CREATE TABLE`. `str()` gives that text.

    Equal to another of the same text.

    Source: protocol chapter, "Message Formats", CommandComplete.
    """

    @property
    def text(self) -> str:
        """The tag as sent; empty for an empty statement."""

    @property
    def rows_affected(self) -> int | None:
        """Rows inserted, updated, deleted, merged, selected, moved or copied; None for commands that count none."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
