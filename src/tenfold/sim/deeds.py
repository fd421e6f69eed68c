"""Orders carried out upon a false world: effects -> changes, with the same promises and refusals as the real drivers."""

from typing import assert_never

from tenfold.effects import (
    AnswerRequest,
    Order,
    Promote,
    PublishEntry,
    PublishRoutes,
    RemoveRelease,
    RunTask,
    StartEngine,
    StartInstance,
    StopEngine,
    StopInstance,
    StopTask,
)
from tenfold.facts import EngineState, InstanceState, TaskState
from tenfold.ports import Permanent, Refused, Retryable
from tenfold.sim.behaviour import LATER_S, Breakage
from tenfold.sim.parts import NEVER_S, Engine, Instance, Task
from tenfold.sim.world import World

SPAWN_S = 0.02
"""From an order to a process that runs."""
ENGINE_START_S = {"gateway": 0.3, "valkey": 0.2, "postgres": 1.5}
"""From an engine's start to its first answer."""
ENGINE_STOP_S = 0.3
ACCEPT_S = 0.01
"""From a table to the gateway's word that it runs it."""
FIRST_PORT = 20_000


def carry_out(world: World, order: Order) -> float:
    """Do it, once per key, and give back after how many seconds the receipt is due. Raises `DriverError` as `Actuator.apply` does."""
    if order.epoch < world.epoch_seen:
        raise Refused(f"Epoch {order.epoch} is over: a control plane of epoch {world.epoch_seen} acts now.")
    world.epoch_seen = order.epoch
    if order.key in world.done:
        return 0.0
    seconds = _do(world, order)
    # What becomes of an instance or a task shows in it: a stop may come again, with less grace.
    if isinstance(order.effect, StartEngine | StopEngine | PublishRoutes):
        world.done.add(order.key)
    return seconds


def _do(world: World, order: Order) -> float:
    match effect := order.effect:
        case StartInstance():
            return _start_instance(world, effect)
        case StopInstance():
            return _stop_instance(world, effect)
        case RunTask():
            return _run_task(world, effect)
        case StopTask():
            return _stop_task(world, effect)
        case StartEngine():
            return _start_engine(world, effect)
        case StopEngine():
            return _stop_engine(world, effect)
        case PublishRoutes():
            return _publish(world, effect, order.epoch)
        case Promote() | PublishEntry():
            raise Permanent("This world has one region.")
        case RemoveRelease():
            return _remove_release(world, effect)
        case AnswerRequest():
            raise Permanent("A request is answered by the loop, not by a driver.")
        case _:
            assert_never(effect)


def _start_instance(world: World, effect: StartInstance) -> float:
    if effect.instance in world.instances:
        return 0.0
    release = world.releases.get(effect.release)
    service = release.services.get(effect.service) if release else None
    if service is None:
        raise Permanent(f"Release {effect.release} has no service {effect.service} on this machine; ship it again.")
    behaviour, random, now_s = world.behaviour(effect.service), world.life_random, world.clock.elapsed_s
    number, at = world.number(), world.clock.now()
    ready_s = now_s + behaviour.start_time_s(random)
    instance = Instance(
        id=effect.instance,
        spec=service,
        region=effect.region,
        release=effect.release,
        behaviour=behaviour,
        breakage=world.broken.get(effect.release),
        port=FIRST_PORT + number,
        pid=number,
        started_at=at,
        since=at,
        ready_elapsed_s=ready_s,
    )
    fails_at_start = random.random() < behaviour.start_fails_ratio or instance.breakage is Breakage.START
    if fails_at_start:
        instance.exits_elapsed_s = random.uniform(now_s, ready_s)
        instance.exit_note = "exit code 1: the program could not start"
    elif instance.breakage is Breakage.CRASH_LATER:
        instance.exits_elapsed_s, instance.exit_note = ready_s + LATER_S, "exit code 1: the program ended by an error"
    elif instance.breakage is Breakage.HEALTH:
        instance.ready_elapsed_s, instance.note = NEVER_S, "health check answers 503"
    elif instance.breakage is Breakage.SICK_LATER:
        instance.sick_elapsed_s = ready_s + LATER_S
    if behaviour.crashes_per_hour > 0 and instance.exits_elapsed_s == NEVER_S:
        instance.exits_elapsed_s = ready_s + random.expovariate(behaviour.crashes_per_hour / 3600.0)
        instance.exit_note = "exit code 1: the program ended by an error"
    world.instances[instance.id] = instance
    world.pools[f"{effect.service}@{effect.region}"].members[instance.id] = instance
    world.counts["started"] += 1
    world.wake("process")
    return SPAWN_S


def _stop_instance(world: World, effect: StopInstance) -> float:
    instance = world.instances.get(effect.instance)
    if instance is None:
        return 0.0
    if instance.state is InstanceState.EXITED:
        del world.instances[instance.id]
        return 0.0
    now_s = world.clock.elapsed_s
    frozen = instance.frozen_until_s > now_s
    ends_s = now_s + (effect.grace_s if frozen else instance.behaviour.stop_time_s(effect.grace_s))
    if instance.state is InstanceState.STOPPING:
        instance.exits_elapsed_s = min(instance.exits_elapsed_s, ends_s)
    elif effect.expected_generation not in (0, instance.generation):
        raise Refused(f"{instance.id} has changed since it was looked at (it is {instance.state} now).")
    else:
        instance.exits_elapsed_s, instance.exit_note = ends_s, "told to end"
        instance.enter(InstanceState.STOPPING, world.clock.now(), "told to end")
        world.wake("process")
    return instance.exits_elapsed_s - now_s + world.step_s


def _run_task(world: World, effect: RunTask) -> float:
    if effect.task in world.tasks:
        return 0.0
    release = world.releases.get(effect.release)
    if release is None or effect.service not in release.services:
        raise Permanent(f"Release {effect.release} has no service {effect.service} on this machine; ship it again.")
    behaviour, random = world.behaviour(effect.service), world.life_random
    seconds = behaviour.task_s * random.uniform(0.7, 1.3)
    broken_by = {"build": Breakage.BUILD, "release": Breakage.RELEASE_HOOK}.get(effect.kind)
    fails = random.random() < behaviour.task_fails_ratio
    fails = fails or (broken_by is not None and world.broken.get(effect.release) is broken_by)
    tail = "the command ended by an error" if fails else "done"
    if seconds > effect.timeout_s:
        seconds, fails, tail = effect.timeout_s, True, f"ended after {effect.timeout_s:g} s, the most it may take"
    world.tasks[effect.task] = Task(
        id=effect.task,
        kind=effect.kind,
        service=effect.service,
        release=effect.release,
        started_at=world.clock.now(),
        ends_elapsed_s=world.clock.elapsed_s + seconds,
        exit_code=1 if fails else 0,
        tail=tail,
    )
    return SPAWN_S


def _stop_task(world: World, effect: StopTask) -> float:
    task = world.tasks.get(effect.task)
    if task is not None and task.state is TaskState.RUNNING:
        task.end(TaskState.FAILED, world.clock.now(), -15, "told to stop")
        world.wake("process")
    return SPAWN_S


def _remove_release(world: World, effect: RemoveRelease) -> float:
    users = [instance.id for instance in world.instances.values() if instance.release == effect.release]
    if users:
        raise Refused(f"Release {effect.release} is still run by {', '.join(users)}.")
    world.releases.pop(effect.release, None)
    return SPAWN_S


def _start_engine(world: World, effect: StartEngine) -> float:
    if effect.kind not in world.sources or effect.region not in world.gateways:
        raise Permanent(f"There is no {effect.kind} to run in {effect.region}.")
    key = f"{effect.kind}/{effect.region}"
    engine, at = world.engines.get(key), world.clock.now()
    if engine is not None and engine.state is not EngineState.EXITED:
        return 0.0
    _expect(effect.expected_generation, engine, key)
    seconds = ENGINE_START_S[effect.kind]
    if engine is not None:
        world.generations[key] = engine.generation
    number = world.number()
    begun = Engine(
        kind=effect.kind,
        region=effect.region,
        port=engine.port if engine else FIRST_PORT + number,
        pid=number,
        since=at,
        ready_elapsed_s=world.clock.elapsed_s + seconds,
        generation=world.generations.get(key, 0) + 1,
    )
    world.engines[key] = begun
    if effect.kind == "gateway" and effect.region not in world.published:
        world.gateways[effect.region].forget()
    return SPAWN_S


def _stop_engine(world: World, effect: StopEngine) -> float:
    key = f"{effect.kind}/{effect.region}"
    engine = world.engines.get(key)
    if engine is None:
        return 0.0
    _expect(effect.expected_generation, engine, key)
    # A driver goes on counting: the stop of the next one must not look like this one.
    world.generations[key] = engine.generation
    del world.engines[key]
    if effect.kind == "gateway":
        world.gateways[effect.region].forget()
    world.wake(effect.kind)
    return ENGINE_STOP_S


def _expect(generation: int, engine: Engine | None, key: str) -> None:
    """Raise `Refused` when an engine has changed since the decider looked."""
    actual = engine.generation if engine else 0
    if generation != actual:
        raise Refused(f"{key} has changed since it was looked at (generation {actual}, not {generation}).")


def _publish(world: World, effect: PublishRoutes, epoch: int) -> float:
    region = effect.table.region
    gateway, engine = world.gateways.get(region), world.engines.get(f"gateway/{region}")
    if gateway is None:
        raise Permanent(f"There is no gateway in {region}.")
    if engine is None or engine.state is not EngineState.READY:
        raise Retryable(f"The gateway of {region} is not there to take a table.")
    number = (epoch, effect.expected_generation)
    if number < world.published.get(region, (0, 0)):
        raise Refused(f"The gateway of {region} was already given newer routes than these.")
    if world.refused_until_s.get(region, 0.0) > world.clock.elapsed_s:
        gateway.refused = "simulated refusal"
        raise Permanent(
            f"The gateway of {region} refused the table ({gateway.refused}); the one before goes on serving."
        )
    gateway.accept(effect.table, effect.table_digest)
    world.published[region] = number
    world.counts["published"] += 1
    world.wake("gateway")
    return ACCEPT_S
