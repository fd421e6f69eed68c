"""Which instance gets traffic: the table each region's gateway should have,
published when it differs from what the gateway runs.

An instance gets new requests while it is ready and wanted. One that is let go, or belongs to a release that no longer
serves, finishes what it has. One that is frozen or unhealthy gets nothing while another can serve; when none can, the
sick ones are kept: an error from a sick instance tells more than an empty list. Where a service may sleep and no instance can serve,
its requests wait for one, unless none is to be hoped for. A tier's pool of which none is well is out while the pool of all has one: a
tier must not get less than others. Nothing is lent the other way round.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from tenfold.deciders.memory import Member, MemberState, RouteMemory
from tenfold.deciders.publishing import publish
from tenfold.effects import Decision, PublishRoutes
from tenfold.facts import InstanceSeen, InstanceState, RouteSeen, Snapshot
from tenfold.model import (
    LOOPBACK,
    Endpoint,
    EndpointState,
    GatewayEnd,
    Model,
    Release,
    RouteRule,
    RouteTable,
    ServiceRoutes,
    StoreEnd,
)

HEDGE_AFTER_MS = 400.0
"""An idempotent request without an answer for this long is tried at a second instance too."""
BESIDE = ((EndpointState.WARM, "kept warm"), (EndpointState.DRAINING, "finishing"))
"""What endpoints that get no new requests are called in a reason."""
HEDGE_STEPS_MS = (800.0, 1600.0, 3200.0, 6400.0, 12800.0)
"""Hedging times for routes that are honestly slow: few steps, so that noise does not change the table."""


def route(
    model: Model,
    serving: Release | None,
    snapshot: Snapshot,
    members: Mapping[str, Member],
    served: tuple[str, ...],
    memory: RouteMemory,
    primaries: Mapping[str, str],
    cause: str,
    given_up: Collection[str] = (),
) -> tuple[RouteMemory, tuple[Decision, ...]]:
    """The tables to publish now. `served` are releases that had traffic before, `primaries` the region of each store's primary;
    `cause` is why the table may have changed, in words. For pools that were `given_up` nobody waits."""
    # Who has just begun to lead, and has not seen all yet, would take away what is there.
    if any(source not in snapshot.observed for source in ("process", *(primaries if model.is_spread else ()))):
        return memory, ()
    decisions = []
    seen = routable(snapshot, members)
    memory = replace(memory, pressed=_pressed(serving, seen, snapshot, memory.pressed))
    routes: dict[str, list[RouteSeen]] = {}
    for known in snapshot.routes.values():
        routes.setdefault(f"{known.service}@{known.region}", []).append(known)
    between = _between_regions(model, snapshot, primaries) if model.is_spread else {}
    for region in model.regions:
        table = build_table(model, serving, region, seen, routes, served, memory.pressed, between, given_up)
        digest = digest_of(table)
        memory, number = publish(region, digest, f"gateway/{region}", snapshot, memory)
        memory = _reached(memory, table, digest, snapshot)
        if number is not None:
            effect = PublishRoutes(table, digest, expected_generation=number)
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
    routes: Mapping[str, list[RouteSeen]],
    served: tuple[str, ...],
    pressed: tuple[str, ...] = (),
    between: Mapping[str, Any] = MappingProxyType({}),
    given_up: Collection[str] = (),
) -> RouteTable:
    """What the gateway of `region` should know now. `routes` are by pool; pools that are `pressed` get no second tries.
    `between` are those fields of the table that only a project of several regions has."""
    services = sorted(serving.services.values(), key=lambda s: s.name) if serving else ()
    routed = []
    for service in services:
        if serving is None or not (service.runs_always and service.http and service.paths):
            continue
        pool = f"{service.name}@{region}"
        is_pressed = pool in pressed
        endpoints = _endpoints(serving.id, pools.get(pool, []), served)
        is_asleep = (
            service.may_sleep and pool not in given_up and not any(e.state is EndpointState.SERVING for e in endpoints)
        )
        is_out = (
            service.tier is not None
            and not is_asleep
            and not _has_well(serving.id, pools.get(pool, ()), served)
            and _has_well(serving.id, pools.get(f"{service.base}@{region}", ()), served)
        )
        routed.append(
            ServiceRoutes(
                service=service.name,
                paths=service.paths,
                endpoints=endpoints,
                health=service.health,
                hedge_after_ms=None if is_pressed else HEDGE_AFTER_MS,
                rules=() if is_pressed or pool not in routes else _rules(routes[pool]),
                is_sticky=service.is_sticky,
                may_sleep=service.may_sleep,
                is_asleep=is_asleep,
                tier=service.tier,
                is_out=is_out,
            )
        )
    has_pools = any(service.tier is not None for service in routed)
    tiers = tuple(model.tiers[name] for name in sorted(model.tiers)) if has_pools else ()
    return RouteTable(region, tuple(routed), model.domains, tiers=tiers, **between)


def _has_well(release: str, pool: Iterable[tuple[Member, InstanceSeen]], served: tuple[str, ...]) -> bool:
    """Whether requests go to one of them without need."""
    return any(
        seen.state is InstanceState.READY and not seen.frozen
        for member, seen in pool
        if member.state is MemberState.WANTED and (member.release == release or member.release in served)
    )


def _between_regions(model: Model, snapshot: Snapshot, primaries: Mapping[str, str]) -> Mapping[str, Any]:
    """What each gateway must know of the others and of the stores' primaries. One that is not seen now is where it was."""
    gateways = [
        GatewayEnd(region, seen.host, seen.port)
        for region in model.regions
        if (seen := snapshot.gateways.get(region)) is not None and seen.port
    ]
    stores = []
    for kind, region in sorted(primaries.items()):
        store = snapshot.engines.get(f"{kind}/{region}")
        if store is not None and store.address:
            host, _, port = store.address.rpartition(":")
            stores.append(StoreEnd(kind, host, int(port)))
    return {"behind_entry": model.has_edge, "gateways": tuple(gateways), "stores": tuple(stores)}


def _reached(memory: RouteMemory, table: RouteTable, digest: str, snapshot: Snapshot) -> RouteMemory:
    """With the stores that `table` leads to and that answer the gateway, when it has taken it up. A way that was there once is only
    moved."""
    gateway, known = snapshot.gateways.get(table.region), memory.stores.get(table.region, ())
    if gateway is None or gateway.table_digest != digest:
        return memory
    reached = tuple(sorted({*known, *(end.kind for end in table.stores if end in gateway.stores)}))
    if reached == known:
        return memory
    return replace(memory, stores={**memory.stores, table.region: reached})


def digest_of(table: RouteTable) -> str:
    """Equal tables, equal digests. Sixteen hexadecimal digits."""
    endpoints = (f"{e.instance} {e.host}:{e.port} {e.weight} {e.state}" for s in table.services for e in s.endpoints)
    rest = (_spelled(_BUT_ENDPOINTS(s)) for s in table.services)
    others = repr((table.behind_entry, table.gateways, table.stores, table.tiers))
    text = "\n".join((table.region, *table.domains, others, *rest, *endpoints))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_BUT_ENDPOINTS = attrgetter(*(f.name for f in fields(ServiceRoutes) if f.name != "endpoints"))


@lru_cache(maxsize=4096)
def _spelled(values: tuple[object, ...]) -> str:
    """All of a service's routes but the endpoints, as text; seldom new, and dear to spell out each tick."""
    return repr(values)


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
    endpoints = [_endpoint(seen, EndpointState.SERVING) for seen in serving]
    endpoints += [_endpoint(seen, EndpointState.WARM) for seen in warm if well]
    endpoints += [_endpoint(seen, EndpointState.DRAINING) for seen in leaving]
    return tuple(sorted(endpoints, key=lambda e: e.instance))


def _endpoint(seen: InstanceSeen, state: EndpointState) -> Endpoint:
    assert seen.port is not None
    return _made(seen.id, seen.host or LOOPBACK, seen.port, state)


@lru_cache(maxsize=16_384)
def _made(instance: str, host: str, port: int, state: EndpointState) -> Endpoint:
    """An endpoint; nearly all are the same tick after tick, and making one takes longer than finding it."""
    return Endpoint(instance, host, port, state=state)


def _pressed(serving: Release | None, pools: Pools, snapshot: Snapshot, before: tuple[str, ...]) -> tuple[str, ...]:
    """The pools with more requests at hand per instance than the blueprint sizes it for; until they have half of that."""
    pressed = []
    for key, seen in snapshot.pools.items():
        service = serving.services.get(seen.service) if serving else None
        if service is None:
            continue
        if snapshot.taken_at - seen.seen_at > 5.0:
            pressed += [key] if key in before else []
            continue
        bound = service.instance.concurrency * (0.5 if key in before else 1.0)
        if seen.in_flight <= bound:
            continue
        ready = sum(i.state is InstanceState.READY for _, i in pools.get(key, ()))
        if seen.in_flight > bound * ready:
            pressed.append(key)
    return tuple(sorted(pressed))


def _rules(mine: Sequence[RouteSeen]) -> tuple[RouteRule, ...]:
    """Hedging for a pool's routes that are slower than the default by nature: a second try only when the first is late
    for *that* route. A quick route below a slow one keeps the default by a rule of its own."""
    slow = {r.prefix: _step(r) for r in mine if _late_ms(r) > HEDGE_AFTER_MS}
    quick = {
        r.prefix: HEDGE_AFTER_MS
        for r in mine
        if r.prefix not in slow and any(r.prefix.startswith(f"{prefix.rstrip('/')}/") for prefix in slow)
    }
    return tuple(RouteRule(prefix, after_ms) for prefix, after_ms in sorted({**slow, **quick}.items()))


def _late_ms(seen: RouteSeen) -> float:
    """A try that takes longer than this is late for its route."""
    return 1.25 * seen.response_ms_p99


def _step(seen: RouteSeen) -> float | None:
    return next((step for step in HEDGE_STEPS_MS if step >= _late_ms(seen)), None)


def _why(table: RouteTable, cause: str) -> str:
    parts = []
    for service in table.services:
        counts = Counter(e.state for e in service.endpoints)
        beside = [f"{n} {word}" for state, word in BESIDE if (n := counts[state])]
        serves = "none (requests wait for one)" if service.is_asleep else f"{counts[EndpointState.SERVING]}"
        serves = "none (its requests go to the pool of all)" if service.is_out else serves
        parts.append(f"{service.service} on {serves}" + (f" ({', '.join(beside)})" if beside else ""))
    slow = [
        f"{r.prefix} after {_seconds(r.hedge_after_ms)}"
        for s in table.services
        for r in s.rules
        if r.hedge_after_ms != HEDGE_AFTER_MS
    ]
    hedged = f"; slow routes get their second try later: {', '.join(slow)}" if slow else ""
    pressed = [s.service for s in table.services if s.hedge_after_ms is None]
    hedged += f"; {', '.join(pressed)} has more at hand than it is sized for: no second tries" if pressed else ""
    goes_to = ", ".join(parts) or "nothing yet"
    return f"traffic in {table.region} goes to {goes_to}{hedged}" + (f" ({cause})" if cause else "")


def _seconds(milliseconds: float | None) -> str:
    return "never" if milliseconds is None else f"{milliseconds / 1000:g} s"
