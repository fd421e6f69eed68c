"""The real loop and its journal over the false world: the control plane is killed at any moment and started again, and nobody notices."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tenfold.deciders import decide
from tenfold.facts import DeployRequest, InstanceState, UpRequest
from tenfold.loop import Desk, Journal, JournalReader, Loop
from tenfold.loop import World as LoopWorld
from tenfold.model import Data, Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, Drivers, World, constant, run_virtual

WEB = Service(
    "web", "serve", build="make", release_hook="migrate", paths=("/",), health=Health(path="/"), scaling=Scaling(2, 6)
)
WORKER = Service("worker", "work", http=False, scaling=Scaling(1, 1))
JOB = Service("job", "report", http=False, schedule="* * * * *")
MODEL = Model("shop", {s.name: s for s in (WEB, WORKER, JOB)}, {"local": Region("local")}, data=Data())
UP_S = 40.0
DEPLOY_S = 110.0
"""A deploy takes about 80 s, most of it watching."""
CALM_S = 60.0


def release(number: int, at: float) -> Release:
    """Release `r<number>`."""
    return Release(f"r{number}", MODEL.services, f"source {number}", at)


async def live(world: World, path: Path, seconds: float) -> None:
    """One life of a control plane, ended as by `kill -9`: nothing is finished, told or let go of; the kernel frees the lease."""
    drivers, others = Drivers.of(world), asyncio.all_tasks()
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    journal = Journal(path)
    journal.open()
    parts = LoopWorld(drivers.observers, [drivers.actuator], world.clock)
    loop = Loop(model=MODEL, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=journal)
    running = asyncio.ensure_future(loop.run())
    await asyncio.wait({running}, timeout=seconds)
    assert not running.done(), f"the loop ended by itself: {running}"
    dying = asyncio.all_tasks() - others
    for task in dying:
        task.cancel()
    await asyncio.gather(*dying, return_exceptions=True)
    journal.close()
    drivers.lease.drop()


async def story(world: World, path: Path, lives: Sequence[float]) -> None:
    """Up, then a deploy during which the control plane lives these lives, each followed by a second of nobody."""
    turning = asyncio.ensure_future(world.run())
    world.add_release(first := release(1, world.clock.now()))
    Desk(path).append(UpRequest("up", world.clock.now(), first))
    await live(world, path, UP_S)
    world.add_release(second := release(2, world.clock.now()))
    Desk(path).append(DeployRequest("deploy", world.clock.now(), second))
    for seconds in lives:
        await live(world, path, seconds)
        await world.clock.sleep(1.0)
    await live(world, path, DEPLOY_S + CALM_S)
    turning.cancel()


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_of_a_deploy_it_goes_on(tmp_path: Path, seed: int) -> None:
    """Killed four times within a deploy: it ends well, nothing is doubled or orphaned, jobs run once, no request fails."""
    random = Random(f"lives/{seed}")
    behaviours = {"web": Behaviour(cpu_ms=20, wait_ms=80), "worker": Behaviour(start_s=1.0), "job": Behaviour(task_s=3)}
    world = World(MODEL, seed, rates={"web@local": constant(20.0)}, behaviours=behaviours, step_s=0.25)
    failed = []
    lives = [random.uniform(0.05, 25.0) for _ in range(4)]

    async def main() -> None:
        watching = asyncio.ensure_future(watch(world, failed))
        await story(world, tmp_path / "journal.db", lives)
        watching.cancel()

    run_virtual(main(), world.clock)
    living = [i for name in ("web", "worker") for i in world.living(name, "local")]
    assert sorted((i.spec.name, i.release, i.state) for i in living) == [
        ("web", "r2", InstanceState.READY),
        ("web", "r2", InstanceState.READY),
        ("worker", "r2", InstanceState.READY),
    ]
    assert world.counts["started"] == 6
    assert world.counts["died"] == 0
    assert failed[-1] == failed[0], f"{failed[-1] - failed[0]} requests failed"
    with JournalReader(tmp_path / "journal.db") as reader:
        tick = reader.latest()
        assert tick is not None
        assert set(tick.memory.heal.members) == {i.id for i in living}
        assert tick.memory.release.serving == "r2"
        assert all(r.answer is not None and r.answer.ok for r in reader.requests())
    jobs = [task for task in world.tasks if task.startswith("job-")]
    assert abs(len(jobs) - world.clock.elapsed_s / 60) <= 1.5


async def watch(world: World, failed: list[float]) -> None:
    """Note from the time that all is up how many requests have failed."""
    await world.clock.sleep(UP_S)
    while True:
        failed.append(world.pools["web@local"].totals.failed)
        await world.clock.sleep(1.0)
