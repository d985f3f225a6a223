"""How the statements of a pool's connections were described."""

from typing import final

__all__ = ["Descriptions"]

@final
class Descriptions:
    """What the connections of a pool know together of how their statements are described, for pools themselves. Of `most`
    statements at most; 0: of none.

    The first use of a statement that another connection has had described is one flight: the server compares what was
    described there with what it makes of the statement here, before anything of it runs.
    """

    def __new__(cls, most: int) -> Descriptions: ...
    def __len__(self) -> int:
        """How many statements are known."""
