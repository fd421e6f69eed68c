"""Two Valkey in two regions: one takes writes, the other follows, takes over, and lets the first come back."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, RedisError

from tenfold.effects import Order, Outcome, Promote, StartEngine, StopEngine
from tenfold.facts import EngineState, ReplicaRole
from tenfold.ports import Permanent, Refused, Retryable

Pair = Any


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    """What an app would use."""
    made = Redis.from_url(url, protocol=2, socket_timeout=5, decode_responses=True)
    try:
        yield made
    finally:
        await made.aclose()


async def test_standby_follows_and_says_so(valkey_pair: Pair) -> None:
    """The second region gets what is there and then every write; each region's URL is its gateway's, with one password."""
    pair = valkey_pair
    with pytest.raises(Retryable, match="not been started"):
        pair.driver.urls("c")
    await pair.start("a")
    await pair.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    async with client(await pair.url("a")) as app:
        await app.set("before", "1")
        with pytest.raises(Permanent, match="the Valkey of this project is in a"):
            await pair.start("b")
        await pair.start("b", follow="a")
        primary = await pair.until_follows("b", "a")
        assert (primary.timeline, primary.is_synchronous) == (1, False)
        await app.set("after", "2")
    await pair.until_follows("b", "a")
    await pair.until("b", lambda _, seen: seen.lag_s == 0.0)
    async with client(await pair.url("b")) as reader:
        assert (await reader.get("before"), await reader.get("after")) == ("1", "2")
        with pytest.raises(ReadOnlyError):
            await reader.set("third", "3")
    urls = {region: pair.driver.urls(region)["VALKEY_URL"] for region in ("a", "b", "c")}
    assert all(f"@{region}.test:1/" in url for region, url in urls.items())
    assert len({url.replace(f"@{region}.", "@") for region, url in urls.items()}) == 1


async def test_lost_primary_is_fenced_and_comes_back_with_the_new_ones_data(valkey_pair: Pair) -> None:
    """A frozen primary is ended for good; what it alone had is gone when it follows, and it can be promoted again only then."""
    pair = valkey_pair
    await pair.both()
    async with client(await pair.url("a")) as app:
        await app.set("kept", "1")
        await pair.until_follows("b", "a")
        pair.signal("b", signal.SIGSTOP)
        await app.set("lost", "1")
        pair.signal("a", signal.SIGSTOP)
        await pair.fence("a")
        pair.signal("b", signal.SIGKILL)
        await pair.gone("b")
        pair.signal("a", signal.SIGCONT)
        with pytest.raises(RedisError):
            await app.set("more", "1")
    # Whoever follows and has not got the data since it started must not pass for one that has.
    await pair.start("b", follow="a")
    await pair.until("b", lambda engine, seen: engine.state is EngineState.READY and not seen.follows)
    with pytest.raises(Retryable, match="has not got the data"):
        await pair.promote("b")
    for _ in range(2):
        with pytest.raises(Permanent, match="fenced"):
            await pair.start("a")
        await pair.driver.close()
        pair.renew()


async def test_back_and_forth(valkey_pair: Pair) -> None:
    """Each region is lost in turn while it takes writes; what was acknowledged and copied is there at the end."""
    pair = valkey_pair
    await pair.both()
    here, there = "a", "b"
    for number in (1, 2, 3):
        async with client(await pair.url(here)) as app:
            await app.incr("count")
        await pair.until_follows(there, here)
        pair.signal(here, signal.SIGKILL)
        await pair.gone(here)
        await pair.fence(here)
        await pair.promote(there, number=number)
        seen = await pair.until(there, lambda _, seen: seen.role is ReplicaRole.PRIMARY)
        assert seen.timeline == number + 1
        async with client(await pair.url(there)) as app:
            await app.set("last", here)
        await pair.start(here, follow=there)
        await pair.until_follows(here, there)
        here, there = there, here
    async with client(await pair.url(there)) as reader:
        assert (await reader.get("count"), await reader.get("last")) == ("3", "a")


async def test_orders_that_come_twice_late_or_too_early(valkey_pair: Pair) -> None:
    """Each order may be repeated, by the same control plane or the next; what was overtaken, or comes from an old lease, is refused."""
    pair = valkey_pair
    await pair.both()
    fence = await pair.order(StopEngine, "a", at_once=True)
    promote = Order(Promote("valkey", "b", 1, (await pair.facts("b"))[0].generation), 1, "d1", 0.0)
    for order in (fence, fence, promote, promote):
        assert (await pair.driver.apply(order)).outcome is Outcome.DONE
    await pair.driver.close()
    pair.renew()
    assert (await pair.promote("b", number=1)).outcome is Outcome.DONE
    await pair.start("a", follow="b")
    await pair.until_follows("a", "b")
    with pytest.raises(Refused, match="takes writes"):
        await pair.start("b", follow="a")
    with pytest.raises(Refused, match="follows another"):
        await pair.start("a")
    await pair.fence("b")
    await pair.promote("a", number=2)
    await pair.start("b", follow="a")
    await pair.until_follows("b", "a")
    with pytest.raises(Refused, match="comes late"):
        await pair.promote("b", number=1)
    pair.place.fence.check(5)
    for kind in (Promote, StopEngine, StartEngine):
        with pytest.raises(Refused, match="epoch"):
            await pair.driver.apply(await pair.order(kind, "b"))


async def test_standby_finds_a_primary_that_moved(valkey_pair: Pair) -> None:
    """The primary comes back at another port: the standby follows it there without a start, and a long path to the socket does no harm."""
    import socket

    pair = valkey_pair
    pair.place.use(pair.place.folder / ("long-" * 20), "crewboard")
    pair.__init__(pair.place, "valkey")
    await pair.both()
    engine, _ = await pair.facts("a")
    await pair.stop("a")
    with socket.create_server(("127.0.0.1", int(engine.address.split(":")[1]))):
        await pair.start("a")
        await pair.until_follows("b", "a")
    assert (await pair.facts("a"))[0].address != engine.address


async def test_data_go_along_when_regions_are_named_and_when_they_are_not_any_more(valkey_pair: Pair) -> None:
    """What a project without regions has written the first of its regions has, and without them again what these wrote; a standby that
    was left behind is never taken for it."""
    pair = valkey_pair
    await pair.start("local")
    await pair.until("local", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    with pytest.raises(Retryable, match="valkey/local still runs"):
        await pair.start("a")
    async with client(await pair.url("local")) as app:
        await app.set("early", "1")
    await pair.stop("local")
    await pair.both()
    async with client(await pair.url("a")) as app:
        assert await app.get("early") == "1"
    await pair.until_follows("b", "a")
    for region in ("b", "a"):
        await pair.stop(region)
    pair.renew()
    await pair.start("local")
    await pair.until("local", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
    async with client(await pair.url("local")) as app:
        assert await app.get("early") == "1"
    await pair.stop("local")
    with pytest.raises(Permanent, match="both hold data of valkey"):
        await pair.start("b")
    await pair.both()
    async with client(await pair.url("a")) as app:
        assert await app.get("early") == "1"
