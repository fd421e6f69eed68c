"""Scheduled floors and a budget in virtual time: instances serve when the hour begins, and a month ends within its money."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tenfold.deciders import decide
from tenfold.facts import InstanceState, UpRequest
from tenfold.model import Budget, Floor, Model, Money, Prices, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, Simulation, World, steps
from tenfold.sim.estimates import Estimates

EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


def made(seed: int, service: Service, budget: Budget | None = None, load: float = 5.0) -> Simulation:
    """One service that serves such a load on virtual time."""
    model = Model("shop", {service.name: service}, {"local": Region("local")}, budget=budget)
    world = World(
        model,
        seed,
        rates={"web@local": steps((0, 5.0), (120, load))},
        behaviours={"web": Behaviour(cpu_ms=20, wait_ms=80, start_s=12.0)},
    )
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    here = Simulation(world, decide, estimates=Estimates(model))
    here.ask(UpRequest("up", world.clock.now(), Release("r1", {service.name: service}, "s1", world.clock.now())))
    here.run_until(lambda: "up" in here.answers, 120)
    assert here.answers["up"].ok, here.answers["up"].text
    return here


def serving(here: Simulation) -> int:
    """How many instances serve."""
    return sum(i.state is InstanceState.READY for i in here.world.living("web", "local"))


@pytest.mark.parametrize("low", [0, 1])
def test_all_of_a_floor_serve_when_its_hour_begins(low: int) -> None:
    """Not one of them is still starting at the first second of the hour, whether the service runs or sleeps before it; none has started
    a minute before, and afterwards all that is not needed goes again."""
    start = World(Model("x", {}, {"local": Region("local")}), 1).clock.now()
    begins = (datetime.fromtimestamp(start, UTC) + timedelta(minutes=12)).replace(second=0)
    minute = begins.hour * 60 + begins.minute
    floor = Floor(EVERY_DAY, minute, (minute + 5) % 1440, 4)
    scaling = Scaling(low, 8, floors=(floor,), idle_s=60.0)
    here = made(11, Service("web", "serve", paths=("/",), scaling=scaling), load=0.0)
    here.run_until(lambda: here.world.clock.now() >= begins.timestamp() - 60, 3600)
    assert serving(here) == low
    here.run_until(lambda: here.world.clock.now() >= begins.timestamp(), 600)
    assert serving(here) == 4
    here.run_until(lambda: here.world.clock.now() >= begins.timestamp() + 299, 600)
    assert serving(here) == 4
    here.run(900)
    assert serving(here) == low


def test_a_budget_says_no_to_some_and_what_runs_goes_on() -> None:
    """Load for twenty instances gets as many as a day may cost; the rest is refused in figures, and nothing that ran is taken away."""
    prices = Prices(Money(Decimal("1"), "EUR"), Money(Decimal("0.001"), "EUR"))
    web = Service("web", "serve", paths=("/",), scaling=Scaling(2, 20))
    sizes = []
    for monthly in (1_000_000, 1000):
        budget = Budget(Money(Decimal(monthly), "EUR"), prices=prices, is_enforced=True)
        here = made(12, web, budget, load=400.0)
        least = serving(here)
        for _ in range(40):
            here.run(10)
            assert serving(here) >= least
        sizes.append(serving(here))
    rich, poor = sizes
    assert 2 < poor < rich
    refused = [d for _, d in here.decided if any(clamp.startswith("budget: ") for clamp in d.clamps)]
    assert "raise budget.monthly to" in refused[-1].clamps[-1]
