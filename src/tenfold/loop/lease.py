"""Who may act on this machine: a lock that dies with its holder, and an epoch that only grows.
Stage: before the loop's first order.

The lock is `flock` on a file that is never renamed; the kernel lets go of it when its holder dies, however it dies. The
epoch lies in a file beside it, replaced atomically and synced before it is used,
so that no two holders ever have the same one.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

EPOCH_DIGITS_MAX = 18
ASK_TIMES = 250
ASK_EVERY_S = 0.02
"""Whoever asks for the holder shares the lock for a moment, on a busy machine for a long one: so often they are waited for."""


class LeaseError(Exception):
    """The lease's files can't be used. Its text is one sentence that says what to do next."""


class FileLease:
    """The lease whose lock is `path` and whose epoch is `path` + `.epoch`: the `Lease` port on one machine."""

    def __init__(self, path: Path, newest: Callable[[], int] = lambda: 0) -> None:
        """A new epoch is above `newest()` too, asked once the lock is ours: the lease's own file may have been removed."""
        self._path = path
        self._epoch_path = path.with_name(path.name + ".epoch")
        self._newest = newest
        self._epoch = 0
        self._fd: int | None = None

    async def acquire(self) -> int | None:
        """The new epoch, or None when another holds the lease (`taken` says who). Raises `LeaseError`, and what `newest` raises."""
        assert self._fd is None, "acquired twice"
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LeaseError(
                f"the lease {self._path} can't be opened ({error.strerror}): check the folder's rights"
            ) from error
        try:
            is_ours = await _lock(fd)
            if is_ours:
                self._begin(fd)
        except BaseException:
            os.close(fd)
            raise
        if not is_ours:
            os.close(fd)
            return None
        self._fd = fd
        return self._epoch

    async def held(self) -> bool:
        """True while the lock is ours, lies where others look for it, and no newer epoch was given."""
        if self._fd is None:
            return False
        try:
            mine, there = os.fstat(self._fd), self._path.stat()
            return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino) and self._read_epoch() == self._epoch
        except (OSError, LeaseError):
            return False

    async def release(self) -> None:
        """Let go; safe to call twice. The epoch stays."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def holder(self) -> int | None:
        """The pid of whoever holds the lease now; None when nobody does, 0 when it has not said yet."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(fd)
        return None

    def taken(self) -> str:
        """Why `acquire` gave None, and what to do next."""
        pid = self.holder()
        who = f"process {pid}" if pid else "another process"
        return f"this project is run by {who} already: see `tenfold status`, or stop it with `tenfold down`"

    def _begin(self, fd: int) -> None:
        """A new epoch, and in the locked file `fd` who has it."""
        epoch = max(self._read_epoch(), self._newest()) + 1
        try:
            self._epoch = epoch
            self._write_epoch()
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise LeaseError(
                f"the lease {self._epoch_path} can't be written ({error.strerror}): free some space or check its rights"
            ) from error

    def _read_epoch(self) -> int:
        try:
            text = self._epoch_path.read_bytes().strip()
        except FileNotFoundError:
            return 0
        if not text.isdigit() or len(text) > EPOCH_DIGITS_MAX:
            raise LeaseError(f"{self._epoch_path} is damaged: remove it and run `tenfold up` again")
        return int(text)

    def _write_epoch(self) -> None:
        fresh = self._epoch_path.with_name(f"{self._epoch_path.name}.{os.getpid()}")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{self._epoch}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(self._epoch_path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def _lock(fd: int) -> bool:
    """True once the lock is ours; False at once when another has it for itself. Where it is merely shared, that is waited out."""
    for _ in range(ASK_TIMES):
        if _try(fd, fcntl.LOCK_EX):
            return True
        if not _try(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        await asyncio.sleep(ASK_EVERY_S)
    return False


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
