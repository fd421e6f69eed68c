"""Where an embedded store keeps its data, as which user it runs, and what is remembered of it. Stage: effects -> world, below the drivers.

A home is `.tenfold/data/<name>`. As root, where the engine must run as another user that can't enter `.tenfold`, it is a link to a folder
of its own under `/var/lib/tenfold`. Beside the engine's data lies `settings.json` (mode 600): its port and its passwords.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from tenfold.drivers.project import Project
from tenfold.drivers.wheels import SHARED, RunUser, blocked_at
from tenfold.ports import Permanent, Retryable

Settings = TypeVar("Settings")

_LOW_BYTES = 200 * 1024 * 1024
_LOCK_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Home:
    """A store's folder, and the user that its engine runs as (None: the one who runs Tenfold)."""

    folder: Path
    user: RunUser | None

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"


def own_home(project: Project, name: str) -> Home:
    """The home of an engine that runs as the user who runs Tenfold. It is not made here."""
    return Home(project.data / name, None)


def find_unprivileged_home(project: Project, name: str) -> Home | None:
    """The home of an engine that refuses to run as root; None when it was never made.

    Data that an ordinary user made in the project are served as that user when root runs it. Raises `Permanent` when the way to the
    data is closed or they are another project's.
    """
    folder = project.data / name
    if folder.is_symlink():
        target = folder.readlink()
        if os.geteuid() != 0:
            raise Permanent(
                f"the data of {name} were made by root and lie in {target}: run this as root, or move {folder} away."
            )
        if not target.is_dir():
            raise Permanent(
                f"{target}, which holds the data of {name}, is gone: bring it back, or remove {folder} to begin with nothing."
            )
        _claim(project, target, folder)
        return Home(target, RunUser.nobody())
    if not folder.is_dir():
        return None
    if os.geteuid() != 0:
        return Home(folder, None)
    owner = RunUser.of(folder)
    if owner.uid == 0:
        raise Permanent(
            f"{folder} belongs to root, and PostgreSQL runs as another user: move it away, or give it to its user with chown."
        )
    if (closed := blocked_at(folder, owner)) is not None:
        raise Permanent(
            f"{closed} can't be entered by user {owner.uid}, whose data {folder} holds: run `chmod a+x {closed}`."
        )
    return Home(folder, owner)


def make_unprivileged_home(project: Project, name: str, shared: Path = SHARED) -> Home:
    """Make the home that `find_unprivileged_home` finds from then on."""
    if os.geteuid() == 0:
        return Home(_shared_home(project, name, shared), RunUser.nobody())
    folder = project.data / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Home(folder, None)


def _shared_home(project: Project, name: str, shared: Path) -> Path:
    """A new folder under `shared` with a name of its own, and the link to it.

    The name is new each time: a project that was moved away keeps its data, and one that takes its place doesn't get them.
    """
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    project.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{project.id}-{name}-", dir=shared))
    # Its user walks through, and sees nothing but its own data.
    folder.chmod(0o711)
    if (closed := blocked_at(folder, RunUser.nobody())) is not None:
        folder.rmdir()
        raise Permanent(
            f"{closed} can't be entered by user nobody, who runs {name} when Tenfold runs as root: run `chmod a+x {closed}`."
        )
    write_file(folder / "project", f"{project.root.resolve()}\n".encode())
    (project.data / name).symlink_to(folder)
    return folder


def _claim(project: Project, home: Path, link: Path) -> None:
    """Note that `home` is this project's; raises `Permanent` when the project folder it was made for still uses it (this one is a copy)."""
    note = home / "project"
    root = project.root.resolve()
    other = Path(note.read_text().strip()) if note.exists() else root
    if other == root:
        return
    theirs = other / link.relative_to(project.root)
    if theirs.is_symlink() and theirs.readlink() == home:
        raise Permanent(
            f"{home} holds the data of {other}, of which this is a copy: remove {link} to begin with nothing."
        )
    write_file(note, f"{root}\n".encode())


def load_settings(home: Home, kind: type[Settings]) -> Settings | None:
    """What is remembered of the store, None when it was never made. Raises `Permanent` when the file is damaged or not readable."""
    try:
        return msgspec.json.decode(home.settings.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Permanent(f"{error.filename} can't be read: run this as the user who made it.") from error
    except msgspec.DecodeError as error:
        raise Permanent(
            f"{home.settings} is damaged, and with it the port and passwords of the store: put a copy of it back."
        ) from error


def save_settings(home: Home, settings: object) -> None:
    """Remember, so that a crash at any moment leaves the old or the new whole."""
    write_file(home.settings, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def write_file(path: Path, content: bytes, owner: RunUser | None = None) -> None:
    """Write `path` (mode 600, of `owner`) so that a crash at any moment leaves the old or the new whole.

    Raises `Retryable` when the disk is full.
    """
    handle, fresh = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if owner is not None:
            os.chown(fresh, owner.uid, owner.gid)
        Path(fresh).replace(path)
    except OSError as error:
        Path(fresh).unlink(missing_ok=True)
        raise Retryable(f"{path} can't be written ({error.strerror}): free some space on its disk.") from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last over a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def near(folder: Path) -> Iterator[str]:
    """A short name of `folder` for a connection that is opened now: the kernel takes 107 bytes of a socket's path."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def space_note(folder: Path) -> str:
    """A sentence when the disk that holds `folder` is almost full, or the folder gone; else empty."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except FileNotFoundError:
        return f"{folder}, which holds its data, is gone: stop it, and bring the folder back from a backup."
    if free_bytes >= _LOW_BYTES:
        return ""
    return f"only {free_bytes // 1024 // 1024} MB are left on the disk of {folder}: free some, or writes will fail."


@contextlib.asynccontextmanager
async def only_one(path: Path, what: str) -> AsyncIterator[None]:
    """Hold the lock file `path`, which ends with the process that holds it. Raises `Retryable` when another holds it for long."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Retryable(f"{what} is being started by another Tenfold: wait for it, or end it.") from None
                await asyncio.sleep(0.02)
        yield
    finally:
        os.close(handle)
