"""A project with real engines, cleaned up whatever happens."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tenfold.drivers.engine import EngineDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.postgres import PostgresDriver
from tenfold.drivers.procs import Processes, TreeKey
from tenfold.drivers.project import Project
from tenfold.drivers.store import StoreDriver
from tenfold.drivers.valkey import ValkeyDriver
from tenfold.effects import Order, Promote, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState, ReplicaRole, ReplicaSeen

REGION = "local"
WITHIN_S = 90.0


class Place:
    """A project folder that other users may reach, and hands to start, look at, harm and stop its engines with."""

    def __init__(self, folder: Path, name: str = "crewboard") -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self.use(folder / "project", name)
        self.drivers: list[EngineDriver] = []
        self._orders = 0

    def use(self, root: Path, name: str) -> None:
        """Go on in another project folder."""
        root.mkdir(exist_ok=True)
        self.project = Project(root, name)
        self.project.state.mkdir(mode=0o700, exist_ok=True)
        self.ports, self.fence = FreePorts(self.project), Fence(self.project.run / "epoch")

    def postgres(self) -> PostgresDriver:
        """What a new control plane would have."""
        driver = PostgresDriver(self.project, self.ports, self.fence, self.shared)
        self.drivers.append(driver)
        return driver

    def valkey(self) -> ValkeyDriver:
        """What a new control plane would have."""
        driver = ValkeyDriver(self.project, self.ports, self.fence)
        self.drivers.append(driver)
        return driver

    async def start(self, driver: EngineDriver) -> Receipt:
        """Order a start, from what is seen now."""
        self._orders += 1
        seen = await driver.observe()
        effect = StartEngine(driver.source, REGION, self._orders, seen[0].generation if seen else 0)
        return await driver.apply(Order(effect, 1, "d1", time.time()))

    async def stop(self, driver: EngineDriver) -> Receipt:
        """Order a stop, from what is seen now."""
        seen = await driver.observe()
        effect = StopEngine(driver.source, REGION, seen[0].generation if seen else 0)
        return await driver.apply(Order(effect, 1, "d1", time.time()))

    async def run(self, driver: EngineDriver) -> EngineSeen:
        """Start it and wait until it is ready."""
        await self.start(driver)
        return await self.until(driver, EngineState.READY)

    async def until(self, driver: EngineDriver, state: EngineState) -> EngineSeen:
        """Wait for a state; fails when it does not come."""
        deadline = time.monotonic() + WITHIN_S
        seen: tuple[EngineSeen, ...] = ()
        while time.monotonic() < deadline:
            seen = await driver.observe()
            if seen and seen[0].state is state:
                return seen[0]
            await asyncio.sleep(0.01)
        raise AssertionError(f"{driver.source} did not become {state}: {seen}")

    async def eventually(self, true: Callable[[], object]) -> None:
        """Wait until something is true; fails when it does not become so."""
        deadline = time.monotonic() + WITHIN_S
        while not true():
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.002)

    @property
    def postgres_home(self) -> Path:
        """Where PostgreSQL's settings and, in `pgdata`, its data are."""
        return (self.project.data / "postgres-local").resolve()

    def spawn(self, argv: list[str], user: int | None) -> "subprocess.Popen[bytes]":
        """A program that Tenfold knows nothing of; the test ends it."""
        return subprocess.Popen(
            argv,
            user=user if os.geteuid() == 0 else None,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def signal(self, kind: str, number: int) -> int:
        """Signal every process of an engine; how many there were."""
        return Processes(self.project).send(TreeKey("engine", f"{kind}/{REGION}"), number)

    def pilot(self, kinds: str, then: str, user: int | None = None) -> "subprocess.Popen[str]":
        """A control plane of its own process, that can be killed or be another user's."""
        argv = [
            sys.executable,
            str(Path(__file__).with_name("pilot.py")),
            str(self.project.root),
            str(self.shared),
            kinds,
            then,
        ]
        if user is not None:
            argv.append(str(user))
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")

    async def clean(self) -> None:
        """End every process of the projects and remove the folder."""
        for driver in self.drivers:
            await driver.close()
        for root in self.folder.iterdir():
            processes = Processes(Project(root, "any"))
            for key in processes.look():
                # Killed outright, PostgreSQL would leave its shared memory behind.
                await processes.stop(key, 10.0, signal.SIGINT)
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are asked ten times as often as in life: tests wait for answers."""
    monkeypatch.setattr("tenfold.drivers.engine._ASK_S", 0.1)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A project folder under the system's folder for temporary files, open to every user: pytest's own is closed to PostgreSQL's."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-test-"))
    folder.chmod(0o755)
    made = Place(folder)
    yield made
    await made.clean()


class Pair:
    """Two regions, `a` and `b`, with a store of one kind each, as a control plane would handle them."""

    def __init__(self, place: Place, kind: str) -> None:
        self.place, self.kind = place, kind
        self.processes = Processes(place.project)
        self._orders = 0
        self.renew()

    def renew(self) -> None:
        """A new control plane, which knows only what is on disk and what runs."""
        place, front = self.place, self._front
        if self.kind == "postgres":
            driver: StoreDriver = PostgresDriver(place.project, place.ports, place.fence, place.shared, front=front)
        else:
            driver = ValkeyDriver(place.project, place.ports, place.fence, front=front)
        self.driver = driver
        place.drivers.append(driver)

    @staticmethod
    def _front(region: str, kind: str) -> str:
        return f"{region}.test:1"

    async def facts(self, region: str) -> tuple[EngineSeen | None, ReplicaSeen | None]:
        """What is seen of a region's store now."""
        seen = [fact for fact in await self.driver.observe() if fact.region == region]
        engine = next((fact for fact in seen if isinstance(fact, EngineSeen)), None)
        return engine, next((fact for fact in seen if isinstance(fact, ReplicaSeen)), None)

    async def order(self, kind: type, region: str, **how: object) -> Order:
        """An order made from what is seen now."""
        engine, _ = await self.facts(region)
        self._orders += 1
        number = {StartEngine: {"attempt": self._orders}, StopEngine: {}, Promote: {"number": self._orders}}[kind]
        generation = engine.generation if engine else 0
        effect = kind(self.kind, region, **{**number, "expected_generation": generation, **how})
        return Order(effect, 1, "d1", time.time())

    async def start(self, region: str, **how: object) -> Receipt:
        """Start it, or let it run another way."""
        return await self.driver.apply(await self.order(StartEngine, region, **how))

    async def stop(self, region: str) -> Receipt:
        """Stop it cleanly."""
        return await self.driver.apply(await self.order(StopEngine, region))

    async def fence(self, region: str) -> Receipt:
        """Stop it at once."""
        return await self.driver.apply(await self.order(StopEngine, region, at_once=True))

    async def promote(self, region: str, **how: object) -> Receipt:
        """Promote it."""
        return await self.driver.apply(await self.order(Promote, region, **how))

    async def until(self, region: str, true: Callable[[EngineSeen, ReplicaSeen], object]) -> ReplicaSeen:
        """Wait until both facts are there and `true` of them."""
        deadline = time.monotonic() + WITHIN_S
        facts: object = None
        while time.monotonic() < deadline:
            engine, replica = facts = await self.facts(region)
            if engine is not None and replica is not None and true(engine, replica):
                return replica
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not happen: {facts}")

    async def until_follows(self, region: str, primary: str) -> ReplicaSeen:
        """Wait until both ends say so, and that nothing of what has been written by now is outstanding."""
        looks: set[float] = set()

        def is_whole(_: EngineSeen, seen: ReplicaSeen) -> bool:
            # A fact is as old as the last look, and the next may have been under way: only the third was surely asked from now on.
            looks.add(seen.seen_at)
            return len(looks) >= 3 and seen.standbys == (region,) and seen.lag_s == 0.0

        await self.until(region, lambda _, seen: seen.follows == primary)
        return await self.until(primary, is_whole)

    async def both(self, *, is_synchronous: bool = False) -> None:
        """`a` is the primary, `b` follows it."""
        await self.start("a")
        await self.until("a", lambda _, seen: seen.role is ReplicaRole.PRIMARY)
        await self.start("b", follow="a")
        await self.until_follows("b", "a")
        if is_synchronous:
            await self.start("a", is_synchronous=True)
            await self.until("a", lambda _, seen: seen.is_synchronous)

    def signal(self, region: str, number: int) -> int:
        """Signal every process of a store; how many there were."""
        return self.processes.send(TreeKey("engine", f"{self.kind}/{region}"), number)

    async def gone(self, region: str) -> EngineSeen:
        """Wait until it is seen to have ended by itself."""
        return await self.becomes(region, EngineState.EXITED)

    async def becomes(self, region: str, state: EngineState) -> EngineSeen:
        """Wait until its process is seen in `state`."""
        deadline = time.monotonic() + WITHIN_S
        while (engine := (await self.facts(region))[0]) is None or engine.state is not state:
            assert time.monotonic() < deadline, engine
            await asyncio.sleep(0.01)
        return engine

    async def url(self, region: str) -> str:
        """How to reach this very store, past the gateway."""
        engine, _ = await self.facts(region)
        assert engine is not None
        (url,) = set(self.driver.urls(region).values())  # type: ignore[attr-defined]
        return str(url).replace(f"{region}.test:1", engine.address)

    def home(self, region: str) -> Path:
        """Where its data and settings are."""
        return (self.place.project.data / f"{self.kind}-{region}").resolve()


@pytest.fixture
async def postgres_pair(place: Place) -> Pair:
    """Two regions with PostgreSQL."""
    return Pair(place, "postgres")


@pytest.fixture
async def valkey_pair(place: Place) -> Pair:
    """Two regions with Valkey."""
    return Pair(place, "valkey")


@pytest.fixture
def connect() -> Callable[[str], "psycopg.Connection[tuple[object, ...]]"]:
    """Opens a connection by URL, each statement its own transaction."""
    return lambda url: psycopg.connect(url, autocommit=True, connect_timeout=5)


@pytest.fixture
def resize(place: Place) -> Iterator[Callable[[int], None]]:
    """Gives PostgreSQL a disk of so many megabytes of its own, or changes its size."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place.shared.mkdir(mode=0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "none", str(place.shared)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount")
    yield lambda megabytes: _mount("mount", "-o", f"remount,size={megabytes}m", str(place.shared))
    processes = Processes(place.project)
    while trees := processes.look():
        for key in trees:
            processes.send(key, signal.SIGKILL)
    _mount("umount", "-l", str(place.shared))


def _mount(*argv: str) -> None:
    subprocess.run(argv, check=True)
