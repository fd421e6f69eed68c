"""The quickest server that there is to measure a load generator with. Run as `quick_server.py PORT LOG`.

Answers every request at once with five bytes; several may share a port. A line on standard input ends it: then it writes to LOG, if
that is not `-`, the moment (seconds of CLOCK_MONOTONIC) at which it answered each request, a line each.
"""

import array
import asyncio
import gc
import resource
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
LOGIN = b'HTTP/1.1 200 OK\r\nset-cookie: session=0123456789abcdef; Path=/; HttpOnly\r\ncontent-length: 11\r\n\r\n{"id":"17"}'
ANSWERED = array.array("d")


class Quick(asyncio.Protocol):
    """One connection; requests come one after another, and small enough for one piece."""

    __slots__ = ("_transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        ANSWERED.append(time.perf_counter())
        self._transport.write(LOGIN if data.startswith(b"POST") else ANSWER)


async def serve(port: int) -> None:
    """Serve until a line, or the end, comes on standard input."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Quick, "127.0.0.1", port, backlog=20_000, reuse_port=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    uvloop.run(serve(int(sys.argv[1])))
    if sys.argv[2] != "-":
        Path(sys.argv[2]).write_text("\n".join(map(repr, ANSWERED)))
