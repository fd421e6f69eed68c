"""Requests through a real entry and real gateways: shares, residency, and regions that are lost."""

import json
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tenfold.model import ResidencyRule, ServiceRoutes, Share, Way

PLACES = {"eu": (50.4, 3.8), "us": (41.3, -95.9), "au": (-37.8, 144.9)}
WEB = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)
RULE = ResidencyRule("eu", ("eu.shop.example",), ("acme", "a.b|c"))


def test_shares_are_exact(stack: Any) -> None:
    """Of a thousand requests each region gets its share within one percent."""
    stack.gateways((WEB,))
    shares = (Share("eu", 0.4), Share("us", 0.3), Share("au", 0.3))
    port = stack.entry(stack.table(stack.everywhere(*shares))).port
    counts = Counter(answer.region for answer in (stack.ask(port) for _ in range(1000)))
    assert all(abs(counts[share.region] - 1000 * share.ratio) <= 10 for share in shares), counts


def test_a_residency_is_kept(stack: Any) -> None:
    """Requests of a residency, by host, header or cookie, are served there, or refused with the reason when nobody there can."""
    stack.gateways((WEB,))
    ways = (
        *stack.everywhere(Share("us", 1.0), spares=("eu", "au")),
        *stack.everywhere(Share("eu", 1.0), residency="eu"),
    )
    rules = {"domains": ("shop.example",), "residency": (RULE,)}
    port = stack.entry(stack.table(ways, **rules)).port
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
    nobody = (*stack.everywhere(Share("us", 1.0)), Way("eu", "eu", ()))
    refusing = stack.entry(stack.table(nobody, **rules), "entry-refusing").port
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
    users = Users(stack, stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")))).port, 4)
    users.wait("eu", 100)
    stack.engine("eu").process.kill()
    users.wait("us", 200)
    answers = users.stop()
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert {answer.region for answer in answers} == {"eu", "us"}


def test_dead_instances_fail_nobody(stack: Any) -> None:
    """All instances of a region end while its gateway lives: what it could not serve, POSTs included, is served elsewhere."""
    stack.gateways((WEB,))
    port = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")))).port
    stack.apps["eu"].close()
    answers = [stack.ask(port, method=method) for method in ("GET", "POST") * 10]
    assert {(answer.status, answer.region) for answer in answers} == {(200, "us")}
    assert all("x-tenfold-unserved" not in answer.headers for answer in answers)


def test_a_frozen_region_is_answered_for_elsewhere(stack: Any) -> None:
    """A gateway that stands still (SIGSTOP) makes requests late once, then its checks tell, and it gets none until it is back."""
    service = ServiceRoutes("web", ("/",), (), hedge_after_ms=100.0)
    stack.gateways((service,))
    users = Users(
        stack, stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")), service)).port, 4
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
    port = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")), service)).port

    def calls(path: str) -> int:
        return sum(app.calls.get(path, 0) for app in stack.apps.values())

    assert stack.ask(port, "/slow/get").status == 200
    assert stack.ask(port, "/slow/post", "POST").status == 200
    assert stack.ask(port, "/sick").status == 503
    assert (calls("/slow/get"), calls("/slow/post"), calls("/sick")) == (2, 1, 1)


def test_what_kills_its_instance_is_asked_twice_at_the_most(stack: Any) -> None:
    """A GET at which instances hang up is repeated once, in another region; a POST never, and both are told so."""
    stack.gateways((WEB,))
    port = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")))).port
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
    port = stack.entry(stack.table(stack.everywhere(*(Share(region, 1 / 3) for region in PLACES)), service)).port
    first = stack.ask(port)
    cookies = "; ".join(cookie.split(";")[0] for cookie in first.headers["set-cookie"].split(", "))
    assert {cookie.split("=")[0] for cookie in cookies.split("; ")} <= {"tenfold-region", "tenfold-instance-web"}
    assert {stack.ask(port, cookie=cookies).region for _ in range(12)} == {first.region}
    stack.engine(first.region).process.kill()
    stack.engine(first.region).process.wait()
    answers = [stack.ask(port, cookie=cookies) for _ in range(12)]
    assert {answer.status for answer in answers} == {200}
    assert first.region not in {answer.region for answer in answers}


def test_sockets_go_through(stack: Any) -> None:
    """A WebSocket is opened through entry and gateway to the app, bytes pass both ways, and it is counted apart from requests."""
    stack.gateways((WEB,))
    engine = stack.entry(stack.table(stack.own(*PLACES), trust=("127.0.0.0/8",)))
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


def test_all_that_was_under_way_is_asked_again_at_once(stack: Any) -> None:
    """A region is killed with 300 requests at hand: all are answered elsewhere, none is beyond what may be repeated."""
    stack.gateways((WEB,))
    port = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au")))).port
    with ThreadPoolExecutor(300) as pool:
        asked = [pool.submit(stack.ask, port, "/slow") for _ in range(300)]
        stack.apps["eu"].wait("/slow", 300)
        stack.engine("eu").process.kill()
        assert Counter(answer.result().status for answer in asked) == {200: 300}


def test_a_lost_share_goes_to_the_spare(stack: Any) -> None:
    """Of two regions with shares one is lost: its share goes to the nearest spare, not onto the other's, checked or not yet."""
    stack.gateways((WEB,))
    engine = stack.entry(stack.table(stack.everywhere(Share("eu", 0.75), Share("us", 0.25), spares=("au",))))
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
    engine = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0), spares=("us", "au"))))
    for region in PLACES:
        stack.engine(region).admin("/runtime_modify?tenfold.delay_ms.eu=1300", "POST")
    engine.wait_until_failed(*PLACES)
    assert stack.ask(engine.port).status == 200
