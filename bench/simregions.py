"""The drills of the regions in the simulator: the same brain over a false world on virtual time, each a plain record to lay beside
the real one. Also a day of 100,000 users in ten regions, and thousands of seeds of random trouble."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from bench.globe import PLACES
from tenfold.deciders import decide
from tenfold.effects.faults import Fault, Freeze, Kill, Lose, Partition, Slow
from tenfold.facts import InstanceState, UpRequest
from tenfold.model import Data, Health, Model, Region, Release, Rollout, Scaling, Service, Targets
from tenfold.model.service import InstanceSize
from tenfold.sim import Behaviour, Broken, Rate, Simulation, Trial, World, constant, day

RTT_MS = 80.0
STEP_S = 0.25
WARM_S = 90.0
"""Until all serves and the entry has learned what is usual."""
RPS = 300.0
REGION = "east"
HARM_S = 30.0
AFTER_S = 90.0
HELD_RATIO_MAX = 0.02
"""So many tries at the struck region, of what its clients ask for, are noise: its traffic has moved."""
BACK_RATIO = 0.95
BACK_FOR_S = 2.0
SETTLED_S = 60.0
CAPACITIES: Mapping[str, int] = {"west": 4000, "east": 3000, "north": 3000}
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Drilled:
    """What clients noticed of one drill. `moved_s` is when the struck region's traffic had left it, counted from the blow, `back_s` when
    it was back in full, counted from the mend (None: never). `extra_ms_max` is the most that a request waited beyond its usual way."""

    drill: str
    offered: float
    failed: float
    failed_idempotent: float
    refused: float
    moved_s: float | None
    back_s: float | None
    extra_ms_max: float


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The region of the control plane and of the primary was lost: when another control plane led, and when writes were acknowledged
    again (None: never); which of the acknowledged writes are lost, or were taken by two primaries at once."""

    is_synchronous: bool
    leads_s: float | None
    writes_s: float | None
    lost: float
    split: float
    per_s: float
    failed_idempotent: float
    old_orders_refused: int
    old_orders_obeyed: int


@dataclass(frozen=True, slots=True)
class Shared:
    """Ways under full load: each region's share of the requests, and how far the worst is from its capacity's (0..1)."""

    shares: Mapping[str, float]
    off_ratio: float


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day: what it cost to compute, what clients got, and what it would cost to run (`instance_hours`). `recovered_s` is how
    long after the loss of a region at the peak nothing failed any more, `restored_s` when it served again in full, from its return."""

    step_s: float
    cpu_s: float
    offered: float
    failed: float
    failed_idempotent: float
    extra_ms_max: float
    instance_hours: float
    instances_max: int
    recovered_s: float | None
    restored_s: float | None
    decisions: int


@dataclass(frozen=True, slots=True)
class Trials:
    """Seeds of random trouble that were played, and those that broke a rule, with what broke."""

    seeds: int
    broken: Sequence[str]
    whole_s_max: float
    took_s: float


async def killed() -> Drilled:
    """The gateway and the instances of one region are killed with -9."""
    return await asyncio.to_thread(_drill, "killed", Kill(f"region/{REGION}"), 0.0)


async def kept_dead() -> Drilled:
    """All of one region is killed and stays dead for a while."""
    return await asyncio.to_thread(_drill, "kept dead", Kill(f"region/{REGION}", HARM_S), HARM_S)


async def frozen() -> Drilled:
    """All of one region is stopped (SIGSTOP)."""
    return await asyncio.to_thread(_drill, "frozen", Freeze(f"region/{REGION}", HARM_S), HARM_S)


async def partitioned() -> Drilled:
    """Nothing passes to or from one region."""
    return await asyncio.to_thread(_drill, "partitioned", Partition(REGION, HARM_S), HARM_S)


async def lossy(ratio: float = 0.05) -> Drilled:
    """One region's network loses packets."""
    return await asyncio.to_thread(_drill, "lossy", Lose(REGION, ratio, HARM_S), HARM_S)


async def slower(extra_ms: float = 300.0) -> Drilled:
    """Everything to and from one region takes longer."""
    return await asyncio.to_thread(_drill, "slower", Slow(f"region/{REGION}", extra_ms, HARM_S), HARM_S)


async def further(extra_ms: float = 100.0) -> float | None:
    """Seconds from a change of one region's latency until the ways are right and stay so; None when they never are."""
    return await asyncio.to_thread(_further, extra_ms)


async def taken_over(is_synchronous: bool) -> TakenOver:
    """The region that holds the control plane and the primary is killed and stays dead."""
    return await asyncio.to_thread(_taken_over, is_synchronous)


async def full_load() -> Shared:
    """All regions asked for all they have, most of it near one of them."""
    return await asyncio.to_thread(_full_load)


async def a_day(step_s: float = 5.0, hours: float = 24.0, loses: bool = True) -> Day:
    """Ten regions, 100,000 users; a region is lost at the peak and returns after ten minutes."""
    return await asyncio.to_thread(_day, step_s, hours, loses)


async def trials(seeds: range, tell: Callable[[str], None]) -> Trials:
    """Play every seed, on all cores."""
    return await asyncio.to_thread(_trials, seeds, tell)


def web(low: int = 2, high: int = 2, size: InstanceSize | None = None) -> Mapping[str, Service]:
    """The small app."""
    size = size or InstanceSize()
    return {
        "web": Service("web", "serve", paths=("/",), health=Health("/now"), instance=size, scaling=Scaling(low, high))
    }


def started(
    regions: Mapping[str, Region],
    services: Mapping[str, Service],
    rates: Mapping[str, Rate],
    behaviour: Behaviour,
    *,
    data: Data | None = None,
    targets: Targets | None = None,
    rtt_ms: Mapping[str, float] | None = None,
    step_s: float = STEP_S,
) -> Simulation:
    """A project that is up and has served for a while."""
    model = Model("globe", services, regions, data=data, targets=targets or Targets(), rollout=Rollout(watch_s=3.0))
    world = World(model, 1, rates=rates, behaviours={"web": behaviour}, rtt_ms=rtt_ms, step_s=step_s)
    simulation = Simulation(world, decide)
    release = Release("r1", services, "source", world.clock.now())
    simulation.ask(UpRequest("up", world.clock.now(), release))
    simulation.run(WARM_S)
    return simulation


def three(
    data: Data | None = None, targets: Targets | None = None, rates: Mapping[str, float] | None = None
) -> Simulation:
    """The three regions of the real drills, 80 ms apart, asked for alike unless `rates` tells otherwise."""
    capacities = CAPACITIES if targets is not None else {}
    regions = {name: Region(name, at, capacities.get(name)) for name, at in PLACES.items()}
    per_s = rates or dict.fromkeys(PLACES, RPS / len(PLACES))
    return started(
        regions,
        web(),
        {f"web@{name}": constant(rate) for name, rate in per_s.items()},
        Behaviour(cpu_ms=2, wait_ms=3, start_s=1.0, idempotent_ratio=1.0, write_ratio=0.2 if data is not None else 0.0),
        data=data,
        targets=targets,
        rtt_ms={f"{a}>{b}": RTT_MS for a in PLACES for b in PLACES if a < b},
    )


def _drill(name: str, fault: Fault, harm_s: float) -> Drilled:
    simulation = three()
    spread = simulation.world.spread
    assert spread is not None
    clients, clock = spread.entry.clients, simulation.world.clock
    clients.extra_ms_max = 0.0
    before = (clients.offered, clients.failed, clients.failed_idempotent, clients.refused)
    struck_s = clock.elapsed_s
    left, home = Lasting(), Lasting()
    simulation.world.inflict(fault)
    while clock.elapsed_s < struck_s + harm_s + AFTER_S:
        simulation.step()
        since_s, tries = clock.elapsed_s - struck_s, spread.entry.tries[REGION]
        left.look(tries.tried <= HELD_RATIO_MAX * tries.demand, since_s)
        if since_s > harm_s and left.since_s is not None:
            home.look(spread.entry.served.get((REGION, "", REGION), 0.0) >= BACK_RATIO * tries.demand, since_s)
        if home.since_s is not None:
            break
    return Drilled(
        name,
        clients.offered - before[0],
        clients.failed - before[1],
        clients.failed_idempotent - before[2],
        clients.refused - before[3],
        left.since_s,
        None if home.since_s is None else max(0.0, home.since_s - harm_s),
        clients.extra_ms_max,
    )


@dataclass(slots=True)
class Lasting:
    """Since when something holds that went on to hold for `BACK_FOR_S`; None while it has not."""

    since_s: float | None = None
    _from_s: float | None = None

    def look(self, holds: bool, at_s: float) -> None:
        """Whether it holds at `at_s`."""
        if self.since_s is not None:
            return
        self._from_s = (at_s if self._from_s is None else self._from_s) if holds else None
        if self._from_s is not None and at_s - self._from_s >= BACK_FOR_S:
            self.since_s = self._from_s


def _further(extra_ms: float) -> float | None:
    simulation = three()
    clock = simulation.world.clock
    before, struck_s, changed_s = simulation.memory.regions.ways, clock.elapsed_s, None
    simulation.world.inflict(Slow(f"region/{REGION}", extra_ms, 10 * SETTLED_S))
    while clock.elapsed_s < struck_s + SETTLED_S:
        simulation.step()
        if simulation.memory.regions.ways != before:
            before, changed_s = simulation.memory.regions.ways, clock.elapsed_s - struck_s
    return changed_s if before[f"{REGION}|"].get(REGION, 0.0) == 0.0 else None


def _taken_over(is_synchronous: bool) -> TakenOver:
    simulation = three(data=Data(replicas=1, is_synchronous=is_synchronous))
    world, spread = simulation.world, simulation.world.spread
    assert spread is not None
    ledger, clients = spread.stores.ledger("postgres"), spread.entry.clients
    lost, split, failed = ledger.lost, ledger.split, clients.failed_idempotent
    home, epoch, struck_s = world.model.home, world.epoch, world.clock.elapsed_s
    per_s = sum(copy.per_s for copy in spread.stores.of("postgres"))
    world.inflict(Kill(f"region/{home}", SETTLED_S))
    leads_s = writes_s = None
    while world.clock.elapsed_s < struck_s + SETTLED_S + AFTER_S:
        acked = ledger.acked
        simulation.step()
        since_s = world.clock.elapsed_s - struck_s
        if leads_s is None and simulation.planes.leader is not None and world.epoch > epoch:
            leads_s = since_s
        if writes_s is None and ledger.acked > acked:
            writes_s = since_s
    return TakenOver(
        is_synchronous,
        leads_s,
        writes_s,
        ledger.lost - lost,
        ledger.split - split,
        per_s,
        clients.failed_idempotent - failed,
        world.counts["old_refused"],
        world.counts["old_obeyed"],
    )


def _full_load() -> Shared:
    # Ten users make a request a second; the rooms of all three together are asked for, most of it near one of them.
    targets = Targets(concurrent_users=10_000, throughput_rps=1000.0)
    simulation = three(targets=targets, rates={"west": 150.0, "east": 250.0, "north": 600.0})
    spread = simulation.world.spread
    assert spread is not None
    tried = dict.fromkeys(PLACES, 0.0)

    def count() -> None:
        for name in tried:
            tried[name] += spread.entry.tries[name].tried

    simulation.run(SETTLED_S, count)
    whole, users = sum(tried.values()), sum(CAPACITIES.values())
    shares = {name: count / whole for name, count in tried.items()}
    return Shared(shares, max(abs(shares[name] - CAPACITIES[name] / users) for name in shares))


TEN: Mapping[str, tuple[float, float]] = {
    "melbourne": (-37.8, 144.9),
    "singapore": (1.35, 103.8),
    "tokyo": (35.7, 139.7),
    "mumbai": (19.1, 72.9),
    "helsinki": (60.6, 27.2),
    "belgium": (50.4, 3.8),
    "sao-paulo": (-23.5, -46.6),
    "carolina": (33.2, -80.0),
    "iowa": (41.3, -95.9),
    "oregon": (45.6, -121.2),
}
USERS, USERS_RPS = 100_000, 10_000.0
PEAK_S = 14 * 3600.0
LOST, LOST_S = "belgium", 600.0
FINE_STEP_S = 1.0
AROUND_S = 1200.0


def _day(step_s: float, hours: float, loses: bool) -> Day:
    # All peak at once, twice the mean: one origin's night would hide another's day.
    each = USERS_RPS / len(TEN)
    simulation = started(
        {name: Region(name, at, USERS // len(TEN) * 2) for name, at in TEN.items()},
        web(2, 20, InstanceSize(cpu_cores=4.0, concurrency=400)),
        {f"web@{name}": day(0.4 * each, 1.6 * each, PEAK_S) for name in TEN},
        Behaviour(cpu_ms=5, wait_ms=30, start_s=10.0, write_ratio=0.1),
        data=Data(replicas=1),
        targets=Targets(concurrent_users=2 * USERS, throughput_rps=2 * USERS_RPS),
        step_s=FINE_STEP_S,
    )
    world, spread = simulation.world, simulation.world.spread
    assert spread is not None
    clients, clock = spread.entry.clients, world.clock
    before = (clients.offered, clients.failed, clients.failed_idempotent, len(simulation.decided))
    clients.extra_ms_max = 0.0
    cpu_s, instance_s, instances_max = time.thread_time(), 0.0, 0
    lost_s = PEAK_S if loses and hours * 3600 > PEAK_S else float("inf")
    is_lost, failed_s, home_s = False, None, None
    until_s = hours * 3600
    while clock.elapsed_s < until_s:
        # Where something happens time passes in the steps of the real loop.
        world.step_s = FINE_STEP_S if lost_s - 60 <= clock.elapsed_s < lost_s + AROUND_S else step_s
        if not is_lost and clock.elapsed_s >= lost_s:
            world.inflict(Kill(f"region/{LOST}", LOST_S))
            is_lost = True
        failed, at_s = clients.failed, clock.elapsed_s
        simulation.step()
        alive = sum(i.state is not InstanceState.EXITED for i in world.instances.values())
        instance_s += alive * (clock.elapsed_s - at_s)
        instances_max = max(instances_max, alive)
        if is_lost:
            since_s = clock.elapsed_s - lost_s
            failed_s = since_s if clients.failed > failed and since_s < LOST_S else failed_s
            is_home = spread.entry.served.get((LOST, "", LOST), 0.0) >= BACK_RATIO * spread.entry.tries[LOST].demand
            home_s = (since_s if home_s is None else home_s) if is_home else None
    return Day(
        step_s,
        time.thread_time() - cpu_s,
        clients.offered - before[0],
        clients.failed - before[1],
        clients.failed_idempotent - before[2],
        clients.extra_ms_max,
        instance_s / 3600,
        instances_max,
        failed_s or (0.0 if is_lost else None),
        None if home_s is None else max(0.0, home_s - LOST_S),
        len(simulation.decided) - before[3],
    )


def _trials(seeds: range, tell: Callable[[str], None]) -> Trials:
    began_s, broken, whole_s_max = time.monotonic(), list[str](), 0.0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for played, (error, whole_s) in enumerate(pool.map(_play, seeds, chunksize=8), 1):
            if error:
                broken.append(error)
                tell(error)
            whole_s_max = max(whole_s_max, whole_s)
            if played % 500 == 0:
                tell(f"{played} of {len(seeds)} seeds played, {len(broken)} broke a rule")
    return Trials(len(seeds), broken, whole_s_max, time.monotonic() - began_s)


def _play(seed: int) -> tuple[str, float]:
    """What broke, empty when nothing did; and how long it took until all was whole."""
    trial = Trial(seed)
    try:
        trial.play()
    except Broken as broken:
        return str(broken), 0.0
    return "", trial.whole_s
