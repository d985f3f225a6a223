"""The driver: connections that run statements, asynchronous and blocking.

- `_async/connection.py`: `AsyncConnection`; `_sync/connection.py`: `Connection`, generated from it
- `version.py`: the server's version as a number
- `peers.py`: what other drivers call our verbs, for error messages

The verbs themselves (`fetch_all`, `execute`, …) are methods of the core's clients, which the connection classes extend
with what needs several steps. Implements `Executor` and `AsyncExecutor`. Imports `_core`, `transport`, `statement`.
"""

from __future__ import annotations

import os

from pgoxide import _core

if hasattr(os, "register_at_fork"):
    # A child has its parents' descriptors: it must neither write to them nor read from them.
    os.register_at_fork(after_in_child=_core.forked)
