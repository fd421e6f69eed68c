"""Chooses free ports on loopback. Stage: effects -> world, below the drivers.

Two projects on one machine start looking at different places, the same project always at the same;
a busy port is stepped over.
"""

import socket
from collections.abc import Container

from tenfold.drivers.project import Project
from tenfold.model import LOOPBACK
from tenfold.ports import Retryable

HOST = LOOPBACK
_FIRST = 10_000
_LAST = 29_999
"""Below the ports that the kernel gives to outgoing connections (from 32768 on Linux), so that these never collide."""


def is_free(port: int, host: str = HOST) -> bool:
    """True when nothing listens on `port`."""
    with socket.socket() as probe:
        # Connections of a server that just ended linger; they don't hinder the next server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class FreePorts:
    """Hands out ports in turn, so that one that was just given back is not taken again at once."""

    def __init__(self, project: Project, kept: int | None = None) -> None:
        """`kept` is not handed out: the blueprint gives it to the edge, which may not listen there yet."""
        self._kept = kept
        self._next = _FIRST + int(project.id, 16) % (_LAST - _FIRST + 1)

    def skip_past(self, port: int) -> None:
        """Go on after `port`, which an earlier control plane gave out last."""
        self._next = port + 1 if _FIRST <= port < _LAST else _FIRST

    def keep(self, port: int, host: str, whose: str) -> tuple[int, str]:
        """`port` where nothing listens there, or else the next free one, and what a person should know of it.

        Raises `Retryable` when all are busy.
        """
        if is_free(port, host):
            return port, ""
        other = self.take()
        return other, f"port {port} is taken by another program, so {whose} listens on {other}."

    def take(self, taken: Container[int] = ()) -> int:
        """The next free port that is not in `taken` (those given to something that does not listen yet).

        Raises `Retryable` when all are busy.
        """
        for _ in range(_LAST - _FIRST + 1):
            port = self._next
            self._next = port + 1 if port < _LAST else _FIRST
            if port != self._kept and port not in taken and is_free(port):
                return port
        raise Retryable(f"no free port between {_FIRST} and {_LAST}; end some of the programs that listen there")
