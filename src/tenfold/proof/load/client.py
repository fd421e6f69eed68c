"""A pool of kept-alive HTTP/1.1 connections that sends requests and says how each ended.

Stage: the engine hands over an `Exchange` that is due; the client sends it at once, over an idle connection or a new
one, and calls `finished` exactly once for it.

Our own, because no client or load tool does what is needed (measured: Locust takes 46% of a core for 1,000 requests/s
and k6 2.2 GB for 10,000 users, a lean Protocol 6% and 46 MB) and because none counts from the intended start.
"""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Literal, cast

from tenfold.proof.load.http1 import AnswerReader, ProtocolError
from tenfold.proof.load.plan import Request

Kind = Literal["2xx", "3xx", "4xx", "5xx", "connect", "timeout", "reset", "protocol", "unsent"]
"""How a request ended: a class of status; no connection; no answer in time; a connection lost before the answer was
complete; an answer that is not HTTP; or, our own fault, never sent."""

# An unknown class of status is treated as 5xx (RFC 9110, section 15).
_CLASSES: tuple[Kind, ...] = ("2xx", "2xx", "2xx", "3xx", "4xx", "5xx", "5xx", "5xx", "5xx", "5xx")
_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
"""A connection that failed for one of these failed on our side: descriptors, ports or memory ran out."""


class Exchange:
    """One request on its way. Times are of `perf_counter`, in seconds; `sent_s` is 0 until its bytes are written."""

    __slots__ = ("connecting", "connection", "deadline_s", "due_s", "ended", "request", "resent", "sent_s", "wire")

    def __init__(self, request: Request, wire: bytes, due_s: float) -> None:
        self.request = request
        self.wire = wire
        self.due_s = due_s
        self.deadline_s = 0.0
        self.sent_s = 0.0
        self.ended = False
        self.resent = False
        self.connection: _Connection | None = None
        self.connecting: asyncio.Task[None] | None = None


Finished = Callable[[Exchange, Kind, int, bytes, str], None]
"""Called once for each exchange: how it ended, the status and the head (0 and empty if none came), and a detail."""


class Client:
    """Sends exchanges to one address. Redirects are not followed, cookies are not kept.

    A request that was sent over a reused connection, which turned out to be closed before any byte of an answer, is
    sent once more over a new one if it is idempotent, as every browser and proxy does (RFC 9112, section 9.3.1): the
    server may close an idle connection at any time. `resent` counts these; their time runs on from the first start.
    """

    def __init__(self, address: tuple[str, int], timeout_s: float, finished: Finished) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._timeout_s = timeout_s
        self._finished = finished
        self._idle: dict[_Connection, None] = {}
        self._all: set[_Connection] = set()
        self._waiting: deque[Exchange] = deque()
        self.in_flight = 0
        self.resent = 0
        self.received_bytes = 0

    def send(self, exchange: Exchange) -> None:
        """Send it now."""
        self.in_flight += 1
        exchange.deadline_s = perf_counter() + self._timeout_s
        self._waiting.append(exchange)
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                connection.carry(exchange)
                return
        self._connect(exchange)

    def expire(self) -> None:
        """End what has waited too long. One timeout for all makes the order of sending the order of deadlines."""
        now_s = perf_counter()
        waiting = self._waiting
        while waiting and (waiting[0].ended or waiting[0].deadline_s <= now_s):
            exchange = waiting.popleft()
            if exchange.ended:
                continue
            if exchange.connecting:
                exchange.connecting.cancel()
            if exchange.connection:
                exchange.connection.abandon()
            self.end(exchange, "timeout", detail=f"no answer within {self._timeout_s:g} s")

    async def close(self) -> None:
        """Drop every connection, and whatever is still in flight with it; nothing is reported for it."""
        connecting = [exchange.connecting for exchange in self._waiting if exchange.connecting]
        for exchange in self._waiting:
            exchange.ended = True
        for task in connecting:
            task.cancel()
        for connection in tuple(self._all):
            connection.abandon()
        await asyncio.gather(*connecting, return_exceptions=True)
        # The loop tells of a closed connection in its next turn.
        await asyncio.sleep(0)

    def end(self, exchange: Exchange, kind: Kind, status: int = 0, head: bytes = b"", detail: str = "") -> None:
        """An exchange is over, in whatever way."""
        exchange.ended = True
        exchange.connection = None
        self.in_flight -= 1
        self._finished(exchange, kind, status, head, detail)

    def answered(self, exchange: Exchange, connection: "_Connection", reader: AnswerReader) -> None:
        """An answer is complete; its connection may carry the next request."""
        if reader.keep_alive and connection.usable:
            self._idle[connection] = None
        else:
            connection.abandon()
        self.end(exchange, _CLASSES[reader.status // 100], reader.status, reader.head)

    def broken(self, exchange: Exchange, connection: "_Connection", began: bool, detail: str) -> None:
        """A connection was lost under a request."""
        stale = connection.carried > 1 and not began and not exchange.resent
        if stale and exchange.request.idempotent:
            exchange.connection = None
            exchange.resent = True
            self.resent += 1
            self._connect(exchange)
        else:
            self.end(exchange, "reset", detail=detail)

    def opened(self, connection: "_Connection") -> None:
        """A connection exists."""
        self._all.add(connection)

    def lost(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self._all.discard(connection)
        self._idle.pop(connection, None)

    def _connect(self, exchange: Exchange) -> None:
        exchange.connecting = self._loop.create_task(self._connect_and_carry(exchange))

    async def _connect_and_carry(self, exchange: Exchange) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), *self._address)
        except OSError as error:
            kind: Kind = "unsent" if error.errno in _OWN_ERRORS else "connect"
            self.end(exchange, kind, detail=os.strerror(error.errno) if error.errno else str(error))
            return
        finally:
            # With the collector off, an exchange and its task that know each other would stay in memory for ever.
            exchange.connecting = None
        if exchange.ended:
            connection.abandon()
        elif connection.usable:
            connection.carry(exchange)
        else:
            self.end(exchange, "reset", detail="closed as soon as it was open")


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    __slots__ = ("_client", "_exchange", "_reader", "_transport", "carried")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self.carried = 0

    @property
    def usable(self) -> bool:
        """Whether another request can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def carry(self, exchange: Exchange) -> None:
        """Write a request; its answer is read next."""
        assert self._transport is not None and self._exchange is None, "a connection carries one request at a time"
        self._exchange = exchange
        exchange.connection = self
        self.carried += 1
        self._reader.start(for_head=exchange.request.method == "HEAD")
        exchange.sent_s = exchange.sent_s or perf_counter()
        self._transport.write(exchange.wire)

    def abandon(self) -> None:
        """Close at once, without a word about the request it carries."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop: a piece of an answer."""
        self._client.received_bytes += len(data)
        exchange = self._exchange
        if exchange is None:
            # Nothing was asked: whatever this is, it must not be taken for the next answer.
            self.abandon()
            return
        try:
            complete = self._reader.feed(data)
        except ProtocolError as error:
            self.abandon()
            self._client.end(exchange, "protocol", detail=str(error))
            return
        if complete:
            self._exchange = None
            self._client.answered(exchange, self, self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: closed by either side."""
        self._transport = None
        self._client.lost(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if exc is None and self._reader.ended():
            self._client.answered(exchange, self, self._reader)
            return
        how = str(exc) if exc else "closed by the server"
        when = "in the middle of the answer" if self._reader.began else "before any answer"
        self._client.broken(exchange, self, self._reader.began, f"{how}, {when}")
