"""The console as a whole: beside the loop of a project that runs, or over the journal of one that does not. `cli` starts it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tenfold.console.api import Api
from tenfold.console.archive import Archive
from tenfold.console.contract import State
from tenfold.console.guard import Guard, is_loopback
from tenfold.console.live import Live
from tenfold.console.metrics import PostedMetrics
from tenfold.console.server import KEEP_ALIVE_S, application
from tenfold.console.stream import Stream
from tenfold.loop import Desk, Tick
from tenfold.model import LOOPBACK
from tenfold.ports import Clock

LOOK_EVERY_S = 1.0
"""Over a journal that nobody tells of, it is looked this often whether it grew."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the console listens: on loopback at `port`, at `host` too where that is another address, and at the addresses of this machine
    that the project's own networks reach (`also`). It answers to `names` besides."""

    port: int
    host: str = LOOPBACK
    also: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """True when only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to listen: all of it once. What listens at every address listens at each."""
        wanted = dict.fromkeys((LOOPBACK, *(name for name in self.also), self.host))
        if self.host == "0.0.0.0":
            return (self.host, *(name for name in wanted if ":" in name))
        return tuple(name for name in wanted if name != "localhost")

    @property
    def url(self) -> str:
        """Its base URL, as a person on this machine opens it."""
        return f"http://{LOOPBACK}:{self.port}/"


class Console:
    """Serves what the loop wrote down."""

    def __init__(self, journal: Path, token: str, clock: Clock, is_live: bool = True) -> None:
        """`is_live` tells that the loop runs beside it and tells it each tick; otherwise it shows the journal as it is."""
        self.posted = PostedMetrics(clock)
        self._archive = Archive(journal)
        self._live = Live(self._archive) if is_live else None
        self._stream = Stream(self._look)
        self._desk = Desk(journal)
        self._token = token
        self._runner: web.AppRunner | None = None
        self._watching: asyncio.Task[None] | None = None
        self._shown: State | None = None

    def tell(self, tick: Tick) -> None:
        """Take in the newest tick. Only from a running event loop; whatever goes wrong here is not the loop's trouble."""
        asyncio.get_running_loop().call_soon(self._take_in, tick)

    def _take_in(self, tick: Tick) -> None:
        assert self._live is not None, "the console was made to look at the past"
        self._live.tell(tick)
        self._stream.wake()

    def ask_why_held(self, why: Callable[[], str]) -> None:
        """Whom to ask why nothing is decided any more."""
        if self._live is not None:
            self._live.why_held = why

    async def start(self, place: Place) -> None:
        """Listen at `place`. Raises OSError when that is not possible."""
        self._archive.console_url = place.url
        if self._live is not None:
            self._live.console_url = place.url
        names = frozenset((*place.names, *place.also, place.host))
        guard = Guard(self._token, names, frozenset(place.also), place.is_open)
        app = application(Api(self._archive, self._stream, self._live, self.posted, self._desk, guard))
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=KEEP_ALIVE_S
        )
        await self._runner.setup()
        try:
            for address in place.addresses:
                await web.TCPSite(self._runner, address, place.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._stream.start()
        if self._live is None:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Tell who looks on, and stop listening."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._stream.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._archive.close()

    async def _look(self) -> State | None:
        """The state to show: of now, or of the newest tick of a journal that is only looked at."""
        if self._live is not None:
            return await self._live.look()
        if self._shown is None or await self._archive.last() != self._shown.seq:
            self._shown = await self._archive.newest()
        return self._shown

    async def _watch(self) -> None:
        """Wake the stream now and then: nobody tells of a journal that is only looked at."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._stream.wake()
