"""The console's page in a real browser: what it weighs, how soon it is there, and how soon after a tick people see it."""

import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page

from bench.browser import chromium
from bench.played import Played, opened, played
from bench.shop import Tell
from bench.simregions import TEN
from bench.table import Figure, at_most, none_of, told
from tenfold.console.console import Console, Place
from tenfold.drivers.clock import WallClock
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.loop import Tick
from tenfold.model import LOOPBACK
from tenfold.sim import Rate

TOKEN = "the console's token in tests"
EACH = 20
TENANTS = 1000
PAST_S = 1000.0
LOADS = 5
WATCHED_S = 30.0
SCRIPT_KB_MAX = 40.0
TO_PIXEL_S_MAX = 1.0
WEIGHED = """() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
  .map(e => ({url: e.name, bytes: e.encodedBodySize}))"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
FILLED = "() => Boolean(document.querySelector('main[data-seq]')) && performance.now()"
NOTE_FRAMES = """() => {
  window.frames_ = {};
  const main = document.querySelector('main');
  new MutationObserver(() => {
    const seq = main.dataset.seq;
    // The second frame begins when the first, which shows the change, is done.
    requestAnimationFrame(() => requestAnimationFrame(() => (window.frames_[seq] ??= Date.now() / 1000)));
  }).observe(main, {attributes: true, attributeFilter: ['data-seq']});
}"""


def wave(nth: int) -> Rate:
    """Requests per second that come and go within some minutes, for each region at another time."""
    return lambda at_s: 60.0 + 25.0 * math.sin(at_s / 50.0 + nth)


def waves(places: Mapping[str, tuple[float, float]]) -> Mapping[str, Rate]:
    """One for each place."""
    return {place: wave(nth) for nth, place in enumerate(places or {"local": None})}


@dataclass(slots=True)
class Shown:
    """A played project and the console that shows it at `port` of loopback. `told_at` is when it was told each tick, by its number."""

    world: Played
    port: int
    told_at: dict[int, float]

    @property
    def url(self) -> str:
        return Place(self.port).url


@asynccontextmanager
async def shown(world: Played, journal: Path, port: int = 0, host: str = LOOPBACK) -> AsyncIterator[Shown]:
    """Let `world` live in real time, and show it at `port` (0: one that is free) of `host` and of loopback."""
    console = Console(journal, TOKEN, WallClock())
    place = Place(port or FreePorts(Project(journal.parent, journal.parent.name)).take(), host)
    await console.start(place)
    told_at: dict[int, float] = {}

    def tell(tick: Tick) -> None:
        told_at[tick.seq] = time.time()
        console.tell(tick)

    living = asyncio.ensure_future(world.go_on(tell))
    try:
        yield Shown(world, place.port, told_at)
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await console.close()


async def console(tell: Tell) -> list[Figure]:
    """Ten regions, 200 instances and 1,000 tenants."""
    with tempfile.TemporaryDirectory() as folder:
        journal = opened(Path(folder) / "journal.db")
        tell(f"{len(TEN)} regions, {len(TEN) * EACH} instances and {TENANTS} tenants are played for {PAST_S:.0f} s")
        world = played(journal, TEN, waves(TEN), seconds=PAST_S, each=EACH, tenants=TENANTS)
        world.play_until_now()
        try:
            async with shown(world, journal.path) as here, chromium() as browser:
                return [*await _loaded(browser, here, tell), *await _followed(browser, here, tell)]
        finally:
            journal.close()


async def _loaded(browser: Browser, here: Shown, tell: Tell) -> list[Figure]:
    painted, filled, weights = [], [], list[dict[str, Any]]()
    for number in range(LOADS):
        tell(f"loading the page, {number + 1} of {LOADS}")
        # A context of its own: nothing is in its cache.
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        page = await context.new_page()
        await page.goto(here.url)
        filled.append(await (await page.wait_for_function(FILLED, timeout=20_000)).json_value())
        painted.append(await page.evaluate(PAINTED))
        weights = await page.evaluate(WEIGHED)
        await context.close()
    own = [w for w in weights if urlsplit(w["url"]).netloc == urlsplit(here.url).netloc]
    parts = [w for w in own if "/api/" not in w["url"]]
    script_kb = sum(w["bytes"] for w in parts if w["url"].endswith(".js")) / 1000
    return [
        at_most("script, gzipped", round(script_kb, 1), SCRIPT_KB_MAX, "KB"),
        none_of("asked of other hosts", len(weights) - len(own)),
        told("the page whole, with its font and map", f"{sum(w['bytes'] for w in parts) / 1000:.0f} KB"),
        told("first paint, median", f"{statistics.median(painted):.0f} ms", statistics.median(painted)),
        told("filled with the state, median", f"{statistics.median(filled):.0f} ms", statistics.median(filled)),
    ]


async def _followed(browser: Browser, here: Shown, tell: Tell) -> list[Figure]:
    page = await browser.new_page(viewport={"width": 1440, "height": 900})
    await page.goto(here.url)
    await page.wait_for_function(FILLED)
    await page.evaluate(NOTE_FRAMES)
    tell(f"watching for {WATCHED_S:.0f} s how soon a tick is seen")
    first = max(here.told_at)
    await asyncio.sleep(WATCHED_S)
    to_pixel = await _to_pixel_s(page, here.told_at, first)
    await page.close()
    missed = max(here.told_at) - first - len(to_pixel)
    return [
        at_most("a tick to its pixels, the longest", max(to_pixel, default=None), TO_PIXEL_S_MAX, "s"),
        told("a tick to its pixels, median", f"{statistics.median(to_pixel) * 1000:.0f} ms of {len(to_pixel)} ticks"),
        none_of("ticks that were not seen", max(0, missed - 1), f"{max(here.told_at) - first}"),
    ]


async def _to_pixel_s(page: Page, told_at: Mapping[int, float], after: int) -> list[float]:
    frames = await page.evaluate("() => window.frames_")
    return [at - told_at[int(seq)] for seq, at in frames.items() if int(seq) in told_at and int(seq) > after]
