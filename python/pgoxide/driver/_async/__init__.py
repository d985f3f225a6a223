"""The asynchronous face. `connection.py`: AsyncConnection. `batch.py`: AsyncBatch. `cancel.py`: AsyncCancelToken. The blocking face is made from it."""

from __future__ import annotations
