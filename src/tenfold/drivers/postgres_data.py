"""The data folder of an embedded PostgreSQL: made whole or not at all, untouched when it is not ours to run. Stage: effects -> world."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

from tenfold.drivers.enginehome import Home, sync_folder
from tenfold.drivers.wheels import RunUser
from tenfold.ports import Permanent, Retryable

SUPERUSER = "postgres"

CONNECTIONS_MAX = 200
"""How many connections an embedded database allows."""

SETTINGS = {
    # One machine holds the app, its edge and this: a modest cache of its own, the system's file cache does the rest.
    "shared_buffers": "128MB",
    "max_connections": str(CONNECTIONS_MAX),
    "random_page_cost": "1.1",
    # Moving a tenant's rows to another database while it is written to needs the logical log.
    "wal_level": "logical",
    # A subscriber that never comes back must not fill the disk.
    "max_slot_wal_keep_size": "2GB",
    # The default keeps three more processes for reads ahead, which a database that fits in memory does not use.
    "io_method": "sync",
    "jit": "off",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
"""Written into `postgresql.conf` when the data are made; from then on that file is the user's. The address is given at each start."""

_INITDB_WITHIN_S = 120.0
_KILLS_MAX = 200
_TOOLS = ("initdb", "pg_basebackup", "pg_rewind", "postgres", "sh")
ENV = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def data_folder(home: Home) -> Path:
    """Where PostgreSQL's own files are."""
    return home.folder / "pgdata"


def replaced_folder(home: Home) -> Path:
    """Where data are kept until those that take their place are there."""
    return home.folder / "pgdata-before"


def socket_folder(home: Home) -> Path:
    """Where PostgreSQL's socket is, which nobody else can enter."""
    return home.folder / "socket"


def make_socket_folder(home: Home) -> Path:
    """An empty one, for a start: a lock that a killed server left there may name a process that is something else by now."""
    folder = socket_folder(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    if home.user is not None:
        os.chown(folder, home.user.uid, home.user.gid)
    return folder


async def make_data(home: Home, initdb: Path, password: str, cluster_name: str) -> None:
    """Make the data folder beside its final name and rename it: a half-made one is never seen. What is made lasts over a crash.

    Raises `Retryable` with PostgreSQL's own reason when it can't be made.
    """
    making = Path(tempfile.mkdtemp(prefix="making-", dir=home.folder))
    try:
        secret = making / "password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        if home.user is not None:
            os.chown(making, home.user.uid, home.user.gid)
            os.chown(secret, home.user.uid, home.user.gid)
        await _initdb(home, initdb, making, {**SETTINGS, "cluster_name": cluster_name})
        (making / "pgdata").rename(data_folder(home))
        sync_folder(home.folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


async def _initdb(home: Home, initdb: Path, making: Path, settings: dict[str, str]) -> None:
    arguments = [
        f"--pgdata={making / 'pgdata'}",
        f"--username={SUPERUSER}",
        f"--pwfile={making / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # Text compares by code point and knows upper and lower case of all of Unicode, the same on every system.
        "--no-locale",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *(f"--set={name}={value}" for name, value in settings.items()),
    ]
    process = await asyncio.create_subprocess_exec(
        initdb,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=ENV,
        cwd=making,
        user=None if home.user is None else home.user.uid,
        group=None if home.user is None else home.user.gid,
        extra_groups=None if home.user is None else [],
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), _INITDB_WITHIN_S)
    except TimeoutError:
        raise Retryable(
            f"PostgreSQL could not make its data folder within {_INITDB_WITHIN_S:.0f} s: look at the disk of {home.folder}."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Retryable(
            f"PostgreSQL could not make its data folder in {home.folder}: {cause_of(said.decode(errors='replace'))}"
        )


def cause_of(said: str) -> str:
    """The line of a tool's complaints that tells the cause."""
    if "No space left on device" in said or "Check free disk space" in said:
        return "the disk is full; free at least 100 MB."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    causes = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return (causes or lines or ["it said nothing"])[0]


async def remove_half_made(home: Home) -> None:
    """Remove what a start that was cut short left behind, and end it where it is still at work without the one who began it.

    Such folders never held data: they get their final name when they are whole. Data that were about to be replaced are put back.
    """
    for folder in home.folder.glob("making-*"):
        await _end_within(folder.resolve(), _TOOLS)
        shutil.rmtree(folder, ignore_errors=True)
    # pg_rewind has one run, alone and without clients, to recover what was killed.
    await _end_within(data_folder(home).resolve(), ("postgres",), "--single")
    before = replaced_folder(home)
    if before.exists() and not data_folder(home).exists():
        before.rename(data_folder(home))
        sync_folder(home.folder)
    shutil.rmtree(before, ignore_errors=True)


async def _end_within(folder: Path, names: tuple[str, ...], argument: str = "") -> None:
    """End PostgreSQL's own programs that work in `folder`; only those started with `argument`, where one is given."""
    for _ in range(_KILLS_MAX):
        if not _kill_within(folder, names, argument):
            return
        await asyncio.sleep(0.01)


def _kill_within(folder: Path, names: tuple[str, ...], argument: str) -> int:
    """SIGKILL them; how many there were."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        # One that ended meanwhile, and one of another user, are not ours to end.
        with contextlib.suppress(OSError):
            works_here = (process / "cwd").readlink().is_relative_to(folder)
            if not works_here or (process / "comm").read_text().strip() not in names:
                continue
            if not argument or argument in (process / "cmdline").read_text().split("\0"):
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
    return killed


def check_data(home: Home, major: int) -> None:
    """Raise `Permanent`, touching nothing, when the data folder is not one that PostgreSQL `major` can run on here."""
    data = data_folder(home)
    user = home.user or RunUser(os.geteuid(), os.getegid())
    found = data.stat()
    if found.st_uid != user.uid:
        raise Permanent(
            f"{data} belongs to user {found.st_uid}, but PostgreSQL runs as user {user.uid}: run `chown -R {user.uid}:{user.gid} {data}`."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise Permanent(
            f"{data} may be read or written by other users, which PostgreSQL refuses: run `chmod 700 {data}`."
        )
    try:
        version = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise Permanent(
            f"{data} holds no PostgreSQL data: bring them back from a backup, or remove the folder to begin with nothing."
        ) from None
    if version != str(major):
        raise Permanent(
            f"{data} was made by PostgreSQL {version} and this is {major}: nothing was touched. "
            f"Run it with the Tenfold that made it, save it with pg_dump, remove the folder, and load it here."
        )


def clear_stale_lock(home: Home) -> None:
    """Remove a `postmaster.pid` left by a crash of the machine when its pid has since been given to some other program.

    PostgreSQL itself clears one whose process is gone; one whose pid lives again keeps it from starting. Raises `Permanent` when the
    process is a PostgreSQL on this very folder.
    """
    lock = data_folder(home) / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
        cwd = Path(f"/proc/{pid}/cwd").readlink()
    except FileNotFoundError:
        return
    except ValueError:
        # Empty: the machine crashed while it was written.
        lock.unlink()
        return
    except PermissionError:
        # Another user's program: PostgreSQL knows by itself that it can't be one of its own.
        return
    if cwd == data_folder(home).resolve():
        raise Permanent(
            f"PostgreSQL (process {pid}) already runs on {data_folder(home)}, and Tenfold did not start it: run `kill -INT {pid}`."
        )
    lock.unlink()
