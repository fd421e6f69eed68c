"""One seed of trouble over several regions: a drawn world, drawn harm, people in a hurry, and what must hold at every step and in the end.

`Trial(seed).play()` is one story from beginning to end; it raises `Broken` with the seed when an invariant does not hold.
"""

from collections.abc import Mapping
from random import Random

from tenfold.deciders import Intent, decide, settled
from tenfold.deciders.memory import RegionState
from tenfold.effects import (
    Effect,
    Promote,
    PublishEntry,
    PublishRoutes,
    StartEngine,
    StartInstance,
    StopEngine,
    StopInstance,
)
from tenfold.facts import (
    DeployRequest,
    DrainRequest,
    EngineState,
    InstanceState,
    ReplicaRole,
    RollbackRequest,
    UpRequest,
)
from tenfold.model import Data, Health, Model, Region, Release, Rollout, Scaling, Service, Targets
from tenfold.model.project import ResidencyRule
from tenfold.sim.behaviour import Behaviour, Breakage
from tenfold.sim.faults import FaultSchedule
from tenfold.sim.rates import Rate, constant
from tenfold.sim.simulation import Simulation
from tenfold.sim.world import World

TROUBLE_S = 120.0
BEGIN_S = 20.0
QUIET_S = 900.0
"""Longer than any wait of a decider that has not given up: what can be whole is whole by then."""
STEADY_S = 10.0
"""For so long nothing may fail once all is whole."""
FRESH_S = 10.0
"""No effect rests on facts that are older."""
STARTS_PER_MINUTE_MAX = 60
PLACES = {
    "a": (-37.8, 144.9),
    "b": (41.3, -95.9),
    "c": (50.4, 3.8),
    "d": (35.7, 139.7),
    "e": (-23.5, -46.6),
}


class Broken(AssertionError):
    """An invariant did not hold; the text says which, when, and under which seed."""


class Trial:
    """What is drawn for a seed, and how it went."""

    def __init__(self, seed: int) -> None:
        """Nothing happens until `play`."""
        self.seed = seed
        random = self._random = Random(f"regions/{seed}")
        names = "abcde"[: random.choice((2, 3, 3, 3, 3, 5))]
        self.services = _services(random)
        model = _model(random, names, self.services)
        faults = FaultSchedule.drawn(
            f"regions/{seed}",
            from_s=BEGIN_S,
            until_s=TROUBLE_S,
            count=random.randint(1, 10),
            pools=[f"{service}@{name}" for service in self.services for name in names],
            regions=names,
        )
        # Some harm lasts beyond the time in which it is done; nobody is judged before it has ended.
        ends = (at_s + getattr(fault, "seconds", 0.0) for at_s, fault in faults.entries)
        self._over_s = max(TROUBLE_S, *ends)
        self._asks = sorted(random.uniform(5, TROUBLE_S) for _ in range(random.choice((0, 0, 1, 2))))
        self._releases = [f"r{number}" for number in range(2, 2 + len(self._asks))]
        self._drains = _drains(seed, names)
        # Those that break later are found by a longer watch than there is time for here; other stories tell of them, as they do
        # of errors, which are nothing that fails in a quiet world.
        others = (Breakage.CRASH_LATER, Breakage.SICK_LATER, Breakage.ERRORS)
        breakages = [b for b in Breakage if b not in others]
        self._broken = {id_: random.choice(breakages) for id_ in self._releases if random.random() < 0.3}
        rates: Mapping[str, Rate] = {f"web@{name}": constant(random.uniform(5, 60)) for name in names}
        behaviours = {
            "web": Behaviour(cpu_ms=5, wait_ms=30, write_ratio=0.1, task_s=2.0, start_s=random.choice((1.0, 3.0, 6.0))),
            "worker": Behaviour(start_s=1.0),
        }
        world = World(
            model,
            f"regions/{seed}",
            rates=rates,
            behaviours=behaviours,
            broken=self._broken,
            residents={f"{name}|eu": 0.2 for name in names} if model.residency else {},
            is_blind_across=random.random() < 0.5,
        )
        self.simulation = Simulation(world, decide, faults)
        assert world.spread is not None
        self._spread = world.spread
        self._started: list[int] = []
        self._judged = 0
        self.whole_s = 0.0

    def play(self) -> None:
        """Live through the trouble and what follows; raises `Broken`."""
        simulation, clock = self.simulation, self.simulation.world.clock
        simulation.ask(UpRequest("up", clock.now(), self._release("r1")))
        while clock.elapsed_s < self._over_s:
            while self._asks and self._asks[0] <= clock.elapsed_s:
                self._asks.pop(0)
                self._ask()
            while self._drains and self._drains[0][0] <= clock.elapsed_s:
                self._drain(*self._drains.pop(0)[1:])
            self._step()
        for name in simulation.model.regions:
            self._drain(f"region/{name}", is_undo=True)
        lacking = self._lacking()
        while lacking or not settled(simulation.memory):
            self._hold(clock.elapsed_s < self._over_s + QUIET_S, f"not whole in the end: {lacking or 'not settled'}")
            self._step()
            lacking = self._lacking()
        self.whole_s = clock.elapsed_s - self._over_s
        failed = self._spread.entry.clients.failed
        until_s = clock.elapsed_s + STEADY_S
        while clock.elapsed_s < until_s:
            self._step()
        served = simulation.memory.release.serving is not None
        self._hold(not served or self._spread.entry.clients.failed == failed, "requests fail although all is quiet")
        self._hold(not simulation.requests, f"never answered: {list(simulation.requests)}")

    def _release(self, id_: str) -> Release:
        return Release(id_, self.services, f"source of {id_}", self.simulation.world.clock.now())

    def _ask(self) -> None:
        now = self.simulation.world.clock.now()
        id_ = self._releases.pop(0)
        if self._random.random() < 0.75:
            self.simulation.ask(DeployRequest(f"deploy-{id_}", now, self._release(id_)))
        else:
            self.simulation.ask(RollbackRequest(f"back-{id_}", now))

    def _drain(self, subject: str, is_undo: bool) -> None:
        now = self.simulation.world.clock.now()
        self.simulation.ask(
            DrainRequest(f"{'back' if is_undo else 'drain'}-{subject}-{now:.3f}", now, subject, is_undo)
        )

    # --- what must hold at every step ---------------------------------------------------------------------------------

    def _step(self) -> None:
        simulation = self.simulation
        simulation.step()
        counts = simulation.world.counts
        self._hold(counts["doubled"] == 0, "an instance was started twice")
        self._hold(counts["old_obeyed"] == 0, "an order of an old epoch was carried out")
        self._started.append(counts["started"])
        self._hold(self._started[-1] - self._started[-60:][0] <= STARTS_PER_MINUTE_MAX, "a storm of restarts")
        self._look_at_ways()
        self._look_at_data()
        for at_s, decision in simulation.decided[self._judged :]:
            self._hold(bool(decision.why), f"no reason at {at_s}: {decision}")
            for effect in decision.effects:
                source = source_of(effect)
                is_known = not source or simulation.snapshot.fresh(source, FRESH_S)
                self._hold(is_known, f"{effect.key} rests on stale facts of {source}: {decision.why}")
        self._judged = len(simulation.decided)

    def _look_at_ways(self) -> None:
        memory, model = self.simulation.memory.regions, self.simulation.model
        states = [region.state for region in memory.regions.values()]
        taking = (RegionState.SERVING, RegionState.RETURNING)
        self._hold(not states or any(state in taking for state in states), "no region takes traffic")
        table = self._spread.entry.table
        for way in table.ways if table is not None else ():
            whole = sum(share.ratio for share in way.shares)
            self._hold(not way.shares or abs(whole - 1) < 1e-9, f"the shares of {way} sum to {whole}")
            self._hold(bool(way.shares or way.residency), f"{way} has no shares, and no law says so")
        for _, residency, region in self._spread.entry.served:
            is_lawful = not residency or model.regions[region].residency == residency
            self._hold(is_lawful, f"a tenant of {residency} was served in {region}")

    def _look_at_data(self) -> None:
        data = self.simulation.model.data
        for kind, ledger in self._spread.stores.ledgers.items():
            self._hold(ledger.split == 0, f"two primaries of {kind} took writes")
            # Without `rpo: 0s` a primary goes on alone when nobody follows it.
            must_keep = data is not None and data.is_synchronous and data.rpo_s == 0.0 and kind == "postgres"
            self._hold(not must_keep or ledger.lost == 0, f"{ledger.lost:.1f} acknowledged writes of {kind} are lost")

    # --- what must hold in the end ------------------------------------------------------------------------------------

    def _lacking(self) -> str:
        """What is not whole yet, in words; empty when nothing is."""
        simulation, world, memory = self.simulation, self.simulation.world, self.simulation.memory
        if simulation.planes.leader is None:
            return "nobody leads"
        if memory.release.intent is not Intent.UP or memory.release.operation is not None:
            return f"the release: {memory.release.operation}"
        if self._spread.wan.is_harmed:
            return "the network is harmed"
        release = memory.release.serving
        if release is None:
            return ""  # The first release did not start: what is next is for people to say.
        for name, region in memory.regions.regions.items():
            if region.state is not RegionState.SERVING:
                return f"{name} is {region.state}: {region.why}"
        for pool in world.pools.values():
            ready = [i for i in pool.members.values() if i.state is InstanceState.READY and i.release == release]
            scale = memory.scale.pools.get(pool.key)
            if scale is None or len(ready) != scale.wanted or len(pool.members) != scale.wanted:
                return f"{pool.key} has {len(ready)} ready of {scale and scale.wanted}"
            if ready[0].spec.paths and {id_ for id_, _ in pool.shares} != {i.id for i in ready}:
                return f"the gateway of {pool.region} has not got its table"
        return self._lacking_engines() or self._lacking_ways() or self._lacking_stores()

    def _lacking_engines(self) -> str:
        world = self.simulation.world
        wanted = [f"gateway/{region}" for region in world.model.regions] + [self._spread.entry_key]
        wanted += [engine.key for engine in world.engines.values() if engine.state is not EngineState.EXITED]
        return next((f"{key} does not answer" for key in wanted if not world.answers(key)), "")

    def _lacking_ways(self) -> str:
        memory, table = self.simulation.memory, self._spread.entry.table
        if table is None or memory.route.digests.get("entry") != self._spread.entry.table_digest:
            return "the entry has not got its table"
        for way in table.ways:
            own = [share.region for share in way.shares]
            if not way.residency and own != [way.origin]:
                return f"clients near {way.origin} go to {own}"
            if not way.shares:
                return f"clients near {way.origin} that must stay in {way.residency} are refused"
        return ""

    def _lacking_stores(self) -> str:
        model, stores = self.simulation.model, self._spread.stores
        if model.data is None:
            return ""
        for kind in ("postgres", "valkey"):
            primaries = [c for c in stores.of(kind) if c.role is ReplicaRole.PRIMARY and not c.is_parted]
            if len(primaries) != 1 or not self.simulation.world.answers(primaries[0].key):
                return f"{kind} has {len(primaries)} primaries that answer"
            if model.data.replicas and not stores.standbys(primaries[0]):
                return f"nobody follows {primaries[0].key}"
            ends = {
                g.region: [e.port for e in g.table.stores if e.kind == kind]
                for g in self.simulation.world.gateways.values()
            }
            port = self.simulation.world.port_of(primaries[0].key)
            wrong = [region for region, found in ends.items() if found != [port]]
            if wrong:
                return f"the gateway of {wrong[0]} does not send {kind} to {primaries[0].key}"
        return ""

    def _hold(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(f"seed {self.seed}, second {self.simulation.world.clock.elapsed_s:.0f}: {what}")


def source_of(effect: Effect) -> str:
    """The source whose facts an effect rests on; empty for those that rest on none: a task happens once by its name alone."""
    match effect:
        case StartInstance() | StopInstance():
            return "process"
        case PublishRoutes():
            return "gateway"
        case PublishEntry():
            return "entry"
        case StartEngine() | StopEngine() | Promote():
            return effect.kind
        case _:
            return ""


def _drains(seed: int, names: str) -> list[tuple[float, str, bool]]:
    """When people drain what, or ask it back, drawn apart from all else: in half of the trials nobody does."""
    random = Random(f"drains/{seed}")
    subjects = [f"region/{name}" for name in names] + ["web-1", "web-2", "web-5", "worker-1"]
    count = random.choice((0, 0, 1, 3))
    drawn = [(random.uniform(BEGIN_S, TROUBLE_S), random.choice(subjects), random.random() < 0.3) for _ in range(count)]
    return sorted(drawn)


def _services(random: Random) -> dict[str, Service]:
    web = Service(
        "web",
        "serve",
        release_hook="migrate" if random.random() < 0.5 else None,
        paths=("/",),
        health=Health(path="/health"),
        scaling=Scaling(random.choice((1, 2)), 4),
        drain_s=10.0,
    )
    services = {"web": web}
    if random.random() < 0.2:
        services["worker"] = Service("worker", "work", http=False, scaling=Scaling(1, 1), drain_s=5.0)
    return services


def _model(random: Random, names: str, services: dict[str, Service]) -> Model:
    is_legal = random.random() < 0.5
    at_home = random.sample(names, random.choice((1, 2))) if is_legal else []
    regions = {name: Region(name, PLACES[name], 4000, residency="eu" if name in at_home else None) for name in names}
    data = None
    if random.random() < 0.8:
        replicas = random.choice((0, 1, 1, 1))
        is_synchronous = replicas > 0 and random.random() < 0.6
        rpo_s = 0.0 if is_synchronous and random.random() < 0.7 else None
        data = Data(replicas=replicas, is_synchronous=is_synchronous, rpo_s=rpo_s)
    return Model(
        "trial",
        services,
        regions,
        data=data,
        targets=Targets(concurrent_users=10_000, throughput_rps=1000.0),
        residency={"eu": ResidencyRule("eu", tenants=("acme",))} if is_legal else {},
        rollout=Rollout(watch_s=15.0),
    )
