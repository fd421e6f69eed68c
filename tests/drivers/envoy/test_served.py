"""What an edge has served is counted exactly: requests, failures, and answers that were late."""

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any

import websockets
from hypothesis import given
from hypothesis import strategies as st

from tenfold.drivers.envoy.served import Served
from tenfold.drivers.envoy.stats import PoolReading, Reading
from tenfold.facts import EngineSeen, ServedSeen
from tests.drivers.envoy.conftest import WITHIN_MS, ask
from tests.drivers.envoy.regions import Regions, near

BIN_MS = st.integers(1, 99).map(lambda low: (low * 10.0, 10.0))
COUNTS = st.dictionaries(BIN_MS, st.integers(1, 50), max_size=8)


async def served(edge: Any) -> ServedSeen:
    """What the gateway of `local` has served, once nothing more comes."""
    before = None
    while True:
        found = next(fact for fact in await edge.facts() if isinstance(fact, ServedSeen))
        figures = (found.requests, found.failed, found.timed, found.late)
        if figures == before:
            return found
        before = figures
        await asyncio.sleep(0.3)


async def test_counts_are_exact(edge: Any, instances: Any) -> None:
    """Of 40 quick, 7 slow and 5 broken answers each is counted once, and only the slow ones are late."""
    web = await instances(2, BROKEN="1")
    await edge.publish(*(instance.endpoint() for instance in web))
    await served(edge)
    asked = [edge.ask("GET", "/wait") for _ in range(40)]
    asked += [edge.ask("POST", "/slow") for _ in range(7)] + [edge.ask("POST", "/broken") for _ in range(5)]
    await asyncio.gather(*asked)
    found = await served(edge)
    assert (found.requests, found.failed, found.timed, found.late) == (52, 5, 52, 7)


async def test_what_nobody_could_answer_counts(edge: Any) -> None:
    """Requests without an instance failed, and have no time that could be late."""
    await edge.publish()
    await served(edge)
    for _ in range(9):
        assert (await edge.ask("GET", "/")).status == 503
    found = await served(edge)
    assert (found.requests, found.failed, found.late) == (9, 9, 0)


async def test_an_open_socket_is_not_late(edge: Any, instances: Any) -> None:
    """A WebSocket that was open for longer than the target allows an answer to take is no late answer."""
    web = await instances(1)
    await edge.publish(web[0].endpoint())
    await served(edge)
    async with websockets.connect(f"ws://127.0.0.1:{edge.port}/ws") as socket:
        await socket.send("x")
        await asyncio.sleep(WITHIN_MS / 1000 + 0.1)
    found = await served(edge)
    assert (found.failed, found.timed, found.late) == (0, 0, 0)


def reading(bins: Mapping[tuple[float, float], int], completed: int) -> Reading:
    """Of one pool."""
    return Reading(0.0, "", {"web": PoolReading(completed=completed, bins=bins)})


@given(st.lists(COUNTS, min_size=1, max_size=6), st.integers(1, 99).map(lambda tens: tens * 10.0))
def test_however_often_it_is_looked_at(steps: list[dict[tuple[float, float], int]], within_ms: float) -> None:
    """Many looks count the same as one, and with the edge of a bin as the target all below it were in time."""
    looks, total = Served("local", within_ms), dict[tuple[float, float], int]()
    looks.look(reading({}, 0), 0.0)
    for step in steps:
        for bin_, count in step.items():
            total[bin_] = total.get(bin_, 0) + count
        found = looks.look(reading(dict(total), sum(total.values())), 1.0)
    assert found.requests == found.timed == sum(total.values())
    assert found.late == sum(count for (low, _), count in total.items() if low >= within_ms)


def test_another_envoy_counts_on() -> None:
    """What a new process has served before it is first looked at counts too; what was before the first look of all does not."""
    looks = Served("local", 100.0)
    looks.start_over()
    looks.look(reading({(10.0, 1.0): 5}, 5), 0.0)
    looks.look(reading({(10.0, 1.0): 8}, 8), 1.0)
    looks.start_over()
    found = looks.look(reading({(200.0, 10.0): 2}, 2), 2.0)
    assert (found.requests, found.timed, found.late) == (5, 5, 2)


def test_a_pool_that_came_again_counts_from_nothing() -> None:
    """A pool whose counters fell was taken away meanwhile: what it counts now is new."""
    looks = Served("local", 100.0)
    looks.look(reading({(10.0, 1.0): 50}, 50), 0.0)
    found = looks.look(reading({(10.0, 1.0): 3}, 3), 1.0)
    assert (found.requests, found.timed, found.late) == (3, 3, 0)


async def test_what_another_region_answered_counts_once(regions: Regions) -> None:
    """While a region's gateway is dead its clients are served elsewhere: the entry counts each request once, none of them failed."""

    async def told() -> ServedSeen:
        before = None
        while True:
            found = await regions.see(ServedSeen, "entry")
            if before is not None and found.requests == before.requests:
                return found  # type: ignore[no-any-return]
            before = found
            await asyncio.sleep(0.3)

    first = await told()
    dead = await regions.see(EngineSeen, "gateway/eu")
    os.kill(dead.pid, signal.SIGKILL)
    answers = [await ask(regions.port, "GET", "/wait", near("eu")) for _ in range(30)]
    assert {answer.status for answer in answers} == {200}
    last = await told()
    assert (last.requests - first.requests, last.failed - first.failed) == (30, 0)
