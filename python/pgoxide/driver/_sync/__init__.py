# generated from python/pgoxide/driver/_async/__init__.py by tools/async_to_sync.py: do not edit

"""The asynchronous face. `connection.py`: Connection. `batch.py`: Batch. `cancel.py`: CancelToken. The blocking face is made from it."""

from __future__ import annotations
