"""What clients see while instances die, freeze, drain and change."""

import asyncio
import signal
from typing import Any

import websockets

from tenfold.model import EndpointState, RouteRule

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
TOO_LATE_S = 1.5
"""A hedge comes after 0.4 s. This is far above that and far below any timeout."""


def endpoints(instances: list[Any]) -> list[Any]:
    return [instance.endpoint() for instance in instances]


async def calls(instances: list[Any]) -> dict[str, int]:
    """How often the living instances were asked, together."""
    total: dict[str, int] = {}
    for instance in instances:
        for name, count in (await instance.calls()).items():
            total[name] = total.get(name, 0) + count
    return total


async def test_an_instance_is_killed(edge: Any, instances: Any) -> None:
    """When an instance is killed under load no idempotent request fails, though nobody has told the edge."""
    web = await instances(3)
    await edge.publish(*endpoints(web))
    async with edge.load(*IDEMPOTENT) as tally:
        await asyncio.sleep(0.7)
        web[0].kill()
        await asyncio.sleep(1.0)
    assert tally.failed() == []
    assert tally.total > 150


async def test_writes_are_never_doubled_by_a_kill(edge: Any, instances: Any) -> None:
    """A POST that may have reached the killed instance is not sent again, and one that never left is."""
    web = await instances(2)
    await edge.publish(*endpoints(web))
    async with edge.load("POST") as tally:
        await asyncio.sleep(0.7)
        web[0].kill()
        await asyncio.sleep(0.7)
        survivor = (await calls(web[1:]))["POST /wait"]
    succeeded = tally.total - len(tally.failed())
    assert all(answer.status == 503 and "may or may not" in answer.body for answer in tally.failed())
    assert len(tally.failed()) < 20
    assert survivor <= (await calls(web[1:]))["POST /wait"] <= succeeded


async def test_an_instance_freezes(edge: Any, instances: Any) -> None:
    """When an instance freezes under load no idempotent request fails, and none waits for it longer than a hedge."""
    web = await instances(3)
    await edge.publish(*endpoints(web))
    async with edge.load(*IDEMPOTENT) as tally:
        await asyncio.sleep(0.7)
        web[0].kill(signal.SIGSTOP)
        await asyncio.sleep(1.5)
    assert tally.failed() == []
    assert tally.slowest_s() < TOO_LATE_S


async def test_the_only_other_instance_freezes(edge: Any, instances: Any) -> None:
    """With two instances the second try always finds the one that is well."""
    web = await instances(2)
    await edge.publish(*endpoints(web))
    web[0].kill(signal.SIGSTOP)
    async with edge.load("GET") as tally:
        await asyncio.sleep(1.5)
    assert tally.failed() == []
    assert tally.slowest_s() < TOO_LATE_S


async def test_an_honestly_slow_page(edge: Any, instances: Any) -> None:
    """A page that takes 1.5 s answers 200 after two calls by default, and after one where a rule knows that it is slow."""
    web = await instances(3)
    await edge.publish(*endpoints(web))
    answer = await edge.ask("GET", "/slow")
    assert (answer.status, (await calls(web))["GET /slow"]) == (200, 2)
    await edge.publish(*endpoints(web), rules=(RouteRule("/slow", 3200.0),))
    answer = await edge.ask("GET", "/slow")
    assert (answer.status, (await calls(web))["GET /slow"]) == (200, 3)
    await edge.publish(*endpoints(web), rules=(RouteRule("/slow", None),))
    answer = await edge.ask("GET", "/slow")
    assert (answer.status, (await calls(web))["GET /slow"]) == (200, 4)


async def test_a_write_to_a_frozen_instance(edge: Any, instances: Any) -> None:
    """A POST that hangs in a frozen instance is not sent elsewhere; it waits, and gets an honest error when the instance is killed."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    web[0].kill(signal.SIGSTOP)
    waiting = asyncio.create_task(edge.ask("POST", "/wait"))
    await asyncio.sleep(1.0)
    more = await instances(1)
    await edge.publish(*endpoints(more))
    assert not waiting.done()
    web[0].kill()
    answer = await waiting
    assert (answer.status, answer.headers.get("retry-after")) == (503, "2")
    assert answer.body == "The instance ended before it answered; the request may or may not have been carried out.\n"
    assert "POST /wait" not in await calls(more)


async def test_an_answer_that_never_comes(edge: Any, instances: Any) -> None:
    """A silence of the service's timeout ends a request with 504."""
    web = await instances(1)
    await edge.publish(*endpoints(web), timeout_s=0.5, hedge_after_ms=None)
    answer = await edge.ask("GET", "/slow")
    assert answer.status == 504
    assert answer.body.startswith("The service did not answer in time")


async def test_no_instance_is_left(edge: Any, instances: Any) -> None:
    """Without any instance, and with one that refuses connections, a client gets 503, one sentence and when to try again."""
    await edge.publish()
    answer = await edge.ask("GET", "/")
    assert (answer.status, answer.headers.get("retry-after")) == (503, "2")
    assert answer.body == "No healthy instance of this service is running right now; try again in a few seconds.\n"
    web = await instances(1)
    await edge.publish(*endpoints(web))
    web[0].kill()
    web[0].process.wait()
    answer = await edge.ask("POST", "/")
    assert (answer.status, answer.headers.get("retry-after")) == (503, "2")
    assert answer.body.count("\n") == 1


async def test_an_instance_drains(edge: Any, instances: Any) -> None:
    """A draining instance finishes the request it has, and gets no other."""
    web = await instances(2)
    await edge.publish(web[0].endpoint(), hedge_after_ms=None)
    slow = asyncio.create_task(edge.ask("GET", "/slow"))

    async def has_arrived() -> bool:
        return "GET /slow" in await web[0].calls()

    await edge.until("the slow request has arrived", has_arrived)
    await edge.publish(web[0].endpoint(EndpointState.DRAINING), web[1].endpoint(), hedge_after_ms=None)
    for _ in range(20):
        assert (await edge.ask("GET", "/")).body == web[1].name
    await edge.publish(web[1].endpoint(), hedge_after_ms=None)
    assert (await slow).body == web[0].name


async def test_everything_changes_ten_times_under_load(edge: Any, instances: Any) -> None:
    """Ten shifts under load, each to other instances, some to other paths and pools, lose no request."""
    blue, green = await instances(2), await instances(2)
    await edge.publish(*endpoints(blue))
    async with edge.load("GET", "POST") as tally:
        for shift in range(10):
            new, old = (green, blue) if shift % 2 == 0 else (blue, green)
            leaving = [instance.endpoint(EndpointState.DRAINING) for instance in old]
            paths = ("/",) if shift % 3 else ("/", "/wait")
            await edge.publish(*endpoints(new), *leaving, paths=paths, timeout_s=10.0 + shift)
            await asyncio.sleep(0.1)
            await edge.publish(*endpoints(new), paths=paths)
    assert tally.failed() == []


async def test_a_watched_release_dies_as_a_whole(edge: Any, instances: Any) -> None:
    """When all instances of a new release die at once, the warm ones of the old take over, though nobody has told the edge."""
    new, old = await instances(2), await instances(2)
    warm = [instance.endpoint(EndpointState.WARM) for instance in old]
    await edge.publish(*endpoints(new), *warm)
    async with edge.load(*IDEMPOTENT) as tally:
        await asyncio.sleep(0.7)
        assert set(await calls(old)) <= {"GET /calls"}
        for instance in new:
            instance.kill()
        await asyncio.sleep(1.0)
    assert tally.failed() == []
    assert (await calls(old))["GET /wait"] > 10


async def test_an_instance_that_answers_nothing_but_errors(edge: Any, instances: Any) -> None:
    """An instance that answers 500 to everything is passed over; when all do, nobody is."""
    good, bad = await instances(3), await instances(1, BROKEN="1")
    await edge.publish(*endpoints(good + bad))

    async def is_passed_over() -> bool:
        statuses = [(await edge.ask("GET", "/broken")).status for _ in range(50)]
        return statuses.count(500) == 0

    await edge.until("the broken instance is passed over", is_passed_over)
    worse = await instances(3, BROKEN="1")
    await edge.publish(*endpoints(worse))
    async with edge.load("GET", path="/broken", rps=60.0) as tally:
        await asyncio.sleep(2.5)
    assert {answer.status for answer in tally.answers["GET"]} == {500}


async def test_a_busy_app_is_not_taken_away(edge: Any, instances: Any) -> None:
    """Instances that are all slow because they are swamped all stay: every request is answered, late."""
    web = await instances(2)
    await edge.publish(*endpoints(web))
    async with edge.load("GET", path="/cpu", rps=100.0) as tally:
        await asyncio.sleep(0.8)
    assert tally.failed() == []


async def test_sockets_are_counted_apart(edge: Any, instances: Any) -> None:
    """An open WebSocket counts as a socket and not as a request, outlives a shift, and ends when its instance does."""
    web = await instances(2)
    await edge.publish(web[0].endpoint())
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/live", open_timeout=30) as live:
        await live.send("hello")
        assert await live.recv() == web[0].name
        await edge.facts()
        await asyncio.sleep(1.0)
        pool = await edge.pool()
        assert (pool.sockets, pool.sockets_by_instance) == (1, {web[0].name: 1})
        assert pool.in_flight_by_instance == {web[0].name: 0}
        await edge.publish(web[0].endpoint(EndpointState.DRAINING), web[1].endpoint())
        pool = await edge.pool()
        assert pool.sockets_by_instance == {web[0].name: 1, web[1].name: 0}
        await live.send("still there")
        assert await live.recv() == web[0].name
        async with websockets.connect(f"ws://127.0.0.1:{edge.port}/live", open_timeout=30) as other:
            await other.send("hello")
            assert await other.recv() == web[1].name
        web[0].kill(signal.SIGTERM)
        await asyncio.wait_for(live.wait_closed(), 30)
        assert live.close_code == 1012
