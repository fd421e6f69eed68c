"""What a project that runs wants for one of its pools, from the newest tick of its journal. Stage: journal -> answer."""

import asyncio
import difflib
from pathlib import Path

from tenfold.console.keda.asked import POOL_KEYS, BadMetadata, Ref, read
from tenfold.console.keda.brain import Answer
from tenfold.console.keda.watched import Missing
from tenfold.console.live import STALE_S
from tenfold.deciders.memory import Intent
from tenfold.loop import JournalError, JournalReader
from tenfold.loop.tick import Tick

LOOK_EVERY_S = 5.0


class Project:
    """The journal at `path`. Pools that ask within a second of one another share one reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._read_at = 0.0
        self._tick: Tick | None = None

    async def latest(self, now: float) -> Tick:
        """The newest tick. Raises `Missing` when there is none that is fresh."""
        async with self._turn:
            if not 0 <= now - self._read_at < 1.0 or self._tick is None:
                try:
                    self._tick = await asyncio.to_thread(self._read)
                except JournalError as error:
                    raise Missing(str(error)) from None
                self._read_at = now
            tick = self._tick
        if tick is None:
            raise Missing("nothing has run here yet: start this project with `tenfold up`")
        # Said without the seconds: a sentence that changes with each look would be told with each look.
        if not -1.0 <= now - tick.at <= STALE_S:
            raise Missing(f"the control plane has written nothing down for more than {STALE_S:.0f} s: is it up?")
        return tick

    def _read(self) -> Tick | None:
        with JournalReader(self._path) as reader:
            return reader.latest()


class PoolOfProject:
    """One pool of `project`, as `ref` names it. Raises `BadMetadata`."""

    every_s = LOOK_EVERY_S
    may_sleep = True
    """As far as is known here."""

    def __init__(self, ref: Ref, project: Project) -> None:
        found = read(dict(ref.metadata), POOL_KEYS, ("service",))
        self._service: str = found["service"]
        self._region: str | None = found.get("region")
        self._project = project

    async def look(self, now: float) -> Answer:
        """What the project wants for it. Raises `Missing` while that can't be told, `BadMetadata` when there is no such pool."""
        tick = await self._project.latest(now)
        release = tick.memory.release
        if release.intent is not Intent.UP:
            raise Missing("the project is down: `tenfold up` starts it")
        pools = tick.memory.scale.pools
        if not pools:
            raise Missing("the project has not decided anything about its pools yet")
        pool = pools[self._key(tuple(pools))]
        why = "; ".join(filter(None, (pool.why, pool.holding)))
        return Answer(pool.wanted, pool.wanted > 0, why, tick.at)

    def _key(self, pools: tuple[str, ...]) -> str:
        services = sorted({key.partition("@")[0] for key in pools})
        if self._service not in services:
            raise BadMetadata(
                f"metadata service: the project runs no {self._service}; {_near(self._service, services)}"
            )
        regions = sorted(key.partition("@")[2] for key in pools if key.partition("@")[0] == self._service)
        if self._region is None and len(regions) > 1:
            raise BadMetadata(f"metadata region is missing: {self._service} runs in {', '.join(regions)}")
        region = self._region or regions[0]
        if region not in regions:
            raise BadMetadata(f"metadata region: {self._service} does not run in {region}; {_near(region, regions)}")
        return f"{self._service}@{region}"


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:10])}"
