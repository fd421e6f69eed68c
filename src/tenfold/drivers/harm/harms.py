"""All harm that this world can do, behind one port. Stage: proof -> world."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from tenfold.drivers.harm.network import DelayedHarm, WanHarm
from tenfold.drivers.harm.process import ProcessHarm
from tenfold.drivers.network import Delayed, Network
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import Wan
from tenfold.effects.faults import Fault, FillDisk, Freeze, Kill, Lose, Partition, SkewClock, Slow
from tenfold.ports import Harm, Permanent


class Harms:
    """Gives each fault to the one that can do it: `between` is harm to the network between regions, None where there is none."""

    def __init__(self, processes: Harm, between: Harm | None) -> None:
        self._processes = processes
        self._between = between

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` with the reason when this world can't."""
        match fault:
            case Kill() | Freeze() | FillDisk():
                await self._processes.inflict(fault)
            case Slow() | Lose() | Partition():
                if self._between is None:
                    raise Permanent(
                        f"{type(fault).__name__} needs a network between regions: start with `tenfold up --wan`, "
                        "or use the simulator"
                    )
                await self._between.inflict(fault)
            case SkewClock(subject):
                raise Permanent(
                    f"the clock of {subject} is this machine's, which is not set for a drill: use the simulator"
                )
            case _:
                assert_never(fault)

    async def undo(self) -> None:
        """Undo every harm that is still in force."""
        try:
            if self._between is not None:
                await self._between.undo()
        finally:
            await self._processes.undo()


def harm_of(project: Project, network: Network, regions: Iterable[str], admin_socket: Callable[[str], Path]) -> Harms:
    """Harm to `project`, whose regions reach one another over `network`; `admin_socket` gives that of a region's gateway."""
    between: Harm | None = None
    if isinstance(network, Wan):
        between = WanHarm(network)
    elif isinstance(network, Delayed):
        between = DelayedHarm(network, regions, admin_socket)
    return Harms(ProcessHarm(Processes(project)), between)
