"""The smallest app that there is to measure an edge with: answers at once, or waits its turn. Run as `small_app.py HOST PORT`.

`/now` answers at once, with next to no CPU. `/wait` waits 50 ms for somebody else, and only AT_ONCE requests do so at a time, as with an
app that holds so many database connections: one instance answers AT_ONCE / 50 ms of these a second and no more. It needs no CPU for it.
"""

import asyncio
import sys
from collections import deque

AT_ONCE = 10
WAIT_S = 0.05
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n"


class Turns:
    """Who waits, and who waits to wait."""

    def __init__(self) -> None:
        self._busy = 0
        self._queue: deque[App] = deque()

    def take(self, who: "App") -> None:
        """Let a request wait now, or when its turn comes."""
        if self._busy >= AT_ONCE:
            self._queue.append(who)
            return
        self._busy += 1
        asyncio.get_running_loop().call_later(WAIT_S, self._done, who)

    def _done(self, who: "App") -> None:
        who.answer()
        self._busy -= 1
        if self._queue:
            self.take(self._queue.popleft())


class App(asyncio.Protocol):
    """One connection; requests have no body and come one after another."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            path, self._read = self._read.split(b" ", 2)[1], self._read[end + 4 :]
            if path == b"/wait":
                self._turns.take(self)
            else:
                self.answer()

    def answer(self) -> None:
        """Answer the request at hand."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)


async def main(host: str, port: int) -> None:
    """Serve until the process is ended."""
    turns = Turns()
    server = await asyncio.get_running_loop().create_server(lambda: App(turns), host, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
