"""The false world itself: what is, and how a step of time changes it. Nothing here decides; `sim.deeds` carries orders out upon it."""

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from tenfold.effects import Notify
from tenfold.facts import EngineState, Fact, InstanceState, ReleaseSeen, TaskState
from tenfold.model import Model, Release, RouteTable, ServiceRoutes
from tenfold.ports import Permanent, Retryable
from tenfold.sim.behaviour import Behaviour, Breakage
from tenfold.sim.clock import VirtualClock
from tenfold.sim.faults import WorldFault
from tenfold.sim.parts import Engine, Gateway, Instance, Task
from tenfold.sim.pool import TIMEOUT_S, Pool, served_by
from tenfold.sim.rates import Rate, constant, poisson
from tenfold.sim.spread import Spread, place_of
from tenfold.sim.strikes import end_engine, inflict, keep_dead, thaw

NOTHING = constant(0.0)


class World:
    """Regions with their gateways, engines, instances, tasks and traffic, moved by `step` on a virtual clock.

    `rates` and `sockets` are by pool (`web@local`): requests per second and open WebSockets over time. `behaviours` are by service,
    `broken` by release id. Every draw comes from `seed`, each concern from a stream of its own, so that one more instance
    does not change the arrivals.

    With several regions `rates` and `sockets` are by service and *origin*, the region that the clients are nearest to, and the
    global entry's table says where they go. `rtt_ms` tells round trips between regions (`a>b`) where they are not those of the
    places, `residents` which share of an origin's demand is bound to a residency (`a|eu`).
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
        rtt_ms: Mapping[str, float] | None = None,
        residents: Mapping[str, float] | None = None,
        is_blind_across: bool = False,
    ) -> None:
        """`model` names the regions that are run and the releases that are at hand; `step_s` is how finely time passes.
        `is_blind_across`: the control plane sees and reaches nothing of a region that is cut off from its own."""
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
                    ratio = self.behaviour(name).idempotent_ratio
                    self.pools[f"{name}@{region}"] = Pool(
                        name, region, ratio, model.is_spread, model.targets.latency.p95_ms
                    )
        self.spread: Spread | None = None
        if model.is_spread:
            self.spread = Spread(model, seed, rtt_ms or {}, residents or {}, is_blind_across)
        self.epoch, self.epoch_seen = 0, 0
        self.lease_holder: object = None
        self.led_from, self.led_by = "", ""
        self.life = 0
        self.ever: set[str] = set()
        self.ports: dict[str, int] = {}
        self.done: set[str] = set()
        self.told: list[Notify] = []
        self.published: dict[str, tuple[int, int]] = {}
        self.counts = dict.fromkeys(
            ("started", "stopped", "died", "published", "doubled", "old_refused", "old_obeyed"), 0
        )
        self.deaths: dict[str, int] = {}
        self.dead_until_s: dict[str, float] = {}
        self.frozen_until_s: dict[str, float] = {}
        self._skews: dict[str, tuple[float, float]] = {}
        self._skewed_s = 0.0
        self._last_seen: dict[str, dict[tuple[type, str], Fact]] = {}
        self._stepped_s = self.clock.elapsed_s
        self._wakes: list[tuple[str, Callable[[], None]]] = []
        self._blind: dict[str, float] = {}
        self._stale: dict[str, tuple[float, tuple[Fact, ...]]] = {}
        self._stale_at: dict[str, float] = {}
        self.receipts_lost_until_s = self.receipts_late_until_s = self.doubled_until_s = 0.0
        self.receipts_late_s = 0.0
        self.refused_until_s: dict[str, float] = {}
        self._number = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """The observers of this world, by the name of what they see."""
        stores = ("postgres", "valkey") if self.model.data is not None else ()
        return ("process", "gateway", *stores, *(("entry", "links", "voter", "control") if self.spread else ()))

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
        if until_s > now_s:
            return old
        facts = self.facts(source)
        if self.spread is None or not self.spread.is_blind_across:
            return facts
        return self._across(source, facts)

    def _across(self, source: str, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        """`facts` as far as they get to the control plane; of regions that are cut off from it, what was seen last."""
        assert self.spread is not None
        cut = {region for region in self.model.regions if not self.spread.reaches(self.led_from, region)}
        before = self._last_seen.get(source, {}).items()
        seen = {key: fact for key, fact in before if place_of(fact) in cut}
        seen |= {(type(fact), fact.key): fact for fact in facts if place_of(fact) not in cut}
        self._last_seen[source] = seen
        return tuple(seen.values())

    def asked_at(self, source: str) -> float:
        """When the facts of `source` that `look` gives now were found out."""
        until_s, _ = self._stale.get(source, (0.0, ()))
        return self._stale_at[source] if until_s > self.clock.elapsed_s else self.clock.now()

    def blind(self, source: str, until_s: float) -> None:
        """The observer of `source` is out until then."""
        self._blind[source] = until_s

    def stale(self, source: str, until_s: float) -> None:
        """The observer of `source` tells until then what it would tell now."""
        self._stale[source], self._stale_at[source] = (until_s, self.facts(source)), self.clock.now()

    def see_again(self) -> None:
        """All observers see what is, and all clocks are right."""
        self._blind.clear()
        self._stale.clear()
        self._skews.clear()

    def skew(self, subject: str, by_s: float, until_s: float) -> None:
        """The clock of a region (or of one thing, which nobody reads) is off until then. Decisions see it only where they are made."""
        self._skews[subject] = (by_s, until_s)

    def facts(self, source: str) -> tuple[Fact, ...]:
        """The true facts of `source`, now."""
        at, now_s = self.clock.now(), self.clock.elapsed_s
        # A control plane that leads is not among those that its own driver sees.
        there = (e for e in self.engines.values() if e.kind == source and e.key != self.led_by)
        engines = tuple(e.seen(at) for e in there)
        if self.spread is not None:
            engines += self.spread.facts(self, source, at)  # type: ignore[operator]
        if source == "process":
            return (
                *(i.seen(at, i.alive and i.frozen_until_s > now_s) for i in self.instances.values()),
                *(t.seen(at) for t in self.tasks.values()),
                *(ReleaseSeen(release, at) for release in self.releases),
            )
        if source == "gateway":
            up = {e.region for e in self.engines.values() if e.kind == "gateway" and self.serves(e)}
            gateways = [g for g in self.gateways.values() if f"gateway/{g.region}" in self.engines]
            routed = {f"{s.service}@{g.region}" for g in gateways for s in g.table.services if g.region in up}
            pools = (self.pools[key].seen(at) for key in routed if key in self.pools)
            times = self.spread.route_times(self, up, at) if self.spread else ()
            ports = {g.region: self.engines[f"gateway/{g.region}"].port if self.spread else 0 for g in gateways}
            stores = {region: self.spread.stores_reached(self, region) for region in up} if self.spread else {}
            seen = (g.seen(at, g.region in up, ports[g.region], stores.get(g.region, ())) for g in gateways)
            served = (served_by(region, self.pools.values(), at) for region in sorted(up))
            doors = (pool.door.seen(pool.service, pool.region, at) for pool in self.pools.values() if pool.region in up)
            cold = (fact for fact in doors if fact is not None)
            return (*engines, *seen, *served, *sorted(pools, key=lambda p: p.key), *cold, *times)
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
        self._set_clock(now_s)
        if self.spread is not None:
            self.spread.wan.move(now_s)
        keep_dead(self, now_s)
        for engine in list(self.engines.values()):
            self._move_engine(engine, now_s)
        for task in self.tasks.values():
            if task.state is TaskState.RUNNING and task.ends_elapsed_s <= now_s:
                state = TaskState.SUCCEEDED if task.exit_code == 0 else TaskState.FAILED
                task.end(state, self.clock.now(), None, task.tail)
                self.wake("process")
        for instance in list(self.instances.values()):
            if _is_steady(instance, now_s):
                instance.ailing_since_s = None
            elif instance.state is not InstanceState.EXITED:
                self._move_instance(instance, now_s, seconds)
        if self.spread is not None:
            self.spread.move(self, seconds, now_s)
            return
        arrivals: Counter[str] = Counter()
        for pool in self.pools.values():
            mean = self.rates.get(pool.key, NOTHING)(now_s) * seconds
            arrivals[self.taker(pool).key] += poisson(self.arrivals_random, mean)
        for pool in self.pools.values():
            self._flow(pool, arrivals[pool.key], seconds, now_s)

    def taker(self, pool: Pool) -> Pool:
        """The pool that the gateway gives the requests of `pool` to: that of all, where it is a tier's and out."""
        routes = self._routes(pool)
        if routes is None or not routes.is_out:
            return pool
        return self.pools[f"{self.model.services[pool.service].base}@{pool.region}"]

    def _flow(self, pool: Pool, arrivals: int, seconds: float, now_s: float) -> None:
        if not self.answers(f"gateway/{pool.region}"):
            pool.unreachable(arrivals, seconds)
            return
        sockets = int(self.sockets.get(pool.key, NOTHING)(now_s))
        self.plan(pool, now_s)
        data = self.model.data
        write_ratio = self.behaviour(pool.service).write_ratio if data is not None else 0.0
        is_down = data is not None and not data.url and not self.answers(f"postgres/{pool.region}")
        errors = 1 - (1 - (write_ratio if is_down else 0.0)) * (1 - (pool.error_ratio() if self.broken else 0.0))
        through, _ = self.admit(pool, arrivals, now_s)
        pool.step(through, sockets, seconds, now_s, errors)
        pool.totals.written += 0.0 if is_down else pool.last.answered * write_ratio

    def plan(self, pool: Pool, now_s: float) -> None:
        """Note what the gateway does with the pool's requests now, by its table."""
        gateway = self.gateways[pool.region]
        routes = gateway.routes.get(pool.service)
        if routes is None:
            pool.plan((), (), now_s, may_wait=False, timeout_s=TIMEOUT_S)
            return
        serving, warm = gateway.shares[pool.service]
        pool.plan(serving, warm, now_s, may_wait=routes.is_asleep, timeout_s=routes.timeout_s)

    def admit(self, pool: Pool, arrivals: float, now_s: float) -> tuple[float, float]:
        """Of requests that reach a pool's gateway, how many go on to instances, and how many are turned away; the rest waits for one."""
        if not (pool.is_asleep or pool.door.waiting):
            return arrivals, 0.0
        routes, waited = self._routes(pool), bool(pool.door.waiting)
        held_s = routes.health.starts_within_s if routes is not None else 0.0
        found = pool.admit(arrivals, held_s, self.lease_holder is not None, now_s, self.clock.now())
        if pool.door.waiting and not waited:
            self.wake("gateway")
        return found

    def _routes(self, pool: Pool) -> ServiceRoutes | None:
        return self.gateways[pool.region].routes.get(pool.service)

    def serves(self, engine: Engine) -> bool:
        """Whether an engine answers now."""
        return engine.state is EngineState.READY and engine.frozen_until_s <= self.clock.elapsed_s

    def answers(self, key: str) -> bool:
        """Whether the engine of that key is there and answers now."""
        engine = self.engines.get(key)
        return engine is not None and self.serves(engine)

    def runs(self, key: str) -> bool:
        """Whether the engine of that key has come up, though it may hang."""
        engine = self.engines.get(key)
        return engine is not None and engine.state in (EngineState.READY, EngineState.UNHEALTHY)

    def is_up(self, region: str) -> bool:
        """Whether processes can live in a region now."""
        now_s = self.clock.elapsed_s
        return max(self.dead_until_s.get(region, 0.0), self.frozen_until_s.get(region, 0.0)) <= now_s

    def end(self, key: str) -> None:
        """The engine of that key ends by itself."""
        engine = self.engines.get(key)
        if engine is not None and engine.state is not EngineState.EXITED:
            end_engine(self, engine, "exit code 0")

    def port_of(self, key: str) -> int:
        """Where the engine of that key listens; 0 when there is none."""
        engine = self.engines.get(key)
        return engine.port if engine is not None else 0

    def engines_in(self, region: str) -> list[Engine]:
        """The engines that are lost with a region: not the global entry, which stands for what is outside of all of them."""
        return [e for e in self.engines.values() if e.region == region and e.kind != "entry"]

    def _set_clock(self, now_s: float) -> None:
        """Show the wall clock of whoever decides."""
        if not self._skews and not self._skewed_s:
            return
        self._skews = {subject: skew for subject, skew in self._skews.items() if skew[1] > now_s}
        by_s = self._skews.get(self.led_from or self.model.home, (0.0, 0.0))[0]
        self.clock.jump(by_s - self._skewed_s)
        self._skewed_s = by_s

    def _move_engine(self, engine: Engine, now_s: float) -> None:
        frozen = engine.frozen_until_s > now_s
        before = engine.state
        if (
            engine.full_until_s > now_s
            and engine.kind == "postgres"
            and not frozen
            and before is not EngineState.EXITED
        ):
            end_engine(self, engine, "exit code 1: no space left on its disk")
        elif engine.state is EngineState.STARTING and engine.ready_elapsed_s <= now_s and not frozen:
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
        """Do harm now; raises `Permanent` when its subject is not there."""
        inflict(self, fault)

    def thaw(self) -> None:
        """Undo every harm that is still in force."""
        thaw(self)


def _is_steady(instance: Instance, now_s: float) -> bool:
    """Whether it serves and nothing happens to it in this step: most of them, most of the time."""
    return (
        instance.state is InstanceState.READY
        and instance.frozen_until_s <= now_s
        and not instance.slow_ms
        and instance.exits_elapsed_s > now_s
        and instance.sick_elapsed_s > now_s
        and instance.response_s <= instance.spec.health.timeout_s
    )
