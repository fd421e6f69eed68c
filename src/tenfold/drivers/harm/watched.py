"""A harm in the hands of a watcher, as the drill sees it. Stage: proof -> world.

The watcher is a process of its own at the other end of a pipe: when the pipe closes, also because the drill was killed, it undoes
the harm and ends.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from tenfold.ports import Permanent

_PROGRAM = "tenfold.drivers.harm.watcher"


class Watched:
    """One harm that is in force until `undo`, until its time is over, or until this process ends."""

    def __init__(self, watcher: "subprocess.Popen[bytes]") -> None:
        self._watcher = watcher

    @classmethod
    async def begin(cls, **harm: Any) -> "Watched":
        """Let a new watcher do `harm` (see drivers.harm.watcher); returns when it is done. Raises `Permanent` when it can't be."""
        watched = cls(_start(json.dumps(harm)))
        try:
            said = await asyncio.to_thread(watched._first_line)
        except BaseException:
            watched._let_go()
            raise
        if said != "done":
            await watched.undo()
            raise Permanent(said or "the harm was not done: its watcher has ended")
        return watched

    async def undo(self) -> bool:
        """Let the watcher undo the harm; True when it has done so, False when it had been killed before it could."""
        self._let_go()
        code = await asyncio.to_thread(self._watcher.wait)
        if self._watcher.stdout is not None:
            self._watcher.stdout.close()
        return code == 0

    def _let_go(self) -> None:
        with contextlib.suppress(OSError):
            assert self._watcher.stdin is not None, "it was made with a pipe"
            self._watcher.stdin.close()

    def _first_line(self) -> str:
        assert self._watcher.stdout is not None, "it was made with a pipe"
        return self._watcher.stdout.readline().decode().strip()


def _start(harm: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", _PROGRAM, harm],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Ctrl-C in the drill's terminal must not end the watcher before its work.
        start_new_session=True,
    )
