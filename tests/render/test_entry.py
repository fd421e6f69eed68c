"""What an EntryTable means to the global entry: golden files that Envoy itself accepts, and what a client meets."""

import json
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
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
WEB = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)
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


def everywhere(*shares: Share, spares: tuple[str, ...] = (), residency: str = "") -> tuple[Way, ...]:
    return tuple(Way(origin, residency, shares, spares) for origin in PLACES)


def own(*origins: str) -> tuple[Way, ...]:
    """Each origin is served by its own region; the others are spares."""
    return tuple(Way(o, "", (Share(o, 1.0),), tuple(r for r in PLACES if r != o)) for o in origins)


def table_of(stack: Any, ways: tuple[Way, ...], *services: ServiceRoutes, **rest: Any) -> EntryTable:
    return EntryTable("eu", tuple(stack.ends.values()), ways, services or (WEB,), PLACES, **rest)


def test_the_nearest_region_serves(stack: Any) -> None:
    """The word of a trusted sender places a client by great circle, over the date line too; nonsense leads home."""
    stack.gateways((WEB,))
    trusting = stack.entry(table_of(stack, own(*PLACES), trust=("127.0.0.0/8",)))
    asked = {
        "48.8,2.3": "eu",
        " 40.7 , -74.0 ": "us",
        "-36.8,174.8": "au",
        "-17.7,-178.0": "au",
        "21.3,-157.8": "us",
        "90,0": "eu",
        "+35.7,139.7": "au",
        **dict.fromkeys(("", "Paris", "91,0", "0,181", "nan,nan", "1e1,2", "1,2,3", "0x10,1", "48.8;2.3"), "eu"),
    }
    found = {said: stack.ask(trusting.port, x_tenfold_place=said) for said in asked}
    assert {said: answer.region for said, answer in found.items()} == asked
    seen = found["-36.8,174.8"].seen["headers"]
    assert seen["x-tenfold-origin"] == "au"
    assert "x-tenfold-place" not in seen


def test_strangers_are_not_believed(stack: Any) -> None:
    """Who is not trusted can tell neither place nor origin, address, nor request id; who is can tell the client's address."""
    stack.gateways((WEB,))
    said = {
        "x_tenfold_place": "-36.8,174.8",
        "x_tenfold_origin": "au",
        "x_forwarded_for": "1.2.3.4, 9.8.7.6",
        "x_request_id": "mine",
        "x_tenfold_tenant": "acme",
    }
    strict = stack.entry(table_of(stack, own(*PLACES), trust=("10.0.0.0/8",)))
    answer = stack.ask(strict.port, **said)
    headers = answer.seen["headers"]
    assert (answer.region, headers["x-tenfold-origin"], headers["x-forwarded-for"]) == ("eu", "eu", "127.0.0.1")
    assert "x-tenfold-place" not in headers
    assert headers["x-tenfold-tenant"] == "acme"
    assert headers["x-request-id"] == answer.headers["x-request-id"] != "mine"
    trusting = stack.entry(table_of(stack, own(*PLACES), trust=("127.0.0.1",)), "entry-trusting")
    headers = stack.ask(trusting.port, **said).seen["headers"]
    assert (headers["x-tenfold-origin"], headers["x-forwarded-for"]) == ("au", "9.8.7.6")
    assert headers["x-request-id"] != "mine"


def test_shares_are_exact(stack: Any) -> None:
    """Of a thousand requests each region gets its share within one percent."""
    stack.gateways((WEB,))
    shares = (Share("eu", 0.4), Share("us", 0.3), Share("au", 0.3))
    port = stack.entry(table_of(stack, everywhere(*shares))).port
    counts = Counter(answer.region for answer in (stack.ask(port) for _ in range(1000)))
    assert all(abs(counts[share.region] - 1000 * share.ratio) <= 10 for share in shares), counts


def test_a_residency_is_kept(stack: Any) -> None:
    """Requests of a residency, by host, header or cookie, are served there, or refused with the reason when nobody there can."""
    stack.gateways((WEB,))
    ways = (*everywhere(Share("us", 1.0), spares=("eu", "au")), *everywhere(Share("eu", 1.0), residency="eu"))
    rules = {"domains": ("shop.example",), "residency": (RULE,)}
    port = stack.entry(table_of(stack, ways, **rules)).port
    of_eu: list[dict[str, str]] = [
        {"host": "eu.shop.example"},
        {"host": "shop.example", "x_tenfold_tenant": "acme"},
        {"host": "shop.example", "x_tenfold_tenant": "a.b|c"},
        {"host": "shop.example", "cookie": "a=1; tenfold-tenant=acme; b=2"},
        {"host": "shop.example", "cookie": 'tenfold-tenant="acme"'},
    ]
    of_all: list[dict[str, str]] = [
        {"host": "shop.example"},
        {"host": "shop.example", "x_tenfold_tenant": "acme2"},
        {"host": "shop.example", "x_tenfold_tenant": "axb|c"},
        {"host": "shop.example", "cookie": "not-tenfold-tenant=acme; tenfold-tenant=acme2"},
    ]
    assert [stack.ask(port, **headers).region for headers in of_eu] == ["eu"] * len(of_eu)
    assert [stack.ask(port, **headers).region for headers in of_all] == ["us"] * len(of_all)
    nobody = (*everywhere(Share("us", 1.0)), Way("eu", "eu", ()))
    refusing = stack.entry(table_of(stack, nobody, **rules), "entry-refusing").port
    for headers in of_eu:
        answer = stack.ask(refusing, **headers)
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert (
            answer.body
            == "This request must be served in eu, and no region there can serve now; try again in a few seconds.\n"
        )
    stack.engine("eu").process.kill()
    stack.engine("eu").process.wait()
    answer = stack.ask(port, **of_eu[0])
    assert answer.status == 503
    assert answer.body.startswith("This request must be served in eu, and no region there c"), answer.body
    assert stack.ask(port, **of_all[0]).region == "us"


class Users:
    """Clients who ask again and again until they are told to stop."""

    def __init__(self, stack: Any, port: int, count: int, **headers: str) -> None:
        self.answers: list[Any] = []
        self._told = threading.Event()

        def use() -> None:
            while not self._told.is_set():
                self.answers.append(stack.ask(port, **headers))

        self._threads = [threading.Thread(target=use) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def wait(self, region: str, count: int) -> None:
        """Until `region` gave so many answers more than now."""
        target = sum(a.status == 200 and a.region == region for a in self.answers) + count
        while sum(a.status == 200 and a.region == region for a in self.answers) < target:
            self._told.wait(0.01)

    def stop(self) -> list[Any]:
        self._told.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def test_a_dead_region_fails_nobody(stack: Any) -> None:
    """A gateway is killed under load: every GET is answered, from then on by the nearest spare."""
    stack.gateways((WEB,))
    users = Users(stack, stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")))).port, 4)
    users.wait("eu", 100)
    stack.engine("eu").process.kill()
    users.wait("us", 200)
    answers = users.stop()
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert {answer.region for answer in answers} == {"eu", "us"}


def test_dead_instances_fail_nobody(stack: Any) -> None:
    """All instances of a region end while its gateway lives: what it could not serve, POSTs included, is served elsewhere."""
    stack.gateways((WEB,))
    port = stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")))).port
    stack.apps["eu"].close()
    answers = [stack.ask(port, method=method) for method in ("GET", "POST") * 10]
    assert {(answer.status, answer.region) for answer in answers} == {(200, "us")}
    assert all("x-tenfold-unserved" not in answer.headers for answer in answers)


def test_a_frozen_region_is_answered_for_elsewhere(stack: Any) -> None:
    """A gateway that stands still (SIGSTOP) makes requests late once, then its checks tell, and it gets none until it is back."""
    service = ServiceRoutes("web", ("/",), (), hedge_after_ms=100.0)
    stack.gateways((service,))
    users = Users(
        stack, stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")), service)).port, 4
    )
    users.wait("eu", 100)
    stack.engine("eu").process.send_signal(signal.SIGSTOP)
    users.wait("us", 400)
    stack.engine("eu").process.send_signal(signal.SIGCONT)
    users.wait("eu", 100)
    answers = users.stop()
    assert Counter(answer.status for answer in answers) == {200: len(answers)}


def test_a_slow_page_is_asked_for_twice_at_the_most(stack: Any) -> None:
    """A page slower than its hedge costs the apps of all regions two calls together; a POST, and an app's own 503, cost one."""
    service = ServiceRoutes("web", ("/",), (), hedge_after_ms=100.0)
    stack.gateways((service,))
    port = stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")), service)).port

    def calls(path: str) -> int:
        return sum(app.calls.get(path, 0) for app in stack.apps.values())

    assert stack.ask(port, "/slow/get").status == 200
    assert stack.ask(port, "/slow/post", "POST").status == 200
    assert stack.ask(port, "/sick").status == 503
    assert (calls("/slow/get"), calls("/slow/post"), calls("/sick")) == (2, 1, 1)


def test_what_kills_its_instance_is_asked_twice_at_the_most(stack: Any) -> None:
    """A GET at which instances hang up is repeated once, in another region; a POST never, and both are told so."""
    stack.gateways((WEB,))
    port = stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")))).port
    answers = [stack.ask(port, f"/die/{method}", method) for method in ("GET", "POST")]
    assert [answer.status for answer in answers] == [503, 503]
    assert [answer.body for answer in answers] == [
        "The instance ended before it answered; the request may or may not have been carried out.\n"
    ] * 2
    assert [app.calls for app in stack.apps.values()] == [{"/die/GET": 1, "/die/POST": 1}, {"/die/GET": 1}, {}]


def test_sticky_clients_stay(stack: Any) -> None:
    """A sticky service keeps a client at its region and its instance while these are well, and lets go when they are not."""
    service = ServiceRoutes("web", ("/",), (), hedge_after_ms=None, is_sticky=True)
    stack.gateways((service,))
    port = stack.entry(table_of(stack, everywhere(*(Share(region, 1 / 3) for region in PLACES)), service)).port
    first = stack.ask(port)
    cookies = "; ".join(cookie.split(";")[0] for cookie in first.headers["set-cookie"].split(", "))
    assert {cookie.split("=")[0] for cookie in cookies.split("; ")} <= {"tenfold-region", "tenfold-instance-web"}
    assert {stack.ask(port, cookie=cookies).region for _ in range(12)} == {first.region}
    stack.engine(first.region).process.kill()
    stack.engine(first.region).process.wait()
    answers = [stack.ask(port, cookie=cookies) for _ in range(12)]
    assert {answer.status for answer in answers} == {200}
    assert first.region not in {answer.region for answer in answers}


def test_a_gateway_is_as_far_away_as_it_is_told(stack: Any) -> None:
    """Where no network does, the gateway holds back requests by origin, and the admin socket changes by how much."""
    stack.gateways((WEB,), delays={"eu": 0.0, "au": 150.0})
    port = stack.entry(table_of(stack, everywhere(Share("eu", 1.0)), trust=("127.0.0.0/8",))).port
    assert stack.ask(port, x_tenfold_place="-37,144").took_s >= 0.15
    stack.engine("eu").admin("/runtime_modify?tenfold.delay_ms.eu=250", "POST")
    assert stack.ask(port).took_s >= 0.25
    stack.engine("eu").admin("/runtime_modify?tenfold.delay_ms.eu=0&tenfold.delay_ms.au=0", "POST")
    assert stack.ask(port, x_tenfold_place="-37,144").status == 200


def test_the_ping_is_not_logged(stack: Any) -> None:
    """A gateway answers the entry's checks itself, tells who it is, and logs requests alone, with their origin and their id."""
    stack.gateways((WEB,))
    port = stack.entry(table_of(stack, own(*PLACES), trust=("127.0.0.0/8",))).port
    ping = stack.ask(stack.ends["au"].port, "/.tenfold/ping", host="anything")
    assert (ping.status, ping.body) == (200, "au\n")
    answer = stack.ask(port, "/page", x_tenfold_place="-37,144")
    (line,) = stack.engine("au").logged(1)
    (first,) = stack.engine("entry").logged(1)
    assert line["id"] == first["id"] == answer.headers["x-request-id"]
    assert (line["path"], line["origin"], line["instance"]) == ("/page", "au", "au-1")
    assert (first["pool"], first["region"], first["route"], first["attempts"]) == ("from~au", "au", "d2 /", 1)


def test_the_way_to_others_is_measured(stack: Any) -> None:
    """On its probe socket a gateway asks another one, and tells how long the way took, the distance included; none there is 503."""
    stack.gateways((WEB,), delays={"us": 100.0})
    nobody = GatewayEnd("mars", "127.0.0.1", 1)
    table = RouteTable("us", (), behind_entry=True, gateways=(*stack.ends.values(), nobody))
    socket = str(stack.folder / "probe.sock")
    stack.run("probing", lambda log: gateway(table, port=0, access_log=log, probe_socket=socket)).wait()
    found = stack.probe(socket, "/eu")
    assert (found.status, found.body) == (200, "eu\n")
    assert 100_000 <= int(found.headers["x-tenfold-took-us"]) <= found.took_s * 1e6
    assert stack.probe(socket, "/mars").status == 503
    assert stack.probe(socket, "/venus").status == 404


def test_sockets_go_through(stack: Any) -> None:
    """A WebSocket is opened through entry and gateway to the app, bytes pass both ways, and it is counted apart from requests."""
    stack.gateways((WEB,))
    engine = stack.entry(table_of(stack, own(*PLACES), trust=("127.0.0.0/8",)))
    with stack.open_socket(engine.port) as connection, stack.open_socket(engine.port, "-37,144") as far:
        for found in (connection, far):
            found.sendall(b"over the sea")
            assert found.recv(99) == b"over the sea"
        clusters = json.loads(engine.admin("/clusters?format=json"))["cluster_statuses"]
        active = {
            cluster["name"]: sum(
                int(stat.get("value", 0))
                for host in cluster.get("host_statuses", ())
                for stat in host["stats"]
                if stat["name"] == "rq_active"
            )
            for cluster in clusters
        }
    assert [active[pool] for pool in ("from~eu", "from~eu~ws", "from~au~ws")] == [0, 1, 1]


def test_stores_are_reached_through_the_gateway(stack: Any) -> None:
    """Bytes to the store's port reach its primary; one that stops answering, or that nobody is, cuts off its clients."""
    with stack.store() as primary:
        stores = (StoreEnd("valkey", "127.0.0.1", primary.port),)
        table = RouteTable("eu", (), behind_entry=True, stores=stores)
        ports = {"valkey": 0, "postgres": 0}
        engine = stack.run("storing", lambda log: gateway(table, port=0, access_log=log, store_ports=ports))
        engine.wait()
        with stack.connect(engine.port_of("store~valkey")) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(99) == b"PING\r\n"
            primary.freeze()
            assert client.recv(99) == b""
        with stack.connect(engine.port_of("store~postgres")) as client:
            assert client.recv(99) == b""


def country_database(low: str, high: str) -> bytes:
    """A MaxMind database (format 2.0) of two countries: of IPv4 addresses below 128.0.0.0, and of all others."""

    def text(value: str) -> bytes:
        return bytes([2 << 5 | len(value)]) + value.encode()

    def entries(**found: bytes) -> bytes:
        return bytes([7 << 5 | len(found)]) + b"".join(text(key) + value for key, value in found.items())

    def short(value: int) -> bytes:
        return bytes([5 << 5 | 2]) + value.to_bytes(2, "big")

    countries = [entries(country=entries(iso_code=text(code))) for code in (low, high)]
    # One node; what is past it (16 zeros apart) points into the data.
    node = b"".join((1 + 16 + at).to_bytes(3, "big") for at in (0, len(countries[0])))
    about = entries(
        node_count=bytes([6 << 5 | 1, 1]),
        record_size=short(24),
        ip_version=short(4),
        database_type=text("Country"),
        languages=bytes([1, 4]) + text("en"),
        binary_format_major_version=short(2),
        binary_format_minor_version=short(0),
        build_epoch=bytes([1, 2, 1]),
        description=entries(en=text("Two countries")),
    )
    return node + bytes(16) + b"".join(countries) + b"\xab\xcd\xefMaxMind.com" + about


def test_a_country_is_a_place(stack: Any) -> None:
    """With a GeoIP database the client's address tells its nearest region; a trusted sender's word on the place tells more."""
    path = stack.folder / "country.mmdb"
    path.write_bytes(country_database("NZ", "CA"))
    stack.gateways((WEB,))
    port = stack.entry(table_of(stack, own(*PLACES), trust=("127.0.0.0/8",), geoip=str(path))).port
    assert stack.ask(port).region == "au"
    assert stack.ask(port, x_forwarded_for="200.1.1.1").region == "us"
    assert stack.ask(port, x_forwarded_for="200.1.1.1", x_tenfold_place="50,4").region == "eu"
    assert stack.ask(port, x_forwarded_for="200.1.1.1", x_tenfold_place="nowhere").region == "us"
    strict = stack.entry(table_of(stack, own(*PLACES), geoip=str(path)), "entry-strict").port
    answer = stack.ask(strict, x_tenfold_country="CA", x_tenfold_origin="us", x_forwarded_for="200.1.1.1")
    assert (answer.region, answer.seen["headers"]["x-tenfold-origin"]) == ("au", "au")
    assert "x-tenfold-country" not in answer.seen["headers"]
    path.write_bytes(country_database("AQ", "AQ"))
    unknown = stack.entry(table_of(stack, own(*PLACES), geoip=str(path)), "entry-unknown").port
    assert stack.ask(unknown).region == "eu"


def test_all_that_was_under_way_is_asked_again_at_once(stack: Any) -> None:
    """A region is killed with 300 requests at hand: all are answered elsewhere, none is beyond what may be repeated."""
    stack.gateways((WEB,))
    port = stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au")))).port
    with ThreadPoolExecutor(300) as pool:
        asked = [pool.submit(stack.ask, port, "/slow") for _ in range(300)]
        stack.apps["eu"].wait("/slow", 300)
        stack.engine("eu").process.kill()
        assert Counter(answer.result().status for answer in asked) == {200: 300}


def test_a_lost_share_goes_to_the_spare(stack: Any) -> None:
    """Of two regions with shares one is lost: its share goes to the nearest spare, not onto the other's, checked or not yet."""
    stack.gateways((WEB,))
    engine = stack.entry(table_of(stack, everywhere(Share("eu", 0.75), Share("us", 0.25), spares=("au",))))
    stack.engine("eu").process.kill()
    stack.engine("eu").process.wait()
    at_once = Counter(stack.ask(engine.port).region for _ in range(40))
    engine.wait_until_failed("eu")
    later = Counter(stack.ask(engine.port).region for _ in range(400))
    assert at_once.keys() == later.keys() == {"us", "au"}
    assert 7 <= at_once["us"] <= 13
    assert 60 <= later["us"] <= 140


def test_requests_flow_when_all_look_dead(stack: Any) -> None:
    """Every region's checks come too late to count; a request is answered all the same, if late."""
    stack.gateways((WEB,), delays={"eu": 1.0})
    engine = stack.entry(table_of(stack, everywhere(Share("eu", 1.0), spares=("us", "au"))))
    for region in PLACES:
        stack.engine(region).admin("/runtime_modify?tenfold.delay_ms.eu=1300", "POST")
    engine.wait_until_failed(*PLACES)
    assert stack.ask(engine.port).status == 200
