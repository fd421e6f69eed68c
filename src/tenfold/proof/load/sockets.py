"""Holds WebSocket connections through a drill, and measures how long each was without one.

Stage: a drill opens `Sockets` before it does its harm or deploys, and reads `result` after it. Each client does what a
browser's page does when its socket closes: it opens the next one at once, over and over until one is open.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import aiohttp

from tenfold.proof.load.errors import LoadError
from tenfold.proof.load.plan import Target

_RETRY_S = 0.02
"""Between two attempts of one client: at once for a person, but not a busy loop against a closed port."""
_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)


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
        self._url = f"ws://{target.authority}{path}"
        self._headers = headers or {}
        self._open_timeout_s = open_timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._clients = [_Held() for _ in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []
        self._reconnects: list[Reconnect] = []
        self._close_codes: dict[int, int] = {}
        self._began_s = perf_counter()
        self._ended_s: float | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._began_s = perf_counter()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True), headers=self._headers
        )
        self._tasks = [asyncio.create_task(self._hold(client, self._session)) for client in self._clients]
        opened = asyncio.gather(*(client.opened.wait() for client in self._clients))
        try:
            await asyncio.wait_for(opened, self._open_timeout_s)
        except TimeoutError:
            missing = sum(not client.opened.is_set() for client in self._clients)
            last = next((client.error for client in self._clients if client.error), "no answer")
            await self.close()
            raise LoadError(
                f"{missing} of {len(self._clients)} WebSocket connections to {self._url} did not open within "
                f"{self._open_timeout_s:g} s ({last}): check that the path speaks WebSocket"
            ) from None
        except asyncio.CancelledError:
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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

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

    async def _hold(self, client: "_Held", session: aiohttp.ClientSession) -> None:
        """One client's life: open, listen until it closes, open again."""
        code = 0
        while True:
            socket, attempts = await self._open(client, session)
            if client.opened.is_set():
                gap_ms = round((perf_counter() - client.closed_s) * 1000, 3)
                self._reconnects.append(Reconnect(round(client.closed_s - self._began_s, 3), gap_ms, code, attempts))
            client.is_open = True
            client.opened.set()
            opened_s = perf_counter()
            async for _ in socket:
                client.messages += 1
            client.closed_s = perf_counter()
            client.is_open = False
            code = socket.close_code or 1006
            self._close_codes[code] = self._close_codes.get(code, 0) + 1
            if client.closed_s - opened_s < _RETRY_S:
                # A server that accepts only to close is one more kind of closed port.
                await asyncio.sleep(_RETRY_S)

    async def _open(
        self, client: "_Held", session: aiohttp.ClientSession
    ) -> tuple[aiohttp.ClientWebSocketResponse, int]:
        """Try until a connection is open; also says how many attempts it took."""
        attempts = 0
        while True:
            attempts += 1
            try:
                async with asyncio.timeout(self._attempt_timeout_s):
                    return await session.ws_connect(self._url), attempts
            except _ERRORS as error:
                client.error = str(error) or type(error).__name__
                await asyncio.sleep(_RETRY_S)


class _Held:
    """The state of one client."""

    __slots__ = ("closed_s", "error", "is_open", "messages", "opened")

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.is_open = False
        self.closed_s = 0.0
        self.messages = 0
        self.error = ""
