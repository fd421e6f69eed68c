"""Asks one instance whether it is well. Stage: world -> facts.

Over HTTP the path must answer 2xx in time; without a path a connection must be accepted. It is a bare socket, because with
fifty instances that start at once, five hundred questions a second are asked.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

_STATUS_BYTES_MAX = 1024

_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
"""We are short of descriptors, memory or ports: that says nothing about who was to be asked."""


async def unwell(
    host: str, port: int, path: str | None, timeout_s: float, new_socket: Callable[[], socket.socket] = socket.socket
) -> str | None:
    """Why the instance at `host:port` is not well, as part of a sentence; empty when it is well, None when we can't ask.

    `new_socket` makes a TCP socket in the network where `host` is.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(new_socket, host, port, path)
    except TimeoutError:
        return f"{_question(path)} got no answer within {timeout_s:g} s"
    except ConnectionRefusedError:
        return f"nothing listens on port {port} yet"
    except OSError as error:
        if error.errno in _OURS:
            return None
        return f"{_question(path)} failed: {error.strerror or error}"


async def _ask(new_socket: Callable[[], socket.socket], host: str, port: int, path: str | None) -> str:
    loop = asyncio.get_running_loop()
    with new_socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (host, port))
        if path is None:
            return ""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: tenfold-health\r\nAccept: */*\r\n"
            "Connection: close\r\n\r\n"
        )
        await loop.sock_sendall(connection, request.encode())
        answer = b""
        while b"\r\n" not in answer and len(answer) < _STATUS_BYTES_MAX:
            chunk = await loop.sock_recv(connection, _STATUS_BYTES_MAX)
            if not chunk:
                break
            answer += chunk
    return _judge(answer.partition(b"\r\n")[0], path)


def _judge(status_line: bytes, path: str) -> str:
    """Why this status line is not a 2xx; empty when it is."""
    words = status_line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f"{_question(path)} got no HTTP answer"
    status = int(words[1])
    return "" if 200 <= status < 300 else f"{_question(path)} answered {status}"


def _question(path: str | None) -> str:
    return "a connection" if path is None else f"GET {path}"
