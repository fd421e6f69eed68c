"""Harm to the network between regions: slower, lossy, cut. Stage: proof -> world.

With networks of their own (`Wan`) the router does it, for as long as our connection to it lives. On loopback (`Delayed`) the region's
gateway can at least be told to add more delay, and a watcher sees to it that this ends.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from tenfold.drivers.harm.subjects import REGION
from tenfold.drivers.harm.watched import Watched
from tenfold.drivers.network import Delayed
from tenfold.drivers.wan.desk import RouterDesk
from tenfold.drivers.wan.links import Change
from tenfold.drivers.wan.wan import Wan
from tenfold.effects.faults import Fault, Lose, Partition, Slow
from tenfold.ports import Permanent
from tenfold.render.envoy_behind import DELAY_KEY_PREFIX


class WanHarm:
    """Slow, Lose and Partition of a region, by the router. All nodes around the region are its others: regions, the points of
    presence, this machine with the console."""

    def __init__(self, wan: Wan) -> None:
        self._wan = wan
        self._desk: RouterDesk | None = None

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` for other faults or an unknown region, `Retryable` when the router does not answer."""
        match fault:
            case Slow(subject, extra_ms, seconds):
                region = _region(subject)
                # On the way there alone: a round trip is longer by just that much.
                await self._change(self._towards(region), Change(extra_ms=extra_ms), seconds)
            case Lose(region, ratio, seconds):
                await self._change(self._both_ways(region), Change(loss_ratio=ratio), seconds)
            case Partition(region, seconds):
                await self._change(self._both_ways(region), Change(is_cut=True), seconds)
            case _:
                raise Permanent(f"{type(fault).__name__} is nothing that happens to a network")

    async def undo(self) -> None:
        """Mend all links."""
        desk, self._desk = self._desk, None
        if desk is not None:
            await desk.close()

    async def _change(self, pairs: Iterable[tuple[str, str]], change: Change, seconds: float) -> None:
        if self._desk is None or self._desk.is_closed:
            self._desk = await self._wan.desk()
        await self._desk.change(pairs, change, seconds)

    def _towards(self, region: str) -> list[tuple[str, str]]:
        self._wan.host(region)
        return [(other, region) for other in self._wan.plan.around(region)]

    def _both_ways(self, region: str) -> list[tuple[str, str]]:
        return [pair for there in self._towards(region) for pair in (there, there[::-1])]


class DelayedHarm:
    """Slow of a region, by the delay that its gateway adds to requests from each of `origins`; nothing else on loopback.

    `admin_socket` tells where the admin page of a region's gateway is.
    """

    def __init__(self, network: Delayed, origins: Iterable[str], admin_socket: Callable[[str], Path]) -> None:
        self._network = network
        self._origins = tuple(origins)
        self._admin_socket = admin_socket
        self._slowed: dict[str, Watched] = {}

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` for what needs networks of their own, or when the gateway does not answer."""
        if not isinstance(fault, Slow):
            raise Permanent(f"{type(fault).__name__} needs networks for the regions: run `tenfold up --wan` as root")
        region = _region(fault.subject)
        if region not in self._origins:
            raise Permanent(f"there is no region {region}; there are: {', '.join(self._origins)}")
        await self._mend(region)
        keys = {
            DELAY_KEY_PREFIX + origin: round(self._network.delay_ms(origin, region) + fault.extra_ms)
            for origin in self._origins
        }
        self._slowed[region] = await Watched.begin(
            do="delay", socket=str(self._admin_socket(region)), keys=keys, seconds=fault.seconds
        )

    async def undo(self) -> None:
        """Give every gateway its usual delays back."""
        for region in tuple(self._slowed):
            await self._mend(region)

    async def _mend(self, region: str) -> None:
        slowed = self._slowed.pop(region, None)
        if slowed is not None:
            await slowed.undo()


def _region(subject: str) -> str:
    if not subject.startswith(REGION):
        raise Permanent(f"only a region can be slowed here (region/...), not {subject}; use the simulator for that")
    return subject.removeprefix(REGION)
