"""Everything the console shows of one moment. Stage: tick, with the model it was decided by -> contract.

Pure: it is given what lies in the journal and adds nothing of its own but words, sums and means.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from tenfold.console import parts
from tenfold.console.contract import (
    DecisionNow,
    Health,
    Project,
    RegionNow,
    ServiceNow,
    State,
    Summary,
)
from tenfold.console.parts import ms, rounded
from tenfold.console.regions import FACT_AGE_S_MAX, is_fresh, traffic_of
from tenfold.console.targets import targets_now
from tenfold.deciders import Intent
from tenfold.facts import EngineState, InstanceState, PoolSeen
from tenfold.loop import Tick
from tenfold.model import Model

ERROR_RATIO_MAX = 0.01
"""Without a target for errors, a greater share of them is trouble."""
VERSION = version("tenfold")
SOURCES = {"process": "instances", "gateway": "traffic", "entry": "the entry"}
"""What a person calls what these observers see."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a state is made from: a tick, the model it was decided by, and what the journal knows of decisions then.

    `starts` are, by instance, the decision that started it and why. `is_live` tells that it is now; `trouble` why nothing is
    decided any more (empty: it is).
    """

    model: Model
    tick: Tick
    decisions: Sequence[DecisionNow]
    starts: Mapping[str, tuple[str, str]]
    is_live: bool
    console_url: str
    trouble: str = ""


def state_of(moment: Moment) -> State:
    """All of it."""
    model, tick = moment.model, moment.tick
    pools = list(parts.fresh_pools(tick.snapshot).values())
    summary = _summary(model, tick, pools)
    regions, services = parts.regions_now(model, tick), parts.services_now(model, tick)
    return State(
        seq=tick.seq,
        at=tick.at,
        live=moment.is_live,
        project=Project(model.name, model.environment.name, parts.address_of(model, tick), moment.console_url, VERSION),
        health=_health(moment, summary, regions, services),
        summary=summary,
        targets=targets_now(model, tick, summary, pools),
        objectives=parts.objectives_now(tick),
        alerts=parts.alerts_now(tick),
        anomalies=parts.anomalies_now(tick),
        cost=parts.cost_now(model, tick),
        regions=regions,
        links=parts.links_now(model, tick),
        services=services,
        instances=parts.instances_now(tick, moment.starts),
        engines=parts.engines_now(tick),
        release=parts.release_now(tick),
        tenants=parts.tenants_now(model, tick),
        decisions=list(moment.decisions),
    )


def _summary(model: Model, tick: Tick, pools: Sequence[PoolSeen]) -> Summary:
    posted = parts.posted_users(tick.snapshot)
    traffic, sockets = traffic_of(pools), sum(pool.sockets for pool in pools)
    states = [(i.state, i.frozen) for i in tick.snapshot.instances.values() if i.state is not InstanceState.EXITED]
    return Summary(
        users=parts.users_of(posted, list(pools)),
        users_are="measured" if posted else "open sockets" if sockets else "requests at hand",
        requests_per_s=rounded(traffic["requests_per_s"]),
        errors_per_s=rounded(traffic["errors_per_s"], 2),
        p50_ms=ms(traffic["response_ms_p50"]),
        p95_ms=ms(traffic["response_ms_p95"]),
        p99_ms=ms(traffic["response_ms_p99"]),
        cache_hit_ratio=None,
        connections=_connections(model, tick),
        instances_ready=sum(state is InstanceState.READY and not frozen for state, frozen in states),
        instances_total=len(states),
    )


def _connections(model: Model, tick: Tick) -> int | None:
    """Those that clients hold open: to the entry where there is one, else to the gateway."""
    gateway = tick.snapshot.gateways.get("entry" if model.is_spread else model.home)
    return gateway.connections if gateway is not None and is_fresh(tick.snapshot, gateway.seen_at) else None


def _health(moment: Moment, summary: Summary, regions: Sequence[RegionNow], services: Sequence[ServiceNow]) -> Health:
    model, tick = moment.model, moment.tick
    if tick.memory.release.intent is not Intent.UP:
        is_ending = tick.memory.release.intent is Intent.DOWN
        what = (
            "everything is being drained and stopped"
            if is_ending
            else "nothing is meant to run; data and releases stay"
        )
        return Health(False, f"down: {what}", [moment.trouble] if moment.trouble else [])
    troubles = list(_troubles(moment, summary, regions, services))
    doing = _doing(tick)
    if troubles:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        return Health(False, f"not well: {troubles[0]}{more}{f'; {doing}' if doing else ''}", troubles)
    return Health(True, f"well: {_serves(model, summary)}{f'; {doing}' if doing else ''}", [])


def _serves(model: Model, summary: Summary) -> str:
    text = f"{summary.instances_ready} of {summary.instances_total} instances"
    where = f" in {len(model.regions)} regions" if model.is_spread else ""
    if summary.requests_per_s is None:
        return f"{text} run{where}"
    p95 = f", p95 {summary.p95_ms:,.0f} ms" if summary.p95_ms is not None else ""
    return f"{text}{where} serve {summary.requests_per_s:,.0f} requests/s{p95}"


def _doing(tick: Tick) -> str:
    """What is under way, for the end of the sentence."""
    operation = tick.memory.release.operation
    if operation is None or operation.step is None:
        return ""
    if operation.undoing:
        return f"{operation.release} is being undone: {operation.why}"
    verb = {"up": "starting", "deploy": "shipping", "rollback": "going back to"}[operation.kind]
    return f"{verb} {operation.release} ({operation.step.name})"


def _troubles(
    moment: Moment, summary: Summary, regions: Sequence[RegionNow], services: Sequence[ServiceNow]
) -> Iterator[str]:
    """All that is amiss, the worst first."""
    model, tick = moment.model, moment.tick
    if moment.trouble:
        yield moment.trouble
    if tick.memory.release.serving is None:
        yield "nothing serves yet"
        return
    yield from _region_troubles(model, regions, services)
    yield from (a.text for a in parts.alerts_now(tick) if a.severity == "critical" and a.is_firing)
    yield from _engine_troubles(tick)
    if summary.requests_per_s and summary.errors_per_s is not None:
        ratio = summary.errors_per_s / summary.requests_per_s
        if ratio > (model.targets.error_ratio or ERROR_RATIO_MAX):
            yield f"{ratio:.1%} of the requests fail"
    for line, failures in tick.memory.heal.failures.items():
        if failures.gave_up:
            yield f"{line} does not start ({failures.last_note})"
    missing = [_lacks(service, model.is_spread) for service in services if 0 < service.ready < service.wanted]
    if missing and tick.memory.release.operation is None:
        yield f"instances are missing: {', '.join(missing)}"
    unseen = [what for source, what in SOURCES.items() if _is_unseen(tick, source)]
    if unseen:
        yield f"{' and '.join(unseen)} can't be seen now"


def _is_unseen(tick: Tick, source: str) -> bool:
    return source in tick.snapshot.observed and not tick.snapshot.fresh(source, FACT_AGE_S_MAX)


def _region_troubles(model: Model, regions: Sequence[RegionNow], services: Sequence[ServiceNow]) -> Iterator[str]:
    if not model.is_spread:
        lacking = [f"no instance of {s.name} is ready" for s in services if s.ready == 0 and s.wanted > 0]
        yield from lacking or (region.why for region in regions if region.state == "out")
        return
    for region in regions:
        if region.state == "out":
            served = ", ".join(way.to for way in region.ways if way.to != region.name)
            by = f"; its clients are served by {served}" if served else ""
            yield f"region {region.name} is out: {region.why}{by}"


def _lacks(service: ServiceNow, is_spread: bool) -> str:
    where = f" in {service.region}" if is_spread else ""
    return f"{service.ready} of {service.wanted} {service.name}{where} are ready"


def _engine_troubles(tick: Tick) -> Iterator[str]:
    for engine in tick.snapshot.engines.values():
        if engine.kind == "gateway" or engine.state is EngineState.READY:
            continue
        if engine.state is EngineState.STARTING or (engine.kind == "control" and engine.state is EngineState.EXITED):
            continue
        yield f"{engine.key} is {engine.state}{f' ({engine.note})' if engine.note else ''}"
