"""The ScaledObjects that are served: each is looked at on its own, as long as somebody asks for it. Stage: ask -> look -> answer.

Nothing stale is answered: an answer that is old, or none, is a `Missing` with its reason. Time is the steady clock's, so that a jump of the
wall clock makes nothing fresh that is old.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from tenfold.console.keda.asked import BadMetadata, Ref
from tenfold.console.keda.brain import Answer

OBJECTS_MAX = 200
STALE_S = 60.0
"""An answer older than this is none: four looks have failed by then."""
FIRST_WITHIN_S = 5.0
"""Who asks first waits so long for the first look."""
LOOK_WITHIN_S = 120.0
"""The first look reads two weeks; one that takes longer is ended and begun anew."""
FORGET_S = 600.0
"""A ScaledObject that nobody asked for this long is gone, or has changed."""


class Missing(Exception):
    """There is no answer that could be relied on; the text says why. Whoever asks holds."""


class Full(Exception):
    """More is asked than is served; the text says how much is."""


class Pool(Protocol):
    """What is looked at every `every_s`; one that `may_sleep` may have no instance. `look` raises `Missing` when nothing can be
    concluded, `BadMetadata` when it never will."""

    @property
    def every_s(self) -> float: ...

    @property
    def may_sleep(self) -> bool: ...

    async def look(self, now: float) -> Answer: ...


Say = Callable[[Ref, Answer | None, str], None]
"""Told what changed of a ScaledObject: its answer, or None and why there is none."""


class Watched:
    """One ScaledObject and its newest answer. `turn` is set, and replaced, whenever that changes or it ends."""

    def __init__(self, ref: Ref, pool: Pool, say: Say) -> None:
        self.ref = ref
        self._pool, self._say = pool, say
        self._answer: Answer | None = None
        self._answered_s = 0.0
        self._trouble: Missing | BadMetadata | None = None
        self._told = ""
        self.turn = asyncio.Event()
        self.streams = 0
        self.asked_s = time.monotonic()
        self.is_over = False

    def answer(self) -> Answer:
        """The newest answer. Raises `Missing` or `BadMetadata` when there is none that is fresh."""
        if isinstance(self._trouble, BadMetadata):
            raise self._trouble
        age_s = time.monotonic() - self._answered_s
        if self._answer is not None and age_s <= STALE_S:
            return self._answer
        if self._answer is None:
            raise self._trouble or Missing("the load is being read for the first time: ask again in a moment")
        why = self._trouble or "the last look has not ended yet"
        raise Missing(f"{why} (the last answer is {age_s:.0f} s old)")

    async def is_active(self) -> bool:
        """Whether it is to have any instance; waits for the first look where that is needed to know. Raises as `answer` does."""
        return not self._pool.may_sleep or (await self.first()).is_active

    def is_active_now(self) -> bool | None:
        """The same, as far as it is known; None where it is not."""
        if not self._pool.may_sleep:
            return True
        try:
            return self.answer().is_active
        except (BadMetadata, Missing):
            return None

    async def first(self) -> Answer:
        """As `answer`, but wait for the first look to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WITHIN_S):
                while self._answer is None and self._trouble is None and not self.is_over:
                    await self.turn.wait()
        return self.answer()

    @property
    def is_forgotten(self) -> bool:
        """True when nobody has asked for it for long."""
        return not self.streams and time.monotonic() - self.asked_s > FORGET_S

    async def run(self) -> None:
        """Look, as long as somebody asks."""
        while not self.is_forgotten:
            began_s = time.monotonic()
            try:
                async with asyncio.timeout(LOOK_WITHIN_S):
                    answer = await self._pool.look(time.time())
            except (Missing, BadMetadata) as trouble:
                self._miss(trouble)
            except TimeoutError:
                self._miss(Missing(f"the load could not be read within {LOOK_WITHIN_S:.0f} s"))
            else:
                self._take(answer)
            await asyncio.sleep(max(self._pool.every_s - (time.monotonic() - began_s), 0.1))

    def _take(self, answer: Answer) -> None:
        self._answer, self._answered_s, self._trouble = answer, time.monotonic(), None
        told = f"{answer.wanted} {answer.is_active} {answer.why}"
        if told != self._told:
            self._told = told
            self._say(self.ref, answer, answer.why)
        self._wake()

    def _miss(self, trouble: Missing | BadMetadata) -> None:
        self._trouble = trouble
        if str(trouble) != self._told:
            self._told = str(trouble)
            self._say(self.ref, None, str(trouble))
        self._wake()

    def end(self, why: str = "the scaler stops") -> None:
        """Let everybody who waits go."""
        self.is_over = True
        self._trouble = self._trouble or Missing(why)
        self._wake()

    def _wake(self) -> None:
        turn, self.turn = self.turn, asyncio.Event()
        turn.set()


class Objects:
    """All ScaledObjects that are asked for, at most `OBJECTS_MAX`. `open_pool` raises `BadMetadata`."""

    def __init__(self, open_pool: Callable[[Ref], Pool], say: Say) -> None:
        self._open, self._say = open_pool, say
        self._known: dict[Ref, tuple[Watched, asyncio.Task[None]]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._known)

    def of(self, ref: Ref) -> Watched:
        """The one that `ref` names, which is looked at from now on. Raises `BadMetadata`, `Full`, or `Missing` once closed."""
        if self._is_closed:
            raise Missing("the scaler stops")
        if ref not in self._known:
            pool = self._open(ref)
            if len(self._known) >= OBJECTS_MAX:
                raise Full(f"this scaler serves at most {OBJECTS_MAX} ScaledObjects: run another for the rest")
            watched = Watched(ref, pool, self._say)
            task = asyncio.create_task(watched.run())
            task.add_done_callback(lambda done: self._over(ref, done))
            self._known[ref] = watched, task
        watched = self._known[ref][0]
        watched.asked_s = time.monotonic()
        return watched

    def _over(self, ref: Ref, task: asyncio.Task[None]) -> None:
        """It is forgotten, or a bug ended it: then the next who asks begins anew."""
        watched, _ = self._known.pop(ref)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            why = f"a bug in Tenfold ({type(error).__name__}: {error})"
            self._say(ref, None, f"{why}; it is begun anew when it is asked for next")
            watched.end(why)
        else:
            watched.end()

    async def close(self) -> None:
        """End all looks, and let everybody who waits go."""
        self._is_closed = True
        tasks = [task for _, task in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
