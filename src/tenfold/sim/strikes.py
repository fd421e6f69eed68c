"""Harm to a false world: what each fault changes in it, and how all of it is undone."""

from typing import TYPE_CHECKING, assert_never

from tenfold.effects.faults import FillDisk, Freeze, Kill, Lose, Partition, SkewClock, Slow
from tenfold.facts import EngineState, TaskState
from tenfold.ports import Permanent
from tenfold.sim.faults import (
    ClockJump,
    ControlCrash,
    ObserverOutage,
    ObserverStale,
    OrdersDoubled,
    ReceiptsLate,
    ReceiptsLost,
    RoutesRefused,
    WorldFault,
)
from tenfold.sim.parts import NEVER_S, Engine, Instance, Task

if TYPE_CHECKING:
    from tenfold.sim.spread import Spread
    from tenfold.sim.world import World

REGION = "region/"


def inflict(world: "World", fault: WorldFault) -> None:
    """Do harm now; raises `Permanent` when its subject is not there. A `ControlCrash` is the business of who runs the brain."""
    now_s = world.clock.elapsed_s
    match fault:
        case Kill(subject, seconds):
            if subject.startswith(REGION):
                _kill_region(world, _region(world, subject), now_s + seconds)
            else:
                kill(world, world.pick(subject))
        case Freeze(subject, seconds):
            if subject.startswith(REGION):
                _freeze_region(world, _region(world, subject), now_s + seconds)
            else:
                _freeze(world.pick(subject), seconds, now_s)
        case Slow(subject, extra_ms, seconds):
            if subject.startswith(REGION):
                _spread(world).wan.slow(_region(world, subject), extra_ms, now_s + seconds)
                return
            slowed = world.pick(subject)
            if not isinstance(slowed, Instance):
                raise Permanent(f"Only an instance or a region can be slowed, and {subject} is none.")
            slowed.slow_ms, slowed.slow_until_s = extra_ms, now_s + seconds
            slowed.tune()
        case Lose(region, ratio, seconds):
            _spread(world).wan.lose(_region(world, REGION + region), ratio, now_s + seconds)
        case Partition(region, seconds):
            _spread(world).wan.cut(_region(world, REGION + region), now_s + seconds)
        case FillDisk(subject, seconds):
            store = world.pick(subject)
            if not isinstance(store, Engine) or store.kind not in ("postgres", "valkey"):
                raise Permanent(f"Only a store's disk can be filled, and {subject} is none.")
            store.full_until_s = now_s + seconds
        case SkewClock(subject, by_s, seconds):
            world.skew(subject.removeprefix(REGION), by_s, now_s + seconds)
        case ObserverOutage(source, seconds):
            world.blind(source, now_s + seconds)
        case ObserverStale(source, seconds):
            world.stale(source, now_s + seconds)
        case ReceiptsLost(seconds):
            world.receipts_lost_until_s = now_s + seconds
        case ReceiptsLate(late_s, seconds):
            world.receipts_late_s, world.receipts_late_until_s = late_s, now_s + seconds
        case OrdersDoubled(seconds):
            world.doubled_until_s = now_s + seconds
        case RoutesRefused(region, seconds):
            world.refused_until_s[region] = now_s + seconds
        case ClockJump(by_s):
            world.clock.jump(by_s)
        case ControlCrash():
            raise Permanent("A world can't crash the control plane; who runs the brain does.")
        case _:
            assert_never(fault)


def thaw(world: "World") -> None:
    """Undo every harm that is still in force. What was killed stays dead until it is started again."""
    for engine in world.engines.values():
        engine.frozen_until_s = engine.full_until_s = 0.0
    for instance in world.instances.values():
        instance.frozen_until_s = instance.slow_until_s = 0.0
    world.see_again()
    world.refused_until_s.clear()
    world.receipts_lost_until_s = world.receipts_late_until_s = world.doubled_until_s = 0.0
    world.dead_until_s.clear()
    world.frozen_until_s.clear()
    if world.spread is not None:
        world.spread.wan.mend()


def kill(world: "World", found: Instance | Engine | Task) -> None:
    """SIGKILL to one thing, with all that it started."""
    if isinstance(found, Instance):
        if found.alive:
            world.end_instance(found, "killed by signal 9")
    elif isinstance(found, Task):
        if found.state is TaskState.RUNNING:
            found.end(TaskState.UNKNOWN, world.clock.now(), None, "")
            world.wake("process")
    elif found.state is not EngineState.EXITED:
        end_engine(world, found, "killed by signal 9")


def end_engine(world: "World", engine: Engine, note: str) -> None:
    """Its process is gone."""
    engine.enter(EngineState.EXITED, world.clock.now(), note)
    engine.ready_elapsed_s = NEVER_S
    world.wake(engine.kind)


def keep_dead(world: "World", now_s: float) -> None:
    """Kill again what was started in a region that is kept dead."""
    for region, until_s in list(world.dead_until_s.items()):
        if until_s <= now_s:
            del world.dead_until_s[region]
        else:
            _kill_all(world, region)


def _kill_region(world: "World", region: str, until_s: float) -> None:
    world.deaths[region] = world.deaths.get(region, 0) + 1
    if until_s > world.clock.elapsed_s:
        world.dead_until_s[region] = max(until_s, world.dead_until_s.get(region, 0.0))
    _kill_all(world, region)


def _kill_all(world: "World", region: str) -> None:
    for instance in [i for i in world.instances.values() if i.region == region]:
        kill(world, instance)
    for engine in world.engines_in(region):
        kill(world, engine)
    if region == world.model.home:
        for task in world.tasks.values():
            kill(world, task)


def _freeze_region(world: "World", region: str, until_s: float) -> None:
    now_s = world.clock.elapsed_s
    world.frozen_until_s[region] = max(until_s, world.frozen_until_s.get(region, 0.0))
    stopped: list[Instance | Engine | Task] = [i for i in world.instances.values() if i.region == region]
    stopped += world.engines_in(region)
    if region == world.model.home:
        stopped += [task for task in world.tasks.values() if task.state is TaskState.RUNNING]
    for found in stopped:
        _freeze(found, until_s - now_s, now_s)


def _freeze(found: Instance | Engine | Task, seconds: float, now_s: float) -> None:
    if isinstance(found, Task):
        found.ends_elapsed_s += seconds
    else:
        found.frozen_until_s = now_s + seconds


def _spread(world: "World") -> "Spread":
    if world.spread is None:
        raise Permanent("There is one region, so there is no network between regions to harm.")
    return world.spread


def _region(world: "World", subject: str) -> str:
    region = subject.removeprefix(REGION)
    if region not in world.model.regions:
        raise Permanent(f"There is no region {region} to harm; the blueprint names {', '.join(world.model.regions)}.")
    return region
