"""How the regions of a project reach one another on this machine. Stage: effects -> world, below the drivers.

What a driver starts or asks in a region it starts and asks through here, so that the same driver works when all regions share
this machine's loopback and when each has a network of its own with an emulated distance to the others.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from tenfold.model import LOOPBACK


class Network(Protocol):
    """The network between the regions."""

    def host(self, region: str) -> str:
        """The address of `region` that the others reach: its gateway and its stores listen there."""
        ...

    def command(self, region: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `argv` within the network of `region`."""
        ...

    def inside(self, region: str) -> AbstractContextManager[None]:
        """Sockets that this thread makes meanwhile belong to `region`. Nothing may be awaited within."""
        ...

    def delay_ms(self, origin: str, region: str) -> float:
        """What a gateway itself must add to requests from `origin` to `region`; 0 where the network does."""
        ...

    def entry_source(self, origin: str) -> str | None:
        """The address from which the global entry sends on the requests of clients near `origin`; None: any."""
        ...


class Loopback:
    """All regions on this machine's loopback, no distance between them."""

    def host(self, region: str) -> str:
        """127.0.0.1."""
        return LOOPBACK

    def command(self, region: str, argv: Sequence[str]) -> tuple[str, ...]:
        """As it is."""
        return tuple(argv)

    def inside(self, region: str) -> AbstractContextManager[None]:
        """Nothing to enter."""
        return nullcontext()

    def delay_ms(self, origin: str, region: str) -> float:
        """None."""
        return 0.0

    def entry_source(self, origin: str) -> str | None:
        """Any."""
        return None
