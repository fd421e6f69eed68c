"""What the database should be: cores, memory, copies, shards. Stage: what is asked of it -> a size class, with the reasons."""

import math
from dataclasses import dataclass

from tenfold.model import Model

GIB = 1024**3
GIB_PER_CORE = 4
"""As the general-purpose machines of the large clouds have it (AWS m7i, Google n2-standard, Azure Dsv5)."""
CLASSES_CORES = (1, 2, 4, 8, 16, 32)
"""Beyond the largest a machine costs more than twice as much for twice the size, and takes hours to restore: then it is shards."""
BUSY_RATIO = 0.5
"""So much of its cores the statements may take: the rest is for vacuum, checkpoints, backups, and the peak within the minute."""
HOT_RATIO = 0.75
"""So much of its memory the rows in use may fill; the rest is for connections and sorts."""
BYTES_PER_CONNECTION = 9_531_392
CONNECTIONS_MOST = 5_000
"""Amazon RDS allows as many by default: LEAST(memory / 9531392, 5000)."""
POOLER_RATIO = 0.8
COPY_RATIO = 0.999
"""Whoever promises as much can't wait for a restore: 0.1% of a month is 43 minutes."""
COPY_USERS = 5_000
SHARDS_MOST = 1024


@dataclass(frozen=True, slots=True)
class Database:
    """What to run: `shards` databases with `replicas` copies each, all of `cores` and `memory_bytes`.

    `needed_cores` is what statements take of all shards together. `connections` are those that instances keep open, `connections_max`
    what one such database usually allows, `active_max` how many should be at work at once: more are slower (2 x cores + 1, PostgreSQL wiki,
    Number Of Database Connections). `why` says what stands behind copies, shards and a pooler.
    """

    cores: int
    memory_bytes: int
    shards: int
    replicas: int
    needed_cores: float
    connections: int
    connections_max: int
    active_max: int
    why: tuple[str, ...]

    @property
    def machines(self) -> int:
        """How many there are, copies included."""
        return self.shards * (1 + self.replicas)


def database_for(model: Model, users: float, needed_cores: float, hot_bytes: float, connections: int) -> Database:
    """What `users` take whose statements keep `needed_cores` busy, with `hot_bytes` of rows in use and so many `connections`.

    Grows with each of them: as few shards as do with the largest class, then the smallest class that does.
    """
    data = model.data
    shards = first = data.shards if data is not None else 1
    while shards < SHARDS_MOST and _cores(needed_cores / shards, hot_bytes / shards) > CLASSES_CORES[-1]:
        shards *= 2
    wanted = _cores(needed_cores / shards, hot_bytes / shards)
    cores = next((each for each in CLASSES_CORES if each >= wanted), CLASSES_CORES[-1])
    allowed = int(min(cores * GIB_PER_CORE * GIB / BYTES_PER_CONNECTION, CONNECTIONS_MOST))
    replicas, why = _copies(model, users)
    if shards > first:
        why.append(
            f"{shards} shards: {needed_cores / BUSY_RATIO:,.0f} cores and {hot_bytes / GIB:,.0f} GiB of rows in use are more than "
            f"{'one database' if first == 1 else f'{first} databases'} of {CLASSES_CORES[-1]} cores should have"
        )
    if connections > POOLER_RATIO * allowed * shards:
        why.append(
            f"a pooler (PgBouncer) before it: {connections:,} connections are too many for {allowed * shards:,}, and {2 * cores + 1} at "
            "work at once are what so many cores do well"
        )
    memory_bytes = cores * GIB_PER_CORE * GIB
    return Database(
        cores, memory_bytes, shards, replicas, needed_cores, connections, allowed, 2 * cores + 1, tuple(why)
    )


def _cores(needed_cores: float, hot_bytes: float) -> float:
    """What one database should have, by processor and by memory."""
    return max(needed_cores / BUSY_RATIO, math.ceil(hot_bytes / HOT_RATIO / GIB) / GIB_PER_CORE)


def _copies(model: Model, users: float) -> tuple[int, list[str]]:
    """How many copies, and why."""
    own = model.data.replicas if model.data is not None else 0
    promised = model.targets.availability_ratio or 0.0
    if own:
        return own, [f"{own} {'copy' if own == 1 else 'copies'}: the blueprint says so"]
    if promised >= COPY_RATIO:
        return 1, [f"1 copy: {promised * 100:.6g}% can't wait until a backup is restored"]
    if users >= COPY_USERS:
        return 1, [f"1 copy: {users:,.0f} users are too many to be without their data while a backup is restored"]
    return 0, []
