"""Sends orders to drivers and collects receipts, waiting for none. Stage: after the journal, before the world.

Every order ends in exactly one receipt: the driver's own, or what its error means, or *unknown* when it did not answer
in time. Only one order per subject is under way at a time.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenfold.effects import Effect, Order, Outcome, Receipt, StartEngine, StopInstance, StopTask
from tenfold.loop.steady import moment
from tenfold.ports import Actuator, Clock, Permanent, Refused, Retryable, Unknown

log = logging.getLogger(__name__)

ORDER_S_MAX = 60.0
"""A driver that has not answered after this long (and the grace that the effect itself gives) may never: its order counts as unknown."""

FIRST_START_S_MAX = 240.0
"""An engine's first start makes its data, which takes long on a slow disk, and must not be cut short in the middle."""

_MEANING: dict[type[BaseException], Outcome] = {
    Refused: Outcome.REFUSED,
    Retryable: Outcome.RETRYABLE,
    Permanent: Outcome.FAILED,
    Unknown: Outcome.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """An order and its receipt."""

    order: Order
    receipt: Receipt


class Outbox:
    """Orders under way, and receipts that no tick has shown yet."""

    def __init__(self, actuators: Sequence[Actuator], clock: Clock, wake: Callable[[], None]) -> None:
        """`wake` is called with every receipt: what comes next need not wait for a tick."""
        self._actuators = tuple(actuators)
        self._clock = clock
        self._wake = wake
        self._under_way: dict[str, tuple[Order, asyncio.Task[None]]] = {}
        self._ended: list[Ended] = []

    @property
    def pending(self) -> dict[str, float]:
        """When each order under way was sent, by key."""
        return {key: order.sent_at for key, (order, _) in self._under_way.items()}

    @property
    def ended(self) -> tuple[Ended, ...]:
        """What has ended and was not settled yet, oldest first."""
        return tuple(self._ended)

    def settle(self, shown: Sequence[Ended]) -> None:
        """`shown` are in the journal now, and need not be shown again."""
        del self._ended[: len(shown)]

    def send(self, order: Order) -> None:
        """Send `order`; its receipt comes later. Another order for the same subject under way makes it retryable."""
        effect = order.effect
        if order.key in self._under_way:
            return
        busy = next((o.key for o, _ in self._under_way.values() if o.effect.subject == effect.subject), None)
        if busy is not None:
            self._end(order, Outcome.RETRYABLE, f"not sent: {busy} is still under way for {effect.subject}")
            return
        actuator = next((a for a in self._actuators if a.accepts(effect)), None)
        if actuator is None:
            self._end(order, Outcome.FAILED, f"no driver here carries out {type(effect).__name__}")
            return
        task = asyncio.ensure_future(self._carry_out(actuator, order))
        self._under_way[order.key] = (order, task)

    def keep_back(self, order: Order, why: str) -> None:
        """`order` is not sent, for a reason of the loop's; that is its receipt."""
        self._end(order, Outcome.RETRYABLE, why)

    def done(self, order: Order) -> None:
        """`order` was carried out by the loop itself; its receipt is shown like any other."""
        self._end(order, Outcome.DONE, "")

    async def _carry_out(self, actuator: Actuator, order: Order) -> None:
        limit_s = _limit_s(order.effect)
        task = asyncio.ensure_future(actuator.apply(order))
        try:
            await asyncio.wait({task}, timeout=limit_s)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_look_away)
        if not task.done():
            self._end(order, Outcome.UNKNOWN, f"the driver gave no answer within {limit_s:.0f} s")
            return
        if task.cancelled():
            self._end(order, Outcome.UNKNOWN, "the driver gave up without an answer")
        elif (error := task.exception()) is None:
            self._end(order, task.result().outcome, task.result().note)
        elif (outcome := next((o for kind, o in _MEANING.items() if isinstance(error, kind)), None)) is not None:
            self._end(order, outcome, str(error))
        else:
            log.error("%s failed unexpectedly", order.key, exc_info=error)
            self._end(order, Outcome.UNKNOWN, f"unexpected {type(error).__name__}: {error}")

    def _end(self, order: Order, outcome: Outcome, note: str) -> None:
        self._under_way.pop(order.key, None)
        self._ended.append(Ended(order, Receipt(order.key, outcome, moment(self._clock.now()), note)))
        self._wake()

    def drop_all(self) -> None:
        """Give up every order at once: we may not act any more."""
        for _, task in self._under_way.values():
            task.cancel()
        self._under_way.clear()

    async def close(self, within_s: float) -> None:
        """Let the orders under way end, `within_s` at the most, then give them up."""
        if self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()], timeout=within_s)
        self.drop_all()


def _limit_s(effect: Effect) -> float:
    match effect:
        case StopInstance() | StopTask():
            return ORDER_S_MAX + effect.grace_s
        case StartEngine():
            return FIRST_START_S_MAX
        case _:
            return ORDER_S_MAX


def _look_away(task: asyncio.Task[Receipt]) -> None:
    """Take the result of an order that was given up, so that asyncio does not complain about it."""
    if not task.cancelled():
        task.exception()
