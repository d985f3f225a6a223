"""What codecs and ranges refuse."""

from pgoxide import Connection
from pgoxide.types import Codec, Multirange, Range

Range(1, 10, "[[")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Multirange([1])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Codec(str, str, "xml")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
Connection.connect(codecs={"json": 7})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
Connection.connect(array_bounds="lose")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
