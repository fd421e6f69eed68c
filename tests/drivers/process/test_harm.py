"""Harm for drills, on real processes: what is frozen never stays frozen."""

import asyncio
import sys
from typing import Any

import pytest

from tenfold.drivers.harm import ProcessHarm
from tenfold.effects.faults import Freeze, Kill, Slow
from tenfold.ports import Permanent


async def test_a_frozen_instance_thaws_when_undone_and_by_itself(bench: Any, habit: Any, until: Any) -> None:
    """A freeze covers the whole tree and ends by `undo` or when its time is over."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    harm = ProcessHarm(bench.driver.processes)

    def frozen() -> list[bool]:
        (tree,) = bench.driver.processes.look().values()
        return [member.frozen for member in tree.members]

    await harm.inflict(Freeze("web-1", 600.0))
    assert frozen() == [True] * 4
    assert (await bench.instance("web-1")).frozen
    await harm.undo()
    assert frozen() == [False] * 4
    await harm.inflict(Freeze("web-1", 2.0))
    assert frozen() == [True] * 4

    async def thawed() -> bool:
        return not any(frozen())

    await until(thawed)
    await harm.undo()
    await harm.undo()


async def test_a_killed_instance_is_gone_with_its_children(bench: Any, habit: Any) -> None:
    """Kill leaves nothing of the tree; what does not run can't be harmed."""
    bench.release(web=habit("parent"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    harm = ProcessHarm(bench.driver.processes)
    await harm.inflict(Kill("web-1"))
    assert not bench.driver.processes.look()
    with pytest.raises(Permanent, match="nothing named web-1 runs"):
        await harm.inflict(Kill("web-1"))
    with pytest.raises(Permanent, match="simulator"):
        await harm.inflict(Slow("web-1", 100.0, 1.0))


HARMER = """
import asyncio, sys
from pathlib import Path
from tenfold.drivers.harm import ProcessHarm
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.effects.faults import Freeze

async def main():
    await ProcessHarm(Processes(Project(Path(sys.argv[1]), "shop"))).inflict(Freeze("web-1", 600.0))
    print("frozen", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_a_drill_that_is_killed_thaws_what_it_froze(bench: Any, habit: Any, until: Any) -> None:
    """kill -9 of the drill ends its harm."""
    bench.release(web=habit("good"))
    await bench.start("web-1")
    await bench.reaches("web-1", "ready")
    command = [sys.executable, "-c", HARMER, str(bench.project.root)]
    harmer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert harmer.stdout is not None and await harmer.stdout.readline() == b"frozen\n"
    assert (await bench.instance("web-1")).frozen
    harmer.kill()
    await harmer.wait()

    async def thawed() -> bool:
        return not (await bench.instance("web-1")).frozen

    await until(thawed)
