"""A false world's ports: what a control plane holds in its hands for one life of it, in place of the real drivers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tenfold.effects import AnswerRequest, Effect, Order, Outcome, Receipt
from tenfold.effects.faults import Fault
from tenfold.facts import Fact
from tenfold.ports import DriverError, Unknown
from tenfold.sim.clock import VirtualClock
from tenfold.sim.deeds import carry_out
from tenfold.sim.world import World
from tenfold.wire.lease import TTL_S


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an order: the receipt is due `after_s` from now (None: never), or it failed by `error`."""

    after_s: float | None
    error: DriverError | None = None


def deliver(world: World, order: Order) -> Delivery:
    """Bring `order` to the world through whatever faults are in force: twice, late, or with its receipt lost.

    Of lost receipts half are never heard of, and half come back as `Unknown`, as from a driver whose line broke.
    """
    now_s = world.clock.elapsed_s
    try:
        after_s = carry_out(world, order)
        if world.doubled_until_s > now_s:
            carry_out(world, order)
    except DriverError as error:
        return Delivery(0.0, error)
    if world.receipts_lost_until_s > now_s:
        if world.choice_random.random() < 0.5:
            return Delivery(None)
        return Delivery(
            after_s, Unknown("The line broke before the receipt came; the world will show whether it happened.")
        )
    if world.receipts_late_until_s > now_s:
        after_s += world.receipts_late_s
    return Delivery(after_s)


class SimObserver:
    """`Observer` of one source of a world."""

    def __init__(self, world: World, source: str) -> None:
        """`source` is one of `world.sources`."""
        self._world, self._source = world, source

    @property
    def source(self) -> str:
        """Its name in `Snapshot.observed`."""
        return self._source

    async def observe(self) -> tuple[Fact, ...]:
        """What is now; raises `Retryable` during an `ObserverOutage`."""
        return self._world.look(self._source)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` when something of this source begins, changes state or ends."""
        self._world.subscribe(self._source, wake)


class SimActuator:
    """`Actuator` for every effect but `AnswerRequest`, on the world's clock."""

    def __init__(self, world: World) -> None:
        """`world` is what orders are carried out upon."""
        self._world = world

    def accepts(self, effect: Effect) -> bool:
        """Everything a world can be told to do."""
        return not isinstance(effect, AnswerRequest)

    async def apply(self, order: Order) -> Receipt:
        """Carry out, then wait until the receipt is due."""
        delivery = deliver(self._world, order)
        if delivery.after_s is None:
            await asyncio.Event().wait()
            raise AssertionError("a receipt that never comes has come")
        if delivery.after_s > 0:
            await self._world.clock.sleep(delivery.after_s)
        if delivery.error is not None:
            raise delivery.error
        return Receipt(order.key, Outcome.DONE, self._world.clock.now())


class SimHarm:
    """`Harm` on a false world, at once."""

    def __init__(self, world: World) -> None:
        """`world` is what is harmed."""
        self._world = world

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` when its subject is not there."""
        self._world.inflict(fault)

    async def undo(self) -> None:
        """End every harm that is still in force."""
        self._world.thaw()


class SimLease:
    """`Lease` of a world: one holder at a time, a new epoch for each.

    With several regions it is granted by most of the voters that a candidate in `region` reaches, for `TTL_S`; it ends by itself
    when it is not renewed.
    """

    def __init__(self, world: World, region: str = "") -> None:
        """Each lease is one candidate for the right to act."""
        self._world, self._region = world, region
        self._epoch: int | None = None
        self._until_s = 0.0

    async def acquire(self) -> int | None:
        """The next epoch, or None while another holds the lease."""
        return self.take()

    async def held(self) -> bool:
        """True while nobody took the lease from this holder, and its time is not over."""
        is_mine = self._epoch is not None and self._world.lease_holder is self and self._world.epoch == self._epoch
        return is_mine and (self._world.spread is None or self._world.clock.elapsed_s < self._until_s)

    async def release(self) -> None:
        """Let go; nothing happens when it was not held."""
        self.drop()

    def take(self) -> int | None:
        """As `acquire`, for a brain without asyncio."""
        world, spread = self._world, self._world.spread
        is_over = spread is not None and world.clock.elapsed_s >= spread.lease_until_s
        if world.lease_holder not in (None, self) and not is_over:
            return None
        if spread is not None and not spread.has_majority(world, self._region):
            return None
        if world.lease_holder is not self:
            world.epoch += 1
            world.lease_holder, self._epoch = self, world.epoch
        self._prolong()
        return self._epoch

    def renew(self) -> bool:
        """Ask the voters again; False once the holder may act no longer."""
        world = self._world
        if world.lease_holder is not self:
            return False
        if world.spread is not None and world.spread.has_majority(world, self._region):
            self._prolong()
        return world.spread is None or world.clock.elapsed_s < self._until_s

    def drop(self) -> None:
        """Let go at once, as the machine does for a holder that died."""
        if self._world.lease_holder is self:
            self._world.lease_holder = None
        self._epoch = None

    def _prolong(self) -> None:
        if self._world.spread is not None:
            self._until_s = self._world.spread.lease_until_s = self._world.clock.elapsed_s + TTL_S


@dataclass(frozen=True, slots=True)
class Drivers:
    """Everything a control plane needs of a world, for one life of it; made anew for the next one."""

    clock: VirtualClock
    observers: tuple[SimObserver, ...]
    actuator: SimActuator
    harm: SimHarm
    lease: SimLease

    @classmethod
    def of(cls, world: World, region: str = "", *, adopts: bool = True) -> "Drivers":
        """Adopt what runs in `world`: what the drivers before remembered is gone, as with the real ones. `region` is where the control
        plane stands."""
        if adopts:
            world.adopt()
        return cls(
            world.clock,
            tuple(SimObserver(world, source) for source in world.sources),
            SimActuator(world),
            SimHarm(world),
            SimLease(world, region),
        )
