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
from tenfold.drivers.valkey import ValkeyDriver
from tenfold.effects import Order, Receipt, StartEngine, StopEngine
from tenfold.facts import EngineSeen, EngineState

REGION = "local"
WITHIN_S = 30.0


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


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A project folder under the system's folder for temporary files, open to every user: pytest's own is closed to PostgreSQL's."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-test-"))
    folder.chmod(0o755)
    made = Place(folder)
    yield made
    await made.clean()


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
    for tree in Processes(place.project).look().values():
        for member in tree.members:
            os.kill(member.pid, signal.SIGKILL)
    _mount("umount", "-l", str(place.shared))


def _mount(*argv: str) -> None:
    subprocess.run(argv, check=True)
