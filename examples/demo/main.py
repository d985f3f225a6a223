"""The order of events."""

from __future__ import annotations

import asyncio
import platform
import time

from examples.demo import asynchronous, blocking, crowd
from examples.demo.report import Report
from pgoxide import embedded

# The defaults suit small tests. A third of a million rows come more quickly when less is written of them twice.
SETTINGS = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "shared_buffers": "128MB",
}


def main() -> None:
    """Starts a server of its own, shows pgoxide on it, and leaves nothing."""
    begun = time.perf_counter()
    report = Report()
    report.title("pgoxide: a year of flights out of New York")
    with report.step("a private PostgreSQL server, started"):
        server = embedded.start(settings=SETTINGS)
    with server:
        major, minor = server.version
        report.note(
            f"PostgreSQL {major}.{minor} from {server.source}, pid {server.pid}, in {server.config().host}"
        )
        report.note(f"{platform.python_implementation()} {platform.python_version()}")
        asyncio.run(asynchronous.tour(server.config(), report))
        asyncio.run(crowd.tour(server.config(), report))
        blocking.tour(server.config(), report)
    report.title(
        f"Done in {time.perf_counter() - begun:.1f} s; the server is stopped and its files are gone."
    )
