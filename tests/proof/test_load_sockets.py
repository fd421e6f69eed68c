"""WebSocket connections held through trouble."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tenfold.proof.load import LoadError, Sockets, Target


class Feed:
    """A WebSocket server that can be told to close, cut, stop and come back."""

    def __init__(self) -> None:
        self.sockets: set[web.WebSocketResponse] = set()
        self.requests: list[web.Request] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve, on the port of last time if there was one."""
        app = web.Application()
        app.router.add_get("/feed", self._feed)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def close_all(self, code: int) -> None:
        """Tell every client to go, politely."""
        await asyncio.gather(*(socket.close(code=code) for socket in tuple(self.sockets)))

    def cut_all(self) -> None:
        """Cut every connection without a word."""
        for request in tuple(self.requests):
            if request.transport is not None:
                request.transport.abort()

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.add(socket)
        self.requests.append(request)
        await socket.send_str("welcome")
        async for _ in socket:
            pass
        self.sockets.discard(socket)
        self.requests.remove(request)
        return socket


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    """A running feed."""
    server = Feed()
    await server.start()
    yield server
    await server.stop()


async def until(sockets: Sockets, reconnects: int) -> None:
    """Wait for so many reconnects."""
    deadline = time.monotonic() + 60
    while len(sockets.result().reconnects) < reconnects:
        assert time.monotonic() < deadline, sockets.result()
        await asyncio.sleep(0.01)


async def test_clients_come_back_at_once(feed: Feed) -> None:
    """Told to go (1012) or cut (1006), all clients are back, and each gap and code is known."""
    async with Sockets(Target("127.0.0.1", feed.port), "/feed", 20) as sockets:
        assert sockets.open == 20
        await feed.close_all(1012)
        await until(sockets, 20)
        feed.cut_all()
        await until(sockets, 40)
    result = sockets.result()
    assert result.close_codes == {1012: 20, 1006: 20}
    assert (result.clients, result.down, len(result.reconnects)) == (20, 0, 40)
    assert 20 <= result.messages <= 60
    assert result.gap_max_ms is not None and 0 < result.gap_max_ms < 5000


async def test_a_server_that_is_away_makes_a_gap(feed: Feed) -> None:
    """While the server is away its clients are down and their gap grows; they are back as soon as it is."""
    async with Sockets(Target("127.0.0.1", feed.port), "/feed", 3) as sockets:
        await feed.close_all(1001)
        await feed.stop()
        await asyncio.sleep(0.3)
        away = sockets.result()
        assert away.down == 3 and away.gap_max_ms is not None and away.gap_max_ms >= 200
        await feed.start()
        await until(sockets, 3)
    gaps_ms = [reconnect.gap_ms for reconnect in sockets.result().reconnects if reconnect.attempts > 1]
    assert len(gaps_ms) == 3 and min(gaps_ms) >= 300


async def test_a_path_without_websocket_is_a_sentence(feed: Feed) -> None:
    """What never opens is an error, with the reason, and leaves no task behind."""
    for path in ("/none", "/feed"):
        target = Target("127.0.0.1", feed.port)
        if path == "/feed":
            await feed.stop()
        with pytest.raises(LoadError, match=r"2 of 2 WebSocket connections .* did not open"):
            async with Sockets(target, path, 2, open_timeout_s=0.5):
                raise AssertionError("it can't be open")


async def test_headers_are_sent(feed: Feed) -> None:
    """A session cookie or a host goes along with the handshake."""
    async with Sockets(Target("127.0.0.1", feed.port), "/feed", 1, headers={"Cookie": "session=1"}):
        assert [request.headers["Cookie"] for request in feed.requests] == ["session=1"]
