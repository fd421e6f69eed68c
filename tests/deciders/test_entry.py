"""The entry's table as stories: what it knows, when another region is tried, and when it is published."""

from dataclasses import replace
from typing import Any

from tenfold.deciders.entry import build_entry, publish_entry
from tenfold.deciders.memory import RouteMemory
from tenfold.effects import PublishEntry
from tenfold.facts import EngineState, GatewaySeen, RouteSeen, Snapshot
from tenfold.model import Share
from tests.deciders.spread import RELEASE, Globe


def seen(globe: Globe, **changes: Any) -> Snapshot:
    """What is now, with every gateway's address known."""
    gateways = {n: GatewaySeen(n, "t", globe.now, host="10.0.0.1", port=9000 + i) for i, n in enumerate(globe.names)}
    return replace(globe.snapshot(), gateways=gateways, **changes)


def settled() -> Globe:
    """Three regions, the last one in the eu, that have served for a while."""
    globe = Globe(residency={"c": "eu"})
    globe.ticks(30)
    return globe


def quick(prefix: str, p99_ms: float, region: str = "a") -> RouteSeen:
    """What a route of `web` usually takes."""
    return RouteSeen("web", region, prefix, 500, p99_ms / 2, p99_ms, 0.0)


def test_each_origin_has_its_way_and_spares_nearest_first() -> None:
    """Shares as they were chosen; of the others those that are well come first, then by distance."""
    globe = settled()
    globe.rtt["a>b"] = 200.0
    globe.gateways["c"] = EngineState.EXITED
    globe.ticks(5)
    table = build_entry(globe.model, RELEASE, seen(globe), globe.memory, RouteMemory())
    ways = {(way.origin, way.residency): way for way in table.ways}
    assert ways["a", ""].shares == (Share("a", 1.0),)
    assert ways["a", ""].spares == ("b", "c")
    assert ways["a", "eu"].shares == ways["a", "eu"].spares == ()
    assert [end.port for end in table.gateways] == [9000, 9001, 9002]


def test_a_residency_has_no_spare_elsewhere() -> None:
    """Whatever happens to the region of eu, its tenants' requests are offered to no other."""
    globe = settled()
    table = build_entry(globe.model, RELEASE, seen(globe), globe.memory, RouteMemory())
    assert all({s.region for s in way.shares} | set(way.spares) <= {"c"} for way in table.ways if way.residency)


def test_quick_routes_are_tried_elsewhere_soon_and_slow_ones_late() -> None:
    """A route that takes 20 ms is late after 100; one that honestly takes 1.5 s is not before 2.4 s; noise changes neither."""
    globe, memory = settled(), RouteMemory()
    for noise in (1.0, 0.9, 1.1, 0.95):
        routes = {r.key: r for r in (quick("/list", 20.0 * noise), quick("/report", 1500.0 * noise))}
        memory, _ = publish_entry(globe.model, RELEASE, seen(globe, routes=routes), globe.memory, memory, "")
        assert memory.hedges == {"web/list": 100.0, "web/report": 2400.0}


def test_the_way_is_part_of_the_usual_time() -> None:
    """While clients are sent to a region 80 ms away, an answer is late only 80 ms later."""
    globe = settled()
    globe.gateways["b"] = EngineState.EXITED
    globe.ticks(3)
    routes = {r.key: r for r in (quick("/list", 20.0),)}
    memory, _ = publish_entry(globe.model, RELEASE, seen(globe, routes=routes), globe.memory, RouteMemory(), "")
    assert memory.hedges == {"web/list": 150.0}


def test_a_table_goes_out_once_with_its_reason() -> None:
    """It is published when the ways change, says what moved and why, and is not sent twice."""
    globe, memory = settled(), RouteMemory()
    memory, _ = publish_entry(globe.model, RELEASE, seen(globe), globe.memory, memory, "")
    globe.gateways["b"] = EngineState.EXITED
    globe.tick()
    memory, [decision] = publish_entry(globe.model, RELEASE, seen(globe), globe.memory, memory, "")
    [effect] = decision.effects
    assert isinstance(effect, PublishEntry)
    assert "clients near b go to a 100% (b is out: its gateway ended)" in decision.why
    globe.tick()
    assert publish_entry(globe.model, RELEASE, seen(globe), globe.memory, memory, "")[1] == ()


def test_nothing_is_tried_twice_where_all_regions_are_pressed() -> None:
    """When every pool has more at hand than it is sized for, a second try elsewhere would only add to it."""
    globe = settled()
    pressed = RouteMemory(pressed=("web@a", "web@b", "web@c"))
    table = build_entry(globe.model, RELEASE, seen(globe), globe.memory, pressed)
    assert [(s.hedge_after_ms, s.rules) for s in table.services] == [(None, ())]


def test_who_has_not_seen_the_gateways_tells_the_entry_nothing() -> None:
    """A control plane that has just taken over and can't see the gateways yet would tell the entry that there are none."""
    globe = settled()
    blind = replace(globe.snapshot(), observed={"entry": globe.now})
    assert publish_entry(globe.model, RELEASE, blind, globe.memory, RouteMemory(), "")[1] == ()


def test_shares_sum_to_one_while_a_gateway_has_no_address() -> None:
    """A gateway that is being started anew can't be told to the entry: the other regions take its share meanwhile."""
    globe = settled()
    ways = {"a|": {"a": 0.5, "b": 0.25, "c": 0.25}, "b|": {"b": 1.0}, "c|eu": {"c": 1.0}}
    known = seen(globe)
    for gone, expected in (("c", [("a", 2 / 3), ("b", 1 / 3)]), ("b", [("a", 2 / 3), ("c", 1 / 3)])):
        snapshot = replace(known, gateways={n: g for n, g in known.gateways.items() if n != gone})
        table = build_entry(globe.model, RELEASE, snapshot, replace(globe.memory, ways=ways), RouteMemory())
        by_key = {f"{way.origin}|{way.residency}": way for way in table.ways}
        assert [(s.region, s.ratio) for s in by_key["a|"].shares] == expected
        assert sum(s.ratio for s in by_key["b|"].shares) == 1.0
        assert by_key["c|eu"].shares == (() if gone == "c" else (Share("c", 1.0),))


def test_a_slow_network_of_their_own_region_is_not_on_the_way_of_those_who_left_it() -> None:
    """b's network takes 200 ms longer: its clients are answered elsewhere after 80, though from its gateway it is 280."""
    globe = settled()
    globe.slow("b", 200.0)
    globe.ticks(10)
    assert globe.share("b", "b") == 0.0
    routes = {r.key: r for r in (quick("/list", 20.0),)}
    memory, _ = publish_entry(globe.model, RELEASE, seen(globe, routes=routes), globe.memory, RouteMemory(), "")
    assert memory.hedges == {"web/list": 150.0}
