"""A control plane of its own process that does nothing but act: each tick one order, to a driver that writes down whose it was.

Run as: pilot.py ROOT NAME. It stands in nobody's way: whoever takes over leaves it alone, frozen or not.
"""

import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from tenfold.deciders import Decided, Memory
from tenfold.drivers.clock import WallClock
from tenfold.drivers.fence import Fence
from tenfold.drivers.network import Loopback
from tenfold.drivers.project import Project
from tenfold.drivers.quorum import QuorumLease
from tenfold.drivers.voter import Voter
from tenfold.effects import Decision, Effect, Order, Outcome, Receipt, StopTask
from tenfold.facts import Snapshot
from tenfold.loop import Journal, Loop, Pace, World
from tenfold.model import Model, Region


class Marks:
    """A driver whose every deed is a line: the order's epoch, and when it was done."""

    def __init__(self, project: Project) -> None:
        self.fence = Fence(project.run / "fence")
        self.marks = os.open(project.root / "marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def accepts(self, effect: Effect) -> bool:
        return isinstance(effect, StopTask)

    async def apply(self, order: Order) -> Receipt:
        self.fence.check(order.epoch)
        os.write(self.marks, f"{order.epoch}\n".encode())
        return Receipt(order.key, Outcome.DONE, time.time())


def brain(model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
    """One order a tick, never the same twice. It thinks for a moment, in which it may be frozen."""
    number = memory.decisions + 1
    time.sleep(0.01)
    effect = StopTask(f"t{snapshot.epoch}-{number}")
    return Decided((Decision(f"d{number}", "test", "x", (effect,), "because"),), (), replace(memory, decisions=number))


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(root: Path, name: str) -> None:
    project = Project(root, "shop")
    voters = [Voter(project, place, Loopback(), "eu") for place in ("eu", "us", "au")]
    lease = QuorumLease(voters, name, Fence(project.run / "fence").seen)
    epoch = await lease.acquire()
    while epoch is None:
        await asyncio.sleep(0.05)
        epoch = await lease.acquire()
    marks = Marks(project)
    marks.fence.check(epoch)
    journal = Journal(root / f"{name}.db")
    journal.open()
    world = World((), (marks,), WallClock())
    pace = Pace(tick_s=0.03, spacing_s=0.0, requests_every_s=0.03)
    model = Model("shop", {}, {"eu": Region("eu")})
    loop = Loop(model=model, decide=brain, world=world, lease=lease, epoch=epoch, journal=journal, pace=pace)
    say(f"leads {epoch}")
    end = await loop.run()
    say(f"ended {end.value}")
    os._exit(0)


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
