"""What clients see of a service that sleeps: they wait for an instance, and nobody fails while it falls asleep or wakes."""

import asyncio
import contextlib
import socket
import time
from typing import Any

import websockets

from tenfold.drivers.envoy import waker as waking
from tenfold.facts import ColdStartSeen, ServedSeen
from tenfold.model import Endpoint, EndpointState, Health, ServiceRoutes
from tests.drivers.envoy.conftest import ask
from tests.drivers.envoy.regions import Regions, near

SOON = Health(starts_within_s=30.0)


async def cold(edge: Any) -> ColdStartSeen | None:
    """Who waits for `web`, as the edge tells it."""
    return next((fact for fact in await edge.facts() if isinstance(fact, ColdStartSeen)), None)


async def waits(edge: Any, count: int) -> ColdStartSeen:
    """The fact, once so many wait."""
    found: list[ColdStartSeen] = []

    async def so_many() -> bool:
        seen = await cold(edge)
        found[:] = [] if seen is None else [seen]
        return seen is not None and seen.waiting == count

    await edge.until(f"{count} wait", so_many)
    return found[0]


async def somebody_waits(edge: Any) -> bool:
    """True while anybody does."""
    seen = await cold(edge)
    return seen is not None and seen.waiting > 0


async def asleep(edge: Any, *leaving: Endpoint, health: Health = SOON) -> None:
    """Put `web` to sleep."""
    await edge.publish(*leaving, health=health, may_sleep=True, is_asleep=True)


async def awake(edge: Any, *endpoints: Endpoint) -> None:
    """Wake it."""
    await edge.publish(*endpoints, health=SOON, may_sleep=True)


async def test_requests_wait_for_the_instance_that_comes(edge: Any, instances: Any) -> None:
    """All that come while it sleeps, writes too, wait, are told of at once, and are answered by the instance once it is there."""
    (web,) = await instances(1)
    woken: list[float] = []
    edge.driver.subscribe(lambda: woken.append(time.monotonic()))
    await asleep(edge)
    begun_s = time.monotonic()
    methods = ("GET", "POST") * 10
    asked = [asyncio.create_task(edge.ask(method, "/wait")) for method in methods]
    seen = await waits(edge, len(methods))
    assert woken, "whoever looks at what waits was told of it before"
    assert (seen.starts, seen.refused) == (0, 0)
    await awake(edge, web.endpoint())
    answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [200] * len(methods)
    told = await cold(edge)
    assert told is not None
    assert (told.waiting, told.starts, told.held, told.refused) == (0, 1, len(methods), 0)
    assert told.wait_ms_p50 is not None
    assert told.wait_ms_max is not None
    assert 0 < told.wait_ms_p50 <= told.wait_ms_max <= (time.monotonic() - begun_s) * 1000
    found = await edge.driver.request(answers[0].headers["x-request-id"])
    for _ in range(100):
        if found is not None:
            break
        await asyncio.sleep(0.05)
        found = await edge.driver.request(answers[0].headers["x-request-id"])
    assert found.held_ms is not None
    assert 0 < found.held_ms <= found.total_ms
    assert found.route == "/"


async def test_nobody_fails_while_it_falls_asleep_and_wakes(edge: Any, instances: Any) -> None:
    """Under load a pool sleeps and wakes again and again; not one request fails."""
    (web,) = await instances(1)
    await awake(edge, web.endpoint())
    async with edge.load("GET", "POST", "PUT") as tally:
        for _ in range(5):
            await asyncio.sleep(0.15)
            await asleep(edge, web.endpoint(state=EndpointState.DRAINING))
            await edge.until("somebody waits", lambda: somebody_waits(edge))
            await asyncio.sleep(0.15)
            await awake(edge, web.endpoint())
        await asyncio.sleep(0.3)
    assert tally.failed() == []
    assert tally.total > 100
    told = await cold(edge)
    assert told is not None
    assert told.starts == 5


async def test_a_body_is_not_read_while_its_request_waits(edge: Any, instances: Any) -> None:
    """Of a large upload only what sockets buffer is taken while it waits; it arrives whole."""
    (web,) = await instances(1)
    await asleep(edge)
    body_bytes = 64_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(f"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: {body_bytes}\r\n\r\n".encode())
    writer.write(bytes(body_bytes))
    await waits(edge, 1)
    left = [0]

    async def stands_still() -> bool:
        before, left[0] = left[0], writer.transport.get_write_buffer_size()
        await asyncio.sleep(0.1)
        return before == left[0]

    await edge.until("no more is taken", stands_still)
    assert left[0] > body_bytes / 2
    await awake(edge, web.endpoint())
    assert b" 200 " in await reader.readline()
    writer.close()


async def test_a_socket_waits_too(edge: Any, instances: Any) -> None:
    """A WebSocket that is opened while it sleeps is open once it is awake."""
    (web,) = await instances(1)
    await asleep(edge)

    async def talk() -> str:
        async with websockets.connect(f"ws://127.0.0.1:{edge.port}/ws", open_timeout=30) as client:
            await client.send("hello")
            return str(await client.recv())

    talking = asyncio.create_task(talk())
    await waits(edge, 1)
    await awake(edge, web.endpoint())
    assert await talking == "web-1"


async def test_none_that_comes_is_a_clear_answer(edge: Any) -> None:
    """Where no instance is ready in the time that a start may take, the client is told so, and when to come again."""
    await asleep(edge, health=Health(starts_within_s=0.3))
    answer = await edge.ask("GET", "/wait")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "no instance of it was ready within 0.3 s" in answer.body
    seen = await cold(edge)
    assert seen is not None
    assert (seen.waiting, seen.refused, seen.starts) == (0, 1, 0)
    (served,) = [fact for fact in await edge.facts() if isinstance(fact, ServedSeen)]
    assert (served.requests, served.failed) == (1, 1), "who is turned away counts against availability"


async def test_what_was_given_up_lets_nobody_wait(edge: Any) -> None:
    """Once no instance is to be hoped for, those that wait are told so at once, and none of it is a cold start."""
    await asleep(edge)
    asked = [asyncio.create_task(edge.ask("GET", "/wait")) for _ in range(3)]
    await waits(edge, 3)
    await awake(edge)
    answers = await asyncio.gather(*asked)
    assert {(answer.status, answer.body) for answer in answers} == {(503, waking.HOPELESS)}
    told = await cold(edge)
    assert told is not None
    assert (told.waiting, told.starts, told.held, told.refused) == (0, 0, 0, 3)
    assert "No healthy instance" in (await edge.ask("GET", "/wait")).body


async def test_too_many_are_turned_away(edge: Any, instances: Any, monkeypatch: Any) -> None:
    """Beyond its bound a request is refused at once with a 503; those that wait are answered all the same."""
    monkeypatch.setattr(waking, "HELD_MAX", 3)
    (web,) = await instances(1)
    await asleep(edge)
    asked = [asyncio.create_task(edge.ask("GET", "/wait")) for _ in range(3)]
    await waits(edge, 3)
    refused = await edge.ask("GET", "/wait")
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "as many requests as may wait" in refused.body
    await awake(edge, web.endpoint())
    assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3


async def test_a_client_that_leaves_is_forgotten(edge: Any) -> None:
    """One that hangs up waits no longer, and is no cold start."""
    await asleep(edge)
    with socket.create_connection(("127.0.0.1", edge.port)) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await waits(edge, 1)
    seen = await waits(edge, 0)
    assert (seen.starts, seen.held, seen.refused) == (0, 0, 0)


async def test_without_a_control_plane_it_is_a_503_and_works_again_after(edge: Any, instances: Any) -> None:
    """Nobody to wake it is an answer that says why; a control plane that comes again holds requests, and lets them go on."""
    (web,) = await instances(1)
    await asleep(edge)
    await edge.driver.close()
    dead = await edge.ask("GET", "/wait")
    assert (dead.status, dead.headers["retry-after"]) == (503, "5")
    assert "sleeps, and the control plane that would wake it does not answer" in dead.body
    edge.epoch += 1
    edge.driver = edge._driver()
    await edge.ready()
    asked = asyncio.create_task(edge.ask("GET", "/wait"))
    await waits(edge, 1)
    await awake(edge, web.endpoint())
    assert (await asked).status == 200


async def test_the_wakers_socket_bears_nonsense(edge: Any) -> None:
    """What is no question is turned down or cut off, and the next one is held as ever."""
    await asleep(edge, health=Health(starts_within_s=0.3))
    path = str(edge.driver.recipe.waker_socket)
    for junk in (
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a/b/soon HTTP/1.1\r\n\r\n",
        b"\x00\xff" * 99 + b"\r\n\r\n",
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(junk)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    reader, writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        writer.write(b"x" * 300_000)
        await writer.drain()
        await reader.read()
    writer.close()
    assert (await edge.ask("GET", f"/{'y' * 20_000}?q=%00%ff")).status == 503
    seen = await cold(edge)
    assert seen is not None
    assert seen.refused == 1


async def test_a_region_sleeps_and_its_clients_wait_for_it(regions: Regions) -> None:
    """Behind the entry requests wait at their own region's gateway and wake no other; where nobody can wake it, the next one answers."""
    await regions.publish_entry(services=(ServiceRoutes("web", ("/",), (), SOON, hedge_after_ms=None, may_sleep=True),))
    served = regions.instances["au"]
    regions.instances["au"] = ()
    await regions.publish_gateways("au", health=SOON, may_sleep=True, is_asleep=True)
    asked = [asyncio.create_task(ask(regions.port, m, "/", near("au"))) for m in ("GET", "POST", "PUT")]
    await regions.until(ColdStartSeen, "web@au", lambda seen: seen.waiting == 3)
    # Longer than the entry would wait for one that it may try elsewhere.
    await asyncio.sleep(1.5)
    assert not any(task.done() for task in asked)
    regions.instances["au"] = served
    await regions.publish_gateways("au", health=SOON, may_sleep=True)
    answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [200] * 3
    assert {answer.body for answer in answers} == {served[0].name}
    found = None
    for _ in range(100):
        found = await regions.gateways.request(answers[0].headers["x-request-id"])
        if found is not None and found.held_ms is not None and found.origin:
            break
        await asyncio.sleep(0.05)
    assert found is not None
    assert found.held_ms is not None
    assert found.held_ms >= 1400
    assert found.network_ms is not None
    assert found.network_ms < 700, "waiting is no way"
    regions.instances["au"] = ()
    await regions.publish_gateways("au", health=SOON, may_sleep=True, is_asleep=True)
    await regions.gateways._waker.close()
    assert (await ask(regions.port, "GET", "/", near("au"))).status == 200
