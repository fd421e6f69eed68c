"""Enters network namespaces by name, one thread at a time. Stage: effects -> world, below the drivers."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from tenfold.ports import Retryable

FOLDER = Path("/run/netns")
"""Where `ip netns` keeps them, and where everybody's tools look."""

_OWN = "/proc/thread-self/ns/net"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in the namespace `name` meanwhile, and back where it was afterwards (12 us for both ways).

    Sockets and processes that it makes stay there. Raises `Retryable` when there is no such namespace, or it may not be entered.
    """
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            other = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enter(other)
            finally:
                os.close(other)
        except OSError as error:
            raise Retryable(f"network {name} can't be entered: {error.strerror}") from error
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def identity(name: str) -> int:
    """What tells the namespace from another that had its name before. Raises `Retryable` when there is none."""
    try:
        return (FOLDER / name).stat().st_ino
    except OSError as error:
        raise Retryable(f"network {name} is not there: {error.strerror}") from error


def is_there(name: str) -> bool:
    """True when the namespace exists and can be entered; a name that a crash left behind can't."""
    try:
        with inside(name):
            return True
    except Retryable:
        return False


def _enter(handle: int) -> None:
    if _LIBC.setns(handle, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
