"""The worlds that the ports are played on: the simulator on virtual time, and the real drivers on this machine.

A story is an async function of a `Stage`; `play` gives it one world after the other. It can't tell which it is in.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenfold.drivers.clock import WallClock
from tenfold.drivers.engine import EngineDriver
from tenfold.drivers.envoy import EnvoyDriver
from tenfold.drivers.fence import Fence
from tenfold.drivers.freeport import FreePorts
from tenfold.drivers.harm import ProcessHarm
from tenfold.drivers.postgres import PostgresDriver
from tenfold.drivers.process import ProcessDriver
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.drivers.secrets import Secrets
from tenfold.drivers.valkey import ValkeyDriver
from tenfold.effects import Effect, Order, Receipt
from tenfold.facts import Fact
from tenfold.model import Data, Health, Model, Region, Release, Service
from tenfold.ports import Actuator, Clock, Harm, Observer
from tenfold.sim import Behaviour, Drivers, VirtualClock, World, run_virtual

QUICK = Health(path="/", every_s=0.2, timeout_s=0.5, healthy_after=2, unhealthy_after=2)
SERVICES = {
    "web": Service("web", f"exec {sys.executable} -m http.server {{port}} --bind {{host}}", health=QUICK),
    "quits": Service("quits", "sleep 0.6; echo no database; exit 3", http=False),
    "mute": Service("mute", "exec sleep 1000", health=QUICK),
    "stubborn": Service("stubborn", "trap '' TERM; while :; do sleep 0.05; done", http=False),
    "tool": Service("tool", "true", http=False, schedule="0 3 * * *"),
    "broken": Service("broken", "true", http=False, schedule="0 3 * * *"),
    "slow": Service("slow", "true", http=False, schedule="0 3 * * *"),
}
BEHAVIOURS = {
    "web": Behaviour(start_s=0.4),
    "quits": Behaviour(start_s=0.4, start_fails_ratio=1.0),
    "mute": Behaviour(start_s=1e6),
    "stubborn": Behaviour(start_s=0.2, stop_s=None),
    "tool": Behaviour(task_s=0.3),
    "broken": Behaviour(task_s=0.3, task_fails_ratio=1.0),
    "slow": Behaviour(task_s=1000.0),
}
COMMANDS = {
    "tool": "echo ran >> ran.txt; sleep 0.6; echo done",
    "broken": "echo ran >> ran.txt; echo the database said no; exit 4",
    "slow": "echo ran >> ran.txt; sleep 1000",
}
RELEASE = Release("r1", SERVICES, "digest", 1.0)
MODEL = Model("stage", SERVICES, {"local": Region("local")}, data=Data(), releases={"r1": RELEASE})
SPREAD = replace(MODEL, regions={"a": Region("a"), "b": Region("b")}, data=Data(replicas=1))
Found = dict[str, Fact]


class Stage:
    """One world behind its ports, for one life of a control plane after another (`restart`). `wakes` counts wake-ups."""

    clock: Clock
    observers: Sequence[Observer]
    actuators: Sequence[Actuator]
    harm: Harm
    look_every_s = 0.02

    def __init__(self) -> None:
        self.wakes = 0

    async def open(self) -> None:
        """Make the drivers."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of the world; what runs goes on."""
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """What runs, by id, whoever knows of it."""
        raise NotImplementedError

    def runs(self, service: str) -> int:
        """How often tasks of `service` really ran."""
        raise NotImplementedError

    async def restart(self) -> None:
        """The control plane dies and comes back with drivers that know nothing."""
        await self.close()
        await self.open()

    async def do(self, effect: Effect, epoch: int = 1) -> Receipt:
        """Send an order to the one actuator that accepts it."""
        (actuator,) = [a for a in self.actuators if a.accepts(effect)]
        return await actuator.apply(Order(effect, epoch, "d1", self.clock.now()))

    async def look(self) -> Found:
        """All facts of all observers, by kind and key; no two may share both."""
        found: Found = {}
        for observer in self.observers:
            for fact in await observer.observe():
                name = f"{type(fact).__name__} {fact.key}"
                assert name not in found, f"two facts {name}"
                found[name] = fact
        return found

    async def see(self, kind: type[Fact], key: str) -> Any:
        """One fact, or None."""
        return (await self.look()).get(f"{kind.__name__} {key}")

    async def until(self, kind: type[Fact], key: str, right: Callable[[Any], bool], within_s: float = 60.0) -> Any:
        """The fact, once it is right (None: absent)."""
        from_s = self.clock.now()
        while not right(fact := await self.see(kind, key)):
            assert self.clock.now() - from_s < within_s, f"{kind.__name__} {key} never came right: {fact}"
            await self.clock.sleep(self.look_every_s)
        return fact

    def _count(self) -> None:
        self.wakes += 1

    def _subscribe(self) -> None:
        for observer in self.observers:
            observer.subscribe(self._count)


class SimStage(Stage):
    """The simulator."""

    def __init__(self, sources: Sequence[str], model: Model = MODEL) -> None:
        super().__init__()
        self.world = World(model, 1, behaviours=BEHAVIOURS, step_s=0.02)
        self.clock = self.world.clock
        self._sources = sources
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._running is None:
            self._running = asyncio.create_task(self.world.run())
        drivers = Drivers.of(self.world)
        self.observers = [o for o in drivers.observers if o.source in self._sources]
        self.actuators, self.harm = (drivers.actuator,), drivers.harm
        self._subscribe()

    async def close(self) -> None:
        pass

    def leftovers(self) -> list[str]:
        return [i.id for i in self.world.instances.values() if i.alive]

    def runs(self, service: str) -> int:
        return sum(task.service == service for task in self.world.tasks.values())


class RealStage(Stage):
    """The real drivers, one project in a folder of its own."""

    # A look reads every process of the machine: who does nothing else hears of no answer in time.
    look_every_s = 0.1

    def __init__(self, folder: Path, shared: Path, kinds: Sequence[str], model: Model = MODEL) -> None:
        super().__init__()
        self._front = (lambda region, kind: f"{region}:1") if model.is_spread else None
        self.clock = WallClock()
        self.project = Project(folder, "stage")
        self.project.state.mkdir(mode=0o700)
        self._release = self.project.releases / "r1"
        self._release.mkdir(parents=True)
        self._shared, self._kinds, self._is_spread = shared, kinds, model.is_spread

    async def open(self) -> None:
        self.harm = ProcessHarm(Processes(self.project))
        drivers = [self._driver(kind) for kind in self._kinds]
        self.observers = self.actuators = self._drivers = drivers
        self._subscribe()

    async def close(self) -> None:
        await self.harm.undo()
        for driver in self._drivers:
            await driver.close()

    def leftovers(self) -> list[str]:
        return [key.id for key in Processes(self.project).look()]

    def runs(self, service: str) -> int:
        marks = self._release / "ran.txt"
        return len(marks.read_text().splitlines()) if marks.exists() else 0

    def clear(self) -> None:
        """Kill everything of the project, also when a story failed half-way."""
        processes, deadline_s = Processes(self.project), time.monotonic() + 60
        while (trees := processes.look()) and time.monotonic() < deadline_s:
            for key in trees:
                processes.send(key, signal.SIGKILL)
            time.sleep(0.02)
        assert not processes.look()

    def _driver(self, kind: str) -> ProcessDriver | EngineDriver | EnvoyDriver:
        fence, ports = Fence(self.project.run / "fence"), FreePorts(self.project)
        match kind:
            case "process":
                secrets = Secrets(self.project.secrets("development"), environ={})
                return ProcessDriver(self.project, lambda id_: RELEASE if id_ == "r1" else None, secrets, fence, ports)
            case "postgres":
                return PostgresDriver(self.project, ports, fence, self._shared, front=self._front)
            case "valkey":
                return ValkeyDriver(self.project, ports, fence, front=self._front)
            case "gateway":
                return EnvoyDriver(self.project, ports, fence, ports.take(), spread=self._is_spread)
            case _:
                raise AssertionError(kind)


Story = Callable[[Any], Awaitable[None]]
Play = Callable[[Story], None]


def play_sim(sources: Sequence[str], model: Model = MODEL) -> Play:
    """Plays a story in a fresh simulation."""

    def play(story: Story) -> None:
        stage = SimStage(sources, model)

        async def main() -> None:
            await stage.open()
            await story(stage)

        run_virtual(main(), stage.world.clock)

    return play


def play_real(folder: Path, kinds: Sequence[str], model: Model = MODEL) -> Play:
    """Plays a story on this machine; nothing of it runs afterwards."""

    def play(story: Story) -> None:
        (folder / "project").mkdir()
        stage = RealStage(folder / "project", folder / "shared", kinds, model)

        async def main() -> None:
            await stage.open()
            try:
                await story(stage)
            finally:
                await stage.close()

        try:
            asyncio.run(main())
        finally:
            stage.clear()

    return play


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as PostgreSQL's own must be when root runs it; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="tenfold-stage-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["sim", "real"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Stories of instances and tasks."""
    return play_sim(["process"]) if request.param == "sim" else play_real(tmp_path, ["process"])


@pytest.fixture(params=["sim gateway", "sim postgres", "sim valkey", "real gateway", "real postgres", "real valkey"])
def play_engine(
    request: pytest.FixtureRequest, open_folder: Path
) -> Callable[[Callable[[Any, str], Awaitable[None]]], None]:
    """Stories of engines: they are told which kind they are about."""
    world, _, kind = request.param.partition(" ")
    play = play_sim([kind]) if world == "sim" else play_real(open_folder, [kind])
    return lambda story: play(lambda stage: story(stage, kind))


@pytest.fixture(params=["sim postgres", "sim valkey", "real postgres", "real valkey"])
def play_store(
    request: pytest.FixtureRequest, open_folder: Path
) -> Callable[[Callable[[Any, str], Awaitable[None]]], None]:
    """Stories of stores in two regions, `a` and `b`: they are told which kind they are about. Gateways may be started too."""
    world, _, kind = request.param.partition(" ")
    kinds = ["gateway", kind]
    play = play_sim(kinds, SPREAD) if world == "sim" else play_real(open_folder, kinds, SPREAD)
    return lambda story: play(lambda stage: story(stage, kind))


@pytest.fixture(params=["sim", "real"])
def play_gateway(request: pytest.FixtureRequest, open_folder: Path) -> Play:
    """Stories of gateways and their tables."""
    return play_sim(["gateway"]) if request.param == "sim" else play_real(open_folder, ["gateway"])


@pytest.fixture(params=["sim", "real"])
def on_clock(request: pytest.FixtureRequest) -> Callable[[Callable[[Clock], Awaitable[None]]], None]:
    """Plays a story on a clock."""

    def play(story: Callable[[Clock], Awaitable[None]]) -> None:
        async def main(clock: Clock) -> None:
            await story(clock)

        if request.param == "sim":
            virtual = VirtualClock()
            run_virtual(main(virtual), virtual)
        else:
            asyncio.run(main(WallClock()))

    return play


@pytest.fixture
def commands() -> dict[str, str]:
    """What a task of each service runs."""
    return COMMANDS


@pytest.fixture
def within() -> Callable[[Stage, Awaitable[Any], float], Awaitable[Any]]:
    """Awaits something that must be there within a bound of the world's own time."""

    async def bounded(stage: Stage, what: Awaitable[Any], seconds: float) -> Any:
        from_s = stage.clock.now()
        with contextlib.suppress(TimeoutError):
            found = await asyncio.wait_for(what, seconds)
            assert stage.clock.now() - from_s <= seconds + 0.5
            return found
        raise AssertionError(f"it took longer than {seconds} s")

    return bounded
