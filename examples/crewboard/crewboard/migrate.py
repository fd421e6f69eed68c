"""`python -m crewboard.migrate`: bring the database to the schema that this release expects.

The files of `migrations/` run in the order of their names, each once, all in one transaction that holds a lock: two
releases that migrate at once wait for one another, and a migration that fails leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from pathlib import Path

import asyncpg

from crewboard.database import Connection, DatabaseAway, away_as_one_error, connect
from crewboard.settings import read_settings

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_236_402  # any number that nothing else in this database locks
# Behind a long transaction a migration would queue, and everybody else behind the migration.
LOCK_TIMEOUT_S = 10
# A database that has just been started may be a moment behind us. Nothing is left of a try that failed.
PATIENCE_S = 5.0
PAUSE_S = 0.5


class MigrationError(Exception):
    """A migration can't be applied; the message says which and why."""


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing and return the names of what was applied. Raises MigrationError, DatabaseAway."""
    async with away_as_one_error(), connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " name text PRIMARY KEY, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known = {row["name"]: row["digest"] for row in await connection.fetch("SELECT * FROM schema_migrations")}
        applied = []
        for file in sorted(MIGRATIONS.glob("*.sql")):
            text = file.read_text()
            digest = hashlib.sha256(text.encode()).hexdigest()
            if file.stem not in known:
                await _apply(connection, file.stem, text, digest)
                applied.append(file.stem)
            elif known[file.stem] != digest:
                raise MigrationError(f"{file.name} was changed after it was applied; put the change into a new file")
        return applied


async def _apply(connection: Connection, name: str, text: str, digest: str) -> None:
    try:
        await connection.execute(text)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{name} failed and nothing was changed: {error}") from error
    await connection.execute("INSERT INTO schema_migrations (name, digest) VALUES ($1, $2)", name, digest)


async def _patiently(database_url: str, until_s: float) -> list[str]:
    """Migrate, and try again while the database is away, until that moment of the monotonic clock."""
    while True:
        try:
            connection = await connect(database_url, command_timeout_s=None)
            try:
                return await migrate(connection)
            finally:
                connection.terminate()
        except DatabaseAway:
            if time.monotonic() >= until_s:
                raise
            await asyncio.sleep(PAUSE_S)


async def _main() -> int:
    began_s = time.monotonic()
    try:
        applied = await _patiently(read_settings().database_url, began_s + PATIENCE_S)
    except DatabaseAway as error:
        print(f"migrate: the database can't be reached ({error}); check DATABASE_URL", file=sys.stderr)
        return 1
    except (MigrationError, asyncpg.PostgresError) as error:
        print(f"migrate: {error}", file=sys.stderr)
        return 1
    what = f"applied {', '.join(applied)}" if applied else "nothing to do"
    print(f"migrate: {what} ({(time.monotonic() - began_s) * 1000:.0f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
