"""A control plane as small as can be, for tests that kill one or run one as another user.

Starts the engines that are named in a project folder, says `ready <pid> <url>` of each, and waits; with `stop`, stops them first.
With a fourth argument, a user's number, it goes on as that user.
"""

import asyncio
import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path

from tenfold.drivers.engine import EngineDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.postgres import PostgresDriver
from tenfold.drivers.project import Project
from tenfold.drivers.valkey import ValkeyDriver
from tenfold.effects import Order, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState


def say(*words: object) -> None:
    """Tell the test that reads our output."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def ready(driver: EngineDriver) -> EngineSeen:
    """What is seen of an engine once it no longer starts."""
    while True:
        (seen,) = await driver.observe()
        if seen.state is not EngineState.STARTING:
            return seen
        await asyncio.sleep(0.02)


async def main(root: Path, shared: Path, kinds: list[str], then: str) -> None:
    """Start each engine and wait, or stop each."""
    project = Project(root, "pilot")
    project.state.mkdir(mode=0o700, exist_ok=True)
    ports, fence = FreePorts(project), Fence(project.run / "epoch")
    for kind in kinds:
        driver = (
            PostgresDriver(project, ports, fence, shared) if kind == "postgres" else ValkeyDriver(project, ports, fence)
        )
        await driver.apply(Order(StartEngine(kind, "local"), 1, "d1", time.time()))
        seen = await ready(driver)
        say(seen.state, seen.pid, next(iter(driver.urls("local").values())))
        if then == "stop":
            await driver.apply(Order(StopEngine(kind, "local", seen.generation), 1, "d2", time.time()))
            say(await driver.observe())
    if then == "wait":
        await asyncio.Event().wait()


def become(user: int) -> None:
    """Go on as another user. Everything is run once before, because that user may not be able to read Python's own modules."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        (Path(scratch) / "project").mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            asyncio.run(main(Path(scratch) / "project", Path(scratch) / "shared", ["postgres", "valkey"], "stop"))
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


if __name__ == "__main__":
    if len(sys.argv) > 5:
        become(int(sys.argv[5]))
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), sys.argv[4]))
