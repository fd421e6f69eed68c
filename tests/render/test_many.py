"""Paths by the thousand: three routes serve nearly all of them, as if each had its own."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.model import Endpoint, RouteRule, RouteTable, ServiceRoutes, Share
from tenfold.render import envoy_many as many
from tenfold.render.envoy import SOCKETS_SUFFIX, gateway
from tests.render.conftest import App, Stack
from tests.render.test_envoy import rendered, tables

PATHS = tuple(f"/p{number}" for number in range(60))
REQUESTS = {
    "socket": {"upgrade": "WebSocket", "connection": "keep-alive, Upgrade", ":method": "GET"},
    "idempotent": {":method": "GET"},
    "other": {":method": "POST"},
}


def table(*services: ServiceRoutes) -> RouteTable:
    return RouteTable("local", services)


def routes_of(given_: RouteTable) -> list[dict[str, Any]]:
    (host,) = rendered(given_).routes[0]["virtual_hosts"]
    return list(host["routes"])


def leads(given_: RouteTable, path: str, kind: str) -> tuple[Any, ...]:
    """Where a request goes and what is done with it, as Envoy reads routes: the first that matches."""
    looked_up = many.part(given_.services).many
    for route in routes_of(given_):
        match, action = route["match"], route.get("route", {})
        if not matches(match, path, REQUESTS[kind]):
            continue
        pool = action.get("cluster")
        if "cluster_specifier_plugin" in action:
            # The nearest of those above: this is what the script does, and the real Envoy is asked below.
            pool = next((looked_up[above] for above in many.prefixes(path) if above in looked_up), None)
            pool = pool + SOCKETS_SUFFIX if pool and kind == "socket" else pool
        retry = action.get("retry_policy", {})
        done = (action.get("idle_timeout"), retry.get("retry_on"), retry.get("per_try_timeout"))
        return (pool, *done, "typed_per_filter_config" in route) if pool else ()
    return ()


def matches(match: dict[str, Any], path: str, headers: dict[str, str]) -> bool:
    if "path" in match:
        found = path == match["path"]
    elif "prefix" in match:
        found = path.startswith(match["prefix"])
    else:
        prefix = match["path_separated_prefix"]
        found = path == prefix or path.startswith(prefix + "/")
    wanted = {header["name"] for header in match.get("headers", ())}
    if ":method" in wanted:
        wanted = wanted - {":method"} if headers[":method"] == "GET" else wanted | {"never"}
    return found and wanted <= headers.keys()


def test_few_paths_are_as_they_were() -> None:
    """Up to fifty paths each have routes of their own, and one more has none."""
    few, more = (ServiceRoutes("web", tuple(f"/p{n}" for n in range(count)), ()) for count in (50, 51))
    assert len(routes_of(table(few))) == 150
    assert "cluster_specifier_plugins" not in rendered(table(few)).routes[0]
    assert [route["name"] for route in routes_of(table(more))] == ["d17 *"] * 3


def test_a_policy_of_ones_own_keeps_its_routes() -> None:
    """A sticky service, a patient one, a hedging time and what lies below them are not looked up; all others are."""
    found = many.part(
        (
            ServiceRoutes("web", (*PATHS, "/patient/no"), (), rules=(RouteRule("/p7/report", 900.0),)),
            ServiceRoutes("deep", ("/p7/report/deep", "/p8/deep", "/cart/deep"), ()),
            ServiceRoutes("cart", ("/cart",), (), is_sticky=True),
            ServiceRoutes("patient", ("/patient",), (), timeout_s=300.0),
        )
    )
    assert {service.service: service.paths for service in found.own} == {
        "web": ("/patient/no",),
        "deep": ("/p7/report/deep", "/cart/deep"),
        "cart": ("/cart",),
        "patient": ("/patient",),
    }
    assert found.many == dict.fromkeys(PATHS, "web") | {"/p8/deep": "deep"}


@given(
    tables(),
    st.lists(st.from_regex(r"/([a-z]{1,3}(/[a-z]{1,3}){0,2}/?)?", fullmatch=True), min_size=1, max_size=8),
    st.lists(st.sampled_from([(60.0, False), (5.0, False), (60.0, True)]), min_size=4, max_size=4),
)
def test_it_leads_where_plain_routes_lead(
    given_: RouteTable, paths: list[str], policies: list[tuple[float, bool]]
) -> None:
    """Whatever the table, each request goes to the same pool in the same way as with a route for each path."""
    services = tuple(
        replace(service, timeout_s=timeout_s, is_sticky=is_sticky)
        for service, (timeout_s, is_sticky) in zip(given_.services, policies, strict=False)
    )
    whole = table(*services)
    asked = [*paths, *(path for service in services for path in service.paths)]
    asked += [path.rstrip("/") + more for path in asked for more in ("/x", "x") if path != "/"]
    plain = {(path, kind): leads(whole, path, kind) for path in asked for kind in REQUESTS}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(many, "FEW", 0)
        assert {(path, kind): leads(whole, path, kind) for path in asked for kind in REQUESTS} == plain


@pytest.fixture
def apps() -> Iterator[tuple[App, App]]:
    """Two that tell who they are."""
    with contextlib.ExitStack() as ended:
        yield tuple(ended.enter_context(contextlib.closing(App(name))) for name in ("one", "two"))  # type: ignore[misc]


def end(app: App) -> Endpoint:
    return Endpoint(app.region, "127.0.0.1", app.port)


def edge(stack: Stack, *services: ServiceRoutes, behind_entry: bool = False) -> int:
    """The port of a real gateway with these services."""
    given_ = RouteTable("local", services, behind_entry=behind_entry)
    engine = stack.run("local", lambda log: gateway(given_, port=0, access_log=log, decision="d1"))
    engine.wait()
    return int(engine.port)


@pytest.mark.parametrize("behind_entry", [False, True])
def test_envoy_looks_paths_up(stack: Stack, apps: tuple[App, App], behind_entry: bool) -> None:
    """A path covers itself and what is below it, never what merely begins like it; the nearest path counts."""
    one, two = apps
    port = edge(
        stack,
        ServiceRoutes("one", (*PATHS, "/api", "/v2/", "/it's", "/a%20b"), (end(one),)),
        ServiceRoutes("two", ("/api/deep", "/v2/deep/", "/p1/own"), (end(two),)),
        behind_entry=behind_entry,
    )
    found = {
        path: stack.ask(port, path)
        for path in ("/api", "/api/x", "/api?x=/api/deep", "/api/", "/v2/", "/v2/x?y", "/p1/owner", "/it's", "/a%20b/c")
    }
    assert {path: (answer.status, answer.region) for path, answer in found.items()} == dict.fromkeys(
        found, (200, "one")
    )
    for path in ("/api/deep", "/api/deep/", "/api/deep?x", "/v2/deep/x", "/p1/own/" + "x/" * 500):
        assert stack.ask(port, path).region == "two", path
    for path in ("/", "/apix", "/v2", "/v2?x/", "/p60", "/p", "/x" * 900):
        answer = stack.ask(port, path)
        assert (answer.status, answer.body) == (404, "Nothing is served at this host and path.\n"), path
    assert stack.ask(port, "/api/x", "POST").region == "one"


def test_sockets_are_looked_up_too(stack: Stack, apps: tuple[App, App]) -> None:
    """A WebSocket on a path among many goes to the pool for sockets, and says what it hears."""
    port = edge(stack, ServiceRoutes("one", (*PATHS, "/ws"), (end(apps[0]),)))
    with stack.open_socket(port) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
    (line,) = stack.engine("local").logged(1)
    assert (line["pool"], line["route"]) == ("one" + SOCKETS_SUFFIX, "d1 *")


def test_hedged_and_asked_again(stack: Stack, apps: tuple[App, App]) -> None:
    """An idempotent request on a path among many that is late, or whose instance dies, is asked of another instance."""
    one, two = apps
    service = ServiceRoutes("web", (*PATHS, "/slow", "/die"), (end(one), end(two)), hedge_after_ms=50.0)
    port = edge(stack, service)
    assert stack.ask(port, "/slow").status == 200
    assert (one.calls["/slow"], two.calls["/slow"]) == (1, 1)
    stack.ask(port, "/die")
    assert (one.calls["/die"], two.calls["/die"]) == (1, 1)
    stack.ask(port, "/die/post", "POST")
    assert one.calls.get("/die/post", 0) + two.calls.get("/die/post", 0) == 1


def test_an_entry_before_many_paths(stack: Stack) -> None:
    """The entry has three routes for them all; that a path leads nowhere is said by the gateway."""
    service = replace(ServiceRoutes("web", PATHS, ()), hedge_after_ms=None)
    stack.gateways((service,))
    engine = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0)), service))
    assert stack.ask(engine.port, "/p1/x").region == "eu"
    answer = stack.ask(engine.port, "/p1x")
    assert (answer.status, answer.body) == (404, "Nothing is served at this host and path.\n")
