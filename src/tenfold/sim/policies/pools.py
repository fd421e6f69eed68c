"""What every policy of the simulator sees of a pool, and how its number becomes decisions. Stage: snapshot -> the wanted number of each.

A policy is asked for each pool with what is fresh; where processes could not be looked at it is not asked at all, and the pool stays
as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tenfold.deciders.memory import PoolScale, ScaleMemory
from tenfold.deciders.scale.triggers import TRAFFIC_AGE_S_MAX, count, held_by_one
from tenfold.effects import Decision
from tenfold.facts import InstanceSeen, InstanceState, PoolSeen, Snapshot
from tenfold.model import Model, Release, Service
from tenfold.sim.rates import Rate

ENDING = (InstanceState.STOPPING, InstanceState.EXITED)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the simulation knows and no brain can.

    `demand_per_s` is by pool (`web@local`) the demand in requests/s over the seconds since the world began, which was at `began_at`
    (seconds since the epoch). By service: what one instance holds (`holds_per_s`, requests/s), the longest that a start takes until the
    instance serves (`start_s`), and the requests at hand in one that bears 70% of what it holds (`at_hand`). Decisions are made every
    `step_s`.
    """

    demand_per_s: Mapping[str, Rate] = field(default_factory=dict)
    began_at: float = 0.0
    holds_per_s: Mapping[str, float] = field(default_factory=dict)
    start_s: Mapping[str, float] = field(default_factory=dict)
    step_s: float = 1.0
    at_hand: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool as a policy sees it at `now`: `wanted` instances, of which `living` have not been let go and have not ended.

    `traffic` is what its gateway saw, None where that is missing or stale, and `waiting` the requests that are held because no instance is
    there; `holds_per_s` is what one instance holds, None where nobody knows.
    """

    service: Service
    region: str
    now: float
    wanted: int
    living: tuple[InstanceSeen, ...]
    traffic: PoolSeen | None
    waiting: int
    holds_per_s: float | None

    @property
    def key(self) -> str:
        return f"{self.service.name}@{self.region}"

    @property
    def ready(self) -> tuple[InstanceSeen, ...]:
        """Those that serve."""
        return tuple(seen for seen in self.living if seen.state is InstanceState.READY)


@dataclass(frozen=True, slots=True)
class Choice:
    """The number a policy chose for a pool, and why: the figure in words, figures for the record, what each bound made of it.

    `holding` is why it can't tell; then the pool keeps what it has.
    """

    wanted: int
    figure: str = ""
    facts: tuple[str, ...] = ()
    clamps: tuple[str, ...] = ()
    holding: str = ""


Choose = Callable[[Pool], Choice | None]
"""A policy's choice for one pool; None when it does not look at this moment."""


def each_pool(
    model: Model,
    release: Release,
    snapshot: Snapshot,
    memory: ScaleMemory,
    choose: Choose,
    holds_per_s: Mapping[str, float],
) -> tuple[ScaleMemory, tuple[Decision, ...]]:
    """Let `choose` say the number of every pool of the serving `release`. `holds_per_s` is by service what one instance is known to hold;
    where it says nothing, what was measured counts."""
    pools: dict[str, PoolScale] = {}
    decisions: list[Decision] = []
    living = _living(release.id, snapshot)
    for service in release.services.values():
        if not service.runs_always:
            continue
        holds = holds_per_s.get(service.name)
        if holds is None and (measured := held_by_one(service, release, snapshot)) is not None:
            holds = measured.requests_per_s
        for region in model.regions:
            key = f"{service.name}@{region}"
            pools[key], decision = _one(
                service, region, snapshot, memory.pools.get(key), living.get((service.name, region), []), holds, choose
            )
            if decision is not None:
                decisions.append(decision)
    return ScaleMemory(pools), tuple(decisions)


def _one(
    service: Service,
    region: str,
    snapshot: Snapshot,
    before: PoolScale | None,
    living: list[InstanceSeen],
    holds: float | None,
    choose: Choose,
) -> tuple[PoolScale, Decision | None]:
    now, key = snapshot.taken_at, f"{service.name}@{region}"
    low, high = service.scaling.instances_min, service.scaling.instances_max
    if before is None:
        why = (
            f"{low} is the least the blueprint asks for" if low else "it may sleep, and has one instance to begin with"
        )
        return PoolScale(max(1, low), why, now), None
    clamped = service.scaling.clamp(before.wanted)
    if clamped != before.wanted:
        return _change(before, key, Choice(clamped, f"the blueprint now allows {low} to {high} instances"), now)
    if not snapshot.fresh("process", TRAFFIC_AGE_S_MAX):
        return before, None
    seen = snapshot.pools.get(key)
    is_fresh = seen is not None and -1.0 <= now - seen.seen_at <= TRAFFIC_AGE_S_MAX
    cold = snapshot.cold_starts.get(key)
    pool = Pool(
        service,
        region,
        now,
        before.wanted,
        _kept(living, before.wanted),
        seen if is_fresh else None,
        cold.waiting if cold is not None and cold.seen_at >= now - TRAFFIC_AGE_S_MAX else 0,
        holds,
    )
    choice = choose(pool)
    if choice is None:
        return before, None
    if choice.holding:
        return _hold(before, key, choice.holding)
    wanted = service.scaling.clamp(choice.wanted)
    if wanted == before.wanted:
        return (replace(before, holding="") if before.holding else before), None
    return _change(before, key, replace(choice, wanted=wanted), now)


def _living(release: str, snapshot: Snapshot) -> dict[tuple[str, str], list[InstanceSeen]]:
    """The instances of `release` that run and were not told to end, by service and region."""
    living: dict[tuple[str, str], list[InstanceSeen]] = {}
    for seen in snapshot.instances.values():
        if seen.release == release and seen.state not in ENDING:
            living.setdefault((seen.service, seen.region), []).append(seen)
    return living


def _kept(living: list[InstanceSeen], wanted: int) -> tuple[InstanceSeen, ...]:
    """`living` without those that were let go and only finish what they have. Nobody says which: those that do not serve go first, then
    the youngest, as `deciders.heal` picks them."""
    if len(living) <= wanted:
        return tuple(living)
    return tuple(sorted(living, key=lambda seen: (seen.state is not InstanceState.READY, seen.started_at))[:wanted])


def _hold(before: PoolScale, key: str, why: str) -> tuple[PoolScale, Decision | None]:
    """Keep the number; say why once."""
    holding = f"{key} keeps {count(before.wanted)}: {why}"
    if before.holding == holding:
        return before, None
    return replace(before, holding=holding), Decision("", "scale", key, (), holding)


def _change(before: PoolScale, key: str, choice: Choice, now: float) -> tuple[PoolScale, Decision]:
    only = "only " if choice.wanted < before.wanted else ""
    why = f"{key} needs {only}{count(choice.wanted)} instead of {before.wanted}: {choice.figure}"
    after = replace(before, wanted=choice.wanted, why=why, changed_at=now, holding="")
    return after, Decision("", "scale", key, (), why, choice.facts, choice.clamps)
