"""A console over a project that the simulator plays, and whoever asks it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from bench.played import Played, opened, played
from tenfold.console.console import Console, Place
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.loop import Journal
from tenfold.sim import constant

TOKEN = "a-token-that-is-long-enough-to-be-one"
PLACES = {"west": (41.3, -95.9), "north": (50.4, 3.8), "south": (-37.8, 144.9)}
BEARER = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Here:
    """A played project, its console, and a client of it."""

    world: Played
    journal: Journal
    console: Console
    place: Place
    session: aiohttp.ClientSession
    closing: list[Callable[[], Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.place.url.rstrip("/")

    def step(self, count: int = 1) -> None:
        """Let seconds pass: the loop ticks, and the console is told."""
        for _ in range(count):
            for request in self.journal.requests().values():
                if request.id not in self.world.requests and request.id not in self.world.answers:
                    self.world.ask(request)
            self.world.step()
            assert self.world.tick is not None
            self.console.tell(self.world.tick)

    async def ask(self, path: str, **options: Any) -> tuple[int, Any]:
        """Ask with GET: status and JSON (or text) of the answer."""
        return await self.send("GET", path, **options)

    async def act(self, name: str, body: object, **options: Any) -> tuple[int, Any]:
        """An action, with the token."""
        headers = {**BEARER, **options.pop("headers", {})}
        return await self.send("POST", f"/api/actions/{name}", json=body, headers=headers, **options)

    async def send(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Any request: status and JSON (or text) of the answer."""
        async with self.session.request(method, self.url + path, **options) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


@dataclass
class Maker:
    """Makes consoles in a folder."""

    folder: Path
    closing: list[Callable[[], Any]] = field(default_factory=list)

    async def __call__(self, *regions: str, seconds: float = 20.0, is_live: bool = True, **place: Any) -> Here:
        """A project in these regions (none: in one) that has been up for `seconds`, and its console."""
        journal = opened(self.folder / "journal.db")
        places = {region: PLACES[region] for region in regions}
        rates = {region: constant(40.0) for region in regions or ("local",)}
        world = played(journal, places, rates, seconds=seconds)
        world.run(seconds)
        console = Console(self.folder / "journal.db", TOKEN, WallClock(), is_live=is_live)
        port = FreePorts(Project(self.folder, self.folder.name)).take()
        at = Place(port, **place)
        await console.start(at)
        session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.closing += [session.close, console.close]
        here = Here(world, journal, console, at, session)
        if is_live:
            here.step()
        return here


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Maker]:
    """Makes consoles; all of them end with the test."""
    maker = Maker(tmp_path)
    yield maker
    for close in maker.closing:
        await close()


@pytest_asyncio.fixture
async def here(make: Maker) -> Here:
    """A project in one region, and its console."""
    return await make()


@pytest_asyncio.fixture
async def spread(make: Maker) -> Here:
    """A project in three regions, and its console."""
    return await make("west", "north", "south", seconds=60.0)
