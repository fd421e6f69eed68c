"""What a simulated run came to: cost, requests lost, response times, changes of number, and what each blow did. Stage: steps -> figures.

Time under-provisioned is the time in which a pool is asked for more than its ready instances hold within the target; what one holds is
known exactly here (`sim.queue`). It is reckoned from the demand as meant, not as drawn: by chance alone nobody is short.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.deciders.memory import RegionState
from tenfold.effects import Decision
from tenfold.estimators.spend import DAY_S, HOUR_S, HOURS_A_MONTH
from tenfold.facts import InstanceState
from tenfold.sim.rates import Rate
from tenfold.sim.simulation import Simulation

FLAP_S = 600.0
"""A change of number that takes back the one before within so long is a flap."""
POINTS_MAX = 1440
"""So many points of time are kept for a plot."""
QUIET_S = 60.0
"""Nothing may fail for so long before clients count as recovered."""
FAILING_RATIO = 0.001
"""Fewer failures than this share of a step's requests are no outage, where the blueprint names no error rate."""
LOG_GRAIN = 0.01
"""Response times are kept to one percent."""
NOTHING_S = 1e-6


@dataclass(frozen=True, slots=True)
class Made:
    """A decision, and when it was made: seconds since the counted time began."""

    at_s: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class Struck:
    """What a blow did: from `at_s` (since the counted time began) for `lasts_s`.

    `failed` requests failed or were refused until clients had `recovered_s` after it (None: never, within what was simulated). `whole_s` is
    when all was as it should be: every instance ready, and every region taking its traffic.
    """

    name: str
    at_s: float
    lasts_s: float
    failed: float
    recovered_s: float | None
    whole_s: float | None


@dataclass(frozen=True, slots=True)
class PoolCourse:
    """One pool's figures. `short_s` is for how long it was under-provisioned; instances count from their start to their end."""

    key: str
    short_s: float
    instances_min: int
    instances_mean: float
    instances_max: int
    actions: int
    flaps: int


@dataclass(frozen=True, slots=True)
class Course:
    """What the plots show, at the moments `at_s`: requests/s that were asked for, that ready instances hold, and how many instances
    there are."""

    at_s: tuple[float, ...]
    demand_per_s: tuple[float, ...]
    holds_per_s: tuple[float, ...]
    instances: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy came to in `seconds`. `cost` is in `currency`; requests are counted as clients do (`offered` = answered, failed,
    refused and at hand). Quantiles of the response time are over all answers, None without any."""

    policy: str
    seconds: float
    currency: str
    cost: float
    offered: float
    answered: float
    failed: float
    refused: float
    short_s: float
    p50_ms: float | None
    p95_ms: float | None
    actions: int
    flaps: int
    instances_min: int
    instances_mean: float
    instances_max: int
    pools: tuple[PoolCourse, ...]
    struck: tuple[Struck, ...]
    course: Course
    made: tuple[Made, ...]

    @property
    def cost_per_day(self) -> float:
        return self.cost / self.seconds * DAY_S

    @property
    def cost_per_month(self) -> float:
        return self.cost / self.seconds * HOUR_S * HOURS_A_MONTH

    @property
    def lost_ratio(self) -> float:
        """The share (0..1) of all requests that failed or were refused."""
        return (self.failed + self.refused) / self.offered if self.offered > 0 else 0.0

    @property
    def short_ratio(self) -> float:
        return self.short_s / self.seconds

    @property
    def actions_per_day(self) -> float:
        return self.actions / self.seconds * DAY_S


@dataclass(slots=True)
class Times:
    """Response times of very many answers, each to one percent. An answer takes a fixed time and an exponential one (see `sim.queue`)."""

    counts: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, count: float, fixed_s: float, random_s: float) -> None:
        """So many answers took `fixed_s` and an exponential time of mean `random_s`."""
        key = (
            round(math.log(max(fixed_s, NOTHING_S)) / LOG_GRAIN),
            round(math.log(max(random_s, NOTHING_S)) / LOG_GRAIN),
        )
        self.counts[key] = self.counts.get(key, 0.0) + count

    def quantile_ms(self, ratio: float) -> float | None:
        """The time within which `ratio` (0..1) of the answers came; None without any."""
        parts = [
            (n, math.exp(fixed * LOG_GRAIN), math.exp(random * LOG_GRAIN)) for (fixed, random), n in self.counts.items()
        ]
        whole = math.fsum(count for count, _, _ in parts)
        if whole <= 0:
            return None
        low, high = 0.0, max(fixed - random * math.log(1 - ratio) for _, fixed, random in parts)
        while high - low > 0.001 * high:
            middle = (low + high) / 2
            beyond = sum(
                n * (math.exp((fixed - middle) / random) if middle > fixed else 1.0) for n, fixed, random in parts
            )
            low, high = (middle, high) if beyond > (1 - ratio) * whole else (low, middle)
        return high * 1000


@dataclass(slots=True)
class _PoolTally:
    short_s: float = 0.0
    instances_min: int | None = None
    instances_max: int = 0
    instance_s: float = 0.0
    actions: int = 0
    flaps: int = 0
    wanted: int | None = None
    changed: tuple[float, int] | None = None

    def count(self, alive: int, seconds: float) -> None:
        self.instances_min = alive if self.instances_min is None else min(self.instances_min, alive)
        self.instances_max = max(self.instances_max, alive)
        self.instance_s += alive * seconds

    def want(self, wanted: int, at_s: float) -> None:
        """The number that the policy wants now: a change is an action, and one back soon after another a flap."""
        before, self.wanted = self.wanted, wanted
        if before is None or before == wanted:
            return
        direction = 1 if wanted > before else -1
        self.actions += 1
        self.flaps += self.changed is not None and self.changed[1] != direction and at_s - self.changed[0] <= FLAP_S
        self.changed = (at_s, direction)


@dataclass(slots=True)
class _Blow:
    """A blow whose consequences are watched. What fails after the next one is that one's."""

    name: str
    at_s: float
    lasts_s: float
    failed: float = 0.0
    failing_until_s: float | None = None
    recovered_s: float | None = None
    whole_s: float | None = None


class Tally:
    """Counts what `simulation` does, step by step. `holds_per_s` is by service what one instance holds."""

    def __init__(
        self, simulation: Simulation, holds_per_s: Mapping[str, float], rates: Mapping[str, Rate], seconds: float
    ) -> None:
        """Counting begins now and goes on for `seconds`; `rates` are those of the world, by pool."""
        self._simulation, self._world = simulation, simulation.world
        self._holds, self._rates = holds_per_s, rates
        self._began_s, self._seconds = self._world.clock.elapsed_s, seconds
        self._decided_from = len(simulation.decided)
        self._at_s = self._began_s
        model = self._world.model
        self._per_s = {
            name: float(model.prices.per_hour(service.instance.cpu_cores, service.instance.memory_bytes)) / HOUR_S
            for name, service in model.services.items()
        }
        self._pools = {key: _PoolTally() for key in self._world.pools}
        self._whole = _PoolTally()
        self._times = Times()
        self._cost = self._short_s = 0.0
        self._before = self._books()
        self._from = self._before
        self._failing_ratio = model.targets.error_ratio or FAILING_RATIO
        self._blows: list[_Blow] = []
        self._course: list[tuple[float, float, float, int]] = []
        self._grain_s = max(self._world.step_s, seconds / POINTS_MAX)

    def strike(self, name: str, lasts_s: float) -> None:
        """A blow of that name has just been done, and lasts so long."""
        self._blows.append(_Blow(name, self._world.clock.elapsed_s - self._began_s, lasts_s))

    def step(self) -> None:
        """A step of the simulation has passed."""
        now_s = self._world.clock.elapsed_s
        seconds, self._at_s = now_s - self._at_s, now_s
        demand, holds, alive_all, is_short = 0.0, 0.0, 0, False
        books = self._books()
        meant = self._meant_ratio(books[0] - self._before[0], now_s, seconds)
        scale = self._simulation.memory.scale.pools
        for key, pool in self._world.pools.items():
            tally, members = self._pools[key], pool.members
            ready = sum(m.state is InstanceState.READY for m in members.values())
            asked, can = pool.last.arrived / seconds * meant, ready * self._holds.get(pool.service, 0.0)
            if asked > can * (1 + 1e-9):
                tally.short_s += seconds
                is_short = True
            demand, holds, alive_all = demand + asked, holds + can, alive_all + len(members)
            tally.count(len(members), seconds)
            self._cost += len(members) * self._per_s[pool.service] * seconds
            if (wanted := scale.get(key)) is not None:
                tally.want(wanted.wanted, now_s)
        self._short_s += seconds if is_short else 0.0
        self._whole.count(alive_all, seconds)
        self._answers()
        self._watch(books, now_s - self._began_s, seconds)
        if not self._course or now_s - self._began_s - self._course[-1][0] >= self._grain_s - 1e-6:
            self._course.append((now_s - self._began_s, demand, holds, alive_all))

    def outcome(self, policy: str) -> Outcome:
        """What it came to."""
        seconds = self._at_s - self._began_s
        offered, answered, failed, refused = (
            now - before for now, before in zip(self._books(), self._from, strict=True)
        )
        at_s, demand, holds, instances = zip(*self._course, strict=True)
        pools = tuple(
            PoolCourse(
                key, t.short_s, t.instances_min or 0, t.instance_s / seconds, t.instances_max, t.actions, t.flaps
            )
            for key, t in self._pools.items()
        )
        decided = self._simulation.decided[self._decided_from :]
        return Outcome(
            policy=policy,
            seconds=seconds,
            currency=self._world.model.prices.currency,
            cost=self._cost,
            offered=offered,
            answered=answered,
            failed=failed,
            refused=refused,
            short_s=self._short_s,
            p50_ms=self._times.quantile_ms(0.5),
            p95_ms=self._times.quantile_ms(0.95),
            actions=sum(pool.actions for pool in pools),
            flaps=sum(pool.flaps for pool in pools),
            instances_min=self._whole.instances_min or 0,
            instances_mean=self._whole.instance_s / seconds,
            instances_max=self._whole.instances_max,
            pools=pools,
            struck=tuple(Struck(b.name, b.at_s, b.lasts_s, b.failed, b.recovered_s, b.whole_s) for b in self._blows),
            course=Course(at_s, demand, holds, instances),
            made=tuple(Made(at - self._began_s, decision) for at, decision in decided),
        )

    def _books(self) -> tuple[float, float, float, float]:
        """Offered, answered, failed and refused since the world began, as clients count."""
        spread = self._world.spread
        if spread is not None:
            clients = spread.entry.clients
            return clients.offered, clients.answered, clients.failed, clients.refused
        totals = [pool.totals for pool in self._world.pools.values()]
        return sum(t.offered for t in totals), sum(t.answered for t in totals), sum(t.failed for t in totals), 0.0

    def _meant_ratio(self, drawn: float, now_s: float, seconds: float) -> float:
        """By what the demand as `drawn` in this step is to be multiplied to be as meant."""
        meant = sum(rate(now_s) for rate in self._rates.values()) * seconds
        return meant / drawn if drawn > 0 else 1.0

    def _answers(self) -> None:
        """The response times of this step; with several regions the way to the region that answered is in them."""
        spread = self._world.spread
        if spread is None:
            for pool in self._world.pools.values():
                if (done := pool.last.answered) > 0:
                    self._times.add(done, pool.last.fixed_s / done, pool.last.random_s / done)
            return
        for region, tries in spread.entry.tries.items():
            ways = [way for way in tries.waits if way[0] > 0]
            tried = sum(count for count, _ in ways)
            for pool in self._world.pools.values():
                if pool.region == region and (done := pool.last.answered) > 0 and tried > 0:
                    for count, way_ms in ways:
                        fixed_s = pool.last.fixed_s / done + way_ms / 1000
                        self._times.add(done * count / tried, fixed_s, pool.last.random_s / done)

    def _watch(self, books: tuple[float, float, float, float], at_s: float, seconds: float) -> None:
        """What the last blow has done so far."""
        offered, _, failed, refused = (now - before for now, before in zip(books, self._before, strict=True))
        self._before = books
        if not self._blows:
            return
        blow, lost = self._blows[-1], failed + refused
        if blow.recovered_s is None:
            if lost > self._failing_ratio * offered:
                blow.failing_until_s = at_s
            blow.failed += lost
            last_s = blow.at_s if blow.failing_until_s is None else blow.failing_until_s
            # What has not shown after a while does not come of the blow; what is done for as long as it lasts may show later.
            if at_s - last_s >= QUIET_S:
                blow.recovered_s = last_s - blow.at_s
        if blow.whole_s is None and at_s >= blow.at_s + max(blow.lasts_s, seconds) and self._is_whole():
            blow.whole_s = at_s - blow.at_s

    def _is_whole(self) -> bool:
        memory = self._simulation.memory
        if any(region.state is not RegionState.SERVING for region in memory.regions.regions.values()):
            return False
        for key, pool in self._world.pools.items():
            ready = sum(m.state is InstanceState.READY for m in pool.members.values())
            if key in memory.scale.pools and ready < memory.scale.pools[key].wanted:
                return False
        return True
