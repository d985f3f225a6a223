"""Prepared statements. Stub of prepared.rs."""

from typing import final

__all__ = ["Prepared"]

@final
class Prepared:
    """A statement the server has described, held between the steps that need the same one; for `driver`."""

    @property
    def binary(self) -> bool:
        """Whether every column of its result has a binary codec here, as a COPY in binary format needs."""
