"""Orders carried out upon a false world: effects -> changes, with the same promises and refusals as the real drivers."""

from typing import assert_never

from tenfold.effects import (
    AnswerRequest,
    Effect,
    Notify,
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
from tenfold.facts import EngineState, InstanceState, ReplicaRole, TaskState
from tenfold.ports import Permanent, Refused, Retryable
from tenfold.sim.behaviour import LATER_S, Breakage
from tenfold.sim.parts import NEVER_S, Engine, Instance, Task
from tenfold.sim.spread import Spread
from tenfold.sim.world import World

SPAWN_S = 0.02
"""From an order to a process that runs."""
ENGINE_START_S = {"gateway": 0.3, "entry": 0.3, "valkey": 0.2, "postgres": 1.5, "voter": 0.2, "control": 0.5}
"""From an engine's start to its first answer."""
FOLLOW_S = 1.5
"""What a store takes longer when it copies the primary's data, or winds back its own."""
PROMOTE_S = 0.3
ENGINE_STOP_S = 0.3
TELL_S = 0.05
"""Until a person's pager has a notification."""
ACCEPT_S = 0.01
"""From a table to the gateway's word that it runs it."""
FIRST_PORT = 20_000


def carry_out(world: World, order: Order) -> float:
    """Do it, once per key, and give back after how many seconds the receipt is due. Raises `DriverError` as `Actuator.apply` does."""
    if order.epoch < world.epoch_seen:
        world.counts["old_refused"] += 1
        raise Refused(f"Epoch {order.epoch} is over: a control plane of epoch {world.epoch_seen} acts now.")
    world.epoch_seen = order.epoch
    if order.key in world.done:
        return 0.0
    _must_reach(world, order.effect)
    seconds = _do(world, order)
    world.counts["old_obeyed"] += order.epoch < world.epoch
    # What becomes of an instance or a task shows in it: a stop may come again, with less grace.
    if isinstance(order.effect, StartEngine | StopEngine | Promote | PublishRoutes | PublishEntry):
        world.done.add(order.key)
    return seconds


def _must_reach(world: World, effect: Effect) -> None:
    """Raise `Retryable` when the control plane is cut off from the region where this is to be done."""
    if world.spread is None or not world.spread.is_blind_across:
        return
    match effect:
        case StopInstance(instance):
            found = world.instances.get(instance)
            region = found.region if found else ""
        case PublishRoutes(table):
            region = table.region
        case StartInstance() | StartEngine() | StopEngine() | Promote():
            region = effect.region
        case _:
            region = ""
    if region and not world.spread.reaches(world.led_from, region):
        raise Retryable(f"Nothing gets through to {region} now.")


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
        case PublishEntry():
            return _publish_entry(world, effect, order.epoch)
        case Promote():
            return _promote(world, effect)
        case RemoveRelease():
            return _remove_release(world, effect)
        case Notify():
            world.told.append(effect)
            return TELL_S
        case AnswerRequest():
            raise Permanent("A request is answered by the loop, not by a driver.")
        case _:
            assert_never(effect)


def _start_instance(world: World, effect: StartInstance) -> float:
    before = world.instances.get(effect.instance)
    if before is not None and effect.attempt <= before.attempt:
        return 0.0
    if effect.attempt > 1:
        _expect_ended(before, effect)
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
        port=before.port if before else FIRST_PORT + number,
        pid=number,
        started_at=at,
        since=at,
        ready_elapsed_s=ready_s,
        generation=before.generation + 1 if before else 1,
        attempt=effect.attempt,
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
    world.counts["doubled"] += effect.key in world.ever
    world.ever.add(effect.key)
    world.instances[instance.id] = instance
    world.pools[f"{effect.service}@{effect.region}"].members[instance.id] = instance
    world.counts["started"] += 1
    world.wake("process")
    return SPAWN_S


def _expect_ended(before: Instance | None, effect: StartInstance) -> None:
    """Raise `Refused` unless what is to be restarted has ended as it was seen to have."""
    if before is None:
        raise Refused(f"{effect.instance} is not known any more, so it can't be restarted in its place.")
    if before.alive or effect.expected_generation not in (0, before.generation):
        raise Refused(f"{effect.instance} has changed since it was looked at (it is {before.state} now).")


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
    known = effect.region in world.gateways or effect.kind == "voter"
    if effect.kind not in world.sources or not known:
        raise Permanent(f"There is no {effect.kind} to run in {effect.region}.")
    key = f"{effect.kind}/{effect.region}"
    engine, at = world.engines.get(key), world.clock.now()
    if engine is not None and engine.state is not EngineState.EXITED:
        _change_copy(world, effect)
        return 0.0
    _expect(effect.expected_generation, engine, key)
    seconds = ENGINE_START_S[effect.kind]
    if world.spread is not None and effect.kind in ("postgres", "valkey"):
        seconds += _prepare_copy(world, world.spread, effect)
    if engine is not None:
        world.generations[key] = engine.generation
    number = world.number()
    begun = Engine(
        kind=effect.kind,
        region=effect.region,
        port=world.ports.setdefault(key, FIRST_PORT + number),
        pid=number,
        since=at,
        ready_elapsed_s=world.clock.elapsed_s + seconds,
        generation=world.generations.get(key, 0) + 1,
        full_until_s=engine.full_until_s if engine else 0.0,
    )
    world.engines[key] = begun
    _forget_table(world, effect.kind, effect.region, only_unpublished=True)
    return SPAWN_S


def _prepare_copy(world: World, spread: Spread, effect: StartEngine) -> float:
    """Have the data ready that a store starts with; how much longer that takes. Raises `Retryable` while the primary can't be reached."""
    stores = spread.stores
    if not effect.follow:
        copy = stores.copies.get(f"{effect.kind}/{effect.region}")
        if copy is not None and copy.is_fenced:
            raise Permanent(f"{copy.key} was fenced when another region took over: it can only follow that one.")
        if copy is None and any(stores.of(effect.kind)):
            raise Permanent(
                f"The data of {effect.kind} are in another region: {effect.region} can't begin with nothing."
            )
        stores.begin(effect.kind, effect.region, effect.is_synchronous)
        return 0.0
    primary = stores.copies.get(f"{effect.kind}/{effect.follow}")
    reached = primary is not None and world.answers(primary.key) and spread.wan.passes(effect.region, effect.follow)
    if primary is None or primary.role is not ReplicaRole.PRIMARY or not reached:
        raise Retryable(f"{effect.kind} in {effect.region} can't follow {effect.follow}: no primary answers there.")
    stores.follow(effect.kind, effect.region, primary)
    return FOLLOW_S


def _change_copy(world: World, effect: StartEngine) -> None:
    """Let a store that runs already run as the order says. Raises `Refused` where that takes a stop, or a promotion."""
    copy = world.spread.stores.copies.get(f"{effect.kind}/{effect.region}") if world.spread else None
    if copy is None:
        return
    if not world.answers(copy.key):
        raise Retryable(f"{copy.key} does not answer, so it can't be changed now.")
    if (copy.role is ReplicaRole.STANDBY) != bool(effect.follow):
        raise Refused(f"{copy.key} is a {copy.role} now: it must be stopped or promoted first.")
    copy.follows, copy.is_synchronous = effect.follow, effect.is_synchronous and not effect.follow


def _stop_engine(world: World, effect: StopEngine) -> float:
    key = f"{effect.kind}/{effect.region}"
    engine = world.engines.get(key)
    if engine is None:
        return 0.0
    _expect(effect.expected_generation, engine, key)
    copy = world.spread.stores.copies.get(key) if world.spread else None
    if copy is not None and effect.at_once:
        copy.is_fenced = True
    # A driver goes on counting: the stop of the next one must not look like this one.
    world.generations[key] = engine.generation
    del world.engines[key]
    _forget_table(world, effect.kind, effect.region, only_unpublished=False)
    world.wake(effect.kind)
    return SPAWN_S if effect.at_once else ENGINE_STOP_S


def _forget_table(world: World, kind: str, region: str, *, only_unpublished: bool) -> None:
    """A new process runs no table, unless this life of the control plane has one to give it."""
    if kind == "gateway" and not (only_unpublished and region in world.published):
        world.gateways[region].forget()
    elif kind == "entry" and world.spread is not None and not (only_unpublished and "entry" in world.published):
        world.spread.entry.accept(None, "")


def _promote(world: World, effect: Promote) -> float:
    if world.spread is None:
        raise Permanent("There is one region, so there is no standby to promote.")
    key = f"{effect.kind}/{effect.region}"
    engine, copy = world.engines.get(key), world.spread.stores.copies.get(key)
    if engine is None or copy is None or not world.serves(engine):
        raise Retryable(f"{key} does not answer, so it can't be promoted now.")
    _expect(effect.expected_generation, engine, key)
    is_primary = copy.role is ReplicaRole.PRIMARY
    if copy.promotions > effect.number or (copy.promotions == effect.number and not is_primary):
        raise Refused(
            f"promotion {effect.number} of {key} comes late: it was promoted as number {copy.promotions} since."
        )
    if not is_primary:
        world.spread.stores.promote(copy, effect.number)
    world.wake(effect.kind)
    return PROMOTE_S


def _expect(generation: int, engine: Engine | None, key: str) -> None:
    """Raise `Refused` when an engine has changed since the decider looked."""
    actual = engine.generation if engine else 0
    if generation != actual:
        raise Refused(f"{key} has changed since it was looked at (generation {actual}, not {generation}).")


def _publish(world: World, effect: PublishRoutes, epoch: int) -> float:
    region = effect.table.region
    gateway = world.gateways.get(region)
    if gateway is None:
        raise Permanent(f"There is no gateway in {region}.")
    refusal = _take_table(world, region, f"gateway/{region}", (epoch, effect.expected_generation))
    if refusal:
        gateway.refused = refusal
        raise Permanent(f"The gateway of {region} refused the table ({refusal}); the one before goes on serving.")
    gateway.accept(effect.table, effect.table_digest)
    world.counts["published"] += 1
    world.wake("gateway")
    return ACCEPT_S


def _publish_entry(world: World, effect: PublishEntry, epoch: int) -> float:
    if world.spread is None:
        raise Permanent("There is one region, so there is no global entry.")
    entry, key = world.spread.entry, world.spread.entry_key
    refusal = _take_table(world, "entry", key, (epoch, effect.expected_generation))
    if refusal:
        entry.refused = refusal
        raise Permanent(f"The entry refused the table ({refusal}); the one before goes on serving.")
    entry.accept(effect.table, effect.table_digest)
    world.counts["published"] += 1
    world.wake("entry")
    return ACCEPT_S


def _take_table(world: World, name: str, key: str, number: tuple[int, int]) -> str:
    """Count the table `number` of `name`; why it is refused by the engine itself, empty when it is not. Raises `DriverError`."""
    engine = world.engines.get(key)
    if engine is None or engine.state is not EngineState.READY:
        raise Retryable(f"{key} is not there to take a table.")
    if number < world.published.get(name, (0, 0)):
        raise Refused(f"{key} was already given newer routes than these.")
    if world.refused_until_s.get(name, 0.0) > world.clock.elapsed_s:
        return "simulated refusal"
    world.published[name] = number
    return ""
