"""The parts of a state, each from one tick: regions, services, instances, engines, the release. Stage: tick -> contract.

Figures are rounded to what a person can see, so that a state changes only where there is something to see.
"""

from collections.abc import Mapping

from tenfold.console.contract import (
    Alert,
    AnomalyNow,
    Cost,
    EngineNow,
    GatewayNow,
    InstanceNow,
    LinkNow,
    Objective,
    OperationNow,
    RegionNow,
    ReleaseNow,
    ServiceNow,
    StepNow,
    TenantNow,
    Way,
)
from tenfold.console.regions import RegionRow, is_fresh, links, ready_by_pool, rows, services_of
from tenfold.deciders import MemberState
from tenfold.deciders.memory import Member
from tenfold.facts import EngineSeen, InstanceSeen, InstanceState, MetricSeen, PoolSeen, Snapshot
from tenfold.loop import Tick
from tenfold.model import Model

USERS = "concurrent_users"
"""The custom metric by which an app tells how many people use it now."""


def rounded(value: float | None, digits: int = 1) -> float | None:
    """To `digits` places; None stays None."""
    return None if value is None else round(value, digits)


def ms(value: float | None) -> float | None:
    """Milliseconds to a tenth, from 100 on whole."""
    return None if value is None else round(value, 1) if value < 100 else float(round(value))


def address_of(model: Model, tick: Tick) -> str:
    """Base URL of the edge; empty while there is none."""
    kind = "entry" if model.is_spread else "gateway"
    edge = next((e for e in tick.snapshot.engines.values() if e.kind == kind), None)
    return f"http://{edge.address}" if edge is not None and edge.address else ""


def fresh_pools(snapshot: Snapshot) -> dict[str, PoolSeen]:
    """The traffic that was seen just now, by `service@region`."""
    return {key: pool for key, pool in snapshot.pools.items() if is_fresh(snapshot, pool.seen_at)}


def posted_users(snapshot: Snapshot) -> list[MetricSeen]:
    """How many people use the app, as it says itself, by service and region."""
    return [each for each in snapshot.metrics.values() if each.name == USERS and each.is_fresh(snapshot.taken_at)]


def users_of(posted: list[MetricSeen], pools: list[PoolSeen]) -> float | None:
    """The users of these pools: as the app says, else its open sockets, else the requests at hand; None when nothing is known."""
    if posted:
        return round(sum(metric.value for metric in posted))
    if not pools:
        return None
    sockets = sum(pool.sockets for pool in pools)
    return sockets or rounded(sum(pool.in_flight for pool in pools))


def regions_now(model: Model, tick: Tick) -> list[RegionNow]:
    """Every region of the blueprint, in its order."""
    pools, posted = fresh_pools(tick.snapshot), posted_users(tick.snapshot)
    made = []
    for row in rows(model, tick):
        mine = [pool for pool in pools.values() if pool.region == row.name]
        users = users_of([metric for metric in posted if metric.region == row.name], [] if posted else mine)
        made.append(_region(model, tick, row, users))
    return made


def _region(model: Model, tick: Tick, row: RegionRow, users: float | None) -> RegionNow:
    state, why = (row.state, row.why) if model.is_spread else _alone(tick, row)
    gateway = tick.snapshot.engines.get(f"gateway/{row.name}")
    ways = tick.memory.regions.ways.get(f"{row.name}|", {})
    return RegionNow(
        name=row.name,
        at=row.at,
        state=state,
        since=row.since,
        why=why,
        users=users,
        requests_per_s=rounded(row.requests_per_s),
        errors_per_s=rounded(row.errors_per_s, 2),
        p50_ms=ms(row.response_ms_p50),
        p95_ms=ms(row.response_ms_p95),
        p99_ms=ms(row.response_ms_p99),
        capacity_users=row.capacity_users,
        residency=row.residency,
        is_leading=tick.snapshot.led_from == row.name,
        gateway=GatewayNow(str(gateway.state), gateway.version) if gateway is not None else None,
        instances_ready=sum(ready for ready, _ in row.instances.values()),
        instances_total=sum(wanted for _, wanted in row.instances.values()),
        ways=[Way(to, ratio) for to, ratio in sorted(ways.items(), key=lambda item: -item[1]) if ratio > 0],
    )


def _alone(tick: Tick, row: RegionRow) -> tuple[str, str]:
    """The state of the only region, which nobody judges: it serves when its gateway and an instance do."""
    gateway = tick.snapshot.engines.get(f"gateway/{row.name}")
    if gateway is not None and gateway.state != "ready":
        return "out", f"its gateway is {gateway.state}{f' ({gateway.note})' if gateway.note else ''}"
    # Where nothing is wanted a service sleeps: its requests wait, and are served.
    if any(wanted for _, wanted in row.instances.values()) and not any(ready for ready, _ in row.instances.values()):
        return "out", "no instance is ready"
    return "serving", ""


def links_now(model: Model, tick: Tick) -> list[LinkNow]:
    """The ways between regions that were measured lately."""
    found = links(model, tick).values()
    return [LinkNow(link.origin, link.region, ms(link.rtt_ms), round(link.late_ratio, 2)) for link in found]


def services_now(model: Model, tick: Tick) -> list[ServiceNow]:
    """Every service in every region."""
    ready, made = ready_by_pool(tick), []
    pools = fresh_pools(tick.snapshot)
    for service in services_of(model, tick).values():
        for region in model.regions:
            key = f"{service.name}@{region}"
            scale, pool = tick.memory.scale.pools.get(key), pools.get(key)
            cold = tick.snapshot.cold_starts.get(key)
            made.append(
                ServiceNow(
                    name=service.name,
                    region=region,
                    wanted=scale.wanted if scale else service.scaling.instances_min,
                    ready=ready[key],
                    why=scale.words if scale else "",
                    requests_per_s=rounded(pool.requests_per_s) if pool else None,
                    errors_per_s=rounded(pool.errors_per_s, 2) if pool else None,
                    p50_ms=ms(pool.response_ms_p50) if pool else None,
                    p95_ms=ms(pool.response_ms_p95) if pool else None,
                    p99_ms=ms(pool.response_ms_p99) if pool else None,
                    in_flight=rounded(pool.in_flight) if pool else None,
                    sockets=pool.sockets if pool else None,
                    cold_starts=cold.starts if cold else 0,
                    cold_wait_ms=(round(cold.wait_ms_p50, 1), round(cold.wait_ms_max, 1))
                    if cold and cold.wait_ms_p50 is not None and cold.wait_ms_max is not None
                    else None,
                )
            )
    return made


def state_of(member: Member | None, seen: InstanceSeen) -> str:
    """An instance's state in a word, what is meant to happen to it included."""
    if seen.frozen:
        return "frozen"
    if member is not None and member.state is MemberState.DRAINING and seen.state is not InstanceState.EXITED:
        return "draining"
    return str(seen.state)


def instances_now(tick: Tick, starts: Mapping[str, tuple[str, str]]) -> list[InstanceNow]:
    """Every instance, by service and age. `starts` are, by instance, the decision that started it and why."""
    snapshot, members = tick.snapshot, tick.memory.heal.members
    made = []
    for seen in sorted(snapshot.instances.values(), key=lambda i: (i.service, i.started_at, i.id)):
        pool = snapshot.pools.get(f"{seen.service}@{seen.region}") if seen.port else None
        started_by, why = starts.get(seen.id, ("", ""))
        made.append(
            InstanceNow(
                id=seen.id,
                service=seen.service,
                region=seen.region,
                release=seen.release,
                state=state_of(members.get(seen.id), seen),
                since=seen.since,
                started_at=seen.started_at,
                cpu_cores=rounded(seen.cpu_cores, 2),
                memory_bytes=seen.memory_bytes,
                in_flight=pool.in_flight_by_instance.get(seen.id, 0) if pool else None,
                sockets=pool.sockets_by_instance.get(seen.id, 0) if pool else None,
                note=seen.note,
                frozen=seen.frozen,
                why=why,
                started_by=started_by,
            )
        )
    return made


def engines_now(tick: Tick) -> list[EngineNow]:
    """Every engine."""
    made = []
    for seen in tick.snapshot.engines.values():
        replica = tick.snapshot.replicas.get(seen.key)
        if replica is not None and not is_fresh(tick.snapshot, replica.seen_at):
            replica = None
        store = tick.snapshot.stores.get(seen.key)
        made.append(
            EngineNow(
                key=seen.key,
                kind=seen.kind,
                region=seen.region,
                state=str(seen.state),
                since=seen.since,
                version=seen.version,
                address=seen.address,
                role=str(replica.role) if replica is not None else _role(tick, seen),
                lag_s=rounded(replica.lag_s) if replica is not None else None,
                cpu_cores=rounded(seen.cpu_cores, 2),
                memory_bytes=seen.memory_bytes,
                connections=store.connections if store is not None else None,
                note=seen.note,
            )
        )
    return made


def _role(tick: Tick, seen: EngineSeen) -> str:
    memory = tick.memory.stores.get(seen.kind)
    if memory is not None:
        return "primary" if memory.primary == seen.region else "standby"
    return "stands by" if seen.kind == "control" and seen.state == "ready" else ""


def release_now(tick: Tick) -> ReleaseNow:
    """What serves, and what is on its way."""
    memory = tick.memory.release
    before = [id_ for id_ in memory.served if id_ != memory.serving]
    operation = memory.operation
    made = None
    if operation is not None:
        step = operation.step
        made = OperationNow(
            kind=operation.kind,
            release=operation.release,
            step=step.name if step else None,
            is_undoing=operation.undoing,
            steps=[StepNow(s.name, str(s.state)) for s in operation.steps],
            why=operation.why or (step.note if step else ""),
        )
    return ReleaseNow(memory.serving, before[-1] if before else None, made)


def tenants_now(model: Model, tick: Tick) -> list[TenantNow] | None:
    """The tenants that the blueprint says must stay somewhere, and where most of their requests go; None when there is none."""
    made = []
    for name, rule in model.residency.items():
        ways = tick.memory.regions.ways.get(f"{model.entry_region}|{name}", {})
        region = max(ways, key=lambda key: ways[key], default="")
        made += [TenantNow(tenant, region, None) for tenant in rule.tenants]
    return made or None


def objectives_now(tick: Tick) -> list[Objective]:
    """Every service level objective."""
    return [
        Objective(
            name=seen.objective,
            good_ratio=seen.good_ratio,
            budget_left_ratio=round(seen.budget_left_ratio, 4),
            burn={window: round(burn, 2) for window, burn in seen.burn.items()},
            window_days=seen.window_days,
        )
        for seen in tick.snapshot.objectives.values()
    ]


def alerts_now(tick: Tick) -> list[Alert]:
    """The alerts that fire, critical ones first, then by age."""
    firing = [(key, alert) for key, alert in tick.memory.alerts.alerts.items() if alert.since is not None]
    return [
        Alert(
            key=key,
            severity="critical" if alert.severity == "critical" else "warning",
            since=alert.since or 0.0,
            text=alert.text,
            answered_by=list(alert.answered_by),
            is_firing=alert.well_since is None,
        )
        for key, alert in sorted(firing, key=lambda item: (item[1].severity != "critical", item[1].since))
    ]


def anomalies_now(tick: Tick) -> list[AnomalyNow]:
    """What is odd."""
    return [
        AnomalyNow(seen.series, round(seen.value, 2), round(seen.expected, 2), round(seen.score, 3), seen.since)
        for seen in tick.snapshot.anomalies.values()
    ]


def cost_now(model: Model, tick: Tick) -> Cost | None:
    """What is spent, against the budget where there is one; None while nothing is reckoned."""
    spend = next(iter(tick.snapshot.spend.values()), None)
    if spend is None:
        return None
    budget = model.budget
    return Cost(
        per_hour=round(spend.per_hour, 4),
        month_so_far=round(spend.month_so_far, 2),
        month_forecast=round(spend.month_forecast, 2),
        budget_monthly=float(budget.monthly.amount) if budget is not None else None,
        currency=spend.currency,
        alert_at_ratio=budget.alert_at_ratio if budget is not None else None,
        prices_as_of=spend.prices_as_of,
    )
