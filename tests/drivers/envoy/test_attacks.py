"""What a client may not do: speak for the edge, walk out of its path, drown it, or smuggle."""

import asyncio
import time
from typing import Any

import pytest

from tenfold.model import RouteTable, ServiceRoutes

LIES = {
    "x-request-id": "chosen-by-me",
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "6.6.6.6",
    "forwarded": "for=6.6.6.6",
    "x_forwarded_for": "6.6.6.6",
    "x-envoy-internal": "true",
    "x-envoy-external-address": "6.6.6.6",
    "x-envoy-original-path": "/evil",
    "x-envoy-retry-on": "5xx",
    "x-envoy-max-retries": "9",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-decorator-operation": "evil",
}


async def test_what_a_client_says_of_itself(edge: Any, instances: Any) -> None:
    """Nothing that a client claims about itself or asks of Envoy reaches the app; the request id is the edge's own."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    answer = await edge.ask("GET", "/echo", "".join(f"{name}: {value}\r\n" for name, value in LIES.items()))
    seen = dict(answer.json["headers"])
    assert answer.status == 200
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-request-id"] == answer.headers["x-request-id"] != "chosen-by-me"
    assert not [name for name, value in seen.items() if value in LIES.values() and name != "x-forwarded-proto"]
    assert answer.headers["server"] == "tenfold"
    assert not [name for name in answer.headers if name.startswith("x-envoy")]


async def test_paths(walled: Any) -> None:
    """Every spelling of a path is put in order before it is routed, so none walks out of its service or round a rule."""
    for path, status, seen in (
        ("/app/echo", 200, "/app/echo"),
        ("/app//echo", 200, "/app/echo"),
        ("/app/./x/../echo", 200, "/app/echo"),
        ("/app/%2e/echo", 200, "/app/echo"),
        ("/app/../secret", 404, None),
        ("/app/%2e%2e/secret", 404, None),
        ("/app/..\\secret", 404, None),
        ("/app%2fecho", 307, "/app/echo"),
        ("/app/..%2fsecret", 307, "/secret"),
        ("/app/..%5csecret", 307, "/secret"),
        ("/appendix", 404, None),
        ("/", 404, None),
        ("/app/%00", 400, None),
    ):
        answer = await walled.ask("GET", path)
        assert answer.status == status, path
        if status == 307:
            assert answer.headers["location"] == seen, path
        if status == 200:
            assert answer.json["path"] == seen, path
        if status == 404:
            assert answer.body == "Nothing is served at this host and path.\n", path


@pytest.fixture
async def walled(edge: Any, instances: Any) -> Any:
    """An edge with one service, under /app and for one domain."""
    web = await instances(1)
    service = ServiceRoutes("web", ("/app",), (web[0].endpoint(),))
    await edge.publish_table(RouteTable("local", (service,), ("crewboard.example",)))
    return edge


async def test_hosts(walled: Any) -> None:
    """With domains named, other hosts get 404; the domain, any port of it, and loopback are served."""
    for host, status in (
        ("crewboard.example", 200),
        ("CREWBOARD.example:8080", 200),
        (f"127.0.0.1:{walled.port}", 200),
        ("other.example", 404),
        ("crewboard.example.evil", 404),
    ):
        assert (await walled.ask("GET", "/app", host=host)).status == status, host


async def test_oversized_and_malformed_requests(edge: Any, instances: Any) -> None:
    """Too large or too many headers, two lengths, and bytes that are no HTTP are refused, and the app never hears of them."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    for headers, status in (
        (f"cookie: {'x' * 40_000}\r\n", 431),
        ("".join(f"h{number}: 1\r\n" for number in range(150)), 431),
        ("transfer-encoding: chunked\r\n", 400),
        ("content-length: 7\r\n", 400),
        ("bad header\r\n", 400),
        ("x: a\0b\r\n", 400),
    ):
        assert (await edge.ask("GET", "/echo", headers)).status == status, headers[:40]
    assert (await edge.ask("CONNECT", "/echo")).status in (400, 404)
    assert (await edge.ask("GET", f"/{'x' * 40_000}")).status in (414, 431)
    assert "GET /echo" not in await web[0].calls()
    assert (await edge.ask("GET", "/echo", f"cookie: {'x' * 20_000}\r\n")).status == 200


async def test_a_false_upgrade(edge: Any, instances: Any) -> None:
    """Saying `upgrade` without meaning it gets a plain answer from the plain pool, not a place among the sockets."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    answer = await edge.ask("GET", "/echo", "upgrade: websocket\r\n")
    assert answer.status == 200

    async def is_logged() -> bool:
        trace = await edge.driver.request(answer.headers["x-request-id"])
        return trace is not None and trace.service == "web"

    await edge.until("the request is logged", is_logged)
    answer = await edge.ask("POST", "/echo", "upgrade: h2c\r\nconnection: upgrade\r\n")
    assert answer.status in (200, 403)


async def test_slow_headers(edge: Any, instances: Any) -> None:
    """Connections that dribble their headers are hung up on after ten seconds, and nobody else notices them."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    began_s = time.monotonic()
    slow = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(300)]
    for _, writer in slow:
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
    async with edge.load("GET", rps=50.0) as tally:
        ends = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in slow)), 30)
    assert 8 < time.monotonic() - began_s < 25
    assert all(end.startswith(b"HTTP/1.1 408") for end in ends)
    assert tally.failed() == []
    for _, writer in slow:
        writer.close()


async def test_http2_without_tls(edge: Any, instances: Any) -> None:
    """A client may speak HTTP/2 from the first byte; the edge answers with its settings."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
    header = await asyncio.wait_for(reader.readexactly(9), 5)
    assert header[3] == 4  # a SETTINGS frame
    writer.close()


async def test_http_1_0(edge: Any, instances: Any) -> None:
    """An old client without a host is served."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /echo HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).split(b" ")[1] == b"200"
    writer.close()
