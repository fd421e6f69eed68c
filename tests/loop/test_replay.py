"""The real deciders over the simulated world, through the real loop and journal: what was decided can be decided again, exactly."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.deciders import Decided, Memory, decide
from tenfold.effects import Outcome
from tenfold.facts import DeployRequest, DownRequest, Snapshot, UpRequest
from tenfold.loop import Desk, End, Journal, JournalReader, Loop, World, replay
from tenfold.model import Data, Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, Drivers, ObserverOutage, ReceiptsLost, VirtualClock, run_virtual
from tenfold.sim import World as FalseWorld
from tenfold.sim.rates import steps

SEED = 20_261_120
WEB = Service("web", "serve", build="make", paths=("/",), health=Health(path="/health"), scaling=Scaling(2, 8))
JOB = Service("job", "report", http=False, schedule="*/10 * * * *")
MODEL = Model("shop", {"web": WEB, "job": JOB}, {"local": Region("local")}, data=Data())


def release(number: int, at: float) -> Release:
    """Release `r<number>` of the model."""
    return Release(f"r{number}", MODEL.services, f"source {number}", at)


async def live(world: FalseWorld, clock: VirtualClock, path: Path, seconds: float) -> End | None:
    """One life of a control plane over `world`, for `seconds` or until the project is down."""
    drivers = Drivers.of(world)
    epoch = await drivers.lease.acquire()
    assert epoch is not None
    journal = Journal(path)
    journal.open()
    parts = World(drivers.observers, [drivers.actuator], clock)
    loop = Loop(model=MODEL, decide=decide, world=parts, lease=drivers.lease, epoch=epoch, journal=journal)
    task = asyncio.ensure_future(loop.run())
    await asyncio.wait({task}, timeout=seconds)
    loop.stop()
    await task
    await drivers.lease.release()
    journal.close()
    return loop.end


async def turn(world: FalseWorld, clock: VirtualClock) -> None:
    """Let the world's time pass with the clock's."""
    while True:
        await clock.sleep(world.step_s)
        world.step()


def ask(world: FalseWorld, path: Path, request: UpRequest | DeployRequest | DownRequest) -> None:
    """A person asks: the release's files are captured, the request is handed in."""
    if not isinstance(request, DownRequest):
        world.add_release(request.release)
    Desk(path).append(request)


async def story(path: Path, clock: VirtualClock) -> None:
    """Up, a load that comes and goes, a deploy cut by a restart of the control plane, blind observers, lost receipts, down."""
    rate = steps((0, 20.0), (600, 400.0), (900, 5.0))
    world = FalseWorld(
        MODEL, SEED, clock=clock, rates={"web@local": rate}, behaviours={"web": Behaviour(cpu_ms=20, wait_ms=80)}
    )
    turning = asyncio.ensure_future(turn(world, clock))
    ask(world, path, UpRequest("up", clock.now(), release(1, clock.now())))
    await live(world, clock, path, 1200.0)
    ask(world, path, DeployRequest("deploy", clock.now(), release(2, clock.now())))
    await live(world, clock, path, 4.0)
    world.inflict(ReceiptsLost(10.0))
    world.inflict(ObserverOutage("gateway", 20.0))
    await live(world, clock, path, 1500.0)
    ask(world, path, DownRequest("down", clock.now()))
    assert await live(world, clock, path, 300.0) is End.DOWN
    turning.cancel()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of the story."""
    path = tmp_path_factory.mktemp("replay") / "journal.db"
    clock = VirtualClock()
    run_virtual(story(path, clock), clock)
    return path


def test_the_story_happened(lived: Path) -> None:
    """The journal tells of a start, of scaling, of a deploy that went on over a restart, and of the end; every person got an answer."""
    with JournalReader(lived) as reader:
        span = reader.span()
        assert span is not None and span[1] > 2500
        by = {d.decision.by for d in reader.decisions(limit=10**6)}
        assert {"heal", "scale", "release", "route", "schedule"} <= by
        assert {r.request.id: r.answer is not None and r.answer.ok for r in reader.requests()} == {
            "up": True,
            "deploy": True,
            "down": True,
        }
        assert {r.receipt.outcome for r in reader.receipts_since(0, 10**6)} >= {Outcome.DONE}
        latest = reader.latest()
        assert latest is not None and latest.epoch == 4


def test_every_decision_is_decided_again(lived: Path) -> None:
    """Thousands of ticks, over restarts and faults, give the same decisions, the same rejections and the same memory."""
    result = replay(lived, 1, 10**9, decide)
    assert result.first_difference is None
    assert result.ticks == result.equal > 2500


def test_a_part_is_replayed_alone(lived: Path) -> None:
    """A replay may begin anywhere."""
    result = replay(lived, 1001, 1100, decide)
    assert (result.ticks, result.equal) == (100, 100)


def test_another_brain_is_found_out(lived: Path) -> None:
    """A decider that chooses otherwise once differs from there, and the first difference is named."""

    def other(model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        decided = decide(model, snapshot, memory)
        forgetful = replace(decided.memory, decisions=7)
        return replace(decided, memory=forgetful) if memory.decisions < 50 <= decided.memory.decisions else decided

    result = replay(lived, 1, 10**9, other)
    assert result.first_difference is not None
    assert re.fullmatch(r"memory\.decisions: \d+ became 7", result.first_difference.what)
    assert result.ticks > result.equal > 0
