"""How long one decision takes for 100 services in 10 regions: `decide` alone, over a simulated world that is up and serving."""

import asyncio
import gc
import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from bench.shop import Tell
from bench.table import Figure, Unmeasured, at_most, told
from tenfold.deciders import Decided, Memory, decide
from tenfold.facts import InstanceState, RouteSeen, Snapshot, UpRequest
from tenfold.model import Data, Health, Model, Region, Release, Rollout, Scaling, Service
from tenfold.sim import Behaviour, Simulation, World, constant

SERVICES, REGIONS, INSTANCES = 100, 10, 2
MS_MAX = 20.0
SETTLE_TICKS, TICKS = 40, 60
PATH_RPS = 4.0
ROUTES = 50
"""So many routes a gateway tells of."""


async def brain(tell: Tell) -> list[Figure]:
    """Time each decision of a fleet at work."""
    return await asyncio.to_thread(_measure, tell)


def _measure(tell: Tell) -> list[Figure]:
    services = {
        f"s{n}": Service(f"s{n}", "serve", paths=(f"/s{n}",), health=Health("/"), scaling=Scaling(INSTANCES, 8))
        for n in range(SERVICES)
    }
    model = Model(
        "fleet", services, {f"r{n}": Region(f"r{n}") for n in range(REGIONS)}, data=Data(), rollout=Rollout(3.0)
    )
    pools = [f"{s}@{r}" for s in services for r in model.regions]
    behaviour = Behaviour(start_s=2.0, cpu_ms=10, wait_ms=40)
    world = World(
        model, 1, rates={pool: constant(PATH_RPS) for pool in pools}, behaviours=dict.fromkeys(services, behaviour)
    )
    watch = _Watch(_routes(model))
    simulation = Simulation(world, watch)
    simulation.ask(UpRequest("up", world.clock.now(), Release("r1", services, "source", world.clock.now())))
    tell(f"a fleet of {len(pools)} pools starts")
    for _ in range(SETTLE_TICKS):
        simulation.step()
    starting_ms = max(watch.cpu_ms)
    ready = sum(i.state is InstanceState.READY for i in simulation.snapshot.instances.values())
    if ready < len(pools) * INSTANCES:
        raise Unmeasured(
            f"only {ready} of {len(pools) * INSTANCES} simulated instances are ready after {SETTLE_TICKS} ticks"
        )
    tell(f"{ready} instances are ready; {TICKS} decisions are timed")
    watch.cpu_ms.clear()
    watch.wall_ms.clear()
    for _ in range(TICKS):
        simulation.step()
    cpu_ms, wall_ms = median(watch.cpu_ms), median(watch.wall_ms)
    return [
        at_most(
            "one decision, the median", cpu_ms, MS_MAX, "ms", f"{cpu_ms:.1f} ms of CPU ({wall_ms:.1f} ms by the clock)"
        ),
        told("the slowest", f"{max(watch.cpu_ms):.1f} ms of CPU; {starting_ms:.0f} ms for the one that starts all"),
        told("over", f"{SERVICES} services x {len(model.regions)} regions, {_size(simulation.snapshot)}"),
    ]


def _routes(model: Model) -> Mapping[str, RouteSeen]:
    """What a gateway knows of its busiest routes, which the simulator does not have: one in ten is slow by nature."""
    seen = (
        RouteSeen(
            f"s{n}",
            region,
            f"/s{n}/{'report' if n % 10 == 0 else 'list'}",
            500,
            40.0,
            1600.0 if n % 10 == 0 else 120.0,
            0.0,
        )
        for region in model.regions
        for n in range(ROUTES)
    )
    return {r.key: r for r in seen}


def _size(snapshot: Snapshot) -> str:
    parts: Mapping[str, int] = {
        "instances": len(snapshot.instances),
        "pools with traffic": sum(p.requests_per_s > 0 for p in snapshot.pools.values()),
        "routes": ROUTES * len(snapshot.gateways),
        "gateways": len(snapshot.gateways),
        "stores and gateways": len(snapshot.engines),
    }
    return ", ".join(f"{count} {name}" for name, count in parts.items())


class _Watch:
    """A brain that notes how long it thinks, without Python's collector in between: CPU time, which a busy machine leaves as it
    is, and time by the clock."""

    def __init__(self, routes: Mapping[str, RouteSeen]) -> None:
        self._routes = routes
        self.cpu_ms: list[float] = []
        self.wall_ms: list[float] = []

    def __call__(self, model: Model, snapshot: Snapshot, memory: Memory) -> Decided:
        snapshot = replace(snapshot, routes=self._routes)
        gc.disable()
        cpu_s, since_s = time.thread_time(), time.perf_counter()
        decided = decide(model, snapshot, memory)
        self.cpu_ms.append((time.thread_time() - cpu_s) * 1000)
        self.wall_ms.append((time.perf_counter() - since_s) * 1000)
        gc.enable()
        return decided
