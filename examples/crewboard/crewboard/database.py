"""PostgreSQL: a pool that connects when it is first needed, and one word for every way of being away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = asyncpg.Connection
Row: TypeAlias = asyncpg.Record

# Eight instances of the app and their workers stay well below PostgreSQL's default of 100 connections.
POOL_SIZE = 8
# How long a request waits for a free connection, or for a new one to be made.
ACQUIRE_TIMEOUT_S = 2.0
# No statement of a request takes this long; a database that does not answer by then is away.
COMMAND_TIMEOUT_S = 3.0
PROBE_TIMEOUT_S = 1.0

# TimeoutError is an OSError. A standby that was promoted, or a primary that was demoted, under a connection that we
# still hold shows itself by refusing writes.
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
)


class DatabaseAway(Exception):
    """The database can't be reached, or did not answer in time. Whether a write happened is not known."""


@asynccontextmanager
async def away_as_one_error() -> AsyncIterator[None]:
    """Turn every error that means "the database is away" into DatabaseAway; let our own mistakes through."""
    try:
        yield
    except _AWAY as error:
        # asyncpg uses InterfaceError for a closed connection, and for calls that we got wrong too. One that was lost
        # while it was lent is "released back to the pool".
        if isinstance(error, asyncpg.InterfaceError) and not any(said in str(error) for said in ("closed", "released")):
            raise
        raise DatabaseAway(f"{type(error).__name__}: {error}".rstrip(": ")) from error


async def connect(url: str, command_timeout_s: float | None = COMMAND_TIMEOUT_S) -> Connection:
    """Open one connection outside of any pool; None lets statements take as long as they need. Raises DatabaseAway."""
    async with away_as_one_error():
        return await asyncpg.connect(url, timeout=ACQUIRE_TIMEOUT_S, command_timeout=command_timeout_s)


@asynccontextmanager
async def _given_up_if_late(connection: Connection) -> AsyncIterator[None]:
    """End a connection that did not answer in time: nobody knows what it still does, and the pool would wait for it."""
    try:
        yield
    except TimeoutError:
        connection.terminate()
        raise


async def _keep_as_it_is(connection: Connection) -> None:
    """We never change a session's state, so there is nothing to reset: that saves a round trip per request."""


class Database:
    """The app's way to PostgreSQL. Opens no connection before the first request that needs one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        # asyncpg's pool lets newcomers overtake those who wait: with 80 users on 8 connections the p99 was 480 ms at a
        # median of 22 ms. Queueing in order before it made that 110 ms, and a quarter more requests.
        self._turns = asyncio.Semaphore(POOL_SIZE)
        self._probe_connection: Connection | None = None
        self._probe: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the pool, still without a connection."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=POOL_SIZE,
            command_timeout=COMMAND_TIMEOUT_S,
            timeout=ACQUIRE_TIMEOUT_S,
            reset=_keep_as_it_is,
        )

    async def stop(self) -> None:
        """Close every connection; requests have ended by now."""
        if self._probe_connection is not None:
            self._probe_connection.terminate()
        if self._pool is not None:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises DatabaseAway if there is none in time, or if it breaks while lent."""
        assert self._pool is not None, "start() comes first"
        async with away_as_one_error():
            async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
                await self._turns.acquire()
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection, _given_up_if_late(connection):
                    yield connection
            finally:
                self._turns.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction: committed at the end, rolled back on any exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def probe(self) -> None:
        """Ask the database for a sign of life, within a second. Raises DatabaseAway.

        It has a connection of its own: a pool that is busy must not make a healthy instance look ill. Callers that
        come together share one question.
        """
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask())
        await asyncio.shield(self._probe)

    async def _ask(self) -> None:
        try:
            async with away_as_one_error(), asyncio.timeout(PROBE_TIMEOUT_S):
                if self._probe_connection is None or self._probe_connection.is_closed():
                    self._probe_connection = await asyncpg.connect(self._url)
                await self._probe_connection.fetchval("SELECT 1")
        except DatabaseAway:
            if self._probe_connection is not None:
                self._probe_connection.terminate()
                self._probe_connection = None
            raise
