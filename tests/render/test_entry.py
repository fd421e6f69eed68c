"""What an EntryTable means to the global entry: golden files that Envoy itself accepts, and what a client meets."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tenfold.model import (
    Endpoint,
    EntryTable,
    GatewayEnd,
    ResidencyRule,
    RouteRule,
    RouteTable,
    ServiceRoutes,
    Share,
    StoreEnd,
    Way,
)
from tenfold.render.envoy import ENTRY_NODE, GatewayConfig, bootstrap, gateway
from tenfold.render.envoy_entry import entry, origin_of, pool_of

GOLDEN = Path(__file__).with_name("golden")
PLACES = {"eu": (50.4, 3.8), "us": (41.3, -95.9), "au": (-37.8, 144.9)}
ENDS = tuple(GatewayEnd(region, f"10.0.{at}.1", 8080) for at, region in enumerate(PLACES))
SERVICES = (
    ServiceRoutes("web", ("/",), (), rules=(RouteRule("/report", 3200.0), RouteRule("/export/", None))),
    ServiceRoutes("api", ("/api",), (), hedge_after_ms=150.0, is_sticky=True),
)
WAYS = (
    Way("eu", "", (Share("eu", 0.75), Share("us", 0.25)), ("au",)),
    Way("us", "", (Share("us", 1.0), Share("eu", 0.0)), ("eu", "au")),
    Way("au", "", (Share("au", 0.9996), Share("us", 0.0004)), ("eu",)),
)
EU_WAYS = tuple(Way(origin, "eu", (Share("eu", 1.0),)) for origin in PLACES)
RULE = ResidencyRule("eu", ("eu.shop.example",), ("acme", "a.b|c"))

TABLES = {
    "empty": EntryTable("eu"),
    "one-origin": EntryTable("eu", ENDS, WAYS, SERVICES, PLACES),
    "placed": EntryTable(
        "eu",
        ENDS,
        (*WAYS, *EU_WAYS),
        SERVICES,
        PLACES,
        trust=("10.1.0.0/16",),
        residency=(ResidencyRule("eu", ("eu.shop.example",), ()),),
    ),
    "full": EntryTable(
        "eu",
        ENDS,
        (*WAYS, *EU_WAYS),
        SERVICES,
        PLACES,
        ("shop.example",),
        ("10.1.0.0/16", "10.1.2.0/24", "::1"),
        None,
        (RULE,),
    ),
}
BEHIND = RouteTable(
    "eu",
    (ServiceRoutes("web", ("/",), (Endpoint("web-1", "127.0.0.1", 20001),)), SERVICES[1]),
    ("shop.example",),
    behind_entry=True,
    gateways=ENDS,
    stores=(StoreEnd("postgres", "10.0.1.1", 5432),),
)


def start_of(node: str) -> dict[str, Any]:
    return bootstrap(
        node,
        control_socket="/tmp/xds.sock",
        admin_socket="/tmp/admin.sock",
        connections_max=20_000,
        memory_bytes_max=1 << 30,
        is_spread=True,
    )


def rendered(name: str) -> GatewayConfig:
    if name == "behind":
        return gateway(
            BEHIND,
            port=8080,
            access_log="/tmp/access.jsonl",
            decision="d17",
            host="127.0.0.2",
            store_ports={"postgres": 5000, "valkey": 6000},
            probe_socket="/tmp/probe.sock",
            delays={"eu": 0.0, "us": 80.5},
        )
    sources = {"us": "127.0.1.2"} if name == "full" else {}
    return entry(TABLES[name], port=8080, access_log="/tmp/entry.jsonl", decision="d17", sources=sources)


@pytest.mark.parametrize("name", [*TABLES, "behind", "bootstrap"])
def test_golden_files(name: str) -> None:
    """Each table is rendered as it was when a person last looked (set GOLDEN=write to look again)."""
    if name == "bootstrap":
        found: Any = start_of(ENTRY_NODE)
    else:
        config = rendered(name)
        found = {
            "clusters": config.clusters,
            "endpoints": config.endpoints,
            "listeners": config.listeners,
            "routes": config.routes,
        }
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    path = GOLDEN / f"entry-{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", [*TABLES, "behind"])
def test_envoy_accepts_it(name: str, accepted: Any) -> None:
    """The real Envoy's own check passes the bootstrap with the whole table in it."""
    accepted(start_of("eu" if name == "behind" else ENTRY_NODE), rendered(name))


def test_pools_tell_their_way() -> None:
    """The name of a pool, or of its twin for sockets, leads back to origin and residency."""
    assert origin_of(pool_of("europe-west1")) == ("europe-west1", "")
    assert origin_of(pool_of("us", "eu")) == ("us", "eu")
    assert origin_of(pool_of("us", "eu") + "~ws") == ("us", "eu")
    assert origin_of(pool_of("us") + "~ws") == ("us", "")


def priorities(table: EntryTable, pool: str) -> list[dict[str, int]]:
    (found,) = [a for a in entry(table, port=1, access_log="/x").endpoints if a["cluster_name"] == pool]
    assert [group["priority"] for group in found["endpoints"]] == list(range(len(found["endpoints"])))
    return [
        {end["endpoint"]["hostname"]: end["load_balancing_weight"] for end in group["lb_endpoints"]}
        for group in found["endpoints"]
    ]


def test_spares_come_in_their_order() -> None:
    """Shares have weights, however small; a share of nothing is a spare; each spare is a priority; what is left comes last."""
    table = TABLES["full"]
    assert priorities(table, "from~eu") == [{"eu": 750, "us": 250}, {"au": 1}]
    assert priorities(table, "from~us") == [{"us": 1000}, {"eu": 1}, {"au": 1}]
    assert priorities(table, "from~au") == [{"au": 1000, "us": 1}, {"eu": 1}]
    forgetful = EntryTable("eu", ENDS, (Way("eu", "", (Share("us", 1.0),)),), SERVICES, PLACES)
    assert priorities(forgetful, "from~eu") == [{"us": 1000}, {"eu": 1, "au": 1}]


def test_a_residency_leads_nowhere_else() -> None:
    """Pools of a residency have no gateway but those of its ways, and none at all once no region may serve."""
    assert priorities(TABLES["full"], "from~au~eu") == [{"eu": 1000}]
    nobody = EntryTable("eu", ENDS, (*WAYS, Way("eu", "eu", ())), SERVICES, PLACES, residency=(RULE,))
    assert priorities(nobody, "from~eu~eu") == []


def test_a_gateway_that_is_not_known_yet_is_left_out() -> None:
    """A share of a region whose gateway has no port yet is no endpoint, and leaves no gap among the priorities."""
    table = EntryTable("eu", ENDS[1:], WAYS, SERVICES, PLACES)
    assert priorities(table, "from~eu") == [{"us": 250}, {"au": 1}]
    assert priorities(EntryTable("eu", (), WAYS, SERVICES, PLACES), "from~eu") == []


def test_only_ways_change_endpoints() -> None:
    """New shares, spares and ports leave pools, listener and routes as they are: only endpoints are sent."""
    table = TABLES["full"]
    moved = EntryTable(
        "eu",
        tuple(GatewayEnd(end.region, end.host, 9090) for end in ENDS),
        tuple(Way(way.origin, way.residency, (Share("eu", 1.0),)) for way in table.ways),
        table.services,
        table.places,
        table.domains,
        table.trust,
        None,
        table.residency,
    )
    one, other = (entry(t, port=1, access_log="/x", decision="d1") for t in (table, moved))
    assert (one.clusters, one.listeners, one.routes) == (other.clusters, other.listeners, other.routes)
    assert one.endpoints != other.endpoints
