"""Holds WebSocket connections through a drill, and measures how long each was without one.

Stage: a drill opens `Sockets` before it does its harm or deploys, and reads `result` after it. Each client does what a
browser's page does when its socket closes: it opens the next one at once, over and over until one is open.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import Target, loopback_address
from tenfold.proof.load.websocket import WebSocket

_RETRY_S = 0.02
"""Between two attempts of one client: at once for a person, but not a busy loop against a closed port."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """One client's connection closed `at_s` after the start and was open again `gap_ms` later.

    `close_code` is the server's (RFC 6455, section 7.4: 1001 going away, 1012 restart), 1006 when it was cut without
    one. `attempts` counts the tries, the one that succeeded among them.
    """

    at_s: float
    gap_ms: float
    close_code: int
    attempts: int


@dataclass(frozen=True, slots=True)
class SocketsResult:
    """What became of the connections. `down` clients had none at the end; their gap, as long as it was by then, counts
    in `gap_max_ms` (None if no connection was ever closed), but they are not among the `reconnects`.
    """

    clients: int
    down: int
    messages: int
    reconnects: tuple[Reconnect, ...]
    gap_max_ms: float | None
    close_codes: dict[int, int]


class Sockets:
    """`clients` WebSocket connections to `path` of a target, held open while the context lasts.

    Entering waits until all are open; raises `LoadError` if they are not within `open_timeout_s`. `attempt_timeout_s`
    bounds each single attempt, so that a server which accepts and says nothing is tried again.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        clients: int,
        *,
        headers: dict[str, str] | None = None,
        open_timeout_s: float = 10.0,
        attempt_timeout_s: float = 2.0,
    ) -> None:
        self._target = target
        self._path = path
        self._headers = tuple((headers or {}).items())
        self._open_timeout_s = open_timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._clients = [_Held(self) for _ in range(clients)]
        self._reconnects: list[Reconnect] = []
        self._close_codes: dict[int, int] = {}
        self._began_s = perf_counter()
        self._ended_s: float | None = None

    async def __aenter__(self) -> Self:
        for client in self._clients:
            client.open()
        waiting = asyncio.gather(*(client.opened.wait() for client in self._clients))
        try:
            await asyncio.wait_for(waiting, self._open_timeout_s)
        except TimeoutError:
            missing = [client for client in self._clients if not client.is_open]
            await self.close()
            where = f"ws://{self._target.authority}{self._path}"
            why = missing[0].error if missing else "they closed again"
            raise LoadError(
                f"{len(missing)} of {len(self._clients)} WebSocket connections to {where} did not open within "
                f"{self._open_timeout_s:g} s ({why}): check the path and the app"
            ) from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def open(self) -> int:
        """How many clients have a connection now."""
        return sum(client.is_open for client in self._clients)

    async def close(self) -> None:
        """Close all connections; `result` stays as it was at this moment."""
        self._ended_s = perf_counter()
        tasks = [client.task for client in self._clients if client.task is not None]
        for client in self._clients:
            client.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The loop tells of a closed connection in its next turn.
        await asyncio.sleep(0)

    def result(self) -> SocketsResult:
        """What happened so far."""
        now_s = self._ended_s or perf_counter()
        gaps_ms = [reconnect.gap_ms for reconnect in self._reconnects]
        gaps_ms.extend(
            round((now_s - client.closed_s) * 1000, 3)
            for client in self._clients
            if client.closed_s and not client.is_open
        )
        return SocketsResult(
            clients=len(self._clients),
            down=len(self._clients) - self.open,
            messages=sum(client.messages for client in self._clients),
            reconnects=tuple(self._reconnects),
            gap_max_ms=max(gaps_ms, default=None),
            close_codes=dict(self._close_codes),
        )

    async def dial(self, client: "_Held") -> None:
        """One attempt of a client."""
        host = loopback_address(self._target.host) or self._target.host
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._attempt_timeout_s):
                _, socket = await loop.create_connection(
                    client.begin(self._target, self._path, self._headers), host, self._target.port
                )
        except (OSError, TimeoutError) as error:
            client.socket_refused(str(error) or "no connection in time")
            return
        loop.call_later(self._attempt_timeout_s, socket.give_up)

    def came_back(self, client: "_Held", attempts: int) -> None:
        """A client that had lost its connection has one again."""
        gap_ms = round((perf_counter() - client.closed_s) * 1000, 3)
        self._reconnects.append(Reconnect(round(client.closed_s - self._began_s, 3), gap_ms, client.code, attempts))

    def went(self, code: int) -> None:
        """A client's connection was closed."""
        self._close_codes[code] = self._close_codes.get(code, 0) + 1


class _Held:
    """One client: it opens, listens until it is closed, and opens again."""

    __slots__ = (
        "_attempts",
        "_is_over",
        "_opened_s",
        "_socket",
        "_sockets",
        "closed_s",
        "code",
        "error",
        "is_open",
        "messages",
        "opened",
        "task",
    )

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._attempts = 0
        self._opened_s = 0.0
        self._is_over = False
        self._socket: WebSocket | None = None
        self.opened = asyncio.Event()
        self.is_open = False
        self.closed_s = 0.0
        self.code = 0
        self.messages = 0
        self.error = ""
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Try to open it."""
        if not self._is_over:
            self._attempts += 1
            self.task = asyncio.get_running_loop().create_task(self._sockets.dial(self))

    def begin(self, target: Target, path: str, headers: tuple[tuple[str, str], ...]) -> Callable[[], WebSocket]:
        """A new socket, which is known before its server can say anything."""

        def made() -> WebSocket:
            self._socket = WebSocket(self, target.authority, path, headers)
            return self._socket

        return made

    def close(self) -> None:
        """Close it and open it no more."""
        self._is_over = True
        if self.task is not None:
            self.task.cancel()
        if self._socket is not None:
            self._socket.close()

    def socket_opened(self) -> None:
        """The server has accepted it."""
        if self.opened.is_set():
            self._sockets.came_back(self, self._attempts)
        self._attempts = 0
        self._opened_s = perf_counter()
        self.is_open = True
        self.opened.set()

    def socket_said(self) -> None:
        """A message has come."""
        self.messages += 1

    def socket_closed(self, code: int) -> None:
        """It was open and is closed."""
        self.closed_s = perf_counter()
        self.is_open = False
        self.code = code
        self._sockets.went(code)
        # A server that accepts only to close is one more kind of closed port.
        is_short = self.closed_s - self._opened_s < _RETRY_S
        asyncio.get_running_loop().call_later(_RETRY_S if is_short else 0, self.open)

    def socket_refused(self, why: str) -> None:
        """It did not open."""
        self.error = why
        asyncio.get_running_loop().call_later(_RETRY_S, self.open)
