"""What the console knows of now: the newest tick, and the decisions that led there. Stage: loop -> state.

It is told each tick by the loop, and asks the journal once for what was before.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from tenfold.console.archive import Archive, Busy
from tenfold.console.contract import State
from tenfold.console.timeline import Timeline
from tenfold.console.view import Moment, state_of
from tenfold.effects import AnswerRequest
from tenfold.loop import JournalError, Tick
from tenfold.model import Model

STALE_S = 10.0
"""A loop that has written nothing down for this long does not work."""


class Live:
    """The present of a project whose loop runs beside the console."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._timeline = Timeline()
        self._told_s = 0.0
        self._is_seeded = False
        self._made: tuple[int, str, State] | None = None
        self._awaited: dict[str, asyncio.Future[AnswerRequest]] = {}
        self.console_url = ""
        self.why_held: Callable[[], str] = lambda: ""
        """Asked why the loop does nothing, while it does nothing."""
        self.tick: Tick | None = None

    def tell(self, tick: Tick) -> None:
        """Take in the newest tick."""
        self.tick, self._told_s = tick, time.monotonic()
        self._timeline.add(tick)
        self._archive.remember(tick)
        for decision in tick.decisions:
            for effect in decision.effects:
                if isinstance(effect, AnswerRequest) and effect.request in self._awaited:
                    self._awaited.pop(effect.request).set_result(effect)

    @property
    def last_tick_s_ago(self) -> float | None:
        """How long ago the newest tick was told; None before the first."""
        return None if self.tick is None else time.monotonic() - self._told_s

    @property
    def is_well(self) -> bool:
        """True while the loop works."""
        return self.tick is not None and time.monotonic() - self._told_s <= STALE_S

    async def look(self) -> State | None:
        """The state of now; None before the first tick. Raises `JournalError`."""
        if self.tick is None:
            return None
        if not self._is_seeded:
            await self._seed()
        tick, model = await self._newest()
        trouble = self._trouble()
        if self._made is None or self._made[:2] != (tick.seq, trouble):
            newest, starts = self._timeline.newest(), self._timeline.starts
            state = state_of(Moment(model, tick, newest, starts, True, self.console_url, trouble))
            self._made = (tick.seq, trouble, state)
        return self._made[2]

    async def _newest(self) -> tuple[Tick, Model]:
        """The newest tick, and the model it was decided by."""
        while True:
            assert self.tick is not None
            digest = self.tick.model
            model = await self._archive.model(digest)
            # The next tick may have come meanwhile; it is nearly always of the same model.
            if self.tick.model == digest:
                return self.tick, model

    async def answer(self, request: str, within_s: float) -> AnswerRequest | None:
        """The answer to a request that was just handed in, if it comes `within_s`."""
        waits: asyncio.Future[AnswerRequest] = asyncio.get_running_loop().create_future()
        self._awaited[request] = waits
        try:
            async with asyncio.timeout(within_s):
                return await waits
        except TimeoutError:
            return None
        finally:
            self._awaited.pop(request, None)

    async def _seed(self) -> None:
        """Read what was decided before the first tick that we were told; tried again with the next look when it can't be read."""
        with contextlib.suppress(JournalError, Busy):
            before = await self._archive.timeline()
            if not self._is_seeded:
                self._timeline.merge(before)
                self._is_seeded = True

    def _trouble(self) -> str:
        if self.is_well:
            return ""
        why = self.why_held()
        return f"nothing is decided any more{f': {why}' if why else ', see `tenfold logs control`'}"
