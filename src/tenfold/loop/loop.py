"""The control loop: observe, decide, write down, act. Stage: the heart of the journey, a tick each second and at once
when something happens.

Nothing is done that is not in the journal first. When the journal can't be written, or deciding fails, the loop holds:
it acts on nothing, says so, and goes on by itself when it can; so too while nobody can tell whether it still holds the
lease. When that is lost it stops at once. It waits on asyncio's own timers, which are virtual in the simulator.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tenfold.effects import AnswerRequest, Order, Outcome, Receipt, RemoveRelease
from tenfold.facts import DownRequest, ReceiptSeen, Snapshot
from tenfold.loop.estimates import Estimates
from tenfold.loop.journal import Entry, Journal, Note
from tenfold.loop.orders import Ended, Outbox
from tenfold.loop.steady import moment
from tenfold.loop.store import JournalError
from tenfold.loop.tick import Decide, Tick
from tenfold.loop.upkeep import RETENTION, Retention, Tidied, tidy
from tenfold.loop.watch import Watch
from tenfold.model import Model, Release
from tenfold.ports import Actuator, Clock, DriverError, Lease, Observer

log = logging.getLogger(__name__)

CLOCK_JUMP_S = 2.0
"""A wall clock that strays this far from the steady one between two ticks has jumped."""
TIDY_EVERY_S = 60.0
GRAIN_S = 0.001
"""Rests shorter than this are no rests: a timer may fire that much early."""
NOTES_MAX = 1000
"""Notes kept while the journal can't be written; older ones are dropped."""


class End(StrEnum):
    """Why `run` returned: the project is DOWN, we were STOPPED by a signal, or the lease is LOST to another."""

    DOWN = "down"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loop ticks: each `tick_s`, at once when woken but never within `spacing_s` of the last one.

    It looks for requests of other processes each `requests_every_s`, and at its end waits `settle_s` for orders under way.
    """

    tick_s: float = 1.0
    spacing_s: float = 0.03
    requests_every_s: float = 0.1
    settle_s: float = 5.0


@dataclass(frozen=True, slots=True)
class World:
    """What the loop watches, moves, and tells the time by."""

    observers: Sequence[Observer]
    actuators: Sequence[Actuator]
    clock: Clock


class Loop:
    """One project's control loop. The lease was acquired (as `epoch`) and the journal opened by whoever made it."""

    def __init__(
        self,
        *,
        model: Model,
        decide: Decide,
        world: World,
        lease: Lease,
        epoch: int,
        journal: Journal,
        say: Callable[[str], None] = lambda text: None,
        tell: Callable[[Tick], None] = lambda tick: None,
        pace: Pace = Pace(),
        retention: Retention = RETENTION,
        led_from: str = "",
    ) -> None:
        """`led_from` is the region that this control plane stands in (empty: there is one). `say` is told what a person should
        know at once; `tell` gets every tick that was written, before its orders are sent."""
        self._blueprint = model
        self._merged: tuple[Model, Mapping[str, Release], Model] | None = None
        self._decide = decide
        self._clock = world.clock
        self._lease = lease
        self._epoch = epoch
        self._led_from = led_from
        self._journal = journal
        self._say_outside = say
        self._tell = tell
        self._pace = pace
        self._retention = retention
        self._woken = asyncio.Event()
        self._watch = Watch(world.observers, world.clock, self._say)
        self._outbox = Outbox(world.actuators, world.clock, self.wake)
        self._estimates = Estimates(model, journal.path, self._say)
        self._notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self._clocks: tuple[float, float] | None = None
        self._tidying: asyncio.Future[Tidied] | None = None
        self._tidied_s = 0.0
        self._is_stopping = False
        self._is_down = False
        self.end: End | None = None
        self.holding = ""
        for observer in world.observers:
            observer.subscribe(self.wake)

    @property
    def pending(self) -> dict[str, float]:
        """When each order under way was sent, by key."""
        return self._outbox.pending

    def use(self, model: Model) -> None:
        """Decide by `model` from the next tick on; its releases are those of the journal."""
        self._blueprint = model
        self._estimates = Estimates(model, self._journal.path, self._say)

    def wake(self) -> None:
        """Tick as soon as the pace allows; any number of calls make one tick. Only from the loop's own thread."""
        self._woken.set()

    def stop(self) -> None:
        """End `run` after the tick under way; what runs goes on running."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> End:
        """Tick until the project is down, `stop` was called, or the lease is lost."""
        while self.end is None:
            begun_s = asyncio.get_running_loop().time()
            self._woken.clear()
            await self.step()
            self._begin_tidying(begun_s)
            if self._is_stopping and self.end is None:
                self.end = End.STOPPED
            if self.end is None:
                await self._rest(begun_s)
        await self.close()
        return self.end

    async def step(self) -> Tick | None:
        """One tick. None when nothing could be written (`holding` says why) or when we may not act any more (`end`)."""
        await self._watch.look()
        self._check_clock()
        if not await self._may_act():
            return None
        try:
            tick, shown = self._decide_and_write()
        except JournalError as error:
            self._hold(str(error))
            return None
        except Exception as error:
            log.exception("deciding failed")
            self._hold(
                f"deciding failed ({type(error).__name__}: {error}): please report it with the end of the control log"
            )
            return None
        self._outbox.settle(shown)
        self._resume()
        self._tell(tick)
        # Whoever was frozen since the tick began may have lost the right to act meanwhile.
        self._act(tick, may=await self._may_act())
        if self._is_down and self.end is None and not self._outbox.pending:
            self.end = End.DOWN
        return tick

    async def close(self) -> None:
        """Let the orders under way end (for a moment), stop asking observers, finish tidying. The journal and the lease stay open."""
        if self.end is End.LOST:
            self._outbox.drop_all()
        await self._outbox.close(self._pace.settle_s)
        await self._watch.close()
        if self._tidying is not None:
            await asyncio.wait({self._tidying})
            self._hear_of_tidying()

    def _decide_and_write(self) -> tuple[Tick, tuple[Ended, ...]]:
        """Everything between seeing and acting, without a pause in it. Raises `JournalError`."""
        model, requests, ended = self._current_model(), self._journal.requests(), self._outbox.ended
        seen = Snapshot(
            taken_at=moment(self._clock.now()),
            epoch=self._epoch,
            led_from=self._led_from,
            observed=dict(self._watch.observed),
            **self._watch.facts(),
            pending=self._outbox.pending,
            receipts={e.receipt.key: _shown(e.receipt) for e in ended},
            requests=requests,
        )
        snapshot = self._journal.seen(self._estimates.look(seen))
        decided = self._decide(model, snapshot, self._journal.memory)
        tick = self._journal.append(
            Entry(
                model=model,
                snapshot=snapshot,
                decided=decided,
                receipts=[(e.receipt, e.order.decision) for e in ended],
                notes=tuple(self._notes),
                removed=[
                    e.order.effect.release
                    for e in ended
                    if isinstance(e.order.effect, RemoveRelease) and e.receipt.outcome is Outcome.DONE
                ],
                minutes=self._estimates.due,
            )
        )
        self._notes.clear()
        self._estimates.written()
        self._estimates.add(snapshot)
        return tick, ended

    def _current_model(self) -> Model:
        """The blueprint with the journal's releases: the same object as long as neither changed."""
        releases = self._journal.releases()
        if self._merged is None or self._merged[0] is not self._blueprint or self._merged[1] is not releases:
            self._merged = (self._blueprint, releases, replace(self._blueprint, releases=releases))
        return self._merged[2]

    async def _may_act(self) -> bool:
        """True while the lease is held. When it is lost this loop ends; while nobody can tell it holds."""
        try:
            if await self._lease.held():
                return True
        except DriverError as error:
            self._hold(str(error))
            return False
        self._lose("the lease is lost, to another control plane or with its file: this one stops and acts no more")
        return False

    def _act(self, tick: Tick, may: bool) -> None:
        """Send what was decided if we still `may`. An answer was given with the tick itself, in the journal."""
        for decision in tick.decisions:
            for effect in decision.effects:
                order = Order(effect, self._epoch, decision.id, tick.at)
                if not isinstance(effect, AnswerRequest):
                    if may:
                        self._outbox.send(order)
                    else:
                        self._outbox.keep_back(order, "not sent: the right to act was gone when it was to be sent")
                    continue
                self._outbox.done(order)
                if effect.ok and isinstance(tick.snapshot.requests.get(effect.request), DownRequest):
                    self._is_down = True

    def _say(self, text: str) -> None:
        """Tell a person now, and the journal with the next tick."""
        log.info("%s", text)
        self._notes.append(Note(moment(self._clock.now()), text))
        self._say_outside(text)

    def _hold(self, why: str) -> None:
        if self.holding != why:
            self.holding = why
            self._say(f"holding, nothing is done: {why}")

    def _resume(self) -> None:
        if self.holding:
            self.holding = ""
            self._say("holding no more: the loop goes on")

    def _lose(self, why: str) -> None:
        self.end = End.LOST
        self._outbox.drop_all()
        self._say(why)

    def _check_clock(self) -> None:
        """Notice a wall clock that was set: then nothing that was seen before can be dated."""
        wall_s, steady_s = self._clock.now(), asyncio.get_running_loop().time()
        if self._clocks is not None:
            jump_s = (wall_s - self._clocks[0]) - (steady_s - self._clocks[1])
            if abs(jump_s) > CLOCK_JUMP_S:
                way = "ahead" if jump_s > 0 else "back"
                self._watch.distrust()
                self._say(f"the clock jumped {way} by {abs(jump_s):.1f} s: what was not seen since counts as not seen")
        self._clocks = (wall_s, steady_s)

    async def _rest(self, begun_s: float) -> None:
        """Wait for the next tick: its time, a wake-up, or another process's request, whatever comes first."""
        loop = asyncio.get_running_loop()
        while (left_s := begun_s + self._pace.tick_s - loop.time()) > GRAIN_S:
            try:
                await asyncio.wait_for(self._woken.wait(), min(left_s, self._pace.requests_every_s))
            except TimeoutError:
                if self._has_news():
                    break
            else:
                break
        too_soon_s = begun_s + self._pace.spacing_s - loop.time()
        if too_soon_s > GRAIN_S and not self._is_stopping:
            await self._clock.sleep(too_soon_s)

    def _has_news(self) -> bool:
        """True when another process has written to the journal. One that can't be read has no news: the tick will say why."""
        try:
            return not self.holding and self._journal.changed()
        except JournalError:
            return True

    def _begin_tidying(self, now_s: float) -> None:
        if self._tidying is not None and self._tidying.done():
            self._hear_of_tidying()
        if self._tidying is None and now_s - self._tidied_s >= TIDY_EVERY_S:
            self._tidied_s = now_s
            self._tidying = asyncio.ensure_future(asyncio.to_thread(tidy, self._journal.path, self._retention))

    def _hear_of_tidying(self) -> None:
        assert self._tidying is not None
        error = self._tidying.exception()
        self._tidying = None
        if isinstance(error, JournalError):
            self._say(f"old ticks are kept for now: {error}")
        elif error is not None:
            # It never costs the loop its life: old ticks are no reason to leave an app without its control plane.
            log.error("tidying the journal failed", exc_info=error)
            self._say(f"old ticks are kept for now: unexpected {type(error).__name__}: {error}")


def _shown(receipt: Receipt) -> ReceiptSeen:
    return ReceiptSeen(receipt.key, receipt.outcome.value, receipt.note, receipt.at)
