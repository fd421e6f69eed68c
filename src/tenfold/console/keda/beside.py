"""A pool whose load is read elsewhere, looked at again and again. Stage: read figures -> brain -> answer.

The first look needs the last minutes alone, so that there is an answer within seconds; the weeks before are read meanwhile, look by look.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from tenfold.console.keda.asked import Asked
from tenfold.console.keda.brain import RECENT_S, Answer, Brain
from tenfold.console.keda.watched import Missing
from tenfold.estimators.minutes import MINUTE_S
from tenfold.ports import DriverError, Permanent

LOOK_EVERY_S = 15.0
HISTORY_S = 15 * 86_400.0
"""Two weeks of the same hour, and a day for the forecast to be tried on."""
PART_S = 86_400.0
"""So much history is asked for at once."""
LEARNT_EACH = 60
"""So many minutes that were missed are learnt from one by one; of more, what was foretold is nothing to learn from."""
A_LOOK_S = 2.0
"""For so long a look reads history, then it goes on with what is known."""
SETTLE_S = 2.0
"""A minute is asked for so long after its end."""
READY_MAX = 10_000
READS_MAX = 8
"""So many questions are under way at once, however many pools there are."""


class Reader(Protocol):
    """Where figures are read: a query's one number `at` a time, or at every step of a stretch. Raises `DriverError`."""

    async def value(self, query: str, at: float) -> float | None: ...

    async def values(self, query: str, start: float, end: float, step_s: float) -> tuple[tuple[float, float], ...]: ...


class Beside:
    """One pool. `turns` bounds what is asked of `reader` at once; `say` is told what a person should know."""

    every_s = LOOK_EVERY_S

    def __init__(
        self, asked: Asked, region: str, reader: Reader, turns: asyncio.Semaphore, say: Callable[[str], None]
    ) -> None:
        self._asked, self._reader, self._turns, self._say = asked, reader, turns, say
        self._brain = Brain(asked, region)
        self.may_sleep = asked.service.may_sleep
        self._known_to: int | None = None
        self._has_told = False

    async def look(self, now: float) -> Answer:
        """Read what is new, and think. Raises `Missing` when it can't be read: then nothing is concluded."""
        try:
            if self._known_to is None:
                await self._begin(now)
            await self._catch_up(now)
            load = await self._value("query", self._asked.query, now)
            ready = None
            if self._asked.replicas_query is not None:
                found = await self._value("replicas_query", self._asked.replicas_query, now)
                if found > READY_MAX:
                    raise Missing(f"metadata replicas_query gives {found:.4g}, and no workload has so many instances")
                ready = round(found)
        except DriverError as error:
            raise Missing(str(error)) from None
        return self._brain.think(now, load, ready)

    async def _value(self, key: str, query: str, now: float) -> float:
        async with self._turns:
            value = await self._reader.value(query, now)
        if value is None:
            raise Missing(f"metadata {key} gives no number now: {query[:200]}")
        if value < 0:
            raise Missing(f"metadata {key} gives {value:.4g}, and less than nothing says nothing: {query[:200]}")
        return value

    async def _begin(self, now: float) -> None:
        minute = int(now // MINUTE_S)
        minutes = await self._minutes(minute - int(RECENT_S // MINUTE_S), minute - 1)
        self._brain.begin(max((load for _, load in minutes), default=0.0))

    async def _catch_up(self, now: float) -> None:
        """Learn the minutes that have ended since the last look; at first the history, as much of it as a look has time for."""
        last = int((now - SETTLE_S) // MINUTE_S) - 1
        oldest = last - int(HISTORY_S // MINUTE_S)
        known_to = oldest if self._known_to is None else max(self._known_to, oldest)
        until_s = time.monotonic() + A_LOOK_S
        while known_to < last and time.monotonic() < until_s:
            end = min(known_to + int(PART_S // MINUTE_S), last)
            minutes = await self._minutes(known_to + 1, end)
            new = len(minutes) if end - known_to <= LEARNT_EACH else int(end == last)
            self._brain.remember(minutes[: len(minutes) - new])
            self._brain.learn(minutes[len(minutes) - new :])
            # What is known now need not be asked again, also when the next part fails.
            self._known_to = known_to = end
            await asyncio.sleep(0)

    async def _minutes(self, first: int, last: int) -> tuple[tuple[int, float], ...]:
        """The load of minutes `first` to `last`: what the query gave at the end of each. A history that is refused is done without, since
        the query of now tells whether anything is wrong with it."""
        try:
            async with self._turns:
                found = await self._reader.values(
                    self._asked.query, (first + 1) * MINUTE_S, (last + 1) * MINUTE_S, MINUTE_S
                )
        except Permanent as error:
            if not self._has_told:
                self._has_told = True
                self._say(f"{self._brain.key} has no history to forecast from: {error}")
            return ()
        return tuple((round(at / MINUTE_S) - 1, load) for at, load in found if load >= 0)
