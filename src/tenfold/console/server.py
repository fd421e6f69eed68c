"""The control plane over HTTP, on loopback: `/api/health`, `/api/metrics` (GET for Prometheus, POST from apps)."""

import json

from aiohttp import web

from tenfold.console.metrics import PostedMetrics
from tenfold.console.prometheus import CONTENT_TYPE, exposition
from tenfold.loop import Tick
from tenfold.model import LOOPBACK
from tenfold.ports import Clock
from tenfold.wire import METRICS_PATH, read_post

HOST = LOOPBACK
BODY_BYTES_MAX = 16 * 1024
STALE_S = 10.0
"""A loop whose last tick is older than this does not work: health says so."""


class Console:
    """Serves what the loop last wrote down; the loop tells it each tick."""

    def __init__(self, posted: PostedMetrics, clock: Clock) -> None:
        self._posted = posted
        self._clock = clock
        self._tick: Tick | None = None
        self._runner: web.AppRunner | None = None

    def tell(self, tick: Tick) -> None:
        """Take in the newest tick."""
        self._tick = tick

    async def start(self, port: int, host: str = HOST) -> None:
        """Listen on loopback, and at `host` where that is another address. Raises OSError when `port` is busy."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/api/health", self._health)
        app.router.add_get(METRICS_PATH, self._metrics)
        app.router.add_post(METRICS_PATH, self._post)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        for address in {HOST, host}:
            await web.TCPSite(self._runner, address, port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        age_s = None if self._tick is None else round(self._clock.now() - self._tick.at, 1)
        is_well = age_s is not None and age_s <= STALE_S
        body = {"ok": is_well, "last_tick_s_ago": age_s}
        return web.json_response(body, status=200 if is_well else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._tick is None:
            return web.Response(status=503, text="nothing was seen yet\n")
        return web.Response(body=exposition(self._tick).encode(), headers={"content-type": CONTENT_TYPE})

    async def _post(self, request: web.Request) -> web.Response:
        # A page of another site can send a form to loopback, but not this content type without being asked first.
        if request.content_type != "application/json":
            return web.Response(status=415, text="send content-type: application/json\n")
        try:
            self._posted.post(read_post(json.loads(await request.read())))
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)
