"""Whose requests go to which pool, through real gateways: by header, cookie and host, behind an entry too."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.model import (
    Endpoint,
    GatewayEnd,
    ResidencyRule,
    RouteTable,
    ServiceRoutes,
    Share,
    Tier,
)
from tenfold.render.envoy import gateway
from tenfold.render.envoy_tiers import lists
from tests.render.conftest import App, Stack

AGENCY = Tier("agency", tenants=("initech", "tricky"))
ENTERPRISE = Tier(
    "enterprise", domains=("acme.shop.example", "*.vip.example"), tenants=("acme", "a.c", "Globex", "x|y@z")
)
STARTER = Tier("starter", domains=("tiny.shop.example",), tenants=("tiny",))
TIERS = (AGENCY, ENTERPRISE, STARTER)
"""`starter` has no pool: it gets that of all."""
POOLS = ("web", "web-agency", "web-enterprise")

CASES: list[tuple[str, dict[str, str]]] = [
    ("web", {}),
    ("web", {"host": "shop.example"}),
    ("web-enterprise", {"x-tenfold-tenant": "acme"}),
    ("web-agency", {"x-tenfold-tenant": "initech"}),
    ("web", {"x-tenfold-tenant": "umbrella"}),
    ("web", {"x-tenfold-tenant": "acme2"}),
    ("web", {"x-tenfold-tenant": ""}),
    # A name is a name and no pattern.
    ("web-enterprise", {"x-tenfold-tenant": "a.c"}),
    ("web", {"x-tenfold-tenant": "abc"}),
    ("web-enterprise", {"x-tenfold-tenant": "x|y@z"}),
    ("web", {"x-tenfold-tenant": "x"}),
    # Letter by letter, but for the name of the header itself.
    ("web-enterprise", {"X-TENFOLD-TENANT": "Globex"}),
    ("web", {"x-tenfold-tenant": "globex"}),
    ("web", {"x-tenfold-tenant": "ACME"}),
    ("web", {"x-tenfold-tenant": "acme,initech"}),
    ("web-enterprise", {"cookie": "tenfold-tenant=acme"}),
    ("web-enterprise", {"cookie": 'a=1; tenfold-tenant="a.c"; b=2'}),
    ("web", {"cookie": "tenfold-tenant=abc"}),
    ("web", {"cookie": "not-tenfold-tenant=acme; tenfold-tenant=acme2"}),
    ("web-enterprise", {"host": "acme.shop.example"}),
    ("web-enterprise", {"host": "ACME.shop.example:8080"}),
    ("web-enterprise", {"host": "any.vip.example"}),
    ("web", {"host": "tiny.shop.example"}),
    # Who is named counts before the host, the header before the cookie.
    ("web-agency", {"host": "acme.shop.example", "x-tenfold-tenant": "initech"}),
    ("web-agency", {"host": "acme.shop.example", "cookie": "tenfold-tenant=initech"}),
    ("web", {"host": "acme.shop.example", "x-tenfold-tenant": "tiny"}),
    ("web-enterprise", {"host": "acme.shop.example", "x-tenfold-tenant": "umbrella"}),
    ("web-agency", {"x-tenfold-tenant": "initech", "cookie": "tenfold-tenant=acme"}),
    ("web-enterprise", {"x-tenfold-tenant": "acme", "cookie": "tenfold-tenant=initech"}),
    ("web", {"x-tenfold-tenant": "tiny", "cookie": "tenfold-tenant=acme"}),
    ("web-enterprise", {"x-tenfold-tenant": "umbrella", "cookie": "tenfold-tenant=acme"}),
]
"""The pool that a request with these headers takes, sent to a host in no tier where it names none."""


def table(ends: Mapping[str, Endpoint], region: str = "local", **changes: Any) -> RouteTable:
    """A gateway's: `web` and its tiers' pools on each path, and `api` that all share; instances by pool."""
    services = tuple(
        ServiceRoutes(name, paths, (ends[name],) if name in ends else (), hedge_after_ms=None, tier=tier)
        for name, paths, tier in (
            ("api", ("/api",), None),
            ("web", ("/",), None),
            ("web-agency", ("/",), "agency"),
            ("web-enterprise", ("/",), "enterprise"),
        )
    )
    return replace(RouteTable(region, services, tiers=TIERS), **changes)


@pytest.fixture
def ends() -> Iterator[dict[str, Endpoint]]:
    """An app for each pool, that tells which it is."""
    with ExitStack() as ended:
        apps = {name: ended.enter_context(closing(App(name))) for name in ("api", *POOLS)}
        yield {name: Endpoint(f"{name}-1", "127.0.0.1", app.port) for name, app in apps.items()}


def edge(stack: Stack, found: RouteTable, node: str = "local") -> int:
    """The port of a real gateway with this table."""
    engine = stack.run(node, lambda log: gateway(found, port=0, access_log=log, decision="d1"))
    engine.wait()
    return engine.port


def asked(stack: Stack, port: int, headers: Mapping[str, str], path: str = "/") -> str:
    """The pool whose app answered."""
    answer = stack.ask(port, path, **{key.replace("-", "_"): value for key, value in headers.items()})
    assert answer.status == 200, (headers, answer)
    return answer.region


@pytest.mark.parametrize("behind_entry", [False, True])
def test_each_request_goes_to_its_tiers_pool(stack: Stack, ends: Any, behind_entry: bool) -> None:
    """By header, cookie or host; what all share, all go to; and the log says which pool it was."""
    domains = () if behind_entry else ("shop.example", "*.shop.example", "*.vip.example")
    port = edge(stack, table(ends, behind_entry=behind_entry, domains=domains))
    found = [asked(stack, port, {"host": "shop.example"} | headers) for _, headers in CASES]
    wrong = [(case, pool) for case, pool in zip(CASES, found, strict=True) if case[0] != pool]
    assert not wrong
    assert asked(stack, port, {"x-tenfold-tenant": "acme"}, "/api/x") == "api"
    assert stack.ask(port, "/", "POST", x_tenfold_tenant="acme").region == "web-enterprise"
    if behind_entry:
        assert stack.ask(port, "/.tenfold/ping", x_tenfold_tenant="acme").body == "local\n"
    else:
        assert stack.ask(port, host="elsewhere.example", x_tenfold_tenant="acme").status == 404
    lines = stack.engine("local").logged(len(CASES))
    assert [line["pool"] for line in lines[: len(CASES)]] == [pool for pool, _ in CASES]


def test_sockets_go_there_too(stack: Stack, ends: Any) -> None:
    """A WebSocket of a tier's tenant is opened with that tier's pool."""
    port = edge(stack, table(ends))
    for headers, pool in (("x-tenfold-tenant: acme\r\n", "web-enterprise~ws"), ("", "web~ws")):
        with stack.connect(port) as connection:
            connection.sendall(
                f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n".encode()
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        assert pool in {line["pool"] for line in stack.engine("local").logged(1 + (pool == "web~ws"))}


def test_paths_by_the_thousand(stack: Stack, ends: Any) -> None:
    """Where paths are looked up by a script, each tier has its own."""
    paths = tuple(f"/p{number}" for number in range(60))
    services = tuple(replace(s, paths=paths) for s in table(ends).services if s.service != "api")
    port = edge(stack, table(ends, services=services))
    assert asked(stack, port, {"x-tenfold-tenant": "acme"}, "/p7/x") == "web-enterprise"
    assert asked(stack, port, {"x-tenfold-tenant": "initech"}, "/p59") == "web-agency"
    assert asked(stack, port, {}, "/p7/x") == "web"
    assert stack.ask(port, "/p77", x_tenfold_tenant="acme").status == 404


def test_a_pool_that_is_out_has_its_requests_answered_by_all(stack: Stack, ends: Any) -> None:
    """They go to the pool of all, and those of the other tier as before; with all out nothing is asked of anybody's name."""
    at_hand = table(ends)
    out = tuple(replace(s, is_out=s.tier == "enterprise") for s in at_hand.services)
    port = edge(stack, table(ends, services=out))
    instead = {pool: "web" if pool == "web-enterprise" else pool for pool in POOLS}
    assert [asked(stack, port, headers) for _, headers in CASES] == [instead[pool] for pool, _ in CASES]
    all_out = tuple(replace(s, is_out=s.tier is not None) for s in at_hand.services)
    (host,) = gateway(table(ends, services=all_out), port=1, access_log="/x").routes[0]["virtual_hosts"]
    assert "matcher" not in host
    assert asked(stack, edge(stack, table(ends, services=all_out), "none"), {"x-tenfold-tenant": "acme"}) == "web"


def test_sticky_pools_have_cookies_of_their_own(stack: Stack, ends: Any) -> None:
    """A browser's instance in one pool says nothing about the other."""
    sticky = tuple(replace(service, is_sticky=True) for service in table(ends).services)
    port = edge(stack, table(ends, services=sticky))
    answer = stack.ask(port, x_tenfold_tenant="acme")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("tenfold-instance-web-enterprise=")
    assert stack.ask(port, x_tenfold_tenant="acme", cookie=cookie).region == "web-enterprise"
    assert stack.ask(port, cookie=cookie).region == "web"


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from(["shop.example", "acme.shop.example", "a.vip.example", "tiny.shop.example"]),
        "x-tenfold-tenant": st.sampled_from(["acme", "a.c", "abc", "Globex", "initech", "tiny", "umbrella", "x|y@z"]),
        "cookie": st.sampled_from(["acme", "initech", "tiny", "abc"]).map(lambda name: f"k=v; tenfold-tenant={name}"),
    },
)


def tier_of(headers: Mapping[str, str]) -> str | None:
    """Whose a request is, by the words of the docs: the header's tenant, else the cookie's, else the host."""
    cookie = headers.get("cookie", "").partition("tenfold-tenant=")[2]
    for name in (headers.get("x-tenfold-tenant", ""), cookie):
        for tier in TIERS:
            if name in tier.tenants:
                return tier.name
    host = headers.get("host", "")
    return next((t.name for t in TIERS if host in t.domains or ("*." + host.partition(".")[2]) in t.domains), None)


def test_whoever_asks_is_served_by_one_pool(stack: Stack, ends: Any) -> None:
    """Whatever a request says of its tenant and host, exactly one pool is asked, and it is its tier's where that has one."""
    port = edge(stack, table(ends))

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(HEADERS)
    def each(headers: dict[str, str]) -> None:
        pool = f"web-{tier_of(headers)}"
        assert asked(stack, port, headers) == (pool if pool in POOLS else "web")

    each()


def test_a_residency_is_kept_with_tiers(stack: Stack) -> None:
    """Who must stay in a region gets the pool of their tier there; a region where it is out serves them with that of all, and
    no other region's is asked."""
    rule = ResidencyRule("eu", ("eu.shop.example",), ("acme", "tiny"))
    with ExitStack() as ended:
        for region, pools in (("eu", POOLS), ("us", POOLS)):
            apps = {name: ended.enter_context(closing(App(f"{name}@{region}"))) for name in ("api", *pools)}
            found = {name: Endpoint(f"{name}-1", "127.0.0.1", app.port) for name, app in apps.items()}
            there = table(found, region, behind_entry=True)
            if region == "us":
                out = tuple(replace(s, is_out=s.tier == "agency") for s in there.services)
                there = replace(there, services=out)
            stack.ends[region] = GatewayEnd(region, "127.0.0.1", edge(stack, there, region))
        ways = (
            *stack.everywhere(Share("us", 1.0), spares=("eu",)),
            *stack.everywhere(Share("eu", 1.0), residency="eu"),
        )
        web = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)
        port = stack.entry(stack.table(ways, web, domains=("shop.example",), residency=(rule,))).port
        served = {
            "": {},
            "acme": {"x-tenfold-tenant": "acme"},
            "a.c": {"x-tenfold-tenant": "a.c"},
            "tiny": {"cookie": "tenfold-tenant=tiny"},
            "initech": {"x-tenfold-tenant": "initech"},
            "initech in eu": {"x-tenfold-tenant": "initech", "host": "eu.shop.example"},
        }
        assert {who: asked(stack, port, {"host": "shop.example"} | h) for who, h in served.items()} == {
            "": "web@us",
            "acme": "web-enterprise@eu",
            "a.c": "web-enterprise@us",
            "tiny": "web@eu",
            "initech": "web@us",
            "initech in eu": "web-agency@eu",
        }


@given(st.data())
def test_lists_hold_each_path_once(data: st.DataObject) -> None:
    """Whatever pools there are and whichever are out, each list has one pool for each path, of its own tier or of all."""
    paths = [("/",), ("/api", "/v2")]
    services = [ServiceRoutes(f"s{number}", each, ()) for number, each in enumerate(paths)]
    for service in list(services):
        for tier in TIERS:
            if data.draw(st.booleans()):
                is_out = data.draw(st.booleans())
                services.append(
                    replace(service, service=f"{service.service}-{tier.name}", tier=tier.name, is_out=is_out)
                )
    found = lists(RouteTable("local", tuple(services), tiers=TIERS))
    for name, of_list in found.items():
        assert [service.paths for service in of_list] == paths
        assert {service.tier for service in of_list} <= {None, name or None}
        assert not any(service.is_out for service in of_list)
    assert json.dumps(gateway(RouteTable("local", tuple(services), tiers=TIERS), port=1, access_log="/x").routes)
