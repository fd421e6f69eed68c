"""The sockets between worlds and brain. A real engine's driver and the simulator plug in here,
and nothing above can tell them apart.

Errors of drivers: `Retryable` (it did not happen, try again), `Permanent` (trying again cannot help), `Unknown` (it
may have happened: observe first). Their text is one sentence for a person, without secrets.
"""

from collections.abc import Callable
from typing import Protocol

from tenfold.effects import Effect, Order, Receipt
from tenfold.effects.faults import Fault
from tenfold.facts import Fact, RequestTrace


class DriverError(Exception):
    """Base of what a driver raises when an order could not be carried out."""


class Retryable(DriverError):
    """It did not happen; it may work when tried again."""


class Permanent(DriverError):
    """It did not happen, and trying again cannot help."""


class Refused(DriverError):
    """It was not tried: the order's epoch is old, or its subject has changed since the decider looked."""


class Unknown(DriverError):
    """It may or may not have happened; observe before trying again."""


class Clock(Protocol):
    """Time: real, or virtual in the simulator."""

    def now(self) -> float:
        """Seconds since the epoch. May jump; durations over which nothing may go wrong use differences that tolerate
        it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of this clock."""
        ...


class Observer(Protocol):
    """Sees one part of the world. `source` is its name in `Snapshot.observed`."""

    @property
    def source(self) -> str: ...

    async def observe(self) -> tuple[Fact, ...]:
        """All facts of this source, now. Raises `DriverError` when it can't see:
        then its old facts stand and grow stale."""
        ...

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something happened that a decision should not wait a tick for."""
        ...


class RequestFinder(Protocol):
    """Finds one request by the id that the edge returned."""

    async def request(self, request_id: str) -> RequestTrace | None:
        """The request's trace, or None when no log that is still kept holds it."""
        ...


class Actuator(Protocol):
    """Carries out effects of its own kinds."""

    def accepts(self, effect: Effect) -> bool:
        """True when this driver is the one to carry `effect` out."""
        ...

    async def apply(self, order: Order) -> Receipt:
        """Carry the order out, once per key: a key that was done before gets a DONE receipt again.

        Raises `Refused` when the order's epoch is older than one this driver has seen or `expected_generation` does
        not hold, `Retryable`, `Permanent` or `Unknown` otherwise. Returns when the effect has taken hold (a process
        runs; not: is ready).
        """
        ...


class Harm(Protocol):
    """Does harm for drills, and undoes it."""

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` when this world can't."""
        ...

    async def undo(self) -> None:
        """Undo every harm that is still in force (thaw what is frozen); safe to call at any time."""
        ...


class Lease(Protocol):
    """Who may act. The epoch grows by one with every new holder."""

    async def acquire(self) -> int | None:
        """The new epoch, or None when another holds the lease."""
        ...

    async def held(self) -> bool:
        """True while this holder's epoch is the newest; False for good once it is not.

        Raises a `DriverError` while that can't be told: then nothing may be done, and it may come back.
        """
        ...

    async def release(self) -> None:
        """Let go, so that another may acquire."""
        ...
