"""A server of every kind of trouble, as a program: the path of a request says what becomes of it.

Prints its port, serves until its standard input is closed. `/freeze?s=2` stops all work for two seconds and answers
with the moments (CLOCK_MONOTONIC) between which it slept. The other paths are the methods' names below.
"""

import asyncio
import sys
import time
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop


class Strange(asyncio.Protocol):
    """One connection; requests come one at a time, as the load engine sends them."""

    number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self.answers = 0
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
        if not found or len(body) < int(length or 0):
            return
        self.buffer = b""
        Strange.number += 1
        self.answers += 1
        self.method = head.split(b" ")[0]
        parts = urlsplit(head.split(b" ")[1].decode())
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        getattr(self, parts.path.strip("/").replace("-", "_") or "ok")()

    def reply(self, status: str = "200 OK", body: bytes = b"hello", extra: str = "") -> None:
        """A plain answer with its request id."""
        head = f"HTTP/1.1 {status}\r\nX-Request-Id: r{Strange.number}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        self.transport.write(head.encode() + (b"" if self.method == b"HEAD" else body))

    def later(self, seconds: float, what: str, *arguments: object) -> None:
        """Do something to this connection after a while."""
        asyncio.get_running_loop().call_later(seconds, getattr(self, what), *arguments)

    def ok(self) -> None:
        """Answer, after `ms` if asked for."""
        if "ms" in self.query:
            self.later(float(self.query["ms"]) / 1000, "reply")
        else:
            self.reply()

    def fails(self) -> None:
        """500."""
        self.reply("500 Internal Server Error")

    def missing(self) -> None:
        """404."""
        self.reply("404 Not Found")

    def moved(self) -> None:
        """302 to a path that fails, to see that nobody follows."""
        self.reply("302 Found", extra="Location: /fails\r\n")

    def empty(self) -> None:
        """204, and an interim answer before it."""
        self.transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    def chunked(self) -> None:
        """A chunked answer in three pieces, with an extension and a trailer."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhel")
        self.later(0.005, "write", b"lo\r\n10\r\n0123456789abcdef\r")
        self.later(0.010, "write", b"\n0\r\nX-Sum: 1\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Raw bytes, later."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def drip(self) -> None:
        """A body of ten bytes, one each 20 ms."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for number in range(10):
            self.later(0.02 * (number + 1), "write", b"x")

    def close(self) -> None:
        """An answer, and the end of the connection, as announced."""
        self.reply(extra="Connection: close\r\n")
        self.transport.close()

    def close_silently(self) -> None:
        """An answer that promises to keep the connection, which is closed all the same."""
        self.reply()
        self.transport.close()

    def until_closed(self) -> None:
        """A body that ends with the connection."""
        self.transport.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
        self.transport.close()

    def half(self) -> None:
        """Half of what was promised."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        self.transport.close()

    def reset(self) -> None:
        """The connection is cut without an answer."""
        self.transport.abort()

    def stale(self) -> None:
        """The second request on any connection finds it closed, as after an idle timeout."""
        self.reply() if self.answers == 1 else self.transport.abort()

    def never(self) -> None:
        """No answer."""

    def garbage(self) -> None:
        """Not HTTP."""
        self.transport.write(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n")

    def twice(self) -> None:
        """Two answers to one request: the second must not be taken for the next one's."""
        self.reply()
        self.reply("500 Internal Server Error")

    def freeze(self) -> None:
        """Do nothing at all for a while, and say when that was."""
        began = time.perf_counter()
        time.sleep(float(self.query["s"]))
        self.reply(body=f"{began} {time.perf_counter()}".encode())


async def serve() -> None:
    """Serve until standard input is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Strange, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


uvloop.run(serve())
