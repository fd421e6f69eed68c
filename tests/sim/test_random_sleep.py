"""Random faults on a shop that sleeps, over many seeds: whoever comes when the trouble is over is served, and nothing is forgotten.

A seed that fails is printed; `test_whatever_happens[SEED]` plays it again.
"""

from random import Random

import pytest

from tenfold.deciders import decide
from tenfold.facts import UpRequest
from tenfold.model import Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, ClockJump, FaultSchedule, Simulation, World, steps
from tenfold.sim.door import HELD_MAX

SEEDS = 24
IDLE_S = 30.0
TROUBLE_S = 400.0
CALM_S = 1000.0
"""When all is healed, and given up on nothing."""
POOL = "web@local"
WEB = Service("web", "serve", paths=("/",), health=Health("/health"), scaling=Scaling(0, 4, idle_s=IDLE_S))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens(seed: int) -> None:
    """Never do more wait than may; in the calm it sleeps, and all who come then wait for one start and are answered."""
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    random = Random(f"sleep/{seed}")
    faults = FaultSchedule.drawn(
        seed, from_s=20, until_s=TROUBLE_S, count=random.randint(1, 10), pools=[POOL], regions=["local"]
    ).entries
    if random.random() < 0.3:
        jump = ClockJump(random.choice([-86_400, -3600, -60, 60, 3600, 86_400]))
        faults = tuple(sorted((*faults, (random.uniform(20, TROUBLE_S), jump)), key=lambda entry: entry[0]))
    points, at_s = [(0.0, 2.0)], 20.0
    while at_s < TROUBLE_S:
        points += [(at_s, 0.0), (at_s + random.uniform(5, 80), random.choice([0.2, 5.0, 40.0, 200.0]))]
        at_s = points[-1][0] + random.uniform(1, 40)
    last_s = CALM_S + 300.0
    rate = steps(*points, (at_s, 0.0), (last_s, 20.0), (last_s + 5.0, 0.0))
    model = Model("shop", {"web": WEB}, {"local": Region("local")})
    world = World(model, seed, rates={POOL: rate}, behaviours={"web": Behaviour(start_s=random.uniform(0.5, 15.0))})
    here, pool = Simulation(world, decide, FaultSchedule(faults)), world.pools[POOL]
    here.ask(UpRequest("up", world.clock.now(), Release("r1", {"web": WEB}, "source", world.clock.now())))

    def has_room() -> None:
        """What must be so at every step."""
        assert pool.door.count <= HELD_MAX

    here.run(last_s - 1.0, has_room)
    assert "up" in here.answers
    assert here.answers["up"].ok
    assert not world.living("web", "local"), "in the calm nobody is awake"
    assert pool.door.count == 0
    before, starts = pool.totals.failed, pool.door.starts
    here.run(60.0, has_room)
    assert pool.totals.failed == before
    assert pool.door.starts == starts + 1
    assert pool.door.count == 0
    here.run_until(lambda: not world.living("web", "local"), 300)
    assert world.counts["doubled"] == 0
