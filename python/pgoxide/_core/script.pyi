"""What `execute_script` gives. Stub of script.rs."""

from typing import final

from pgoxide._core.tag import CommandTag
from pgoxide.types import Row

__all__ = ["ScriptResult"]

@final
class ScriptResult:
    """One statement's outcome in a script."""

    @property
    def tag(self) -> CommandTag:
        """What the statement did."""

    @property
    def rows(self) -> list[Row]:
        """Its rows; empty for a statement that returns none."""
