"""What the stories of the simulator share: a small shop, and a person who asks for things in it."""

from collections.abc import Callable, Mapping

import pytest

from tenfold.deciders import decide
from tenfold.facts import DeployRequest, InstanceState, RollbackRequest, UpRequest
from tenfold.model import Data, Health, Model, Region, Release, Scaling, Service
from tenfold.sim import Behaviour, Breakage, FaultSchedule, Rate, Simulation, World

BEHAVIOURS = {"web": Behaviour(cpu_ms=20, wait_ms=80), "worker": Behaviour(start_s=1.0)}


def services(instances_max: int = 8, job: str | None = None) -> dict[str, Service]:
    """A web service with a build and a release hook, a worker, and a job when it has a schedule."""
    web = Service(
        "web",
        "serve",
        build="make",
        release_hook="migrate",
        paths=("/",),
        health=Health(path="/health"),
        scaling=Scaling(2, instances_max),
    )
    made = {"web": web, "worker": Service("worker", "work", http=False, scaling=Scaling(1, 1))}
    if job is not None:
        made["job"] = Service("job", "report", http=False, schedule=job)
    return made


class Shop(Simulation):
    """A simulation of the shop with words for what a person does and sees."""

    def __init__(
        self,
        seed: int | str,
        *,
        rates: Mapping[str, Rate] | None = None,
        broken: Mapping[str, Breakage] | None = None,
        behaviours: Mapping[str, Behaviour] | None = None,
        faults: FaultSchedule | None = None,
        instances_max: int = 8,
        job: str | None = None,
    ) -> None:
        self.made = services(instances_max, job)
        model = Model("shop", self.made, {"local": Region("local")}, data=Data())
        world = World(model, seed, rates=rates, behaviours={**BEHAVIOURS, **(behaviours or {})}, broken=broken)
        print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
        super().__init__(world, decide, faults)

    def release(self, id_: str) -> Release:
        """A release of the shop as it is written now."""
        return Release(id_, self.made, f"source of {id_}", self.world.clock.now())

    def up(self) -> None:
        """Start the shop and wait until it serves."""
        self.ask(UpRequest("up", self.world.clock.now(), self.release("r1")))
        self.run_until(lambda: "up" in self.answers, 120)
        assert self.answers["up"].ok, self.answers["up"].text

    def deploy(self, id_: str) -> str:
        """Ask for a deploy; gives back the request's id."""
        request = f"deploy-{id_}"
        self.ask(DeployRequest(request, self.world.clock.now(), self.release(id_)))
        return request

    def roll_back(self) -> str:
        """Ask to go back; gives back the request's id."""
        request = f"back-{self.world.clock.elapsed_s:.0f}"
        self.ask(RollbackRequest(request, self.world.clock.now()))
        return request

    def ready(self, service: str = "web", release: str | None = None) -> list[str]:
        """The ids of a service's ready instances."""
        found = [i for i in self.world.living(service, "local") if i.state is InstanceState.READY]
        return [i.id for i in found if release in (None, i.release)]

    def whys(self, since_s: float = 0.0) -> list[str]:
        """The reasons given since then."""
        return [decision.why for at_s, decision in self.decided if at_s >= since_s]

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self.world.clock.elapsed_s

    @property
    def failed(self) -> float:
        """Requests that failed for a client, so far."""
        return self.world.pools["web@local"].totals.failed


@pytest.fixture
def shop() -> Callable[..., Shop]:
    """Makes a `Shop`: its first argument is the seed."""
    return Shop
