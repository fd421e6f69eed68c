"""Pools by tier as stories: whose table says what, when a tier is served by the pool of all, and that the entry knows one service."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tenfold.deciders.entry import build_entry, publish_entry
from tenfold.deciders.memory import Member, MemberState, RegionsMemory, RegionState, RouteMemory
from tenfold.deciders.regions import judge
from tenfold.deciders.route import build_table, digest_of, routable, route
from tenfold.deciders.scale.triggers import held_by_one
from tenfold.facts import (
    CapacitySeen,
    EngineSeen,
    EngineState,
    GatewaySeen,
    InstanceSeen,
    InstanceState,
    RouteSeen,
    Snapshot,
)
from tenfold.model import EndpointState, Model, Region, Release, RouteTable, Scaling, Service, ServiceRoutes, Tier
from tests.deciders.spread import PLACES, Globe

NOW = 1000.0
WEB = Service("web", "serve {port}", paths=("/",))
GOLD = WEB.of_tier("gold", Scaling(1, 4))
TIERS = {"gold": Tier("gold", tenants=("acme",)), "silver": Tier("silver", tenants=("tiny",))}
MODEL = Model("shop", {"web": WEB, GOLD.name: GOLD}, {"local": Region("local")}, tiers=TIERS)
RELEASE = Release("r1", MODEL.services, "digest", 0.0)

Instances = Mapping[str, InstanceState]


def snapshot(instances: Instances, **changes: object) -> tuple[Snapshot, dict[str, Member]]:
    """What is seen of these, all of which are wanted."""
    seen, members = {}, {}
    for number, (id_, state) in enumerate(instances.items()):
        service = id_.rpartition("-")[0]
        seen[id_] = InstanceSeen(id_, service, "local", "r1", state, 0.0, 0.0, NOW, port=20_000 + number)
        members[id_] = Member(service, "local", "r1", MemberState.WANTED, 0.0, 0.0)
    whole = Snapshot(NOW, observed={"process": NOW}, instances=seen)
    return replace(whole, **changes), members  # type: ignore[arg-type]


def table(instances: Instances, model: Model = MODEL, release: Release = RELEASE) -> RouteTable:
    """The gateway's with these."""
    seen, members = snapshot(instances)
    return build_table(model, release, "local", routable(seen, members), {}, ())


def pools(instances: Instances, gold: Service = GOLD) -> tuple[ServiceRoutes, ServiceRoutes]:
    """The pool of all and that of the tier."""
    release = replace(RELEASE, services={"web": WEB, gold.name: gold})
    found = {routes.service: routes for routes in table(instances, release=release).services}
    return found["web"], found[gold.name]


READY, SICK = InstanceState.READY, InstanceState.UNHEALTHY


def test_a_table_tells_who_is_in_which_tier() -> None:
    """All tiers are told where some service has a pool for one, since a tenant of another counts before the host; without pools none is."""
    with_pools = table({"web-1": READY, "web-gold-1": READY})
    assert [(routes.service, routes.tier, routes.is_out) for routes in with_pools.services] == [
        ("web", None, False),
        ("web-gold", "gold", False),
    ]
    assert [tier.name for tier in with_pools.tiers] == ["gold", "silver"]
    moved = replace(MODEL, tiers={**TIERS, "silver": Tier("silver", tenants=("tiny", "new"))})
    assert digest_of(table({"web-1": READY, "web-gold-1": READY}, moved)) != digest_of(with_pools)
    alone = replace(RELEASE, services={"web": WEB})
    assert table({"web-1": READY}, release=alone).tiers == ()


def test_a_tier_is_never_served_worse_than_all() -> None:
    """While none of its pool is well its requests go to the pool of all, if one is well there; else its sick ones are asked still."""
    assert not pools({"web-1": READY, "web-gold-1": READY})[1].is_out
    for gone in ({"web-1": READY}, {"web-1": READY, "web-gold-1": SICK}):
        assert pools(gone)[1].is_out
    for nobody in ({"web-gold-1": SICK}, {"web-1": SICK, "web-gold-1": SICK}, {}):
        assert not pools(nobody)[1].is_out


def test_nothing_is_lent_the_other_way() -> None:
    """All others are not sent to a tier's pool, however little is left of theirs."""
    shared, own = pools({"web-gold-1": READY})
    assert (shared.endpoints, shared.is_out, own.is_out) == ((), False, False)


def test_a_pool_that_sleeps_is_woken_and_not_passed_by() -> None:
    """A request of the tier is what wakes it."""
    own = pools({"web-1": READY}, replace(GOLD, scaling=Scaling(0, 4)))[1]
    assert (own.is_asleep, own.is_out) == (True, False)


def test_the_decision_says_where_a_tiers_requests_go() -> None:
    """A person who asks reads that the pool of all has them."""
    gateway = EngineSeen("gateway", "local", EngineState.READY, 0.0, NOW)
    observed = {"process": NOW, "gateway": NOW}
    seen, members = snapshot({"web-1": READY}, engines={gateway.key: gateway}, observed=observed)
    _, (decision,) = route(MODEL, RELEASE, seen, members, (), RouteMemory(), {}, "web-gold-1 ended")
    assert decision.why == (
        "traffic in local goes to web on 1, web-gold on none (its requests go to the pool of all) (web-gold-1 ended)"
    )


@given(st.dictionaries(st.sampled_from(["web-1", "web-2", "web-gold-1", "web-gold-2"]), st.sampled_from(InstanceState)))
def test_out_only_where_others_can_serve(instances: dict[str, InstanceState]) -> None:
    """Whatever the instances are up to: a pool that is out has nobody well, and that of all has somebody who serves."""
    shared, own = pools(instances)
    if own.is_out:
        assert any(end.state is EndpointState.SERVING for end in shared.endpoints)
        assert READY not in {state for id_, state in instances.items() if id_.startswith("web-gold")}
    assert not shared.is_out


def test_what_was_measured_of_the_program_holds_for_every_pool_of_it() -> None:
    """`tenfold measure` knows the service; a tier's pool runs the same program on the same size."""
    seen = CapacitySeen("web", "s", "digest", 90.0, 9.0, 300.0, 200.0, 0.0, NOW, NOW, command=WEB.command)
    known = Snapshot(NOW, observed={"capacity": NOW}, capacities={seen.key: seen})
    assert held_by_one(GOLD, RELEASE, known) == held_by_one(WEB, RELEASE, known) == seen


def spread() -> tuple[Model, Snapshot]:
    """Three regions whose gateways are there."""
    regions = {name: Region(name, PLACES[name]) for name in ("a", "b", "c")}
    ends = {name: GatewaySeen(name, "t", NOW, host="10.0.0.1", port=9000 + i) for i, name in enumerate(regions)}
    model = replace(MODEL, regions=regions)
    return model, Snapshot(NOW, observed={"gateway": NOW}, gateways=ends)


def test_to_the_entry_they_are_one_service() -> None:
    """It has one set of routes, that wait for the slowest pool and wake nobody; where either is pressed it tries nothing twice."""
    model, seen = spread()
    slow = {
        "x": RouteSeen("web", "a", "/report", 99, 20.0, 40.0, NOW),
        "y": RouteSeen("web-gold", "a", "/report", 99, 500.0, 900.0, NOW),
    }
    memory, _ = publish_entry(model, RELEASE, replace(seen, routes=slow), RegionsMemory(), RouteMemory(), "")
    assert memory.hedges == {"web/report": 1200.0}
    (web,) = build_entry(model, RELEASE, seen, RegionsMemory(), memory).services
    assert (web.service, web.tier, web.hedge_after_ms) == ("web", None, 400.0)
    pressed = replace(memory, pressed=tuple(f"web-gold@{region}" for region in model.regions))
    assert build_entry(model, RELEASE, seen, RegionsMemory(), pressed).services[0].hedge_after_ms is None
    asleep = replace(RELEASE, services={"web": WEB, "web-gold": replace(GOLD, scaling=Scaling(0, 4))})
    (web,) = build_entry(model, asleep, seen, RegionsMemory(), memory).services
    assert (web.may_sleep, web.hedge_after_ms) == (True, None)


def test_a_region_is_not_lost_with_one_tiers_pool() -> None:
    """Its requests are served by the pool of all there: the region goes on serving."""
    globe = Globe()
    globe.ticks(30)
    memory, release = globe.memory, replace(RELEASE, services={"web": WEB, GOLD.name: GOLD})
    for _ in range(30):
        globe.now += 1.0
        memory, said = judge(globe.model, release, globe.snapshot(), memory, False, set())
        assert not said
    assert {memory.regions[name].state for name in globe.names} == {RegionState.SERVING}
