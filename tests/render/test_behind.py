"""A real gateway behind an entry: its ping, its probes, its stores, and the distance it keeps."""

from typing import Any

from tenfold.model import GatewayEnd, RouteTable, ServiceRoutes, Share, StoreEnd
from tenfold.render.envoy import gateway

PLACES = {"eu": (50.4, 3.8), "us": (41.3, -95.9), "au": (-37.8, 144.9)}
WEB = ServiceRoutes("web", ("/",), (), hedge_after_ms=None)


def test_a_gateway_is_as_far_away_as_it_is_told(stack: Any) -> None:
    """Where no network does, the gateway holds back requests by origin, and the admin socket changes by how much."""
    stack.gateways((WEB,), delays={"eu": 0.0, "au": 150.0})
    port = stack.entry(stack.table(stack.everywhere(Share("eu", 1.0)), trust=("127.0.0.0/8",))).port
    assert stack.ask(port, x_tenfold_place="-37,144").took_s >= 0.14
    stack.engine("eu").admin("/runtime_modify?tenfold.delay_ms.eu=250", "POST")
    assert stack.ask(port).took_s >= 0.24
    stack.engine("eu").admin("/runtime_modify?tenfold.delay_ms.eu=0&tenfold.delay_ms.au=0", "POST")
    assert stack.ask(port, x_tenfold_place="-37,144").status == 200


def test_what_sleeps_behind_an_entry_is_accepted(stack: Any) -> None:
    """With nobody to wake it, a sleeping service is a 503 that says why; the entry is told that it was never sent, so that it may ask
    elsewhere."""
    asleep = ServiceRoutes("web", ("/",), (), may_sleep=True, is_asleep=True)
    table = RouteTable("eu", (asleep,), behind_entry=True)
    socket = str(stack.folder / "nobody.sock")
    engine = stack.run("asleep", lambda log: gateway(table, port=0, access_log=log, waker_socket=socket))
    engine.wait()
    answer = stack.ask(engine.port_of("edge"), "/page")
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-tenfold-unserved"]) == (
        503,
        "5",
        "never-sent",
    )
    assert "sleeps, and the control plane that would wake it does not answer" in answer.body


def test_the_ping_is_not_logged(stack: Any) -> None:
    """A gateway answers the entry's checks itself, tells who it is, and logs requests alone, with their origin and their id."""
    stack.gateways((WEB,))
    port = stack.entry(stack.table(stack.own(*PLACES), trust=("127.0.0.0/8",))).port
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
    assert 90_000 <= int(found.headers["x-tenfold-took-us"]) <= found.took_s * 1e6
    assert stack.probe(socket, "/mars").status == 503
    assert stack.probe(socket, "/venus").status == 404


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
