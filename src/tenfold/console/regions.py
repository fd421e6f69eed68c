"""The regions of a project at one tick: how each is, what it answers and for whom, and how far apart they are.
Stage: journal -> the console's page, and the tables of `status`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold.deciders import RegionState
from tenfold.deciders.memory import RegionMemory
from tenfold.facts import EngineState, InstanceState, LinkSeen, PoolSeen, Snapshot
from tenfold.loop import Tick
from tenfold.model import Model, Service

FACT_AGE_S_MAX = 5.0
"""Older figures are not shown as if they were of now."""


@dataclass(frozen=True, slots=True)
class StoreRow:
    """The part of a region in one store: `role` is empty while it does not tell; `state` is its engine's (empty: not run by us).
    `lag_s` is of a standby how old its newest write may be, of a primary how far behind the best standby is."""

    state: str
    role: str = ""
    is_primary: bool = False
    follows: str = ""
    is_synchronous: bool = False
    lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One region now.

    `share_ratio` (0..1) is the part of all tries that goes to it; `serves` tells which part of each origin's requests is meant
    for it, `serves_residents` the same, by residency, of those that must stay within one.
    `returning_ratio` is how much of what is meant for it a returning region takes. Times are milliseconds: `response_ms_*` at
    its gateway (with several services their mean, weighted by requests), `first_byte_ms_*` as seen from the entry.
    """

    name: str
    state: str
    since: float | None
    why: str
    returning_ratio: float | None
    at: tuple[float, float] | None
    residency: str | None
    capacity_users: int | None
    gateway: str
    instances: Mapping[str, tuple[int, int]]
    requests_per_s: float | None = None
    errors_per_s: float | None = None
    response_ms_p50: float | None = None
    response_ms_p95: float | None = None
    response_ms_p99: float | None = None
    first_byte_ms_p50: float | None = None
    first_byte_ms_p99: float | None = None
    unanswered_per_s: float | None = None
    demand_per_s: float | None = None
    share_ratio: float | None = None
    serves: Mapping[str, float] = field(default_factory=dict)
    serves_residents: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stores: Mapping[str, StoreRow] = field(default_factory=dict)
    control: str = ""
    voter: str = ""


def rows(model: Model, tick: Tick) -> tuple[RegionRow, ...]:
    """All regions of `model` as they were at `tick`, in the blueprint's order."""
    tries = {
        name: seen.tries_per_s for name, seen in tick.snapshot.regions.items() if is_fresh(tick.snapshot, seen.seen_at)
    }
    ready = ready_by_pool(tick)
    return tuple(_row(model, tick, name, tries, ready) for name in model.regions)


def ready_by_pool(tick: Tick) -> Counter[str]:
    """How many instances of what serves are ready, by `service@region`."""
    serving = tick.memory.release.serving
    return Counter(
        f"{i.service}@{i.region}"
        for i in tick.snapshot.instances.values()
        if i.state is InstanceState.READY and i.release == serving
    )


def services_of(model: Model, tick: Tick) -> Mapping[str, Service]:
    """The services that run always: those of the release that serves, of the blueprint while none does."""
    serving = model.releases.get(tick.memory.release.serving or "")
    return {s.name: s for s in (serving or model).services.values() if s.runs_always}


def _row(model: Model, tick: Tick, name: str, tries: Mapping[str, float], ready: Counter[str]) -> RegionRow:
    snapshot, memory = tick.snapshot, tick.memory.regions
    region, judged, seen = model.regions[name], memory.regions.get(name), snapshot.regions.get(name)
    seen = seen if seen is not None and is_fresh(snapshot, seen.seen_at) else None
    gateway = snapshot.engines.get(f"gateway/{name}")
    instances = _instances(model, tick, name, ready)
    is_returning = judged is not None and judged.state is RegionState.RETURNING
    whole = sum(tries.values())
    serves = _serves(tick, name)
    voter = snapshot.engines.get(f"voter/{name}")
    return RegionRow(
        name=name,
        state=str(judged.state) if judged is not None else "starting",
        since=judged.since if judged is not None else None,
        why=_said_of(judged),
        returning_ratio=judged.share_ratio if judged is not None and is_returning else None,
        at=region.at,
        residency=region.residency,
        capacity_users=region.capacity_users,
        gateway=str(gateway.state) if gateway is not None else "",
        instances=instances,
        **_traffic(snapshot, instances, name),
        first_byte_ms_p50=seen.first_byte_ms_p50 if seen else None,
        first_byte_ms_p99=seen.first_byte_ms_p99 if seen else None,
        unanswered_per_s=seen.unanswered_per_s if seen else None,
        demand_per_s=seen.demand_per_s if seen else None,
        share_ratio=tries.get(name, 0.0) / whole if whole > 0 else None,
        serves=serves.pop("", {}),
        serves_residents=serves,
        stores=_stores(model, tick, name),
        control=_control(tick, name),
        voter=str(voter.state) if voter is not None else "",
    )


def _said_of(judged: RegionMemory | None) -> str:
    """Why it is in its state. What was once amiss with a region that serves does not matter any more when nothing is."""
    if judged is None:
        return "it was not seen well yet"
    return judged.why if judged.state is not RegionState.SERVING or judged.ailing_since else ""


def is_fresh(snapshot: Snapshot, seen_at: float) -> bool:
    """True for a figure that is of now."""
    return snapshot.taken_at - seen_at <= FACT_AGE_S_MAX


def _instances(model: Model, tick: Tick, region: str, ready: Counter[str]) -> Mapping[str, tuple[int, int]]:
    """By service: how many are ready, how many are wanted."""
    found = {}
    for service in services_of(model, tick).values():
        key = f"{service.name}@{region}"
        scale = tick.memory.scale.pools.get(key)
        found[service.name] = (ready[key], scale.wanted if scale else service.scaling.instances_min)
    return found


def _traffic(snapshot: Snapshot, services: Iterable[str], region: str) -> dict[str, float | None]:
    pools = [p for s in services if (p := snapshot.pools.get(f"{s}@{region}")) and is_fresh(snapshot, p.seen_at)]
    return traffic_of(pools)


def traffic_of(pools: Sequence[PoolSeen]) -> dict[str, float | None]:
    """Several pools as one: sums, and means of their percentiles weighted by requests; None where there is nothing to tell."""
    return {
        "requests_per_s": sum(pool.requests_per_s for pool in pools) if pools else None,
        "errors_per_s": sum(pool.errors_per_s for pool in pools) if pools else None,
        **{f"response_ms_{p}": mean_of(pools, f"response_ms_{p}") for p in ("p50", "p95", "p99")},
    }


def mean_of(pools: Iterable[PoolSeen], figure: str) -> float | None:
    """The mean of a figure of several pools, weighted by their requests; None where no request ended."""
    told = [(value, pool.requests_per_s) for pool in pools if (value := getattr(pool, figure)) is not None]
    whole = sum(weight for _, weight in told)
    return sum(value * weight for value, weight in told) / whole if whole > 0 else None


def _serves(tick: Tick, region: str) -> dict[str, dict[str, float]]:
    """Which part of whose requests is meant for the region: by residency (empty: the others) and origin."""
    found: dict[str, dict[str, float]] = {}
    for key, shares in tick.memory.regions.ways.items():
        origin, _, residency = key.partition("|")
        if shares.get(region, 0.0) > 0:
            found.setdefault(residency, {})[origin] = shares[region]
    return found


def _stores(model: Model, tick: Tick, region: str) -> Mapping[str, StoreRow]:
    found = {}
    for kind in ("postgres", "valkey"):
        key = f"{kind}/{region}"
        engine, replica = tick.snapshot.engines.get(key), tick.snapshot.replicas.get(key)
        memory = tick.memory.stores.get(kind)
        if engine is None:
            continue
        state = str(engine.state)
        is_primary = memory is not None and memory.primary == region
        if replica is None or not is_fresh(tick.snapshot, replica.seen_at):
            found[kind] = StoreRow(state, is_primary=is_primary)
        else:
            found[kind] = StoreRow(
                state, str(replica.role), is_primary, replica.follows, replica.is_synchronous, replica.lag_s
            )
    return found


def _control(tick: Tick, region: str) -> str:
    if tick.snapshot.led_from == region:
        return "leads"
    engine = tick.snapshot.engines.get(f"control/{region}")
    # One that ended is not wanted any more, or is started anew elsewhere.
    if engine is None or engine.state is EngineState.EXITED:
        return ""
    return "stands by" if engine.state is EngineState.READY else str(engine.state)


def links(model: Model, tick: Tick) -> Mapping[str, LinkSeen]:
    """The ways between regions that were measured lately, by `origin>region`."""
    return {
        key: link
        for key, link in tick.snapshot.links.items()
        if link.origin in model.regions and link.region in model.regions and is_fresh(tick.snapshot, link.seen_at)
    }
