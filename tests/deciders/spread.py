"""A false view of several regions for the deciders of traffic: a test says what differs from all being well."""

from dataclasses import dataclass, field, replace

from tenfold.deciders.memory import RegionsMemory
from tenfold.deciders.regions import judge
from tenfold.deciders.ways import choose_ways
from tenfold.effects import Decision
from tenfold.facts import (
    EngineSeen,
    EngineState,
    InstanceSeen,
    InstanceState,
    LinkSeen,
    PoolSeen,
    RegionSeen,
    Snapshot,
)
from tenfold.model import Model, Region, Release, ResidencyRule, Scaling, Service, Targets

START = 1_750_000_000.0
SOURCES = ("process", "gateway", "entry", "links")
WEB = Service("web", "serve {port}", paths=("/",), scaling=Scaling(1, 1))
RELEASE = Release("r1", {"web": WEB}, "digest", START)
GROWING = replace(RELEASE, services={"web": replace(WEB, scaling=Scaling(1, 100))})
"""Its pools may have more instances."""
PLACES = {"a": (-37.8, 144.9), "b": (41.3, -95.9), "c": (50.4, 3.8), "d": (35.7, 139.7), "e": (-23.5, -46.6)}


@dataclass
class Globe:
    """Regions a, b, c, ... 80 ms apart, each asked for by clients near it; `tick` judges and chooses."""

    names: tuple[str, ...] = ("a", "b", "c")
    capacity_users: dict[str, int] = field(default_factory=dict)
    residency: dict[str, str] = field(default_factory=dict)
    latency_ms: float | None = None
    now: float = START
    demand: dict[str, float] = field(default_factory=dict)
    rtt: dict[str, float] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)
    seen: dict[str, dict[str, object]] = field(default_factory=dict)
    gateways: dict[str, EngineState] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    is_data_away: bool = False
    drained: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    pools: dict[str, PoolSeen] = field(default_factory=dict)
    cpu_cores: dict[str, float] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    release: Release = RELEASE
    memory: RegionsMemory = RegionsMemory()
    said: list[Decision] = field(default_factory=list)
    changes: int = 0

    @property
    def model(self) -> Model:
        """The blueprint: ten users make one request a second."""
        regions = {
            n: Region(
                n, PLACES.get(n, (0.0, 10.0 * i)), self.capacity_users.get(n), self.latency_ms, self.residency.get(n)
            )
            for i, n in enumerate(self.names)
        }
        rules = {law: ResidencyRule(law, tenants=("acme",)) for law in set(self.residency.values())}
        targets = Targets(concurrent_users=10_000, throughput_rps=1000.0)
        return Model("globe", {"web": WEB}, regions, targets=targets, residency=rules, releases={"r1": RELEASE})

    def snapshot(self) -> Snapshot:
        """What is now."""
        engines = {"entry/a": EngineSeen("entry", "a", EngineState.READY, START, self.now, pid=9)}
        for name in self.names:
            state = self.gateways.get(name, EngineState.READY)
            engines[f"gateway/{name}"] = EngineSeen("gateway", name, state, START, self.now, pid=7)
        instances = {
            f"web-{name}-{nth}": InstanceSeen(
                f"web-{name}-{nth}",
                "web",
                name,
                "r1",
                self._health(name),
                START,
                START,
                self.now,
                pid=5,
                port=1,
                cpu_cores=self.cpu_cores.get(name),
            )
            for name in self.names
            if name not in self.lacking
            for nth in range(self.ready.get(name, 1))
        }
        return Snapshot(
            taken_at=self.now,
            observed={s: self.now - (60.0 if s in self.stale else 0.0) for s in SOURCES},
            engines=engines,
            instances=instances,
            regions={name: self._region(name) for name in self.names},
            links={f"{x}>{y}": self._link(x, y) for x in self.names for y in self.names},
            pools=self.pools,
        )

    def _health(self, name: str) -> InstanceState:
        return InstanceState.UNHEALTHY if name in self.sick else InstanceState.READY

    def _region(self, name: str) -> RegionSeen:
        tries = sum(
            self.demand.get(key.partition("|")[0], 50.0) * shares.get(name, 0.0)
            for key, shares in self.memory.ways.items()
            if key.endswith("|")
        )
        seen = RegionSeen(
            name, self.now, self.demand.get(name, 50.0), tries, first_byte_ms_p50=10.0, first_byte_ms_p99=40.0
        )
        return replace(seen, **self.seen.get(name, {}))  # type: ignore[arg-type]

    def _link(self, x: str, y: str) -> LinkSeen:
        rtt = self.rtt.get(f"{x}>{y}", 1.0 if x == y else 80.0)
        return LinkSeen(x, y, self.now, 40, rtt, self.late.get(f"{x}>{y}", 0.0))

    def slow(self, region: str, extra_ms: float) -> None:
        """All ways to and from `region` take longer."""
        for other in self.names:
            if other != region:
                self.rtt[f"{other}>{region}"] = self.rtt[f"{region}>{other}"] = 80.0 + extra_ms

    def tick(self, seconds: float = 1.0) -> tuple[Decision, ...]:
        """Let `seconds` pass, then judge and choose; what was said."""
        self.now += seconds
        snapshot, model = self.snapshot(), self.model
        before = self.memory.ways
        self.memory, said = judge(model, self.release, snapshot, self.memory, self.is_data_away, self.drained)
        self.memory = choose_ways(model, self.release, snapshot, self.memory)
        self.changes += self.memory.ways != before
        self.said += said
        return said

    def ticks(self, count: int) -> None:
        """So many seconds."""
        for _ in range(count):
            self.tick()

    def share(self, origin: str, region: str) -> float:
        """Which share of the requests of clients near `origin` goes to `region`."""
        return self.memory.ways[f"{origin}|"].get(region, 0.0)

    def state(self, region: str) -> str:
        """`serving`, `out` or `returning`."""
        return str(self.memory.regions[region].state)
