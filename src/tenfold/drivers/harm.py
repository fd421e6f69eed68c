"""Kills and freezes processes of this project for drills. Stage: proof -> world.

A freeze never outlives the drill: a small watcher holds the other end of a pipe, and thaws everything when the pipe closes,
also because the drill itself was killed.
"""

import asyncio
import os
import signal
import subprocess

from tenfold.drivers.procs import Processes, Tree, send
from tenfold.effects.faults import Fault, Freeze, Kill, Slow
from tenfold.ports import Permanent

_LOOK_EVERY_S = 0.002
_WATCHER = 'pids=; while read -r pid; do pids="$pids $pid"; done; [ -z "$pids" ] || kill -CONT $pids'


class ProcessHarm:
    """Harm to whatever the drivers of a project run, by instance id (`web-1`) or engine key (`gateway/local`)."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._freezes: dict[str, _Frozen] = {}

    async def inflict(self, fault: Fault) -> None:
        """Do the harm; raises `Permanent` when nothing of that name runs, or for `Slow`, which only the simulator can."""
        match fault:
            case Kill(subject):
                await self._processes.stop(self._tree(subject).key, grace_s=0.0)
            case Freeze(subject, seconds):
                await self._freeze(self._tree(subject), seconds)
            case Slow():
                raise Permanent(
                    "a process can't be slowed by a fixed time here; freeze it instead, or use the simulator"
                )

    async def undo(self) -> None:
        """Thaw everything that is still frozen; returns when it runs again."""
        for subject in tuple(self._freezes):
            await self._thaw(subject)

    def _tree(self, subject: str) -> Tree:
        for key, tree in self._processes.look().items():
            if key.id == subject:
                return tree
        raise Permanent(f"nothing named {subject} runs; tenfold status lists what does")

    async def _freeze(self, tree: Tree, seconds: float) -> None:
        await self._thaw(tree.key.id)
        frozen = self._freezes[tree.key.id] = _Frozen()
        left: Tree | None = tree
        # Until all stand still: meanwhile those not stopped yet may have given birth to others.
        while left is not None and not all(member.frozen for member in left.members):
            for member in left.members:
                if member.pid not in frozen.pids:
                    frozen.note(member.pid)
                    send(member.identity, signal.SIGSTOP)
            await asyncio.sleep(_LOOK_EVERY_S)
            left = self._processes.look().get(tree.key)
        frozen.timer = asyncio.get_running_loop().call_later(seconds, frozen.release)

    async def _thaw(self, subject: str) -> None:
        frozen = self._freezes.pop(subject, None)
        if frozen is not None:
            frozen.release()
            await asyncio.to_thread(frozen.watcher.wait)


class _Frozen:
    """One freeze: the watcher that will end it, and who it has been told of."""

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.timer: asyncio.TimerHandle | None = None
        reader, self._writer = os.pipe()
        # A session of its own: Ctrl-C in the drill's terminal must not end the watcher before its work.
        self.watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHER],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(reader)

    def note(self, pid: int) -> None:
        """Tell the watcher of a process, before it is stopped."""
        os.write(self._writer, f"{pid}\n".encode())
        self.pids.add(pid)

    def release(self) -> None:
        """Let the watcher thaw everything; it ends then."""
        if self.timer is not None:
            self.timer.cancel()
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
