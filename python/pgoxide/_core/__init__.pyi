"""The Rust core, `pgoxide._core`: what Python can see of it. Stub of lib.rs.

One stub per Rust file that exports to Python. The folders are of the stubs only: at run time it is one module, and
`from pgoxide._core import …` is how to import from it.

- `async_client.pyi`, `blocking_client.pyi`: the verbs of the two connection classes
- `client_options.pyi`: what they are made of
- `awaitable.pyi`: what an asynchronous verb returns
- `batch.pyi`: several statements in one flight
- `pool.pyi`: the verbs of the two pools; `arguments.pyi`: arguments that are kept
- `transaction.pyi`: transaction blocks
- `tag.pyi`, `script.pyi`: what statements and scripts give
- `portal.pyi`: rows that are asked for part by part
- `stream.pyi`, `feed.pyi`, `copy_text.pyi`: rows as they come, and data as it goes
- `prepared.pyi`, `prepared_statement.pyi`: a described statement, and one that its user holds
- `row.pyi`: rows by name; `interval.pyi`: what an interval is made of
- `table.pyi`: what each type is read as, for the reference
- `unraisable.pyi`: exceptions that have nobody to go to

Used by `driver`, `transport` and `types`. Users meet these classes through `pgoxide` and the connections.
"""

from pgoxide._core.arguments import frozen_arguments
from pgoxide._core.async_client import AsyncClient, Reader
from pgoxide._core.awaitable import Reply
from pgoxide._core.batch import BatchBuilder, BatchReply
from pgoxide._core.blocking_client import Client
from pgoxide._core.client_options import ClientOptions
from pgoxide._core.copy_text import copy_format, knows_types
from pgoxide._core.descriptions import Descriptions
from pgoxide._core.feed import Feed
from pgoxide._core.fork import forked
from pgoxide._core.interval import IntervalParts
from pgoxide._core.pool import AsyncPoolCore, PoolCore
from pgoxide._core.portal import Portal
from pgoxide._core.prepared import Prepared
from pgoxide._core.prepared_statement import AsyncPreparedVerbs, PreparedVerbs
from pgoxide._core.registry import TypeRegistry
from pgoxide._core.row import make_row
from pgoxide._core.script import ScriptResult
from pgoxide._core.stream import Stream, StreamStep
from pgoxide._core.table import codecs
from pgoxide._core.tag import CommandTag
from pgoxide._core.transaction import AsyncTransactionBlock, TransactionBlock
from pgoxide._core.unraisable import report_unraisable

__all__ = [
    "AsyncClient",
    "AsyncPoolCore",
    "AsyncPreparedVerbs",
    "AsyncTransactionBlock",
    "BatchBuilder",
    "BatchReply",
    "Client",
    "ClientOptions",
    "CommandTag",
    "Descriptions",
    "Feed",
    "IntervalParts",
    "PoolCore",
    "Portal",
    "Prepared",
    "PreparedVerbs",
    "Reader",
    "Reply",
    "ScriptResult",
    "Stream",
    "StreamStep",
    "TransactionBlock",
    "TypeRegistry",
    "codecs",
    "copy_format",
    "forked",
    "frozen_arguments",
    "knows_types",
    "make_row",
    "report_unraisable",
]
