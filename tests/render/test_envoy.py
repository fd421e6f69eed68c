"""What a RouteTable means to Envoy: golden files that Envoy itself accepts, and the rules behind them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.model import Endpoint, EndpointState, Health, RouteRule, RouteTable, ServiceRoutes, Tier
from tenfold.render.envoy import GatewayConfig, bootstrap, gateway

GOLDEN = Path(__file__).with_name("golden")

WEB = Endpoint("web-1", "127.0.0.1", 20001)
CROWD = tuple(Endpoint(f"web-{number}", "127.0.0.1", 20000 + number, weight=number) for number in range(1, 4))
WARM = Endpoint("web-8", "127.0.0.1", 20008, state=EndpointState.WARM)
LEAVING = Endpoint("web-9", "127.0.0.1", 20009, state=EndpointState.DRAINING)

TIERS = (
    Tier("agency", tenants=("initech",)),
    Tier("enterprise", domains=("acme.shop.example", "*.acme.shop.example"), tenants=("acme", "a.c")),
    Tier("starter", tenants=("tiny",)),
)
BY_TIER = (
    ServiceRoutes("api", ("/api",), (Endpoint("api-1", "127.0.0.1", 20101),)),
    ServiceRoutes("web", ("/",), (WEB,)),
    ServiceRoutes("web-agency", ("/",), (), may_sleep=True, is_asleep=True, tier="agency"),
    ServiceRoutes(
        "web-enterprise",
        ("/",),
        (Endpoint("web-enterprise-1", "127.0.0.1", 20201),),
        rules=(RouteRule("/report", 800.0),),
        is_sticky=True,
        tier="enterprise",
    ),
)

TABLES = {
    "tiers": RouteTable("local", BY_TIER, ("shop.example", "*.shop.example"), tiers=TIERS),
    "tiers-behind": RouteTable("local", BY_TIER[1:], behind_entry=True, tiers=TIERS),
    "empty": RouteTable("local"),
    "one": RouteTable("local", (ServiceRoutes("web", ("/",), (WEB,)),)),
    "watched": RouteTable("local", (ServiceRoutes("web", ("/",), (WEB, WARM)),)),
    "full": RouteTable(
        "europe-west1",
        (
            ServiceRoutes(
                "web",
                ("/",),
                (*CROWD, LEAVING),
                rules=(RouteRule("/report", 3200.0), RouteRule("/export/", None), RouteRule("/api/slow", 800.0)),
            ),
            ServiceRoutes(
                "api", ("/api", "/v2/"), (Endpoint("api-1", "127.0.0.1", 20101),), hedge_after_ms=None, timeout_s=2.5
            ),
            ServiceRoutes("idle", ("/idle",), ()),
        ),
        ("crewboard.example", "*.crewboard.example"),
    ),
    "asleep": RouteTable(
        "local",
        (
            ServiceRoutes("web", ("/",), (LEAVING,), Health(starts_within_s=90.0), may_sleep=True, is_asleep=True),
            ServiceRoutes("api", ("/api",), (WEB,), may_sleep=True),
            ServiceRoutes("cart", ("/cart",), (), is_sticky=True, may_sleep=True, is_asleep=True),
        ),
    ),
    "many": RouteTable(
        "local",
        (
            ServiceRoutes(
                "web", tuple(f"/p{number}" for number in range(60)), (WEB,), rules=(RouteRule("/p7/report", 3200.0),)
            ),
            ServiceRoutes("api", ("/api", "/it's", "/p7/report/api"), (WARM,)),
            ServiceRoutes("cart", ("/cart",), (WEB,), is_sticky=True),
        ),
    ),
}


def rendered(table: RouteTable) -> GatewayConfig:
    return gateway(table, port=8080, access_log="/tmp/access.jsonl", decision="d17", waker_socket="/tmp/wake.sock")


def start_of(region: str) -> dict[str, Any]:
    return bootstrap(
        region,
        control_socket="/tmp/xds.sock",
        admin_socket="/tmp/admin.sock",
        connections_max=20_000,
        memory_bytes_max=1 << 30,
    )


def as_json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", [*TABLES, "bootstrap"])
def test_golden_files(name: str) -> None:
    """Each table is rendered as it was when a person last looked (set GOLDEN=write to look again)."""
    if name == "bootstrap":
        text = as_json(start_of("local"))
    else:
        config = rendered(TABLES[name])
        parts = {"clusters": config.clusters, "endpoints": config.endpoints, "routes": config.routes}
        text = as_json(parts | ({"listeners": config.listeners} if name in ("empty", "asleep") else {}))
    path = GOLDEN / f"envoy-{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", list(TABLES))
def test_envoy_accepts_it(name: str, accepted: Any) -> None:
    """The real Envoy's own check passes the bootstrap with the whole table in it."""
    accepted(start_of("local"), rendered(TABLES[name]))


def routes_of(table: RouteTable) -> list[dict[str, Any]]:
    (host,) = rendered(table).routes[0]["virtual_hosts"]
    return [route for route in host["routes"] if "route" in route]


def prefix_of(route: dict[str, Any]) -> str:
    decision, _, prefix = str(route["name"]).partition(" ")
    assert decision == "d17"
    return prefix


def methods_of(route: dict[str, Any]) -> str:
    headers = {header["name"]: header["string_match"] for header in route["match"].get("headers", [])}
    if "upgrade" in headers:
        return "sockets"
    return "idempotent" if ":method" in headers else "all"


def test_only_idempotent_requests_are_hedged() -> None:
    """Routes for writes and sockets have no hedge, no try timeout, and are tried again only when nothing was sent."""
    for route in routes_of(TABLES["full"]):
        retry = route["route"]["retry_policy"]
        if methods_of(route) == "idempotent":
            assert retry["num_retries"] == 1
            assert ("hedge_policy" in route["route"]) == ("per_try_timeout" in retry)
        else:
            assert "hedge_policy" not in route["route"]
            assert "per_try_timeout" not in retry
            assert set(retry["retry_on"].split(",")) == {"connect-failure", "refused-stream", "reset-before-request"}


def test_rules_stay_in_their_service() -> None:
    """A rule of `web` for a path that belongs to `api` is not followed; its own are, the longest prefix first."""
    idempotent = [route for route in routes_of(TABLES["full"]) if methods_of(route) == "idempotent"]
    found = {
        prefix_of(route): (route["route"]["cluster"], route["route"]["retry_policy"].get("per_try_timeout"))
        for route in idempotent
    }
    assert found == {
        "/export/": ("web", None),
        "/report": ("web", "3.2s"),
        "/idle": ("idle", "0.4s"),
        "/api": ("api", None),
        "/v2/": ("api", None),
        "/": ("web", "0.4s"),
    }
    slow_home = ServiceRoutes("web", ("/",), (WEB,), rules=(RouteRule("/", 1600.0),))
    matches = [
        route["match"] for route in routes_of(RouteTable("local", (slow_home,))) if methods_of(route) == "idempotent"
    ]
    assert [match.get("path", match.get("prefix")) for match in matches] == ["/", "/"]
    assert "path" in matches[0]
    assert "prefix" in matches[1]
    lengths = [len(prefix_of(route)) for route in idempotent]
    assert lengths == sorted(lengths, reverse=True)


def test_only_what_sleeps_asks() -> None:
    """Each route of a service that sleeps asks the waker for its own pool, for as long as its start may take; no other route does."""
    asked = {}
    for route in routes_of(TABLES["asleep"]):
        settings = route.get("typed_per_filter_config", {}).get("envoy.filters.http.ext_authz")
        if settings is not None:
            service = settings["check_settings"]["http_service"]
            asked[str(route["name"])] = (service["path_prefix"], service["server_uri"]["timeout"])
            assert float(route["route"]["idle_timeout"].rstrip("s")) in (0.0, 65.0, 95.0)
    assert asked == {
        "d17 asleep /": ("/local/web/90", "92s"),
        "d17 asleep /cart": ("/local/cart/60", "62s"),
    }


def test_what_sleeps_among_thousands_asks_for_itself() -> None:
    """Where one route serves many paths, those of a service that sleeps have routes of their own."""
    crowd = ServiceRoutes("web", tuple(f"/p{number}" for number in range(60)), (WEB,), may_sleep=True)
    drowsy = ServiceRoutes("api", ("/api",), (), may_sleep=True, is_asleep=True)
    routes = routes_of(RouteTable("local", (crowd, drowsy)))
    asking = [route for route in routes if "envoy.filters.http.ext_authz" in route.get("typed_per_filter_config", {})]
    assert {route["route"].get("cluster") for route in asking} == {"api", "api~ws"}
    assert len(asking) == 3
    assert len(routes) < 20


names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
paths = st.lists(st.from_regex(r"/([a-z]{1,3}(/[a-z]{1,3})?/?)?", fullmatch=True), min_size=1, max_size=3, unique=True)
rules = st.builds(RouteRule, st.from_regex(r"/([a-z]{1,3}/?)?", fullmatch=True), st.none() | st.floats(1, 60_000))
endpoints = st.builds(
    Endpoint,
    st.from_regex(r"web-[1-9]", fullmatch=True),
    st.just("127.0.0.1"),
    st.integers(1, 65535),
    st.integers(1, 128),
    st.sampled_from(EndpointState),
)


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    """Any table whose services have names and paths of their own."""
    services, taken = [], set[str]()
    for name in draw(st.lists(names, max_size=4, unique=True)):
        own = tuple(path for path in draw(paths) if path.rstrip("/") not in taken)
        taken |= {path.rstrip("/") for path in own}
        services.append(
            ServiceRoutes(
                name, own, tuple(draw(st.lists(endpoints, max_size=4))), rules=tuple(draw(st.lists(rules, max_size=3)))
            )
        )
    return RouteTable("local", tuple(services))


@given(tables())
def test_every_table_hangs_together(table: RouteTable) -> None:
    """Routes name pools that exist, every pool has its endpoints, every path has its three routes, longest first."""
    config = rendered(table)
    pools = [cluster["name"] for cluster in config.clusters]
    assert pools == [assignment["cluster_name"] for assignment in config.endpoints]
    routes = routes_of(table)
    assert {route["route"]["cluster"] for route in routes} <= set(pools)
    for kind in ("sockets", "idempotent", "all"):
        prefixes = [prefix_of(route) for route in routes if methods_of(route) == kind]
        assert {path for service in table.services for path in service.paths} <= set(prefixes)
        assert [len(prefix) for prefix in prefixes] == sorted((len(prefix) for prefix in prefixes), reverse=True)
    order = [methods_of(route) for route in routes]
    assert order == sorted(order, key=["sockets", "idempotent", "all"].index)
    json.dumps([config.clusters, config.endpoints, config.listeners, config.routes])


@given(tables(), tables())
def test_the_listener_never_changes(one: RouteTable, other: RouteTable) -> None:
    """Whatever is published, the listener stays the same: a changed one would close clients' connections."""
    assert rendered(one).listeners == rendered(other).listeners
