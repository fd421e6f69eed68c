"""The table the global entry should have, published when it differs from what the entry runs. Stage: decide, after the ways.

The entry tries another region when an answer is late: later than the route usually takes where it is slowest, and the way there. To the
entry a service and its pools by tier are one: which of them a request takes is the gateways' to know.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from tenfold.deciders.memory import RegionsMemory, RegionState, RouteMemory
from tenfold.deciders.nearness import Nearness
from tenfold.deciders.publishing import publish
from tenfold.effects import Decision, PublishEntry
from tenfold.facts import Snapshot
from tenfold.model import EntryTable, GatewayEnd, Model, Release, RouteRule, ServiceRoutes, Share, Way

HEDGE_AFTER_MS = 400.0
"""For routes whose usual time is not known yet."""
HEDGE_STEPS_MS = (100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0, 1200.0, 1600.0, 2400.0, 3200.0, 6400.0, 12800.0)
"""Few steps, so that noise does not change the table."""
LATE_FACTOR = 1.25
"""An answer that takes this much longer than the slowest percent of its route is late."""
SLACK_MS = 30.0
"""And this much more, for quick routes."""
STEP_DOWN_RATIO = 0.7
"""A route's time goes down a step only when it is this much below it: between two steps it stays where it was."""
RULES_MAX = 50
WAY_SHARE_MIN = 0.05
"""A way that takes less than this share of an origin's requests does not make them late."""


def publish_entry(
    model: Model, serving: Release | None, snapshot: Snapshot, regions: RegionsMemory, memory: RouteMemory, cause: str
) -> tuple[RouteMemory, tuple[Decision, ...]]:
    """The entry's table, when it must be published now."""
    if not model.is_spread or not (model.has_edge or f"entry/{model.entry_region}" in snapshot.engines):
        return memory, ()
    # Who has just begun to lead, and has not seen the gateways yet, would tell the entry that there are none.
    if "gateway" not in snapshot.observed:
        return memory, ()
    hedges = _hedges(model, serving, snapshot, regions, memory.hedges)
    if hedges != memory.hedges:
        memory = replace(memory, hedges=hedges)
    table = build_entry(model, serving, snapshot, regions, memory)
    if not table.gateways:
        # All are being started anew: the entry does better with what it knows than with nothing.
        return memory, ()
    digest = hashlib.sha256(repr(table).encode()).hexdigest()[:16]
    told_at = memory.published_at.get("entry", 0.0)
    memory, number = publish("entry", digest, f"entry/{model.entry_region}", snapshot, memory)
    if number is None:
        return memory, ()
    effect = PublishEntry(table, digest, expected_generation=number)
    # What moved is told once, with the first table after it.
    has_moved = told_at < regions.moved_at <= snapshot.taken_at
    why = (regions.why if has_moved else "") or _why(table) + (f" ({cause})" if cause else "")
    return memory, (Decision("", "route", "routes/entry", (effect,), why),)


def build_entry(
    model: Model, serving: Release | None, snapshot: Snapshot, regions: RegionsMemory, memory: RouteMemory
) -> EntryTable:
    """What the entry should know now."""
    gateways = tuple(
        GatewayEnd(region, seen.host, seen.port)
        for region in model.regions
        if (seen := snapshot.gateways.get(region)) is not None and seen.port
    )
    known = {end.region for end in gateways}
    near = Nearness(regions, model)
    ways = tuple(_way(model, regions, near, key, shares, known) for key, shares in sorted(regions.ways.items()))
    return EntryTable(
        home=model.entry_region,
        gateways=gateways,
        ways=ways,
        services=_services(model, serving, memory),
        places={name: region.at for name, region in model.regions.items() if region.at is not None},
        domains=model.domains,
        trust=model.edge.trust,
        geoip=model.edge.geoip,
        residency=tuple(model.residency[name] for name in sorted(model.residency)),
    )


def _way(
    model: Model, memory: RegionsMemory, near: Nearness, key: str, shares: Mapping[str, float], known: set[str]
) -> Way:
    """The shares as decided; spares are all others that may serve, the well ones first, nearest first."""
    origin, _, residency = key.partition("|")
    others = [
        name
        for name, region in model.regions.items()
        if name in known
        and name not in shares
        and (not residency or region.residency == residency)
        # A second try is traffic too.
        and not ((judged := memory.regions.get(name)) is not None and judged.state is RegionState.DRAINED)
    ]

    def order(name: str) -> tuple[bool, float, str]:
        state = memory.regions.get(name)
        return (state is not None and state.state is RegionState.OUT, near.cost_ms(origin, name), name)

    # Refused means refused: what may serve and could is among the shares.
    spares = tuple(sorted(others, key=order)) if shares else ()
    given = {name: ratio for name, ratio in sorted(shares.items()) if name in known}
    if not given and spares:
        given, spares = {spares[0]: 1.0}, spares[1:]
    # A gateway that is being started anew has no address: the others take its share meanwhile.
    whole = sum(given.values()) if len(given) < len(shares) else 1.0
    return Way(origin, residency, tuple(Share(name, ratio / whole) for name, ratio in given.items()), spares)


def _services(model: Model, serving: Release | None, memory: RouteMemory) -> tuple[ServiceRoutes, ...]:
    routed = []
    edged = [service for service in serving.services.values() if service.is_behind_edge] if serving else []
    for service in sorted((each for each in edged if each.tier is None), key=lambda s: s.name):
        pools = [each for each in edged if each.base == service.name]
        may_sleep = any(pool.may_sleep for pool in pools)
        # One more try, elsewhere, only adds to what is too much everywhere; and it would wake what sleeps there.
        is_pressed = may_sleep or any(
            all(f"{pool.name}@{region}" in memory.pressed for region in model.regions) for pool in pools
        )
        head = f"{service.name}/"
        rules = tuple(
            RouteRule(key.removeprefix(service.name), after_ms)
            for key, after_ms in sorted(memory.hedges.items())
            if key.startswith(head)
        )
        routed.append(
            ServiceRoutes(
                service=service.name,
                paths=service.paths,
                endpoints=(),
                health=service.health,
                hedge_after_ms=None if is_pressed else HEDGE_AFTER_MS,
                rules=() if is_pressed else rules,
                is_sticky=service.is_sticky,
                may_sleep=may_sleep,
            )
        )
    return tuple(routed)


def _hedges(
    model: Model, serving: Release | None, snapshot: Snapshot, regions: RegionsMemory, before: Mapping[str, float]
) -> Mapping[str, float]:
    """By `service/prefix`: after how long another region is tried. What was learned stays while nothing newer is known."""
    if serving is None:
        return before
    near = Nearness(regions, model)
    slowest: dict[str, float] = {}
    counts: dict[str, int] = {}
    for seen in snapshot.routes.values():
        service = serving.services.get(seen.service)
        if service is not None:
            key = f"{service.base}{seen.prefix}"
            slowest[key] = max(slowest.get(key, 0.0), seen.response_ms_p99)
            counts[key] = counts.get(key, 0) + seen.requests
    way_ms = max(
        (
            # The way of the clients: from gateway to gateway it is longer where their own region's network is slow.
            near.cost_ms(key.partition("|")[0], name)
            for key, shares in regions.ways.items()
            for name, ratio in shares.items()
            # Those that must stay within a residency have few regions to be tried at; the many set the time.
            if ratio >= WAY_SHARE_MIN and key.endswith("|")
        ),
        default=0.0,
    )
    hedges = {key: after_ms for key, after_ms in before.items() if key.partition("/")[0] in serving.services}
    for key, p99_ms in slowest.items():
        step = _step(LATE_FACTOR * p99_ms + SLACK_MS + way_ms, hedges.get(key))
        if step is not None:
            hedges[key] = step
    busiest = sorted(hedges, key=lambda key: (-counts.get(key, 0), key))[:RULES_MAX]
    return {key: hedges[key] for key in sorted(busiest)}


def _step(late_ms: float, before: float | None) -> float | None:
    if before is not None and STEP_DOWN_RATIO * before <= late_ms <= before:
        return before
    return next((step for step in HEDGE_STEPS_MS if step >= late_ms), HEDGE_STEPS_MS[-1])


def _why(table: EntryTable) -> str:
    regions = ", ".join(end.region for end in table.gateways) or "no region yet"
    return f"the entry knows {regions}, and serves {', '.join(s.service for s in table.services) or 'nothing yet'}"
