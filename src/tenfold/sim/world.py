"""The false world itself: what is, and how a step of time changes it. Nothing here decides; `sim.deeds` carries orders out upon it."""

from collections.abc import Callable, Mapping
from random import Random

from tenfold.effects.faults import Freeze, Kill, Slow
from tenfold.facts import EngineState, Fact, InstanceState, ReleaseSeen, TaskState
from tenfold.model import Model, Release, RouteTable
from tenfold.model.routes import EndpointState
from tenfold.ports import Permanent, Retryable
from tenfold.sim.behaviour import Behaviour, Breakage
from tenfold.sim.clock import VirtualClock
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
from tenfold.sim.parts import NEVER_S, Engine, Gateway, Instance, Task
from tenfold.sim.pool import Pool
from tenfold.sim.rates import Rate, constant, poisson

NOTHING = constant(0.0)
TIMEOUT_S = 60.0
"""How long a request may take where the gateway's table does not say."""


class World:
    """Regions with their gateways, engines, instances, tasks and traffic, moved by `step` on a virtual clock.

    `rates` and `sockets` are by pool (`web@local`): requests per second and open WebSockets over time. `behaviours` are by service,
    `broken` by release id. Every draw comes from `seed`, each concern from a stream of its own, so that one more instance
    does not change the arrivals.
    """

    def __init__(
        self,
        model: Model,
        seed: int | str,
        *,
        clock: VirtualClock | None = None,
        rates: Mapping[str, Rate] | None = None,
        sockets: Mapping[str, Rate] | None = None,
        behaviours: Mapping[str, Behaviour] | None = None,
        broken: Mapping[str, Breakage] | None = None,
        step_s: float = 1.0,
    ) -> None:
        """`model` names the regions that are run and the releases that are at hand; `step_s` is how finely time passes."""
        self.model, self.seed, self.step_s = model, seed, step_s
        self.clock = clock or VirtualClock()
        self.rates, self.sockets = dict(rates or {}), dict(sockets or {})
        self.behaviours, self.broken = dict(behaviours or {}), dict(broken or {})
        self.arrivals_random = Random(f"arrivals/{seed}")
        self.life_random = Random(f"life/{seed}")
        self.choice_random = Random(f"choice/{seed}")
        self.releases: dict[str, Release] = dict(model.releases)
        self.instances: dict[str, Instance] = {}
        self.tasks: dict[str, Task] = {}
        self.engines: dict[str, Engine] = {}
        self.generations: dict[str, int] = {}
        self.gateways = {region: Gateway(region, RouteTable(region)) for region in model.regions}
        self.pools: dict[str, Pool] = {}
        for region in model.regions:
            for name, service in model.services.items():
                if service.runs_always:
                    self.pools[f"{name}@{region}"] = Pool(name, region)
        self.epoch, self.epoch_seen = 0, 0
        self.lease_holder: object = None
        self.life = 0
        self.done: set[str] = set()
        self.published: dict[str, tuple[int, int]] = {}
        self.counts = {"started": 0, "stopped": 0, "died": 0, "published": 0}
        self._stepped_s = self.clock.elapsed_s
        self._wakes: list[tuple[str, Callable[[], None]]] = []
        self._blind: dict[str, float] = {}
        self._stale: dict[str, tuple[float, tuple[Fact, ...]]] = {}
        self.receipts_lost_until_s = self.receipts_late_until_s = self.doubled_until_s = 0.0
        self.receipts_late_s = 0.0
        self.refused_until_s: dict[str, float] = {}
        self._number = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """The observers of this world, by the name of what they see."""
        return ("process", "gateway", *(("postgres", "valkey") if self.model.data is not None else ()))

    def number(self) -> int:
        """A number never given before: ports and pids."""
        self._number += 1
        return self._number

    def behaviour(self, service: str) -> Behaviour:
        """What programs of `service` are like."""
        return self.behaviours.get(service, Behaviour())

    def add_release(self, release: Release) -> None:
        """Put a release's files at hand."""
        self.releases[release.id] = release

    def living(self, service: str, region: str) -> list[Instance]:
        """The instances of a pool whose process is there, oldest first."""
        pool = self.pools.get(f"{service}@{region}")
        return list(pool.members.values()) if pool else []

    # --- a control plane's life ---------------------------------------------------------------------------------------

    def adopt(self) -> int:
        """A new control plane begins: what its drivers remembered (ended instances, done keys, tables at hand) is gone."""
        self.life += 1
        self._wakes.clear()
        self.done.clear()
        self.published.clear()
        for instance in [i for i in self.instances.values() if not i.alive]:
            del self.instances[instance.id]
        return self.life

    def subscribe(self, source: str, wake: Callable[[], None]) -> None:
        """Call `wake` when something of `source` begins, changes state or ends."""
        self._wakes.append((source, wake))

    def wake(self, source: str) -> None:
        """Tell subscribers, unless their observer is out."""
        if self._blind.get(source, 0.0) > self.clock.elapsed_s:
            return
        for of, wake in list(self._wakes):
            if of == source:
                wake()

    def look(self, source: str) -> tuple[Fact, ...]:
        """What the observer of `source` tells now; raises `Retryable` while it is out."""
        now_s = self.clock.elapsed_s
        if self._blind.get(source, 0.0) > now_s:
            raise Retryable(f"The observer of {source} does not answer; its last facts stand.")
        until_s, old = self._stale.get(source, (0.0, ()))
        return old if until_s > now_s else self.facts(source)

    def facts(self, source: str) -> tuple[Fact, ...]:
        """The true facts of `source`, now."""
        at, now_s = self.clock.now(), self.clock.elapsed_s
        engines = tuple(e.seen(at) for e in self.engines.values() if e.kind == source)
        if source == "process":
            return (
                *(i.seen(at, i.alive and i.frozen_until_s > now_s) for i in self.instances.values()),
                *(t.seen(at) for t in self.tasks.values()),
                *(ReleaseSeen(release, at) for release in self.releases),
            )
        if source == "gateway":
            up = {e.region for e in self.engines.values() if e.kind == "gateway" and self._serves(e)}
            there = [g for g in self.gateways.values() if f"gateway/{g.region}" in self.engines]
            routed = {f"{s.service}@{g.region}" for g in there for s in g.table.services if g.region in up}
            pools = (self.pools[key].seen(at) for key in routed if key in self.pools)
            return (*engines, *(g.seen(at, g.region in up) for g in there), *sorted(pools, key=lambda p: p.key))
        return engines

    # --- time ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Step for ever on the clock; a background task next to an asyncio brain."""
        while True:
            await self.clock.sleep(self.step_s)
            self.step()

    def step(self) -> None:
        """Bring the world to the clock's now."""
        now_s = self.clock.elapsed_s
        seconds = now_s - self._stepped_s
        if seconds <= 0:
            return
        self._stepped_s = now_s
        for engine in list(self.engines.values()):
            self._move_engine(engine, now_s)
        for task in self.tasks.values():
            if task.state is TaskState.RUNNING and task.ends_elapsed_s <= now_s:
                state = TaskState.SUCCEEDED if task.exit_code == 0 else TaskState.FAILED
                task.end(state, self.clock.now(), None, task.tail)
                self.wake("process")
        for instance in list(self.instances.values()):
            if instance.state is not InstanceState.EXITED:
                self._move_instance(instance, now_s, seconds)
        for key in self.pools:
            self._flow(key, seconds, now_s)

    def _flow(self, key: str, seconds: float, now_s: float) -> None:
        pool = self.pools[key]
        arrivals = poisson(self.arrivals_random, self.rates.get(key, NOTHING)(now_s) * seconds)
        gateway = self.engines.get(f"gateway/{pool.region}")
        if gateway is None or not self._serves(gateway):
            pool.unreachable(arrivals, seconds)
            return
        table = self.gateways[pool.region].table
        routes = next((s for s in table.services if s.service == pool.service), None)
        shares: list[tuple[str, int]] = []
        if routes is not None:
            shares = [(e.instance, e.weight) for e in routes.endpoints if e.state is EndpointState.SERVING]
            if not any(pool.answers(instance, now_s) for instance, _ in shares):
                shares += [(e.instance, e.weight) for e in routes.endpoints if e.state is EndpointState.WARM]
        sockets = int(self.sockets.get(key, NOTHING)(now_s))
        pool.step(arrivals, sockets, seconds, shares, routes.timeout_s if routes else TIMEOUT_S, now_s)

    def _serves(self, engine: Engine) -> bool:
        return engine.state is EngineState.READY and engine.frozen_until_s <= self.clock.elapsed_s

    def _move_engine(self, engine: Engine, now_s: float) -> None:
        frozen = engine.frozen_until_s > now_s
        before = engine.state
        if engine.state is EngineState.STARTING and engine.ready_elapsed_s <= now_s and not frozen:
            engine.enter(EngineState.READY, self.clock.now())
        elif engine.state is EngineState.READY and frozen:
            engine.enter(EngineState.UNHEALTHY, self.clock.now(), "does not answer")
        elif engine.state is EngineState.UNHEALTHY and not frozen:
            engine.enter(EngineState.READY, self.clock.now())
        if engine.state is not before:
            self.wake(engine.kind)

    def _move_instance(self, instance: Instance, now_s: float, seconds: float) -> None:
        if instance.frozen_until_s > now_s:
            if instance.state is InstanceState.STARTING:
                instance.ready_elapsed_s += seconds
            self._check(instance, now_s, well=False)
            if instance.state is not InstanceState.STOPPING:
                return
        if instance.slow_ms and instance.slow_until_s <= now_s:
            instance.slow_ms = 0.0
            instance.tune()
        if instance.exits_elapsed_s <= now_s:
            self.end_instance(instance, instance.exit_note)
        elif instance.state is InstanceState.STARTING:
            instance.cpu_cores = instance.behaviour.start_cpu_cores
            if instance.ready_elapsed_s <= now_s:
                instance.enter(InstanceState.READY, self.clock.now())
                self.wake("process")
        else:
            late = instance.response_s > instance.spec.health.timeout_s
            self._check(instance, now_s, well=not late and instance.sick_elapsed_s > now_s)

    def _check(self, instance: Instance, now_s: float, *, well: bool) -> None:
        """Health as the driver sees it: READY and UNHEALTHY follow rows of failed and passed checks."""
        health = instance.spec.health
        if well:
            instance.ailing_since_s = None
            if instance.state is InstanceState.UNHEALTHY:
                since = instance.well_since_s = now_s if instance.well_since_s is None else instance.well_since_s
                if now_s - since >= health.every_s * (health.healthy_after - 1):
                    instance.enter(InstanceState.READY, self.clock.now())
                    self.wake("process")
            return
        instance.well_since_s = None
        since = instance.ailing_since_s = now_s if instance.ailing_since_s is None else instance.ailing_since_s
        bound_s = health.every_s * (health.unhealthy_after - 1) + health.timeout_s
        if instance.state is InstanceState.READY and now_s - since >= bound_s:
            note = f"did not answer its health check {health.unhealthy_after} times"
            instance.enter(InstanceState.UNHEALTHY, self.clock.now(), note)
            self.wake("process")

    def end_instance(self, instance: Instance, note: str) -> None:
        """Its process is gone. One that was told to stop is forgotten at once, as its StopInstance is done then."""
        stopping = instance.state is InstanceState.STOPPING
        pool = self.pools[f"{instance.spec.name}@{instance.region}"]
        pool.lose(instance)
        pool.members.pop(instance.id, None)
        instance.enter(InstanceState.EXITED, self.clock.now(), note)
        self.counts["stopped" if stopping else "died"] += 1
        if stopping:
            del self.instances[instance.id]
        self.wake("process")

    # --- harm ---------------------------------------------------------------------------------------------------------

    def pick(self, subject: str) -> Instance | Engine | Task:
        """What a fault's subject names: an instance, an engine, a task, or for a pool one of its living instances, chosen by seed."""
        found: Instance | Engine | Task | None = self.instances.get(subject)
        found = found or self.engines.get(subject) or self.tasks.get(subject)
        if found is None and subject in self.pools and (members := self.pools[subject].members):
            found = members[self.choice_random.choice(sorted(members))]
        if found is None:
            raise Permanent(f"There is no {subject} to harm; name an instance, an engine or a pool that runs.")
        return found

    def inflict(self, fault: WorldFault) -> None:
        """Do harm now; raises `Permanent` when its subject is not there. A `ControlCrash` is the business of who runs the brain."""
        now_s = self.clock.elapsed_s
        match fault:
            case Kill(subject):
                self._kill(self.pick(subject))
            case Freeze(subject, seconds):
                found = self.pick(subject)
                if isinstance(found, Task):
                    found.ends_elapsed_s += seconds
                else:
                    found.frozen_until_s = now_s + seconds
            case Slow(subject, extra_ms, seconds):
                slowed = self.pick(subject)
                if not isinstance(slowed, Instance):
                    raise Permanent(f"Only an instance can be slowed, and {subject} is none.")
                slowed.slow_ms, slowed.slow_until_s = extra_ms, now_s + seconds
                slowed.tune()
            case ObserverOutage(source, seconds):
                self._blind[source] = now_s + seconds
            case ObserverStale(source, seconds):
                self._stale[source] = (now_s + seconds, self.facts(source))
            case ReceiptsLost(seconds):
                self.receipts_lost_until_s = now_s + seconds
            case ReceiptsLate(late_s, seconds):
                self.receipts_late_s, self.receipts_late_until_s = late_s, now_s + seconds
            case OrdersDoubled(seconds):
                self.doubled_until_s = now_s + seconds
            case RoutesRefused(region, seconds):
                self.refused_until_s[region] = now_s + seconds
            case ClockJump(by_s):
                self.clock.jump(by_s)
            case ControlCrash():
                raise Permanent("A world can't crash the control plane; who runs the brain does.")

    def thaw(self) -> None:
        """Undo every harm that is still in force. What was killed stays dead."""
        for engine in self.engines.values():
            engine.frozen_until_s = 0.0
        for instance in self.instances.values():
            instance.frozen_until_s = instance.slow_until_s = 0.0
        self._blind.clear()
        self._stale.clear()
        self.refused_until_s.clear()
        self.receipts_lost_until_s = self.receipts_late_until_s = self.doubled_until_s = 0.0

    def _kill(self, found: Instance | Engine | Task) -> None:
        if isinstance(found, Instance):
            if found.alive:
                self.end_instance(found, "killed by signal 9")
        elif isinstance(found, Task):
            if found.state is TaskState.RUNNING:
                found.end(TaskState.UNKNOWN, self.clock.now(), None, "")
                self.wake("process")
        elif found.state is not EngineState.EXITED:
            found.enter(EngineState.EXITED, self.clock.now(), "killed by signal 9")
            found.ready_elapsed_s = NEVER_S
            self.wake(found.kind)
