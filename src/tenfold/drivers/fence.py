"""Refuses orders of a control plane that no longer holds the lease. Stage: effects -> world, the gate before every driver.

All drivers of a project share one small file that holds the highest epoch any of them has obeyed.
"""

import fcntl
import os
from pathlib import Path

from tenfold.ports import Permanent, Refused, Retryable


class Fence:
    """The highest epoch seen so far, kept in `path` over restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, epoch: int) -> None:
        """Let `epoch` pass and remember it; raises `Refused` when a higher one has passed, `Retryable` if it can't be kept."""
        if epoch == self.seen():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Retryable(f"can't note who may act in {self._path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            seen = self.seen()
            if epoch < seen:
                raise Refused(
                    f"another control plane has taken over since this was decided (epoch {seen}, not {epoch})"
                )
            if epoch > seen:
                fresh = self._path.with_suffix(".new")
                with fresh.open("w") as file:
                    file.write(f"{epoch}\n")
                    file.flush()
                    # A loss of power must not leave it empty: nothing could be done then, not even to go down.
                    os.fsync(file.fileno())
                fresh.replace(self._path)
        except OSError as error:
            raise Retryable(f"can't note who may act in {self._path}: {error.strerror}") from error
        finally:
            os.close(lock)

    def seen(self) -> int:
        """The highest epoch so far, 0 before the first. Raises `Permanent` when that can't be told any more."""
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise Permanent(
                f"{self._path} is damaged, so nobody may act; delete it, and this goes on by itself"
            ) from error
