"""What a day of 20 instances leaves in the journal, and whether the day's decisions can be made again from it alone, exactly.

The real loop, deciders and journal live through a whole day on virtual time, over the simulated world.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.shop import Tell
from bench.table import Figure, Unmeasured, holds, told
from tenfold.deciders import decide
from tenfold.facts import DeployRequest, InstanceState, UpRequest
from tenfold.loop import Desk, Journal, JournalReader, Loop, replay
from tenfold.loop import World as Parts
from tenfold.model import Data, Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, Drivers, VirtualClock, World, run_virtual
from tenfold.sim.rates import day

INSTANCES = 20
DAY_S = 86_400.0
SEED = 20
TOLD_EVERY_S = 7200.0
WEB = Service(
    "web",
    "serve",
    build="make",
    release_hook="migrate",
    paths=("/",),
    health=Health("/health"),
    scaling=Scaling(8, 24),
)
WORKER = Service("worker", "work", http=False, scaling=Scaling(4, 4))
JOB = Service("report", "report", http=False, schedule="*/10 * * * *")
MODEL = Model("shop", {s.name: s for s in (WEB, WORKER, JOB)}, {"local": Region("local")}, data=Data())
"""About 16 of `web`, by load, and 4 of `worker`; a job every ten minutes; a deploy every six hours; two crashes an instance a day."""


async def journal(tell: Tell) -> list[Figure]:
    """Live a day, weigh it, replay it."""
    return await asyncio.to_thread(_measure, tell)


def _measure(tell: Tell) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="tenfold-bench-") as folder:
        path, clock = Path(folder) / "journal.db", VirtualClock()
        since_s = time.monotonic()
        written_bytes, instances = run_virtual(_live(path, clock, tell), clock)
        lived_s = time.monotonic() - since_s
        tell("the day is over; it is decided again")
        since_s = time.monotonic()
        result = replay(path, 1, 10**9, decide)
        replayed_s = time.monotonic() - since_s
        with JournalReader(path) as reader:
            span = reader.span()
            decisions = len(reader.decisions(limit=10**7))
        size_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
    if span is None or span[0] != 1:
        raise Unmeasured(f"the journal does not hold the whole day any more: its ticks are {span}")
    difference = (
        f"; the first: tick {result.first_difference.tick}, {result.first_difference.what}"
        if result.first_difference
        else ""
    )
    return [
        told("bytes a day", f"{size_bytes / 1e6:.1f} MB ({instances:.1f} instances on average)", size_bytes),
        told("grown, hour by hour", ", ".join(f"{size / 1e6:.1f}" for size in written_bytes) + " MB"),
        holds(
            "the day's decisions made again",
            result.ticks == result.equal == span[1],
            f"{result.equal:,} of {result.ticks:,} ticks equal, {decisions:,} decisions{difference}",
            "all equal",
        ),
        told("how long that took", f"{replayed_s:.0f} s for the replay; {lived_s:.0f} s to live the day", replayed_s),
    ]


async def _live(path: Path, clock: VirtualClock, tell: Tell) -> tuple[list[int], float]:
    """A day of the real loop; the journal's size every two hours, and how many instances there were on average."""
    behaviours = {
        "web": Behaviour(cpu_ms=20, wait_ms=80, crashes_per_hour=2 / 24),
        "worker": Behaviour(start_s=1.0, crashes_per_hour=2 / 24),
    }
    # So many requests that 16 of `web` answer them, on average.
    world = World(MODEL, SEED, clock=clock, rates={"web@local": day(260.0, 520.0)}, behaviours=behaviours)
    drivers = Drivers.of(world)
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    written = Journal(path)
    written.open()
    parts = Parts(drivers.observers, [drivers.actuator], clock)
    loop = Loop(model=MODEL, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=written)
    _ship(world, path, 1, clock)
    running = asyncio.ensure_future(loop.run())
    sizes, ready, number = [], 0, 1
    for second in range(1, int(DAY_S) + 1):
        await clock.sleep(world.step_s)
        world.step()
        ready += sum(i.state is InstanceState.READY for i in world.instances.values())
        if second % int(DAY_S / 4) == 7200:
            number += 1
            _ship(world, path, number, clock)
        if second % int(TOLD_EVERY_S) == 0:
            sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
            tell(f"{second / 3600:.0f} h lived, {sizes[-1] / 1e6:.1f} MB")
        if running.done():
            raise Unmeasured(f"the loop ended by itself: {loop.end}")
    loop.stop()
    await running
    written.close()
    return sizes, ready / DAY_S


def _ship(world: World, path: Path, number: int, clock: VirtualClock) -> None:
    """Ask for release `number`: the first one to be up, the others to be deployed."""
    release = Release(f"r{number}", MODEL.services, f"source {number}", clock.now())
    world.add_release(release)
    kind = UpRequest if number == 1 else DeployRequest
    Desk(path).append(kind(f"ship-{number}", clock.now(), release))
