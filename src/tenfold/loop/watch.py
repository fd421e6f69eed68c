"""Asks every observer, and waits for none. Stage: the beginning of a tick.

All are asked at once. One that is slow is waited for a moment, once, and its answer is taken whenever it comes; one
that hangs or fails keeps its old facts, and `observed` tells their age. What is wrong is said once, not each tick.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.facts import PLACES, Fact
from tenfold.loop.steady import moment, steady
from tenfold.ports import Clock, DriverError, Observer

log = logging.getLogger(__name__)

WAIT_S = 0.5
"""How long a tick waits for an observer that was asked in it."""
OBSERVE_S_MAX = 10.0
"""An answer that takes longer is given up and asked for again."""


@dataclass(slots=True)
class _Look:
    """One question to an observer: when it was asked, on the clock and on asyncio's own time."""

    task: asyncio.Task[tuple[Fact, ...]]
    asked_at: float
    begun_s: float
    is_given_up: bool = False


class Watch:
    """The observers, and the last facts of each."""

    def __init__(self, observers: Sequence[Observer], clock: Clock, say: Callable[[str], None]) -> None:
        """`say` is told sentences for people."""
        self._observers = {o.source: o for o in observers}
        assert len(self._observers) == len(observers), "two observers with one source"
        self._clock = clock
        self._say = say
        self._looks: dict[str, _Look] = {}
        self._facts: dict[str, tuple[Fact, ...]] = {}
        self._trouble: dict[str, str] = {}
        self._answered: set[str] = set()
        self.observed: dict[str, float] = {}

    async def look(self) -> None:
        """Ask all who have no question open, wait `WAIT_S` at the most, and take in what was answered."""
        now_s, fresh = asyncio.get_running_loop().time(), []
        self._answered.clear()
        for source, observer in self._observers.items():
            if source not in self._looks:
                task = asyncio.ensure_future(observer.observe())
                self._looks[source] = _Look(task, self._clock.now(), now_s)
                fresh.append(task)
        if fresh:
            await asyncio.wait(fresh, timeout=WAIT_S)
        for source, look in list(self._looks.items()):
            if look.task.done():
                del self._looks[source]
                self._take_in(source, look)
            elif not look.is_given_up and asyncio.get_running_loop().time() - look.begun_s > OBSERVE_S_MAX:
                look.is_given_up = True
                look.task.cancel()
                self._tell(source, f"no answer within {OBSERVE_S_MAX:.0f} s")

    def _take_in(self, source: str, look: _Look) -> None:
        if look.task.cancelled():
            return
        error = look.task.exception()
        if error is None:
            try:
                self._facts[source] = tuple(steady(fact) for fact in look.task.result())
            except ValueError as bad:
                error = bad
        if error is None:
            self.observed[source] = moment(look.asked_at)
            self._answered.add(source)
            if self._trouble.pop(source, None) is not None:
                self._say(f"{source} is seen again")
        elif isinstance(error, DriverError | ValueError):
            self._tell(source, str(error))
        else:
            self._tell(source, f"unexpected {type(error).__name__}: {error}", error)

    def _tell(self, source: str, trouble: str, bug: BaseException | None = None) -> None:
        if self._trouble.get(source) != trouble:
            self._trouble[source] = trouble
            if bug is not None:
                log.error("observer %s failed", source, exc_info=bug)
            self._say(f"{source} can't be seen, and nothing is concluded from its old facts: {trouble}")

    def distrust(self) -> None:
        """The clock jumped: what was not seen in the last look can't be dated any more, and counts as not seen."""
        self.observed = {source: at for source, at in self.observed.items() if source in self._answered}

    def facts(self) -> dict[str, dict[str, Any]]:
        """The last facts of all observers, as the mappings of a snapshot."""
        places: dict[str, dict[str, Any]] = {name: {} for name in PLACES.values()}
        for source in self._observers:
            for fact in self._facts.get(source, ()):
                places[PLACES[type(fact)]][fact.key] = fact
        return places

    async def close(self) -> None:
        """Give up every open question."""
        for look in self._looks.values():
            look.task.cancel()
        if self._looks:
            await asyncio.wait([look.task for look in self._looks.values()], timeout=WAIT_S)
