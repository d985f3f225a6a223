"""Opening, watching and closing the line to a server: the only Python that touches sockets.

- `asyncio.py`: on an event loop, by descriptor (`add_reader`) or, where a loop has none, by a buffered protocol
- `blocking.py`: on the caller's thread
- `address.py`: where a configuration leads, and socket options
- `listeners.py`: who is told of notices, notifications and the end

Used by `driver`. Imports `_core`, `errors`, `config`.
"""

from __future__ import annotations
