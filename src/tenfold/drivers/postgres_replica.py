"""How one PostgreSQL's data come to follow another's: copied, wound back, pointed at it. Stage: effects -> world, below drivers.postgres.

A copy is made beside its final place and renamed when it is whole. Winding back changes data in place and can't be gone on with, so a
mark beside them tells that it was begun: data with that mark are replaced by a copy.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import make_conninfo

from tenfold.drivers import postgres_data
from tenfold.drivers.enginehome import Home, sync_folder, write_file
from tenfold.drivers.store import clear_fence, is_fenced
from tenfold.ports import Retryable

ROLE = "tenfold_replica"

SETTINGS = {
    # What a primary that was lost must still have, so that it can be wound back to where the two parted.
    "wal_keep_size": "256MB",
    # Who has gone is known within seconds, and looked for again as fast.
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
}
"""Given at each start where there are several regions. A log is kept for a standby that is away up to `max_slot_wal_keep_size`."""

_COPY_WITHIN_S = 200.0
_CONNECT_S = 3
_POLL_S = 0.02
_GRANTS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
"""What pg_rewind reads the primary's files by."""

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Upstream:
    """The primary that a standby follows, as it reaches it over the network."""

    region: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tools:
    """PostgreSQL's own programs in `folder`, run for the data in `home`, whose region is that of the sockets made within `inside`."""

    home: Home
    folder: Path
    region: str
    inside: Callable[[], AbstractContextManager[None]]


def slot_of(region: str) -> str:
    """The name of the slot that a primary keeps for the standby in `region`."""
    return "standby_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in region.lower())[:50]


def conninfo(home: Home, region: str, primary: Upstream, **more: str) -> str:
    """How the standby in `region` connects to its primary. The password is in a file of its own: no list of processes shows it."""
    return make_conninfo(
        "",
        host=primary.host,
        port=primary.port,
        user=ROLE,
        passfile=str(home.folder / "replica.pass"),
        application_name=region,
        connect_timeout=_CONNECT_S,
        sslmode="disable",
        **more,
    )


def write_access(home: Home, host: str, password: str) -> None:
    """Write who may connect, and the password by which this store's standby self gets in elsewhere."""
    # Addresses of one emulated network, like those of loopback, share their first number.
    net = f"{host.partition('.')[0]}.0.0.0/8"
    lines = [
        "# Written by Tenfold at each start. Your own pg_hba.conf is read in the middle.",
        f"host replication {ROLE} {net} scram-sha-256",
        f"host postgres {ROLE} {net} scram-sha-256",
        f"host all,replication {ROLE} all reject",
        f"local all,replication {ROLE} reject",
        "include pgdata/pg_hba.conf",
        f"host all all {net} scram-sha-256",
    ]
    write_file(home.folder / "pg_hba.conf", "\n".join((*lines, "")).encode(), home.user)
    write_file(home.folder / "replica.pass", f"*:*:*:{ROLE}:{password}\n".encode(), home.user)


def write_running(home: Home, data: Path, settings: Mapping[str, str]) -> None:
    """Let the data in `data`, on which nothing runs, follow and wait for others as `settings` says and no other way.

    These are the settings that change while it runs, so they stand where ALTER SYSTEM writes.
    """
    ours = ("primary_conninfo", "primary_slot_name", "synchronous_standby_names")
    path = data / "postgresql.auto.conf"
    kept = [line for line in path.read_text().splitlines() if line.partition("=")[0].strip() not in ours]
    if not settings and kept == path.read_text().splitlines():
        return
    for name, value in settings.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        kept.append(f"{name} = '{quoted}'")
    write_file(path, "\n".join((*kept, "")).encode(), home.user)


def is_standby(data: Path) -> bool:
    """Whether the data are those of a standby."""
    return (data / "standby.signal").exists()


async def let_follow(primary: Connection, region: str, password: str) -> None:
    """Make on the primary what a standby in `region` needs: a role, and a slot that keeps the log for it."""
    digest = primary.pgconn.encrypt_password(password.encode(), ROLE.encode(), b"scram-sha-256").decode()
    if not await _has(primary, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE):
        await primary.execute(f"CREATE ROLE {ROLE} LOGIN REPLICATION")
    await primary.execute(f"ALTER ROLE {ROLE} PASSWORD '{digest}'")
    for function in _GRANTS:
        await primary.execute(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {ROLE}")
    slot = slot_of(region)
    lost = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND wal_status = 'lost'"
    if await _has(primary, lost, slot):
        await primary.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    if not await _has(primary, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", slot):
        await primary.execute("SELECT pg_create_physical_replication_slot(%s, true)", (slot,))


async def _has(connection: Connection, query: str, name: str) -> bool:
    return await (await connection.execute(query, (name,))).fetchone() is not None


async def follow(tools: Tools, primary: Upstream, asked: Connection) -> str:
    """Bring the data, on which nothing runs, to where a standby of `primary` can start; what was done, as a sentence (or nothing).

    `asked` is a connection to the primary. Raises `Retryable` with PostgreSQL's own reason; the data are then whole, or marked.
    """
    home = tools.home
    data, mark = postgres_data.data_folder(home), home.folder / "rewinding"
    how = ""
    if not data.exists():
        how = await _copy(tools, primary, "it had no data")
    elif mark.exists():
        how = await _copy(tools, primary, "winding its own back was cut short")
    elif is_fenced(home) or not is_standby(data):
        how = await _rewind(tools, primary)
    elif await _misses_log(tools, asked):
        how = await _copy(tools, primary, "the primary no longer has the log that it needs")
    _make_standby(tools, data, primary)
    mark.unlink(missing_ok=True)
    clear_fence(home)
    return how


async def _copy(tools: Tools, primary: Upstream, why: str) -> str:
    """A base backup, made beside and put in place when it is whole; the old data are kept until then."""
    home = tools.home
    data, before = postgres_data.data_folder(home), postgres_data.replaced_folder(home)
    async with _making(home) as making:
        fresh = making / "pgdata"
        link = conninfo(home, tools.region, primary)
        options = ("--checkpoint=fast", "--no-password", "--slot", slot_of(tools.region), "--no-manifest")
        await _run(tools, making, "pg_basebackup", "-D", str(fresh), "-d", link, *options)
        _make_standby(tools, fresh, primary)
        if data.exists():
            data.rename(before)
        fresh.rename(data)
        sync_folder(home.folder)
    shutil.rmtree(before, ignore_errors=True)
    return f"it got a copy of the data of {primary.region}, since {why}."


async def _rewind(tools: Tools, primary: Upstream) -> str:
    """Take back what this one wrote after the other took over; a copy where that can't be done."""
    home = tools.home
    data = postgres_data.data_folder(home)
    write_file(home.folder / "rewinding", b"the data are being wound back\n")
    try:
        async with _making(home) as making:
            source = conninfo(home, tools.region, primary, dbname=postgres_data.SUPERUSER)
            await _run(tools, making, "pg_rewind", "-D", str(data), f"--source-server={source}")
    except Retryable as error:
        return await _copy(tools, primary, f"its own could not be wound back ({error})")
    return f"its data were wound back to where {primary.region} took over."


def _make_standby(tools: Tools, data: Path, primary: Upstream) -> None:
    link = conninfo(tools.home, tools.region, primary)
    write_running(tools.home, data, {"primary_conninfo": link, "primary_slot_name": slot_of(tools.region)})
    if not is_standby(data):
        write_file(data / "standby.signal", b"", tools.home.user)


async def _misses_log(tools: Tools, primary: Connection) -> bool:
    """Whether the primary has thrown away the log after the point up to which this standby certainly has it."""
    async with _making(tools.home) as making:
        said = await _run(tools, making, "pg_controldata", "-D", str(postgres_data.data_folder(tools.home)))
    found = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    points = [found[name].strip() for name in ("Latest checkpoint's REDO location", "Minimum recovery ending location")]
    row = await (
        await primary.execute(
            "SELECT substr(pg_walfile_name(greatest(%s::pg_lsn, %s::pg_lsn)), 9)"
            " < (SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')",
            points,
        )
    ).fetchone()
    return row is not None and bool(row[0])


async def _run(tools: Tools, making: Path, program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs to its end; what it said. Raises `Retryable` with its reason when it fails.

    It works in `making`, by which the next start finds and ends it, should whoever began it die.
    """
    # In memory: on a disk that is full it could not say so.
    with os.fdopen(os.memfd_create("said"), "w+b") as said:
        process = _begin(tools, making, said, [str(tools.folder / program), *arguments])
        deadline_s = time.monotonic() + _COPY_WITHIN_S
        try:
            while process.poll() is None:
                if time.monotonic() > deadline_s:
                    raise Retryable(f"{program} was not done within {_COPY_WITHIN_S:.0f} s, so it was ended.")
                await asyncio.sleep(_POLL_S)
        finally:
            # Its own helpers too: pg_basebackup receives the log in a second process.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    if process.returncode != 0:
        raise Retryable(f"{program} failed: {postgres_data.cause_of(text)}")
    return text


def _begin(tools: Tools, making: Path, said: IO[bytes], argv: list[str]) -> "subprocess.Popen[bytes]":
    user = tools.home.user
    with tools.inside():
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=postgres_data.ENV,
            cwd=making,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
            start_new_session=True,
        )


@contextlib.asynccontextmanager
async def _making(home: Home) -> AsyncIterator[Path]:
    """A folder beside the data, of the engine's user, that is removed at the end."""
    making = Path(tempfile.mkdtemp(prefix="making-", dir=home.folder))
    try:
        if home.user is not None:
            os.chown(making, home.user.uid, home.user.gid)
        yield making
    finally:
        await asyncio.to_thread(shutil.rmtree, making, ignore_errors=True)
