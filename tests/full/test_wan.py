"""Networks for the regions, for real: namespaces, distances, losses, cuts; what is killed comes back, what is left goes."""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.harm import Harms, harm_of
from tenfold.drivers.network import clear
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.drivers.wan.links import Change
from tenfold.drivers.wan.wan import ROUTER, Wan
from tenfold.effects import Order, RunTask, StartInstance, StopInstance
from tenfold.effects.faults import FillDisk, Lose, Partition, SkewClock, Slow
from tenfold.facts import InstanceSeen, TaskSeen
from tenfold.model import Health, Region, Release, Service
from tenfold.ports import Permanent

REGIONS = {"north": Region("north"), "south": Region("south")}
PORT = 7000
SO_RCVBUFFORCE = 33
"""Of Linux; Python does not name it."""
SERVER = f"""
import http.server, os, sys
class Page(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else {PORT}), Page).serve_forever()
"""


def made(folder: Path) -> Project:
    """A project in a folder of its own."""
    project = Project(folder, folder.name)
    for path in (project.run, project.logs):
        path.mkdir(parents=True)
    return project


@pytest.fixture(name="wan")
async def _wan(tmp_path: Path) -> AsyncIterator[Wan]:
    """Two regions, 80 ms between them."""
    assert os.geteuid() == 0, "networks are for root: run these tests as root"
    project = made(tmp_path / "shop")
    wan = Wan(project, REGIONS)
    try:
        await wan.open()
        yield wan
    finally:
        await wan.close()
        clear(project)
        assert not traces(project)


@pytest.fixture(name="harm")
async def _harm(wan: Wan) -> AsyncIterator[Harms]:
    made = harm_of(wan.project, wan, REGIONS, lambda region: wan.project.run / region)
    yield made
    await made.undo()


def traces(project: Project) -> list[str]:
    """What of a project's networks is on this machine."""
    found = [path.name for path in Path("/run/netns").glob(f"*{project.id}*")]
    found += [path.name for path in Path("/sys/class/net").glob(f"*{project.id}*")]
    return found + [key.id for key in Processes(project).look()]


@contextlib.contextmanager
def served(wan: Wan, region: str) -> Iterator[None]:
    """A server at the region's address."""
    with wan.inside(region):
        server = subprocess.Popen([sys.executable, "-c", SERVER, wan.host(region)], cwd=wan.project.root)
    try:
        with wan.inside(region):
            until(lambda: answers(wan.host(region)))
        yield
    finally:
        server.kill()
        server.wait()


def until(what: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until it is true."""
    give_up_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < give_up_s, "it did not come true in time"
        time.sleep(0.02)


async def soon(what: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> None:
    """As `until`, while the event loop goes on."""
    give_up_s = time.monotonic() + within_s
    while not await what():
        assert time.monotonic() < give_up_s, "it did not come true in time"
        await asyncio.sleep(0.02)


def answers(host: str, source: str = "", within_s: float = 0.5) -> bool:
    """Whether a connection is taken in time, from the network that this thread is in."""
    try:
        with socket.create_connection((host, PORT), within_s, (source, 0) if source else None):
            return True
    except OSError:
        return False


def reaches(wan: Wan, here: str, there: str) -> bool:
    """Whether a program in one region reaches another region."""
    with wan.inside(here):
        return answers(wan.host(there))


def round_trip_ms(host: str, source: str = "", count: int = 9) -> float:
    """The median time that it takes to connect."""
    took_ms = []
    for _ in range(count):
        with socket.socket() as probe:
            probe.bind((source, 0))
            from_s = time.perf_counter()
            probe.connect((host, PORT))
            took_ms.append((time.perf_counter() - from_s) * 1000)
    return statistics.median(took_ms)


def network_of(process: str) -> str:
    """Which network a process is in."""
    return str(Path(f"/proc/{process}/ns/net").readlink())


def run(*words: str) -> None:
    """Run a tool of this machine."""
    subprocess.run(words, check=True)


def echo_ratio(wan: Wan, count: int) -> float:
    """The share of `count` datagrams from north to south that arrive, sent slowly enough for everybody."""
    with wan.inside("south"):
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with wan.inside("north"):
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with there, here:
        there.bind((wan.host("south"), PORT))
        there.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        there.settimeout(1.0)
        got = 0
        for first in range(0, count, 50):
            for number in range(first, first + 50):
                here.sendto(b"%d" % number, (wan.host("south"), PORT))
            time.sleep(0.02)
        with contextlib.suppress(TimeoutError):
            while True:
                there.recv(100)
                got += 1
        return got / count


async def test_a_round_trip_takes_what_the_places_say(wan: Wan) -> None:
    """Between regions, and from each point of presence, a round trip is within a tenth of what was asked; TCP gives way as cubic."""
    with served(wan, "south"), served(wan, "north"):
        with wan.inside("north"):
            assert round_trip_ms(wan.host("south")) == pytest.approx(80.0, rel=0.1)
            with socket.create_connection((wan.host("south"), PORT)) as probe:
                control = probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert control.rstrip(b"\0") == b"cubic"
        assert round_trip_ms(wan.host("south"), wan.entry_source("north")) == pytest.approx(80.0, rel=0.1)
        assert round_trip_ms(wan.host("south"), wan.entry_source("south")) < 8.0
        assert round_trip_ms(wan.host("south")) < 8.0


async def test_a_region_is_slow_for_as_long_as_the_harm_lasts(wan: Wan, harm: Harms) -> None:
    """300 ms more are on every way to the region and on no other, until they are taken back."""
    with served(wan, "south"), served(wan, "north"):
        await harm.inflict(Slow("region/south", 300.0, 60.0))
        with wan.inside("north"):
            assert round_trip_ms(wan.host("south"), count=3) == pytest.approx(380.0, rel=0.1)
        assert round_trip_ms(wan.host("south"), wan.entry_source("south"), count=3) == pytest.approx(301.0, rel=0.1)
        assert round_trip_ms(wan.host("north"), wan.entry_source("north"), count=3) < 8.0
        await harm.undo()
        with wan.inside("north"):
            assert round_trip_ms(wan.host("south"), count=3) == pytest.approx(80.0, rel=0.1)


async def test_packets_are_lost_as_often_as_was_asked(wan: Wan, harm: Harms) -> None:
    """Without harm nothing is lost; of 20% asked for, about 20% are."""
    assert echo_ratio(wan, 500) == 1.0
    await harm.inflict(Lose("south", 0.2, 60.0))
    assert echo_ratio(wan, 3000) == pytest.approx(0.8, abs=0.05)


async def test_a_partition_cuts_a_region_off_and_is_mended(wan: Wan, harm: Harms) -> None:
    """Neither regions nor the entry nor this machine reach it; it mends when undone, and by itself when its time is over."""
    with served(wan, "south"), served(wan, "north"):
        await harm.inflict(Partition("south", 60.0))
        assert not reaches(wan, "north", "south")
        assert not reaches(wan, "south", "north")
        assert not answers(wan.host("south"), wan.entry_source("south"))
        assert not answers(wan.host("south"))
        assert answers(wan.host("north"), wan.entry_source("south"))
        await harm.undo()
        until(lambda: reaches(wan, "north", "south"))
        await harm.inflict(Partition("south", 4.0))
        assert not answers(wan.host("south"), within_s=0.2)
        until(lambda: answers(wan.host("south")))


DRILL = """
import asyncio, sys
from pathlib import Path
from tenfold.drivers.harm import harm_of
from tenfold.drivers.project import Project
from tenfold.drivers.wan.wan import Wan
from tenfold.effects.faults import Partition
from tenfold.model import Region

async def main():
    project = Project(Path(sys.argv[1]), "shop")
    wan = Wan(project, {"north": Region("north"), "south": Region("south")})
    harm = harm_of(project, wan, ("north", "south"), lambda region: project.run)
    await harm.inflict(Partition("south", 600.0))
    print("cut", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_a_drill_that_is_killed_leaves_no_cut(wan: Wan) -> None:
    """kill -9 of the drill mends the network."""
    with served(wan, "south"):
        command = [sys.executable, "-c", DRILL, str(wan.project.root)]
        drill = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert drill.stdout is not None and await drill.stdout.readline() == b"cut\n"
            assert not answers(wan.host("south"))
        finally:
            drill.kill()
            await drill.wait()
        until(lambda: answers(wan.host("south")))


async def test_bandwidth_is_what_was_asked(wan: Wan) -> None:
    """2 MB through a link of 2 MB/s take a second and what TCP needs to get going, not less."""
    desk = await wan.desk()
    await desk.change([("north", "south")], Change(bandwidth_bytes_per_s=2e6), 60.0)
    with wan.inside("south"):
        listener = socket.create_server((wan.host("south"), PORT))
    with wan.inside("north"):
        sender = socket.create_connection((wan.host("south"), PORT))
    receiver, _ = listener.accept()
    with listener, sender, receiver:
        from_s, left_bytes = time.monotonic(), 2_000_000
        sending = asyncio.create_task(asyncio.to_thread(sender.sendall, bytes(left_bytes)))
        while left_bytes:
            left_bytes -= len(await asyncio.to_thread(receiver.recv, 1 << 16))
        await sending
        assert 0.9 < time.monotonic() - from_s < 20.0
    await desk.close()


async def test_a_killed_router_is_started_again_and_the_links_come_back(wan: Wan) -> None:
    """Whoever is killed, the router, the shell around it or both, the regions reach one another again; connections live on."""
    with served(wan, "south"):
        with wan.inside("north"):
            kept = socket.create_connection((wan.host("south"), PORT), 5.0)
        for meant in ("router", "shell", "both"):
            tree = Processes(wan.project).look()[ROUTER]
            assert tree.leader is not None
            pids = [m.pid for m in tree.members if meant == "both" or (m.pid == tree.leader.pid) is (meant == "shell")]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

            async def is_new(before: frozenset[int] = frozenset(m.pid for m in tree.members)) -> bool:
                tree = Processes(wan.project).look().get(ROUTER)
                living = frozenset() if tree is None else frozenset(member.pid for member in tree.members)
                return bool(living - before) and reaches(wan, "north", "south")

            await soon(is_new)
        with kept:
            kept.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert kept.recv(100).startswith(b"HTTP/1.0 200")


async def test_two_projects_have_networks_of_their_own(wan: Wan, tmp_path: Path) -> None:
    """A second project gets other addresses, reaches none of the first, and goes without taking anything of it along."""
    project = made(tmp_path / "other")
    other = Wan(project, REGIONS)
    try:
        await other.open()
        assert not {node.address for node in wan.plan.nodes} & {node.address for node in other.plan.nodes}
        with served(wan, "south"), served(other, "south"):
            assert reaches(wan, "north", "south") and reaches(other, "north", "south")
            with other.inside("north"):
                assert not answers(wan.host("south"))
            await other.close()
            clear(project)
            assert not traces(project)
            assert reaches(wan, "north", "south")
    finally:
        await other.close()
        clear(project)


async def test_left_overs_of_a_run_that_was_killed_are_taken_over(wan: Wan) -> None:
    """A namespace without a network, one without a device, a lost plan: the next run makes good what it finds, and keeps what works."""
    with served(wan, "north"):
        before = wan.plan
        await wan.close()
        (south,) = (node.namespace for node in wan.plan.regions if node.name == "south")
        run("umount", f"/run/netns/{south}")
        (wan.project.run / "wan.json").unlink()
        again = Wan(wan.project, {**REGIONS, "west": Region("west")})
        try:
            await again.open()
            assert again.plan.block == before.block
            with served(again, "south"), served(again, "west"):
                assert reaches(again, "north", "south") and reaches(again, "south", "north")
                assert reaches(again, "north", "west")
        finally:
            await again.close()


async def test_the_control_plane_makes_anew_what_was_taken_away(wan: Wan) -> None:
    """A namespace that somebody deletes is there again soon, its links too."""
    (south,) = (node.namespace for node in wan.plan.regions if node.name == "south")
    run("ip", "netns", "delete", south)

    async def is_whole() -> bool:
        return Path("/run/netns", south).exists() and len(Processes(wan.project).look()[ROUTER].members) > 1

    await soon(is_whole)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError, AssertionError), served(wan, "south"):
                if reaches(wan, "north", "south"):
                    break
            await asyncio.sleep(0.1)


async def test_instances_live_and_are_asked_in_the_network_of_their_region(wan: Wan) -> None:
    """An instance listens on the loopback of its region alone, is found well there, is limited as ever; tasks run beside the stores."""
    project = wan.project
    command = f"{sys.executable} -c '{SERVER.strip()}' {{host}} {{port}}"
    health = Health(path="/", every_s=0.1, timeout_s=1.0)
    release = Release("r1", {"web": Service("web", command, http=True, health=health)}, "digest", 1.0)
    (project.releases / "r1").mkdir(parents=True)
    secrets = Secrets(project.secrets("development"), environ={})
    driver = ProcessDriver(
        *(project, {"r1": release}.get, secrets, Fence(project.run / "fence"), FreePorts(project)),
        task_region="north",
        network=wan,
    )
    try:
        await driver.apply(Order(StartInstance("web-1", "web", "south", "r1"), 1, "d1", 1.0))

        async def web() -> InstanceSeen:
            return next(fact for fact in await driver.observe() if isinstance(fact, InstanceSeen))

        async def is_ready() -> bool:
            return (await web()).state == "ready"

        await soon(is_ready)
        seen = await web()
        assert seen.host is not None and seen.port is not None
        assert network_of(str(seen.pid)) != network_of("self")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((seen.host, seen.port)).close()
        with wan.inside("south"):
            socket.create_connection((seen.host, seen.port)).close()
        for kind in ("build", "release"):
            task = RunTask(f"r1-{kind}", kind, "web", "r1", "readlink /proc/self/ns/net", 20.0)
            await driver.apply(Order(task, 1, "d1", 1.0))

        async def tails() -> dict[str, str]:
            facts = [f for f in await driver.observe() if isinstance(f, TaskSeen) and f.state != "running"]
            return {fact.kind: fact.tail for fact in facts}

        async def are_done() -> bool:
            return len(await tails()) == 2

        await soon(are_done)
        with wan.inside("north"):
            north = network_of("thread-self")
        assert await tails() == {"build": network_of("self"), "release": north}
        await driver.apply(Order(StopInstance("web-1", 1.0), 1, "d2", 1.0))
    finally:
        await driver.close()


async def test_a_disk_of_our_own_is_filled_and_emptied(wan: Wan, harm: Harms) -> None:
    """A store's own small file system is full for the time of the harm; a disk that others use too is not touched, nor is the clock."""
    own, shared = (wan.project.data / f"postgres-{name}" for name in REGIONS)
    for folder in (own, shared):
        folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(own))
    try:
        await harm.inflict(FillDisk("postgres/north", 60.0))
        with pytest.raises(OSError, match="No space left"):
            (own / "page").write_bytes(bytes(8192))
        await harm.undo()
        (own / "page").write_bytes(bytes(8192))
        with pytest.raises(Permanent, match="there are no data of valkey/north"):
            await harm.inflict(FillDisk("valkey/north", 60.0))
        with pytest.raises(Permanent, match="use the simulator"):
            await harm.inflict(SkewClock("postgres/north", 5.0, 60.0))
        with pytest.raises(Permanent, match="holds more than this project"):
            await harm.inflict(FillDisk("postgres/south", 60.0))
    finally:
        run("umount", str(own))
