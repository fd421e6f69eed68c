"""Ports for programs that a test is about to start."""

import os
import socket
from collections import deque

FIRST, LAST = 30_000, 32_767
"""Above those that Tenfold gives out, below those that the kernel gives to connections."""
_HELD: deque[socket.socket] = deque(maxlen=128)
_tried = os.getpid() * 14


def free_port() -> int:
    """A port of loopback that nothing listens on; the one after it is nobody else's either, as the console listens beside the edge.

    It stays bound here for a while, so that no other test is given it; a server may listen there all the same.
    """
    global _tried
    for _ in range(FIRST, LAST, 2):
        _tried += 2
        held = socket.socket()
        try:
            # Alone at first, so that one which another process holds is not taken too.
            held.bind(("127.0.0.1", FIRST + _tried % (LAST + 1 - FIRST)))
        except OSError:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if len(_HELD) == _HELD.maxlen:
            _HELD.popleft().close()
        _HELD.append(held)
        return int(held.getsockname()[1])
    raise AssertionError(f"no free port between {FIRST} and {LAST}")
