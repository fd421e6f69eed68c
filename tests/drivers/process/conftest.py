"""A project in a folder of its own, a process driver for it, and nothing left running afterwards."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.limits import Limits
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.effects import Effect, Order, Receipt, StartInstance, StopInstance
from tenfold.facts import Fact, InstanceSeen, TaskSeen
from tenfold.model import Health, Release, Service

APP = Path(__file__).with_name("app.py")


def clear(processes: Processes) -> None:
    """Kill everything of a project."""
    deadline = time.monotonic() + 60
    while (trees := processes.look()) and time.monotonic() < deadline:
        for key in trees:
            processes.send(key, signal.SIGKILL)
        time.sleep(0.01)
    assert not processes.look()


async def until(what: Callable[[], Awaitable[Any]], within_s: float = 60.0) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + within_s
    while not (answer := await what()):
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
    return answer


class Bench:
    """One project with a driver; `driver` may be replaced by a new one, as after a restart of the control plane."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.secrets = Secrets(project.secrets("development"), environ={})
        self.urls: Mapping[str, str] = {}
        self.releases: dict[str, Release] = {}
        self.driver = self.new_driver()

    def new_driver(self) -> ProcessDriver:
        """A driver that knows nothing yet."""
        return ProcessDriver(
            self.project,
            self.releases.get,
            self.secrets,
            Fence(self.project.run / "fence"),
            FreePorts(self.project),
            store_urls=lambda _region: self.urls,
        )

    def release(self, release: str = "r1", secrets: tuple[str, ...] = (), **services: Service) -> None:
        """Make a release whose folder holds the badly behaved program."""
        folder = self.project.releases / release
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(APP, folder / "app.py")
        self.releases[release] = Release(release, services, "digest", 1.0, secrets=secrets)

    async def send(self, effect: Effect, epoch: int = 1) -> Receipt:
        """Give an order."""
        return await self.driver.apply(Order(effect, epoch, "d1", time.time()))

    async def start(self, instance: str, service: str = "web", release: str = "r1") -> Receipt:
        return await self.send(StartInstance(instance, service, "local", release))

    async def stop(self, instance: str, grace_s: float = 5.0) -> Receipt:
        return await self.send(StopInstance(instance, grace_s))

    async def facts(self) -> dict[str, Fact]:
        return {fact.key: fact for fact in await self.driver.observe()}

    async def instance(self, instance: str) -> InstanceSeen | None:
        found = (await self.facts()).get(instance)
        assert found is None or isinstance(found, InstanceSeen)
        return found

    async def task(self, task: str) -> TaskSeen | None:
        found = (await self.facts()).get(task)
        assert found is None or isinstance(found, TaskSeen)
        return found

    async def reaches(self, instance: str, state: str, within_s: float = 60.0) -> InstanceSeen:
        """The instance, once it is in `state`."""

        async def there() -> InstanceSeen | None:
            seen = await self.instance(instance)
            return seen if seen is not None and seen.state == state else None

        found = await until(there, within_s)
        assert isinstance(found, InstanceSeen)
        return found

    async def finished(self, task: str, within_s: float = 60.0) -> TaskSeen:
        """The task, once it does not run any more."""

        async def there() -> TaskSeen | None:
            seen = await self.task(task)
            return seen if seen is not None and seen.state != "running" else None

        found = await until(there, within_s)
        assert isinstance(found, TaskSeen)
        return found


def habit(name: str, port: bool = True, health: Health | None = None, **more: Any) -> Service:
    """A service that runs the program with one habit."""
    command = f"{sys.executable} -S -E app.py {name}" + (" {port}" if port else "")
    quick = Health(path="/health", every_s=0.1, timeout_s=0.5)
    return Service("web", command, http=port, health=health or quick, **more)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of whose processes nothing is left after the test."""
    made = Project(tmp_path, "shop")
    made.state.mkdir(mode=0o700)
    yield made
    clear(Processes(made))
    Limits(made).sweep(frozenset())


@pytest.fixture
async def bench(project: Project) -> AsyncIterator[Bench]:
    """A bench whose driver has let go of everything after the test."""
    made = Bench(project)
    yield made
    await made.driver.close()


@pytest.fixture(name="habit")
def _habit() -> Callable[..., Service]:
    return habit


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[Any]]:
    return until
