"""The gateway under a control plane that starts, errs, dies and comes back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.envoy import EnvoyDriver
from tenfold.drivers.envoy.control import ControlServer
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.project import Project
from tenfold.effects import Order, Outcome, PublishRoutes, StartEngine, StopEngine
from tenfold.facts import EngineState
from tenfold.model import Endpoint, RouteTable, ServiceRoutes
from tenfold.ports import Permanent, Refused, Retryable
from tenfold.render.envoy import ENDPOINT_TYPE

PUSHER = Path(__file__).with_name("pusher.py")


def endpoints(instances: list[Any]) -> list[Any]:
    return [instance.endpoint() for instance in instances]


async def test_it_starts_with_nothing_to_serve(edge: Any) -> None:
    """A new gateway is ready at its port, is an Envoy, runs no table, and asks clients to come again."""
    seen = await edge.engine()
    assert (seen.state, seen.version, seen.address) == (EngineState.READY, "Envoy 1.40.0", f"127.0.0.1:{edge.port}")
    assert (await edge.gateway()).table_digest == ""
    answer = await edge.ask("GET", "/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.body == "Nothing is running here yet; try again in a few seconds.\n"


async def test_it_listens_on_loopback_alone(edge: Any) -> None:
    """The only port that a gateway opens is the edge's, on 127.0.0.1."""
    seen = await edge.engine()
    inodes = {link.readlink().name for link in Path(f"/proc/{seen.pid}/fd").iterdir() if link.is_symlink()}
    listening = [
        (fields[1], f"socket:[{fields[9]}]")
        for table in ("tcp", "tcp6")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A"
    ]
    assert {address for address, inode in listening if inode in inodes} == {f"0100007F:{edge.port:04X}"}


async def test_the_fact_tells_what_it_runs(edge: Any, instances: Any) -> None:
    """Once a table is published the gateway itself tells its digest; the same order again is done already, an older one refused."""
    web = await instances(1)
    receipt = await edge.publish(*endpoints(web))
    assert receipt.outcome is Outcome.DONE
    assert (await edge.gateway()).table_digest == "digest1"
    table = RouteTable("local", (ServiceRoutes("web", ("/other",), ()),))
    again = Order(PublishRoutes(table, "digest1", 1), edge.epoch, "d1", time.time())
    assert (await edge.driver.apply(again)).outcome is Outcome.DONE
    assert (await edge.ask("GET", "/")).status == 200
    await edge.publish(*endpoints(web))
    with pytest.raises(Refused, match="newer"):
        await edge.driver.apply(Order(PublishRoutes(table, "late", 1), edge.epoch, "d1", time.time()))
    edge.epoch = 7
    await edge.publish(*endpoints(web))
    edge.epoch = 6
    with pytest.raises(Refused, match="epoch"):
        await edge.publish_table(table)
    edge.epoch = 7


async def test_a_refused_table_changes_nothing(edge: Any, instances: Any) -> None:
    """A table that Envoy turns down fails with Envoy's reason, the one before serves on, and the next good one is taken."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    bad = RouteTable(
        "local",
        (
            ServiceRoutes("api", ("/api",), (web[0].endpoint(),)),
            ServiceRoutes("web", ("/",), (Endpoint("web-9", "not an address", 1),)),
        ),
    )
    async with edge.load("GET", "POST") as tally:
        with pytest.raises(Permanent, match="malformed IP address: not an address"):
            await edge.publish_table(bad)
        seen = await edge.gateway()
        assert seen.table_digest == "digest1"
        assert "not an address" in seen.refused
        with pytest.raises(Permanent, match="domain"):
            await edge.publish_table(RouteTable("local", bad.services[:1], ("app.example", "APP.example")))
        assert (await edge.ask("GET", "/")).body == web[0].name
        await edge.publish(*endpoints(web))
        seen = await edge.gateway()
        assert (seen.table_digest, seen.refused) == (f"digest{edge.published}", "")
    assert tally.failed() == []


async def test_no_gateway_no_routes(project: Project) -> None:
    """Routes for a region without a gateway are to be tried again later."""
    driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), 8080)
    with pytest.raises(Retryable, match="does not run"):
        await driver.apply(Order(PublishRoutes(RouteTable("local"), "d", 1), 1, "d1", time.time()))
    await driver.close()


async def test_the_control_plane_comes_back(edge: Any, instances: Any) -> None:
    """Serving goes on while the control plane is away; when it is back it knows the port and the table, and publishes on."""
    web = await instances(2)
    await edge.publish(*endpoints(web))
    port, pid = edge.port, (await edge.engine()).pid
    async with edge.load("GET", "POST") as tally:
        for _ in range(3):
            await edge.restart_control_plane()
            edge.driver = EnvoyDriver(edge.project, FreePorts(edge.project), Fence(edge.project.run / "fence"), 1)
            seen = await edge.engine()
            assert (seen.pid, seen.address) == (pid, f"127.0.0.1:{port}")
            assert (await edge.gateway()).table_digest == f"digest{edge.published}"
            await edge.publish(*endpoints(web[:1]))
            await edge.publish(*endpoints(web))
    assert tally.failed() == []


async def test_the_control_plane_is_killed_while_it_publishes(edge: Any, instances: Any) -> None:
    """Killed at any moment between two tables that share no pool, it costs no request, and the next one leads the gateway on."""
    web = await instances(2)
    await edge.publish(*endpoints(web))
    addresses = [f"{instance.name}={instance.port}" for instance in web]
    async with edge.load("GET", "POST") as tally:
        for round_ in range(4):
            await edge.driver.close()
            edge.epoch += 1
            command = [sys.executable, str(PUSHER), str(edge.project.root), str(edge.port), str(edge.epoch), *addresses]
            pusher = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert pusher.stdout is not None
            await asyncio.wait_for(pusher.stdout.readexactly(3 + round_), 60)
            await asyncio.sleep(0.003 * round_)
            pusher.kill()
            await pusher.wait()
            await edge.restart_control_plane()
            assert (await edge.gateway()).table_digest.startswith("pushed")
            await edge.publish(*endpoints(web))
            assert (await edge.gateway()).table_digest == f"digest{edge.published}"
    assert tally.failed() == []


async def test_a_pool_that_was_told_of_no_endpoint_is_taken_over(edge: Any, instances: Any) -> None:
    """Such a pool, left by a control plane that died half-way, keeps the next one from nothing."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    edge.driver._control.hold("local", ENDPOINT_TYPE, ({"cluster_name": name} for name in ("web", "web~ws")))
    await edge.driver._control.offer("local", ENDPOINT_TYPE, 10.0)
    await edge.restart_control_plane()
    await edge.publish(*endpoints(web))
    assert (await edge.ask("GET", "/")).status == 200


async def test_a_stream_that_breaks_in_the_midst_of_an_answer_is_gone(edge: Any, instances: Any) -> None:
    """gRPC just stops asking for answers then; nobody may take that gateway for connected any more."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    control = edge.driver._control
    hello = control._discovery.DiscoveryRequest(type_url="none")
    hello.node.id = "elsewhere"
    hung_up = threading.Event()

    def requests() -> Iterator[Any]:
        yield hello
        hung_up.wait(60.0)

    stream = control._stream(requests(), None)
    answering = asyncio.create_task(asyncio.to_thread(next, stream))
    assert await control.wait_for("elsewhere", 30.0)
    control._streams["elsewhere"].outgoing.put("an answer")
    assert await answering == "an answer"
    stream.close()
    await edge.until("it is gone", lambda: _is_gone(control, "elsewhere"))
    hung_up.set()


async def _is_gone(control: ControlServer, region: str) -> bool:
    return not control.connected(region)


async def test_the_gateway_is_killed(edge: Any, instances: Any) -> None:
    """A gateway that was killed is started again at the same port, and serves the last table before anyone publishes."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    await edge.restart_control_plane()
    port, seen = edge.port, await edge.engine()
    os.kill(seen.pid, signal.SIGKILL)

    async def has_ended() -> bool:
        found = await edge.engine()
        return bool(found.state is EngineState.EXITED)

    await edge.until("the end is noticed", has_ended)
    await edge.start()
    assert edge.port == port
    assert (await edge.ask("GET", "/")).status == 200
    assert (await edge.gateway()).table_digest == "digest1"


async def test_the_gateway_is_frozen(edge: Any) -> None:
    """A frozen gateway is unhealthy, and the facts of the last look stand with their old time."""
    await edge.publish()
    before = await edge.gateway()
    seen = await edge.engine()
    os.kill(seen.pid, signal.SIGSTOP)
    try:

        async def is_unwell() -> bool:
            found = await edge.engine()
            return bool(found.state is EngineState.UNHEALTHY)

        await edge.until("the freeze is noticed", is_unwell)
        stale = await edge.gateway()
        assert stale.table_digest == before.table_digest
        assert stale.seen_at < time.time() - 0.5
    finally:
        os.kill(seen.pid, signal.SIGCONT)
        await edge.ready()


async def test_a_port_that_is_taken(project: Project) -> None:
    """A port in use is stepped over, the note names both, and nothing is shared with whoever was there first."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), taken)
        try:
            receipt = await driver.apply(Order(StartEngine("gateway", "local"), 1, "d1", time.time()))
            (seen,) = [fact for fact in await driver.observe() if fact.key == "gateway/local"]
            got = int(seen.address.rpartition(":")[2])
            assert got != taken
            assert f"port {taken} is in use by another program, so the edge listens at {got}" in receipt.note
        finally:
            (seen,) = [fact for fact in await driver.observe() if fact.key == "gateway/local"]
            await driver.apply(Order(StopEngine("gateway", "local", seen.generation), 1, "d2", time.time()))
            assert await driver.observe() == ()
            await driver.close()


async def test_a_port_that_is_lost(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody takes after it was found free is stepped over with the first routes, and that is said."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        lost = other.getsockname()[1]
        monkeypatch.setattr("tenfold.drivers.envoy.driver.is_free", lambda port: True)
        driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), lost)
        try:
            await driver.apply(Order(StartEngine("gateway", "local"), 1, "d1", time.time()))
            routes = PublishRoutes(RouteTable("local", ()), "digest", 1)
            assert (await driver.apply(Order(routes, 1, "d2", time.time()))).outcome is Outcome.DONE
            (seen,) = [fact for fact in await driver.observe() if fact.key == "gateway/local"]
            got = int(seen.address.rpartition(":")[2])
            assert got != lost
            assert f"port {lost} was taken by another program, so the edge listens at {got}" in seen.note
            with socket.create_connection(("127.0.0.1", got)):
                pass
        finally:
            (seen,) = [fact for fact in await driver.observe() if fact.key == "gateway/local"]
            await driver.apply(Order(StopEngine("gateway", "local", seen.generation), 1, "d3", time.time()))
            await driver.close()


async def test_a_long_path(tmp_path: Path) -> None:
    """In a folder whose path is too long for sockets these lie in a short private one; a folder of someone else's is not used."""
    root = tmp_path / ("long" * 30)
    root.mkdir()
    project = Project(root, "test")
    driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), 18080)
    try:
        await driver.apply(Order(StartEngine("gateway", "local"), 1, "d1", time.time()))
        deadline_s = time.monotonic() + 60
        while not any(getattr(f, "state", "") == "ready" for f in await driver.observe()):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
    finally:
        (seen,) = [fact for fact in await driver.observe() if fact.key == "gateway/local"]
        await driver.apply(Order(StopEngine("gateway", "local", seen.generation), 1, "d2", time.time()))
        await driver.close()
    folder = Path(tempfile.gettempdir()) / f"tenfold-{os.geteuid()}-{project.id}"
    assert not folder.exists()
    folder.mkdir()
    folder.chmod(0o777)
    try:
        with pytest.raises(Permanent, match="open to others"):
            EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), 18080)
    finally:
        folder.rmdir()


async def test_a_control_socket_that_cannot_be_opened(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the place of the control socket is named, and once it is gone all is well; missing packages are named too."""
    driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), 18080)
    in_the_way = project.run / "xds.sock"
    in_the_way.mkdir(parents=True)

    async def look() -> str:
        try:
            await driver.observe()
        except (Retryable, Permanent) as error:
            return str(error)
        return ""

    async def told(words: str) -> None:
        deadline_s = time.monotonic() + 60
        while words not in (said := await look()) or bool(said) != bool(words):
            assert time.monotonic() < deadline_s, said
            await asyncio.sleep(0.05)

    await told("xds.sock, where gateways get their routes, can't be opened")
    in_the_way.rmdir()
    await told("")
    await driver.close()
    monkeypatch.setitem(sys.modules, "envoy.config.route.v3.route_pb2", None)
    driver = EnvoyDriver(project, FreePorts(project), Fence(project.run / "fence"), 18080)
    await told("pip install 'tenfold[engines]'")
    await driver.close()


async def test_it_ends_cleanly(edge: Any, instances: Any) -> None:
    """Stopped, it leaves no process and no open port, and can be started again with nothing to serve."""
    web = await instances(1)
    await edge.publish(*endpoints(web))
    seen = await edge.engine()
    await edge.apply(StopEngine("gateway", "local", seen.generation))
    assert not Path(f"/proc/{seen.pid}").exists()
    assert (await edge.ask("GET", "/")).status == 0
    await edge.start()
    assert (await edge.ask("GET", "/")).status == 503
