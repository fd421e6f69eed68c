"""Kills and freezes processes of a project, fills the disk of a store. Stage: proof -> world."""

import asyncio
import signal
import time
from pathlib import Path

from tenfold.drivers.harm.subjects import living, some
from tenfold.drivers.harm.watched import Watched
from tenfold.drivers.procs import Processes, send
from tenfold.effects.faults import Fault, FillDisk, Freeze, Kill
from tenfold.ports import Permanent, Retryable

_LOOK_EVERY_S = 0.002
_KILL_WITHIN_S = 10.0


class ProcessHarm:
    """Harm to whatever the drivers of a project run, by instance id (`web-1`), engine key (`gateway/local`) or `region/<name>`."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._watched: dict[tuple[str, str], Watched] = {}

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` when nothing of that name runs, or for what can't be done to processes."""
        match fault:
            case Kill(subject, seconds):
                if seconds > 0:
                    await self._begin("kill", subject, seconds)
                else:
                    await self._kill(subject)
            case Freeze(subject, seconds):
                await self._begin("freeze", subject, seconds)
            case FillDisk(subject, seconds):
                folder = own_disk_of(self._processes, subject)
                await self._begin("fill", subject, seconds, folder=str(folder))
            case _:
                raise Permanent(
                    f"{type(fault).__name__} can't be done to a process here: freeze or kill it, or use the simulator"
                )

    async def undo(self) -> None:
        """Thaw everything that is still frozen, let live what was kept dead, empty what was filled; returns when it is so."""
        for kind, subject in tuple(self._watched):
            await self._end(kind, subject)

    async def _begin(self, kind: str, subject: str, seconds: float, **more: str) -> None:
        await self._end(kind, subject)
        root = str(self._processes.project.root)
        self._watched[kind, subject] = await Watched.begin(do=kind, root=root, subject=subject, seconds=seconds, **more)

    async def _end(self, kind: str, subject: str) -> None:
        watched = self._watched.pop((kind, subject), None)
        if watched is not None and not await watched.undo() and kind == "freeze":
            # Somebody has killed the watcher: what it froze is thawed by us.
            for member in living(self._processes, subject):
                send(member.identity, signal.SIGCONT)

    async def _kill(self, subject: str) -> None:
        some(self._processes, subject)
        until_s = time.monotonic() + _KILL_WITHIN_S
        while found := living(self._processes, subject):
            for member in found:
                send(member.identity, signal.SIGKILL)
            if time.monotonic() > until_s:
                raise Retryable(f"{subject} could not be killed: a process of it hangs in the kernel")
            await asyncio.sleep(_LOOK_EVERY_S)


def own_disk_of(processes: Processes, store: str) -> Path:
    """The folder of a store's data, on a file system that holds nothing but this project; raises `Permanent` elsewhere."""
    project = processes.project
    folder = (project.data / store.replace("/", "-")).resolve()
    if not folder.is_dir():
        raise Permanent(f"there are no data of {store}; tenfold status lists what runs")
    mount = folder
    while not mount.is_mount():
        mount = mount.parent
    if not (mount.is_relative_to(project.root.resolve()) or mount.is_relative_to(folder)):
        raise Permanent(
            f"the disk of {store} holds more than this project, so it is not filled: "
            f"mount a small file system (tmpfs) at {folder}, or use the simulator"
        )
    return folder
