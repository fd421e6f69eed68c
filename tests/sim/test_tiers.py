"""Pools by tier in virtual time: one tier's flood is that pool's alone, and a pool that has nobody is stood in for by that of all."""

from collections.abc import Mapping
from statistics import median

import pytest

from tenfold.deciders import decide
from tenfold.effects.faults import Kill
from tenfold.facts import InstanceState, UpRequest
from tenfold.model import Health, Model, Region, Release, Scaling, Service, Tier
from tenfold.sim import Behaviour, Rate, Simulation, World, constant, steps
from tests.sim.spread import PLACES

WEB = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=Scaling(2, 20))
POOLS = ("web", "web-gold")
PER_S = 10.0
LIKE_WEB = Behaviour(cpu_ms=20, wait_ms=80, idempotent_ratio=1.0)


class Tiered(Simulation):
    """A shop whose tier gold has a pool, up and serving in these regions; `rates` are by pool."""

    def __init__(self, seed: str, rates: Mapping[str, Rate], names: str = "a", gold_max: int = 20) -> None:
        services = {"web": WEB, "web-gold": WEB.of_tier("gold", Scaling(1, gold_max))}
        regions = {name: Region(name, PLACES[name]) for name in names}
        model = Model("shop", services, regions, tiers={"gold": Tier("gold", tenants=("acme",))})
        print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
        rtt_ms = {f"{x}>{y}": 80.0 for x in names for y in names if x < y}
        world = World(model, seed, rates=rates, behaviours=dict.fromkeys(services, LIKE_WEB), rtt_ms=rtt_ms)
        super().__init__(world, decide)
        self.ask(UpRequest("up", world.clock.now(), Release("r1", services, "source", world.clock.now())))
        self.run_until(lambda: "up" in self.answers, 120)
        self.run(60)

    def ready(self, pool: str) -> int:
        """How many instances of it are."""
        service, _, region = pool.partition("@")
        return sum(one.state is InstanceState.READY for one in self.world.living(service, region))

    def is_out(self, region: str) -> bool:
        """Whether the pool of all has gold's requests there."""
        return self.world.gateways[region].routes["web-gold"].is_out

    def failed(self) -> float:
        """Requests that failed for their clients, so far."""
        spread = self.world.spread
        return spread.entry.clients.failed if spread else sum(p.totals.failed for p in self.world.pools.values())


def test_a_flood_of_one_tier_scales_its_pool_alone() -> None:
    """Ten times the load of gold is answered by instances of gold: the number of the others stays, and nothing fails any more."""
    shop = Tiered("flood", {"web@a": constant(20.0), "web-gold@a": steps((0, 20), (300, 100), (330, 200))})
    shop.run_until(lambda: shop.world.clock.elapsed_s >= 290, 300)
    assert (shop.ready("web@a"), shop.ready("web-gold@a")) == (2, 1)
    shop.run_until(lambda: shop.ready("web-gold@a") >= 5, 300)
    before = shop.failed()
    shop.run(120)
    assert shop.failed() == before
    assert shop.ready("web@a") == 2
    whys = [decision.why for _, decision in shop.decided if decision.by == "scale"]
    assert whys and all(why.startswith("web-gold@a needs") for why in whys)


def test_a_flood_of_all_others_leaves_the_tier_alone() -> None:
    """What the pool of all has too much of is not lent to a tier's pool, whose answers take as long as before."""
    shop = Tiered("others", {"web@a": steps((0, 40), (200, 4000)), "web-gold@a": constant(20.0)})
    shared, own = (shop.world.pools[f"{service}@a"].totals for service in POOLS)
    before = shared.failed, own.failed
    shop.run_until(lambda: shop.world.clock.elapsed_s >= 260, 300)
    assert shared.failed > before[0]
    assert own.failed == before[1]
    assert shop.ready("web-gold@a") == 1


def test_a_pressed_tier_takes_no_region_out() -> None:
    """What is too much for gold's pool near a goes to b, where there is room: nothing fails, gold is quick, and most others stay."""
    rates = {"web@a": constant(60.0), "web@b": constant(60.0), "web-gold@a": steps((0, 20), (200, 75))}
    shop = Tiered("pressed", {**rates, "web-gold@b": constant(10.0)}, "ab", gold_max=1)
    shop.run_until(lambda: shop.world.clock.elapsed_s >= 200, 300)
    before, said, away, whole = shop.failed(), len(shop.decided), 0.0, 0.0
    times_ms: list[float] = []
    assert shop.world.spread is not None
    for _ in range(240):
        shop.run(1)
        for (origin, _, region), count in shop.world.spread.entry.served.items():
            whole, away = whole + count, away + count * (origin != region)
        last = shop.world.pools["web-gold@a"].last
        times_ms.append((last.fixed_s + last.random_s) / last.answered * 1000 if last.answered else 0.0)
    assert [decision.why for _, decision in shop.decided[said:] if decision.by == "failover"] == []
    assert shop.failed() == before
    assert away < 0.4 * whole
    assert median(times_ms) < 500.0


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_dead_pool_is_stood_in_for(names: str) -> None:
    """Gold's only instance is killed: the pool of all has its requests until another is ready, and only those of a moment fail."""
    rates = {f"{pool}@{name}": constant(PER_S) for pool in POOLS for name in names}
    shop = Tiered(f"dead/{names}", rates, names)
    before = shop.failed()
    shop.world.inflict(Kill("web-gold@a"))
    shop.run_until(lambda: shop.is_out("a"), 5)
    assert not shop.ready("web-gold@a")
    shop.run_until(lambda: not shop.is_out("a"), 60)
    assert shop.ready("web-gold@a") == 1
    assert shop.failed() - before <= 2.0 * PER_S
    before = shop.failed()
    shop.run(60)
    assert shop.failed() == before
