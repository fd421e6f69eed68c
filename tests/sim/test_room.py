"""Room as stories in virtual time: a region that was short of it gets its clients back once it has the instances for them."""

from collections.abc import Mapping

import pytest

from tenfold.deciders import decide
from tenfold.facts import UpRequest
from tenfold.model import Health, Model, Region, Release, Scaling, Service, Targets
from tenfold.sim import Behaviour, Rate, Simulation, World, constant, steps
from tests.sim.spread import PLACES

WEB = Service("web", "serve", paths=("/",), health=Health("/now"), scaling=Scaling(2, 60))
JUMPS_S = 300.0
RTT_MS = {"a>b": 200.0, "a>c": 280.0, "b>c": 110.0}


class Grown(Simulation):
    """Three regions, up and serving, whose two instances hold 90 requests/s and may become 60; a start takes half a minute."""

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        regions = {name: Region(name, PLACES[name], 40_000, latency_ms=75.0) for name in "abc"}
        targets = Targets(concurrent_users=10_000, throughput_rps=1000.0)
        behaviour = Behaviour(cpu_ms=20, wait_ms=30, start_s=30.0, idempotent_ratio=1.0)
        world = World(
            Model("shop", {"web": WEB}, regions, targets=targets),
            7,
            rates={f"web@{name}": rate for name, rate in rates.items()},
            behaviours={"web": behaviour},
            rtt_ms=RTT_MS,
            step_s=1.0,
        )
        super().__init__(world, decide)
        self.ask(UpRequest("up", world.clock.now(), Release("r1", {"web": WEB}, "source", world.clock.now())))
        self.run_until(lambda: "up" in self.answers, 240)
        self.run_until(lambda: world.clock.elapsed_s >= JUMPS_S - 1, 300)

    def ways(self) -> Mapping[str, Mapping[str, float]]:
        """Where the clients of each region go."""
        return {origin: self.memory.regions.ways[f"{origin}|"] for origin in "abc"}


@pytest.mark.parametrize(
    "jumps",
    [{"a": steps((0, 40), (JUMPS_S, 400))}, dict.fromkeys("abc", steps((0, 40), (JUMPS_S, 300)))],
    ids=["in one region", "in all"],
)
def test_after_a_jump_each_region_serves_its_own_again(jumps: Mapping[str, Rate]) -> None:
    """Five to ten times as many at once, for which no region has the instances yet: within ten minutes all are at home, and stay."""
    shop = Grown(dict.fromkeys("abc", constant(40.0)) | jumps)
    at_home = {name: {name: 1.0} for name in "abc"}
    assert shop.ways() == at_home
    shop.run(10)
    assert shop.ways() != at_home
    assert shop.memory.regions.room_per_s
    shop.run(590)
    for _ in range(120):
        assert shop.ways() == at_home
        shop.run(1)
