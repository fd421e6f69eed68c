"""Which instance gets traffic: the table each region's gateway should have, published when it differs from what the
gateway runs.

An instance gets new requests while it is ready and wanted. One that is let go, or belongs to a release that no longer
serves, finishes what it has. One that is frozen or unhealthy gets nothing while another can serve; when none can, the
sick ones are kept: an error from a sick instance tells more than an empty list.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from tenfold.deciders.memory import Member, MemberState, RouteMemory
from tenfold.effects import Decision, PublishRoutes
from tenfold.facts import EngineState, InstanceSeen, InstanceState, RouteSeen, Snapshot
from tenfold.model import Endpoint, EndpointState, Model, Release, RouteRule, RouteTable, Service, ServiceRoutes

REPUBLISH_S = 5.0
"""A table that the gateway has not taken up for this long is sent again."""
HEDGE_AFTER_MS = 400.0
"""An idempotent request without an answer for this long is tried at a second instance too."""
HEDGE_STEPS_MS = (800.0, 1600.0, 3200.0, 6400.0, 12800.0)
"""Hedging times for routes that are honestly slow: few steps, so that noise does not change the table."""


def route(
    model: Model,
    serving: Release | None,
    snapshot: Snapshot,
    members: Mapping[str, Member],
    served: tuple[str, ...],
    memory: RouteMemory,
    cause: str,
) -> tuple[RouteMemory, tuple[Decision, ...]]:
    """The tables to publish now. `served` are releases that had traffic before; `cause` is why the table may have changed, in words."""
    decisions = []
    seen = routable(snapshot, members)
    for region in model.active_regions:
        table = build_table(model, serving, region, seen, snapshot.routes, served)
        digest = digest_of(table)
        gateway = snapshot.gateways.get(region)
        engine = snapshot.engines.get(f"gateway/{region}")
        if engine is None or engine.state is not EngineState.READY or not snapshot.fresh("gateway", 5.0):
            continue
        if gateway is not None and gateway.table_digest == digest:
            memory = replace(memory, digests={**memory.digests, region: digest})
            continue
        now = snapshot.taken_at
        if memory.digests.get(region) == digest and 0 <= now - memory.published_at.get(region, 0.0) < REPUBLISH_S:
            continue
        published = memory.published.get(region, 0) + 1
        memory = RouteMemory(
            {**memory.digests, region: digest},
            {**memory.published, region: published},
            {**memory.published_at, region: now},
        )
        effect = PublishRoutes(table, digest, expected_generation=published)
        decisions.append(Decision("", "route", f"routes/{region}", (effect,), _why(table, cause)))
    return memory, tuple(decisions)


Pools = Mapping[str, list[tuple[Member, InstanceSeen]]]
"""By pool (`web@local`): the instances that listen and have been well at some time, with what is meant to happen to them."""


def routable(snapshot: Snapshot, members: Mapping[str, Member]) -> Pools:
    """The instances that traffic could go to, by pool."""
    pools: dict[str, list[tuple[Member, InstanceSeen]]] = {}
    for id_, member in members.items():
        seen = snapshot.instances.get(id_)
        if seen is not None and seen.port is not None and seen.state in (InstanceState.READY, InstanceState.UNHEALTHY):
            pools.setdefault(member.pool, []).append((member, seen))
    return pools


def build_table(
    model: Model,
    serving: Release | None,
    region: str,
    pools: Pools,
    routes: Mapping[str, RouteSeen],
    served: tuple[str, ...],
) -> RouteTable:
    """What the gateway of `region` should know now."""
    services = sorted(serving.services.values(), key=lambda s: s.name) if serving else ()
    routed = tuple(
        ServiceRoutes(
            service=s.name,
            paths=s.paths,
            endpoints=_endpoints(serving.id, pools.get(f"{s.name}@{region}", []), served),
            health=s.health,
            hedge_after_ms=HEDGE_AFTER_MS,
            rules=_rules(s, region, routes),
        )
        for s in services
        if serving and s.runs_always and s.http and s.paths
    )
    return RouteTable(region, routed, model.domains)


def digest_of(table: RouteTable) -> str:
    """Equal tables, equal digests. Sixteen hexadecimal digits."""
    endpoints = (f"{e.instance} {e.host}:{e.port} {e.weight} {e.state}" for s in table.services for e in s.endpoints)
    rest = (_rest_of(replace(s, endpoints=())) for s in table.services)
    text = "\n".join((table.region, *table.domains, *rest, *endpoints))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _rest_of(routes: ServiceRoutes) -> str:
    """All of a service's routes but the endpoints, as text; seldom new, and dear to spell out each tick."""
    return repr(routes)


def _endpoints(release: str, pool: list[tuple[Member, InstanceSeen]], served: tuple[str, ...]) -> tuple[Endpoint, ...]:
    well: list[InstanceSeen] = []
    sick: list[InstanceSeen] = []
    leaving: list[InstanceSeen] = []
    warm: list[InstanceSeen] = []
    for member, seen in pool:
        if member.release == release and member.state is MemberState.WANTED:
            is_well = seen.state is InstanceState.READY and not seen.frozen
            (well if is_well else sick).append(seen)
        elif member.state is MemberState.DRAINING:
            leaving.append(seen)
        elif member.state is MemberState.WANTED and member.release in served and not seen.frozen:
            warm.append(seen)
    # The release that served before is kept warm while a new one is watched: better than a sick one, far better than none.
    serving = well or warm or sick
    leaving += warm if well else []
    endpoints = [_endpoint(seen, EndpointState.SERVING) for seen in serving]
    endpoints += [_endpoint(seen, EndpointState.DRAINING) for seen in leaving]
    return tuple(sorted(endpoints, key=lambda e: e.instance))


def _endpoint(seen: InstanceSeen, state: EndpointState) -> Endpoint:
    assert seen.port is not None
    return Endpoint(seen.id, seen.host or "127.0.0.1", seen.port, state=state)


def _rules(service: Service, region: str, routes: Mapping[str, RouteSeen]) -> tuple[RouteRule, ...]:
    """Hedging for routes that are slower than the default by nature: a second try only when the first is late for
    *that* route."""
    rules = []
    for seen in routes.values():
        if (seen.service, seen.region) != (service.name, region):
            continue
        late_ms = 1.25 * seen.response_ms_p99
        if late_ms > HEDGE_AFTER_MS:
            rules.append(RouteRule(seen.prefix, next((s for s in HEDGE_STEPS_MS if s >= late_ms), None)))
    return tuple(sorted(rules, key=lambda r: r.prefix))


def _why(table: RouteTable, cause: str) -> str:
    parts = []
    for service in table.services:
        serving = sum(e.state is EndpointState.SERVING for e in service.endpoints)
        leaving = len(service.endpoints) - serving
        parts.append(f"{service.service} on {serving}" + (f" ({leaving} finishing)" if leaving else ""))
    return f"traffic in {table.region} goes to {', '.join(parts) or 'nothing yet'}" + (f": {cause}" if cause else "")
