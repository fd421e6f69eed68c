"""A shop in several regions for stories in virtual time: who asks near which region, what strikes, and what clients noticed."""

from collections.abc import Mapping

from tenfold.deciders import decide
from tenfold.effects.faults import Fault
from tenfold.facts import UpRequest
from tenfold.model import Data, Health, Model, Region, Release, Rollout, Scaling, Service
from tenfold.model.project import ResidencyRule
from tenfold.sim import Behaviour, Simulation, World, constant
from tenfold.sim.entry import Entry
from tenfold.sim.spread import Spread

PLACES = {"a": (-37.8, 144.9), "b": (41.3, -95.9), "c": (50.4, 3.8)}
WEB = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=Scaling(2, 4), drain_s=5.0)
SERVICES = {"web": WEB}
PER_S = 50.0


class Globe(Simulation):
    """Regions a, b, c, 80 ms apart, up and serving; 50 requests a second near each, all of which may be tried again."""

    def __init__(
        self,
        seed: int,
        *,
        names: str = "abc",
        data: Data | None = None,
        at_home: str = "",
        is_blind_across: bool = False,
        step_s: float = 0.5,
    ) -> None:
        """`at_home` are the regions of residency eu, to which then one request in five of all origins is bound."""
        regions = {n: Region(n, PLACES[n], residency="eu" if n in at_home else None) for n in names}
        rules = {"eu": ResidencyRule("eu", tenants=("acme",))} if at_home else {}
        model = Model("globe", SERVICES, regions, data=data, residency=rules, rollout=Rollout(watch_s=3.0))
        write_ratio = 0.2 if data is not None else 0.0
        behaviour = Behaviour(cpu_ms=5, wait_ms=20, start_s=1.0, idempotent_ratio=1.0, write_ratio=write_ratio)
        world = World(
            model,
            seed,
            rates={f"web@{n}": constant(PER_S) for n in names},
            behaviours={"web": behaviour},
            rtt_ms={f"{x}>{y}": 80.0 for x in names for y in names if x < y},
            residents={f"{n}|eu": 0.2 for n in names} if at_home else {},
            is_blind_across=is_blind_across,
            step_s=step_s,
        )
        print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
        super().__init__(world, decide)
        self.ask(UpRequest("up", world.clock.now(), Release("r1", SERVICES, "source", world.clock.now())))
        self.run_until(lambda: "up" in self.answers, 60)
        self.run(30)

    @property
    def spread(self) -> Spread:
        """What lies between the regions."""
        assert self.world.spread is not None
        return self.world.spread

    @property
    def entry(self) -> Entry:
        """The global entry."""
        return self.spread.entry

    def strike(self, fault: Fault, seconds: float) -> Mapping[str, float]:
        """Do harm and live with it for a while; how many requests of which kind there were meanwhile."""
        clients = self.entry.clients
        names = ("offered", "answered", "failed", "failed_idempotent", "refused")
        before = {name: getattr(clients, name) for name in names}
        clients.extra_ms_max = 0.0
        self.world.inflict(fault)
        self.run(seconds)
        return {name: getattr(clients, name) - before[name] for name in names} | {"extra_ms_max": clients.extra_ms_max}

    def goes_to(self, origin: str, residency: str = "") -> dict[str, float]:
        """Where requests of an origin were answered in the last step, as shares."""
        found = {r: count for (o, law, r), count in self.entry.served.items() if (o, law) == (origin, residency)}
        return {region: round(count / sum(found.values()), 3) for region, count in found.items()}

    def whys(self, since_s: float) -> list[str]:
        """The reasons given since then."""
        return [decision.why for at_s, decision in self.decided if at_s > since_s]
