"""Ports for programs that a test is about to start."""

import socket

_HELD: list[socket.socket] = []


def free_port() -> int:
    """A port of loopback that nothing listens on.

    It stays bound here until this process ends: the kernel gives it to nobody else meanwhile, and a server may listen there all the same.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
