"""Several regions behind one entry: nearest first, and alive when one is lost, or the control plane is."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from typing import Any

import pytest

from tenfold.drivers.envoy import accesslog
from tenfold.effects import Order, PublishEntry, StopEngine
from tenfold.facts import EngineSeen, EngineState, GatewaySeen, LinkSeen, PoolSeen, RegionSeen
from tenfold.model import EntryTable, GatewayEnd, Share, StoreEnd, Way
from tenfold.ports import Permanent, Refused, Retryable
from tests.drivers.envoy.conftest import ask, load, until
from tests.drivers.envoy.regions import Regions, near

EVERYWHERE = [near(name) for name in ("us", "eu", "au")]
SPARE_S = 2.0
"""Far above a hedge or a check of the entry, far below any timeout."""


async def ended(regions: Regions, kind: str, region: str) -> EngineSeen:
    """Kill an Envoy at once, and wait until that is known."""
    seen = await regions.see(EngineSeen, f"{kind}/{region}")
    os.kill(seen.pid, signal.SIGKILL)
    await regions.until(EngineSeen, seen.key, lambda seen: seen.state is EngineState.EXITED)
    assert isinstance(seen, EngineSeen)
    return seen


async def trace_of(regions: Regions, answer: Any, right: Any = lambda trace: trace.origin) -> Any:
    """The request's trace, once it is logged and right."""
    found: list[Any] = []

    async def is_found() -> bool:
        found[:] = [await regions.gateways.request(answer.headers["x-request-id"])]
        return found[0] is not None and right(found[0])

    await until("the request is logged", is_found)
    return found[0]


async def test_clients_are_served_in_the_nearest_region(regions: Regions) -> None:
    """Who is near a region is answered there, who tells no place at home; demand and tries are told by region."""
    for name in regions.names:
        assert (await ask(regions.port, "GET", "/", near(name))).body.startswith(name)
    assert (await ask(regions.port, "GET", "/")).body.startswith("us")

    def as_sent(eu: RegionSeen, au: RegionSeen) -> bool:
        return (
            10 < eu.demand_per_s < 60
            and eu.tries_per_s == pytest.approx(eu.demand_per_s, rel=0.1)
            and 1.5 < eu.demand_per_s / max(au.demand_per_s, 1e-9) < 2.7
            and (eu.errors_per_s, eu.unanswered_per_s, eu.is_well) == (0, 0, True)
            and 10 <= (eu.first_byte_ms_p50 or 0) <= (eu.first_byte_ms_p99 or 0) < 500
        )

    await regions.look()
    async with load(regions.port, ("GET",), rps=60.0, headers=[near("eu"), near("eu"), near("au")]):
        # On a busy machine some of a second's tries are answered in the next: not every look is even.
        for _ in range(12):
            await asyncio.sleep(1.2)
            found = await regions.look()
            if as_sent(found["RegionSeen eu"], found["RegionSeen au"]):
                break
        else:
            raise AssertionError(f"no look was even: {found}")


async def test_where_things_listen_is_told(regions: Regions) -> None:
    """Gateways tell their own ports and never take that of the edge, the entry has it; each tells the table it runs."""
    seen = [await regions.see(GatewaySeen, name) for name in (*regions.names, "entry")]
    assert [s.host for s in seen] == ["127.0.0.1"] * 4
    assert len({s.port for s in seen}) == 4
    assert seen[-1].port == regions.port
    assert [s.table_digest for s in seen] == ["us1", "eu1", "au1", "entry2"]
    assert all(s.connected for s in seen)


async def test_a_gateway_is_killed(regions: Regions) -> None:
    """No idempotent request fails when a region's gateway is killed; started again it listens where it did, and serves."""
    before = await regions.see(GatewaySeen, "eu")
    async with load(regions.port, ("GET", "PUT"), rps=100.0, headers=EVERYWHERE) as tally:
        await asyncio.sleep(0.5)
        await ended(regions, "gateway", "eu")
        await regions.until(RegionSeen, "eu", lambda seen: not seen.is_well)
        await regions.start_engine("gateway", "eu")
        after = await regions.until(GatewaySeen, "eu", lambda seen: seen.table_digest == "eu1")
        await regions.until(RegionSeen, "eu", lambda seen: seen.is_well)
        assert (after.host, after.port) == (before.host, before.port)
        assert (await ask(regions.port, "GET", "/", near("eu"))).body.startswith("eu")
    assert tally.failed() == []
    assert tally.slowest_s() < SPARE_S


async def test_the_entry_is_killed(regions: Regions) -> None:
    """Started again, the entry listens where it did and runs the table it had before anyone publishes one."""
    port = regions.port
    await ended(regions, "entry", "us")
    await regions.start_engine("entry", "us")
    assert regions.port == port
    assert (await ask(port, "GET", "/", near("au"))).body.startswith("au")
    assert (await regions.see(GatewaySeen, "entry")).table_digest == "entry2"


async def test_the_control_plane_comes_back(regions: Regions) -> None:
    """Entry and gateways serve on while it is away, are found as they are, and are led on; an order of the one before is refused."""
    before = await regions.look()
    stale = Order(PublishEntry(EntryTable("us"), "stale", 99), regions.epoch, "d0", time.time())
    async with load(regions.port, ("GET", "POST"), rps=80.0, headers=EVERYWHERE) as tally:
        await regions.restart_control_plane()
        after = await regions.look()
        for kind, region in (("entry", "us"), *(("gateway", name) for name in regions.names)):
            key = f"EngineSeen {kind}/{region}"
            assert (before[key].pid, before[key].address) == (after[key].pid, after[key].address)
        for name in (*regions.names, "entry"):
            assert before[f"GatewaySeen {name}"].table_digest == after[f"GatewaySeen {name}"].table_digest
        everything_home = [Way(name, "", (Share("us", 1.0),), ("eu", "au")) for name in regions.names]
        _, digest = await regions.publish_entry(everything_home)
        await regions.publish_gateways()
        assert (await regions.see(GatewaySeen, "entry")).table_digest == digest
        assert (await ask(regions.port, "GET", "/", near("au"))).body.startswith("us")
        with pytest.raises(Refused, match="epoch"):
            await regions.entry.apply(stale)
    assert tally.failed() == []


async def test_an_entry_that_refuses_its_table(regions: Regions) -> None:
    """It serves on by the one before, tells why, and takes the next good one."""
    ends = await regions.ends()
    bad = EntryTable("us", (GatewayEnd("us", "not an address", 1), *ends[1:]), (Way("us", "", (Share("us", 1.0),)),))
    async with load(regions.port, ("GET", "POST"), rps=80.0, headers=EVERYWHERE) as tally:
        with pytest.raises(Permanent, match=r"global entry refused.*not an address"):
            await regions.apply(PublishEntry(bad, "bad", 50))
        seen = await regions.see(GatewaySeen, "entry")
        assert seen.table_digest == "entry2"
        assert "not an address" in seen.refused
        regions.published = 50
        _, digest = await regions.publish_entry()
        seen = await regions.see(GatewaySeen, "entry")
        assert (seen.table_digest, seen.refused) == (digest, "")
    assert tally.failed() == []
    assert (await ask(regions.port, "GET", "/", near("eu"))).body.startswith("eu")


async def test_a_late_table_for_the_entry(regions: Regions) -> None:
    """One that is older than what was published is refused; without an entry there is nothing to publish to."""
    with pytest.raises(Refused, match="newer"):
        await regions.apply(PublishEntry(EntryTable("us"), "late", 1))
    seen = await regions.see(EngineSeen, "entry/us")
    await regions.apply(StopEngine("entry", "us", seen.generation))
    assert await regions.see(EngineSeen, "entry/us") is None
    with pytest.raises(Retryable, match="does not run"):
        await regions.apply(PublishEntry(EntryTable("us"), "none", 90))


async def test_errors_and_silence_of_a_region(regions: Regions) -> None:
    """What an app answers with 5xx counts as errors of its region; tries that a frozen gateway leaves without an answer do not."""
    await regions.look()
    async with load(regions.port, ("GET",), "/broken", rps=60.0, headers=[near("eu")]):
        await regions.until(RegionSeen, "eu", lambda seen: seen.errors_per_s > 30)
        # On a busy machine some of a second's tries are answered in the next: not every look is even.
        await regions.until(
            RegionSeen,
            "eu",
            lambda seen: seen.errors_per_s + seen.unanswered_per_s == pytest.approx(seen.tries_per_s, rel=0.1),
        )
    engine = await regions.see(EngineSeen, "gateway/eu")
    try:
        async with load(regions.port, ("GET",), rps=60.0, headers=[near("eu")]) as tally:
            # Only what is under way when it freezes is left without an answer: a second later the entry's checks send all elsewhere.
            await regions.until(RegionSeen, "eu", lambda seen: seen.tries_per_s > 30 and not seen.errors_per_s)
            os.kill(engine.pid, signal.SIGSTOP)
            await regions.until(RegionSeen, "eu", lambda seen: seen.unanswered_per_s > 5 and not seen.errors_per_s)
            await regions.until(RegionSeen, "eu", lambda seen: not seen.is_well)
            seen = await regions.until(RegionSeen, "us", lambda seen: seen.tries_per_s > 30)
            assert seen.demand_per_s == 0
        assert tally.failed() == []
        assert tally.slowest_s() < SPARE_S
    finally:
        os.kill(engine.pid, signal.SIGCONT)
        await regions.until(EngineSeen, "gateway/eu", lambda seen: seen.state is EngineState.READY)


async def test_the_ways_between_regions(regions: Regions) -> None:
    """All ways are asked; to a killed gateway none is answered, and of a frozen one nobody says that the ways from it are lost."""
    for origin in regions.names:
        for region in set(regions.names) - {origin}:
            seen = await regions.until(
                LinkSeen, f"{origin}>{region}", lambda seen: seen.probes >= 3 and seen.late_ratio == 0
            )
            assert 0 < seen.rtt_ms < 100
    assert await regions.see(PoolSeen, "probe~eu@us") is None
    engine = await regions.see(EngineSeen, "gateway/au")
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        await regions.until(LinkSeen, "us>au", lambda seen: seen.late_ratio > 0.4)
        for way in ("au>us", "us>eu"):
            await regions.until(LinkSeen, way, lambda seen: seen.late_ratio == 0)
    finally:
        os.kill(engine.pid, signal.SIGCONT)
        await regions.until(EngineSeen, "gateway/au", lambda seen: seen.state is EngineState.READY)
    await ended(regions, "gateway", "au")
    await regions.until(LinkSeen, "us>au", lambda seen: seen.late_ratio == 1.0 and seen.rtt_ms is None)


async def test_admin_pages_that_hang(regions: Regions) -> None:
    """When the gateways of two regions hang, what is known of them grows old, and the third and the entry are seen as always."""
    engines = [await regions.see(EngineSeen, f"gateway/{name}") for name in ("eu", "au")]
    for engine in engines:
        os.kill(engine.pid, signal.SIGSTOP)
    try:
        for engine in engines:
            await regions.until(EngineSeen, engine.key, lambda seen: seen.state is EngineState.UNHEALTHY)
        found = await regions.look()
        now = time.time()
        assert all(found[f"GatewaySeen {name}"].seen_at < now - 0.5 for name in ("eu", "au"))
        assert all(found[f"GatewaySeen {name}"].seen_at > now - 3.0 for name in ("us", "entry"))
        assert (await ask(regions.port, "GET", "/", near("eu"))).body.startswith("us")
    finally:
        for engine in engines:
            os.kill(engine.pid, signal.SIGCONT)
            await regions.until(EngineSeen, engine.key, lambda seen: seen.state is EngineState.READY)


async def test_a_request_is_told_whole(regions: Regions) -> None:
    """A trace joins what entry and gateway logged, over put-aside logs; late regions, lost ones and none at all are told in words."""
    home = Way("us", "", (Share("us", 1.0),))
    await regions.publish_entry([home, Way("eu", "", (Share("au", 1.0),))], decision="e6")
    await regions.publish_entry([home, Way("eu", "", (Share("eu", 1.0),), ("us",))], decision="e7")
    answer = await ask(regions.port, "GET", "/wait", near("eu"))
    trace = await trace_of(regions, answer, lambda trace: trace.origin and trace.instance)
    assert (trace.origin, trace.region, trace.service) == ("eu", "eu", "web")
    assert trace.instance == regions.instances["eu"][0].name
    assert (trace.entry_attempts, trace.attempts, trace.entry_decision, trace.decision) == (1, 1, "e7", "d1")
    assert (trace.status, trace.hedged, trace.limited_by) == (200, False, "")
    assert 0 < trace.network_ms < trace.total_ms - 10
    log = regions.project.logs / "entry-us.jsonl"
    accesslog.put_aside(log)
    await regions.look()
    engine = await regions.see(EngineSeen, "gateway/eu")
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        answer = await ask(regions.port, "GET", "/wait", near("eu"))
        trace = await trace_of(regions, answer, lambda trace: trace.origin and trace.instance)
        assert (trace.origin, trace.region, trace.entry_attempts, trace.hedged) == ("eu", "us", 2, True)
        assert trace.limited_by.startswith("the region asked first did not answer, asked us after 1")
    finally:
        os.kill(engine.pid, signal.SIGCONT)
    # Once it lives again it hears of the request, and logs it.
    trace = await trace_of(regions, answer, lambda trace: "eu did not answer" in trace.limited_by)
    assert trace.limited_by.startswith("eu did not answer, asked us after 1")
    for name in regions.names:
        await ended(regions, "gateway", name)
    answer = await ask(regions.port, "GET", "/wait", near("eu"))
    assert answer.status == 503
    trace = await trace_of(regions, answer)
    assert (trace.origin, trace.instance, trace.status) == ("eu", "", 503)
    assert "no region" in trace.limited_by
    assert log.exists()


async def test_a_request_that_must_be_refused(regions: Regions) -> None:
    """A way without a region is a clear answer with a trace, and nothing of it reaches a gateway."""
    await regions.publish_entry([Way("us", "", (Share("us", 1.0),)), Way("eu", "", ())])
    answer = await ask(regions.port, "GET", "/", near("eu"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    trace = await trace_of(regions, answer)
    assert (trace.origin, trace.region, trace.entry_attempts) == ("eu", "", 0)
    assert "no region was well that may serve it" in trace.limited_by


async def test_stores_are_reached_where_they_were(regions: Regions) -> None:
    """An app finds its store at one address, known before the gateway ran, whatever is started again and whoever is primary."""

    async def talks_to(host: str, port: int) -> bytes:
        try:
            reader, writer = await asyncio.open_connection(host, port)
            told = await asyncio.wait_for(reader.read(10), 5)
            writer.close()
        except (OSError, TimeoutError):
            return b""
        return told

    async def serve(name: bytes) -> asyncio.Server:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # To Envoy's checks and to us alike: the answer to an SSLRequest, and a name.
            writer.write(b"N" + name)
            writer.close()

        return await asyncio.start_server(greet, "127.0.0.1", 0)

    host, _, port = regions.gateways.store_address("eu", "postgres").partition(":")
    first, second = await serve(b"first"), await serve(b"second")
    try:
        for server, name in ((first, b"first"), (second, b"second")):
            regions.stores = (StoreEnd("postgres", *server.sockets[0].getsockname()),)
            await regions.publish_gateways()

            async def is_reached(name: bytes = name) -> bool:
                return await talks_to(host, int(port)) == b"N" + name

            await until(f"{name!r} is reached", is_reached)
        await ended(regions, "gateway", "eu")
        await regions.restart_control_plane()
        assert regions.gateways.store_address("eu", "postgres") == f"{host}:{port}"
        await regions.start_engine("gateway", "eu")
        await regions.publish_gateways()
        await until("the store is reached again", is_reached)
    finally:
        first.close()
        second.close()


async def test_a_way_is_open_once_its_store_answers(regions: Regions) -> None:
    """A table that leads to a store which does not listen yet is taken up, and the way told, at once, when the store answers by it."""
    woken = asyncio.Event()
    regions.gateways.subscribe(woken.set)
    host, _, front = regions.gateways.store_address("eu", "valkey").partition(":")

    def answer() -> bytes:
        # Whether the gateway reads the question before it hangs up is chance.
        with contextlib.suppress(ConnectionResetError), socket.create_connection((host, int(front)), 5) as asked:
            asked.sendall(b"PING\r\n")
            return asked.recv(100)
        return b""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"+PONG\r\n")
        writer.close()

    with socket.socket() as store:
        store.bind(("127.0.0.1", 0))
        end = StoreEnd("valkey", *store.getsockname())
        regions.stores = (end,)
        await regions.publish_gateways()
        seen = await regions.until(GatewaySeen, "eu", lambda seen: seen.table_digest == f"eu{regions.published}")
        assert seen.stores == ()
        assert await asyncio.to_thread(answer) == b""
        await asyncio.sleep(0.5)
        assert (await regions.see(GatewaySeen, "eu")).stores == ()
        woken.clear()
        store.listen()
        async with await asyncio.start_server(greet, sock=store):
            began_s = time.monotonic()
            await asyncio.wait_for(woken.wait(), 10.0)
            await regions.until(GatewaySeen, "eu", lambda seen: seen.stores == (end,))
            took_s = time.monotonic() - began_s
            assert await asyncio.to_thread(answer) == b"+PONG\r\n"
            assert took_s < SPARE_S
    await regions.until(GatewaySeen, "eu", lambda seen: seen.stores == ())


async def test_ports_that_were_taken_meanwhile(regions: Regions) -> None:
    """A gateway that comes back to find its ports taken listens elsewhere, its stores too, and both is said."""
    host, _, store_port = regions.gateways.store_address("eu", "valkey").partition(":")
    await regions.publish_gateways()
    before = await regions.see(GatewaySeen, "eu")
    await ended(regions, "gateway", "eu")
    with socket.socket() as one, socket.socket() as two:
        for thief, port in ((one, before.port), (two, int(store_port))):
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind((host, port))
            thief.listen()
        engine = await regions.start_engine("gateway", "eu")
        after = await regions.until(GatewaySeen, "eu", lambda seen: seen.table_digest == "eu3")
        assert after.port != before.port
        assert f"it listens at {after.port}" in engine.note
        now = regions.gateways.store_address("eu", "valkey")
        assert now != f"{host}:{store_port}"
        assert f"valkey is reached at {now.partition(':')[2]}" in engine.note
        with socket.create_connection((host, int(now.partition(":")[2]))):
            pass
    await regions.publish_entry()

    async def is_served() -> bool:
        return (await ask(regions.port, "GET", "/", near("eu"))).body.startswith("eu")

    await until("the entry has found it", is_served)


async def test_an_instance_far_away_is_not_asked(regions: Regions) -> None:
    """A gateway that has no instance left says so to the entry, which asks the next region: the client sees nothing."""
    await regions.publish_gateways("eu")
    regions.instances["eu"] = ()
    await regions.publish_gateways("eu")
    for _ in range(5):
        answer = await ask(regions.port, "POST", "/", near("eu"))
        assert (answer.status, answer.body[:2]) == (200, "us")
