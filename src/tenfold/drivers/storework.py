"""What a store does: two readings of its own counters become transactions, their mean time, and connections. Stage: world -> facts.

PostgreSQL counts the transactions that ended and for how long it worked (`pg_stat_database`: `xact_commit`, `xact_rollback`, `active_time`
in milliseconds), Valkey the calls and microseconds of each command (`INFO commandstats`). Both are asked within the look that asks whether
the store serves.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from redis.asyncio import Redis

from tenfold.drivers.postgres_replica import Connection
from tenfold.facts import StoreSeen

OVER_S_MIN = 0.9
"""Figures are of at least this long: of less they would be noise."""
OUR_COMMANDS = {
    f"cmdstat_{name}" for name in ("info", "ping", "auth", "hello", "client|setname", "client|setinfo", "select")
}
OUR_COMMANDS |= {f"cmdstat_{name}" for name in ("replconf", "psync", "replicaof", "config|get")}
"""What Tenfold and standbys ask is no work for the app."""

_WORK = "SELECT xact_commit + xact_rollback, active_time, numbackends FROM pg_stat_database WHERE datname = %s"
_OWN_WORK = """
SELECT xact_commit + xact_rollback, active_time, numbackends FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(slots=True)
class Work:
    """What one store counted when it was last read, and what that tells."""

    kind: str
    region: str
    seen: StoreSeen | None = None
    _at_s: float = 0.0
    _ended: int = 0
    _busy_ms: float = 0.0

    def take(self, ended: int, busy_ms: float, connections: int) -> None:
        """Its counters now; one that fell belongs to a store that began anew, and tells nothing yet."""
        now_s = time.monotonic()
        over_s, count, busy = now_s - self._at_s, ended - self._ended, busy_ms - self._busy_ms
        if self._at_s and over_s < OVER_S_MIN:
            return
        if self._at_s and count >= 0 and busy >= 0:
            mean_ms = busy / count if count else None
            self.seen = StoreSeen(self.kind, self.region, time.time(), count / over_s, mean_ms, connections)
        else:
            self.seen = None
        self._at_s, self._ended, self._busy_ms = now_s, ended, busy_ms

    def start_over(self) -> None:
        """It does not answer: what comes next is compared with nothing of before."""
        self.seen, self._at_s = None, 0.0


async def read_postgres(connection: Connection, database: str, work: Work) -> None:
    """Ask what was done in `database`. Raises `psycopg.Error`; a PostgreSQL that has no such database yet tells nothing."""
    _took(await (await connection.execute(_WORK, (database,))).fetchone(), work, 0)


async def read_own_postgres(connection: Connection, work: Work) -> None:
    """Ask what was done in the database of `connection`. A server or a pool that does not tell is told nothing of."""
    try:
        row = await (await connection.execute(_OWN_WORK)).fetchone()
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error:
        work.start_over()
        return
    _took(row, work, 1)


def _took(row: Any, work: Work, ours: int) -> None:
    if row is None or row[1] is None:
        work.start_over()
    else:
        work.take(int(row[0]), float(row[1]), max(0, int(row[2]) - ours))


async def read_valkey(asked: Redis, work: Work) -> None:
    """Ask what commands were carried out. Raises `RedisError`."""
    commands: Mapping[str, Any] = await asked.info("commandstats")
    clients: Mapping[str, Any] = await asked.info("clients")
    theirs = [said for name, said in commands.items() if name not in OUR_COMMANDS]
    ended, busy_us = sum(int(said["calls"]) for said in theirs), sum(int(said["usec"]) for said in theirs)
    work.take(ended, busy_us / 1000, max(0, int(clients["connected_clients"]) - 1))
