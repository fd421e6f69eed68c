"""What part a PostgreSQL plays, who follows it and how far behind; what its errors mean. Stage: world -> facts, below drivers.postgres."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tenfold.drivers.postgres_replica import Connection
from tenfold.drivers.store import answer_age_s
from tenfold.facts import ReplicaRole, ReplicaSeen

SILENT_S = 3.5
"""A primary with nothing to send says so every 2.5 s (half of `wal_sender_timeout`); one that says nothing for longer may be gone."""

_PRIMARY = """
SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
       current_setting('synchronous_standby_names') <> '' AND clock_timestamp() - pg_conf_load_time() > '0.5 s',
       current_setting('synchronous_standby_names') <> ''
"""
# What has just been set is not yet known to every process of the server.
_STANDBYS = """
SELECT application_name, flush_lsn::text, flush_lsn >= pg_current_wal_flush_lsn(),
       coalesce(extract(epoch FROM flush_lag), 0)::float
FROM pg_stat_replication WHERE state = 'streaming' AND flush_lsn IS NOT NULL
"""
_STANDBY = """
SELECT c.timeline_id, r.status = 'streaming', r.received_tli, r.sender_host, r.sender_port,
       pg_last_wal_receive_lsn() >= r.latest_end_lsn, extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time)::float
FROM pg_control_checkpoint() c LEFT JOIN pg_stat_wal_receiver r ON true
"""


@dataclass(slots=True)
class Watched:
    """What was seen of one store over time: of its standbys, where each last was and since when; of itself, when it last had all."""

    standbys: dict[str, tuple[str, float]] = field(default_factory=dict)
    whole_at_s: float | None = None
    waits: bool = False


async def look(
    connection: Connection, region: str, watched: Watched, region_at: Callable[[str, int], str]
) -> ReplicaSeen:
    """Ask over `connection`. `region_at` tells whose store listens at an address."""
    row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
    if row is not None and row[0]:
        return await _look_at_standby(connection, region, watched, region_at)
    return await _look_at_primary(connection, region, watched)


async def _look_at_primary(connection: Connection, region: str, watched: Watched) -> ReplicaSeen:
    row: Any = await (await connection.execute(_PRIMARY)).fetchone()
    timeline, is_synchronous, waits = row
    asked_s = time.monotonic()
    standbys: Any = await (await connection.execute(_STANDBYS)).fetchall()
    now_s, lags_s, places = time.monotonic(), {}, {}
    for name, place, has_all, flush_lag_s in standbys:
        before, since_s = watched.standbys.get(name, ("", asked_s))
        if has_all or place != before:
            since_s = asked_s
        places[name] = (place, since_s)
        # The server measures the lag of what arrived; what has not arrived may be as old as the standby has not moved.
        lags_s[name] = answer_age_s(asked_s, now_s) if has_all else flush_lag_s + now_s - since_s
    watched.standbys, watched.waits = places, waits and not lags_s
    return ReplicaSeen(
        kind="postgres",
        region=region,
        role=ReplicaRole.PRIMARY,
        seen_at=time.time(),
        timeline=timeline,
        standbys=tuple(sorted(lags_s)),
        is_synchronous=is_synchronous,
        lag_s=min(lags_s.values(), default=None),
    )


async def _look_at_standby(
    connection: Connection, region: str, watched: Watched, region_at: Callable[[str, int], str]
) -> ReplicaSeen:
    row: Any = await (await connection.execute(_STANDBY)).fetchone()
    checkpoint, streams, received, host, port, has_all, silent_s = row
    now_s = time.monotonic()
    hears = streams is True and silent_s is not None and silent_s <= SILENT_S
    if hears and has_all:
        watched.whole_at_s = now_s
    watched.waits = False
    return ReplicaSeen(
        kind="postgres",
        region=region,
        role=ReplicaRole.STANDBY,
        seen_at=time.time(),
        timeline=max(checkpoint, received or 0),
        follows=region_at(host, port) if hears else "",
        lag_s=None if watched.whole_at_s is None else now_s - watched.whole_at_s,
    )


_NO_URL = "{where} is not a URL that PostgreSQL understands: write postgresql://user:password@host:5432/database"
_SENTENCES = (
    ("password authentication failed", "{address} refuses the user name or the password: correct {where}"),
    ("no password supplied", "{address} asks for a password: put one into {where}"),
    ("no pg_hba.conf entry", "{address} does not let this machine in: add it to its pg_hba.conf"),
    (
        "remaining connection slots",
        "{address} has no connection left: raise its max_connections, or let the app keep fewer open",
    ),
    ("too many clients", "{address} has no connection left: raise its max_connections, or let the app keep fewer open"),
    (
        "too many connections",
        "{address} has no connection left: raise its max_connections, or let the app keep fewer open",
    ),
    ("starting up", "it is starting up"),
    ("not yet accepting connections", "it is going through what was written before it was killed"),
    ("in recovery mode", "it is going through what was written before it was killed"),
    ("shutting down", "it is shutting down"),
    ("refused", "nothing answers at {address}: start the database there, or correct {where}"),
    ("resolve host", "the host of {address} is not known: correct {where}"),
    ("translate host name", "the host of {address} is not known: correct {where}"),
    ("timeout", "{address} does not answer: look at the network and its firewall, or correct {where}"),
    ("unreachable", "{address} can't be reached: look at the network, or correct {where}"),
    ("invalid integer value", _NO_URL),
    ("invalid port number", _NO_URL),
)


def explain(error: Exception, address: str, where: str) -> str:
    """PostgreSQL's error as a sentence that says what to do; `where` is where the URL or the password is written."""
    said = str(error)
    # Where the client could not read the URL, its words quote parts of it, a password among them.
    unread = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
    for sign, sentence in _SENTENCES if not unread else (("", _NO_URL),):
        if sign in said:
            return sentence.format(address=address, where=where) + "."
    cause = said.rpartition("FATAL:")[2].strip().split("\n")[0]
    return f"{address} does not serve: {cause}"
