"""psqlpy: the import case only. Its queries cost 2-3 x asyncpg's, and its COPY dead-locks (0.13.1)."""

MODULE, ENTRY = "psqlpy", "connect"
